//! Tells whether a transaction tries to create a contract at one of some addresses.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use bitsect_vm::chain::{BlockAttributes, ExecutionParams, Header, Transaction};
use bitsect_vm::execute::{BlockExecutor, Context};
use bitsect_vm::state::FlatState;
use revm::Database;
use revm::context_interface::{ContextTr, JournalTr};
use revm::inspector::Inspector;
use revm::interpreter::{CreateInputs, CreateOutcome};

/// Collects the addresses that creations aim at, whether they succeed or not.
#[derive(Default)]
pub struct Creations(pub BTreeSet<Address>);

impl<DB: Database> Inspector<Context<DB>> for Creations {
    fn create(&mut self, context: &mut Context<DB>, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        let caller = context.journal_mut().load_account(inputs.caller()).ok()?;
        self.0.insert(inputs.created_address(caller.data.info.nonce));
        None
    }
}

/// The addresses that a block's creations aim at. The block is executed as always, but watched.
pub fn creations(
    params: &ExecutionParams,
    parent: &Header,
    attributes: &BlockAttributes,
    transactions: &[(Transaction, Address)],
    state: &FlatState,
) -> BTreeSet<Address> {
    let watcher = Creations::default();
    let Ok(mut executor) = BlockExecutor::with_inspector(params, parent, attributes, state, watcher) else {
        return BTreeSet::new();
    };
    for (transaction, sender) in transactions {
        if executor.inspect(transaction, *sender).is_err() {
            break;
        }
    }
    std::mem::take(&mut executor.inspector_mut().0)
}
