//! The sums of the bridge, checked at every block that is executed and every L1 block (docs/bridge.md, "What always
//! holds"). What does not hold is said loudly, and changes nothing.

use alloy_consensus::TxReceipt;
use alloy_primitives::U256;
use bitsect_vm::chain::bridge::{COUNTS_SLOT, TOTALS_SLOT};
use bitsect_vm::chain::predeploys::BRIDGE;
use bitsect_vm::chain::{Blobs, ChainState};
use bitsect_vm::derive::bitcoin::L1Block;
use bitsect_vm::derive::{InboxItem, decode_items};
use bitsect_vm::state::StateReader;

use super::EngineError;
use super::core::{Core, Write};
use crate::invariant::{Facts, Flow, MoveKind, Sums, Supply, Violation, vault_broken, vault_moves, verify};
use crate::store::{LeftOutput, NewBlock, Snapshot, StoreError, Writer};

/// Violations that the status keeps.
const RECENT: usize = 16;

/// What the engine says of the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeStatus {
    /// The sums after the latest block.
    pub sums: Sums,
    /// What does not hold after it.
    pub broken: Option<Violation>,
    /// Vault outputs that left by what the chain does not record.
    pub left: u64,
    /// Violations since the start.
    pub violations: u64,
    /// The last of them, newest last.
    pub recent: Vec<Violation>,
}

impl BridgeStatus {
    /// Whether everything holds now.
    pub const fn holds(&self) -> bool {
        self.broken.is_none() && self.left == 0
    }

    /// Gives the violations behind the first `seen`, as far as they are kept.
    pub fn since(&self, seen: u64) -> &[Violation] {
        let new = usize::try_from(self.violations.saturating_sub(seen)).unwrap_or(usize::MAX);
        let from = self.recent.len().saturating_sub(new);
        self.recent.get(from..).unwrap_or_default()
    }

    /// Takes a violation that is new.
    fn raise(&mut self, violation: Violation) {
        let rule = violation.rule();
        tracing::error!(rule, sums = ?self.sums, "{violation}");
        self.violations += 1;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(violation);
    }
}

/// What the checks of one block gave.
pub(super) struct Audited {
    sums: Sums,
    result: Result<(), Violation>,
    broken: Vec<Violation>,
}

impl Audited {
    /// Checks the block that a writer appended last.
    pub(super) fn appended(writer: &Writer<'_>, block: &NewBlock) -> Result<Self, EngineError> {
        let number = block.header.number;
        let parent = number.saturating_sub(1);
        let supply = |number| missing(number, writer.supply(number)?);
        let minted = Flow::minted(block.inbox()).minted;
        let before = Some((supply(parent)?, minted));
        let genesis = writer.genesis_supply()?;
        let facts = facts(writer, number, genesis, before, supply(number)?)?;
        let logs = block.receipts.iter().flat_map(TxReceipt::logs);
        Ok(Self {
            sums: Sums::of(&facts),
            result: verify(&facts).map(|_| ()),
            broken: vault_broken(number, logs),
        })
    }
}

/// Reads what the sums after a block are made of.
///
/// # Errors
/// Where the block's state is not held.
pub fn facts_at(snapshot: &Snapshot, number: u64) -> Result<Facts, StoreError> {
    let state = snapshot.state_at(number)?;
    let after = missing(number, snapshot.supply(number)?)?;
    let before = match number.checked_sub(1) {
        Some(parent) => snapshot.supply(parent)?,
        None => None,
    };
    let before = match before {
        Some(before) => Some((before, minted(snapshot, number)?)),
        None => None,
    };
    facts(&state, number, snapshot.genesis_supply()?, before, after)
}

fn minted(snapshot: &Snapshot, number: u64) -> Result<U256, StoreError> {
    let inbox = snapshot.header(number)?.map_or(0, |header| header.inbox_count);
    let inbox = usize::try_from(inbox).unwrap_or(usize::MAX);
    // Most blocks have none, and their transactions need not be decoded.
    if inbox == 0 {
        return Ok(U256::ZERO);
    }
    let body = snapshot.body(number)?.unwrap_or_default();
    let inbox = body.iter().take(inbox).map(|(_, transaction)| transaction);
    Ok(Flow::minted(inbox).minted)
}

