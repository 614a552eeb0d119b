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

/// Makes a file that is not ours the variant `Other` of a store's error, or `Database` where it fails.
macro_rules! from_not_ours {
    ($store:ty) => {
        impl From<crate::identity::NotOurs> for $store {
            fn from(error: crate::identity::NotOurs) -> Self {
                match error {
                    crate::identity::NotOurs::Other(other) => Self::Other(other),
                    crate::identity::NotOurs::Storage(error) => error.into(),
                }
            }
        }
    };
}
pub(crate) use from_not_ours;

pub mod chain;
pub mod cli;
pub mod committee;
pub mod connector;
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
