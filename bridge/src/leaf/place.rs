//! Where the chosen unit lies in the claim: what a leaf proves from the choices and the claim's count.

use bitcoin::ScriptBuf;
use bitcoin::opcodes::all::*;
use bitsect_judge::script::Assembler;
use bitsect_judge::winternitz::{Reading, verify};
use bitsect_judge::word::{self, Digit};

use super::claim::signatures;
use super::repeat::{COUNT, push_chosen};
use super::{PairKeys, Published, Source};
use crate::game::Stage;
use crate::params::ARITY;
use crate::secret::{ClaimItem, Lock};

/// Where a unit lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitPlace {
    /// It is the claim's last.
    Last,
    /// It is another one.
    Earlier,
}

/// Takes a secret of each round, the first round's uppermost, and below them the signature of the claim's count; leaves the
/// count, and above it the number of the unit that the secrets open.
pub(super) fn push_count_and_unit<'a>(
    a: &mut Assembler,
    keys: &PairKeys,
    locks: impl Iterator<Item = &'a [Lock]>,
) {
    let readings = [Reading {
        key: keys.key(Source::Claim(ClaimItem::Count)),
        kept: (1 << COUNT) - 1,
    }];
    signatures(a, &readings);
    for round in (0..keys.rounds.units).rev() {
        a.witness(&format!("secret {round}"));
    }
    push_chosen(a, locks);
    a.op(OP_TOALTSTACK);
    let values = verify(a, &readings);
    let digits = values[0].iter().take(COUNT).flatten().copied();
    let digits: Vec<Digit> = digits.map(Digit::Item).collect();
    word::number(a, &digits);
    a.op(OP_FROMALTSTACK);
}

impl UnitPlace {
    /// Tells where a unit lies.
    pub fn of(unit: u64, count: u32) -> Self {
        if unit + 1 >= u64::from(count) {
            Self::Last
        } else {
            Self::Earlier
        }
    }

    /// Writes the Script that proves it, by the prover's secrets of all rounds.
    pub(super) fn script(self, keys: &PairKeys) -> ScriptBuf {
        let mut a = Assembler::new();
        let rounds = 0..keys.rounds.units;
        let locks = rounds.map(|round| keys.prover.locks[&Stage::Units(round)].as_slice());
        push_count_and_unit(&mut a, keys, locks);
        a.op(OP_1ADD);
        let compare = match self {
            Self::Last => OP_LESSTHANOREQUAL,
            Self::Earlier => OP_GREATERTHAN,
        };
        a.ops(&[compare, OP_VERIFY]);
        a.finish().0
    }

    /// Gives the witness, bottom first; `None` where it lies elsewhere, or is not chosen yet.
    pub(super) fn witness(self, keys_rounds: u8, published: &Published) -> Option<Vec<Vec<u8>>> {
        let (count, signature) = published.values.get(&Source::Claim(ClaimItem::Count))?;
        let count = u32::from_le_bytes(count.as_slice().try_into().ok()?);
        let (mut unit, mut secrets) = (0, Vec::new());
        for round in 0..keys_rounds {
            let opened = published.choices.get(&Stage::Units(round))?;
            unit = unit * u64::from(ARITY) + u64::from(opened.option);
            secrets.push(opened.prover?.0.to_vec());
        }
        if Self::of(unit, count) != self {
            return None;
        }
        let mut items = signature.witness();
        items.extend(secrets.into_iter().rev());
        Some(items)
    }
}
