//! Accepts: a deposit enters the vault once all ways out of it are signed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bitcoin::hashes::Hash;
use bitcoin::key::Secp256k1;
use bitcoin::secp256k1::schnorr;
use bitcoin::taproot::Signature;
use bitcoin::{Amount, OutPoint, TapSighashType, Transaction};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::state::{OpenDeposit, VaultState};
use crate::committee::{Deployment, MemberId, Role, SignError, SignRequest, Signer, Signing, Tweak};
use crate::connector::{Funds, Path, key_witness};
use crate::daemon::{Core, DaemonError, Knowledge, Outgoing, Party, PartyError, ReadySlot, Wanted};
use crate::graph::{Committee, GraphError, VaultGraph, VaultSigningId, balanced};
use crate::setup::tweak;
use crate::transaction::{Spent, VAULT_OUTPUT, accept};
use crate::user::Terms;

/// What members sign of one deposit.
#[derive(Clone, Debug)]
struct Plan {
    outpoint: OutPoint,
    deposit: OpenDeposit,
}

/// Members take turns at sending accepts, since one pays the fee: operators first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// How many operators there are.
    pub operators: u32,
    /// Which of them we are; none of a challenger.
    pub ours: Option<u32>,
    /// L1 blocks from one turn to the next.
    pub blocks: u32,
}

/// Blocks from one operator's turn to the next one's.
const TURN_BLOCKS: u32 = 6;

impl Turns {
    /// Gives a member's turn.
    pub fn of(deployment: &Deployment, member: MemberId) -> Self {
        let ids = deployment.ids();
        let operators: Vec<MemberId> = ids
            .filter(|id| deployment.member(*id).role == Role::Operator)
            .collect();
        let ours = operators.iter().position(|id| *id == member);
        Self {
            operators: operators.len() as u32,
            ours: ours.map(|ours| ours as u32),
            blocks: TURN_BLOCKS,
        }
    }

    /// Gives the blocks until it is our turn.
    fn wait(&self, outpoint: &OutPoint) -> u32 {
        self.blocks_behind(outpoint.txid.to_byte_array()[0].into())
    }

    /// Gives the blocks between the first turn at something with this number, and ours.
    pub(super) fn blocks_behind(&self, number: u64) -> u32 {
        let operators = self.operators.max(1);
        let first = (number % u64::from(operators)) as u32;
        let behind = self
            .ours
            .map_or(operators, |ours| (ours + operators - first) % operators);
        behind.saturating_mul(self.blocks)
    }
}

/// Why a deposit was not accepted.
#[derive(Debug, thiserror::Error)]
enum AcceptError {
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
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
}

type Accepted = (OutPoint, Result<Transaction, AcceptError>);

/// Signs, with all members, the ways out of deposits, and then their accepts.
#[expect(missing_debug_implementations, reason = "keys of a signer")]
pub struct Acceptor {
    signer: Signer,
    slots: Arc<[ReadySlot]>,
    confirmations: u32,
    /// Woken where signing for a deposit ends.
    nudge: Arc<Notify>,
    under_way: BTreeMap<OutPoint, AbortHandle>,
    /// Accepts that are signed.
    signed: BTreeMap<OutPoint, Transaction>,
    /// Those of them that were given out.
    given: BTreeSet<OutPoint>,
    turns: Turns,
    tasks: JoinSet<Accepted>,
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

impl Acceptor {
    /// Signs for deposits that are `confirmations` deep. `nudge` is woken where signing for one has ended.
    pub fn new(
        signer: Signer,
        slots: Vec<ReadySlot>,
        (confirmations, turns): (u32, Turns),
        nudge: Arc<Notify>,
    ) -> Self {
        Self {
            signer,
            slots: slots.into(),
            confirmations,
            nudge,
            under_way: BTreeMap::new(),
            signed: BTreeMap::new(),
            given: BTreeSet::new(),
            turns,
            tasks: JoinSet::new(),
        }
    }

