//! What members sign together for the vault: accepts, and moves within it. Each signs first all ways out of what is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::All;
use bitcoin::{OutPoint, Transaction, Txid};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::PATIENCE;
use super::accept::{due_accepts, late_accepts};
use super::care::{VaultMove, moves_of};
use super::state::{OpenDeposit, VaultState};
use super::turns::Turns;
use super::work::{KeepError, Work};
use crate::committee::Signer;
use crate::connector::Funds;
use crate::daemon::{
    Core, DaemonError, DaemonStore, DaemonStoreError, Knowledge, Outgoing, Party, PartyError, Pledge,
    ReadySlot, Wanted,
};
use crate::graph::{GraphError, balanced};
use crate::params::VaultParams;
use crate::transaction::{Spent, VAULT_OUTPUT, accept, vault_spend};

type Ended = (Txid, Result<Transaction, KeepError>);

/// Signs, with all members, the ways out of vault outputs, and then what makes them.
#[expect(missing_debug_implementations, reason = "keys of a signer")]
pub struct Keeper {
    secp: Secp256k1<All>,
    signer: Signer,
    slots: Arc<[ReadySlot]>,
    params: VaultParams,
    confirmations: u32,
    /// Woken where signing ends.
    nudge: Arc<Notify>,
    under_way: BTreeMap<Txid, AbortHandle>,
    /// What is signed.
    signed: BTreeMap<Txid, Transaction>,
    /// What of it was given out.
    given: BTreeSet<Txid>,
    turns: Turns,
    tasks: JoinSet<Ended>,
}

impl Keeper {
    /// Signs for what is `confirmations` deep. `nudge` is woken where signing has ended.
    pub fn new(
        signer: Signer,
        slots: Vec<ReadySlot>,
        params: VaultParams,
        (confirmations, turns): (u32, Turns),
        nudge: Arc<Notify>,
    ) -> Self {
        Self {
            secp: Secp256k1::new(),
            signer,
            slots: slots.into(),
            params,
            confirmations,
            nudge,
            under_way: BTreeMap::new(),
            signed: BTreeMap::new(),
            given: BTreeSet::new(),
            turns,
            tasks: JoinSet::new(),
        }
    }

    /// Begins to sign what is due, and gives up what is not any more. Gives what is signed and whose turn is ours, once.
    ///
    /// # Errors
    /// Where the daemon's file fails.
    pub fn look(
        &mut self,
        vault: &VaultState,
        store: &DaemonStore,
        tip: u32,
    ) -> Result<Vec<Outgoing>, DaemonStoreError> {
        let due = self.due(vault, store, tip)?;
        let is_due = |txid: &Txid| due.iter().any(|(due, _)| due == txid);
        self.under_way.retain(|txid, task| {
            let stays = is_due(txid);
            if !stays {
                task.abort();
            }
            stays
        });
        self.signed.retain(|txid, _| is_due(txid));
        self.given.retain(is_due);
        for (txid, work) in &due {
            if !self.under_way.contains_key(txid) && !self.signed.contains_key(txid) {
                self.begin(*txid, work.clone(), store.clone());
            }
        }
        self.collect();
        let mut out = Vec::new();
        for (txid, work) in due {
            let Some(transaction) = self.signed.get(&txid) else {
                continue;
            };
            if tip + 1 >= work.turn + self.wait(&work) && self.given.insert(txid) {
                out.push(work.outgoing(transaction.clone()));
            }
        }
        Ok(out)
    }

    /// Gives what is to be signed, in the order of the chain, so that members ask for the same first.
    fn due(
        &self,
        vault: &VaultState,
        store: &DaemonStore,
        tip: u32,
    ) -> Result<Vec<(Txid, Work)>, DaemonStoreError> {
        let accepts = due_accepts(vault, &self.params, store, (tip, self.confirmations))?;
        let accepts = accepts
            .into_iter()
            .map(|(outpoint, deposit)| self.accept(vault, (outpoint, deposit), tip));
        let moves = moves_of(vault, &self.params, store)?;
        let moves = moves
            .iter()
            .filter(|one| one.is_deep(tip, self.confirmations))
            .map(|one| self.relocate(vault, one, tip));
        let mut due = Vec::new();
        for work in accepts.chain(moves) {
            match work {
                Ok(work) => due.push((work.planned.txid(), work)),
                Err(error) => tracing::error!(%error, "what makes vault outputs cannot be planned"),
            }
        }
        Ok(due)
    }

