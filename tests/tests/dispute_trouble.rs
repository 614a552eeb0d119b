//! Disputes in trouble: blocks that are taken back, daemons that are killed, fees that rise, strangers on anchors. The outcome
//! is the same.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use std::collections::BTreeMap;

use bitsect_bridge::params::Params;
use bitsect_bridge::slot::{BranchEnd, Main, Position, SlotState};
use bitsect_judge::leaf::Value;
use bitsect_tests::dispute::{Arena, CLAIMED, Claim, Field, Liar, ROUNDS, Side, Sightings, moves, params};

/// Moves of a game at most.
const MOVES: u16 = 2 * 26;
/// Blocks until a test gives up.
const LONGEST: u32 = 600;
/// The deepest reorg.
const DEEPEST: u32 = 6;

fn lie() -> Claim {
    Claim::False(CLAIMED, Liar::in_step(Field::Word(Value::Written, 8)))
}

/// Parameters with so many blocks for a move and for a challenge.
fn patient(blocks: u16) -> Params {
    Params {
        move_timeout_blocks: blocks,
        challenge_window_blocks: blocks,
        dispute_window_blocks: blocks + MOVES * blocks,
        ..params(ROUNDS)
    }
}

fn is_won(state: &SlotState) -> bool {
    let verdict = state.branches[0].position == Position::Ended(BranchEnd::Verdict);
    verdict && state.main == Main::Slashed { pair: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn reorgs_of_one_to_six_blocks_at_every_move_change_nothing() {
    let mut arena = Arena::start(built::built(), (1, 1), patient(40)).await;
    // What the game is built on stays.
    arena.network.core.mine(DEEPEST).await.expect("blocks are mined");
    let mut sightings = Sightings::new(&arena);
    arena.operator(&[lie()]).await;
    arena.challenger(0);
    let mut depths: BTreeMap<u32, u32> = BTreeMap::new();
    let mut played = 0;
    for _ in 0..LONGEST {
        arena.next_block().await;
        sightings.look(&arena).await;
        let state = arena
            .state(Side::Challenger(0), 0)
            .expect("it has seen the chain");
        if state.moves.len() > played {
            played = state.moves.len();
            let depth = 1 + (played as u32 - 1) % DEEPEST;
            *depths.entry(depth).or_default() += 1;
            arena.reorg(depth).await;
        } else if is_won(&state) {
            let often = depths.len() == DEEPEST as usize && depths.values().all(|count| *count > 2);
            assert!(often, "{depths:?}: {}", moves(&state));
            assert!(sightings.confirmed() > 10, "{sightings:?}");
            arena.stop().await;
            return;
        }
    }
    let state = arena
        .state(Side::Challenger(0), 0)
        .expect("it has seen the chain");
    panic!("the claim is not defeated: {}", moves(&state));
}

/// The move after which the challenger is left with its keys alone.
const FORGOTTEN_AT: usize = 7;

#[tokio::test(flavor = "multi_thread")]
async fn daemons_that_are_killed_at_every_move_play_the_same_game() {
    let mut arena = Arena::start(built::built(), (1, 1), params(ROUNDS)).await;
    let mut sightings = Sightings::new(&arena);
    let (operator, challenger) = (Side::Operator, Side::Challenger(0));
    let mut played = 0;
    arena.operator(&[lie()]).await;
    arena.challenger(0);
    for _ in 0..LONGEST {
        arena.next_block().await;
        sightings.look(&arena).await;
        let state = arena.state(challenger, 0).expect("it has seen the chain");
        if is_won(&state) {
            assert!(played > FORGOTTEN_AT, "{}", moves(&state));
            return arena.stop().await;
        }
        if state.moves.len() > played {
            played = state.moves.len();
            arena.kill(operator).await;
            arena.kill(challenger).await;
            if played == FORGOTTEN_AT {
                arena.forget(challenger);
            }
            arena.operator(&[lie()]).await;
            arena.challenger(0);
        }
    }
    let state = arena.state(challenger, 0).expect("it has seen the chain");
    panic!("the claim is not defeated: {}", moves(&state));
}

/// What the stranger pays, sat per vB, once so many moves are made: moves pay 1 at first.
const SPIKES: [(usize, u64); 2] = [(6, 8), (20, 16)];
/// What the mempool holds of them, in blocks.
const JAM: usize = 3;
/// Coins of the stranger: for some sixty full blocks, and for children on anchors.
const COINS: usize = 700;
/// Of these the children on anchors.
const PINS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn moves_confirm_in_time_in_full_blocks_whoever_tries_their_anchors() {
    let params = patient(16);
    let mut arena = Arena::start(built::built(), (1, 1), params).await;
    let mut stranger = arena.stranger(COINS).await;
    arena.operator(&[lie()]).await;
    arena.challenger(0);
    let (mut tried, mut blocks) = (0, 0);
    let state = loop {
        let state = arena.state(Side::Challenger(0), 0);
        let made = state.as_ref().map_or(0, |state| state.moves.len());
        if let Some(state) = state.filter(|state| !matches!(state.main, Main::Bonded | Main::Claimed)) {
            break state;
        }
        assert!(blocks < LONGEST, "the claim is not defeated");
        let spike = SPIKES.iter().rfind(|(begin, _)| *begin <= made);
        if let Some((_, rate)) = spike.filter(|_| stranger.coins() > PINS) {
            stranger.jam(&arena.network.core, JAM, *rate).await;
        }
        arena.moves_are_made().await;
        tried = stranger.pin(&arena.network.core).await;
        arena.mine_one().await;
        blocks += 1;
    };
    let made = state.moves.len();
    assert!(is_won(&state), "{}", moves(&state));
    assert!(blocks as usize > made, "no move has waited: {}", moves(&state));
    assert!(stranger.coins() < COINS - PINS, "blocks were not full");
    // The two moves that end the game are one transaction, and that has a fee of its own.
    assert!(tried + 2 >= made, "{tried} of {made}");
    let heights = state.moves.iter().map(|played| played.height);
    let longest = heights
        .clone()
        .zip(heights.skip(1))
        .map(|(before, after)| after - before);
    assert!(
        longest.max() < Some(u32::from(params.move_timeout_blocks)),
        "{}",
        moves(&state)
    );
    arena.stop().await;
}
