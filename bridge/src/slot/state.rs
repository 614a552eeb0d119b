//! What Bitcoin says of a slot: a fold over its confirmed transactions.

use std::collections::BTreeMap;

use bitcoin::{OutPoint, Transaction, Txid};
use bitsect_judge::winternitz::Signature;

use crate::game::{Item, Stage};
use crate::graph::{SlotGraph, StageGraph};
use crate::leaf::{Opened, Published, Source};
use crate::secret::{ClaimItem, Secret};
use crate::transaction::{BRANCH_INPUT, NEXT_OUTPUT, Spent, connector_output};

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The operator's.
    Prover,
    /// The challenger's.
    Challenger,
}

/// A claim on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Units after the slot's start.
    pub count: u32,
    /// The chain state, cut.
    pub state: [u8; 24],
    /// The L1 block that holds it.
    pub height: u32,
}

/// Where the bond is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Main {
    /// It backs no claim.
    Bonded,
    /// It backs a claim.
    Claimed,
    /// It went back because nobody challenged in time.
    FinalisedFast,
    /// It went back because the claim was upheld.
    FinalisedSlow,
    /// A challenger defeated the claim.
    Slashed {
        /// Its number.
        pair: usize,
    },
    /// The operator took it without a claim.
    Withdrawn,
}

/// Where a branch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// It was not challenged.
    Unchallenged,
    /// Somebody has to move.
    Waiting {
        /// Who.
        turn: Turn,
        /// The stage that is asked, or that was answered last.
        stage: Stage,
        /// The L1 block since which.
        since: u32,
    },
    /// It is over.
    Ended(BranchEnd),
}

/// How a branch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchEnd {
    /// A leaf won against the claim.
    Verdict,
    /// The operator did not answer.
    Timeout,
    /// The challenger did not move.
    Forfeit,
    /// The challenger took its stake back when main was gone.
    Recovered,
    /// The claim was finalised before anybody challenged.
    Finalised,
}

/// What a transaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveKind {
    /// The claim was made.
    Claim,
    /// A stage was asked for.
    Ask(Stage),
    /// A stage was answered.
    Answer(Stage),
    /// The branch ended.
    End(BranchEnd),
    /// The bond went somewhere.
    Main(Main),
}

/// A transaction of the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Whose branch; none of the slot's own.
    pub pair: Option<usize>,
    /// What it did.
    pub kind: MoveKind,
    /// Of a choice, the option; of a verdict, the leaf.
    pub detail: Option<String>,
    /// Its id.
    pub txid: Txid,
    /// The L1 block.
    pub height: u32,
    /// Its size in vB.
    pub vsize: usize,
}

/// A branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Where it stands.
    pub position: Position,
    /// What was published.
    pub published: Published,
    next: OutPoint,
}

/// A slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// The claim.
    pub claim: Option<Claimed>,
    /// The bond.
    pub main: Main,
    /// The branches.
    pub branches: Vec<Branch>,
    /// All that happened, in order.
    pub moves: Vec<Move>,
    bond: OutPoint,
}

impl SlotState {
    /// Starts before anything happened.
    pub fn new(graph: &SlotGraph) -> Self {
        let claim = graph.claim.txid();
        let branches = (0..graph.pairs.len() as u32).map(|pair| Branch {
            position: Position::Unchallenged,
            published: Published::default(),
            next: OutPoint::new(claim, connector_output(pair)),
        });
        Self {
            claim: None,
            main: Main::Bonded,
            branches: branches.collect(),
            moves: Vec::new(),
            bond: graph.spec.bond,
        }
    }

    /// Takes a confirmed transaction; says whether it is the slot's. Transactions come in the order of the chain. After a
    /// reorg the fold begins anew with the transactions that are left.
    pub fn apply(&mut self, graph: &SlotGraph, transaction: &Transaction, height: u32) -> bool {
        let spends = |outpoint: OutPoint| {
            let inputs = transaction.input.iter();
            inputs.clone().any(|input| input.previous_output == outpoint)
        };
        let main = OutPoint::new(graph.claim.txid(), NEXT_OUTPUT);
        let mut ours = false;
        if spends(self.bond) && self.main == Main::Bonded {
            self.apply_bond(graph, transaction, height);
            return true;
        }
        if self.main == Main::Claimed && spends(main) {
            self.apply_main(graph, transaction, height);
            ours = true;
        }
        for pair in 0..self.branches.len() {
            if self.claim.is_some() && spends(self.branches[pair].next) {
                self.apply_branch(graph, pair, transaction, height);
                ours = true;
            }
        }
        ours
    }

