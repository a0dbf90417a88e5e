//! One turn of an actor: claim, obey, handle a batch, let go.
//!
//! A panic ends the life of the actor, wherever in its code it happens; the worker goes on. How
//! lives end and begin is in [`lives`].
#![expect(
    unsafe_code,
    reason = "the runner has the actor to itself while it holds the claim"
)]

mod lives;

pub(crate) use lives::Factory;

use std::any::{Any, type_name};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::Actor;
use super::cell::{Cell, Life};
use super::context::Context;
use super::core::{Core, stage};
use super::envelope::{Envelope, Ran};
use super::frame::{Failure, Frame};
use super::orders::{
    DRAIN, END, FAIL, FALL, KILL, SHUTDOWN_DRAIN, SHUTDOWN_STOP, SIGNALS, START, STOP,
};
use super::timer::note_rest;
use super::wait::Caller;
use super::watch::Heard;
use crate::error::StopReason;
use crate::executor::{OwnStack, Turn, post};
use crate::mailbox::{Released, Wakes};
use crate::observe::LossReason;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::unwind::{drop_quietly, forget_quietly, panic_message};

/// Messages that an actor handles in one turn before others get theirs.
const BATCH: u32 = 64;
/// After how many messages of a turn it gives way to parked stacks that are ready.
const LOOK_INTERVAL: u32 = 16;

/// How a batch ended.
enum Batch {
    /// Nothing is left to do; the claim is given up.
    Idle,
    /// The turn is over with work left.
    Again,
    /// The actor is to end.
    End(StopReason),
}

/// Runs the actor for a turn; returns it if it wants another one.
pub(super) fn run<A: Actor>(cell: Arc<Cell<A>>, turn: &Turn<'_>) -> Option<Arc<Cell<A>>> {
    if !cell.core().mailbox.queue().claim() {
        return None;
    }
    with_runner(cell, |runner| runner.turn(turn))
}

/// Runs the actor, which the caller has claimed, on the caller's thread, until his wait is over.
///
/// Nothing of the actor's runs here after the moment at which that has become so in a
/// handler: what is left to do is left to the actor's own executor, its end too. So whoever waits
/// for that moment is not kept from going on.
pub(super) fn run_here<A: Actor>(cell: Arc<Cell<A>>, stack: &mut OwnStack, caller: &Caller<'_>) {
    let below = post::at();
    post::rested();
    let again = stack.run(|| with_runner(cell, |runner| runner.turn_here(caller)));
    if let Some(cell) = again {
        cell.schedule();
    }
    if below != 0 {
        post::resume(below);
    }
}

/// Lays a frame on the stack for the actor's turn; returns the actor if it wants another one.
#[inline]
fn with_runner<A: Actor>(
    cell: Arc<Cell<A>>,
    turn: impl FnOnce(&mut Runner<'_, A>) -> bool,
) -> Option<Arc<Cell<A>>> {
    let mut context = Context::new(cell);
    let frame = Frame::new(context.cell().core(), type_name::<A>);
    let entered = frame.enter();
    let again = turn(&mut Runner {
        context: &mut context,
        frame: &frame,
    });
    drop(entered);
    frame.pay_wakes();
    let cell = context.into_cell();
    again.then_some(cell)
}

struct Runner<'a, A: Actor> {
    context: &'a mut Context<A>,
    frame: &'a Frame,
}

