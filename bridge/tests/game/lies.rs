//! An honest challenger against provers that lie.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use bitsect_bridge::game::challenger::Reply;
use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::game::{Item, Part, Stage, Subject};
use bitsect_bridge::params::Rounds;
use bitsect_judge::leaf::Values;
use bitsect_judge::step::StepClaim;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::honest::{answer_of, reply_of};
use crate::liar::{Liar, Plan, Source, Style};
use crate::on_bitcoin::OnBitcoin;
use crate::program::{chain_of_arithmetic, chain_of_calls, chain_of_checks, ends_badly};
use crate::referee::Referee;
use crate::store::{Store, join};
use crate::world::World;

/// Plays a liar against the honest challenger up to an answer that is refuted, and gives the rule.
pub fn play(
    world: &mut World,
    referee: &Referee,
    liar: &mut dyn FnMut(&mut World, &Position) -> Published,
    position: &mut Position,
) -> Result<String, Reply> {
    loop {
        let published = liar(world, position);
        position.publish(published).unwrap();
        if let Some(rule) = referee.refutes(position) {
            return Ok(rule);
        }
        match reply_of(world, position) {
            Reply::Choose(option) => {
                assert!(referee.allows(position, option), "{option} {position:x?}");
                position.choose(option).unwrap();
            }
            reply => return Err(reply),
        }
    }
}

/// What a game was about, for messages.
fn shown(position: &Position) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:x?}",
        position.stage(),
        position.opening(),
        position.subject(),
        position.go(Part::Step),
        [Part::Link, Part::Step].map(|part| position.upper_node(part)),
        position.step_claim(),
    )
}

/// Of so many games one is played again in transactions.
const ON_BITCOIN: u32 = 6;

/// Games of one chain, some about units that it does not have: lies anywhere, at each of its steps, and more at its calls.
fn games(world: &World, seed: u64, count: u32, rules: &mut BTreeMap<String, u32>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let referee = Referee::new(world);
    let bitcoin = OnBitcoin::new(world);
    let mut liar = Liar::new(world, seed);
    let claims = 1..=world.states.len() as u32 + 2;
    let mut worlds: Vec<World> = claims.clone().map(|count| world.claimed(count)).collect();
    worlds.iter().for_each(|world| liar.learn(world));
    for game in 0..count {
        let claimed = rng.random_range(claims.clone());
        let world = &mut worlds[claimed as usize - 1];
        let mut position = world.branch(claimed, B256::new(rng.random()));
        let unit = rng.random_range(0..u64::from(claimed).min(world.inputs.len() as u64));
        let claims = &world.known_run(&world.inputs[unit as usize]).claims;
        let calls: Vec<usize> = (0..claims.len())
            .filter(|step| claims[*step].instruction == 0x73)
            .collect();
        let step = match rng.random_range(0..12) {
            0 => claims.len(),
            1..6 => rng.random_range(0..claims.len()),
            _ => calls[rng.random_range(0..calls.len())],
        };
        liar.begin(Style {
            tries: [1, 1, 4, 8][rng.random_range(0..4)],
            focus: rng.random_ratio(7, 8).then_some((unit, step as u64)),
            plans: None,
        });
        let mut last = position.clone();
        let mut lie = |world: &mut World, position: &Position| {
            last.clone_from(position);
            liar.answer(world, &referee, position)
        };
        let ended = play(world, &referee, &mut lie, &mut position);
        let rule = ended.unwrap_or_else(|reply| panic!("{reply:?} at {}", shown(&last)));
        if game.is_multiple_of(ON_BITCOIN) {
            bitcoin.slash(&position);
        }
        *rules.entry(rule).or_default() += 1;
    }
}

/// What must have ended some game: each family of rules that the dispute has, by the beginnings of their names.
const FAMILIES: [&str; 44] = [
    "units/after-claim",
    "link/input",
    "link/output",
    "link/constant",
    "check/missing",
    "check/early",
    "step/before",
    "address/",
    "next/",
    "result/",
    "still/stopped",
    "still/trap",
    "still/exit",
    "still/rs1",
    "status/",
    "trap/",
    "path/word/pc",
    "path/word/instruction",
    "path/word/memory",
    "path/word/rs1",
    "path/word/rs2",
    "path/word/a7",
    "path/word/a0",
    "path/word/a1",
    "path/leaf-hash",
    "path/leaf-hash/key",
    "path/write/register-",
    "path/write/memory-",
    "path/write/control",
    "path/write/control-exit",
    "call/node-from-hash",
    "call/node-link",
    "call/hash-of-node",
    "call/preimage",
    "call/key-hash",
    "call/block-hash",
    "call/preimage-node",
    "path/equation-left",
    "path/equation-right",
    "path/equation-left-after",
    "path/equation-right-after",
    "path/repeat/node-",
    "path/repeat-after/node-",
    "path/repeat-after/key-and-block",
];

