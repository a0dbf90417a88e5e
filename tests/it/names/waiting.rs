//! Waiting for an actor of a name: in a handler, on a thread, in a task.
#![expect(
    unsafe_code,
    reason = "a waker that acts when it is cloned can only be made by hand"
)]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context as TaskContext, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Awaited, NamedError, Reply, StopReason, System, WaitError};

use super::{assert_no_names, log};
use crate::support::{
    Log, PATIENCE, Player, act, end_of, eventually, in_a_pool, in_pools, in_time, under_seed,
    under_seeds,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

type Found = Result<Addr<Log>, NamedError>;

/// A player whose handler waits for the log of this name, and what it will find.
fn waiting(system: &System, name: &'static str) -> (Addr<Player>, Reply<Found>) {
    let player = system.spawn(Player::default());
    let found = player.ask(act(move |_, ctx| ctx.named::<Log>(name).wait()));
    (player, found)
}

/// Counts its calls.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn an_actor_that_is_there_is_found_at_once() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let ledger = log(system, "ledger");
        let named = || system.named::<Log>("ledger");
        assert_eq!(named().wait().unwrap(), ledger);
        assert_eq!(named().wait_for(Duration::ZERO).unwrap(), ledger);
        let mut cx = TaskContext::from_waker(Waker::noop());
        let Poll::Ready(found) = pin!(named()).poll(&mut cx) else {
            panic!("it is there");
        };
        assert_eq!(found.unwrap(), ledger);
        let (_player, found) = waiting(system, "ledger");
        assert_eq!(found.wait().unwrap().unwrap(), ledger);
        assert_eq!(system.snapshot().names, 1);
    });
}

#[test]
fn a_handler_that_waits_for_a_name_shows_so_and_goes_on_when_the_actor_is_there() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let (_player, found) = waiting(system, "ledger");
        stepper.run();
        let waits = system.waits();
        let Awaited::Name { name, actor_type } = &waits[0].awaited else {
            panic!("{}", waits[0]);
        };
        assert_eq!(&**name, "ledger");
        assert!(actor_type.ends_with("::Log"));
        let text = waits[0].awaited.to_string();
        assert!(text.starts_with("an actor `"), "{text}");
        assert!(text.ends_with("::Log` registered as ledger"), "{text}");
        assert_eq!(system.snapshot().names, 1, "waited for");
        assert_eq!(system.registered(), [], "and not taken");
        // Neither another name nor another type is what it waits for.
        let _other = log(system, "ledgers");
        let _player = system.actor().registered("ledger").spawn(Player::default());
        stepper.run();
        assert_eq!(system.waits().len(), 1);
        let ledger = log(system, "ledger");
        assert_eq!(found.wait().unwrap().unwrap(), ledger);
        assert_eq!(system.snapshot().names, 3);
    });
}

#[test]
fn all_who_wait_for_a_name_get_the_address() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let waiting: Vec<_> = (0..20).map(|_| waiting(system, "ledger")).collect();
        stepper.run();
        let ledger = log(system, "ledger");
        for (_player, found) in waiting {
            assert_eq!(found.wait().unwrap().unwrap(), ledger);
        }
        assert_eq!(system.snapshot().names, 1);
    });
}

#[test]
fn a_wait_with_a_limit_ends_at_the_limit_and_not_before() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let limited = |name: &'static str| {
            let player = system.spawn(Player::default());
            let found = player.ask(act(move |_, ctx| {
                let begun = ctx.now();
                let found = ctx.named::<Log>(name).wait_for(HOUR);
                (found, ctx.now() - begun)
            }));
            (player, found)
        };
        let (_first, early) = limited("early");
        let (_second, never) = limited("never");
        stepper.advance(HOUR - SECOND);
        let log = log(system, "early");
        assert_eq!(early.wait().unwrap(), (Ok(log), HOUR - SECOND));
        let never = never.wait().unwrap();
        assert_eq!(never, (Err(NamedError::TimedOut), HOUR));
        let snapshot = system.snapshot();
        assert_eq!(
            (snapshot.names, snapshot.timers),
            (0, 0),
            "the log has ended"
        );
    });
}

