//! Games of values that mean nothing: every transaction is real, and Bitcoin Core's consensus code takes it.

use std::collections::{BTreeMap, HashMap};

use bitcoin::consensus::serialize;
use bitcoin::{OutPoint, Transaction, TxOut};
use bitsect_bridge::game::{Item, Stage};
use bitsect_bridge::graph::{Signatures, SlotGraph};
use bitsect_bridge::slot::{Actor, Hand, Position, SlotState, Turn};
use bitsect_judge::leaf::Value;
use bitsect_judge::winternitz::MemoryStore;

use super::{Parties, outpoint};

/// A slot, and the outputs that there are.
pub struct Game<'a> {
    pub parties: &'a Parties,
    pub graph: &'a SlotGraph,
    pub signatures: &'a Signatures,
    pub state: SlotState,
    operator: Hand<MemoryStore>,
    challengers: Vec<Hand<MemoryStore>>,
    unspent: HashMap<OutPoint, TxOut>,
    height: u32,
}

/// A register-to-register instruction: `add x1, x2, x3`.
const ADD: u32 = 0x0031_00b3;

impl<'a> Game<'a> {
    pub fn new(parties: &'a Parties, graph: &'a SlotGraph, signatures: &'a Signatures) -> Self {
        let hand = |seed: &bitsect_bridge::secret::PartySeed, key| {
            Hand::new(seed.clone(), key, MemoryStore::default())
        };
        let mut unspent = HashMap::from([(outpoint(1), graph.claim.spent[0].clone())]);
        for (pair, spec) in graph.spec.pairs.iter().enumerate() {
            unspent.insert(outpoint(2 + pair as u8), spec.stake.1.clone());
        }
        let challengers = parties.challenger_seeds.iter().zip(&parties.challengers);
        Self {
            state: SlotState::new(graph),
            operator: hand(&parties.operator_seed, parties.operator),
            challengers: challengers.map(|(seed, key)| hand(seed, *key)).collect(),
            parties,
            graph,
            signatures,
            unspent,
            height: 100,
        }
    }

    pub fn actor(&self) -> Actor<'a> {
        Actor {
            secp: &self.parties.secp,
            graph: self.graph,
            signatures: self.signatures,
        }
    }

    /// Whether consensus takes a transaction, as it stands.
    pub fn is_valid(&self, transaction: &Transaction) -> bool {
        let spent: Option<Vec<TxOut>> = transaction
            .input
            .iter()
            .map(|input| self.unspent.get(&input.previous_output).cloned())
            .collect();
        let Some(spent) = spent else {
            return false;
        };
        let outputs: Vec<bitcoinconsensus::Utxo> = spent
            .iter()
            .map(|output| bitcoinconsensus::Utxo {
                script_pubkey: output.script_pubkey.as_bytes().as_ptr(),
                script_pubkey_len: output.script_pubkey.len() as u32,
                value: output.value.to_sat() as i64,
            })
            .collect();
        let raw = serialize(transaction);
        spent.iter().enumerate().all(|(input, output)| {
            let (script, value) = (output.script_pubkey.as_bytes(), output.value.to_sat());
            bitcoinconsensus::verify(script, value, &raw, Some(&outputs), input).is_ok()
        })
    }

    /// Confirms a transaction.
    pub fn confirm(&mut self, transaction: &Transaction) {
        assert!(
            self.is_valid(transaction),
            "consensus refuses {:?}",
            self.state.moves.last()
        );
        for input in &transaction.input {
            self.unspent.remove(&input.previous_output);
        }
        let txid = transaction.compute_txid();
        for (vout, output) in (0..).zip(&transaction.output) {
            self.unspent.insert(OutPoint::new(txid, vout), output.clone());
        }
        self.height += 1;
        assert!(self.state.apply(self.graph, transaction, self.height));
    }

    pub fn claim(&mut self, count: u32, state: [u8; 24]) {
        let actor = self.actor();
        let claim = self
            .operator
            .claim(&actor, &Parties::path(0), count, &state)
            .unwrap();
        self.confirm(&claim);
    }

    pub fn challenge(&mut self, pair: usize) {
        let challenge = self
            .actor()
            .challenge(pair, &self.parties.challengers[pair])
            .unwrap();
        self.confirm(&challenge);
    }

    /// Answers what is asked with these values, or such as mean nothing.
    pub fn answer(&mut self, pair: usize, values: &BTreeMap<Item, Vec<u8>>) -> Transaction {
        let Position::Waiting {
            turn: Turn::Prover,
            stage,
            ..
        } = self.state.branches[pair].position
        else {
            panic!("the prover is asked");
        };
        let published = self.state.branches[pair].published.clone();
        let form = stage.form(|stage| published.option(stage)).unwrap();
        let values: BTreeMap<Item, Vec<u8>> = stage
            .items(form)
            .into_iter()
            .map(|item| {
                (
                    item,
                    values.get(&item).cloned().unwrap_or_else(|| nothing(stage, item)),
                )
            })
            .collect();
        let actor = self.actor();
        let answer = self
            .operator
            .answer(&actor, &Parties::path(pair), stage, &values, &published);
        answer.unwrap()
    }

    /// Chooses an option behind the last answer.
    pub fn choose(&mut self, pair: usize, option: u8) -> Result<Transaction, String> {
        let Position::Waiting {
            turn: Turn::Challenger,
            stage,
            ..
        } = self.state.branches[pair].position
        else {
            panic!("the challenger chooses");
        };
        let published = self.state.branches[pair].published.clone();
        let actor = self.actor();
        let chosen = self.challengers[pair].choose(&actor, &Parties::path(pair), stage, option, &published);
        chosen.map_err(|error| error.to_string())
    }

    /// Plays with these options from the challenge on, up to the answer behind the last of them.
    pub fn play(&mut self, pair: usize, options: &[u8]) {
        for option in options {
            let answer = self.answer(pair, &BTreeMap::new());
            self.confirm(&answer);
            let ask = self.choose(pair, *option).unwrap();
            self.confirm(&ask);
        }
        let answer = self.answer(pair, &BTreeMap::new());
        self.confirm(&answer);
    }

    pub fn stage(&self, pair: usize) -> Stage {
        match self.state.branches[pair].position {
            Position::Waiting { stage, .. } => stage,
            other => panic!("{other:?}"),
        }
    }
}

/// A value that means nothing, but a step's opens every gate of an `add`.
pub fn nothing(stage: Stage, item: Item) -> Vec<u8> {
    match item {
        Item::Value(Value::Statuses) => vec![0],
        Item::Value(Value::Instruction) => ADD.to_le_bytes().to_vec(),
        _ => {
            let mut bytes = vec![0; item.bytes()];
            let mut hasher = blake3::Hasher::new();
            hasher.update(format!("{stage:?} {item:?}").as_bytes());
            hasher.finalize_xof().fill(&mut bytes);
            bytes
        }
    }
}
