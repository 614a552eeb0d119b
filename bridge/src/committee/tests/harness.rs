//! What tests of the committee share: keys, deployments, a builder.

use std::collections::BTreeMap;

use bitcoin::Network;
use bitcoin::hashes::Hash;
use bitcoin::taproot::TapNodeHash;

use crate::committee::{
    Builder, Deployment, Digest, Graph, Member, MemberId, MemberKeys, Role, Seed, Signing, Tweak,
};

/// The keys of the member of that number.
pub(in crate::committee) fn keys(number: u8) -> MemberKeys {
    MemberKeys::from_seed(Seed::new([number; 32]))
}

pub(in crate::committee) fn members(count: u8) -> Vec<Member> {
    let member = |number| Member {
        name: format!("member-{number}"),
        role: if number == 0 {
            Role::Operator
        } else {
            Role::Challenger
        },
        identity: keys(number).identity(),
        signing: keys(number).signing(),
        url: format!("http://127.0.0.1:{}", 1 + u16::from(number)),
    };
    (0..count).map(member).collect()
}

pub(in crate::committee) fn deployment(count: u8) -> Deployment {
    Deployment {
        network: Network::Regtest,
        chain: Digest([7; 32]),
        members: members(count),
        graph: toml::Table::new(),
    }
}

/// A graph whose messages are hashes of all contributions.
#[derive(Debug)]
pub(in crate::committee) struct TestGraph {
    seed: Digest,
    signings: usize,
}

impl Graph for TestGraph {
    fn signings(&self) -> Vec<Signing> {
        let signing = |index: usize| Signing {
            label: format!("transaction {index}"),
            message: Digest::tagged("test/message", &[&self.seed.0, &index.to_le_bytes()]).0,
            tweak: match index % 4 {
                0 => Tweak::KeyPath(None),
                1 => Tweak::KeyPath(Some(TapNodeHash::from_byte_array([1 + (index % 3) as u8; 32]))),
                _ => Tweak::Leaf,
            },
        };
        (0..self.signings).map(signing).collect()
    }

    fn hash(&self) -> [u8; 32] {
        self.seed.0
    }
}

/// Builds [`TestGraph`]s. Contributions begin with the member's number.
#[derive(Clone, Debug)]
pub(in crate::committee) struct TestBuilder {
    pub member: u8,
    pub signings: usize,
    /// Mixed into the graph: who has another one builds another graph.
    pub salt: u8,
    /// Bytes of a contribution.
    pub length: usize,
    /// The last byte of the contribution.
    pub tail: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::committee) struct TestError(String);

impl Builder for TestBuilder {
    type Graph = TestGraph;
    type Error = TestError;

    fn contribution(&self) -> Result<Vec<u8>, TestError> {
        let mut bytes = vec![self.member; self.length];
        bytes.push(self.tail);
        Ok(bytes)
    }

    fn verify_contribution(&self, member: MemberId, contribution: &[u8]) -> Result<(), TestError> {
        if contribution.first().map(|first| usize::from(*first)) != Some(member.index()) {
            return Err(TestError("it does not begin with the member's number".into()));
        }
        Ok(())
    }

    fn build(&self, contributions: &BTreeMap<MemberId, Vec<u8>>) -> Result<TestGraph, TestError> {
        let all: Vec<u8> = contributions.values().flatten().copied().collect();
        if all.contains(&0xff) {
            return Err(TestError("a contribution has a byte 0xff".into()));
        }
        Ok(TestGraph {
            seed: Digest::tagged("test/graph", &[&[self.salt], &all]),
            signings: self.signings,
        })
    }
}
