//! `eth_subscribe`.

use std::sync::Arc;
use std::time::Duration;

use alloy_rpc_types::pubsub::{PubSubSyncStatus, SubscriptionKind, SyncStatusMetadata};
use alloy_rpc_types::{Filter, SyncStatus};
use jsonrpsee::core::SubscriptionError;
use jsonrpsee::core::server::{PendingSubscriptionSink, SubscriptionSink};
use jsonrpsee::types::Params;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::pool::PoolTx;
use crate::rpc::args::Args;
use crate::rpc::context::{Context, Module};
use crate::rpc::error::{self, RpcResult};
use crate::rpc::feed::FeedItem;

use super::{chain, convert, filters, logs};

/// How long a notification may wait for a slow client before its subscription ends.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What a subscriber wants.
enum Wanted {
    Heads,
    Logs(Box<Filter>),
    Pending { full: bool },
    Syncing,
}

pub(super) fn register(module: &mut Module) {
    module
        .register_subscription("eth_subscribe", "eth_subscription", "eth_unsubscribe", subscribe)
        .expect("each method is registered once");
}

async fn subscribe(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    _: jsonrpsee::Extensions,
) -> Result<(), SubscriptionError> {
    let wanted = match parse(&params) {
        Ok(wanted) => wanted,
        Err(refused) => {
            pending.reject(refused).await;
            return Ok(());
        }
    };
    // The receiver first: nothing may be missed between the answer and the first notification.
    match wanted {
        Wanted::Heads => {
            let feed = context.feed.subscribe();
            heads(pending.accept().await?, feed).await
        }
        Wanted::Logs(filter) => {
            let feed = context.feed.subscribe();
            matching_logs(pending.accept().await?, feed, &filter).await
        }
        Wanted::Pending { full } => {
            let receiver = context.submit.pool().map(crate::pool::Pool::subscribe);
            let sink = pending.accept().await?;
            match receiver {
                Some(receiver) => pending_transactions(sink, receiver, full).await,
                // A verifier sees no pending transactions: the subscription lives and stays silent.
                None => {
                    sink.closed().await;
                    Ok(())
                }
            }
        }
        Wanted::Syncing => syncing(pending.accept().await?, &context).await,
    }
}

fn parse(params: &Params<'_>) -> RpcResult<Wanted> {
    let mut args = Args::new(params, 2)?;
    let kind: SubscriptionKind = args.required()?;
    Ok(match kind {
        SubscriptionKind::NewHeads => Wanted::Heads,
        SubscriptionKind::Logs => {
            let filter: Filter = args.optional()?.unwrap_or_default();
            logs::check(&filter)?;
            Wanted::Logs(Box::new(filter))
        }
        SubscriptionKind::NewPendingTransactions => Wanted::Pending {
            full: args.optional()?.unwrap_or(false),
        },
        SubscriptionKind::Syncing => Wanted::Syncing,
        SubscriptionKind::TransactionReceipts => {
            return Err(error::invalid_params(
                "no \"transactionReceipts\" subscription in eth namespace",
            ));
        }
    })
}

/// The next item; `None` when the client left.
async fn next<T: Clone>(
    sink: &SubscriptionSink,
    receiver: &mut broadcast::Receiver<T>,
) -> Result<Option<T>, SubscriptionError> {
    tokio::select! {
        () = sink.closed() => Ok(None),
        item = receiver.recv() => match item {
            Ok(item) => Ok(Some(item)),
            Err(RecvError::Closed) => Ok(None),
            // A gap that nobody is told of is worse than an end.
            Err(RecvError::Lagged(missed)) => {
                Err(format!("the subscription fell behind and missed {missed} notifications").into())
            }
        },
    }
}

async fn send(sink: &SubscriptionSink, item: &impl Serialize) -> Result<(), SubscriptionError> {
    let json = serde_json::value::to_raw_value(item)?;
    Ok(sink.send_timeout(json, SEND_TIMEOUT).await?)
}

async fn heads(
    sink: SubscriptionSink,
    mut feed: broadcast::Receiver<Arc<FeedItem>>,
) -> Result<(), SubscriptionError> {
    while let Some(item) = next(&sink, &mut feed).await? {
        if item.gap {
            return Err("chain events were missed".into());
        }
        for (_, head) in &item.heads {
            sink.send_timeout(head.clone(), SEND_TIMEOUT).await?;
        }
    }
    Ok(())
}

async fn matching_logs(
    sink: SubscriptionSink,
    mut feed: broadcast::Receiver<Arc<FeedItem>>,
    filter: &Filter,
) -> Result<(), SubscriptionError> {
    while let Some(item) = next(&sink, &mut feed).await? {
        if item.gap {
            return Err("chain events were missed".into());
        }
        for log in item.logs.iter().filter(|log| filters::in_range(filter, log)) {
            send(&sink, log).await?;
        }
    }
    Ok(())
}

async fn pending_transactions(
    sink: SubscriptionSink,
    mut pool: broadcast::Receiver<Arc<PoolTx>>,
    full: bool,
) -> Result<(), SubscriptionError> {
    while let Some(tx) = next(&sink, &mut pool).await? {
        if full {
            send(&sink, &convert::pending(&tx)).await?;
        } else {
            send(&sink, &tx.hash).await?;
        }
    }
    Ok(())
}

/// Tells when the node starts or stops trailing Bitcoin.
async fn syncing(sink: SubscriptionSink, context: &Context) -> Result<(), SubscriptionError> {
    let mut status = context.status.clone();
    let mut last = None;
    loop {
        let now = match chain::syncing(context).map_err(|refused| refused.message().to_owned())? {
            SyncStatus::None => PubSubSyncStatus::Simple(false),
            SyncStatus::Info(info) => PubSubSyncStatus::Detailed(SyncStatusMetadata {
                syncing: true,
                starting_block: info.starting_block.saturating_to(),
                current_block: info.current_block.saturating_to(),
                highest_block: Some(info.highest_block.saturating_to()),
            }),
        };
        let is_syncing = matches!(now, PubSubSyncStatus::Detailed(_));
        if last != Some(is_syncing) {
            send(&sink, &now).await?;
            last = Some(is_syncing);
        }
        tokio::select! {
            () = sink.closed() => return Ok(()),
            changed = status.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}
