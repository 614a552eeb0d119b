//! The `eth` namespace.

mod blocks;
mod call;
mod chain;
pub(super) mod convert;
mod fees;
pub(super) mod filters;
mod logs;
mod proof;
mod simulate;
mod state;
mod submit;
mod subscribe;
mod transactions;

use super::context::Module;

/// Registers the namespace.
pub(super) fn register(module: &mut Module) {
    blocks::register(module);
    call::register(module);
    chain::register(module);
    fees::register(module);
    filters::register(module);
    logs::register(module);
    proof::register(module);
    simulate::register(module);
    state::register(module);
    submit::register(module);
    subscribe::register(module);
    transactions::register(module);
}
