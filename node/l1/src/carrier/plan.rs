//! How much a child pays, and with which coins. Numbers only.

use bitcoin::{Amount, FeeRate, OutPoint, Weight};

use crate::{
    sender::rate_of,
    wallet::{EMPTY_WITNESS, KEY_PATH_WITNESS, SMALLEST_CHANGE, fee},
};

/// Coins in a child at most: with them it has 958 vB, and 1,000 are allowed (`TRUC_CHILD_MAX_VSIZE`).
pub(super) const MAX_COINS: usize = 15;
/// Version, lock time, the two counts, and the change to a taproot output, without witness.
const FIXED: u64 = 4 + 4 + 1 + 1 + 43;
/// An input without witness.
const INPUT: u64 = 41;
/// Marker and flag of a transaction with witnesses, in weight units.
const SEGWIT_MARKER: u64 = 2;
/// Blocks before the deadline in which the highest rate is paid; fewer when there are few blocks in all.
const LAST_BLOCKS: u32 = 3;
const LAST_OF_FEW: u32 = 2;
const FEW: u32 = 6;

/// Returns the weight of a child that spends an anchor and so many coins, and gives change.
pub(super) const fn child_weight(coins: usize) -> Weight {
    let coins = coins as u64;
    let base = FIXED + INPUT * (coins + 1);
    Weight::from_wu(base * 4 + SEGWIT_MARKER + EMPTY_WITNESS.to_wu() + KEY_PATH_WITNESS.to_wu() * coins)
}

const _: () = assert!(child_weight(MAX_COINS).to_wu() <= 4_000);

/// Returns the rate to pay at a tip: it doubles whenever the blocks left halve, and is the highest at the end.
pub(super) fn urgent_rate(base: FeeRate, highest: FeeRate, from: u32, deadline: u32, tip: u32) -> FeeRate {
    let left = deadline.saturating_sub(tip);
    let all = deadline.saturating_sub(from.min(tip));
    let last = if all >= FEW { LAST_BLOCKS } else { LAST_OF_FEW };
    if left <= last {
        return highest;
    }
    let scaled = u128::from(base.to_sat_per_kwu()) * u128::from(all) / u128::from(left);
    FeeRate::from_sat_per_kwu(u64::try_from(scaled).unwrap_or(u64::MAX)).min(highest)
}

/// Returns whether a rate is far enough above another one for a new child. Smaller steps would be many.
pub(super) fn is_worth(paid: FeeRate, wanted: FeeRate, highest: FeeRate) -> bool {
    let (paid, wanted) = (paid.to_sat_per_kwu(), wanted.to_sat_per_kwu());
    let fifth = paid.saturating_add(paid / 4);
    // The last step up is made whole.
    let hundredth = paid.saturating_add(paid / 100);
    wanted > paid && (wanted >= fifth || (wanted >= highest.to_sat_per_kwu() && wanted > hundredth))
}

/// Returns the rate of the next try, when one was too low for Core.
pub(super) fn next_try(rate: FeeRate) -> FeeRate {
    FeeRate::from_sat_per_kwu(rate.to_sat_per_kwu().saturating_mul(5) / 4 + 1)
}

/// A confirmed output of the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coin {
    pub(super) outpoint: OutPoint,
    pub(super) value: Amount,
}

/// What a child has to pay for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) parent_weight: Weight,
    pub(super) parent_fee: Amount,
    /// Whether the parent is in the mempool, so that the child is judged alone.
    pub(super) parent_out: bool,
    pub(super) anchor: Amount,
    /// The rate wanted for parent and child together, at most the highest.
    pub(super) rate: FeeRate,
    /// The lowest rate that makes sense: what the mempool takes.
    pub(super) lowest: FeeRate,
    pub(super) highest: FeeRate,
    /// What a replacement pays on top for its own size.
    pub(super) incremental: FeeRate,
    /// The fees of all that leaves the mempool for it.
    pub(super) replaced: Amount,
    /// The highest fee of an earlier child. Other mempools may hold that one.
    pub(super) earlier: Option<Amount>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Sign a child.
    Child { coins: Vec<Coin>, fee: Amount },
    /// The least that would do is above the highest rate.
    TooDear { needed: FeeRate },
    /// There are too few coins for the least that would do.
    TooFew { needed: Amount, available: Amount },
}

impl Terms {
    /// Returns the fee of a child for a rate of both together.
    fn fee_for(&self, rate: FeeRate, coins: usize) -> Amount {
        let child = fee(rate, child_weight(coins));
        let parent = fee(rate, self.parent_weight);
        // A child below the rate would be mined after its parent, not with it.
        less(sum(parent, child), self.parent_fee).max(child)
    }

