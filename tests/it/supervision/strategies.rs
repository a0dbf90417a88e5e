//! OTP's rules: who is started again with whom, in which order, when, and how often.

use std::any::type_name;
use std::time::{Duration, Instant};

use greenroom::testkit::Stepper;
use greenroom::{Addr, AutoShutdown, Backoff, Intensity, Strategy};

use super::*;
use crate::support::{end_of, under_seed, under_seeds};

const SECOND: Duration = Duration::from_secs(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

/// What can become of a child.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Panic,
    Fail,
    Stop,
    Kill,
    Drain,
    Linked,
}

use Fate::{Drain, Fail, Kill, Linked, Panic, Stop};

fn befall(stepper: &Stepper, child: &Addr<Member>, fate: Fate) {
    match fate {
        Panic => drop(child.try_send(to_panic())),
        Fail => drop(child.try_send(to_fail())),
        Stop => child.stop(),
        Kill => child.kill(),
        Drain => child.drain(),
        Linked => {
            let other = stepper.system().spawn(Member::new("x", &Diary::default()));
            let with = other.clone();
            let linking = child.ask(to(move |_, ctx| ctx.link(&with)));
            linking.wait().expect("the child lives");
            other.kill();
        }
    }
    stepper.run();
}

/// What was noted, without the reasons.
fn steps(diary: &Diary) -> Vec<String> {
    let notes = diary.take();
    let steps = notes.iter().map(|note| {
        let step = note.split_once(':').map_or(&**note, |(step, _)| step);
        step.trim_end_matches(|c: char| c == ' ' || c.is_ascii_digit())
            .to_owned()
    });
    steps.collect()
}

#[test]
fn each_strategy_restarts_whom_it_should_in_order() {
    // For each restart type: whether the child comes back after each fate.
    let fates = [Panic, Fail, Stop, Kill, Drain, Linked];
    let comes_back = [
        (Restart::Permanent, [true, true, true, true, false, true]),
        (Restart::Transient, [true, true, false, true, false, true]),
        (
            Restart::Temporary,
            [false, false, false, false, false, false],
        ),
    ];
    let one: &[&str] = &["b restarting", "b restarted"];
    let all: &[&str] = &[
        "b restarting",
        "c restarting",
        "a restarting",
        "a restarted",
        "b restarted",
        "c restarted",
    ];
    let rest: &[&str] = &["b restarting", "c restarting", "b restarted", "c restarted"];
    let strategies = [
        (Strategy::OneForOne, one),
        (Strategy::OneForAll, all),
        (Strategy::RestForOne, rest),
        (Strategy::Dynamic, one),
    ];
    for (strategy, restarted) in strategies {
        for (restart, comes_back) in comes_back {
            for (fate, comes_back) in fates.into_iter().zip(comes_back) {
                for seed in 0..10 {
                    under_seed(seed, |stepper| {
                        let diary = Diary::default();
                        let mut tree = stepper.system().supervisor(strategy);
                        tree.child(Member::spec("a", &diary)).unwrap();
                        let b = tree
                            .child(Member::spec("b", &diary).restart(restart))
                            .unwrap();
                        tree.child(Member::spec("c", &diary)).unwrap();
                        let supervisor = tree.start().unwrap();
                        assert_eq!(steps(&diary), ["a started", "b started", "c started"]);
                        befall(stepper, &b, fate);
                        let case = format!("{strategy:?} {restart:?} {fate:?}");
                        if comes_back {
                            assert_eq!(steps(&diary), restarted, "{case}");
                        } else {
                            assert_eq!(steps(&diary), ["b stopped"], "{case}");
                        }
                        let left = supervisor.count().wait().unwrap();
                        let expected = if comes_back { 3 } else { 2 };
                        assert_eq!((left.all, left.up), (expected, expected), "{case}");
                        supervisor.stop();
                        stepper.run();
                        let ends: &[&str] = match (strategy, comes_back) {
                            // All at once, in no order.
                            (Strategy::Dynamic, _) => &[],
                            (_, true) => &["c stopped", "b stopped", "a stopped"],
                            (_, false) => &["c stopped", "a stopped"],
                        };
                        let ended = steps(&diary);
                        assert_eq!(ended.len(), expected, "{case}");
                        assert!(ends.is_empty() || ended == ends, "{case}: {ended:?}");
                    });
                }
            }
        }
    }
}

