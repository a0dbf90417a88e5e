//! What needs real threads: a child's own thread, handlers that do not return, timers that fire
//! while a life ends; and the contract in pools of several sizes.

use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenroom::testkit::ManualClock;
use greenroom::{
    Addr, Backoff, GaveUpBecause, Intensity, RemoveError, RestartError, StopTimeout, Strategy,
    System,
};

use super::*;
use crate::support::{PATIENCE, end_of, eventually, in_pools};

fn patient(system: &System, strategy: Strategy) -> SupervisorBuilder {
    system.supervisor(strategy).intensity(Intensity::UNLIMITED)
}

/// What came of a request to a pool, in words.
fn soon(reply: Reply<u64>) -> Result<u64, String> {
    reply.wait_for(PATIENCE).map_err(in_full)
}

#[test]
fn a_life_follows_another_and_answers_what_was_queued() {
    in_pools(|system| {
        let diary = Diary::default();
        let (supervisor, a) = with_child(
            patient(system, Strategy::OneForOne),
            Member::spec("a", &diary),
        );
        for round in 0..200 {
            let hand = a.ask(to_panic());
            let owed = a.ask(Owe);
            let queued = a.ask(to(|_, ctx| ctx.restarts()));
            let failing = a.ask(to_fail());
            let panicked = "the asked actor panicked: on request";
            assert_eq!(soon(hand), Err(panicked.to_owned()));
            assert_eq!(soon(queued), Ok(2 * round + 1));
            assert_eq!(soon(failing), Ok(1));
            assert_eq!(
                soon(owed),
                Err("actor has stopped: it failed: by request".to_owned())
            );
        }
        eventually("the last life has begun", || {
            supervisor.list().wait_for(PATIENCE).unwrap()[0].restarts == 400
        });
        supervisor.stop();
        assert_eq!(end_of(&a), StopReason::ParentEnded);
        let notes = diary.take();
        assert_eq!(notes.len(), 1 + 2 * 400 + 1);
        assert!(!notes.iter().any(|note| note.ends_with("lives twice")));
    });
}

#[test]
fn a_child_on_a_thread_keeps_it_over_all_lives_and_need_not_be_send() {
    struct Bound(Rc<thread::ThreadId>);
    impl Actor for Bound {}
    impl Handler<()> for Bound {
        type Reply = (thread::ThreadId, Option<String>);
        fn handle(&mut self, (): (), _: &mut Context<Self>) -> Self::Reply {
            assert_eq!(*self.0, thread::current().id());
            (*self.0, thread::current().name().map(str::to_owned))
        }
    }
    in_pools(|system| {
        let child = ChildSpec::on_thread("bound", || Bound(Rc::new(thread::current().id())));
        let (supervisor, bound) = with_child(patient(system, Strategy::OneForOne), child);
        let (first, name) = bound.ask(()).wait_for(PATIENCE).unwrap();
        assert_eq!(name.as_deref(), Some("bound"));
        assert_ne!(first, thread::current().id());
        for restarts in 1..=20 {
            if restarts % 2 == 0 {
                bound.kill();
                eventually("it is restarted", || {
                    supervisor.list().wait_for(PATIENCE).unwrap()[0].restarts == restarts
                });
            } else {
                assert_eq!(
                    supervisor.restart("bound").wait_for(PATIENCE).unwrap(),
                    Ok(())
                );
            }
            assert_eq!(bound.ask(()).wait_for(PATIENCE).unwrap().0, first);
        }
    });
}

/// Why the actor ended; its system's clock stands still meanwhile.
fn ended<A: Actor>(addr: &Addr<A>) -> StopReason {
    eventually("the actor ends", || addr.is_stopped());
    end_of(addr)
}

/// A system whose clock is moved by hand, and a child that holds its thread.
struct Held {
    system: System,
    clock: ManualClock,
    diary: Diary,
    supervisor: Addr<Supervisor>,
    a: Addr<Member>,
    held: Reply<u64>,
    release: mpsc::Sender<()>,
}

