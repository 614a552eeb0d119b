//! Log queries.

use std::time::Instant;

use alloy_rpc_types::{Filter, FilterBlockOption, Log};

use crate::rpc::context::{Context, Module, block_number, heavy};
use crate::rpc::error::{self, RpcResult};
use crate::store::{LogLimits, LogQuery, StoreError};

use super::convert;

/// Addresses of a query.
const MAX_ADDRESSES: usize = 1000;
/// Topics at one position of a query.
const MAX_TOPICS: usize = 1000;

pub(super) fn register(module: &mut Module) {
    heavy(module, "eth_getLogs", 1, |context, args, deadline| {
        find(context, &args.required()?, deadline)
    });
}

/// Checks a filter's size.
pub(super) fn check(filter: &Filter) -> RpcResult<()> {
    if filter.address.len() > MAX_ADDRESSES {
        return Err(error::invalid_params(format!(
            "more than {MAX_ADDRESSES} addresses"
        )));
    }
    if filter.topics.iter().any(|topics| topics.len() > MAX_TOPICS) {
        return Err(error::invalid_params(format!(
            "more than {MAX_TOPICS} topics at one position"
        )));
    }
    Ok(())
}

/// Finds the logs of a filter within the limits.
pub(super) fn find(context: &Context, filter: &Filter, deadline: Instant) -> RpcResult<Vec<Log>> {
    check(filter)?;
    let snapshot = context.snapshot()?;
    let (from, to) = match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let number = snapshot.block_number(hash).map_err(error::internal)?;
            let number = number.ok_or_else(|| error::server("unknown block"))?;
            (number, number)
        }
        FilterBlockOption::Range { from_block, to_block } => {
            // A number above the head is no error: nothing is there yet.
            let bound = |tag: Option<alloy_rpc_types::BlockNumberOrTag>| match tag.unwrap_or_default() {
                alloy_rpc_types::BlockNumberOrTag::Number(number) => Ok(number),
                tag => block_number(&snapshot, tag.into()).map(Option::unwrap_or_default),
            };
            (bound(from_block)?, bound(to_block)?)
        }
    };
    if from > to {
        return Err(error::invalid_params("invalid block range params"));
    }
    let query = LogQuery {
        from,
        to,
        addresses: filter.address.iter().copied().collect(),
        topics: filter
            .topics
            .iter()
            .map(|topics| topics.iter().copied().collect())
            .collect(),
    };
    let limits = LogLimits {
        blocks: context.config.max_log_blocks,
        results: context.config.max_logs,
        deadline,
    };
    let found = snapshot.logs(&query, &limits).map_err(|failure| match failure {
        StoreError::LogBlocks { .. } | StoreError::LogResults { .. } => error::limit(failure.to_string()),
        StoreError::LogTimeout { .. } => error::limit(failure.to_string()),
        failure => error::internal(failure),
    })?;
    Ok(found.into_iter().map(convert::log).collect())
}
