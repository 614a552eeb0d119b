//! `make fraud`: a devnet, a committee of an operator and a challenger, a false claim, and its end on Bitcoin.
//!
//! Everything is the product's own programs, but for the operator, which is the honest one's code with a liar's answers.

mod committee;
mod liar;
mod show;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bitsect_l1::rpc::{Auth, Client, RpcConfig, default_cookie};
use bitsect_node::chain_file::ChainFile;
use bitsect_node::devnet::{CHAIN_FILE, DATA_DIR, L1_URL_FILE};
use clap::Args;
use eyre::{WrapErr, bail, ensure};
use serde_json::{Value, json};

use crate::{Rpc, Wallet, until};

/// Where the verifier's JSON-RPC is, as the devnet has it when no port is named.
const VERIFIER: &str = "http://127.0.0.1:8546";
const SEQUENCER: &str = "http://127.0.0.1:8545";
/// Units that a claim is about: some L1 blocks and the L2 blocks between them.
const UNITS: u64 = 24;
/// Where the challenger shows itself.
const CHALLENGER: &str = "127.0.0.1:9660";

/// How the fraud is staged.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "bitsect-fraud", version)]
pub struct FraudArgs {
    #[command(flatten)]
    files: Files,
    /// Starts a new devnet; without it the one in the folder goes on.
    #[arg(long)]
    fresh: bool,
}

#[derive(Clone, Debug, Args)]
struct Files {
    /// The devnet's folder.
    #[arg(long, default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// The program as .ci/guest builds it.
    #[arg(long, env = "BITSECT_GUEST")]
    guest: PathBuf,
}

/// A child process that ends with its owner, in order where it can.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        if rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok() {
            // It has been asked to end, and does: nothing here is of value when it does not.
            let _ = self.0.wait();
        }
    }
}

/// What all steps need.
struct Stage {
    devnet: PathBuf,
    /// The fraud's own folder, one for each time.
    folder: PathBuf,
    client: Client,
    cookie: PathBuf,
    l1_url: String,
    program: PathBuf,
}

fn binary(name: &str) -> eyre::Result<PathBuf> {
    let own = std::env::current_exe().wrap_err("failed to find the program's folder")?;
    let path = own.with_file_name(name);
    ensure!(
        path.exists(),
        "failed to find {}: build the workspace",
        path.display()
    );
    Ok(path)
}

/// Stages the fraud.
///
/// # Errors
/// Whatever keeps it from its end.
pub async fn run(args: FraudArgs) -> eyre::Result<()> {
    println!("Starting the devnet in {}", args.files.data_dir.display());
    let _devnet = start_devnet(&args)?;
    let verifier = Rpc::new(VERIFIER.to_owned());
    until("the devnet", || async {
        let call = verifier.call("rollup_syncStatus", json!([])).await;
        call.map(drop).map_err(|error| format!("{error:?}"))
    })
    .await;
    let stage = Stage::open(&args)?;
    let start = units(&verifier).await;
    let slot = committee::set_up(&stage, &verifier, start).await?;
    let (unit, block, hash) = a_unit_with_a_transaction(&verifier, start).await?;
    println!(
        "L2 transaction {hash} is in block {block}, which unit {} executes.",
        start + unit
    );
    until("the units of the claim", || async {
        let count = units(&verifier).await;
        if count >= start + UNITS {
            Ok(())
        } else {
            Err(format!("{count} units"))
        }
    })
    .await;
    let challenger = start_challenger(&stage)?;
    let mut operator = liar::start(&stage, slot.clone(), (UNITS as u32, unit)).await?;
    println!(
        "\nThe operator claims a false state after {UNITS} units. It lies about unit {}.",
        start + unit
    );
    println!("The challenger's own view: bitsect-challenger status --metrics-listen {CHALLENGER}\n");
    let state = show::follow(&mut operator.shown).await?;
    operator.task.abort();
    show::table(&slot, &state);
    // Its store has one owner at a time.
    drop(challenger);
    explain(&stage)
}

fn start_devnet(args: &FraudArgs) -> eyre::Result<Running> {
    let mut command = Command::new(binary("bitsect-node")?);
    command
        .args(["devnet", "--l1-interval", "1s", "--data-dir"])
        .arg(&args.files.data_dir);
    if args.fresh {
        command.arg("--fresh");
    }
    let child = command.stdout(Stdio::null()).stdin(Stdio::null()).spawn();
    child.map(Running).wrap_err("failed to start the devnet")
}

