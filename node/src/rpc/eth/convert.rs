//! From what the store holds to what JSON-RPC shows.

use alloy_consensus::transaction::Recovered;
use alloy_consensus::{BlockBody, Transaction as _, TxReceipt};
use alloy_primitives::{Address, B256, U256};
use alloy_rlp::Encodable;
use alloy_rpc_types::{Block, BlockTransactions, Header, Log, TransactionInfo, TransactionReceipt};
use bitsect_vm::chain::{Receipt, Transaction};
use op_alloy_consensus::transaction::{OpDepositInfo, OpTransactionInfo};
use op_alloy_rpc_types::{L1BlockInfo, OpTransactionReceipt};

use crate::pool::PoolTx;
use crate::store::{Snapshot, StoreError, StoredHeader, StoredLog, StoredReceipt};

/// A transaction as JSON-RPC shows it.
pub(crate) type RpcTransaction = op_alloy_rpc_types::Transaction;
/// A block as JSON-RPC shows it.
pub(crate) type RpcBlock = Block<RpcTransaction>;

/// Shows a header. `size` is the block's in bytes, where it is known.
pub(crate) fn header(stored: StoredHeader, size: Option<u64>) -> Header {
    Header {
        hash: stored.hash,
        inner: stored.header,
        total_difficulty: Some(U256::ZERO),
        size: size.map(U256::from),
    }
}

/// Shows a block, with whole transactions or their hashes.
pub(crate) fn block(stored: StoredHeader, body: Vec<(Address, Transaction)>, full: bool) -> RpcBlock {
    let place = Place::of(&stored);
    let withdrawals = stored.header.withdrawals_root.map(|_| Default::default());
    let transactions = if full {
        let transaction = |(index, (sender, tx)): (usize, &(Address, Transaction))| {
            transaction(tx.clone(), *sender, index as u64, &place, None)
        };
        BlockTransactions::Full(body.iter().enumerate().map(transaction).collect())
    } else {
        BlockTransactions::Hashes(body.iter().map(|(_, tx)| tx.tx_hash()).collect())
    };
    let transactions_only = body.into_iter().map(|(_, tx)| tx).collect();
    let whole = alloy_consensus::Block {
        header: stored.header.clone(),
        body: BlockBody {
            transactions: transactions_only,
            ommers: Vec::<alloy_consensus::Header>::new(),
            withdrawals,
        },
    };
    let size = whole.length() as u64;
    let withdrawals = whole.body.withdrawals;
    Block {
        header: header(stored, Some(size)),
        uncles: Vec::new(),
        transactions,
        withdrawals,
    }
}

/// Where a block's transactions are.
pub(crate) struct Place {
    hash: B256,
    number: u64,
    timestamp: u64,
    base_fee: Option<u64>,
}

impl Place {
    pub fn of(header: &StoredHeader) -> Self {
        Self {
            hash: header.hash,
            number: header.header.number,
            timestamp: header.header.timestamp,
            base_fee: header.header.base_fee_per_gas,
        }
    }
}

/// Shows an included transaction. `receipt` gives a deposit its nonce.
pub(crate) fn transaction(
    tx: Transaction,
    sender: Address,
    index: u64,
    place: &Place,
    receipt: Option<&Receipt>,
) -> RpcTransaction {
    #[expect(clippy::field_reassign_with_default, reason = "the type is non-exhaustive")]
    let inner = {
        let mut inner = TransactionInfo::default();
        inner.hash = Some(tx.tx_hash());
        inner.index = Some(index);
        inner.block_hash = Some(place.hash);
        inner.block_number = Some(place.number);
        inner.base_fee = place.base_fee;
        inner.block_timestamp = Some(place.timestamp);
        inner
    };
    let deposit_meta = match receipt {
        Some(Receipt::Deposit(receipt)) => OpDepositInfo {
            deposit_nonce: receipt.deposit_nonce,
            deposit_receipt_version: receipt.deposit_receipt_version,
        },
        _ => OpDepositInfo::default(),
    };
    RpcTransaction::from_transaction(
        Recovered::new_unchecked(tx, sender),
        OpTransactionInfo { inner, deposit_meta },
    )
}

