//! Moments that do not fit: an order meets another one that is under way.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AutoShutdown, Backoff, ChildSpec, ChildState, Context, Handler, Intensity,
    Restart, StopReason, StopTimeout, Strategy,
};

use super::{Boom, Ping, Worker};
use crate::support::{close_the_books, pool, under_seed, under_seeds};

fn lots() -> Intensity {
    Intensity::new(1000, Duration::from_secs(5))
}

/// A child is told to live while its supervisor ends.
#[test]
fn a_supervisor_that_falls_takes_a_child_along_that_was_just_revived() {
    (0..300).for_each(|seed| {
        under_seed(seed, |stepper: &Stepper| {
            let system = stepper.system();
            let mut inner = system.supervisor(Strategy::OneForOne).intensity(lots());
            let worker = inner.child(ChildSpec::new("worker", || Worker)).unwrap();
            let mut outer = system.supervisor(Strategy::OneForOne).intensity(lots());
            let inner = outer.child(inner.into_spec("inner")).unwrap();
            let outer = outer.start().unwrap();
            worker.send(Boom).unwrap();
            for _ in 0..seed % 13 {
                stepper.step();
            }
            inner.stop();
            let _ = worker.ask(Ping).wait().unwrap();
            stepper.run();
            assert_eq!(inner.count().wait().unwrap().up, 1);
            let list = outer.list().wait().unwrap();
            assert_eq!(list[0].restarts, 1, "stopped once");
        })
    });
}

#[derive(Clone)]
struct Job;
struct Tries(Arc<AtomicU32>);
impl Actor for Tries {}
impl Handler<Job> for Tries {
    type Reply = ();
    fn handle(&mut self, _: Job, _: &mut Context<Self>) {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) > 0, "the first time");
    }
}

/// The next life's making panics, with a message to be tried again.
#[test]
fn a_message_that_is_to_be_tried_again_survives_a_factory_that_panics() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let tries = Arc::new(AtomicU32::new(0));
        let lives = Arc::new(AtomicU32::new(0));
        let mut tree = system.supervisor(Strategy::OneForOne).intensity(lots());
        let (t, l) = (tries.clone(), lives.clone());
        let spec = ChildSpec::new("x", move || {
            assert_ne!(l.fetch_add(1, Ordering::SeqCst), 1, "the second life");
            Tries(t.clone())
        })
        .retry::<Job>(3);
        let child = tree.child(spec).unwrap();
        let _tree = tree.start().unwrap();
        child.send(Job).map_err(|e| e.without_message()).unwrap();
        stepper.run();
        assert_eq!(lives.load(Ordering::SeqCst), 3);
        assert_eq!(tries.load(Ordering::SeqCst), 2, "it is tried again");
    });
}

/// A hook waits for the parent that falls.
struct Parent {
    asked: bool,
    kid: Option<Addr<Kid>>,
    got: Arc<Mutex<Vec<String>>>,
}
struct Hello;
impl Actor for Parent {
    fn started(&mut self, ctx: &mut Context<Self>) {
        let (parent, got) = (ctx.addr(), self.got.clone());
        self.kid = Some(
            ctx.child()
                .stop_timeout(StopTimeout::Infinite)
                .spawn(Kid(parent, got))
                .unwrap(),
        );
    }
}
impl Handler<Hello> for Parent {
    type Reply = ();
    fn handle(&mut self, _: Hello, _: &mut Context<Self>) {
        self.asked = true;
    }
}
struct Fail;
impl Handler<Fail> for Parent {
    type Reply = ();
    fn handle(&mut self, _: Fail, ctx: &mut Context<Self>) {
        ctx.fail("it is to")
    }
}
struct Kid(Addr<Parent>, Arc<Mutex<Vec<String>>>);
impl Actor for Kid {
    fn stopped(&mut self, _: &StopReason, _: &mut Context<Self>) {
        let answer = self.0.ask(Hello).wait();
        self.1.lock().unwrap().push(format!("{answer:?}"));
    }
}

#[test]
fn a_hook_of_a_child_does_not_wait_for_its_parents_next_life() {
    under_seed(1, |stepper| {
        let system = stepper.system();
        let got = Arc::new(Mutex::new(Vec::new()));
        let mut tree = system.supervisor(Strategy::OneForOne);
        let g = got.clone();
        let parent = tree
            .child(ChildSpec::new("p", move || Parent {
                asked: false,
                kid: None,
                got: g.clone(),
            }))
            .unwrap();
        let _tree = tree.start().unwrap();
        stepper.run();
        parent.ask(Fail).wait().unwrap();
        parent.ask(Hello).wait().unwrap();
        assert_eq!(got.lock().unwrap().len(), 1);
    });
}

