//! The one allocation of an actor: its mailbox, its counts, its state, and the actor itself.
//!
//! A [`Cell`] is shared by its addresses, the register of the system, and whoever runs it. The
//! part that does not depend on the actor's type is the [`Core`].
//!
//! # Who may touch what
//!
//! | field | written by |
//! |---|---|
//! | `mailbox` | senders and the runner, by its protocol |
//! | `orders` | anybody sets bits, the runner clears what it has obeyed; `KILL` stays |
//! | `stage`, counts, `in_hand`, the actor | the runner: whoever holds the mailbox's claim |
//! | `addresses` | holders of addresses |
//! | `rare` | anybody, under its lock |
#![expect(
    unsafe_code,
    reason = "the actor belongs to whoever holds the mailbox's claim"
)]

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tracing::Span;

use super::Actor;
use super::envelope::{Envelope, Vtable};
use super::frame::Failure;
use super::slot::WaitSlot;
use super::wait::Record;
use crate::error::StopReason;
use crate::executor::thread::OwnThread;
use crate::executor::{Runnable, Task, Turn};
use crate::id::ActorId;
use crate::mailbox::{Mailbox, Overflow, Place, Pushed, Stood, Wakes};
use crate::observe::{
    ActorSnapshot, ActorState, Counts, DeadLetter, LossReason, OwnCount, SharedCount,
};
use crate::runtime::{InHand, Order, Residence, Resident, Runtime};
use crate::sync::{
    AtomicPtr, AtomicU8, AtomicUsize, Mutex,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    UnsafeCell,
};
use crate::time::TimerKey;
use crate::unwind::wake_quietly;
use crate::waits::{Identity, Wait};

/// Orders to an actor; several may stand.
pub(super) const START: u8 = 1;
pub(super) const STOP: u8 = 1 << 1;
pub(super) const DRAIN: u8 = 1 << 2;
/// Stays set, so that every later wait of the handler ends at once.
pub(super) const KILL: u8 = 1 << 3;
pub(super) const SHUTDOWN_DRAIN: u8 = 1 << 4;
pub(super) const SHUTDOWN_STOP: u8 = 1 << 5;

/// How far an actor's life has come. Written by its runner.
pub(super) mod stage {
    /// It handles messages.
    pub(in crate::actor) const LIVE: u8 = 0;
    /// Its mailbox is closed; it handles what is queued, then ends.
    pub(in crate::actor) const DRAINING: u8 = 1;
    /// It ends; what is queued becomes dead letters.
    pub(in crate::actor) const ENDING: u8 = 2;
    /// It has ended.
    pub(in crate::actor) const ENDED: u8 = 3;
}

/// What is set at the spawn and differs from the default.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) name: Option<Arc<str>>,
    pub(super) overflow: Overflow,
    pub(super) thread: Option<Arc<OwnThread>>,
    /// Whether threads that wait with a limit, and tasks that await, may run it too.
    pub(super) runs_on_callers: bool,
}

/// What few actors need, or only at their end.
#[derive(Default)]
pub(super) struct Rare {
    /// Why it ends, as far as is known; set before the mailbox is closed.
    pub(super) reason: Option<StopReason>,
    /// Messages that were taken and became dead letters.
    pub(super) dead_lettered: u64,
    /// Who waits for its end, by a number.
    pub(super) joiners: BTreeMap<u64, Waker>,
    next_joiner: u64,
    /// Its timers, which end with it.
    pub(super) timers: BTreeSet<TimerKey>,
    /// The span of its life, if somebody listens.
    pub(super) span: Option<Span>,
}

/// The part of a cell that does not depend on the actor's type.
pub(crate) struct Core {
    pub(super) mailbox: Mailbox<Envelope>,
    /// Strong addresses. They hold one count of the cell together.
    pub(super) addresses: AtomicUsize,
    pub(super) orders: AtomicU8,
    pub(super) stage: AtomicU8,
    /// The table of the message in hand, or null.
    pub(super) in_hand: AtomicPtr<Vtable>,
    pub(super) wait_slot: WaitSlot<Record<'static>>,
    pub(super) taken: OwnCount,
    pub(super) handled: OwnCount,
    pub(super) cancelled: OwnCount,
    /// Ticks of the clock's stamps that its handlers have waited.
    pub(super) waited: OwnCount,
    pub(super) dropped: SharedCount,
    pub(super) rejected: SharedCount,
    pub(super) settings: Option<Box<Settings>>,
    pub(super) rare: Mutex<Option<Box<Rare>>>,
    pub(super) runtime: Arc<Runtime>,
    pub(super) id: ActorId,
    /// Where it is in the register.
    pub(super) residence: Residence,
}

