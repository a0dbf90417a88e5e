//! Messages that an actor sends to itself later.
//!
//! `timer/entry.rs` has the states of a timer and the argument why a cancelled one is silent;
//! `timer/interval.rs` says when ticks are due, `timer/idle.rs` when an actor is idle, `timer/own.rs`
//! is an actor's list of its timers.
//! What is due when, and the thread that fires it, is left to [`crate::time`].

mod entry;
mod idle;
mod interval;
mod own;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::DeferredHandler;
use super::cell::Cell;
use super::core::Core;
use crate::sync::Ordering::Relaxed;
use crate::time::later;
use entry::Rule;
pub(super) use entry::{Entry, InHand};
pub use interval::{Interval, MissedTicks};
pub(super) use own::OwnTimers;

/// What is known of a timer whose message's type is not known.
trait Set: Send + Sync {
    /// Ends it; `false` if it was over.
    fn cancel(&self) -> bool;
    fn is_over(&self) -> bool;
    /// A turn of its actor, which has this core, ends with nothing left to handle.
    fn note_rest(self: Arc<Self>, core: &Core);
}

/// A message or messages to come. Dropping this value does not cancel them.
///
/// They end with the actor by themselves; this value does not keep it, nor its memory.
#[derive(Clone)]
pub struct Timer(Arc<dyn Set>);

impl Timer {
    /// Lets nothing come any more, and returns whether anything was still to come.
    ///
    /// After `true` the actor handles no message of this timer any more, also none that is
    /// queued already: its value is dropped here, its place in the mailbox is free when its turn
    /// would have come, and it is counted as [`cancelled`](crate::Counts::cancelled) then. `false`
    /// means that the only message has begun to be handled or was lost, that the timer was
    /// cancelled before, or that its actor has ended. A tick of an interval whose handler runs is
    /// not interrupted.
    ///
    /// What the timer holds, a message or a closure, is dropped before this returns, unless the
    /// closure runs at this moment; then by the thread that runs it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, Timer, testkit::Stepper};
    /// use std::time::Duration;
    ///
    /// /// Rings unless somebody comes in time.
    /// #[derive(Default)]
    /// struct Alarm { timer: Option<Timer>, rung: bool }
    ///
    /// struct Ring;
    /// struct Come;
    /// struct HasRung;
    ///
    /// impl Actor for Alarm {
    ///     fn started(&mut self, ctx: &mut Context<Self>) {
    ///         self.timer = Some(ctx.send_after(Duration::from_secs(60), Ring));
    ///     }
    /// }
    /// impl Handler<Ring> for Alarm {
    ///     type Reply = ();
    ///     fn handle(&mut self, _: Ring, _: &mut Context<Self>) {
    ///         self.rung = true;
    ///     }
    /// }
    /// impl Handler<Come> for Alarm {
    ///     type Reply = bool;
    ///     fn handle(&mut self, _: Come, _: &mut Context<Self>) -> bool {
    ///         self.timer.take().is_some_and(|timer| timer.cancel())
    ///     }
    /// }
    /// impl Handler<HasRung> for Alarm {
    ///     type Reply = bool;
    ///     fn handle(&mut self, _: HasRung, _: &mut Context<Self>) -> bool {
    ///         self.rung
    ///     }
    /// }
    ///
    /// let stepper = Stepper::new(1);
    /// let alarm = stepper.system().spawn(Alarm::default());
    /// stepper.advance(Duration::from_secs(59));
    /// assert!(alarm.ask(Come).wait()?);
    /// stepper.advance(Duration::from_secs(3600));
    /// assert!(!alarm.ask(HasRung).wait()?);
    /// # Ok::<(), greenroom::AskError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.0.is_over() { "over" } else { "set" };
        f.debug_tuple("Timer")
            .field(&format_args!("{state}"))
            .finish()
    }
}

impl Core {
    /// Ends all timers of the actor, with what they have queued. For its runner, when it handles
    /// no message of theirs any more. Drops what they hold, so no lock may be held.
    pub(super) fn cancel_timers(&self) {
        // ORDERING: Relaxed: the runner's own hint.
        self.watches_rest.store(false, Relaxed);
        let own = self.rare.lock().as_mut().map(|rare| rare.timers.take());
        for timer in own.into_iter().flatten() {
            timer.cancel();
        }
    }
}

pub(super) fn send_at<A, M>(cell: &Arc<Cell<A>>, due: Instant, message: M) -> Timer
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    let farthest = later(cell.core().runtime.now(), Duration::MAX);
    Timer(Entry::once(cell, due.min(farthest), message))
}

pub(super) fn send_after<A, M>(cell: &Arc<Cell<A>>, delay: Duration, message: M) -> Timer
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    let due = later(cell.core().runtime.now(), delay);
    Timer(Entry::once(cell, due, message))
}

pub(super) fn interval<A, M>(
    cell: &Arc<Cell<A>>,
    interval: Interval,
    make: impl FnMut() -> M + Send + 'static,
) -> Timer
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    let first = later(cell.core().runtime.now(), interval.first_delay());
    let rule = Rule::of(interval, first);
    Timer(Entry::repeated(cell, Some(first), rule, Box::new(make)))
}

/// Sets the actor's idle timeout in the place of the one it has.
pub(super) fn set_idle_timeout<A, M>(
    cell: &Arc<Cell<A>>,
    limit: Duration,
    make: impl FnMut() -> M + Send + 'static,
) where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    assert!(!limit.is_zero(), "an idle timeout is not zero");
    let core = cell.core();
    clear_idle_timeout(core);
    // It is armed at the end of the turn in hand.
    let entry = Entry::repeated(cell, None, Rule::idle(limit), Box::new(make));
    core.with_rare(|rare| rare.timers.watch_rest(entry));
    // ORDERING: Relaxed: the runner's own hint.
    core.watches_rest.store(true, Relaxed);
}

/// Ends the actor's idle timeout; `false` if it has none.
pub(super) fn clear_idle_timeout(core: &Core) -> bool {
    // ORDERING: Relaxed: the runner's own hint.
    core.watches_rest.store(false, Relaxed);
    let watch = core
        .rare
        .lock()
        .as_mut()
        .and_then(|rare| rare.timers.unwatch_rest());
    watch.is_some_and(|watch| watch.cancel())
}

/// The actor's turn ends with nothing left to handle; called by its runner, which still has the
/// claim, if [`Core::watches_rest`] says that somebody cares.
#[cold]
pub(super) fn note_rest(core: &Core) {
    let watch = core
        .rare
        .lock()
        .as_ref()
        .and_then(|rare| rare.timers.rest_watch());
    if let Some(watch) = watch {
        watch.note_rest(core);
    }
}
