//! A challenger that challenges whatever is claimed, and says nothing more.

use bitcoin::Amount;
use bitcoin::key::Keypair;
use bitsect_bridge::daemon::{Core, Knowledge, Outgoing, Party, PartyError, Wanted};
use bitsect_bridge::slot::{Main, Position};

/// Blocks within which its challenge has to confirm before the fee rises to the most.
const WITHIN: u32 = 5;

pub(super) struct Stubborn {
    pub(super) pair: usize,
    pub(super) key: Keypair,
}

impl Party for Stubborn {
    fn restore(&mut self, _: &Core, _: usize) -> Result<(), PartyError> {
        Ok(())
    }

    async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        _: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        let state = core.state(slot);
        let position = state.branches[self.pair].position;
        if state.main == Main::Claimed && position == Position::Unchallenged {
            let transaction = core.actor(slot).challenge(self.pair, &self.key)?;
            let deadline = core.tip() + WITHIN;
            core.submit(Outgoing {
                label: "a challenge of what is true".to_owned(),
                why: "out of spite".to_owned(),
                transaction,
                fee: Amount::ZERO,
                deadline,
            })?;
        }
        Ok(vec![])
    }
}
