//! `deposit`: money onto L2, and back where nobody accepts it.

use std::fmt;

use alloy_primitives::Bytes;
use bitcoin::{OutPoint, Txid};
use bitsect_vm::derive::DepositCall;
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::user::{Output, Progress, open, optional_node, read_terms, read_user_keys, wait_out};
use crate::user::{
    DepositRequest, DepositView, Node, PayTo, Session, Terms, UserError, parse_amount, parse_l1_address,
    parse_l2_address,
};

/// Deposits bitcoin, shows deposits, takes them back.
#[derive(Debug, Subcommand)]
pub(super) enum DepositCommand {
    /// Shows how to pay a deposit from any wallet.
    Address {
        #[command(flatten)]
        order: OrderArgs,
        #[command(flatten)]
        output: Output,
    },
    /// Pays a deposit from the wallet of the key file.
    Send {
        #[command(flatten)]
        order: OrderArgs,
        /// How much, with its unit: 0.01BTC, 1000000sats.
        #[arg(long)]
        amount: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Shows where deposits stand: all, or one.
    Status {
        /// The deposit: txid:vout.
        outpoint: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Pays more for a deposit, or its refund, that waits for a block.
    Bump {
        /// The deposit: txid:vout.
        outpoint: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Takes a deposit back that nobody accepted.
    Refund {
        /// The deposit: txid:vout.
        outpoint: String,
        /// The Bitcoin address that is paid [default: one of the wallet's].
        #[arg(long)]
        to: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// What a deposit says.
#[derive(Debug, Args)]
pub(super) struct OrderArgs {
    /// Who gets the money on L2.
    #[arg(long)]
    to: String,
    /// A contract on L2 that is called with the money.
    #[arg(long, requires = "call_data")]
    call_target: Option<String>,
    /// What it is called with, in hexadecimal.
    #[arg(long, requires = "call_target")]
    call_data: Option<String>,
}

/// How to print, and whether to wait.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct WaitArgs {
    /// Wait until nothing more is waited for, or it is the user's turn.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

impl OrderArgs {
    fn call(&self) -> Result<Option<DepositCall>, UserError> {
        let (Some(target), Some(data)) = (&self.call_target, &self.call_data) else {
            return Ok(None);
        };
        let data: Bytes = data
            .parse()
            .map_err(|_| UserError::refused("call_data", "hexadecimal digits", format!("{data:?}")))?;
        let target = parse_l2_address("call_target", target)?;
        Ok(Some(DepositCall { target, data }))
    }
}

/// How a deposit is paid from any wallet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayToView {
    address: String,
    op_return: String,
    refund_key: String,
    refund_key_index: u16,
    min_deposit_sats: u64,
    refund_delay: u16,
}

impl PayToView {
    fn new(terms: &Terms, pay_to: &PayTo) -> Self {
        Self {
            address: pay_to.address.to_string(),
            op_return: hex::encode(pay_to.order.tag_data()),
            refund_key: hex::encode(pay_to.order.refund_key()),
            refund_key_index: pay_to.key,
            min_deposit_sats: terms.min_deposit.to_sat(),
            refund_delay: terms.refund_delay,
        }
    }
}

impl fmt::Display for PayToView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = bitcoin::Amount::from_sat(self.min_deposit_sats);
        writeln!(f, "address: {}", self.address)?;
        writeln!(f, "OP_RETURN: {}", self.op_return)?;
        writeln!(
            f,
            "refund key: {} (index {})",
            self.refund_key, self.refund_key_index
        )?;
        write!(
            f,
            "Pay {least} or more to the address, once, and give the same transaction one OP_RETURN output with exactly this \
             data. Without it nobody sees the deposit. Not accepted, it can be taken back {} blocks after its block with \
             this key file.",
            self.refund_delay
        )
    }
}

/// A deposit that was sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SentView {
    fee_sats: u64,
    /// The transaction whose place was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_txid: Option<Txid>,
    #[serde(flatten)]
    deposit: DepositView,
}

impl fmt::Display for SentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n  fee {}",
            self.deposit,
            bitcoin::Amount::from_sat(self.fee_sats)
        )?;
        match self.replaced_txid {
            Some(txid) => write!(f, ", in the place of {txid}"),
            None => Ok(()),
        }
    }
}

