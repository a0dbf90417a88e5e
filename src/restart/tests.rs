//! The restart decisions against plain models of them.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::Strategy::{self, *};
use super::{Attempts, AutoShutdown, Backoff, End, History, Intensity, Restart, StopTimeout};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 1000,
        // A failure prints its input and its seed.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

// Who is started again.

#[test]
fn who_is_started_again_is_as_in_otp() {
    // Of four children the one at each place fails.
    for (strategy, restarted) in [
        (OneForOne, ["0", "1", "2", "3"]),
        (OneForAll, ["0123", "0123", "0123", "0123"]),
        (RestForOne, ["0123", "123", "23", "3"]),
        (Dynamic, ["0", "1", "2", "3"]),
    ] {
        for (failed, expected) in restarted.into_iter().enumerate() {
            let affected: String = strategy
                .affected(failed, 4)
                .map(|child| child.to_string())
                .collect();
            assert_eq!(affected, expected, "{strategy:?}, {failed} failed");
        }
    }
}

#[test]
#[should_panic = "a failed child is one of the children"]
fn only_a_child_fails() {
    OneForOne.affected(4, 4);
}

#[test]
fn when_a_child_is_started_again_is_as_in_otp() {
    for (restart, normal, abnormal, with_sibling) in [
        (Restart::Permanent, true, true, true),
        (Restart::Transient, false, true, true),
        (Restart::Temporary, false, false, false),
    ] {
        assert_eq!(restart.is_restarted(End::Normal), normal, "{restart:?}");
        assert_eq!(restart.is_restarted(End::Abnormal), abnormal, "{restart:?}");
        assert_eq!(
            restart.is_restarted(End::WithSibling),
            with_sibling,
            "{restart:?}"
        );
    }
}

#[test]
fn the_defaults_are_those_of_otp() {
    assert_eq!(Strategy::default(), OneForOne);
    assert_eq!(Restart::default(), Restart::Permanent);
    assert_eq!(StopTimeout::default(), StopTimeout::After(secs(5)));
    assert_eq!(AutoShutdown::default(), AutoShutdown::Never);
    assert_eq!(Intensity::default(), Intensity::new(1, secs(5)));
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn affected_children_are_the_failed_one_and_a_run_of_children(
        children in 1..100_usize,
        failed in any::<prop::sample::Index>(),
        strategy in prop::sample::select(vec![OneForOne, OneForAll, RestForOne, Dynamic]),
    ) {
        let failed = failed.index(children);
        let affected: Vec<_> = strategy.affected(failed, children).collect();
        let expected: Vec<_> = (0..children)
            .filter(|&child| match strategy {
                OneForAll => true,
                RestForOne => child >= failed,
                OneForOne | Dynamic => child == failed,
            })
            .collect();
        prop_assert_eq!(affected, expected);
    }
}

// Intensity.

/// Whether a restart now is allowed after these earlier ones, by counting all of them.
fn is_allowed(earlier: &[Instant], intensity: Intensity, now: Instant) -> bool {
    let counted = earlier
        .iter()
        .filter(|moment| now.duration_since(**moment) <= intensity.within())
        .count();
    counted < intensity.restarts() as usize
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_window_allows_what_a_count_of_all_moments_allows(
        restarts in 0..6_u32,
        within in 0..12_u64,
        // Whole seconds, so that the edge of the window is hit; many at one moment.
        pauses in prop::collection::vec(prop_oneof![Just(0_u64), 0..8_u64], 0..60),
    ) {
        let intensity = Intensity::new(restarts, secs(within));
        let mut history = History::default();
        let mut moments = Vec::new();
        let mut now = Instant::now();
        for pause in pauses {
            now += secs(pause);
            let expected = is_allowed(&moments, intensity, now);
            prop_assert_eq!(history.record(intensity, now), expected);
            prop_assert!(history.moments.len() <= restarts as usize + 1);
            moments.push(now);
        }
    }
}

#[test]
fn a_restart_counts_until_its_age_exceeds_the_window() {
    let intensity = Intensity::new(1, secs(5));
    let start = Instant::now();
    let second_at = |age| {
        let mut history = History::default();
        assert!(history.record(intensity, start));
        history.record(intensity, start + age)
    };
    assert!(!second_at(secs(0)));
    assert!(!second_at(secs(5)));
    assert!(second_at(secs(5) + Duration::from_nanos(1)));
}

