//! The transactions of a vault output, in Bitcoin Core's consensus code: who can take it, and what the chain reads of them.

mod chain;
#[path = "../common/mod.rs"]
mod common;
mod fold;

use std::collections::HashMap;

use alloy_primitives::{Address, B256};
use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, TapTweak};
use bitcoin::secp256k1::Message;
use bitcoin::taproot::{Signature, TapNodeHash};
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Txid, Witness,
};
use bitsect_bridge::connector::{Funds, Path, key_witness};
use bitsect_bridge::graph::{Committee, End, Signatures, SlotGraph, VaultGraph, VaultSigningId};
use bitsect_bridge::params::{CONNECTOR_VALUE, Rounds};
use bitsect_bridge::slot::{Actor, Hand};
use bitsect_bridge::transaction::{
    BOND_OUTPUT, NEXT_OUTPUT, Planned, REIMBURSE_OUTPUT, REIMBURSED_OUTPUT, Spent, VAULT_OUTPUT, accept,
    vault_spend,
};
use bitsect_judge::winternitz::MemoryStore;
use bitsect_vm::derive::bitcoin::tap_leaf_hash;
use bitsect_vm::derive::{DepositTag, payout_script};
use common::{Parties, outpoint, params, program, ticket};

const ROUNDS: Rounds = Rounds { units: 2, trace: 3 };
const DEPOSIT: u64 = 5_000_000;
const REFUND_DELAY: u16 = 144;
/// What a parent and a child of version 3 may have (BIP-0431), vB.
const TRUC_MAX_VSIZE: usize = 10_000;
const SLOTS: usize = 2;

/// The deployment's slots, and two vault outputs of equal value.
struct Vault {
    parties: Parties,
    slots: Vec<SlotGraph>,
    signatures: Vec<Signatures>,
    deposits: [Spent; 2],
    accepts: [Planned; 2],
    graphs: [VaultGraph; 2],
    signed: [Committee<VaultSigningId>; 2],
}

impl Vault {
    fn new() -> Self {
        let parties = Parties::new(1);
        let program = program(&[0x13; 16]);
        let slots: Vec<SlotGraph> = (0..SLOTS as u8)
            .map(|slot| {
                let stakes = [outpoint(20 + slot)];
                let mut spec = parties.spec(&params(ROUNDS), [1; 24], outpoint(10 + slot), &stakes);
                spec.ticket = Some(ticket(slot));
                SlotGraph::build(&parties.secp, &program, params(ROUNDS), spec).unwrap()
            })
            .collect();
        let deposits = [1, 2].map(|number| {
            let deposit = deposit(&parties, number);
            Spent::new(
                OutPoint::new(deposit.compute_txid(), 0),
                deposit.output[0].clone(),
            )
        });
        let funds = Funds::new(&parties.secp, parties.committee.x_only_public_key().0);
        let accepts = deposits.clone().map(|deposit| accept(deposit, &funds).unwrap());
        let graphs = [0, 1].map(|number: usize| {
            let output = accepts[number].output(VAULT_OUTPUT);
            VaultGraph::build(&parties.secp, &slots, output).unwrap()
        });
        let signed = [0, 1].map(|number: usize| {
            let signings = graphs[number].signings().into_iter();
            let signed = signings.map(|signing| {
                let signature = sign(&parties, &parties.committee, signing.message, signing.path);
                (signing.id, signature.signature)
            });
            signed.collect()
        });
        Self {
            signatures: slots.iter().map(|slot| parties.sign(slot)).collect(),
            parties,
            slots,
            deposits,
            accepts,
            graphs,
            signed,
        }
    }

    /// What is on Bitcoin before anything of the vault happens.
    fn bitcoin(&self) -> Outputs {
        let mut outputs = Outputs::default();
        for (slot, graph) in self.slots.iter().enumerate() {
            outputs.add(outpoint(10 + slot as u8), &graph.claim.spent[0]);
            outputs.add(
                ticket(slot as u8),
                &self.graphs[0].branches[slot].assignment.spent[0],
            );
        }
        for deposit in &self.deposits {
            outputs.add(deposit.outpoint, &deposit.output);
        }
        outputs
    }

