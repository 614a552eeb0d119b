//! A bridge as its users have it: a devnet, an operator and a challenger as processes, and the CLI.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bitcoin::{Address, Amount, Network, TxOut};
use bitsect_l1::BlockRef;
use bitsect_l1::rpc::{Auth, Client, RpcConfig};
use bitsect_node::chain_file::ChainFile;
use bitsect_node::devnet::{CHAIN_FILE, USER_DIR};
use bitsect_node::purse::Purse;
use eyre::{WrapErr, ensure, eyre};
use serde_json::{Value, json};

use crate::devnet::Devnet;
use crate::fraud::Running;
use crate::node::find_program;
use crate::{Rpc, until};

/// What members get for bonds, stakes, fees and payouts.
const MONEY: Amount = Amount::from_sat(100_000_000);
/// L1 blocks after which things count here: a devnet's are seconds apart.
const DEPTH: &str = "2";

/// How a bridge is made.
#[derive(Clone, Debug)]
pub struct BridgeOptions {
    /// How many slots the operator has.
    pub slots: u32,
    /// Time between two Bitcoin blocks.
    pub l1_interval: &'static str,
    /// Blocks within which a claim is challenged.
    pub challenge_window_blocks: u16,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            slots: 2,
            l1_interval: "1s",
            challenge_window_blocks: 6,
        }
    }
}

/// A member of the committee.
#[derive(Debug)]
struct Member {
    name: &'static str,
    role: &'static str,
    committee: u16,
    status: u16,
    running: Option<Running>,
}

/// The bridge.
#[derive(Debug)]
pub struct BridgeNet {
    members: [Member; 2],
    /// The devnet.
    pub devnet: Devnet,
    /// Bitcoin Core.
    pub client: Client,
    /// The verifier.
    pub rpc: Rpc,
    folder: tempfile::TempDir,
}

/// Gives a port that nobody has just now.
fn free_port() -> eyre::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").wrap_err("failed to find a port")?;
    Ok(listener.local_addr().wrap_err("failed to read the port")?.port())
}

