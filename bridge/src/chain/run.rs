//! Runs of units in the background.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::B256;
use bitsect_machine::{Limits, Machine, Program, ProgramError, address};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cache::Cache;
use super::{TRACE_STEPS, Trace, TraceError, UnitInput};

/// Bytes that traces which nobody uses may keep: eight of the largest units.
const CACHE_BYTES: usize = 1 << 30;
/// Bytes of one run's snapshots; 83e9 steps took 50 MiB.
const SNAPSHOT_BYTES: usize = 512 << 20;
/// Runs at a time: each keeps a core busy.
const PARALLEL: usize = 2;

/// What runs may take.
#[derive(Clone, Copy, Debug)]
pub struct RunnerConfig {
    /// Steps of a trace.
    pub steps: u64,
    /// Snapshots of one run.
    pub limits: Limits,
    /// Bytes of traces that are kept although nobody uses them.
    pub cache_bytes: usize,
    /// Runs at a time; others wait.
    pub parallel: usize,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            steps: TRACE_STEPS,
            limits: Limits {
                bytes: SNAPSHOT_BYTES,
                ..Limits::default()
            },
            cache_bytes: CACHE_BYTES,
            parallel: PARALLEL,
        }
    }
}

/// Why there is no trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// It was told to end.
    #[error("the run was cancelled")]
    Cancelled,
    /// The machine could not be run.
    #[error("the run failed: {reason}")]
    Failed {
        /// Why.
        reason: String,
    },
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps made. How many there will be nobody knows before.
    pub steps: u64,
    /// Whether it has ended, in whatever way.
    pub ended: bool,
}

#[derive(Clone)]
enum State {
    Running(u64),
    Ended(Result<Arc<Trace>, RunError>),
}

/// A run in the background. Clones are the same run.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "gigabytes of pages")]
pub struct Run {
    state: watch::Receiver<State>,
    cancel: CancellationToken,
}

impl Run {
    /// Tells how far it is.
    pub fn progress(&self) -> Progress {
        match &*self.state.borrow() {
            State::Running(steps) => Progress {
                steps: *steps,
                ended: false,
            },
            State::Ended(ended) => Progress {
                steps: ended.as_ref().map_or(0, |trace| trace.end_step()),
                ended: true,
            },
        }
    }

    /// Ends it for everybody who waits, within seconds. One that has ended stays as it is.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Waits until it has ended, and gives the trace.
    ///
    /// # Errors
    /// [`RunError`] where it was cancelled, or could not be run.
    pub async fn trace(&self) -> Result<Arc<Trace>, RunError> {
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| matches!(state, State::Ended(_))).await;
        match ended.as_deref() {
            Ok(State::Ended(ended)) => ended.clone(),
            // The sender goes without a word where the runtime ends.
            Ok(State::Running(_)) | Err(_) => Err(RunError::Cancelled),
        }
    }
}

/// Runs units of one chain's program. Dropping it cancels what runs.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "gigabytes of pages")]
pub struct Runner {
    program: Arc<Program>,
    root: B256,
    input_siblings: Arc<[B256]>,
    config: RunnerConfig,
    cache: Arc<Mutex<Cache<Run>>>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    _guard: Arc<DropGuard>,
}

impl Runner {
    /// Loads a program.
    ///
    /// # Errors
    /// Where the file is no program, or the system does not give 4 GiB of address space.
    pub fn new(elf: &[u8], config: RunnerConfig) -> Result<Self, ProgramFault> {
        let program = Arc::new(Program::from_elf(elf)?);
        let mut machine = Machine::new(&program, &[0; 64]).map_err(ProgramFault::Memory)?;
        let root = machine.root();
        let input = machine
            .prove_leaf(address::INPUT, &bitsect_machine::Preimages::default())
            .expect("nothing is opaque before the first step");
        let stop = CancellationToken::new();
        Ok(Self {
            program,
            root,
            input_siblings: input.siblings.into(),
            config,
            cache: Arc::new(Mutex::new(Cache::new(config.cache_bytes))),
            permits: Arc::new(Semaphore::new(config.parallel.max(1))),
            _guard: Arc::new(stop.clone().drop_guard()),
            stop,
        })
    }

    /// Gives the program.
    pub const fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Gives the program root: the state before the first step with an input of zeros.
    pub const fn program_root(&self) -> B256 {
        self.root
    }

    /// Gives the siblings of the input leaf before the first step, the leaf's own first: whatever the input is, they are
    /// the program's.
    pub fn input_siblings(&self) -> &[B256] {
        &self.input_siblings
    }

