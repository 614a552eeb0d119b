//! A node as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bitsect_l1::regtest::free_port;
use bitsect_node::devnet::program::find_program;
use serde_json::json;

use crate::{Rpc, until};

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Orders transactions and posts batches.
    Sequencer,
    /// Rebuilds the chain from Bitcoin.
    Verifier,
}

/// A running node. Dropping it kills the process; its folder stays.
#[derive(Debug)]
pub struct Node {
    process: Child,
    log: PathBuf,
    /// Its JSON-RPC.
    pub rpc: Rpc,
    /// The address of its metrics; health is beside it.
    pub metrics: String,
}

/// A program of the workspace, which `.ci/run` builds before the tests.
///
/// # Panics
/// When it is not built.
pub fn program(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|error| panic!("{error:#}"))
}

impl Node {
    /// Starts a node in a folder and waits until it answers.
    ///
    /// # Panics
    /// When it does not start; with what it logged.
    pub async fn start(
        role: Role,
        dir: &Path,
        chain_file: &Path,
        l1: (&str, &Path),
        options: &[(&str, String)],
    ) -> Self {
        std::fs::create_dir_all(dir).expect("a folder for the node");
        let log = dir.join("log");
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let [port, metrics_port] = [(); 2].map(|()| free_port().expect("a free port"));
        let mut command = Command::new(program("bitsect-node"));
        command
            .arg("run")
            .arg("--data-dir")
            .arg(dir)
            .arg("--chain-file")
            .arg(chain_file);
        command.args(["--l1-url", l1.0]).arg("--l1-cookie-file").arg(l1.1);
        command.args([
            "--rpc-listen",
            &format!("127.0.0.1:{port}"),
            "--metrics-listen",
            &format!("127.0.0.1:{metrics_port}"),
            "--log",
            "info,bitsect_node=debug",
        ]);
        if role == Role::Sequencer {
            command.arg("--sequencer");
        }
        for (name, value) in options {
            command.arg(format!("--{name}")).arg(value);
        }
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output);
        let mut process = command.spawn().expect("the node starts");
        let rpc = Rpc::new(format!("http://127.0.0.1:{port}"));
        until("the node's first answer", || {
            let ended = process.try_wait().expect("the process can be asked");
            if let Some(status) = ended {
                panic!(
                    "the node ended with {status}:\n{}",
                    std::fs::read_to_string(&log).unwrap_or_default()
                );
            }
            let rpc = rpc.clone();
            async move {
                rpc.call("eth_chainId", json!([]))
                    .await
                    .map_err(|fault| fault.to_string())
            }
        })
        .await;
        Self {
            process,
            log,
            rpc,
            metrics: format!("http://127.0.0.1:{metrics_port}/metrics"),
        }
    }

    /// Ends it without warning.
    ///
    /// # Panics
    /// When the process cannot be killed.
    pub fn kill(mut self) {
        self.process.kill().expect("the process can be killed");
        self.process.wait().expect("the process can be waited for");
    }

    /// What it has logged in all its runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A process that has ended already is as good as killed.
        drop(self.process.kill());
        drop(self.process.wait());
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("last lines of {}:", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
