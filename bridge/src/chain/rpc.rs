//! The chain as a node's JSON-RPC gives it: for an operator, whose own node it is.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy_primitives::{B256, Bytes};
use bitcoin::{OutPoint, Txid};
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::record::UnitRecord;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Answer, Chain, ChainError};

/// How long a node may take for an answer: a unit far back wants many changes reversed.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A chain behind a node's JSON-RPC.
#[derive(Clone, Debug)]
pub struct RpcChain {
    url: String,
    client: reqwest::Client,
    program: Option<Vec<u8>>,
}

/// A withdrawal as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskedWithdrawal {
    /// Its number.
    pub id: u64,
    /// What was given for it, in sats.
    pub amount_sats: u64,
    /// What the operator keeps of it, in sats.
    pub fee_sats: u64,
    /// The height of the origin when it was asked for.
    pub l1_height: u32,
    /// Where it is to be paid.
    pub script_pub_key: Bytes,
    /// Whether it was paid.
    pub is_paid: bool,
}

/// What the chain says of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultSums {
    /// Whether what always holds does (docs/bridge.md).
    pub holds: bool,
    /// In vault outputs, in sats, as all that follow.
    pub vault_sats: u64,
    /// In withdrawals that are not paid.
    pub pending_sats: u64,
    /// What operators have paid and not yet got a vault output for.
    pub credit_sats: u64,
    /// In vault outputs that are assigned and not yet taken.
    pub in_flight_sats: u64,
}

/// What the chain has counted of what Bitcoin says about the vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The height of the L1 origin of the block that the node calls final. What Bitcoin has up to there is counted, also where it
    /// waited in the inbox behind that origin.
    pub origin: u32,
    /// Tickets that the newest block has vault outputs assigned to.
    pub tickets: BTreeSet<OutPoint>,
    /// Vault outputs that it has assigned, to any output of an operator's.
    pub assigned: BTreeSet<OutPoint>,
    /// Vault outputs that it has assigned to none.
    pub free: BTreeSet<OutPoint>,
}

/// What `rollup_vault` gives, as far as it is read.
#[derive(Deserialize)]
struct VaultAnswer {
    outputs: Vec<OutputAnswer>,
}

#[derive(Deserialize)]
struct OutputAnswer {
    outpoint: OutPoint,
    assigned: Option<TicketAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TicketAnswer {
    operator: Txid,
    ticket_vout: u32,
}

/// A JSON-RPC answer.
#[derive(Deserialize)]
struct Reply {
    result: Option<Value>,
    error: Option<Fault>,
}

/// Why a node refuses a call.
#[derive(Deserialize)]
pub(crate) struct Fault {
    #[serde(default)]
    pub(crate) code: i64,
    pub(crate) message: String,
}

/// What `rollup_syncStatus` gives, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SyncStatus {
    units: u64,
    l1_processed: Processed,
    finalized: Finalized,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finalized {
    number: u64,
    l1_origin: Processed,
}

#[derive(Deserialize)]
struct Processed {
    height: u32,
}

/// What `rollup_chainStateAt` gives, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateAnswer {
    chain_state: B256,
}

/// What `rollup_unitRecord` gives.
#[derive(Deserialize)]
struct RecordAnswer {
    record: Bytes,
    params: Bytes,
}

