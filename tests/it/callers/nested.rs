//! Handlers that wait on the thread of somebody who waits for them: they spawn, send, ask and
//! wait as they would in the pool.

use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use greenroom::testkit::ManualClock;
use greenroom::{Addr, AskError, Awaited, DeferredHandler, ReplyTo, System, WaitError};

use super::{begun, handled, here, occupy, place, players, snapshot_of};
use crate::support::{
    Borrow, Debtor, Entry, Log, Note, Pay, Player, Seen, act, alone, close_the_books, end_of,
    eventually, gate, in_pools, in_time, pool,
};

const SECOND: Duration = Duration::from_secs(1);

// What such a handler may do.

#[test]
fn a_handler_on_the_thread_of_a_caller_spawns_sends_and_asks_as_in_the_pool() {
    in_pools(|system| {
        let gates = occupy(system);
        let [player, other] = players(system);
        let sent_to = other.clone();
        let places = player.ask(act(move |_, ctx| {
            let child = ctx.spawn(Player::default());
            child.send(Note(1)).expect("there is room");
            sent_to.send(Note(2)).expect("there is room");
            let kept = sent_to.ask(place());
            let asked = child.ask(place()).wait().expect("the child answers");
            let later = kept.wait().expect("the other one answers");
            [here(), asked, later]
        }));
        assert_eq!(places.wait().unwrap(), [here(); 3]);
        assert_eq!(snapshot_of(system, &other).counts.handled, 2);
        drop(gates);
    });
}

/// Where the actors of a chain ran of which each asks the next one and waits.
fn chain(system: &System, length: usize) -> Vec<ThreadId> {
    let last = system.spawn(Player::default());
    let mut ask: Box<dyn FnOnce() -> Vec<ThreadId> + Send> =
        Box::new(move || vec![last.ask(place()).wait().expect("the last one answers")]);
    let mut links = Vec::new();
    for _ in 1..length {
        let link = system.spawn(Player::default());
        links.push(link.clone());
        let next = ask;
        ask = Box::new(move || {
            let reply = link.ask(act(move |_, _| {
                let mut places = next();
                places.push(here());
                places
            }));
            reply.wait().expect("a link answers")
        });
    }
    ask()
}

#[test]
fn a_chain_of_eight_actors_that_wait_for_the_next_one_runs_on_the_thread_that_asked() {
    in_pools(|system| {
        let _gates = occupy(system);
        assert_eq!(chain(system, 8), [here(); 8]);
    });
}

#[test]
fn a_chain_of_a_hundred_actors_that_any_thread_may_run_is_answered() {
    in_pools(|system| {
        for _ in 0..20 {
            assert_eq!(chain(system, 100).len(), 100);
        }
    });
}

