//! The pool's view of the newest state, read from the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, U256};
use bitsect_vm::chain::Transaction;
use bitsect_vm::execute::{estimated_size, l1_fee, read_fee_rate};
use bitsect_vm::state::{Account, StateReader};
use parking_lot::Mutex;

use crate::store::{Head, StateAt, Store, StoreError};

use super::PoolState;

/// How long one view serves: it holds old pages of the store's file while it lives.
const MAX_AGE: Duration = Duration::from_millis(500);

/// Reads the newest state from the store. Opening a view costs more than reading an account, so one view
/// serves all transactions until the next block.
pub struct StoreState {
    store: Store,
    charges_l1_fee: bool,
    view: Mutex<Option<Arc<View>>>,
}

struct View {
    state: StateAt,
    fee_rate: u64,
    opened: Instant,
}

impl StoreState {
    /// Reads from `store`; `charges_l1_fee` as in the execution parameters.
    pub fn new(store: Store, charges_l1_fee: bool) -> Self {
        Self {
            store,
            charges_l1_fee,
            view: Mutex::new(None),
        }
    }

    fn view(&self) -> Result<Arc<View>, StoreError> {
        let mut current = self.view.lock();
        if let Some(view) = current.as_ref()
            && view.opened.elapsed() < MAX_AGE
        {
            return Ok(view.clone());
        }
        let snapshot = self.store.read()?;
        let state = snapshot.state_at(snapshot.head(Head::Latest)?.number)?;
        let fee_rate = if self.charges_l1_fee {
            read_fee_rate(&state)?
        } else {
            0
        };
        let view = Arc::new(View {
            state,
            fee_rate,
            opened: Instant::now(),
        });
        *current = Some(view.clone());
        Ok(view)
    }
}

impl PoolState for StoreState {
    fn account(&self, address: Address) -> Result<Option<Account>, String> {
        let view = self.view().map_err(|error| error.to_string())?;
        view.state.account(address).map_err(|error| error.to_string())
    }

    fn l1_fee(&self, tx: &Transaction) -> U256 {
        match self.view() {
            Ok(view) => l1_fee(estimated_size(tx), view.fee_rate),
            Err(error) => {
                // The account's read fails in the same way and refuses the transaction.
                tracing::warn!(%error, "failed to read the L1 fee rate");
                U256::ZERO
            }
        }
    }

    fn refresh(&self) {
        *self.view.lock() = None;
    }
}
