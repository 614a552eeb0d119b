//! A devnet as its users have it: the program, started on a folder of its own, until it is dropped.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bitsect_node::devnet::program::find_program;
use eyre::{WrapErr, bail};

/// How long a devnet may take to say that it is ready: Bitcoin Core and a hundred blocks on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(240);
/// How long it may take to stop after SIGTERM before it is killed.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// Lines of output that are kept to explain a failure.
const LINES_KEPT: usize = 200;

/// Private keys of accounts that a devnet funds, 0x-hex.
pub const KEYS: [&str; 6] = [
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
];

/// A running devnet: Bitcoin Core on regtest, a sequencer, a verifier.
#[derive(Debug)]
pub struct Devnet {
    program: Child,
    output: Arc<Mutex<VecDeque<String>>>,
    /// The sequencer's JSON-RPC.
    pub sequencer: String,
    /// The sequencer's metrics and health.
    pub sequencer_metrics: String,
    /// The verifier's JSON-RPC.
    pub verifier: String,
    /// The verifier's metrics and health.
    pub verifier_metrics: String,
    /// Bitcoin Core's RPC.
    pub bitcoin: String,
    /// Its cookie file.
    pub bitcoin_cookie: PathBuf,
    // Deleted last: the fields are dropped in order.
    folder: tempfile::TempDir,
}

impl Devnet {
    /// Starts a devnet with free ports in a new folder, and waits until it is ready.
    ///
    /// # Errors
    /// When the program is not built or does not get ready; with the end of its output.
    pub fn start(args: &[&str]) -> eyre::Result<Self> {
        Self::start_in(tempfile::tempdir().wrap_err("failed to make a folder")?, args)
    }

    /// Ends it, and starts it again in its folder.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self, args: &[&str]) -> eyre::Result<()> {
        self.stop();
        let folder = std::mem::replace(
            &mut self.folder,
            tempfile::tempdir().wrap_err("failed to make a folder")?,
        );
        *self = Self::start_in(folder, args)?;
        Ok(())
    }

    fn start_in(folder: tempfile::TempDir, args: &[&str]) -> eyre::Result<Self> {
        let ports = [
            "--sequencer-port",
            "--verifier-port",
            "--sequencer-metrics-port",
            "--verifier-metrics-port",
        ];
        let mut program = Command::new(node_program()?)
            .arg("devnet")
            .arg("--data-dir")
            .arg(folder.path().join("devnet"))
            .args(ports.iter().flat_map(|port| [*port, "0"]))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .wrap_err("failed to start the devnet")?;
        let output = Arc::new(Mutex::new(VecDeque::new()));
        let (lines, said) = channel();
        follow(program.stdout.take(), &output, Some(lines));
        follow(program.stderr.take(), &output, None);
        let mut devnet = Self {
            program,
            output,
            sequencer: String::new(),
            sequencer_metrics: String::new(),
            verifier: String::new(),
            verifier_metrics: String::new(),
            bitcoin: String::new(),
            bitcoin_cookie: PathBuf::new(),
            folder,
        };
        devnet.wait_ready(&said).wrap_err_with(|| devnet.output())?;
        Ok(devnet)
    }

    /// Gives its folder.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("devnet")
    }

    /// Gives the end of what the program said.
    pub fn output(&self) -> String {
        let lines = self
            .output
            .lock()
            .expect("no reader panics while it holds the lock");
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Reads the addresses that are printed, up to the line that says that everything runs.
    fn wait_ready(&mut self, said: &Receiver<String>) -> eyre::Result<()> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let line = match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("no devnet within {} s", READY_WITHIN.as_secs()),
                Err(RecvTimeoutError::Disconnected) => bail!("the devnet ended before it was ready"),
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["Bitcoin:", url, "(cookie", path] => {
                    self.bitcoin = (*url).to_owned();
                    self.bitcoin_cookie = path.trim_end_matches(')').into();
                }
                ["sequencer", rpc, "metrics", metrics] => {
                    self.sequencer = (*rpc).to_owned();
                    self.sequencer_metrics = metrics.trim_end_matches("/metrics").to_owned();
                }
                ["verifier", rpc, "metrics", metrics] => {
                    self.verifier = (*rpc).to_owned();
                    self.verifier_metrics = metrics.trim_end_matches("/metrics").to_owned();
                }
                ["devnet", "ready"] => break,
                _ => {}
            }
        }
        if [&self.sequencer, &self.verifier, &self.bitcoin]
            .iter()
            .any(|url| url.is_empty())
        {
            bail!("the devnet did not print all addresses");
        }
        Ok(())
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Devnet {
    /// Asks it to end, as a user's terminal would, and kills it where it does not.
    fn stop(&mut self) {
        if matches!(self.program.try_wait(), Ok(Some(_))) {
            return;
        }
        // A signal by the system's own tool, as a user's terminal would send it.
        let asked = Command::new("kill")
            .arg("-TERM")
            .arg(self.program.id().to_string())
            .status();
        let until = Instant::now() + STOPS_WITHIN;
        while asked.as_ref().is_ok_and(|status| status.success()) && Instant::now() < until {
            if matches!(self.program.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // Nothing to do when it is gone already.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The node's program: `BITSECT_NODE_EXE`, else the one that cargo built beside this test.
fn node_program() -> eyre::Result<PathBuf> {
    match std::env::var_os("BITSECT_NODE_EXE") {
        Some(path) => Ok(path.into()),
        None => find_program("bitsect-node"),
    }
}

/// Keeps the end of a stream, and passes its lines on while somebody listens.
fn follow(
    stream: Option<impl Read + Send + 'static>,
    output: &Arc<Mutex<VecDeque<String>>>,
    listener: Option<Sender<String>>,
) {
    let stream = BufReader::new(stream.expect("the stream is piped"));
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            let mut kept = output.lock().expect("no reader panics while it holds the lock");
            if kept.len() == LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(line.clone());
            drop(kept);
            if let Some(listener) = &listener {
                // After the devnet is ready nobody listens.
                let _ = listener.send(line);
            }
        }
    });
}