    fn deposit(&self, number: usize) -> Transaction {
        deposit(&self.parties, number as u8 + 1)
    }

    fn accept(&self, number: usize) -> Transaction {
        let path = Path::Key(Some(refund_root(number as u8 + 1)));
        let message = self.accepts[number].message(0, path);
        let signature = sign(&self.parties, &self.parties.committee, message, path);
        self.accepts[number].finalize(vec![key_witness(&signature)])
    }

    fn assignment(&self, number: usize, slot: u32) -> Transaction {
        let branch = self.graphs[number].branch(slot).unwrap();
        branch
            .signed_assignment(&self.parties.secp, &self.signed[number], &self.parties.operator)
            .unwrap()
    }

    fn reimbursement(&self, number: usize, slot: u32, end: End) -> Transaction {
        let branch = self.graphs[number].branch(slot).unwrap();
        branch.signed_reimbursement(end, &self.signed[number]).unwrap()
    }

    fn claim(&self, slot: usize) -> Transaction {
        let mut hand = Hand::new(
            self.parties.operator_seed.clone(),
            self.parties.operator,
            MemoryStore::default(),
        );
        let claim = hand.claim(&self.actor(slot), &Parties::path(0), 1, &[9; 24]);
        claim.unwrap()
    }

    fn actor(&self, slot: usize) -> Actor<'_> {
        Actor {
            secp: &self.parties.secp,
            graph: &self.slots[slot],
            signatures: &self.signatures[slot],
        }
    }

    fn end(&self, slot: usize, end: End) -> Transaction {
        let ended = match end {
            End::Fast => self.actor(slot).finalise_fast(),
            End::Slow => self.actor(slot).finalise_slow(),
        };
        ended.unwrap()
    }
}

/// The outputs that there are.
#[derive(Clone, Default)]
struct Outputs(HashMap<OutPoint, TxOut>);

impl Outputs {
    fn add(&mut self, outpoint: OutPoint, output: &TxOut) {
        self.0.insert(outpoint, output.clone());
    }

    /// Whether consensus takes a transaction now.
    fn takes(&self, transaction: &Transaction) -> bool {
        let inputs = transaction.input.iter();
        let spent: Option<Vec<&TxOut>> = inputs.map(|input| self.0.get(&input.previous_output)).collect();
        let Some(spent) = spent else {
            return false;
        };
        let sum =
            |outputs: &mut dyn Iterator<Item = &TxOut>| outputs.map(|output| output.value).sum::<Amount>();
        let utxos: Vec<bitcoinconsensus::Utxo> = spent
            .iter()
            .map(|output| bitcoinconsensus::Utxo {
                script_pubkey: output.script_pubkey.as_bytes().as_ptr(),
                script_pubkey_len: output.script_pubkey.len() as u32,
                value: output.value.to_sat() as i64,
            })
            .collect();
        let raw = serialize(transaction);
        let verifies = |(input, output): (usize, &&TxOut)| {
            let (script, value) = (output.script_pubkey.as_bytes(), output.value.to_sat());
            bitcoinconsensus::verify(script, value, &raw, Some(&utxos), input).is_ok()
        };
        sum(&mut transaction.output.iter()) <= sum(&mut spent.iter().copied())
            && spent.iter().enumerate().all(verifies)
    }

    fn confirm(&mut self, transaction: &Transaction) {
        assert!(self.takes(transaction), "{transaction:?}");
        for input in &transaction.input {
            self.0.remove(&input.previous_output);
        }
        let txid = transaction.compute_txid();
        for (vout, output) in (0..).zip(&transaction.output) {
            self.add(OutPoint::new(txid, vout), output);
        }
    }
}

fn sign(parties: &Parties, key: &Keypair, message: [u8; 32], path: Path) -> Signature {
    let key = match path {
        Path::Leaf(_) => *key,
        Path::Key(root) => key.tap_tweak(&parties.secp, root).to_keypair(),
    };
    Signature {
        signature: parties.secp.sign_schnorr(&Message::from_digest(message), &key),
        sighash_type: TapSighashType::Default,
    }
}

