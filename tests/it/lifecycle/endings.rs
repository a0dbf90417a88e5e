//! Each way in which an actor ends, and what its hooks see.

use std::sync::mpsc;
use std::time::Duration;

use greenroom::{
    Actor, Addr, AskError, Context, Handler, SendError, StopReason, System, TrySendError, WaitError,
};

use super::{Act, Do, Event, Events, Told, act, life, spawn, told};
use crate::support::{
    Log, PATIENCE, Seen, end_of, gate, in_pools, in_time, under_seed, under_seeds,
};

const SECOND: Duration = Duration::from_secs(1);

/// What brings an actor's end about, with messages 1 and 2 queued before and 3 after it.
type End = fn(&System, &Addr<Told>);

fn panics(_: &System, addr: &Addr<Told>) {
    addr.send(act(|_| panic!("as planned"))).unwrap();
}

fn stops_itself(_: &System, addr: &Addr<Told>) {
    addr.send(act(Context::stop)).unwrap();
}

#[test]
fn an_actor_is_started_before_its_first_message_and_stopped_once_with_the_reason() {
    // The messages that are handled of the two before and the one behind.
    let endings: [(End, Vec<u64>, StopReason); 5] = [
        (stops_itself, vec![1, 2], StopReason::Stopped),
        (
            panics,
            vec![1, 2],
            StopReason::Panicked {
                message: "as planned".into(),
            },
        ),
        (
            |_, addr| drop(addr.ask(Do(0)).wait().map(|_| addr.stop())),
            vec![1, 2, 0],
            StopReason::Stopped,
        ),
        (
            |_, addr| drop(addr.ask(Do(0)).wait().map(|_| addr.kill())),
            vec![1, 2, 0],
            StopReason::Killed,
        ),
        (
            |_, addr| drop(addr.ask(Do(0)).wait().map(|_| addr.drain())),
            vec![1, 2, 0],
            StopReason::Drained,
        ),
    ];
    let test = |system: &System| {
        for (end, handled, reason) in &endings {
            let (addr, events) = spawn(system);
            addr.send(Do(1)).unwrap();
            addr.send(Do(2)).unwrap();
            end(system, &addr);
            assert_eq!(end_of(&addr), *reason);
            assert!(addr.is_stopped());
            assert_eq!(events.all(), life(handled.clone(), reason.clone()));
            assert!(matches!(addr.send(Do(3)), Err(SendError::Stopped(Do(3)))));
        }
    };
    under_seeds(|stepper| test(stepper.system()));
    in_pools(test);
}

#[test]
fn a_shutdown_is_the_reason_for_all_that_it_ends() {
    under_seeds(|stepper| {
        let (first, events) = spawn(stepper.system());
        first.send(Do(1)).unwrap();
        let report = stepper.system().shutdown(SECOND);
        assert!(report.is_clean(), "{report}");
        assert_eq!(events.all(), life([1], StopReason::Shutdown));
        assert_eq!(end_of(&first), StopReason::Shutdown);
    });
    under_seeds(|stepper| {
        let (first, events) = spawn(stepper.system());
        first.send(Do(1)).unwrap();
        let report = stepper.system().shutdown_now(SECOND);
        assert!(report.is_clean(), "{report}");
        assert_eq!(events.all(), life([], StopReason::Shutdown));
        assert_eq!(end_of(&first), StopReason::Shutdown);
    });
}

#[test]
fn the_messages_behind_a_stop_are_not_handled() {
    in_pools(|system| {
        for (kill, reason) in [(false, StopReason::Stopped), (true, StopReason::Killed)] {
            let (addr, events) = spawn(system);
            let (open, opened) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let held = addr.ask(act(move |_| {
                begin.send(()).expect("the test waits");
                let _ = opened.recv();
            }));
            begun.recv().unwrap();
            addr.send(Do(1)).unwrap();
            if kill {
                addr.kill()
            } else {
                addr.stop()
            }
            assert!(!addr.is_stopped());
            open.send(()).unwrap();
            held.wait_for(PATIENCE)
                .expect("the message in hand is handled to its end");
            assert_eq!(end_of(&addr), reason);
            assert_eq!(events.all(), life([], reason));
        }
    });
}

