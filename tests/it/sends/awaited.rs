//! Sends that are awaited: `send_async`.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Overflow, Recipient, SendError, SendFuture};

use super::{SECOND, waiting_senders};
use crate::support::{
    Entry, Log, PATIENCE, Player, Seen, act, gate, in_a_pool, in_pools, in_time, under_seed,
    under_seeds,
};

/// Counts how often it is woken.
#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut TaskContext::from_waker(waker))
}

/// A log of a stepped system that has not had its first turn, and whose mailbox of one is full.
fn full_log(stepper: &Stepper, overflow: Overflow) -> Addr<Log> {
    let log = stepper.system().actor().capacity(1).overflow(overflow);
    let log = log.spawn(Log::default()).unwrap();
    log.try_send(Entry(0)).unwrap();
    log
}

fn seen(log: &Addr<Log>) -> Vec<u64> {
    log.ask(Seen).wait().unwrap()
}

#[test]
fn nothing_is_sent_before_the_future_is_polled() {
    under_seed(0, |stepper| {
        let log = stepper.system().spawn(Log::default());
        let mut first = log.send_async(Entry(1));
        drop(log.send_async(Entry(2)));
        stepper.run();
        assert_eq!(stepper.system().snapshot().totals.accepted, 0);
        assert!(matches!(
            poll_once(&mut first, Waker::noop()),
            Poll::Ready(Ok(()))
        ));
        assert_eq!(seen(&log), [1]);
    });
}

#[test]
fn it_waits_in_line_and_is_woken_when_it_is_queued() {
    under_seeds(|stepper| {
        let log = full_log(stepper, Overflow::Block);
        let rings = Arc::new(Rings::default());
        let waker = Waker::from(rings.clone());
        let mut sends: Vec<_> = (1..4).map(|number| log.send_async(Entry(number))).collect();
        for send in &mut sends {
            assert!(poll_once(send, &waker).is_pending());
            assert!(poll_once(send, &waker).is_pending());
        }
        assert_eq!(waiting_senders(stepper.system(), &log), 3);
        assert_eq!(rings.0.load(SeqCst), 0);
        stepper.run();
        assert_eq!(rings.0.load(SeqCst), 3);
        for send in &mut sends {
            assert!(matches!(poll_once(send, &waker), Poll::Ready(Ok(()))));
        }
        assert_eq!(seen(&log), [0, 1, 2, 3]);
        assert_eq!(waiting_senders(stepper.system(), &log), 0);
    });
}

#[test]
fn whoever_polled_last_is_woken() {
    under_seed(0, |stepper| {
        let log = full_log(stepper, Overflow::Block);
        let [old, new] = [0, 1].map(|_| Arc::new(Rings::default()));
        let mut send = log.send_async(Entry(1));
        assert!(poll_once(&mut send, &Waker::from(old)).is_pending());
        assert!(poll_once(&mut send, &Waker::from(new.clone())).is_pending());
        stepper.run();
        assert_eq!(new.0.load(SeqCst), 1);
    });
}

#[test]
fn it_leaves_the_line_when_it_is_dropped_and_its_message_with_it() {
    under_seeds(|stepper| {
        let log = full_log(stepper, Overflow::Block);
        let mut sends: Vec<_> = (1..=100)
            .map(|number| log.send_async(Entry(number)))
            .collect();
        for send in &mut sends {
            assert!(poll_once(send, Waker::noop()).is_pending());
        }
        let mut number = 0;
        sends.retain(|_| {
            number += 1;
            number % 10 == 0
        });
        assert_eq!(waiting_senders(stepper.system(), &log), 10);
        stepper.run();
        assert!(seen(&log).into_iter().eq((0..=100).step_by(10)));
        let counts = stepper.system().snapshot().totals;
        assert_eq!(counts.accepted, 12, "what left was not accepted: {counts}");
    });
}

#[test]
fn it_gets_its_message_back_when_the_actor_stops() {
    under_seeds(|stepper| {
        let log = full_log(stepper, Overflow::Block);
        let rings = Arc::new(Rings::default());
        let waker = Waker::from(rings.clone());
        let mut send = log.send_async(Entry(1));
        assert!(poll_once(&mut send, &waker).is_pending());
        log.stop();
        stepper.run();
        assert_eq!(rings.0.load(SeqCst), 1);
        let Poll::Ready(Err(SendError::Stopped(Entry(1)))) = poll_once(&mut send, &waker) else {
            panic!("the message comes back");
        };
        let mut late = log.send_async(Entry(2));
        let Poll::Ready(Err(SendError::Stopped(Entry(2)))) = poll_once(&mut late, &waker) else {
            panic!("the message comes back");
        };
    });
}