#[test]
fn siblings_come_back_by_their_own_restart_types() {
    for (strategy, expected) in [
        (
            Strategy::OneForAll,
            &[
                "c restarting",
                "d restarting",
                "b stopped",
                "a restarting",
                "a restarted",
                "c restarted",
                "d restarted",
            ][..],
        ),
        (
            Strategy::RestForOne,
            &["c restarting", "d restarting", "c restarted", "d restarted"][..],
        ),
    ] {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let mut tree = stepper.system().supervisor(strategy);
            let restarts = [
                ("a", Restart::Transient),
                ("b", Restart::Temporary),
                ("c", Restart::Permanent),
                ("d", Restart::Transient),
            ];
            let children = restarts.map(|(name, restart)| {
                tree.child(Member::spec(name, &diary).restart(restart))
                    .unwrap()
            });
            let _supervisor = tree.start().unwrap();
            diary.take();
            befall(stepper, &children[2], Kill);
            assert_eq!(steps(&diary), expected);
        });
    }
}

/// Has a child fail now; it comes back exactly this much later.
fn comes_back_after(stepper: &Stepper, child: &Addr<Member>, diary: &Diary, delay: Duration) {
    diary.take();
    child.kill();
    stepper.run();
    assert_eq!(
        steps(diary).last().map(String::as_str),
        Some("a restarting")
    );
    stepper.advance(delay - NANOSECOND);
    assert_eq!(steps(diary), [""; 0]);
    stepper.advance(NANOSECOND);
    assert!(
        steps(diary).contains(&"a restarted".to_owned()),
        "after {delay:?}"
    );
}

#[test]
fn restarts_are_put_off_by_exactly_the_delays_of_the_backoff() {
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::Dynamic,
    ] {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let backoff = Backoff::exponential(3 * SECOND).jitter(0.0);
            let tree = stepper
                .system()
                .supervisor(strategy)
                .intensity(Intensity::UNLIMITED);
            let (_supervisor, a) = with_child(tree, Member::spec("a", &diary).backoff(backoff));
            for seconds in [3, 6, 12, 24, 30, 30] {
                comes_back_after(stepper, &a, &diary, seconds * SECOND);
            }
            // Not long enough, then long enough to begin again.
            stepper.advance(30 * SECOND - NANOSECOND);
            comes_back_after(stepper, &a, &diary, 30 * SECOND);
            stepper.advance(30 * SECOND);
            comes_back_after(stepper, &a, &diary, 3 * SECOND);
        });
    }
}

#[test]
fn jitter_is_reproduced_by_the_seed() {
    let delays = |seed: u64| {
        let stepper = Stepper::new(seed);
        let diary = Diary::default();
        let starts: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let noted = starts.clone();
        let child = Member::spec_playing("a", &diary, move |moment, ctx| {
            if moment == Moment::Restarted {
                noted.lock().expect("no panic here").push(ctx.now());
            }
        });
        let backoff = Backoff::exponential(10 * SECOND).factor(1.0).jitter(0.2);
        let tree = stepper.system().supervisor(Strategy::OneForOne);
        let tree = tree.intensity(Intensity::UNLIMITED);
        let (_supervisor, a) = with_child(tree, child.backoff(backoff));
        let delays = (0..5).map(|_| {
            let failed = stepper.system().now();
            a.kill();
            stepper.advance(20 * SECOND);
            let started = starts
                .lock()
                .expect("no panic here")
                .pop()
                .expect("it is back");
            started - failed
        });
        delays.collect::<Vec<_>>()
    };
    let first = delays(7);
    assert_eq!(first, delays(7));
    assert_ne!(first, delays(8));
    assert!(
        first
            .iter()
            .all(|delay| (10 * SECOND..12 * SECOND).contains(delay))
    );
    assert!(first.windows(2).all(|pair| pair[0] != pair[1]), "{first:?}");
}

