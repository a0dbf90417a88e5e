//! The cell between an asker and whoever answers: one allocation, one outcome.
//!
//! | bit | set by | meaning |
//! |---|---|---|
//! | `BEGUN` | the answerer, unless `WITHDRAWN` is set | the request is in a handler's hand, or its answer in debt |
//! | `DONE` | the answerer, once | the outcome is written and belongs to the asker |
//! | `WAKER` | the asker, after writing its waker; cleared by the asker | the waker belongs to whoever sets `DONE` |
//! | `WITHDRAWN` | the asker, once | nobody will look at the outcome |
//!
//! All changes are read-modify-writes of one byte, so they stand in one order:
//! - `BEGUN` against `WITHDRAWN`: whichever is first decides whether the request runs, and both
//!   sides learn it. A request that was withdrawn while queued never runs.
//! - `DONE` against `WAKER`: if `WAKER` is first, the answerer sees it and calls the waker; if
//!   `DONE` is first, the asker sees it and does not wait.
//!
//! Whatever is left in the cell goes with the last of its two owners.
#![expect(
    unsafe_code,
    reason = "the outcome and the waker change owners by bits of the state"
)]

use std::task::{Poll, Waker};

use crate::error::Stage;
use crate::sync::{
    AtomicU8, Fault, Ordering::AcqRel, Ordering::Acquire, UnsafeCell, planted, unless,
};
use crate::unwind::wake_quietly;

const BEGUN: u8 = 1;
const DONE: u8 = 1 << 1;
const WAKER: u8 = 1 << 2;
const WITHDRAWN: u8 = 1 << 3;

/// See the [module](self).
pub(crate) struct ReplyCell<T> {
    state: AtomicU8,
    outcome: UnsafeCell<Option<T>>,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: the outcome moves from the answerer to the asker, so it must be `Send`; the bits
// give each field to one side at a time, with Acquire and Release at each change.
unsafe impl<T: Send> Send for ReplyCell<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ReplyCell<T> {}

impl<T> ReplyCell<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU8::new(0),
            outcome: UnsafeCell::new(None),
            waker: UnsafeCell::new(None),
        }
    }

    /// The answerer takes the request in hand; `false` if it was withdrawn.
    pub(crate) fn begin(&self) -> bool {
        if planted(Fault::BegunInTwo) {
            let wanted = self.is_wanted();
            self.state.fetch_or(BEGUN, AcqRel);
            return wanted;
        }
        // ORDERING: AcqRel, as for all changes of the state: each side sees what the other did
        // before its change.
        self.state.fetch_or(BEGUN, AcqRel) & WITHDRAWN == 0
    }

    /// Whether the asker still waits or may come to.
    pub(crate) fn is_wanted(&self) -> bool {
        // ORDERING: Acquire pairs with the asker's changes.
        self.state.load(Acquire) & WITHDRAWN == 0
    }

    /// The answerer gives the outcome.
    ///
    /// # Safety
    ///
    /// It is called once, by the answerer.
    pub(crate) unsafe fn complete(&self, outcome: T) {
        self.outcome.with_mut(|place| {
            // SAFETY: until DONE is set the outcome is the answerer's.
            unsafe { *place = Some(outcome) }
        });
        // ORDERING: Release publishes the outcome; Acquire takes over the waker.
        let order = unless(Fault::OutcomeUnpublished, AcqRel);
        let state = self.state.fetch_or(DONE, order);
        if state & WAKER != 0 && !planted(Fault::WakerOverlooked) {
            let waker = self.waker.with_mut(|place| {
                // SAFETY: WAKER was set when DONE was: the waker is the answerer's.
                unsafe { (*place).take() }
            });
            if let Some(waker) = waker {
                wake_quietly(waker);
            }
        }
    }

    /// The asker looks for the outcome, and leaves its waker if it is not there.
    ///
    /// # Safety
    ///
    /// It is called by the asker, and not again after it was ready.
    pub(crate) unsafe fn poll(&self, waker: &Waker) -> Poll<T> {
        // ORDERING: Acquire pairs with the answerer's Release.
        let mut state = self.state.load(Acquire);
        if state & (DONE | WAKER) == WAKER && !planted(Fault::WakerNotTakenBack) {
            // Take the old waker back first.
            state = self.state.fetch_and(!WAKER, AcqRel);
        }
        if state & DONE == 0 {
            self.waker.with_mut(|place| {
                // SAFETY: WAKER is not set, and the answerer touches the waker only if it
                // finds it set.
                unsafe { *place = Some(waker.clone()) }
            });
            // ORDERING: Release hands over the waker; Acquire for an outcome that came first.
            state = self.state.fetch_or(WAKER, AcqRel);
        }
        if state & DONE == 0 {
            return Poll::Pending;
        }
        let outcome = self.outcome.with_mut(|place| {
            // SAFETY: DONE is set: the outcome is the asker's.
            unsafe { (*place).take() }
        });
        Poll::Ready(outcome.expect("an outcome is taken once"))
    }

    /// Whether a handler has taken the request in hand.
    pub(crate) fn has_begun(&self) -> bool {
        // ORDERING: Acquire pairs with the answerer's change.
        self.state.load(Acquire) & BEGUN != 0
    }

    /// Whether the outcome is there.
    pub(crate) fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the answerer's Release.
        self.state.load(Acquire) & DONE != 0
    }

    /// The asker gives up. `None` if the outcome came first; else how far the request had come.
    pub(crate) fn withdraw(&self) -> Option<Stage> {
        // ORDERING: AcqRel, as for all changes of the state.
        let state = self.state.fetch_or(WITHDRAWN, AcqRel);
        if state & DONE != 0 {
            None
        } else if state & BEGUN != 0 {
            Some(Stage::Running)
        } else {
            Some(Stage::Queued)
        }
    }
}

#[cfg(all(test, loom))]
#[path = "reply_models.rs"]
mod loom_models;