    /// Returns the least fee that replaces what is in the way.
    fn least(&self, coins: usize) -> Amount {
        let child = child_weight(coins);
        let relay = |weight| fee(self.incremental, weight);
        let replace = if self.parent_out {
            sum(self.replaced, relay(child))
        } else {
            less(
                sum(self.replaced, relay(child + self.parent_weight)),
                self.parent_fee,
            )
        };
        let again = self.earlier.map_or(Amount::ZERO, |fee| sum(fee, relay(child)));
        replace.max(again).max(self.fee_for(self.lowest, coins))
    }

    fn wanted(&self, coins: usize) -> Amount {
        self.fee_for(self.rate, coins).max(self.least(coins))
    }

    fn rate_of(&self, fee: Amount, coins: usize) -> FeeRate {
        rate_of(
            sum(self.parent_fee, fee),
            self.parent_weight + child_weight(coins),
        )
    }
}

/// Plans a child from the coins of the one before and free coins, which are sorted by value, smallest first.
///
/// When the coins do not reach the rate wanted, the child pays all that they give.
pub(super) fn plan(terms: &Terms, kept: &[Coin], free: &[Coin]) -> Plan {
    let (mut coins, mut free) = (kept.to_vec(), free.to_vec());
    coins.truncate(MAX_COINS);
    let total = |coins: &[Coin]| coins.iter().fold(terms.anchor, |all, coin| sum(all, coin.value));
    while (coins.is_empty() || total(&coins) < sum(terms.wanted(coins.len()), SMALLEST_CHANGE))
        && coins.len() < MAX_COINS
    {
        let next = coins.len() + 1;
        let missing = less(sum(terms.wanted(next), SMALLEST_CHANGE), total(&coins));
        let place = free.partition_point(|coin| coin.value < missing);
        let Some(place) = (place < free.len())
            .then_some(place)
            .or(free.len().checked_sub(1))
        else {
            break;
        };
        // A coin that costs more than it gives, and all others that are smaller, do not help.
        if !coins.is_empty() && free[place].value <= less(terms.wanted(next), terms.wanted(next - 1)) {
            break;
        }
        coins.push(free.remove(place));
    }
    let (count, available) = (coins.len(), total(&coins));
    let least = terms.least(count.max(1));
    if least > terms.fee_for(terms.highest, count.max(1)) {
        let needed = terms.rate_of(least, count.max(1));
        return Plan::TooDear { needed };
    }
    let needed = sum(least, SMALLEST_CHANGE);
    if coins.is_empty() || available < needed {
        return Plan::TooFew { needed, available };
    }
    let fee = terms.wanted(count).min(less(available, SMALLEST_CHANGE));
    Plan::Child { coins, fee }
}

fn sum(a: Amount, b: Amount) -> Amount {
    a.checked_add(b).unwrap_or(Amount::MAX_MONEY)
}

fn less(a: Amount, b: Amount) -> Amount {
    a.checked_sub(b).unwrap_or(Amount::ZERO)
}

#[cfg(test)]
mod tests {
    use bitcoin::{Txid, hashes::Hash};
    use proptest::prelude::*;

    use super::*;

    fn rate(vb: u32) -> FeeRate {
        FeeRate::from_sat_per_vb_u32(vb)
    }

    fn sat(value: u64) -> Amount {
        Amount::from_sat(value)
    }

    fn coins(values: &[u64]) -> Vec<Coin> {
        let mut values = values.to_vec();
        values.sort_unstable();
        let coin = |(vout, value): (usize, &u64)| Coin {
            outpoint: OutPoint::new(Txid::all_zeros(), vout as u32),
            value: sat(*value),
        };
        values.iter().enumerate().map(coin).collect()
    }

    fn terms(wanted: u32) -> Terms {
        Terms {
            parent_weight: Weight::from_wu(4_000),
            parent_fee: Amount::ZERO,
            parent_out: false,
            anchor: Amount::ZERO,
            rate: rate(wanted),
            lowest: rate(1),
            highest: rate(100),
            incremental: rate(1),
            replaced: Amount::ZERO,
            earlier: None,
        }
    }

    #[test]
    fn the_rate_doubles_at_half_and_is_highest_at_the_end() {
        let at = |tip| urgent_rate(rate(4), rate(100), 100, 200, tip);
        assert_eq!((at(100), at(150), at(175)), (rate(4), rate(8), rate(16)));
        assert_eq!(
            (at(190), at(197), at(200), at(300)),
            (rate(40), rate(100), rate(100), rate(100))
        );
        assert!(at(196) < rate(101));
        // Without a deadline nothing presses; with few blocks in all it is soon the end.
        assert_eq!(urgent_rate(rate(4), rate(100), 100, u32::MAX, 5_000), rate(4));
        let few = |tip| urgent_rate(rate(4), rate(100), 100, 104, tip);
        assert_eq!(
            (few(100), few(101), few(102)),
            (rate(4), FeeRate::from_sat_per_kwu(1333), rate(100))
        );
    }

