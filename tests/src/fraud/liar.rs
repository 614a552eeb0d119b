//! The operator that lies: the honest one's daemon with a liar's answers.

use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_bridge::chain::{Chain, RpcChain, Runner, RunnerConfig, Trace, unit_input};
use bitsect_bridge::committee::{Deployment, MemberKeys};
use bitsect_bridge::daemon::{Core, CoreConfig, Daemon, FeeOutputs, Knowledge, Operator, ReadySlot, Shown};
use bitsect_bridge::setup::{Section, hand, open_wallet, sync};
use bitsect_challenger::explain::{Places, executor};
use bitsect_judge::leaf::Value;
use bitsect_l1::BlockRef;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_node::devnet::committee::Member;
use eyre::{WrapErr, eyre};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Stage;
use crate::dispute::{Field, Liar, Lie, StepLie};

/// Blocks within which its claim has to confirm before the fee rises to the most.
const CLAIM_WITHIN: u32 = 20;
const FEES: FeeOutputs = FeeOutputs {
    count: 3,
    value: bitcoin::Amount::from_sat(200_000),
};

/// The operator, and what it sees.
#[derive(Debug)]
pub struct Lying {
    /// Its daemon.
    pub task: JoinHandle<()>,
    /// What it sees.
    pub shown: watch::Receiver<Shown>,
}

/// Which step of a unit's run is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// One in the middle of the first transaction. To find it the run is gone through step by step.
    InTransaction,
    /// The one in the middle.
    Middle,
}

/// Claims a false state after `count` units, and answers with lies about `unit`.
///
/// # Errors
/// Where the claim cannot be made.
pub async fn start(
    stage: &Stage,
    slot: ReadySlot,
    (count, unit): (u32, u64),
    lies: Where,
) -> eyre::Result<Lying> {
    let committee = &stage.committee;
    let deployment = Deployment::read(&committee.deployment())?;
    let section = Section::of(&deployment)?;
    let keys = MemberKeys::read(&committee.key(Member::OPERATOR))?;
    let start = stage.client.get_block_hash(section.start_height).await?;
    let start = start.ok_or_else(|| eyre!("failed to find the deployment's first block"))?;
    let start = BlockRef::new(section.start_height, start);
    let folder = committee.data_dir(Member::OPERATOR);
    let wallet = open_wallet(&folder, &keys, deployment.network, start)?;
    sync(stage.client.clone(), FollowerConfig::default(), &wallet).await?;
    let config = CoreConfig {
        vault: None,
        client: stage.client.clone(),
        follower: FollowerConfig::default(),
        carrier: CarrierConfig::default(),
        start,
    };
    let hash = B256::new(deployment.hash()?.0);
    let (mut core, store) = Core::open(&folder, config, hash, vec![slot.clone()], Arc::new(wallet))?;
    let program = std::fs::read(committee.program())?;
    let runner = Runner::new(&program, RunnerConfig::default())?;
    let chain: Arc<dyn Chain> = Arc::new(RpcChain::new(stage.verifier.url(), Some(program))?);
    let trace = trace(chain.as_ref(), &runner, slot.start_unit + unit).await?;
    let step = match lies {
        Where::InTransaction => in_the_transaction(&trace, unit)?,
        Where::Middle => trace.end_step() / 2,
    };
    let lie = Lie::Trace(StepLie {
        step,
        field: Field::Word(Value::Written, 8),
        follows: false,
    });
    let liar = Liar::new(unit, lie);
    let state = liar.state(u64::from(count));
    let mut operator = Operator::new(hand(&deployment, &keys, store)?, hash, liar);
    let deadline = stage.client.get_blockchain_info().await?.blocks + CLAIM_WITHIN;
    operator
        .claim(&mut core, 0, count, &state, deadline)
        .wrap_err("failed to claim")?;
    let (sender, shown) = watch::channel(Shown::default());
    let mut daemon = Daemon {
        party: operator,
        core,
        knowledge: vec![Knowledge::new(chain, runner, slot.start_unit)],
        fees: FEES,
        shown: sender,
    };
    let task = tokio::spawn(async move {
        if let Err(error) = daemon.run(&CancellationToken::new()).await {
            eprintln!("the lying operator failed: {error}");
        }
    });
    Ok(Lying { task, shown })
}

/// Runs a unit.
async fn trace(chain: &dyn Chain, runner: &Runner, unit: u64) -> eyre::Result<Arc<Trace>> {
    let input = unit_input(chain, unit, None).await?;
    let input = input.ok_or_else(|| eyre!("failed to run unit {unit}: it is not derived"))?;
    Ok(runner.start(input).trace().await?)
}

/// Finds a step of a unit's run in the middle of its first transaction.
fn in_the_transaction(trace: &Trace, unit: u64) -> eyre::Result<u64> {
    let at = executor(trace.program()).ok_or_else(|| eyre!("failed to find the program's symbols"))?;
    let walked = tokio::task::block_in_place(|| Places::walk(trace, at, u64::MAX, |_| ()))?;
    let places = walked.ok_or_else(|| eyre!("failed to walk through unit {unit}: a preimage is missing"))?;
    let mut changes = places.changes().iter().skip_while(|(_, place)| !place.inside);
    match (changes.next(), changes.next()) {
        (Some((begin, _)), Some((end, _))) => Ok(begin.midpoint(*end)),
        _ => Err(eyre!("failed to find a transaction in unit {unit}")),
    }
}
