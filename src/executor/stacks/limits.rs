//! The limits that all workers of a system share.

use crate::sync::{AtomicUsize, Ordering::Relaxed};

/// How large the stacks of a system are, and how many there may be.
#[derive(Debug)]
pub(crate) struct StackLimits {
    pub(in crate::executor) stack_bytes: usize,
    max_stacks: usize,
    live: AtomicUsize,
}

impl StackLimits {
    pub(crate) fn new(stack_bytes: usize, max_stacks: usize) -> Self {
        Self {
            stack_bytes,
            max_stacks,
            live: AtomicUsize::new(0),
        }
    }

    /// Counts one more stack, if there may be one.
    pub(in crate::executor) fn admit(&self) -> bool {
        // ORDERING: Relaxed: only the number counts, nothing is published through it.
        self.live
            .fetch_update(Relaxed, Relaxed, |live| {
                (live < self.max_stacks).then_some(live + 1)
            })
            .is_ok()
    }

    /// Whether a free stack may be kept: half of the stacks that there may be are not there, or,
    /// where these are many, a sixteenth.
    pub(super) fn has_plenty(&self) -> bool {
        /// Of so many a worker can keep some without others missing them.
        const MANY: usize = 64;
        // ORDERING: Relaxed, as above.
        let left = self.max_stacks.saturating_sub(self.live.load(Relaxed));
        left >= self.max_stacks.div_ceil(2) || left >= MANY.max(self.max_stacks / 16)
    }

    pub(in crate::executor) fn dismiss(&self) {
        // ORDERING: Relaxed, as above.
        self.live.fetch_sub(1, Relaxed);
    }
}
