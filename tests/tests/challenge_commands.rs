//! A deployment set up by the command line over a real chain and a real Bitcoin Core, an operator's true claim in it, and the
//! challenger's commands: `run`, `run --dry-run`, `watch`, `status`, `explain` beside a running challenger and without one.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;
use bitsect_challenger::metrics::Status;
use bitsect_l1::regtest::free_port;
use bitsect_tests::{Network, NetworkOptions, Node, program, until};
use serde_json::{Value, json};

/// The unit that the slot starts behind, and how many units are claimed.
const START: u64 = 4;
const UNITS: u64 = 9;
/// L2 blocks that the chain has at least.
const BLOCKS: u64 = 12;

/// A process with a log of its own. Dropping it kills it.
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = File::create(&log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file);
        Self {
            child: child.spawn().expect("it starts"),
            log,
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is read")
    }

    async fn says(&self, text: &str) {
        until(text, || async {
            let said = self.said();
            if said.contains(text) { Ok(()) } else { Err(said) }
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address() -> String {
    format!("127.0.0.1:{}", free_port().expect("a free port"))
}

fn done(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// A chain with blocks, and the files of a deployment.
struct World {
    network: Network,
    node: Node,
    dir: PathBuf,
}

const MEMBERS: [(&str, &str); 2] = [("olga", "operator"), ("carl", "challenger")];

impl World {
    async fn start() -> Self {
        let network = Network::start(NetworkOptions::default()).await;
        let sequencer = network.sequencer().await;
        until("blocks", || async {
            let height = sequencer.rpc.height("latest").await;
            if height >= BLOCKS {
                Ok(())
            } else {
                Err(height.to_string())
            }
        })
        .await;
        network.mine_until_safe(&sequencer.rpc, BLOCKS).await;
        sequencer.kill();
        let dir = network.dir().join("deployment");
        std::fs::create_dir_all(&dir).expect("a folder");
        let guest = std::fs::read(built::built()).expect("the program is read");
        let elf = bitsect_guest::params::write(&guest, &network.chain().params);
        std::fs::write(dir.join("program"), elf.expect("it takes the parameters")).expect("it is written");
        Self {
            node: network.verifier("verifier").await,
            network,
            dir,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn bridge(&self, member: &str, words: &str) -> Command {
        let mut command = Command::new(program("bitsect-bridge"));
        command.args(words.split_whitespace());
        for (option, name) in [("deployment", "deployment.toml"), ("program", "program")] {
            command.arg(format!("--{option}")).arg(self.path(name));
        }
        command.arg("--key").arg(self.path(&format!("{member}.key")));
        command.arg("--data-dir").arg(self.path(member));
        command.args([
            "--confirmations-blocks",
            "1",
            "--l1-url",
            &self.network.core.rpc_url(),
        ]);
        command.arg("--l1-cookie-file").arg(self.network.core.cookie());
        command
    }

    fn challenger(&self, words: &str, dir: &str, store: &Path) -> Command {
        let mut command = Command::new(program("bitsect-challenger"));
        command.args(words.split_whitespace());
        command.arg("--data-dir").arg(self.path(dir));
        command.arg("--chain-file").arg(self.network.chain_path());
        command.args(["--l1-url", &self.network.core.rpc_url()]);
        command.arg("--l1-cookie-file").arg(self.network.core.cookie());
        command.arg("--guest-file").arg(built::built());
        command.arg("--deployment").arg(self.path("deployment.toml"));
        command.arg("--committee-store").arg(store);
        command
    }

    async fn mine(&self, count: u32) {
        self.network.core.mine(count).await.expect("blocks are mined");
    }

    /// Key files, coins, the deployment file, and the set-up.
    async fn set_up(&self) {
        let start = self.network.core.tip().await.expect("a tip").height;
        let listen = [address(), address()];
        let mut entries = String::new();
        for ((name, role), listen) in MEMBERS.iter().zip(&listen) {
            let keygen = format!("committee keygen --name {name} --role {role} --url http://{listen}");
            let entry = self.path(&format!("{name}.toml"));
            std::fs::write(&entry, done(&mut self.bridge(name, &keygen))).expect("the entry is written");
            entries = format!("{entries} {}", entry.display());
            let paid = done(&mut self.bridge(name, "address --network regtest"));
            let paid: Address<NetworkUnchecked> = paid.trim().parse().expect("an address");
            let mined = self.network.core.mine_to(1, &paid.assume_checked()).await;
            mined.expect("a block is mined");
        }
        self.mine(100).await;
        self.network.synced(&self.node.rpc).await;
        let state = self.node.rpc.get("rollup_chainStateAt", json!([START])).await;
        let state = state["chainState"].as_str().expect("a state").to_owned();
        let make = format!(
            "deployment --no-vault --network regtest --chain-file {} --start-height {start} --slot olga:{START}:{state} \
             --unit-rounds 2 --trace-rounds 11 --move-timeout-blocks 5 --challenge-window-blocks 8 \
             --bond-sats 2000000 --stake-sats 200000 --reward-sats 500000 --verdict-fee-sats 100000 --members{entries}",
            self.network.chain_path().display()
        );
        let text = done(&mut self.bridge("olga", &make));
        std::fs::write(self.path("deployment.toml"), text).expect("the deployment is written");
        let members = MEMBERS.iter().zip(&listen).map(|((name, _), listen)| {
            let run = format!("committee run --json --committee-listen {listen}");
            Process::start(&mut self.bridge(name, &run), self.path(&format!("{name}.log")))
        });
        let members: Vec<Process> = members.collect();
        for member in &members {
            member.says("have 0 of 1 confirmations").await;
        }
        self.mine(1).await;
        for member in &members {
            member.says("\"members_complete\":2").await;
        }
    }
}

/// Waits until a challenger says of the claim what is wanted.
async fn judged(address: &str, judgement: &str) -> Status {
    until("a judgement", || async {
        let url = format!("http://{address}/status");
        let response = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let status: Status = response.json().await.map_err(|error| error.to_string())?;
        let slots = status
            .disputes
            .as_ref()
            .map_or(&[][..], |disputes| &disputes.slots);
        match slots.first() {
            Some(slot) if slot.judgement.as_deref() == Some(judgement) => Ok(status),
            _ => Err(status.to_string()),
        }
    })
    .await
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_work_on_a_deployment_that_was_set_up() {
    let world = World::start().await;
    world.set_up().await;
    let (own, copy) = (world.path("carl"), world.path("copy"));
    std::fs::create_dir_all(&copy).expect("a folder");
    for entry in std::fs::read_dir(world.path("olga")).expect("the folder is read") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("it is copied");
    }
    let key = world.path("carl.key");

    // Without a key nobody disputes, and with an operator's neither.
    let refused = world.challenger("run", "run", &own).output().expect("it runs");
    assert_eq!(code(&refused), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("option run needs key_file"));
    let mut wrong = world.challenger("run", "run", &own);
    let refused = wrong.arg("--key-file").arg(world.path("olga.key")).output();
    let refused = refused.expect("it runs");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        code(&refused) == Some(1) && text.contains("member olga is no challenger"),
        "{text}"
    );

    let node = format!(
        "--node-url {} --listen {} --claim-after-units {UNITS}",
        world.node.rpc.url(),
        address()
    );
    let operator = Process::start(
        &mut world.bridge("olga", &format!("operator run {node}")),
        world.path("operator.log"),
    );
    let addresses = [address(), address(), address()];
    let words = ["run", "run --dry-run", "watch"];
    let mut running = Vec::new();
    for ((words, address), (dir, store)) in
        words
            .iter()
            .zip(&addresses)
            .zip([("run", &own), ("dry", &own), ("watch", &copy)])
    {
        let mut command = world.challenger(words, dir, store);
        command.args(["--metrics-listen", address, "--fee-outputs", "2"]);
        if *words != "watch" {
            command.arg("--key-file").arg(&key);
        }
        running.push(Process::start(&mut command, world.path(&format!("{dir}.log"))));
        // The committee's store is open in one process at a time, while slots are read.
        judged_or_idle(address).await;
    }
    operator.says("claim of slot 0").await;
    until("the claim to be mined", || async {
        world.mine(1).await;
        let status = judged(&addresses[2], "true");
        match tokio::time::timeout(std::time::Duration::from_secs(5), status).await {
            Ok(_) => Ok(()),
            Err(_) => Err("not yet".to_owned()),
        }
    })
    .await;
    for (address, mode) in addresses.iter().zip(["run", "dry run", "watch"]) {
        let disputes = judged(address, "true")
            .await
            .disputes
            .expect("a deployment is named");
        assert_eq!((disputes.mode.as_str(), disputes.withheld.len()), (mode, 0));
        assert_eq!(disputes.fee_outputs.is_some(), mode == "run");
        let mut status = Command::new(program("bitsect-challenger"));
        let text = done(status.args(["status", "--metrics-listen", address]));
        assert!(
            text.contains("slot 0 of olga, behind unit 4: claimed; 9 units"),
            "{text}"
        );
        assert!(text.contains("the claim is true"), "{text}");
    }

    // Beside a running challenger it answers; without one its files do.
    let explain = |listen: &[&str]| {
        let mut command = world.challenger("explain 0", "watch", &copy);
        command.args(listen).output().expect("it runs")
    };
    let beside = explain(&["--metrics-listen", &addresses[2]]);
    let text = String::from_utf8_lossy(&beside.stdout).into_owned();
    assert_eq!(
        code(&beside),
        Some(0),
        "{}",
        String::from_utf8_lossy(&beside.stderr)
    );
    assert!(
        text.contains("slot 0: olga's claim") && text.contains("right: "),
        "{text}"
    );
    let locked = explain(&[]);
    assert_eq!(code(&locked), Some(1));
    drop(running);
    let alone = explain(&["--metrics-listen", &addresses[2], "--json"]);
    assert_eq!(
        code(&alone),
        Some(0),
        "{}",
        String::from_utf8_lossy(&alone.stderr)
    );
    let told: Value = serde_json::from_slice(&alone.stdout).expect("JSON");
    assert_eq!(told["branches"][0]["verdict"], "right", "{told}");
}

/// Waits until a challenger shows its slots, whatever it makes of them.
async fn judged_or_idle(address: &str) {
    until("a challenger to show its slots", || async {
        let url = format!("http://{address}/status");
        let response = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let status: Status = response.json().await.map_err(|error| error.to_string())?;
        match &status.disputes {
            Some(disputes) if disputes.tip.is_some() => Ok(()),
            _ => Err(status.to_string()),
        }
    })
    .await;
}