    fn accept(
        &self,
        vault: &VaultState,
        (outpoint, deposit): (OutPoint, &OpenDeposit),
        tip: u32,
    ) -> Result<Work, GraphError> {
        let terms = vault.terms();
        let funds = Funds::new(&self.secp, terms.vault_key);
        let spent = Spent::new(outpoint, deposit.output.clone());
        Ok(Work {
            name: format!("accept of {outpoint}"),
            planned: balanced("accept", accept(spent, &funds))?,
            made: VAULT_OUTPUT + 1,
            root: deposit.order.spend_info(terms).merkle_root(),
            pledge: (Pledge::Accept, tip),
            turn: deposit.height + self.confirmations,
            deadline: terms.accept_until(deposit.height),
            why: "all members have signed the ways out of it",
        })
    }

    fn relocate(&self, vault: &VaultState, one: &VaultMove, tip: u32) -> Result<Work, GraphError> {
        let funds = Funds::new(&self.secp, vault.terms().vault_key);
        let spent = one.inputs.iter();
        let spent = spent.map(|(outpoint, output)| vault.spendable(*outpoint, output.amount));
        let planned = vault_spend(spent.collect(), &one.outputs, &funds);
        Ok(Work {
            name: one.name(),
            planned: balanced("move", planned)?,
            made: one.outputs.len() as u32,
            root: None,
            pledge: (Pledge::Move, tip),
            turn: one.since() + self.confirmations,
            deadline: tip + PATIENCE,
            why: "all members have signed the ways out of what it makes",
        })
    }

    /// Gives the blocks until it is our turn.
    fn wait(&self, work: &Work) -> u32 {
        let first = work.planned.transaction.input.first();
        let number = first.map_or(0, |input| input.previous_output.txid.to_byte_array()[0]);
        self.turns.blocks_behind(number.into())
    }

    fn begin(&mut self, txid: Txid, work: Work, store: DaemonStore) {
        let (signer, slots) = (self.signer.clone(), Arc::clone(&self.slots));
        let nudge = Arc::clone(&self.nudge);
        let task = self.tasks.spawn(async move {
            let signed = work.sign(&signer, &slots, &store).await;
            nudge.notify_one();
            (txid, signed)
        });
        self.under_way.insert(txid, task);
    }

    /// Keeps what was signed.
    fn collect(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            let (txid, signed) = match ended {
                Ok(ended) => ended,
                Err(error) if error.is_cancelled() => continue,
                Err(error) => {
                    tracing::error!(%error, "signing for the vault broke: it is tried again");
                    self.under_way.retain(|_, task| !task.is_finished());
                    continue;
                }
            };
            self.under_way.remove(&txid);
            match signed {
                Ok(transaction) => drop(self.signed.insert(txid, transaction)),
                Err(error) => tracing::warn!(%txid, %error, "what makes vault outputs waits"),
            }
        }
    }

    /// Signs, and has sent what is signed.
    ///
    /// # Errors
    /// Where the daemon's file fails, or it cannot be carried.
    pub fn turn(&mut self, core: &mut Core) -> Result<(), DaemonError> {
        let Some(vault) = core.vault() else {
            return Ok(());
        };
        // From here on it would stand in the way of the refund.
        let late = late_accepts(vault, core.open_transactions(), core.tip());
        let outgoing = self.look(vault, core.store(), core.tip())?;
        late.iter().try_for_each(|txid| core.cancel(txid))?;
        outgoing
            .into_iter()
            .try_for_each(|outgoing| core.submit(outgoing))
    }
}

/// A party that keeps the vault, beside what it does in slots.
#[expect(missing_debug_implementations, reason = "keys of a signer")]
pub struct Keeping<P> {
    /// What it is beside.
    pub party: P,
    /// What keeps the vault.
    pub keeper: Option<Keeper>,
}

impl<P: Party> Party for Keeping<P> {
    fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError> {
        self.party.restore(core, slot)
    }

    async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        if slot == 0
            && let Some(keeper) = &mut self.keeper
        {
            keeper.turn(core)?;
        }
        self.party.act(core, slot, knowledge).await
    }
}