#[test]
fn an_actor_that_is_ended_before_its_first_turn_is_stopped_all_the_same() {
    type Ending = fn(&Addr<Told>);
    let endings: [(Ending, StopReason); 3] = [
        (Addr::stop, StopReason::Stopped),
        (Addr::kill, StopReason::Killed),
        (Addr::drain, StopReason::Drained),
    ];
    under_seeds(|stepper| {
        for (end, reason) in &endings {
            let (addr, events) = spawn(stepper.system());
            end(&addr);
            assert_eq!(end_of(&addr), *reason);
            assert_eq!(events.all(), life([], reason.clone()));
        }
        let (addr, events) = spawn(stepper.system());
        drop(addr);
        stepper.run();
        assert_eq!(events.all(), life([], StopReason::Unreferenced));
    });
}

#[test]
fn an_actor_that_drains_can_be_stopped_or_killed() {
    under_seeds(|stepper| {
        for (kill, reason) in [(false, StopReason::Stopped), (true, StopReason::Killed)] {
            let (addr, events) = spawn(stepper.system());
            addr.send(Do(1)).unwrap();
            addr.send(act(|ctx| ctx.sleep(SECOND))).unwrap();
            addr.send(Do(2)).unwrap();
            addr.drain();
            stepper.run();
            if kill {
                addr.kill()
            } else {
                addr.stop()
            }
            assert_eq!(end_of(&addr), reason);
            assert_eq!(events.all(), life([1], reason));
        }
    });
}

#[test]
fn orders_after_the_end_change_nothing() {
    under_seed(0, |stepper| {
        let (addr, events) = spawn(stepper.system());
        addr.stop();
        addr.stop();
        assert_eq!(end_of(&addr), StopReason::Stopped);
        addr.kill();
        addr.drain();
        addr.stop();
        stepper.run();
        assert_eq!(end_of(&addr), StopReason::Stopped);
        assert_eq!(events.all(), life([], StopReason::Stopped));
    });
}

#[test]
fn a_full_mailbox_holds_up_no_order() {
    under_seeds(|stepper| {
        for (kill, reason) in [(false, StopReason::Stopped), (true, StopReason::Killed)] {
            let (actor, events) = told();
            let addr = stepper.system().actor().capacity(1).spawn(actor).unwrap();
            addr.send(act(|ctx| ctx.sleep(SECOND))).unwrap();
            stepper.run();
            addr.send(Do(1)).unwrap();
            let standing = addr.ask(Do(2));
            if kill {
                addr.kill()
            } else {
                addr.stop()
            }
            assert_eq!(end_of(&addr), reason);
            assert_eq!(events.all(), life([], reason));
            assert!(standing.wait().is_err());
        }
    });
}

#[test]
fn a_mailbox_takes_nothing_more_once_it_was_told_to_drain() {
    under_seed(0, |stepper| {
        let (addr, events) = spawn(stepper.system());
        addr.send(Do(1)).unwrap();
        addr.drain();
        let late = addr.try_send(Do(2));
        assert_eq!(end_of(&addr), StopReason::Drained);
        assert!(matches!(late, Err(TrySendError::Stopped(Do(2)))));
        assert_eq!(events.all(), life([1], StopReason::Drained));
    });
}

#[test]
fn an_actor_that_stops_in_started_handles_nothing() {
    struct Reluctant(mpsc::Sender<Event>);
    impl Actor for Reluctant {
        fn started(&mut self, ctx: &mut Context<Self>) {
            ctx.stop();
        }
        fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
            let _ = self.0.send(Event::Stopped(reason.clone()));
        }
    }
    impl Handler<Do> for Reluctant {
        type Reply = ();
        fn handle(&mut self, Do(number): Do, _: &mut Context<Self>) {
            let _ = self.0.send(Event::Handled(number));
        }
    }

    under_seeds(|stepper| {
        let (events, told) = mpsc::channel();
        let feed = stepper.system().dead_letters();
        let addr = stepper.system().spawn(Reluctant(events));
        addr.send(Do(1)).unwrap();
        assert_eq!(end_of(&addr), StopReason::Stopped);
        let events = Events(told).all();
        assert_eq!(events, [Event::Stopped(StopReason::Stopped)]);
        assert!(feed.try_next().is_some());
    });
}

