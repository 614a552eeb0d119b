//! Batches as a chain would have them: signed by many senders, with fees that follow the base fee.

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use bitsect_vm::chain::Transaction;
use bitsect_vm::derive::payload::{Batch, BatchBlock};
use k256::ecdsa::SigningKey;

/// What the transactions of a batch do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Send BTC.
    Transfer,
    /// Call `transfer(address,uint256)` of one token.
    Erc20,
}

/// How amounts are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amounts {
    /// As people choose them: 60 % of one to three digits, 25 % of four to six, 15 % to the last wei.
    Mixed,
    /// All to the last wei, below 10 BTC: 63 bits that nobody can compress.
    Random,
}

/// The traffic of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Transactions in the batch.
    pub transactions: usize,
    /// Accounts that send, at random.
    pub senders: usize,
    /// Accounts that receive, at random; `None` for a fresh random address each time.
    pub receivers: Option<usize>,
    /// What the transactions do.
    pub call: Call,
    /// What they send.
    pub amounts: Amounts,
}

/// Transactions in a block of 250 ms.
const PER_BLOCK: usize = 100;
const CHAIN_ID: u64 = 0xb17;
const GWEI: u128 = 1_000_000_000;

/// A small generator of random numbers (splitmix64), the same on every machine.
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn address(&mut self) -> Address {
        Address::from_slice(&keccak256(self.next().to_le_bytes())[..20])
    }

    fn amount(&mut self, amounts: Amounts) -> U256 {
        let digits = |random: &mut Self, from: u32, to: u32| {
            let digits = from + random.below(u64::from(to - from + 1)) as u32;
            random.below(10u64.pow(digits)).max(1)
        };
        let percent = if amounts == Amounts::Random {
            100
        } else {
            self.below(100)
        };
        let (mantissa, exponent) = match percent {
            0..60 => (digits(self, 1, 3), 15 + self.below(3)),
            60..85 => (digits(self, 4, 6), 12 + self.below(2)),
            _ => (self.below(9_223_372_036_854_775_807), 0),
        };
        U256::from(mantissa) * U256::from(10).pow(U256::from(exponent))
    }
}

struct Sender {
    key: SigningKey,
    nonce: u64,
    tip: u128,
    gas_margin: u64,
}

/// Signs a transaction, with low `s`.
pub fn sign<T: SignableTransaction<Signature>>(tx: T, key: &SigningKey) -> alloy_consensus::Signed<T> {
    let (signature, parity) = key
        .sign_prehash_recoverable(tx.signature_hash().as_slice())
        .unwrap();
    let signature = Signature::from_signature_and_parity(signature, parity.is_y_odd());
    tx.into_signed(signature)
}

impl Traffic {
    /// Makes the batch; the same traffic always gives the same batch.
    pub fn batch(&self) -> Batch {
        let mut random = Random(7);
        let mut senders: Vec<Sender> = (0..self.senders)
            .map(|_| Sender {
                key: SigningKey::from_slice(keccak256(random.next().to_le_bytes()).as_slice()).unwrap(),
                nonce: random.below(500),
                tip: [0, GWEI / 100, GWEI / 10, GWEI, 3 * GWEI / 2][random.below(5) as usize],
                gas_margin: [100, 100, 120, 150][random.below(4) as usize],
            })
            .collect();
        let receivers: Vec<Address> = (0..self.receivers.unwrap_or_default())
            .map(|_| random.address())
            .collect();
        let token = random.address();
        let mut base_fee = 3 * GWEI + u128::from(random.below(1_000_000_000));
        let mut left = self.transactions;
        let mut blocks = Vec::new();
        while left > 0 {
            let count = left.min(PER_BLOCK);
            left -= count;
            let transactions = (0..count)
                .map(|_| {
                    let sender = random.below(senders.len() as u64) as usize;
                    let receiver = match receivers.len() {
                        0 => random.address(),
                        count => receivers[random.below(count as u64) as usize],
                    };
                    self.transaction(&mut random, &mut senders[sender], receiver, token, base_fee)
                })
                .collect();
            blocks.push(BatchBlock {
                timestamp: 1_790_000_000 + blocks.len() as u64 / 4,
                advances_origin: blocks.len() % 50 == 10,
                transactions,
            });
            base_fee = base_fee * u128::from(900 + random.below(200)) / 1000;
        }
        Batch {
            first_block: 123_456,
            parent_hash: keccak256("parent"),
            first_origin: 900_000,
            last_origin_hash: keccak256("origin"),
            blocks,
        }
    }

    fn transaction(
        &self,
        random: &mut Random,
        sender: &mut Sender,
        receiver: Address,
        token: Address,
        base_fee: u128,
    ) -> Transaction {
        let amount = random.amount(self.amounts);
        let (to, value, input, gas) = match self.call {
            Call::Transfer => (receiver, amount, Bytes::new(), 21_000),
            Call::Erc20 => {
                let input = erc20_transfer(receiver, amount);
                // What eth_estimateGas gives: it depends on the zero bytes of the calldata.
                let data: u64 = input.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum();
                (
                    token,
                    U256::ZERO,
                    input,
                    (50_000 + data) * sender.gas_margin / 100,
                )
            }
        };
        let tx = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: sender.nonce,
            gas_limit: gas,
            max_fee_per_gas: 2 * base_fee + sender.tip,
            max_priority_fee_per_gas: sender.tip,
            to: TxKind::Call(to),
            value,
            access_list: Default::default(),
            input,
        };
        sender.nonce += 1;
        Transaction::Eip1559(sign(tx, &sender.key))
    }
}

fn erc20_transfer(to: Address, amount: U256) -> Bytes {
    let selector = [0xa9, 0x05, 0x9c, 0xbb];
    [
        selector.as_slice(),
        to.into_word().as_slice(),
        B256::from(amount).as_slice(),
    ]
    .concat()
    .into()
}
