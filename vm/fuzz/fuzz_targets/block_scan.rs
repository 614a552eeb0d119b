//! Bitcoin blocks: what decodes is what rust-bitcoin decodes, and whatever they hold, derivation's state stays sound.
//!
//! - 0: a block as it is,
//! - 1: a transaction as it is,
//! - 2: blocks of the transactions that derivation looks for, one of them damaged now and then.
#![no_main]

use bitcoin::consensus::deserialize;
use bitcoin::hashes::Hash;
use bitsect_vm::chain::{ChainParams, ChainState, Frame, InboxCursor, Transaction};
use bitsect_vm::derive::bitcoin::{L1Block, L1Transaction, merkle_root};
use bitsect_vm::derive::{
    InboxItem, MAX_OPEN_DEPOSITS, UnitKind, decode_items, encode_items, plan_batch_block, plan_forced_block,
    process_l1_block, read_batch,
};
use bitsect_vm_fuzz::blocks::{MAX_BLOCKS, Mined, Miner, bytes};
use bitsect_vm_fuzz::chain::{Memory, genesis, params};
use bitsect_vm_fuzz::typed;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Blocks, and one byte of one of them to change.
#[derive(Arbitrary, Debug)]
struct Input {
    blocks: Vec<Mined>,
    damage: Option<(u8, u16, u8)>,
}

/// A chain as derivation and as the harness see it.
struct Run {
    params: ChainParams,
    state: ChainState,
    blobs: Memory,
    miner: Miner,
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((0, block)) => drop(check_decoding(block)),
        Some((1, transaction)) => check_transaction(transaction),
        Some((_, rest)) => {
            if let Some(input) = typed::<Input>(rest) {
                run(&input);
            }
        }
        None => {}
    }
});

fn check_transaction(bytes: &[u8]) {
    let (ours, theirs) = (
        L1Transaction::decode(bytes),
        deserialize::<bitcoin::Transaction>(bytes),
    );
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{ours:?} {theirs:?}");
    let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
        return;
    };
    compare(&ours, &theirs);
}

fn compare(ours: &L1Transaction<'_>, theirs: &bitcoin::Transaction) {
    assert_eq!(ours.txid.0, theirs.compute_txid().to_byte_array());
    assert_eq!(ours.wtxid.0, theirs.compute_wtxid().to_byte_array());
    assert_eq!(ours.weight, theirs.weight().to_wu());
    assert_eq!(ours.is_coinbase(), theirs.is_coinbase());
    let scripts = ours.outputs.iter().map(|output| output.script);
    assert!(scripts.eq(theirs.output.iter().map(|output| output.script_pubkey.as_bytes())));
    for (ours, theirs) in ours.inputs.iter().zip(&theirs.input) {
        assert!(ours.witness.iter().copied().eq(theirs.witness.iter()));
    }
}

fn has_witness(transaction: &bitcoin::Transaction) -> bool {
    transaction.input.iter().any(|input| !input.witness.is_empty())
}

/// Whether a coinbase has a witness commitment (BIP-0141).
fn commits(coinbase: &bitcoin::Transaction) -> bool {
    let is_commitment =
        |script: &[u8]| script.len() >= 38 && script.starts_with(&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed]);
    coinbase
        .output
        .iter()
        .any(|output| is_commitment(output.script_pubkey.as_bytes()))
}

/// Decodes a block, which succeeds exactly where rust-bitcoin decodes it and finds its commitments good.
fn check_decoding(bytes: &[u8]) -> Option<L1Block<'_>> {
    let (ours, theirs) = (
        L1Block::decode(bytes).ok(),
        deserialize::<bitcoin::Block>(bytes).ok(),
    );
    let sound = |block: &bitcoin::Block| {
        let ids = block
            .txdata
            .iter()
            .map(|one| one.compute_txid().to_byte_array().into())
            .collect();
        block.txdata.first().is_some_and(bitcoin::Transaction::is_coinbase)
            && merkle_root(ids).is_some()
            && block.check_merkle_root()
            && block.check_witness_commitment()
            // Bitcoin Core wants the witnesses that a coinbase commits to; rust-bitcoin takes a block without any.
            && (!commits(&block.txdata[0]) || block.txdata.iter().any(has_witness))
    };
    match (&ours, &theirs) {
        (Some(ours), Some(theirs)) => {
            assert!(theirs.check_merkle_root() && theirs.check_witness_commitment());
            assert_eq!(ours.header.hash().0, theirs.block_hash().to_byte_array());
            assert_eq!(ours.transactions.len(), theirs.txdata.len());
            ours.transactions
                .iter()
                .zip(&theirs.txdata)
                .for_each(|(a, b)| compare(a, b));
        }
        (Some(_), None) => panic!("only we decode the block"),
        (None, theirs) => assert!(
            !theirs.as_ref().is_some_and(sound),
            "only rust-bitcoin decodes the block"
        ),
    }
    ours
}