fn facts<S: StateReader<Error = StoreError>>(
    state: &S,
    block: u64,
    genesis: U256,
    before: Option<(Supply, U256)>,
    after: Supply,
) -> Result<Facts, StoreError> {
    let bridge = state.account(BRIDGE)?;
    Ok(Facts {
        block,
        genesis,
        before,
        after,
        bridge_balance: bridge.map_or(U256::ZERO, |account| account.balance),
        totals: state.storage(BRIDGE, TOTALS_SLOT)?,
        counts: state.storage(BRIDGE, COUNTS_SLOT)?,
    })
}

fn missing(number: u64, supply: Option<Supply>) -> Result<Supply, StoreError> {
    supply.ok_or_else(|| StoreError::Corrupt {
        table: "supply",
        key: format!("{number:016x}"),
        reason: "the row is missing".into(),
    })
}

/// Follows vault outputs through the L1 block that was just read, and gives those that left by what is not recorded.
pub(super) fn follow_vault(
    writer: &mut Writer<'_>,
    chain: &ChainState,
    block: &L1Block<'_>,
) -> Result<Vec<Violation>, EngineError> {
    let l1_height = chain.l1.height;
    let items = items_of(writer, chain)?;
    let moves = vault_moves(block, &items, |outpoint| writer.vault_output(outpoint))?;
    writer.push_vault_moves(l1_height, &moves)?;
    let left = moves.iter().filter_map(|moved| match moved.kind {
        MoveKind::Left(by) => Some(Violation::OutputLeft {
            l1_height,
            outpoint: moved.outpoint,
            sats: moved.sats,
            by,
        }),
        MoveKind::Added | MoveKind::Spent(_) => None,
    });
    Ok(left.collect())
}

/// Reads what derivation found in the last L1 block.
fn items_of(writer: &mut Writer<'_>, chain: &ChainState) -> Result<Vec<InboxItem>, EngineError> {
    let last = chain.origins.last().filter(|origin| origin.item_count > 0);
    let Some(origin) = last else {
        return Ok(Vec::new());
    };
    let bytes = Write(writer).get(&origin.items)?;
    let corrupt = |error| EngineError::Corrupt(format!("items of L1 block {}: {error}", origin.info.height));
    decode_items(&bytes).map_err(corrupt)
}

impl Core {
    /// Reads the sums after the latest block.
    pub(super) fn refresh_bridge(&mut self, snapshot: &Snapshot) -> Result<(), EngineError> {
        let facts = facts_at(snapshot, self.status.latest.number)?;
        let bridge = &mut self.status.bridge;
        bridge.sums = Sums::of(&facts);
        bridge.broken = verify(&facts).err();
        bridge.left = u64::try_from(snapshot.vault_left()?.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Says at the start what does not hold: it may have been said before.
    pub(super) fn audit_start(&mut self) -> Result<(), EngineError> {
        for left in self.store.read()?.vault_left()? {
            let LeftOutput {
                outpoint,
                sats,
                by,
                l1_height,
            } = left;
            self.status.bridge.raise(Violation::OutputLeft {
                l1_height,
                outpoint,
                sats,
                by,
            });
        }
        if let Some(broken) = self.status.bridge.broken.clone() {
            self.wrong = Some(broken.name());
            self.status.bridge.raise(broken);
        }
        Ok(())
    }

    /// Says what did not hold after blocks and L1 blocks that are stored now. Sums that stay wrong by the same amount are
    /// one violation.
    pub(super) fn audit(&mut self, blocks: Vec<Audited>, left: Vec<Violation>) {
        let bridge = &mut self.status.bridge;
        for violation in left {
            bridge.raise(violation);
        }
        for Audited { sums, result, broken } in blocks {
            bridge.sums = sums;
            for violation in broken {
                bridge.raise(violation);
            }
            let name = result.as_ref().err().map(Violation::name);
            let is_new = name != self.wrong;
            self.wrong = name;
            if let (Err(violation), true) = (result, is_new) {
                bridge.raise(violation);
            }
        }
    }
}
