//! Where a fraud happens: Bitcoin Core, a verifier, and a committee's files.

use std::path::{Path, PathBuf};
use std::process::Command;

use bitsect_l1::rpc::{Auth, Client, RpcConfig, default_cookie};
use bitsect_node::devnet::L1_URL_FILE;
use bitsect_node::devnet::committee::{Committee, Links, Member};
use bitsect_node::devnet::program::{Running, find_program};
use eyre::{WrapErr, ensure};

use crate::Rpc;

/// The first of the members' ports: not those of a devnet's bridge, which may run beside the fraud.
const FIRST_PORT: u16 = 9750;

/// What all steps need.
#[derive(Debug)]
pub struct Stage {
    /// A devnet's folder, or one that is laid out like it.
    pub(super) devnet: PathBuf,
    /// The members, with a folder of their own each time.
    pub(super) committee: Committee,
    pub(super) client: Client,
    /// What the verifier answers.
    pub verifier: Rpc,
}

impl Stage {
    /// Prepares a fraud in a devnet's folder, on the chain of that file, which the node at `verifier` knows. `guest` is the
    /// program as `.ci/guest` builds it.
    ///
    /// # Errors
    /// Where a file cannot be read or written.
    pub fn open(devnet: &Path, chain_file: &Path, verifier: &str, guest: &Path) -> eyre::Result<Self> {
        let url = std::fs::read_to_string(devnet.join(L1_URL_FILE))
            .wrap_err("failed to read Bitcoin Core's address")?;
        let l1_url = url.trim().to_owned();
        let cookie = default_cookie(&devnet.join("bitcoin"), bitcoin::Network::Regtest);
        let client = Client::new(RpcConfig::new(l1_url.clone(), Auth::Cookie(cookie.clone())));
        let committee = Committee::open(&new_folder(devnet)?, &Member::PAIR, FIRST_PORT)?;
        committee.configure(&Links {
            l1_url,
            l1_cookie: cookie,
            chain_file: chain_file.to_owned(),
            sequencer: verifier.to_owned(),
            verifier: verifier.to_owned(),
            guest: Some(guest.to_owned()),
        })?;
        Ok(Self {
            devnet: devnet.to_owned(),
            committee,
            client: client.wrap_err("failed to use Bitcoin Core's address")?,
            verifier: Rpc::new(verifier.to_owned()),
        })
    }

    /// Gives where the challenger shows itself.
    pub fn challenger(&self) -> String {
        self.committee.status_address(Member::CHALLENGER)
    }

    /// Starts the honest challenger.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_challenger(&self) -> eyre::Result<Running> {
        self.committee.start(Member::CHALLENGER)
    }

    /// Asks the challenger why it disagreed. It must not run: its store has one owner at a time.
    ///
    /// # Errors
    /// Where the claim is not explained as wrong.
    pub fn explain(&self) -> eyre::Result<()> {
        println!("\nbitsect-challenger explain 0");
        let mut command = Command::new(find_program("bitsect-challenger")?);
        command.args(["explain", "0", "--config"]);
        command.arg(self.committee.challenger_config(Member::CHALLENGER));
        let status = command.status();
        let code = status.wrap_err("failed to ask the challenger")?.code();
        // 3 says that the claim is wrong.
        ensure!(
            code == Some(3),
            "failed to have the claim explained as wrong: exit code {code:?}"
        );
        Ok(())
    }
}

fn new_folder(devnet: &Path) -> eyre::Result<PathBuf> {
    let mut number = 0;
    loop {
        let folder = devnet.join(format!("fraud-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error).wrap_err("failed to make a folder"),
        }
    }
}
