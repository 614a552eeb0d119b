//! The `rollup` namespace: deposits, withdrawals and the vault (docs/bridge.md).

use alloy_consensus::TxReceipt;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rpc_types::{BlockId, TransactionRequest};
use alloy_sol_types::{SolCall, SolEvent, sol};
use bitsect_vm::chain::bridge::deposit_recipient;
use bitsect_vm::chain::predeploys::BRIDGE;
use bitsect_vm::chain::{OutPoint, Transaction};
use revm::context::result::ExecutionResult;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use crate::convert;
use crate::engine::facts_at;
use crate::invariant::{Sums, verify};
use crate::store::{Head, LogLimits, LogQuery, Snapshot, StoreError, StoredHeader, StoredLog};

use super::args::Args;
use super::context::{self, Context, Module, heavy};
use super::error::{self, RpcResult};
use super::evm::{self, CallEnv, Deadline, database};
use super::misc::display_hash;
use super::rollup::{L1Block, Number};

sol! {
    struct Withdrawal {
        address sender;
        uint64 amount;
        uint32 l1Height;
        uint64 fee;
        uint32 paidL1Height;
        bytes scriptPubKey;
    }

    function withdrawal(uint64 id) view returns (Withdrawal);
    function creditOf(bytes32 operator) view returns (uint64);
    function totals() view returns (uint64 vault, uint64 pending, uint64 credit, uint64 inFlight);

    event WithdrawalRequested(
        uint64 indexed id, address indexed sender, uint64 amount, uint64 fee, bytes scriptPubKey
    );
    event WithdrawalPaid(uint64 indexed id, bytes32 indexed operator, bytes32 txid, uint32 vout);
    event VaultOutputAdded(bytes32 indexed txid, uint32 vout, uint64 amount);
    event VaultOutputSpent(bytes32 indexed txid, uint32 vout, uint64 amount, bytes32 spentBy);
    event Assigned(
        bytes32 indexed operator, uint32 ticketVout, bytes32 vaultTxid, uint32 vaultVout, uint64 amount
    );
}

/// Most withdrawals of one answer.
const MAX_WITHDRAWALS: u64 = 100;

pub(super) fn register(module: &mut Module) {
    heavy(module, "rollup_withdrawal", 2, |context, args, deadline| {
        let id: Number = args.required()?;
        let at = View::new(context, args, deadline)?;
        let Some(asked) = at.withdrawal(id.0)? else {
            return Ok(None);
        };
        let block = log_of_withdrawal(context, WithdrawalRequested::SIGNATURE_HASH, id.0, deadline)?;
        let paid = match asked.paid {
            0 => None,
            height => Some(payout(context, id.0, height, deadline)?),
        };
        let mut shown = asked.shown(id.0);
        shown["block"] = json!(block.as_ref().map(place));
        shown["paid"] = json!(paid);
        Ok(Some(shown))
    });
    heavy(module, "rollup_withdrawals", 3, |context, args, deadline| {
        let (from, count): (Number, Number) = (args.required()?, args.required()?);
        let at = View::new(context, args, deadline)?;
        let mut found = Vec::new();
        for id in from.0..from.0.saturating_add(count.0.min(MAX_WITHDRAWALS)) {
            let Some(asked) = at.withdrawal(id)? else { break };
            found.push(asked.shown(id));
        }
        Ok(found)
    });
    heavy(module, "rollup_deposit", 1, |context, args, deadline| {
        let outpoint: Outpoint = args.required()?;
        deposit(context, &outpoint.0, deadline)
    });
    heavy(module, "rollup_vault", 1, |context, args, deadline| {
        View::new(context, args, deadline)?.vault(context)
    });
    heavy(module, "rollup_credit", 2, |context, args, deadline| {
        let operator: TxidText = args.required()?;
        View::new(context, args, deadline)?.credit(&operator.0)
    });
}

/// The bridge contract as it is after a block.
struct View<'a> {
    context: &'a Context,
    snapshot: Snapshot,
    header: StoredHeader,
    deadline: std::time::Instant,
}

/// A withdrawal as the contract keeps it.
struct Asked {
    sender: Address,
    amount: u64,
    l1_height: u32,
    fee: u64,
    /// The height of the L1 block where its payout was recorded; 0 before.
    paid: u32,
    script: Bytes,
}

impl Asked {
    fn shown(&self, id: u64) -> Value {
        json!({
            "id": id,
            "sender": self.sender,
            "amountSats": self.amount,
            "feeSats": self.fee,
            "l1Height": self.l1_height,
            "scriptPubKey": self.script,
            "isPaid": self.paid != 0,
        })
    }
}