impl Stage {
    fn open(args: &FraudArgs) -> eyre::Result<Self> {
        let devnet = args.files.data_dir.clone();
        let url = std::fs::read_to_string(devnet.join(L1_URL_FILE))
            .wrap_err("failed to read Bitcoin Core's address")?;
        let l1_url = url.trim().to_owned();
        let cookie = default_cookie(&devnet.join("bitcoin"), bitcoin::Network::Regtest);
        let client = Client::new(RpcConfig::new(l1_url.clone(), Auth::Cookie(cookie.clone())));
        let mut number = 0;
        let folder = loop {
            let folder = devnet.join(format!("fraud-{number}"));
            match std::fs::create_dir(&folder) {
                Ok(()) => break folder,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).wrap_err("failed to make a folder"),
            }
        };
        let chain = ChainFile::read(&devnet.join(CHAIN_FILE)).wrap_err("failed to read the chain file")?;
        let guest = std::fs::read(&args.files.guest)
            .wrap_err_with(|| format!("failed to read {}", args.files.guest.display()))?;
        let elf = bitsect_guest::params::write(&guest, &chain.params)
            .wrap_err("failed to write the chain's parameters into the program")?;
        let program = folder.join("program.elf");
        std::fs::write(&program, elf).wrap_err("failed to write the program")?;
        std::fs::copy(&args.files.guest, folder.join("guest.elf")).wrap_err("failed to copy the program")?;
        Ok(Self {
            devnet,
            folder,
            client: client.wrap_err("failed to use Bitcoin Core's address")?,
            cookie,
            l1_url,
            program,
        })
    }

    fn chain_file(&self) -> PathBuf {
        self.devnet.join(CHAIN_FILE)
    }

    fn member(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    fn deployment(&self) -> PathBuf {
        self.folder.join("deployment.toml")
    }

    fn log(&self, name: &str) -> eyre::Result<Stdio> {
        let path = self.folder.join(format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&path);
        file.map(Stdio::from)
            .wrap_err_with(|| format!("failed to write {}", path.display()))
    }
}

async fn units(verifier: &Rpc) -> u64 {
    let status = verifier.get("rollup_syncStatus", json!([])).await;
    status["units"].as_u64().unwrap_or_default()
}

/// Sends a transfer, and gives the unit that executes its block, counted from `start`, the block, and the transaction.
async fn a_unit_with_a_transaction(verifier: &Rpc, start: u64) -> eyre::Result<(u64, u64, String)> {
    let sequencer = Rpc::new(SEQUENCER.to_owned());
    let mut alice = Wallet::funded(0);
    let nonce = sequencer
        .get("eth_getTransactionCount", json!([alice.address, "latest"]))
        .await;
    alice.nonce = crate::number(&nonce);
    let to = Wallet::funded(1).address;
    let hash = sequencer.sent(&alice.transfer(to, 1_000_000_000_000_000)).await;
    let receipt = sequencer.included(&hash).await;
    let block = crate::number(&receipt["blockNumber"]);
    let after = until("the transaction's unit", || async {
        let unit: Value = verifier.get("rollup_unitOf", json!([block])).await;
        unit.as_u64()
            .ok_or_else(|| format!("block {block} is not derived"))
    })
    .await;
    let Some(unit) = after.checked_sub(start + 1) else {
        bail!("failed to place the transaction: unit {after} is before the slot's start, {start}");
    };
    Ok((unit, block, hash))
}

fn start_challenger(stage: &Stage) -> eyre::Result<Running> {
    let mut command = Command::new(binary("bitsect-challenger")?);
    command
        .arg("run")
        .args(challenger_args(stage))
        .args(["--metrics-listen", CHALLENGER]);
    command
        .stdout(stage.log("challenger")?)
        .stderr(stage.log("challenger")?)
        .stdin(Stdio::null());
    command
        .spawn()
        .map(Running)
        .wrap_err("failed to start the challenger")
}

fn challenger_args(stage: &Stage) -> Vec<std::ffi::OsString> {
    let options: [(&str, &Path); 7] = [
        ("--data-dir", &stage.member("challenger-chain")),
        ("--chain-file", &stage.chain_file()),
        ("--l1-cookie-file", &stage.cookie),
        ("--guest-file", &stage.folder.join("guest.elf")),
        ("--deployment", &stage.deployment()),
        ("--key-file", &stage.key("challenger")),
        ("--committee-store", &stage.member("challenger")),
    ];
    let mut args: Vec<std::ffi::OsString> = vec!["--l1-url".into(), stage.l1_url.clone().into()];
    args.extend(
        options
            .into_iter()
            .flat_map(|(name, path)| [name.into(), path.into()]),
    );
    args
}

/// Asks the challenger why it disagreed.
fn explain(stage: &Stage) -> eyre::Result<()> {
    println!("\nbitsect-challenger explain 0");
    let mut command = Command::new(binary("bitsect-challenger")?);
    let status = command
        .args(["explain", "0"])
        .args(challenger_args(stage))
        .status();
    let code = status.wrap_err("failed to ask the challenger")?.code();
    // 3 says that the claim is wrong.
    ensure!(
        code == Some(3),
        "failed to have the claim explained as wrong: exit code {code:?}"
    );
    Ok(())
}
