//! A Bitcoin and an L2 chain in memory: blocks are mined for real (regtest difficulty), scripts are not executed.

use std::collections::BTreeMap;
use std::convert::Infallible;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip7702};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip2930::AccessList;
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use bitcoin::absolute::LockTime;
use bitcoin::blockdata::block::{Header as BlockHeader, Version};
use bitcoin::hashes::Hash;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Witness};
use bitsect_vm::chain::{
    BlobRef, Blobs, ChainParams, ChainState, DeriveParams, ExecutionParams, GenesisConfig, L1Info, L1Network,
    Transaction, genesis_alloc, genesis_header,
};
use bitsect_vm::derive::bitcoin::{L1Header, sha256d};
use bitsect_vm::derive::payload::{Batch, BatchBlock, encode};
use bitsect_vm::derive::{L1Cursor, UnitKind, commit_tag_script, frame_script};
use bitsect_vm::record::{UnitRecord, record_unit};
use bitsect_vm::state::{MemoryState, StateReader};
use bitsect_vm::step::{BlockSource, UnitOutcome};
use k256::ecdsa::SigningKey;
use revm::primitives::hardfork::SpecId;

pub const CHAIN_ID: u64 = 8_333;
pub const WINDOW: u32 = 6;
pub const REVEAL_TIMEOUT: u32 = 3;
pub const REFUND_DELAY: u16 = 4;
pub const FORCED_GAS: u64 = 3_000_000;
/// L1 blocks behind an assignment before a claim may count on it.
pub const CLAIM_MATURITY: u32 = 2;
pub const MAX_DRIFT: u64 = 600;
const GENESIS_TIME: u32 = 1_700_000_000;

/// What every transaction pays.
const FEES: TxEip1559 = TxEip1559 {
    chain_id: 0,
    nonce: 0,
    gas_limit: 0,
    max_fee_per_gas: 10_000_000_000,
    max_priority_fee_per_gas: 1,
    to: TxKind::Create,
    value: U256::ZERO,
    access_list: AccessList(Vec::new()),
    input: Bytes::new(),
};

/// An account that can sign.
pub struct Wallet {
    key: SigningKey,
    pub address: Address,
    pub nonce: u64,
}

impl Wallet {
    pub fn new(seed: u8) -> Self {
        let key = SigningKey::from_slice(&[seed; 32]).unwrap();
        let address = Address::from_public_key(key.verifying_key());
        Self {
            key,
            address,
            nonce: 0,
        }
    }

    /// Signs the next transfer.
    pub fn transfer(&mut self, to: Address, wei: u64) -> Transaction {
        let nonce = self.nonce;
        self.nonce += 1;
        self.transfer_with(to, wei, nonce, CHAIN_ID, 21_000)
    }

    pub fn transfer_with(
        &self,
        to: Address,
        wei: u64,
        nonce: u64,
        chain_id: u64,
        gas_limit: u64,
    ) -> Transaction {
        self.sign(TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            to: TxKind::Call(to),
            value: U256::from(wei),
            ..FEES
        })
    }

    /// Signs the next call.
    pub fn call(&mut self, to: TxKind, wei: u64, input: Bytes, gas_limit: u64) -> Transaction {
        let nonce = self.nonce;
        self.nonce += 1;
        self.sign(TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit,
            to,
            value: U256::from(wei),
            input,
            ..FEES
        })
    }

    /// Signs that this account, at this nonce, takes the code of another one (EIP-7702).
    pub fn authorize(&self, code: Address, nonce: u64) -> SignedAuthorization {
        let authorization = Authorization {
            chain_id: U256::from(CHAIN_ID),
            address: code,
            nonce,
        };
        let signature = self.signature(authorization.signature_hash());
        authorization.into_signed(signature)
    }

    /// Signs a transaction that brings authorizations, and moves nothing.
    pub fn delegate(&mut self, authorization_list: Vec<SignedAuthorization>) -> Transaction {
        let nonce = self.nonce;
        self.nonce += 1;
        let transaction = TxEip7702 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 100_000 + 25_000 * authorization_list.len() as u64,
            max_fee_per_gas: FEES.max_fee_per_gas,
            max_priority_fee_per_gas: FEES.max_priority_fee_per_gas,
            authorization_list,
            ..TxEip7702::default()
        };
        let signature = self.signature(transaction.signature_hash());
        Transaction::Eip7702(transaction.into_signed(signature))
    }

    fn sign(&self, transaction: TxEip1559) -> Transaction {
        let signature = self.signature(transaction.signature_hash());
        Transaction::Eip1559(transaction.into_signed(signature))
    }

    fn signature(&self, hash: B256) -> Signature {
        self.key.sign_prehash_recoverable(hash.as_slice()).unwrap().into()
    }
}

