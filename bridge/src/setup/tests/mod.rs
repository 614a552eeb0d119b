//! Sections, contributions and graphs of small deployments.

mod build;
mod contribution;
mod section;

use bitcoin::Network;

use super::section::{Section, SlotEntry, program_hash};
use crate::committee::{Deployment, Digest, Member, MemberKeys, Role, Seed};
use crate::params::{Params, Rounds};

/// Where the program begins.
const START: u32 = 0x1_0000;

/// An ELF file of one executable segment with these words.
pub(super) fn elf(words: &[u32]) -> Vec<u8> {
    const HEADER: u32 = 52;
    const ENTRY: u32 = 32;
    let size = 4 * words.len() as u32;
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // An executable for RISC-V, with one program header and no sections.
    file.extend([2, 0, 0xf3, 0]);
    let fields: [u32; 5] = [1, START, HEADER, 0, 0];
    file.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    let sizes: [u16; 6] = [HEADER as u16, ENTRY as u16, 1, 40, 0, 0];
    file.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    let load: [u32; 8] = [1, HEADER + ENTRY, START, START, size, size, 5, 64];
    file.extend(load.iter().flat_map(|field| field.to_le_bytes()));
    file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    file
}

pub(super) fn program() -> Vec<u8> {
    elf(&[0x13; 16])
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
    };
    Section {
        program: program_hash(&program()),
        start_height: 7,
        params: PARAMS,
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
