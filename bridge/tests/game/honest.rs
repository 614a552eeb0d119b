//! An honest prover against challengers that ask anything.

use std::collections::BTreeMap;

use bitsect_bridge::game::challenger::{Reply, reply};
use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::game::prover::{AnswerError, answer};
use bitsect_bridge::game::truth::{Need, Unknown};
use bitsect_bridge::game::{Item, Part, Stage};
use bitsect_judge::leaf::Value;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::on_bitcoin::OnBitcoin;
use crate::program::{chain_of_arithmetic, chain_of_calls, chain_of_checks};
use crate::referee::Referee;
use crate::world::World;

/// Gives the honest answer, and runs machines until there is one.
pub fn answer_of(world: &mut World, position: &Position) -> Published {
    loop {
        match answer(position, world) {
            Ok(published) => return published,
            Err(AnswerError::Need(need)) => drop(world.run(need.input)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Gives the honest reply, and runs machines until there is one.
pub fn reply_of(world: &mut World, position: &Position) -> Reply {
    loop {
        match reply(position, world) {
            Ok(reply) => return reply,
            Err(Unknown::Need(need)) => drop(world.run(need.input)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Plays on with every option, and counts the games. `keeps` thins the choices.
fn explore(
    world: &mut World,
    referee: &Referee,
    mut position: Position,
    keeps: &mut dyn FnMut(&Position, u8) -> bool,
    ended: &mut BTreeMap<Stage, u64>,
) {
    let published = answer_of(world, &position);
    position.publish(published).unwrap();
    let stage = position.stage();
    assert_eq!(referee.refutes(&position), None, "{position:?}");
    if stage.options() == 0 {
        *ended.entry(stage).or_default() += 1;
        return;
    }
    for option in 0..stage.options() {
        if referee.allows(&position, option) && keeps(&position, option) {
            let mut next = position.clone();
            next.choose(option).unwrap();
            explore(world, referee, next, keeps, ended);
        }
    }
}

fn honest_branch(world: &World, count: u32) -> Position {
    world.branch(count, world.states[count as usize])
}

#[test]
fn no_game_refutes_an_honest_prover() {
    let mut world = chain_of_calls(&mut StdRng::seed_from_u64(1), 2);
    let referee = Referee::new(&world);
    let mut ended = BTreeMap::new();
    let position = honest_branch(&world, 1);
    explore(&mut world, &referee, position, &mut |_, _| true, &mut ended);
    // One unit: three openings of the link and 27 intervals each; each step has its subjects, three ways to go on, and
    // again 27 intervals.
    assert_eq!(ended[&Stage::Final(Part::Link)], 3 * 27);
    assert!(ended[&Stage::Final(Part::Step)] > 64 * 3 * 3 * 27, "{ended:?}");
}

/// Every game about a check, of a claim that is nothing else, and of one that has a unit before it.
#[test]
fn no_game_refutes_a_check_that_holds() {
    let mut rng = StdRng::seed_from_u64(7);
    for count in 1..=2 {
        let mut world = chain_of_checks(&mut rng, 1).claimed(count);
        let referee = Referee::new(&world);
        let mut ended = BTreeMap::new();
        let position = honest_branch(&world, count);
        explore(&mut world, &referee, position, &mut |_, _| true, &mut ended);
        assert_eq!(ended[&Stage::Final(Part::Link)], 3 * 27 * u64::from(count));
    }
}

#[test]
fn no_random_game_refutes_an_honest_prover() {
    let mut rng = StdRng::seed_from_u64(2);
    for seed in 0..24 {
        let mut own = StdRng::seed_from_u64(seed);
        let count = rng.random_range(1..=6);
        let world = match seed % 4 {
            0 => chain_of_calls(&mut own, 6),
            1 => chain_of_checks(&mut own, 6),
            _ => chain_of_arithmetic(&mut own, 6),
        };
        let mut world = world.claimed(count);
        let referee = Referee::new(&world);
        let position = honest_branch(&world, count);
        let mut ended = BTreeMap::new();
        // Two or so options of each choice.
        let mut keeps = |position: &Position, _: u8| {
            let options = u32::from(position.stage().options());
            rng.random_ratio(options.min(2), options)
        };
        explore(&mut world, &referee, position, &mut keeps, &mut ended);
    }
}

/// An honest challenger finds nothing in a true claim, wherever others have led the branch, and neither does Bitcoin.
#[test]
fn a_true_claim_has_no_fault() {
    let mut rng = StdRng::seed_from_u64(3);
    let calls = chain_of_calls(&mut rng, 4);
    has_no_fault(&mut rng, calls, 3, 300);
    let checks = chain_of_checks(&mut rng, 14);
    // The check alone, and as many units as a claim may have.
    for count in [1, 5, 15] {
        has_no_fault(&mut rng, checks.claimed(count), count, 100);
    }
}

fn has_no_fault(rng: &mut StdRng, mut world: World, count: u32, games: u32) {
    let referee = Referee::new(&world);
    let bitcoin = OnBitcoin::new(&world);
    for _ in 0..games {
        let mut position = honest_branch(&world, count);
        loop {
            let published = answer_of(&mut world, &position);
            position.publish(published).unwrap();
            let stage = position.stage();
            // Once something was opened that is true the honest challenger would not be here.
            if matches!(
                stage,
                Stage::Units(_) | Stage::Link | Stage::Trace(_) | Stage::Step
            ) {
                assert_eq!(reply_of(&mut world, &position), Reply::NothingFalse, "{stage:?}");
            }
            let options: Vec<u8> = (0..stage.options())
                .filter(|option| referee.allows(&position, *option))
                .collect();
            if options.is_empty() {
                bitcoin.forfeit(&position);
                break;
            }
            position
                .choose(options[rng.random_range(0..options.len())])
                .unwrap();
        }
    }
}

/// The prover's steps are those that the machine itself proves.
#[test]
fn steps_are_as_the_machine_proves_them() {
    let mut rng = StdRng::seed_from_u64(4);
    for seed in 0..8 {
        let mut own = StdRng::seed_from_u64(seed);
        let mut world = if seed % 2 == 0 {
            chain_of_calls(&mut own, 2)
        } else {
            chain_of_arithmetic(&mut own, 2)
        };
        let claims = world.known_run(&world.inputs[1].clone()).claims.clone();
        for (step, claim) in claims.iter().enumerate() {
            let mut position = honest_branch(&world, 2);
            let steps = bitsect_bridge::game::trace(world.rounds).choices(step as u64);
            for option in [0, 1, 0].into_iter().chain(steps) {
                let published = answer_of(&mut world, &position);
                position.publish(published).unwrap();
                position.choose(option).unwrap();
            }
            assert_eq!(position.stage(), Stage::Step);
            let published = answer_of(&mut world, &position);
            for value in Value::ALL {
                if let Some(bytes) = published.get(&Item::Value(value)) {
                    assert_eq!(bytes, claim.values().bytes(value), "step {step}, {value:?}");
                }
            }
            assert_eq!(published.len(), 12);
        }
        assert!(claims.len() > 30, "{}", rng.random::<u8>());
    }
}

#[test]
fn who_does_not_know_its_claim_says_nothing() {
    let mut world = chain_of_calls(&mut StdRng::seed_from_u64(5), 3);
    let mut position = honest_branch(&world, 3);
    world.states.truncate(1);
    world.inputs.truncate(1);
    let units = Stage::Units(1);
    // Of the first round all is behind the claim.
    position.publish(answer_of(&mut world, &position)).unwrap();
    let turn = AnswerError::Turn {
        stage: Stage::Units(0),
    };
    assert_eq!(answer(&position, &world), Err(turn));
    position.choose(0).unwrap();
    let gap = AnswerError::Unknown {
        stage: units,
        what: "the chain state",
    };
    assert_eq!(answer(&position, &world), Err(gap));
    assert_eq!(reply_of(&mut world, &position), Reply::NotAsked);
}

/// The machine is asked to run where it has not, and only there.
#[test]
fn a_run_that_is_needed_is_asked_for() {
    let mut world = chain_of_calls(&mut StdRng::seed_from_u64(6), 2);
    let mut position = honest_branch(&world, 2);
    for option in [0, 1] {
        position.publish(answer_of(&mut world, &position)).unwrap();
        position.choose(option).unwrap();
    }
    let input = world.inputs[1];
    world.forget(&input);
    assert_eq!(
        answer(&position, &world),
        Err(AnswerError::Need(Need { input, step: 0 }))
    );
    let published = answer_of(&mut world, &position);
    position.publish(published).unwrap();
    world.forget(&input);
    assert_eq!(reply(&position, &world), Err(Need { input, step: 0 }.into()));
}
