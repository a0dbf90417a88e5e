//! The free stacks of a worker, and when their memory is given back.
//!
//! A handler that goes deep leaves pages behind that its stack keeps. They are given back when
//! the worker is about to sleep, and besides when a stack has come back for the 1024th time, for
//! a worker that never sleeps. That is one call of the system for each stack that was used since
//! the last time, and none for the others; taking a stack and bringing it back costs none.
//!
//! Only a stack at rest may lose its depths. Those that lie here are: each has never run, or is
//! suspended between two loops in its coroutine's closure, whose few frames are the first ones at
//! the stack's top. The closure checks that they end above the depths.
#![expect(
    unsafe_code,
    reason = "gives back memory below the frames of free stacks"
)]

use super::Stack;

/// Every how many returns of one stack the memory of all free ones is given back.
const RETURNS_PER_TRIM: u32 = 1024;

/// Free stacks; the one that came last goes first.
#[derive(Default)]
pub(super) struct FreeList {
    #[expect(clippy::vec_box, reason = "a stack is never moved once it is made")]
    stacks: Vec<Box<Stack>>,
    /// How many of them, from the bottom, were not used since their memory was given back.
    trimmed: usize,
}

impl FreeList {
    pub(super) fn len(&self) -> usize {
        self.stacks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Takes up a stack that is new or suspended between two loops.
    pub(super) fn push(&mut self, mut stack: Box<Stack>) {
        stack.returns = stack.returns.wrapping_add(1);
        let is_due = stack.returns.is_multiple_of(RETURNS_PER_TRIM);
        self.stacks.push(stack);
        if is_due {
            // The others too: which stack is here at such a moment may follow a pattern that
            // never lets one of them be.
            self.trim();
        }
    }

    pub(super) fn pop(&mut self) -> Option<Box<Stack>> {
        let stack = self.stacks.pop();
        self.trimmed = self.trimmed.min(self.stacks.len());
        stack
    }

    /// Whether a stack was used since its memory was given back.
    pub(super) fn has_untrimmed(&self) -> bool {
        self.trimmed < self.stacks.len()
    }

    /// Gives back the memory of all stacks that were used since the last time.
    pub(super) fn trim(&mut self) {
        for stack in &self.stacks[self.trimmed..] {
            // SAFETY: the memory belongs to the stack's coroutine. That is suspended in its
            // closure or was never begun, so its frames lie above the depths: it has checked
            // that. Nothing below the last frame of a suspended coroutine is used.
            unsafe { stack.depths.give_back() };
        }
        self.trimmed = self.stacks.len();
    }

    pub(super) fn into_stacks(self) -> impl Iterator<Item = Box<Stack>> {
        self.stacks.into_iter()
    }
}
