//! Everything of the protocol that becomes a Bitcoin transaction (docs/dispute.md), and what its daemons share.

/// Makes every error of redb the variant `Database` of a store's error.
macro_rules! from_redb {
    ($store:ty) => {
        crate::from_redb!(
            $store,
            redb::DatabaseError,
            redb::TransactionError,
            redb::TableError,
            redb::StorageError,
            redb::CommitError
        );
    };
    ($store:ty, $($error:ty),*) => {
        $(impl From<$error> for $store {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })*
    };
}
pub(crate) use from_redb;

pub mod chain;
pub mod cli;
pub mod committee;
pub mod connector;
mod convert;
pub mod daemon;
pub mod game;
pub mod graph;
pub mod identity;
pub mod keys;
pub mod leaf;
pub mod params;
pub mod secret;
pub mod setup;
pub mod slot;
pub mod transaction;
pub mod user;
pub mod vault;
