//! Coming into a full mailbox: standing in line, with or without an end of patience.
#![expect(
    unsafe_code,
    reason = "takes messages out of envelopes, whose types it knows"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Instant;

use super::cell::{Cell, Refusal, Target};
use super::envelope::Envelope;
use super::wait::Goal;
use super::{Actor, Addr, DeferredHandler};
use crate::error::{AskError, SendError, Undelivered};
use crate::mailbox::{Overflow, Place, Progress};
use crate::time::{Action, TimerKey, later};
use crate::waits::Awaited;

/// A place in line, as the goal of a wait.
pub(super) struct RoomAwaited {
    place: Arc<Place<Envelope>>,
    target: Arc<dyn Target>,
    message_type: fn() -> &'static str,
}

impl RoomAwaited {
    pub(super) fn new(
        place: Arc<Place<Envelope>>,
        target: Arc<dyn Target>,
        message_type: fn() -> &'static str,
    ) -> Self {
        Self {
            place,
            target,
            message_type,
        }
    }

    pub(super) fn place(&self) -> &Place<Envelope> {
        &self.place
    }
}

impl Goal for RoomAwaited {
    fn blockers(&self, visit: &mut dyn FnMut(&Arc<dyn Target>)) -> bool {
        let waits = self.place.is_in_line();
        if waits {
            visit(&self.target);
        }
        waits
    }

    fn awaited(&self) -> Awaited {
        Awaited::Room {
            at: self.target.identity(),
            message_type: (self.message_type)(),
        }
    }
}

/// An envelope on its way into a full mailbox.
pub(super) struct Coming {
    envelope: Option<Envelope>,
    place: Option<Arc<Place<Envelope>>>,
}

impl Coming {
    pub(super) fn new(envelope: Envelope) -> Self {
        Self {
            envelope: Some(envelope),
            place: None,
        }
    }

    /// Ready once it is queued, or with the envelope once the mailbox is closed.
    pub(super) fn poll<A: Actor>(
        &mut self,
        cell: &Arc<Cell<A>>,
        waker: &Waker,
    ) -> Poll<Result<(), Envelope>> {
        if let Some(envelope) = self.envelope.take() {
            match cell.push_or_stand(envelope, Some(waker)) {
                Ok(None) => return Poll::Ready(Ok(())),
                Ok(place) => self.place = place,
                Err(envelope) => return Poll::Ready(Err(envelope)),
            }
            return Poll::Pending;
        }
        let place = self
            .place
            .as_ref()
            .expect("what is not queued stands in line");
        match place.poll(waker) {
            Progress::Waiting => Poll::Pending,
            Progress::Granted => {
                self.place = None;
                Poll::Ready(Ok(()))
            }
            Progress::Closed(envelope) => {
                self.place = None;
                Poll::Ready(Err(envelope))
            }
        }
    }

    /// Takes the envelope back, unless it is queued.
    pub(super) fn withdraw<A: Actor>(&mut self, cell: &Cell<A>) -> Option<Envelope> {
        match self.place.take() {
            Some(place) => cell.core().mailbox.withdraw(&place),
            None => self.envelope.take(),
        }
    }
}

/// A message that is being queued; see [`Addr::send_async`].
#[must_use = "nothing is sent before the future is polled"]
pub struct SendFuture<A: Actor, M> {
    to: Addr<A>,
    coming: Coming,
    /// The end of patience under `BlockFor`.
    timer: Option<(Instant, TimerKey)>,
    message: std::marker::PhantomData<fn(M)>,
}

impl<A: Actor, M> SendFuture<A, M> {
    pub(super) fn new(to: Addr<A>, envelope: Envelope) -> Self {
        Self {
            to,
            coming: Coming::new(envelope),
            timer: None,
            message: std::marker::PhantomData,
        }
    }
}

impl<A: Actor, M> Unpin for SendFuture<A, M> {}

impl<A: DeferredHandler<M>, M: Send + 'static> Future for SendFuture<A, M> {
    type Output = Result<(), SendError<M>>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let cell = this.to.cell();
        let core = cell.core();
        if this.coming.place.is_none() {
            let envelope = this.coming.envelope.take();
            let envelope = envelope.expect("a future is not polled after it was ready");
            match cell.push(|| envelope) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Refusal::Full(envelope))
                    if matches!(core.overflow(), Overflow::Block | Overflow::BlockFor(_)) =>
                {
                    this.coming.envelope = Some(envelope);
                }
                Err(refusal) => {
                    let refused = this.to.send_refused(refusal);
                    return Poll::Ready(refused.map_err(message_back::<A, M>));
                }
            }
        }
        if let Poll::Ready(outcome) = this.coming.poll(&cell, cx.waker()) {
            let outcome = outcome.map_err(SendError::Stopped);
            return Poll::Ready(outcome.map_err(message_back::<A, M>));
        }
        if let Overflow::BlockFor(limit) = core.overflow() {
            let runtime = &core.runtime;
            let due = this
                .timer
                .map_or_else(|| later(runtime.now(), limit), |(due, _)| due);
            if runtime.now() >= due {
                let Some(envelope) = this.coming.withdraw(&cell) else {
                    return Poll::Ready(Ok(()));
                };
                core.count_rejected();
                let error = SendError::TimedOut(envelope);
                return Poll::Ready(Err(message_back::<A, M>(error)));
            }
            // The task's waker may have changed, so the timer is set anew.
            if let Some((_, key)) = this.timer {
                runtime.timers.cancel(key);
            }
            let key = runtime.timers.set(due, Action::Wake(cx.waker().clone()));
            this.timer = Some((due, key));
        }
        Poll::Pending
    }
}

impl<A: Actor, M> Drop for SendFuture<A, M> {
    fn drop(&mut self) {
        let cell = self.to.cell();
        if let Some((_, key)) = self.timer {
            cell.core().runtime.timers.cancel(key);
        }
        drop(self.coming.withdraw(&cell));
    }
}

impl<A: Actor, M> fmt::Debug for SendFuture<A, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// Has a request that stands in line fail at `due`, if it stands there still.
pub(super) fn expire<A, M>(
    cell: &Arc<Cell<A>>,
    place: &Arc<Place<Envelope>>,
    due: Instant,
) -> TimerKey
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    let weak = Arc::downgrade(cell);
    let place = Arc::downgrade(place);
    let expired = move || {
        let (Some(cell), Some(place)) = (weak.upgrade(), place.upgrade()) else {
            return;
        };
        let Some(envelope) = cell.core().mailbox.withdraw(&place) else {
            return;
        };
        cell.core().count_rejected();
        // SAFETY: the place was taken with an envelope for these types.
        let (message, answer) = unsafe { envelope.into_parts::<A, M>() };
        if let Some(answer) = answer {
            let full = AskError::Full(Undelivered::new(Box::new(message)));
            // SAFETY: the request was never queued, so nobody else answers.
            unsafe { answer.complete(Err(full)) };
        }
    };
    let action = Action::Run(Box::new(expired));
    cell.core().runtime.timers.set(due, action)
}

/// The error with the message instead of the envelope that was made of it.
pub(super) fn message_back<A, M>(error: SendError<Envelope>) -> SendError<M>
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    // SAFETY: the callers made the envelope for these types.
    error.map(|envelope| unsafe { envelope.into_parts::<A, M>() }.0)
}
