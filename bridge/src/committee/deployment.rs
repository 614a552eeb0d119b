//! The deployment file, `deployment.toml`: who the members are and what they set up.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, XOnlyPublicKey};
use serde::{Deserialize, Serialize};

use super::Digest;
use super::keys::MemberKeys;

/// The version of the file's form and of what its hash covers.
const VERSION: u32 = 1;
/// Bytes of a deployment file at most.
const MAX_FILE: u64 = 1 << 20;
/// Members at most: what they exchange grows with the square.
pub(super) const MAX_MEMBERS: usize = 32;
/// Bytes of a member's name at most.
const MAX_NAME: usize = 32;
/// Bytes of a URL at most.
const MAX_URL: usize = 256;
/// How deep tables and lists of the graph's parameters may lie in each other.
const MAX_DEPTH: usize = 16;

/// A member's place in the deployment file, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(super) u16);

impl MemberId {
    /// Returns the place, from 0.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a member does in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Posts claims.
    Operator,
    /// Disputes false ones.
    Challenger,
}

/// A member of the committee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// What people call it: lower-case letters, digits, hyphens.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// The key that signs its messages.
    pub identity: XOnlyPublicKey,
    /// Its share of the committee's key.
    pub signing: PublicKey,
    /// Where its daemon is; not hashed, so that a member can move.
    pub url: String,
}

impl Member {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`DeploymentError::Value`] names the field.
    pub fn verify(&self) -> Result<(), DeploymentError> {
        verify_name(&self.name)?;
        verify_url(self)
    }
}

/// What a deployment file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// The Bitcoin network.
    pub network: Network,
    /// The chain file's hash.
    pub chain: Digest,
    /// The members, in the file's order.
    pub members: Vec<Member>,
    /// The graph's parameters and slots, which the committee's code does not read.
    pub graph: toml::Table,
}

