//! The other programs of the workspace, as processes.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use bitsect_l1::regtest::die_with_parent;
use eyre::{WrapErr, ensure, eyre};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Finds a program of the workspace: beside our own, or where that is a test's, in the folder above.
///
/// # Errors
/// Where it is not built.
pub fn find_program(name: &str) -> eyre::Result<PathBuf> {
    let own = std::env::current_exe().wrap_err("failed to find the running program")?;
    let folders = own.ancestors().skip(1).take(2);
    let mut programs = folders.map(|folder| folder.join(name));
    programs
        .find(|program| program.exists())
        .ok_or_else(|| eyre!("failed to find {name}: build the workspace (cargo build --workspace --bins)"))
}

/// Runs a command to its end, and gives what it prints.
///
/// # Errors
/// Where it fails; with its exit code and what it said.
pub fn output(command: Command) -> eyre::Result<String> {
    output_of(command, "")
}

/// Runs a command that reads `input` to its end, and gives what it prints.
///
/// # Errors
/// As [`output`].
pub fn output_of(mut command: Command, input: &str) -> eyre::Result<String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().wrap_err("failed to run a program")?;
    let mut stdin = child.stdin.take().expect("the stream is piped");
    // One that has ended already says by its exit code why.
    let _unheard = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().wrap_err("failed to run a program")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    ensure!(output.status.success(), "exit code {code:?}: {errors}");
    String::from_utf8(output.stdout).map_err(|_| eyre!("failed to read what a program prints"))
}

/// A child process that ends with its owner, in order where it can.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a program. The thread that does has to live as long as it: the program is told to end with it.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(mut command: Command) -> std::io::Result<Self> {
        die_with_parent(&mut command);
        command.stdin(Stdio::null()).spawn().map(Self)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has ended, by itself or because it was dropped.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let pid = Pid::from_child(&self.0);
        async move {
            // It stays a zombie, so that nobody else gets its id. An error says that it is gone.
            let wait = move || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let _gone = tokio::task::spawn_blocking(wait).await;
        }
    }
}

/// Asks a process to end, as a terminal does.
pub(super) fn ask_to_end(id: Option<u32>) -> eyre::Result<()> {
    let pid = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let pid = pid.ok_or_else(|| eyre!("failed to end a program: it has ended"))?;
    kill_process(pid, Signal::TERM).wrap_err("failed to end a program")
}

impl Drop for Running {
    fn drop(&mut self) {
        if kill_process(Pid::from_child(&self.0), Signal::TERM).is_ok() {
            // It has been asked to end, and does: nothing here is of value when it does not.
            let _ = self.0.wait();
        }
    }
}
