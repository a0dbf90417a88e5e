//! Tasks that plain threads will run themselves, unless a worker comes first.
//!
//! Waking a sleeping worker costs a thread more than most answers. So a thread that has asked,
//! and will most likely wait for the answer and run the asked actor meanwhile, does not push the
//! task to a run queue: it puts it into its [`Offer`] and takes it out again when it waits. If it
//! does anything else instead, a worker finds the task there a little later.
//!
//! # The offer
//!
//! | state | set by | meaning |
//! |---|---|---|
//! | `EMPTY` | the owner after it took the task back, a worker after it took it | there is none |
//! | `FRESH` | the owner, from `EMPTY` | there is a task |
//! | `SEEN` | a worker, from `FRESH` | the same, and a worker has come by before |
//! | `TAKEN` | a worker, from `SEEN` | that worker is moving the task out |
//!
//! Only the owner fills an empty offer, and only the one whose exchange leaves `FRESH` or `SEEN`
//! moves the task out; so nobody else touches the place meanwhile. A worker leaves a fresh offer
//! alone once, since its owner is probably about to run it.
//!
//! # Nothing is forgotten
//!
//! | thread | worker |
//! |---|---|
//! | fill the offer | say that nobody watches (`UNWATCHED`) |
//! | fence | fence |
//! | read the watch | look at all offers |
//!
//! If the thread finds `UNWATCHED` it says that offers were `MADE` and wakes a worker. As long as
//! the watch is not `UNWATCHED`, each worker that is about to sleep sleeps for a limited time and
//! looks then, or another one does (see [`Sleepers::watch`](super::sleep::Sleepers::watch)); when
//! that one finds something to run, it wakes another sleeper to watch. So either all workers are
//! awake or one of them comes to look. The fences are totally ordered: if the thread's is first,
//! the worker's look finds the offer; if the worker's is first, the thread finds `UNWATCHED`.
//!
//! A worker that looks replaces `MADE` by `WATCHED`; if it finds `WATCHED` no offer was made since
//! the last look, and it ends the watch. So a thread that asks all day wakes a worker once, and
//! that one looks around each millisecond. Workers that never sleep look in passing. A thread that
//! goes to sleep in a wait for something else passes its offer on.
#![expect(unsafe_code, reason = "a task changes hands by the state of its offer")]

use std::sync::Arc;

use super::Task;
use crate::sync::{
    AtomicU8, Fault, Mutex,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    UnsafeCell, fence, planted,
};

const EMPTY: u8 = 0;
const FRESH: u8 = 1;
const SEEN: u8 = 2;
const TAKEN: u8 = 3;

const UNWATCHED: u8 = 0;
const WATCHED: u8 = 1;
const MADE: u8 = 2;

/// A place for one task of one thread; see the [module](self).
pub(crate) struct Offer<T = Task> {
    state: AtomicU8,
    task: UnsafeCell<Option<T>>,
}

// SAFETY: a task moves between threads, so it must be `Send`; the state gives the place to one
// thread at a time, with Acquire and Release at each change.
unsafe impl<T: Send> Send for Offer<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Offer<T> {}

impl<T> Offer<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            task: UnsafeCell::new(None),
        }
    }

    /// Fills the offer; gives the task back if there is one already.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    pub(crate) unsafe fn fill(&self, task: T) -> Result<(), T> {
        // ORDERING: Acquire pairs with the Release of the worker that has taken the last task.
        if self.state.load(Acquire) != EMPTY {
            return Err(task);
        }
        self.task.with_mut(|place| {
            // SAFETY: only the owner fills an empty offer, and that is the caller.
            unsafe { *place = Some(task) }
        });
        // ORDERING: Release publishes the task.
        self.state.store(FRESH, Release);
        Ok(())
    }

    /// Takes the task back, if no worker has.
    ///
    /// # Safety
    ///
    /// The caller is the owner.
    pub(crate) unsafe fn take_back(&self) -> Option<T> {
        // ORDERING: Relaxed: the exchange below decides.
        let mut state = self.state.load(Relaxed);
        while state == FRESH || state == SEEN {
            // ORDERING: Acquire, for a worker that has seen it. The task is our own.
            match self.state.compare_exchange(state, EMPTY, Acquire, Relaxed) {
                Ok(_) => return self.move_out(),
                Err(now) => state = now,
            }
        }
        None
    }

    /// A worker comes by: takes the task if another one, or this one, has seen it before.
    pub(crate) fn look(&self) -> Option<T> {
        // ORDERING: Acquire pairs with the Release in `fill`.
        match self.state.load(Acquire) {
            FRESH => {
                // ORDERING: AcqRel: the task's publication is carried on. If the exchange fails
                // the owner or another worker has come first.
                let _ = self.state.compare_exchange(FRESH, SEEN, AcqRel, Relaxed);
                None
            }
            SEEN => {
                let taken = if planted(Fault::OfferEmptiedFirst) {
                    EMPTY
                } else {
                    TAKEN
                };
                // ORDERING: Acquire pairs with the Release in `fill`.
                self.state
                    .compare_exchange(SEEN, taken, Acquire, Relaxed)
                    .ok()?;
                let task = self.move_out();
                // ORDERING: Release: the place is the owner's again.
                self.state.store(EMPTY, Release);
                task
            }
            _ => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        // ORDERING: Acquire pairs with the worker's Release.
        self.state.load(Acquire) == EMPTY
    }

    /// For whoever's exchange has left `FRESH` or `SEEN`.
    fn move_out(&self) -> Option<T> {
        self.task.with_mut(|place| {
            // SAFETY: the place is the caller's, who has won the exchange.
            unsafe { (*place).take() }
        })
    }
}

