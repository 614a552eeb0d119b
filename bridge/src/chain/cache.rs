//! Recent runs, as many as fit into a bound of bytes.

use std::collections::HashMap;

use alloy_primitives::B256;

/// Values by key; of those whose size is known, the ones used last are kept.
pub(super) struct Cache<V> {
    limit: usize,
    clock: u64,
    entries: HashMap<B256, Entry<V>>,
}

struct Entry<V> {
    value: V,
    used: u64,
    /// None while the value is in the making: it stays.
    bytes: Option<usize>,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            clock: 0,
            entries: HashMap::new(),
        }
    }

    pub(super) fn get(&mut self, key: &B256) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    /// Keeps a value in the making.
    pub(super) fn begin(&mut self, key: B256, value: V) {
        self.clock += 1;
        let used = self.clock;
        self.entries.insert(
            key,
            Entry {
                value,
                used,
                bytes: None,
            },
        );
    }

    /// Says what a value takes, now that it is made, and drops what does not fit any more.
    pub(super) fn finish(&mut self, key: &B256, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.bytes = Some(bytes);
        }
        while self.bytes() > self.limit {
            let made = self.entries.iter().filter(|(_, entry)| entry.bytes.is_some());
            let Some(oldest) = made.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key) else {
                return;
            };
            self.entries.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, key: &B256) {
        self.entries.remove(key);
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.values().filter_map(|entry| entry.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_what_is_in_the_making_stays() {
        let mut cache = Cache::new(100);
        let keys: Vec<B256> = (0..4).map(B256::with_last_byte).collect();
        for (value, key) in keys.iter().enumerate() {
            cache.begin(*key, value);
        }
        cache.finish(&keys[0], 60);
        cache.finish(&keys[1], 40);
        assert_eq!(cache.get(&keys[0]), Some(0));
        cache.finish(&keys[2], 40);
        assert_eq!(cache.get(&keys[1]), None, "the one used longest ago is gone");
        assert_eq!((cache.get(&keys[0]), cache.get(&keys[2])), (Some(0), Some(2)));
        assert_eq!(cache.bytes(), 100);
        assert_eq!(cache.get(&keys[3]), Some(3), "nobody knows its size yet");
        // Larger than all room: not kept.
        cache.finish(&keys[3], 101);
        assert_eq!(cache.get(&keys[3]), None);
        assert_eq!(cache.bytes(), 0);
    }
}
