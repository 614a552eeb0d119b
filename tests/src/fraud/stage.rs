//! Where a fraud happens: Bitcoin Core, a verifier, the program, a folder for the members' files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bitsect_l1::rpc::{Auth, Client, RpcConfig, default_cookie};
use bitsect_node::chain_file::ChainFile;
use bitsect_node::devnet::L1_URL_FILE;
use eyre::{WrapErr, ensure};

use crate::Rpc;
use crate::node::find_program;

/// Where the challenger shows itself.
pub const CHALLENGER: &str = "127.0.0.1:9660";

/// A child process that ends with its owner, in order where it can.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn start(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::null()).spawn().map(Self)
    }
}

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
#[derive(Debug)]
pub struct Stage {
    /// A devnet's folder, or one that is laid out like it.
    pub(super) devnet: PathBuf,
    pub(super) chain_file: PathBuf,
    /// The fraud's own folder, one for each time.
    pub(super) folder: PathBuf,
    pub(super) client: Client,
    pub(super) cookie: PathBuf,
    pub(super) l1_url: String,
    pub(super) program: PathBuf,
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
        let folder = new_folder(devnet)?;
        let chain = ChainFile::read(chain_file).wrap_err("failed to read the chain file")?;
        let bytes = std::fs::read(guest).wrap_err_with(|| format!("failed to read {}", guest.display()))?;
        let elf = bitsect_guest::params::write(&bytes, &chain.params)
            .wrap_err("failed to write the chain's parameters into the program")?;
        let program = folder.join("program.elf");
        std::fs::write(&program, elf).wrap_err("failed to write the program")?;
        std::fs::copy(guest, folder.join("guest.elf")).wrap_err("failed to copy the program")?;
        Ok(Self {
            devnet: devnet.to_owned(),
            chain_file: chain_file.to_owned(),
            folder,
            client: client.wrap_err("failed to use Bitcoin Core's address")?,
            cookie,
            l1_url,
            program,
            verifier: Rpc::new(verifier.to_owned()),
        })
    }

    pub(super) fn member(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    pub(super) fn deployment(&self) -> PathBuf {
        self.folder.join("deployment.toml")
    }

    pub(super) fn log(&self, name: &str) -> eyre::Result<Stdio> {
        let path = self.folder.join(format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&path);
        file.map(Stdio::from)
            .wrap_err_with(|| format!("failed to write {}", path.display()))
    }

    /// Starts the honest challenger.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_challenger(&self) -> eyre::Result<Running> {
        let mut command = Command::new(find_program("bitsect-challenger")?);
        command.arg("run").args(self.challenger_args());
        command.args(["--metrics-listen", CHALLENGER]);
        command
            .stdout(self.log("challenger")?)
            .stderr(self.log("challenger")?);
        Running::start(command).wrap_err("failed to start the challenger")
    }

    fn challenger_args(&self) -> Vec<OsString> {
        let options: [(&str, &Path); 7] = [
            ("--data-dir", &self.member("challenger-chain")),
            ("--chain-file", &self.chain_file),
            ("--l1-cookie-file", &self.cookie),
            ("--guest-file", &self.folder.join("guest.elf")),
            ("--deployment", &self.deployment()),
            ("--key-file", &self.key("challenger")),
            ("--committee-store", &self.member("challenger")),
        ];
        let options = options
            .into_iter()
            .flat_map(|(name, path)| [name.into(), path.into()]);
        let url: [OsString; 2] = ["--l1-url".into(), self.l1_url.clone().into()];
        url.into_iter().chain(options).collect()
    }

    /// Asks the challenger why it disagreed. It must not run: its store has one owner at a time.
    ///
    /// # Errors
    /// Where the claim is not explained as wrong.
    pub fn explain(&self) -> eyre::Result<()> {
        println!("\nbitsect-challenger explain 0");
        let mut command = Command::new(find_program("bitsect-challenger")?);
        let status = command
            .args(["explain", "0"])
            .args(self.challenger_args())
            .status();
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