/// At a shutdown a child waits for a sibling that is down.
struct Asker(Addr<Worker>);
impl Actor for Asker {}
struct Wait;
impl Handler<Wait> for Asker {
    type Reply = ();
    fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        let _ = self.0.ask(Ping).wait();
    }
}

#[test]
fn at_a_shutdown_a_child_does_not_wait_for_an_earlier_sibling_that_is_down() {
    under_seed(1, |stepper| {
        let system = stepper.system();
        let mut tree = system.supervisor(Strategy::OneForOne);
        let a = tree
            .child(
                ChildSpec::new("a", || Worker)
                    .backoff(Backoff::exponential(Duration::from_secs(3600))),
            )
            .unwrap();
        let b = a.clone();
        let b = tree
            .child(ChildSpec::new("b", move || Asker(b.clone())))
            .unwrap();
        let _tree = tree.start().unwrap();
        a.send(Boom).unwrap();
        stepper.run();
        b.send(Wait).unwrap();
        stepper.run();
        let before = system.now();
        let report = system.shutdown(Duration::from_secs(60));
        assert!(report.is_clean());
        assert_eq!(system.now() - before, Duration::ZERO);
    });
}

/// The restart of a child whose restart is put off.
#[test]
fn a_child_whose_restart_is_put_off_is_started_once_by_restart() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let mut tree = system.supervisor(Strategy::OneForOne);
        let spec =
            ChildSpec::new("w", || Worker).backoff(Backoff::exponential(Duration::from_secs(600)));
        let worker = tree.child(spec).unwrap();
        let tree = tree.start().unwrap();
        worker.send(Boom).unwrap();
        stepper.run();
        assert_eq!(tree.list().wait().unwrap()[0].state, ChildState::BackingOff);
        tree.restart("w").wait().unwrap().unwrap();
        assert_eq!(
            worker.ask(Ping).wait().unwrap(),
            1,
            "it is started now, once"
        );
    });
}

struct Temp;
impl Actor for Temp {}

/// A significant child that the strategy ends does not end of itself.
#[test]
fn a_significant_child_that_a_sibling_takes_along_ends_nothing() {
    (0..500).for_each(|seed| {
        under_seed(seed, |stepper: &Stepper| {
            let system = stepper.system();
            let mut tree = system
                .supervisor(Strategy::RestForOne)
                .intensity(lots())
                .auto_shutdown(AutoShutdown::AnySignificant);
            let a = tree.child(ChildSpec::new("a", || Worker)).unwrap();
            let b = tree.child(ChildSpec::new("b", || Worker)).unwrap();
            let _c = tree
                .child(
                    ChildSpec::new("c", || Temp)
                        .restart(Restart::Temporary)
                        .significant(),
                )
                .unwrap();
            let tree = tree.start().unwrap();
            b.send(Boom).unwrap();
            for _ in 0..seed % 11 {
                stepper.step();
            }
            a.send(Boom).unwrap();
            stepper.run();
            let count = tree.count().wait().expect("it goes on");
            assert_eq!(count.up, 2);
        })
    });
}

/// What was removed is gone.
#[test]
fn what_was_removed_can_be_added_at_once() {
    for round in 0..200 {
        let system = pool(4);
        let tree = system
            .supervisor(Strategy::Dynamic)
            .intensity(lots())
            .start()
            .unwrap();
        for n in 0..4 {
            tree.add(ChildSpec::new(format!("y{n}"), || Worker))
                .wait()
                .unwrap()
                .unwrap();
        }
        std::thread::scope(|scope| {
            for n in 0..4 {
                let tree = tree.clone();
                scope.spawn(move || {
                    for _ in 0..50 {
                        tree.restart(format!("y{n}")).wait().unwrap().unwrap();
                    }
                });
            }
            for _ in 0..50 {
                tree.add(ChildSpec::new("x", || Worker))
                    .wait()
                    .unwrap()
                    .unwrap_or_else(|e| panic!("round {round}: {e}"));
                tree.remove("x").wait().unwrap().unwrap();
            }
        });
        close_the_books(&system);
    }
}

/// A shutdown while a tree is spawned.
#[test]
fn a_shutdown_while_a_tree_is_spawned() {
    for _ in 0..3000 {
        let system = pool(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut inner = system.supervisor(Strategy::OneForOne);
                let Ok(a) = inner.child(ChildSpec::new("a", || Worker)) else {
                    return;
                };
                let mut outer = system.supervisor(Strategy::OneForOne);
                let Ok(_) = outer.child(inner.into_spec("i")) else {
                    return;
                };
                let _ = outer.start();
                let _ = a.join();
            });
            let report = system.shutdown_now(Duration::from_secs(2));
            assert!(report.is_clean(), "{report}");
        });
    }
}