fn tag(number: u8) -> DepositTag {
    DepositTag {
        to: Address::repeat_byte(number),
        refund_key: B256::repeat_byte(2),
        call: None,
    }
}

/// The root of a deposit's only leaf.
fn refund_root(number: u8) -> TapNodeHash {
    let leaf = tap_leaf_hash(&tag(number).refund_script(REFUND_DELAY)).unwrap();
    TapNodeHash::from_byte_array(leaf.0)
}

/// A user's deposit: what it pays, and its tag.
fn deposit(parties: &Parties, number: u8) -> Transaction {
    let key = parties.committee.x_only_public_key().0;
    let output = |value, script_pubkey| TxOut {
        value: Amount::from_sat(value),
        script_pubkey,
    };
    let script = ScriptBuf::new_p2tr(&parties.secp, key, Some(refund_root(number)));
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: outpoint(number),
            witness: Witness::from_slice(&[[1; 64]]),
            ..TxIn::default()
        }],
        output: vec![output(DEPOSIT, script), output(0, tag(number).script().into())],
    }
}

/// No fee of its own, one anchor that anybody spends, and small enough to have a child.
fn is_free(planned: &Planned, transaction: &Transaction) {
    let paid: Amount = transaction.output.iter().map(|output| output.value).sum();
    let held: Amount = planned.spent.iter().map(|output| output.value).sum();
    assert_eq!(paid, held);
    assert_eq!(transaction.version, Version(3));
    let anchors = transaction
        .output
        .iter()
        .filter(|output| output.script_pubkey == ScriptBuf::new_p2a());
    assert_eq!(
        anchors.map(|output| output.value.to_sat()).collect::<Vec<_>>(),
        [0]
    );
    assert!(transaction.vsize() <= TRUC_MAX_VSIZE);
}

#[test]
fn a_vault_output_goes_from_its_deposit_to_the_operator() {
    let vault = Vault::new();
    let funds = Funds::new(&vault.parties.secp, vault.parties.committee.x_only_public_key().0);
    for end in End::ALL {
        let mut bitcoin = vault.bitcoin();
        let accept = vault.accept(0);
        is_free(&vault.accepts[0], &accept);
        assert_eq!(
            accept.output[VAULT_OUTPUT as usize],
            funds.output(Amount::from_sat(DEPOSIT))
        );
        bitcoin.confirm(&accept);

        let branch = vault.graphs[0].branch(1).unwrap();
        let assignment = vault.assignment(0, 1);
        is_free(&branch.assignment, &assignment);
        assert_eq!(
            assignment.output[NEXT_OUTPUT as usize],
            funds.output(CONNECTOR_VALUE)
        );
        bitcoin.confirm(&assignment);

        // Before the claim has ended there is nothing to spend it with.
        let reimbursement = vault.reimbursement(0, 1, end);
        assert!(!bitcoin.takes(&reimbursement));
        bitcoin.confirm(&vault.claim(1));
        assert!(!bitcoin.takes(&reimbursement));
        let ended = vault.end(1, end);
        assert_eq!(
            ended.output[REIMBURSE_OUTPUT as usize],
            funds.output(CONNECTOR_VALUE)
        );
        bitcoin.confirm(&ended);

        is_free(branch.reimbursement(end), &reimbursement);
        let paid = &reimbursement.output[REIMBURSED_OUTPUT as usize];
        assert_eq!(paid.value.to_sat(), DEPOSIT + 2 * 330);
        assert_eq!(paid.script_pubkey, vault.slots[1].spec.payout);
        assert_eq!(
            ended.output[BOND_OUTPUT as usize].script_pubkey,
            paid.script_pubkey
        );
        bitcoin.confirm(&reimbursement);
        // Behind the other end there is none.
        let other = if end == End::Fast { End::Slow } else { End::Fast };
        assert!(!bitcoin.takes(&vault.reimbursement(0, 1, other)));
    }
}

