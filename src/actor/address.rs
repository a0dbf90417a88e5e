//! Typed addresses: one pointer to the actor's cell.
#![expect(
    unsafe_code,
    reason = "all addresses of an actor hold one count of its cell together"
)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::ask::{InLine, Reply};
use super::asked::{Answer, Asked, Request};
use super::cell::{Cell, Refusal, Target};
use super::core::stage;
use super::envelope::Envelope;
use super::orders::{DRAIN, KILL, STOP};
use super::recipient::{Asker, Recipient};
use super::reply::ReplyCell;
use super::room::{RoomAwaited, SendFuture, expire, message_back};
use super::wait::wait;
use super::{Actor, DeferredHandler, ReplyOf, WeakAddr};
use crate::error::{AskError, SendError, StopReason, TrySendError, Undelivered};
use crate::id::ActorId;
use crate::mailbox::{Overflow, Progress};
use crate::runtime::Runtime;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed};
use crate::time::later;

/// The address of an actor: by it one sends and asks, from any thread or task.
///
/// One pointer. Cloning counts up one number at the actor. Two addresses are equal if they are
/// of the same actor.
///
/// The actor lives as long as it has an address: when the last one is dropped, it handles what
/// is queued and stops as [`Unreferenced`](StopReason::Unreferenced). After its end an address
/// is harmless: sends give the message back, asks fail with the reason.
///
/// # Ordering
///
/// Messages queued by one thread through addresses of one actor are handled in the order of the
/// calls that queued them. Nothing is promised between threads. What the caller wrote before
/// the call is visible to the handler.
pub struct Addr<A: Actor> {
    /// A pointer from `Arc::into_raw`, of which the first address holds the count.
    cell: NonNull<Cell<A>>,
}

// SAFETY: an address gives access to the cell, which is `Send` and `Sync`.
unsafe impl<A: Actor> Send for Addr<A> {}
// SAFETY: as above.
unsafe impl<A: Actor> Sync for Addr<A> {}

impl<A: Actor> Addr<A> {
    /// The first address: takes over the count of `cell`, whose `addresses` is 1.
    pub(crate) fn adopt(cell: Arc<Cell<A>>) -> Self {
        let cell = NonNull::new(Arc::into_raw(cell).cast_mut());
        Self {
            cell: cell.expect("an Arc is not null"),
        }
    }

    pub(super) fn from_cell(cell: &Arc<Cell<A>>) -> Self {
        // ORDERING: Relaxed, as for any count that goes up: whoever does it has the cell.
        if cell.core().addresses.fetch_add(1, Relaxed) == 0 {
            // The addresses had given up their count.
            let addr = Self::adopt(cell.clone());
            cell.core().has_address_again();
            return addr;
        }
        let cell = NonNull::new(Arc::as_ptr(cell).cast_mut());
        Self {
            cell: cell.expect("an Arc is not null"),
        }
    }

    /// An address, if there is one left.
    pub(super) fn upgrade(cell: &Arc<Cell<A>>) -> Option<Self> {
        let addresses = &cell.core().addresses;
        // ORDERING: Acquire: what the others did through their addresses before precedes what
        // is done through the new one.
        addresses
            .fetch_update(Acquire, Relaxed, |count| (count > 0).then_some(count + 1))
            .ok()?;
        let cell = NonNull::new(Arc::as_ptr(cell).cast_mut());
        Some(Self {
            cell: cell.expect("an Arc is not null"),
        })
    }

    #[inline]
    pub(super) fn cell(&self) -> ManuallyDrop<Arc<Cell<A>>> {
        // SAFETY: the addresses hold a count, and this one is never dropped.
        ManuallyDrop::new(unsafe { Arc::from_raw(self.cell.as_ptr()) })
    }

    pub(super) fn target(&self) -> Arc<dyn Target> {
        Arc::clone(&self.cell()) as _
    }

    /// Tells actors apart, also those of different systems.
    pub(super) fn identity(&self) -> *const () {
        self.cell.as_ptr().cast()
    }

    pub(super) fn runtime(&self) -> &Runtime {
        // SAFETY: the addresses hold a count, and this one outlives the borrow.
        let cell = unsafe { self.cell.as_ref() };
        &cell.core().runtime
    }