#[test]
fn no_restart_is_allowed_if_the_intensity_is_0() {
    let mut history = History::default();
    for _ in 0..3 {
        assert!(!history.record(Intensity::new(0, secs(5)), Instant::now()));
    }
    assert_eq!(history.moments.len(), 1);
}

#[test]
fn unlimited_restarts_are_allowed_and_not_remembered() {
    let mut history = History::default();
    let now = Instant::now();
    assert!((0..100_000).all(|_| history.record(Intensity::UNLIMITED, now)));
    assert_eq!(history.moments.len(), 0);
}

#[test]
fn a_moment_before_the_last_one_is_taken_for_the_last_one() {
    let intensity = Intensity::new(2, secs(5));
    let start = Instant::now();
    let mut history = History::default();
    assert!(history.record(intensity, start + secs(9)));
    assert!(history.record(intensity, start));
    assert!(!history.record(intensity, start + secs(14)));
    assert!(history.record(intensity, start + secs(20)));
}

// Backoff.

#[test]
fn the_delays_are_those_of_the_docs() {
    let delays = |backoff: Backoff| -> Vec<u128> {
        let delay = |attempt| backoff.delay(attempt, u64::MAX).as_millis();
        (0..6).map(delay).collect()
    };
    let exact = Backoff::exponential(secs(3)).jitter(0.0);
    assert_eq!(
        delays(exact),
        [3_000, 6_000, 12_000, 24_000, 30_000, 30_000]
    );
    let other = Backoff::exponential(Duration::from_millis(100))
        .factor(3.0)
        .cap(secs(2));
    assert_eq!(
        delays(other.jitter(0.0)),
        [100, 300, 900, 2_000, 2_000, 2_000]
    );
    assert_eq!(delays(other.factor(1.0).jitter(0.0)), [100; 6]);
    // Half as long again, by a draw next to 1.
    assert_eq!(
        delays(other.jitter(0.5)),
        [149, 449, 1_349, 2_999, 2_999, 2_999]
    );
    assert_eq!(other.jitter(0.5).delay(0, 0).as_millis(), 100);
    // A draw of exactly a half: by default a tenth longer.
    let default = Backoff::exponential(secs(10));
    assert_eq!(default.delay(0, 1 << 63), secs(11));
    // A first delay beyond the default cap is the cap.
    let long = Backoff::exponential(secs(60)).jitter(0.0);
    assert_eq!(delays(long), [60_000; 6]);
}

#[test]
fn a_delay_never_overflows() {
    for factor in [1.0, 1.000_000_1, 1.5, 2.0, 1e300, f64::MAX] {
        for jitter in [0.0, 0.3, 1.0] {
            let longest = Backoff::exponential(Duration::from_nanos(1))
                .factor(factor)
                .cap(Duration::MAX)
                .jitter(jitter);
            for random in [0, 1, u64::MAX] {
                if factor > 1.000_001 {
                    assert_eq!(longest.delay(u32::MAX, random), Duration::MAX, "{factor}");
                }
                let at_once = Backoff::exponential(Duration::MAX).jitter(jitter);
                assert_eq!(at_once.delay(0, random), Duration::MAX);
            }
        }
    }
}

