//! What the chain reads of a vault output's transactions, as derivation finds them in a block.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, U256};
use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, Transaction, TxIn, TxOut, Witness};
use bitsect_bridge::graph::End;
use bitsect_vm::chain::{
    BlobRef, Blobs, ChainParams, ChainState, DeriveParams, ExecutionParams, L1Network, OutPoint,
};
use bitsect_vm::derive::bitcoin::L1Block;
use bitsect_vm::derive::{
    AcceptedDeposit, AddedOutput, Assignment, BridgeRecord, InboxItem, L1Cursor, Paid, Payout, VaultSpend,
    decode_items, process_l1_block,
};

use crate::common::{Parties, chain_outpoint, ticket};
use crate::{DEPOSIT, REFUND_DELAY, Vault, moved, payout};

#[test]
fn the_chain_reads_what_they_say() {
    let vault = Vault::new();
    let id = chain_outpoint;
    let [output, other] = [0, 1].map(|number: usize| id(&vault.graphs[number].output.outpoint));
    let mut chain = Derived::new(&vault.parties, REFUND_DELAY);
    assert_eq!(chain.read(vec![vault.deposit(0), vault.deposit(1)]), []);
    let accepted = |vault_output, number| {
        InboxItem::Deposit(AcceptedDeposit {
            vault_output,
            to: Address::repeat_byte(number),
            sats: DEPOSIT,
            call: BlobRef::default(),
        })
    };
    let items = chain.read(vec![vault.accept(0), vault.accept(1)]);
    assert_eq!(items, [accepted(output, 1), accepted(other, 2)]);

    let items = chain.read(vec![vault.assignment(0, 1), vault.assignment(1, 0)]);
    let assigned = |slot, vault_output| {
        let ticket = id(&ticket(slot));
        InboxItem::Record(BridgeRecord::Assignment(Assignment { ticket, vault_output }))
    };
    assert_eq!(items, [assigned(1, output), assigned(0, other)]);

    // Claims and their ends say nothing.
    let told = [vault.claim(1), vault.end(1, End::Fast), vault.end(0, End::Slow)];
    assert_eq!(chain.read(told.to_vec()), []);
    for (number, slot, end) in [(0, 1, End::Fast), (1, 0, End::Slow)] {
        let reimbursement = vault.reimbursement(number, slot, end);
        let spent = VaultSpend {
            txid: reimbursement.compute_txid().to_byte_array().into(),
            inputs: reimbursement
                .input
                .iter()
                .map(|input| id(&input.previous_output))
                .collect(),
            outputs: vec![],
        };
        assert_eq!(spent.inputs[2], [output, other][number]);
        let items = chain.read(vec![reimbursement]);
        assert_eq!(items, [InboxItem::Record(BridgeRecord::VaultSpend(spent))]);
    }
    for (from, into) in [
        (&[5_000_000][..], &[2_500_000; 2][..]),
        (&[1_000; 8], &[8_000]),
        (&[320; 32], &[10_240]),
        (&[3_200_000], &[100_000; 32]),
    ] {
        let (inputs, planned, moved) = moved(&vault, from, into);
        let spent = VaultSpend {
            txid: planned.txid().to_byte_array().into(),
            inputs: inputs.iter().map(|spent| id(&spent.outpoint)).collect(),
            outputs: (0..)
                .zip(into)
                .map(|(vout, sats)| AddedOutput { vout, sats: *sats })
                .collect(),
        };
        let items = chain.read(vec![moved.clone()]);
        assert_eq!(items, [InboxItem::Record(BridgeRecord::VaultSpend(spent))]);
    }
    let script = vault.slots[0].spec.payout.to_bytes();
    for ids in [1, 20] {
        let payout = payout(&vault, ids);
        let paid = (0..ids).map(|id| Paid {
            id,
            sats: 100_000,
            script: script.clone().into(),
        });
        let expected = Payout {
            txid: payout.compute_txid().to_byte_array().into(),
            operator: B256::repeat_byte(0x70),
            paid: paid.collect(),
        };
        assert_eq!(
            chain.read(vec![payout]),
            [InboxItem::Record(BridgeRecord::Payout(expected))]
        );
    }
}

