//! A slot of one challenger or more whose committee is one key, and a small program.
#![allow(dead_code, reason = "each test file uses what it needs")]

pub mod play;

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, Secp256k1, TapTweak};
use bitcoin::secp256k1::{All, Message};
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Txid};
use bitsect_bridge::connector::Path;
use bitsect_bridge::graph::{PairSpec, Signatures, SlotGraph, SlotSpec};
use bitsect_bridge::keys::{ClaimKeys, ProverKeys, locks};
use bitsect_bridge::leaf::Program;
use bitsect_bridge::params::{Params, Rounds};
use bitsect_bridge::secret::{PairPath, PartySeed};
use bitsect_judge::step::Cut;
use bitsect_machine::Program as Elf;
use bitsect_vm::chain;
use bitsect_vm::chain::bridge::{OutputId, output_id};

pub const START: u32 = 0x1_0000;

/// The secrets of all parties.
pub struct Parties {
    pub secp: Secp256k1<All>,
    pub committee: Keypair,
    pub operator: Keypair,
    pub challengers: Vec<Keypair>,
    pub operator_seed: PartySeed,
    pub challenger_seeds: Vec<PartySeed>,
}

pub const fn params(rounds: Rounds) -> Params {
    Params {
        rounds,
        move_timeout_blocks: 3,
        challenge_window_blocks: 6,
        dispute_window_blocks: 6 + 3 * 2 * 50,
        bond_sats: 1_000_000,
        stake_sats: 100_000,
        reward_sats: 200_000,
        verdict_fee_sats: 50_000,
    }
}

/// A program of these instruction words.
pub fn elf(words: &[u32]) -> Elf {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let end = (START + bytes.len() as u32).next_multiple_of(64);
    Elf {
        segments: vec![(START, bytes)],
        entry: START,
        text: START..end,
        symbols: Vec::new(),
    }
}

impl Parties {
    pub fn new(challengers: usize) -> Self {
        let secp = Secp256k1::new();
        let key = |byte: u8| Keypair::from_seckey_slice(&secp, &[byte; 32]).unwrap();
        Self {
            committee: key(1),
            operator: key(2),
            challengers: (0..challengers).map(|pair| key(10 + pair as u8)).collect(),
            operator_seed: PartySeed::new([3; 32]),
            challenger_seeds: (0..challengers)
                .map(|pair| PartySeed::new([100 + pair as u8; 32]))
                .collect(),
            secp,
        }
    }

    pub fn path(pair: usize) -> PairPath {
        PairPath {
            deployment: B256::repeat_byte(9),
            slot: 0,
            pair: pair as u32,
        }
    }

    pub fn payout(&self, key: &Keypair) -> ScriptBuf {
        ScriptBuf::new_p2tr(&self.secp, key.x_only_public_key().0, None)
    }

    pub fn stake(&self, params: &Params, pair: usize) -> TxOut {
        let (key, _) = self.challengers[pair]
            .x_only_public_key()
            .0
            .tap_tweak(&self.secp, None);
        TxOut {
            value: Amount::from_sat(params.stake_sats),
            script_pubkey: ScriptBuf::new_p2tr_tweaked(key),
        }
    }

    pub fn spec(&self, params: &Params, start: Cut, bond: OutPoint, stakes: &[OutPoint]) -> SlotSpec {
        let pairs = self.challengers.iter().enumerate().map(|(pair, key)| PairSpec {
            key: key.x_only_public_key().0,
            payout: self.payout(key),
            stake: (stakes[pair], self.stake(params, pair)),
            locks: locks(&self.challenger_seeds[pair], &Self::path(pair), params.rounds),
            prover: ProverKeys::derive(&self.operator_seed, &Self::path(pair), params.rounds),
        });
        SlotSpec {
            committee: self.committee.x_only_public_key().0,
            operator: self.operator.x_only_public_key().0,
            payout: self.payout(&self.operator),
            bond,
            ticket: None,
            start,
            claim: ClaimKeys::derive(&self.operator_seed, &Self::path(0)),
            pairs: pairs.collect(),
        }
    }

    /// The committee signs everything.
    pub fn sign(&self, graph: &SlotGraph) -> Signatures {
        let mut signatures = Signatures::default();
        for signing in graph.signings() {
            let key = match signing.path {
                Path::Leaf(_) => self.committee,
                Path::Key(root) => self.committee.tap_tweak(&self.secp, root).to_keypair(),
            };
            let message = Message::from_digest(signing.message);
            signatures.insert(signing.id, self.secp.sign_schnorr(&message, &key));
        }
        signatures
    }
}

pub fn outpoint(number: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([number; 32]), 0)
}

/// The ticket of a slot.
pub fn ticket(slot: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([0x70; 32]), u32::from(slot))
}

/// Gives an outpoint as the chain has it.
pub fn chain_outpoint(outpoint: &OutPoint) -> chain::OutPoint {
    chain::OutPoint {
        txid: outpoint.txid.to_byte_array().into(),
        vout: outpoint.vout,
    }
}

/// The name of a ticket.
pub fn ticket_id(ticket: &OutPoint) -> OutputId {
    output_id(&chain_outpoint(ticket))
}

pub fn program(words: &[u32]) -> Program {
    Program::of(elf(words)).unwrap()
}
