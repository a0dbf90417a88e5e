//! The clock that everything in a system asks, and its timers.
//!
//! Nothing else in the crate reads the time. A system's clock is the machine's monotonic one,
//! or one that a test moves by hand.

mod due_queue;
mod stamp;
mod timers;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use stamp::Origin;
pub(crate) use stamp::Stamp;
pub(crate) use timers::{Action, Fire, TimerKey, Timers, thread_number};

use crate::sync::{AtomicU64, Mutex, Ordering::AcqRel, Ordering::Acquire};

/// What a system's time is.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// The machine's monotonic clock.
    Machine(Origin),
    /// A clock moved by hand.
    Manual(ManualClock),
}

impl Clock {
    pub(crate) fn machine() -> Self {
        Self::Machine(Origin::new())
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Machine(_) => Instant::now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// The moment, for figures.
    #[inline]
    pub(crate) fn stamp(&self) -> Stamp {
        match self {
            Self::Machine(origin) => origin.stamp(),
            Self::Manual(clock) => Stamp(clock.nanos()),
        }
    }

    /// How long so many ticks of this clock's stamps are.
    pub(crate) fn duration(&self, ticks: u64) -> Duration {
        match self {
            Self::Machine(origin) => origin.duration(ticks),
            Self::Manual(_) => Duration::from_nanos(ticks),
        }
    }
}

/// `delay` after `moment`; a sum beyond the calendar becomes a moment some decades away.
pub(crate) fn later(moment: Instant, delay: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    moment
        .checked_add(delay.min(FOREVER))
        .expect("thirty years can be added to a moment")
}

/// A clock that stands still until it is moved.
///
/// Handed to [`SystemBuilder::clock`](crate::SystemBuilder::clock), it decides about all time
/// of that system: sleeps, deadlines, timers. A clone is the same clock.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom::testkit::ManualClock;
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now() - before, Duration::from_secs(3600));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

#[derive(Debug)]
struct Manual {
    origin: Instant,
    /// Nanoseconds since `origin`.
    passed: AtomicU64,
    /// The timers of the systems that ask this clock.
    timers: Mutex<Vec<Weak<Timers>>>,
}

impl ManualClock {
    /// A new clock, which stands at some moment.
    pub fn new() -> Self {
        Self(Arc::new(Manual {
            origin: Instant::now(),
            passed: AtomicU64::new(0),
            timers: Mutex::new(Vec::new()),
        }))
    }

    /// The moment at which the clock stands.
    pub fn now(&self) -> Instant {
        self.0.origin + Duration::from_nanos(self.nanos())
    }

    fn nanos(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `move_to`: who sees the new time sees what
        // the mover did before.
        self.0.passed.load(Acquire)
    }

    /// Moves the clock on by `step` and fires what is due, in order of the due times.
    ///
    /// While a timer fires the clock stands at its due time. Returns when all have fired; what
    /// they woke runs on its own executor.
    pub fn advance(&self, step: Duration) {
        let target = later(self.now(), step);
        while let Some(due) = self.next_due().filter(|due| *due <= target) {
            self.move_to(due);
        }
        self.move_to(target);
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.with_timers(|timers| timers.filter_map(|timers| timers.next_due()).min())
    }

    /// Moves the clock on to `moment` and fires what is due by then.
    pub(crate) fn move_to(&self, moment: Instant) {
        let passed = moment.saturating_duration_since(self.0.origin);
        let passed = u64::try_from(passed.as_nanos()).expect("a clock runs for some centuries");
        // ORDERING: Release pairs with the Acquire in `now`.
        self.0.passed.fetch_max(passed, AcqRel);
        let now = self.now();
        let due = self.with_timers(|timers| timers.collect::<Vec<_>>());
        due.iter().for_each(|timers| timers.fire_due(now));
    }

    pub(crate) fn attach(&self, timers: &Arc<Timers>) {
        let mut attached = self.0.timers.lock();
        attached.retain(|timers| timers.strong_count() > 0);
        attached.push(Arc::downgrade(timers));
    }

    fn with_timers<R>(&self, f: impl FnOnce(&mut dyn Iterator<Item = Arc<Timers>>) -> R) -> R {
        f(&mut self.0.timers.lock().iter().filter_map(Weak::upgrade))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