/// Blobs in a map.
#[derive(Default)]
pub struct Memory(BTreeMap<B256, Vec<u8>>);

#[derive(Debug, thiserror::Error)]
#[error("blob {0} is missing")]
pub struct Missing(B256);

impl Blobs for Memory {
    type Error = Missing;

    fn get(&self, blob: &BlobRef) -> Result<Vec<u8>, Missing> {
        let bytes = self.0.get(&blob.root).cloned().ok_or(Missing(blob.root))?;
        assert_eq!(bytes.len(), blob.len as usize);
        Ok(bytes)
    }

    fn put(&mut self, blob: BlobRef, bytes: Vec<u8>) -> Result<(), Missing> {
        assert_eq!(BlobRef::of(&bytes), blob);
        self.0.insert(blob.root, bytes);
        Ok(())
    }
}

/// One block, whatever is asked for.
struct Only(Vec<u8>);

impl BlockSource for Only {
    type Error = Infallible;

    fn block(&mut self, _: &B256) -> Result<Vec<u8>, Infallible> {
        Ok(self.0.clone())
    }
}

pub struct Simulation {
    pub params: ChainParams,
    pub chain: ChainState,
    pub state: MemoryState,
    pub blobs: Memory,
    /// `S_k` for every unit.
    pub units: Vec<B256>,
    /// What every unit read.
    pub records: Vec<UnitRecord>,
    /// Outcomes of all units so far, in words.
    pub log: Vec<String>,
    time: u32,
    /// Makes transactions differ.
    counter: u32,
}

impl Simulation {
    pub fn new(funded: &[Address]) -> Self {
        let genesis_l1 = L1Cursor {
            hash: B256::repeat_byte(7),
            height: 100,
            work: U256::from(1),
            times: vec![GENESIS_TIME],
            fee_rates: vec![1_000],
            bits: 0x207f_ffff,
            interval_start_time: GENESIS_TIME,
            interval_start_bits: 0x207f_ffff,
            last_hard_bits: 0x207f_ffff,
        };
        let config = GenesisConfig {
            origin: L1Info {
                height: 100,
                hash: genesis_l1.hash,
                merkle_root: B256::ZERO,
                time: GENESIS_TIME,
                median_time_past: GENESIS_TIME,
                fee_rate: 1_000,
            },
            timestamp: GENESIS_TIME.into(),
            gas_limit: 30_000_000,
            base_fee: 1_000_000,
            fee_vault_owner: Address::repeat_byte(0xfe),
            balances: funded
                .iter()
                .map(|address| (*address, U256::from(10).pow(U256::from(18))))
                .collect(),
        };
        let params = ChainParams {
            execution: ExecutionParams {
                chain_id: CHAIN_ID,
                spec: SpecId::OSAKA,
                base_fee_recipient: Some(bitsect_vm::chain::predeploys::FEE_VAULT),
                l1_fee: true,
                min_timestamp_step: 0,
                gas_limit: Some(30_000_000),
            },
            derive: DeriveParams {
                network: L1Network::Regtest,
                genesis_l1,
                baton: bitsect_vm::chain::OutPoint {
                    txid: B256::repeat_byte(9),
                    vout: 1,
                },
                vault_key: vault_key(),
                sequencing_window: WINDOW,
                reveal_timeout: REVEAL_TIMEOUT,
                refund_delay: REFUND_DELAY,
                min_deposit: 10_000,
                max_drift: MAX_DRIFT,
                max_batch_body: 16_000_000,
                forced_gas_limit: FORCED_GAS,
                claim_maturity: CLAIM_MATURITY,
            },
        };
        let mut state = MemoryState::new();
        let root = state.apply(&genesis_alloc(&config)).unwrap();
        let chain = ChainState::genesis(&params, genesis_header(&config, root));
        let units = vec![chain.commitment()];
        let blobs = Memory::default();
        Self {
            params,
            chain,
            state,
            blobs,
            units,
            records: Vec::new(),
            log: Vec::new(),
            time: GENESIS_TIME,
            counter: 0,
        }
    }

    pub fn balance(&self, address: Address) -> U256 {
        self.state
            .account(address)
            .unwrap()
            .map_or(U256::ZERO, |account| account.balance)
    }

    pub fn nonce(&self, address: Address) -> u64 {
        self.state
            .account(address)
            .unwrap()
            .map_or(0, |account| account.nonce)
    }