/// Moves the clock on as soon as somebody waits for that moment.
fn pass(clock: &ManualClock, system: &System, span: Duration) {
    eventually("a timer is set", || system.snapshot().timers > 0);
    clock.advance(span);
}

fn held(tree: impl FnOnce(&System) -> SupervisorBuilder, restart: Restart) -> Held {
    let clock = ManualClock::new();
    let system = System::builder().workers(2).clock(&clock);
    let system = system
        .warn_slow_handler(None)
        .warn_long_wait(None)
        .build()
        .unwrap();
    let diary = Diary::default();
    let child = Member::spec("a", &diary)
        .restart(restart)
        .stop_timeout(StopTimeout::After(Duration::from_secs(3)));
    let mut tree = tree(&system);
    tree.child(Member::spec("b", &diary)).unwrap();
    // It is the first to be stopped.
    let a = tree.child(child).unwrap();
    let supervisor = tree.start().unwrap();
    diary.take();
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let held = a.ask(to(move |_, _| {
        begun.send(()).expect("the test waits for it");
        // A test that fails drops its side.
        u64::from(released.recv().is_ok())
    }));
    begins.recv_timeout(PATIENCE).expect("the handler begins");
    Held {
        system,
        clock,
        diary,
        supervisor,
        a,
        held,
        release,
    }
}

impl Held {
    /// Lets the stop timeout and the second after it pass.
    fn exhaust(&self) {
        pass(&self.clock, &self.system, Duration::from_secs(3));
        pass(&self.clock, &self.system, Duration::from_secs(1));
    }

    fn release(self) {
        let Self {
            a,
            held,
            release,
            system,
            ..
        } = self;
        assert!(!a.is_stopped());
        release.send(()).expect("the handler holds");
        assert_eq!(soon(held), Ok(1));
        assert_eq!(ended(&a), StopReason::Stuck);
        crate::support::close_the_books(&system);
    }
}

#[test]
fn a_child_that_is_removed_and_never_returns_is_given_up() {
    for restart in RESTARTS {
        let held = held(|system| patient(system, Strategy::OneForOne), restart);
        let removed = held.supervisor.remove("a");
        held.exhaust();
        let removed = removed.wait_for(PATIENCE).unwrap();
        assert_eq!(removed, Err(RemoveError::Stuck { id: "a".into() }));
        let children = held.supervisor.list().wait_for(PATIENCE).unwrap();
        assert_eq!(children.len(), 1);
        held.release();
    }
}

#[test]
fn a_child_that_is_restarted_and_never_returns_takes_its_supervisor_with_it() {
    for restart in [Restart::Permanent, Restart::Transient] {
        let held = held(|system| patient(system, Strategy::OneForOne), restart);
        let restarted = held.supervisor.restart("a");
        held.exhaust();
        let restarted = restarted.wait_for(PATIENCE).unwrap();
        let reason = StopReason::Stuck;
        assert_eq!(restarted, Err(RestartError::Failed { reason }));
        let StopReason::GaveUp(escalation) = ended(&held.supervisor) else {
            panic!("it gives up");
        };
        assert_eq!(escalation.cause, GaveUpBecause::Stuck);
        assert_eq!(escalation.child.id, held.a.id());
        assert_eq!(held.diary.take(), ["b stopped: its parent ended"]);
        held.release();
    }
}

#[test]
fn a_temporary_child_that_never_returns_is_left_behind_by_its_siblings() {
    let held = held(
        |system| patient(system, Strategy::OneForAll),
        Restart::Temporary,
    );
    let restarts = || {
        let children = held.supervisor.list().wait_for(PATIENCE).unwrap();
        let b = children.iter().find(|child| *child.id == *"b");
        b.expect("it is a child").restarts
    };
    let added = held.supervisor.add(Member::spec("c", &held.diary));
    let c = added.wait_for(PATIENCE).unwrap().unwrap();
    c.kill();
    held.exhaust();
    eventually("the others are restarted", || restarts() == 1);
    let notes = held.diary.take();
    assert_eq!(
        notes,
        [
            "c started",
            "c restarting: it was killed",
            "b restarting: its supervisor restarts it",
            "b restarted 1: its supervisor restarts it",
            "c restarted 1: it was killed",
        ]
    );
    held.release();
}