/// Why a deployment file is refused.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The file cannot be read.
    #[error("deployment file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The chain file cannot be read.
    #[error("chain file {}: {source}", path.display())]
    ChainFile {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The text is no TOML, or has an unknown or mistyped field.
    #[error("deployment file: {reason}")]
    Syntax {
        /// Where and what.
        reason: String,
    },
    /// A field has a value that it cannot have.
    #[error("deployment file: {field}: expected {expected}, got {got}")]
    Value {
        /// The field.
        field: String,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The keys are not those of a member.
    #[error("no member of the deployment has the identity {identity}")]
    NotMember {
        /// The identity key looked for.
        identity: XOnlyPublicKey,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    network: Network,
    chain: Digest,
    member: Vec<Member>,
    #[serde(default)]
    graph: toml::Table,
}

impl Deployment {
    /// Reads a deployment file.
    ///
    /// # Errors
    /// [`DeploymentError`] names the file or the field.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        let failed = |source| DeploymentError::File {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length > MAX_FILE {
            return Err(wrong("length", format!("at most {MAX_FILE} bytes"), length));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
        Self::of_toml(&text)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// [`DeploymentError`] names the field.
    pub fn of_toml(text: &str) -> Result<Self, DeploymentError> {
        let form: Form = toml::from_str(text).map_err(|error| DeploymentError::Syntax {
            reason: error.to_string(),
        })?;
        if form.version != VERSION {
            return Err(wrong("version", VERSION, form.version));
        }
        let deployment = Self {
            network: form.network,
            chain: form.chain,
            members: form.member,
            graph: form.graph,
        };
        deployment.verify()?;
        Ok(deployment)
    }

    /// Gives the file's text.
    ///
    /// # Errors
    /// [`DeploymentError::Syntax`] when the graph's table has what TOML cannot say.
    pub fn to_toml(&self) -> Result<String, DeploymentError> {
        toml::to_string(&Form {
            version: VERSION,
            network: self.network,
            chain: self.chain,
            member: self.members.clone(),
            graph: self.graph.clone(),
        })
        .map_err(|error| DeploymentError::Syntax {
            reason: error.to_string(),
        })
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`DeploymentError::Value`] names the first field that cannot be.
    pub fn verify(&self) -> Result<(), DeploymentError> {
        let count = self.members.len();
        if !(2..=MAX_MEMBERS).contains(&count) {
            return Err(wrong("member", format!("2 to {MAX_MEMBERS} of them"), count));
        }
        for role in [Role::Operator, Role::Challenger] {
            if self.members.iter().all(|member| member.role != role) {
                return Err(wrong("member.role", format!("at least one {role:?}"), "none"));
            }
        }
        let (mut names, mut identities, mut shares) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for member in &self.members {
            member.verify()?;
            let twice = |field: &str, got: &dyn fmt::Display| {
                wrong(&format!("member.{field}"), "one that no other member has", got)
            };
            if !names.insert(&member.name) {
                return Err(twice("name", &member.name));
            }
            if !identities.insert(member.identity) {
                return Err(twice("identity", &member.identity));
            }
            if !shares.insert(member.signing) {
                return Err(twice("signing", &member.signing));
            }
        }
        let mut sink = Vec::new();
        encode_table(&self.graph, "graph", 0, &mut sink)
    }

    /// Checks that the deployment is of the chain of a chain file.
    ///
    /// # Errors
    /// [`DeploymentError::Value`] of `chain`; [`DeploymentError::ChainFile`].
    pub fn verify_chain(&self, chain_file: &Path) -> Result<(), DeploymentError> {
        let hash = chain_file_hash(chain_file)?;
        if self.chain != hash {
            let expected = format!("{hash}, the SHA-256 of the chain file {}", chain_file.display());
            return Err(wrong("chain", expected, self.chain));
        }
        Ok(())
    }

    /// Computes the hash that members compare and that every message carries.
    ///
    /// # Errors
    /// [`DeploymentError::Value`] as [`Self::verify`].
    pub fn hash(&self) -> Result<Digest, DeploymentError> {
        let Self {
            network,
            chain,
            members,
            graph,
        } = self;
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend_from_slice(&network.magic().to_bytes());
        bytes.extend_from_slice(chain.as_bytes());
        put_length(members.len(), &mut bytes);
        for member in members {
            put_text(&member.name, &mut bytes);
            bytes.push(match member.role {
                Role::Operator => 0,
                Role::Challenger => 1,
            });
            bytes.extend_from_slice(&member.identity.serialize());
            bytes.extend_from_slice(&member.signing.serialize());
        }
        encode_table(graph, "graph", 0, &mut bytes)?;
        Ok(Digest::tagged("bitsect/committee/deployment", &[&bytes]))
    }

    /// Returns the ids of all members, in order.
    pub fn ids(&self) -> impl Iterator<Item = MemberId> + use<> {
        let count = u16::try_from(self.members.len()).expect("`verify` bounds the members");
        (0..count).map(MemberId)
    }

    /// Returns a member.
    ///
    /// # Panics
    /// When the id is another deployment's.
    pub fn member(&self, id: MemberId) -> &Member {
        &self.members[id.index()]
    }

    /// Finds whose keys these are.
    ///
    /// # Errors
    /// [`DeploymentError::NotMember`]; [`DeploymentError::Value`] when the member's share is another one.
    pub fn find(&self, keys: &MemberKeys) -> Result<MemberId, DeploymentError> {
        let identity = keys.identity();
        let id = self
            .ids()
            .find(|id| self.member(*id).identity == identity)
            .ok_or(DeploymentError::NotMember { identity })?;
        let member = self.member(id);
        if member.signing != keys.signing() {
            let field = format!("member {}: signing", member.name);
            return Err(wrong(&field, keys.signing(), member.signing));
        }
        Ok(id)
    }
}

/// Computes the hash by which a deployment names its chain: the SHA-256 of the chain file, byte for byte.
///
/// # Errors
/// [`DeploymentError::ChainFile`].
pub fn chain_file_hash(path: &Path) -> Result<Digest, DeploymentError> {
    let bytes = std::fs::read(path).map_err(|source| DeploymentError::ChainFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(Digest(sha256::Hash::hash(&bytes).to_byte_array()))
}

fn wrong(field: &str, expected: impl fmt::Display, got: impl fmt::Display) -> DeploymentError {
    DeploymentError::Value {
        field: field.to_owned(),
        expected: expected.to_string(),
        got: got.to_string(),
    }
}

fn verify_name(name: &str) -> Result<(), DeploymentError> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(letter) {
        let expected = format!("1 to {MAX_NAME} lower-case letters, digits and hyphens");
        return Err(wrong("member.name", expected, format!("{name:?}")));
    }
    Ok(())
}

fn verify_url(member: &Member) -> Result<(), DeploymentError> {
    let parsed = reqwest::Url::parse(&member.url).ok();
    let fits = parsed.is_some_and(|url| url.scheme() == "http" && url.has_host() && url.query().is_none());
    if !fits || member.url.len() > MAX_URL {
        let expected = format!("an http:// URL without a query, of at most {MAX_URL} bytes");
        let field = format!("member {}: url", member.name);
        return Err(wrong(&field, expected, format!("{:?}", member.url)));
    }
    Ok(())
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&(length as u64).to_le_bytes());
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    put_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// Encodes a table so that no two tables have the same bytes: entries by name, each value with its type before it.
fn encode_table(
    table: &toml::Table,
    at: &str,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), DeploymentError> {
    if depth > MAX_DEPTH {
        return Err(wrong(at, format!("at most {MAX_DEPTH} levels"), "more"));
    }
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    out.push(b't');
    put_length(entries.len(), out);
    for (name, value) in entries {
        put_text(name, out);
        encode_value(value, &format!("{at}.{name}"), depth + 1, out)?;
    }
    Ok(())
}

fn encode_value(
    value: &toml::Value,
    at: &str,
    depth: usize,
    out: &mut Vec<u8>,
) -> Result<(), DeploymentError> {
    match value {
        toml::Value::String(text) => {
            out.push(b's');
            put_text(text, out);
        }
        toml::Value::Integer(number) => {
            out.push(b'i');
            out.extend_from_slice(&number.to_le_bytes());
        }
        toml::Value::Boolean(flag) => out.extend_from_slice(&[b'b', u8::from(*flag)]),
        toml::Value::Array(list) => {
            if depth > MAX_DEPTH {
                return Err(wrong(at, format!("at most {MAX_DEPTH} levels"), "more"));
            }
            out.push(b'a');
            put_length(list.len(), out);
            for value in list {
                encode_value(value, at, depth + 1, out)?;
            }
        }
        toml::Value::Table(table) => encode_table(table, at, depth, out)?,
        // Numbers and times that can be written in many ways are not worth a rule.
        toml::Value::Float(_) | toml::Value::Datetime(_) => {
            return Err(wrong(
                at,
                "text, a whole number, true or false, a list or a table",
                value,
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::committee::tests::harness::{keys, members};

    fn deployment() -> Deployment {
        Deployment {
            network: Network::Regtest,
            chain: Digest([7; 32]),
            members: members(3),
            graph: "slots = 3\n[windows]\nmove = 144\nnames = [\"a\", \"b\"]"
                .parse()
                .unwrap(),
        }
    }

    #[test]
    fn a_file_is_read_back_and_unknown_keys_are_refused() {
        let deployment = deployment();
        let text = deployment.to_toml().unwrap();
        assert_eq!(Deployment::of_toml(&text).unwrap(), deployment);
        for unknown in [
            text.replacen("version", "extra = 1\nversion", 1),
            text.replacen("role =", "extra = 1\nrole =", 1),
        ] {
            let error = Deployment::of_toml(&unknown).unwrap_err();
            assert!(error.to_string().contains("extra"), "{error}");
        }
        let error = Deployment::of_toml(&text.replacen("version = 1", "version = 2", 1)).unwrap_err();
        assert!(error.to_string().contains("version"), "{error}");
    }

    #[test]
    fn the_hash_covers_everything_but_urls() {
        let base = deployment();
        let hash = base.hash().unwrap();
        assert_eq!(hash, deployment().hash().unwrap());
        let mut moved = deployment();
        moved.members[1].url = "http://elsewhere:1".into();
        assert_eq!(moved.hash().unwrap(), hash);
        let changes: [fn(&mut Deployment); 9] = [
            |d| d.network = Network::Signet,
            |d| d.chain.0[31] ^= 1,
            |d| d.members.swap(0, 1),
            |d| d.members[0].name.push('x'),
            |d| d.members[0].role = Role::Challenger,
            |d| d.members[0].identity = keys(9).identity(),
            |d| d.members[0].signing = keys(9).signing(),
            |d| drop(d.graph.insert("slots".into(), 4.into())),
            |d| drop(d.graph.insert("slots".into(), "3".into())),
        ];
        let mut seen = BTreeSet::from([hash]);
        for change in changes {
            let mut other = deployment();
            change(&mut other);
            assert!(seen.insert(other.hash().unwrap()));
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let cases: [(fn(&mut Deployment), &str); 10] = [
            (|d| d.members.truncate(1), "member"),
            (
                |d| d.members.iter_mut().for_each(|m| m.role = Role::Operator),
                "Challenger",
            ),
            (|d| d.members[1].name = d.members[0].name.clone(), "member.name"),
            (|d| d.members[1].name = "Bob".into(), "member.name"),
            (
                |d| d.members[1].identity = d.members[0].identity,
                "member.identity",
            ),
            (|d| d.members[1].signing = d.members[0].signing, "member.signing"),
            (|d| d.members[1].url = "https://b:1".into(), "url"),
            (|d| d.members[1].url = "b:1".into(), "url"),
            (|d| drop(d.graph.insert("rate".into(), 0.5.into())), "graph.rate"),
            (
                |d| {
                    let mut value = toml::Value::Integer(1);
                    for _ in 0..MAX_DEPTH + 1 {
                        value = toml::Value::Array(vec![value]);
                    }
                    d.graph.insert("deep".into(), value);
                },
                "graph.deep",
            ),
        ];
        for (change, named) in cases {
            let mut other = deployment();
            change(&mut other);
            let error = other.verify().unwrap_err().to_string();
            assert!(error.contains(named), "{error} names {named}");
        }
    }

    #[test]
    fn another_chain_is_named_with_both_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bitsect.chain.toml");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-4's own example.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut deployment = deployment();
        let error = deployment.verify_chain(&path).unwrap_err().to_string();
        let got = deployment.chain.to_string();
        for named in ["chain: expected", hash, "SHA-256 of the chain file", &got] {
            assert!(error.contains(named), "{error} names {named}");
        }
        deployment.chain = chain_file_hash(&path).unwrap();
        assert_eq!(deployment.chain.to_string(), hash);
        deployment.verify_chain(&path).unwrap();
        let missing = deployment.verify_chain(&dir.path().join("none")).unwrap_err();
        assert!(matches!(missing, DeploymentError::ChainFile { .. }), "{missing}");
    }

    #[test]
    fn members_find_themselves() {
        let deployment = deployment();
        assert_eq!(deployment.find(&keys(2)).unwrap(), MemberId(2));
        assert!(matches!(
            deployment.find(&keys(3)).unwrap_err(),
            DeploymentError::NotMember { .. }
        ));
        let mut other = deployment.clone();
        other.members[2].signing = keys(9).signing();
        assert!(other.find(&keys(2)).unwrap_err().to_string().contains("signing"));
    }
}