// What `stopped` may do.

type AtTheEnd = Box<dyn FnOnce(&mut Context<Ending>) + Send>;

/// Does something in `stopped`, and something when it is dropped.
struct Ending {
    stopped: Option<AtTheEnd>,
    dropped: Option<Box<dyn FnOnce() + Send>>,
}

impl Ending {
    fn stopped(action: impl FnOnce(&mut Context<Self>) + Send + 'static) -> Self {
        Self {
            stopped: Some(Box::new(action)),
            dropped: None,
        }
    }

    fn dropped(action: impl FnOnce() + Send + 'static) -> Self {
        Self {
            stopped: None,
            dropped: Some(Box::new(action)),
        }
    }
}

impl Actor for Ending {
    fn stopped(&mut self, _: &StopReason, ctx: &mut Context<Self>) {
        if let Some(stopped) = self.stopped.take() {
            stopped(ctx);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(dropped) = self.dropped.take() {
            dropped();
        }
    }
}

impl Handler<Do> for Ending {
    type Reply = u64;

    fn handle(&mut self, Do(number): Do, _: &mut Context<Self>) -> u64 {
        number
    }
}

#[test]
fn stopped_may_wait_and_the_actor_has_not_ended_before_it_returns() {
    under_seeds(|stepper| {
        let (other, events) = spawn(stepper.system());
        let asked = other.clone();
        let ending = stepper.system().spawn(Ending::stopped(move |ctx| {
            ctx.sleep(SECOND).expect("nobody kills it");
            assert_eq!(asked.ask(Do(7)).wait().unwrap(), 7);
        }));
        ending.stop();
        stepper.run();
        assert!(!ending.is_stopped());
        assert!(ending.join_for(Duration::ZERO).unwrap().is_none());
        let before = stepper.clock().now();
        assert_eq!(end_of(&ending), StopReason::Stopped);
        assert_eq!(stepper.clock().now() - before, SECOND);
        assert!(events.all().contains(&Event::Handled(7)));
    });
    in_pools(|system| {
        let log = system.spawn(Log::default());
        let asked = log.clone();
        let ending = system.spawn(Ending::stopped(move |_| {
            asked.ask(Seen).wait().expect("the log answers");
        }));
        ending.stop();
        assert_eq!(end_of(&ending), StopReason::Stopped);
    });
}

#[test]
fn an_actor_may_wait_while_it_is_dropped() {
    under_seeds(|stepper| {
        let (other, events) = spawn(stepper.system());
        let ending = stepper.system().spawn(Ending::dropped(move || {
            assert_eq!(other.ask(Do(7)).wait().unwrap(), 7);
        }));
        ending.stop();
        assert_eq!(end_of(&ending), StopReason::Stopped);
        assert!(events.all().contains(&Event::Handled(7)));
    });
}

#[test]
fn the_mailbox_is_closed_when_stopped_runs() {
    under_seeds(|stepper| {
        let (tell, told) = mpsc::channel();
        let ending = stepper.system().spawn(Ending::stopped(move |ctx| {
            let sent = ctx.addr().send(Do(1));
            let asked = ctx.addr().ask(Do(2)).wait();
            let _ = tell.send((sent, asked, ctx.addr().is_stopped()));
        }));
        ending.stop();
        end_of(&ending);
        let (sent, asked, is_stopped) = told.try_recv().unwrap();
        assert!(matches!(sent, Err(SendError::Stopped(Do(1)))));
        assert!(matches!(
            asked,
            Err(AskError::Stopped {
                reason: StopReason::Stopped
            })
        ));
        assert!(!is_stopped);
    });
}

#[test]
fn a_wait_in_the_stopped_of_a_killed_actor_ends_at_once() {
    under_seeds(|stepper| {
        let (tell, told) = mpsc::channel();
        let ending = stepper.system().spawn(Ending::stopped(move |ctx| {
            let _ = tell.send([ctx.sleep(SECOND), ctx.sleep(SECOND)]);
        }));
        ending.kill();
        let before = stepper.clock().now();
        assert_eq!(end_of(&ending), StopReason::Killed);
        assert_eq!(stepper.clock().now(), before);
        let interrupted = Err(WaitError::Interrupted);
        assert_eq!(told.try_recv().unwrap(), [interrupted.clone(), interrupted]);
    });
}

#[test]
fn a_kill_ends_the_wait_in_hand_and_every_further_one() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        let waits: Act<[Result<(), WaitError>; 2]> =
            act(|ctx| [ctx.sleep(10 * SECOND), ctx.sleep(SECOND)]);
        let waits = addr.ask(waits);
        stepper.run();
        let before = stepper.clock().now();
        addr.kill();
        let interrupted = Err(WaitError::Interrupted);
        assert_eq!(waits.wait().unwrap(), [interrupted.clone(), interrupted]);
        assert_eq!(stepper.clock().now(), before);
        assert_eq!(end_of(&addr), StopReason::Killed);
        assert_eq!(events.all(), life([], StopReason::Killed));
    });
}

