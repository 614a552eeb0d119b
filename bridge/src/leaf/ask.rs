//! The leaf by which the challenger chooses what is asked next.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::ScriptBuf;
use bitcoin::opcodes::all::*;
use bitcoin::script::Builder;
use bitsect_judge::leaf::Value;
use bitsect_judge::script::Assembler;
use bitsect_judge::step::gate::Access;
use bitsect_judge::winternitz::{checksum_digits, value_digits};

use super::claim::signed;
use super::fragment::open_one;
use super::place::push_count_and_unit;
use super::rules::{Program, RuleEntry};
use super::verdict::{keys_of, witness_of};
use super::{PairKeys, Published, Source};
use crate::game::{Item, Opening, Part, Stage, Subject};
use crate::params::ARITY;
use crate::secret::{ClaimItem, Lock, Secret};

/// A choice: who spends it is the challenger, after an answer, before the prover's timeout.
///
/// Witness, bottom first: what the gate wants, the committee's signature, the secret; where the unit is chosen, the
/// committee's signature, the prover's of the claim's count, and a secret of each round, the first round's uppermost: of
/// the last one it is the challenger's, of others the prover's.
#[derive(Clone, Debug)]
pub struct AskLeaf {
    /// The stage that is asked for.
    pub stage: Stage,
    /// The stage behind which the choice is made.
    pub behind: Stage,
    /// The options that it lets choose.
    pub options: Vec<u8>,
    gate: Gate,
}

/// What has to be so for the choice to be made.
#[derive(Clone, Debug)]
enum Gate {
    /// Nothing.
    Open,
    /// From the step's claim it follows that the step makes the read or write that is opened.
    Access(Arc<RuleEntry>),
    /// The unit is one of the claim's. Behind them the state repeats, which no unit does: the prover could not answer.
    Unit,
}

/// Gives the leaves of an answered stage that ask for another one.
pub fn asks(program: &Program, keys: &PairKeys, behind: Stage) -> Vec<AskLeaf> {
    let leaf = |stage, options: Vec<u8>, gate| AskLeaf {
        stage,
        behind,
        options,
        gate,
    };
    match behind {
        Stage::Final(_) => vec![],
        Stage::Link => {
            let content = [Opening::Init, Opening::Output, Opening::Status];
            let content = content.into_iter().map(|opening| opening as u8).collect();
            vec![
                leaf(Stage::Trace(0), vec![Opening::Trace as u8], Gate::Open),
                leaf(Stage::Content(Part::Link), content, Gate::Open),
            ]
        }
        Stage::Step => Subject::ALL
            .into_iter()
            .flat_map(|subject| {
                let gates = gates(program, subject);
                gates
                    .into_iter()
                    .map(move |gate| leaf(Stage::Content(Part::Step), vec![subject as u8], gate))
            })
            .collect(),
        _ => {
            let next = behind.next(0, keys.rounds);
            let next = next.unwrap_or_else(|| unreachable!("{behind:?} has options"));
            let gate = if next == Stage::Link {
                Gate::Unit
            } else {
                Gate::Open
            };
            vec![leaf(next, (0..behind.options()).collect(), gate)]
        }
    }
}

/// Gives the gates of a subject, one of which opens it: control is read in any state and has none.
fn gates(program: &Program, subject: Subject) -> Vec<Gate> {
    let access = match subject {
        Subject::Control => return vec![Gate::Open],
        Subject::Instruction => Access::Instruction,
        Subject::First => Access::First,
        Subject::Second => Access::Second,
        Subject::Word => Access::Word,
        Subject::CallNumber => Access::CallNumber,
        Subject::CallAddress => Access::CallAddress,
        Subject::CallLevel => Access::CallLevel,
        Subject::WriteRegister => Access::WriteRegister,
        Subject::WriteMemory => Access::WriteMemory,
        Subject::WriteControl => Access::WriteControl,
        Subject::NodeFromHash => Access::WriteNode,
        Subject::HashOfNode => Access::WriteKey,
        Subject::Preimage => Access::WritePreimage,
    };
    let gates = access.gates().into_iter();
    gates.map(|gate| Gate::Access(program.rule(&gate.name))).collect()
}

