//! Counts, and the list of what does not apply.

use std::collections::BTreeMap;
use std::fmt;

use bitsect_vm::execute::InvalidTransaction;
use revm::primitives::hardfork::SpecId;

/// What does not apply to this chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    OtherFork,
    Blobs,
    Withdrawals,
    Requests,
    LargeBalance,
    StorageWithoutCode,
}

/// Every class that is skipped, for which kind of fixture, and why.
pub const SKIPS: &[(Skip, &[&str], &str)] = &[
    (
        Skip::OtherFork,
        &["state_tests", "blockchain_tests"],
        "the chain begins at Prague; transitions and blob-parameter forks do not happen on it",
    ),
    (
        Skip::Blobs,
        &["state_tests", "blockchain_tests"],
        "type 3 does not exist here, and headers always have zero blob gas and zero excess",
    ),
    (
        Skip::Withdrawals,
        &["blockchain_tests"],
        "there are no validators: every block's list is empty",
    ),
    (
        Skip::Requests,
        &["blockchain_tests"],
        "there is no consensus layer: no contracts are asked for requests, and requestsHash is that of none",
    ),
    (
        Skip::LargeBalance,
        &["state_tests", "blockchain_tests"],
        "the state tree holds 16 bytes of balance; execution refuses more with an error, which is checked",
    ),
    (
        Skip::StorageWithoutCode,
        &["state_tests", "blockchain_tests"],
        "a creation meets an account with storage but neither nonce nor code (EIP-7610); here every account that ever \
         had storage has a nonce (EIP-161, EIP-7702, genesis)",
    ),
];

/// The specification of a network's name, if the chain knows it.
pub fn spec_of(network: &str) -> Option<SpecId> {
    match network {
        "Prague" => Some(SpecId::PRAGUE),
        "Osaka" => Some(SpecId::OSAKA),
        _ => None,
    }
}

/// What a case came to.
pub enum Verdict {
    Passed,
    Skipped(Skip),
    Failed(String),
}

/// Counts of a run.
#[derive(Default)]
pub struct Report {
    pub files: usize,
    passed: BTreeMap<String, usize>,
    /// Of those passed: transactions or blocks that were refused, as they had to be.
    refused: BTreeMap<String, usize>,
    skipped: BTreeMap<Skip, usize>,
    pub failures: Vec<String>,
}

impl Report {
    pub fn count(&mut self, network: &str, name: &str, verdict: Verdict) {
        match verdict {
            Verdict::Passed => *self.passed.entry(network.to_owned()).or_default() += 1,
            Verdict::Skipped(skip) => *self.skipped.entry(skip).or_default() += 1,
            Verdict::Failed(reason) => self.failures.push(format!("{name}: {reason}")),
        }
    }

    pub fn count_refused(&mut self, exception: &str) {
        *self.refused.entry(exception.to_owned()).or_default() += 1;
    }

    pub fn merge(mut self, other: Self) -> Self {
        self.files += other.files;
        for (mine, theirs) in [
            (&mut self.passed, other.passed),
            (&mut self.refused, other.refused),
        ] {
            for (key, count) in theirs {
                *mine.entry(key).or_default() += count;
            }
        }
        for (skip, count) in other.skipped {
            *self.skipped.entry(skip).or_default() += count;
        }
        self.failures.extend(other.failures);
        self
    }

    pub fn cases(&self) -> usize {
        self.passed.values().sum::<usize>() + self.skipped.values().sum::<usize>() + self.failures.len()
    }

