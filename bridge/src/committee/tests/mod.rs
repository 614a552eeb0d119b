//! Set-ups of several members: by messages in any order, over HTTP, with liars, and with processes that are killed.

mod cluster;
mod gate;
pub(super) mod harness;
mod kill;
mod liars;
mod network;
mod order;
mod sessions;
mod signer_kill;
mod signers;
