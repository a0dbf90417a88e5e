//! When the ticks of an interval are due. Plain arithmetic; knows no actors.

use std::time::{Duration, Instant};

use crate::time::later;

/// How often something is to come, for [`Context::interval`](crate::Context::interval).
///
/// A plain [`Duration`] becomes one too: a fixed rate that skips what it misses.
///
/// # Examples
///
/// ```
/// use greenroom::{Interval, MissedTicks};
/// use std::time::Duration;
///
/// let period = Duration::from_secs(1);
/// let rate = Interval::fixed_rate(period)
///     .missed_ticks(MissedTicks::Burst)
///     .first_after(Duration::ZERO);
/// assert_ne!(rate, Interval::from(period));
/// assert_eq!(Interval::fixed_rate(period), period.into());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval {
    pub(super) pace: Pace,
    first_after: Option<Duration>,
}

/// From where the periods are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// From the first tick's due time.
    Rate {
        period: Duration,
        missed_ticks: MissedTicks,
    },
    /// From the end of the last tick.
    Delay { period: Duration },
}

/// What becomes of ticks that a fixed rate has missed.
///
/// A tick is missed if it becomes due while the last one is still pending: queued, in line for a
/// full mailbox, or not even fired, since whoever fires the timers was late. A handler that runs
/// makes nothing be missed by itself: the next tick is queued meanwhile, the one after it is
/// missed. The names are those of tokio's `MissedTickBehavior`; but there a tick is missed that
/// is 5 ms late, here one that is a whole period late.
///
/// With a period of 1 s and a handler of the first tick (due at 1) that takes until 4.5, the second
/// tick is due at 2, pending until 4.5, and handled then. Those due at 3 and 4 are missed:
///
/// | policy | further ticks are handled at |
/// |---|---|
/// | `Skip` | 5, 6, 7 |
/// | `Burst` | 4.5, 4.5, 5, 6 |
/// | `Delay` | 5.5, 6.5, 7.5 |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum MissedTicks {
    /// They do not come. The next tick is due at the next multiple of the period. The default.
    #[default]
    Skip,
    /// They come one after another, each queued as soon as the last has been taken, until all
    /// have come; then at multiples of the period again. None is lost for being late.
    Burst,
    /// They do not come. The next tick is due one period after the late one was taken, and further
    /// ones count from there.
    Delay,
}

impl Interval {
    /// A tick each `period`, counted from the first, however long handlers take.
    ///
    /// Ticks do not drift: the n-th is due n periods after this interval was begun, to the
    /// nanosecond, unless [`MissedTicks::Delay`] has put it off. What is missed is skipped, if
    /// [`missed_ticks`](Self::missed_ticks) says nothing else.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    pub fn fixed_rate(period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval's period is not zero");
        let missed_ticks = MissedTicks::default();
        Self {
            pace: Pace::Rate {
                period,
                missed_ticks,
            },
            first_after: None,
        }
    }

    /// A tick `period` after the last one is over: its handler has returned, with all waits in it,
    /// or it was lost because the mailbox had no room.
    ///
    /// So ticks drift by what they take, and none is ever missed.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    pub fn fixed_delay(period: Duration) -> Self {
        assert!(!period.is_zero(), "an interval's period is not zero");
        Self {
            pace: Pace::Delay { period },
            first_after: None,
        }
    }

    /// What becomes of missed ticks. The default is [`MissedTicks::Skip`]. A fixed delay misses none,
    /// so there it changes nothing.
    #[must_use]
    pub fn missed_ticks(mut self, policy: MissedTicks) -> Self {
        match &mut self.pace {
            Pace::Rate { missed_ticks, .. } => *missed_ticks = policy,
            Pace::Delay { .. } => {}
        }
        self
    }

    /// Has the first tick come after `delay`, which may be zero. The default is one period. A fixed
    /// rate counts its periods from that tick.
    #[must_use]
    pub fn first_after(mut self, delay: Duration) -> Self {
        self.first_after = Some(delay);
        self
    }

    pub(super) fn first_delay(&self) -> Duration {
        let (Pace::Rate { period, .. } | Pace::Delay { period }) = self.pace;
        self.first_after.unwrap_or(period)
    }
}

/// A fixed rate. Panics if the period is zero.
impl From<Duration> for Interval {
    fn from(period: Duration) -> Self {
        Self::fixed_rate(period)
    }
}

impl MissedTicks {
    /// When the next tick is due that was to be due at `next`, and may be missed by `now`.
    pub(super) fn next_due(self, next: Instant, period: Duration, now: Instant) -> Instant {
        if now < next {
            return next;
        }
        match self {
            Self::Skip => {
                let rest = (now - next).as_nanos() % period.as_nanos();
                let rest = u64::try_from(rest).expect("a clock runs for some centuries");
                later(now, period - Duration::from_nanos(rest))
            }
            Self::Burst => next,
            Self::Delay => later(now, period),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [MissedTicks; 3] = [MissedTicks::Skip, MissedTicks::Burst, MissedTicks::Delay];

    #[test]
    fn a_late_tick_is_followed_by_the_one_that_its_policy_says() {
        let due = Instant::now();
        let milliseconds = Duration::from_millis;
        for (now, skip, burst, delay) in [
            (0, 10, 10, 10),
            (9, 10, 10, 10),
            (10, 20, 10, 20),
            (35, 40, 10, 45),
        ] {
            let next = ALL.map(|policy| {
                policy.next_due(
                    due + milliseconds(10),
                    milliseconds(10),
                    due + milliseconds(now),
                )
            });
            let expected = [skip, burst, delay].map(|next| due + milliseconds(next));
            assert_eq!(next, expected, "at {now}");
        }
    }

    #[test]
    fn a_skip_over_more_periods_than_fit_into_32_bits_leads_into_the_future() {
        let due = Instant::now();
        let nano = Duration::from_nanos(1);
        let now = due + Duration::from_secs(100);
        assert_eq!(MissedTicks::Skip.next_due(due, nano, now), now + nano);
    }

    /// Counts on tick by tick, as one would by hand.
    fn by_hand(policy: MissedTicks, next: u64, period: u64, now: u64) -> u64 {
        let mut due = next;
        match policy {
            MissedTicks::Skip => {
                while due <= now {
                    due += period;
                }
                due
            }
            MissedTicks::Burst => next,
            MissedTicks::Delay => {
                if due <= now {
                    due = now + period;
                }
                due
            }
        }
    }

    proptest! {
        #[test]
        fn the_next_tick_is_due_as_counted_by_hand(
            next in 0_u64..10_000,
            period in 1_u64..500,
            now in 0_u64..20_000,
            policy in prop::sample::select(ALL.to_vec()),
        ) {
            let origin = Instant::now();
            let at = |nanos| origin + Duration::from_nanos(nanos);
            let due = policy.next_due(at(next), Duration::from_nanos(period), at(now));
            prop_assert_eq!(due, at(by_hand(policy, next, period, now)));
        }
    }
}
