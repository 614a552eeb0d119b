//! The bitcoind process: readiness by its own words, end with its parent.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::RegtestError;

/// Lines of output kept for the error message.
const KEPT_LINES: usize = 12;
/// What bitcoind prints when RPC answers and everything is loaded.
const READY: &str = "init message: Done loading";

#[derive(Clone, Debug)]
enum Stage {
    Starting,
    Ready,
    Ended { status: String, output: String },
}

/// A running bitcoind. Dropping it kills the process and waits for its end.
#[derive(Debug)]
pub(super) struct Process {
    child: Arc<Mutex<Child>>,
    stage: watch::Receiver<Stage>,
}

impl Process {
    /// Starts the process.
    pub(super) fn spawn(program: &Path, args: &[String], dir: &Path) -> std::io::Result<Self> {
        let errors = dir.join("stderr.log");
        let mut command = Command::new(program);
        command
            .args(args)
            // A terminal sends Ctrl-C to the whole group; the owner stops Core in order instead.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&errors)?);
        die_with_parent(&mut command);
        let (set_stage, stage) = watch::channel(Stage::Starting);
        let (send, receive) = std::sync::mpsc::channel();
        // The kernel ties the child to the *thread* that made it, so this thread lives as long as the child.
        std::thread::Builder::new()
            .name("bitcoind".into())
            .spawn(move || {
                let child = match command.spawn() {
                    Ok(child) => Arc::new(Mutex::new(child)),
                    Err(error) => {
                        let _unheard = send.send(Err(error));
                        return;
                    }
                };
                let output = child.lock().stdout.take();
                // When the receiver is gone the Process is dropped, which cannot be before this answer.
                let _unheard = send.send(Ok(child.clone()));
                let mut last = VecDeque::new();
                for line in output
                    .into_iter()
                    .flat_map(|o| BufReader::new(o).lines())
                    .map_while(Result::ok)
                {
                    if line.contains(READY) {
                        set_stage.send_replace(Stage::Ready);
                    }
                    if last.len() == KEPT_LINES {
                        last.pop_front();
                    }
                    last.push_back(line);
                }
                let status = match child.lock().wait() {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                let mut output = Vec::from(last).join("\n");
                output.push('\n');
                output.push_str(&std::fs::read_to_string(&errors).unwrap_or_default());
                set_stage.send_replace(Stage::Ended { status, output });
            })?;
        let child = receive
            .recv()
            .map_err(|_| std::io::Error::other("the thread ended early"))??;
        Ok(Self { child, stage })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.lock().id()
    }

    /// Waits until it is ready.
    pub(super) async fn ready(&self, patience: Duration) -> Result<(), RegtestError> {
        match self
            .reach("get ready", patience, |stage| !matches!(stage, Stage::Starting))
            .await?
        {
            Stage::Ended { status, output } => Err(RegtestError::Ended { status, output }),
            _ => Ok(()),
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self, patience: Duration) -> Result<(), RegtestError> {
        self.reach("end", patience, |stage| matches!(stage, Stage::Ended { .. }))
            .await
            .map(drop)
    }

    async fn reach(
        &self,
        what: &'static str,
        patience: Duration,
        mut there: impl FnMut(&Stage) -> bool,
    ) -> Result<Stage, RegtestError> {
        let mut stage = self.stage.clone();
        let reached = tokio::time::timeout(patience, stage.wait_for(&mut there)).await;
        match reached {
            Ok(Ok(stage)) => Ok(stage.clone()),
            // The sender always says `Ended` last.
            Ok(Err(_)) => Err(RegtestError::Use("the thread of bitcoind panicked".into())),
            Err(_) => Err(RegtestError::Slow {
                what,
                seconds: patience.as_secs(),
            }),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock();
        // An error means that it has ended already.
        if child.kill().is_ok() {
            let _ended = child.wait();
        }
    }
}

/// Makes the kernel tell the child to stop when this program ends in any way, `kill -9` included.
/// The kernel ties the child to the *thread* that starts it.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the only way to run something in the child before exec"
)]
pub fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let tie = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        // The parent may have died just before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(std::io::Error::other("the parent is gone"));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock. The error of the
    // second check allocates, and the child ends with it at once.
    unsafe { command.pre_exec(tie) };
}

#[cfg(not(target_os = "linux"))]
pub fn die_with_parent(_command: &mut Command) {}