impl RpcChain {
    /// Makes the chain of the node at a URL. `program` is the ELF file that disputes run, with the chain's parameters in it
    /// (`bitsect-node unit --guest`); without one there are states and records only.
    ///
    /// # Errors
    /// [`ChainError::Unreachable`] where no HTTP client can be made.
    pub fn new(url: impl Into<String>, program: Option<Vec<u8>>) -> Result<Self, ChainError> {
        let url = url.into();
        let client = reqwest::Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|error| unreachable_at(&url, &error))?;
        Ok(Self { url, client, program })
    }

    /// Calls a method.
    pub(crate) async fn call(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Result<Value, Fault>, ChainError> {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let response = self.client.post(&self.url).json(&request).send().await;
        let response = response.map_err(|error| unreachable_at(&self.url, &error))?;
        if response.status().is_server_error() || response.status().as_u16() == 429 {
            return Err(ChainError::Unreachable {
                place: self.url.clone(),
                reason: format!("HTTP status {}", response.status()),
            });
        }
        let bytes = response.bytes().await;
        let bytes = bytes.map_err(|error| unreachable_at(&self.url, &error))?;
        let reply: Reply = read(method, &bytes)?;
        Ok(match reply.error {
            Some(fault) => Err(fault),
            None => Ok(reply.result.unwrap_or_default()),
        })
    }

    /// Calls a method that has no reason to refuse.
    async fn ask<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, ChainError> {
        let result = self.call(method, params).await?;
        let result = result.map_err(|fault| ChainError::Malformed {
            what: method,
            rule: format!("the node refuses: {}", fault.message),
        })?;
        form(method, result)
    }

    /// Gives how many units are as deep in Bitcoin as the node calls final.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn finalized_units(&self) -> Result<u64, ChainError> {
        let status: SyncStatus = self.ask("rollup_syncStatus", json!([])).await?;
        let number = status.finalized.number;
        let units: Option<u64> = self.ask("rollup_unitOf", json!([number])).await?;
        Ok(units.unwrap_or_default())
    }

    /// Gives up to 100 withdrawals from a number on, as the chain has them that the node calls final.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn withdrawals(&self, from: u64) -> Result<Vec<AskedWithdrawal>, ChainError> {
        self.ask("rollup_withdrawals", json!([from, 100, "finalized"]))
            .await
    }

    /// Gives an operator's credit, in sats, as the chain has it that the node calls final, or less where the newest blocks
    /// have less.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn credit(&self, operator: &Txid) -> Result<u64, ChainError> {
        let mut least = u64::MAX;
        for block in ["finalized", "latest"] {
            let credit: u64 = self.ask("rollup_credit", json!([operator, block])).await?;
            least = least.min(credit);
        }
        Ok(least)
    }

    /// Gives the sums of the bridge in the newest block.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn vault_sums(&self) -> Result<VaultSums, ChainError> {
        self.ask("rollup_vault", json!([])).await
    }

    /// Gives the height of the L1 origin of the block that the node calls final.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn final_origin(&self) -> Result<u32, ChainError> {
        let status: SyncStatus = self.ask("rollup_syncStatus", json!([])).await?;
        Ok(status.finalized.l1_origin.height)
    }

    /// Gives what the chain has counted. What is asked for later, as credit, is of the same blocks or newer ones.
    ///
    /// # Errors
    /// Where the node cannot be asked.
    pub async fn counted(&self) -> Result<Counted, ChainError> {
        // The origin first: what is listed then is not older.
        let mut counted = Counted {
            origin: self.final_origin().await?,
            ..Counted::default()
        };
        let vault: VaultAnswer = self.ask("rollup_vault", json!([])).await?;
        for OutputAnswer { outpoint, assigned } in vault.outputs {
            let Some(ticket) = assigned else {
                counted.free.insert(outpoint);
                continue;
            };
            let ticket = OutPoint::new(ticket.operator, ticket.ticket_vout);
            counted.tickets.insert(ticket);
            counted.assigned.insert(outpoint);
        }
        Ok(counted)
    }

    async fn read_record(
        &self,
        method: &'static str,
        unit: u64,
        params: Value,
    ) -> Result<Option<UnitRecord>, ChainError> {
        let result = self.call(method, params).await?;
        let result = result.map_err(|fault| ChainError::NotHeld {
            unit,
            reason: fault.message,
        })?;
        let Some(answer) = form::<Option<RecordAnswer>>(method, result)? else {
            return Ok(None);
        };
        if let Some(program) = &self.program
            && !holds(program, &answer.params)
        {
            let params_bytes = answer.params.len();
            return Err(ChainError::Program { params_bytes });
        }
        let record = UnitRecord::decode(&answer.record);
        record.map(Some).map_err(|error| ChainError::Malformed {
            what: method,
            rule: error.to_string(),
        })
    }
}

