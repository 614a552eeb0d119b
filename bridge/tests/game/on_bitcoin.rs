//! Games that were played by values, again in transactions: Bitcoin Core's consensus code takes each of them.

use bitsect_bridge::game::position::{Position, Published};
use bitsect_bridge::graph::{Signatures, SlotGraph};
use bitsect_bridge::leaf::Program;
use bitsect_bridge::slot::{self, BranchEnd, Main};
use bitsect_judge::step::cut;

use crate::common::play::Game;
use crate::common::{Parties, outpoint, params};
use crate::world::World;

/// A slot of one challenger over a small chain.
pub struct OnBitcoin {
    parties: Parties,
    graph: SlotGraph,
    signatures: Signatures,
}

impl OnBitcoin {
    pub fn new(world: &World) -> Self {
        let parties = Parties::new(1);
        let params = params(world.rounds);
        let program = Program::of(world.program.clone()).unwrap();
        let mut spec = parties.spec(&params, cut(&world.states[0]), outpoint(1), &[outpoint(2)]);
        spec.ticket = world.ticket;
        assert_eq!(spec.check(), world.check());
        let graph = SlotGraph::build(&parties.secp, &program, params, spec).unwrap();
        Self {
            signatures: parties.sign(&graph),
            parties,
            graph,
        }
    }

    /// Plays up to the last answer.
    fn replay(&self, position: &Position) -> Game<'_> {
        let mut game = Game::new(&self.parties, &self.graph, &self.signatures);
        game.claim(position.claim().count, position.claim().state);
        game.challenge(0);
        loop {
            let stage = game.stage(0);
            let items = stage.all_items().into_iter();
            let values: Published = items
                .filter_map(|item| Some((item, position.item(stage, item)?.to_vec())))
                .collect();
            let answer = game.answer(0, &values);
            game.confirm(&answer);
            if stage == position.stage() {
                return game;
            }
            let option = position.choice(stage).expect("the game went on");
            let ask = game.choose(0, option).expect("the choice is allowed");
            game.confirm(&ask);
        }
    }

    /// Ends a game whose last answer is refuted: a leaf slashes.
    pub fn slash(&self, position: &Position) {
        let mut game = self.replay(position);
        let (stage, published) = (position.stage(), game.state.branches[0].published.clone());
        let win = game.actor().win(0, stage, &published).expect("a leaf wins");
        let key = &self.parties.challengers[0];
        let verdict = game.actor().verdict(0, stage, &win, key).unwrap();
        game.confirm(&verdict);
        assert_eq!(game.state.main, Main::Slashed { pair: 0 });
    }

    /// Ends a game of which nothing is false: no leaf wins, and the stake is the operator's.
    pub fn forfeit(&self, position: &Position) {
        let mut game = self.replay(position);
        let (stage, published) = (position.stage(), game.state.branches[0].published.clone());
        assert!(game.actor().win(0, stage, &published).is_none(), "{position:?}");
        let actor = game.actor();
        let forfeit = actor.forfeit(&game.state, 0, stage, &self.parties.operator);
        game.confirm(&forfeit.unwrap());
        assert_eq!(
            game.state.branches[0].position,
            slot::Position::Ended(BranchEnd::Forfeit)
        );
        assert_eq!(game.state.main, Main::Claimed);
    }
}
