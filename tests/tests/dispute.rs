//! Disputes on a real Bitcoin Core over units of a real chain: every liar is slashed by one honest challenger, and a true
//! claim stands.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_bridge::game::{Part, Stage};
use bitsect_bridge::slot::{BranchEnd, Main, Position, SlotState};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_true_claim_that_nobody_challenges_ends_fast() {
    let mut arena = Arena::start(built::built(), 1, params(ROUNDS)).await;
    arena.operator(&Claim::True(9)).await;
    arena.challenger(0);
    let is_over = |state: &SlotState| !matches!(state.main, Main::Bonded | Main::Claimed);
    let state = arena.play_until(Side::Operator, "the end", is_over).await;
    assert_eq!(state.main, Main::FinalisedFast);
    let claimed = state.claim.expect("a claim").height;
    let ended = state.moves.last().expect("an end").height;
    assert!(ended >= claimed + u32::from(arena.slot.graph.params.challenge_window_blocks));
    arena.stop().await;
}