#[test]
fn every_liar_is_refuted() {
    let mut rules = BTreeMap::<String, u32>::new();
    for seed in 0..11 {
        let mut own = StdRng::seed_from_u64(100 + seed);
        let world = if seed >= 9 {
            chain_of_checks(&mut own, 4)
        } else if seed % 3 == 0 {
            chain_of_arithmetic(&mut own, 4)
        } else {
            chain_of_calls(&mut own, 4)
        };
        games(&world, seed, 1_500, &mut rules);
    }
    let missing: Vec<&str> = FAMILIES
        .into_iter()
        .filter(|family| !rules.keys().any(|rule| rule.starts_with(family)))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {rules:#?}");
}

/// A game that is honest up to a step, lies there, and then goes by a plan.
fn lie_in_step(
    world: &mut World,
    referee: &Referee,
    liar: &mut Liar,
    (unit, step): (u64, u64),
    plans: Option<[Plan; 2]>,
    lie: &dyn Fn(&mut StepClaim),
) -> String {
    liar.begin(Style {
        tries: 1,
        focus: Some((unit, step)),
        plans,
    });
    let mut position = world.branch(unit as u32 + 1, B256::repeat_byte(0xee));
    let mut last = position.clone();
    let mut prover = |world: &mut World, position: &Position| {
        last.clone_from(position);
        let mut published = liar.answer(world, referee, position);
        match position.stage() {
            Stage::Link => {
                published = liar.honest(world, position).unwrap();
                published.insert(Item::Last, vec![0x77; 24]);
            }
            Stage::Step => {
                published = liar.honest(world, position).unwrap();
                let mut claim = claim_of(&published);
                lie(&mut claim);
                claim.after = position.machine_state(position.step().unwrap() + 1).unwrap();
                published = published_claim(&claim, &published);
            }
            // What is not read is true.
            Stage::Content(Part::Step) => {
                if let Some(honest) = liar.honest(world, position) {
                    published = liar.claimed(position, honest);
                }
            }
            _ => {}
        }
        published
    };
    let ended = play(world, referee, &mut prover, &mut position);
    ended.unwrap_or_else(|reply| panic!("{reply:?} at {}", shown(&last)))
}

fn claim_of(published: &Published) -> StepClaim {
    let mut values = Values::new();
    for (item, bytes) in published {
        if let Item::Value(value) = item {
            values.insert(*value, bytes.as_slice());
        }
    }
    StepClaim::from_values(&values)
}

fn published_claim(claim: &StepClaim, like: &Published) -> Published {
    let values = claim.values();
    let items = like.keys().map(|item| match item {
        Item::Value(value) => (*item, values.bytes(*value).to_vec()),
        _ => panic!("a step publishes values"),
    });
    items.collect()
}

/// Whatever a lie in a step is in, each bit of some.
#[test]
fn every_lie_in_a_step_is_refuted() {
    let mut rng = StdRng::seed_from_u64(21);
    let mut rules = BTreeMap::<String, u32>::new();
    for seed in 0..6 {
        let mut own = StdRng::seed_from_u64(200 + seed);
        let mut world = if seed == 0 {
            chain_of_calls(&mut own, 1)
        } else {
            chain_of_arithmetic(&mut own, 1)
        };
        let referee = Referee::new(&world);
        let mut liar = Liar::new(&world, seed);
        let steps = world.known_run(&world.inputs[0]).claims.len() as u64;
        for step in 0..steps {
            for field in 0..10 {
                let bit = rng.random_range(0..32_u32);
                let lie = |claim: &mut StepClaim| {
                    let word = match field {
                        0 => &mut claim.pc,
                        1 => &mut claim.instruction,
                        2 => &mut claim.first,
                        3 => &mut claim.second,
                        4 => &mut claim.word,
                        5 => &mut claim.address,
                        6 => &mut claim.written,
                        7 => &mut claim.next,
                        8 => return claim.status ^= 1 + (bit % 9) as u8,
                        _ => return claim.status_after ^= 1 + (bit % 9) as u8,
                    };
                    *word ^= 1 << bit;
                };
                let rule = lie_in_step(&mut world, &referee, &mut liar, (0, step), None, &lie);
                *rules.entry(rule).or_default() += 1;
            }
        }
    }
    let results = rules.keys().filter(|rule| rule.starts_with("result/")).count();
    assert!(results > 20, "{rules:#?}");
}

/// Changes what makes the challenger open a subject, as consistently as the step allows.
fn lie_about(subject: Subject, claim: &mut StepClaim, text: &core::ops::Range<u32>) {
    let middle = claim.middle;
    match subject {
        Subject::Control => claim.pc ^= 4,
        Subject::Instruction => claim.instruction ^= 1 << 20,
        Subject::First | Subject::CallNumber => claim.first ^= 4,
        Subject::Second | Subject::CallAddress => claim.second ^= 1 << 9,
        Subject::Word | Subject::CallLevel => claim.word ^= 1,
        Subject::WriteControl => return,
        _ => return claim.middle = [0xdd; 24],
    }
    claim.conclude(text);
    claim.middle = middle;
}

/// Each subject, with paths that are wrong from any level on.
#[test]
fn every_lie_on_a_path_is_refuted() {
    let mut rules = BTreeMap::<String, u32>::new();
    let mut opened = BTreeSet::new();
    for seed in 0..2 {
        let mut own = StdRng::seed_from_u64(300 + seed);
        let mut world = if seed == 0 {
            chain_of_calls(&mut own, 1)
        } else {
            chain_of_arithmetic(&mut own, 1)
        };
        let referee = Referee::new(&world);
        let mut liar = Liar::new(&world, seed);
        let claims = world.known_run(&world.inputs[0]).claims.clone();
        let text = world.program.text.clone();
        for subject in Subject::ALL {
            let open = |claim: &&StepClaim| referee.opens(subject, claim);
            let Some(step) = claims.iter().position(|claim| open(&claim)) else {
                continue;
            };
            opened.insert(subject);
            let lie = |claim: &mut StepClaim| lie_about(subject, claim, &text);
            for until in 0..27 {
                for plans in plans(until) {
                    let at = (0, step as u64);
                    let rule = lie_in_step(&mut world, &referee, &mut liar, at, Some(plans), &lie);
                    *rules.entry(rule).or_default() += 1;
                }
            }
        }
    }
    assert_eq!(opened.len(), Subject::ALL.len());
    let equations = rules
        .keys()
        .filter(|rule| rule.starts_with("path/equation"))
        .count();
    assert!(equations > 60, "{rules:#?}");
}

/// Paths that are broken behind a position.
fn plans(until: u64) -> Vec<[Plan; 2]> {
    let plan = |above, below| Plan { until, above, below };
    let truth = plan(Source::Truth, Source::Truth);
    vec![
        [
            plan(Source::Truth, Source::Content),
            plan(Source::Garbage, Source::Content),
        ],
        [
            plan(Source::Truth, Source::Garbage),
            plan(Source::Garbage, Source::Garbage),
        ],
        [truth, plan(Source::Garbage, Source::Content)],
        [truth, plan(Source::Garbage, Source::Garbage)],
    ]
}

/// What a prover claims whose machine gives another result, all of which it can show.
fn play_another_chain(theirs: &mut World, ours: &mut World) -> Result<String, Reply> {
    let referee = Referee::new(theirs);
    let mut position = theirs.branch(1, theirs.states[1]);
    loop {
        position.publish(answer_of(theirs, &position)).unwrap();
        if let Some(rule) = referee.refutes(&position) {
            return Ok(rule);
        }
        match reply_of(ours, &position) {
            Reply::Choose(option) => position.choose(option).unwrap(),
            reply => return Err(reply),
        }
    }
}

#[test]
fn a_machine_must_halt_well() {
    for by_trap in [true, false] {
        let mut world = World::new(ends_badly(by_trap), Rounds { units: 2, trace: 3 }, Store::new());
        let input = join(world.states[0], B256::repeat_byte(0x42));
        let mut ours = world.clone();
        let output = world.run(input).output();
        world.inputs.push(input);
        world.states.push(output);
        assert_eq!(
            play_another_chain(&mut world, &mut ours),
            Ok("path/not-halted".to_owned())
        );
    }
}

/// A unit that reads something else than it should is no lie of the machine's: whether the program takes it is the program's
/// business.
#[test]
fn other_advice_that_the_program_takes_is_not_refuted() {
    let mut ours = chain_of_calls(&mut StdRng::seed_from_u64(31), 2);
    let mut theirs = World::new(ours.program.clone(), ours.rounds, ours.store.clone());
    theirs.add_unit(B256::from_slice(&ours.inputs[1][32..]));
    assert_ne!(theirs.states[1], ours.states[1]);
    assert_eq!(
        play_another_chain(&mut theirs, &mut ours),
        Err(Reply::NothingFalse)
    );
}
