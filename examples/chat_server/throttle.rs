//! How fast a client may send lines: a burst, then a steady rate.
//!
//! A client over its rate is not refused anything. It is handled later, and since its session
//! takes no new lines meanwhile, the network slows it down.

use std::time::{Duration, Instant};

/// The rate of one client.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// The time that one line uses up. Zero is no limit.
    per_line: Duration,
    /// The time that may be used up in advance.
    burst: Duration,
    /// The time that is used up.
    used_until: Instant,
}

impl Throttle {
    /// Allows `burst_lines` at once from `now` on and then `rate` lines a second. A rate of 0 is
    /// no limit.
    pub(crate) fn new(burst_lines: u32, rate: u32, now: Instant) -> Self {
        let per_line = Duration::from_secs(1)
            .checked_div(rate)
            .unwrap_or(Duration::ZERO);
        Self {
            per_line,
            burst: per_line.saturating_mul(burst_lines),
            used_until: now,
        }
    }

    /// Counts one line and returns how long to wait before it is handled.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        self.used_until = self.used_until.max(now) + self.per_line;
        self.used_until
            .saturating_duration_since(now)
            .saturating_sub(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let mut now = Instant::now();
        let mut throttle = Throttle::new(3, 10, now);
        for _ in 0..3 {
            assert_eq!(throttle.take(now), Duration::ZERO);
        }
        for _ in 0..50 {
            let wait = throttle.take(now);
            assert_eq!(wait, Duration::from_millis(100));
            now += wait;
        }
    }

    #[test]
    fn silence_earns_the_burst_back_and_not_more() {
        let start = Instant::now();
        let mut throttle = Throttle::new(2, 1, start);
        assert_eq!(throttle.take(start), Duration::ZERO);
        assert_eq!(throttle.take(start), Duration::ZERO);
        let later = start + Duration::from_secs(100);
        assert_eq!(throttle.take(later), Duration::ZERO);
        assert_eq!(throttle.take(later), Duration::ZERO);
        assert_eq!(throttle.take(later), Duration::from_secs(1));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let now = Instant::now();
        let mut throttle = Throttle::new(1, 0, now);
        assert!((0..1000).all(|_| throttle.take(now).is_zero()));
    }
}
