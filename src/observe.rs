//! What one can see: counts, dead letters, snapshots. Plain data; no actor known.

mod letters;
mod snapshot;

pub(crate) use letters::Letters;
pub use letters::{DeadLetter, DeadLetterFeed, LossReason};
pub use snapshot::{ActorSnapshot, ActorState, BlockingSnapshot, Snapshot, WorkerSnapshot};

use std::fmt;
use std::ops::AddAssign;

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// How many messages came to an actor, and what became of them.
///
/// When nothing is in hand, the books balance to the unit:
/// `accepted == handled + dropped + dead_lettered + cancelled + queued`.
/// [`is_balanced`](Self::is_balanced) says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Messages that the mailbox took, or took and dropped by its policy.
    pub accepted: u64,
    /// Messages whose handler returned.
    pub handled: u64,
    /// Messages that were dropped by the mailbox's policy.
    pub dropped: u64,
    /// Messages that were queued when their actor ended, and those whose handler panicked.
    pub dead_lettered: u64,
    /// Requests that nobody waited for any more when their turn came, and messages of timers that
    /// were cancelled by then; they were not run.
    pub cancelled: u64,
    /// Messages in the mailbox.
    pub queued: u64,
    /// Messages that a full mailbox refused, and those that were in line when it closed; they are
    /// not accepted ones. What comes to a closed mailbox is counted by nobody.
    pub rejected: u64,
}

impl Counts {
    /// Whether each accepted message is in exactly one bin. Messages in hand are in none.
    pub fn is_balanced(&self) -> bool {
        self.accepted
            == self.handled + self.dropped + self.dead_lettered + self.cancelled + self.queued
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.handled += other.handled;
        self.dropped += other.dropped;
        self.dead_lettered += other.dead_lettered;
        self.cancelled += other.cancelled;
        self.queued += other.queued;
        self.rejected += other.rejected;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "accepted {} = handled {} + dropped {} + dead-lettered {} + cancelled {} + queued {}; \
             rejected {}",
            self.accepted,
            self.handled,
            self.dropped,
            self.dead_lettered,
            self.cancelled,
            self.queued,
            self.rejected,
        )
    }
}

/// A counter with one writer at a time.
#[derive(Debug)]
pub(crate) struct OwnCount(AtomicU64);

impl OwnCount {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one more. Only the one writer may call it: the runner of the actor.
    #[inline]
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Counts so many more. Only the one writer may call it.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        // ORDERING: Relaxed: nothing is published through a count. No read-modify-write is
        // needed, since the next writer follows the last through the mailbox's word.
        self.0.store(self.0.load(Relaxed) + more, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // ORDERING: Relaxed, as above.
        self.0.load(Relaxed)
    }
}

/// A counter with many writers, for slow paths. Whoever closes the books learns the last count;
/// a writer that comes later learns that they are closed.
#[derive(Debug)]
pub(crate) struct SharedCount(AtomicU64);

impl SharedCount {
    const CLOSED: u64 = 1 << 63;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts one more; `false` if the books are closed, and it has to be counted elsewhere.
    pub(crate) fn increment(&self) -> bool {
        // ORDERING: Relaxed: nothing is published through a count. All changes of one number
        // stand in one order, so each increment is before the closing or learns of it.
        self.0.fetch_add(1, Relaxed) & Self::CLOSED == 0
    }

    pub(crate) fn get(&self) -> u64 {
        // ORDERING: Relaxed, as above.
        self.0.load(Relaxed) & !Self::CLOSED
    }

    /// Closes the books; returns the last count.
    pub(crate) fn close(&self) -> u64 {
        // ORDERING: Relaxed, as above.
        self.0.fetch_or(Self::CLOSED, Relaxed)
    }
}
