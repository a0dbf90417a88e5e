//! Requests that nobody waits for any more, and replies that are polled and left.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use greenroom::{Actor, AskError, Context, Handler, Stage};

use super::{Clerk, Double, Nap, Rings, Runs, SECOND, poll_once, runtime_of};
use crate::support::{
    Entry, Log, PATIENCE, Seen, end_of, gate, in_a_pool, in_pools, in_time, under_seed, under_seeds,
};

#[test]
fn a_reply_that_is_dropped_withdraws_its_request() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        drop(clerk.ask(Double(1)));
        assert_eq!(clerk.ask(Runs).wait().unwrap(), 0);
        let counts = stepper.system().snapshot().totals;
        assert_eq!((counts.cancelled, counts.handled), (1, 1), "{counts}");
    });
}

#[test]
fn the_answer_to_a_request_that_was_withdrawn_while_it_ran_is_dropped() {
    struct Maker;
    impl Actor for Maker {}
    struct Make(Arc<()>, Duration);
    impl Handler<Make> for Maker {
        type Reply = Arc<()>;
        fn handle(&mut self, Make(answer, time): Make, ctx: &mut Context<Self>) -> Arc<()> {
            ctx.sleep(time).expect("nobody kills it");
            answer
        }
    }

    under_seeds(|stepper| {
        let maker = stepper.system().spawn(Maker);
        let answer = Arc::new(());
        let reply = maker.ask(Make(answer.clone(), SECOND));
        stepper.run();
        drop(reply);
        stepper.advance(SECOND);
        assert_eq!(Arc::strong_count(&answer), 1);
        // So is one that had come and that nobody took.
        let reply = maker.ask(Make(answer.clone(), SECOND));
        stepper.advance(SECOND);
        assert!(reply.is_ready());
        assert_eq!(Arc::strong_count(&answer), 2);
        drop(reply);
        assert_eq!(Arc::strong_count(&answer), 1);
        assert_eq!(stepper.system().snapshot().totals.cancelled, 0);
    });
}

#[test]
fn requests_that_are_withdrawn_at_any_moment_are_either_run_or_cancelled() {
    struct Marked(Arc<AtomicBool>);
    impl Handler<Marked> for Clerk {
        type Reply = ();
        fn handle(&mut self, Marked(ran): Marked, _: &mut Context<Self>) {
            assert!(!ran.swap(true, SeqCst), "a request is run once");
        }
    }

    in_pools(|system| {
        let handled = Arc::new(AtomicU64::new(0));
        let clerk = system
            .actor()
            .capacity(5)
            .spawn(Clerk::default())
            .expect("the capacity is in range");
        let askers: Vec<_> = (0..4)
            .map(|asker| {
                let clerk = clerk.clone();
                let handled = handled.clone();
                thread::spawn(move || {
                    let mut never = Vec::new();
                    for number in 0..2000 {
                        let ran = Arc::new(AtomicBool::new(false));
                        let mut reply = clerk.ask(Marked(ran.clone()));
                        match (asker + number) % 4 {
                            0 => drop(reply),
                            1 => match reply.wait_for(Duration::ZERO) {
                                Ok(()) => assert!(ran.load(SeqCst)),
                                Err(AskError::TimedOut(Stage::Queued)) => never.push(ran),
                                Err(AskError::TimedOut(Stage::Running)) => {}
                                Err(other) => panic!("{other}"),
                            },
                            2 => {
                                let polled = poll_once(&mut reply, Waker::noop());
                                if polled.is_ready() {
                                    assert!(ran.load(SeqCst));
                                }
                            }
                            _ => {
                                reply.wait_for(PATIENCE).unwrap();
                                assert!(ran.load(SeqCst));
                                handled.fetch_add(1, SeqCst);
                            }
                        }
                    }
                    never
                })
            })
            .collect();
        let never: Vec<_> = askers
            .into_iter()
            .flat_map(|asker| asker.join().unwrap())
            .collect();
        clerk.drain();
        end_of(&clerk);
        assert!(!never.iter().any(|ran| ran.load(SeqCst)));
        let counts = system.snapshot().totals;
        assert_eq!(counts.accepted, counts.handled + counts.cancelled);
        assert!(counts.handled >= handled.load(SeqCst), "{counts}");
    });
}

#[test]
fn a_reply_that_loses_a_select_can_be_awaited_later() {
    in_a_pool(1, |system| {
        let log = system.spawn(Log::default());
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        let seen = in_time(move || {
            let runtime = runtime_of(tokio::runtime::Builder::new_current_thread());
            runtime.block_on(async move {
                log.send_async(Entry(5)).await.unwrap();
                let mut reply = log.ask(Seen);
                for _ in 0..10 {
                    tokio::select! {
                        biased;
                        _ = &mut reply => panic!("the actor is held"),
                        () = tokio::task::yield_now() => {}
                    }
                }
                gate.open();
                reply.await.unwrap()
            })
        });
        assert_eq!(seen, [5]);
    });
}

#[test]
fn a_reply_that_is_dropped_by_a_select_withdraws_its_request() {
    in_a_pool(1, |system| {
        let log = system.spawn(Log::default());
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        let entry = log.ask(Entry(1));
        in_time(move || {
            let runtime = runtime_of(tokio::runtime::Builder::new_current_thread());
            runtime.block_on(async move {
                tokio::select! {
                    biased;
                    _ = entry => panic!("the actor is held"),
                    () = ready(()) => {}
                }
            });
        });
        gate.open();
        assert_eq!(log.ask(Seen).wait_for(PATIENCE).unwrap(), [0_u64; 0]);
        assert_eq!(system.snapshot().totals.cancelled, 1);
    });
}

#[test]
fn a_reply_that_was_polled_by_reference_can_be_waited_for() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let mut reply = clerk.ask(Double(1));
        for _ in 0..3 {
            assert!(poll_once(&mut reply, Waker::noop()).is_pending());
        }
        assert_eq!(reply.wait().unwrap(), 2);

        clerk.send(Nap(SECOND)).unwrap();
        let mut reply = clerk.ask(Double(1));
        assert!(poll_once(&mut reply, Waker::noop()).is_pending());
        let outcome = reply.wait_for(Duration::ZERO);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
    });
}

#[test]
fn an_answer_wakes_whoever_polled_last() {
    under_seed(0, |stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let mut reply = clerk.ask(Double(1));
        let [old, new] = [0, 1].map(|_| Arc::new(Rings::default()));
        let waker = Waker::from(old);
        assert!(poll_once(&mut reply, &waker).is_pending());
        let waker = Waker::from(new.clone());
        assert!(poll_once(&mut reply, &waker).is_pending());
        stepper.run();
        assert_eq!(new.0.load(SeqCst), 1);
        assert!(matches!(poll_once(&mut reply, &waker), Poll::Ready(Ok(2))));
    });
}

#[test]
fn a_reply_is_polled_by_many_tasks_in_turn_while_the_answer_comes() {
    in_pools(|system| {
        let clerk = system.spawn(Clerk::default());
        for number in 0..200 {
            let mut reply = clerk.ask(Double(number));
            // A waker is put in and taken out again just as the answerer comes for it.
            let outcome = loop {
                let waker = Waker::from(Arc::new(Rings::default()));
                if let Poll::Ready(outcome) = poll_once(&mut reply, &waker) {
                    break outcome;
                }
                thread::yield_now();
            };
            assert_eq!(outcome.unwrap(), number * 2);
        }
    });
}
