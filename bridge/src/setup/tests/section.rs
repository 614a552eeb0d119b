use super::super::section::{Section, SectionError};
use super::{deployment_of, keys, section};
use crate::committee::MAX_CONTRIBUTION;
use crate::params::{Rounds, VaultParams};
use crate::setup::seat;

#[test]
fn a_section_reads_as_written() {
    let deployment = deployment_of(&section());
    assert_eq!(Section::of(&deployment).unwrap(), section());
    let text = deployment.to_toml().unwrap();
    let again = crate::committee::Deployment::of_toml(&text).unwrap();
    assert_eq!(Section::of(&again).unwrap(), section());
    assert_eq!(again.hash().unwrap(), deployment.hash().unwrap());
}

/// A deployment without the care of the vault is as it was before there was any, and what is agreed on is in the hash.
#[test]
fn the_care_of_the_vault_is_of_the_parameters() {
    let without = deployment_of(&section());
    assert!(!without.to_toml().unwrap().contains("above"));
    let mut section = section();
    section.vault = VaultParams {
        split_above_sats: Some(8_000_000),
        merge_below_sats: Some(1_000_000),
        max_vault_sats: None,
    };
    let with = deployment_of(&section);
    assert_ne!(with.hash().unwrap(), without.hash().unwrap());
    let text = with.to_toml().unwrap();
    let params = text.split("[graph.params]").nth(1).unwrap();
    assert!(params.contains("split_above_sats = 8000000"), "{text}");
    let again = crate::committee::Deployment::of_toml(&text).unwrap();
    assert_eq!(Section::of(&again).unwrap(), section);
    section.vault.merge_below_sats = Some(1_000_001);
    let error = Section::of(&deployment_of(&section)).unwrap_err();
    let expected = "deployment file: graph.params.merge_below_sats: expected at most 1000000";
    assert!(error.to_string().starts_with(expected), "{error}");
    let mut odd = with.clone();
    let params = odd.graph["params"].as_table_mut().unwrap();
    params.insert("max_vault_sats".into(), "many".into());
    assert!(matches!(Section::of(&odd), Err(SectionError::Syntax { .. })));
}

#[test]
fn seats_follow_from_names_and_roles() {
    let deployment = deployment_of(&section());
    let of = |number| seat(&deployment, &keys(number)).unwrap();
    assert_eq!((of(1).operates, of(1).pairs), (vec![0, 2], vec![None; 3]));
    assert_eq!((of(2).operates, of(2).pairs), (vec![], vec![Some(0); 3]));
    assert_eq!((of(3).operates, of(3).pairs), (vec![1], vec![None; 3]));
    assert_eq!((of(4).operates, of(4).pairs), (vec![], vec![Some(1); 3]));
    assert!(seat(&deployment, &keys(9)).is_err());
}

#[test]
fn what_cannot_be_is_named() {
    let refused = |change: fn(&mut Section), expected: &str| {
        let mut section = section();
        change(&mut section);
        let error = Section::of(&deployment_of(&section)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(|s| s.slots.clear(), "graph.slot: expected at least one, got 0");
    refused(
        |s| s.slots[1].operator = "nobody".into(),
        "graph.slot 1.operator: expected a member's name, got nobody",
    );
    refused(
        |s| s.slots[2].operator = "carl".into(),
        "slot 2.operator: expected a member with the operator's role, got carl",
    );
    refused(|s| s.params.rounds.units = 3, "graph.params.rounds.units");
    // The bond has to hold a connector for each challenger.
    refused(|s| s.params.bond_sats = 250_240 + 4 * 330 - 1, "params.bond_sats");
    let mut deployment = deployment_of(&section());
    deployment.graph.insert("more".into(), 1.into());
    let error = Section::of(&deployment).unwrap_err();
    assert!(matches!(&error, SectionError::Syntax { reason } if reason.contains("more")));
}

#[test]
fn slots_are_bounded_by_what_a_member_contributes() {
    let mut section = section();
    section.params.rounds = Rounds { units: 14, trace: 20 };
    section.params.dispute_window_blocks = 1_000;
    let deployment = deployment_of(&section);
    let olga = deployment.ids().next().unwrap();
    let bytes = section.contribution_bytes(&deployment, olga);
    // Two slots of two challengers each; docs/setup.md says what a pair is.
    let pair = crate::keys::ProverKeys::bytes(section.params.rounds);
    eprintln!("{bytes} bytes for two slots, {pair} for a pair");
    assert!((2 * 2 * pair..2 * 2 * pair + 10_000).contains(&bytes));
    let most = MAX_CONTRIBUTION / (bytes / 2);
    section.slots = vec![section.slots[0].clone(); most];
    assert!(Section::of(&deployment_of(&section)).is_ok());
    section.slots = vec![section.slots[0].clone(); most + 1];
    let error = Section::of(&deployment_of(&section)).unwrap_err();
    assert!(error.to_string().contains("olga contributes at most"), "{error}");
}