fn run(input: &Input) {
    let params = params();
    let mut run = Run {
        state: genesis(&params),
        blobs: Memory::default(),
        miner: Miner::new(&params),
        params,
    };
    for (index, mined) in input.blocks.iter().take(MAX_BLOCKS).enumerate() {
        let mut block = bytes(&run.miner.mine(&run.state.l1, mined));
        let damage = input
            .damage
            .filter(|(at, _, flip)| usize::from(*at) == index && *flip != 0);
        if let Some((_, at, flip)) = damage {
            let at = usize::from(at) % block.len();
            block[at] ^= flip;
        }
        if !run.read(&block, damage.is_some()) {
            return;
        }
        run.plan();
    }
}

impl Run {
    /// Does the L1 unit. False where a damaged block was refused.
    fn read(&mut self, bytes: &[u8], damaged: bool) -> bool {
        let Some(block) = check_decoding(bytes) else {
            assert!(damaged, "a good block decodes");
            return false;
        };
        let before = self.state.clone();
        let done = process_l1_block(&self.params, &mut self.state, &block, &mut self.blobs);
        if done.is_err() {
            assert!(damaged, "a good block follows");
            assert_eq!(self.state, before, "a unit that fails changes nothing");
            return false;
        }
        assert_eq!(self.state.l1.height, before.l1.height + 1);
        assert_eq!(self.state.l1.hash, block.header.hash());
        // The header's own bytes may be damaged and still be good work; transactions may not.
        let baton = (self.state.baton.txid.0, self.state.baton.vout);
        assert_eq!(
            baton,
            (self.miner.baton.txid.to_byte_array(), self.miner.baton.vout)
        );
        self.check_state();
        self.check_origin();
        true
    }

    fn check_state(&self) {
        let state = &self.state;
        assert_eq!(ChainState::decode(&state.encode()).as_ref(), Ok(state));
        assert!(state.deposits.is_sorted_by(|a, b| a.outpoint < b.outpoint));
        assert!(state.deposits.len() <= MAX_OPEN_DEPOSITS);
        assert!(
            state
                .origins
                .is_sorted_by(|a, b| a.info.height + 1 == b.info.height)
        );
        for frame in state.batches.iter().flat_map(|batch| &batch.frames) {
            frame.blob().inspect(|blob| drop(self.read_blob(blob)));
        }
        // Between units, the first batch waits only if it can still become complete.
        if let (None, Some(first)) = (&state.open, state.batches.first()) {
            let timeout = self.params.derive.reveal_timeout;
            assert!(first.frames.contains(&Frame::HIDDEN) && !first.frames.contains(&Frame::LOST));
            assert!(first.height + timeout > state.l1.height);
        }
    }

    fn read_blob(&self, blob: &bitsect_vm::chain::BlobRef) -> Vec<u8> {
        bitsect_vm::chain::Blobs::get(&self.blobs, blob).unwrap_or_else(|never| match never {})
    }

    /// The newest origin's items are what it says, and each one gives a transaction.
    fn check_origin(&self) {
        let origin = self.state.origins.last().expect("each block becomes an origin");
        assert_eq!(
            (origin.info.height, origin.info.hash),
            (self.state.l1.height, self.state.l1.hash)
        );
        if origin.item_count == 0 {
            return;
        }
        let encoded = self.read_blob(&origin.items);
        let items = decode_items(&encoded).expect("derivation wrote them");
        assert_eq!(items.len(), origin.item_count as usize);
        assert_eq!(encode_items(&items), encoded);
        for item in &items {
            let call = item.blob().map(|blob| self.read_blob(&blob)).unwrap_or_default();
            let transaction = item
                .transaction(&origin.info.hash, &call)
                .expect("only transactions enter an inbox");
            assert_eq!(
                matches!(item, InboxItem::Deposit(_) | InboxItem::Record(_)),
                matches!(transaction, Transaction::Deposit(_))
            );
            assert!(item.gas_limit() <= self.params.derive.forced_gas_limit);
        }
    }

    /// Plans what comes next, short of executing it. A batch is given up then.
    fn plan(&mut self) {
        while self.state.next_unit(&self.params) == UnitKind::Batch {
            let open = self.state.open.clone().expect("the unit says so");
            if let Ok(Ok(batch)) = read_batch(&self.params, &open, &self.blobs) {
                for block in &batch.blocks {
                    let planned = plan_batch_block(&self.params, &self.state, &batch, block, &self.blobs);
                    let _ = planned.expect("blobs are there");
                }
            }
            self.state.close_batch(&self.params);
            self.check_state();
        }
        let planned = plan_forced_block(&self.params, &self.state, &self.blobs).expect("blobs are there");
        let gas = |transaction: &Transaction| alloy_consensus::Transaction::gas_limit(transaction);
        assert!(planned.inbox.iter().map(gas).sum::<u64>() <= self.params.derive.forced_gas_limit);
        // What does not fit stays for the next block.
        self.state.tip.inbox = planned.inbox_after;
        let left = |cursor: &InboxCursor| {
            let items = decode_items(&self.read_blob(&cursor.items)).expect("derivation wrote them");
            assert!((cursor.next as usize) < items.len(), "a cursor points at an item");
        };
        self.state.tip.inbox.iter().for_each(left);
    }
}
