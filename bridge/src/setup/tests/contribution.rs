use std::sync::LazyLock;

use bitcoin::hashes::Hash;
use bitcoin::{Network, OutPoint, Txid};
use proptest::prelude::*;

use super::super::contribution::{Challenged, Contribution, ContributionError, Operated, Shape};
use super::super::party::path;
use super::{PARAMS, keys};
use crate::committee::Digest;
use crate::keys::{ClaimKeys, ProverKeys, locks};
use crate::setup::{PartySecrets, payout_address};

fn outpoint() -> impl Strategy<Value = OutPoint> {
    (any::<[u8; 32]>(), any::<u32>())
        .prop_map(|(txid, vout)| OutPoint::new(Txid::from_byte_array(txid), vout))
}

fn shape(operated: usize, challengers: usize, challenged: usize) -> Shape {
    Shape {
        network: Network::Regtest,
        rounds: PARAMS.rounds,
        operated,
        challengers,
        challenged,
    }
}

/// A contribution of a shape with outputs at these places.
fn contribution(number: u8, shape: &Shape, places: &[OutPoint]) -> Contribution {
    let (keys, deployment) = (keys(number), Digest([3; 32]));
    let PartySecrets { key, seed } = PartySecrets::derive(&keys, &deployment);
    let operated = (0..shape.operated).map(|slot| Operated {
        bond: places[slot],
        ticket: OutPoint::new(places[slot].txid, places[shape.operated + slot].vout),
        claim: ClaimKeys::derive(&seed, &path(&deployment, slot, 0)),
        pairs: (0..shape.challengers)
            .map(|pair| ProverKeys::derive(&seed, &path(&deployment, slot, pair), shape.rounds))
            .collect(),
    });
    let challenged = (0..shape.challenged).map(|slot| Challenged {
        stake: places[2 * shape.operated + slot],
        locks: locks(&seed, &path(&deployment, slot, 1), shape.rounds),
    });
    Contribution {
        key: key.x_only_public_key().0,
        payout: payout_address(&keys, shape.network),
        operated: operated.collect(),
        challenged: challenged.collect(),
    }
}

/// An operator's contribution, and a challenger's.
static GOOD: LazyLock<[(Shape, Vec<u8>); 2]> = LazyLock::new(|| {
    [shape(1, 2, 0), shape(0, 2, 3)].map(|shape| {
        let places = [OutPoint::null(); 3];
        let bytes = contribution(1, &shape, &places).encode(shape.rounds);
        (shape, bytes)
    })
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_contribution_reads_as_written(
        number in 1..9_u8,
        operated in 0..3_usize,
        challengers in 1..3_usize,
        challenged in 0..4_usize,
        places in proptest::collection::vec(outpoint(), 10),
    ) {
        let shape = shape(operated, challengers, challenged);
        let contribution = contribution(number, &shape, &places);
        let bytes = contribution.encode(shape.rounds);
        prop_assert_eq!(Contribution::decode(&bytes, &shape).unwrap(), contribution);
        prop_assert!(Contribution::decode(&bytes[..bytes.len() - 1], &shape).is_err());
        prop_assert!(Contribution::decode(&[&bytes[..], &[0]].concat(), &shape).is_err());
    }
}

proptest! {
    /// Whatever is read has one encoding: what was changed is another contribution, or none.
    #[test]
    fn hostile_bytes_are_read_as_they_are_or_refused(
        which in 0..2_usize,
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let (shape, good) = &GOOD[which];
        let mut bytes = good.clone();
        bytes[at.index(good.len().min(200))] = byte;
        if let Ok(read) = Contribution::decode(&bytes, shape) {
            prop_assert_eq!(read.encode(shape.rounds), bytes.clone());
        }
        prop_assert!(Contribution::decode(&bytes[..cut.index(good.len())], shape).is_err());
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Contribution::decode(&bytes, &GOOD[0].0).is_err());
        let mut head = GOOD[0].1[..33].to_vec();
        head.extend(bytes);
        prop_assert!(Contribution::decode(&head, &GOOD[0].0).is_err());
    }
}

#[test]
fn a_payout_is_an_address_of_the_network_in_its_one_form() {
    let (shape, good) = &GOOD[0];
    let refused = |bytes: &[u8], shape: &Shape| match Contribution::decode(bytes, shape) {
        Err(ContributionError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let other = Shape {
        network: Network::Bitcoin,
        ..*shape
    };
    assert_eq!(refused(good, &other), "payout");
    let length = usize::from(good[33]);
    let mut capitals = good.clone();
    capitals[34..34 + length].make_ascii_uppercase();
    assert_eq!(refused(&capitals, shape), "payout");
    let mut old = good.clone();
    old[0] = 2;
    assert_eq!(refused(&old, shape), "version");
    let mut key = good.clone();
    key[1..33].fill(0xff);
    assert_eq!(refused(&key, shape), "key");
}

/// A ticket of another transaction, say another operator's of a deployment before, would spend that one's credit.
#[test]
fn a_ticket_is_made_with_its_bond() {
    let shape = shape(1, 2, 0);
    let places = [1, 1].map(|vout| OutPoint::new(Txid::from_byte_array([5; 32]), vout));
    let mut other = contribution(1, &shape, &places);
    assert!(Contribution::decode(&other.encode(shape.rounds), &shape).is_ok());
    other.operated[0].ticket.txid = Txid::from_byte_array([6; 32]);
    let error = Contribution::decode(&other.encode(shape.rounds), &shape).unwrap_err();
    assert!(
        matches!(error, ContributionError::Field { field: "ticket", .. }),
        "{error}"
    );
}