/// Gates read the step's claim.
fn sources(gate: &RuleEntry) -> BTreeMap<Value, Source> {
    let reads = gate.rule.reads.iter();
    reads
        .map(|(value, _)| (*value, Source::Stage(Stage::Step, Item::Value(*value))))
        .collect()
}

impl AskLeaf {
    /// Writes the Script.
    pub fn script(&self, keys: &PairKeys) -> ScriptBuf {
        if matches!(self.gate, Gate::Unit) {
            return unit_script(keys);
        }
        let locks = &keys.choices[&self.behind];
        let locks: Vec<Lock> = self
            .options
            .iter()
            .map(|option| locks[usize::from(*option)])
            .collect();
        let script = open_one(Builder::new(), &locks).push_x_only_key(&keys.committee);
        let Gate::Access(gate) = &self.gate else {
            return script.push_opcode(OP_CHECKSIG).into_script();
        };
        let script = script.push_opcode(OP_CHECKSIGVERIFY).into_bytes();
        let gate = gate.template().script(&keys_of(keys, &sources(gate)));
        ScriptBuf::from_bytes([script, gate.into_bytes()].concat())
    }

    /// Gives the witness that chooses an option; `None` where the leaf does not let it be chosen, or its gate is shut.
    pub fn witness(
        &self,
        option: u8,
        secret: &Secret,
        committee: &bitcoin::taproot::Signature,
        published: &Published,
    ) -> Option<Vec<Vec<u8>>> {
        if !self.options.contains(&option) {
            return None;
        }
        let mut items = match &self.gate {
            Gate::Open => vec![],
            Gate::Access(gate) => witness_of(gate, &sources(gate), published)?,
            Gate::Unit => return unit_witness(option, secret, committee, published),
        };
        items.push(committee.to_vec());
        items.push(secret.0.to_vec());
        Some(items)
    }

    /// Gives the challenger's secret among the items of a witness, bottom first.
    pub fn secret<'a>(&self, items: &[&'a [u8]]) -> Option<&'a [u8]> {
        match self.gate {
            Gate::Open | Gate::Access(_) => items.last().copied(),
            Gate::Unit => items.get(1 + COUNT_ITEMS).copied(),
        }
    }
}

/// Items of the signature of a claim's count: a digit and its hash each.
const COUNT_ITEMS: usize =
    2 * (value_digits(ClaimItem::Count.bytes()) + checksum_digits(ClaimItem::Count.bytes()));

/// The challenger chooses the unit that is false: its number is below the claim's count.
fn unit_script(keys: &PairKeys) -> ScriptBuf {
    let mut a = Assembler::new();
    let last = keys.rounds.units - 1;
    let locks = (0..=last).map(|round| {
        let side = if round == last {
            &keys.choices
        } else {
            &keys.prover.locks
        };
        side[&Stage::Units(round)].as_slice()
    });
    push_count_and_unit(&mut a, keys, locks);
    a.ops(&[OP_GREATERTHAN, OP_VERIFY]);
    signed(a.finish().0, keys.committee)
}

fn unit_witness(
    option: u8,
    secret: &Secret,
    committee: &bitcoin::taproot::Signature,
    published: &Published,
) -> Option<Vec<Vec<u8>>> {
    let (count, signature) = published.values.get(&Source::Claim(ClaimItem::Count))?;
    let count = u32::from_le_bytes(count.as_slice().try_into().ok()?);
    let before = published
        .choices
        .iter()
        .filter(|(stage, _)| matches!(stage, Stage::Units(_)));
    let mut secrets = Vec::new();
    let mut unit = 0;
    for (_, opened) in before {
        unit = unit * u64::from(ARITY) + u64::from(opened.option);
        secrets.push(opened.prover?);
    }
    secrets.push(*secret);
    if unit * u64::from(ARITY) + u64::from(option) >= u64::from(count) {
        return None;
    }
    let mut items = vec![committee.to_vec()];
    items.extend(signature.witness());
    items.extend(secrets.iter().rev().map(|secret| secret.0.to_vec()));
    Some(items)
}
