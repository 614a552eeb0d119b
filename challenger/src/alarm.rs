//! Alarms: events that a person should hear of, given to the log and to a command.

use std::future::Future;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eyre::{WrapErr, ensure};
use prometheus::{IntCounter, Registry};
use serde::Serialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events that wait for the command; what comes on top is in the log only.
const WAITING: usize = 256;
/// How long the command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// What a person should hear of. Every hash and transaction id is as Bitcoin's or Ethereum's tools show it. `challenger` is
/// the challenger's number in the slot, and `ours` tells whether it is this one's branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum Event {
    /// A claim is on Bitcoin, or is judged anew.
    ClaimSeen {
        /// The slot.
        slot: usize,
        /// The claim's transaction.
        claim: String,
        /// The claim's `k`.
        units: u32,
        /// What it claims.
        claimed: String,
        /// `true`, `false`, `unknown`.
        judgement: &'static str,
    },
    /// A claim is false.
    ClaimFalse {
        /// The slot.
        slot: usize,
        /// The claim's transaction.
        claim: String,
        /// The claim's `k`.
        units: u32,
        /// What it claims.
        claimed: String,
        /// What is true; none where the chain has fewer units.
        expected: Option<String>,
        /// L1 blocks left for a challenge.
        blocks_left: u32,
    },
    /// A claim is challenged.
    ChallengeMade {
        /// The slot.
        slot: usize,
        /// Whose branch.
        challenger: usize,
        /// Whether it is ours.
        ours: bool,
        /// The challenge.
        transaction: String,
    },
    /// A dispute has a confirmed move more.
    DisputeMoved {
        /// The slot.
        slot: usize,
        /// Whose branch.
        challenger: usize,
        /// Whether it is ours.
        ours: bool,
        /// Who moved: `operator` or `challenger`.
        by: &'static str,
        /// The stage that was answered, or is asked for.
        stage: String,
        /// The move.
        transaction: String,
    },
    /// Half of the time for a move, or for a challenge, has passed.
    DeadlineHalf {
        /// The slot.
        slot: usize,
        /// Whose branch; none where a challenge is waited for and there is no branch of ours.
        challenger: Option<usize>,
        /// Whether it is ours.
        ours: bool,
        /// Who has to move.
        turn: &'static str,
        /// The stage, or `challenge`.
        stage: String,
        /// L1 blocks left.
        blocks_left: u32,
    },
    /// The time for a move, or for a challenge, has passed.
    DeadlineMissed {
        /// The slot.
        slot: usize,
        /// Whose branch; none where a challenge is waited for and there is no branch of ours.
        challenger: Option<usize>,
        /// Whether it is ours.
        ours: bool,
        /// Who had to move.
        turn: &'static str,
        /// The stage, or `challenge`.
        stage: String,
    },
    /// A branch has ended.
    DisputeEnded {
        /// The slot.
        slot: usize,
        /// Whose branch.
        challenger: usize,
        /// Whether it is ours.
        ours: bool,
        /// `verdict`, `timeout`: the claim is defeated. `forfeit`: the stake is lost. `recovered`: another branch won.
        end: &'static str,
        /// Of a verdict, the leaf.
        leaf: Option<String>,
        /// The transaction.
        transaction: String,
    },
    /// A claim that is false by our own chain was finalised.
    FalseClaimFinalised {
        /// The slot.
        slot: usize,
        /// The claim's transaction.
        claim: String,
        /// `fast` or `slow`.
        way: &'static str,
        /// The transaction.
        transaction: String,
    },
    /// There are too few confirmed outputs to pay for moves, and no funds to make more.
    FeeOutputsFew {
        /// How many shall be ready.
        wanted: u32,
        /// How many are.
        ready: u32,
        /// What each holds, in sats.
        sats: u64,
    },
    /// What always holds of the bridge does not.
    BridgeViolated {
        /// `conservation`, `bridge-balance`, `vault`, `vault-broken`, `vault-output-left`.
        rule: &'static str,
        /// What was expected, and what is.
        reason: String,
        /// The L2 block, of all rules but the last.
        block: Option<u64>,
        /// The L1 block's height, of the last rule.
        l1_height: Option<u32>,
    },
    /// The chain is not derived any more: false claims would go unseen.
    NotFollowing {
        /// What derivation waits for.
        reason: String,
    },
    /// The chain is derived again.
    Following,
}

/// Where alarms are raised. Clones raise the same.
#[derive(Clone, Debug)]
pub struct Alarms {
    sender: mpsc::Sender<Event>,
    last: Arc<Mutex<Option<Event>>>,
    raised: IntCounter,
    failed: IntCounter,
}

