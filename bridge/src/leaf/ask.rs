//! The leaf by which the challenger chooses what is asked next.

use std::sync::Arc;

use bitcoin::ScriptBuf;
use bitcoin::opcodes::all::*;
use bitcoin::script::Builder;
use bitsect_judge::step::gate::Access;

use super::fragment::open_one;
use super::rules::{Program, RuleEntry};
use super::verdict::{keys_of, witness_of};
use super::{PairKeys, Published, Source};
use crate::game::{Item, Opening, Part, Stage, Subject};
use crate::secret::{Lock, Secret};
use bitsect_judge::leaf::Value;
use std::collections::BTreeMap;

/// A choice: who spends it is the challenger, after an answer, before the prover's timeout. A gate proves from a step's
/// claim that the step makes the read or write that is opened.
///
/// Witness, bottom first: without a gate the committee's signature and the secret; with one the gate's witness, the
/// committee's signature, the secret.
#[derive(Clone, Debug)]
pub struct AskLeaf {
    /// The stage that is asked for.
    pub stage: Stage,
    /// The stage behind which the choice is made.
    pub behind: Stage,
    /// The options that it lets choose.
    pub options: Vec<u8>,
    gate: Option<Arc<RuleEntry>>,
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
                leaf(Stage::Trace(0), vec![Opening::Trace as u8], None),
                leaf(Stage::Content(Part::Link), content, None),
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
            vec![leaf(next, (0..behind.options()).collect(), None)]
        }
    }
}

/// Gives the gates of a subject, one of which opens it: control is read in any state and has none.
fn gates(program: &Program, subject: Subject) -> Vec<Option<Arc<RuleEntry>>> {
    let access = match subject {
        Subject::Control => return vec![None],
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
    gates.map(|gate| Some(program.rule(&gate.name))).collect()
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
        let locks = &keys.choices[&self.behind];
        let locks: Vec<Lock> = self
            .options
            .iter()
            .map(|option| locks[usize::from(*option)])
            .collect();
        let script = open_one(Builder::new(), &locks).push_x_only_key(&keys.committee);
        let Some(gate) = &self.gate else {
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
            None => vec![],
            Some(gate) => witness_of(gate, &sources(gate), published)?,
        };
        items.push(committee.to_vec());
        items.push(secret.0.to_vec());
        Some(items)
    }
}
