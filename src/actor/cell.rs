//! The one allocation of an actor: its mailbox, its counts, its state, and the actor itself.
//!
//! A [`Cell`] is shared by its addresses, the register of the system, and whoever runs it. The
//! part that does not depend on the actor's type is the [`Core`], which says who may touch what;
//! the actor itself is touched by whoever holds the mailbox's claim.
#![expect(
    unsafe_code,
    reason = "the actor belongs to whoever holds the mailbox's claim"
)]

use std::any::type_name;
use std::sync::Arc;
use std::task::Waker;

use super::Actor;
use super::context::Context;
use super::core::{Core, stage};
use super::envelope::Envelope;
use super::frame::Failure;
use super::orders::{END, INTERRUPTING, KILL, SHUTDOWN_DRAIN, SHUTDOWN_STOP, SIGNALS};
use super::wait::{Caller, Record};
use crate::error::StopReason;
use crate::executor::thread::OwnThread;
use crate::executor::{Runnable, Task, Turn};
use crate::id::ActorId;
use crate::mailbox::{Overflow, Place, Pushed, Stood, Wakes};
use crate::observe::{ActorSnapshot, ActorState, LossReason};
use crate::runtime::{InHand, Order, Resident, Runtime};
use crate::sync::UnsafeCell;
use crate::unwind::wake_quietly;
use crate::waits::{Identity, Wait};

/// What is known of an actor whose type is not known.
pub(crate) trait Target: Send + Sync {
    fn core(&self) -> &Core;

    fn identity(&self) -> Identity;

    fn runtime(&self) -> &Runtime {
        &self.core().runtime
    }

    /// Takes a request out of the line, if it still stands there.
    fn withdraw(&self, place: &Place<Envelope>);

    /// Gives the actor a turn, whether or not it has one coming.
    fn give_turn(self: Arc<Self>);

    /// Runs the actor on this thread until the caller's wait is over, if nobody runs it and any
    /// thread may; for somebody who has its turn or comes without. Returns also when there is
    /// nothing left to do.
    fn run_here(self: Arc<Self>, has_turn: bool, caller: &Caller<'_>);

    /// Whether there is something to do, nobody does it, and any thread may.
    fn may_run_here(&self) -> bool;

    /// Gives orders, and no reason to end.
    fn tell(self: Arc<Self>, orders: u16);

    /// Gives orders to end for good, for this reason.
    fn end(self: Arc<Self>, orders: u16, reason: StopReason);

    /// The actor has not ended in time: nobody waits for its end any more. If it ends some day, it
    /// is because of that.
    fn give_up(self: Arc<Self>);
}

/// The actor itself.
pub(super) enum Life<A> {
    /// It is made by its runner at the beginning of the first turn.
    Unborn(Box<dyn FnOnce() -> A + Send>),
    Alive(A),
    /// It has ended, its making has failed, or it is between two lives.
    Gone,
}

/// An actor and all that belongs to it.
pub(crate) struct Cell<A: Actor> {
    core: Core,
    pub(super) life: UnsafeCell<Life<A>>,
}

// SAFETY: the actor is touched only by whoever holds the mailbox's claim, one at a time, with
// Acquire and Release between them. An actor that is not `Send` is spawned only on a thread of
// its own, which makes it, is alone in claiming its mailbox, and drops it. Everything else in
// the cell is `Send` and `Sync`.
unsafe impl<A: Actor> Send for Cell<A> {}
// SAFETY: as above.
unsafe impl<A: Actor> Sync for Cell<A> {}

impl<A: Actor> Cell<A> {
    pub(super) fn new(core: Core, life: Life<A>) -> Self {
        Self {
            core,
            life: UnsafeCell::new(life),
        }
    }

