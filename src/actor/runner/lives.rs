//! How a life of an actor ends, and what comes then: the next one, or nothing.
//!
//! | stage | what its runner does | then |
//! |---|---|---|
//! | `FALLING` | sees its children off, tells the actor, drops it, cancels its timers, forgets whom it watches | `DOWN`, which its supervisor is told |
//! | `DOWN` | obeys: nothing to do, so it is held; revived, it makes the actor and starts it | `LIVE`, or `FALLING` if that fails |
//! | `DOWN`, ordered to end | | `ENDING` |
//! | `ENDING` | closes the mailbox, dead-letters what is queued, sees its children off, tells the actor, drops it | `ENDED`, which everybody is told |
//!
//! A life follows another only when that one's actor is dropped, in one runner's order: so they
//! never overlap. What is queued stays where it is, so it keeps its order.

#![expect(
    unsafe_code,
    reason = "the runner has the actor to itself while it holds the claim"
)]

use std::any::{Any, type_name};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Runner;
use crate::actor::Actor;
use crate::actor::cell::{Life, Target};
use crate::actor::core::stage;
use crate::actor::envelope::Envelope;
use crate::actor::family::{Event, Manner, Progress};
use crate::actor::frame::Failure as Untold;
use crate::actor::orders::{FAIL, FALL, KILL, REVIVE, SIGNALS, STOP};
use crate::actor::watch::{self, Followers};
use crate::error::{ActorError, Failure, StopReason};
use crate::mailbox::Released;
use crate::observe::LossReason;
use crate::time::Action;
use crate::unwind::{drop_quietly, forget_quietly, panic_message, wake_quietly};

/// Makes the actor of each of its lives.
pub(crate) type Factory<A> = Box<dyn FnMut() -> Result<A, ActorError> + Send>;

/// What a runner between two lives does next.
enum Next {
    /// It looks at the stage.
    Look,
    /// It lets go: somebody else calls it back.
    LetGo,
}

