//! An operator that says nothing where it is asked is slashed, at whatever stage that is.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_bridge::game::{Part, Stage};
use bitsect_tests::dispute::{Defeat, Field, Liar, Lie, ROUNDS, WRONG_UNIT, defeat, for_lies};

/// A liar with whom the game comes to a stage.
const fn leads_to(stage: Stage) -> Liar {
    match stage {
        Stage::Units(_) | Stage::Link => Liar::new(WRONG_UNIT, Lie::State),
        Stage::Content(Part::Link) | Stage::Path(Part::Link, _) | Stage::Final(Part::Link) => {
            Liar::new(WRONG_UNIT, Lie::First)
        }
        // Control is written in every step.
        _ => Liar::in_step(Field::After),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_slashed_at_every_stage() {
    let stages = Stage::all(ROUNDS).into_iter();
    let lies: Vec<Defeat> = stages
        .map(|stage| Defeat::silent(leads_to(stage), stage))
        .collect();
    let mut arena = for_lies(built::built(), lies.len()).await;
    // That a stage was asked for, and not answered, is part of a defeat by silence.
    defeat(&mut arena, &lies).await;
}