    fn note(
        &mut self,
        transaction: &Transaction,
        height: u32,
        pair: Option<usize>,
        kind: MoveKind,
        detail: Option<String>,
    ) {
        self.moves.push(Move {
            pair,
            kind,
            detail,
            txid: transaction.compute_txid(),
            height,
            vsize: transaction.vsize(),
        });
    }

    fn apply_bond(&mut self, graph: &SlotGraph, transaction: &Transaction, height: u32) {
        let claimed = read_claim(graph, transaction);
        let Some((values, count, state)) = claimed else {
            self.main = Main::Withdrawn;
            return self.note(transaction, height, None, MoveKind::Main(Main::Withdrawn), None);
        };
        self.main = Main::Claimed;
        self.claim = Some(Claimed { count, state, height });
        for branch in &mut self.branches {
            branch.published.values.extend(values.clone());
        }
        let detail = format!("{count} units");
        self.note(transaction, height, None, MoveKind::Claim, Some(detail));
    }

    fn apply_main(&mut self, graph: &SlotGraph, transaction: &Transaction, height: u32) {
        let txid = transaction.compute_txid();
        let slashes = |stage: &StageGraph| {
            stage.timeout.txid() == txid
                || stage
                    .verdict
                    .as_ref()
                    .is_some_and(|verdict| verdict.txid() == txid)
        };
        let slashed = graph
            .pairs
            .iter()
            .position(|branch| branch.stages.values().any(slashes));
        self.main = match slashed {
            Some(pair) => Main::Slashed { pair },
            None if txid == graph.finalise_fast.txid() => Main::FinalisedFast,
            // Nothing else is pre-signed.
            None => Main::FinalisedSlow,
        };
        let main = self.main;
        self.note(transaction, height, None, MoveKind::Main(main), None);
    }

    fn apply_branch(&mut self, graph: &SlotGraph, pair: usize, transaction: &Transaction, height: u32) {
        let branch = &graph.pairs[pair];
        let txid = transaction.compute_txid();
        let state = &mut self.branches[pair];
        let input = transaction
            .input
            .iter()
            .find(|input| input.previous_output == state.next);
        let witness: Vec<&[u8]> = input.map_or_else(Vec::new, |input| input.witness.iter().collect());
        let Position::Waiting { turn, stage, .. } = state.position else {
            let first = Stage::Units(0);
            let kind = if branch.stages[&first].ask.txid() == txid {
                state.move_on(Turn::Prover, first, txid, height);
                MoveKind::Ask(first)
            } else {
                state.position = Position::Ended(BranchEnd::Finalised);
                MoveKind::End(BranchEnd::Finalised)
            };
            return self.note(transaction, height, Some(pair), kind, None);
        };
        let graph_stage = &branch.stages[&stage];
        let (kind, detail) = match turn {
            Turn::Prover if graph_stage.answer.txid() == txid => {
                read_answer(graph, pair, stage, &witness, &mut state.published);
                state.move_on(Turn::Challenger, stage, txid, height);
                (MoveKind::Answer(stage), None)
            }
            Turn::Prover => {
                let end = if graph_stage.timeout.txid() == txid {
                    BranchEnd::Timeout
                } else {
                    BranchEnd::Recovered
                };
                (state.end(end), None)
            }
            Turn::Challenger => match asked(branch, stage, txid) {
                Some(next) => {
                    let option = read_ask(graph, pair, stage, &witness, &mut state.published);
                    state.move_on(Turn::Prover, next, txid, height);
                    (MoveKind::Ask(next), option.map(|option| option.to_string()))
                }
                None => {
                    let script = witness.len().checked_sub(2).map_or(&[][..], |at| witness[at]);
                    let leaf = graph_stage.answered.verdict_of(script);
                    let is_verdict = graph_stage
                        .verdict
                        .as_ref()
                        .is_some_and(|verdict| verdict.txid() == txid);
                    let end = match (is_verdict, leaf) {
                        (true, _) => BranchEnd::Verdict,
                        (false, Some(_)) => BranchEnd::Recovered,
                        (false, None) => BranchEnd::Forfeit,
                    };
                    (state.end(end), leaf.map(str::to_owned))
                }
            },
        };
        self.note(transaction, height, Some(pair), kind, detail);
    }

    /// Gives the output that a branch stands at, to be spent; none before it is challenged or after its end.
    pub fn output(&self, graph: &SlotGraph, pair: usize) -> Option<Spent> {
        let Position::Waiting { turn, stage, .. } = self.branches[pair].position else {
            return None;
        };
        let stage = &graph.pairs[pair].stages[&stage];
        Some(match turn {
            Turn::Prover => stage.ask.output(NEXT_OUTPUT),
            Turn::Challenger => stage.answer.output(NEXT_OUTPUT),
        })
    }
}