#[test]
fn a_factory_that_panics_ten_times_is_tried_by_the_backoff_until_it_works() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (of_lives, tries) = (diary.clone(), AtomicUsize::new(0));
        let child = ChildSpec::new("a", move || {
            let number = tries.fetch_add(1, SeqCst);
            assert!(number == 0 || number > 10, "not yet");
            Member::new("a", &of_lives)
        });
        let backoff = Backoff::exponential(SECOND).jitter(0.0).cap(8 * SECOND);
        let tree = stepper.system().supervisor(Strategy::OneForOne);
        let tree = tree.intensity(Intensity::UNLIMITED);
        let (_supervisor, a) = with_child(tree, child.backoff(backoff));
        diary.take();
        a.kill();
        let queued = a.ask(to_note("at last"));
        // 1 + 2 + 4 and 8 times 8 seconds.
        stepper.advance(71 * SECOND - NANOSECOND);
        assert_eq!(steps(&diary), ["a restarting"]);
        stepper.advance(NANOSECOND);
        assert_eq!(
            diary.take(),
            ["a restarted 11: it panicked: not yet", "a at last"]
        );
        assert_eq!(outcome(queued), Ok(2));
    });
}

#[test]
fn a_restart_as_old_as_the_window_still_counts_and_an_older_one_does_not() {
    for (gap, survives) in [(5 * SECOND, false), (5 * SECOND + NANOSECOND, true)] {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let tree = stepper.system().supervisor(Strategy::OneForOne);
            let (supervisor, a) = with_child(tree, Member::spec("a", &diary));
            befall(stepper, &a, Kill);
            stepper.advance(gap);
            befall(stepper, &a, Kill);
            assert_eq!(!supervisor.is_stopped(), survives);
            assert_eq!(!a.is_stopped(), survives);
        });
    }
}

#[test]
fn a_restart_of_several_children_counts_once() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let mut tree = stepper.system().supervisor(Strategy::OneForAll);
        let a = tree.child(Member::spec("a", &diary)).unwrap();
        let b = tree.child(Member::spec("b", &diary)).unwrap();
        let supervisor = tree.start().unwrap();
        a.kill();
        b.kill();
        stepper.run();
        assert!(!supervisor.is_stopped());
        befall(stepper, &b, Kill);
        assert!(supervisor.is_stopped());
    });
}

#[test]
fn a_start_that_fails_counts_again() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let child = Member::spec_playing("a", &diary, |moment, _| {
            assert!(moment != Moment::Restarted, "again");
        });
        let tree = stepper.system().supervisor(Strategy::OneForOne);
        let tree = tree.intensity(Intensity::new(3, 5 * SECOND));
        let (supervisor, a) = with_child(tree, child);
        befall(stepper, &a, Kill);
        assert_eq!(
            steps(&diary),
            [
                "a started",
                "a restarting",
                "a restarted",
                "a restarting",
                "a restarted",
                "a restarting",
                "a restarted",
                "a restarting",
            ]
        );
        let member = type_name::<Member>();
        assert_eq!(
            end_of(&supervisor).to_string(),
            format!(
                "it gave up: `{member}` #1 (a) needed more than 3 restarts in 5s: it panicked: again"
            )
        );
        assert_eq!(end_of(&a), StopReason::ParentEnded);
    });
}