impl Core {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        id: ActorId,
        residence: Residence,
        capacity: usize,
        settings: Option<Box<Settings>>,
    ) -> Self {
        Self {
            mailbox: Mailbox::new(capacity),
            addresses: AtomicUsize::new(1),
            orders: AtomicU8::new(START),
            stage: AtomicU8::new(stage::LIVE),
            in_hand: AtomicPtr::new(ptr::null_mut()),
            wait_slot: WaitSlot::new(),
            taken: OwnCount::new(),
            handled: OwnCount::new(),
            cancelled: OwnCount::new(),
            waited: OwnCount::new(),
            dropped: SharedCount::new(),
            rejected: SharedCount::new(),
            settings,
            rare: Mutex::new(None),
            runtime,
            id,
            residence,
        }
    }

    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.settings.as_ref()?.name.as_ref()
    }

    pub(super) fn identity(&self, actor_type: &'static str) -> Identity {
        Identity {
            id: self.id,
            name: self.name().cloned(),
            actor_type,
        }
    }

    pub(super) fn overflow(&self) -> Overflow {
        self.settings
            .as_ref()
            .map_or_else(Overflow::default, |settings| settings.overflow)
    }

    pub(super) fn runs_on_callers(&self) -> bool {
        let settings = self.settings.as_ref();
        settings.is_some_and(|settings| settings.runs_on_callers)
    }

    pub(super) fn with_rare<R>(&self, f: impl FnOnce(&mut Rare) -> R) -> R {
        f(self.rare.lock().get_or_insert_default())
    }

    /// Why it ends or has ended.
    pub(super) fn reason(&self) -> Option<StopReason> {
        self.rare.lock().as_ref()?.reason.clone()
    }

    pub(super) fn is_killed(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `give`; see `WaitSlot`.
        self.orders.load(Acquire) & KILL != 0
    }

    pub(super) fn stage(&self) -> u8 {
        // ORDERING: Acquire pairs with the Release in `set_stage`.
        self.stage.load(Acquire)
    }

    pub(super) fn set_stage(&self, stage: u8) {
        // ORDERING: Release: who sees the end sees what the actor did.
        self.stage.store(stage, Release);
    }

    pub(super) fn counts(&self) -> Counts {
        let dead_lettered = self
            .rare
            .lock()
            .as_ref()
            .map_or(0, |rare| rare.dead_lettered);
        self.counts_of(dead_lettered, self.dropped.get(), self.rejected.get())
    }

    /// The last counts, for the runner at the end. Senders that are refused later are counted
    /// by the register.
    pub(super) fn close_books(&self, dead_lettered: u64) -> Counts {
        self.counts_of(dead_lettered, self.dropped.close(), self.rejected.close())
    }

    /// Counts a message that was refused and goes back to its sender.
    pub(super) fn count_rejected(&self) {
        if !self.rejected.increment() {
            let late = Counts {
                rejected: 1,
                ..Counts::default()
            };
            self.runtime.add_departed(self.id, late);
        }
    }

    /// Counts a message that was taken and dropped by the policy.
    fn count_dropped(&self) {
        if !self.dropped.increment() {
            let late = Counts {
                accepted: 1,
                dropped: 1,
                ..Counts::default()
            };
            self.runtime.add_departed(self.id, late);
        }
    }

    fn counts_of(&self, dead_lettered: u64, dropped: u64, rejected: u64) -> Counts {
        let queued = self.mailbox.queue().len() as u64;
        Counts {
            accepted: self.taken.get() + dropped + queued,
            handled: self.handled.get(),
            dropped,
            dead_lettered,
            cancelled: self.cancelled.get(),
            queued,
            rejected,
        }
    }

    pub(super) fn message_in_hand(&self) -> Option<&'static str> {
        // ORDERING: Acquire is not needed: tables are constants.
        let vtable = self.in_hand.load(Relaxed);
        // SAFETY: null, or a constant.
        unsafe { vtable.as_ref() }.map(|vtable| (vtable.message_type)())
    }

    pub(super) fn post_dead_letter(
        &self,
        actor_type: &'static str,
        message_type: &'static str,
        reason: LossReason,
    ) {
        self.runtime.letters.post(|| DeadLetter {
            actor: self.id,
            name: self.name().cloned(),
            actor_type,
            message_type,
            reason: reason.clone(),
        });
        tracing::debug!(
            target: "greenroom",
            actor = %self.id,
            actor_type,
            message_type,
            %reason,
            "dead letter"
        );
    }

    /// Closes the mailbox, unless it is closed already; who stands in line learns the reason.
    pub(super) fn close(&self, reason: StopReason, wakes: &mut Wakes) {
        let mut orphans = Vec::new();
        self.mailbox.close(wakes, &mut orphans);
        let failure = Failure::Ended(reason);
        for orphan in orphans {
            self.count_rejected();
            orphan.discard(&failure);
        }
    }

    /// Why a request to this closed mailbox fails.
    pub(super) fn failure(&self) -> Failure {
        Failure::Ended(self.reason().unwrap_or(StopReason::Stopped))
    }

    /// Ready with the reason once the actor has ended. Who waits is known by `joiner`, and
    /// [forgotten](Self::forget_joiner) if he gives up.
    pub(super) fn poll_ended(&self, joiner: &mut Option<u64>, waker: &Waker) -> Poll<StopReason> {
        let mut guard = self.rare.lock();
        let rare = guard.get_or_insert_default();
        // Checked under the lock, under which the joiners are taken at the end.
        if self.stage() == stage::ENDED {
            let reason = rare.reason.clone();
            return Poll::Ready(reason.expect("an actor ends for a reason"));
        }
        let number = *joiner.get_or_insert_with(|| {
            rare.next_joiner += 1;
            rare.next_joiner
        });
        rare.joiners.insert(number, waker.clone());
        Poll::Pending
    }
}