#[test]
fn a_ticket_is_for_one_vault_output_and_a_right_for_no_other() {
    let vault = Vault::new();
    let mut bitcoin = vault.bitcoin();
    for number in 0..2 {
        bitcoin.confirm(&vault.accept(number));
    }
    for slot in 0..SLOTS {
        bitcoin.confirm(&vault.claim(slot));
        bitcoin.confirm(&vault.end(slot, End::Fast));
    }
    let assignments = [vault.assignment(0, 0), vault.assignment(1, 0)];
    assert_eq!(assignments[0].input[0].previous_output, ticket(0));
    assert_eq!(assignments[1].input[0].previous_output, ticket(0));
    assert!(assignments.iter().all(|assignment| bitcoin.takes(assignment)));
    // The committee's signature alone, which whoever asks members has, does not spend it.
    let branch = vault.graphs[0].branch(0).unwrap();
    let stranger = vault.parties.challengers[0];
    let burnt = branch.signed_assignment(&vault.parties.secp, &vault.signed[0], &stranger);
    assert!(!bitcoin.takes(&burnt.unwrap()));
    bitcoin.confirm(&assignments[0]);
    assert!(!bitcoin.takes(&assignments[1]));
    // The right to one output, beside another, with any signatures that there are.
    let right = OutPoint::new(assignments[0].compute_txid(), NEXT_OUTPUT);
    for number in 0..2 {
        for slot in 0..SLOTS as u32 {
            for end in End::ALL {
                let mut taken = vault.reimbursement(number, slot, end);
                assert_eq!(bitcoin.takes(&taken), (number, slot, end) == (0, 0, End::Fast));
                taken.input[1].previous_output = right;
                taken.input[2].previous_output = vault.graphs[1].output.outpoint;
                assert!(!bitcoin.takes(&taken));
                // Nor the vault output alone.
                taken.input = vec![vault.reimbursement(number, slot, end).input[2].clone()];
                taken.output[0].value = Amount::from_sat(DEPOSIT);
                assert!(!bitcoin.takes(&taken));
            }
        }
    }
    // The other slot's ticket is still there for the other output, and not for this one twice.
    bitcoin.confirm(&vault.reimbursement(0, 0, End::Fast));
    bitcoin.confirm(&vault.assignment(1, 1));
    bitcoin.confirm(&vault.reimbursement(1, 1, End::Fast));
}

#[test]
fn a_slot_without_a_ticket_has_no_way_to_the_vault() {
    let mut vault = Vault::new();
    vault.slots[0].spec.ticket = None;
    let output = vault.graphs[0].output.clone();
    let graph = VaultGraph::build(&vault.parties.secp, &vault.slots, output).unwrap();
    assert_eq!(graph.branch(0), None);
    assert_eq!(graph.branches, vault.graphs[0].branches[1..]);
    assert_eq!(graph.signings(), vault.graphs[0].signings()[7..]);
    // Nothing is made of half the signatures.
    let branch = graph.branch(1).unwrap();
    let unsigned = branch.signed_assignment(
        &vault.parties.secp,
        &Committee::default(),
        &vault.parties.operator,
    );
    assert_eq!(unsigned, None);
    let all = graph.signings().into_iter();
    let but_one = all.filter_map(|signing| {
        let missing = VaultSigningId::Reimbursement(1, End::Slow, 2);
        (signing.id != missing).then(|| (signing.id, vault.signed[0].get(signing.id).unwrap().signature))
    });
    let but_one: Committee<VaultSigningId> = but_one.collect();
    assert!(branch.signed_reimbursement(End::Fast, &but_one).is_some());
    assert_eq!(branch.signed_reimbursement(End::Slow, &but_one), None);
}

