//! Disputes on a real Bitcoin Core over units of a real chain: every kind of liar is slashed by one honest challenger.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use bitsect_bridge::game::{Part, Stage};
use bitsect_judge::leaf::Value;
use bitsect_tests::dispute::{Defeat, Field, Liar, Lie, WRONG_UNIT, defeat, for_lies};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_liar_is_slashed() {
    let about = |lie| Liar::new(WRONG_UNIT, lie);
    let silent = |stage| Defeat::silent(about(Lie::State), stage);
    let lies = [
        Defeat::by("a false state alone", about(Lie::State), "state/leaf"),
        Defeat::by(
            "a block without work",
            about(Lie::Advice([0xab; 32])),
            "still/stopped",
        ),
        Defeat::by(
            "an unknown block",
            about(Lie::Advice([0x11; 32])),
            "still/stopped",
        ),
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
