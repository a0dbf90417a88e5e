//! Stacks of corosensei's: Windows grows a stack itself and moves its guard with it, for which
//! the thread's record of its stack must be kept up at each switch.

use std::io;

pub(crate) use corosensei::stack::DefaultStack as StackMemory;

/// Maps a stack of so many bytes and its guards.
pub(super) fn map(bytes: usize) -> io::Result<StackMemory> {
    // What corosensei adds for the guards is far from another half of all addresses.
    if bytes > usize::MAX / 2 {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    StackMemory::new(bytes)
}
