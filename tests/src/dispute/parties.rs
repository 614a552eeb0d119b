//! Keys of all parties, and the slot that they have together.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use bitcoin::key::{Keypair, Secp256k1, TapTweak};
use bitcoin::secp256k1::{All, Message};
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut};
use bitsect_bridge::connector::{Bond, Path as Spend};
use bitsect_bridge::daemon::ReadySlot;
use bitsect_bridge::graph::{PairSpec, Signatures, SlotGraph, SlotSpec};
use bitsect_bridge::keys::{ClaimKeys, ProverKeys, locks};
use bitsect_bridge::leaf::Program;
use bitsect_bridge::params::Params;
use bitsect_bridge::secret::{PairPath, PartySeed};
use bitsect_judge::step::Cut;
use bitsect_node::purse::Purse;

/// The deployment's hash.
pub const DEPLOYMENT: B256 = B256::repeat_byte(0xd1);

/// Whose daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The operator's.
    Operator,
    /// A challenger's.
    Challenger(usize),
}

/// The secrets of everybody.
pub struct Parties {
    secp: Secp256k1<All>,
    committee: Keypair,
    /// How many challengers.
    pub challengers: usize,
}

impl Parties {
    /// Makes so many challengers.
    pub fn new(challengers: usize) -> Self {
        let secp = Secp256k1::new();
        let committee = Keypair::from_seckey_slice(&secp, &[7; 32]).expect("a key");
        Self {
            secp,
            committee,
            challengers,
        }
    }

    /// The key of a side.
    pub fn key(&self, side: Side) -> Keypair {
        let byte = match side {
            Side::Operator => 20,
            Side::Challenger(pair) => 30 + pair as u8,
        };
        Keypair::from_seckey_slice(&self.secp, &[byte; 32]).expect("a key")
    }

    /// The seed of a side.
    pub fn seed(&self, side: Side) -> PartySeed {
        let byte = match side {
            Side::Operator => 120,
            Side::Challenger(pair) => 130 + pair as u8,
        };
        PartySeed::new([byte; 32])
    }

    /// Where a side is paid.
    pub fn payout(&self, side: Side) -> ScriptBuf {
        ScriptBuf::new_p2tr(&self.secp, self.key(side).x_only_public_key().0, None)
    }

    /// The key path of a pair of a slot.
    pub const fn path(slot: usize, pair: usize) -> PairPath {
        PairPath {
            deployment: DEPLOYMENT,
            slot: slot as u32,
            pair: pair as u32,
        }
    }

    fn stake(&self, params: &Params, pair: usize) -> TxOut {
        let (key, _) = self
            .key(Side::Challenger(pair))
            .x_only_public_key()
            .0
            .tap_tweak(&self.secp, None);
        TxOut {
            value: Amount::from_sat(params.stake_sats),
            script_pubkey: ScriptBuf::new_p2tr_tweaked(key),
        }
    }

    /// Pays for bonds and stakes, builds the graphs of so many slots, and signs them as the committee.
    ///
    /// # Panics
    /// When anything fails.
    pub async fn set_up(
        &self,
        purse: &Purse,
        params: Params,
        (start, start_unit): (Cut, u64),
        program: &Program,
        slots: usize,
    ) -> Vec<ReadySlot> {
        let outputs = (0..slots).flat_map(|slot| {
            let stakes = (0..self.challengers).map(|pair| self.stake(&params, pair));
            [self.bond(&params, slot)].into_iter().chain(stakes)
        });
        let tx = purse
            .pay(outputs.collect(), vec![], |_| Ok(()))
            .await
            .expect("bonds and stakes are paid");
        let txid = tx.compute_txid();
        let ready = |slot: usize| {
            let first = slot * (1 + self.challengers);
            let spec = self.spec(&params, start, (slot, OutPoint::new(txid, first as u32)));
            let graph = SlotGraph::build(&self.secp, program, params, spec).expect("the graph is built");
            let signatures = self.sign(&graph);
            ReadySlot {
                graph: Arc::new(graph),
                signatures: Arc::new(signatures),
                start_unit,
            }
        };
        // A graph is hashes and signatures: cores share them.
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let numbers: Vec<usize> = (0..slots).collect();
        let ready = &ready;
        std::thread::scope(|scope| {
            let parts = numbers.chunks(slots.div_ceil(workers));
            let parts: Vec<_> = parts
                .map(|part| scope.spawn(move || part.iter().map(|slot| ready(*slot)).collect::<Vec<_>>()))
                .collect();
            let parts = parts.into_iter();
            parts.flat_map(|part| part.join().expect("a graph")).collect()
        })
    }

    fn claim_keys(&self, slot: usize) -> ClaimKeys {
        ClaimKeys::derive(&self.seed(Side::Operator), &Self::path(slot, 0))
    }

    fn bond(&self, params: &Params, slot: usize) -> TxOut {
        let committee = self.committee.x_only_public_key().0;
        let operator = self.key(Side::Operator).x_only_public_key().0;
        let bond = Bond::new(
            &self.secp,
            &self.claim_keys(slot),
            committee,
            operator,
            params.rounds,
        );
        TxOut {
            value: Amount::from_sat(params.bond_sats),
            script_pubkey: bond.script_pubkey(),
        }
    }

    /// What a slot's graph follows from: its bond is at `bond`, the stakes behind it.
    fn spec(&self, params: &Params, start: Cut, (slot, bond): (usize, OutPoint)) -> SlotSpec {
        let pairs = (0..self.challengers).map(|pair| {
            let (side, path) = (Side::Challenger(pair), Self::path(slot, pair));
            let stake = OutPoint::new(bond.txid, bond.vout + 1 + pair as u32);
            PairSpec {
                key: self.key(side).x_only_public_key().0,
                payout: self.payout(side),
                stake: (stake, self.stake(params, pair)),
                locks: locks(&self.seed(side), &path, params.rounds),
                prover: ProverKeys::derive(&self.seed(Side::Operator), &path, params.rounds),
            }
        });
        SlotSpec {
            committee: self.committee.x_only_public_key().0,
            operator: self.key(Side::Operator).x_only_public_key().0,
            payout: self.payout(Side::Operator),
            bond,
            ticket: None,
            start,
            claim: self.claim_keys(slot),
            pairs: pairs.collect(),
        }
    }

    fn sign(&self, graph: &SlotGraph) -> Signatures {
        let mut signatures = Signatures::default();
        for signing in graph.signings() {
            let key = match signing.path {
                Spend::Leaf(_) => self.committee,
                Spend::Key(root) => self.committee.tap_tweak(&self.secp, root).to_keypair(),
            };
            let message = Message::from_digest(signing.message);
            signatures.insert(signing.id, self.secp.sign_schnorr(&message, &key));
        }
        signatures
    }
}

/// The folder of a side below the network's.
pub fn folder(dir: &Path, side: Side) -> std::path::PathBuf {
    dir.join(match side {
        Side::Operator => "operator".to_owned(),
        Side::Challenger(pair) => format!("challenger-{pair}"),
    })
}
