//! The chain as the embedded node derived it, out of its store and Bitcoin Core.

use std::sync::Arc;

use alloy_primitives::B256;
use bitsect_bridge::chain::{Answer, Chain, ChainError};
use bitsect_l1::rpc::{Client, RpcError, code};
use bitsect_node::convert;
use bitsect_node::store::{Snapshot, Store, StoreError};
use bitsect_node::unit::{self, Start, UnitError};
use bitsect_vm::chain::ChainParams;
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::record::UnitRecord;

/// The derived chain.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "the store has none")]
pub struct StoreChain {
    store: Store,
    client: Client,
    params: Arc<ChainParams>,
    program: Option<Arc<[u8]>>,
}

impl StoreChain {
    /// Makes the chain of a store that a node derives into. `guest` is the program as `.ci/guest` builds it; without it
    /// there are states and records only.
    ///
    /// # Errors
    /// Where the file is no program that takes the chain's parameters.
    pub fn new(
        store: Store,
        client: Client,
        params: ChainParams,
        guest: Option<&[u8]>,
    ) -> Result<Self, bitsect_guest::params::ParamsError> {
        let program = guest.map(|guest| bitsect_guest::params::write(guest, &params));
        Ok(Self {
            store,
            client,
            program: program.transpose()?.map(Into::into),
            params: Arc::new(params),
        })
    }

    /// Gives the chain's parameters.
    pub fn params(&self) -> &ChainParams {
        &self.params
    }

    /// Records what a unit, or a check after as many, reads.
    async fn unit_record<R>(&self, unit: u64, record: R) -> Result<Option<UnitRecord>, ChainError>
    where
        R: FnOnce(&ChainParams, &Snapshot, u64, Start, Vec<u8>) -> Result<UnitRecord, UnitError>,
        R: Send + 'static,
    {
        let started = self.reads(move |snapshot| match unit::start(&snapshot, unit) {
            Ok(start) => Ok(Some((snapshot, start))),
            Err(UnitError::NotDerived { .. }) => Ok(None),
            Err(error) => Err(unit_fault(unit, &error)),
        });
        let Some((snapshot, start)) = started.await? else {
            return Ok(None);
        };
        let block = self.block(start.next_l1).await?;
        let block = block.ok_or_else(|| ChainError::NotHeld {
            unit,
            reason: format!(
                "Bitcoin Core has no block {}",
                convert::bitcoin_hash(&start.next_l1)
            ),
        })?;
        let params = self.params.clone();
        let work = move || record(&params, &snapshot, unit, start, block);
        let recorded = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| broken(&error))?;
        recorded.map(Some).map_err(|error| unit_fault(unit, &error))
    }

    /// Asks Bitcoin Core for a block; `None` where it has none of this hash.
    async fn block(&self, hash: B256) -> Result<Option<Vec<u8>>, ChainError> {
        match self.client.get_block_bytes(&convert::bitcoin_hash(&hash)).await {
            Ok(block) => Ok(Some(block)),
            Err(RpcError::Rpc {
                code: code::NOT_FOUND,
                ..
            }) => Ok(None),
            Err(error) => Err(ChainError::Unreachable {
                place: "Bitcoin Core".to_owned(),
                reason: error.to_string(),
            }),
        }
    }

    /// Reads one view of the store on a thread that may wait.
    async fn reads<T: Send + 'static>(
        &self,
        read: impl FnOnce(Snapshot) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, ChainError> {
        let store = self.store.clone();
        let work = move || read(store.read().map_err(|error| store_fault(&error))?);
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| broken(&error))?
    }
}

impl Chain for StoreChain {
    fn unit_count(&self) -> Answer<'_, u64> {
        Box::pin(self.reads(|snapshot| snapshot.unit_count().map_err(|error| store_fault(&error))))
    }

    fn l1_height(&self) -> Answer<'_, u32> {
        Box::pin(self.reads(|snapshot| {
            let range = snapshot.l1_range().map_err(|error| store_fault(&error))?;
            Ok(range[1].height)
        }))
    }

    fn state(&self, unit: u64) -> Answer<'_, Option<B256>> {
        Box::pin(self.reads(move |snapshot| snapshot.chain_state(unit).map_err(|error| store_fault(&error))))
    }

    fn record(&self, unit: u64) -> Answer<'_, Option<UnitRecord>> {
        Box::pin(self.unit_record(unit, unit::record))
    }

    fn check(&self, unit: u64, ticket: OutputId) -> Answer<'_, Option<UnitRecord>> {
        let check = move |params: &ChainParams, snapshot: &Snapshot, unit, start, block: Vec<u8>| {
            unit::check(params, snapshot, unit, start, &block, &ticket)
        };
        Box::pin(self.unit_record(unit, check))
    }

    fn l1_block(&self, hash: B256) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(self.block(hash))
    }

    fn program(&self) -> Result<&[u8], ChainError> {
        self.program.as_deref().ok_or(ChainError::NoProgram)
    }
}

fn store_fault(error: &StoreError) -> ChainError {
    let reason = error.to_string();
    ChainError::Store { reason }
}

fn unit_fault(unit: u64, error: &UnitError) -> ChainError {
    let reason = error.to_string();
    ChainError::NotHeld { unit, reason }
}

fn broken(error: &tokio::task::JoinError) -> ChainError {
    ChainError::Store {
        reason: format!("reading did not end: {error}"),
    }
}
