//! Tasks of a shutdown, children before parents, and the report as a tree.

use std::sync::mpsc;
use std::time::Duration;

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{
    Actor, ChildSpec, Context, Handler, ShutdownPhase, StopReason, Strategy, System, TaskOutcome,
};

use crate::support::{Entry, Hold, Log};
use crate::support::{PATIENCE, eventually, gate, in_pools, under_seeds};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_tasks_of_the_phases_run_around_the_end_of_the_actors() {
    struct Teller(mpsc::Sender<&'static str>);
    impl Actor for Teller {
        fn stopped(&mut self, _: &StopReason, _: &mut Context<Self>) {
            let _ = self.0.send("actor");
        }
    }
    in_pools(|system| {
        let (tell, told) = mpsc::channel();
        let _teller = system.spawn(Teller(tell.clone()));
        for (phase, word) in [
            (ShutdownPhase::Flush, "flush"),
            (ShutdownPhase::StopAccepting, "close"),
        ] {
            let tell = tell.clone();
            system.on_shutdown(phase, word, move |_| tell.send(word).unwrap());
        }
        drop(tell);
        let report = system.shutdown(PATIENCE);
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.tasks.len(), 2);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["close", "actor", "flush"]);
    });
}

#[test]
fn a_task_that_panics_is_named() {
    in_pools(|system| {
        system.on_shutdown(ShutdownPhase::StopAccepting, "bad", |_| panic!("no door"));
        let report = system.shutdown(PATIENCE);
        let [task] = &report.tasks[..] else {
            panic!("there is one task: {report}");
        };
        assert_eq!(task.outcome, TaskOutcome::Panicked("no door".into()));
        assert!(!report.is_clean());
        assert_eq!(
            report.to_string(),
            "0 ended; `bad` (stop accepting) panicked: no door"
        );
    });
}

#[test]
fn a_task_that_is_late_leaves_half_of_the_time_to_those_that_follow() {
    let clock = ManualClock::new();
    let system = System::builder().clock(&clock).workers(1).build().unwrap();
    let (hold, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    system.on_shutdown(ShutdownPhase::StopAccepting, "slow", move |left| {
        assert_eq!(left, LIMIT / 2);
        let _ = held.recv();
    });
    system.on_shutdown(ShutdownPhase::Flush, "good", move |left| {
        tell.send(left).unwrap()
    });
    let of_shutdown = system.clone();
    let ended = std::thread::spawn(move || of_shutdown.shutdown(LIMIT));
    eventually("the shutdown waits for its task", || {
        system.snapshot().timers == 1
    });
    clock.advance(LIMIT / 2);
    let report = ended.join().expect("it does not panic");
    drop(hold);
    let outcomes: Vec<_> = report.tasks.iter().map(|task| &task.outcome).collect();
    assert_eq!(outcomes, [&TaskOutcome::Late, &TaskOutcome::Done]);
    assert_eq!(told.recv(), Ok(LIMIT / 2));
    assert_eq!(
        report.to_string(),
        "0 ended; `slow` (stop accepting) was not done in time"
    );
}

/// Asks its child for something when it drains.
struct Boss {
    log: Option<greenroom::Addr<Log>>,
}

impl Actor for Boss {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.log = Some(ctx.spawn_child(Log::default()));
    }
}

impl Handler<Entry> for Boss {
    type Reply = ();

    fn handle(&mut self, entry: Entry, _: &mut Context<Self>) {
        let log = self.log.as_ref().expect("it has started");
        log.send(entry).expect("the child is there");
    }
}

#[test]
fn children_are_there_until_their_parent_has_drained() {
    under_seeds(|stepper| {
        let boss = stepper.system().spawn(Boss { log: None });
        stepper.run();
        for number in 0..200 {
            boss.try_send(Entry(number)).expect("there is room");
        }
        let report = stepper.system().shutdown(LIMIT);
        assert!(report.is_clean(), "{report}");
        let totals = stepper.system().snapshot().totals;
        assert_eq!((totals.handled, totals.dead_lettered), (400, 0), "{totals}");
    });
}

#[test]
fn who_is_stuck_is_named_below_those_who_wait_for_it() {
    let clock = ManualClock::new();
    let system = System::builder().clock(&clock).workers(2).build().unwrap();
    let mut inner = system.supervisor(Strategy::OneForOne);
    let stuck = inner.child(ChildSpec::new("stuck", Log::default)).unwrap();
    let fine = inner.child(ChildSpec::new("fine", Log::default)).unwrap();
    let mut tree = system.supervisor(Strategy::OneForOne);
    tree.child(inner.into_spec("inner")).unwrap();
    tree.start().unwrap();
    let (hold, held) = gate();
    stuck.send::<Hold>(hold).expect("there is room");
    held.wait_until_held();
    let of_shutdown = system.clone();
    let ended = std::thread::spawn(move || of_shutdown.shutdown(Duration::from_secs(2)));
    fine.join().expect("the others are stopped first");
    let left = |actors: usize, timers: usize| {
        eventually("all is done that needs no time", || {
            let snapshot = system.snapshot();
            snapshot.actors.len() == actors && snapshot.timers == timers
        });
    };
    // The deadline's timer, and that of the child: it is killed after half of the time, and given
    // up after half of the rest.
    left(3, 2);
    clock.advance(Duration::from_secs(1));
    left(3, 2);
    clock.advance(Duration::from_millis(500));
    left(1, 1);
    clock.advance(Duration::from_millis(500));
    let report = ended.join().expect("it does not panic");
    held.open();
    // It was given up before the deadline, so those above it have ended.
    let unfinished: Vec<_> = report.unfinished.iter().map(ToString::to_string).collect();
    assert_eq!(unfinished.len(), 1, "{report}");
    assert!(unfinished[0].ends_with("(stuck) was still handling `it::support::Hold`"));
    let report = system.shutdown(PATIENCE);
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_report_can_be_shown_as_a_tree() {
    let stepper = Stepper::new(1);
    let system = stepper.system();
    let mut inner = system.supervisor(Strategy::OneForOne);
    inner.child(ChildSpec::new("first", Log::default)).unwrap();
    inner.child(ChildSpec::new("second", Log::default)).unwrap();
    let mut tree = system.supervisor(Strategy::OneForOne);
    tree.child(inner.into_spec("inner")).unwrap();
    tree.start().unwrap();
    let report = system.shutdown(Duration::ZERO);
    assert_eq!(
        format!("{report:#}"),
        "0 ended, 4 did not, with 0 messages left\n  \
         `greenroom::supervisor::Supervisor` #4 (supervisor) had not had its turn\n    \
         `greenroom::supervisor::Supervisor` #3 (inner) had not had its turn\n      \
         `it::support::Log` #1 (first) had not had its turn\n      \
         `it::support::Log` #2 (second) had not had its turn"
    );
}

#[test]
fn an_actor_that_drains_ends_when_its_children_have() {
    under_seeds(|stepper| {
        let boss = stepper.system().spawn(Boss { log: None });
        stepper.run();
        boss.drain();
        stepper.run();
        assert!(boss.is_stopped());
        assert!(stepper.system().snapshot().actors.is_empty());
    });
}