impl Alarms {
    /// Makes the alarms, and the task that gives them to a shell command one by one until `shutdown`.
    ///
    /// # Errors
    /// When the registry has counters of these names already.
    pub fn new(
        command: Option<String>,
        registry: &Registry,
        shutdown: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), prometheus::Error> {
        let counter = |name, help| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let raised = counter("bitsect_alarms", "Alarms raised since the start")?;
        let failed = counter(
            "bitsect_alarms_failed",
            "Alarms that the alarm command did not take, since the start",
        )?;
        let (sender, waiting) = mpsc::channel(WAITING);
        let alarms = Self {
            sender,
            last: Arc::default(),
            raised,
            failed: failed.clone(),
        };
        Ok((alarms, deliver(command, waiting, failed, shutdown)))
    }

    /// Raises an alarm.
    pub fn raise(&self, event: Event) {
        tracing::warn!(event = %json(&event), "alarm");
        self.raised.inc();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
        if let Err(error) = self.sender.try_send(event) {
            self.failed.inc();
            tracing::error!(%error, "an alarm is in the log only");
        }
    }

    /// Gives the last alarm.
    pub fn last(&self) -> Option<Event> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn json(event: &Event) -> Value {
    serde_json::to_value(event).expect("an event has only types that JSON has")
}

async fn deliver(
    command: Option<String>,
    mut waiting: mpsc::Receiver<Event>,
    failed: IntCounter,
    shutdown: CancellationToken,
) {
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = waiting.recv() => event,
        };
        let Some(event) = event else { return };
        let Some(command) = &command else { continue };
        if let Err(error) = call(command, &json(&event)).await {
            failed.inc();
            tracing::error!(error = format!("{error:#}"), "an alarm is in the log only");
        }
    }
}

/// Runs the command for one event.
async fn call(command: &str, event: &Value) -> eyre::Result<()> {
    let mut process = Command::new("/bin/sh");
    process
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .kill_on_drop(true);
    for (name, value) in variables(event) {
        process.env(name, value);
    }
    let mut child = process.spawn().wrap_err("failed to start the alarm command")?;
    let mut input = child.stdin.take().expect("standard input is piped");
    let line = format!("{event}\n");
    let work = async {
        // A command that does not read its input may close it.
        let written = input.write_all(line.as_bytes()).await;
        drop(input);
        let status = child
            .wait()
            .await
            .wrap_err("failed to wait for the alarm command")?;
        ensure!(
            status.success(),
            "failed to raise an alarm: the command ended with {status}"
        );
        match written {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(error).wrap_err("failed to write to the alarm command")
            }
            _ => Ok(()),
        }
    };
    tokio::time::timeout(COMMAND_TIMEOUT, work)
        .await
        .wrap_err("failed to raise an alarm: the command took too long")?
}

/// Gives the event's environment: `BITSECT_EVENT` is its kind, `BITSECT_EVENT_BLOCKS_LEFT` the field `blocksLeft`.
fn variables(event: &Value) -> Vec<(String, String)> {
    let Value::Object(fields) = event else {
        return Vec::new();
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let variable = |(name, value): (&String, &Value)| match name.as_str() {
        "event" => ("BITSECT_EVENT".to_owned(), text(value)),
        name => {
            let mut variable = "BITSECT_EVENT_".to_owned();
            for letter in name.chars() {
                if letter.is_ascii_uppercase() {
                    variable.push('_');
                }
                variable.push(letter.to_ascii_uppercase());
            }
            (variable, text(value))
        }
    };
    fields.iter().map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half() -> Event {
        Event::DeadlineHalf {
            slot: 1,
            challenger: Some(0),
            ours: true,
            turn: "challenger",
            stage: "units 0".into(),
            blocks_left: 72,
        }
    }

    #[tokio::test]
    async fn the_command_gets_each_event_as_json_and_as_variables() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("events");
        let command = format!(
            "cat >>{0}; echo \"$BITSECT_EVENT $BITSECT_EVENT_BLOCKS_LEFT\" >>{0}",
            file.display()
        );
        let shutdown = CancellationToken::new();
        let (alarms, task) = Alarms::new(Some(command), &Registry::new(), shutdown).unwrap();
        alarms.raise(half());
        alarms.raise(Event::Following);
        assert_eq!(alarms.last(), Some(Event::Following));
        assert_eq!((alarms.raised.get(), alarms.failed.get()), (2, 0));
        // Without a sender the task ends behind the last event.
        drop(alarms);
        task.await;
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let first: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(
            first,
            serde_json::json!({"event": "deadline-half", "slot": 1, "challenger": 0, "ours": true,
                "turn": "challenger", "stage": "units 0", "blocksLeft": 72})
        );
        assert_eq!(lines[1], "deadline-half 72");
        assert_eq!(lines[2], "{\"event\":\"following\"}");
    }

    #[tokio::test]
    async fn a_command_that_fails_is_counted_and_the_next_event_comes() {
        let (alarms, task) =
            Alarms::new(Some("exit 3".into()), &Registry::new(), CancellationToken::new()).unwrap();
        let failed = alarms.failed.clone();
        for _ in 0..2 {
            alarms.raise(Event::Following);
        }
        drop(alarms);
        task.await;
        assert_eq!(failed.get(), 2);
    }
}
