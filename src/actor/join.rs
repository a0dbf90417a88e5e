//! Waiting for an actor's end: in a handler or on a thread, or awaited.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use super::cell::Target;
use super::core::stage;
use super::wait::{Goal, wait};
use super::{Actor, Addr};
use crate::error::{StopReason, WaitError};
use crate::time::later;
use crate::waits::Awaited;

impl<A: Actor> Addr<A> {
    /// Waits until the actor has ended, and returns why.
    ///
    /// By then its `stopped` has returned, and its counts are in the totals of the system. In a
    /// handler of the pool the wait parks the handler's stack; elsewhere it blocks the thread,
    /// which runs no actor meanwhile. A restart is not an end.
    ///
    /// # Errors
    ///
    /// If the wait cannot be begun or is ended; [`WaitError::WouldDeadlock`] if a handler waits
    /// for the end of an actor that waits for it, or for its own.
    pub fn join(&self) -> Result<StopReason, WaitError> {
        let ended = wait_for_end(self.target(), None)?;
        Ok(ended.expect("a wait without deadline ends with an outcome"))
    }

    /// Waits until the actor has ended, for at most `limit`; then `None`.
    ///
    /// # Errors
    ///
    /// If the wait cannot be begun or is ended.
    pub fn join_for(&self, limit: Duration) -> Result<Option<StopReason>, WaitError> {
        let target = self.target();
        let deadline = later(target.runtime().now(), limit);
        wait_for_end(target, Some(deadline))
    }

    /// The end of the actor, to be awaited; see [`JoinFuture`].
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, StopReason, System};
    ///
    /// struct Worker;
    /// impl Actor for Worker {}
    ///
    /// let system = System::new();
    /// let worker = system.spawn(Worker);
    /// let end = worker.join_async();
    /// worker.drain();
    /// assert_eq!(pollster::block_on(end), StopReason::Drained);
    /// ```
    pub fn join_async(&self) -> JoinFuture {
        JoinFuture {
            target: self.target(),
            joiner: None,
        }
    }
}

/// Ready with the reason once an actor has ended; from [`Addr::join_async`].
///
/// It keeps the actor from being unreferenced no more than a [`WeakAddr`](crate::WeakAddr). Under
/// any executor it allocates when it is first polled in vain, and not again.
///
/// # Cancel safety
///
/// It may be dropped at any time. After it was ready it can be polled again.
#[must_use = "a future does nothing unless it is polled"]
pub struct JoinFuture {
    target: Arc<dyn Target>,
    joiner: Option<u64>,
}

impl Future for JoinFuture {
    type Output = StopReason;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<StopReason> {
        let this = self.get_mut();
        this.target.core().poll_ended(&mut this.joiner, cx.waker())
    }
}

impl Drop for JoinFuture {
    fn drop(&mut self) {
        self.target.core().forget_joiner(self.joiner);
    }
}

impl fmt::Debug for JoinFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinFuture")
            .field("actor", &self.target.core().id)
            .finish()
    }
}

fn wait_for_end(
    target: Arc<dyn Target>,
    deadline: Option<Instant>,
) -> Result<Option<StopReason>, WaitError> {
    let end = End(target);
    let core = end.0.core();
    let mut joiner = None;
    let ended = wait(&core.runtime, &end, deadline, |waker| {
        core.poll_ended(&mut joiner, waker)
    });
    if !matches!(ended, Ok(Some(_))) {
        core.forget_joiner(joiner);
    }
    ended
}

/// The end of an actor, as the goal of a wait.
struct End(Arc<dyn Target>);

impl Goal for End {
    fn blockers(&self, visit: &mut dyn FnMut(&Arc<dyn Target>)) -> bool {
        let lives = self.0.core().stage() != stage::ENDED;
        if lives {
            visit(&self.0);
        }
        lives
    }

    fn awaited(&self) -> Awaited {
        Awaited::End {
            of: self.0.identity(),
        }
    }
}
