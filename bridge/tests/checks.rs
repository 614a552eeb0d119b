//! The leaves about a claim's check, in Bitcoin Core's consensus code: for every unit of every claim of a small slot.

mod common;

use std::collections::BTreeMap;

use alloy_primitives::B256;
use bitcoin::{Script, ScriptBuf, Transaction, Witness};
use bitsect_bridge::game::{Item, Opening, Stage, units};
use bitsect_bridge::graph::{Signatures, SlotGraph};
use bitsect_bridge::leaf::{Published, Source, VerdictLeaf};
use bitsect_bridge::params::Rounds;
use bitsect_bridge::secret::ClaimItem;
use bitsect_bridge::slot::Main;
use bitsect_judge::script::{MAX_STACK, Rules, number, run};
use bitsect_vm::check::check_advice;
use common::play::Game;
use common::{Parties, outpoint, params, program, ticket, ticket_id};

const ROUNDS: Rounds = Rounds { units: 2, trace: 3 };
const START: [u8; 24] = [1; 24];
const END: [u8; 24] = [99; 24];
/// What Bitcoin Core relays at most, in weight units.
const MAX_STANDARD_WEIGHT: u64 = 400_000;
/// Bytes of an item of a tapscript's witness that Bitcoin Core relays at most.
const MAX_STANDARD_ITEM: usize = 80;
/// A push of the challenger's key, and CHECKSIGVERIFY: what a verdict leaf begins with.
const SIGNED: usize = 34;

struct Slot {
    parties: Parties,
    graph: SlotGraph,
    signatures: Signatures,
}

impl Slot {
    fn new() -> Self {
        let parties = Parties::new(1);
        let params = params(ROUNDS);
        let mut spec = parties.spec(&params, START, outpoint(1), &[outpoint(2)]);
        spec.ticket = Some(ticket(0));
        let graph = SlotGraph::build(&parties.secp, &program(&[0x13; 16]), params, spec).unwrap();
        Self {
            signatures: parties.sign(&graph),
            parties,
            graph,
        }
    }

