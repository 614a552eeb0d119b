//! Every move of a slot, in Bitcoin Core's consensus code: that each is taken where it may be made, and not where it may
//! not.

mod common;

use bitsect_bridge::game::{Go, Item, Opening, Part, Stage, Subject};
use bitsect_bridge::graph::{Signatures, SlotGraph};
use bitsect_bridge::params::Rounds;
use bitsect_bridge::secret::ClaimItem;
use bitsect_bridge::slot::{BranchEnd, Hand, Main, Position};
use bitsect_judge::leaf::Value;
use bitsect_judge::winternitz::{MemoryStore, Signer};
use bitsect_machine::address::SHA256_PREIMAGE;
use common::play::Game;
use common::{Parties, outpoint, params, program};

const ROUNDS: Rounds = Rounds { units: 2, trace: 3 };

/// Calls a test with a slot of some challengers.
fn with_slot(challengers: usize, test: impl FnOnce(&Parties, &SlotGraph, &Signatures)) {
    let parties = Parties::new(challengers);
    let params = params(ROUNDS);
    let stakes: Vec<_> = (0..challengers).map(|pair| outpoint(2 + pair as u8)).collect();
    let spec = parties.spec(&params, [1; 24], outpoint(1), &stakes);
    let graph = SlotGraph::build(&parties.secp, &program(&[0x13; 16]), params, spec).unwrap();
    let signatures = parties.sign(&graph);
    test(&parties, &graph, &signatures);
}

fn begin<'a>(parties: &'a Parties, graph: &'a SlotGraph, signatures: &'a Signatures) -> Game<'a> {
    let mut game = Game::new(parties, graph, signatures);
    game.claim(15, [9; 24]);
    game.challenge(0);
    game
}

/// What a transaction of version 3 may have (BIP-0431), vB.
const TRUC_MAX_VSIZE: usize = 10_000;
/// The instruction of a call.
const ECALL: u32 = 0x73;

/// Options that lead behind the step.
const TO_STEP: [u8; 6] = [1, 2, Opening::Trace as u8, 3, 0, 1];

#[test]
fn every_stage_is_reached_and_a_leaf_wins_at_the_end() {
    with_slot(1, |parties, graph, signatures| {
        let deep = [
            vec![1, 2, Opening::Init as u8, 0, 1, 2, 0],
            vec![0, 0, Opening::Output as u8, 0, 2, 0, 1],
            vec![3, 1, Opening::Status as u8, 0, 0, 0, 0],
            [&TO_STEP[..], &[Subject::Control as u8, Go::Read as u8, 1, 1, 1]].concat(),
            [
                &TO_STEP[..],
                &[Subject::WriteRegister as u8, Go::Write as u8, 0, 2, 1],
            ]
            .concat(),
            [&TO_STEP[..], &[Subject::First as u8, Go::Read as u8, 2, 0, 0]].concat(),
        ];
        for options in deep {
            let mut game = begin(parties, graph, signatures);
            game.play(0, &options);
            let stage = game.stage(0);
            assert!(matches!(stage, Stage::Final(_)), "{stage:?}");
            let published = game.state.branches[0].published.clone();
            let win = game
                .actor()
                .win(0, stage, &published)
                .expect("what means nothing is false");
            let verdict = game
                .actor()
                .verdict(0, stage, &win, &parties.challengers[0])
                .unwrap();
            game.confirm(&verdict);
            assert_eq!(game.state.main, Main::Slashed { pair: 0 });
            assert_eq!(
                game.state.branches[0].position,
                Position::Ended(BranchEnd::Verdict)
            );
        }
    });
}

