//! How workers sleep without missing work, and how they are woken.
//!
//! # The bell
//!
//! Each worker has one. `ring` swaps in `RUNG`, and wakes the thread if it found `ASLEEP`. The
//! worker silences the bell, looks for work, and then exchanges `QUIET` for `ASLEEP`: if
//! anybody has rung since it was silenced, the exchange fails and it looks again. If the ring
//! came before the silencing, the silencing swap reads it, so the look that follows sees what
//! the ring was for.
//!
//! # Work that is nobody's in particular
//!
//! Pushing to a run queue that any worker may empty follows Dekker's pattern, with a fence
//! (SeqCst) on each side:
//!
//! | pusher | worker |
//! |---|---|
//! | push the task | enter the list of sleepers |
//! | fence | fence |
//! | read the number of sleepers | look at all queues |
//!
//! The fences are totally ordered. If the pusher's is first, the worker's look finds the task;
//! if the worker's is first, the pusher finds the sleeper and rings for one. So a task pushed
//! from outside never waits while all workers sleep. (The argument is the one of rayon's
//! `sleep/README.md`.)
//!
//! A worker that pushes to its own queue uses no fence: it is awake and will come to the task.
//! It rings only for the sake of speed, and only if a second task stands there, since waking a
//! thread costs more than most turns.
//!
//! # The sentinel
//!
//! One handler may run for long with tasks behind it. While any worker is awake, one of the
//! sleepers is the sentinel: it sleeps for a millisecond at a time (up to 16 if it finds
//! nothing) and looks for tasks to steal. If it finds something to do, or is woken for it, it wakes
//! another sleeper to be the sentinel. When all others sleep too, it sleeps without limit: an
//! idle system uses no processor. As long as threads outside make [offers](super::offers), there
//! is a sentinel too, which looks at these.

use std::time::Duration;

use crate::sync::thread::{self, Thread};
use crate::sync::{
    AtomicU8, AtomicUsize, Fault, Mutex,
    Ordering::{AcqRel, Acquire, Relaxed, SeqCst},
    fence, planted,
};

const QUIET: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

/// See the [module](self).
pub(crate) struct Bell {
    state: AtomicU8,
    thread: std::sync::OnceLock<Thread>,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU8::new(QUIET),
            thread: std::sync::OnceLock::new(),
        }
    }

    /// Makes the current thread the one that this bell wakes.
    pub(crate) fn belongs_here(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// Wakes the owner, or keeps it from falling asleep.
    pub(crate) fn ring(&self) {
        if self.strike()
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Whether the owner sleeps and has to be woken.
    pub(crate) fn strike(&self) -> bool {
        // ORDERING: Release publishes what the ring is for; pairs with the owner's swaps.
        self.state.swap(RUNG, AcqRel) == ASLEEP
    }

    /// Forgets earlier rings. The owner looks for work after this.
    pub(crate) fn silence(&self) {
        // ORDERING: Acquire pairs with the ringers' Release.
        self.state.swap(QUIET, AcqRel);
    }

    /// Whether the owner may sleep: nobody has rung since it was silenced.
    pub(crate) fn fall_asleep(&self) -> bool {
        if planted(Fault::RingOverlooked) {
            self.state.swap(ASLEEP, AcqRel);
            return true;
        }
        // ORDERING: as above.
        self.state
            .compare_exchange(QUIET, ASLEEP, AcqRel, Acquire)
            .is_ok()
    }

    pub(crate) fn is_asleep(&self) -> bool {
        // ORDERING: Relaxed: a figure for snapshots.
        self.state.load(Relaxed) == ASLEEP
    }

    /// Sleeps until somebody rings, or for `limit`. Call it after a look that followed
    /// [`silence`](Self::silence).
    pub(crate) fn sleep(&self, limit: Option<Duration>) {
        if !self.fall_asleep() {
            return;
        }
        // ORDERING: Acquire pairs with the ringers' Release.
        while self.state.load(Acquire) == ASLEEP {
            match limit {
                None => thread::park(),
                Some(limit) => {
                    thread::park_timeout(limit);
                    break;
                }
            }
        }
        self.silence();
    }
}

/// The workers of a pool that sleep.
pub(crate) struct Sleepers {
    /// The indices of those that sleep or are about to.
    sleeping: Mutex<Vec<usize>>,
    /// The length of `sleeping`, for those that look in passing.
    count: AtomicUsize,
    /// Workers that were rung for and have not found work yet.
    searching: AtomicUsize,
    /// One more than the index of the sleeper that looks from time to time; 0 if none does.
    sentinel: AtomicUsize,
}

/// What a worker knows after it slept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Woken {
    /// Somebody took it from the list to search for work.
    ToSearch,
    /// Work was found, its own bell was rung, or its time was over.
    ByItself,
}

