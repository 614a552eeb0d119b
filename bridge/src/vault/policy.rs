//! Which withdrawals an operator pays, and why not others.

use std::collections::BTreeSet;

use bitcoin::{Amount, FeeRate, ScriptBuf, TxOut};
use bitsect_vm::derive::MAX_PAYOUT_IDS;

use super::turns::Turns;

/// What an output of a payout and its id take, in vB at most.
const OUTPUT_VB: u64 = 8 + 1 + 34 + 8;

/// What an operator pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The largest payout.
    pub max_payout: Amount,
    /// What of its money it keeps back.
    pub reserve: Amount,
    /// How operators take turns: a withdrawal's first one follows from its number.
    pub turns: Turns,
}

/// A withdrawal that is not paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its number.
    pub id: u64,
    /// What was given for it.
    pub amount: Amount,
    /// What the operator keeps of it.
    pub fee: Amount,
    /// The L1 tip when we saw it first, final and not paid.
    pub since: u32,
    /// Where it is to be paid.
    pub script: ScriptBuf,
}

/// Why a withdrawal is not paid now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is above the limit.
    #[error("payout: expected at most {limit}, got {got}")]
    TooLarge {
        /// The limit.
        limit: Amount,
        /// The payout.
        got: Amount,
    },
    /// Its fee does not pay for its output.
    #[error("fee: expected at least {least}, what its output costs at this fee rate, got {got}")]
    FeeTooLow {
        /// The least.
        least: Amount,
        /// The fee.
        got: Amount,
    },
    /// There is too little money.
    #[error("liquidity: expected at least {needed}, got {got}")]
    NoMoney {
        /// The payout, and what is kept back.
        needed: Amount,
        /// What there is.
        got: Amount,
    },
    /// It could not be claimed: the vault has no outputs for so much more credit.
    #[error("vault: expected {needed} of outputs that we could claim, got {got}")]
    NoOutput {
        /// The credit that it would give.
        needed: Amount,
        /// What could be claimed beside what is owed to us already.
        got: Amount,
    },
    /// Another operator is to pay it first.
    #[error("turn: another operator's for {blocks} more blocks")]
    Turn {
        /// Blocks.
        blocks: u32,
    },
    /// Another operator's payment is on its way.
    #[error("another payment of it is in the mempool, or in a block that the chain has not counted")]
    UnderWay,
    /// The payout is full.
    #[error("the payout has {MAX_PAYOUT_IDS} withdrawals already")]
    Full,
}

/// What an operator has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Money that can be spent.
    pub spendable: Amount,
    /// Vault outputs that could be claimed beyond the credit that is there.
    pub claimable: Amount,
    /// What Bitcoin asks.
    pub rate: FeeRate,
    /// The last L1 block.
    pub tip: u32,
}

/// What is paid, and what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Withdrawals to pay, in the order of their numbers.
    pub paid: Vec<Open>,
    /// Others, and why not.
    pub left: Vec<(u64, Reason)>,
}

impl Open {
    /// Gives what is to be paid.
    pub fn payout(&self) -> Amount {
        self.amount.checked_sub(self.fee).unwrap_or(Amount::ZERO)
    }

    /// Gives the output that pays it.
    pub fn output(&self) -> TxOut {
        TxOut {
            value: self.payout(),
            script_pubkey: self.script.clone(),
        }
    }
}

impl Policy {
    /// Gives the blocks until it is our turn to pay a withdrawal: the first operator's as soon as it is seen, then the others', and
    /// behind that for ever in turn.
    fn wait(&self, open: &Open, tip: u32) -> u32 {
        let (age, ours) = (tip.saturating_sub(open.since), self.turns.blocks_behind(open.id));
        if age < ours.saturating_add(self.turns.blocks) {
            return ours.saturating_sub(age);
        }
        let first = tip.max(open.since.saturating_add(self.turns.round()));
        (first - tip).saturating_add(self.turns.blocks_left(open.id, first))
    }

    fn verify(
        &self,
        open: &Open,
        means: &Means,
        chosen: &Choice,
        under_way: &BTreeSet<u64>,
    ) -> Result<(), Reason> {
        let payout = open.payout();
        if payout > self.max_payout {
            let limit = self.max_payout;
            return Err(Reason::TooLarge { limit, got: payout });
        }
        let least = means.rate.fee_vb(OUTPUT_VB).unwrap_or(Amount::MAX);
        if open.fee < least {
            return Err(Reason::FeeTooLow { least, got: open.fee });
        }
        if under_way.contains(&open.id) {
            return Err(Reason::UnderWay);
        }
        let blocks = self.wait(open, means.tip);
        if blocks > 0 {
            return Err(Reason::Turn { blocks });
        }
        if chosen.paid.len() >= MAX_PAYOUT_IDS {
            return Err(Reason::Full);
        }
        let sum = |of: fn(&Open) -> Amount| chosen.paid.iter().map(of).sum::<Amount>();
        let needed = sum(Open::payout) + payout + self.reserve;
        if needed > means.spendable {
            let got = means.spendable;
            return Err(Reason::NoMoney { needed, got });
        }
        let needed = sum(|open| open.amount) + open.amount;
        if needed > means.claimable {
            let got = means.claimable;
            return Err(Reason::NoOutput { needed, got });
        }
        Ok(())
    }
}

