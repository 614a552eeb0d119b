//! What a transaction should pay.

use std::time::Instant;

use alloy_consensus::{Transaction as _, TxReceipt};
use alloy_primitives::{U64, U256};
use alloy_rpc_types::{BlockNumberOrTag, FeeHistory};
use bitsect_vm::execute::next_base_fee;
use serde::{Deserialize, Deserializer};

use crate::rpc::args::Args;
use crate::rpc::context::{Context, Module, block_number, header, heavy, light};
use crate::rpc::error::{self, RpcResult};
use crate::store::{Snapshot, StoredHeader};

/// The tip to suggest while blocks have room, wei per gas: the lowest base fee, about 1 sat a transfer.
const SUGGESTED_TIP: u128 = 1_000_000;
/// Blocks that `eth_feeHistory` goes back at most (Geth's limit).
const MAX_HISTORY: u64 = 1024;
/// Percentiles that `eth_feeHistory` takes (Geth's limit).
const MAX_PERCENTILES: usize = 100;

pub(super) fn register(module: &mut Module) {
    light(module, "eth_gasPrice", 0, |context, _| {
        let snapshot = context.snapshot()?;
        let latest = header(&snapshot, Default::default())?;
        let base_fee = next_base_fee(&context.params.execution, &latest.header);
        Ok(U256::from(
            suggested_tip(&snapshot, &latest)?.saturating_add(base_fee.into()),
        ))
    });
    light(module, "eth_maxPriorityFeePerGas", 0, |context, _| {
        let snapshot = context.snapshot()?;
        let latest = header(&snapshot, Default::default())?;
        Ok(U256::from(suggested_tip(&snapshot, &latest)?))
    });
    light(module, "eth_baseFee", 0, |context, _| {
        let latest = header(&context.snapshot()?, Default::default())?;
        Ok(U64::from(next_base_fee(
            &context.params.execution,
            &latest.header,
        )))
    });
    // There are no blobs; BLOBBASEFEE returns its minimum.
    light(module, "eth_blobBaseFee", 0, |_, _| Ok(U64::from(1)));
    heavy(module, "eth_feeHistory", 3, fee_history);
}

/// The tip that gets into the next block: only a full block makes it worth bidding.
pub(super) fn suggested_tip(snapshot: &Snapshot, latest: &StoredHeader) -> RpcResult<u128> {
    let (used, limit) = (latest.header.gas_used, latest.header.gas_limit);
    if used < limit.saturating_sub(limit / 10) {
        return Ok(SUGGESTED_TIP);
    }
    let rewards = rewards(snapshot, latest, &[60.0])?;
    Ok(rewards.first().copied().unwrap_or_default().max(SUGGESTED_TIP))
}

/// A number of blocks, as a quantity or a plain number: clients send both.
#[derive(Clone, Copy)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        alloy_serde::quantity::deserialize(deserializer).map(Self)
    }
}

fn fee_history(context: &Context, args: &mut Args, deadline: Instant) -> RpcResult<FeeHistory> {
    let Count(count) = args.required()?;
    let newest: BlockNumberOrTag = args.required()?;
    let percentiles: Vec<f64> = args.optional()?.unwrap_or_default();
    check_percentiles(&percentiles)?;
    let snapshot = context.snapshot()?;
    let newest = block_number(&snapshot, newest.into())?;
    let newest = newest.ok_or_else(|| error::server("request beyond head block"))?;
    let count = count.min(MAX_HISTORY).min(newest.saturating_add(1));
    if count == 0 {
        return Ok(FeeHistory::default());
    }
    let oldest = newest.saturating_add(1).saturating_sub(count);
    let mut history = FeeHistory {
        oldest_block: oldest,
        ..FeeHistory::default()
    };
    let mut reward = Vec::new();
    for number in oldest..=newest {
        if Instant::now() > deadline {
            return Err(error::timeout());
        }
        let header = header(&snapshot, number.into())?;
        let (used, limit) = (header.header.gas_used, header.header.gas_limit.max(1));
        history
            .base_fee_per_gas
            .push(header.header.base_fee_per_gas.unwrap_or_default().into());
        history.gas_used_ratio.push(used as f64 / limit as f64);
        if !percentiles.is_empty() {
            reward.push(rewards(&snapshot, &header, &percentiles)?);
        }
        if number == newest {
            let next = next_base_fee(&context.params.execution, &header.header);
            history.base_fee_per_gas.push(next.into());
        }
    }
    history.reward = (!percentiles.is_empty()).then_some(reward);
    Ok(history)
}

fn check_percentiles(percentiles: &[f64]) -> RpcResult<()> {
    if percentiles.len() > MAX_PERCENTILES {
        return Err(error::server(format!(
            "invalid reward percentile: over the query limit {MAX_PERCENTILES}"
        )));
    }
    let mut previous = 0.0;
    for (index, &percentile) in percentiles.iter().enumerate() {
        if !(0.0..=100.0).contains(&percentile) {
            return Err(error::server(format!("invalid reward percentile: {percentile}")));
        }
        if index > 0 && percentile <= previous {
            let at = index.saturating_sub(1);
            let text = format!("invalid reward percentile: #{at}:{previous} >= #{index}:{percentile}");
            return Err(error::server(text));
        }
        previous = percentile;
    }
    Ok(())
}

/// The effective tips at these percentiles of the block's gas.
fn rewards(snapshot: &Snapshot, stored: &StoredHeader, percentiles: &[f64]) -> RpcResult<Vec<u128>> {
    let number = stored.header.number;
    let body = snapshot
        .body(number)
        .map_err(error::internal)?
        .unwrap_or_default();
    let receipts = snapshot
        .receipts(number)
        .map_err(error::internal)?
        .unwrap_or_default();
    let base_fee = stored.header.base_fee_per_gas.unwrap_or_default();
    let paying = body.iter().zip(&receipts).filter(|((_, tx), _)| !tx.is_deposit());
    let mut tips: Vec<(u128, u64)> = paying
        .map(|((_, tx), receipt)| {
            (
                tx.effective_tip_per_gas(base_fee).unwrap_or_default(),
                receipt.gas_used,
            )
        })
        .collect();
    tips.sort_unstable();
    debug_assert!(
        receipts
            .iter()
            .all(|stored| stored.receipt.cumulative_gas_used() >= stored.gas_used)
    );
    let total: u64 = tips.iter().fold(0, |sum, (_, gas)| sum.saturating_add(*gas));
    let mut out = Vec::with_capacity(percentiles.len());
    let (mut at, mut sum) = (0usize, tips.first().map_or(0, |(_, gas)| *gas));
    for percentile in percentiles {
        let threshold = (total as f64 * percentile / 100.0) as u64;
        while sum < threshold && at.saturating_add(1) < tips.len() {
            at = at.saturating_add(1);
            sum = sum.saturating_add(tips.get(at).map_or(0, |(_, gas)| *gas));
        }
        out.push(tips.get(at).map_or(0, |(tip, _)| *tip));
    }
    Ok(out)
}
