//! After the claim's last unit the chain state repeats: another one there is false.

use bitcoin::ScriptBuf;
use bitcoin::opcodes::all::*;
use bitsect_judge::leaf::ALL;
use bitsect_judge::script::{Assembler, Item as StackItem, number};
use bitsect_judge::winternitz::{Reading, Signature, verify};
use bitsect_judge::word::{self, Digit, verify_differ_at};

use super::claim::signatures;
use super::{PairKeys, Published, Source};
use crate::game::{Item, Stage, units};
use crate::params::{ARITY, Rounds};
use crate::secret::{ClaimItem, Lock};

/// Digits of a count that may be other than zero (`params::MAX_UNIT_ROUNDS`).
pub(super) const COUNT: usize = 7;
/// Digits of a state.
const STATE: usize = 48;

/// One value of the search over units.
///
/// Witness, bottom first: where the states differ; the signatures of the value, of the claim's state and its count; the
/// prover's secrets of the choices before, the first one's uppermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The round.
    pub round: u8,
    /// The value within it.
    pub index: u8,
    /// The rounds of the game.
    pub rounds: Rounds,
}

/// Takes a secret of each round, the first round's uppermost, and pushes the number whose digits are the options that they
/// open; nothing where there is no round.
pub(super) fn push_chosen<'a>(a: &mut Assembler, rounds: impl Iterator<Item = &'a [Lock]>) {
    let mut started = false;
    for locks in rounds {
        if started {
            // The number so far.
            a.op(OP_TOALTSTACK);
        }
        a.op(OP_HASH160);
        // The option, as a sum over the locks, and whether there is one.
        for option in 1..ARITY {
            a.op(if option == 1 { OP_DUP } else { OP_OVER });
            a.push_bytes(locks[usize::from(option)].as_ref());
            a.op(OP_EQUAL);
            match option {
                1 => {}
                2 => drop(a.ops(&[OP_DUP, OP_ADD, OP_ADD])),
                _ => drop(a.ops(&[OP_DUP, OP_DUP, OP_ADD, OP_ADD, OP_ADD])),
            }
        }
        a.op(OP_SWAP);
        a.push_bytes(locks[0].as_ref());
        a.op(OP_EQUAL);
        a.ops(&[OP_OVER, OP_BOOLOR, OP_VERIFY]);
        if started {
            a.op(OP_FROMALTSTACK);
            word::shift_left(a, 2);
            a.op(OP_ADD);
        }
        started = true;
    }
}

impl Repeat {
    fn source(self) -> Source {
        Source::Stage(Stage::Units(self.round), Item::Point(self.index))
    }

    /// Gives what the position is where every choice before is 0, and the interval that a choice of the last round before
    /// is worth.
    fn place(self) -> (u64, u32) {
        let left = u32::from(self.rounds.units - self.round);
        ((u64::from(self.index) + 1) << (2 * (left - 1)), 2 * left)
    }

    /// Writes the Script.
    pub fn script(self, keys: &PairKeys) -> ScriptBuf {
        let mut a = Assembler::new();
        let at = a.witness("at");
        let readings = [
            Reading {
                key: keys.key(Source::Claim(ClaimItem::Count)),
                kept: (1 << COUNT) - 1,
            },
            Reading {
                key: keys.key(Source::Claim(ClaimItem::State)),
                kept: ALL,
            },
            Reading {
                key: keys.key(self.source()),
                kept: ALL,
            },
        ];
        signatures(&mut a, &readings);
        for round in (0..self.round).rev() {
            a.witness(&format!("secret {round}"));
        }
        self.push_position(&mut a, keys);
        a.op(OP_TOALTSTACK);
        let values = verify(&mut a, &readings);
        let kept = |reading: usize, count: usize| {
            let digits = values[reading][..count].iter();
            let digits = digits.map(|digit| digit.unwrap_or_else(|| unreachable!("the digit is kept")));
            digits.collect::<Vec<StackItem>>()
        };
        let count: Vec<Digit> = kept(0, COUNT).into_iter().map(Digit::Item).collect();
        word::number(&mut a, &count);
        a.op(OP_FROMALTSTACK);
        a.ops(&[OP_LESSTHANOREQUAL, OP_VERIFY]);
        verify_differ_at(&mut a, at, &kept(1, STATE), &kept(2, STATE));
        a.succeed();
        a.finish().0
    }

    /// Takes the secrets, and pushes the value's position.
    fn push_position(self, a: &mut Assembler, keys: &PairKeys) {
        let (place, width) = self.place();
        let locks = (0..self.round).map(|round| keys.prover.locks[&Stage::Units(round)].as_slice());
        push_chosen(a, locks);
        a.push(place as i64);
        if self.round > 0 {
            a.op(OP_SWAP);
            word::shift_left(a, width as usize);
            a.op(OP_ADD);
        }
    }

    /// Gives the witness where the value is false.
    pub fn witness(self, published: &Published) -> Option<Vec<Vec<u8>>> {
        let get = |source| published.values.get(&source);
        let (count, of_count) = get(Source::Claim(ClaimItem::Count))?;
        let (state, of_state) = get(Source::Claim(ClaimItem::State))?;
        let (value, of_value) = get(self.source())?;
        let count = u32::from_le_bytes(count.as_slice().try_into().ok()?);
        let mut choices = Vec::new();
        let mut secrets = Vec::new();
        for round in 0..self.round {
            let opened = published.choices.get(&Stage::Units(round))?;
            choices.push(opened.option);
            secrets.push(opened.prover?.0.to_vec());
        }
        let position = *units(self.rounds).asked(&choices).get(usize::from(self.index))?;
        if position < u64::from(count) {
            return None;
        }
        let digits = |bytes: &[u8]| super::rules::digits(bytes);
        let (state, value) = (digits(state), digits(value));
        // Of the state the highest digit is uppermost.
        let differs = state.iter().zip(&value).rev().position(|(a, b)| a != b)?;
        let mut items = vec![number::encode(differs as i64)];
        for signature in [of_value, of_state, of_count] {
            items.extend(Signature::witness(signature));
        }
        items.extend(secrets.into_iter().rev());
        Some(items)
    }
}
