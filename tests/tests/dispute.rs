//! Disputes on a real Bitcoin Core over units of a real chain: every liar is slashed by one honest challenger, and a true
//! claim stands.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_bridge::game::{Part, Stage};
use bitsect_bridge::slot::{Actor, BranchEnd, Main, Position, SlotState, Turn};
use bitsect_judge::leaf::Value;
use bitsect_tests::dispute::{Arena, Claim, Field, Liar, Lie, ROUNDS, Side, params};

/// Plays a lie to its end.
async fn slashed(lie: Lie) -> SlotState {
    let mut arena = Arena::start(built::built(), 1, params(ROUNDS)).await;
    arena
        .operator(&Claim::False(
            9,
            Liar {
                unit: 5,
                lie: lie.clone(),
            },
        ))
        .await;
    arena.challenger(0);
    let is_over = |state: &SlotState| matches!(state.branches[0].position, Position::Ended(_));
    let state = arena.play_until(Side::Challenger(0), "the end", is_over).await;
    let shown: Vec<String> = state
        .moves
        .iter()
        .map(|played| format!("{:?} {:?} {} vB", played.kind, played.detail, played.vsize))
        .collect();
    assert_eq!(state.main, Main::Slashed { pair: 0 }, "{lie:?}: {shown:#?}");
    arena.stop().await;
    state
}

async fn refuted(lie: Lie) {
    let state = slashed(lie.clone()).await;
    assert_eq!(
        state.branches[0].position,
        Position::Ended(BranchEnd::Verdict),
        "{lie:?}"
    );
}

const fn step(field: Field) -> Lie {
    Lie::Trace {
        step: 1_000,
        field,
        content: false,
        nodes: None,
    }
}

const fn deep(value: Value, nodes: Option<u64>) -> Lie {
    Lie::Trace {
        step: 1_000,
        field: Field::Word(value, 9),
        content: true,
        nodes,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_state_alone() {
    refuted(Lie::State).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_block() {
    refuted(Lie::Advice([0xab; 32])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_input() {
    refuted(Lie::Input).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_first_state() {
    refuted(Lie::First).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_result() {
    refuted(step(Field::Word(Value::Written, 3))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_instruction_in_a_made_up_leaf() {
    refuted(deep(Value::Instruction, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_register_and_nodes_over_it() {
    refuted(deep(Value::First, Some(9))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_between_the_writes() {
    refuted(step(Field::Middle)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_after() {
    refuted(step(Field::After)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_slashed_too() {
    for stage in [Stage::Units(0), Stage::Link, Stage::Content(Part::Link)] {
        let state = slashed(Lie::Silent(stage)).await;
        assert_eq!(
            state.branches[0].position,
            Position::Ended(BranchEnd::Timeout),
            "{stage:?}"
        );
    }
}

/// What Bitcoin Core says of a relative time lock that is not over (BIP-0068).
const TOO_EARLY: &str = "non-BIP68-final";

#[tokio::test(flavor = "multi_thread")]
async fn a_true_claim_that_nobody_challenges_ends_fast_and_not_a_block_earlier() {
    let mut arena = Arena::start(built::built(), 1, params(ROUNDS)).await;
    arena.operator(&Claim::True(9)).await;
    arena.challenger(0);
    let is_claimed = |state: &SlotState| state.main == Main::Claimed;
    let claimed = arena.play_until(Side::Operator, "the claim", is_claimed).await;
    let height = claimed.claim.expect("a claim").height;
    let window = u32::from(arena.slot.graph.params.challenge_window_blocks);
    arena.mine_to(height + window - 2).await;
    let end = arena
        .slot
        .graph
        .signed_finalise_fast(&arena.slot.signatures)
        .expect("it is signed");
    assert_eq!(arena.refusal(&end).await, TOO_EARLY);
    arena.mine_to(height + window - 1).await;
    // Now it is only without a child that it is refused: it has no fee.
    assert_ne!(arena.refusal(&end).await, TOO_EARLY);
    let is_over = |state: &SlotState| !matches!(state.main, Main::Bonded | Main::Claimed);
    let state = arena.play_until(Side::Operator, "the end", is_over).await;
    assert_eq!(state.main, Main::FinalisedFast);
    assert!(state.moves.last().expect("an end").height >= height + window);
    arena.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_challenge_loses_its_stake_and_the_claim_ends_slowly() {
    let mut arena = Arena::start(built::built(), 1, params(ROUNDS)).await;
    arena.operator(&Claim::True(9)).await;
    arena.stubborn_challenger(0);
    let is_asked = |state: &SlotState| {
        let waits = |turn| matches!(state.branches[0].position, Position::Waiting { turn: other, .. } if other == turn);
        waits(Turn::Challenger)
    };
    let state = arena
        .play_until(Side::Operator, "the first answer", is_asked)
        .await;
    let Position::Waiting { stage, since, .. } = state.branches[0].position else {
        panic!("the challenger is waited for");
    };
    let params = arena.slot.graph.params;
    arena
        .mine_to(since + u32::from(params.move_timeout_blocks) - 2)
        .await;
    let secp = bitcoin::key::Secp256k1::new();
    let actor = Actor {
        secp: &secp,
        graph: &arena.slot.graph,
        signatures: &arena.slot.signatures,
    };
    let forfeit = actor
        .forfeit(&state, 0, stage, &arena.parties.key(Side::Operator))
        .expect("a transaction");
    assert_eq!(arena.refusal(&forfeit).await, TOO_EARLY);
    let is_taken = |state: &SlotState| state.branches[0].position == Position::Ended(BranchEnd::Forfeit);
    arena.play_until(Side::Operator, "the stake", is_taken).await;
    let height = state.claim.expect("a claim").height;
    let window = u32::from(params.dispute_window_blocks);
    arena.mine_to(height + window - 2).await;
    let end = arena
        .slot
        .graph
        .signed_finalise_slow(&arena.slot.signatures)
        .expect("it is signed");
    assert_eq!(arena.refusal(&end).await, TOO_EARLY);
    let is_over = |state: &SlotState| !matches!(state.main, Main::Bonded | Main::Claimed);
    let state = arena.play_until(Side::Operator, "the end", is_over).await;
    assert_eq!(state.main, Main::FinalisedSlow);
    assert!(state.moves.last().expect("an end").height >= height + window);
    arena.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_that_are_killed_at_every_move_play_the_same_game() {
    let mut arena = Arena::start(built::built(), 1, params(ROUNDS)).await;
    let claim = Claim::False(
        9,
        Liar {
            unit: 5,
            lie: step(Field::Word(Value::Written, 3)),
        },
    );
    arena.operator(&claim).await;
    arena.challenger(0);
    let (operator, challenger) = (Side::Operator, Side::Challenger(0));
    let mut played = 0;
    for _ in 0..120 {
        arena.next_block().await;
        let state = arena.state(challenger).expect("it has seen the chain");
        if matches!(state.main, Main::Slashed { .. }) {
            assert_eq!(state.branches[0].position, Position::Ended(BranchEnd::Verdict));
            return arena.stop().await;
        }
        if state.moves.len() > played {
            played = state.moves.len();
            arena.kill(operator).await;
            arena.kill(challenger).await;
            if played == 7 {
                // Keys are all that it needs to go on.
                arena.forget(challenger);
            }
            arena.operator(&claim).await;
            arena.challenger(0);
        }
    }
    panic!(
        "the claim is not defeated: {:#?}",
        arena.state(challenger).map(|state| state.moves)
    );
}
