//! The books under real threads: exact once all is at rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenroom::{Addr, AskError, Counts, LossReason, Overflow, System};

use super::{Books, Job, Load, Performer, open};
use crate::support::{Numbers, PATIENCE, end_of, in_pools};

const ACTORS: usize = 4;
const SENDERS: u64 = 4;

fn performers(system: &System, books: &Books) -> Vec<Addr<Performer>> {
    let mut others: Vec<(usize, Addr<Performer>)> = Vec::new();
    for number in (0..ACTORS).rev() {
        let overflow = match number {
            0 => Overflow::Reject,
            1 => Overflow::DropNewest,
            2 => Overflow::BlockFor(Duration::from_micros(50)),
            _ => Overflow::Block,
        };
        let performer = Performer {
            number,
            others: others.clone(),
            debts: Vec::new(),
            books: books.clone(),
        };
        let options = system.actor().capacity(1 + 2 * number).overflow(overflow);
        let options = options.name(format!("performer {number}"));
        let addr = match number {
            1 => options.spawn_thread(move || performer),
            _ => options.spawn(performer),
        };
        others.push((number, addr.expect("it is spawned")));
    }
    others.reverse();
    others.into_iter().map(|(_, addr)| addr).collect()
}

/// Sends two hundred messages to all, some of which end their actor.
fn send_some(addrs: &[Addr<Performer>], books: &Books, mut numbers: Numbers) {
    for _ in 0..200 {
        let to = numbers.below(ACTORS as u64) as usize;
        let load = match numbers.below(100) {
            0 => Load::Panic,
            1 => Load::Stop,
            2..10 => Load::Relay(numbers.below(100) as usize),
            _ => Load::Return,
        };
        let job = Job::new(books, load);
        match numbers.below(4) {
            0 => books.count_try_send(to, &addrs[to].try_send(job)),
            1 => {
                let limit = Duration::from_micros(numbers.below(100));
                books.count_send(to, &addrs[to].send_for(job, limit));
            }
            _ => books.count_send(to, &addrs[to].send(job)),
        }
        match numbers.below(400) {
            0 => addrs[to].stop(),
            1 => addrs[to].drain(),
            2 => addrs[to].kill(),
            _ => {}
        }
    }
}

/// Looks at the figures while they move: they may be old, not impossible.
fn look(system: &System) {
    for actor in system.snapshot().actors {
        assert!(actor.counts.queued <= actor.capacity as u64, "{actor:?}");
        assert!(
            actor.waiting_senders <= SENDERS as usize + ACTORS,
            "{actor:?}"
        );
    }
}

#[test]
fn the_books_balance_to_the_unit_when_real_threads_send_and_actors_stop_and_panic() {
    in_pools(|system| {
        let mut expected = Counts::default();
        for round in 0..10 {
            let letters = system.dead_letters();
            let before = system.snapshot().totals;
            let books = Books::new(ACTORS);
            let addrs = Arc::new(performers(system, &books));
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let (addrs, books) = (addrs.clone(), books.clone());
                    let numbers = Numbers(round * SENDERS + sender);
                    thread::spawn(move || send_some(&addrs, &books, numbers))
                })
                .collect();
            while senders.iter().any(|sender| !sender.is_finished()) {
                look(system);
            }
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            // In this order nobody is sent to any more when he is told to drain.
            for addr in addrs.iter() {
                addr.drain();
                end_of(addr);
            }
            let totals = system.snapshot().totals;
            assert_eq!(open(&totals), 0, "in round {round}: {totals}");
            for ledger in books.ledgers().iter() {
                expected.accepted += ledger.accepted;
                expected.rejected += ledger.rejected;
                expected.handled += ledger.returned;
            }
            let figures = |counts: &Counts| (counts.accepted, counts.rejected, counts.handled);
            assert_eq!(figures(&totals), figures(&expected), "in round {round}");
            assert_eq!(books.alive.load(SeqCst), 0, "in round {round}");
            // The feed has room for all of one round.
            let (mut dead, mut dropped) = (0, 0);
            while let Some(letter) = letters.try_next() {
                match letter.reason {
                    LossReason::DroppedByPolicy => dropped += 1,
                    _ => dead += 1,
                }
            }
            assert_eq!(letters.missed(), 0);
            assert_eq!(dead, totals.dead_lettered - before.dead_lettered);
            assert_eq!(dropped, totals.dropped - before.dropped);
        }
    });
}

#[test]
fn requests_are_accepted_rejected_handled_or_cancelled_to_the_unit_under_real_threads() {
    in_pools(|system| {
        let books = Books::new(1);
        let performer = Performer {
            number: 0,
            others: Vec::new(),
            debts: Vec::new(),
            books: books.clone(),
        };
        let options = system.actor().capacity(3).overflow(Overflow::Reject);
        let addr = options.spawn(performer).unwrap();
        let answered = Arc::new(AtomicU64::new(0));
        let askers: Vec<_> = (0..SENDERS)
            .map(|asker| {
                let (addr, books, answered) = (addr.clone(), books.clone(), answered.clone());
                thread::spawn(move || {
                    let mut numbers = Numbers(asker);
                    for _ in 0..2_000 {
                        let reply = addr.ask(Job::new(&books, Load::Return));
                        // Full is known at once, and nothing else that is an error here.
                        let withdraws = numbers.below(2) == 0;
                        if reply.is_ready() || !withdraws {
                            match reply.wait_for(PATIENCE) {
                                Ok(_) => {
                                    books.ledgers()[0].accepted += 1;
                                    answered.fetch_add(1, SeqCst);
                                }
                                Err(AskError::Full(_)) => books.ledgers()[0].rejected += 1,
                                Err(error) => panic!("{error}"),
                            }
                        } else {
                            books.ledgers()[0].accepted += 1;
                            drop(reply);
                        }
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        addr.drain();
        end_of(&addr);
        let totals = system.snapshot().totals;
        let ledger = books.ledgers()[0];
        assert_eq!(totals.accepted, ledger.accepted, "{totals}");
        assert_eq!(totals.rejected, ledger.rejected, "{totals}");
        assert_eq!(totals.handled, ledger.returned, "{totals}");
        assert_eq!(
            totals.cancelled,
            ledger.accepted - ledger.returned,
            "{totals}"
        );
        assert!(totals.handled >= answered.load(SeqCst));
        assert_eq!(books.alive.load(SeqCst), 0);
    });
}
