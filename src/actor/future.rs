//! Futures that a handler waits for, polled on the handler's own stack.
//!
//! Each poll is outside of any wait: the handler's span is entered, and what is polled may wait
//! in turn. Such an inner wait parks the same stack and so consumes the calls that come
//! meanwhile; therefore a future's waker is not the stack's, but has a [`Token`] of its own:
//!
//! | state | set by | meaning |
//! |---|---|---|
//! | `EMPTY` | the waiter, before each poll | nobody has called since |
//! | `PARKED` | the waiter, after a poll | it waits, or is about to |
//! | `NOTIFIED` | the future's waker | is to be polled again |
//!
//! The waiter leaves the waker of its stack before it sets `PARKED`; a caller that finds
//! `PARKED` calls that one, and the waiter goes on when it no longer finds `PARKED`. A call that
//! comes during the poll makes the exchange from `EMPTY` fail. Then the waiter does not go on at
//! once, since a future may call so in every poll: it sets `PARKED` all the same, and has the
//! call repeated when those who stand in the run queue have had their turns.

use std::future::Future;
use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use super::wait::{FromOutside, wait};
use crate::error::WaitError;
use crate::executor::park::Token;
use crate::executor::{Executor, Runnable, Task, Turn, stacks};
use crate::runtime::Runtime;
use crate::sync::{Fault, Mutex, planted};
use crate::waits::Awaited;

/// Polls `future` whenever it has called, and waits in between.
pub(super) fn wait_for<F: Future>(runtime: &Runtime, future: F) -> Result<F::Output, WaitError> {
    let call = Arc::new(Call::new());
    let waker = Waker::from(call.clone());
    let mut cx = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        call.await_next(runtime)?;
    }
}

/// What a future calls to be polled again; see the [module](self).
struct Call {
    token: Token,
    /// Of whatever waits for the call.
    waiter: Mutex<Waker>,
}

impl Call {
    fn new() -> Self {
        Self {
            token: Token::new(),
            waiter: Mutex::new(Waker::noop().clone()),
        }
    }

    /// Waits until there was a call since the last poll began.
    fn await_next(self: &Arc<Self>, runtime: &Runtime) -> Result<(), WaitError> {
        let mut has_begun = false;
        let goal = FromOutside(Awaited::Future);
        wait(runtime, &goal, None, |waker| {
            if !replace(&mut has_begun, true) {
                if self.begin(waker) {
                    self.repeat(&runtime.executor);
                }
                // Also if there was a call: so a kill is noticed, and others run.
                Poll::Pending
            } else if self.token.is_notified() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })?;
        self.token.resumed();
        Ok(())
    }

    /// From now on calls go on to `waiter`. Returns whether there was one already, which then
    /// has to be repeated.
    fn begin(&self, waiter: &Waker) -> bool {
        if !planted(Fault::WaiterLate) {
            self.waiter.lock().clone_from(waiter);
        }
        let mut was_called = false;
        while !self.token.prepare() {
            was_called = true;
        }
        if planted(Fault::WaiterLate) {
            self.waiter.lock().clone_from(waiter);
        }
        was_called
    }

    fn repeat(self: &Arc<Self>, executor: &Executor) {
        if stacks::current().is_some() {
            executor.schedule(self.clone());
        } else {
            // Nobody else waits for this thread.
            self.wake_by_ref();
        }
    }
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.token.notify() {
            let waiter = self.waiter.lock().clone();
            waiter.wake();
        }
    }
}

/// Its turn is to repeat the call.
impl Runnable for Call {
    fn run(self: Arc<Self>, _: &Turn<'_>) -> Option<Task> {
        self.wake();
        None
    }
}

#[cfg(all(test, loom))]
#[path = "future_models.rs"]
mod loom_models;
