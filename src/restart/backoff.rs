//! How long a restart is put off.

use std::time::{Duration, Instant};

const NANOS_PER_SEC: u128 = 1_000_000_000;

/// How long a child that fails again and again is left alone before each restart.
///
/// The delay is the first one after the first failure, and grows by a factor with each further
/// one, up to a cap. A first delay of 3 s with the defaults gives delays of 3, 6, 12, 24, 30,
/// 30 s, and so on. Then jitter lengthens each by a random part of itself, so that children that
/// failed together do not all come back together; it is added after the cap. A child that did not
/// fail for long enough begins again with the first delay.
///
/// | option | default |
/// |---|---|
/// | [`factor`](Self::factor) | 2 |
/// | [`cap`](Self::cap) | 30 s, or the first delay if that is longer |
/// | [`jitter`](Self::jitter) | 0.2: each delay is up to a fifth longer |
/// | [`reset_after`](Self::reset_after) | the cap |
///
/// Delays are rounded down to a nanosecond. They are exact if the factor is a whole number and the
/// jitter is 0, and otherwise as precise as an `f64`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom::Backoff;
///
/// // Delays of 100 ms, 300 ms, 900 ms, 2 s, 2 s, each up to a tenth longer.
/// let backoff = Backoff::exponential(Duration::from_millis(100))
///     .factor(3.0)
///     .cap(Duration::from_secs(2))
///     .jitter(0.1);
/// assert_ne!(backoff, Backoff::exponential(Duration::from_millis(100)));
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[must_use]
pub struct Backoff {
    pub(super) first: Duration,
    factor: f64,
    cap: Option<Duration>,
    pub(super) jitter: f64,
    reset_after: Option<Duration>,
}

impl Backoff {
    /// The default cap, if the first delay is no longer.
    const CAP: Duration = Duration::from_secs(30);

    /// Delays that begin with `first` and grow.
    ///
    /// # Panics
    ///
    /// If `first` is zero.
    #[track_caller]
    pub fn exponential(first: Duration) -> Self {
        assert!(!first.is_zero(), "the first delay of a backoff is not zero");
        Self {
            first,
            factor: 2.0,
            cap: None,
            jitter: 0.2,
            reset_after: None,
        }
    }

    /// By what each delay is multiplied to give the next. Default: 2; with 1 all are alike.
    ///
    /// # Panics
    ///
    /// If it is no finite number of at least 1.
    #[track_caller]
    pub fn factor(mut self, factor: f64) -> Self {
        assert!(
            factor.is_finite() && factor >= 1.0,
            "the factor of a backoff is a number of at least 1, not {factor}"
        );
        self.factor = factor;
        self
    }

    /// The longest delay, before jitter. Default: 30 s, or the first delay if that is longer.
    ///
    /// # Panics
    ///
    /// If it is shorter than the first delay.
    #[track_caller]
    pub fn cap(mut self, cap: Duration) -> Self {
        assert!(
            cap >= self.first,
            "the cap of a backoff is no shorter than its first delay, {:?}, as {cap:?} is",
            self.first
        );
        self.cap = Some(cap);
        self
    }

    /// By up to which part of itself each delay is lengthened at random. Default: 0.2; with 0
    /// the delays are exact.
    ///
    /// # Panics
    ///
    /// If it is no number from 0 to 1.
    #[track_caller]
    pub fn jitter(mut self, jitter: f64) -> Self {
        assert!(
            (0.0..=1.0).contains(&jitter),
            "the jitter of a backoff is a number from 0 to 1, not {jitter}"
        );
        self.jitter = jitter;
        self
    }

    /// How long a child must have lived since its last restart for its failure to count as the
    /// first one again. Default: as long as the cap.
    ///
    /// # Panics
    ///
    /// If it is zero: each failure would be the first one.
    #[track_caller]
    pub fn reset_after(mut self, quiet: Duration) -> Self {
        assert!(
            !quiet.is_zero(),
            "the time after which a backoff begins again is not zero"
        );
        self.reset_after = Some(quiet);
        self
    }

    pub(super) fn longest(&self) -> Duration {
        self.cap.unwrap_or(Self::CAP.max(self.first))
    }

    fn quiet(&self) -> Duration {
        self.reset_after.unwrap_or(self.longest())
    }

    /// The delay before the restart after `attempt` earlier failures, from 0; `random` decides the
    /// jitter. The same arguments give the same delay, on every machine.
    pub(crate) fn delay(&self, attempt: u32, random: u64) -> Duration {
        let grown = grown(self.first.as_nanos(), self.factor, attempt);
        let capped = grown.min(self.longest().as_nanos());
        // The upper 53 bits as a number from 0 to below 1; all of them are kept.
        let part = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let more = (capped as f64 * (self.jitter * part)) as u128;
        duration(capped.saturating_add(more))
    }
}

/// `nanos * factor.powi(exponent)`, saturating; exact if the factor is a whole number.
fn grown(nanos: u128, factor: f64, exponent: u32) -> u128 {
    // Casts of floating-point numbers saturate.
    if factor.fract() == 0.0 {
        let grown = (factor as u128).saturating_pow(exponent);
        return nanos.saturating_mul(grown);
    }
    // By multiplications only, since the standard library's powers may differ between machines.
    let (mut power, mut square, mut left) = (1.0, factor, exponent);
    while left > 0 {
        if left & 1 == 1 {
            power *= square;
        }
        square *= square;
        left >>= 1;
    }
    // Only the growth is rounded, so it is never below the first delay.
    nanos.saturating_add((nanos as f64 * (power - 1.0)) as u128)
}

fn duration(nanos: u128) -> Duration {
    match u64::try_from(nanos / NANOS_PER_SEC) {
        // The remainder is below a second.
        Ok(secs) => Duration::new(secs, (nanos % NANOS_PER_SEC) as u32),
        Err(_) => Duration::MAX,
    }
}

/// How often a child has failed of late.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Attempts {
    failures: u32,
    /// When it was started again, if it has not failed since.
    restarted: Option<Instant>,
}

impl Attempts {
    /// Notes that the child failed, or could not be started; how many failures came before this
    /// one, which is the attempt that [`Backoff::delay`] asks for.
    pub(crate) fn failed(&mut self, backoff: &Backoff, now: Instant) -> u32 {
        let lived = self.restarted.take();
        let lived = lived.map(|restarted| now.saturating_duration_since(restarted));
        if lived.is_some_and(|lived| lived >= backoff.quiet()) {
            self.failures = 0;
        }
        let before = self.failures;
        self.failures = before.saturating_add(1);
        before
    }

    /// Notes that the child was started again.
    pub(crate) fn restarted(&mut self, now: Instant) {
        self.restarted = Some(now);
    }
}
