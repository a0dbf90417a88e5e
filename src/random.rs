//! Numbers that look random and are the same in every run: SplitMix64 (Steele, Lea and Flood,
//! 2014).

/// What the generator adds to its state for each number: the golden ratio's steps are as far from
/// each other as can be.
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The generator's finalizer: a bijection that spreads a number over all bits.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