#[test]
fn under_a_policy_that_rejects_it_gets_its_message_back_at_once() {
    under_seed(0, |stepper| {
        let log = full_log(stepper, Overflow::Reject);
        let mut send = log.send_async(Entry(1));
        let Poll::Ready(Err(SendError::Full(Entry(1)))) = poll_once(&mut send, Waker::noop())
        else {
            panic!("the message comes back");
        };
        assert_eq!(stepper.system().snapshot().totals.rejected, 1);
    });
}

#[test]
fn under_a_policy_that_drops_its_message_is_taken_and_dropped() {
    under_seed(0, |stepper| {
        let log = full_log(stepper, Overflow::DropNewest);
        let mut send = log.send_async(Entry(1));
        assert!(matches!(
            poll_once(&mut send, Waker::noop()),
            Poll::Ready(Ok(()))
        ));
        assert_eq!(stepper.system().snapshot().totals.dropped, 1);
        stepper.run();
        assert_eq!(seen(&log), [0]);
    });
}

#[test]
fn under_a_policy_that_blocks_for_a_time_it_gets_its_message_back_afterwards() {
    under_seeds(|stepper| {
        let sleeper = stepper.system().actor().capacity(1);
        let sleeper = sleeper.overflow(Overflow::BlockFor(SECOND));
        let sleeper = sleeper.spawn(Player::default()).unwrap();
        sleeper.send(act(|_, ctx| ctx.sleep(10 * SECOND))).unwrap();
        stepper.run();
        sleeper.send(act(|_, _| ())).unwrap();
        let message = Arc::new(());
        let held = message.clone();
        let mut send: SendFuture<Player, _> = sleeper.send_async(act(move |_, _| drop(held)));
        // The time begins when it finds the mailbox full, not when it is made.
        stepper.advance(5 * SECOND);
        assert!(poll_once(&mut send, Waker::noop()).is_pending());
        stepper.advance(SECOND / 2);
        let rings = Arc::new(Rings::default());
        let waker = Waker::from(rings.clone());
        assert!(poll_once(&mut send, &waker).is_pending());
        stepper.advance(SECOND / 2 - Duration::from_nanos(1));
        assert_eq!(rings.0.load(SeqCst), 0);
        assert!(poll_once(&mut send, &waker).is_pending());
        stepper.advance(Duration::from_nanos(1));
        assert_eq!(rings.0.load(SeqCst), 1);
        let Poll::Ready(Err(SendError::TimedOut(back))) = poll_once(&mut send, &waker) else {
            panic!("there was no room in time");
        };
        assert_eq!(Arc::strong_count(&message), 2);
        drop(back);
        assert_eq!(Arc::strong_count(&message), 1);
        assert_eq!(waiting_senders(stepper.system(), &sleeper), 0);
        assert_eq!(stepper.system().snapshot().totals.rejected, 1);
    });
}

#[test]
fn under_a_policy_that_blocks_for_a_time_it_is_queued_if_there_is_room_in_time() {
    under_seeds(|stepper| {
        let log = full_log(stepper, Overflow::BlockFor(SECOND));
        let mut send = log.send_async(Entry(1));
        assert!(poll_once(&mut send, Waker::noop()).is_pending());
        stepper.run();
        // It is looked at after the time, but was queued before.
        stepper.advance(2 * SECOND);
        assert!(matches!(
            poll_once(&mut send, Waker::noop()),
            Poll::Ready(Ok(()))
        ));
        drop(send);
        assert_eq!(seen(&log), [0, 1]);
        assert_eq!(stepper.system().snapshot().timers, 0);
    });
}

#[test]
fn a_recipient_sends_in_the_same_way() {
    under_seeds(|stepper| {
        let log = full_log(stepper, Overflow::Block);
        let recipient: Recipient<Entry> = log.recipient();
        let mut send = Box::pin(recipient.send_async(Entry(1)));
        let mut left = Box::pin(recipient.send_async(Entry(2)));
        assert!(poll_once(&mut send, Waker::noop()).is_pending());
        assert!(poll_once(&mut left, Waker::noop()).is_pending());
        drop(left);
        stepper.run();
        assert!(matches!(
            poll_once(&mut send, Waker::noop()),
            Poll::Ready(Ok(()))
        ));
        assert_eq!(seen(&log), [0, 1]);
    });
}

