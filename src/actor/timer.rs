//! Messages that an actor sends to itself later.

use std::fmt;
use std::sync::Arc;
use std::sync::Weak;
use std::time::{Duration, Instant};

use super::cell::{Cell, Target};
use super::envelope::{Envelope, PendingTick};
use super::{Actor, DeferredHandler};
use crate::sync::Mutex;
use crate::time::{Action, TimerKey, Timers, later};
use crate::unwind::run_quietly;

/// A message or messages to come. Dropping this value does not cancel them.
///
/// They end with the actor by themselves.
#[derive(Clone)]
pub struct Timer(Arc<Shared>);

struct Shared {
    timers: Arc<Timers>,
    /// The actor, which keeps its timers' keys to cancel them at its end.
    owner: Weak<dyn Target>,
    state: Mutex<State>,
}

enum State {
    Set(TimerKey),
    /// Due, or not set yet; an interval sets it again. Until then the actor keeps the old key, if
    /// there was one, and its end takes that away.
    Firing(Option<TimerKey>),
    Over,
}

/// What comes after a timer has fired.
#[derive(Clone, Copy)]
enum Then {
    Over,
    /// It is set again.
    Again,
}

impl Timer {
    fn new<A: Actor>(cell: &Arc<Cell<A>>) -> Self {
        let owner: Weak<Cell<A>> = Arc::downgrade(cell);
        Self(Arc::new(Shared {
            timers: cell.core().runtime.timers.clone(),
            owner,
            state: Mutex::new(State::Firing(None)),
        }))
    }

    /// Lets nothing come any more. A message that is queued already is not taken back.
    ///
    /// Returns whether anything was still to come, and now does not.
    pub fn cancel(&self) -> bool {
        // Whoever takes the key out of the state decides: we, or the thread that fires.
        let state = std::mem::replace(&mut *self.0.state.lock(), State::Over);
        match state {
            State::Set(key) => {
                self.0.timers.cancel(key);
                // An actor that has ended has no timers: its end has cancelled this one.
                let owner = self.0.owner.upgrade();
                owner.is_some_and(|owner| owner.forget_timer(key))
            }
            State::Firing(key) => {
                let owner = key.and_then(|key| Some((key, self.0.owner.upgrade()?)));
                owner.is_none_or(|(key, owner)| owner.forget_timer(key))
            }
            State::Over => false,
        }
    }

    /// Has `fire` called at `due`, unless the timer is cancelled or this life of its actor ends.
    fn set<A: Actor>(
        &self,
        cell: &Arc<Cell<A>>,
        due: Instant,
        then: Then,
        fire: impl FnOnce(&Arc<Cell<A>>) + Send + 'static,
    ) {
        let mut state = self.0.state.lock();
        let State::Firing(last) = *state else {
            return;
        };
        let this = self.clone();
        let weak = Arc::downgrade(cell);
        let action = Action::Run(Box::new(move || this.fire(&weak, then, fire)));
        let key = self.0.timers.set(due, action);
        let goes_on = cell.core().with_rare(|rare| {
            let goes_on = last.is_none_or(|last| rare.timers.remove(&last));
            goes_on && rare.timers.insert(key)
        });
        *state = if goes_on {
            State::Set(key)
        } else {
            State::Over
        };
        drop(state);
        if !goes_on {
            self.0.timers.cancel(key);
        }
    }

    fn fire<A: Actor>(&self, cell: &Weak<Cell<A>>, then: Then, fire: impl FnOnce(&Arc<Cell<A>>)) {
        let key = {
            let mut state = self.0.state.lock();
            let State::Set(key) = *state else {
                // Cancelled in the last moment.
                return;
            };
            *state = match then {
                Then::Over => State::Over,
                Then::Again => State::Firing(Some(key)),
            };
            key
        };
        let cell = cell.upgrade();
        let cell = cell.filter(|cell| {
            // The end of a life has taken the keys of its timers.
            let is_of_this_life = cell.core().with_rare(|rare| match then {
                Then::Over => rare.timers.remove(&key),
                Then::Again => rare.timers.contains(&key),
            });
            is_of_this_life && !cell.core().mailbox.queue().is_closed()
        });
        match cell {
            Some(cell) => fire(&cell),
            None => *self.0.state.lock() = State::Over,
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match *self.0.state.lock() {
            State::Set(_) | State::Firing(_) => "set",
            State::Over => "over",
        };
        f.debug_tuple("Timer").field(&state).finish()
    }
}

pub(super) fn send_after<A, M>(cell: &Arc<Cell<A>>, delay: Duration, message: M) -> Timer
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    let runtime = &cell.core().runtime;
    let timer = Timer::new(cell);
    timer.set(cell, later(runtime.now(), delay), Then::Over, |cell| {
        cell.deliver(Envelope::new::<A, M>(message, None));
    });
    timer
}

pub(super) fn interval<A, M>(
    cell: &Arc<Cell<A>>,
    period: Duration,
    make: impl FnMut() -> M + Send + 'static,
) -> Timer
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    assert!(!period.is_zero(), "an interval's period is not zero");
    let runtime = &cell.core().runtime;
    let timer = Timer::new(cell);
    let interval = Interval {
        timer: timer.clone(),
        due: later(runtime.now(), period),
        period,
        pending: Arc::default(),
        make,
        message: std::marker::PhantomData,
    };
    interval.set(cell);
    timer
}

struct Interval<F, M> {
    timer: Timer,
    due: Instant,
    period: Duration,
    pending: Arc<std::sync::atomic::AtomicBool>,
    make: F,
    message: std::marker::PhantomData<fn() -> M>,
}

impl<F: FnMut() -> M + Send + 'static, M: Send + 'static> Interval<F, M> {
    fn set<A: DeferredHandler<M>>(self, cell: &Arc<Cell<A>>) {
        let timer = self.timer.clone();
        timer.set(cell, self.due, Then::Again, move |cell| self.fire(cell));
    }

    fn fire<A: DeferredHandler<M>>(mut self, cell: &Arc<Cell<A>>) {
        if let Some(tick) = PendingTick::begin(&self.pending) {
            let made = run_quietly("the closure that makes a timer's message", &mut self.make);
            let Some(message) = made else {
                self.timer.cancel();
                return;
            };
            cell.deliver(Envelope::tick::<A, M>(message, tick));
        }
        self.due = next_due(self.due, self.period, cell.core().runtime.now());
        self.set(cell);
    }
}

/// The first multiple of `period` after `due` that lies in the future.
fn next_due(due: Instant, period: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due);
    let missed = late.as_nanos() / period.as_nanos();
    let missed = u32::try_from(missed).unwrap_or(u32::MAX - 1);
    later(due, period.saturating_mul(missed + 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_late_interval_skips_to_the_next_multiple_of_its_period() {
        let due = Instant::now();
        let period = Duration::from_millis(10);
        for (late, next) in [(0, 10), (9, 10), (10, 20), (35, 40)] {
            let now = due + Duration::from_millis(late);
            assert_eq!(
                next_due(due, period, now),
                due + Duration::from_millis(next)
            );
        }
    }
}
