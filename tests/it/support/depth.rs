//! Handlers that use much of their stack.

use std::hint::black_box;

pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;

/// Reaches so many bytes down the stack, by frames of somewhat more than `FRAME` bytes.
#[inline(never)]
pub(crate) fn go_down<const FRAME: usize>(bytes: usize) -> usize {
    let mut frame = [1_u8; FRAME];
    black_box(&mut frame);
    let below = match bytes.checked_sub(FRAME) {
        Some(left) => go_down::<FRAME>(left),
        None => 0,
    };
    // Keeps the frame until the call is over.
    below + usize::from(black_box(&frame)[FRAME - 1])
}