/// Chooses what to pay. `under_way` are withdrawals that others are about to pay.
pub fn choose(policy: &Policy, open: &[Open], means: &Means, under_way: &BTreeSet<u64>) -> Choice {
    let mut choice = Choice::default();
    for open in open {
        match policy.verify(open, means, &choice, under_way) {
            Ok(()) => choice.paid.push(open.clone()),
            Err(reason) => choice.left.push((open.id, reason)),
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        max_payout: Amount::from_sat(100_000),
        reserve: Amount::from_sat(1_000),
        turns: Turns {
            operators: 2,
            ours: Some(0),
            blocks: 6,
        },
    };

    fn open(id: u64, sats: u64, fee: u64) -> Open {
        Open {
            id,
            amount: Amount::from_sat(sats),
            fee: Amount::from_sat(fee),
            since: 100,
            script: ScriptBuf::new(),
        }
    }

    fn means() -> Means {
        Means {
            spendable: Amount::from_sat(50_000),
            claimable: Amount::from_sat(60_000),
            rate: FeeRate::from_sat_per_vb_u32(2),
            tip: 100,
        }
    }

    fn reason(open: Open, means: &Means, under_way: &[u64]) -> Option<Reason> {
        let under_way = under_way.iter().copied().collect();
        let choice = choose(&POLICY, &[open], means, &under_way);
        choice.left.into_iter().next().map(|(_, reason)| reason)
    }

    #[test]
    fn each_rule_at_its_edge() {
        let means = means();
        let fee = 2 * OUTPUT_VB;
        assert_eq!(reason(open(0, 49_000 + fee, fee), &means, &[]), None);
        assert!(matches!(
            reason(open(0, 49_001 + fee, fee), &means, &[]),
            Some(Reason::NoMoney { .. })
        ));
        assert!(matches!(
            reason(open(0, 20_000, fee - 1), &means, &[]),
            Some(Reason::FeeTooLow { .. })
        ));
        assert!(matches!(
            reason(open(0, 100_001 + fee, fee), &means, &[]),
            Some(Reason::TooLarge { .. })
        ));
        let rich = Means {
            spendable: Amount::MAX_MONEY,
            ..means
        };
        assert_eq!(reason(open(0, 60_000, fee), &rich, &[]), None);
        assert!(matches!(
            reason(open(0, 60_001, fee), &rich, &[]),
            Some(Reason::NoOutput { .. })
        ));
        assert_eq!(reason(open(0, 20_000, fee), &means, &[0]), Some(Reason::UnderWay));
        // Odd numbers are the other operator's first.
        assert_eq!(
            reason(open(1, 20_000, fee), &means, &[]),
            Some(Reason::Turn { blocks: 6 })
        );
        for (tip, waits) in [(105, true), (106, false)] {
            let later = Means { tip, ..means };
            assert_eq!(
                reason(open(1, 20_000, fee), &later, &[]).is_some(),
                waits,
                "{tip}"
            );
        }
    }

    /// Operators that see a withdrawal at one tip, and again when what kept all of them from it is over, never begin together.
    #[test]
    fn no_two_operators_begin_at_one_tip() {
        let of = |ours| Policy {
            turns: Turns {
                ours: Some(ours),
                ..POLICY.turns
            },
            ..POLICY
        };
        for id in 0..4 {
            let waiting = open(id, 20_000, 1_000);
            for tip in 100..200 {
                let waits = [0, 1].map(|ours| of(ours).wait(&waiting, tip));
                assert_ne!(waits, [0, 0], "{id}, {tip}");
                for (ours, wait) in (0..).zip(waits) {
                    assert_eq!(of(ours).wait(&waiting, tip + wait), 0, "{id}, {tip}");
                }
            }
        }
    }

    #[test]
    fn withdrawals_share_the_means() {
        let fee = 2 * OUTPUT_VB;
        let all: Vec<Open> = (0..6).map(|id| open(2 * id, 20_000, fee)).collect();
        let choice = choose(&POLICY, &all, &means(), &BTreeSet::new());
        assert_eq!((choice.paid.len(), choice.left.len()), (2, 4));
        let many: Vec<Open> = (0..60).map(|id| open(2 * id, 600 + fee, fee)).collect();
        let rich = Means {
            spendable: Amount::MAX_MONEY,
            claimable: Amount::MAX_MONEY,
            ..means()
        };
        let choice = choose(&POLICY, &many, &rich, &BTreeSet::new());
        assert_eq!(choice.paid.len(), MAX_PAYOUT_IDS);
        assert!(choice.left.iter().all(|(_, reason)| *reason == Reason::Full));
    }
}
