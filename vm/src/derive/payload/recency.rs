//! Values that recur soon: a rank in the list of recent ones, or a literal.

use alloc::vec::Vec;

/// Most values that a list remembers: a rank is one byte, and the last one means a literal. One more is left
/// for columns whose first rank means something else.
const RECENT_MAX: usize = 254;

/// The rank that says that a literal follows.
pub(super) const LITERAL: u8 = 255;

/// The rank that says that a tip is that of the nonce lane; other tips have a rank one higher.
pub(super) const SAME_TIP: u8 = 0;

/// Recent values, the newest first.
#[derive(Debug, Default)]
pub(super) struct Recency<T> {
    recent: Vec<T>,
}

impl<T: Copy + PartialEq> Recency<T> {
    /// The rank of a value, or `None` when it is not recent. Either way it becomes the newest.
    #[cfg(feature = "std")]
    pub(super) fn rank(&mut self, value: T) -> Option<u8> {
        match self.recent.iter().position(|recent| *recent == value) {
            Some(rank) => {
                self.renew(rank);
                u8::try_from(rank).ok()
            }
            None => {
                self.push(value);
                None
            }
        }
    }

    /// The value at a rank, or `None` when there is none. It becomes the newest.
    pub(super) fn value(&mut self, rank: u8) -> Option<T> {
        let value = self.recent.get(usize::from(rank)).copied()?;
        self.renew(usize::from(rank));
        Some(value)
    }

    /// Adds a value that is not in the list, as the newest.
    pub(super) fn push(&mut self, value: T) {
        self.recent.truncate(RECENT_MAX.saturating_sub(1));
        self.recent.insert(0, value);
    }

    fn renew(&mut self, rank: usize) {
        if let Some(until) = self.recent.get_mut(..=rank) {
            until.rotate_right(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranks_give_the_values(values in prop::collection::vec(0u16..400, 0..2_000)) {
            let mut encoder = Recency::default();
            let mut decoder = Recency::default();
            for value in values {
                match encoder.rank(value) {
                    Some(rank) => {
                        prop_assert!(rank < LITERAL - 1);
                        prop_assert_eq!(decoder.value(rank), Some(value));
                    }
                    None => decoder.push(value),
                }
                prop_assert!(encoder.recent.len() <= RECENT_MAX);
                prop_assert_eq!(&encoder.recent, &decoder.recent);
            }
        }
    }
}