#[test]
fn a_thread_that_waits_goes_on_when_the_actor_is_there() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let player = system.spawn(Player::default());
        let spawned = player.ask(act(|_, ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            let spawner = ctx.actor().registered("ledger");
            spawner.spawn(Log::default()).expect("the name is free")
        }));
        let begun = system.now();
        let found = system.named::<Log>("ledger").wait_for(HOUR);
        assert_eq!(system.now() - begun, SECOND);
        assert_eq!(found.unwrap(), spawned.wait().unwrap());
    });
    in_pools(|system| {
        let outside = system.clone();
        let finder = thread::spawn(move || outside.named::<Log>("ledger").wait());
        eventually("it waits", || system.snapshot().names == 1);
        let ledger = log(system, "ledger");
        assert_eq!(in_time(|| finder.join().unwrap()).unwrap(), ledger);
    });
}

#[test]
fn a_task_that_awaits_a_name_is_called_once_and_leaves_nothing_when_it_is_dropped() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(calls.clone());
        let mut cx = TaskContext::from_waker(&waker);
        let mut named = system.named::<Log>("ledger");
        assert_eq!(
            system.snapshot().names,
            0,
            "nobody waits before the first poll"
        );
        for _ in 0..3 {
            assert!(pin!(&mut named).poll(&mut cx).is_pending());
        }
        assert_eq!(Arc::strong_count(&calls), 3, "one waker is kept");
        let ledger = log(system, "ledger");
        assert_eq!(calls.0.load(SeqCst), 1);
        let Poll::Ready(found) = pin!(&mut named).poll(&mut cx) else {
            panic!("it is there");
        };
        assert_eq!(found.unwrap(), ledger);
        let mut abandoned = system.named::<Log>("never");
        assert!(pin!(&mut abandoned).poll(&mut cx).is_pending());
        assert_eq!(system.snapshot().names, 2);
        drop(abandoned);
        assert_eq!(system.snapshot().names, 1);
        drop(named);
        drop(waker);
        assert_eq!(Arc::strong_count(&calls), 1, "no waker is kept");
    });
    in_pools(|system| {
        let outside = system.clone();
        let task = async move { outside.named::<Log>("ledger").await };
        let finder = thread::spawn(|| pollster::block_on(task));
        eventually("it waits", || system.snapshot().names == 1);
        let ledger = log(system, "ledger");
        assert_eq!(in_time(|| finder.join().unwrap()).unwrap(), ledger);
    });
}

/// Drops what it waits for a name with when it is called, as a task's waker may that is the last
/// to hold the task.
#[test]
fn a_waker_may_drop_a_wait_for_the_same_name() {
    struct Task(Mutex<Option<greenroom::Named<Log>>>);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    under_seed(0, |stepper| {
        let system = stepper.system();
        let task = Arc::new(Task(Mutex::new(None)));
        let waker = Waker::from(task.clone());
        for _ in 0..2 {
            let mut named = system.named::<Log>("ledger");
            let mut cx = TaskContext::from_waker(&waker);
            assert!(pin!(&mut named).poll(&mut cx).is_pending());
            let before = task.0.lock().unwrap().replace(named);
            drop(before);
        }
        let _ledger = log(system, "ledger");
        assert!(task.0.lock().unwrap().is_none());
        assert_eq!(system.snapshot().names, 1);
    });
}

#[test]
fn a_waker_that_panics_keeps_nobody_from_the_address() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("planted");
        }
    }
    under_seeds(|stepper| {
        let system = stepper.system();
        let waker = Waker::from(Arc::new(Bomb));
        let mut named = system.named::<Log>("ledger");
        let mut cx = TaskContext::from_waker(&waker);
        assert!(pin!(&mut named).poll(&mut cx).is_pending());
        let (_player, found) = waiting(system, "ledger");
        stepper.run();
        let ledger = log(system, "ledger");
        assert_eq!(found.wait().unwrap().unwrap(), ledger);
    });
}