    /// Runs a unit, or gives the run of it that is kept or under way. Must be called in a tokio runtime.
    pub fn start(&self, input: UnitInput) -> Run {
        let key = input.fingerprint();
        let mut cache = lock(&self.cache);
        if let Some(run) = cache.get(&key).filter(|run| !run.cancel.is_cancelled()) {
            return run;
        }
        let (sender, state) = watch::channel(State::Running(0));
        let run = Run {
            state,
            cancel: self.stop.child_token(),
        };
        cache.begin(key, run.clone());
        drop(cache);
        let job = Job {
            program: self.program.clone(),
            input,
            config: self.config,
            sender,
            cancel: run.cancel.clone(),
        };
        let (cache, permits) = (self.cache.clone(), self.permits.clone());
        tokio::spawn(async move { job.run(key, &cache, permits).await });
        run
    }

    /// Gives the bytes of the traces that are kept.
    pub fn cached_bytes(&self) -> usize {
        lock(&self.cache).bytes()
    }
}

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramFault {
    /// The file is no program.
    #[error("program: {0}")]
    Program(#[from] ProgramError),
    /// The system does not give 4 GiB of address space.
    #[error("memory: {0}")]
    Memory(std::io::Error),
}

/// One recording.
struct Job {
    program: Arc<Program>,
    input: UnitInput,
    config: RunnerConfig,
    sender: watch::Sender<State>,
    cancel: CancellationToken,
}

impl Job {
    async fn run(self, key: B256, cache: &Mutex<Cache<Run>>, permits: Arc<Semaphore>) {
        let Self {
            program,
            input,
            config,
            sender,
            cancel,
        } = self;
        let permit = tokio::select! {
            () = cancel.cancelled() => None,
            permit = permits.acquire_owned() => permit.ok(),
        };
        let progress = sender.clone();
        let ended = match permit {
            None => Err(RunError::Cancelled),
            Some(_permit) => {
                let record = move || {
                    Trace::record(program, input, config.steps, config.limits, |steps| {
                        progress.send_replace(State::Running(steps));
                        !cancel.is_cancelled()
                    })
                };
                ended(tokio::task::spawn_blocking(record).await)
            }
        };
        let mut kept = lock(cache);
        match &ended {
            Ok(trace) => kept.finish(&key, trace.bytes()),
            Err(_) => kept.remove(&key),
        }
        drop(kept);
        sender.send_replace(State::Ended(ended));
    }
}

fn ended(
    recorded: Result<Result<Option<Trace>, TraceError>, tokio::task::JoinError>,
) -> Result<Arc<Trace>, RunError> {
    let failed = |reason: String| RunError::Failed { reason };
    match recorded {
        Ok(Ok(Some(trace))) => Ok(Arc::new(trace)),
        Ok(Ok(None)) => Err(RunError::Cancelled),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) if error.is_cancelled() => Err(RunError::Cancelled),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Nothing panics while it holds the lock, and a cache is never half changed.
fn lock(cache: &Mutex<Cache<Run>>) -> MutexGuard<'_, Cache<Run>> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{End, path_nodes};
    use bitsect_vm::record::UnitRecord;

    /// `j .`, and an instruction that does not exist.
    const LOOP: u32 = 0x0000_006f;
    const BAD: u32 = 0;

    /// An ELF file of one segment, which is the text.
    fn elf(words: &[u32]) -> Vec<u8> {
        const START: u32 = 0x1_0000;
        let size = 4 * words.len() as u32;
        let mut file = b"\x7fELF\x01\x01\x01".to_vec();
        file.resize(16, 0);
        // Type, processor, version; entry, program headers, sections, flags; sizes and counts.
        for half in [2_u16, 243] {
            file.extend(half.to_le_bytes());
        }
        for word in [1, START, 52, 0, 0_u32] {
            file.extend(word.to_le_bytes());
        }
        for half in [52_u16, 32, 1, 40, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        // Loaded, read and execute.
        for word in [1, 84, START, START, size, size, 5, 4] {
            file.extend(word.to_le_bytes());
        }
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file
    }

    fn input(advice: u8) -> UnitInput {
        let record = UnitRecord {
            before: B256::repeat_byte(1),
            advice: B256::ZERO,
            after: B256::ZERO,
            state: Vec::new(),
            nodes: Vec::new(),
            blobs: Vec::new(),
            block: None,
        };
        let mut leaf = record.input();
        leaf[63] = advice;
        UnitInput::new(leaf, &record, None).unwrap()
    }

    #[tokio::test]
    async fn a_run_is_cancelled_while_it_runs_and_may_start_again() {
        let runner = Runner::new(&elf(&[LOOP]), RunnerConfig::default()).unwrap();
        let run = runner.start(input(0));
        let mut state = run.state.clone();
        state
            .wait_for(|state| matches!(state, State::Running(steps) if *steps > 0))
            .await
            .unwrap();
        assert!(!run.progress().ended);
        let same = runner.start(input(0));
        run.cancel();
        assert_eq!(run.trace().await.err(), Some(RunError::Cancelled));
        assert_eq!(same.trace().await.err(), Some(RunError::Cancelled));
        assert!(run.progress().ended);
        let again = runner.start(input(0));
        assert!(!again.progress().ended);
        // Whoever drops the runner ends what it runs.
        drop(runner);
        assert_eq!(again.trace().await.err(), Some(RunError::Cancelled));
    }

    #[tokio::test]
    async fn a_run_that_waits_for_its_turn_is_cancelled() {
        let config = RunnerConfig {
            parallel: 1,
            ..RunnerConfig::default()
        };
        let runner = Runner::new(&elf(&[LOOP]), config).unwrap();
        let (first, second) = (runner.start(input(0)), runner.start(input(1)));
        second.cancel();
        assert_eq!(second.trace().await.err(), Some(RunError::Cancelled));
        assert!(!first.progress().ended);
    }

    #[tokio::test]
    async fn a_trace_ends_where_the_dispute_does() {
        let config = RunnerConfig {
            steps: 1_000,
            ..RunnerConfig::default()
        };
        let runner = Runner::new(&elf(&[LOOP]), config).unwrap();
        let trace = runner.start(input(0)).trace().await.unwrap();
        assert_eq!((trace.end(), trace.end_step()), (End::Unfinished, 1_000));
        // A loop that changes nothing has one state.
        assert_eq!(trace.state_at(1_000).unwrap(), trace.state_at(1).unwrap());
        assert!(matches!(
            trace.state_at(1_001),
            Err(TraceError::Step {
                got: 1_001,
                limit: 1_000
            })
        ));
        assert_eq!(trace.output(), None);
    }

    #[tokio::test]
    async fn a_trap_repeats_and_the_cache_keeps_what_fits() {
        let config = RunnerConfig {
            cache_bytes: 100_000,
            ..RunnerConfig::default()
        };
        let runner = Runner::new(&elf(&[BAD]), config).unwrap();
        let first = runner.start(input(0)).trace().await.unwrap();
        assert_eq!(first.end_step(), 1);
        assert!(matches!(first.end(), End::Trapped(_)));
        for step in [1, 2, TRACE_STEPS] {
            assert_eq!(first.state_at(step).unwrap(), Some(first.end_state()));
        }
        let last = first.witness_at(TRACE_STEPS - 1).unwrap().unwrap();
        assert_eq!((last.before, last.after), (first.end_state(), first.end_state()));
        let leaf = first.leaf_at(0, address::INPUT).unwrap().unwrap();
        assert_eq!(&leaf.leaf, first.input().leaf());
        assert_eq!(leaf.siblings, runner.input_siblings());
        assert_eq!(path_nodes(&leaf).last().copied(), first.state_at(0).unwrap());
        for (step, address) in [
            (0, address::INPUT),
            (0, address::CONTROL),
            (1, address::INPUT),
            (2, address::KEY),
            (0, address::INPUT),
        ] {
            // A machine that is kept answers as a fresh one does.
            let known = first.path_at(step, address, 0).unwrap().unwrap();
            let leaf = first.leaf_at(step, address).unwrap().unwrap();
            assert_eq!((known.leaf, known.siblings), (Some(leaf.leaf), leaf.siblings));
            let root = first.machine_at(step).unwrap().unwrap().root();
            assert_eq!(
                [first.state_at(step).unwrap(), first.state_at(step).unwrap()],
                [Some(root); 2]
            );
        }
        let again = runner.start(input(0)).trace().await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for advice in 1..40 {
            runner.start(input(advice)).trace().await.unwrap();
        }
        assert!(runner.cached_bytes() <= 100_000);
        let again = runner.start(input(0)).trace().await.unwrap();
        assert!(!Arc::ptr_eq(&first, &again), "it had to make room");
        assert_eq!(first.end_state(), again.end_state());
    }
}
