//! The operator that lies: the honest one's daemon with a liar's answers.

use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_bridge::chain::{Chain, RpcChain, Runner, RunnerConfig};
use bitsect_bridge::committee::{Deployment, MemberKeys};
use bitsect_bridge::daemon::{Core, CoreConfig, Daemon, FeeOutputs, Knowledge, Operator, ReadySlot, Shown};
use bitsect_bridge::setup::{Section, hand, open_wallet, sync};
use bitsect_judge::leaf::Value;
use bitsect_l1::BlockRef;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use eyre::{WrapErr, eyre};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Stage, VERIFIER};
use crate::dispute::{Field, Liar, Lie};

/// The step about which it lies: in the middle of a signature's recovery.
const STEP: u64 = 1_000_000;
/// Blocks within which its claim has to confirm before the fee rises to the most.
const CLAIM_WITHIN: u32 = 20;
const FEES: FeeOutputs = FeeOutputs {
    count: 3,
    value: bitcoin::Amount::from_sat(200_000),
};

/// The operator, and what it sees.
pub(super) struct Lying {
    pub(super) task: JoinHandle<()>,
    pub(super) shown: watch::Receiver<Shown>,
}

/// Claims a false state after `count` units, and answers with lies about `unit`.
pub(super) async fn start(stage: &Stage, slot: ReadySlot, (count, unit): (u32, u64)) -> eyre::Result<Lying> {
    let deployment = Deployment::read(&stage.deployment())?;
    let section = Section::of(&deployment)?;
    let keys = MemberKeys::read(&stage.key("operator"))?;
    let start = stage.client.get_block_hash(section.start_height).await?;
    let start = start.ok_or_else(|| eyre!("failed to find the deployment's first block"))?;
    let start = BlockRef::new(section.start_height, start);
    let folder = stage.member("operator");
    let wallet = open_wallet(&folder, &keys, deployment.network, start)?;
    sync(stage.client.clone(), FollowerConfig::default(), &wallet).await?;
    let config = CoreConfig {
        client: stage.client.clone(),
        follower: FollowerConfig::default(),
        carrier: CarrierConfig::default(),
        start,
    };
    let hash = B256::new(deployment.hash()?.0);
    let (mut core, store) = Core::open(&folder, config, hash, vec![slot.clone()], Arc::new(wallet))?;
    let lie = Lie::Trace {
        step: STEP,
        field: Field::Word(Value::Written, 3),
        content: false,
        nodes: None,
    };
    let mut operator = Operator::new(hand(&deployment, &keys, store)?, hash, Liar { unit, lie });
    let deadline = stage.client.get_blockchain_info().await?.blocks + CLAIM_WITHIN;
    let state = Liar::state(u64::from(count));
    operator
        .claim(&mut core, 0, count, &state, deadline)
        .wrap_err("failed to claim")?;
    let program = std::fs::read(&stage.program)?;
    let runner = Runner::new(&program, RunnerConfig::default())?;
    let chain: Arc<dyn Chain> = Arc::new(RpcChain::new(VERIFIER, Some(program))?);
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
