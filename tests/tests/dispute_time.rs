//! The time locks on a real Bitcoin Core: a claim's ends, and the branches of who is silent. None opens a block early.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitcoin::Transaction;
use bitsect_bridge::game::Stage;
use bitsect_bridge::slot::{Actor, BranchEnd, Main, Position, SlotState, Turn};
use bitsect_tests::dispute::{Arena, CLAIMED, Claim, Liar, Lie, Play, ROUNDS, Side, WRONG_UNIT, params};

/// What Bitcoin Core says of a relative time lock that is not over (BIP-0068).
const TOO_EARLY: &str = "non-BIP68-final";
const UNITS: Stage = Stage::Units(0);
/// Blocks that the second challenge comes after the first.
const LATER: u32 = 3;
/// Blocks for a move: enough that the second challenge comes before the first has run out.
const TIMEOUT: u16 = 12;

/// The stage of a branch in which somebody is waited for, and the block since which.
fn awaited(state: &SlotState, pair: usize, whom: Turn) -> Option<(Stage, u32)> {
    match state.branches[pair].position {
        Position::Waiting { turn, stage, since } if turn == whom => Some((stage, since)),
        _ => None,
    }
}

/// Lets blocks come until the one before a lock's first is the tip, and checks that Bitcoin Core takes the transaction then and
/// not a block earlier.
async fn opens(arena: &mut Arena, first: u32, transaction: &Transaction) {
    arena.mine_to(first - 2).await;
    assert_eq!(arena.refusal(transaction).await, TOO_EARLY);
    arena.mine_to(first - 1).await;
    // Only its missing fee is in the way now, or that it is there already.
    assert_ne!(arena.refusal(transaction).await, TOO_EARLY);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_slashed_once_and_gives_every_stake_back_and_not_a_block_earlier() {
    let mut params = params(ROUNDS);
    params.move_timeout_blocks = TIMEOUT;
    params.dispute_window_blocks += 2 * 26 * TIMEOUT;
    let mut arena = Arena::start(built::built(), (1, 2), params).await;
    let liar = Liar::new(WRONG_UNIT, Lie::State).silent(UNITS);
    arena.operator(&[Claim::False(CLAIMED, liar)]).await;
    let sides = [Side::Challenger(0), Side::Challenger(1)];
    arena.challenger(0);
    let of = |pair| move |state: &SlotState| awaited(state, pair, Turn::Prover).is_some();
    let state = arena.play_until((sides[0], 0), "a challenge", of(0)).await;
    let (_, first) = awaited(&state, 0, Turn::Prover).expect("it waits");
    arena.mine_to(first + LATER - 1).await;
    arena.challenger(1);
    let state = arena.play_until((sides[1], 0), "another challenge", of(1)).await;
    let (_, second) = awaited(&state, 1, Turn::Prover).expect("it waits");
    assert!(second >= first + LATER, "{second}");

    let secp = bitcoin::key::Secp256k1::new();
    let key = sides.map(|side| arena.parties.key(side));
    let slot = arena.slots[0].clone();
    let actor = Actor {
        secp: &secp,
        graph: &slot.graph,
        signatures: &slot.signatures,
    };
    let timeout = actor.timeout(0, UNITS, &key[0]).expect("a transaction");
    opens(&mut arena, first + u32::from(TIMEOUT), &timeout).await;
    let is_slashed = |state: &SlotState| matches!(state.main, Main::Slashed { .. });
    let state = arena.play_until((sides[1], 0), "the slash", is_slashed).await;
    assert_eq!(state.main, Main::Slashed { pair: 0 });
    assert_eq!(state.branches[0].position, Position::Ended(BranchEnd::Timeout));
    let recover = actor
        .recover_late(&state, 1, UNITS, &key[1])
        .expect("a transaction");
    opens(&mut arena, second + u32::from(TIMEOUT), &recover).await;
    let is_over = |state: &SlotState| matches!(state.branches[1].position, Position::Ended(_));
    let state = arena.play_until((sides[1], 0), "the stake", is_over).await;
    assert_eq!(state.branches[1].position, Position::Ended(BranchEnd::Recovered));
    arena.stop().await;
}

/// Blocks of the challenge window: the false challenge is over before it ends.
const WINDOW: u16 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn true_claims_end_fast_or_slowly_and_nothing_ends_a_block_earlier() {
    let mut params = params(ROUNDS);
    params.challenge_window_blocks = WINDOW;
    params.dispute_window_blocks += WINDOW;
    let mut arena = Arena::start(built::built(), (2, 1), params).await;
    arena
        .operator(&[Claim::True(CLAIMED), Claim::True(CLAIMED)])
        .await;
    arena.player(0, &[Play::Honest, Play::SILENT]);
    let (fast, slow) = ((Side::Operator, 0), (Side::Operator, 1));
    let is_answered = |state: &SlotState| awaited(state, 0, Turn::Challenger).is_some();
    let state = arena.play_until(slow, "the first answer", is_answered).await;
    let (stage, since) = awaited(&state, 0, Turn::Challenger).expect("it waits");
    let secp = bitcoin::key::Secp256k1::new();
    let slot = arena.slots[1].clone();
    let actor = Actor {
        secp: &secp,
        graph: &slot.graph,
        signatures: &slot.signatures,
    };
    let forfeit = actor
        .forfeit(&state, 0, stage, &arena.parties.key(Side::Operator))
        .expect("a transaction");
    opens(
        &mut arena,
        since + u32::from(params.move_timeout_blocks),
        &forfeit,
    )
    .await;
    let is_taken = |state: &SlotState| state.branches[0].position == Position::Ended(BranchEnd::Forfeit);
    arena.play_until(slow, "the stake", is_taken).await;

    let end = arena.slots[0]
        .graph
        .signed_finalise_fast(&arena.slots[0].signatures);
    ends(
        &mut arena,
        fast,
        (Main::FinalisedFast, WINDOW),
        &end.expect("it is signed"),
    )
    .await;
    let end = arena.slots[1]
        .graph
        .signed_finalise_slow(&arena.slots[1].signatures);
    let slowly = (Main::FinalisedSlow, params.dispute_window_blocks);
    ends(&mut arena, slow, slowly, &end.expect("it is signed")).await;
    arena.stop().await;
}

/// Watches a claim being finalised, and not a block earlier than the window allows.
async fn ends(
    arena: &mut Arena,
    (side, slot): (Side, usize),
    (main, window): (Main, u16),
    end: &Transaction,
) {
    let state = arena.state(side, slot).expect("it has seen the chain");
    assert_eq!(state.main, Main::Claimed);
    let last = state.claim.expect("a claim").height + u32::from(window);
    opens(arena, last, end).await;
    let is_over = |state: &SlotState| state.main != Main::Claimed;
    let state = arena.play_until((side, slot), "the end", is_over).await;
    assert_eq!(state.main, main);
    assert_eq!(state.moves.last().expect("an end").height, last);
}
