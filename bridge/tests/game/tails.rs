//! Nodes that are true in the bytes that states have, and false behind them.

use alloy_primitives::B256;
use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::game::truth::{Place, Truth};
use bitsect_bridge::game::{Item, Opening, Part, Stage, Subject, path, trace};
use bitsect_bridge::params::Rounds;
use bitsect_judge::leaf::Value;
use bitsect_judge::step::{StepClaim, cut};
use bitsect_machine::address::{CONTROL, INPUT, KEY, REGISTERS};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::honest::answer_of;
use crate::lies::play;
use crate::program::{DATA, chain_of_calls, reads_behind_its_state};
use crate::referee::Referee;
use crate::store::{Leaf, Store, hash, join};
use crate::world::World;

/// A state with a false tail: what a prover publishes of the way to it.
struct Tail {
    step: u64,
    /// The state between the writes, and after.
    middle: B256,
    after: B256,
    place: Place,
    /// What `HASH_OF_NODE` is said to have read.
    node: Option<B256>,
}

fn with_false_tail(mut node: B256) -> B256 {
    node[31] ^= 1;
    node
}

/// Of a claim of one unit all states behind the first.
fn claimed_states(position: &Position) -> Published {
    let items = position.items().into_iter();
    items
        .map(|item| (item, position.claim().state.to_vec()))
        .collect()
}

/// Answers honestly but for the tail, and for what follows from it.
fn answer(world: &mut World, tail: &Tail, position: &Position) -> Published {
    let mut published = match position.stage() {
        // There is no honest next state in the last interval.
        Stage::Units(_) => Published::new(),
        _ => answer_of(world, position),
    };
    match position.stage() {
        Stage::Units(_) => published = claimed_states(position),
        Stage::Link => drop(published.insert(Item::Last, vec![0x77; 24])),
        Stage::Trace(_) => {
            let asked = trace(position.rounds()).asked(&position.step_choices());
            for (index, at) in (0..).zip(asked).filter(|(_, at)| *at > tail.step) {
                let state = if at == tail.step + 1 {
                    cut(&tail.after)
                } else {
                    [0x66; 24]
                };
                published.insert(Item::Point(index), state.to_vec());
            }
        }
        Stage::Step => {
            for (value, root) in [(Value::Middle, tail.middle), (Value::After, tail.after)] {
                published.insert(Item::Value(value), cut(&root).to_vec());
            }
        }
        Stage::Content(Part::Step) if position.subject() == Some(Subject::HashOfNode) => {
            let node = tail.node.unwrap();
            published.insert(Item::Value(Value::Node), node.to_vec());
        }
        Stage::Path(Part::Step, _) => {
            let asked = path().asked(&position.path_choices(Part::Step));
            let way = world.store.path(tail.middle, tail.place);
            for (index, at) in (0..).zip(asked) {
                if let Some(node) = published.get_mut(&Item::NodeAfter(index)) {
                    *node = way.node(at).unwrap().to_vec();
                }
            }
        }
        _ => {}
    }
    published
}

fn is_refuted(world: &mut World, tail: &Tail) {
    let referee = Referee::new(world);
    let mut position = world.branch(1, B256::repeat_byte(0xee));
    let mut prover = |world: &mut World, position: &Position| answer(world, tail, position);
    let ended = play(world, &referee, &mut prover, &mut position);
    assert!(ended.is_ok(), "{ended:?}");
}

/// Gives the first step of a kind in the first unit, and the states before it and between its writes.
fn find(world: &World, is: impl Fn(&StepClaim) -> bool) -> (u64, StepClaim, B256, B256) {
    let run = world.known_run(&world.inputs[0]);
    let step = run.claims.iter().position(is).unwrap();
    (step as u64, run.claims[step], run.roots[step], run.middles[step])
}

/// Writes control as the true step does, on a state that was made up.
fn after(world: &mut World, step: u64, middle: B256) -> B256 {
    let input = world.inputs[0];
    let control = world.path(&input, step + 1, Place::leaf(CONTROL)).unwrap();
    world.store.with_leaf(middle, CONTROL, control.leaf().unwrap())
}

#[test]
fn a_written_leaf_has_no_other_tail() {
    let mut world = chain_of_calls(&mut StdRng::seed_from_u64(41), 1);
    let (step, claim, _, middle) = find(&world, |claim| claim.instruction & 0x7f == 0x37);
    let place = Place::leaf(REGISTERS + 4 * (claim.instruction >> 7 & 31));
    let node = with_false_tail(world.store.path(middle, place).end().unwrap());
    let middle = world.store.with_node(middle, place, node);
    let after = after(&mut world, step, middle);
    let node = None;
    is_refuted(
        &mut world,
        &Tail {
            step,
            middle,
            after,
            place,
            node,
        },
    );
}

#[test]
fn a_node_that_is_hashed_has_no_other_tail() {
    let mut world = chain_of_calls(&mut StdRng::seed_from_u64(42), 1);
    let (step, claim, before, middle) = find(&world, |claim| claim.instruction == 0x73 && claim.first == 2);
    let read = Place {
        address: claim.second,
        level: claim.word,
    };
    let node = with_false_tail(world.store.path(before, read).end().unwrap());
    let middle = world.store.with_leaf(middle, KEY, join(node, B256::ZERO));
    let after = after(&mut world, step, middle);
    is_refuted(
        &mut world,
        &Tail {
            step,
            middle,
            after,
            place: Place::leaf(KEY),
            node: Some(node),
        },
    );
}

