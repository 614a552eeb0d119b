//! `withdraw` and `balance`: money off L2, and what there is.

use std::fmt;

use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::user::{Output, Progress, node, open, optional_node, read_terms, read_user_keys, wait_out};
use crate::user::{
    Node, Requested, Route, Terms, UserError, UserStore, WithdrawRequest, WithdrawStage, WithdrawView,
    parse_amount, parse_l1_address, resume_requests, send_withdraw, sign_withdraw, withdrawal_views,
};

/// Asks for bitcoin that are on L2, and shows where that stands.
#[derive(Debug, Subcommand)]
pub(super) enum WithdrawCommand {
    /// Asks for a payout on Bitcoin.
    Request {
        /// The Bitcoin address that is paid.
        #[arg(long)]
        to: String,
        /// What leaves L2, with its unit: 0.01BTC, 1000000sats.
        #[arg(long)]
        amount: String,
        /// What of it the operator that pays keeps, with its unit.
        #[arg(long)]
        fee: String,
        /// Go by Bitcoin, past a sequencer that is gone or does not take it; the wallet pays a Bitcoin transaction for it.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Shows where withdrawals stand: the account's, or one.
    Status {
        /// The withdrawal's id.
        id: Option<u64>,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// How to print, and whether to wait.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct WaitArgs {
    /// Wait until it is paid.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

/// Arguments of `balance`.
#[derive(Debug, Args)]
pub(super) struct BalanceArgs {
    #[command(flatten)]
    output: Output,
}

/// Withdrawals.
#[derive(Serialize)]
struct WithdrawalsView {
    withdrawals: Vec<WithdrawView>,
}

impl fmt::Display for WithdrawalsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "withdrawals: {}", self.withdrawals.len())?;
        self.withdrawals.iter().try_for_each(|one| write!(f, "\n{one}"))
    }
}

pub(super) async fn run(
    command: WithdrawCommand,
    config: &Config,
    stop: &CancellationToken,
) -> eyre::Result<()> {
    match &command {
        WithdrawCommand::Request {
            to,
            amount,
            fee,
            force,
            wait,
        } => {
            let route = if *force { Route::Bitcoin } else { Route::Node };
            wait.output
                .run(request([to, amount, fee], route, *wait, config), stop)
                .await
        }
        WithdrawCommand::Status { id, wait } => wait.output.run(status(*id, *wait, config), stop).await,
    }
}

async fn request(
    [to, amount, fee]: [&String; 3],
    route: Route,
    wait: WaitArgs,
    config: &Config,
) -> eyre::Result<()> {
    let terms = read_terms(config)?;
    let wanted = WithdrawRequest {
        to: parse_l1_address("to", to, terms.network)?,
        amount: parse_amount("amount", amount)?,
        fee: parse_amount("fee", fee)?,
    };
    wanted.verify(config.max_fee)?;
    let keys = read_user_keys(config, &terms)?;
    let node = node(config, &terms).await?;
    let mut session = open(config, terms.clone(), keys.clone()).await?;
    // What goes by Bitcoin takes the place of what a node would not take.
    if route == Route::Node {
        verify_none_kept(&node, session.store()).await?;
    }
    let signed = sign_withdraw(&node, &terms, &keys, (&wanted, route), config.max_fee).await?;
    let forced = match route {
        Route::Node => None,
        Route::Bitcoin => Some(session.force(&signed).await?),
    };
    // Bitcoin may take long, and what it has cannot be lost.
    if let Some(forced) = forced.as_ref().filter(|_| !wait.wait) {
        return wait.output.print(forced);
    }
    let progress = Progress::new(format!("waiting for L2 transaction {}", signed.hash));
    let Requested { id, .. } = match forced {
        None => send_withdraw(&node, session.store(), &signed).await?,
        Some(forced) => session.wait_for_forced(&node, &signed, &forced).await?,
    };
    drop(progress);
    let view = follow(&node, &terms, id, wait, config).await;
    wait.output
        .print(&view.map_err(UserError::underway("withdrawal", id))?)
}

/// Sends again what an interrupted command has kept, and refuses another one then.
async fn verify_none_kept(node: &Node, store: &UserStore) -> eyre::Result<()> {
    if let Some(resumed) = resume_requests(node, store).await?.first() {
        let got = match resumed.id {
            Some(id) => format!("withdrawal {id}"),
            None => "one that is on its way".to_owned(),
        };
        let got = format!("{got}, of L2 transaction {}: ask again for another", resumed.hash);
        let rule = "no request of an interrupted command";
        return Err(UserError::refused("request", rule, got).into());
    }
    Ok(())
}

async fn status(id: Option<u64>, wait: WaitArgs, config: &Config) -> eyre::Result<()> {
    let terms = read_terms(config)?;
    let node = node(config, &terms).await?;
    if let Some(id) = id {
        let view = follow(&node, &terms, id, wait, config).await?;
        return wait.output.print(&view);
    }
    let keys = read_user_keys(config, &terms)?;
    let session = open(config, terms.clone(), keys).await?;
    let withdrawals = withdrawal_views(&node, &terms, &session, false).await?;
    wait.output.print(&WithdrawalsView { withdrawals })
}

/// Gives a withdrawal as it stands, or, when it is to be waited for, once it is paid.
async fn follow(
    node: &Node,
    terms: &Terms,
    id: u64,
    wait: WaitArgs,
    config: &Config,
) -> Result<WithdrawView, UserError> {
    let progress = wait.wait.then(|| Progress::new("waiting for a payout"));
    loop {
        let view = match WithdrawView::ask(node, terms, id).await {
            Ok(view) => view,
            Err(error) => {
                wait_out(error, wait.wait, config).await?;
                continue;
            }
        };
        if !wait.wait || matches!(view.stage, WithdrawStage::Paid { .. }) {
            return Ok(view);
        }
        if let Some(progress) = &progress {
            progress.say(view.to_string().replace('\n', ";"));
        }
        // The node has no call that waits for a payout.
        tokio::time::sleep(config.l1_poll).await;
    }
}

pub(super) async fn show_balance(
    args: BalanceArgs,
    config: &Config,
    stop: &CancellationToken,
) -> eyre::Result<()> {
    let work = async {
        let terms = read_terms(config)?;
        let keys = read_user_keys(config, &terms)?;
        let node = optional_node(config, &terms).await?;
        let mut session = open(config, terms, keys).await?;
        let held = session
            .balance(node.as_ref(), config.deposit_confirmations)
            .await?;
        args.output.print(&held)
    };
    args.output.run(work, stop).await
}
