//! Moments that cost less than an [`Instant`], for figures only.
//!
//! On x86-64 a stamp is the processor's time-stamp counter (10 ns against 24 ns for an
//! `Instant`), which runs at a constant rate on all cores of the processors of the last decade.
//! How long a tick is follows from the ticks and the time since the clock was made. Where that
//! does not hold, figures are wrong, and nothing else.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "reads the time-stamp counter")
)]

use std::time::{Duration, Instant};

/// A moment, in ticks of unknown length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp(pub(super) u64);

impl Stamp {
    /// The ticks from `earlier` to this one.
    pub(crate) fn ticks_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A moment that is known in both ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    instant: Instant,
    stamp: Stamp,
}

impl Origin {
    pub(super) fn new() -> Self {
        let instant = Instant::now();
        Self {
            instant,
            stamp: Self::read(instant),
        }
    }

    #[inline]
    pub(super) fn stamp(&self) -> Stamp {
        Self::read(self.instant)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    fn read(_: Instant) -> Stamp {
        // SAFETY: every processor of this architecture has the instruction.
        Stamp(unsafe { std::arch::x86_64::_rdtsc() })
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline]
    fn read(origin: Instant) -> Stamp {
        Stamp(u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long so many ticks are, none of them older than this origin.
    pub(super) fn duration(&self, ticks: u64) -> Duration {
        let passed = self.instant.elapsed();
        let all = self.stamp().ticks_since(self.stamp).max(1);
        // Not more than all, also if the counter was set back meanwhile.
        passed.mul_f64((ticks as f64 / all as f64).min(1.0))
    }
}
