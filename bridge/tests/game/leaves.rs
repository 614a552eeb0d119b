//! The leaves that win on Bitcoin, asked about values: keys and signatures are the business of other tests.

use std::collections::BTreeMap;

use bitsect_bridge::game::Stage;
use bitsect_bridge::game::position::Position;
use bitsect_bridge::leaf::{Opened, Program, Published, Source, VerdictLeaf, verdicts};
use bitsect_bridge::secret::{ClaimItem, Secret};
use bitsect_judge::step::cut;
use bitsect_judge::winternitz::Signature;

use crate::world::World;

pub struct Leaves(BTreeMap<Stage, Vec<VerdictLeaf>>);

impl Leaves {
    pub fn new(world: &World) -> Self {
        let program = Program::of(world.program.clone()).unwrap();
        let (start, check) = (cut(&world.states[0]), world.check());
        let stages = Stage::all(world.rounds).into_iter();
        Self(
            stages
                .map(|stage| {
                    let of_slot = (&start, check.as_ref());
                    (stage, verdicts(&program, world.rounds, of_slot, stage))
                })
                .collect(),
        )
    }

    /// Gives the name of a leaf that takes the last answer.
    pub fn taken(&self, position: &Position) -> Option<String> {
        let published = published(position);
        let mut leaves = self.0[&position.stage()].iter();
        leaves
            .find(|leaf| leaf.witness(&published).is_some())
            .map(|leaf| leaf.name().to_owned())
    }
}

/// What a position holds, as leaves read it.
fn published(position: &Position) -> Published {
    let mut published = Published::default();
    let mut publish = |source, bytes: &[u8]| {
        let signature = Signature::from_witness(&[], bytes.len()).unwrap();
        published.values.insert(source, (bytes.to_vec(), signature));
    };
    let claim = position.claim();
    publish(Source::Claim(ClaimItem::Count), &claim.count.to_le_bytes());
    publish(Source::Claim(ClaimItem::State), &claim.state);
    for stage in Stage::all(position.rounds()) {
        for item in stage.all_items() {
            if let Some(bytes) = position.item(stage, item) {
                publish(Source::Stage(stage, item), bytes);
            }
        }
        if let Some(option) = position.choice(stage) {
            let secret = Secret([0; 20]);
            let opened = Opened {
                option,
                challenger: secret,
                prover: Some(secret),
            };
            published.choices.insert(stage, opened);
        }
    }
    published
}