#[test]
fn an_actor_gives_up_a_child_that_never_returns() {
    let held = held(
        |system| patient(system, Strategy::OneForOne),
        Restart::Permanent,
    );
    held.supervisor.stop();
    pass(&held.clock, &held.system, Duration::from_secs(3));
    assert!(!held.supervisor.is_stopped());
    pass(&held.clock, &held.system, Duration::from_secs(1));
    assert_eq!(ended(&held.supervisor), StopReason::Stopped);
    assert_eq!(held.diary.take(), ["b stopped: its parent ended"]);
    held.release();
}

/// The tick is being made, on the timer's thread, while the life that asked for it ends.
#[test]
fn an_interval_that_fires_while_a_life_ends_ends_with_it() {
    let clock = ManualClock::new();
    let system = System::builder().workers(2).clock(&clock);
    let system = system
        .warn_slow_handler(None)
        .warn_long_wait(None)
        .build()
        .unwrap();
    let diary = Diary::default();
    let (supervisor, a) = with_child(
        patient(&system, Strategy::OneForOne),
        Member::spec("a", &diary),
    );
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let set = a.ask(to(move |_, ctx| {
        let _ = ctx.interval(Duration::from_secs(1), move || {
            begun.send(()).expect("the test waits for it");
            let _ = released.recv();
            to_note("tick")
        });
        0
    }));
    assert_eq!(soon(set), Ok(0));
    let moved = {
        let clock = clock.clone();
        thread::spawn(move || clock.advance(Duration::from_secs(1)))
    };
    begins.recv_timeout(PATIENCE).expect("the tick is made");
    assert_eq!(supervisor.restart("a").wait_for(PATIENCE).unwrap(), Ok(()));
    drop(release);
    moved.join().expect("the clock moves");
    eventually("no timer is left", || system.snapshot().timers == 0);
    clock.advance(Duration::from_secs(10));
    assert!(begins.try_recv().is_err(), "it would have ticked again");
    crate::support::close_the_books(&system);
}

#[test]
fn a_storm_of_requests_to_a_supervisor_hangs_nobody() {
    in_pools(|system| {
        let diary = Diary::default();
        let tree = patient(system, Strategy::OneForOne);
        let supervisor = tree.start().unwrap();
        thread::scope(|scope| {
            for number in 0..4_usize {
                let (supervisor, diary) = (supervisor.clone(), diary.clone());
                scope.spawn(move || {
                    let id = ["p", "q", "r", "s"][number];
                    for round in 0..50 {
                        let backoff = Backoff::exponential(Duration::from_secs(3600));
                        let child = Member::spec(id, &diary).backoff(backoff);
                        let added = supervisor.add(child).wait_for(PATIENCE).unwrap();
                        let child = added.expect("its id is free");
                        if round % 3 == 0 {
                            child.kill();
                        }
                        if round % 2 == 0 {
                            let restarted = supervisor.restart(id).wait_for(PATIENCE).unwrap();
                            assert_eq!(restarted, Ok(()));
                        }
                        let listed = supervisor.list().wait_for(PATIENCE).unwrap();
                        assert!(listed.iter().any(|child| *child.id == *id));
                        let removed = supervisor.remove(id).wait_for(PATIENCE).unwrap();
                        assert!(removed.is_ok(), "{removed:?}");
                        assert!(child.is_stopped());
                    }
                });
            }
        });
        let count = supervisor.count().wait_for(PATIENCE).unwrap();
        assert_eq!((count.all, count.up, count.supervisors), (0, 0, 0));
        assert_eq!(system.snapshot().actors.len(), 1);
    });
}