impl<A: Actor> Runner<'_, A> {
    /// The actor, or this life of it, is to end.
    pub(super) fn begin_end(&self, reason: StopReason) {
        let core = self.core();
        // Whatever ends it for good has closed the mailbox.
        let for_good = core.mailbox.queue().is_closed() || !core.comes_back_after(&reason);
        core.with_rare(|rare| {
            let message_type = rare.failed_at.take();
            if for_good {
                let stuck = rare.is_stuck.then_some(StopReason::Stuck);
                rare.reason = Some(stuck.unwrap_or(reason));
            } else {
                rare.failure = Some(Failure {
                    reason,
                    message_type,
                    restarts: rare.lives.saturating_sub(1),
                });
            }
        });
        core.set_stage(if for_good {
            stage::ENDING
        } else {
            stage::FALLING
        });
    }

    /// Goes on with an actor that handles nothing now. Whether it wants another turn.
    pub(super) fn go_on_between_lives(&mut self) -> bool {
        loop {
            let next = match self.core().stage() {
                stage::FALLING => self.fall(),
                stage::DOWN => self.rest(),
                stage::ENDING => self.finish(),
                _ => {
                    self.requeue();
                    return true;
                }
            };
            match next {
                Next::Look => {}
                Next::LetGo => return false,
            }
        }
    }

    /// Ends a life that is followed by another one.
    fn fall(&mut self) -> Next {
        if !self.sees_children_off(|| Manner::Fall(StopReason::ParentEnded)) {
            return Next::LetGo;
        }
        let failure = self.core().with_rare(|rare| rare.failure.clone());
        let failure = failure.expect("a life ends for a reason");
        let reason = failure.reason.clone();
        self.end_life(&reason, "`restarting` panicked", |actor, context| {
            actor.restarting(&failure, context);
        });
        let core = self.core();
        watch::part(core, || self.context.cell().identity(), &reason);
        core.set_stage(stage::DOWN);
        self.frame.end_ending();
        tracing::debug!(target: "greenroom", actor = %core.id, %reason, "an actor is down");
        let life = failure.restarts + 1;
        self.report(Event::Down { life, failure });
        Next::Look
    }

    /// Tells the actor that its life ends, and drops it with all that belongs to it.
    fn end_life(
        &mut self,
        reason: &StopReason,
        panicked: &'static str,
        tell: impl FnOnce(&mut A, &mut crate::actor::Context<A>),
    ) {
        self.frame.begin_ending(reason);
        let mut life = self.set_life(Life::Gone);
        if let Life::Alive(actor) = &mut life {
            let told = catch_unwind(AssertUnwindSafe(|| tell(actor, self.context)));
            if let Err(payload) = told {
                self.report_panic(panicked, payload);
            }
            self.frame.settle_unwound(&Untold::of_ending(reason));
        }
        drop_quietly(life);
        self.core().cancel_timers();
    }

    /// Between two lives: obeys, or lets go until there is something to obey.
    fn rest(&mut self) -> Next {
        loop {
            let core = self.core();
            // Whoever orders it to end for good closes the mailbox first.
            if core.mailbox.queue().is_closed() {
                let reason = core.reason().expect("a mailbox is closed for a reason");
                self.begin_end(reason);
                return Next::Look;
            }
            if core.orders.standing() & REVIVE != 0 {
                // Before the order is taken, so that nobody takes the actor for down meanwhile.
                core.set_stage(stage::LIVE);
                let taken = core.orders.take();
                // One to fall came after this one, so it is for the life that begins, and so is one
                // to end for good; the others were meant for the last one.
                let is_closed = core.mailbox.queue().is_closed();
                let kept = if is_closed {
                    taken & !REVIVE
                } else {
                    taken & FALL
                };
                let _ = core.orders.add(kept);
                self.revive();
                return Next::Look;
            }
            // What else is ordered was meant for the life that has ended. One to begin the next, or
            // to end, may have come just now.
            let orders = core.orders.take_all_but_revive();
            if core.mailbox.queue().is_closed() {
                continue;
            }
            let stale = orders & (KILL | STOP | FAIL | FALL) != 0;
            if stale {
                core.orders.forget_kill();
            }
            if core.orders.hold() {
                return Next::LetGo;
            }
        }
    }

    /// Makes the actor again, or for the first time, and starts it.
    fn revive(&mut self) {
        let core = self.core();
        core.orders.forget_kill();
        let failure = core.with_rare(|rare| {
            rare.family.open();
            rare.failed = None;
            rare.lives += 1;
            rare.failure.take()
        });
        let begun = catch_unwind(AssertUnwindSafe(|| self.begin_life(failure.as_ref())));
        let reason = match begun {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(StopReason::Failed { error }),
            Err(payload) => Some(self.panicked(payload)),
        };
        let core = self.core();
        let reason = reason.or_else(|| core.with_rare(|rare| rare.failed.take()));
        if let Some(reason) = reason {
            self.begin_end(reason);
        } else {
            if core.with_rare(|rare| rare.ties.has_signals() || rare.kept.is_some()) {
                let _ = core.orders.add(SIGNALS);
            }
            if !self.context.take_starts_later() {
                self.context.report_started();
            }
        }
    }

    fn begin_life(&mut self, failure: Option<&Failure>) -> Result<(), ActorError> {
        let factory = self.core().with_rare(|rare| rare.factory.take());
        let factory = factory.expect("an actor that has many lives has a factory");
        let mut factory: Box<Factory<A>> = factory
            .downcast()
            .expect("a factory makes the actor of its own cell");
        let made = catch_unwind(AssertUnwindSafe(&mut *factory));
        self.core().with_rare(|rare| rare.factory = Some(factory));
        let actor = match made {
            Ok(made) => made?,
            Err(payload) => std::panic::resume_unwind(payload),
        };
        self.set_life(Life::Alive(actor));
        let actor = self.actor();
        // SAFETY: the runner has the actor to itself.
        let actor = unsafe { &mut *actor };
        match failure {
            None => actor.started(self.context),
            Some(failure) => actor.restarted(failure, self.context),
        }
        self.frame.settle_unwound(&Untold::Dropped);
        Ok(())
    }

    /// Stops the children, each within its time. `false`: not yet, and the actor is held.
    fn sees_children_off(&mut self, manner: impl FnOnce() -> Manner) -> bool {
        let core = self.core();
        // At once: a spawner may be used elsewhere.
        if core.with_rare(|rare| rare.family.close_if_quiet()) {
            return true;
        }
        let mut stopping = core.with_rare(|rare| rare.family.stopping(manner));
        loop {
            // They were for the life that ends, whose handler has returned.
            core.orders.take();
            let progress = stopping.go_on(core.runtime.now());
            let due = match progress {
                Progress::Over => None,
                Progress::Until(due) => due,
            };
            let timer = due.map(|due| {
                let this = Arc::downgrade(self.context.cell());
                let call = move || {
                    if let Some(cell) = this.upgrade() {
                        cell.tell(SIGNALS);
                    }
                };
                core.runtime.timers.set(due, Action::Run(Box::new(call)))
            });
            if progress == Progress::Over {
                let timer = core.with_rare(|rare| rare.family.end_stopping(&stopping.stuck));
                timer.map(|timer| core.runtime.timers.cancel(timer));
                return true;
            }
            let unneeded = core.with_rare(|rare| rare.family.go_on_later(stopping, timer));
            unneeded.map(|timer| core.runtime.timers.cancel(timer));
            if core.orders.hold() {
                return false;
            }
            stopping = core.with_rare(|rare| rare.family.stopping(|| unreachable!()));
        }
    }

    /// Turns what is queued into dead letters, and ends the actor once nothing is left.
    ///
    /// Asks for no further turn: either a sender is between its reservation and its writing,
    /// and will schedule us, or a child's end will, or the actor has ended and nobody may run it
    /// again.
    fn finish(&mut self) -> Next {
        let reason = self.core().reason().expect("an end has a reason");
        self.close(reason.clone());
        let failure = Untold::Ended(reason.clone());
        let core = self.core();
        let lose = |envelope: Envelope| {
            core.with_rare(|rare| rare.dead_lettered += 1);
            let message_type = envelope.vtable().message_type;
            envelope.discard(&failure);
            let loss = LossReason::Stopped(reason.clone());
            core.post_dead_letter(type_name::<A>(), message_type(), loss);
        };
        if let Some(kept) = core.with_rare(|rare| rare.kept.take()) {
            lose(kept.envelope);
        }
        loop {
            let queue = core.mailbox.queue();
            // SAFETY: we are the runner.
            while let Some(envelope) = unsafe { queue.take() } {
                core.taken.increment();
                lose(envelope);
            }
            // SAFETY: we are the runner.
            if unsafe { queue.is_exhausted() } {
                break;
            }
            // SAFETY: we are the runner, and no longer if it says so.
            if unsafe { queue.release() } == Released::Idle {
                return Next::LetGo;
            }
        }
        let manner = self.manner_of_ending(&reason);
        if !self.sees_children_off(|| manner) {
            return Next::LetGo;
        }
        self.end(&reason);
        Next::LetGo
    }

    fn manner_of_ending(&self, reason: &StopReason) -> Manner {
        let core = self.core();
        let deadline = core.runtime.deadline();
        match reason {
            StopReason::Shutdown if core.runtime.drains() => Manner::Drain(deadline),
            StopReason::Shutdown => Manner::Shutdown(deadline),
            _ => Manner::End(StopReason::ParentEnded),
        }
    }

    fn end(&mut self, reason: &StopReason) {
        self.end_life(reason, "`stopped` panicked", |actor, context| {
            actor.stopped(reason, context);
        });
        let core = self.core();
        core.leave_all();
        let (factory, span) = core.with_rare(|rare| (rare.factory.take(), rare.span.take()));
        drop_quietly(factory);
        drop(span);
        watch::part(core, || self.context.cell().identity(), reason);
        tracing::debug!(target: "greenroom", actor = %core.id, %reason, "an actor ended");
        let (joiners, followers) = core.with_rare(|rare| {
            core.set_stage(stage::ENDED);
            // The books are closed: nothing is accepted any more, and the runner is done. Under
            // the lock, so that who sees the end sees the totals with this actor's counts.
            let counts = core.close_books(rare.dead_lettered);
            core.runtime.dismiss(core.id, core.residence, counts);
            let followers = Followers::take(&mut rare.ties);
            (std::mem::take(&mut rare.joiners), followers)
        });
        followers.tell(core, || self.context.cell().identity(), reason);
        self.report(Event::Ended(reason.clone()));
        let mut wakes = self.frame.with_wakes(std::mem::take);
        wakes.extend(joiners.into_values());
        wakes.into_iter().for_each(wake_quietly);
        if let Some(thread) = self.context.cell().thread() {
            thread.end();
        }
    }

    /// Tells the parent, if there is one.
    fn report(&self, event: Event) {
        if let Some(kinship) = self.core().kinship() {
            kinship.parent.report(kinship.place, event);
        }
    }

    #[cold]
    fn report_panic(&self, what: &'static str, payload: Box<dyn Any + Send>) {
        tracing::error!(
            target: "greenroom",
            actor = %self.core().id,
            panic = panic_message(&*payload),
            "{what}"
        );
        forget_quietly(payload);
    }
}
