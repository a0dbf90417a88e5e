//! Waits that know whose handler waits: they end when it is killed, and at a deadline.
#![expect(
    unsafe_code,
    reason = "a killer reaches the waiter's waker through a raw pointer"
)]

use std::ptr;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::frame::Frame;
use crate::error::WaitError;
use crate::executor::block;
use crate::runtime::Runtime;
use crate::sync::{
    AtomicPtr, Fault,
    Ordering::{AcqRel, Acquire, Release},
    planted, relax, unless,
};
use crate::time::{Action, TimerKey};

/// Where a handler that waits leaves its waker for those who may end the wait.
///
/// | value | set by | meaning |
/// |---|---|---|
/// | null | the waiter | nobody waits |
/// | a waker | the waiter, before it looks for the order to end | it waits |
/// | either, with the low bit | a caller | the waker is being called: the waiter must not go on |
///
/// The waiter swaps its waker in and then looks for the order; a caller has given the order
/// before it sets the bit. Both are read-modify-writes of one word: if the waiter's is first,
/// the caller finds the waker; if the caller's is first, the waiter's swap reads it, and sees
/// the order.
pub(crate) struct WaitSlot(AtomicPtr<Waker>);

impl WaitSlot {
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The waiter shows its waker until [`leave`](Self::leave).
    pub(crate) fn enter(&self, waker: &Waker) {
        self.exchange(ptr::from_ref(waker).cast_mut());
    }

    /// The waiter takes its waker away; nobody uses it afterwards.
    pub(crate) fn leave(&self) {
        self.exchange(ptr::null_mut());
    }

    fn exchange(&self, new: *mut Waker) {
        let mut round = 0;
        // ORDERING: Acquire, for the order of a caller that came before; see above.
        let mut old = self.0.load(Acquire);
        loop {
            if old.addr() & 1 == 0 {
                // ORDERING: Release publishes the waker; Acquire as above.
                let order = if planted(Fault::OrderNotAcquired) {
                    Release
                } else {
                    AcqRel
                };
                match self.0.compare_exchange_weak(old, new, order, Acquire) {
                    Ok(_) => return,
                    Err(now) => old = now,
                }
            } else {
                // A caller is between two instructions.
                relax(&mut round);
                old = self.0.load(Acquire);
            }
        }
    }

    /// Wakes the waiter, if there is one.
    pub(crate) fn call(&self) {
        let mut round = 0;
        // ORDERING: Acquire pairs with the Release in `enter`.
        let mut waker = self.0.load(Acquire);
        loop {
            if waker.addr() & 1 != 0 {
                if planted(Fault::WaiterNotCalled) {
                    return;
                }
                relax(&mut round);
                waker = self.0.load(Acquire);
                continue;
            }
            let marked = waker.map_addr(|address| address | 1);
            // ORDERING: Release hands our order to a waiter that comes after.
            match self.0.compare_exchange_weak(waker, marked, AcqRel, Acquire) {
                Ok(_) => break,
                Err(now) => waker = now,
            }
        }
        // SAFETY: the waiter does not take its waker away while the bit is set.
        if let Some(waker) = unsafe { waker.as_ref() } {
            waker.wake_by_ref();
        }
        // ORDERING: Release: our use of the waker is over before the waiter goes on.
        self.0.store(waker, unless(Fault::CallUnpublished, Release));
    }

    pub(crate) fn is_occupied(&self) -> bool {
        // ORDERING: Acquire is not needed for a figure, and does no harm.
        self.0.load(Acquire).addr() & !1 != 0
    }
}

/// Waits until `poll` has an outcome, or until `deadline`: then `None`.
///
/// In a handler, the wait also ends when its actor is killed.
pub(crate) fn wait<T>(
    runtime: &Runtime,
    deadline: Option<Instant>,
    mut poll: impl FnMut(&Waker) -> Poll<T>,
) -> Result<Option<T>, WaitError> {
    let mut waiting = Waiting {
        runtime,
        frame: Frame::current(),
        entered: false,
        timer: None,
    };
    block(&runtime.executor, |waker| {
        if let Poll::Ready(outcome) = poll(waker) {
            return Poll::Ready(Ok(Some(outcome)));
        }
        if waiting.is_killed(waker) {
            return Poll::Ready(Err(WaitError::Interrupted));
        }
        if let Some(due) = deadline {
            if runtime.now() >= due {
                return Poll::Ready(Ok(None));
            }
            waiting.set_timer(due, waker);
        }
        Poll::Pending
    })?
}

/// What has to be undone when a wait is over, however it ends.
struct Waiting<'a> {
    runtime: &'a Runtime,
    frame: Option<&'a Frame>,
    /// Whether the waker is shown to those who may end the wait.
    entered: bool,
    timer: Option<TimerKey>,
}

impl Waiting<'_> {
    /// Whether the handler that waits, if it is one, is to end; shows its waker first.
    fn is_killed(&mut self, waker: &Waker) -> bool {
        let Some(frame) = self.frame else {
            return false;
        };
        if !self.entered {
            frame.before_wait();
            frame.core().wait_slot.enter(waker);
            self.entered = true;
        }
        frame.core().is_killed()
    }

    fn set_timer(&mut self, due: Instant, waker: &Waker) {
        let timers = &self.runtime.timers;
        self.timer
            .get_or_insert_with(|| timers.set(due, Action::Wake(waker.clone())));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(frame) = self.frame
            && self.entered
        {
            frame.core().wait_slot.leave();
            frame.after_wait();
        }
        if let Some(timer) = self.timer {
            self.runtime.timers.cancel(timer);
        }
    }
}

#[cfg(all(test, loom))]
#[path = "wait_models.rs"]
mod loom_models;
