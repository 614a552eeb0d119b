//! The chain file, `bitsect.chain.toml`: everything that all parties to a chain agree on.
//!
//! Hashes stand in internal byte order as 0x-hex, except the baton, which is written as Bitcoin tools show it:
//! `txid:vout`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use alloy_primitives::{Address, B256, keccak256};
use bitcoin::hashes::Hash;
use bitsect_vm::chain::{ChainParams, DeriveParams, ExecutionParams, GenesisConfig, L1Network, OutPoint};
use bitsect_vm::derive::{DEPOSIT_CALL_GAS, L1Cursor, MAX_RECORD_GAS, MEDIAN_WINDOW};
use revm::primitives::hardfork::SpecId;
use serde::{Deserialize, Serialize};

/// The version of the file's form and of what its hash covers.
const VERSION: u32 = 1;
/// Least blocks before a refund: members ask for an accept in the first half of them, once the deposit is some blocks deep.
const MIN_REFUND_DELAY: u32 = 12;
/// What the hashed bytes begin with, so that they are nothing else's.
const HASH_TAG: &[u8] = b"bitsect chain parameters 1\0";

/// What a chain file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainFile {
    /// What people call the chain; not hashed.
    pub name: String,
    /// The parameters.
    pub params: ChainParams,
    /// What block 0 is made of.
    pub genesis: GenesisConfig,
}

