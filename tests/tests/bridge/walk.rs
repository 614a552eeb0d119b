//! The walk of docs/bridge.md on a devnet as `make devnet` starts it: each command, and what it prints at each stage.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use bitsect_node::devnet::DATA_DIR;
use bitsect_node::devnet::program::{find_program, output};
use bitsect_tests::devnet::Devnet;
use bitsect_tests::until;
use serde_json::Value;

use crate::built::built;

const DOCUMENT: &str = "docs/bridge.md";
/// What stands before and behind the walk.
const FENCE: (&str, &str) = ("```console\n", "```\n");
/// Says that the document's walk is to be written anew.
const WRITE: &str = "BITSECT_WRITE_WALK";
const ACCOUNT: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

/// The commands that a user has on a devnet, and what they have printed.
struct Walk {
    devnet: Devnet,
    said: String,
}

impl Walk {
    fn command(&self, args: &str) -> Command {
        let home = self.devnet.dir().join("bridge");
        let (program, args) = args.split_once(' ').expect("a program and its arguments");
        let mut command = Command::new(find_program(program).expect("the program is built"));
        let mut args: Vec<&str> = args.split(' ').collect();
        // The document's commands have their options in a file, as a real user's.
        let config = match args.as_slice() {
            ["operator" | "vault", ..] => "operator",
            _ => "user",
        };
        args.retain(|arg| !arg.is_empty());
        command
            .arg("--config")
            .arg(home.join(config).join("bridge.toml"))
            .args(args);
        command
    }

    /// Runs a command as a reader of the document would, and notes what it prints.
    fn run(&mut self, args: &str) -> String {
        let printed = output(self.command(args)).unwrap_or_else(|error| panic!("{args}: {error:#}"));
        self.note(args, &printed);
        printed
    }

    fn note(&mut self, args: &str, printed: &str) {
        // Where `make devnet` has its files.
        let folder = self.devnet.dir().display().to_string();
        let printed = printed.trim_end().replace(&folder, DATA_DIR);
        writeln!(self.said, "$ {args}\n{printed}\n").expect("a string takes text");
    }

    fn ask(&self, args: &str) -> Value {
        let mut command = self.command(args);
        command.arg("--json");
        let text = output(command).unwrap_or_else(|error| panic!("{args}: {error:#}"));
        serde_json::from_str(&text).expect("JSON")
    }

    /// Shows a status each time when it is another one, until the last stage. `of` names the stage; nothing between two.
    async fn watch(
        &mut self,
        args: &str,
        of: impl Fn(&Value) -> Option<String>,
        last: &str,
    ) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        loop {
            let before = of(&self.ask(args));
            let printed = output(self.command(args)).unwrap_or_else(|error| panic!("{args}: {error:#}"));
            let after = of(&self.ask(args));
            if before != after {
                // What was printed is of either; the next look may be of the last stage already.
                continue;
            }
            if let Some(stage) = after.clone()
                && seen.insert(stage)
            {
                self.note(args, &printed);
            }
            if seen.contains(last) {
                return seen;
            }
            until(&format!("another stage of {args} than {after:?}"), || async {
                match of(&self.ask(args)) {
                    now if now == after => Err(format!("{now:?}")),
                    _ => Ok(()),
                }
            })
            .await;
        }
    }
}

/// Leaves out what differs from run to run: hashes, numbers of blocks, amounts that depend on a transaction's size.
fn normal(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let hex = bare
            .split(':')
            .next()
            .unwrap_or_default()
            .trim_start_matches("0x");
        // Of 32 bytes, or a chain state that is cut to 24.
        let is_hash = [48, 64].contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_number = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit());
        let is_odd_amount = bare
            .split_once('.')
            .is_some_and(|(_, sats)| sats.len() == 8 && !sats.ends_with("000"));
        match (is_hash, is_number || is_odd_amount) {
            (true, _) => word.replace(bare, "HASH"),
            (_, true) => word.replace(bare, "N"),
            _ => word.to_owned(),
        }
    };
    let lines = text
        .lines()
        .map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" "));
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Splits what a document or a walk says into commands with their output.
fn steps(walk: &str) -> Vec<String> {
    let steps = walk.split("$ ").map(|step| normal(step.trim()));
    steps.filter(|step| !step.trim().is_empty()).collect()
}

