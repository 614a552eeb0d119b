//! Disputes on a real Bitcoin Core over units of a real chain.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_bridge::slot::{BranchEnd, Main, Position};
use bitsect_tests::dispute::{Arena, Claim, Liar, Lie, ROUNDS, Side, params};

#[tokio::test(flavor = "multi_thread")]
async fn a_false_state_is_slashed() {
    let mut arena = Arena::start(built::built(), 1, params(ROUNDS)).await;
    let liar = Liar {
        unit: 5,
        lie: Lie::State,
    };
    arena.operator(&Claim::False(9, liar)).await;
    arena.challenger(0);
    let state = arena
        .play_until(Side::Challenger(0), "the slash", |state| {
            matches!(state.main, Main::Slashed { .. })
        })
        .await;
    for played in &state.moves {
        eprintln!("{:?} {:?} {} vB", played.kind, played.detail, played.vsize);
    }
    assert_eq!(state.main, Main::Slashed { pair: 0 });
    assert_eq!(state.branches[0].position, Position::Ended(BranchEnd::Verdict));
    arena.stop().await;
}