impl Chain for RpcChain {
    fn unit_count(&self) -> Answer<'_, u64> {
        Box::pin(async {
            let status: SyncStatus = self.ask("rollup_syncStatus", json!([])).await?;
            Ok(status.units)
        })
    }

    fn l1_height(&self) -> Answer<'_, u32> {
        Box::pin(async {
            let status: SyncStatus = self.ask("rollup_syncStatus", json!([])).await?;
            Ok(status.l1_processed.height)
        })
    }

    fn state(&self, unit: u64) -> Answer<'_, Option<B256>> {
        Box::pin(async move {
            let answer: Option<StateAnswer> = self.ask("rollup_chainStateAt", json!([unit])).await?;
            Ok(answer.map(|answer| answer.chain_state))
        })
    }

    fn record(&self, unit: u64) -> Answer<'_, Option<UnitRecord>> {
        Box::pin(self.read_record("rollup_unitRecord", unit, json!([unit])))
    }

    fn check(&self, unit: u64, ticket: OutputId) -> Answer<'_, Option<UnitRecord>> {
        Box::pin(self.read_record("rollup_checkRecord", unit, json!([unit, ticket])))
    }

    /// A node serves no L1 blocks: an operator knows what its own records hold.
    fn l1_block(&self, _: B256) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async { Ok(None) })
    }

    fn program(&self) -> Result<&[u8], ChainError> {
        self.program.as_deref().ok_or(ChainError::NoProgram)
    }
}

fn unreachable_at(url: &str, error: &reqwest::Error) -> ChainError {
    // The error's own text says only that something failed; why is in its sources.
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(deeper) = source {
        reason = format!("{reason}: {deeper}");
        source = deeper.source();
    }
    ChainError::Unreachable {
        place: url.to_owned(),
        reason,
    }
}

fn read<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ChainError> {
    serde_json::from_slice(bytes).map_err(|error| malformed(what, &error))
}

fn form<T: DeserializeOwned>(what: &'static str, value: Value) -> Result<T, ChainError> {
    serde_json::from_value(value).map_err(|error| malformed(what, &error))
}

fn malformed(what: &'static str, error: &serde_json::Error) -> ChainError {
    let rule = error.to_string();
    ChainError::Malformed { what, rule }
}

/// Whether a program has these parameters in it. They are hundreds of bytes with hashes among them: not there by chance.
fn holds(program: &[u8], params: &[u8]) -> bool {
    !params.is_empty() && program.windows(params.len()).any(|window| window == params)
}

#[cfg(test)]
mod tests {
    use warp::Filter;

    use super::*;

    #[test]
    fn a_program_is_known_by_its_parameters() {
        assert!(holds(b"xxparamsyy", b"params"));
        assert!(!holds(b"xxparamyy", b"params"));
        assert!(!holds(b"xx", b""));
    }

    /// A node with a vault of two outputs, one of them assigned.
    fn answer(request: &Value) -> Value {
        let (txid, other) = ("11".repeat(32), "22".repeat(32));
        let ticket = json!({ "operator": other, "ticketVout": 3 });
        let result = match request["method"].as_str().unwrap() {
            "rollup_syncStatus" => json!({
                "units": 9,
                "l1Processed": { "height": 30, "hash": txid },
                "latest": { "number": 8, "l1Origin": { "height": 29, "hash": txid } },
                "finalized": { "number": 5, "l1Origin": { "height": 20, "hash": txid } },
            }),
            "rollup_vault" => json!({ "outputs": [
                { "outpoint": format!("{txid}:0"), "amountSats": 5, "assigned": null },
                { "outpoint": format!("{txid}:1"), "amountSats": 5, "assigned": ticket },
            ] }),
            method => panic!("{method}"),
        };
        json!({ "jsonrpc": "2.0", "id": 1, "result": result })
    }

    #[tokio::test]
    async fn what_is_counted_is_told_by_the_final_block_and_the_newest_list() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let route = warp::body::json().map(|request: Value| warp::reply::json(&answer(&request)));
        tokio::spawn(warp::serve(route.boxed()).incoming(listener).run());
        let chain = RpcChain::new(url, None).unwrap();
        let output = |byte: &str, vout: u32| format!("{}:{vout}", byte.repeat(32)).parse().unwrap();
        let counted = Counted {
            origin: 20,
            tickets: [output("22", 3)].into(),
            assigned: [output("11", 1)].into(),
            free: [output("11", 0)].into(),
        };
        assert_eq!(chain.counted().await.unwrap(), counted);
        assert_eq!(chain.final_origin().await.unwrap(), 20);
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_told_apart() {
        let chain = RpcChain::new("http://127.0.0.1:1", None).unwrap();
        let error = chain.unit_count().await.unwrap_err();
        assert_eq!(error.class(), bitsect_l1::FaultClass::Retry, "{error}");
        assert_eq!(chain.program(), Err(ChainError::NoProgram));
    }
}