    /// Mines a block with these transactions and does every unit that follows from it.
    pub fn mine(&mut self, transactions: Vec<bitcoin::Transaction>) -> Vec<String> {
        self.time += 60;
        let bytes = self.block(transactions);
        self.read(bytes)
    }

    /// Does the unit that reads this block, and every unit that follows from it.
    pub fn read(&mut self, bytes: Vec<u8>) -> Vec<String> {
        let before = self.log.len();
        let hash = sha256d([&bytes[..80]]);
        loop {
            let advice = (self.chain.next_unit(&self.params) == UnitKind::L1).then_some(&hash);
            let reads_l1 = advice.is_some();
            if reads_l1 && self.log.len() > before {
                break;
            }
            let mut source = Only(bytes.clone());
            let before = self.chain.clone();
            let unit = record_unit(
                &self.params,
                &mut self.chain,
                advice,
                &mut source,
                &mut self.blobs,
                &self.state,
            );
            let (outcome, record) = unit.unwrap();
            assert_eq!(record.before, *self.units.last().unwrap());
            self.record(outcome, &before);
            assert_eq!(record.after, *self.units.last().unwrap());
            self.records.push(record);
        }
        self.log[before..].to_vec()
    }

    fn record(&mut self, outcome: UnitOutcome, before: &ChainState) {
        assert_ne!(self.chain, *before, "every unit changes chain state");
        let encoded = self.chain.encode();
        assert_eq!(ChainState::decode(&encoded).unwrap(), self.chain);
        self.units.push(self.chain.commitment());
        self.log.push(match outcome {
            UnitOutcome::L1 => "l1".into(),
            UnitOutcome::BatchDropped { fault, .. } => format!("dropped: {fault}"),
            UnitOutcome::Block(executed) => {
                self.state.apply(&executed.outcome.changes).unwrap();
                assert_eq!(self.state.root(), executed.block.header.state_root);
                assert_eq!(executed.tree.root, executed.block.header.state_root);
                assert_eq!(self.chain.tip.header, executed.block.header);
                let (count, inbox) = (executed.block.transactions.len(), executed.inbox_count);
                format!(
                    "block {}: {} transactions, {inbox} of the inbox",
                    executed.block.header.number, count
                )
            }
        });
    }

