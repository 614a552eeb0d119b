//! A challenger as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use bitsect_l1::regtest::free_port;
use bitsect_tests::{ChallengerListener, Network, program};

/// A running challenger that only watches. Dropping it kills the process; its folder stays.
pub struct Watch {
    process: Child,
    /// Where it listens.
    pub listener: ChallengerListener,
}

/// A command of the challenger with the options that find chain and Bitcoin Core.
pub fn command(network: &Network, name: &str, dir: &Path) -> Command {
    let mut command = Command::new(program("bitsect-challenger"));
    command.arg(name).arg("--data-dir").arg(dir);
    command.arg("--chain-file").arg(network.chain_path());
    command.args(["--l1-url", &network.core.rpc_url()]);
    command.arg("--l1-cookie-file").arg(network.core.cookie());
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("the challenger's program runs")
}

impl Watch {
    /// Starts it in a folder; more options come behind.
    pub fn start(network: &Network, dir: &Path, options: &[&str]) -> Self {
        std::fs::create_dir_all(dir).expect("a folder for the challenger");
        let log: PathBuf = dir.join("log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let address = format!("127.0.0.1:{}", free_port().expect("a free port"));
        let process = command(network, "watch", dir)
            .args(["--metrics-listen", &address])
            .args(options)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .spawn()
            .expect("the challenger starts");
        let listener = ChallengerListener::new(address);
        Self { process, listener }
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.process.kill().expect("the process can be killed");
        self.process.wait().expect("the process can be waited for");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            self.process.kill().expect("the process can be killed");
            self.process.wait().expect("the process can be waited for");
        }
    }
}
