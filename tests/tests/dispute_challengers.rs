//! False challengers: against a true claim they lose their stakes, and beside an honest one they do no harm.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_bridge::game::{Part, Stage};
use bitsect_bridge::slot::{BranchEnd, Main, MoveKind, Position, SlotState};
use bitsect_judge::leaf::Value;
use bitsect_tests::dispute::{
    Arena, CLAIMED, Chooses, Claim, Field, Liar, Lie, Play, ROUNDS, Side, WRONG_UNIT, moves, params,
};

/// Attacks what is true, as well as one can without a truth of one's own.
const fn falsely(chooses: Chooses, until: Option<Stage>) -> Play {
    Play::False {
        chooses,
        until,
        wins: true,
    }
}

/// The stages that a branch answered, in order.
fn answered(state: &SlotState, pair: usize) -> Vec<Stage> {
    let moves = state.moves.iter().filter(|played| played.pair == Some(pair));
    let stages = moves.filter_map(|played| match played.kind {
        MoveKind::Answer(stage) => Some(stage),
        _ => None,
    });
    stages.collect()
}

/// What is wrong with a true claim's end, after a false challenger that stops where it does.
fn fault(state: &SlotState, play: Play) -> Option<String> {
    let answered = answered(state, 0);
    let last = answered.last().copied();
    let stopped = match play {
        Play::False {
            until: Some(stage), ..
        } => last == Some(stage),
        _ => matches!(last, Some(Stage::Final(_))),
    };
    let right = stopped
        && state.branches[0].position == Position::Ended(BranchEnd::Forfeit)
        && state.main == Main::FinalisedSlow;
    (!right).then(|| format!("{play:?}: {:?}: {}", state.main, moves(state)))
}

/// How a false challenger comes to a stage.
const fn leads_to(stage: Stage) -> Chooses {
    match stage {
        Stage::Content(Part::Link) | Stage::Path(Part::Link, _) | Stage::Final(Part::Link) => {
            Chooses::From(1)
        }
        _ => Chooses::From(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn false_challenges_of_true_claims_lose_their_stakes_and_claims_end_slowly() {
    let same = (0..4).map(|first| falsely(Chooses::From(first), None));
    let random = (0..8).map(|seed| falsely(Chooses::Random(seed), None));
    let stalls = Stage::all(ROUNDS).into_iter();
    let stalls = stalls.map(|stage| falsely(leads_to(stage), Some(stage)));
    let plays: Vec<Play> = same.chain(random).chain(stalls).collect();
    let mut arena = Arena::start(built::built(), (plays.len(), 1), params(ROUNDS)).await;
    arena.operator(&vec![Claim::True(CLAIMED); plays.len()]).await;
    arena.player(0, &plays);
    let ended = |state: &SlotState| matches!(state.branches[0].position, Position::Ended(_));
    let states = arena.play_all_until(Side::Operator, "the stakes", ended).await;
    let claims = states.iter().filter_map(|state| state.claim);
    let first = claims.map(|claim| claim.height).min().expect("a claim");
    // Until the first claim may be finalised nothing is left to do.
    arena
        .mine_to(first + u32::from(arena.slots[0].graph.params.dispute_window_blocks) - 1)
        .await;
    let over = |state: &SlotState| !matches!(state.main, Main::Bonded | Main::Claimed);
    let states = arena.play_all_until(Side::Operator, "the end", over).await;
    let faults: Vec<String> = plays
        .iter()
        .zip(&states)
        .filter_map(|(play, state)| fault(state, *play))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    arena.stop().await;
}

/// What colludes with a liar, and the lie.
fn colluders() -> Vec<(Play, Liar)> {
    let in_step = Liar::in_step(Field::Word(Value::Written, 8));
    let stage = |chooses, stage| Play::False {
        chooses,
        until: Some(stage),
        wins: false,
    };
    vec![
        (Play::SILENT, Liar::new(WRONG_UNIT, Lie::State)),
        (Play::SILENT, in_step),
        (stage(Chooses::From(0), Stage::Link), in_step),
        (stage(Chooses::From(2), Stage::Units(1)), in_step),
        (stage(Chooses::From(1), Stage::Final(Part::Link)), in_step),
        (
            stage(Chooses::Random(3), Stage::Trace(4)),
            Liar::new(WRONG_UNIT, Lie::First),
        ),
        (
            Play::SILENT,
            Liar::new(WRONG_UNIT, Lie::State).silent(Stage::Link),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenger_that_colludes_loses_its_branch_alone() {
    let (plays, liars): (Vec<Play>, Vec<Liar>) = colluders().into_iter().unzip();
    let mut arena = Arena::start(built::built(), (plays.len(), 2), params(ROUNDS)).await;
    let claims: Vec<Claim> = liars.iter().map(|liar| Claim::False(CLAIMED, *liar)).collect();
    arena.operator(&claims).await;
    arena.player(0, &plays);
    // The colluder comes first.
    arena.player(1, &vec![Play::Absent; plays.len()]);
    let begun = |state: &SlotState| state.branches[0].position != Position::Unchallenged;
    arena
        .play_all_until(Side::Operator, "the false challenge", begun)
        .await;
    arena.kill(Side::Challenger(1)).await;
    arena.challenger(1);
    let over = |state: &SlotState| {
        let mut branches = state.branches.iter();
        branches.all(|branch| matches!(branch.position, Position::Ended(_)))
    };
    let states = arena.play_all_until(Side::Challenger(1), "the end", over).await;
    for ((play, liar), state) in plays.iter().zip(&liars).zip(&states) {
        let end = match liar.silent {
            Some(_) => BranchEnd::Timeout,
            None => BranchEnd::Verdict,
        };
        let shown = || format!("{play:?} {liar:?}: {}", moves(state));
        assert_eq!(state.main, Main::Slashed { pair: 1 }, "{}", shown());
        let ends = [BranchEnd::Forfeit, end].map(Position::Ended);
        let branches: Vec<Position> = state.branches.iter().map(|branch| branch.position).collect();
        assert_eq!(branches, ends, "{}", shown());
    }
    arena.stop().await;
}
