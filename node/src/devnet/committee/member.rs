//! Who the members are, and where they listen.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::Path;

use eyre::{WrapErr, ensure, eyre};
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

/// Where members listen where nobody says it.
const FREE_PORTS: Range<u16> = 10_000..32_000;

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
    let ports = if first == 0 {
        free_ports(count)?
    } else {
        (0..count).map(|offset| first.saturating_add(offset)).collect()
    };
    let (committee, status) = ports.split_at(members);
    let pairs = committee.iter().zip(status);
    Ok(pairs
        .map(|(&committee, &status)| Ports { committee, status })
        .collect())
}

/// Finds ports that nobody listens on. Members do later, some of them minutes: what the system may give to a connection meanwhile,
/// which are the ports above, is none of them.
fn free_ports(count: u16) -> eyre::Result<Vec<u16>> {
    let first: u16 = rand::random_range(FREE_PORTS);
    let candidates = (first..FREE_PORTS.end).chain(FREE_PORTS.start..first);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<u16> = candidates.filter(is_free).take(usize::from(count)).collect();
    ensure!(
        ports.len() == usize::from(count),
        "failed to find {count} free ports"
    );
    Ok(ports)
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
