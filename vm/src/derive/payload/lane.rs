//! Nonces and tips: a transaction continues a lane, or opens one.
//!
//! A sender's nonces count up, but the sender is known only after its signature is checked, and that needs
//! the nonce. Lanes do without senders: a lane remembers the nonce that comes next and the last tip, and a
//! transaction names the lane that it continues. Where several lanes expect the same nonce any will do,
//! whoever sent it, which needs fewer bits than naming the sender.

use alloc::vec::Vec;

/// Most lanes: a reference is two bytes, and 0 means a nonce outside of all lanes. When lanes are used up,
/// further senders pay for whole nonces.
pub(super) const LANES_MAX: usize = 65_535;

/// What a lane expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lane {
    /// The nonce that comes next.
    pub(super) nonce: u64,
    /// The tip of the last transaction that had one, in wei per gas; 0 before.
    pub(super) tip: u128,
}

impl Lane {
    /// What the lane expects after a transaction.
    const fn after(nonce: u64, tip: u128) -> Self {
        Self {
            nonce: nonce.wrapping_add(1),
            tip,
        }
    }
}

/// Lanes as the decoder follows them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
}

impl Lanes {
    /// What the lane of a reference above 0 expects.
    pub(super) fn expected(&self, reference: u16) -> Option<Lane> {
        self.lanes.get(usize::from(reference).checked_sub(1)?).copied()
    }

    /// Records a transaction: on its lane, or on a new one unless lanes are used up.
    pub(super) fn record(&mut self, reference: u16, nonce: u64, tip: u128) {
        let after = Lane::after(nonce, tip);
        match usize::from(reference).checked_sub(1) {
            Some(place) => {
                if let Some(lane) = self.lanes.get_mut(place) {
                    *lane = after;
                }
            }
            None if self.lanes.len() < LANES_MAX => self.lanes.push(after),
            None => {}
        }
    }
}

#[cfg(feature = "std")]
pub(super) use picker::LanePicker;

#[cfg(feature = "std")]
mod picker {
    use alloc::collections::{BTreeMap, BTreeSet};

    use super::{LANES_MAX, Lane};

    /// Lanes as the encoder picks them.
    #[derive(Debug, Default)]
    pub(in super::super) struct LanePicker {
        opened: usize,
        /// By nonce that comes next: last tip, lane.
        expecting: BTreeMap<u64, BTreeSet<(u128, u16)>>,
    }

    impl LanePicker {
        /// Picks the reference for a transaction, and says what its lane expects: a lane of the same tip
        /// before others, a low one before others; 0, and a lane opened, when none expects the nonce.
        pub(in super::super) fn pick(&mut self, nonce: u64, tip: Option<u128>) -> (u16, Lane) {
            let found = self.find(nonce, tip);
            let (reference, expected) = match found {
                Some((tip, lane)) => (lane, tip),
                None => (0, 0),
            };
            let lane = match reference {
                0 if self.opened < LANES_MAX => {
                    self.opened = self.opened.saturating_add(1);
                    u16::try_from(self.opened).unwrap_or(u16::MAX)
                }
                lane => lane,
            };
            if lane != 0 {
                let after = Lane::after(nonce, tip.unwrap_or(expected));
                self.expecting
                    .entry(after.nonce)
                    .or_default()
                    .insert((after.tip, lane));
            }
            (reference, Lane { nonce, tip: expected })
        }

        /// Takes the lane out of those that expect the nonce.
        fn find(&mut self, nonce: u64, tip: Option<u128>) -> Option<(u128, u16)> {
            let lanes = self.expecting.get_mut(&nonce)?;
            let same = tip.and_then(|tip| lanes.range((tip, 0)..=(tip, u16::MAX)).next().copied());
            let found = match same {
                Some(lane) => lanes.take(&lane),
                None => lanes.pop_first(),
            };
            if lanes.is_empty() {
                self.expecting.remove(&nonce);
            }
            found
        }

        /// Lanes opened so far.
        pub(in super::super) const fn opened(&self) -> usize {
            self.opened
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(transactions: impl IntoIterator<Item = (u64, Option<u128>)>) {
        let (mut picker, mut lanes) = (LanePicker::default(), Lanes::default());
        for (nonce, tip) in transactions {
            let (reference, lane) = picker.pick(nonce, tip);
            assert_eq!(lane.nonce, nonce);
            if reference > 0 {
                assert_eq!(lanes.expected(reference), Some(lane));
            }
            lanes.record(reference, nonce, tip.unwrap_or(lane.tip));
            assert_eq!(picker.opened(), lanes.lanes.len());
        }
    }

    proptest! {
        #[test]
        fn lanes_give_the_nonces(
            transactions in prop::collection::vec(
                (prop_oneof![0u64..40, any::<u64>()], prop::option::of(0u128..4)),
                0..500,
            )
        ) {
            round_trip(transactions);
        }
    }

    #[test]
    fn nonces_survive_used_up_lanes() {
        let nonces = (0..70_000u64)
            .rev()
            .map(|n| n * 2)
            .chain(100_000..100_100)
            .chain([u64::MAX, 0, 1]);
        round_trip(nonces.map(|nonce| (nonce, Some(u128::from(nonce % 3)))));
    }

    #[test]
    fn lanes_of_the_same_tip_come_first() {
        let mut picker = LanePicker::default();
        for tip in [10, 20, 30] {
            assert_eq!(picker.pick(5, Some(tip)).0, 0);
        }
        assert_eq!(picker.pick(6, Some(20)), (2, Lane { nonce: 6, tip: 20 }));
        assert_eq!(picker.pick(6, Some(99)), (1, Lane { nonce: 6, tip: 10 }));
        assert_eq!(picker.pick(6, None), (3, Lane { nonce: 6, tip: 30 }));
        assert_eq!(picker.pick(6, None).0, 0);
        assert_eq!(
            picker.pick(7, Some(30)).0,
            3,
            "a legacy transaction leaves the tip"
        );
    }

    #[test]
    fn references_to_nothing_are_refused() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.expected(1), None);
        lanes.record(0, 7, 3);
        assert_eq!(lanes.expected(0), None);
        assert_eq!(lanes.expected(1), Some(Lane { nonce: 8, tip: 3 }));
        assert_eq!(lanes.expected(2), None);
    }
}
