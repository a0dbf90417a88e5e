//! Handlers that wait on the thread of somebody who waits for them: they spawn, send, ask and
//! wait as they would in the pool.

use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use greenroom::testkit::ManualClock;
use greenroom::{Addr, Awaited, DeferredHandler, ReplyTo, System};

use super::{
    handled, here, occupy, occupy_some, open_player, open_players, place, players, snapshot_of,
    workers,
};
use crate::support::{
    Borrow, Debtor, Entry, Gate, Log, Note, Pay, Player, Seen, act, alone, close_the_books,
    eventually, gate, in_pools, in_time, pool,
};

const SECOND: Duration = Duration::from_secs(1);
/// How many actors a thread runs on top of each other.
const MOST: usize = 16;

// What such a handler may do.

#[test]
fn a_handler_on_the_thread_of_a_caller_spawns_sends_and_asks_as_in_the_pool() {
    in_pools(|system| {
        let gates = occupy(system);
        let [player, other] = open_players(system);
        let sent_to = other.clone();
        let places = player.ask(act(move |_, ctx| {
            let options = ctx.actor().run_on_callers();
            let child = options.spawn(Player::default()).expect("it is spawned");
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

/// Asks the link of this number, which asks the next one and waits, to the last one; tells where
/// they ran, the last one first. The workers are let go before the link that no stack is left for.
fn places_along(links: &Arc<[Addr<Player>]>, number: usize, mut gates: Vec<Gate>) -> Vec<ThreadId> {
    let Some(link) = links.get(number) else {
        return Vec::new();
    };
    if number == MOST {
        gates.clear();
    }
    let next = links.clone();
    let reply = link.ask(act(move |_, _| {
        let mut places = places_along(&next, number + 1, gates);
        places.push(here());
        places
    }));
    reply.wait().expect("a link answers")
}

#[test]
fn a_chain_of_actors_that_wait_for_the_next_one_runs_on_the_thread_that_asked_up_to_sixteen() {
    in_pools(|system| {
        for length in [1, 8, MOST, MOST + 1, 100] {
            let links: Vec<_> = (0..length).map(|_| open_player(system)).collect();
            let mut places = places_along(&links.into(), 0, occupy(system));
            places.reverse();
            let (nested, others) = places.split_at(length.min(MOST));
            assert!(nested.iter().all(|place| *place == here()), "{length}");
            assert!(others.iter().all(|place| *place != here()), "{length}");
        }
    });
}

#[test]
fn threads_that_ask_along_the_same_chain_are_all_answered() {
    in_pools(|system| {
        // Each third one may not be run by the handler that waits for it.
        let links: Arc<[_]> = (0..20)
            .map(|number| match number % 3 {
                0 => system.spawn(Player::default()),
                _ => open_player(system),
            })
            .collect();
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
        for player in [
            |system: &System| system.spawn(Player::default()),
            open_player,
        ] {
            let links: Vec<_> = (0..10_000).map(|_| player(&system)).collect();
            assert_eq!(climb(&links.into(), 0), 10_000);
        }
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
        let gates = occupy_some(system, system.snapshot().workers.len() - 1);
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

/// Has a handler do this that waits on a thread: it is run by who asks here, or by a thread of its
/// actor's own. It is given what occupies all workers.
fn on_a_thread<R: Send + 'static>(
    system: &System,
    of_its_own: bool,
    scene: impl FnOnce(Vec<Gate>) -> R + Send + 'static,
) -> R {
    let gates = occupy(system);
    let waiter = match of_its_own {
        false => system.spawn(Player::default()),
        true => system.actor().spawn_thread(Player::default).unwrap(),
    };
    let told = waiter.ask(act(move |_, _| (here(), scene(gates))));
    let (place, told) = told.wait().unwrap();
    assert_eq!(place != here(), of_its_own);
    told
}

#[test]
fn a_handler_on_a_thread_runs_the_actor_for_which_it_waits_if_that_one_allows_it() {
    in_pools(|system| {
        for of_its_own in [false, true] {
            let asked = open_player(system);
            let [own, asked] = on_a_thread(system, of_its_own, move |_gates| {
                [here(), asked.ask(place()).wait().expect("it answers")]
            });
            assert_eq!(own, asked);
        }
    });
}

#[test]
fn a_handler_on_a_thread_is_answered_by_a_worker_if_the_asked_actor_does_not_say_otherwise() {
    in_pools(|system| {
        let workers = workers(system);
        for of_its_own in [false, true] {
            for _ in 0..20 {
                let asked = system.spawn(Player::default());
                let place = on_a_thread(system, of_its_own, move |gates| {
                    drop(gates);
                    asked.ask(place()).wait().expect("it answers")
                });
                assert!(workers.contains(&place));
            }
        }
    });
}

#[test]
fn an_actor_that_a_handler_on_a_thread_waits_for_is_run_by_a_plain_thread_that_waits_too() {
    in_pools(|system| {
        for of_its_own in [false, true] {
            let asked = system.spawn(Player::default());
            let helped = asked.clone();
            let first = on_a_thread(system, of_its_own, move |_gates| {
                let first = asked.ask(place());
                let helper = thread::spawn(move || helped.ask(place()).wait().unwrap() == here());
                let first = first.wait().expect("it answers");
                assert!(helper.join().unwrap());
                first
            });
            assert!(first != here() && !workers(system).contains(&first));
        }
    });
}

#[test]
fn an_actor_below_is_seen_to_wait_for_the_one_that_runs_on_top_of_it() {
    in_pools(|system| {
        let _gates = occupy(system);
        let [below, above] = open_players(system);
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
            let asked = open_player(system);
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
            let options = system.actor().capacity(1).run_on_callers();
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
