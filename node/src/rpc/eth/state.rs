//! Accounts, code and storage.

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_rpc_types::{BlockId, BlockNumberOrTag};
use alloy_serde::JsonStorageKey;
use bitsect_vm::state::{Account, StateReader};

use crate::rpc::args::Args;
use crate::rpc::context::{Context, Module, header, light, state};
use crate::rpc::error::{self, RpcResult};
use crate::store::StateAt;

pub(super) fn register(module: &mut Module) {
    light(module, "eth_getBalance", 2, |context, args| {
        let (account, _) = account(context, args)?;
        Ok(account.map_or(U256::ZERO, |account| account.balance))
    });
    light(module, "eth_getTransactionCount", 2, transaction_count);
    light(module, "eth_getCode", 2, |context, args| {
        let address: Address = args.required()?;
        let state = state_of(context, args)?;
        code(&state, address)
    });
    light(module, "eth_getStorageAt", 3, |context, args| {
        let (address, slot): (Address, JsonStorageKey) = (args.required()?, args.required()?);
        let state = state_of(context, args)?;
        let slot = U256::from_be_bytes(slot.as_b256().0);
        Ok(B256::from(state.storage(address, slot).map_err(error::internal)?))
    });
}

/// Opens the state of the block in the next parameter; the latest when it is absent.
fn state_of(context: &Context, args: &mut Args) -> RpcResult<StateAt> {
    let snapshot = context.snapshot()?;
    let block = header(&snapshot, args.optional()?.unwrap_or_default())?;
    state(&snapshot, block.header.number)
}

fn account(context: &Context, args: &mut Args) -> RpcResult<(Option<Account>, StateAt)> {
    let address = args.required()?;
    let state = state_of(context, args)?;
    Ok((state.account(address).map_err(error::internal)?, state))
}

fn code(state: &StateAt, address: Address) -> RpcResult<Bytes> {
    match state.account(address).map_err(error::internal)? {
        Some(account) => state.code(address, account.code_hash).map_err(error::internal),
        None => Ok(Bytes::new()),
    }
}

/// The nonce; for `pending` the one after the sender's executable transactions in the pool.
fn transaction_count(context: &Context, args: &mut Args) -> RpcResult<U64> {
    let address: Address = args.required()?;
    let id: BlockId = args.optional()?.unwrap_or_default();
    if id == BlockId::Number(BlockNumberOrTag::Pending)
        && let Some(nonce) = context.submit.pool().and_then(|pool| pool.next_nonce(&address))
    {
        return Ok(U64::from(nonce));
    }
    let snapshot = context.snapshot()?;
    let state = state(&snapshot, header(&snapshot, id)?.header.number)?;
    let account = state.account(address).map_err(error::internal)?;
    Ok(U64::from(account.map_or(0, |account| account.nonce)))
}