    /// A cell whose actor never lived: the system was shutting down already.
    pub(super) fn ended(runtime: Arc<Runtime>, reason: StopReason) -> Arc<Self> {
        let (id, residence) = runtime.nowhere();
        let core = Core::new(runtime, id, residence, 1, None);
        core.with_rare(|rare| rare.reason = Some(reason));
        core.mailbox.close(&mut Vec::new(), &mut Vec::new());
        // As for every actor that has ended, the claim is taken for ever.
        core.mailbox.queue().signal();
        core.mailbox.queue().claim();
        core.set_stage(stage::ENDED);
        Arc::new(Self::new(core, Life::Gone))
    }

    /// Takes the cell out of the register again; nobody has its address yet.
    pub(super) fn bury(&self) {
        self.core
            .runtime
            .dismiss(self.core.id, self.core.residence, self.core.counts());
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// Gives the actor a turn where it lives.
    #[inline]
    pub(super) fn schedule(self: &Arc<Self>) {
        match self.thread() {
            Some(thread) => thread.schedule(),
            None => self.core.runtime.executor.schedule(self.clone()),
        }
    }

    pub(super) fn thread(&self) -> Option<&Arc<OwnThread>> {
        self.core.settings.as_ref()?.thread.as_ref()
    }

    /// Makes the runner look again, now or soon.
    pub(super) fn signal(self: &Arc<Self>) {
        if self.core.mailbox.queue().signal() {
            self.schedule();
        }
    }

    /// Gives an order to end, which the runner obeys between messages. If the actor is to come back
    /// after it, only this life ends; otherwise the mailbox closes at once.
    pub(super) fn give(self: &Arc<Self>, order: u16, reason: StopReason) {
        if self.core.comes_back_after(&reason) {
            self.clone().tell(order);
        } else {
            self.clone().end(order, reason);
        }
    }

    /// Has the actor go on after orders were [added](super::orders::Orders::add).
    fn go_on(self: &Arc<Self>, was_held: bool, orders: u16) {
        // Whoever waits looks whether that ends his wait.
        if orders & INTERRUPTING != 0 {
            self.core.wait_slot.call(Record::wake);
        }
        if was_held {
            // SAFETY: it was held, and we took that away: so we are the runner.
            unsafe { self.core.mailbox.queue().requeue() };
            self.schedule();
        } else {
            self.signal();
        }
    }

    /// Has `call` run on the actor between two messages, before those that are queued.
    pub(crate) fn call_soon(
        self: &Arc<Self>,
        call: impl FnOnce(&mut A, &mut Context<A>) + Send + 'static,
    ) {
        let erased = move |actor: *mut (), context: *mut ()| {
            // SAFETY: the runner of this cell lends its actor and its context for the call.
            let actor = unsafe { &mut *actor.cast::<A>() };
            // SAFETY: as above.
            let context = unsafe { &mut *context.cast::<Context<A>>() };
            call(actor, context);
        };
        self.core.with_rare(|rare| rare.ties.call(Box::new(erased)));
        self.clone().tell(SIGNALS);
    }

    /// Queues the envelope that `make` makes, if there is room. It must not panic.
    #[inline]
    pub(super) fn push(self: &Arc<Self>, make: impl FnOnce() -> Envelope) -> Result<(), Refusal> {
        match self.core.mailbox.reserve() {
            Some(reserved) => {
                if self.core.mailbox.queue().write(reserved, make) {
                    self.schedule();
                }
                Ok(())
            }
            None => self.push_again(make()),
        }
    }

    /// As [`push`](Self::push), by somebody who will probably wait for the actor: if that is a
    /// plain thread, it may get the actor's next turn; then `Ok(true)`.
    #[inline]
    pub(super) fn push_and_offer(
        self: &Arc<Self>,
        make: impl FnOnce() -> Envelope,
    ) -> Result<bool, Refusal> {
        match self.core.mailbox.reserve() {
            Some(reserved) => {
                let schedules = self.core.mailbox.queue().write(reserved, make);
                Ok(schedules && self.offer())
            }
            None => self.push_again(make()).map(|()| false),
        }
    }

    #[inline]
    fn offer(self: &Arc<Self>) -> bool {
        let may_be_run = self.thread().is_none() && self.core.may_be_run_by_caller();
        if may_be_run {
            self.core.runtime.executor.offer(self.clone())
        } else {
            self.schedule();
            false
        }
    }

    #[cold]
    fn push_again(self: &Arc<Self>, envelope: Envelope) -> Result<(), Refusal> {
        match self.core.mailbox.push(envelope) {
            Pushed::Queued(schedule) => {
                if schedule {
                    self.schedule();
                }
                Ok(())
            }
            Pushed::Full(envelope, schedule) => {
                if schedule {
                    self.schedule();
                }
                Err(Refusal::Full(envelope))
            }
            Pushed::Closed(envelope) => Err(Refusal::Closed(envelope)),
        }
    }

    /// Queues an envelope, or has it stand in line; `Ok(None)` once it is queued.
    pub(super) fn push_or_stand(
        self: &Arc<Self>,
        envelope: Envelope,
        waker: Option<&Waker>,
    ) -> Result<Option<Arc<Place<Envelope>>>, Envelope> {
        match self.core.mailbox.push_or_stand(envelope, waker) {
            Stood::Queued(schedule) => {
                if schedule {
                    self.schedule();
                }
                Ok(None)
            }
            Stood::InLine(place) => Ok(Some(place)),
            Stood::Closed(envelope) => Err(envelope),
        }
    }

    /// Queues what nobody waits for: a timer's message, a forwarded answer. If the mailbox is
    /// full, the message stands in line or is lost, by the policy; losses are counted.
    pub(super) fn deliver(self: &Arc<Self>, envelope: Envelope) {
        let message_type = envelope.vtable().message_type;
        match self.push(|| envelope) {
            Ok(()) => {}
            Err(Refusal::Closed(envelope)) => envelope.discard(&self.core.failure()),
            Err(Refusal::Full(envelope)) => match self.core.overflow() {
                Overflow::Block | Overflow::BlockFor(_) => {
                    if let Err(envelope) = self.push_or_stand(envelope, None) {
                        envelope.discard(&self.core.failure());
                    }
                }
                Overflow::Reject => {
                    self.core.count_rejected();
                    envelope.discard(&Failure::Dropped);
                    self.core.post_dead_letter(
                        type_name::<A>(),
                        message_type(),
                        LossReason::Rejected,
                    );
                }
                Overflow::DropNewest => self.drop_newest(envelope),
            },
        }
    }

    /// Drops a message by the policy, and counts it.
    pub(super) fn drop_newest(&self, envelope: Envelope) {
        let message_type = envelope.vtable().message_type;
        self.core.count_dropped();
        envelope.discard(&Failure::Dropped);
        self.core.post_dead_letter(
            type_name::<A>(),
            message_type(),
            LossReason::DroppedByPolicy,
        );
    }
}

/// Why an envelope was not queued.
pub(super) enum Refusal {
    Full(Envelope),
    Closed(Envelope),
}

impl<A: Actor> Target for Cell<A> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn tell(self: Arc<Self>, orders: u16) {
        let was_held = self.core.orders.add(orders);
        self.go_on(was_held, orders);
    }