    /// How many messages are queued or in hand; a picture of some moment.
    pub(super) fn load(&self) -> usize {
        let cell = self.cell();
        let core = cell.core();
        core.mailbox.queue().len() + usize::from(core.message_in_hand().is_some())
    }

    /// Queues `message` for the actor, by the mailbox's policy.
    ///
    /// `Ok` means that the mailbox took the message, not that the actor will handle it: the
    /// actor may end first, or the policy was to drop it. Delivery is at most once. If the
    /// mailbox is full, what happens is said by [`Overflow`]; a wait parks the handler's stack
    /// in the pool, elsewhere it blocks the thread. In an async task that would be a thread of its
    /// executor: use [`send_async`](Self::send_async) there.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] under `Reject`; [`SendError::TimedOut`] under `BlockFor`;
    /// [`SendError::Stopped`] once the actor has begun to stop;
    /// [`SendError::WouldDeadlock`] if a handler would wait for room at an actor that waits for
    /// it, its own for instance; [`SendError::Interrupted`], [`NoStack`](SendError::NoStack) and
    /// [`Unwinding`](SendError::Unwinding) if the sender cannot wait. All give the message back.
    #[inline]
    pub fn send<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        match self.cell().push(|| Envelope::new::<A, M>(message, None)) {
            Ok(()) => Ok(()),
            Err(refusal) => self.send_refused(refusal).map_err(message_back::<A, M>),
        }
    }

    #[cold]
    pub(super) fn send_refused(&self, refusal: Refusal) -> Result<(), SendError<Envelope>> {
        let cell = self.cell();
        let envelope = match refusal {
            Refusal::Closed(envelope) => return Err(SendError::Stopped(envelope)),
            Refusal::Full(envelope) => envelope,
        };
        match cell.core().overflow() {
            Overflow::Block => self.wait_for_room(envelope, None),
            Overflow::BlockFor(limit) => {
                let deadline = later(cell.core().runtime.now(), limit);
                self.wait_for_room(envelope, Some(deadline))
            }
            Overflow::Reject => {
                cell.core().count_rejected();
                Err(SendError::Full(envelope))
            }
            Overflow::DropNewest => {
                cell.drop_newest(envelope);
                Ok(())
            }
        }
    }

    fn wait_for_room(
        &self,
        envelope: Envelope,
        deadline: Option<Instant>,
    ) -> Result<(), SendError<Envelope>> {
        let cell = self.cell();
        let core = cell.core();
        let message_type = envelope.vtable().message_type;
        // Who waits for the place comes to it in a moment; until then it has the waker of nobody.
        let place = match cell.push_or_stand(envelope, Some(Waker::noop())) {
            Ok(None) => return Ok(()),
            Ok(Some(place)) => place,
            Err(envelope) => return Err(SendError::Stopped(envelope)),
        };
        let room = RoomAwaited::new(place, Arc::clone(&cell) as _, message_type);
        let waited = wait(&core.runtime, &room, deadline, |waker| {
            match room.place().poll(waker) {
                Progress::Waiting => Poll::Pending,
                Progress::Granted => Poll::Ready(Ok(())),
                Progress::Closed(envelope) => Poll::Ready(Err(envelope)),
            }
        });
        let error = match waited {
            Ok(Some(outcome)) => return outcome.map_err(SendError::Stopped),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let Some(envelope) = core.mailbox.withdraw(room.place()) else {
            return Ok(());
        };
        core.count_rejected();
        Err(match error {
            None => SendError::TimedOut(envelope),
            Some(error) => SendError::from_wait(error, envelope),
        })
    }

    /// Queues `message` for the actor without waiting, whatever the mailbox's policy.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Full`] if the mailbox was full at some moment of the call;
    /// [`TrySendError::Stopped`] once the actor has begun to stop. Both give the message back.
    #[inline]
    pub fn try_send<M>(&self, message: M) -> Result<(), TrySendError<M>>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let cell = self.cell();
        match cell.push(|| Envelope::new::<A, M>(message, None)) {
            Ok(()) => Ok(()),
            Err(Refusal::Full(envelope)) => {
                cell.core().count_rejected();
                // SAFETY: made above for these types.
                Err(TrySendError::Full(
                    unsafe { envelope.into_parts::<A, M>() }.0,
                ))
            }
            Err(Refusal::Closed(envelope)) => {
                // SAFETY: made above for these types.
                Err(TrySendError::Stopped(
                    unsafe { envelope.into_parts::<A, M>() }.0,
                ))
            }
        }
    }

    /// Queues `message` for the actor, waiting for room for at most `limit`, whatever the
    /// mailbox's policy.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send) under [`Overflow::BlockFor`].
    pub fn send_for<M>(&self, message: M, limit: Duration) -> Result<(), SendError<M>>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let cell = self.cell();
        let envelope = match cell.push(|| Envelope::new::<A, M>(message, None)) {
            Ok(()) => return Ok(()),
            Err(Refusal::Closed(envelope)) => {
                return Err(message_back::<A, M>(SendError::Stopped(envelope)));
            }
            Err(Refusal::Full(envelope)) => envelope,
        };
        let deadline = later(cell.core().runtime.now(), limit);
        self.wait_for_room(envelope, Some(deadline))
            .map_err(message_back::<A, M>)
    }

    /// Queues `message` for the actor, by the mailbox's policy; waiting for room is awaited.
    ///
    /// Nothing happens before the future is polled.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the message is dropped with it, unless room was found for it
    /// since the last poll; then it is queued.
    pub fn send_async<M>(&self, message: M) -> SendFuture<A, M>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        SendFuture::new(self.clone(), Envelope::new::<A, M>(message, None))
    }

    /// Queues `message` as a request and returns its [`Reply`] at once; never waits.
    ///
    /// If the mailbox is full, the request stands in line under `Block` and `BlockFor`, owned
    /// by the reply; under `Reject` and `DropNewest` the reply is an error at once. It allocates
    /// once, for the answer.
    #[inline]
    pub fn ask<M>(&self, message: M) -> Reply<ReplyOf<A, M>>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        self.push_request(message).unwrap_or_else(|envelope| {
            drop(envelope);
            Reply::known(Err(self.cell().core().failure().to_ask_error()))
        })
    }

    /// As [`ask`](Self::ask), but gives the message back if the mailbox is closed.
    pub(super) fn ask_if_open<M>(&self, message: M) -> Result<Reply<ReplyOf<A, M>>, M>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        self.push_request(message).map_err(|envelope| {
            // SAFETY: made by `push_request` for these types.
            unsafe { envelope.into_parts::<A, M>() }.0
        })
    }

    /// Gives the request back if the mailbox is closed.
    #[inline]
    fn push_request<M>(&self, message: M) -> Result<Reply<ReplyOf<A, M>>, Envelope>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let answer = Arc::new(ReplyCell::new());
        let asked = answer.clone();
        let cell = self.cell();
        let make = || Envelope::new::<A, M>(message, Some(asked));
        let pushed = if A::DEFERRED {
            cell.push(make).map(|()| false)
        } else {
            cell.push_and_offer(make)
        };
        match pushed {
            Ok(offered) => Ok(Reply::pending(
                asked_of::<A, M>(&cell, answer),
                None,
                offered,
            )),
            Err(refusal) => self.ask_refused::<M>(refusal, answer),
        }
    }

    #[cold]
    fn ask_refused<M>(
        &self,
        refusal: Refusal,
        answer: Answer<ReplyOf<A, M>>,
    ) -> Result<Reply<ReplyOf<A, M>>, Envelope>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let cell = self.cell();
        let core = cell.core();
        let envelope = match refusal {
            Refusal::Closed(envelope) => return Err(envelope),
            Refusal::Full(envelope) => envelope,
        };
        match core.overflow() {
            policy @ (Overflow::Block | Overflow::BlockFor(_)) => {
                let place = cell.push_or_stand(envelope, None)?;
                let in_line = place.map(|place| {
                    let expiry = match policy {
                        Overflow::BlockFor(limit) => {
                            let due = later(core.runtime.now(), limit);
                            Some(expire::<A, M>(&cell, &place, due))
                        }
                        _ => None,
                    };
                    InLine { place, expiry }
                });
                Ok(Reply::pending(
                    asked_of::<A, M>(&cell, answer),
                    in_line,
                    false,
                ))
            }
            Overflow::Reject => {
                core.count_rejected();
                // SAFETY: made by `push_request` for these types.
                let (message, _) = unsafe { envelope.into_parts::<A, M>() };
                let message = Undelivered::new(Box::new(message));
                Ok(Reply::known(Err(AskError::Full(message))))
            }
            Overflow::DropNewest => {
                cell.drop_newest(envelope);
                Ok(Reply::known(Err(AskError::DroppedByPolicy)))
            }
        }
    }

    /// Ends the actor after the message in hand, with [`StopReason::Stopped`]. Returns at once;
    /// from then on the mailbox takes nothing.
    ///
    /// What is queued becomes dead letters. A wait of the handler in hand is not ended. The
    /// order is never held up by a full mailbox.
    pub fn stop(&self) {
        self.cell().give(STOP, StopReason::Stopped);
    }

    /// Closes the mailbox, lets the actor handle what is queued, and ends it with
    /// [`StopReason::Drained`]. Returns at once; from then on the mailbox takes nothing.
    ///
    /// What stands in line for room is not queued: its senders and askers learn at once that the
    /// actor has stopped. A wait of the handler in hand is not ended.
    pub fn drain(&self) {
        self.cell().give(DRAIN, StopReason::Drained);
    }

    /// As [`stop`](Self::stop), with [`StopReason::Killed`]; besides, the wait of the handler in
    /// hand ends with an error, and so does every further one.
    ///
    /// A handler that does not wait cannot be interrupted.
    pub fn kill(&self) {
        self.cell().give(KILL, StopReason::Killed);
    }

    /// Whether the actor has ended: its `stopped` has returned.
    pub fn is_stopped(&self) -> bool {
        self.cell().core().stage() == stage::ENDED
    }

    /// The actor's id.
    pub fn id(&self) -> ActorId {
        self.cell().core().id
    }

    /// The actor's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        // SAFETY: the addresses hold a count, and this one outlives the borrow.
        let cell = unsafe { self.cell.as_ref() };
        cell.core().name().map(|name| &**name)
    }

    /// An address that does not keep the actor alive.
    pub fn downgrade(&self) -> WeakAddr<A> {
        WeakAddr::new(Arc::clone(&self.cell()))
    }

    /// This address, by one of the messages that the actor handles.
    pub fn recipient<M>(&self) -> Recipient<M>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        Recipient::new(self.clone())
    }

    /// This address, by one of the messages that the actor answers.
    pub fn asker<M>(&self) -> Asker<M, ReplyOf<A, M>>
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        Asker::new(self.clone())
    }
}

