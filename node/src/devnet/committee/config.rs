//! The members' configuration files, and those of users.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bitsect_guest::params;
use eyre::{OptionExt, WrapErr};
use toml::{Table, Value};

use super::{Committee, Member, Role, make_folder, write};
use crate::chain_file::ChainFile;

/// Confirmations after which things count: a devnet's blocks are seconds apart.
const DEPTH: i64 = 2;
/// What a devnet's operator keeps back for claims, in sats.
const RESERVE: i64 = 5_000_000;

/// How the members' programs reach the chain.
#[derive(Clone, Debug)]
pub struct Links {
    /// Bitcoin Core's RPC.
    pub l1_url: String,
    /// Its cookie file.
    pub l1_cookie: PathBuf,
    /// The chain file.
    pub chain_file: PathBuf,
    /// The sequencer's JSON-RPC: users' node.
    pub sequencer: String,
    /// The verifier's JSON-RPC: the operator's node.
    pub verifier: String,
    /// The program of disputes, as `.ci/guest` builds it. The first start needs it.
    pub guest: Option<PathBuf>,
}

impl Committee {
    /// Writes the program and the configuration files. Where Bitcoin Core is may change from start to start.
    ///
    /// # Errors
    /// Where a file cannot be read or written.
    pub fn configure(&self, links: &Links) -> eyre::Result<()> {
        if !self.program().exists() {
            let chain = ChainFile::read(&links.chain_file).wrap_err("failed to read the chain file")?;
            let guest = links.guest.as_ref();
            let guest = guest.ok_or_eyre("failed to write the program of disputes: give it (--guest)")?;
            let bytes =
                std::fs::read(guest).wrap_err_with(|| format!("failed to read {}", guest.display()))?;
            let elf = params::write(&bytes, &chain.params).wrap_err("failed to write parameters")?;
            std::fs::write(self.guest(), bytes).wrap_err("failed to write the program")?;
            std::fs::write(self.program(), elf).wrap_err("failed to write the program")?;
        }
        for member in self.members() {
            write_table(&self.config(member), self.bridge_table(member, links))?;
            if member.role == Role::Challenger {
                write_table(
                    &self.challenger_config(member),
                    self.challenger_table(member, links),
                )?;
            }
        }
        Ok(())
    }

    fn bridge_table(&self, member: Member, links: &Links) -> Table {
        let ports = self.ports(member);
        let mut table = shared_table(links);
        table.extend([
            ("deployment".to_owned(), path(&self.deployment())),
            ("key".into(), path(&self.key(member))),
            ("data_dir".into(), path(&self.data_dir(member))),
            ("program".into(), path(&self.program())),
            ("committee_listen".into(), local(ports.committee).into()),
            ("confirmations_blocks".into(), DEPTH.into()),
        ]);
        if member.role == Role::Operator {
            table.extend([
                ("node_url".to_owned(), links.verifier.clone().into()),
                ("listen".into(), local(ports.status).into()),
                ("reserve_sats".into(), RESERVE.into()),
                ("least_claim_sats".into(), i64::from(self.least_claim_sats).into()),
            ]);
        }
        table
    }

    fn challenger_table(&self, member: Member, links: &Links) -> Table {
        let ports = self.ports(member);
        let mut table = shared_table(links);
        table.extend([
            ("deployment".to_owned(), path(&self.deployment())),
            ("key_file".into(), path(&self.key(member))),
            ("committee_store".into(), path(&self.data_dir(member))),
            ("data_dir".into(), path(&self.home(member).join("chain"))),
            ("guest_file".into(), path(&self.guest())),
            ("committee_listen".into(), local(ports.committee).into()),
            ("metrics_listen".into(), local(ports.status).into()),
        ]);
        table
    }

    /// Makes the configuration of a user's commands, whose key file and folder are `name`'s.
    fn user_table(&self, name: &str, links: &Links) -> Table {
        let home = self.folder.join(name);
        let mut table = shared_table(links);
        table.extend([
            ("key".to_owned(), path(&home.join("user.key"))),
            ("data_dir".into(), path(&home.join("data"))),
            ("node_url".into(), links.sequencer.clone().into()),
        ]);
        table
    }

    /// Makes a user's folder with its configuration file.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn add_user(&self, name: &str, links: &Links) -> eyre::Result<()> {
        make_folder(&self.folder.join(name))?;
        write_table(&self.user_config(name), self.user_table(name, links))
    }
}

fn shared_table(links: &Links) -> Table {
    Table::from_iter([
        ("l1_url".to_owned(), links.l1_url.clone().into()),
        ("l1_cookie_file".into(), path(&links.l1_cookie)),
        ("chain_file".into(), path(&links.chain_file)),
        ("deposit_confirmations_blocks".into(), DEPTH.into()),
    ])
}

pub(super) fn local(port: u16) -> String {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string()
}

/// A path as a file says it. One that is no text cannot be said, and its program will not find the file.
fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

fn write_table(path: &Path, table: Table) -> eyre::Result<()> {
    write(path, &table.to_string())
}
