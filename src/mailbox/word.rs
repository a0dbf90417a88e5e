//! The word that senders and runners of a queue agree about: where its parts lie.
//!
//! What the parts mean, and who changes them when, is written at the [queue](super::queue).

use super::segment::{LAP, beginning_of};

pub(super) const RUNNING: u64 = 1;
pub(super) const SIGNAL: u64 = 1 << 1;
pub(super) const CLOSED: u64 = 1 << 2;
pub(super) const WAITERS: u64 = 1 << 3;
pub(super) const LEN_SHIFT: u32 = 4;
pub(super) const LEN_ONE: u64 = 1 << LEN_SHIFT;
pub(super) const POSITION_SHIFT: u32 = 28;
pub(super) const POSITION_ONE: u64 = 1 << POSITION_SHIFT;
pub(super) const LEN_MASK: u64 = (POSITION_ONE - 1) & !(LEN_ONE - 1);
pub(super) const POSITION_MASK: u64 = !(POSITION_ONE - 1);

/// The largest capacity that the word can count.
pub(crate) const MAX_CAPACITY: usize = (LEN_MASK >> LEN_SHIFT) as usize;

// Positions are kept in the upper bits, as in the word, so that they wrap by themselves.
#[inline]
pub(super) fn tail(word: u64) -> u64 {
    word & POSITION_MASK
}

#[inline]
pub(super) fn len(word: u64) -> u64 {
    (word & LEN_MASK) >> LEN_SHIFT
}

#[inline]
pub(super) fn given_back(word: u64) -> u64 {
    tail(word).wrapping_sub(len(word) << POSITION_SHIFT)
}

#[inline]
pub(super) fn steps(from: u64, to: u64) -> i64 {
    (to.wrapping_sub(from) as i64) >> POSITION_SHIFT
}

#[inline]
pub(super) fn offset(position: u64) -> u64 {
    (position >> POSITION_SHIFT) & (LAP - 1)
}

/// The position at which the segment begins that holds `position`.
#[inline]
pub(super) fn base_of(position: u64) -> u64 {
    let offset = offset(position);
    position.wrapping_sub((offset - beginning_of(offset)) << POSITION_SHIFT)
}

/// Where in its segment the slot of `position` is.
#[inline]
pub(super) fn index_in_segment(position: u64) -> usize {
    let offset = offset(position);
    (offset - beginning_of(offset)) as usize
}

/// The next position that begins a lap, or this one if it does.
#[inline]
pub(super) fn next_lap(position: u64) -> u64 {
    let rest = (LAP - offset(position)) & (LAP - 1);
    position.wrapping_add(rest << POSITION_SHIFT)
}
