//! The time locks of a silent operator's branches on a real Bitcoin Core: none opens a block early.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitcoin::Transaction;
use bitsect_bridge::game::Stage;
use bitsect_bridge::slot::{Actor, BranchEnd, Main, Position, SlotState, Turn};
use bitsect_tests::dispute::{Arena, CLAIMED, Claim, Liar, Lie, ROUNDS, Side, params};

/// What Bitcoin Core says of a relative time lock that is not over (BIP-0068).
const TOO_EARLY: &str = "non-BIP68-final";
const UNITS: Stage = Stage::Units(0);
/// Blocks that the second challenge comes after the first.
const LATER: u32 = 3;
/// Blocks for a move: enough that the second challenge comes before the first has run out.
const TIMEOUT: u16 = 12;

/// The block since which the operator is asked in a branch.
fn asked(state: &SlotState, pair: usize) -> Option<u32> {
    match state.branches[pair].position {
        Position::Waiting {
            turn: Turn::Prover,
            since,
            ..
        } => Some(since),
        _ => None,
    }
}

/// Lets blocks come until a lock is over, and checks that Bitcoin Core takes the transaction then and not a block earlier.
async fn opens(arena: &mut Arena, since: u32, transaction: &Transaction) {
    let end = since + u32::from(TIMEOUT);
    arena.mine_to(end - 2).await;
    assert_eq!(arena.refusal(transaction).await, TOO_EARLY);
    arena.mine_to(end - 1).await;
    // Only its missing fee is in the way now.
    assert_ne!(arena.refusal(transaction).await, TOO_EARLY);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_slashed_once_and_gives_every_stake_back_and_not_a_block_earlier() {
    let mut params = params(ROUNDS);
    params.move_timeout_blocks = TIMEOUT;
    params.dispute_window_blocks += 2 * 26 * TIMEOUT;
    let mut arena = Arena::start(built::built(), (1, 2), params).await;
    let liar = Liar::new(5, Lie::State).silent(UNITS);
    arena.operator(&[Claim::False(CLAIMED, liar)]).await;
    let sides = [Side::Challenger(0), Side::Challenger(1)];
    arena.challenger(0);
    let of = |pair| move |state: &SlotState| asked(state, pair).is_some();
    let state = arena.play_until((sides[0], 0), "a challenge", of(0)).await;
    let first = asked(&state, 0).expect("it waits");
    arena.mine_to(first + LATER - 1).await;
    arena.challenger(1);
    let state = arena.play_until((sides[1], 0), "another challenge", of(1)).await;
    let second = asked(&state, 1).expect("it waits");
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
    opens(&mut arena, first, &timeout).await;
    let is_slashed = |state: &SlotState| matches!(state.main, Main::Slashed { .. });
    let state = arena.play_until((sides[1], 0), "the slash", is_slashed).await;
    assert_eq!(state.main, Main::Slashed { pair: 0 });
    assert_eq!(state.branches[0].position, Position::Ended(BranchEnd::Timeout));
    let recover = actor
        .recover_late(&state, 1, UNITS, &key[1])
        .expect("a transaction");
    opens(&mut arena, second, &recover).await;
    let is_over = |state: &SlotState| matches!(state.branches[1].position, Position::Ended(_));
    let state = arena.play_until((sides[1], 0), "the stake", is_over).await;
    assert_eq!(state.branches[1].position, Position::Ended(BranchEnd::Recovered));
    arena.stop().await;
}