#[test]
fn a_send_keeps_the_actor_alive_until_it_is_done() {
    under_seeds(|stepper| {
        let log = full_log(stepper, Overflow::Block);
        let weak = log.downgrade();
        let mut send = log.send_async(Entry(1));
        drop(log);
        assert!(poll_once(&mut send, Waker::noop()).is_pending());
        stepper.run();
        assert!(matches!(
            poll_once(&mut send, Waker::noop()),
            Poll::Ready(Ok(()))
        ));
        drop(send);
        stepper.run();
        assert!(weak.upgrade().is_none());
        assert_eq!(stepper.system().snapshot().totals.handled, 2);
    });
}

/// Sends numbers that tell whose they are.
async fn stream(log: Addr<Log>, sender: u64) {
    for number in 0..500 {
        log.send_async(Entry(sender << 32 | number)).await.unwrap();
    }
}

fn all_have_come_in_order(log: &Addr<Log>, senders: u64) {
    let seen = log.ask(Seen).wait_for(PATIENCE).unwrap();
    assert_eq!(seen.len() as u64, senders * 500);
    for sender in 0..senders {
        let of_sender = seen.iter().filter(|entry| *entry >> 32 == sender);
        assert!(of_sender.map(|entry| entry & 0xffff_ffff).eq(0..500));
    }
}

#[test]
fn tasks_of_tokio_wait_for_room_and_keep_their_order() {
    in_pools(|system| {
        for capacity in [1, 3] {
            let log = system.actor().capacity(capacity);
            let log = log.spawn(Log::default()).unwrap();
            let to = log.clone();
            in_time(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .build()
                    .expect("the machine has threads for a runtime");
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..8)
                        .map(|sender| tokio::spawn(stream(to.clone(), sender)))
                        .collect();
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
            });
            all_have_come_in_order(&log, 8);
        }
    });
}

#[test]
fn tasks_of_smol_and_a_bare_executor_wait_for_room_and_keep_their_order() {
    in_pools(|system| {
        let log = system.actor().capacity(1).spawn(Log::default()).unwrap();
        let to = log.clone();
        in_time(move || {
            let executor = smol::Executor::new();
            let tasks: Vec<_> = (0..4)
                .map(|sender| executor.spawn(stream(to.clone(), sender)))
                .collect();
            smol::block_on(executor.run(async {
                for task in tasks {
                    task.await;
                }
            }));
            pollster::block_on(stream(to, 4));
        });
        all_have_come_in_order(&log, 5);
    });
}

#[test]
fn a_send_that_loses_a_select_is_not_queued() {
    in_a_pool(1, |system| {
        let log = system.actor().capacity(1).spawn(Log::default()).unwrap();
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        log.send(Entry(1)).unwrap();
        let to = log.clone();
        in_time(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.build().expect("a runtime needs no thread");
            runtime.block_on(async {
                for _ in 0..10 {
                    tokio::select! {
                        biased;
                        _ = to.send_async(Entry(2)) => panic!("there is no room"),
                        () = tokio::task::yield_now() => {}
                    }
                }
                let mut patient = to.send_async(Entry(3));
                for _ in 0..10 {
                    tokio::select! {
                        biased;
                        _ = &mut patient => panic!("there is no room"),
                        () = tokio::task::yield_now() => {}
                    }
                }
                gate.open();
                patient.await.unwrap();
            });
        });
        assert_eq!(log.ask(Seen).wait_for(PATIENCE).unwrap(), [1, 3]);
    });
}

/// A waker that owns another send to the same actor: dropping it takes that one out of the line.
struct Owner(#[expect(dead_code, reason = "held for its drop")] Mutex<SendFuture<Log, Entry>>);

impl Wake for Owner {
    fn wake(self: Arc<Self>) {}
}

/// A send that stands in line, and whose waker is owned by nobody else.
fn with_an_owner(log: &Addr<Log>) -> SendFuture<Log, Entry> {
    let mut owned = log.send_async(Entry(1));
    assert!(poll_once(&mut owned, Waker::noop()).is_pending());
    let mut send = log.send_async(Entry(2));
    let waker = Waker::from(Arc::new(Owner(Mutex::new(owned))));
    assert!(poll_once(&mut send, &waker).is_pending());
    send
}

#[test]
fn a_waker_may_own_a_place_in_the_same_line() {
    in_time(|| {
        under_seed(0, |stepper| {
            let log = full_log(stepper, Overflow::Block);
            // The old waker goes with the new one's coming.
            let mut first = with_an_owner(&log);
            assert_eq!(waiting_senders(stepper.system(), &log), 2);
            assert!(poll_once(&mut first, Waker::noop()).is_pending());
            assert_eq!(waiting_senders(stepper.system(), &log), 1);
            // And with its own place.
            drop(with_an_owner(&log));
            assert_eq!(waiting_senders(stepper.system(), &log), 1);
            stepper.run();
            assert_eq!(seen(&log), [0, 2]);
        });
    });
}