impl Core {
    /// Nobody waits for the end by this number any more.
    pub(super) fn forget_joiner(&self, joiner: Option<u64>) {
        if let Some(number) = joiner {
            self.with_rare(|rare| rare.joiners.remove(&number));
        }
    }
}

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

    /// Runs the actor on this thread until `is_over`, if nobody runs it and any thread may; for
    /// somebody who has its turn or comes without. Returns also when there is nothing left to do.
    fn run_here(self: Arc<Self>, has_turn: bool, is_over: &dyn Fn() -> bool);

    /// Whether there is something to do, nobody does it, and any thread may.
    fn may_run_here(&self) -> bool;

    /// Forgets a timer that was cancelled; `false` if the actor's end came first.
    fn forget_timer(&self, key: TimerKey) -> bool;
}

/// The actor itself.
pub(super) enum Life<A> {
    /// It is made by its runner at the beginning of the first turn.
    Unborn(Box<dyn FnOnce() -> A + Send>),
    Alive(A),
    /// It has ended, or its making has panicked.
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

    /// Gives an order to end, which the runner obeys between messages. The mailbox closes at
    /// once, for this reason unless there is one already.
    pub(super) fn give(self: &Arc<Self>, order: u8, reason: StopReason) {
        // ORDERING: Release publishes what the giver did before; AcqRel for `WaitSlot`'s sake.
        self.core.orders.fetch_or(order, AcqRel);
        let mut wakes = Wakes::new();
        let first = self
            .core
            .with_rare(|rare| rare.reason.get_or_insert(reason).clone());
        self.core.close(first, &mut wakes);
        wakes.into_iter().for_each(wake_quietly);
        if order & KILL != 0 {
            self.core.wait_slot.call(Record::wake);
        }
        self.signal();
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
        match self.thread() {
            Some(thread) => {
                thread.schedule();
                false
            }
            None => self.core.runtime.executor.offer(self.clone()),
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

    fn identity(&self) -> Identity {
        self.core.identity(type_name::<A>())
    }

    fn withdraw(&self, place: &Place<Envelope>) {
        drop(self.core.mailbox.withdraw(place));
    }

    fn give_turn(self: Arc<Self>) {
        self.schedule();
    }

    fn run_here(self: Arc<Self>, has_turn: bool, is_over: &dyn Fn() -> bool) {
        if !self.core.runtime.executor.is_shared() || self.thread().is_some() {
            return;
        }
        let queue = self.core.mailbox.queue();
        let claimed = if has_turn {
            // If somebody else runs the actor, he may have given our request up for unwritten
            // already, and counts on us: a claim makes him look again.
            queue.claim()
        } else {
            queue.claim_unasked()
        };
        if claimed {
            super::runner::run_here(self, is_over);
        }
    }

    fn may_run_here(&self) -> bool {
        self.core.runtime.executor.is_shared()
            && self.thread().is_none()
            && !self.core.mailbox.queue().is_running()
    }

    fn forget_timer(&self, key: TimerKey) -> bool {
        self.core.with_rare(|rare| rare.timers.remove(&key))
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
        self.give(order, StopReason::Shutdown);
    }
}