    /// Plays a claim up to the input of a unit, of which nothing but the advice may be false.
    fn link(&self, count: u32, unit: u64, advice: B256) -> Game<'_> {
        let state = |position: u64| match position {
            0 => START,
            _ if position >= u64::from(count) => END,
            _ => [1 + position as u8; 24],
        };
        let mut game = Game::new(&self.parties, &self.graph, &self.signatures);
        game.claim(count, END);
        game.challenge(0);
        let choices = units(ROUNDS).choices(unit);
        for (round, option) in choices.iter().enumerate() {
            let asked = (0..).zip(units(ROUNDS).asked(&choices[..round]));
            let values = asked.map(|(index, at)| (Item::Point(index), state(at).to_vec()));
            let answer = game.answer(0, &values.collect());
            game.confirm(&answer);
            assert_eq!(self.refuting(&game), [] as [&str; 0]);
            let ask = game.choose(0, *option).unwrap();
            game.confirm(&ask);
        }
        let input = [&state(unit)[..], &[0; 8], advice.as_slice()].concat();
        let answer = game.answer(0, &BTreeMap::from([(Item::Input, input)]));
        game.confirm(&answer);
        assert_eq!(game.stage(0), Stage::Link);
        game
    }

    fn leaves(&self, stage: Stage) -> &[VerdictLeaf] {
        self.graph.pairs[0].stages[&stage].answered.verdicts()
    }

    /// The names of all leaves that refute the last answer.
    fn refuting(&self, game: &Game<'_>) -> Vec<&str> {
        let published = &game.state.branches[0].published;
        let leaves = self.leaves(game.stage(0)).iter();
        let refuting = leaves.filter(|leaf| leaf.witness(published).is_some());
        refuting.map(VerdictLeaf::name).collect()
    }

    /// The Script of a leaf, behind the challenger's signature.
    fn script(&self, name: &str) -> ScriptBuf {
        let found = self.leaves(Stage::Link).iter().find(|leaf| leaf.name() == name);
        let script = found.unwrap().script(&self.graph.pairs[0].keys);
        ScriptBuf::from_bytes(script.as_bytes()[SIGNED..].to_vec())
    }

    fn check(&self) -> B256 {
        self.graph.spec.check().unwrap()
    }

    /// The transaction that slashes.
    fn verdict(&self, game: &Game<'_>) -> Transaction {
        let published = game.state.branches[0].published.clone();
        let win = game.actor().win(0, Stage::Link, &published).expect("a leaf wins");
        let key = &self.parties.challengers[0];
        game.actor().verdict(0, Stage::Link, &win, key).unwrap()
    }

    /// Slashes by the only leaf that refutes, within all that Bitcoin Core relays.
    fn slash(&self, game: &mut Game<'_>, name: &str) {
        assert_eq!(self.refuting(game), [name]);
        let verdict = self.verdict(game);
        let items: Vec<&[u8]> = verdict.input[0].witness.iter().collect();
        let [items @ .., signature, script, _control] = &items[..] else {
            panic!("a leaf's witness");
        };
        assert!(verdict.weight().to_wu() <= MAX_STANDARD_WEIGHT);
        assert!(signature.len() == 64 && items.iter().all(|item| item.len() <= MAX_STANDARD_ITEM));
        let items: Vec<Vec<u8>> = items.iter().map(|item| item.to_vec()).collect();
        let run = run(
            Script::from_bytes(&script[SIGNED..]),
            &items,
            Rules::Standard,
            |_, _| {},
        );
        assert!(run.unwrap().deepest < MAX_STACK);
        assert!(verdict.vsize() < 6_000, "{name}: {} vB", verdict.vsize());
        game.confirm(&verdict);
        assert_eq!(game.state.main, Main::Slashed { pair: 0 });
    }
}

/// Checks of other tickets, and what is none: each differs from the slot's check in other digits.
fn others(check: B256) -> [B256; 4] {
    let mut tagged = B256::ZERO;
    tagged[..8].copy_from_slice(&check[..8]);
    [
        check_advice(&ticket_id(&ticket(1))),
        tagged,
        B256::repeat_byte(0x2b),
        B256::ZERO,
    ]
}

/// What a leaf about the unit's place reads beside the challenger's hint.
fn place_items(published: &Published) -> Vec<Vec<u8>> {
    let signature = |source| published.values[&source].1.witness();
    let mut items = signature(Source::Stage(Stage::Link, Item::Input));
    items.extend(signature(Source::Claim(ClaimItem::Count)));
    let secret = |round| published.choices[&Stage::Units(round)].prover.unwrap();
    items.extend((0..ROUNDS.units).rev().map(|round| secret(round).0.to_vec()));
    items
}

#[test]
fn the_last_unit_is_the_check_and_no_other_one_is() {
    let slot = Slot::new();
    let check = slot.check();
    let most = ROUNDS.units_total() as u32 - 1;
    for count in 1..=most {
        for unit in 0..u64::from(count) {
            let is_last = unit + 1 == u64::from(count);
            for advice in others(check).into_iter().chain([check]) {
                let is_tagged = advice.starts_with(b"bstcheck");
                let expected = match is_last {
                    true if advice != check => Some("check/missing"),
                    false if is_tagged => Some("check/early"),
                    _ => None,
                };
                let mut game = slot.link(count, unit, advice);
                match expected {
                    Some(name) => slot.slash(&mut game, name),
                    None => {
                        assert_eq!(slot.refuting(&game), [] as [&str; 0], "{count} {unit} {advice}");
                        let ask = game.choose(0, Opening::Trace as u8).unwrap();
                        game.confirm(&ask);
                    }
                }
            }
        }
    }
}