    /// Fails on a class that is skipped but not listed, or listed but not met.
    pub fn verify_skips(&self, kind: &str, sample: bool) {
        for skip in self.skipped.keys() {
            let listed = SKIPS
                .iter()
                .any(|(listed, kinds, _)| listed == skip && kinds.contains(&kind));
            assert!(
                listed,
                "{skip:?} is skipped in {kind} without a reason in the list"
            );
        }
        for (skip, kinds, _) in SKIPS {
            // The sample is too small to have a case of every class.
            let unused = kinds.contains(&kind) && !self.skipped.contains_key(skip);
            assert!(
                sample || !unused,
                "nothing in {kind} is skipped as {skip:?}: remove it from the list"
            );
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed: usize = self.passed.values().sum();
        let applies = passed + self.failures.len();
        writeln!(out, "  {} files, {} cases", self.files, self.cases())?;
        writeln!(
            out,
            "  passed {passed} of {applies} that apply: {:?}",
            self.passed
        )?;
        for (exception, count) in &self.refused {
            writeln!(out, "    of these refused {count} as {exception}")?;
        }
        for (skip, count) in &self.skipped {
            let reason = SKIPS
                .iter()
                .find(|(listed, ..)| listed == skip)
                .map_or("", |(.., reason)| reason);
            writeln!(out, "  skipped {count} as {skip:?}: {reason}")?;
        }
        let shown = std::env::var("EEST_SHOW")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(40);
        for failure in self.failures.iter().take(shown) {
            writeln!(out, "  FAILED {failure}")?;
        }
        Ok(())
    }
}

/// Whether a transaction was refused for the reason that the fixture names ("A|B" allows either).
pub fn is_expected(reason: &InvalidTransaction, expected: &str) -> bool {
    let names: &[&str] = match reason {
        InvalidTransaction::NonceTooLow { .. } => &["NONCE_MISMATCH_TOO_LOW"],
        InvalidTransaction::NonceTooHigh { .. } => &["NONCE_MISMATCH_TOO_HIGH"],
        InvalidTransaction::NonceMax { .. } => &["NONCE_IS_MAX"],
        InvalidTransaction::InsufficientFunds { .. } => &["INSUFFICIENT_ACCOUNT_FUNDS"],
        InvalidTransaction::CostOverflow { .. } => {
            &["GASLIMIT_PRICE_PRODUCT_OVERFLOW", "INSUFFICIENT_ACCOUNT_FUNDS"]
        }
        InvalidTransaction::IntrinsicGas { .. } => &["INTRINSIC_GAS_TOO_LOW"],
        InvalidTransaction::FloorDataGas { .. } => &["INTRINSIC_GAS_BELOW_FLOOR_GAS_COST"],
        InvalidTransaction::FeeCapTooLow { .. } => &["INSUFFICIENT_MAX_FEE_PER_GAS"],
        InvalidTransaction::TipAboveFeeCap { .. } => &["PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS"],
        InvalidTransaction::SenderNotEoa { .. } => &["SENDER_NOT_EOA"],
        InvalidTransaction::InitCodeTooLarge { .. } => &["INITCODE_SIZE_EXCEEDED"],
        InvalidTransaction::GasLimitAboveCap { .. } => &["GAS_LIMIT_EXCEEDS_MAXIMUM"],
        InvalidTransaction::ExceedsBlockGasLimit { .. } | InvalidTransaction::GasLimitReached { .. } => {
            &["GAS_ALLOWANCE_EXCEEDED"]
        }
        InvalidTransaction::WrongChainId { .. } => &["INVALID_CHAINID"],
        InvalidTransaction::EmptyAuthorizationList { .. } => &["TYPE_4_EMPTY_AUTHORIZATION_LIST"],
        InvalidTransaction::UnsupportedType { .. } => &["TYPE_NOT_SUPPORTED"],
        InvalidTransaction::Other(_) => &[],
    };
    names
        .iter()
        .any(|name| names_exception(expected, "TransactionException", name))
}

/// Whether "A|B" contains an exception.
pub fn names_exception(expected: &str, family: &str, name: &str) -> bool {
    expected
        .split('|')
        .any(|one| one.strip_prefix(family).and_then(|rest| rest.strip_prefix('.')) == Some(name))
}

/// Whether the fixture names a reason for which a transaction does not even decode: type 4 always has a recipient, and
/// prices have at most 128 bits.
pub fn is_undecodable(expected: &str) -> bool {
    ["TYPE_4_TX_CONTRACT_CREATION", "GASLIMIT_PRICE_PRODUCT_OVERFLOW"]
        .iter()
        .any(|name| names_exception(expected, "TransactionException", name))
}
