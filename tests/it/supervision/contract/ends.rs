//! What ends a life, and what follows: the first table.

use std::any::type_name;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use greenroom::{StartError, StopTimeout, WaitError};

use super::*;

const PANICKED: &str = "the asked actor panicked: on request";

/// Whether a member that is looked after so comes back after a failure.
fn comes_back_when_it_fails(care: Option<Restart>) -> bool {
    matches!(care, Some(Restart::Permanent | Restart::Transient))
}

#[test]
fn a_panic_in_a_handler_ends_a_life_and_its_message() {
    for care in CARES {
        under_seeds(|stepper| {
            let trial = trial(stepper, care, |_, _| (), to_panic());
            let reason = "it panicked: on request";
            if comes_back_when_it_fails(care) {
                assert_eq!(trial, goes_on(Err(PANICKED), reason));
            } else {
                assert_eq!(trial, ends(Err(PANICKED), reason));
            }
        });
    }
}

#[test]
fn a_handler_that_fails_answers_and_ends_a_life() {
    for care in CARES {
        under_seeds(|stepper| {
            let trial = trial(stepper, care, |_, _| (), to_fail());
            let reason = "it failed: by request";
            if comes_back_when_it_fails(care) {
                assert_eq!(trial, goes_on(Ok(1), reason));
            } else {
                assert_eq!(trial, ends(Ok(1), reason));
            }
        });
    }
}

#[test]
fn the_first_of_several_errors_counts() {
    under_seeds(|stepper| {
        let twice = to(|_, ctx| {
            ctx.fail("first");
            ctx.fail("second");
            1
        });
        let trial = trial(stepper, Some(Restart::Permanent), |_, _| (), twice);
        assert_eq!(trial, goes_on(Ok(1), "it failed: first"));
    });
}

#[test]
fn a_stop_ends_a_life_of_a_permanent_child_and_all_of_others() {
    let ways: [Way; 2] = [|ctx| ctx.stop(), |ctx| ctx.addr().stop()];
    for (care, way) in CARES
        .into_iter()
        .flat_map(|care| ways.map(|way| (care, way)))
    {
        under_seeds(|stepper| {
            let message = to(move |_, ctx| {
                way(ctx);
                1
            });
            let trial = trial(stepper, care, |_, _| (), message);
            if care == Some(Restart::Permanent) {
                assert_eq!(trial, goes_on(Ok(1), "it was stopped"));
            } else {
                assert_eq!(trial, ends(Ok(1), "it was stopped"));
            }
        });
    }
}

#[test]
fn a_kill_ends_the_waits_of_the_message_in_hand_which_is_handled() {
    for care in CARES {
        under_seeds(|stepper| {
            let message = to(|_, ctx| {
                ctx.addr().kill();
                let slept = ctx.sleep(Duration::from_secs(3600));
                assert_eq!(slept, Err(WaitError::Interrupted));
                1
            });
            let trial = trial(stepper, care, |_, _| (), message);
            if comes_back_when_it_fails(care) {
                assert_eq!(trial, goes_on(Ok(1), "it was killed"));
            } else {
                assert_eq!(trial, ends(Ok(1), "it was killed"));
            }
        });
    }
}

#[test]
fn the_life_after_a_kill_can_wait() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (_supervisor, a) = cast(stepper, Some(Restart::Permanent), &diary, |moment, ctx| {
            // The kill sticks until the life is over.
            let slept = ctx.sleep(Duration::from_secs(1));
            assert_eq!(slept.is_err(), moment == Moment::Restarting);
        });
        let asleep = a.ask(to(|_, ctx| {
            u64::from(ctx.sleep(Duration::from_secs(3600)).is_ok())
        }));
        stepper.run();
        a.kill();
        assert_eq!(outcome(asleep), Ok(0));
        let asleep = a.ask(to(|_, ctx| {
            u64::from(ctx.sleep(Duration::from_secs(3600)).is_ok())
        }));
        assert_eq!(outcome(asleep), Ok(1));
    });
}

#[test]
fn a_drain_ends_every_actor_with_its_queue_handled() {
    for care in CARES {
        under_seeds(|stepper| {
            let message = to(|_, ctx| {
                ctx.addr().drain();
                1
            });
            let trial = trial(stepper, care, |_, _| (), message);
            let drained = Trial {
                hand: Ok(1),
                queued: Ok(2),
                notes: vec![
                    "a goes on".to_owned(),
                    "a stopped: it was drained".to_owned(),
                ],
                end: Some("it was drained".to_owned()),
                dead_letters: 0,
            };
            assert_eq!(trial, drained);
        });
    }
}