impl<'a> View<'a> {
    /// Takes the block that the next parameter names, else the latest.
    fn new(context: &'a Context, args: &mut Args, deadline: std::time::Instant) -> RpcResult<Self> {
        let block: Option<BlockId> = args.optional()?;
        let snapshot = context.snapshot()?;
        let header = context::header(&snapshot, block.unwrap_or_default())?;
        Ok(Self {
            context,
            snapshot,
            header,
            deadline,
        })
    }

    /// Calls the contract; `None` where it refuses.
    fn call<C: SolCall>(&self, call: &C) -> RpcResult<Option<C::Return>> {
        let db = database(&self.snapshot, self.header.header.number)?;
        let mut env = CallEnv::of(self.context, &self.header.header);
        env.relax();
        let input = Bytes::from(call.abi_encode());
        let request = TransactionRequest::default().to(BRIDGE).input(input.into());
        let chain_id = self.context.params.execution.chain_id;
        let tx = evm::transaction(&request, &db, chain_id, self.context.config.gas_cap)?;
        let mut evm = env.evm(db, Deadline::new(self.deadline));
        let result = evm
            .inspect(tx.clone())
            .map_err(|fault| evm::failed(fault, &tx, &env))?;
        let ExecutionResult::Success { output, .. } = result else {
            return Ok(None);
        };
        let decoded = C::abi_decode_returns(output.data());
        let decoded = decoded.map_err(|_| error::internal("the bridge contract's answer does not decode"))?;
        Ok(Some(decoded))
    }

    fn withdrawal(&self, id: u64) -> RpcResult<Option<Asked>> {
        let asked = self.call(&withdrawalCall { id })?;
        Ok(asked.map(|asked| Asked {
            sender: asked.sender,
            amount: asked.amount,
            l1_height: asked.l1Height,
            fee: asked.fee,
            paid: asked.paidL1Height,
            script: asked.scriptPubKey,
        }))
    }

    fn credit(&self, operator: &B256) -> RpcResult<u64> {
        let credit = self.call(&creditOfCall { operator: *operator })?;
        Ok(credit.unwrap_or_default())
    }

    /// Lists the vault's outputs, and gives the sums.
    fn vault(&self, context: &Context) -> RpcResult<Value> {
        let totals = self.call(&totalsCall {})?;
        let totals = totals.ok_or_else(|| error::internal("the bridge contract has no sums"))?;
        let mut outputs: BTreeMap<(B256, u32), Value> = BTreeMap::new();
        for log in bridge_logs(context, self.header.header.number, self.deadline)? {
            if let Ok(added) = VaultOutputAdded::decode_log(&log.log) {
                let name = format!("{}:{}", display_hash(added.txid), added.vout);
                let output = json!({ "outpoint": name, "amountSats": added.amount, "assigned": null });
                outputs.insert((added.txid, added.vout), output);
            } else if let Ok(spent) = VaultOutputSpent::decode_log(&log.log) {
                outputs.remove(&(spent.txid, spent.vout));
            } else if let Ok(assigned) = Assigned::decode_log(&log.log)
                && let Some(output) = outputs.get_mut(&(assigned.vaultTxid, assigned.vaultVout))
            {
                let operator = display_hash(assigned.operator);
                output["assigned"] = json!({ "operator": operator, "ticketVout": assigned.ticketVout });
            }
        }
        let internal = |fault: StoreError| error::internal(fault);
        let facts = facts_at(&self.snapshot, self.header.header.number).map_err(internal)?;
        let (sums, broken) = (Sums::of(&facts), verify(&facts).err());
        let left = self.snapshot.vault_left().map_err(internal)?;
        let shown = left.iter().map(|left| {
            json!({
                "outpoint": convert::outpoint(&left.outpoint).to_string(),
                "amountSats": left.sats,
                "spentBy": display_hash(left.by),
                "l1Height": left.l1_height,
            })
        });
        Ok(json!({
            "holds": broken.is_none() && left.is_empty(),
            "violation": broken.map(|violation| violation.to_string()),
            "left": shown.collect::<Vec<_>>(),
            "supplyWei": sums.supply,
            "genesisSupplyWei": sums.genesis,
            "burntWei": sums.burnt,
            "bridgeWei": sums.bridge_balance,
            "settledSats": sums.settled,
            "unclaimedSats": sums.unclaimed,
            "vaultSats": totals.vault,
            "pendingSats": totals.pending,
            "creditSats": totals.credit,
            "inFlightSats": totals.inFlight,
            "outputs": outputs.into_values().collect::<Vec<_>>(),
        }))
    }
}

/// Gives what the contract logged about the vault up to a block.
fn bridge_logs(context: &Context, to: u64, deadline: std::time::Instant) -> RpcResult<Vec<StoredLog>> {
    let events = vec![
        VaultOutputAdded::SIGNATURE_HASH,
        VaultOutputSpent::SIGNATURE_HASH,
        Assigned::SIGNATURE_HASH,
    ];
    let query = LogQuery {
        from: 0,
        to,
        addresses: vec![BRIDGE],
        topics: vec![events],
    };
    let limits = LogLimits {
        blocks: u64::MAX,
        results: usize::MAX,
        deadline,
    };
    let found = context.snapshot()?.logs(&query, &limits);
    found.map_err(|failure| error::limit(failure.to_string()))
}

