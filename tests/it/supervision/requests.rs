//! What a supervisor is asked while it runs: to add, to remove and to restart children, in each of
//! their states.

use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Addr, Backoff, ChildState, Intensity, RemoveError, RestartError, StartError, StopTimeout,
    Strategy,
};

use super::*;
use crate::support::{end_of, under_seeds};

const STRATEGIES: [Strategy; 4] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
    Strategy::Dynamic,
];

/// A supervisor that restarts as often as it takes.
fn patient(stepper: &Stepper, strategy: Strategy) -> SupervisorBuilder {
    let tree = stepper.system().supervisor(strategy);
    tree.intensity(Intensity::UNLIMITED)
}

/// A child whose restarts are put off by 10 s.
fn late(name: &'static str, diary: &Diary) -> ChildSpec<Member> {
    let backoff = Backoff::exponential(Duration::from_secs(10)).jitter(0.0);
    Member::spec(name, diary).backoff(backoff)
}

/// The children's ids and states, in order.
fn states(supervisor: &Addr<Supervisor>) -> Vec<(String, ChildState)> {
    let children = supervisor.list().wait().expect("the supervisor lives");
    let states = children.into_iter();
    states
        .map(|child| (child.id.to_string(), child.state))
        .collect()
}

fn up(supervisor: &Addr<Supervisor>) -> usize {
    supervisor.count().wait().expect("the supervisor lives").up
}

#[test]
fn a_child_is_added_after_the_others_and_answers_come_when_it_has_started() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, _a) =
                with_child(patient(stepper, strategy), Member::spec("a", &diary));
            let slow = Member::spec_playing("b", &diary, |_, ctx| {
                let _ = ctx.sleep(Duration::from_secs(2));
            });
            let begun = stepper.system().now();
            let b = supervisor.add(slow).wait().unwrap().unwrap();
            assert_eq!(stepper.system().now() - begun, Duration::from_secs(2));
            assert_eq!(outcome(b.ask(to_note("asked"))), Ok(2));
            assert_eq!(diary.take(), ["a started", "b started", "b asked"]);
            let both = [
                ("a".to_owned(), ChildState::Up),
                ("b".to_owned(), ChildState::Up),
            ];
            assert_eq!(states(&supervisor), both);
        });
    }
}

#[test]
fn a_taken_id_is_refused_until_its_child_has_gone() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let mut tree = patient(stepper, strategy);
            let a = tree.child(Member::spec("a", &diary)).unwrap();
            let error = tree.child(Member::spec("a", &diary)).unwrap_err();
            assert_eq!(error.to_string(), "the supervisor has a child `a` already");
            let supervisor = tree.start().unwrap();
            let taken = supervisor.add(Member::spec("a", &diary)).wait().unwrap();
            assert!(matches!(taken, Err(StartError::Taken { id }) if *id == *"a"));
            a.drain();
            stepper.run();
            let again = supervisor
                .add(Member::spec("a", &diary))
                .wait()
                .unwrap()
                .unwrap();
            assert_ne!(again, a);
            assert_eq!(
                diary.take(),
                ["a started", "a stopped: it was drained", "a started"]
            );
        });
    }
}

