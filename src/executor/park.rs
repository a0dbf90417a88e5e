//! Waiting, wherever one stands: on a pooled stack, on a plain thread, or beside an executor
//! that is stepped by hand.
//!
//! All waits have one form: [`block`] asks a closure that either has the outcome or has
//! registered the waker it was given, and parks in between. A wake-up may be spurious; only the
//! closure decides.
//!
//! # The token
//!
//! | state | set by | meaning |
//! |---|---|---|
//! | `EMPTY` | the waiter, after it was resumed or consumed a notice | runs, nobody has called |
//! | `PARKED` | the waiter, from `EMPTY` only | is parked or about to switch away |
//! | `NOTIFIED` | any waker | has been called |
//!
//! A waker swaps in `NOTIFIED`. If it finds `PARKED` it makes the stack ready, exactly once per
//! park. If it comes first, the waiter's exchange from `EMPTY` fails and it does not park.
//! Either way the waiter's Acquire pairs with the waker's Release, so it sees what it was
//! called for. Being made ready before the switch is over is harmless: the stack is resumed
//! only by its own worker, between messages, that is after the switch.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use super::{Executor, pool, stacks, stepped};
use crate::error::WaitError;
use crate::sync::thread::{self, Thread};
use crate::sync::{
    AtomicU8, Fault, Ordering::AcqRel, Ordering::Acquire, Ordering::Release, planted, relax,
};

const EMPTY: u8 = 0;
const PARKED: u8 = 1;
const NOTIFIED: u8 = 2;

/// See the [module](self).
pub(crate) struct Token(AtomicU8);

impl Token {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(EMPTY))
    }

    /// Called by the waiter: whether it has to park.
    pub(crate) fn prepare(&self) -> bool {
        if planted(Fault::NoticeOverlooked) {
            self.0.store(PARKED, Release);
            return true;
        }
        // ORDERING: Release for the waker that finds PARKED; Acquire for a notice that came
        // first.
        match self.0.compare_exchange(EMPTY, PARKED, AcqRel, Acquire) {
            Ok(_) => true,
            Err(_) => {
                // ORDERING: Acquire: further notices may have come since.
                self.0.swap(EMPTY, AcqRel);
                false
            }
        }
    }

    /// Called by the waiter after it was resumed.
    pub(crate) fn resumed(&self) {
        // ORDERING: Acquire pairs with the waker's Release.
        self.0.swap(EMPTY, AcqRel);
    }

    /// Called by the waiter that has prepared: whether it was called since.
    pub(crate) fn is_notified(&self) -> bool {
        // ORDERING: Acquire pairs with the waker's Release.
        self.0.load(Acquire) == NOTIFIED
    }

    /// Called by a waker: whether it has to make the waiter ready.
    pub(crate) fn notify(&self) -> bool {
        // ORDERING: Release publishes what the waiter is called for.
        let before = self.0.swap(NOTIFIED, AcqRel);
        before == PARKED || planted(Fault::ReadyTwice)
    }
}

/// How often a plain thread looks before it parks: it spins, then gives up its processor.
const ROUNDS_BEFORE_PARK: u32 = if cfg!(loom) { 1 } else { 80 };

thread_local! {
    /// What the code that runs on this stack wants to find again after a wait; the executor
    /// keeps it across parks and does not know what it is.
    static CONTEXT: Cell<*const ()> = const { Cell::new(ptr::null()) };
    static PARKER: (Arc<ThreadParker>, Waker) = fresh_parker();
}

/// What [`set_context`] stored for the code that runs here.
#[inline]
pub(crate) fn context() -> *const () {
    CONTEXT.try_with(Cell::get).unwrap_or(ptr::null())
}

/// Stores something for the code that runs here; returns what was stored before.
#[inline]
pub(crate) fn set_context(context: *const ()) -> *const () {
    CONTEXT
        .try_with(|cell| cell.replace(context))
        .unwrap_or(ptr::null())
}

/// Parks a plain thread.
struct ThreadParker {
    notified: AtomicU8,
    thread: Thread,
}