#[test]
fn a_panic_in_terminated_ends_a_life() {
    for care in CARES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let other = stepper.system().actor().name("b");
            let other = other.spawn(Member::new("b", &Diary::default())).unwrap();
            let (_supervisor, a) = cast(stepper, care, &diary, |moment, _| {
                assert!(moment != Moment::Told, "told");
            });
            let watched = other.clone();
            let watching = a.ask(to(move |_, ctx| {
                ctx.watch(&watched);
                1
            }));
            assert_eq!(outcome(watching), Ok(1));
            assert_eq!(diary.take(), ["a started"]);
            other.stop();
            stepper.run();
            let mut notes = vec!["a told of b: it was stopped"];
            if comes_back_when_it_fails(care) {
                notes.extend([
                    "a restarting: it panicked: told",
                    "a restarted 1: it panicked: told",
                ]);
            } else {
                notes.push("a stopped: it panicked: told");
            }
            assert_eq!(diary.take(), notes);
            assert_eq!(a.is_stopped(), !comes_back_when_it_fails(care));
        });
    }
}

#[test]
fn one_that_is_linked_with_one_that_fails_ends_a_life() {
    for care in CARES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let other = stepper.system().actor().name("b");
            let other = other.spawn(Member::new("b", &Diary::default())).unwrap();
            let (_supervisor, a) = cast(stepper, care, &diary, |_, _| ());
            let linked = other.clone();
            let linking = a.ask(to(move |_, ctx| {
                ctx.link(&linked);
                1
            }));
            assert_eq!(outcome(linking), Ok(1));
            assert_eq!(diary.take(), ["a started"]);
            let failed = other.ask(to_fail());
            stepper.run();
            assert_eq!(outcome(failed), Ok(1));
            let notes = diary.take();
            let reason = notes[0].split_once(": ").expect("a note has a reason").1;
            assert!(reason.starts_with("it is linked with "), "{reason}");
            assert!(
                reason.ends_with(", which has ended: it failed: by request"),
                "{reason}"
            );
            if comes_back_when_it_fails(care) {
                let expected = [
                    format!("a restarting: {reason}"),
                    format!("a restarted 1: {reason}"),
                ];
                assert_eq!(notes, expected);
            } else {
                assert_eq!(notes, [format!("a stopped: {reason}")]);
                assert_eq!(end_of(&a).to_string(), reason);
            }
        });
    }
}

/// Ways to fail in a hook, and the reasons that they give.
const WAYS: [(Way, &str); 2] = [
    (|_| panic!("at once"), "it panicked: at once"),
    (|ctx| ctx.fail("at once"), "it failed: at once"),
];

/// Why a supervisor gave up that could not start the actor with this number.
fn could_not_start(number: u64, name: &str, reason: &str) -> String {
    let member = type_name::<Member>();
    format!("it gave up: `{member}` #{number} ({name}) could not be started: {reason}")
}

fn reason_of(error: StartError) -> String {
    match error {
        StartError::Ended { reason } => reason.to_string(),
        error => panic!("{error}"),
    }
}

#[test]
fn a_first_start_that_fails_is_an_error_of_start() {
    for ((way, reason), restart) in WAYS.into_iter().flat_map(|way| RESTARTS.map(|r| (way, r))) {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let mut tree = patient(stepper, Strategy::OneForOne);
            tree.child(Member::spec("a", &diary)).unwrap();
            let failing = Member::spec_playing("b", &diary, move |moment, ctx| {
                if moment == Moment::Started {
                    way(ctx);
                }
            });
            let b = tree.child(failing.restart(restart)).unwrap();
            let c = tree.child(Member::spec("c", &diary)).unwrap();
            let error = tree.start().unwrap_err();
            assert_eq!(reason_of(error), could_not_start(2, "b", reason));
            let end = if restart == Restart::Temporary {
                "stopped"
            } else {
                "restarting"
            };
            assert_eq!(
                diary.take(),
                [
                    "a started",
                    "b started",
                    &format!("b {end}: {reason}"),
                    "a stopped: its parent ended",
                ]
            );
            assert!(b.is_stopped() && c.is_stopped());
        });
    }
}