impl<A: Actor> Runner<'_, A> {
    /// Whether the actor wants another turn. If not, the claim is given up, or kept for ever by
    /// an actor that has ended.
    fn turn(&mut self, turn: &Turn<'_>) -> bool {
        if self.handles() {
            match self.guarded_batch(turn, BATCH, None) {
                Batch::Idle => return false,
                Batch::Again => {
                    self.requeue();
                    return true;
                }
                Batch::End(reason) => self.begin_end(reason),
            }
        }
        self.go_on_between_lives()
    }

    /// Whether the actor handles messages: it is not at the end of a life, nor between two.
    fn handles(&self) -> bool {
        self.core().stage() <= stage::DRAINING
    }

    /// As [`turn`](Self::turn), on a thread that waits for the actor.
    fn turn_here(&mut self, caller: &Caller<'_>) -> bool {
        if self.handles() {
            match self.guarded_batch(&Turn::on(None), u32::MAX, Some(caller)) {
                Batch::Idle => return false,
                Batch::Again => {}
                Batch::End(reason) => {
                    self.begin_end(reason);
                    // Who stands in line hears of it at the end, on the actor's executor.
                    if self.core().stage() == stage::ENDING {
                        self.core().mailbox.queue().close();
                    }
                }
            }
        }
        self.requeue();
        true
    }

    fn requeue(&self) {
        self.frame.before_requeue();
        // SAFETY: we are the runner.
        unsafe { self.core().mailbox.queue().requeue() };
    }

    /// A batch that ends with a panic ends the actor.
    #[inline]
    fn guarded_batch(
        &mut self,
        turn: &Turn<'_>,
        budget: u32,
        caller: Option<&Caller<'_>>,
    ) -> Batch {
        match catch_unwind(AssertUnwindSafe(|| self.batch(turn, budget, caller))) {
            Ok(batch) => batch,
            Err(payload) => Batch::End(self.panicked(payload)),
        }
    }

    fn core(&self) -> &Core {
        self.context.cell().core()
    }

    /// Handles up to `budget` messages, or until the caller's wait is over.
    #[inline(always)]
    fn batch(&mut self, turn: &Turn<'_>, budget: u32, caller: Option<&Caller<'_>>) -> Batch {
        let full = budget;
        let mut budget = budget;
        loop {
            if self.core().orders.standing() != 0
                && let Some(reason) = match caller {
                    Some(caller) => caller.holding(|| self.obey()),
                    None => self.obey(),
                }
            {
                return Batch::End(reason);
            }
            // SAFETY: we are the runner.
            if let Some(envelope) = unsafe { self.core().mailbox.queue().peek() } {
                // A turn handles some messages, so that ready stacks cannot starve it.
                let others_first = budget < full
                    && budget.is_multiple_of(LOOK_INTERVAL)
                    && turn.others_are_ready();
                let is_over = caller.is_some_and(|caller| (caller.is_over)());
                if budget == 0 || turn.was_parked() || others_first || is_over {
                    return Batch::Again;
                }
                budget -= 1;
                match caller {
                    Some(caller) => caller.holding(|| self.handle(envelope)),
                    None => self.handle(envelope),
                }
                // A handler may have caught a panic that dropped answers.
                self.frame.settle_unwound(&Failure::Dropped);
            } else if let Some(batch) = self.let_go() {
                return batch;
            }
        }
    }

    /// Handles the oldest message of the queue.
    #[inline]
    fn handle(&mut self, envelope: NonNull<Envelope>) {
        if self.core().retries().is_some() {
            self.keep_copy(envelope, 0);
        }
        let frame = self.frame;
        self.run_envelope(envelope, &|| {
            let core = frame.core();
            // SAFETY: we are the runner, have peeked at the envelope and moved it out.
            unsafe { core.mailbox.queue().pass() };
            core.taken.increment();
            if core.mailbox.has_line() {
                frame.grant_in_passing();
            }
        });
    }

    /// Keeps a copy of the message that is to be handled, if it may be tried again.
    #[cold]
    fn keep_copy(&self, envelope: NonNull<Envelope>, tried: u32) {
        let core = self.core();
        let kept = core.retries().and_then(|rules| rules.keep(envelope, tried));
        core.with_rare(|rare| rare.kept = kept);
    }

    /// Handles the message again at which the last life has panicked.
    #[cold]
    fn try_again(&mut self) {
        if let Some(kept) = self.core().with_rare(|rare| rare.kept.take()) {
            let mut envelope = ManuallyDrop::new(kept.envelope);
            let envelope = NonNull::from(&mut *envelope);
            self.keep_copy(envelope, kept.tried);
            // The message was counted as taken when it was.
            self.run_envelope(envelope, &|| ());
        }
    }

    /// Runs the message; `moved` gives its place up.
    #[inline(always)]
    fn run_envelope(&mut self, envelope: NonNull<Envelope>, moved: &dyn Fn()) {
        // SAFETY: the envelope lies in its slot until it is run below.
        let whole = unsafe { envelope.as_ref() };
        let vtable = ptr::from_ref(whole.vtable()).cast_mut();
        // ORDERING: Relaxed: a constant, for those who look from outside.
        self.core().in_hand.store(vtable, Relaxed);
        let traced = tracing::level_filters::LevelFilter::current() >= tracing::Level::TRACE;
        if traced {
            self.enter_span(whole);
        }
        let actor = self.actor();
        let context = ptr::from_mut(self.context);
        // SAFETY: the envelope came through an address of this actor; the runner has the actor
        // to itself, and lends the context to nobody else.
        let ran = unsafe { Envelope::run(envelope, moved, actor.cast(), context.cast()) };
        if traced {
            self.frame.leave_span();
        }
        let counted = self.context.take_counted();
        let core = self.core();
        match ran {
            Ran::Handled if counted => {}
            Ran::Handled => core.handled.increment(),
            Ran::Cancelled => core.cancelled.increment(),
        }
        if core.retries().is_some() {
            drop_quietly(core.with_rare(|rare| rare.kept.take()));
        }
        // ORDERING: Relaxed, as above.
        core.in_hand.store(ptr::null_mut(), Relaxed);
    }

    #[cold]
    fn enter_span(&self, envelope: &Envelope) {
        let core = self.core();
        let parent = core.rare.lock().as_ref().and_then(|rare| rare.span.clone());
        let span = tracing::trace_span!(
            target: "greenroom",
            parent: parent.as_ref().and_then(tracing::Span::id),
            "handle",
            actor = %core.id,
            name = core.name().map(|name| &**name),
            message_type = (envelope.vtable().message_type)(),
        );
        if let Some(origin) = envelope.origin() {
            span.follows_from(origin.id());
        }
        self.frame.enter_span(span);
    }

    fn actor(&self) -> *mut A {
        self.context.cell().life.with_mut(|life| {
            // SAFETY: the runner has the actor to itself.
            match unsafe { &mut *life } {
                Life::Alive(actor) => ptr::from_mut(actor),
                Life::Unborn(_) | Life::Gone => unreachable!("only a living actor is run"),
            }
        })
    }

    fn set_life(&self, new: Life<A>) -> Life<A> {
        self.context.cell().life.with_mut(|life| {
            // SAFETY: the runner has the actor to itself.
            std::mem::replace(unsafe { &mut *life }, new)
        })
    }

    /// The beginning of the first turn.
    fn start(&mut self) {
        match self.set_life(Life::Gone) {
            Life::Unborn(make) => {
                self.set_life(Life::Alive(make()));
            }
            alive => {
                self.set_life(alive);
            }
        }
        let actor = self.actor();
        // SAFETY: the runner has the actor to itself.
        unsafe { &mut *actor }.started(self.context);
        self.frame.settle_unwound(&Failure::Dropped);
    }

    /// Obeys what was ordered; returns the reason if the actor is to end now.
    #[cold]
    fn obey(&mut self) -> Option<StopReason> {
        let orders = self.core().orders.take();
        if orders & START != 0 {
            self.start();
        }
        // A stop from within `started` counts too; the others are looked at again anyway.
        let orders = orders | self.core().orders.standing();
        if let Some(reason) = self.ordered_end(orders) {
            return Some(reason);
        }
        if orders & SIGNALS != 0
            && let Some(reason) = self.hear_signals()
        {
            return Some(reason);
        }
        if orders & DRAIN != 0 {
            self.begin_drain(StopReason::Drained);
        } else if orders & SHUTDOWN_DRAIN != 0 {
            self.begin_drain(StopReason::Shutdown);
        }
        None
    }

    /// Why the actor is to end now, by these orders. The strongest one counts.
    fn ordered_end(&self, orders: u16) -> Option<StopReason> {
        if orders & KILL != 0 {
            let shutdown = orders & (SHUTDOWN_STOP | SHUTDOWN_DRAIN) != 0;
            // Who was refused meanwhile has been told the first reason.
            let killed_before = self.core().reason() == Some(StopReason::Killed);
            return Some(if shutdown && !killed_before {
                StopReason::Shutdown
            } else {
                StopReason::Killed
            });
        }
        if orders & FAIL != 0 {
            // If it is taken already, that was in a life before.
            let failed = self.core().with_rare(|rare| rare.failed.take());
            if failed.is_some() {
                return failed;
            }
        }
        if orders & STOP != 0 {
            return Some(StopReason::Stopped);
        }
        if orders & END != 0 {
            return Some(self.core().reason().unwrap_or(StopReason::ParentEnded));
        }
        if orders & SHUTDOWN_STOP != 0 {
            return Some(StopReason::Shutdown);
        }
        // One that ends for good does not fall: it was drained, say, and handles its queue.
        let falls = orders & FALL != 0 && !self.core().mailbox.queue().is_closed();
        falls.then_some(StopReason::Restarted)
    }

    /// Does what the signals ask for whose turn has come. Returns the reason if one of them ends
    /// the actor.
    fn hear_signals(&mut self) -> Option<StopReason> {
        if self.core().retries().is_some() {
            self.try_again();
        }
        loop {
            let core = self.core();
            let next = core.with_rare(|rare| {
                // Counted under the lock: what came before a signal is in the queue by now.
                let queued = core.mailbox.queue().len() as u64;
                rare.ties.next(core.taken.get(), queued)
            });
            let heard = match next {
                Ok(heard) => heard,
                Err(others) => {
                    if others {
                        // We look again after each message. No one but us runs the actor, so it
                        // is not held.
                        let _ = core.orders.add(SIGNALS);
                    }
                    return None;
                }
            };
            let actor = self.actor();
            match heard {
                Heard::Call(call) => call(actor.cast(), ptr::from_mut(self.context).cast()),
                Heard::Told(terminated) => {
                    // SAFETY: the runner has the actor to itself.
                    unsafe { &mut *actor }.terminated(&terminated, self.context);
                    self.frame.settle_unwound(&Failure::Dropped);
                }
                Heard::Linked(reason) => return Some(reason),
            }
            let orders = self.core().orders.standing();
            if orders & !(SIGNALS | START) != 0 {
                // Signals are left for later: an order may be to end.
                let _ = self.core().orders.add(SIGNALS);
                return None;
            }
        }
    }

    fn begin_drain(&self, reason: StopReason) {
        if self.core().stage() == stage::LIVE {
            self.core().set_stage(stage::DRAINING);
            self.close(reason);
        }
    }

    /// Closes the mailbox for this reason, unless it is closed already.
    fn close(&self, reason: StopReason) {
        let core = self.core();
        core.with_rare(|rare| rare.reason = Some(reason.clone()));
        let mut wakes = Wakes::new();
        core.close(reason, &mut wakes);
        self.frame.with_wakes(|owed| owed.append(&mut wakes));
    }

    /// Nothing can be taken: lets go, or finds out what to do instead. `None`: look again.
    #[inline(always)]
    fn let_go(&mut self) -> Option<Batch> {
        let core = self.core();
        let queue = core.mailbox.queue();
        // SAFETY: we are the runner.
        let exhausted = unsafe { queue.is_exhausted() };
        if exhausted && core.stage() == stage::DRAINING {
            let reason = core.reason();
            return Some(Batch::End(reason.expect("a drain has a reason")));
        }
        // Once no address is left, none can come: an upgrade needs one, and the actor that
        // could make one is not running.
        // ORDERING: Acquire pairs with the Release of the last address's drop.
        if exhausted && core.addresses.load(Acquire) == 0 && core.stage() == stage::LIVE {
            self.begin_drain(StopReason::Unreferenced);
            return None;
        }
        // ORDERING: Relaxed: set by a handler or hook, which ran before on this side of the claim.
        if core.watches_rest.load(Relaxed) {
            note_rest(core);
        }
        // SAFETY: we are the runner, and no longer if it says so.
        match unsafe { queue.release() } {
            Released::Idle => Some(Batch::Idle),
            Released::Busy => None,
            Released::Line => {
                self.frame.grant();
                None
            }
        }
    }

    /// A handler has panicked at this message: it is tried again, or a dead letter, unless it is
    /// counted as handled already.
    fn lose_message_in_hand(&self, message_type: &'static str, counted: bool, panic: &Arc<str>) {
        let core = self.core();
        let kept = core.with_rare(|rare| {
            if counted {
                return rare.kept.take();
            }
            rare.failed_at = Some(message_type);
            rare.dead_lettered += u64::from(rare.kept.is_none());
            None
        });
        drop_quietly(kept);
        // If there is no next life, one that is kept becomes a dead letter at the end.
        let is_kept = core.with_rare(|rare| rare.kept.is_some());
        if !counted && !is_kept {
            core.post_dead_letter(
                type_name::<A>(),
                message_type,
                LossReason::Panicked(panic.clone()),
            );
        }
    }

    /// A handler or hook has panicked: tells those who waited for it.
    fn panicked(&mut self, payload: Box<dyn Any + Send>) -> StopReason {
        let message: Arc<str> = panic_message(&*payload).into();
        forget_quietly(payload);
        self.frame.leave_span();
        // The handler may have returned, and the answer's `Drop` may have panicked.
        let counted = self.context.take_counted();
        let core = self.core();
        let reason = StopReason::Panicked {
            message: message.clone(),
        };
        let message_type = core.message_in_hand();
        tracing::error!(
            target: "greenroom",
            actor = %core.id,
            name = core.name().map(|name| &**name),
            actor_type = type_name::<A>(),
            message_type,
            panic = &*message,
            "an actor panicked"
        );
        if let Some(message_type) = message_type {
            self.lose_message_in_hand(message_type, counted, &message);
        }
        // ORDERING: Relaxed: for those who look from outside.
        core.in_hand.store(ptr::null_mut(), Relaxed);
        self.frame.settle_unwound(&Failure::Panicked(message));
        reason
    }
}