// Waiting for the end.

#[test]
fn whoever_joins_learns_the_reason_before_and_after_the_end() {
    in_pools(|system| {
        let (addr, events) = spawn(system);
        let joiners: Vec<_> = (0..4)
            .map(|_| {
                let addr = addr.clone();
                std::thread::spawn(move || in_time(move || addr.join()))
            })
            .collect();
        let (other, _others) = spawn(system);
        let joined = addr.clone();
        let in_a_handler = other.ask(act(move |_| joined.join()));
        addr.ask(Do(1)).wait_for(PATIENCE).unwrap();
        assert!(addr.join_for(Duration::ZERO).unwrap().is_none());
        addr.stop();
        for joiner in joiners {
            assert_eq!(joiner.join().unwrap().unwrap(), StopReason::Stopped);
        }
        let reason = in_a_handler.wait_for(PATIENCE).unwrap();
        assert_eq!(reason.unwrap(), StopReason::Stopped);
        assert_eq!(addr.join().unwrap(), StopReason::Stopped);
        assert_eq!(events.all(), life([1], StopReason::Stopped));
    });
}

#[test]
fn whoever_has_joined_finds_the_counts_in_the_totals() {
    in_pools(|system| {
        for round in 1..=50 {
            let (addr, _events) = spawn(system);
            addr.send(Do(1)).unwrap();
            addr.drain();
            end_of(&addr);
            let totals = system.snapshot().totals;
            assert_eq!((totals.accepted, totals.handled), (round, round));
        }
    });
}

#[test]
fn a_join_lasts_as_long_as_it_is_told() {
    under_seeds(|stepper| {
        let (addr, _events) = spawn(stepper.system());
        let before = stepper.clock().now();
        assert!(addr.join_for(SECOND).unwrap().is_none());
        assert_eq!(stepper.clock().now() - before, SECOND);
        addr.stop();
        assert_eq!(addr.join_for(SECOND).unwrap(), Some(StopReason::Stopped));
        assert_eq!(stepper.clock().now() - before, SECOND);
    });
}

#[test]
fn a_join_in_a_handler_that_is_killed_ends_with_an_error() {
    under_seeds(|stepper| {
        let (addr, _events) = spawn(stepper.system());
        let (other, _others) = spawn(stepper.system());
        let joined = other.ask(act(move |_| addr.join()));
        stepper.run();
        other.kill();
        assert_eq!(joined.wait().unwrap(), Err(WaitError::Interrupted));
    });
}

#[test]
fn an_actor_whose_thread_is_busy_elsewhere_has_not_ended() {
    in_pools(|system| {
        let log = system.spawn(Log::default());
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        log.stop();
        assert!(!log.is_stopped());
        assert!(log.join_for(Duration::ZERO).unwrap().is_none());
        gate.open();
        assert_eq!(end_of(&log), StopReason::Stopped);
        assert!(log.is_stopped());
    });
}