    /// Begins to sign for deposits that are deep enough, and gives up those that are gone. Gives accepts that are signed, with
    /// the last L1 block in which each counts.
    pub fn look(&mut self, vault: &VaultState, tip: u32) -> Vec<(OutPoint, Transaction, u32)> {
        let window = vault.terms().deposit_window;
        let is_due = |deposit: &OpenDeposit| {
            deposit.spent.is_none()
                && tip + 1 >= deposit.height + self.confirmations
                // One that is confirmed too late mints nothing: it is not signed when that might happen.
                && tip <= deposit.height + window / 2
        };
        let due: BTreeMap<OutPoint, &OpenDeposit> = vault
            .deposits()
            .filter(|(_, deposit)| is_due(deposit))
            .map(|(outpoint, deposit)| (*outpoint, deposit))
            .collect();
        self.under_way.retain(|outpoint, task| {
            let stays = due.contains_key(outpoint);
            if !stays {
                task.abort();
            }
            stays
        });
        self.signed.retain(|outpoint, _| due.contains_key(outpoint));
        self.given.retain(|outpoint| due.contains_key(outpoint));
        // In the order of the chain, so that members ask for the same first.
        let mut new: Vec<(&OutPoint, &&OpenDeposit)> = due
            .iter()
            .filter(|(outpoint, _)| {
                !self.under_way.contains_key(*outpoint) && !self.signed.contains_key(*outpoint)
            })
            .collect();
        new.sort_by_key(|(outpoint, deposit)| (deposit.height, **outpoint));
        for (outpoint, deposit) in new {
            let plan = Plan {
                outpoint: *outpoint,
                deposit: (*deposit).clone(),
            };
            let (signer, slots, terms) = (
                self.signer.clone(),
                Arc::clone(&self.slots),
                vault.terms().clone(),
            );
            let nudge = Arc::clone(&self.nudge);
            let task = self.tasks.spawn(async move {
                let signed = plan.sign(&signer, &slots, &terms).await;
                nudge.notify_one();
                (plan.outpoint, signed)
            });
            self.under_way.insert(*outpoint, task);
        }
        self.collect();
        let mut out = Vec::new();
        for (outpoint, transaction) in &self.signed {
            let Some(deposit) = due.get(outpoint) else {
                continue;
            };
            let turn = deposit.height + self.confirmations + self.turns.wait(outpoint);
            if tip + 1 >= turn && self.given.insert(*outpoint) {
                out.push((*outpoint, transaction.clone(), deposit.height + window));
            }
        }
        out
    }

    /// Keeps what was signed.
    fn collect(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            let (outpoint, accepted) = match ended {
                Ok(ended) => ended,
                Err(error) if error.is_cancelled() => continue,
                Err(error) => {
                    tracing::error!(%error, "signing for a deposit broke: it is tried again");
                    self.under_way.retain(|_, task| !task.is_finished());
                    continue;
                }
            };
            self.under_way.remove(&outpoint);
            match accepted {
                Ok(transaction) => drop(self.signed.insert(outpoint, transaction)),
                Err(error) => tracing::warn!(%outpoint, %error, "a deposit waits"),
            }
        }
    }
}

impl Plan {
    async fn sign(
        &self,
        signer: &Signer,
        slots: &[ReadySlot],
        terms: &Terms,
    ) -> Result<Transaction, AcceptError> {
        let secp = Secp256k1::new();
        let funds = Funds::new(&secp, terms.vault_key);
        let deposit = Spent::new(self.outpoint, self.deposit.output.clone());
        let planned = balanced("accept", accept(deposit, &funds))?;
        let graphs = slots.iter().map(|slot| slot.graph.as_ref());
        let graph = VaultGraph::build(&secp, graphs, planned.output(VAULT_OUTPUT))?;
        // First all ways out: whoever has them signs the way in.
        let signings = vault_signings(&graph);
        let name = format!("vault graph of deposit {}", self.outpoint);
        signer.sign(SignRequest { name, signings }).await?;
        let root = self.deposit.order.spend_info(terms).merkle_root();
        let path = Path::Key(root);
        let signings = vec![Signing {
            label: "accept".to_owned(),
            message: planned.message(0, path),
            tweak: Tweak::KeyPath(root),
        }];
        let name = format!("accept of deposit {}", self.outpoint);
        let signatures = signer.sign(SignRequest { name, signings }).await?;
        let [signature] = <[_; 1]>::try_from(signatures).map_err(|all| AcceptError::Count {
            expected: 1,
            got: all.len(),
        })?;
        let witness = key_witness(&Signature {
            signature,
            sighash_type: TapSighashType::Default,
        });
        Ok(planned.finalize(vec![witness]))
    }
}

/// A party that accepts deposits, beside what it does in slots.
#[expect(missing_debug_implementations, reason = "keys of a signer")]
pub struct Accepting<P> {
    /// What it is beside.
    pub party: P,
    /// What signs accepts.
    pub acceptor: Option<Acceptor>,
}

impl Acceptor {
    /// Signs, and has sent what is signed.
    ///
    /// # Errors
    /// Where it cannot be carried.
    pub fn turn(&mut self, core: &mut Core) -> Result<(), DaemonError> {
        let tip = core.tip();
        let Some(vault) = core.vault() else {
            return Ok(());
        };
        for (outpoint, transaction, deadline) in self.look(vault, tip) {
            core.submit(Outgoing {
                label: format!("accept of {outpoint}"),
                why: "all members have signed the ways out of it".to_owned(),
                transaction,
                fee: Amount::ZERO,
                deadline,
            })?;
        }
        Ok(())
    }
}

impl<P: Party> Party for Accepting<P> {
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
            && let Some(acceptor) = &mut self.acceptor
        {
            acceptor.turn(core)?;
        }
        self.party.act(core, slot, knowledge).await
    }
}
