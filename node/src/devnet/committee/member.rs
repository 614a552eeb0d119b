//! Who the members are, and where they listen.

use std::fmt;
use std::path::Path;

use bitsect_l1::regtest::free_port;
use eyre::{WrapErr, eyre};
use serde::Deserialize;

use super::read;

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Pays withdrawals, and claims outputs of the vault.
    Operator,
    /// Checks claims.
    Challenger,
}

/// A member of the committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, and its folder's.
    pub name: &'static str,
    /// What it does.
    pub role: Role,
}

impl Member {
    /// An operator.
    pub const OPERATOR: Self = Self {
        name: "operator",
        role: Role::Operator,
    };
    /// A challenger.
    pub const CHALLENGER: Self = Self {
        name: "challenger",
        role: Role::Challenger,
    };
    /// One of each: the smallest committee.
    pub const PAIR: [Self; 2] = [Self::OPERATOR, Self::CHALLENGER];
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Where a member listens on this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// Where it signs.
    pub(super) committee: u16,
    /// Where it shows itself.
    pub(super) status: u16,
}

/// Takes two ports for each member from the first one on; free ones where it is 0.
pub(super) fn ports(members: usize, first: u16) -> eyre::Result<Vec<Ports>> {
    let count = u16::try_from(2 * members).wrap_err("failed to find ports for so many members")?;
    let ports: Vec<u16> = if first == 0 {
        let free = (0..count).map(|_| free_port());
        free.collect::<std::io::Result<_>>()
            .wrap_err("failed to find a port")?
    } else {
        (0..count).map(|offset| first.saturating_add(offset)).collect()
    };
    let (committee, status) = ports.split_at(members);
    let pairs = committee.iter().zip(status);
    Ok(pairs
        .map(|(&committee, &status)| Ports { committee, status })
        .collect())
}

/// What of a member's entry says where it is.
#[derive(Deserialize)]
struct Entry {
    member: Vec<EntryMember>,
}

#[derive(Deserialize)]
struct EntryMember {
    url: String,
}

/// Reads where a member signs out of its entry.
pub(super) fn port_of(path: &Path) -> eyre::Result<u16> {
    let entry: Entry = toml::from_str(&read(path)?)
        .wrap_err_with(|| format!("failed to read the member's entry {}", path.display()))?;
    let member = entry.member.first();
    let port = member.and_then(|member| member.url.rsplit(':').next()?.parse().ok());
    port.ok_or_else(|| eyre!("failed to find the port in {}", path.display()))
}