#[test]
fn a_significant_child_that_is_permanent_is_refused() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let mut tree = patient(stepper, Strategy::OneForOne);
        let error = tree
            .child(Member::spec("a", &diary).significant())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a` is permanent and so cannot be significant"
        );
        let supervisor = tree.start().unwrap();
        let refused = supervisor
            .add(Member::spec("a", &diary).significant())
            .wait()
            .unwrap();
        assert!(matches!(refused, Err(StartError::Significant { .. })));
        assert_eq!(states(&supervisor), []);
    });
}

#[test]
fn a_child_that_fails_to_start_is_not_added() {
    for (strategy, restart) in STRATEGIES
        .into_iter()
        .flat_map(|s| RESTARTS.map(|r| (s, r)))
    {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = with_child(patient(stepper, strategy), Member::spec("a", &diary));
            let failing = Member::spec_playing("b", &diary, |moment, _| {
                assert!(moment != Moment::Started, "at once");
            });
            let error = supervisor
                .add(failing.restart(restart))
                .wait()
                .unwrap()
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "it ended before it had started: it panicked: at once"
            );
            stepper.run();
            assert_eq!(states(&supervisor), [("a".to_owned(), ChildState::Up)]);
            assert_eq!(stepper.system().snapshot().actors.len(), 2);
            assert!(!a.is_stopped());
            // Its id is free again.
            supervisor
                .add(Member::spec("b", &diary))
                .wait()
                .unwrap()
                .unwrap();
        });
    }
}

#[test]
fn a_spec_that_is_never_used_leaves_nobody_behind() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let nested = |id: &'static str| {
            let mut inner = patient(stepper, Strategy::OneForOne);
            let a = inner.child(Member::spec("a", &diary)).unwrap();
            (inner.into_spec(id), a)
        };
        let (unused, a) = nested("unused");
        drop(unused);
        stepper.run();
        assert!(a.is_stopped());
        let (taken, a) = nested("taken");
        let mut tree = patient(stepper, Strategy::OneForOne);
        tree.child(Member::spec("taken", &diary)).unwrap();
        assert!(tree.child(taken).is_err());
        let supervisor = tree.start().unwrap();
        assert_eq!(end_of(&a), StopReason::ParentEnded);
        supervisor.stop();
        assert_eq!(end_of(&supervisor), StopReason::Stopped);
        let (late, a) = nested("late");
        assert!(supervisor.add(late).wait().is_err());
        stepper.run();
        assert_eq!(end_of(&a), StopReason::ParentEnded);
        assert_eq!(stepper.system().snapshot().actors, []);
    });
}

#[test]
fn a_builder_that_is_dropped_ends_its_children() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let mut tree = patient(stepper, Strategy::OneForOne);
        let a = tree.child(Member::spec("a", &diary)).unwrap();
        let mut inner = patient(stepper, Strategy::OneForOne);
        let b = inner.child(Member::spec("b", &diary)).unwrap();
        let inner = tree.child(inner.into_spec("inner")).unwrap();
        drop(tree);
        assert_eq!(end_of(&a), StopReason::ParentEnded);
        assert_eq!(end_of(&b), StopReason::ParentEnded);
        assert_eq!(end_of(&inner), StopReason::ParentEnded);
        assert_eq!(diary.take(), [""; 0]);
    });
}

#[test]
fn unknown_ids_are_errors() {
    under_seeds(|stepper| {
        let supervisor = patient(stepper, Strategy::OneForOne).start().unwrap();
        let unknown = || "x".into();
        let removed = supervisor.remove("x").wait().unwrap();
        assert_eq!(removed, Err(RemoveError::Unknown { id: unknown() }));
        let restarted = supervisor.restart("x").wait().unwrap();
        assert_eq!(restarted, Err(RestartError::Unknown { id: unknown() }));
    });
}

#[test]
fn a_child_is_removed_at_once_while_its_restart_is_put_off() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let mut tree = patient(stepper, strategy);
            let a = tree.child(late("a", &diary)).unwrap();
            let b = tree.child(Member::spec("b", &diary)).unwrap();
            let supervisor = tree.start().unwrap();
            diary.take();
            let queued = a.ask(to(|_, _| panic!("on request")));
            let queued: Reply<u64> = queued;
            stepper.run();
            assert!(outcome(queued).is_err());
            let queued = a.ask(to_note("never"));
            assert_eq!(states(&supervisor)[0].1, ChildState::BackingOff);
            let begun = stepper.system().now();
            diary.take();
            assert_eq!(
                supervisor.remove("a").wait().unwrap(),
                Ok(StopReason::Removed)
            );
            assert_eq!(stepper.system().now(), begun);
            assert_eq!(end_of(&a), StopReason::Removed);
            assert!(outcome(queued).is_err());
            assert_eq!(diary.take(), [""; 0]);
            stepper.advance(Duration::from_secs(60));
            // Those who were to be started with it are.
            let notes: &[&str] = match strategy {
                Strategy::OneForOne | Strategy::Dynamic => &[],
                _ => &["b restarted 1: its supervisor restarts it"],
            };
            assert_eq!(diary.take(), notes);
            assert_eq!(states(&supervisor), [("b".to_owned(), ChildState::Up)]);
            assert!(!b.is_stopped());
        });
    }
}

#[test]
fn a_restart_that_is_put_off_comes_at_once_if_it_is_asked_for() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = with_child(patient(stepper, strategy), late("a", &diary));
            diary.take();
            a.kill();
            stepper.run();
            let begun = stepper.system().now();
            let restarted = [supervisor.restart("a"), supervisor.restart("a")];
            let [first, second] = restarted.map(|reply| reply.wait().unwrap());
            assert_eq!((first, second), (Ok(()), Ok(())));
            assert_eq!(stepper.system().now(), begun);
            stepper.advance(Duration::from_secs(60));
            // The second request found it started, or on its way; in any case once is enough.
            let notes = diary.take();
            assert_eq!(
                notes[..2],
                [
                    "a restarting: it was killed",
                    "a restarted 1: it was killed"
                ]
            );
        });
    }
}

#[test]
fn one_request_for_a_restart_that_is_put_off_is_one_restart() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = with_child(patient(stepper, strategy), late("a", &diary));
            diary.take();
            a.kill();
            stepper.run();
            assert_eq!(supervisor.restart("a").wait().unwrap(), Ok(()));
            assert_eq!(
                diary.take(),
                [
                    "a restarting: it was killed",
                    "a restarted 1: it was killed"
                ]
            );
            stepper.advance(Duration::from_secs(60));
            assert_eq!(diary.take(), [""; 0]);
            assert_eq!(supervisor.list().wait().unwrap()[0].restarts, 1);
        });
    }
}

#[test]
fn a_restart_that_is_asked_for_and_fails_is_an_error_and_goes_on_as_any_failure() {
    for (put_off, strategy) in [true, false]
        .into_iter()
        .flat_map(|p| STRATEGIES.map(|s| (p, s)))
    {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let backoff = Backoff::exponential(Duration::from_secs(10)).jitter(0.0);
            let child = Member::spec_playing("a", &diary, |moment, ctx| {
                assert!(moment != Moment::Restarted || ctx.restarts() > 1, "at once");
            });
            let (supervisor, a) = with_child(patient(stepper, strategy), child.backoff(backoff));
            if put_off {
                a.kill();
                stepper.run();
            }
            let begun = stepper.system().now();
            let error = supervisor.restart("a").wait().unwrap().unwrap_err();
            assert_eq!(
                error.to_string(),
                "it did not start again: it panicked: at once"
            );
            assert_eq!(stepper.system().now(), begun);
            stepper.run();
            assert_eq!(states(&supervisor)[0].1, ChildState::BackingOff);
            let delay = if put_off { 20 } else { 10 };
            stepper.advance(Duration::from_nanos(delay * 1_000_000_000 - 1));
            assert_eq!(states(&supervisor)[0].1, ChildState::BackingOff);
            stepper.advance(Duration::from_nanos(1));
            assert_eq!(states(&supervisor)[0].1, ChildState::Up);
        });
    }
}

#[test]
fn a_restart_of_one_that_ends_for_good_meanwhile_is_an_error() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = with_child(patient(stepper, strategy), Member::spec("a", &diary));
            a.send(to(|_, ctx| ctx.sleep(Duration::from_secs(1))))
                .expect("there is room");
            stepper.run();
            let restarted = supervisor.restart("a");
            stepper.run();
            assert_eq!(states(&supervisor)[0].1, ChildState::Stopping);
            a.drain();
            let reason = StopReason::Drained;
            assert_eq!(
                restarted.wait().unwrap(),
                Err(RestartError::Failed { reason })
            );
            assert_eq!(end_of(&a), StopReason::Drained);
            assert_eq!(states(&supervisor), []);
        });
    }
}

#[test]
fn a_restart_by_request_does_not_count_for_the_intensity() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let tree = stepper.system().supervisor(Strategy::OneForOne);
        let tree = tree.intensity(Intensity::new(0, Duration::from_secs(1)));
        let (supervisor, a) = with_child(tree, Member::spec("a", &diary));
        for _ in 0..5 {
            assert_eq!(supervisor.restart("a").wait().unwrap(), Ok(()));
        }
        a.kill();
        stepper.run();
        assert!(supervisor.is_stopped());
    });
}

#[test]
fn states_are_told_as_they_are() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let backoff = Backoff::exponential(Duration::from_secs(10)).jitter(0.0);
        let slow = Member::spec_playing("a", &diary, |_, ctx| {
            let _ = ctx.sleep(Duration::from_secs(1));
        });
        let mut tree = patient(stepper, Strategy::OneForOne);
        let a = tree.child(slow.backoff(backoff)).unwrap();
        let supervisor = tree.spawn().unwrap();
        stepper.run();
        let state = || (states(&supervisor)[0].1, up(&supervisor));
        assert_eq!(state(), (ChildState::Starting, 0));
        stepper.advance(Duration::from_secs(1));
        assert_eq!(state(), (ChildState::Up, 1));
        let restarted = supervisor.restart("a");
        stepper.run();
        assert_eq!(state(), (ChildState::Stopping, 0));
        stepper.advance(Duration::from_secs(1));
        assert_eq!(state(), (ChildState::Starting, 0));
        stepper.advance(Duration::from_secs(1));
        assert_eq!(state(), (ChildState::Up, 1));
        assert_eq!(restarted.wait().unwrap(), Ok(()));
        a.kill();
        stepper.advance(Duration::from_secs(1));
        assert_eq!(state(), (ChildState::BackingOff, 0));
        stepper.advance(Duration::from_secs(9));
        assert_eq!(state(), (ChildState::Starting, 0));
        stepper.advance(Duration::from_secs(1));
        assert_eq!(state(), (ChildState::Up, 1));
        let removed = supervisor.remove("a");
        stepper.run();
        assert_eq!(state(), (ChildState::Stopping, 0));
        assert_eq!(removed.wait().unwrap(), Ok(StopReason::Removed));
        assert_eq!(states(&supervisor), []);
    });
}

#[test]
fn what_is_asked_of_a_child_that_starts_waits_for_its_start() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let slow = Member::spec_playing("a", &diary, |moment, ctx| {
                if moment == Moment::Started {
                    let _ = ctx.sleep(Duration::from_secs(1));
                }
            });
            let mut tree = patient(stepper, strategy);
            tree.child(slow).unwrap();
            let supervisor = tree.spawn().unwrap();
            stepper.run();
            let restarted = supervisor.restart("a");
            let removed = supervisor.remove("a");
            assert_eq!(restarted.wait().unwrap(), Ok(()));
            assert_eq!(removed.wait().unwrap(), Ok(StopReason::Removed));
            assert_eq!(
                diary.take(),
                [
                    "a started",
                    "a restarting: its supervisor restarts it",
                    "a restarted 1: its supervisor restarts it",
                    "a stopped: its supervisor stopped it",
                ]
            );
        });
    }
}

#[test]
fn requests_get_an_error_when_the_supervisor_ends_first() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let (supervisor, a) = with_child(
            patient(stepper, Strategy::OneForOne),
            Member::spec("a", &diary),
        );
        a.send(to(|_, ctx| ctx.sleep(Duration::from_secs(1))))
            .expect("there is room");
        stepper.run();
        let restarted = supervisor.restart("a");
        let removed = supervisor.remove("a");
        stepper.run();
        supervisor.stop();
        let added = supervisor.add(Member::spec("b", &diary));
        let listed = supervisor.list();
        let stopped = "actor has stopped: it was stopped";
        assert_eq!(in_full(restarted.wait().unwrap_err()), stopped);
        assert_eq!(in_full(removed.wait().unwrap_err()), stopped);
        assert_eq!(in_full(added.wait().unwrap_err()), stopped);
        assert_eq!(in_full(listed.wait().unwrap_err()), stopped);
        assert_eq!(end_of(&a), StopReason::ParentEnded);
    });
}

#[test]
fn a_child_may_ask_its_supervisor_while_it_starts() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let own: Arc<Mutex<Option<Addr<Supervisor>>>> = Arc::default();
            let (known, siblings) = (own.clone(), diary.clone());
            let role = move |moment, _: &mut Context<Member>| {
                let supervisor = known.lock().expect("no panic here").clone();
                if let (Moment::Restarted, Some(supervisor)) = (moment, supervisor) {
                    let listed = supervisor.list().wait().expect("the supervisor answers");
                    assert_eq!(listed[0].state, ChildState::Starting);
                    let added = supervisor.add(Member::spec("b", &siblings));
                    // Though siblings start in order, that is no wait for itself.
                    let added = added.wait_for(Duration::from_secs(1));
                    siblings.note(format!("added: {}", added.is_ok()));
                }
            };
            let child = Member::spec_playing("a", &diary, role);
            let (supervisor, a) = with_child(patient(stepper, strategy), child);
            *own.lock().expect("no panic here") = Some(supervisor.clone());
            diary.take();
            a.kill();
            stepper.advance(Duration::from_secs(2));
            own.lock().expect("no panic here").take();
            let notes = diary.take();
            assert!(notes.contains(&"added: true".to_owned()), "{notes:?}");
            assert_eq!(states(&supervisor)[0], ("a".to_owned(), ChildState::Up));
        });
    }
}

#[test]
fn a_child_may_have_itself_removed() {
    for strategy in STRATEGIES {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let (supervisor, a) = with_child(patient(stepper, strategy), Member::spec("a", &diary));
            let own = supervisor.clone();
            let asked = a.ask(to(move |_, _| {
                let removed = own.remove("a");
                // It cannot wait for its own end: the stop timeout ends that.
                u64::from(removed.wait().is_ok())
            }));
            assert_eq!(outcome(asked), Ok(0));
            assert_eq!(end_of(&a), StopReason::Killed);
            assert_eq!(states(&supervisor), []);
        });
    }
}

#[test]
fn a_child_is_removed_while_another_is_slow_to_stop() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        let mut tree = patient(stepper, Strategy::OneForOne);
        let a = tree
            .child(Member::spec("a", &diary).stop_timeout(StopTimeout::Infinite))
            .unwrap();
        tree.child(Member::spec("b", &diary)).unwrap();
        let supervisor = tree.start().unwrap();
        a.send(to(|_, ctx| ctx.sleep(Duration::from_secs(60))))
            .expect("there is room");
        stepper.run();
        let slow = supervisor.remove("a");
        let begun = stepper.system().now();
        assert_eq!(
            supervisor.remove("b").wait().unwrap(),
            Ok(StopReason::Removed)
        );
        let added = supervisor.add(Member::spec("c", &diary));
        added.wait().unwrap().unwrap();
        assert_eq!(stepper.system().now(), begun);
        assert_eq!(slow.wait().unwrap(), Ok(StopReason::Removed));
    });
}