    /// Builds the next block, without giving it to the chain.
    pub fn block(&mut self, transactions: Vec<bitcoin::Transaction>) -> Vec<u8> {
        let height = self.chain.l1.height + 1;
        let mut txdata = vec![coinbase(height)];
        txdata.extend(transactions);
        let mut block = bitcoin::Block {
            header: BlockHeader {
                version: Version::TWO,
                prev_blockhash: bitcoin::BlockHash::from_byte_array(self.chain.l1.hash.0),
                merkle_root: bitcoin::TxMerkleNode::all_zeros(),
                time: self.time,
                bits: bitcoin::CompactTarget::from_consensus(0x207f_ffff),
                nonce: 0,
            },
            txdata,
        };
        let witness_root = block.witness_root().unwrap();
        let commitment = bitcoin::Block::compute_witness_commitment(&witness_root, &[0; 32]);
        let mut script = vec![0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
        script.extend(commitment.to_byte_array());
        block.txdata[0].output.push(output(0, script.into()));
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
        bitcoin::consensus::serialize(&block)
    }

    /// A transaction that spends these outputs, with these witnesses.
    pub fn spend(
        &mut self,
        inputs: Vec<(OutPoint, Vec<Vec<u8>>)>,
        outputs: Vec<TxOut>,
    ) -> bitcoin::Transaction {
        self.counter += 1;
        let input = |(previous_output, witness): (OutPoint, Vec<Vec<u8>>)| TxIn {
            previous_output,
            script_sig: ScriptBuf::new(),
            sequence: Sequence(self.counter),
            witness: Witness::from_slice(&witness),
        };
        bitcoin::Transaction {
            version: bitcoin::transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: inputs.into_iter().map(input).collect(),
            output: outputs,
        }
    }

    /// A commit with `frames` data outputs on this baton.
    pub fn commit_on(&mut self, baton: OutPoint, frames: u16) -> bitcoin::Transaction {
        let mut outputs = vec![output(1_000, vec![0x51].into())];
        outputs.extend((0..frames).map(|_| output(1_000, vec![0x51].into())));
        outputs.push(output(0, commit_tag_script(frames).into()));
        self.spend(vec![(baton, vec![vec![1; 64]])], outputs)
    }

    pub fn baton(&self) -> OutPoint {
        let baton = self.chain.baton;
        OutPoint {
            txid: bitcoin::Txid::from_byte_array(baton.txid.0),
            vout: baton.vout,
        }
    }

    /// The reveal of a frame for a commit's data output.
    pub fn reveal(&mut self, commit: &bitcoin::Transaction, vout: u32, frame: &[u8]) -> bitcoin::Transaction {
        let script = frame_script(&B256::repeat_byte(3), frame);
        let previous = OutPoint {
            txid: commit.compute_txid(),
            vout,
        };
        self.spend(
            vec![(previous, vec![vec![1; 64], script, vec![0xc0; 33]])],
            vec![output(500, ScriptBuf::new())],
        )
    }

    /// Commit and reveals of a payload in `frames` equal parts.
    pub fn post(&mut self, payload: &[u8], frames: usize) -> Vec<bitcoin::Transaction> {
        let commit = self.commit_on(self.baton(), frames as u16);
        let mut transactions = vec![commit.clone()];
        let size = payload.len().div_ceil(frames);
        for (index, frame) in payload.chunks(size).enumerate() {
            transactions.push(self.reveal(&commit, index as u32 + 1, frame));
        }
        transactions
    }

    /// A batch on the tip. Each block is (advances the origin, transactions); times are the earliest allowed.
    pub fn batch(&self, blocks: Vec<(bool, Vec<Transaction>)>) -> Batch {
        let mut tip = self.chain.tip.clone();
        let mut origins = self.chain.origins.iter();
        let mut last_origin_hash = tip.header.parent_beacon_block_root.unwrap();
        let first_origin =
            tip.origin_height + u32::from(blocks.first().is_some_and(|(advances, _)| *advances));
        let blocks = blocks
            .into_iter()
            .map(|(advances_origin, transactions)| {
                if advances_origin {
                    let origin = origins.next().expect("an origin to advance to");
                    last_origin_hash = origin.info.hash;
                    tip.origin_median_time = origin.info.median_time_past;
                }
                let timestamp = tip.least_timestamp(&self.params, tip.origin_median_time);
                tip.header.timestamp = timestamp;
                BatchBlock {
                    timestamp,
                    advances_origin,
                    transactions,
                }
            })
            .collect();
        Batch {
            first_block: self.chain.tip.header.number + 1,
            parent_hash: self.chain.tip.header.hash_slow(),
            first_origin,
            last_origin_hash,
            blocks,
        }
    }

    /// Posts a batch and mines it into one block.
    pub fn mine_batch(&mut self, batch: &Batch) -> Vec<String> {
        let transactions = self.post(&encode(batch).unwrap(), 1);
        self.mine(transactions)
    }
}

/// Real Bitcoin blocks, each after a chain that ends with its parent: fixtures/bitcoin_blocks.txt.
pub fn real_blocks() -> Vec<(Simulation, Vec<u8>)> {
    let lines = include_str!("../fixtures/bitcoin_blocks.txt").lines();
    let blocks = lines.map(|line| {
        let [_, height, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let bytes: Vec<u8> = alloy_primitives::hex::decode(hex).unwrap();
        let header = L1Header::decode(bytes[..80].try_into().unwrap());
        let mut sim = Simulation::new(&[]);
        sim.params.derive.network = L1Network::Bitcoin;
        sim.chain.l1 = L1Cursor {
            hash: header.previous_hash,
            height: height.parse::<u32>().unwrap() - 1,
            times: vec![header.time - 600],
            bits: header.bits,
            interval_start_bits: header.bits,
            interval_start_time: header.time - 600,
            last_hard_bits: header.bits,
            ..sim.chain.l1
        };
        sim.units = vec![sim.chain.commitment()];
        (sim, bytes)
    });
    blocks.collect()
}

pub fn output(sats: u64, script_pubkey: ScriptBuf) -> TxOut {
    TxOut {
        value: Amount::from_sat(sats),
        script_pubkey,
    }
}

/// The x-only key of the secret 42.
pub fn vault_key() -> B256 {
    let key = SigningKey::from_slice(&[42; 32]).unwrap();
    B256::from_slice(&key.verifying_key().to_encoded_point(true).as_bytes()[1..])
}

pub fn encoded(transaction: &Transaction) -> Vec<u8> {
    let bytes = transaction.encoded_2718();
    assert_eq!(keccak256(&bytes), transaction.tx_hash());
    bytes
}

fn coinbase(height: u32) -> bitcoin::Transaction {
    bitcoin::Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: bitcoin::script::Builder::new()
                .push_int(height.into())
                .into_script(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![output(5_000_000_000, vec![0x51].into())],
    }
}