/// Says by whom and where a withdrawal was paid.
fn payout(context: &Context, id: u64, height: u32, deadline: std::time::Instant) -> RpcResult<Value> {
    let log = log_of_withdrawal(context, WithdrawalPaid::SIGNATURE_HASH, id, deadline)?;
    let missing = || error::internal(format!("withdrawal {id} is paid, and its log is missing"));
    let log = log.ok_or_else(missing)?;
    let paid = WithdrawalPaid::decode_log(&log.log).map_err(|_| missing())?;
    Ok(json!({
        "operator": display_hash(paid.operator),
        "txid": display_hash(paid.txid),
        "vout": paid.vout,
        "l1Height": height,
        "block": place(&log),
    }))
}

fn place(log: &StoredLog) -> Value {
    json!({ "number": log.block.number, "hash": log.block.hash, "transactionHash": log.transaction_hash })
}

/// Finds what `Bridge` logged of a withdrawal.
fn log_of_withdrawal(
    context: &Context,
    event: B256,
    id: u64,
    deadline: std::time::Instant,
) -> RpcResult<Option<StoredLog>> {
    let snapshot = context.snapshot()?;
    let query = LogQuery {
        from: 0,
        to: u64::MAX,
        addresses: vec![BRIDGE],
        topics: vec![vec![event], vec![B256::from(U256::from(id))]],
    };
    let limits = LogLimits {
        blocks: u64::MAX,
        results: 1,
        deadline,
    };
    let found = snapshot
        .logs(&query, &limits)
        .map_err(|failure| error::limit(failure.to_string()))?;
    Ok(found.into_iter().next())
}

/// A Bitcoin transaction's id as Bitcoin's tools show it.
struct TxidText(B256);

fn read_txid(text: &str) -> Option<B256> {
    let mut txid: [u8; 32] = hex::decode(text).ok()?.try_into().ok()?;
    txid.reverse();
    Some(txid.into())
}

impl<'de> Deserialize<'de> for TxidText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let txid = read_txid(&text).map(Self);
        txid.ok_or_else(|| serde::de::Error::custom("expected a txid: 64 hexadecimal digits"))
    }
}

/// A Bitcoin output as `txid:vout`, the txid as Bitcoin's tools show it.
struct Outpoint(OutPoint);

impl<'de> Deserialize<'de> for Outpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parse = |text: &str| -> Option<OutPoint> {
            let (txid, vout) = text.split_once(':')?;
            Some(OutPoint {
                txid: read_txid(txid)?,
                vout: vout.parse().ok()?,
            })
        };
        parse(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("expected an outpoint: txid:vout"))
    }
}

/// Finds the L2 transaction of an accepted deposit, newest blocks first; null when no block has it. Only blocks
/// that begin an L1 origin can, and they say in their header that they have transactions from Bitcoin.
fn deposit(context: &Context, outpoint: &OutPoint, deadline: std::time::Instant) -> RpcResult<Option<Value>> {
    let snapshot = context.snapshot()?;
    let latest = snapshot.head(Head::Latest).map_err(error::internal)?.number;
    let encoded = alloy_rlp::encode(*outpoint);
    for number in (1..=latest).rev() {
        if std::time::Instant::now() > deadline {
            return Err(error::limit(format!("the search timed out at block {number}")));
        }
        let Some(header) = snapshot.header(number).map_err(error::internal)? else {
            continue;
        };
        if header.inbox_count == 0 {
            continue;
        }
        // How derivation names a deposit (docs/derivation.md).
        let id = keccak256([header.l1_origin().hash.as_slice(), &encoded].concat());
        let source = keccak256([[0; 32], id.0].concat());
        let body = snapshot
            .body(number)
            .map_err(error::internal)?
            .unwrap_or_default();
        for (index, (_, tx)) in body.iter().take(header.inbox_count as usize).enumerate() {
            let Transaction::Deposit(deposit) = tx else {
                continue;
            };
            if deposit.source_hash != source {
                continue;
            }
            let receipts = snapshot
                .receipts(number)
                .map_err(error::internal)?
                .unwrap_or_default();
            return Ok(Some(json!({
                "outpoint": format!("{}:{}", display_hash(outpoint.txid), outpoint.vout),
                "to": deposit_recipient(&deposit.input),
                "amountWei": deposit.value,
                "block": { "number": number, "hash": header.hash },
                "transactionHash": tx.tx_hash(),
                "success": receipts.get(index).map(|stored| stored.receipt.status()),
                "l1Origin": L1Block::new(&header.l1_origin()),
            })));
        }
    }
    Ok(None)
}
