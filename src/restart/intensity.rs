//! How many restarts are too many.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many restarts a supervisor allows within a time before it gives up.
///
/// The default is 1 restart within 5 s. The time is a sliding window: a restart counts until more
/// than this time has passed since; one that is exactly as old still counts. So with the default,
/// restarts every 5 s are too many and restarts every 5.001 s are not.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom::Intensity;
///
/// let intensity = Intensity::new(3, Duration::from_secs(60));
/// assert_eq!(intensity.restarts(), 3);
/// assert_eq!(Intensity::default(), Intensity::new(1, Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Intensity {
    restarts: u32,
    within: Duration,
}

impl Intensity {
    /// Any number of restarts.
    pub const UNLIMITED: Self = Self::new(u32::MAX, Duration::ZERO);

    /// At most `restarts` restarts within this time. With 0, none is allowed; `u32::MAX` is no
    /// limit, whatever the time.
    pub const fn new(restarts: u32, within: Duration) -> Self {
        Self { restarts, within }
    }

    /// How many restarts are allowed.
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The time within which they are counted.
    pub const fn within(&self) -> Duration {
        self.within
    }
}

impl Default for Intensity {
    fn default() -> Self {
        Self::new(1, Duration::from_secs(5))
    }
}

/// The restarts that may still count. It keeps at most one more than are allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// In order; the oldest first.
    pub(super) moments: VecDeque<Instant>,
}

impl History {
    /// Notes a restart that is due now; whether it is still allowed.
    ///
    /// A moment before the last one is taken for the last one. The intensity is the same at each
    /// call.
    pub(crate) fn record(&mut self, intensity: Intensity, now: Instant) -> bool {
        if intensity.restarts == u32::MAX {
            return true;
        }
        let now = self.moments.back().map_or(now, |last| now.max(*last));
        let counts = |moment: &Instant| now.duration_since(*moment) <= intensity.within;
        while self.moments.front().is_some_and(|oldest| !counts(oldest)) {
            self.moments.pop_front();
        }
        let allowed = intensity.restarts as usize;
        // The oldest one is not needed to know that there are too many.
        if self.moments.len() > allowed {
            self.moments.pop_front();
        }
        self.moments.push_back(now);
        self.moments.len() <= allowed
    }
}