#[test]
fn a_kill_ends_the_wait_and_leaves_nothing() {
    let check = |system: &System, until_it_waits: &dyn Fn()| {
        let (player, found) = waiting(system, "never");
        until_it_waits();
        assert_eq!(system.snapshot().names, 1);
        player.kill();
        let found = found.wait().unwrap();
        assert_eq!(found, Err(NamedError::Wait(WaitError::Interrupted)));
        assert_eq!(end_of(&player), StopReason::Killed);
        assert_no_names(system);
    };
    under_seeds(|stepper| {
        check(stepper.system(), &|| {
            stepper.run();
        });
    });
    in_pools(|system| {
        check(system, &|| {
            eventually("it waits", || system.waits().len() == 1);
        });
    });
}

#[test]
fn a_shutdown_ends_every_wait_and_later_ones_at_once() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let (player, found) = waiting(system, "never");
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(calls.clone());
        let mut cx = TaskContext::from_waker(&waker);
        let mut named = system.named::<Log>("never");
        assert!(pin!(&mut named).poll(&mut cx).is_pending());
        stepper.run();
        let begun = system.now();
        let report = system.shutdown(HOUR);
        assert!(report.is_clean(), "{report}");
        assert_eq!(system.now(), begun, "it takes no time");
        assert_eq!(found.wait().unwrap(), Err(NamedError::ShuttingDown));
        assert_eq!(end_of(&player), StopReason::Shutdown);
        assert_eq!(calls.0.load(SeqCst), 1);
        let polled = pin!(&mut named).poll(&mut cx);
        assert_eq!(polled, Poll::Ready(Err(NamedError::ShuttingDown)));
        drop(named);
        let late = system.named::<Log>("never").wait();
        assert_eq!(late, Err(NamedError::ShuttingDown));
        assert_no_names(system);
    });
    // The last handle to a system goes.
    for workers in [1, 2, 8] {
        let system = crate::support::pool(workers);
        let named = system.named::<Log>("never");
        let finder = thread::spawn(move || named.wait());
        eventually("it waits", || system.snapshot().names == 1);
        drop(system);
        let found = in_time(|| finder.join().unwrap());
        assert_eq!(found, Err(NamedError::ShuttingDown));
    }
}

#[test]
fn an_actor_that_is_ending_is_not_waited_for_but_its_successor() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let ending = Player::ending_with(|_, ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
        });
        let first = system.actor().registered("nell").spawn(ending).unwrap();
        first.stop();
        let waiter = system.spawn(Player::default());
        let found = waiter.ask(act(|_, ctx| ctx.named::<Player>("nell").wait()));
        stepper.run();
        assert_eq!(system.waits().len(), 2, "the one that ends, and who waits");
        end_of(&first);
        let second = system.actor().registered("nell").spawn(Player::default());
        let second = second.unwrap();
        assert_eq!(found.wait().unwrap().unwrap(), second);
    });
}

#[test]
fn who_waits_for_an_actor_without_address_finds_it_when_it_makes_itself_one() {
    let check = |stepper: &Stepper, makes_one: bool| {
        let system = stepper.system();
        let nell = system.actor().registered("nell").spawn(Player::default());
        let nell = nell.unwrap();
        let (keep, kept) = mpsc::channel();
        let scene = act(move |_, ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            if makes_one {
                keep.send(ctx.addr()).expect("the test listens");
            }
        });
        nell.send(scene).unwrap();
        drop(nell);
        let waiter = system.spawn(Player::default());
        let found = waiter.ask(act(|_, ctx| ctx.named::<Player>("nell").wait_for(HOUR)));
        stepper.run();
        assert_eq!(system.find::<Player>("nell"), None);
        let begun = system.now();
        let found = found.wait().unwrap();
        if makes_one {
            assert_eq!(found.unwrap(), kept.try_recv().unwrap());
            assert_eq!(system.now() - begun, SECOND);
        } else {
            assert_eq!(found, Err(NamedError::TimedOut));
        }
    };
    under_seeds(|stepper| check(stepper, true));
    under_seeds(|stepper| check(stepper, false));
}