#[test]
fn no_other_option_is_answered_than_the_one_that_was_opened() {
    with_slot(1, |parties, graph, signatures| {
        let mut game = begin(parties, graph, signatures);
        game.play(0, &[]);
        let ask = game.choose(0, 2).unwrap();
        game.confirm(&ask);
        // The challenger cannot open another one afterwards, nor can the operator answer another.
        let again = game.state.branches[0].published.choices[&Stage::Units(0)];
        assert_eq!(again.option, 2);
        let answer = game.answer(0, &Default::default());
        let mut forged = answer.clone();
        let items: Vec<Vec<u8>> = answer.input[0].witness.iter().map(<[u8]>::to_vec).collect();
        let secret = |option| {
            parties
                .operator_seed
                .secret(&Parties::path(0), Stage::Units(0), option, ROUNDS)
        };
        let at = items.iter().position(|item| *item == secret(2).0).unwrap();
        let mut changed = items.clone();
        changed[at] = secret(1).0.to_vec();
        forged.input[0].witness = bitcoin::Witness::from_slice(&changed);
        assert!(!game.is_valid(&forged));
        assert!(game.is_valid(&answer));
    });
}

#[test]
fn a_unit_behind_the_claim_is_not_chosen() {
    with_slot(1, |parties, graph, signatures| {
        let mut game = Game::new(parties, graph, signatures);
        game.claim(6, [9; 24]);
        game.challenge(0);
        game.play(0, &[1]);
        // Units 4 to 7 are left: 6 and 7 are not the claim's.
        for option in [2, 3] {
            assert!(game.choose(0, option).is_err());
        }
    });
    with_slot(1, |parties, graph, signatures| {
        let mut game = Game::new(parties, graph, signatures);
        game.claim(6, [9; 24]);
        game.challenge(0);
        game.play(0, &[1]);
        let ask = game.choose(0, 1).unwrap();
        game.confirm(&ask);
        assert_eq!(game.stage(0), Stage::Link);
    });
}

#[test]
fn a_state_behind_the_claim_is_refuted_at_once() {
    with_slot(1, |parties, graph, signatures| {
        for (count, options, is_false) in [
            (15_u32, vec![], false),
            (12, vec![], true),
            (6, vec![1], true),
            (8, vec![1], false),
        ] {
            let mut game = Game::new(parties, graph, signatures);
            game.claim(count, [9; 24]);
            game.challenge(0);
            game.play(0, &options);
            let published = game.state.branches[0].published.clone();
            let win = game.actor().win(0, game.stage(0), &published);
            assert_eq!(win.is_some(), is_false, "{count} {options:?}");
            if let Some(win) = win {
                assert_eq!(win.name, "units/repeat");
                let verdict = game
                    .actor()
                    .verdict(0, game.stage(0), &win, &parties.challengers[0]);
                game.confirm(&verdict.unwrap());
            }
        }
    });
}

#[test]
fn a_claim_of_too_many_units_or_of_none_is_refused() {
    with_slot(1, |parties, graph, signatures| {
        for (count, valid) in [
            (1_u32, true),
            (15, true),
            (0, false),
            (16, false),
            (32, false),
            (0x1000_0001, false),
        ] {
            let mut game = Game::new(parties, graph, signatures);
            let path = Parties::path(0);
            // Past the hand, which refuses what the leaf does before it signs.
            let mut store = MemoryStore::default();
            let mut signer = Signer::new(parties.operator_seed.winternitz(), &mut store);
            let signed = signer.sign(&path.claim(ClaimItem::Count), &count.to_le_bytes());
            let state = signer.sign(&path.claim(ClaimItem::State), &[9; 24]);
            let claim = game.actor().claim(&signed.unwrap(), &state.unwrap()).unwrap();
            let mut hand = Hand::new(
                parties.operator_seed.clone(),
                parties.operator,
                MemoryStore::default(),
            );
            match hand.claim(&game.actor(), &path, count, &[9; 24]) {
                Ok(by_hand) => assert_eq!((by_hand, true), (claim.clone(), valid), "{count}"),
                Err(error) => {
                    let rule =
                        format!("count: expected 1 to 15, fewer than the search's intervals, got {count}");
                    assert_eq!((error.to_string(), false), (rule, valid));
                    // Nothing was signed: the slot's claim is still free.
                    hand.claim(&game.actor(), &path, 1, &[9; 24]).unwrap();
                }
            }
            assert_eq!(game.is_valid(&claim), valid, "{count}");
            if valid {
                game.confirm(&claim);
            }
        }
    });
}

