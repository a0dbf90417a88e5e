//! Mailboxes: capacity, policies, order.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use greenroom::{Overflow, SendError, SpawnError, TrySendError, testkit::Stepper};

use crate::support::{Entry, Log, Seen, eventually, gate, pool};

#[test]
fn messages_of_one_thread_are_handled_in_the_order_of_their_sends() {
    let system = pool(2);
    let log = system.spawn(Log::default());
    for number in 0..100_000 {
        log.send(Entry(number)).unwrap();
    }
    assert!(log.ask(Seen).wait().unwrap().into_iter().eq(0..100_000));
}

#[test]
fn senders_that_wait_for_room_keep_their_order_and_lose_nothing() {
    for workers in [1, 2] {
        let system = pool(workers);
        for capacity in [1, 2, 7, 64, 1024] {
            let log = system
                .actor()
                .capacity(capacity)
                .spawn(Log::default())
                .unwrap();
            let senders: Vec<_> = (0..4_u64)
                .map(|sender| {
                    let log = log.clone();
                    thread::spawn(move || {
                        for number in 0..5_000 {
                            log.send(Entry(sender << 32 | number)).unwrap();
                        }
                    })
                })
                .collect();
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            let seen = log.ask(Seen).wait().unwrap();
            assert_eq!(seen.len(), 20_000);
            for sender in 0..4 {
                let of_sender = seen.iter().filter(|entry| *entry >> 32 == sender);
                assert!(of_sender.map(|entry| entry & 0xffff_ffff).eq(0..5_000));
            }
        }
    }
}

#[test]
fn a_full_mailbox_rejects_the_newest_message_and_gives_it_back() {
    let system = pool(1);
    let log = system
        .actor()
        .capacity(2)
        .overflow(Overflow::Reject)
        .spawn(Log::default())
        .unwrap();
    let (hold, gate) = gate();
    log.send(hold).unwrap();
    gate.wait_until_held();
    log.send(Entry(1)).unwrap();
    log.send(Entry(2)).unwrap();
    let Err(SendError::Full(Entry(3))) = log.send(Entry(3)) else {
        panic!("the third message comes back");
    };
    let Err(TrySendError::Full(Entry(4))) = log.try_send(Entry(4)) else {
        panic!("the fourth message comes back");
    };
    gate.open();
    // A request would be refused too before there is room.
    eventually("the queue is handled", || {
        system.snapshot().actors[0].counts.queued == 0
    });
    assert_eq!(log.ask(Seen).wait().unwrap(), [1, 2]);
    let snapshot = system.snapshot();
    assert_eq!(snapshot.actors[0].counts.rejected, 2);
}

#[test]
fn a_capacity_of_zero_or_beyond_the_limit_is_an_error_at_the_spawn() {
    let stepper = Stepper::new(0);
    for wrong in [0, 1 << 24] {
        let spawned = stepper
            .system()
            .actor()
            .capacity(wrong)
            .spawn(Log::default());
        let Err(SpawnError::Capacity { capacity, limit }) = spawned else {
            panic!("a capacity of {wrong} is refused");
        };
        assert_eq!((capacity, limit), (wrong, (1 << 24) - 1));
    }
}

#[test]
fn a_send_that_is_given_time_comes_back_when_the_time_is_over() {
    let stepper = Stepper::new(1);
    let log = stepper
        .system()
        .actor()
        .capacity(1)
        .spawn(Log::default())
        .unwrap();
    stepper.run();
    log.try_send(Entry(1)).unwrap();
    // On the stepping thread the wait takes steps itself, so there is room in time.
    log.send_for(Entry(2), Duration::from_secs(1)).unwrap();
    assert_eq!(log.ask(Seen).wait().unwrap(), [1, 2]);
}

#[test]
fn the_capacity_is_exact_under_any_number_of_senders() {
    let system = pool(2);
    let log = system
        .actor()
        .capacity(10)
        .overflow(Overflow::Reject)
        .spawn(Log::default())
        .unwrap();
    let (hold, gate) = gate();
    log.send(hold).unwrap();
    gate.wait_until_held();
    let log = Arc::new(log);
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let log = log.clone();
            thread::spawn(move || (0..100).filter(|n| log.send(Entry(*n)).is_ok()).count())
        })
        .collect();
    let accepted: usize = senders
        .into_iter()
        .map(|sender| sender.join().unwrap())
        .sum();
    assert_eq!(accepted, 10);
    gate.open();
    log.drain();
    log.join().unwrap();
    assert_eq!(system.snapshot().totals.handled, 11);
}
