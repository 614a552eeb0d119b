//! An operator that claims by itself: what its node calls final, in the next free slot.

use bitsect_judge::step::cut;
use bitsect_l1::FaultClass;

use super::core::Core;
use super::knowledge::Knowledge;
use super::operator::{Operator, PartyError, Prover, Wanted};
use super::run::Party;
use crate::chain::{Chain, RpcChain};
use crate::slot::Main;
use crate::vault::{Bank, BankError, Ripe};

/// The operator of some slots of a deployment; it leaves the others alone.
#[expect(missing_debug_implementations, reason = "keys of a signer")]
pub struct Claimant<P> {
    operator: Operator<P>,
    /// Its slots, ascending.
    slots: Vec<usize>,
    chain: RpcChain,
    /// Units that are claimed once they are final; none where it does not claim.
    units: Option<u32>,
    /// What it does with the vault; none where it only claims chain states.
    bank: Option<Bank>,
}

impl<P: Prover> Claimant<P> {
    /// Makes an operator of `slots`. It claims `units` units in a slot once the node's final chain has so many more than the
    /// slot's start.
    pub fn new(
        operator: Operator<P>,
        slots: Vec<usize>,
        chain: RpcChain,
        (units, bank): (Option<u32>, Option<Bank>),
    ) -> Self {
        Self {
            bank,
            operator,
            slots,
            chain,
            units,
        }
    }

    fn next_free(&self, core: &Core) -> Option<usize> {
        let is_free = |slot: &usize| {
            core.state(*slot).main == Main::Bonded && !core.carries(&core.slots()[*slot].graph.claim)
        };
        self.slots.iter().copied().find(is_free)
    }

    /// Does what is due with the vault. What fails for a while stops no dispute.
    async fn bank(&mut self, core: &mut Core, slot: usize) -> Result<(), PartyError> {
        let is_first = self.slots.first() == Some(&slot);
        let Some(bank) = &mut self.bank else {
            return Ok(());
        };
        let passing = |done: Result<(), BankError>| match done {
            Err(error) if error.class() == FaultClass::Retry => {
                tracing::warn!(slot, %error, "the vault waits");
                Ok(())
            }
            done => done,
        };
        if is_first {
            passing(bank.turn(core).await)?;
        }
        passing(bank.reimburse(core, slot).await)?;
        let is_free = core.state(slot).main == Main::Bonded && !core.carries(&core.slots()[slot].graph.claim);
        if !is_free {
            return Ok(());
        }
        match bank.ripe(core, slot).await {
            Ok(Some(Ripe { count, state })) => {
                let window = u32::from(core.slots()[slot].graph.params.challenge_window_blocks);
                let deadline = core.tip() + window;
                self.operator.claim(core, slot, count, &state, deadline)
            }
            Ok(None) => Ok(()),
            Err(error) => Ok(passing(Err(error))?),
        }
    }

    /// Claims where it is time.
    async fn claim(&mut self, core: &mut Core, slot: usize) -> Result<(), PartyError> {
        if core.slots()[slot].graph.spec.ticket.is_some() {
            return self.bank(core, slot).await;
        }
        let Some(units) = self.units.filter(|_| self.next_free(core) == Some(slot)) else {
            return Ok(());
        };
        let ready = &core.slots()[slot];
        let window = u32::from(ready.graph.params.challenge_window_blocks);
        let Some(end) = ready.start_unit.checked_add(units.into()) else {
            return Ok(());
        };
        if self.chain.finalized_units().await? < end {
            return Ok(());
        }
        let Some(state) = self.chain.state(end).await? else {
            return Ok(());
        };
        // Nothing is lost by a claim that confirms late; how long it may take is a matter of taste.
        let deadline = core.tip() + window;
        self.operator.claim(core, slot, units, &cut(&state), deadline)
    }
}

impl<P: Prover + Sync> Party for Claimant<P> {
    fn restore(&mut self, core: &Core, slot: usize) -> Result<(), PartyError> {
        if self.slots.contains(&slot) {
            self.operator.restore(core, slot)?;
        }
        Ok(())
    }

    async fn act(
        &mut self,
        core: &mut Core,
        slot: usize,
        knowledge: &mut Knowledge,
    ) -> Result<Vec<Wanted>, PartyError> {
        if !self.slots.contains(&slot) {
            return Ok(Vec::new());
        }
        self.claim(core, slot).await?;
        self.operator.act(core, slot, knowledge).await
    }
}
