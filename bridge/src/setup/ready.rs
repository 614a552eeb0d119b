//! What a member has after the set-up: its slots with their signatures, its seat, its secrets.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::B256;
use bitcoin::key::Secp256k1;
use bitcoin::{OutPoint, TxOut};
use bitsect_l1::rpc::{Client, RpcError};

use super::builder::{BuildError, SetupBuilder};
use super::party::PartySecrets;
use super::section::{Section, SectionError, challengers};
use crate::committee::{
    Deployment, DeploymentError, MemberId, MemberKeys, Store, StoreError, VerifyError, load,
};
use crate::connector::Ticket;
use crate::daemon::{DaemonStore, ReadySlot};
use crate::graph::{Signatures, SlotGraph};
use crate::slot::Hand;

/// Why there are no slots, or no seat in them.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// The deployment cannot be, or the keys are no member's.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// Its `graph` table cannot be.
    #[error(transparent)]
    Section(#[from] SectionError),
    /// The program is not the deployment's, or the graph cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The committee's store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it holds is no complete set-up.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// A member's place in the slots of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Who it is.
    pub member: MemberId,
    /// The slots in which it claims, ascending.
    pub operates: Vec<usize>,
    /// Its number among the challengers of each slot; `None` where it is none.
    pub pairs: Vec<Option<usize>>,
}

/// Gives all slots of a deployment that is set up, built anew. `committee_store` is the folder of the committee's store, which
/// no running process has open; `program` is the program's file. Every signature is verified against the graph.
///
/// # Errors
/// [`ReadyError`] names what is missing or wrong.
pub fn ready(
    deployment: &Deployment,
    committee_store: &Path,
    program: &[u8],
) -> Result<Vec<ReadySlot>, ReadyError> {
    let builder = SetupBuilder::new(deployment, program)?;
    let store = Store::open(committee_store, &deployment.hash()?)?;
    let signed = load(&store, deployment, &builder)?;
    let mut signatures = signed.signatures.into_iter();
    let slots = signed.graph.slots.into_iter().zip(&builder.section().slots);
    let slots = slots.map(|(graph, entry)| {
        let mut of_slot = Signatures::default();
        // The committee signs what slots want, slot by slot, in this order.
        for (signing, signature) in graph.signings().into_iter().zip(signatures.by_ref()) {
            of_slot.insert(signing.id, signature);
        }
        ReadySlot {
            graph: Arc::new(graph),
            signatures: Arc::new(of_slot),
            start_unit: entry.start_unit,
        }
    });
    Ok(slots.collect())
}

/// Finds a member's seat.
///
/// # Errors
/// Where the keys are no member's, or the deployment cannot be.
pub fn seat(deployment: &Deployment, keys: &MemberKeys) -> Result<Seat, ReadyError> {
    let section = Section::of(deployment)?;
    let member = deployment.find(keys)?;
    let pair = challengers(deployment).iter().position(|id| *id == member);
    Ok(Seat {
        member,
        operates: section.operates(deployment, member),
        pairs: vec![pair; section.slots.len()],
    })
}

/// Gives the hash under which a deployment's keys are derived and its daemons' files are made.
///
/// # Errors
/// Where the deployment cannot be.
pub fn deployment_hash(deployment: &Deployment) -> Result<B256, ReadyError> {
    Ok(B256::new(deployment.hash()?.0))
}

/// Gives a member's hand: its secrets, with the store of what it has signed and opened.
///
/// # Errors
/// Where the deployment cannot be.
pub fn hand(
    deployment: &Deployment,
    keys: &MemberKeys,
    store: DaemonStore,
) -> Result<Hand<DaemonStore>, ReadyError> {
    let PartySecrets { key, seed } = PartySecrets::derive(keys, &deployment.hash()?);
    Ok(Hand::new(seed, key, store))
}

/// An output that the graph spends is not there as it has to be.
#[derive(Debug, thiserror::Error)]
pub enum OutputFault {
    /// Bitcoin Core cannot be asked.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// It is not there.
    #[error("{what}: output {outpoint} is {state}")]
    Absent {
        /// Which.
        what: String,
        /// Its place.
        outpoint: OutPoint,
        /// Why not.
        state: &'static str,
    },
    /// It is another one.
    #[error("{what}: output {outpoint}: {field}: expected {expected}, got {got}")]
    Other {
        /// Which.
        what: String,
        /// Its place.
        outpoint: OutPoint,
        /// The field.
        field: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        got: String,
    },
}

/// Checks on Bitcoin that each slot's bond and stakes are there, confirmed and unspent, with value and script; gives all that
/// are not.
///
/// # Errors
/// Where Bitcoin Core cannot be asked.
pub async fn verify_outputs(client: &Client, slots: &[ReadySlot]) -> Result<Vec<OutputFault>, RpcError> {
    let mut faults = Vec::new();
    for (number, slot) in slots.iter().enumerate() {
        for (what, outpoint, output) in outputs(number, &slot.graph) {
            match verify_output(client, what, outpoint, &output).await {
                Ok(()) => {}
                Err(OutputFault::Rpc(error)) => return Err(error),
                Err(fault) => faults.push(fault),
            }
        }
    }
    Ok(faults)
}

fn outputs(number: usize, graph: &SlotGraph) -> Vec<(String, OutPoint, TxOut)> {
    let bond = (
        format!("bond of slot {number}"),
        graph.spec.bond,
        graph.claim.spent[0].clone(),
    );
    let stakes = graph.spec.pairs.iter().enumerate().map(|(pair, side)| {
        let what = format!("stake of slot {number}, challenger {pair}");
        (what, side.stake.0, side.stake.1.clone())
    });
    let ticket = graph.spec.ticket.map(|ticket| {
        let what = format!("ticket of slot {number}");
        let made = Ticket::new(&Secp256k1::new(), graph.spec.operator, graph.spec.committee);
        (what, ticket, made.output())
    });
    [bond].into_iter().chain(ticket).chain(stakes).collect()
}

async fn verify_output(
    client: &Client,
    what: String,
    outpoint: OutPoint,
    expected: &TxOut,
) -> Result<(), OutputFault> {
    let absent = |what, state| OutputFault::Absent {
        what,
        outpoint,
        state,
    };
    let Some(found) = client.get_tx_out(&outpoint, false).await? else {
        // Without the mempool there is what is spent by a confirmed transaction, and what was never confirmed.
        let state = match client.get_tx_out(&outpoint, true).await? {
            Some(_) => "not confirmed",
            None => "spent, or not there",
        };
        return Err(absent(what, state));
    };
    let got = found.tx_out();
    let other = |what, field, expected: String, got: String| OutputFault::Other {
        what,
        outpoint,
        field,
        expected,
        got,
    };
    if got.value != expected.value {
        let (expected, got) = (expected.value.to_string(), got.value.to_string());
        return Err(other(what, "value", expected, got));
    }
    if got.script_pubkey != expected.script_pubkey {
        let (expected, got) = (
            expected.script_pubkey.to_hex_string(),
            got.script_pubkey.to_hex_string(),
        );
        return Err(other(what, "script", expected, got));
    }
    if client.get_tx_out(&outpoint, true).await?.is_none() {
        return Err(absent(what, "about to be spent by a transaction in the mempool"));
    }
    Ok(())
}