/// A chain that reads blocks.
pub struct Derived {
    params: ChainParams,
    pub state: ChainState,
    blobs: Kept,
}

/// Blobs by their names.
#[derive(Default)]
struct Kept(HashMap<B256, Vec<u8>>);

impl Blobs for Kept {
    type Error = core::convert::Infallible;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0[&blob.root].clone())
    }

    fn put(&mut self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), Self::Error> {
        self.0.insert(blob.root, bytes);
        Ok(())
    }
}

impl Derived {
    pub fn new(parties: &Parties, refund_delay: u16) -> Self {
        const BITS: u32 = 0x207f_ffff;
        let genesis_l1 = L1Cursor {
            hash: B256::repeat_byte(7),
            height: 100,
            work: U256::from(1),
            times: vec![1_000],
            fee_rates: vec![1_000],
            bits: BITS,
            interval_start_time: 1_000,
            interval_start_bits: BITS,
            last_hard_bits: BITS,
        };
        let params = ChainParams {
            execution: ExecutionParams::ethereum(1, Default::default()),
            derive: DeriveParams {
                network: L1Network::Regtest,
                genesis_l1,
                baton: OutPoint::default(),
                vault_key: parties.committee.x_only_public_key().0.serialize().into(),
                sequencing_window: 100,
                reveal_timeout: 50,
                refund_delay,
                min_deposit: 10_000,
                max_drift: 600,
                max_batch_body: 1_000_000,
                forced_gas_limit: 1_000_000,
                claim_maturity: 6,
            },
        };
        Self {
            state: ChainState::genesis(&params, Default::default()),
            params,
            blobs: Kept::default(),
        }
    }

    /// Reads a block of these transactions, and gives what it tells `Bridge`.
    fn read(&mut self, transactions: Vec<Transaction>) -> Vec<InboxItem> {
        self.read_block(vec![], transactions).0
    }

    /// Reads a block whose coinbase has these outputs, and gives all its transactions, too.
    pub fn read_block(
        &mut self,
        coinbase: Vec<TxOut>,
        transactions: Vec<Transaction>,
    ) -> (Vec<InboxItem>, Vec<Transaction>) {
        let height = i64::from(self.state.l1.height) + 1;
        let coinbase = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                script_sig: bitcoin::script::Builder::new().push_int(height).into_script(),
                witness: Witness::from_slice(&[[0; 32]]),
                ..TxIn::default()
            }],
            output: coinbase,
        };
        let mut block = bitcoin::Block {
            header: bitcoin::block::Header {
                version: bitcoin::block::Version::TWO,
                prev_blockhash: bitcoin::BlockHash::from_byte_array(self.state.l1.hash.0),
                merkle_root: bitcoin::TxMerkleNode::all_zeros(),
                time: 1_000 + 600 * height as u32,
                bits: bitcoin::CompactTarget::from_consensus(self.state.l1.bits),
                nonce: 0,
            },
            txdata: [vec![coinbase], transactions].concat(),
        };
        let root = block.witness_root().unwrap();
        let commitment = bitcoin::Block::compute_witness_commitment(&root, &[0; 32]);
        let script = [
            &[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..],
            &commitment.to_byte_array(),
        ]
        .concat();
        block.txdata[0].output.push(TxOut {
            value: Amount::ZERO,
            script_pubkey: script.into(),
        });
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
        let raw = serialize(&block);
        let read = L1Block::decode(&raw).unwrap();
        process_l1_block(&self.params, &mut self.state, &read, &mut self.blobs).unwrap();
        let origin = self.state.origins.last().unwrap();
        let items = match origin.item_count {
            0 => vec![],
            _ => decode_items(&self.blobs.get(&origin.items).unwrap()).unwrap(),
        };
        (items, block.txdata)
    }
}