#[test]
fn a_failure_climbs_up_three_levels_and_its_text_names_them_all() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let system = stepper.system();
        let tree = || {
            system
                .supervisor(Strategy::OneForOne)
                .intensity(Intensity::new(0, SECOND))
        };
        let mut low = tree();
        let a = low.child(Member::spec("a", &diary)).unwrap();
        let mut middle = tree();
        let low = middle.child(low.into_spec("low")).unwrap();
        let mut top = tree();
        let middle = top.child(middle.into_spec("middle")).unwrap();
        let top = top.start().unwrap();
        befall(stepper, &a, Fail);
        let (member, supervisor) = (type_name::<Member>(), type_name::<Supervisor>());
        assert_eq!(
            end_of(&top).to_string(),
            format!(
                "it gave up: `{supervisor}` #3 (middle) needed more than 0 restarts in 1s: \
                 it gave up: `{supervisor}` #2 (low) needed more than 0 restarts in 1s: \
                 it gave up: `{member}` #1 (a) needed more than 0 restarts in 1s: \
                 it failed: by request"
            )
        );
        for reason in [end_of(&middle), end_of(&low), end_of(&a)] {
            assert_eq!(reason, StopReason::ParentEnded);
        }
        assert_eq!(steps(&diary), ["a started", "a restarting"]);
    });
}

#[test]
fn a_supervisor_that_gave_up_has_failed_and_is_restarted_even_if_transient() {
    for restart in [Restart::Permanent, Restart::Transient] {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let mut inner = stepper.system().supervisor(Strategy::OneForOne);
            let a = inner.child(Member::spec("a", &diary)).unwrap();
            inner.child(Member::spec("b", &diary)).unwrap();
            let outer = stepper.system().supervisor(Strategy::OneForOne);
            let (outer, inner) = with_child(outer, inner.into_spec("inner").restart(restart));
            diary.take();
            befall(stepper, &a, Kill);
            befall(stepper, &a, Kill);
            assert_eq!(
                steps(&diary),
                [
                    "a restarting",
                    "a restarted",
                    "a restarting",
                    "b restarting",
                    "a restarted",
                    "b restarted",
                ]
            );
            // A new life counts anew.
            befall(stepper, &a, Kill);
            assert_eq!(steps(&diary), ["a restarting", "a restarted"]);
            assert_eq!(outer.list().wait().unwrap()[0].restarts, 1);
            // The last but one is still in the window, so the second time is too much for both.
            befall(stepper, &a, Kill);
            assert!(outer.is_stopped() && inner.is_stopped() && a.is_stopped());
        });
    }
}

#[test]
fn a_supervisor_ends_when_its_significant_children_have() {
    let cases = [
        (AutoShutdown::Never, [false, false]),
        (AutoShutdown::AnySignificant, [true, true]),
        (AutoShutdown::AllSignificant, [false, true]),
    ];
    for (auto_shutdown, ends) in cases {
        for restart in [Restart::Transient, Restart::Temporary] {
            under_seeds(|stepper| {
                let diary = Diary::default();
                let tree = stepper.system().supervisor(Strategy::OneForOne);
                let mut tree = tree.auto_shutdown(auto_shutdown);
                let significant = |name| Member::spec(name, &diary).restart(restart).significant();
                let a = tree.child(significant("a")).unwrap();
                let b = tree.child(significant("b")).unwrap();
                let c = tree
                    .child(Member::spec("c", &diary).restart(restart))
                    .unwrap();
                let supervisor = tree.start().unwrap();
                befall(stepper, &c, Stop);
                assert!(!supervisor.is_stopped());
                if restart == Restart::Transient {
                    befall(stepper, &a, Kill);
                    assert!(!supervisor.is_stopped(), "it comes back");
                }
                befall(stepper, &a, Stop);
                assert_eq!(supervisor.is_stopped(), ends[0]);
                befall(stepper, &b, Stop);
                assert_eq!(supervisor.is_stopped(), ends[1]);
                if ends[1] {
                    assert_eq!(end_of(&supervisor), StopReason::Stopped);
                }
            });
        }
    }
}

#[test]
fn a_significant_child_that_is_removed_ends_nobody() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let tree = stepper.system().supervisor(Strategy::OneForOne);
        let tree = tree.auto_shutdown(AutoShutdown::AnySignificant);
        let child = Member::spec("a", &diary)
            .restart(Restart::Transient)
            .significant();
        let (supervisor, _a) = with_child(tree, child);
        assert_eq!(
            supervisor.remove("a").wait().unwrap(),
            Ok(StopReason::Removed)
        );
        stepper.run();
        assert!(!supervisor.is_stopped());
    });
}