impl BridgeNet {
    /// Starts everything, and waits until the committee has signed its slots. `guest` is the program as `.ci/guest` builds it.
    ///
    /// # Errors
    /// Where a program fails.
    pub async fn start(guest: &Path, options: &BridgeOptions) -> eyre::Result<Self> {
        let folder = tempfile::tempdir().wrap_err("failed to make a folder")?;
        let mut members =
            [("operator", "operator"), ("challenger", "challenger")].map(|(name, role)| Member {
                name,
                role,
                committee: 0,
                status: 0,
                running: None,
            });
        let mut entries = Vec::new();
        for member in &mut members {
            (member.committee, member.status) = (free_port()?, free_port()?);
            entries.push(member.keygen(folder.path())?);
        }
        let key = {
            let mut command = Command::new(find_program("bitsect-bridge")?);
            command
                .arg("vault-key")
                .args(entries.iter().flat_map(|entry| ["--members", entry.as_str()]));
            output(command)?
        };
        let interval = ["--l1-interval", options.l1_interval];
        let devnet = Devnet::start(&[&["--vault-key", key.trim()], &interval[..]].concat())?;
        let client = Client::new(RpcConfig::new(
            &devnet.bitcoin,
            Auth::Cookie(devnet.bitcoin_cookie.clone()),
        ));
        let mut net = Self {
            client: client.wrap_err("failed to use Bitcoin Core's address")?,
            rpc: Rpc::new(devnet.verifier.clone()),
            members,
            devnet,
            folder,
        };
        net.write_program(guest)?;
        net.set_up(&entries, options).await?;
        net.start_members()?;
        Ok(net)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn chain_file(&self) -> PathBuf {
        self.devnet.dir().join(CHAIN_FILE)
    }

    fn write_program(&self, guest: &Path) -> eyre::Result<()> {
        let chain = ChainFile::read(&self.chain_file()).wrap_err("failed to read the chain file")?;
        let bytes = std::fs::read(guest).wrap_err("failed to read the program")?;
        let elf =
            bitsect_guest::params::write(&bytes, &chain.params).wrap_err("failed to write parameters")?;
        std::fs::write(self.path("program.elf"), elf).wrap_err("failed to write the program")?;
        std::fs::write(self.path("guest.elf"), bytes).wrap_err("failed to write the program")
    }

    /// Makes a command of a member's, with what all of them need.
    fn member_command(&self, member: &Member) -> eyre::Result<Command> {
        let mut command = Command::new(find_program("bitsect-bridge")?);
        let paths = [
            ("--key", format!("{}.key", member.name)),
            ("--data-dir", member.name.to_owned()),
            ("--program", "program.elf".to_owned()),
            ("--deployment", "deployment.toml".to_owned()),
        ];
        for (option, name) in paths {
            command.arg(option).arg(self.path(&name));
        }
        command.arg("--chain-file").arg(self.chain_file());
        command.args(["--l1-url", &self.devnet.bitcoin]);
        command.arg("--l1-cookie-file").arg(&self.devnet.bitcoin_cookie);
        command.args([
            "--confirmations-blocks",
            DEPTH,
            "--deposit-confirmations-blocks",
            DEPTH,
        ]);
        command.args(["--committee-listen", &format!("127.0.0.1:{}", member.committee)]);
        Ok(command)
    }

    /// Makes a command of a user's, whose files are under this name.
    ///
    /// # Errors
    /// Where the program is not built.
    pub fn user_command(&self, name: &str) -> eyre::Result<Command> {
        let mut command = Command::new(find_program("bitsect-bridge")?);
        command.arg("--chain-file").arg(self.chain_file());
        command.arg("--key").arg(self.path(&format!("{name}.key")));
        command.arg("--data-dir").arg(self.path(name));
        command.args([
            "--l1-url",
            &self.devnet.bitcoin,
            "--node-url",
            &self.devnet.sequencer,
        ]);
        command.arg("--l1-cookie-file").arg(&self.devnet.bitcoin_cookie);
        command.args(["--deposit-confirmations-blocks", DEPTH]);
        Ok(command)
    }

    /// Runs a command of a user's, and gives what it prints.
    ///
    /// # Errors
    /// Where it fails; with its exit code and what it said.
    pub fn user(&self, name: &str, args: &[&str]) -> eyre::Result<Value> {
        let mut command = self.user_command(name)?;
        command.args(args).arg("--json");
        let text = output(command)?;
        serde_json::from_str(&text).wrap_err_with(|| format!("failed to read {text:?}"))
    }

    /// Runs a command of a user's, and gives what a person sees.
    ///
    /// # Errors
    /// Where it fails.
    pub fn shown(&self, name: &str, args: &[&str]) -> eyre::Result<String> {
        let mut command = self.user_command(name)?;
        command.args(args);
        output(command)
    }

    /// Pays from the devnet's wallet of coins.
    ///
    /// # Errors
    /// Where Bitcoin Core refuses it.
    pub async fn pay(&self, outputs: Vec<TxOut>) -> eyre::Result<()> {
        let folder = self.devnet.dir().join(USER_DIR);
        let genesis = bitcoin::constants::genesis_block(Network::Regtest).block_hash();
        let (client, first) = (self.client.clone(), BlockRef::new(0, genesis));
        let purse = Purse::open(client, Network::Regtest, &folder, &folder.join("user.key"), first)?;
        purse.sync().await?;
        let paid = purse.pay(outputs, vec![], |_| Ok(())).await?;
        let first = bitcoin::OutPoint::new(paid.compute_txid(), 0);
        until("a payment to confirm", || async {
            let found = self.client.get_tx_out(&first, false).await;
            let found = found.map_err(|error| error.to_string())?;
            found.map(drop).ok_or_else(|| "it is not confirmed".to_owned())
        })
        .await;
        Ok(())
    }

    async fn set_up(&mut self, entries: &[String], options: &BridgeOptions) -> eyre::Result<()> {
        let height = self
            .client
            .get_blockchain_info()
            .await
            .wrap_err("failed to ask Bitcoin Core")?
            .blocks;
        let mut outputs = Vec::new();
        for member in &self.members {
            let mut command = self.member_command(member)?;
            command.args(["address", "--network", "regtest"]);
            outputs.push(paying(&output(command)?, MONEY)?);
        }
        self.pay(outputs).await?;
        let start: u64 = until("a final unit", || async {
            let status = self.rpc.get("rollup_syncStatus", json!([])).await;
            let number = status["finalized"]["number"].as_u64().unwrap_or_default();
            let unit = self.rpc.get("rollup_unitOf", json!([number])).await;
            unit.as_u64()
                .filter(|_| number > 0)
                .ok_or_else(|| format!("{status}"))
        })
        .await;
        let state = self.rpc.get("rollup_chainStateAt", json!([start])).await;
        let state = state["chainState"].as_str().unwrap_or_default().to_owned();
        let slot = format!("operator:{start}:{state}");
        let mut command = self.member_command(&self.members[0])?;
        command.args([
            "deployment",
            "--network",
            "regtest",
            "--start-height",
            &height.to_string(),
        ]);
        command.args((0..options.slots).flat_map(|_| ["--slot", slot.as_str()]));
        command.args([
            "--move-timeout-blocks",
            "6",
            "--bond-sats",
            "2000000",
            "--reward-sats",
            "500000",
        ]);
        command.args(["--stake-sats", "200000", "--verdict-fee-sats", "200000"]);
        command.args([
            "--challenge-window-blocks",
            &options.challenge_window_blocks.to_string(),
        ]);
        command.args(entries.iter().flat_map(|entry| ["--members", entry.as_str()]));
        let text = output(command)?;
        std::fs::write(self.path("deployment.toml"), text).wrap_err("failed to write the deployment")?;
        self.sign().await
    }

    /// Runs the set-up until all signatures are there.
    async fn sign(&self) -> eyre::Result<()> {
        let mut running = Vec::new();
        for member in &self.members {
            let mut command = self.member_command(member)?;
            command.args(["committee", "run", "--json"]);
            command
                .stdout(self.log(member.name, "committee")?)
                .stderr(self.log(member.name, "set-up")?);
            running.push(Running::start(command).wrap_err("failed to start a member")?);
        }
        until("the committee's signatures", || async {
            for member in &self.members {
                let log = std::fs::read_to_string(self.path(&format!("{}-committee.log", member.name)));
                let log = log.map_err(|error| error.to_string())?;
                let last = log
                    .lines()
                    .rev()
                    .find(|line| line.starts_with('{'))
                    .unwrap_or("{}");
                let progress: Value = serde_json::from_str(last).map_err(|error| error.to_string())?;
                if progress["members_complete"] != json!(self.members.len()) {
                    return Err(format!("{}: {last}", member.name));
                }
            }
            Ok(())
        })
        .await;
        Ok(())
    }

    fn log(&self, name: &str, what: &str) -> eyre::Result<Stdio> {
        let path = self.path(&format!("{name}-{what}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&path);
        file.map(Stdio::from)
            .wrap_err_with(|| format!("failed to write {}", path.display()))
    }

    /// Gives what a member's daemon has logged.
    pub fn logged(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}-run.log"))).unwrap_or_default()
    }

    fn start_members(&mut self) -> eyre::Result<()> {
        for number in 0..self.members.len() {
            self.start_member(number)?;
        }
        Ok(())
    }

    /// Starts a member's daemon: 0 is the operator, 1 the challenger.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_member(&mut self, number: usize) -> eyre::Result<()> {
        let member = &self.members[number];
        let status = format!("127.0.0.1:{}", member.status);
        let mut command = if number == 0 {
            let mut command = self.member_command(member)?;
            command.args(["--node-url", &self.devnet.verifier, "--listen", &status]);
            command.args(["--reserve-sats", "5000000", "--least-claim-sats", "10000"]);
            command.args(["operator", "run"]);
            command
        } else {
            let mut command = Command::new(find_program("bitsect-challenger")?);
            command.arg("run");
            let paths = [
                ("--data-dir", self.path("challenger-chain")),
                ("--chain-file", self.chain_file()),
                ("--l1-cookie-file", self.devnet.bitcoin_cookie.clone()),
                ("--guest-file", self.path("guest.elf")),
                ("--deployment", self.path("deployment.toml")),
                ("--key-file", self.path("challenger.key")),
                ("--committee-store", self.path("challenger")),
            ];
            for (option, path) in paths {
                command.arg(option).arg(path);
            }
            command.args(["--l1-url", &self.devnet.bitcoin, "--metrics-listen", &status]);
            command.args(["--committee-listen", &format!("127.0.0.1:{}", member.committee)]);
            command.args(["--deposit-confirmations-blocks", DEPTH]);
            command
        };
        command
            .stdout(self.log(member.name, "run")?)
            .stderr(self.log(member.name, "run")?);
        let running = Running::start(command).wrap_err("failed to start a member")?;
        self.members[number].running = Some(running);
        Ok(())
    }

    /// Ends a member's daemon.
    pub fn stop_member(&mut self, number: usize) {
        self.members[number].running = None;
    }
}

impl Member {
    fn keygen(&self, folder: &Path) -> eyre::Result<String> {
        let mut command = Command::new(find_program("bitsect-bridge")?);
        command
            .arg("--key")
            .arg(folder.join(format!("{}.key", self.name)));
        command.args(["committee", "keygen", "--name", self.name, "--role", self.role]);
        command.args(["--url", &format!("http://127.0.0.1:{}", self.committee)]);
        let path = folder.join(format!("{}.toml", self.name));
        std::fs::write(&path, output(command)?).wrap_err("failed to write a member's entry")?;
        Ok(path.display().to_string())
    }
}

/// Makes an output that pays an address of regtest.
///
/// # Errors
/// Where it is no address.
pub fn paying(address: &str, value: Amount) -> eyre::Result<TxOut> {
    let address: Address<bitcoin::address::NetworkUnchecked> =
        address.trim().parse().wrap_err("failed to read an address")?;
    let address = address
        .require_network(Network::Regtest)
        .wrap_err("failed to use an address")?;
    Ok(TxOut {
        value,
        script_pubkey: address.script_pubkey(),
    })
}

/// Runs a command to its end, and gives what it prints.
fn output(mut command: Command) -> eyre::Result<String> {
    let output = command.output().wrap_err("failed to run a program")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    ensure!(output.status.success(), "exit code {code:?}: {errors}");
    String::from_utf8(output.stdout).map_err(|_| eyre!("failed to read what a program prints"))
}
