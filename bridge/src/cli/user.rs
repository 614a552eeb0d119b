//! What the user's commands share: their files, how they print, how they wait.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

use bitsect_l1::rpc::{Client, RpcError};
use bitsect_l1::{BlockRef, FaultClass};
use clap::Args;
use eyre::WrapErr;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::{Config, ConfigError};
use super::member::{block_at, client, data_dir, follower, given};
use crate::chain::ChainError;
use crate::committee::{DeploymentError, KeyError};
use crate::user::{ExitKind, Node, Session, SessionConfig, Terms, UserError, UserKeys};

/// How often the line of progress is drawn.
const TICK: Duration = Duration::from_millis(120);

/// How a command prints.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Output {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Output {
    /// Prints a result.
    pub(super) fn print(self, value: &(impl Serialize + Display)) -> eyre::Result<()> {
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(value)?),
            false => println!("{value}"),
        }
        Ok(())
    }

    /// Runs a command. With JSON, its error is printed as JSON too.
    pub(super) async fn run(
        self,
        work: impl Future<Output = eyre::Result<()>>,
        stop: &CancellationToken,
    ) -> eyre::Result<()> {
        let done = tokio::select! {
            () = stop.cancelled() => Err(UserError::Ended.into()),
            done = work => done,
        };
        if let Err(error) = &done
            && self.json
        {
            println!("{}", serde_json::to_string_pretty(&Failure::new(error))?);
        }
        done
    }
}

/// An error, as JSON has it.
#[derive(Serialize)]
struct Failure {
    error: FailureParts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureParts {
    kind: &'static str,
    exit_code: u8,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<String>,
    /// What is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<String>,
}

impl Failure {
    fn new(error: &eyre::Report) -> Self {
        let kind = exit_kind(error);
        let (sent, fault) = match error.downcast_ref() {
            Some(UserError::Underway { sent, fault, .. }) => (Some(sent.clone()), Some(&**fault)),
            other => (None, other),
        };
        let refused = match fault {
            Some(UserError::Refused { field, rule, got }) => Some((*field, rule.clone(), got.clone())),
            _ => None,
        };
        let (field, rule, got) = match refused {
            Some((field, rule, got)) => (Some(field), Some(rule), Some(got)),
            None => (None, None, None),
        };
        Self {
            error: FailureParts {
                kind: kind.name(),
                exit_code: kind as u8,
                message: format!("{error:#}"),
                field,
                rule,
                got,
                sent,
            },
        }
    }
}

/// Tells what a shell script is told of an error.
pub(super) fn exit_kind(error: &eyre::Report) -> ExitKind {
    if let Some(error) = error.downcast_ref::<UserError>() {
        return error.kind();
    }
    if error.is::<ConfigError>() || error.is::<KeyError>() || error.is::<DeploymentError>() {
        return ExitKind::Usage;
    }
    match error.is::<RpcError>() || error.is::<ChainError>() {
        true => ExitKind::Network,
        false => ExitKind::Fault,
    }
}

/// Waits behind a fault of a moment, where a command waits anyway.
///
/// # Errors
/// The fault, where it is another one.
pub(super) async fn wait_out(error: UserError, wait: bool, config: &Config) -> Result<(), UserError> {
    if !wait || error.class() != FaultClass::Retry {
        return Err(error);
    }
    tracing::warn!(%error, "waiting for Bitcoin Core or the node");
    tokio::time::sleep(config.l1_poll).await;
    Ok(())
}

/// What is waited for, on a terminal.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Makes the line; nothing is drawn where standard error is no terminal.
    pub(super) fn new(text: impl Into<String>) -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        bar.set_style(style.expect("a constant template"));
        bar.enable_steady_tick(TICK);
        bar.set_message(text.into());
        Self(bar)
    }

    pub(super) fn say(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub(super) fn read_terms(config: &Config) -> eyre::Result<Terms> {
    Ok(Terms::read(given(&config.layer.chain_file, "chain_file")?)?)
}

pub(super) fn read_user_keys(config: &Config, terms: &Terms) -> eyre::Result<UserKeys> {
    Ok(UserKeys::read(given(&config.layer.key, "key")?, terms.network)?)
}

/// Gives the node, checked; none where no option names it.
pub(super) async fn optional_node(config: &Config, terms: &Terms) -> eyre::Result<Option<Node>> {
    match &config.layer.node_url {
        Some(url) => Ok(Some(Node::connect(url, terms).await?)),
        None => Ok(None),
    }
}

/// Gives the node, checked.
pub(super) async fn node(config: &Config, terms: &Terms) -> eyre::Result<Node> {
    let url = given(&config.layer.node_url, "node_url")?;
    Ok(Node::connect(url, terms).await?)
}

/// Opens the user's folder and takes in Bitcoin's blocks.
pub(super) async fn open(config: &Config, terms: Terms, keys: UserKeys) -> eyre::Result<Session> {
    let client = client(config, terms.network).await?;
    verify_start(&client, &terms).await?;
    let birthday = match config.layer.wallet_start_height {
        Some(height) => block_at(&client, "wallet_start_height", height).await?,
        None => terms.start,
    };
    let settings = SessionConfig {
        client,
        follower: follower(config, terms.network),
        fees: config.fees,
        max_fee: config.max_fee,
        birthday,
    };
    let mut session = Session::open(data_dir(config)?, terms, keys, settings)?;
    let _progress = Progress::new("reading Bitcoin's blocks");
    session.next_tip().await?;
    Ok(session)
}

/// Checks that Bitcoin Core has the block that the chain begins behind.
pub(super) async fn verify_start(client: &Client, terms: &Terms) -> eyre::Result<()> {
    let BlockRef { height, hash } = terms.start;
    let got = client.get_block_hash(height).await;
    let got = got.wrap_err("failed to ask Bitcoin Core for the chain's first block")?;
    if got == Some(hash) {
        return Ok(());
    }
    let got = got.map_or_else(|| "none".to_owned(), |got| got.to_string());
    let rule = format!("{hash}, as the chain file has it, at height {height}");
    Err(UserError::refused("Bitcoin block", rule, got).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_every_command_are_told_apart() {
        let kind = |error: eyre::Report| exit_kind(&error);
        let node = || ChainError::Unreachable {
            place: "http://127.0.0.1:1".to_owned(),
            reason: "refused".to_owned(),
        };
        assert_eq!(kind(eyre::Report::new(node())), ExitKind::Network);
        let wrapped = Err::<(), _>(node()).wrap_err("failed to ask the node");
        assert_eq!(kind(wrapped.unwrap_err()), ExitKind::Network);
        let dir = tempfile::tempdir().unwrap();
        let absent = crate::committee::Deployment::read(&dir.path().join("none"));
        let absent = absent.wrap_err("failed to read the deployment");
        assert_eq!(kind(absent.map(drop).unwrap_err()), ExitKind::Usage);
        assert_eq!(kind(eyre::eyre!("anything else")), ExitKind::Fault);
        // What is on its way has the code of what failed, and is named.
        let error = UserError::underway("deposit", "ab:0")(UserError::Ended);
        assert_eq!(
            error.to_string(),
            format!("deposit ab:0 is on its way: {}", UserError::Ended)
        );
        let error = eyre::Report::new(UserError::underway("deposit", "ab:0")(node().into()));
        let shown = serde_json::to_value(Failure::new(&error)).unwrap();
        assert_eq!(
            (&shown["error"]["sent"], &shown["error"]["exitCode"]),
            (&"ab:0".into(), &5.into())
        );
    }
}