#[test]
fn a_later_start_that_fails_is_followed_by_another() {
    for (way, reason) in WAYS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (_supervisor, a) = cast(
                stepper,
                Some(Restart::Transient),
                &diary,
                move |moment, ctx| {
                    if moment == Moment::Restarted && ctx.restarts() < 3 {
                        way(ctx);
                    }
                },
            );
            diary.take();
            let hand = a.ask(to_panic());
            let queued = a.ask(to_note("goes on"));
            assert_eq!(outcome(queued), Ok(2));
            assert_eq!(outcome(hand), Err(PANICKED.to_owned()));
            assert_eq!(
                diary.take(),
                [
                    "a restarting: it panicked: on request",
                    "a restarted 1: it panicked: on request",
                    &format!("a restarting: {reason}"),
                    &format!("a restarted 2: {reason}"),
                    &format!("a restarting: {reason}"),
                    &format!("a restarted 3: {reason}"),
                    "a goes on",
                ]
            );
        });
    }
}

/// A child whose closure fails in the lives for which `fails` says so, counted from 1.
fn unmakeable(
    diary: &Diary,
    panics: bool,
    fails: impl Fn(u64) -> bool + Send + 'static,
) -> ChildSpec<Member> {
    let (diary, life) = (diary.clone(), AtomicU64::new(0));
    ChildSpec::fallible("a", move || {
        let life = life.fetch_add(1, SeqCst) + 1;
        match (fails(life), panics) {
            (false, _) => Ok(Member::new("a", &diary)),
            (true, true) => panic!("not made"),
            (true, false) => Err("not made"),
        }
    })
}

#[test]
fn an_actor_that_cannot_be_made_at_first_is_an_error_of_start_and_no_hook_runs() {
    for (restart, panics) in RESTARTS.into_iter().flat_map(|r| [(r, true), (r, false)]) {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let mut tree = patient(stepper, Strategy::OneForOne);
            let child = unmakeable(&diary, panics, |_| true).restart(restart);
            let a = tree.child(child).unwrap();
            let queued = a.ask(to_note("goes on"));
            let error = tree.start().unwrap_err();
            let what = if panics { "panicked" } else { "failed" };
            let reason = format!("it {what}: not made");
            assert_eq!(reason_of(error), could_not_start(1, "a", &reason));
            assert_eq!(diary.take(), [""; 0]);
            let end = if restart == Restart::Temporary {
                reason
            } else {
                "its parent ended".to_owned()
            };
            assert_eq!(end_of(&a).to_string(), end);
            assert_eq!(outcome(queued), Err(format!("actor has stopped: {end}")));
        });
    }
}

#[test]
fn an_actor_that_cannot_be_made_again_is_tried_again() {
    for panics in [true, false] {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let child = unmakeable(&diary, panics, |life| life == 2 || life == 3);
            let (_supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
            let hand = a.ask(to_panic());
            let queued = a.ask(to_note("goes on"));
            assert_eq!(outcome(queued), Ok(2));
            assert_eq!(outcome(hand), Err(PANICKED.to_owned()));
            let what = if panics { "panicked" } else { "failed" };
            assert_eq!(
                diary.take(),
                [
                    "a started",
                    "a restarting: it panicked: on request",
                    &format!("a restarted 3: it {what}: not made"),
                    "a goes on",
                ]
            );
        });
    }
}

#[test]
fn a_panic_in_the_hook_at_the_end_changes_nothing() {
    for care in CARES {
        under_seeds(|stepper| {
            let role = |moment, _: &mut Context<Member>| {
                assert!(
                    !matches!(moment, Moment::Stopped | Moment::Restarting),
                    "at the end"
                );
            };
            let trial = trial(stepper, care, role, to_fail());
            let reason = "it failed: by request";
            if comes_back_when_it_fails(care) {
                assert_eq!(trial, goes_on(Ok(1), reason));
            } else {
                assert_eq!(trial, ends(Ok(1), reason));
            }
        });
    }
}

/// The `restarting` of an actor that has none of its own.
#[test]
fn the_hooks_of_a_restart_are_by_default_those_of_an_end_and_a_start() {
    struct Plain(Diary);
    impl Actor for Plain {
        fn started(&mut self, _: &mut Context<Self>) {
            self.0.note("started");
        }
        fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
            self.0.note(format!("stopped: {reason}"));
        }
    }
    under_seeds(|stepper| {
        let diary = Diary::default();
        let of_lives = diary.clone();
        let child = ChildSpec::new("a", move || Plain(of_lives.clone()));
        let (_supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
        a.kill();
        stepper.run();
        assert_eq!(
            diary.take(),
            ["started", "stopped: it was killed", "started"]
        );
    });
}

