//! Damage to a text that is the same in every run, for tests without a fuzzer.

/// Knuth's linear congruential generator, and what it does to texts.
pub struct Damage(u64);

impl Damage {
    /// A generator that does the same for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 up to, but not including, `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    /// Cuts, repeats or moves a stretch of the text, or puts one of `parts` into it.
    pub fn apply(&mut self, text: &mut Vec<u8>, parts: &[&[u8]]) {
        let start = self.below(text.len() + 1);
        let range = start..(start + self.below(40)).min(text.len());
        let part = parts[self.below(parts.len())];
        match self.below(6) {
            0 => drop(text.drain(range)),
            1 => drop(text.splice(range, part.iter().copied())),
            2 => text.extend_from_within(range),
            3 => {
                let copy = text[range].to_vec();
                let at = self.below(text.len() + 1);
                drop(text.splice(at..at, copy));
            }
            _ => drop(text.splice(start..start, part.iter().copied())),
        }
    }
}
