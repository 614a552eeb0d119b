//! Transactions that come in.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use op_alloy_rpc_types::OpTransactionReceipt;
use tokio::time::Instant;

use crate::rpc::args::Args;
use crate::rpc::context::{Context, Module, Submit};
use crate::rpc::error::{self, RpcResult};

use super::transactions;

/// How long `eth_sendRawTransactionSync` waits when the caller does not say.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);
/// The longest wait that a caller may ask for; below the time of a call.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// How often the store is asked while no chain event comes.
const POLL: Duration = Duration::from_millis(500);
/// EIP-7966: the transaction was accepted but is in no block yet.
const NOT_YET: i32 = 4;

pub(super) fn register(module: &mut Module) {
    let send = |params: Params<'static>, context: Arc<Context>, _| async move {
        submit(&context, Args::new(&params, 1)?.required()?).await
    };
    module
        .register_async_method("eth_sendRawTransaction", send)
        .expect("each method is registered once");
    let wait = |params: Params<'static>, context: Arc<Context>, _| async move {
        let mut args = Args::new(&params, 2)?;
        let raw = args.required()?;
        let wait = args
            .optional::<u64>()?
            .map_or(DEFAULT_WAIT, Duration::from_millis)
            .min(MAX_WAIT);
        submit_and_wait(&context, raw, wait).await
    };
    module
        .register_async_method("eth_sendRawTransactionSync", wait)
        .expect("each method is registered once");
}

async fn submit(context: &Context, raw: Bytes) -> RpcResult<B256> {
    match &context.submit {
        Submit::Pool(pool) => Ok(pool.add(raw).await?),
        Submit::Forward(sequencer) => sequencer.send(&raw).await,
        Submit::Refuse => Err(error::server(
            "this node is a verifier without a sequencer's URL: it does not accept transactions",
        )),
    }
}

/// Answers with the receipt (EIP-7966).
async fn submit_and_wait(context: &Context, raw: Bytes, wait: Duration) -> RpcResult<OpTransactionReceipt> {
    // Listening starts first, so that a block in between is not missed.
    let mut feed = context.feed.subscribe();
    let hash = submit(context, raw).await?;
    let until = Instant::now().checked_add(wait);
    loop {
        if let Some(receipt) = transactions::receipt(&context.snapshot()?, hash)? {
            return Ok(receipt);
        }
        let left = until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        });
        if left.is_zero() {
            let text = format!(
                "the transaction was accepted but is in no block after {} ms",
                wait.as_millis()
            );
            return Err(ErrorObjectOwned::owned(NOT_YET, text, Some(hash)));
        }
        // Both outcomes lead to another look.
        drop(tokio::time::timeout(left.min(POLL), feed.recv()).await);
    }
}