impl Branch {
    fn move_on(&mut self, turn: Turn, stage: Stage, txid: Txid, height: u32) {
        self.position = Position::Waiting {
            turn,
            stage,
            since: height,
        };
        self.next = OutPoint::new(txid, NEXT_OUTPUT);
    }

    fn end(&mut self, end: BranchEnd) -> MoveKind {
        self.position = Position::Ended(end);
        MoveKind::End(end)
    }
}

/// Gives the stage that a transaction asks for.
fn asked(branch: &crate::graph::PairGraph, behind: Stage, txid: Txid) -> Option<Stage> {
    let rounds = branch.keys.rounds;
    let next = (0..behind.options()).filter_map(|option| behind.next(option, rounds));
    next.into_iter()
        .find(|next| branch.stages[next].ask.txid() == txid)
}

type ClaimValues = BTreeMap<Source, (Vec<u8>, Signature)>;

/// Reads a claim; `None` where the transaction spends the bond in another way.
fn read_claim(graph: &SlotGraph, transaction: &Transaction) -> Option<(ClaimValues, u32, [u8; 24])> {
    let witness = &transaction.input.first()?.witness;
    let items: Vec<Vec<u8>> = witness.iter().map(<[u8]>::to_vec).collect();
    let (script, items) = (
        items.get(items.len().checked_sub(2)?)?,
        items.get(1..items.len() - 2)?,
    );
    if !graph.bond.is_claim(script) || transaction.compute_txid() != graph.claim.txid() {
        return None;
    }
    let mut values = BTreeMap::new();
    let mut rest = items;
    for item in ClaimItem::ALL.into_iter().rev() {
        let key = graph.spec.claim.key(item);
        let (signature, behind) = rest.split_at_checked(2 * key.ends().len())?;
        let signature = Signature::from_witness(signature, item.bytes())?;
        values.insert(Source::Claim(item), (key.verify(&signature).ok()?, signature));
        rest = behind;
    }
    let count = values[&Source::Claim(ClaimItem::Count)]
        .0
        .as_slice()
        .try_into()
        .ok()?;
    let state = values[&Source::Claim(ClaimItem::State)]
        .0
        .as_slice()
        .try_into()
        .ok()?;
    Some((values, u32::from_le_bytes(count), state))
}

fn secret(item: &[u8]) -> Option<Secret> {
    Some(Secret(item.try_into().ok()?))
}

/// Reads what an answer publishes, and the prover's secret of the choice before. What consensus took is well formed.
fn read_answer(
    graph: &SlotGraph,
    pair: usize,
    stage: Stage,
    witness: &[&[u8]],
    published: &mut Published,
) -> Option<()> {
    let branch = &graph.pairs[pair];
    let script = witness.get(witness.len().checked_sub(2)?)?;
    let leaf = branch.stages[&stage].asked.answer_of(script)?;
    let items = witness.get(1..witness.len() - 2)?;
    let (mut values, secrets) =
        items.split_at_checked(items.len().checked_sub(2 * leaf.conditions.len())?)?;
    if let (Some(previous), Some(item)) = (stage.previous(branch.keys.rounds), secrets.last())
        && let Some(opened) = published.choices.get_mut(&previous)
    {
        opened.prover = secret(item);
    }
    for item in leaf.items().into_iter().rev() {
        let key = branch.keys.prover.key(stage, item);
        let (signature, behind) = values.split_at_checked(2 * key.ends().len())?;
        let signature: Vec<Vec<u8>> = signature.iter().map(|item| item.to_vec()).collect();
        let signature = Signature::from_witness(&signature, item.bytes())?;
        let value = key.verify(&signature).ok()?;
        published
            .values
            .insert(Source::Stage(stage, item), (value, signature));
        values = behind;
    }
    Some(())
}

/// Reads what the challenger chose.
fn read_ask(
    graph: &SlotGraph,
    pair: usize,
    behind: Stage,
    witness: &[&[u8]],
    published: &mut Published,
) -> Option<u8> {
    let (script, items) = (
        witness.get(witness.len().checked_sub(2)?)?,
        witness.get(..witness.len() - 2)?,
    );
    let leaf = graph.pairs[pair].stages[&behind].answered.ask_of(script)?;
    let secret = secret(leaf.secret(items)?)?;
    let locks = &graph.pairs[pair].keys.choices[&behind];
    let option = locks.iter().position(|lock| *lock == secret.lock())? as u8;
    published.choices.insert(
        behind,
        Opened {
            option,
            challenger: secret,
            prover: None,
        },
    );
    Some(option)
}

impl Published {
    /// Gives the value of a stage's item.
    pub fn item(&self, stage: Stage, item: Item) -> Option<&[u8]> {
        self.value(Source::Stage(stage, item))
    }
}

/// The input of a slash that is the branch's output is its first.
const _: () = assert!(BRANCH_INPUT == 0);
