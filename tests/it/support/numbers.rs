//! Numbers that a seed decides, and the seed in what a failure prints.

use std::thread;

/// A generator that gives the same numbers everywhere (SplitMix64).
#[derive(Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize]
    }
}

/// Runs `f`; if it panics, prints the seed.
pub(crate) fn telling_seed<R>(seed: u64, f: impl FnOnce() -> R) -> R {
    struct TellSeed(u64);
    impl Drop for TellSeed {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("the seed was {}", self.0);
            }
        }
    }
    let _seed = TellSeed(seed);
    f()
}