fn backoffs() -> impl proptest::strategy::Strategy<Value = Backoff> {
    let nanos = prop_oneof![1..1_000_u64, 1..u64::MAX];
    let factors = prop_oneof![1.0..1.1, 1.0..100.0, Just(2.0), 1.0..f64::MAX];
    let caps = prop::option::of(any::<u64>());
    (nanos, factors, caps, 0.0..=1.0).prop_map(|(first, factor, cap, jitter)| {
        let first = Duration::from_nanos(first);
        let backoff = Backoff::exponential(first).factor(factor).jitter(jitter);
        match cap {
            Some(more) => backoff.cap(first.saturating_add(Duration::from_nanos(more))),
            None => backoff,
        }
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn delays_grow_from_the_first_to_the_cap(
        backoff in backoffs(),
        attempt in prop_oneof![0..20_u32, any::<u32>()],
    ) {
        let exact = backoff.jitter(0.0);
        let delay = exact.delay(attempt, 0);
        prop_assert_eq!(exact.delay(0, 0), exact.first);
        prop_assert!(exact.first <= delay && delay <= exact.longest());
        prop_assert!(delay <= exact.delay(attempt.saturating_add(1), 0));
    }

    #[test]
    fn a_whole_factor_is_exact(
        first in 1..u64::MAX,
        factor in 1..1_000_u64,
        attempt in 0..40_u32,
    ) {
        // As a plain loop in whole nanoseconds.
        let longest = Duration::MAX.as_nanos();
        let mut expected = u128::from(first);
        for _ in 0..attempt {
            expected = expected.saturating_mul(u128::from(factor)).min(longest);
        }
        let backoff = Backoff::exponential(Duration::from_nanos(first))
            .factor(factor as f64)
            .cap(Duration::MAX)
            .jitter(0.0);
        prop_assert_eq!(backoff.delay(attempt, 0).as_nanos(), expected);
    }

    #[test]
    fn jitter_only_lengthens_and_by_at_most_its_part(
        backoff in backoffs(),
        attempt in 0..20_u32,
        random in any::<u64>(),
    ) {
        let exact = backoff.jitter(0.0).delay(attempt, random);
        let delay = backoff.delay(attempt, random);
        prop_assert!(exact <= delay);
        // A nanosecond, and what an `f64` cannot tell apart.
        let most = exact.as_nanos() as f64 * (1.0 + backoff.jitter) * (1.0 + 1e-9) + 1.0;
        prop_assert!(delay.as_nanos() as f64 <= most);
        prop_assert!(delay <= backoff.delay(attempt, random | 1 << 63));
    }

    #[test]
    fn a_failure_counts_from_the_first_again_after_a_quiet_time(
        quiet in 1..10_u64,
        // Until the next failure, and whether it was started again before.
        steps in prop::collection::vec((0..20_u64, any::<bool>()), 0..60),
    ) {
        let backoff = Backoff::exponential(secs(1)).reset_after(secs(quiet));
        let mut attempts = Attempts::default();
        let mut now = Instant::now();
        let mut expected = 0;
        for (lived, starts) in steps {
            if starts {
                attempts.restarted(now);
                if lived >= quiet {
                    expected = 0;
                }
            }
            now += secs(lived);
            prop_assert_eq!(attempts.failed(&backoff, now), expected);
            expected += 1;
        }
    }
}

#[test]
fn the_quiet_time_is_the_cap_by_default() {
    let failed_after = |backoff: Backoff, lived| {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        assert_eq!(attempts.failed(&backoff, start), 0);
        attempts.restarted(start);
        attempts.failed(&backoff, start + lived)
    };
    let just_below = |limit| limit - Duration::from_nanos(1);
    for (backoff, cap) in [
        (Backoff::exponential(secs(3)), secs(30)),
        (Backoff::exponential(secs(3)).cap(secs(7)), secs(7)),
        (Backoff::exponential(secs(60)), secs(60)),
    ] {
        assert_eq!(failed_after(backoff, just_below(cap)), 1);
        assert_eq!(failed_after(backoff, cap), 0);
    }
}

#[test]
fn nonsense_is_refused_at_set_up() {
    let second = Backoff::exponential(secs(1));
    let refused: [(&str, &dyn Fn() -> Backoff); 10] = [
        ("first 0", &|| Backoff::exponential(Duration::ZERO)),
        ("factor NaN", &|| second.factor(f64::NAN)),
        ("factor infinite", &|| second.factor(f64::INFINITY)),
        ("factor 0.9", &|| second.factor(0.9)),
        ("factor -2", &|| second.factor(-2.0)),
        ("cap below first", &|| {
            second.cap(Duration::from_millis(999))
        }),
        ("jitter NaN", &|| second.jitter(f64::NAN)),
        ("jitter -0.1", &|| second.jitter(-0.1)),
        ("jitter 1.1", &|| second.jitter(1.1)),
        ("reset after 0", &|| second.reset_after(Duration::ZERO)),
    ];
    for (what, make) in refused {
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make));
        assert!(made.is_err(), "{what} is taken");
    }
}