/// Withdrawals that are paid from one input of an operator's wallet, with change.
fn payout(vault: &Vault, ids: u64) -> Transaction {
    let ids: Vec<u64> = (0..ids).collect();
    let operator = B256::repeat_byte(0x70);
    let pays = |value| TxOut {
        value: Amount::from_sat(value),
        script_pubkey: vault.slots[0].spec.payout.clone(),
    };
    let mut output: Vec<TxOut> = ids.iter().map(|_| pays(100_000)).collect();
    output.push(pays(700_000));
    output.push(TxOut {
        value: Amount::ZERO,
        script_pubkey: payout_script(&operator, &ids).into(),
    });
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array([0x61; 32]), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::from_slice(&[[1; 64]]),
        }],
        output,
    }
}

/// Vault outputs of some sats that become others, and the transaction that does it, signed.
fn moved(vault: &Vault, from: &[u64], into: &[u64]) -> (Vec<Spent>, Planned, Transaction) {
    let funds = Funds::new(&vault.parties.secp, vault.parties.committee.x_only_public_key().0);
    let amount = |sats: &u64| Amount::from_sat(*sats);
    let spent: Vec<Spent> = (0_u8..)
        .zip(from)
        .map(|(number, sats)| Spent::new(outpoint(100 + number), funds.output(amount(sats))))
        .collect();
    let into: Vec<Amount> = into.iter().map(amount).collect();
    let planned = vault_spend(spent.clone(), &into, &funds).unwrap();
    let witness = |input| {
        let message = planned.message(input, Funds::path());
        key_witness(&sign(
            &vault.parties,
            &vault.parties.committee,
            message,
            Funds::path(),
        ))
    };
    let signed = planned.finalize((0..spent.len()).map(witness).collect());
    (spent, planned, signed)
}

#[test]
fn vault_outputs_are_moved_by_all_members_alone() {
    let vault = Vault::new();
    for (from, into) in [
        (&[5_000_001][..], &[2_500_001, 2_500_000][..]),
        (
            &[1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000],
            &[36_000],
        ),
        (&[3_200_000], &[100_000; 32]),
    ] {
        let (spent, planned, signed) = moved(&vault, from, into);
        is_free(&planned, &signed);
        let mut bitcoin = Outputs::default();
        for spent in &spent {
            bitcoin.add(spent.outpoint, &spent.output);
        }
        // Every signature is for all of the transaction.
        let mut other = signed.clone();
        other.output[0].value -= Amount::ONE_SAT;
        assert!(!bitcoin.takes(&other));
        let mut other = signed.clone();
        other.input[0].witness = Witness::from_slice(&[[1; 64]]);
        assert!(!bitcoin.takes(&other));
        bitcoin.confirm(&signed);
        // What it makes has a graph of its own.
        for vout in 0..into.len() as u32 {
            let graph = VaultGraph::build(&vault.parties.secp, &vault.slots, planned.output(vout)).unwrap();
            assert_eq!(graph.branches.len(), SLOTS);
        }
    }
}

#[test]
fn a_move_that_changes_the_sum_is_none() {
    let vault = Vault::new();
    let funds = Funds::new(&vault.parties.secp, vault.parties.committee.x_only_public_key().0);
    let spent = Spent::new(outpoint(100), funds.output(Amount::from_sat(10_000)));
    for sats in [9_999, 10_001] {
        assert!(vault_spend(vec![spent.clone()], &[Amount::from_sat(sats)], &funds).is_err());
    }
}

/// What each costs, in vB. A payout has one input and change.
#[test]
fn sizes_are_as_they_are_said_to_be() {
    let vault = Vault::new();
    let sizes = [
        vault.accept(0).vsize(),
        vault.assignment(0, 0).vsize(),
        vault.reimbursement(0, 0, End::Fast).vsize(),
        vault.reimbursement(0, 0, End::Slow).vsize(),
        payout(&vault, 1).vsize(),
        payout(&vault, 20).vsize(),
        moved(&vault, &[5_000_000], &[2_500_000; 2]).2.vsize(),
        moved(&vault, &[1_000; 8], &[8_000]).2.vsize(),
    ];
    assert_eq!(sizes, [124, 218, 255, 255, 210, 1180, 183, 543]);
}
