//! How long something may still take, in L1 blocks.

/// The time for one thing that has to confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The last L1 block in which it is in time.
    pub deadline: u32,
    /// L1 blocks left.
    pub left: u32,
    /// Whether half of the time has passed.
    pub half: bool,
}

impl Clock {
    /// Gives the time after block `tip` for what has to confirm before an output of block `since` may be spent with a lock of
    /// `lock` blocks: in block `since + lock` the other side may (BIP-0068).
    pub const fn new(since: u32, lock: u16, tip: u32) -> Self {
        let lock = lock as u32;
        let deadline = (since + lock).saturating_sub(1);
        let left = deadline.saturating_sub(tip);
        Self {
            deadline,
            left,
            half: left <= lock / 2,
        }
    }

    /// Whether it is over: the next block may be the other side's.
    pub const fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_in_time_is_the_one_before_the_locks_end() {
        let at = |tip| Clock::new(100, 6, tip);
        assert_eq!((at(100).deadline, at(100).left), (105, 5));
        assert!(!at(101).half && at(102).half);
        assert!(!at(104).is_over() && at(105).is_over());
        assert_eq!(at(200).left, 0);
        // A lock of one block leaves no time at all.
        assert!(Clock::new(100, 1, 100).is_over());
    }
}
