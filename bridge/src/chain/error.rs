//! Why the chain gives no answer.

use bitsect_l1::FaultClass;

/// Why the chain gives no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A node or Bitcoin Core does not answer, or not now.
    #[error("{place} is not reachable: {reason}")]
    Unreachable {
        /// Who was asked.
        place: String,
        /// What happened.
        reason: String,
    },
    /// It is not held any more, or cannot be made again.
    #[error("unit {unit} cannot be had: {reason}")]
    NotHeld {
        /// The unit.
        unit: u64,
        /// Why.
        reason: String,
    },
    /// An answer does not have the form that it must have.
    #[error("{what}: {rule}")]
    Malformed {
        /// What was asked for.
        what: &'static str,
        /// What is wrong with it.
        rule: String,
    },
    /// The program has other parameters than the chain.
    #[error("program: it must hold the chain's parameters, {params_bytes} bytes that it does not have")]
    Program {
        /// Bytes of the chain's encoded parameters.
        params_bytes: usize,
    },
    /// No program was given.
    #[error("program: none was given, and the machine needs one")]
    NoProgram,
    /// The store failed.
    #[error("store: {reason}")]
    Store {
        /// What it says.
        reason: String,
    },
}

impl ChainError {
    /// Tells what a loop does about it.
    pub const fn class(&self) -> FaultClass {
        match self {
            Self::Unreachable { .. } => FaultClass::Retry,
            Self::NotHeld { .. }
            | Self::Malformed { .. }
            | Self::Program { .. }
            | Self::NoProgram
            | Self::Store { .. } => FaultClass::Stop,
        }
    }
}
