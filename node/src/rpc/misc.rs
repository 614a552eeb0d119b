//! The `net`, `web3`, `rpc` and `txpool` namespaces.

use std::collections::BTreeMap;

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Bytes, U64, keccak256};
use alloy_rpc_types::txpool::{
    TxpoolContent, TxpoolContentFrom, TxpoolInspect, TxpoolInspectSummary, TxpoolStatus,
};

use crate::pool::{PoolTx, SenderTransactions};

use super::context::{Context, Module, heavy, light};
use super::eth::convert::{self, RpcTransaction};

/// Transactions that `txpool_content` shows at most.
const MAX_CONTENT: usize = 20_000;

/// The client's name and version, as `web3_clientVersion` tells it.
pub const CLIENT_VERSION: &str = concat!("bitsect/v", env!("CARGO_PKG_VERSION"));

pub(super) fn register(module: &mut Module) {
    light(module, "web3_clientVersion", 0, |_, _| Ok(CLIENT_VERSION));
    light(module, "web3_sha3", 1, |_, args| {
        Ok(keccak256(args.required::<Bytes>()?))
    });
    light(module, "net_version", 0, |context, _| {
        Ok(context.params.execution.chain_id.to_string())
    });
    light(module, "net_listening", 0, |_, _| Ok(true));
    // Blocks come from Bitcoin and from the sequencer's feed: there are no peers.
    light(module, "net_peerCount", 0, |_, _| Ok(U64::ZERO));
    light(module, "rpc_modules", 0, |_, _| {
        let names = ["debug", "eth", "net", "rollup", "rpc", "txpool", "web3"];
        Ok(names
            .map(|name| (name, "1.0"))
            .into_iter()
            .collect::<BTreeMap<_, _>>())
    });
    light(module, "txpool_status", 0, |context, _| {
        let status = context
            .submit
            .pool()
            .map(crate::pool::Pool::status)
            .unwrap_or_default();
        Ok(TxpoolStatus {
            pending: status.pending as u64,
            queued: status.queued as u64,
        })
    });
    heavy(module, "txpool_content", 0, |context, _, _| {
        let mut content = TxpoolContent::<RpcTransaction> {
            pending: BTreeMap::new(),
            queued: BTreeMap::new(),
        };
        for (sender, txs) in all(context) {
            insert(&mut content.pending, sender, &txs.pending, convert::pending);
            insert(&mut content.queued, sender, &txs.queued, convert::pending);
        }
        Ok(content)
    });
    light(module, "txpool_contentFrom", 1, |context, args| {
        let sender: Address = args.required()?;
        let txs = context
            .submit
            .pool()
            .map(|pool| pool.content_from(&sender))
            .unwrap_or_default();
        Ok(TxpoolContentFrom::<RpcTransaction> {
            pending: by_nonce(&txs.pending, convert::pending),
            queued: by_nonce(&txs.queued, convert::pending),
        })
    });
    heavy(module, "txpool_inspect", 0, |context, _, _| {
        let mut content = TxpoolInspect {
            pending: BTreeMap::new(),
            queued: BTreeMap::new(),
        };
        for (sender, txs) in all(context) {
            insert(&mut content.pending, sender, &txs.pending, summary);
            insert(&mut content.queued, sender, &txs.queued, summary);
        }
        Ok(content)
    });
}

fn all(context: &Context) -> Vec<(Address, SenderTransactions)> {
    context
        .submit
        .pool()
        .map(|pool| pool.content(MAX_CONTENT))
        .unwrap_or_default()
}

type ByNonce<T> = BTreeMap<String, T>;

fn by_nonce<T>(txs: &[std::sync::Arc<PoolTx>], show: fn(&PoolTx) -> T) -> ByNonce<T> {
    txs.iter().map(|tx| (tx.nonce().to_string(), show(tx))).collect()
}

fn insert<T>(
    to: &mut BTreeMap<Address, ByNonce<T>>,
    sender: Address,
    txs: &[std::sync::Arc<PoolTx>],
    show: fn(&PoolTx) -> T,
) {
    if !txs.is_empty() {
        to.insert(sender, by_nonce(txs, show));
    }
}

fn summary(tx: &PoolTx) -> TxpoolInspectSummary {
    TxpoolInspectSummary {
        to: tx.tx.to(),
        value: tx.tx.value(),
        gas: tx.tx.gas_limit(),
        gas_price: tx.tx.max_fee_per_gas(),
    }
}

/// Shows a Bitcoin hash as Bitcoin's tools do: reversed, without a prefix.
pub(super) fn display_hash(hash: B256) -> String {
    let mut bytes = hash.0;
    bytes.reverse();
    hex::encode(bytes)
}