/// Shows a transaction that waits in the pool.
pub(crate) fn pending(tx: &PoolTx) -> RpcTransaction {
    let recovered = Recovered::new_unchecked(tx.tx.clone(), tx.sender);
    RpcTransaction::from_transaction(recovered, OpTransactionInfo::default())
}

/// Shows a receipt.
pub(crate) fn receipt(
    tx: &Transaction,
    sender: Address,
    index: u64,
    place: &Place,
    stored: &StoredReceipt,
) -> OpTransactionReceipt {
    let hash = tx.tx_hash();
    let mut log_index = stored.first_log;
    let mut show = |log: alloy_primitives::Log| {
        let shown = Log {
            inner: log,
            block_hash: Some(place.hash),
            block_number: Some(place.number),
            block_timestamp: Some(place.timestamp),
            transaction_hash: Some(hash),
            transaction_index: Some(index),
            log_index: Some(log_index),
            removed: false,
        };
        log_index = log_index.saturating_add(1);
        shown
    };
    let bloom = stored.receipt.bloom();
    let created = tx.to().is_none().then(|| {
        let nonce = match &stored.receipt {
            Receipt::Deposit(receipt) => receipt.deposit_nonce.unwrap_or_default(),
            _ => tx.nonce(),
        };
        sender.create(nonce)
    });
    let effective_gas_price = match tx {
        Transaction::Deposit(_) | Transaction::PostExec(_) => 0,
        tx => tx.effective_gas_price(place.base_fee),
    };
    let inner = stored.receipt.clone().map_logs(&mut show);
    OpTransactionReceipt {
        inner: TransactionReceipt {
            inner: alloy_consensus::ReceiptWithBloom {
                receipt: inner,
                logs_bloom: bloom,
            },
            transaction_hash: hash,
            transaction_index: Some(index),
            block_hash: Some(place.hash),
            block_number: Some(place.number),
            gas_used: stored.gas_used,
            effective_gas_price,
            blob_gas_used: None,
            blob_gas_price: None,
            from: sender,
            to: tx.to(),
            contract_address: created,
        },
        l1_block_info: L1BlockInfo {
            l1_fee: Some(stored.l1_fee.saturating_to()),
            ..L1BlockInfo::default()
        },
        op_gas_refund: None,
    }
}

/// Shows a log that a query found.
pub(crate) fn log(stored: StoredLog) -> Log {
    Log {
        inner: stored.log,
        block_hash: Some(stored.block.hash),
        block_number: Some(stored.block.number),
        block_timestamp: Some(stored.timestamp),
        transaction_hash: Some(stored.transaction_hash),
        transaction_index: Some(stored.transaction_index),
        log_index: Some(stored.log_index),
        removed: false,
    }
}

/// Shows all logs of a block.
pub(crate) fn block_logs(snapshot: &Snapshot, stored: &StoredHeader) -> Result<Vec<Log>, StoreError> {
    if stored.header.logs_bloom.is_zero() {
        return Ok(Vec::new());
    }
    let number = stored.header.number;
    let body = snapshot.body(number)?.unwrap_or_default();
    let receipts = snapshot.receipts(number)?.unwrap_or_default();
    let mut logs = Vec::new();
    for (index, ((_, tx), receipt)) in body.iter().zip(&receipts).enumerate() {
        let hash = tx.tx_hash();
        for (offset, inner) in receipt.receipt.logs().iter().enumerate() {
            logs.push(Log {
                inner: inner.clone(),
                block_hash: Some(stored.hash),
                block_number: Some(number),
                block_timestamp: Some(stored.header.timestamp),
                transaction_hash: Some(hash),
                transaction_index: Some(index as u64),
                log_index: Some(receipt.first_log.saturating_add(offset as u64)),
                removed: false,
            });
        }
    }
    Ok(logs)
}
