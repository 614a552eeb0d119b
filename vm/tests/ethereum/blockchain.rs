//! Blockchain tests: chains of blocks from their RLP, some of which must be refused.

use std::collections::BTreeSet;
use std::path::Path;

use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE};
use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_rlp::Decodable;
use bitsect_vm::chain::{ExecutionParams, Header, Transaction};
use bitsect_vm::execute::{
    BlockOutcome, ExecuteError, Fault, HeaderError, attributes_of, execute_block, recover_senders, seal,
    verify_block_size, verify_header,
};
use bitsect_vm::state::{FlatState, MissingCode};
use serde::Deserialize;

use crate::creations::creations;
use crate::fixture::{Alloc, compare, has_large_balance, load, read, storage_without_code};
use crate::report::{Report, Skip, Verdict, is_expected, is_undecodable, names_exception, spec_of};

type Block = alloy_consensus::Block<Transaction>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    network: String,
    #[serde(rename = "genesisRLP")]
    genesis_rlp: Bytes,
    pre: Alloc,
    post_state: Alloc,
    lastblockhash: B256,
    config: Config,
    blocks: Vec<BlockCase>,
}

#[derive(Deserialize)]
struct Config {
    chainid: U256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockCase {
    rlp: Bytes,
    expect_exception: Option<String>,
    #[serde(flatten)]
    fields: BlockFields,
    #[serde(rename = "rlp_decoded")]
    decoded: Option<BlockFields>,
}

/// What is looked at to tell what applies; the block itself comes from its RLP.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockFields {
    block_header: Option<HeaderFields>,
    #[serde(default)]
    transactions: Vec<TransactionFields>,
    #[serde(default)]
    withdrawals: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderFields {
    #[serde(default)]
    blob_gas_used: U256,
    #[serde(default)]
    excess_blob_gas: U256,
    requests_hash: Option<B256>,
    hash: B256,
}

#[derive(Deserialize)]
struct TransactionFields {
    #[serde(rename = "type", default)]
    kind: U256,
}

/// Why a block was refused.
enum Refusal {
    Decode(String),
    Header(HeaderError),
    Execute(ExecuteError<MissingCode>),
    /// The header that execution gives is another one: the fields that differ.
    Outcome(String),
}

/// Runs every case of a file.
pub fn run_file(file: &Path, report: &mut Report) {
    report.files += 1;
    for (name, case) in read::<Case>(file) {
        let mut refused = Vec::new();
        let verdict = match skip(&case) {
            Some(skip) => Verdict::Skipped(skip),
            None => run(&case, &mut refused),
        };
        if matches!(verdict, Verdict::Passed) {
            for exception in refused {
                report.count_refused(exception);
            }
        }
        report.count(&case.network, &name, verdict);
    }
}

fn skip(case: &Case) -> Option<Skip> {
    if spec_of(&case.network).is_none() {
        return Some(Skip::OtherFork);
    }
    let genesis = Block::decode(&mut case.genesis_rlp.as_ref()).ok()?;
    let mut blobs = genesis.header.excess_blob_gas != Some(0) || genesis.header.blob_gas_used != Some(0);
    let mut withdrawals = false;
    // These contracts are called after every Prague block, which shows where one is not the usual.
    let mut requests = [
        (
            WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
            &WITHDRAWAL_REQUEST_PREDEPLOY_CODE,
        ),
        (
            CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
            &CONSOLIDATION_REQUEST_PREDEPLOY_CODE,
        ),
    ]
    .iter()
    .any(|(address, code)| {
        case.pre
            .get(address)
            .is_none_or(|account| trimmed(&account.code) != trimmed(code))
    });
    for block in &case.blocks {
        let expected = block.expect_exception.as_deref().unwrap_or("");
        for fields in [Some(&block.fields), block.decoded.as_ref()]
            .into_iter()
            .flatten()
        {
            blobs |= fields.transactions.iter().any(|tx| tx.kind == U256::from(3));
            withdrawals |= !fields.withdrawals.is_empty();
            if let Some(header) = &fields.block_header {
                blobs |= !header.blob_gas_used.is_zero() || !header.excess_blob_gas.is_zero();
                requests |= header.requests_hash != Some(alloy_eips::eip7685::EMPTY_REQUESTS_HASH);
            }
        }
        blobs |= expected.contains("TYPE_3");
        requests |= [
            "INVALID_REQUESTS",
            "INVALID_DEPOSIT_EVENT_LAYOUT",
            "SYSTEM_CONTRACT_CALL_FAILED",
        ]
        .iter()
        .any(|name| names_exception(expected, "BlockException", name));
    }
    [
        (blobs, Skip::Blobs),
        (withdrawals, Skip::Withdrawals),
        (requests, Skip::Requests),
    ]
    .into_iter()
    .find_map(|(applies, skip)| applies.then_some(skip))
}

/// Code without the zeros at its end: the sources of these contracts differ in some that never run.
fn trimmed(code: &[u8]) -> &[u8] {
    let end = code
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    &code[..end]
}

fn run<'a>(case: &'a Case, refused: &mut Vec<&'a str>) -> Verdict {
    let spec = spec_of(&case.network).unwrap();
    let params = ExecutionParams::ethereum(case.config.chainid.to(), spec);
    let mut state = load(&case.pre);
    let mut parent = match decode(&case.genesis_rlp) {
        Ok(block) => block.header,
        Err(reason) => return Verdict::Failed(format!("genesis: {reason}")),
    };
    let forbidden = storage_without_code(&case.pre);
    for (index, block) in case.blocks.iter().enumerate() {
        if !forbidden.is_empty() && !forbidden.is_disjoint(&aims(&params, &parent, &block.rlp, &state)) {
            return Verdict::Skipped(Skip::StorageWithoutCode);
        }
        let result = apply(&params, &parent, &block.rlp, &state);
        match (result, &block.expect_exception) {
            (Ok((header, outcome)), None) => {
                let hash = header.hash_slow();
                if block
                    .fields
                    .block_header
                    .as_ref()
                    .is_none_or(|fields| fields.hash != hash)
                {
                    return Verdict::Failed(format!("block {index} has another hash"));
                }
                state.apply(&outcome.changes);
                parent = header;
            }
            (Err(refusal), Some(exception)) if refusal.is_for(exception) => refused.push(exception),
            (Err(Refusal::Execute(ExecuteError::Fault(Fault::BalanceTooLarge { .. }))), _)
                if has_large_balance(&case.post_state) =>
            {
                return Verdict::Skipped(Skip::LargeBalance);
            }
            (Ok(_), Some(exception)) => {
                return Verdict::Failed(format!("block {index} was accepted, but {exception}"));
            }
            (Err(refusal), exception) => {
                return Verdict::Failed(format!("block {index}: {refusal}, expected {exception:?}"));
            }
        }
    }
    if parent.hash_slow() != case.lastblockhash {
        return Verdict::Failed("the chain ends in another block".to_owned());
    }
    match compare(&state, &case.post_state) {
        Ok(()) => Verdict::Passed,
        Err(difference) => Verdict::Failed(difference),
    }
}

