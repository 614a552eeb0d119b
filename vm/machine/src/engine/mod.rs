//! Engines by name. The fast one translates to host code on x86-64; on other hosts it is the interpreter.

use core::fmt;
use core::str::FromStr;

use crate::interpret::{Engine, Interpreter};

#[cfg(target_arch = "x86_64")]
mod x64;

/// An engine's name, as options give it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// The interpreter that is the rule.
    Interpreter,
    /// The fastest engine of this host: on x86-64 a translator, elsewhere the interpreter.
    #[default]
    Fast,
}

/// A name that no engine has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("engine: got {got:?}, must be interpreter or fast")]
pub struct UnknownEngine {
    /// The name.
    pub got: String,
}

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Interpreter, Self::Fast];

    /// Makes the engine. What it translates it keeps for later machines of the same program.
    pub fn engine(self) -> Box<dyn Engine> {
        match self {
            Self::Interpreter => Box::new(Interpreter),
            #[cfg(target_arch = "x86_64")]
            Self::Fast => Box::new(x64::Translator::default()),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Fast => Box::new(Interpreter),
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interpreter => "interpreter",
            Self::Fast => "fast",
        })
    }
}

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == name);
        found.ok_or_else(|| UnknownEngine { got: name.to_owned() })
    }
}
