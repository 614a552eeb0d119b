//! The committee's key `Q` (BIP-0327), and the forms in which it signs.

use bitcoin::XOnlyPublicKey;
use bitcoin::hashes::Hash;
use bitcoin::key::{Secp256k1, TapTweak};
use bitcoin::secp256k1::{PublicKey, VerifyOnly};
use musig2::KeyAggContext;
use musig2::secp::Point;

use super::{Deployment, Tweak};

/// The keys do not aggregate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// The shares add up to nothing; nobody can find such shares but by trying.
    #[error("the members' signing keys add up to the point at infinity")]
    Infinity,
    /// A tweak takes the key to nothing, or is no number below the group's order.
    #[error("the tweak {tweak:?} gives no key")]
    Tweak {
        /// The tweak.
        tweak: Tweak,
    },
}

/// The committee's key: the aggregate of all members' shares, sorted.
#[derive(Clone, Debug)]
pub struct Aggregate {
    context: KeyAggContext,
    key: XOnlyPublicKey,
}

impl Aggregate {
    /// Aggregates the shares of a deployment's members.
    ///
    /// # Errors
    /// [`AggregateError::Infinity`].
    pub fn new(deployment: &Deployment) -> Result<Self, AggregateError> {
        Self::of_keys(deployment.members.iter().map(|member| member.signing))
    }

    /// Aggregates members' shares.
    ///
    /// # Errors
    /// [`AggregateError::Infinity`].
    pub fn of_keys(signing: impl IntoIterator<Item = PublicKey>) -> Result<Self, AggregateError> {
        let mut shares: Vec<Point> = signing.into_iter().map(|key| point(&key)).collect();
        shares.sort();
        let context = KeyAggContext::new(shares).map_err(|_| AggregateError::Infinity)?;
        let key = x_only(&context);
        Ok(Self { context, key })
    }

    /// Returns the aggregate key as scripts name it.
    pub fn key(&self) -> XOnlyPublicKey {
        self.key
    }

    /// Returns the key that a signature verifies under: in a key path the output's key.
    ///
    /// This is computed by the Bitcoin library, not by the one that signs.
    pub fn output_key(&self, tweak: Tweak) -> XOnlyPublicKey {
        match tweak {
            Tweak::Leaf => self.key,
            Tweak::KeyPath(root) => {
                let secp: Secp256k1<VerifyOnly> = Secp256k1::verification_only();
                self.key.tap_tweak(&secp, root).0.to_x_only_public_key()
            }
        }
    }

    /// Returns the context to sign in.
    ///
    /// # Errors
    /// [`AggregateError::Tweak`].
    pub(super) fn context(&self, tweak: Tweak) -> Result<KeyAggContext, AggregateError> {
        let context = self.context.clone();
        match tweak {
            Tweak::Leaf => Ok(context),
            Tweak::KeyPath(None) => context.with_unspendable_taproot_tweak(),
            Tweak::KeyPath(Some(root)) => context.with_taproot_tweak(root.as_byte_array()),
        }
        .map_err(|_| AggregateError::Tweak { tweak })
    }
}

/// Converts a share for the signing library.
pub(super) fn point(key: &PublicKey) -> Point {
    Point::from_slice(&key.serialize()).expect("a public key is a point of the same curve")
}

fn x_only(context: &KeyAggContext) -> XOnlyPublicKey {
    let point: Point = context.aggregated_pubkey();
    XOnlyPublicKey::from_slice(&point.serialize_xonly()).expect("a point of the same curve is a public key")
}

#[cfg(test)]
mod tests {
    use bitcoin::taproot::TapNodeHash;

    use super::*;
    use crate::committee::tests::harness::deployment;

    #[test]
    fn the_order_of_members_does_not_matter() {
        let mut deployment = deployment(4);
        let key = Aggregate::new(&deployment).unwrap().key();
        deployment.members.reverse();
        assert_eq!(Aggregate::new(&deployment).unwrap().key(), key);
        deployment.members.pop();
        assert_ne!(Aggregate::new(&deployment).unwrap().key(), key);
    }

    #[test]
    fn both_libraries_tweak_alike() {
        for count in 2..6 {
            let aggregate = Aggregate::new(&deployment(count)).unwrap();
            for tweak in [
                Tweak::Leaf,
                Tweak::KeyPath(None),
                Tweak::KeyPath(Some(TapNodeHash::from_byte_array([9; 32]))),
            ] {
                let context = aggregate.context(tweak).unwrap();
                assert_eq!(x_only(&context), aggregate.output_key(tweak), "{tweak:?}");
            }
        }
    }

    /// BIP-0327's first vector of key aggregation; its keys are not sorted.
    #[test]
    fn aggregation_agrees_with_bip327() {
        let shares = [
            "02F9308A019258C31049344F85F89D5229B531C845836F99B08601F113BCE036F9",
            "03DFF1D77F2A671C5F36183726DB2341BE58FEAE1DA2DECED843240F7B502BA659",
            "023590A94E768F8E1815C2F24B4D80A8E3149316C3518CE7B7AD338368D038CA66",
        ]
        .map(|share| point(&share.parse().unwrap()));
        let unsorted = KeyAggContext::new(shares).unwrap();
        assert_eq!(
            x_only(&unsorted).to_string(),
            "90539eede565f5d054f32cc0c220126889ed1e5d193baf15aef344fe59d4610c"
        );
    }
}
