//! `db check` of the sums: all balances, and the vault outputs on Bitcoin.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use bitsect_vm::chain::OutPoint;
use redb::{ReadableTable, ReadableTableMetadata};

use super::check::{Bar, CheckReport};
use crate::invariant::{Flow, MoveKind, Supply};
use crate::store::tables::{View, decode_pair, must};
use crate::store::{Head, Snapshot, StoreError, query, rows};

/// Accounts whose balances are kept to compute older sums: it bounds memory to some 50 MB.
const MAX_BALANCES: usize = 500_000;

/// Checks that the sum of all balances is the latest block's, and each older one by the change sets.
pub(super) fn check_supply(
    snapshot: &Snapshot,
    report: &mut CheckReport,
    bar: Bar<'_>,
) -> Result<(), StoreError> {
    let tables = snapshot.tables();
    let (first, latest) = (snapshot.history_start()?, snapshot.head(Head::Latest)?.number);
    report.equal("rows of supply", latest - first + 1, tables.supply.len()?);
    let mut total = U256::ZERO;
    for row in tables.accounts.iter()? {
        let (_, account) = decode_pair("accounts", row?, rows::account)?;
        total = total.saturating_add(account.balance);
    }
    let mut after = query::must_supply(tables, latest)?;
    report.equal("supply after the latest block", total, after.total);
    if first == 0 {
        let genesis = Supply {
            total: query::genesis_supply(tables)?,
            burnt: U256::ZERO,
        };
        report.equal("supply at genesis", genesis, query::must_supply(tables, 0)?);
    }
    let progress = bar(latest - first, "supply");
    // What the accounts that changed since had after the block.
    let mut balances: BTreeMap<Address, U256> = BTreeMap::new();
    for number in (first + 1..=latest).rev() {
        if balances.len() > MAX_BALANCES {
            break;
        }
        let before = query::must_supply(tables, number - 1)?;
        let flow = flow_of(snapshot, number, &mut balances)?;
        let supply = format!("supply after block {number}");
        report.equal(&supply, before.after(&flow), after);
        after = before;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// Adds up what a block did to balances; `balances` are those after it, and then those before.
fn flow_of(
    snapshot: &Snapshot,
    number: u64,
    balances: &mut BTreeMap<Address, U256>,
) -> Result<Flow, StoreError> {
    let tables = snapshot.tables();
    let header = query::must_header(tables, number)?;
    let body = snapshot.body(number)?.unwrap_or_default();
    let inbox = usize::try_from(header.inbox_count).unwrap_or(usize::MAX);
    let mut flow = Flow::minted(body.iter().take(inbox).map(|(_, transaction)| transaction));
    for change in must(tables.changes(), "changes", &number.to_be_bytes(), rows::changes)? {
        let Some(before) = change.account else { continue };
        let before = before.map_or(U256::ZERO, |account| account.balance);
        let after = match balances.insert(change.address, before) {
            Some(after) => after,
            None => query::account(tables, change.address)?.map_or(U256::ZERO, |account| account.balance),
        };
        flow.change(before, after);
    }
    Ok(flow)
}

/// Checks that what L1 blocks did to vault outputs leads back from those that there are.
pub(super) fn check_vault(
    snapshot: &Snapshot,
    report: &mut CheckReport,
    _bar: Bar<'_>,
) -> Result<(), StoreError> {
    let tables = snapshot.tables();
    let mut outputs: BTreeMap<OutPoint, u64> = BTreeMap::new();
    for row in tables.vault_outputs.iter()? {
        let (key, sats) = decode_pair("vault_outputs", row?, rows::number)?;
        outputs.insert(rows::split_outpoint(&key), sats);
    }
    let left = snapshot.vault_left()?;
    for left in &left {
        if outputs.contains_key(&left.outpoint) {
            report.fault(format!("vault output {:?} is there and has left", left.outpoint));
        }
    }
    let last = snapshot.last_l1_block()?.height;
    for row in tables.vault_moves.iter()?.rev() {
        let (key, moves) = decode_pair("vault_moves", row?, rows::vault_moves)?;
        let height = u32::from_be_bytes(key);
        if height > last {
            report.fault(format!("vault outputs moved at L1 height {height}, above {last}"));
        }
        for moved in moves.iter().rev() {
            let at = |what: &str| format!("vault output {:?} at L1 height {height}: {what}", moved.outpoint);
            if moved.kind == MoveKind::Added {
                let there = outputs.remove(&moved.outpoint);
                report.equal(&at("sats"), Some(moved.sats), there);
                continue;
            }
            let before = outputs.insert(moved.outpoint, moved.sats);
            report.equal(&at("sats behind what spent it"), None, before);
            if let MoveKind::Left(by) = moved.kind {
                let found = left.iter().find(|left| left.outpoint == moved.outpoint);
                let found = found.map(|left| (left.sats, left.by, left.l1_height));
                report.equal(&at("has left"), Some((moved.sats, by, height)), found);
            }
        }
    }
    Ok(())
}
