//! Stacks of corosensei's: Windows grows a stack itself and moves its guard with it, for which
//! the thread's record of its stack must be kept up at each switch.
//!
//! Nothing is given back here while a stack is kept.
#![expect(
    unsafe_code,
    reason = "has the interface of the memory on other platforms"
)]

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

/// The part of a stack that could be given back: none.
#[derive(Clone, Copy)]
pub(crate) struct Depths;

impl Depths {
    pub(crate) fn of(_: &StackMemory) -> Self {
        Self
    }

    pub(crate) fn contain(self, _address: usize) -> bool {
        false
    }

    /// Does nothing.
    ///
    /// # Safety
    ///
    /// Has no conditions on this platform.
    pub(crate) unsafe fn give_back(self) {}
}