/// A tree of a member that is looked after in this way, and one that fails when it is asked to.
fn with_sibling(
    stepper: &Stepper,
    restart: Restart,
    diary: &Diary,
) -> (Addr<Supervisor>, Addr<Member>, Addr<Member>) {
    let mut tree = patient(stepper, Strategy::OneForAll);
    let a = tree
        .child(Member::spec("a", diary).restart(restart))
        .unwrap();
    let b = tree.child(Member::spec("b", &Diary::default())).unwrap();
    (tree.start().unwrap(), a, b)
}

/// Has `a` order `then` while it handles a message, with another one queued.
fn trial_from_outside(
    stepper: &Stepper,
    diary: &Diary,
    a: &Addr<Member>,
    then: impl FnOnce(),
) -> Trial {
    assert_eq!(diary.take(), ["a started"]);
    let hand = a.ask(to(|_, ctx| {
        u64::from(ctx.sleep(Duration::from_secs(1)).is_ok())
    }));
    stepper.run();
    let queued = a.ask(to_note("goes on"));
    then();
    let (hand, queued) = (outcome(hand), outcome(queued));
    stepper.run();
    Trial {
        hand,
        queued,
        notes: diary.take(),
        end: a.is_stopped().then(|| end_of(a).to_string()),
        dead_letters: stepper.system().snapshot().totals.dead_lettered,
    }
}

#[test]
fn a_sibling_that_fails_restarts_a_child_after_the_message_in_hand() {
    for restart in RESTARTS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (_supervisor, a, b) = with_sibling(stepper, restart, &diary);
            let trial = trial_from_outside(stepper, &diary, &a, || b.kill());
            if restart == Restart::Temporary {
                assert_eq!(trial, ends(Ok(1), "its supervisor stopped it"));
            } else {
                assert_eq!(trial, goes_on(Ok(1), "its supervisor restarts it"));
            }
        });
    }
}

#[test]
fn a_restart_by_request_comes_after_the_message_in_hand() {
    for restart in RESTARTS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = cast(stepper, Some(restart), &diary, |_, _| ());
            let supervisor = supervisor.expect("it has one");
            let mut restarted = None;
            let trial = trial_from_outside(stepper, &diary, &a, || {
                restarted = Some(supervisor.restart("a"));
            });
            let restarted = restarted.expect("asked above").wait().unwrap();
            if restart == Restart::Temporary {
                assert_eq!(restarted.unwrap_err().to_string(), "`a` is temporary");
                assert_eq!(trial.notes, ["a goes on"]);
                assert_eq!((trial.end, trial.dead_letters), (None, 0));
            } else {
                assert_eq!(restarted, Ok(()));
                assert_eq!(trial, goes_on(Ok(1), "its supervisor restarts it"));
            }
        });
    }
}

#[test]
fn a_child_that_is_removed_ends_after_the_message_in_hand() {
    for restart in RESTARTS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = cast(stepper, Some(restart), &diary, |_, _| ());
            let supervisor = supervisor.expect("it has one");
            let mut removed = None;
            let trial = trial_from_outside(stepper, &diary, &a, || {
                removed = Some(supervisor.remove("a"));
            });
            let removed = removed.expect("asked above").wait().unwrap();
            assert_eq!(removed, Ok(StopReason::Removed));
            assert_eq!(trial, ends(Ok(1), "its supervisor stopped it"));
        });
    }
}

#[test]
fn a_child_ends_with_its_supervisor_after_the_message_in_hand() {
    for restart in RESTARTS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = cast(stepper, Some(restart), &diary, |_, _| ());
            let supervisor = supervisor.expect("it has one");
            let trial = trial_from_outside(stepper, &diary, &a, || supervisor.stop());
            assert_eq!(trial, ends(Ok(1), "its parent ended"));
            assert_eq!(end_of(&supervisor), StopReason::Stopped);
        });
    }
}

