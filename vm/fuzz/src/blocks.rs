//! Bitcoin blocks out of a few choices: the transactions that derivation looks for, right and wrong, in any order.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256};
use bitcoin::absolute::LockTime;
use bitcoin::block::{Header, Version};
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash;
use bitcoin::{
    Amount, Block, CompactTarget, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness,
};
use bitsect_vm::chain::ChainParams;
use bitsect_vm::derive::{
    ASSIGNMENT_TAG, COMMIT_TAG, DEPOSIT_TAG, DepositCall, DepositTag, FORCED_TAG, L1Cursor, PAYOUT_TAG,
    REDEMPTION_TAG, VAULT_SPEND_TAG, commit_tag_script, forced_script, frame_script, vault_script,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

use crate::chain::{BITS, CHAIN_ID, GENESIS_TIME, transaction};

/// Most blocks of an input.
pub const MAX_BLOCKS: usize = 8;
/// Most transactions of a block, and inputs or outputs of a transaction.
const MAX_PARTS: usize = 8;

/// What an input spends.
#[derive(Arbitrary, Debug)]
pub enum Spend {
    /// The baton, as it stands there.
    Baton,
    /// An output of an earlier transaction.
    Output(u8),
    /// An output that nobody knows.
    Other(u8),
}

/// How an input is unlocked.
#[derive(Arbitrary, Debug)]
pub enum Unlock {
    /// By key path.
    Key { annex: bool },
    /// By the script of a frame.
    Frame { bytes: Vec<u8>, annex: bool },
    /// By the script of a frame of many pushes.
    LongFrame { byte: u8, len: u16 },
    /// By anything.
    Items(Vec<Vec<u8>>),
}

/// An output.
#[derive(Arbitrary, Debug)]
pub enum Pay {
    /// To no script that derivation knows.
    Plain(u32),
    /// The tag of a commit.
    Commit(u8),
    /// The tag of a deposit.
    DepositTag { to: u8, key: u8 },
    /// What a deposit's tag asks for.
    Deposit { to: u8, key: u8, sats: u16 },
    /// The vault.
    Vault(u32),
    /// A forced transaction.
    Forced { kind: u8, chain_id: bool, gas: u32 },
    /// A tag with other content.
    Tagged { tag: u8, content: Vec<u8> },
    /// Any script.
    Script(Vec<u8>),
}

/// A Bitcoin transaction.
#[derive(Arbitrary, Debug)]
pub struct Move {
    inputs: Vec<(Spend, Unlock)>,
    outputs: Vec<Pay>,
}

/// A Bitcoin block.
#[derive(Arbitrary, Debug)]
pub struct Mined {
    moves: Vec<Move>,
    fees: u32,
    seconds: u8,
}

/// Makes blocks that follow each other.
pub struct Miner {
    params: ChainParams,
    vault_script: ScriptBuf,
    /// Where the baton is, followed independently of derivation.
    pub baton: OutPoint,
    outputs: Vec<OutPoint>,
    time: u32,
    counter: u32,
}

impl Miner {
    /// Starts at the genesis block.
    pub fn new(params: &ChainParams) -> Self {
        let vault = vault_script(&params.derive).expect("the vault key is on the curve");
        let baton = params.derive.baton;
        Self {
            params: params.clone(),
            vault_script: vault.into(),
            baton: OutPoint::new(bitcoin::Txid::from_byte_array(baton.txid.0), baton.vout),
            outputs: Vec::new(),
            time: GENESIS_TIME,
            counter: 0,
        }
    }

    /// Mines a block on the cursor.
    pub fn mine(&mut self, cursor: &L1Cursor, mined: &Mined) -> Block {
        let height = cursor.height + 1;
        // At least the median of earlier times, and not always rising.
        self.time = (self.time + u32::from(mined.seconds)).max(cursor.median_time_past() + 1);
        let mut txdata = vec![coinbase(height, mined.fees)];
        let moves: Vec<_> = mined
            .moves
            .iter()
            .take(MAX_PARTS)
            .map(|one| self.transaction(one))
            .collect();
        txdata.extend(moves);
        seal(cursor, self.time, txdata)
    }

    fn transaction(&mut self, one: &Move) -> Transaction {
        self.counter += 1;
        let mut input: Vec<TxIn> = one
            .inputs
            .iter()
            .take(MAX_PARTS)
            .map(|(spend, unlock)| self.input(spend, unlock))
            .collect();
        if input.is_empty() {
            input.push(self.input(&Spend::Other(0), &Unlock::Key { annex: false }));
        }
        let mut output: Vec<TxOut> = one
            .outputs
            .iter()
            .take(MAX_PARTS)
            .flat_map(|pay| self.pay(pay))
            .collect();
        if output.is_empty() {
            output.extend(self.pay(&Pay::Plain(1)));
        }
        let transaction = Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input,
            output,
        };
        let txid = transaction.compute_txid();
        for input in &transaction.input {
            if input.previous_output == self.baton {
                self.baton = OutPoint::new(txid, 0);
            }
        }
        self.outputs
            .extend((0..transaction.output.len() as u32).map(|vout| OutPoint::new(txid, vout)));
        transaction
    }

    fn input(&self, spend: &Spend, unlock: &Unlock) -> TxIn {
        let unknown = |n: u8| OutPoint::new(bitcoin::Txid::from_byte_array([n; 32]), 0);
        let previous_output = match spend {
            Spend::Baton => self.baton,
            Spend::Output(n) => {
                let at = usize::from(*n) % self.outputs.len().max(1);
                self.outputs.get(at).copied().unwrap_or_else(|| unknown(1))
            }
            Spend::Other(n) => unknown(*n),
        };
        let script_path = |frame: &[u8]| vec![vec![1; 64], frame_script(&B256::ZERO, frame), vec![0xc0; 33]];
        let (mut items, annex) = match unlock {
            Unlock::Key { annex } => (vec![vec![1; 64]], *annex),
            Unlock::Frame { bytes, annex } => (script_path(bytes), *annex),
            Unlock::LongFrame { byte, len } => (script_path(&vec![*byte; usize::from(*len)]), false),
            Unlock::Items(items) => (items.clone(), false),
        };
        if annex {
            items.push(vec![0x50]);
        }
        TxIn {
            previous_output,
            script_sig: ScriptBuf::new(),
            sequence: Sequence(self.counter),
            witness: Witness::from_slice(&items),
        }
    }

    /// Gives an output, or several: a commit's tag stands behind its data outputs.
    fn pay(&self, pay: &Pay) -> Vec<TxOut> {
        let tag = |to: &u8, key: &u8| DepositTag {
            to: Address::repeat_byte(*to),
            refund_key: B256::repeat_byte(*key),
            call: (*key == *to).then(|| DepositCall {
                target: Address::repeat_byte(*key),
                data: [*to; 5].into(),
            }),
        };
        match pay {
            Pay::Plain(sats) => vec![output((*sats).into(), vec![0x51])],
            Pay::Commit(frames) => {
                let frames = u16::from(*frames);
                let mut outputs = vec![output(1_000, vec![0x51]); usize::from(frames % 70)];
                outputs.push(output(0, commit_tag_script(frames)));
                outputs
            }
            Pay::DepositTag { to, key } => vec![output(0, tag(to, key).script())],
            Pay::Deposit { to, key, sats } => {
                let script = tag(to, key).output_script(&self.params.derive);
                vec![output(
                    (*sats).into(),
                    script.expect("the vault key is on the curve"),
                )]
            }
            Pay::Vault(sats) => vec![output((*sats).into(), self.vault_script.to_bytes())],
            Pay::Forced { kind, chain_id, gas } => {
                let chain_id = CHAIN_ID + u64::from(!chain_id);
                let transaction = transaction(*kind, chain_id, u64::from(*gas));
                vec![output(0, forced_script(&transaction.encoded_2718()))]
            }
            Pay::Tagged { tag, content } => {
                let tag = TAGS[usize::from(*tag) % TAGS.len()];
                let mut script = vec![0x6a];
                bitsect_vm::derive::bitcoin::push_bytes(&mut script, &[tag, content].concat());
                vec![output(0, script)]
            }
            Pay::Script(script) => vec![output(1_000, script.clone())],
        }
    }
}

