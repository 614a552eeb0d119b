//! What members sign together for the vault: accepts, and moves within it. Each signs first all ways out of what is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::{All, schnorr};
use bitcoin::taproot::{Signature, TapNodeHash};
use bitcoin::{Amount, OutPoint, TapSighashType, Transaction, Txid};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::PATIENCE;
use super::accept::{due_accepts, late_accepts};
use super::care::{VaultMove, moves_of};
use super::state::{OpenDeposit, VaultState};
use super::turns::Turns;
use crate::committee::{SignError, SignRequest, Signer, Signing, Tweak};
use crate::connector::{Funds, Path, key_witness};
use crate::daemon::{
    Core, DaemonError, DaemonStore, DaemonStoreError, Knowledge, Outgoing, Party, PartyError, Pledge,
    ReadySlot, Wanted,
};
use crate::graph::{Committee, GraphError, VaultGraph, VaultSigningId, balanced};
use crate::params::VaultParams;
use crate::setup::tweak;
use crate::transaction::{Planned, Spent, VAULT_OUTPUT, accept, vault_spend};

/// A transaction that makes vault outputs, before it is signed.
#[derive(Clone, Debug)]
struct Work {
    /// What it is, for people.
    name: String,
    planned: Planned,
    /// How many vault outputs it makes: its first ones.
    made: u32,
    /// The tree of scripts of its inputs.
    root: Option<TapNodeHash>,
    /// What its inputs are let be spent for, and Bitcoin's height.
    pledge: (Pledge, u32),
    /// The first L1 block of the first turn.
    turn: u32,
    /// The last L1 block in which it is in time.
    deadline: u32,
    why: &'static str,
}

/// Why something is not signed.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The file failed.
    #[error(transparent)]
    Store(#[from] DaemonStoreError),
    /// Values do not balance: our own fault.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A signature is missing: our own fault.
    #[error("{got} signatures of {expected}")]
    Count {
        /// How many were asked for.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// We let an input be spent for something else.
    #[error("{outpoint}: expected to let it be spent for {expected:?}, got {got:?}")]
    Pledged {
        /// The input.
        outpoint: OutPoint,
        /// What it would be spent for.
        expected: Pledge,
        /// What we let it be spent for before.
        got: Pledge,
    },
}

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

/// Names what is signed of a vault output's graph.
pub(super) fn vault_signings(graph: &VaultGraph) -> Vec<Signing> {
    let signings = graph.signings().into_iter();
    signings
        .map(|signing| Signing {
            label: vault_label(signing.id),
            message: signing.message,
            tweak: tweak(signing.path),
        })
        .collect()
}

fn vault_label(id: VaultSigningId) -> String {
    match id {
        VaultSigningId::Assignment(slot) => format!("assignment to slot {slot}"),
        VaultSigningId::Reimbursement(slot, end, input) => {
            format!("reimbursement of slot {slot} behind {end:?}, input {input}")
        }
    }
}

/// Gives signatures of a vault output's graph their names.
pub(super) fn named(graph: &VaultGraph, signatures: Vec<schnorr::Signature>) -> Committee<VaultSigningId> {
    let ids = graph.signings().into_iter().map(|signing| signing.id);
    ids.zip(signatures).collect()
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

impl Work {
    fn outgoing(&self, transaction: Transaction) -> Outgoing {
        Outgoing {
            label: self.name.clone(),
            why: self.why.to_owned(),
            transaction,
            fee: Amount::ZERO,
            deadline: self.deadline,
        }
    }

    async fn sign(
        &self,
        signer: &Signer,
        slots: &[ReadySlot],
        store: &DaemonStore,
    ) -> Result<Transaction, KeepError> {
        // First all ways out: whoever has them signs the way in.
        for vout in 0..self.made {
            let signings = {
                let graphs = slots.iter().map(|slot| slot.graph.as_ref());
                let output = self.planned.output(vout);
                vault_signings(&VaultGraph::build(&Secp256k1::new(), graphs, output)?)
            };
            let name = format!("vault graph of {}, output {vout}", self.name);
            signer.sign(SignRequest { name, signings }).await?;
        }
        // From here on others may have our part of it: what the inputs are spent for is kept before.
        let inputs: Vec<OutPoint> = self
            .planned
            .transaction
            .input
            .iter()
            .map(|input| input.previous_output)
            .collect();
        let (expected, tip) = self.pledge;
        if let Some((outpoint, got)) = store.pledge(&inputs, expected, tip)? {
            return Err(KeepError::Pledged {
                outpoint,
                expected,
                got,
            });
        }
        let path = Path::Key(self.root);
        let signings = (0..inputs.len()).map(|input| Signing {
            label: format!("input {input}"),
            message: self.planned.message(input, path),
            tweak: Tweak::KeyPath(self.root),
        });
        let request = SignRequest {
            name: self.name.clone(),
            signings: signings.collect(),
        };
        let signatures = signer.sign(request).await?;
        if signatures.len() != inputs.len() {
            return Err(KeepError::Count {
                expected: inputs.len(),
                got: signatures.len(),
            });
        }
        let witness = |signature| {
            key_witness(&Signature {
                signature,
                sighash_type: TapSighashType::Default,
            })
        };
        Ok(self
            .planned
            .finalize(signatures.into_iter().map(witness).collect()))
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