/// Why a chain file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ChainFileError {
    /// The file cannot be read or written.
    #[error("chain file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file is no TOML, or has an unknown or mistyped field.
    #[error("chain file {}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// A field has a value that it cannot have.
    #[error("chain file: {field}: expected {expected}, got {got}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        got: String,
    },
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    version: u32,
    name: String,
    execution: ExecutionForm,
    derive: DeriveForm,
    genesis: GenesisConfig,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecutionForm {
    chain_id: u64,
    spec: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_fee_recipient: Option<Address>,
    l1_fee: bool,
    min_timestamp_step: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gas_limit: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeriveForm {
    network: L1Network,
    baton: String,
    vault_key: B256,
    sequencing_window: u32,
    reveal_timeout: u32,
    refund_delay: u16,
    min_deposit: u64,
    max_drift: u64,
    max_batch_body: u32,
    forced_gas_limit: u64,
    claim_maturity: u32,
    genesis_l1: L1Cursor,
}

impl ChainFile {
    /// Reads a chain file.
    ///
    /// # Errors
    /// [`ChainFileError`] names the file or the field.
    pub fn read(path: &Path) -> Result<Self, ChainFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| ChainFileError::File {
            path: path.to_owned(),
            source,
        })?;
        let form = toml::from_str(&text).map_err(|error| ChainFileError::Syntax {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Self::of_form(form)
    }

    /// Writes the file, whole or not at all. Never over another file.
    ///
    /// # Errors
    /// [`ChainFileError::File`], also when there is a file of that name.
    pub fn write_new(&self, path: &Path) -> Result<(), ChainFileError> {
        let failed = |source| ChainFileError::File {
            path: path.to_owned(),
            source,
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let temporary = path.with_extension(format!("toml.{}.new", std::process::id()));
        let written = write_synced(&temporary, &self.to_toml())
            // A hard link fails when the name is taken, where a rename would replace the file.
            .and_then(|()| std::fs::hard_link(&temporary, path));
        let removed = std::fs::remove_file(&temporary);
        written.and(removed).map_err(failed)?;
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    /// Gives the file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.form()).expect("the form has only types that TOML has, checked by `verify`")
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// [`ChainFileError`] names the field.
    pub fn of_toml(text: &str) -> Result<Self, ChainFileError> {
        let form = toml::from_str(text).map_err(|error| ChainFileError::Syntax {
            path: PathBuf::new(),
            reason: error.to_string(),
        })?;
        Self::of_form(form)
    }

    /// Computes the hash by which parties compare their parameters: keccak256 of a tag and the form without the
    /// name as JSON, whose order of fields is fixed.
    pub fn params_hash(&self) -> B256 {
        let form = FileForm {
            name: String::new(),
            ..self.form()
        };
        let json = serde_json::to_vec(&form).expect("the form has only types that JSON has");
        keccak256([HASH_TAG, &json].concat())
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`ChainFileError::Value`] names the first field that cannot be.
    pub fn verify(&self) -> Result<(), ChainFileError> {
        let Self { params, genesis, .. } = self;
        let (execution, derive) = (&params.execution, &params.derive);
        let l1 = &derive.genesis_l1;
        // TOML's numbers end there.
        let fits = |field, value: u64| check(field, value, value <= i64::MAX as u64, "at most 2^63 - 1");
        for (field, value) in [
            ("execution.chain_id", execution.chain_id),
            ("execution.gas_limit", execution.gas_limit.unwrap_or_default()),
            ("derive.min_deposit", derive.min_deposit),
            ("derive.max_drift", derive.max_drift),
            ("derive.forced_gas_limit", derive.forced_gas_limit),
            ("genesis.timestamp", genesis.timestamp),
            ("genesis.gas_limit", genesis.gas_limit),
            ("genesis.base_fee", genesis.base_fee),
            ("genesis.origin.fee_rate", genesis.origin.fee_rate),
            (
                "derive.genesis_l1.fee_rates",
                l1.fee_rates.iter().copied().max().unwrap_or_default(),
            ),
        ] {
            fits(field, value)?;
        }
        let positive = |field, value: u64| check(field, value, value > 0, "at least 1");
        positive("execution.chain_id", execution.chain_id)?;
        positive("derive.sequencing_window", derive.sequencing_window.into())?;
        positive("derive.reveal_timeout", derive.reveal_timeout.into())?;
        positive("derive.max_batch_body", derive.max_batch_body.into())?;
        let delay = u32::from(derive.refund_delay);
        check(
            "derive.refund_delay",
            delay,
            delay >= MIN_REFUND_DELAY,
            "at least 12",
        )?;
        let forced = derive.forced_gas_limit;
        let limit = execution.gas_limit.unwrap_or(genesis.gas_limit);
        check(
            "derive.forced_gas_limit",
            forced,
            forced <= limit,
            "at most the block's gas limit",
        )?;
        // What does not fit alone would keep the inbox shut for ever.
        let largest = MAX_RECORD_GAS.max(DEPOSIT_CALL_GAS);
        check(
            "derive.forced_gas_limit",
            forced,
            forced >= largest,
            "at least 2400000, what the largest record for the bridge may use",
        )?;
        let gas = genesis.gas_limit;
        check(
            "genesis.gas_limit",
            gas,
            execution.gas_limit.is_none_or(|limit| limit == gas),
            "execution.gas_limit",
        )?;
        let window = 1..=MEDIAN_WINDOW;
        let (times, rates) = (l1.times.len(), l1.fee_rates.len());
        check(
            "derive.genesis_l1.times",
            times,
            window.contains(&times),
            "1 to 11 entries",
        )?;
        check(
            "derive.genesis_l1.fee_rates",
            rates,
            window.contains(&rates),
            "1 to 11 entries",
        )?;
        let vault = bitsect_vm::derive::vault_script(derive).is_some();
        check(
            "derive.vault_key",
            derive.vault_key,
            vault,
            "an x-only public key",
        )?;
        self.verify_origin()
    }

    /// The origin of block 0 stands in two places, because two parts of the chain need it.
    fn verify_origin(&self) -> Result<(), ChainFileError> {
        let (origin, l1) = (&self.genesis.origin, &self.params.derive.genesis_l1);
        let height = origin.height;
        check(
            "genesis.origin.height",
            height,
            height == l1.height,
            "derive.genesis_l1.height",
        )?;
        check(
            "genesis.origin.hash",
            origin.hash,
            origin.hash == l1.hash,
            "derive.genesis_l1.hash",
        )?;
        let (time, median) = (origin.time, origin.median_time_past);
        check(
            "genesis.origin.time",
            time,
            l1.times.last() == Some(&time),
            "derive.genesis_l1.times' last",
        )?;
        let expected = l1.median_time_past();
        let field = "genesis.origin.median_time_past";
        check(
            field,
            median,
            median == expected,
            "the median of derive.genesis_l1.times",
        )?;
        let rate = origin.fee_rate;
        let same = rate == l1.median_fee_rate();
        check(
            "genesis.origin.fee_rate",
            rate,
            same,
            "the median of derive.genesis_l1.fee_rates",
        )?;
        let timestamp = self.genesis.timestamp;
        let bounds = u64::from(median)..=ceiling(median, self.params.derive.max_drift);
        let expected = "the origin's median time past, to max_drift later";
        check(
            "genesis.timestamp",
            timestamp,
            bounds.contains(&timestamp),
            expected,
        )
    }

    fn form(&self) -> FileForm {
        let ExecutionParams {
            chain_id,
            spec,
            base_fee_recipient,
            l1_fee,
            min_timestamp_step,
            gas_limit,
        } = self.params.execution.clone();
        let DeriveParams {
            network,
            genesis_l1,
            baton,
            vault_key,
            sequencing_window,
            reveal_timeout,
            refund_delay,
            min_deposit,
            max_drift,
            max_batch_body,
            forced_gas_limit,
            claim_maturity,
        } = self.params.derive.clone();
        let spec = <&'static str>::from(spec).to_owned();
        let baton = print_outpoint(&baton);
        FileForm {
            version: VERSION,
            name: self.name.clone(),
            execution: ExecutionForm {
                chain_id,
                spec,
                base_fee_recipient,
                l1_fee,
                min_timestamp_step,
                gas_limit,
            },
            derive: DeriveForm {
                network,
                baton,
                vault_key,
                sequencing_window,
                reveal_timeout,
                refund_delay,
                min_deposit,
                max_drift,
                max_batch_body,
                forced_gas_limit,
                claim_maturity,
                genesis_l1,
            },
            genesis: self.genesis.clone(),
        }
    }

    fn of_form(form: FileForm) -> Result<Self, ChainFileError> {
        check("version", form.version, form.version == VERSION, "1")?;
        let ExecutionForm {
            chain_id,
            spec,
            base_fee_recipient,
            l1_fee,
            min_timestamp_step,
            gas_limit,
        } = form.execution;
        let known = SpecId::from_str(&spec).ok();
        let spec = known.ok_or_else(|| value("execution.spec", &spec, "a fork such as Osaka"))?;
        let execution = ExecutionParams {
            chain_id,
            spec,
            base_fee_recipient,
            l1_fee,
            min_timestamp_step,
            gas_limit,
        };
        let form_of = form.derive;
        let baton = parse_outpoint("derive.baton", &form_of.baton)?;
        let derive = DeriveParams {
            network: form_of.network,
            genesis_l1: form_of.genesis_l1,
            baton,
            vault_key: form_of.vault_key,
            sequencing_window: form_of.sequencing_window,
            reveal_timeout: form_of.reveal_timeout,
            refund_delay: form_of.refund_delay,
            min_deposit: form_of.min_deposit,
            max_drift: form_of.max_drift,
            max_batch_body: form_of.max_batch_body,
            forced_gas_limit: form_of.forced_gas_limit,
            claim_maturity: form_of.claim_maturity,
        };
        let file = Self {
            name: form.name,
            params: ChainParams { execution, derive },
            genesis: form.genesis,
        };
        file.verify()?;
        Ok(file)
    }
}

fn write_synced(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn ceiling(median: u32, drift: u64) -> u64 {
    u64::from(median).saturating_add(drift)
}

fn value(field: &'static str, got: impl ToString, expected: &str) -> ChainFileError {
    ChainFileError::Value {
        field,
        expected: expected.to_owned(),
        got: got.to_string(),
    }
}

fn check(field: &'static str, got: impl ToString, good: bool, expected: &str) -> Result<(), ChainFileError> {
    if good {
        Ok(())
    } else {
        Err(value(field, got, expected))
    }
}

/// Prints an outpoint as Bitcoin tools do.
pub fn print_outpoint(outpoint: &OutPoint) -> String {
    crate::convert::outpoint(outpoint).to_string()
}

/// Reads an outpoint as Bitcoin tools print it; `field` is for the error.
///
/// # Errors
/// [`ChainFileError::Value`].
pub fn parse_outpoint(field: &'static str, text: &str) -> Result<OutPoint, ChainFileError> {
    let parsed = bitcoin::OutPoint::from_str(text).map_err(|_| value(field, text, "txid:vout"))?;
    Ok(OutPoint {
        txid: B256::new(parsed.txid.to_byte_array()),
        vout: parsed.vout,
    })
}

#[cfg(test)]
mod tests;