impl ThreadParker {
    fn wait<T>(
        &self,
        waker: &Waker,
        poll: &mut impl FnMut(&Waker) -> Poll<T>,
    ) -> Result<T, WaitError> {
        loop {
            if let Poll::Ready(outcome) = poll(waker) {
                return Ok(outcome);
            }
            refuse_while_unwinding()?;
            // A thread that is asleep takes tens of microseconds to wake; most answers come
            // sooner.
            let mut round = 0;
            // ORDERING: Acquire pairs with the waker's Release.
            while round < ROUNDS_BEFORE_PARK && self.notified.load(Acquire) == EMPTY {
                relax(&mut round);
            }
            // ORDERING: Acquire pairs with the waker's Release.
            if self.notified.load(Acquire) == EMPTY {
                pool::pass_on();
            }
            // ORDERING: Acquire pairs with the waker's Release.
            while self.notified.swap(EMPTY, Acquire) == EMPTY {
                thread::park();
            }
        }
    }
}

impl Wake for ThreadParker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // ORDERING: Release publishes what the waiter is called for. An exchange, not a store:
        // the waiter that consumes the notice of a later waker must see what this one has done
        // too, and only read-modify-writes carry the earlier Release on.
        if planted(Fault::UnparkedFirst) {
            self.thread.unpark();
            self.notified.swap(NOTIFIED, Release);
            return;
        }
        self.notified.swap(NOTIFIED, Release);
        self.thread.unpark();
    }
}

/// Waits until `poll` has an outcome that something on `executor` will bring about.
///
/// `poll` is given the waker of whatever waits here. Between two calls the caller's stack is
/// parked if it is a pooled one, else its thread is; beside an executor that is stepped by
/// hand on this thread, that executor is stepped, and its clock moves on when nothing is ready.
///
/// In a handler the waker stays where it is until that handler returns: it is that of a stack, or
/// lies in the parker of a thread, and no thread runs handlers without one.
///
/// # Errors
///
/// If the wait cannot be begun. `poll` may have registered the waker by then.
///
/// # Panics
///
/// Beside an executor that is stepped by hand, if nothing is ready, no timer is set and the
/// outcome is not there: the wait could never end.
pub(crate) fn block<T>(
    executor: &Executor,
    mut poll: impl FnMut(&Waker) -> Poll<T>,
) -> Result<T, WaitError> {
    if let Some(stack) = stacks::current() {
        loop {
            if let Poll::Ready(outcome) = poll(stack.waker()) {
                return Ok(outcome);
            }
            refuse_while_unwinding()?;
            stack.park()?;
        }
    }
    if let Some(stepper) = stepped::beside(executor) {
        loop {
            if let Poll::Ready(outcome) = poll(Waker::noop()) {
                return Ok(outcome);
            }
            refuse_while_unwinding()?;
            assert!(
                stepper.step_or_pass_time(),
                "a wait beside a stepped executor would never end: nothing is ready, and no \
                 timer is set"
            );
        }
    }
    PARKER
        .try_with(|(parker, waker)| parker.wait(waker, &mut poll))
        .unwrap_or_else(|_| {
            let (parker, waker) = fresh_parker();
            parker.wait(&waker, &mut poll)
        })
}

/// Whether waits of this thread find its parker, which is gone while the thread ends.
pub(super) fn has_parker() -> bool {
    PARKER.try_with(|_| ()).is_ok()
}

/// For this thread. Also used when its locals are gone already: it waits while it ends.
fn fresh_parker() -> (Arc<ThreadParker>, Waker) {
    let parker = Arc::new(ThreadParker {
        notified: AtomicU8::new(EMPTY),
        thread: thread::current(),
    });
    let waker = Waker::from(parker.clone());
    (parker, waker)
}

/// While a thread unwinds, a wait could keep it from ever ending, and on a pooled stack the
/// count of panics in flight would meet other handlers.
pub(crate) fn refuse_while_unwinding() -> Result<(), WaitError> {
    if std::thread::panicking() {
        Err(WaitError::Unwinding)
    } else {
        Ok(())
    }
}

#[cfg(all(test, loom))]
#[path = "park_models.rs"]
mod loom_models;