/// Deposits.
#[derive(Serialize)]
struct DepositsView {
    tip: u32,
    deposits: Vec<DepositView>,
}

impl fmt::Display for DepositsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Bitcoin at block {}; deposits: {}",
            self.tip,
            self.deposits.len()
        )?;
        self.deposits
            .iter()
            .try_for_each(|deposit| write!(f, "\n{deposit}"))
    }
}

pub(super) async fn run(
    command: DepositCommand,
    config: &Config,
    stop: &CancellationToken,
) -> eyre::Result<()> {
    match &command {
        DepositCommand::Address { order, output } => output.run(address(order, *output, config), stop).await,
        DepositCommand::Send { order, amount, wait } => {
            wait.output.run(send(order, amount, *wait, config), stop).await
        }
        DepositCommand::Status { outpoint, wait } => {
            wait.output
                .run(status(outpoint.as_deref(), *wait, config), stop)
                .await
        }
        DepositCommand::Bump { outpoint, wait } => wait.output.run(bump(outpoint, *wait, config), stop).await,
        DepositCommand::Refund { outpoint, to, wait } => {
            let work = refund(outpoint, to.as_deref(), *wait, config);
            wait.output.run(work, stop).await
        }
    }
}

async fn address(order: &OrderArgs, output: Output, config: &Config) -> eyre::Result<()> {
    let terms = read_terms(config)?;
    let (to, call) = (parse_l2_address("to", &order.to)?, order.call()?);
    let keys = read_user_keys(config, &terms)?;
    let session = open(config, terms, keys).await?;
    let pay_to = session.pay_to(to, call)?;
    output.print(&PayToView::new(session.terms(), &pay_to))
}

async fn send(order: &OrderArgs, amount: &str, wait: WaitArgs, config: &Config) -> eyre::Result<()> {
    let terms = read_terms(config)?;
    let request = DepositRequest {
        to: parse_l2_address("to", &order.to)?,
        amount: parse_amount("amount", amount)?,
        call: order.call()?,
    };
    let keys = read_user_keys(config, &terms)?;
    let node = optional_node(config, &terms).await?;
    let mut session = open(config, terms, keys).await?;
    session.verify_all_told()?;
    let (outpoint, fee) = session.send_deposit(&request).await?;
    let deposit = follow(&mut session, outpoint, node.as_ref(), wait, config).await;
    let view = SentView {
        fee_sats: fee.to_sat(),
        replaced_txid: None,
        deposit: deposit.map_err(UserError::underway("deposit", outpoint))?,
    };
    tell(&session, wait.output, &view, [outpoint])
}

/// Prints what tells of deposits.
fn tell(
    session: &Session,
    output: Output,
    view: &(impl Serialize + fmt::Display),
    outpoints: impl IntoIterator<Item = OutPoint>,
) -> eyre::Result<()> {
    output.print(view)?;
    Ok(session.told(outpoints)?)
}

async fn status(outpoint: Option<&str>, wait: WaitArgs, config: &Config) -> eyre::Result<()> {
    let terms = read_terms(config)?;
    let outpoint = outpoint.map(parse_outpoint).transpose()?;
    let keys = read_user_keys(config, &terms)?;
    let node = optional_node(config, &terms).await?;
    let mut session = open(config, terms, keys).await?;
    if let Some(outpoint) = outpoint {
        let deposit = follow(&mut session, outpoint, node.as_ref(), wait, config).await?;
        return tell(&session, wait.output, &deposit, [outpoint]);
    }
    let needed = config.deposit_confirmations;
    let deposits = loop {
        let deposits = match session.deposit_views(None, node.as_ref(), needed).await {
            Ok(deposits) => deposits,
            Err(error) => {
                wait_out(error, wait.wait, config).await?;
                continue;
            }
        };
        let waits = deposits.iter().any(is_waited_for);
        if !wait.wait || !waits {
            break deposits;
        }
        let open = deposits.iter().filter(|deposit| is_waited_for(deposit)).count();
        let progress = Progress::new(format!("{open} deposits are on their way"));
        next(&mut session, &deposits, config).await?;
        drop(progress);
    };
    let outpoints: Vec<OutPoint> = deposits.iter().map(|deposit| deposit.outpoint).collect();
    let view = DepositsView {
        tip: session.tip().height,
        deposits,
    };
    tell(&session, wait.output, &view, outpoints)
}