#[test]
fn an_input_leaf_has_no_other_tail() {
    let mut world = chain_of_calls(&mut StdRng::seed_from_u64(43), 1);
    let referee = Referee::new(&world);
    let input = world.inputs[0];
    let first = world.machine_state(&input, 0).unwrap().unwrap();
    let node = with_false_tail(hash(&input));
    let first = world.store.with_node(first, Place::leaf(INPUT), node);
    let mut position = world.branch(1, B256::repeat_byte(0xee));
    let mut prover = |world: &mut World, position: &Position| {
        if matches!(position.stage(), Stage::Units(_)) {
            return claimed_states(position);
        }
        let mut published = answer_of(world, position);
        let way = world.store.path(first, Place::leaf(INPUT));
        match position.stage() {
            Stage::Link => drop(published.insert(Item::First, cut(&first).to_vec())),
            Stage::Path(part, _) => {
                let asked = path().asked(&position.path_choices(part));
                for (index, at) in (0..).zip(asked) {
                    published.insert(Item::Node(index), way.node(at).unwrap().to_vec());
                }
            }
            _ => assert_eq!(position.opening(), Some(Opening::Init)),
        }
        published
    };
    let ended = play(&mut world, &referee, &mut prover, &mut position);
    assert!(ended.is_ok(), "{ended:?}");
}

/// The chain state that a unit begins with has other last bytes, which no state has: the unit maps a node that nobody
/// knows the preimage of, and reads what lies under the true one. `level` is that of the node.
struct Behind {
    level: u32,
    /// The input with the false tail, and the run of it that is known.
    input: Leaf,
    roots: Vec<B256>,
    /// The step that reads there, as it is with the true input.
    step: u64,
    claim: StepClaim,
    /// What lies under the true chain state.
    leaves: [Leaf; 2],
}

impl Behind {
    fn new(rng: &mut StdRng, level: u32) -> (World, Self) {
        let leaves = [0, 1].map(|_| core::array::from_fn(|_| rng.random()));
        let mut store = Store::new();
        let state = store.insert_leaves(&leaves[..1 << level]);
        let rounds = Rounds { units: 2, trace: 3 };
        let mut world = World::new(reads_behind_its_state(level), rounds, store);
        world.states[0] = state;
        world.add_unit(B256::ZERO);
        let input = join(with_false_tail(state), B256::ZERO);
        world.run(input);
        let roots = world.known_run(&input).roots.clone();
        let claims = &world.known_run(&world.inputs[0]).claims;
        let step = roots.len() - 1;
        let claim = claims[step];
        assert_eq!(claim.address, DATA);
        let step = step as u64;
        (
            world,
            Self {
                level,
                input,
                roots,
                step,
                claim,
                leaves,
            },
        )
    }

    fn after(at: u64) -> Vec<u8> {
        vec![0x80 | at as u8; 24]
    }

    fn answer(&self, world: &World, position: &Position) -> Published {
        let value = |value: Value, bytes: &[u8]| (Item::Value(value), bytes.to_vec());
        match position.stage() {
            Stage::Units(_) => claimed_states(position),
            Stage::Link => [
                (Item::Input, self.input.to_vec()),
                (Item::First, cut(&self.roots[0]).to_vec()),
                (Item::Last, Self::after(64)),
            ]
            .into(),
            Stage::Trace(_) => {
                let asked = trace(position.rounds()).asked(&position.step_choices());
                let states = asked.into_iter().map(|at| {
                    let known = self.roots.get(at as usize);
                    known.map_or_else(|| Self::after(at), |root| cut(root).to_vec())
                });
                (0..).map(Item::Point).zip(states).collect()
            }
            Stage::Step => {
                let before = cut(&self.roots[self.step as usize]);
                let after = position.machine_state(self.step + 1).unwrap();
                let claim = StepClaim {
                    before,
                    after,
                    ..self.claim
                };
                let values = claim.values();
                let items = position.items().into_iter();
                items
                    .map(|item| match item {
                        Item::Value(of) => value(of, values.bytes(of)),
                        _ => panic!("a step publishes values"),
                    })
                    .collect()
            }
            Stage::Content(Part::Step) => [value(Value::Leaf, &self.leaves[0])].into(),
            Stage::Path(Part::Step, _) => {
                let root = self.roots[self.step as usize];
                let node = Place {
                    address: DATA,
                    level: self.level,
                };
                let way = world.store.path(root, node);
                let asked = path().asked(&position.path_choices(Part::Step));
                let nodes = asked.into_iter().map(|at| {
                    let below = at > u64::from(26 - self.level);
                    let node = if below {
                        hash(&self.leaves[0])
                    } else {
                        way.node(at).unwrap()
                    };
                    node.to_vec()
                });
                (0..).map(Item::Node).zip(nodes).collect()
            }
            Stage::Final(Part::Step) => [value(Value::Sibling, hash(&self.leaves[1]).as_slice())].into(),
            stage => panic!("{stage:?}"),
        }
    }
}

#[test]
fn a_chain_state_has_no_other_tail() {
    let mut rng = StdRng::seed_from_u64(44);
    for (level, rule) in [(0, "path/leaf-hash"), (1, "path/equation-left/address-0")] {
        let (mut world, behind) = Behind::new(&mut rng, level);
        let referee = Referee::new(&world);
        let mut position = world.branch(1, B256::repeat_byte(0xee));
        let mut prover = |world: &mut World, position: &Position| behind.answer(world, position);
        let ended = play(&mut world, &referee, &mut prover, &mut position);
        assert_eq!(ended, Ok(rule.to_owned()), "level {level}");
    }
}