/// Whether somebody looks at the offers from time to time; see the [module](self).
pub(crate) struct Watch(AtomicU8);

impl Watch {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(UNWATCHED))
    }

    /// Says that an offer was made; whether a worker has to be woken to watch.
    pub(crate) fn note(&self) -> bool {
        if !planted(Fault::OfferUnfenced) {
            // ORDERING: SeqCst: the offer and the watch must agree; see the module.
            fence(SeqCst);
        }
        // ORDERING: Relaxed, here and below: ordered by the fences, and nothing is published
        // through it.
        let mut state = self.0.load(Relaxed);
        while state != MADE {
            match self.0.compare_exchange(state, MADE, Relaxed, Relaxed) {
                Ok(_) => return state == UNWATCHED,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Whether offers are to be looked at: by a worker that is about to sleep, in a while; by one
    /// that never sleeps, now and then.
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Relaxed) != UNWATCHED
    }

    /// A worker begins to look at all offers. Call it before the look; if any is left by that
    /// look, [`keep`](Self::keep) it on.
    pub(crate) fn begin_look(&self) {
        let mut state = self.0.load(Relaxed);
        while state != UNWATCHED {
            let next = state - 1;
            match self.0.compare_exchange(state, next, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        // ORDERING: SeqCst: the offers and the watch must agree; see the module.
        fence(SeqCst);
    }

    /// Offers were left to their owners.
    pub(crate) fn keep(&self) {
        self.0.fetch_max(WATCHED, Relaxed);
    }
}

/// Whether it has an owner, or a task. An owner empties his offer before he leaves it.
fn is_used(offer: &Arc<Offer>) -> bool {
    Arc::strong_count(offer) > 1 || !offer.is_empty()
}

/// The offers of all threads that have made one.
pub(crate) struct Offers {
    list: Mutex<Vec<Arc<Offer>>>,
    pub(crate) watch: Watch,
}

impl Offers {
    pub(crate) fn new() -> Self {
        Self {
            list: Mutex::new(Vec::new()),
            watch: Watch::new(),
        }
    }

    pub(crate) fn join(&self) -> Arc<Offer> {
        let offer = Arc::new(Offer::new());
        let mut list = self.list.lock();
        // Those of threads that have ended, or have turned to another pool, are forgotten each
        // time their number may have doubled.
        if list.len().is_power_of_two() {
            list.retain(is_used);
        }
        list.push(offer.clone());
        offer
    }

    /// Looks at all offers, and passes on the tasks that were not run by their owners.
    pub(crate) fn look(&self, mut pass_on: impl FnMut(Task)) {
        self.watch.begin_look();
        let mut tasks = Vec::new();
        let mut left = false;
        self.list.lock().retain(|offer| {
            tasks.extend(offer.look());
            left |= !offer.is_empty();
            is_used(offer)
        });
        if left {
            self.watch.keep();
        }
        tasks.into_iter().for_each(&mut pass_on);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Watch;

    #[test]
    fn the_watch_ends_with_the_second_look_that_finds_nothing() {
        let watch = Watch::new();
        assert!(watch.note(), "the first offer wakes a worker");
        assert!(!watch.note(), "the others do not");
        watch.begin_look();
        assert!(watch.is_on(), "more may come soon");
        watch.begin_look();
        assert!(!watch.is_on(), "workers sleep without limit again");
        assert!(watch.note());
        watch.begin_look();
        watch.keep();
        watch.begin_look();
        watch.keep();
        assert!(watch.is_on(), "an offer is left");
    }
}

#[cfg(all(test, loom))]
#[path = "offers_models.rs"]
mod loom_models;
