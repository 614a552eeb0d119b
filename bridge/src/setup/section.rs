//! The deployment file's `graph` table: parameters, program, slots.

use bitcoin::hashes::{Hash, sha256};
use serde::{Deserialize, Serialize};

use crate::committee::{Deployment, Digest, MAX_CONTRIBUTION, MemberId, Role};
use crate::keys::{ClaimKeys, ProverKeys, locks_bytes};
use crate::params::{Params, ParamsError, VaultParams};

use super::contribution::HEAD_BYTES;

/// What a deployment's graph is made of, beside what its members contribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// SHA-256 of the program that disputes run: an ELF file with the chain's parameters in it.
    pub program: Digest,
    /// An L1 block before the deployment's first output.
    pub start_height: u32,
    /// What all parties agree on.
    pub params: Params,
    /// How members care for the vault: further fields of `params` in the file.
    #[serde(skip)]
    pub vault: VaultParams,
    /// The slots. All members with the challenger's role challenge each of them, in the order of the file.
    #[serde(rename = "slot")]
    pub slots: Vec<SlotEntry>,
}

/// A slot: who claims in it, and from where on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotEntry {
    /// The operator's name.
    pub operator: String,
    /// The unit that the slot starts behind.
    pub start_unit: u64,
    /// The chain state there.
    pub start_state: Digest,
    /// Whether its claim takes a vault output; otherwise it is about the chain's state alone.
    #[serde(default = "yes")]
    pub vault: bool,
}

const fn yes() -> bool {
    true
}

/// Why a `graph` table cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SectionError {
    /// A field is missing, unknown, or of another type.
    #[error("deployment file: graph: {reason}")]
    Syntax {
        /// Where and what.
        reason: String,
    },
    /// A parameter breaks a rule.
    #[error("deployment file: graph.params.{0}")]
    Params(#[from] ParamsError),
    /// A field has a value that it cannot have.
    #[error("deployment file: graph.{field}: expected {expected}, got {got}")]
    Value {
        /// The field.
        field: String,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
}

fn wrong(field: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> SectionError {
    SectionError::Value {
        field: field.into(),
        expected: expected.into(),
        got: got.to_string(),
    }
}

/// Gives the hash of a program's file as a deployment names it.
pub fn program_hash(program: &[u8]) -> Digest {
    Digest(sha256::Hash::hash(program).to_byte_array())
}

impl Section {
    /// Reads and checks a deployment's table.
    ///
    /// # Errors
    /// [`SectionError`] names the first field that cannot be.
    pub fn of(deployment: &Deployment) -> Result<Self, SectionError> {
        let mut table = deployment.graph.clone();
        let vault = take_vault(&mut table);
        let mut section: Self = read(table)?;
        section.vault = read(vault)?;
        section.verify(deployment)?;
        Ok(section)
    }

    /// Gives the table.
    ///
    /// # Errors
    /// [`SectionError::Syntax`] where a number is too large for TOML.
    pub fn to_table(&self) -> Result<toml::Table, SectionError> {
        let written = |error: toml::ser::Error| SectionError::Syntax {
            reason: error.to_string(),
        };
        let mut table = toml::Table::try_from(self).map_err(written)?;
        let vault = toml::Table::try_from(self.vault).map_err(written)?;
        if let Some(toml::Value::Table(params)) = table.get_mut(PARAMS) {
            params.extend(vault);
        }
        Ok(table)
    }

    fn verify(&self, deployment: &Deployment) -> Result<(), SectionError> {
        let challengers = challengers(deployment).len();
        self.params.verify(challengers)?;
        self.vault.verify()?;
        if self.slots.is_empty() {
            return Err(wrong("slot", "at least one", 0));
        }
        for (number, slot) in self.slots.iter().enumerate() {
            let field = |name: &str| format!("slot {number}.{name}");
            let named = |id: &MemberId| deployment.member(*id).name == slot.operator;
            let Some(operator) = deployment.ids().find(named) else {
                return Err(wrong(field("operator"), "a member's name", &slot.operator));
            };
            if deployment.member(operator).role != Role::Operator {
                let expected = "a member with the operator's role";
                return Err(wrong(field("operator"), expected, &slot.operator));
            }
        }
        for member in deployment.ids() {
            let bytes = self.contribution_bytes(deployment, member);
            if bytes > MAX_CONTRIBUTION {
                let name = &deployment.member(member).name;
                let expected = format!("so few that {name} contributes at most {MAX_CONTRIBUTION} bytes");
                return Err(wrong("slot", expected, format!("{bytes} bytes")));
            }
        }
        Ok(())
    }

    /// Gives the most bytes that a member's contribution has.
    pub fn contribution_bytes(&self, deployment: &Deployment, member: MemberId) -> usize {
        let rounds = self.params.rounds;
        let challengers = challengers(deployment).len();
        let slot = 2 * OUTPOINT_BYTES + ClaimKeys::bytes() + challengers * ProverKeys::bytes(rounds);
        let own = self.operates(deployment, member).len() * slot;
        let other = match deployment.member(member).role {
            Role::Operator => 0,
            Role::Challenger => self.slots.len() * (OUTPOINT_BYTES + locks_bytes(rounds)),
        };
        HEAD_BYTES + own + other
    }

    /// Gives the slots in which a member claims.
    pub fn operates(&self, deployment: &Deployment, member: MemberId) -> Vec<usize> {
        let name = &deployment.member(member).name;
        let slots = self.slots.iter().enumerate();
        let own = slots.filter(|(_, slot)| slot.operator == *name);
        own.map(|(number, _)| number).collect()
    }

    /// Gives the operator of a slot.
    ///
    /// # Panics
    /// Where the deployment is another one than the table was read of.
    pub fn operator(&self, deployment: &Deployment, slot: usize) -> MemberId {
        let named = |id: &MemberId| deployment.member(*id).name == self.slots[slot].operator;
        let found = deployment.ids().find(named);
        found.expect("`of` has found every operator")
    }
}

/// The name of the table of parameters.
const PARAMS: &str = "params";

/// Takes the fields of the vault's care out of the table of parameters: the others are the game's, and each slot has them.
fn take_vault(table: &mut toml::Table) -> toml::Table {
    let Some(toml::Value::Table(params)) = table.get_mut(PARAMS) else {
        return toml::Table::new();
    };
    let fields = VaultParams::FIELDS.into_iter();
    fields
        .filter_map(|field| Some((field.to_owned(), params.remove(field)?)))
        .collect()
}

fn read<T: serde::de::DeserializeOwned>(table: toml::Table) -> Result<T, SectionError> {
    let read = toml::Value::Table(table).try_into();
    read.map_err(|error: toml::de::Error| SectionError::Syntax {
        reason: error.to_string(),
    })
}

/// Bytes of an outpoint: txid and index.
pub(super) const OUTPOINT_BYTES: usize = 36;

/// Gives the challengers of every slot, in the order of the file.
pub fn challengers(deployment: &Deployment) -> Vec<MemberId> {
    let ids = deployment.ids();
    ids.filter(|id| deployment.member(*id).role == Role::Challenger)
        .collect()
}
