//! Sends: who waits for room and in which order, sends that are awaited, and what becomes of
//! the message in each ending.

mod awaited;
mod payloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenroom::{Addr, Overflow, SendError, System, TrySendError};

use crate::support::{
    Entry, Log, PATIENCE, Player, Seen, act, eventually, gate, in_a_pool, in_pools, under_seeds,
};

const SECOND: Duration = Duration::from_secs(1);

/// How many stand in line at this actor.
fn waiting_senders<A: greenroom::Actor>(system: &System, addr: &Addr<A>) -> usize {
    let snapshot = system.snapshot();
    let actor = snapshot.actors.iter().find(|actor| actor.id == addr.id());
    actor.expect("the actor lives").waiting_senders
}

#[test]
fn senders_get_room_in_the_order_in_which_they_came_for_it() {
    under_seeds(|stepper| {
        let log = stepper.system().actor().capacity(1);
        let log = log.spawn(Log::default()).unwrap();
        let arrivals = Arc::new(AtomicU64::new(0));
        let senders: Vec<_> = (0..20)
            .map(|_| {
                let sender = stepper.system().spawn(Player::default());
                let (log, arrivals) = (log.clone(), arrivals.clone());
                let sent = sender.ask(act(move |_, _| {
                    for _ in 0..5 {
                        // Nobody else runs between the number and the place in line.
                        let number = arrivals.fetch_add(1, SeqCst);
                        log.send(Entry(number)).unwrap();
                    }
                }));
                (sender, sent)
            })
            .collect();
        for (_sender, sent) in senders {
            sent.wait().unwrap();
        }
        assert!(log.ask(Seen).wait().unwrap().into_iter().eq(0..100));
    });
}

#[test]
fn a_newcomer_goes_behind_those_who_stand_in_line() {
    in_a_pool(1, |system| {
        let log = system.actor().capacity(1);
        let log = log.spawn(Log::default()).unwrap();
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        log.send(Entry(1)).unwrap();
        let standing = log.ask(Entry(2));
        assert!(matches!(
            log.try_send(Entry(3)),
            Err(TrySendError::Full(Entry(3)))
        ));
        let last = log.ask(Entry(4));
        assert_eq!(waiting_senders(system, &log), 2);
        gate.open();
        standing.wait_for(PATIENCE).unwrap();
        last.wait_for(PATIENCE).unwrap();
        assert_eq!(log.ask(Seen).wait_for(PATIENCE).unwrap(), [1, 2, 4]);
    });
}

#[test]
fn a_sender_on_a_plain_thread_waits_until_there_is_room() {
    in_pools(|system| {
        let log = system.actor().capacity(2);
        let log = log.spawn(Log::default()).unwrap();
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        let sender = log.clone();
        let sender = thread::spawn(move || {
            (0..10).for_each(|number| sender.send(Entry(number)).unwrap());
        });
        eventually("the sender waits", || waiting_senders(system, &log) == 1);
        gate.open();
        sender.join().unwrap();
        let seen = log.ask(Seen).wait_for(PATIENCE).unwrap();
        assert!(seen.into_iter().eq(0..10));
    });
}

#[test]
fn a_sender_that_has_room_goes_on_while_the_handler_before_it_still_runs() {
    in_a_pool(1, |system| {
        let blocker = system.spawn(Log::default());
        let (block, blocked) = gate();
        blocker.send(block).unwrap();
        blocked.wait_until_held();
        let log = system.actor().capacity(1);
        let log = log.spawn(Log::default()).unwrap();
        let (hold, held) = gate();
        log.send(hold).unwrap();
        let (sent, has_sent) = mpsc::channel();
        let sender = log.clone();
        let sender = thread::spawn(move || sent.send(sender.send(Entry(1)).is_ok()));
        eventually("the sender waits", || waiting_senders(system, &log) == 1);
        blocked.open();
        held.wait_until_held();
        // The message in hand has left the mailbox, so there is room. The handler may well be
        // waiting for something that the sender does next.
        let sent = has_sent.recv_timeout(PATIENCE / 6);
        held.open();
        assert_eq!(sent, Ok(true));
        sender.join().unwrap().unwrap();
    });
}

