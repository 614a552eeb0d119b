use std::collections::{BTreeMap, BTreeSet};

use bitcoin::hashes::Hash;
use bitcoin::key::Secp256k1;
use bitcoin::{Address, OutPoint, Txid};

use super::super::builder::{BuildError, Purpose, SetupBuilder, Wanted};
use super::{deployment_of, keys, program, section};
use crate::committee::{Aggregate, Builder, Deployment, Graph, MemberId};
use crate::connector::Ticket;
use crate::setup::{PartySecrets, payout_address};

fn secrets(deployment: &Deployment, member: MemberId) -> PartySecrets {
    let keys = keys(1 + member.index() as u8);
    PartySecrets::derive(&keys, &deployment.hash().unwrap())
}

/// Where a member's outputs are: all of one transaction.
fn made(member: MemberId, wanted: &[Wanted]) -> Vec<OutPoint> {
    let txid = Txid::from_byte_array([member.index() as u8; 32]);
    (0..wanted.len() as u32)
        .map(|vout| OutPoint::new(txid, vout))
        .collect()
}

fn contributions(deployment: &Deployment) -> BTreeMap<MemberId, Vec<u8>> {
    let contribute = |member: MemberId| {
        let mut builder = SetupBuilder::new(deployment, &program()).unwrap();
        let secrets = secrets(deployment, member);
        let wanted = builder.wanted(member, &secrets);
        let payout = payout_address(&keys(1 + member.index() as u8), deployment.network);
        assert!(matches!(builder.contribution(), Err(BuildError::Nothing)));
        let places = made(member, &wanted);
        assert!(matches!(
            builder.contribute(member, &secrets, payout.clone(), &places[1..]),
            Err(BuildError::Outputs { .. })
        ));
        builder.contribute(member, &secrets, payout, &places).unwrap();
        (member, builder.contribution().unwrap())
    };
    deployment.ids().map(contribute).collect()
}

#[test]
fn everybody_builds_the_same_graph_of_the_outputs_that_members_make() {
    let deployment = deployment_of(&section());
    let contributions = contributions(&deployment);
    let builder = SetupBuilder::new(&deployment, &program()).unwrap();
    for (member, bytes) in &contributions {
        builder.verify_contribution(*member, bytes).unwrap();
        let most = builder.section().contribution_bytes(&deployment, *member);
        assert!((most - 90..=most).contains(&bytes.len()));
    }
    let graph = builder.build(&contributions).unwrap();
    let again = SetupBuilder::new(&deployment, &program()).unwrap();
    assert_eq!(again.build(&contributions).unwrap().hash(), graph.hash());
    let signings = graph.signings();
    let labels: BTreeSet<_> = signings.iter().map(|signing| &signing.label).collect();
    assert_eq!(labels.len(), signings.len());
    assert!(labels.iter().all(|label| label.len() < 100));
    assert!(labels.contains(&"slot 2, challenger 1: challenge".to_owned()));
    let tickets: Vec<_> = graph.slots.iter().map(|slot| slot.spec.ticket).collect();
    assert_eq!(
        super::super::tickets(&deployment, &contributions).unwrap(),
        tickets
    );
    // The graph spends what members were told to make.
    for member in deployment.ids() {
        let wanted = builder.wanted(member, &secrets(&deployment, member));
        for (wanted, place) in wanted.iter().zip(made(member, &wanted)) {
            let slot = &graph.slots[wanted.slot];
            let found = match wanted.purpose {
                Purpose::Bond => (slot.spec.bond, slot.claim.spent[0].clone()),
                Purpose::Ticket => {
                    let ticket = Ticket::new(&Secp256k1::new(), slot.spec.operator, slot.spec.committee);
                    (slot.spec.ticket.unwrap(), ticket.output())
                }
                Purpose::Stake => {
                    let mut stakes = slot.spec.pairs.iter().map(|pair| pair.stake.clone());
                    stakes.find(|stake| stake.0 == place).unwrap()
                }
            };
            assert_eq!(found, (place, wanted.output.clone()));
        }
    }
}

#[test]
fn other_contributions_are_another_graph_or_none() {
    let deployment = deployment_of(&section());
    let good = contributions(&deployment);
    let builder = SetupBuilder::new(&deployment, &program()).unwrap();
    let hash = builder.build(&good).unwrap().hash();
    let ids: Vec<MemberId> = deployment.ids().collect();
    // The last byte of each is of a lock or key.
    for id in &ids {
        let mut other = good.clone();
        *other.get_mut(id).unwrap().last_mut().unwrap() ^= 1;
        assert_ne!(builder.build(&other).unwrap().hash(), hash);
    }
    let mut missing = good.clone();
    missing.remove(&ids[3]);
    assert!(matches!(builder.build(&missing), Err(BuildError::Missing { member }) if member == ids[3]));
    // Carl and Cora have the same shape: one cannot be the other.
    let mut twice = good.clone();
    twice.insert(ids[3], good[&ids[1]].clone());
    assert!(matches!(
        builder.build(&twice),
        Err(BuildError::Twice { what: "key", .. })
    ));
    let mut twice = good.clone();
    let carl = &good[&ids[1]];
    let head = 34 + usize::from(carl[33]);
    twice.get_mut(&ids[3]).unwrap()[head..head + 36].copy_from_slice(&carl[head..head + 36]);
    assert!(matches!(
        builder.build(&twice),
        Err(BuildError::Twice { what: "output", .. })
    ));
    assert!(builder.verify_contribution(ids[0], carl).is_err());
    // Paid to the vault it would lock what it takes.
    let secrets = secrets(&deployment, ids[0]);
    let mut builder = builder;
    let places = made(ids[0], &builder.wanted(ids[0], &secrets));
    let key = Aggregate::new(&deployment).unwrap().key();
    let vault = Address::p2tr(&Secp256k1::new(), key, None, deployment.network);
    let refused = builder.contribute(ids[0], &secrets, vault.clone(), &places);
    assert!(matches!(refused, Err(BuildError::Payout { payout, .. }) if payout == vault));
}

#[test]
fn another_program_is_refused() {
    let deployment = deployment_of(&section());
    let error = SetupBuilder::new(&deployment, b"another").err().unwrap();
    assert!(matches!(error, BuildError::OtherProgram { .. }));
}