#[test]
fn a_wait_keeps_neither_an_actor_nor_a_system_alive() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let named = system.named::<Log>("ledger");
        let ledger = log(system, "ledger");
        drop(ledger);
        stepper.run();
        assert_no_names(system);
        drop(named);
    });
}

/// Polls a wait for the ledger by a waker that calls `act` when it is cloned: that is in the middle
/// of the poll, after the first look and before the clone is left for whoever comes.
fn polled_while(system: &System, act: &(dyn Fn() + Sync)) -> Poll<Found> {
    fn clone(act: *const ()) -> RawWaker {
        // SAFETY: it is what is borrowed below, and lives until the wakers are gone.
        let act = unsafe { &*act.cast::<&(dyn Fn() + Sync)>() };
        act();
        RawWaker::new(std::ptr::from_ref(act).cast(), &VTABLE)
    }
    fn nothing(_: *const ()) {}
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, nothing, nothing, nothing);
    // SAFETY: `act` is `Sync`, so any thread may call it. The waker, and its clone that the wait
    // leaves, go before this function returns.
    let waker = unsafe { Waker::new(std::ptr::from_ref(&act).cast(), &VTABLE) };
    let mut named = system.named::<Log>("ledger");
    pin!(&mut named).poll(&mut TaskContext::from_waker(&waker))
}

#[test]
fn what_comes_between_the_first_look_and_the_waker_is_not_missed() {
    in_pools(|system| {
        let registered = Mutex::new(None);
        let found = polled_while(system, &|| {
            *registered.lock().unwrap() = Some(log(system, "ledger"));
        });
        let ledger = registered.lock().unwrap().take().expect("it was cloned");
        assert_eq!(found, Poll::Ready(Ok(ledger.clone())));
        ledger.stop();
        end_of(&ledger);
        let found = polled_while(system, &|| {
            assert!(system.shutdown(PATIENCE).is_clean());
        });
        assert_eq!(found, Poll::Ready(Err(NamedError::ShuttingDown)));
    });
}

#[test]
fn no_call_is_lost_between_who_registers_and_who_waits() {
    in_pools(|system| {
        let system = system.clone();
        in_time(move || {
            let start = Barrier::new(3);
            thread::scope(|scope| {
                let threads = scope.spawn(|| {
                    for _ in 0..500 {
                        start.wait();
                        system.named::<Log>("ledger").wait().unwrap();
                        start.wait();
                    }
                });
                let tasks = scope.spawn(|| {
                    for _ in 0..500 {
                        start.wait();
                        pollster::block_on(system.named::<Log>("ledger")).unwrap();
                        start.wait();
                    }
                });
                for _ in 0..500 {
                    let (_player, found) = waiting(&system, "ledger");
                    start.wait();
                    let ledger = log(&system, "ledger");
                    assert_eq!(found.wait_for(PATIENCE).unwrap().unwrap(), ledger);
                    start.wait();
                    ledger.stop();
                    end_of(&ledger);
                }
                threads.join().unwrap();
                tasks.join().unwrap();
            });
            assert_no_names(&system);
        });
    });
}

#[test]
fn no_call_is_lost_between_a_shutdown_and_who_waits() {
    for round in 0..300 {
        in_a_pool(1 + round % 2, |system| {
            let start = Arc::new(Barrier::new(2));
            let (named, begun) = (system.named::<Log>("never"), start.clone());
            let finder = thread::spawn(move || {
                begun.wait();
                named.wait()
            });
            start.wait();
            assert!(system.shutdown(PATIENCE).is_clean());
            let found = in_time(|| finder.join().unwrap());
            assert_eq!(found, Err(NamedError::ShuttingDown));
            assert_no_names(system);
        });
    }
}