fn decode(rlp: &Bytes) -> Result<Block, String> {
    let mut bytes = rlp.as_ref();
    let block = Block::decode(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        Ok(block)
    } else {
        Err("bytes after the block".to_owned())
    }
}

/// The addresses that a block's creations aim at; none of a block that cannot be executed.
fn aims(params: &ExecutionParams, parent: &Header, rlp: &Bytes, state: &FlatState) -> BTreeSet<Address> {
    let Ok(Block { header, body }) = decode(rlp) else {
        return BTreeSet::new();
    };
    let Ok(senders) = recover_senders(&body.transactions) else {
        return BTreeSet::new();
    };
    let transactions: Vec<_> = body.transactions.into_iter().zip(senders).collect();
    creations(params, parent, &attributes_of(&header), &transactions, state)
}

/// Checks and executes a block in full.
fn apply(
    params: &ExecutionParams,
    parent: &Header,
    rlp: &Bytes,
    state: &FlatState,
) -> Result<(Header, BlockOutcome), Refusal> {
    verify_block_size(rlp.len()).map_err(Refusal::Header)?;
    let Block { header, body } = decode(rlp).map_err(Refusal::Decode)?;
    if !body.ommers.is_empty() || body.withdrawals.as_ref().is_none_or(|list| !list.is_empty()) {
        return Err(Refusal::Decode("ommers or withdrawals".to_owned()));
    }
    verify_header(params, parent, &header).map_err(Refusal::Header)?;
    let senders = recover_senders(&body.transactions).map_err(|error| Refusal::Decode(error.to_string()))?;
    let attributes = attributes_of(&header);
    let outcome = execute_block(params, parent, &attributes, &body.transactions, &senders, state)
        .map_err(Refusal::Execute)?;
    // Our state root is another one by design: the post-state is compared instead.
    let sealed = seal(
        parent,
        &attributes,
        &body.transactions,
        &outcome,
        header.state_root,
    );
    if sealed != header {
        let fields = [
            (
                "transactionsRoot",
                sealed.transactions_root == header.transactions_root,
            ),
            ("receiptsRoot", sealed.receipts_root == header.receipts_root),
            ("logsBloom", sealed.logs_bloom == header.logs_bloom),
            ("gasUsed", sealed.gas_used == header.gas_used),
        ];
        let differ: Vec<_> = fields
            .iter()
            .filter(|(_, same)| !same)
            .map(|(name, _)| *name)
            .collect();
        return Err(Refusal::Outcome(format!("other {}", differ.join(", "))));
    }
    Ok((header, outcome))
}

impl Refusal {
    /// Whether this is the reason that the fixture names.
    fn is_for(&self, expected: &str) -> bool {
        let block = |name: &str| names_exception(expected, "BlockException", name);
        match self {
            Self::Decode(_) => block("RLP_STRUCTURES_ENCODING") || is_undecodable(expected),
            Self::Header(HeaderError::GasLimit { .. }) => block("INVALID_GASLIMIT"),
            Self::Header(HeaderError::BaseFee { .. }) => block("INVALID_BASEFEE_PER_GAS"),
            Self::Header(HeaderError::BlockSize { .. }) => block("RLP_BLOCK_LIMIT_EXCEEDED"),
            Self::Header(HeaderError::Constant {
                field: "excessBlobGas",
            }) => block("INCORRECT_EXCESS_BLOB_GAS"),
            Self::Header(HeaderError::Constant {
                field: "withdrawalsRoot",
            }) => block("INVALID_WITHDRAWALS_ROOT"),
            Self::Execute(ExecuteError::Transaction { reason, .. }) => is_expected(reason, expected),
            Self::Header(_) | Self::Execute(_) | Self::Outcome(_) => false,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decode(reason) | Self::Outcome(reason) => write!(out, "{reason}"),
            Self::Header(error) => write!(out, "{error}"),
            Self::Execute(error) => write!(out, "{error}"),
        }
    }
}
