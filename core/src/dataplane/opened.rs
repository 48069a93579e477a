//! What was opened behind the back of packets that were looked up before.

/// What a chunk of a burst opened after some of its lookups. Says of a hash that it was not, or that it may have been.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opened([u64; 4]);

impl Opened {
    #[inline]
    pub(super) fn add(&mut self, hash: u64) {
        if let Some(word) = self.0.get_mut((hash >> 8) as usize & 3) {
            *word |= 1 << (hash & 63);
        }
    }

    #[inline]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let word = self.0.get((hash >> 8) as usize & 3);
        word.is_some_and(|word| word >> (hash & 63) & 1 != 0)
    }
}