#[test]
fn threads_that_ask_along_the_same_chain_are_all_answered() {
    in_pools(|system| {
        let mut links: Vec<Addr<Player>> = Vec::new();
        links.extend(players::<20>(system));
        let links: Arc<[_]> = links.into();
        let askers: Vec<_> = (0..4_usize)
            .map(|asker| {
                let links = links.clone();
                thread::spawn(move || {
                    for round in 0..50 {
                        // All go up, each from where it likes, so that nobody waits in a circle.
                        assert_eq!(climb(&links, (asker + round) % 20), 20);
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
    });
}

/// Asks the link of this number, which asks the next one and waits, to the last one.
fn climb(links: &Arc<[Addr<Player>]>, number: usize) -> usize {
    let Some(link) = links.get(number) else {
        return number;
    };
    let next = links.clone();
    let reply = link.ask(act(move |_, _| climb(&next, number + 1)));
    reply.wait().expect("a link answers")
}

#[test]
fn a_chain_of_ten_thousand_actors_that_wait_for_the_next_one_is_answered() {
    // An overflow ends the process.
    alone(|| {
        let system = pool(2);
        let links: Vec<_> = (0..10_000)
            .map(|_| system.spawn(Player::default()))
            .collect();
        assert_eq!(climb(&links.into(), 0), 10_000);
        close_the_books(&system);
    });
}

#[test]
fn a_handler_on_the_thread_of_a_caller_sleeps_in_the_time_of_the_system() {
    in_time(|| {
        let clock = ManualClock::new();
        let system = System::builder().workers(1).clock(&clock).build().unwrap();
        let gates = occupy(&system);
        let player = system.spawn(Player::default());
        let (asked, moved) = (player.clone(), clock.clone());
        let asker = thread::spawn(move || {
            let before = moved.now();
            let place = asked.ask(act(|_, ctx| {
                ctx.sleep(SECOND).expect("nobody ends the sleep");
                here()
            }));
            (place.wait().unwrap() == here(), moved.now() - before)
        });
        eventually("it sleeps", || system.waits().len() == 1);
        clock.advance(SECOND);
        assert_eq!(asker.join().unwrap(), (true, SECOND));
        drop(gates);
    });
}

#[test]
fn a_handler_on_the_thread_of_a_caller_waits_for_room_and_keeps_the_order() {
    in_pools(|system| {
        let gates = occupy(system);
        let options = system.actor().capacity(1);
        let log = options.spawn(Log::default()).unwrap();
        let [player] = players(system);
        let to = log.clone();
        let place = player.ask(act(move |_, _| {
            drop(gates);
            for number in 0..1000 {
                to.send(Entry(number)).expect("the log goes on");
            }
            here()
        }));
        assert_eq!(place.wait().unwrap(), here());
        assert!(log.ask(Seen).wait().unwrap().into_iter().eq(0..1000));
    });
}

#[test]
fn a_handler_on_the_thread_of_a_caller_waits_for_an_actor_that_a_worker_runs() {
    in_pools(|system| {
        let (hold, gate) = gate();
        let log = system.spawn(Log::default());
        log.send(hold).unwrap();
        gate.wait_until_held();
        let gates = occupy_others(system, 1);
        let [player] = players(system);
        let asked = log.clone();
        let answer = player.ask(act(move |_, _| {
            asked.send(Entry(1)).expect("there is room");
            let seen = asked.ask(Seen);
            gate.open();
            (here(), seen.wait().expect("the log answers"))
        }));
        assert_eq!(answer.wait().unwrap(), (here(), vec![1]));
        drop(gates);
    });
}

/// As [`occupy`], with so many workers that are occupied already.
fn occupy_others(system: &System, occupied: usize) -> Vec<crate::support::Gate> {
    let workers = system.snapshot().workers.len();
    let gates = (occupied..workers).map(|_| {
        let (hold, gate) = gate();
        let log = system.spawn(Log::default());
        log.send(hold).expect("there is room");
        gate.wait_until_held();
        gate
    });
    gates.collect()
}

#[test]
fn an_actor_on_its_own_thread_runs_the_actor_of_the_pool_for_which_it_waits() {
    in_pools(|system| {
        let _gates = occupy(system);
        let [asked] = players(system);
        let own = system.actor().spawn_thread(Player::default).unwrap();
        let places = own.ask(act(move |_, _| {
            let asked = asked.ask(place()).wait().expect("it answers");
            (here(), asked)
        }));
        let (own, asked) = places.wait().unwrap();
        assert_eq!(own, asked);
        assert_ne!(own, here());
    });
}

#[test]
fn an_actor_below_is_seen_to_wait_for_the_one_that_runs_on_top_of_it() {
    in_pools(|system| {
        let _gates = occupy(system);
        let [below, above] = players(system);
        let looker = system.clone();
        let asked = above.clone();
        let waits = below.ask(act(move |_, _| {
            let waits = asked.ask(act(move |_, _| looker.waits()));
            waits.wait().expect("it answers")
        }));
        let waits = waits.wait().unwrap();
        let [wait] = &waits[..] else {
            panic!("{waits:?}");
        };
        assert_eq!(wait.actor.id, below.id());
        let Awaited::Reply { from, .. } = &wait.awaited else {
            panic!("{waits:?}");
        };
        assert_eq!(from.id, above.id());
        assert_eq!(system.waits(), []);
    });
}

// Waits that must go through; see the wait module for why these two are not run by who waits.

/// An answer that its handler gives in the middle, after which it goes on.
struct Early(Addr<Player>);

impl DeferredHandler<Early> for Player {
    type Reply = ();

    fn handle_deferred(
        &mut self,
        Early(asker): Early,
        reply: ReplyTo<()>,
        ctx: &mut greenroom::Context<Self>,
    ) {
        reply.send(());
        asker.ask(Note(1)).wait().expect("the asker goes on");
        self.notes.push((ctx.now(), 1));
    }
}

#[test]
fn an_answer_that_was_put_off_is_there_although_its_handler_waits_for_the_asker_next() {
    in_pools(|system| {
        for on_a_thread in [false, true] {
            let gates = occupy(system);
            let [asked] = players(system);
            let asker = match on_a_thread {
                false => system.spawn(Player::default()),
                true => system.actor().spawn_thread(Player::default).unwrap(),
            };
            let to = asked.clone();
            let answered = asker.ask(act(move |_, ctx| {
                drop(gates);
                to.ask(Early(ctx.addr())).wait().expect("it is answered");
            }));
            answered.wait().unwrap();
            handled(system, &asked, 1);
            assert_eq!(snapshot_of(system, &asker).counts.handled, 2);
        }
    });
}

#[test]
fn room_is_there_although_the_handler_that_made_it_waits_for_the_sender_next() {
    in_pools(|system| {
        for on_a_thread in [false, true] {
            let gates = occupy(system);
            let options = system.actor().capacity(1);
            let full = options.spawn(Player::default()).unwrap();
            let sender = match on_a_thread {
                false => system.spawn(Player::default()),
                true => system.actor().spawn_thread(Player::default).unwrap(),
            };
            let asked = sender.clone();
            full.send(act(move |_, _| {
                asked.ask(Note(1)).wait().expect("the sender goes on");
            }))
            .unwrap();
            let to = full.clone();
            let sent = sender.ask(act(move |_, _| {
                drop(gates);
                to.send(Note(2)).expect("there will be room");
            }));
            sent.wait().unwrap();
            handled(system, &full, 2);
            assert_eq!(snapshot_of(system, &sender).counts.handled, 2);
        }
    });
}

#[test]
fn a_handler_on_the_thread_of_a_caller_waits_for_an_answer_that_somebody_else_gives() {
    in_pools(|system| {
        let gates = occupy(system);
        let debtor = system.spawn(Debtor::default());
        let [player] = players(system);
        let (asked, payer) = (debtor.clone(), debtor.clone());
        let answer = player.ask(act(move |_, _| {
            drop(gates);
            asked.ask(Borrow).wait().expect("it is paid")
        }));
        let payer = thread::spawn(move || {
            eventually("somebody waits", || {
                payer.ask(Pay(7)).wait().expect("the debtor pays") == 1
            });
        });
        assert_eq!(answer.wait().unwrap(), 7);
        payer.join().unwrap();
    });
}

// Kills.

#[test]
fn a_kill_of_an_actor_below_ends_its_wait_after_the_message_that_runs_on_top() {
    in_pools(|system| {
        let gates = occupy(system);
        let [below, above] = players(system);
        let (hold, gate) = gate();
        let log = system.spawn(Log::default());
        let (asked, held) = (above.clone(), log.clone());
        let asker = {
            let below = below.clone();
            thread::spawn(move || {
                let outcome = below.ask(act(move |_, ctx| {
                    // On top runs what stands before the request: it waits for the log, which
                    // holds on the same thread.
                    asked
                        .send(act(move |_, _| held.ask(hold).wait().expect("it is held")))
                        .expect("there is room");
                    let first = asked.ask(Note(1)).wait();
                    let second = asked.ask(Note(2)).wait();
                    let killed = WaitError::Interrupted;
                    assert_eq!(ctx.sleep(SECOND), Err(killed));
                    (first, second)
                }));
                outcome.wait()
            })
        };
        gate.wait_until_held();
        below.kill();
        gate.open();
        let (first, second) = asker.join().unwrap().expect("the handler returns");
        for outcome in [first, second] {
            assert!(
                matches!(outcome, Err(AskError::Wait(WaitError::Interrupted))),
                "{outcome:?}"
            );
        }
        drop(gates);
        assert_eq!(end_of(&below), greenroom::StopReason::Killed);
        handled(system, &above, 1);
        eventually("the requests are skipped", || {
            snapshot_of(system, &above).counts.cancelled == 2
        });
    });
}

#[test]
fn an_actor_that_was_asked_by_a_killed_one_goes_on_with_what_it_is_sent() {
    in_pools(|system| {
        for on_a_thread in [false, true] {
            let asked = begun(system);
            let gates = occupy(system);
            let asker = match on_a_thread {
                false => system.spawn(Player::default()),
                true => system.actor().spawn_thread(Player::default).unwrap(),
            };
            let to = asked.clone();
            let refused = asker.ask(act(move |_, ctx| {
                ctx.addr().kill();
                to.ask(Note(1)).wait()
            }));
            assert!(matches!(
                refused.wait().unwrap(),
                Err(AskError::Wait(WaitError::Interrupted))
            ));
            drop(gates);
            asked.send(Note(2)).unwrap();
            handled(system, &asked, 2);
        }
    });
}

#[test]
fn a_shutdown_ends_the_waits_of_handlers_on_the_thread_of_a_caller() {
    in_time(|| {
        let system = pool(1);
        let [below, above] = players(&system);
        let asked = above.clone();
        let asker = thread::spawn(move || {
            let asleep = below.ask(act(move |_, _| {
                let asleep = asked.ask(act(|_, ctx| ctx.sleep(Duration::from_secs(3600))));
                asleep.wait()
            }));
            asleep.wait()
        });
        eventually("both wait", || system.waits().len() == 2);
        let report = system.shutdown_now(SECOND);
        assert!(report.unfinished.len() <= 2, "{report}");
        let outcome = asker.join().unwrap().expect("the handler below returns");
        assert!(
            matches!(
                outcome,
                Ok(Err(WaitError::Interrupted)) | Err(AskError::Wait(WaitError::Interrupted))
            ),
            "{outcome:?}"
        );
        eventually("both end", || system.snapshot().actors.is_empty());
    });
}