    #[test]
    fn small_steps_are_not_made() {
        let worth = |paid, wanted| is_worth(rate(paid), rate(wanted), rate(100));
        assert!(!worth(10, 9) && !worth(10, 10) && !worth(10, 12));
        assert!(worth(10, 13) && worth(0, 1));
        assert!(worth(90, 100) && !worth(100, 100));
    }

    #[test]
    fn one_coin_that_suffices_is_taken_before_several() {
        let free = coins(&[500, 3_000, 5_000, 90_000]);
        let Plan::Child { coins: taken, fee } = plan(&terms(2), &[], &free) else {
            panic!("there is enough")
        };
        assert_eq!(taken, coins(&[500, 3_000, 5_000])[1..2]);
        // 1,000 vB and 153 vB.
        assert_eq!(child_weight(1).to_vbytes_ceil(), 153);
        assert_eq!(fee, sat(2 * 1_153));
        // With more to pay the coin stays, and the smallest that fills the gap comes in.
        let more = Terms {
            earlier: Some(fee),
            ..terms(5)
        };
        let Plan::Child { coins: taken, fee } = plan(&more, &taken, &coins(&[500, 4_000, 90_000])) else {
            panic!("there is enough")
        };
        assert_eq!(
            taken.iter().map(|c| c.value.to_sat()).collect::<Vec<_>>(),
            [3_000, 4_000]
        );
        assert_eq!(fee, sat(5 * (1_000 + child_weight(2).to_vbytes_ceil())));
    }

    #[test]
    fn what_is_in_the_way_is_outbid_up_to_the_highest_rate() {
        let fee_of = |terms: &Terms| match plan(terms, &[], &coins(&[10_000_000])) {
            Plan::Child { fee, .. } => fee,
            other => panic!("{other:?}"),
        };
        let pinned = Terms {
            parent_out: true,
            replaced: sat(50_000),
            ..terms(2)
        };
        assert_eq!(fee_of(&pinned), sat(50_000 + 153));
        let rival = Terms {
            parent_out: false,
            ..pinned
        };
        assert_eq!(fee_of(&rival), sat(50_000 + 1_153));
        let dear = Terms {
            replaced: sat(200_000),
            ..pinned
        };
        assert!(
            matches!(plan(&dear, &[], &coins(&[10_000_000])), Plan::TooDear { needed } if needed > rate(100))
        );
    }

    #[test]
    fn with_too_little_it_pays_what_there_is() {
        // 100 sat/vB of 1,153 vB are wanted; 1 sat/vB is the least.
        let Plan::Child { fee, coins: taken } = plan(&terms(100), &[], &coins(&[4_000, 30_000])) else {
            panic!("there is enough for a low rate")
        };
        // The small coin would cost more than it gives.
        assert_eq!((taken.len(), fee), (1, sat(30_000) - SMALLEST_CHANGE));
        assert!(matches!(
            plan(&terms(100), &[], &coins(&[1_200])),
            Plan::TooFew { .. }
        ));
        assert!(matches!(plan(&terms(100), &[], &[]), Plan::TooFew { .. }));
        // All of it was paid before.
        let again = Terms {
            earlier: Some(fee),
            ..terms(100)
        };
        assert!(matches!(plan(&again, &taken, &[]), Plan::TooFew { .. }));
    }

    proptest! {
        /// Whatever the terms: a plan can be paid from its coins, replaces what is in the way, and stays below the highest.
        #[test]
        fn plans_can_be_carried_out(
            kept in prop::collection::vec(300u64..1_000_000, 0..4),
            free in prop::collection::vec(300u64..1_000_000, 0..30),
            weight in 300u64..400_000, parent_fee in 0u64..200_000, wanted in 1u32..100, replaced in 0u64..500_000,
            earlier in prop::option::of(0u64..500_000), parent_out: bool,
        ) {
            let terms = Terms {
                parent_weight: Weight::from_wu(weight),
                parent_fee: sat(parent_fee),
                parent_out,
                replaced: sat(replaced),
                earlier: earlier.map(sat),
                ..terms(wanted)
            };
            let (kept, free) = (coins(&kept), coins(&free));
            match plan(&terms, &kept, &free) {
                Plan::Child { coins, fee } => {
                    prop_assert!(coins.len() <= MAX_COINS && coins.starts_with(&kept));
                    let given: Amount = coins.iter().map(|coin| coin.value).sum();
                    prop_assert!(given >= fee + SMALLEST_CHANGE);
                    prop_assert!(fee >= terms.least(coins.len()));
                    prop_assert!(fee <= terms.fee_for(terms.highest, coins.len()));
                    prop_assert!(fee <= terms.wanted(coins.len()));
                }
                Plan::TooFew { needed, available } => prop_assert!(available < needed),
                Plan::TooDear { needed } => prop_assert!(needed >= terms.highest),
            }
        }
    }
}