impl Sleepers {
    pub(crate) fn new() -> Self {
        Self {
            sleeping: Mutex::new(Vec::new()),
            count: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            sentinel: AtomicUsize::new(0),
        }
    }

    /// Enters the list. The worker looks at all queues after this and before it sleeps.
    pub(crate) fn enter(&self, worker: usize) {
        {
            let mut sleeping = self.sleeping.lock();
            sleeping.push(worker);
            // ORDERING: Relaxed: the fence below orders it.
            self.count.store(sleeping.len(), Relaxed);
        }
        if !planted(Fault::SleeperUnfenced) {
            // ORDERING: SeqCst: `count` and the run queues must agree; see the module.
            fence(SeqCst);
        }
    }

    /// Leaves the list, if nobody has taken the worker from it.
    pub(crate) fn leave(&self, worker: usize) -> Woken {
        let mut sleeping = self.sleeping.lock();
        match sleeping.iter().position(|sleeper| *sleeper == worker) {
            Some(index) => {
                sleeping.swap_remove(index);
                // ORDERING: Relaxed: a smaller count at worst spares a ring for a worker that
                // is awake.
                self.count.store(sleeping.len(), Relaxed);
                Woken::ByItself
            }
            None => Woken::ToSearch,
        }
    }

    /// Takes a sleeper to ring for, after a push from outside the pool.
    #[inline]
    pub(crate) fn take_for_outside(&self) -> Option<usize> {
        if !planted(Fault::PusherUnfenced) {
            // ORDERING: SeqCst: `count` and the run queues must agree; see the module.
            fence(SeqCst);
        }
        // ORDERING: Relaxed: ordered by the fence.
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        self.take()
    }

    /// Takes a sleeper to ring for, if one is worth it, after a worker pushed to its own queue
    /// which now holds `len` tasks.
    #[inline]
    pub(crate) fn take_for_inside(&self, len: impl FnOnce() -> usize) -> Option<usize> {
        // ORDERING: Relaxed: only for speed; the pusher itself will come to the task.
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let unguarded = self.sentinel.load(Relaxed) == 0;
        let worthwhile = self.searching.load(Relaxed) == 0 && len() > 1;
        if unguarded || worthwhile {
            self.take()
        } else {
            None
        }
    }

    /// Takes a sleeper to ring for, so that it looks at the offers in the place of a worker that
    /// has found something to do.
    pub(crate) fn take_to_watch(&self) -> Option<usize> {
        // ORDERING: Relaxed: who enters the list later looks at the watch by himself.
        if self.count.load(Relaxed) == 0 || self.sentinel.load(Relaxed) != 0 {
            return None;
        }
        self.take()
    }

    fn take(&self) -> Option<usize> {
        let mut sleeping = self.sleeping.lock();
        let mut worker = sleeping.pop()?;
        // The sentinel goes last: with it gone, somebody else has to be woken to watch.
        // ORDERING: Relaxed: only for speed.
        if self.sentinel.load(Relaxed) == worker + 1
            && let Some(other) = sleeping.last_mut()
        {
            std::mem::swap(&mut worker, other);
        }
        // ORDERING: Relaxed: under the lock; readers in passing need no more.
        self.count.store(sleeping.len(), Relaxed);
        self.searching.fetch_add(1, Relaxed);
        Some(worker)
    }

    /// A worker that was taken to search has found work, or has given up.
    pub(crate) fn end_search(&self) {
        // ORDERING: Relaxed: only for speed.
        self.searching.fetch_sub(1, Relaxed);
    }

    /// How long a worker in the list may sleep: without limit, unless others are awake or there
    /// are offers to look at, and it becomes the sentinel.
    pub(crate) fn watch(
        &self,
        worker: usize,
        workers: usize,
        offers: bool,
        patience: Duration,
    ) -> Option<Duration> {
        // ORDERING: Relaxed: only for speed. A worker that was awake when we looked and falls
        // asleep later leaves a sentinel that wakes once for nothing.
        let others_awake = self.count.load(Relaxed) < workers;
        // The sentinel that we leave it to has not looked yet: it comes here again after that.
        if (others_awake || offers)
            && self
                .sentinel
                .compare_exchange(0, worker + 1, Relaxed, Relaxed)
                .is_ok()
        {
            Some(patience)
        } else {
            None
        }
    }

    /// The sentinel has woken.
    pub(crate) fn end_watch(&self) {
        // ORDERING: Relaxed: only for speed.
        self.sentinel.store(0, Relaxed);
    }
}

#[cfg(all(test, loom))]
#[path = "sleep_models.rs"]
mod loom_models;
