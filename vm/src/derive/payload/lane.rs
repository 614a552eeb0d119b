//! Nonces: a transaction continues a lane, or opens one.
//!
//! A sender's nonces count up, but the sender is known only after its signature is checked, and that needs
//! the nonce. Lanes do without senders: a lane remembers the nonce that comes next, and a transaction names
//! the lane that it continues. Where several lanes expect the same nonce the lowest is named, whoever sent
//! it, which needs fewer bits than naming the sender.

use alloc::vec::Vec;

/// Most lanes: a reference is two bytes, and 0 means a nonce outside of all lanes. When lanes are used up,
/// further senders pay for whole nonces.
pub(super) const LANES_MAX: usize = 65_535;

/// Lanes as the decoder follows them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    next: Vec<u64>,
}

impl Lanes {
    /// The nonce that continues the lane of a reference above 0.
    pub(super) fn follow(&mut self, reference: u16) -> Option<u64> {
        let lane = usize::from(reference).checked_sub(1)?;
        let next = self.next.get_mut(lane)?;
        let nonce = *next;
        *next = nonce.wrapping_add(1);
        Some(nonce)
    }

    /// Opens a lane with its first nonce, unless lanes are used up.
    pub(super) fn open(&mut self, nonce: u64) {
        if self.next.len() < LANES_MAX {
            self.next.push(nonce.wrapping_add(1));
        }
    }
}

#[cfg(feature = "std")]
pub(super) use picker::LanePicker;

#[cfg(feature = "std")]
mod picker {
    use alloc::collections::{BTreeMap, BTreeSet};

    use super::LANES_MAX;

    /// Lanes as the encoder picks them.
    #[derive(Debug, Default)]
    pub(in super::super) struct LanePicker {
        opened: usize,
        expecting: BTreeMap<u64, BTreeSet<u16>>,
    }

    impl LanePicker {
        /// The lowest lane that expects a nonce; 0, and a lane opened, when there is none.
        pub(in super::super) fn pick(&mut self, nonce: u64) -> u16 {
            let mut found = None;
            if let Some(lanes) = self.expecting.get_mut(&nonce) {
                found = lanes.pop_first();
                if lanes.is_empty() {
                    self.expecting.remove(&nonce);
                }
            }
            let lane = match found {
                Some(lane) => lane,
                None if self.opened < LANES_MAX => {
                    self.opened = self.opened.saturating_add(1);
                    u16::try_from(self.opened).unwrap_or(u16::MAX)
                }
                None => return 0,
            };
            self.expecting
                .entry(nonce.wrapping_add(1))
                .or_default()
                .insert(lane);
            found.unwrap_or(0)
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

    fn round_trip(nonces: impl IntoIterator<Item = u64>) {
        let (mut picker, mut lanes) = (LanePicker::default(), Lanes::default());
        for nonce in nonces {
            match picker.pick(nonce) {
                0 => lanes.open(nonce),
                reference => assert_eq!(lanes.follow(reference), Some(nonce)),
            }
            assert_eq!(picker.opened(), lanes.next.len());
        }
    }

    proptest! {
        #[test]
        fn lanes_give_the_nonces(nonces in prop::collection::vec(prop_oneof![0u64..40, any::<u64>()], 0..500)) {
            round_trip(nonces);
        }
    }

    #[test]
    fn nonces_survive_used_up_lanes() {
        round_trip(
            (0..70_000u64)
                .rev()
                .map(|n| n * 2)
                .chain(100_000..100_100)
                .chain([u64::MAX, 0, 1]),
        );
    }

    #[test]
    fn references_to_nothing_are_refused() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.follow(1), None);
        lanes.open(7);
        assert_eq!(lanes.follow(0), None);
        assert_eq!(lanes.follow(1), Some(8));
        assert_eq!(lanes.follow(2), None);
    }
}