/// What would refute in another unit refutes nothing in this one: the leaf does not take it, whatever the hint.
#[test]
fn no_leaf_takes_a_unit_that_lies_elsewhere() {
    let slot = Slot::new();
    let check = slot.check();
    let [missing, early] = ["check/missing", "check/early"].map(|name| slot.script(name));
    let takes =
        |script: &ScriptBuf, items: &[Vec<u8>]| run(script, items, Rules::Consensus, |_, _| {}).is_ok();
    let hinted = |hint: i64, items: &[Vec<u8>]| [&[number::encode(hint)], items].concat();
    for count in [1, 2, 4, 5, 8, 15] {
        for unit in 0..u64::from(count) {
            let is_last = unit + 1 == u64::from(count);
            let items = |advice| place_items(&slot.link(count, unit, advice).state.branches[0].published);
            // The check is right in the last unit, and refuted by its tag in all others.
            assert_eq!(takes(&early, &items(check)), !is_last, "{count} {unit}");
            // Something else is wrong in the last unit, at each digit, and right in all others.
            let ordinary = items(!check);
            for hint in [0, 15, 16, 63] {
                assert_eq!(
                    takes(&missing, &hinted(hint, &ordinary)),
                    is_last,
                    "{count} {unit}"
                );
            }
            assert!(!takes(&early, &ordinary));
        }
    }
}

#[test]
fn each_digit_of_the_advice_counts() {
    let slot = Slot::new();
    let check = slot.check();
    for digit in 0..64 {
        let mut advice = check;
        advice[digit / 2] ^= 9 << (4 * (digit % 2));
        let mut game = slot.link(6, 5, advice);
        let verdict = slot.verdict(&game);
        let items: Vec<Vec<u8>> = verdict.input[0].witness.iter().map(<[u8]>::to_vec).collect();
        // Hints count from the highest digit. No other one is taken; what is behind the last digit means
        // the last.
        let right = 63 - digit as i64;
        assert_eq!(items[0], number::encode(right));
        for hint in (-1..=64).filter(|hint| (*hint).min(63) != right) {
            let mut forged = verdict.clone();
            let items = [&[number::encode(hint)], &items[1..]].concat();
            forged.input[0].witness = Witness::from_slice(&items);
            // Each is a run of consensus code: the ends and the neighbours of all.
            let near = [-1, 0, 63, 64, right - 1, right + 1].contains(&hint);
            assert!(!near || !game.is_valid(&forged), "digit {digit}, hint {hint}");
            let (script, until) = (slot.script("check/missing"), items.len() - 3);
            assert!(run(&script, &items[..until], Rules::Consensus, |_, _| {}).is_err());
        }
        slot.slash(&mut game, "check/missing");
        // The tag alone makes a check of another unit.
        let mut game = slot.link(6, 2, advice);
        if digit < 16 {
            assert_eq!(slot.refuting(&game), [] as [&str; 0]);
        } else {
            slot.slash(&mut game, "check/early");
        }
    }
}

#[test]
fn a_slot_without_a_ticket_has_no_such_leaf() {
    let parties = Parties::new(1);
    let spec = parties.spec(&params(ROUNDS), START, outpoint(1), &[outpoint(2)]);
    let graph = SlotGraph::build(&parties.secp, &program(&[0x13; 16]), params(ROUNDS), spec).unwrap();
    let names = |graph: &SlotGraph, stage| -> Vec<String> {
        let leaves = graph.pairs[0].stages[&stage].answered.verdicts().iter();
        let checks = leaves.filter(|leaf| leaf.name().starts_with("check/"));
        checks.map(|leaf| leaf.name().to_owned()).collect()
    };
    let slot = Slot::new();
    for stage in Stage::all(ROUNDS) {
        assert_eq!(names(&graph, stage), [] as [&str; 0]);
        let expected: &[&str] = if stage == Stage::Link {
            &["check/missing", "check/early"]
        } else {
            &[]
        };
        assert_eq!(names(&slot.graph, stage), expected);
    }
}
