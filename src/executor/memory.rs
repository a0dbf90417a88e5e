//! The memory of stacks: where it comes from, what guards its end, and how it is given back.
//!
//! On Unix a stack is a mapping of its own: a guard of 64 KiB at the low end, which nobody may
//! touch, and above it what was asked for. It takes up address space at once and memory page by
//! page as it is touched. A handler that goes beyond the stack's end hits the guard, and a signal
//! ends the process. Rust's code cannot get past it, however large a frame is: the compiler has
//! each frame of more than a page touch its pages in turn, from the top. Foreign code may come
//! without these probes; it would have to pass over the whole guard at once to do harm, not over
//! a single page.
//!
//! On Windows the system has a part in growing a stack, so corosensei's own is used there.
//!
//! Pages that were touched stay until they are given back. That is the business of whoever keeps
//! stacks that are at rest; [`Depths`] is the part of a stack that is of no use to those.

use std::io;

#[cfg(unix)]
#[path = "memory/unix.rs"]
mod imp;
#[cfg(windows)]
#[path = "memory/windows.rs"]
mod imp;

pub(crate) use imp::{Depths, StackMemory};

/// The smallest stack. It costs address space only, and a handler that panics needs this much to
/// say so.
const MIN_BYTES: usize = 64 << 10;
/// How much of a stack, from its top, is never given back: the frames of a stack at rest lie
/// there, and a handler that does not go deep finds its pages still in place.
#[cfg(unix)]
const KEPT_BYTES: usize = 16 << 10;

const _: () = assert!(MIN_BYTES >= corosensei::stack::MIN_STACK_SIZE);

/// The operating system has no memory for a stack, or there is not that much in the world.
#[derive(Debug, thiserror::Error)]
#[error("no memory for a stack of {bytes} bytes")]
struct NoMemory {
    bytes: usize,
    source: io::Error,
}

/// Obtains a stack of so many bytes, of 64 KiB at least.
///
/// # Errors
///
/// If the operating system refuses it, or the size is beyond all addresses. The error names the
/// size.
pub(crate) fn obtain(bytes: usize) -> io::Result<StackMemory> {
    imp::map(bytes.max(MIN_BYTES))
        .map_err(|source| io::Error::new(source.kind(), NoMemory { bytes, source }))
}
