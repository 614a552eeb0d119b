//! Disputes on a real Bitcoin Core over units of a real chain: every liar is slashed by one honest challenger, and a true
//! claim stands.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_bridge::game::{Part, Stage};
use bitsect_bridge::slot::{Actor, BranchEnd, Main, Position, SlotState, Turn};
use bitsect_judge::leaf::Value;
use bitsect_tests::dispute::{
    Arena, CLAIMED, Claim, Defeat, Field, Liar, Lie, Play, ROUNDS, Side, WRONG_UNIT, defeat, for_lies, params,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_liar_is_slashed() {
    let about = |lie| Liar::new(WRONG_UNIT, lie);
    let silent = |stage| Defeat::silent(about(Lie::State), stage);
    let lies = [
        Defeat::by("a false state alone", about(Lie::State), "state/leaf"),
        Defeat::by("a block without work", about(Lie::Advice([0xab; 32])), ""),
        Defeat::by("an unknown block", about(Lie::Advice([0x11; 32])), ""),
        Defeat::by("another input", about(Lie::Input), "state/leaf"),
        Defeat::by("another first state", about(Lie::First), "path/equation"),
        Defeat::by(
            "a wrong result",
            Liar::in_step(Field::Word(Value::Written, 8)),
            "result/",
        ),
        Defeat::by("a wrong middle", Liar::in_step(Field::Middle), "path/equation"),
        Defeat::by(
            "a wrong state after",
            Liar::in_step(Field::After),
            "path/equation",
        ),
        silent(Stage::Units(0)),
        silent(Stage::Link),
        silent(Stage::Content(Part::Link)),
    ];
    let mut arena = for_lies(built::built(), lies.len()).await;
    defeat(&mut arena, &lies).await;
}

/// What Bitcoin Core says of a relative time lock that is not over (BIP-0068).
const TOO_EARLY: &str = "non-BIP68-final";

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
    let is_asked = |state: &SlotState| {
        let waits = |turn| matches!(state.branches[0].position, Position::Waiting { turn: other, .. } if other == turn);
        waits(Turn::Challenger)
    };
    let state = arena.play_until(slow, "the first answer", is_asked).await;
    let Position::Waiting { stage, since, .. } = state.branches[0].position else {
        panic!("the challenger is waited for");
    };
    arena
        .mine_to(since + u32::from(params.move_timeout_blocks) - 2)
        .await;
    let secp = bitcoin::key::Secp256k1::new();
    let actor = Actor {
        secp: &secp,
        graph: &arena.slots[1].graph,
        signatures: &arena.slots[1].signatures,
    };
    let forfeit = actor
        .forfeit(&state, 0, stage, &arena.parties.key(Side::Operator))
        .expect("a transaction");
    assert_eq!(arena.refusal(&forfeit).await, TOO_EARLY);
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
    end: &bitcoin::Transaction,
) {
    let state = arena.state(side, slot).expect("it has seen the chain");
    assert_eq!(state.main, Main::Claimed);
    let last = state.claim.expect("a claim").height + u32::from(window);
    arena.mine_to(last - 2).await;
    assert_eq!(arena.refusal(end).await, TOO_EARLY);
    arena.mine_to(last - 1).await;
    let is_over = |state: &SlotState| state.main != Main::Claimed;
    let state = arena.play_until((side, slot), "the end", is_over).await;
    assert_eq!(state.main, main);
    assert_eq!(state.moves.last().expect("an end").height, last);
}