async fn refund(outpoint: &str, to: Option<&str>, wait: WaitArgs, config: &Config) -> eyre::Result<()> {
    let terms = read_terms(config)?;
    let outpoint = parse_outpoint(outpoint)?;
    let to = to
        .map(|to| parse_l1_address("to", to, terms.network))
        .transpose()?;
    let keys = read_user_keys(config, &terms)?;
    let mut session = open(config, terms, keys).await?;
    let (_, fee) = session.refund_deposit(outpoint, to).await?;
    let deposit = follow(&mut session, outpoint, None, wait, config).await;
    let view = SentView {
        fee_sats: fee.to_sat(),
        replaced_txid: None,
        deposit: deposit.map_err(UserError::underway("the refund of deposit", outpoint))?,
    };
    tell(&session, wait.output, &view, [outpoint])
}

async fn bump(outpoint: &str, wait: WaitArgs, config: &Config) -> eyre::Result<()> {
    let terms = read_terms(config)?;
    let outpoint = parse_outpoint(outpoint)?;
    let keys = read_user_keys(config, &terms)?;
    let node = optional_node(config, &terms).await?;
    let mut session = open(config, terms, keys).await?;
    let bumped = session.bump_deposit(outpoint).await?;
    let outpoint = bumped.deposit;
    let deposit = follow(&mut session, outpoint, node.as_ref(), wait, config).await;
    let view = SentView {
        fee_sats: bumped.signed.fee.to_sat(),
        replaced_txid: Some(bumped.replaced),
        deposit: deposit.map_err(UserError::underway("what pays more for deposit", outpoint))?,
    };
    tell(&session, wait.output, &view, [outpoint])
}

fn parse_outpoint(text: &str) -> Result<OutPoint, UserError> {
    let parsed = text.parse();
    parsed.map_err(|_| UserError::refused("outpoint", "txid:vout", format!("{text:?}")))
}

fn is_waited_for(deposit: &DepositView) -> bool {
    !deposit.stage.is_end() && !deposit.stage.is_users_turn()
}

/// Gives a deposit as it stands, or, when it is to be waited for, as it ends.
async fn follow(
    session: &mut Session,
    outpoint: OutPoint,
    node: Option<&Node>,
    wait: WaitArgs,
    config: &Config,
) -> Result<DepositView, UserError> {
    let progress = wait.wait.then(|| Progress::new("waiting"));
    loop {
        let needed = config.deposit_confirmations;
        let views = match session.deposit_views(Some(outpoint), node, needed).await {
            Ok(views) => views,
            Err(error) => {
                wait_out(error, wait.wait, config).await?;
                continue;
            }
        };
        let Some(view) = views.into_iter().next() else {
            return Err(UserError::NoDeposit { outpoint });
        };
        // Without a node, what comes behind the accept is not seen.
        let is_blind = matches!(
            view.stage,
            crate::user::Stage::Accepted {
                node_asked: false,
                ..
            }
        );
        if !wait.wait || !is_waited_for(&view) || is_blind {
            return Ok(view);
        }
        if let Some(progress) = &progress {
            progress.say(view.stage.to_string());
        }
        next(session, &[view], config).await?;
    }
}

/// Waits for what can change a deposit: a Bitcoin block, or, when only L2 is waited for, some time.
async fn next(session: &mut Session, deposits: &[DepositView], config: &Config) -> Result<(), UserError> {
    let on_l2 = |deposit: &DepositView| matches!(deposit.stage, crate::user::Stage::Accepted { .. });
    if deposits.iter().any(on_l2) {
        // The node has no call that waits for a deposit; a block may come meanwhile.
        return match tokio::time::timeout(config.l1_poll, session.next_tip()).await {
            Ok(tip) => tip.map(drop),
            Err(_) => Ok(()),
        };
    }
    session.next_tip().await?;
    Ok(())
}