    /// The mailbox closes at once, for this reason unless there is one already.
    fn end(self: Arc<Self>, orders: u16, reason: StopReason) {
        let first = self
            .core
            .with_rare(|rare| rare.reason.get_or_insert(reason).clone());
        // Closed first: a runner that sees the order finds the mailbox closed.
        let mut wakes = Wakes::new();
        self.core.close(first, &mut wakes);
        wakes.into_iter().for_each(wake_quietly);
        let was_held = self.core.orders.add(orders);
        self.go_on(was_held, orders);
    }

    fn give_up(self: Arc<Self>) {
        self.core.with_rare(|rare| rare.is_stuck = true);
        self.end(END | KILL, StopReason::Stuck);
    }

    fn identity(&self) -> Identity {
        self.core.identity(type_name::<A>())
    }

    fn withdraw(&self, place: &Place<Envelope>) {
        drop(self.core.mailbox.withdraw(place));
    }

    fn give_turn(self: Arc<Self>) {
        self.schedule();
    }

    fn run_here(self: Arc<Self>, has_turn: bool, caller: &Caller<'_>) {
        if self.thread().is_some() {
            return;
        }
        let Some(mut stack) = self.core.runtime.executor.own_stack() else {
            if has_turn {
                self.schedule();
            }
            return;
        };
        let queue = self.core.mailbox.queue();
        let claimed = if has_turn {
            // If somebody else runs the actor, he may have given our request up for unwritten
            // already, and counts on us: a claim makes him look again.
            queue.claim()
        } else {
            queue.claim_unasked()
        };
        if claimed {
            super::runner::run_here(self, &mut stack, caller);
        }
    }