/// The first nodes of a SHA-256 call's write, and the two hashes. Consensus bounds the stack, and relay what is of version 3.
#[test]
fn the_largest_answer_is_relayed() {
    with_slot(1, |parties, graph, signatures| {
        let mut game = begin(parties, graph, signatures);
        let (last, before) = TO_STEP.split_last().unwrap();
        game.play(0, before);
        let choose = |game: &mut Game<'_>, option: u8| {
            let ask = game.choose(0, option).unwrap();
            game.confirm(&ask);
        };
        choose(&mut game, *last);
        let call = [(Value::Instruction, ECALL), (Value::First, SHA256_PREIMAGE)];
        let call = call.map(|(value, word)| (Item::Value(value), word.to_le_bytes().to_vec()));
        let step = game.answer(0, &call.into());
        game.confirm(&step);
        for option in [Subject::Preimage as u8, Go::Preimage as u8] {
            choose(&mut game, option);
            let answer = game.answer(0, &Default::default());
            eprintln!(
                "{:?}: {} vB, {} items",
                game.stage(0),
                answer.vsize(),
                answer.input[0].witness.len()
            );
            assert!(answer.vsize() <= TRUC_MAX_VSIZE, "{} vB", answer.vsize());
            game.confirm(&answer);
        }
        assert_eq!(game.stage(0), Stage::Path(Part::Step, 0));
    });
}

#[test]
fn without_a_leaf_main_is_not_slashed() {
    with_slot(1, |parties, graph, signatures| {
        let mut game = begin(parties, graph, signatures);
        game.play(0, &[]);
        let stage = game.stage(0);
        // The committee's signature on main is public: it is worth nothing without a satisfied leaf beside it.
        let verdict = graph.pairs[0].stages[&stage].verdict.clone().unwrap();
        let main = signatures
            .get(bitsect_bridge::graph::SigningId::Verdict(0, stage))
            .unwrap();
        let forfeit = game
            .actor()
            .forfeit(&game.state, 0, stage, &parties.operator)
            .unwrap();
        let forged = verdict.finalize(vec![
            forfeit.input[0].witness.clone(),
            bitcoin::Witness::p2tr_key_spend(&main),
        ]);
        assert!(!game.is_valid(&forged));
    });
}

#[test]
fn branches_do_not_touch_each_other() {
    with_slot(2, |parties, graph, signatures| {
        let mut game = begin(parties, graph, signatures);
        game.challenge(1);
        // One challenger loses on purpose, or plays on: the other wins.
        game.play(0, &[0, 0]);
        game.play(1, &[1, 2, Opening::Init as u8]);
        let win = |game: &Game<'_>, pair: usize| {
            let published = game.state.branches[pair].published.clone();
            game.actor().win(pair, game.stage(pair), &published)
        };
        assert_eq!(game.stage(1), Stage::Content(Part::Link));
        let first = win(&game, 0).expect("the input is not the state");
        let verdict = game
            .actor()
            .verdict(0, Stage::Link, &first, &parties.challengers[0])
            .unwrap();
        game.confirm(&verdict);
        assert_eq!(game.state.main, Main::Slashed { pair: 0 });
        // The second one goes on to where a leaf wins, and takes its stake back without main.
        for option in [0, 1, 2, 0] {
            let ask = game.choose(1, option).unwrap();
            game.confirm(&ask);
            let answer = game.answer(1, &Default::default());
            game.confirm(&answer);
        }
        let second = win(&game, 1).expect("what means nothing is false");
        let stage = game.stage(1);
        let late = game
            .actor()
            .verdict(1, stage, &second, &parties.challengers[1])
            .unwrap();
        assert!(!game.is_valid(&late), "main is gone");
        let state = game.state.clone();
        let recover = game
            .actor()
            .recover_won(&state, 1, (stage, &second), &parties.challengers[1]);
        game.confirm(&recover.unwrap());
        assert_eq!(
            game.state.branches[1].position,
            Position::Ended(BranchEnd::Recovered)
        );
    });
}