fn compare(said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(DOCUMENT);
    let document = std::fs::read_to_string(&path).expect("the document");
    let (before, rest) = document.split_once(FENCE.0).expect("the document has a walk");
    let (written, after) = rest.split_once(FENCE.1).expect("the walk has an end");
    if std::env::var_os(WRITE).is_some() {
        let walk = format!("{}\n", said.trim_end());
        std::fs::write(&path, [before, FENCE.0, &walk, FENCE.1, after].concat())
            .expect("the document is written");
        return;
    }
    let known: BTreeSet<String> = steps(written).into_iter().collect();
    for step in steps(said) {
        assert!(
            known.contains(&step),
            "{DOCUMENT} does not have this step ({WRITE}=1 writes it anew):\n{step}\n{known:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_is_as_the_document_has_it() {
    let guest = built();
    let guest = guest.display().to_string();
    let args = [
        "--guest",
        guest.as_str(),
        "--l1-interval",
        "1s",
        "--bridge-port",
        "0",
        "--slots",
        "2",
    ];
    let devnet = Devnet::start(&args).expect("a devnet starts");
    let mut walk = Walk {
        devnet,
        said: String::new(),
    };
    bridge_ready(&walk.devnet).await;
    walk.run("bitsect-bridge key show");
    walk.run(&format!(
        "bitsect-bridge deposit send --to {ACCOUNT} --amount 0.1BTC"
    ));
    let stage = |status: &Value| status["stage"].as_str().unwrap_or_default().to_owned();
    let of_deposit = |status: &Value| Some(stage(&status["deposits"][0]));
    let seen = walk
        .watch("bitsect-bridge deposit status", of_deposit, "minted")
        .await;
    assert!(seen.len() >= 3, "{seen:?}");
    walk.run("bitsect-bridge balance");
    let key = walk.ask("bitsect-bridge key show");
    let address = key["bitcoinAddress"].as_str().expect("an address").to_owned();
    walk.run(&format!(
        "bitsect-bridge withdraw request --to {address} --amount 0.1BTC --fee 1000sats"
    ));
    let of_withdrawal = |status: &Value| {
        let status = &status["withdrawals"][0];
        let block = status["blockState"].as_str().unwrap_or_default();
        Some(format!("{} {block}", stage(status)))
    };
    let seen = walk
        .watch("bitsect-bridge withdraw status", of_withdrawal, "paid finalized")
        .await;
    assert!(
        seen.iter().any(|stage| stage.starts_with("waitingForPayout")),
        "{seen:?}"
    );
    // All of the vault is the operator's now: it has paid as much.
    let outputs = |vault: &Value| {
        let outputs = vault["outputs"].as_array().expect("outputs");
        let is_settled = outputs.iter().all(|output| output["spentInMempoolBy"].is_null());
        let uses = outputs.iter().map(|output| output["state"].to_string());
        is_settled.then(|| uses.collect::<Vec<_>>().join(" "))
    };
    walk.watch("bitsect-bridge vault", outputs, "").await;
    walk.run("bitsect-bridge operator status");
    walk.run("bitsect-bridge balance");
    // A devnet goes on where it was, and so does its bridge.
    walk.devnet
        .restart(&["--l1-interval", "1s", "--bridge-port", "0"])
        .expect("the devnet starts again");
    bridge_ready(&walk.devnet).await;
    let again = output(walk.command(&format!(
        "bitsect-bridge deposit send --to {ACCOUNT} --amount 0.1BTC --wait"
    )));
    let again = again.expect("the committee is there");
    assert!(again.contains("minted"), "{again}");
    println!("{}", walk.said);
    compare(&walk.said);
}

async fn bridge_ready(devnet: &Devnet) {
    until("the bridge", || async {
        let said = devnet.output();
        match said.lines().any(|line| line == "bridge ready") {
            true => Ok(()),
            false => Err(said),
        }
    })
    .await;
}
