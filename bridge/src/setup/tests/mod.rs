//! Sections, contributions and graphs of small deployments.

mod build;
mod contribution;
#[path = "../../../tests/common/elf.rs"]
mod elf;
mod section;

use bitcoin::Network;

use elf::elf_file;

use super::section::{Section, SlotEntry, program_hash};
use crate::committee::{Deployment, Digest, Member, MemberKeys, Role, Seed};
use crate::params::{Params, Rounds, VaultParams};

pub(super) fn program() -> Vec<u8> {
    elf_file(0x1_0000, &[0x13; 16])
}

pub(super) const PARAMS: Params = Params {
    rounds: Rounds { units: 2, trace: 1 },
    move_timeout_blocks: 3,
    challenge_window_blocks: 6,
    dispute_window_blocks: 100,
    bond_sats: 1_000_000,
    stake_sats: 100_000,
    reward_sats: 200_000,
    verdict_fee_sats: 50_000,
};

pub(super) fn keys(number: u8) -> MemberKeys {
    MemberKeys::from_seed(Seed::new([number; 32]))
}

/// Two operators, then two challengers; each operator has a slot, the first one two.
pub(super) fn section() -> Section {
    let slot = |operator: &str, start_unit| SlotEntry {
        operator: operator.to_owned(),
        start_unit,
        start_state: Digest([start_unit as u8; 32]),
        vault: true,
    };
    Section {
        program: program_hash(&program()),
        start_height: 7,
        params: PARAMS,
        vault: VaultParams::default(),
        slots: vec![slot("olga", 1), slot("oleg", 2), slot("olga", 3)],
    }
}

pub(super) fn deployment_of(section: &Section) -> Deployment {
    let names = [
        ("olga", Role::Operator),
        ("carl", Role::Challenger),
        ("oleg", Role::Operator),
        ("cora", Role::Challenger),
    ];
    let members = (1..).zip(names).map(|(number, (name, role))| Member {
        name: name.to_owned(),
        role,
        identity: keys(number).identity(),
        signing: keys(number).signing(),
        url: format!("http://127.0.0.1:{number}"),
    });
    Deployment {
        network: Network::Regtest,
        chain: Digest([7; 32]),
        members: members.collect(),
        graph: section.to_table().unwrap(),
    }
}