#[test]
fn a_child_ends_with_its_parent_after_the_message_in_hand() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let parent = stepper.system().spawn(Member::new("p", &Diary::default()));
        let of_child = diary.clone();
        let spawning = parent.ask(to(move |_, ctx| {
            let child = ctx.child().name("a").spawn(Member::new("a", &of_child));
            child.expect("the parent lives")
        }));
        let a = spawning.wait().unwrap();
        stepper.run();
        let trial = trial_from_outside(stepper, &diary, &a, || parent.kill());
        assert_eq!(trial, ends(Ok(1), "its parent ended"));
        assert_eq!(end_of(&parent), StopReason::Killed);
    });
}

#[test]
fn a_shutdown_drains_the_queues_of_a_tree() {
    for restart in RESTARTS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (_supervisor, a) = cast(stepper, Some(restart), &diary, |_, _| ());
            let trial = trial_from_outside(stepper, &diary, &a, || {
                assert!(
                    stepper
                        .system()
                        .shutdown(Duration::from_secs(60))
                        .is_clean()
                );
            });
            let drained = Trial {
                queued: Ok(2),
                notes: vec![
                    "a goes on".to_owned(),
                    "a stopped: the system shut down".to_owned(),
                ],
                dead_letters: 0,
                ..ends(Ok(1), "the system shut down")
            };
            assert_eq!(trial, drained);
        });
    }
}

#[test]
fn a_shutdown_that_does_not_drain_ends_a_tree_after_the_messages_in_hand() {
    for restart in RESTARTS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (_supervisor, a) = cast(stepper, Some(restart), &diary, |_, _| ());
            let trial = trial_from_outside(stepper, &diary, &a, || {
                let report = stepper.system().shutdown_now(Duration::from_secs(60));
                assert!(report.is_clean(), "{report}");
            });
            assert_eq!(trial, ends(Ok(1), "the system shut down"));
        });
    }
}

#[test]
fn a_child_that_does_not_stop_in_time_is_killed() {
    for restart in RESTARTS {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let child = Member::spec("a", &diary)
                .restart(restart)
                .stop_timeout(StopTimeout::After(Duration::from_secs(3)));
            let (supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
            let asleep = a.ask(to(|_, ctx| {
                let begun = ctx.now();
                let slept = ctx.sleep(Duration::from_secs(3600));
                assert_eq!(slept, Err(WaitError::Interrupted));
                (ctx.now() - begun).as_secs()
            }));
            stepper.run();
            let (expected, notes) = if restart == Restart::Temporary {
                assert_eq!(
                    supervisor.remove("a").wait().unwrap(),
                    Ok(StopReason::Killed)
                );
                (
                    StopReason::Killed,
                    vec!["a started", "a stopped: it was killed"],
                )
            } else {
                assert_eq!(supervisor.restart("a").wait().unwrap(), Ok(()));
                let notes = [
                    "a started",
                    "a restarting: it was killed",
                    "a restarted 1: it was killed",
                ];
                assert_eq!(diary.take(), notes);
                supervisor.stop();
                (StopReason::ParentEnded, vec!["a stopped: its parent ended"])
            };
            assert_eq!(outcome(asleep), Ok(3));
            assert_eq!(end_of(&a), expected);
            assert_eq!(diary.take(), notes);
        });
    }
}

#[test]
fn a_child_with_no_time_to_stop_is_killed_at_once() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let child = Member::spec("a", &diary).stop_timeout(StopTimeout::AtOnce);
        let (supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
        let before = stepper.system().now();
        let asleep = a.ask(to(|_, ctx| {
            u64::from(ctx.sleep(Duration::from_secs(3600)).is_ok())
        }));
        stepper.run();
        assert_eq!(
            supervisor.remove("a").wait().unwrap(),
            Ok(StopReason::Killed)
        );
        assert_eq!(outcome(asleep), Ok(0));
        assert_eq!(stepper.system().now(), before);
    });
}

#[test]
fn a_child_that_may_take_for_ever_is_waited_for() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let child = Member::spec("a", &diary).stop_timeout(StopTimeout::Infinite);
        let (supervisor, a) = with_child(patient(stepper, Strategy::OneForOne), child);
        let before = stepper.system().now();
        let asleep = a.ask(to(|_, ctx| {
            u64::from(ctx.sleep(Duration::from_secs(3600)).is_ok())
        }));
        stepper.run();
        assert_eq!(
            supervisor.remove("a").wait().unwrap(),
            Ok(StopReason::Removed)
        );
        assert_eq!(outcome(asleep), Ok(1));
        assert_eq!(stepper.system().now(), before + Duration::from_secs(3600));
    });
}