    fn may_run_here(&self) -> bool {
        self.thread().is_none() && !self.core.mailbox.queue().is_running()
    }
}

impl<A: Actor> Runnable for Cell<A> {
    fn run(self: Arc<Self>, turn: &Turn<'_>) -> Option<Task> {
        super::runner::run(self, turn).map(|again| again as Task)
    }
}

impl<A: Actor> Resident for Cell<A> {
    fn id(&self) -> ActorId {
        self.core.id
    }

    fn snapshot(&self) -> ActorSnapshot {
        let core = &self.core;
        let message_type = core.message_in_hand();
        let state = if core.stage() == stage::ENDED {
            ActorState::Ended(core.reason().unwrap_or(StopReason::Stopped))
        } else if core.stage() == stage::DOWN {
            ActorState::Down
        } else if core.has_children_to_stop() {
            ActorState::Stopping
        } else if core.wait_slot.is_occupied() {
            ActorState::Waiting { message_type }
        } else if core.mailbox.queue().is_running() {
            ActorState::Running { message_type }
        } else {
            ActorState::Idle
        };
        ActorSnapshot {
            id: core.id,
            name: core.name().cloned(),
            actor_type: type_name::<A>(),
            state,
            capacity: core.mailbox.queue().capacity(),
            waiting_senders: core.mailbox.line_len(),
            waited: core.runtime.clock.duration(core.waited.get()),
            restarts: core.restarts(),
            counts: core.counts(),
        }
    }

    fn wait(&self) -> Option<(u64, Wait)> {
        let core = &self.core;
        let clock = &core.runtime.clock;
        core.wait_slot.look(|record| {
            let wait = Wait {
                actor: self.identity(),
                message_type: core.message_in_hand(),
                awaited: record.goal.awaited(),
                waited: clock.duration(clock.stamp().ticks_since(record.begun)),
                deadline: record.deadline,
            };
            (record.number, wait)
        })
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(&self.core).addr()
    }

    fn in_hand(&self) -> InHand {
        InHand {
            actor: self.identity(),
            message_type: self.core.message_in_hand(),
            taken: self.core.taken.get(),
            waits: self.core.wait_slot.is_occupied(),
        }
    }

    fn order(self: Arc<Self>, order: Order) {
        let order = match order {
            Order::Drain => SHUTDOWN_DRAIN,
            Order::Stop => SHUTDOWN_STOP,
            Order::Kill => SHUTDOWN_STOP | KILL,
        };
        self.end(order, StopReason::Shutdown);
    }

    fn has_parent(&self) -> bool {
        self.core.parent().is_some()
    }

    fn ancestors(&self) -> Vec<Identity> {
        let mut ancestors = Vec::new();
        let mut parent = self.core.parent();
        while let Some(next) = parent {
            ancestors.push(next.identity());
            parent = next.core().parent();
        }
        ancestors.reverse();
        ancestors
    }
}