#[test]
fn a_sender_that_waits_gets_its_message_back_when_the_actor_stops() {
    in_pools(|system| {
        let log = system.actor().capacity(1);
        let log = log.spawn(Log::default()).unwrap();
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        log.send(Entry(1)).unwrap();
        let senders: Vec<_> = (2..5)
            .map(|number| {
                let log = log.clone();
                thread::spawn(move || match log.send(Entry(number)) {
                    Err(SendError::Stopped(Entry(back))) => assert_eq!(back, number),
                    other => panic!("the actor stops: {other:?}"),
                })
            })
            .collect();
        eventually("all wait", || waiting_senders(system, &log) == 3);
        log.stop();
        gate.open();
        senders.into_iter().for_each(|it| it.join().unwrap());
    });
}

#[test]
fn a_policy_that_drops_takes_and_counts_what_it_drops() {
    in_pools(|system| {
        let feed = system.dead_letters();
        let log = system.actor().capacity(2).overflow(Overflow::DropNewest);
        let log = log.spawn(Log::default()).unwrap();
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        (0..5).for_each(|number| log.send(Entry(number)).unwrap());
        let counts = system.snapshot().totals;
        assert_eq!((counts.accepted, counts.dropped), (6, 3), "{counts}");
        assert_eq!(std::iter::from_fn(|| feed.try_next()).count(), 3);
        // A send that must not be dropped says so.
        assert!(matches!(
            log.try_send(Entry(5)),
            Err(TrySendError::Full(Entry(5)))
        ));
        gate.open();
        eventually("there is room", || system.snapshot().totals.handled == 3);
        assert_eq!(log.ask(Seen).wait_for(PATIENCE).unwrap(), [0, 1]);
    });
}

#[test]
fn a_send_of_limited_time_waits_whatever_the_policy() {
    under_seeds(|stepper| {
        for overflow in [
            Overflow::Block,
            Overflow::BlockFor(10 * SECOND),
            Overflow::Reject,
            Overflow::DropNewest,
        ] {
            let sleeper = stepper.system().actor().capacity(1).overflow(overflow);
            let sleeper = sleeper.spawn(Player::default()).unwrap();
            sleeper.send(act(|_, ctx| ctx.sleep(3 * SECOND))).unwrap();
            stepper.run();
            sleeper.send(act(|_, _| ())).unwrap();
            let to = sleeper.clone();
            let sender = stepper.system().spawn(Player::default());
            let sends = sender.ask(act(move |_, ctx| {
                let begun = ctx.now();
                let late = to.send_for(act(|_, _| ()), SECOND).map_err(|error| {
                    let text = error.to_string();
                    drop(error.into_inner());
                    text
                });
                let late_after = ctx.now() - begun;
                let in_time = to.send_for(act(|_, _| ()), 5 * SECOND).is_ok();
                (late, late_after, in_time, ctx.now() - begun)
            }));
            let late = Err("mailbox stayed full".to_owned());
            let expected = (late, SECOND, true, 3 * SECOND);
            assert_eq!(sends.wait().unwrap(), expected);
            assert_eq!(waiting_senders(stepper.system(), &sleeper), 0);
        }
    });
}

#[test]
fn what_is_done_in_one_handler_is_seen_by_the_next_wherever_it_runs() {
    in_pools(|system| {
        let log = system.spawn(Log::default());
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let log = log.clone();
                thread::spawn(move || (0..5000).for_each(|n| log.send(Entry(n)).unwrap()))
            })
            .collect();
        senders.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(log.ask(Seen).wait_for(PATIENCE).unwrap().len(), 20_000);
    });
}