/// What outputs that say something begin with.
const TAGS: [&[u8]; 7] = [
    COMMIT_TAG,
    DEPOSIT_TAG,
    FORCED_TAG,
    PAYOUT_TAG,
    ASSIGNMENT_TAG,
    VAULT_SPEND_TAG,
    REDEMPTION_TAG,
];

fn output(sats: u64, script: Vec<u8>) -> TxOut {
    TxOut {
        value: Amount::from_sat(sats),
        script_pubkey: script.into(),
    }
}

fn coinbase(height: u32, fees: u32) -> Transaction {
    let input = TxIn {
        previous_output: OutPoint::null(),
        script_sig: bitcoin::script::Builder::new()
            .push_int(height.into())
            .into_script(),
        sequence: Sequence::MAX,
        witness: Witness::from_slice(&[[0; 32]]),
    };
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![output(5_000_000_000 + u64::from(fees), vec![0x51])],
    }
}

/// Commits to the transactions and finds the proof of work, which takes two attempts on average.
fn seal(cursor: &L1Cursor, time: u32, txdata: Vec<Transaction>) -> Block {
    let header = Header {
        version: Version::TWO,
        prev_blockhash: bitcoin::BlockHash::from_byte_array(cursor.hash.0),
        merkle_root: bitcoin::TxMerkleNode::all_zeros(),
        time,
        bits: CompactTarget::from_consensus(BITS),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    let witness_root = block.witness_root().expect("a block has a coinbase");
    let commitment = Block::compute_witness_commitment(&witness_root, &[0; 32]);
    let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
    script.extend(commitment.to_byte_array());
    block.txdata[0].output.push(output(0, script));
    block.header.merkle_root = block.compute_merkle_root().expect("a block has a coinbase");
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

/// Gives a block's bytes.
pub fn bytes(block: &Block) -> Vec<u8> {
    serialize(block)
}