impl<A: Actor> Clone for Addr<A> {
    #[inline]
    fn clone(&self) -> Self {
        // ORDERING: Relaxed, as for any count that goes up: whoever does it has one already.
        self.cell().core().addresses.fetch_add(1, Relaxed);
        Self { cell: self.cell }
    }
}

impl<A: Actor> Drop for Addr<A> {
    #[inline]
    fn drop(&mut self) {
        // ORDERING: AcqRel: what was done through this address precedes the end that the last
        // drop brings about.
        if self.cell().core().addresses.fetch_sub(1, AcqRel) == 1 {
            let cell = ManuallyDrop::into_inner(self.cell());
            cell.signal();
        }
    }
}

impl<A: Actor> PartialEq for Addr<A> {
    fn eq(&self, other: &Self) -> bool {
        self.cell == other.cell
    }
}

impl<A: Actor> Eq for Addr<A> {}

impl<A: Actor> Hash for Addr<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cell.hash(state);
    }
}

impl<A: Actor> fmt::Debug for Addr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_address("Addr", self.id(), self.name(), f)
    }
}

/// A request of this type that is under way to the actor.
fn asked_of<A, M>(cell: &Arc<Cell<A>>, answer: Answer<ReplyOf<A, M>>) -> Asked<ReplyOf<A, M>>
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    Asked {
        cell: answer,
        target: cell.clone(),
        request: const { &Request::of::<A, M>() },
    }
}

pub(super) fn debug_address(
    kind: &str,
    id: ActorId,
    name: Option<&str>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut debug = f.debug_struct(kind);
    if let Some(name) = name {
        debug.field("name", &name);
    }
    debug.field("id", &id).finish()
}
