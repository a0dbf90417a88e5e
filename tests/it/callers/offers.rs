//! Requests of threads that do not wait at once, or never: they are handled all the same, soon.

#[cfg(target_os = "linux")]
use greenroom::{
    Actor, Addr, AskError, Context, Handler, Reply, StopReason, System, wait_all, wait_any,
};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;

use super::{
    all_workers_sleep, begun, handled, here, occupy, occupy_some, open_player, place, snapshot_of,
};
use crate::support::{
    Gate, Note, PATIENCE, Player, act, alone, close_the_books, end_of, eventually, in_a_pool,
    in_pools, pool,
};

// Replies that nobody waits for.

#[test]
fn a_request_whose_reply_is_kept_is_handled() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for number in 1..=20 {
            let reply = player.ask(Note(number));
            // Looking at the actor from outside does not help it.
            handled(system, &player, number);
            assert!(reply.is_ready());
        }
    });
}

#[test]
fn a_request_whose_reply_is_never_dropped_is_handled() {
    // A leak that the address sanitizer does not report.
    static FORGOTTEN: Mutex<Vec<Reply<()>>> = Mutex::new(Vec::new());
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for number in 1..=20 {
            FORGOTTEN.lock().unwrap().push(player.ask(Note(number)));
            handled(system, &player, number);
        }
    });
}

#[test]
fn a_request_whose_reply_is_dropped_is_handled_or_cancelled() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for number in 1..=200 {
            drop(player.ask(Note(number)));
            eventually("it is in a bin", || {
                let counts = snapshot_of(system, &player).counts;
                counts.handled + counts.cancelled == number
            });
        }
    });
}

#[test]
fn requests_to_many_actors_whose_replies_are_kept_are_handled() {
    in_pools(|system| {
        let players: Vec<_> = (0..200).map(|_| begun(system)).collect();
        let replies: Vec<_> = players.iter().map(|player| player.ask(Note(1))).collect();
        eventually("all are handled", || {
            system.snapshot().totals.handled == 400
        });
        assert!(wait_all(replies).iter().all(Result::is_ok));
    });
}

#[test]
fn a_request_is_handled_although_its_thread_ends_at_once() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for number in 1..=50 {
            let asked = player.clone();
            let reply = thread::spawn(move || asked.ask(Note(1))).join().unwrap();
            handled(system, &player, number);
            reply.wait().unwrap();
        }
    });
}

/// Asks one actor and waits, and asks another and does not, when its thread ends.
struct AskAtTheEnd {
    waited_for: Addr<Player>,
    kept: Addr<Player>,
    replies: mpsc::Sender<Reply<()>>,
}

impl Drop for AskAtTheEnd {
    fn drop(&mut self) {
        self.waited_for.ask(Note(1)).wait().expect("it answers");
        let reply = self.kept.ask(Note(1));
        self.replies.send(reply).expect("the test listens");
    }
}

thread_local! {
    static LAST: RefCell<Option<AskAtTheEnd>> = const { RefCell::new(None) };
}

#[test]
fn a_thread_asks_and_waits_while_its_locals_are_dropped() {
    in_pools(|system| {
        for asks_before in [false, true] {
            let [waited_for, kept] = [0; 2].map(|_| system.spawn(Player::default()));
            let (replies, told) = mpsc::channel();
            let last = AskAtTheEnd {
                waited_for: waited_for.clone(),
                kept: kept.clone(),
                replies,
            };
            let player = system.spawn(Player::default());
            thread::spawn(move || {
                // Locals are dropped in the order in which they were used first, or backwards.
                if asks_before {
                    player.ask(Note(1)).wait().expect("it answers");
                }
                LAST.set(Some(last));
                player.ask(Note(1)).wait().expect("it answers");
            });
            let reply = told.recv_timeout(PATIENCE).expect("the thread ends");
            handled(system, &kept, 1);
            reply.wait().unwrap();
            assert_eq!(snapshot_of(system, &waited_for).counts.handled, 1);
        }
    });
}

#[test]
fn a_request_is_handled_while_its_thread_waits_for_a_plain_channel() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for _ in 0..20 {
            let (feed, fed) = mpsc::channel();
            let reply = player.ask(act(move |_, _| feed.send(7).expect("the test listens")));
            assert_eq!(fed.recv_timeout(PATIENCE), Ok(7));
            reply.wait().unwrap();
        }
    });
}

#[test]
fn a_request_from_a_handler_on_the_thread_of_a_caller_is_handled_after_that_one_has_returned() {
    in_pools(|system| {
        for second in [begun(system), open_player(system)] {
            let first = begun(system);
            let begun = snapshot_of(system, &second).counts.handled;
            let gates = occupy(system);
            let asked = second.clone();
            let kept = first.ask(act(move |_, _| asked.ask(place())));
            let kept = kept.wait().unwrap();
            drop(gates);
            handled(system, &second, begun + 1);
            assert_ne!(kept.wait().unwrap(), here());
        }
    });
}

#[test]
fn a_request_from_an_actor_on_its_own_thread_whose_reply_is_kept_is_handled() {
    in_pools(|system| {
        let own = system.actor().spawn_thread(Player::default).unwrap();
        for player in [system.spawn(Player::default()), open_player(system)] {
            for number in 1..=20 {
                let asked = player.clone();
                let kept = own.ask(act(move |_, _| asked.ask(Note(1))));
                let kept = kept.wait().unwrap();
                handled(system, &player, number);
                kept.wait().unwrap();
            }
        }
    });
}

// Replies that go elsewhere.

#[test]
fn a_reply_that_another_thread_waits_for_polls_or_drops_is_a_request_like_any_other() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        type Use = fn(Reply<()>);
        let uses: [Use; 6] = [
            |reply| reply.wait().unwrap(),
            |reply| reply.wait_for(PATIENCE).unwrap(),
            |reply| pollster::block_on(reply).unwrap(),
            |reply| eventually("it is answered", || reply.is_ready()),
            |reply| {
                let (_, outcome) = wait_any(&mut vec![reply]).unwrap().expect("there is one");
                outcome.unwrap();
            },
            drop,
        ];
        for (number, its_use) in (1..).zip(uses.repeat(20)) {
            let reply = player.ask(Note(number));
            thread::spawn(move || its_use(reply)).join().unwrap();
            eventually("it is in a bin", || {
                let counts = snapshot_of(system, &player).counts;
                counts.handled + counts.cancelled == number
            });
        }
    });
}

#[test]
fn another_thread_that_waits_for_the_reply_runs_the_actor() {
    in_pools(|system| {
        let player = begun(system);
        let gates = occupy(system);
        let reply = player.ask(place());
        let waiter = thread::spawn(move || reply.wait().unwrap() == here());
        assert!(waiter.join().unwrap());
        drop(gates);
    });
}

#[test]
fn a_reply_that_a_handler_in_the_pool_waits_for_is_a_request_like_any_other() {
    in_pools(|system| {
        let [waiter, asked] = [0; 2].map(|_| system.spawn(Player::default()));
        for _ in 0..50 {
            let reply = asked.ask(place());
            let (tell, told) = mpsc::channel();
            let pass_on = act(move |_, _| tell.send(reply.wait()).expect("the test listens"));
            waiter.send(pass_on).unwrap();
            let place = told.recv_timeout(PATIENCE).expect("the waiter is answered");
            assert_ne!(place.unwrap(), here());
        }
    });
}

#[test]
fn what_another_thread_sends_to_an_actor_that_was_asked_by_one_who_does_not_wait_is_handled() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for round in 1..=20 {
            let reply = player.ask(Note(0));
            let other = player.clone();
            thread::spawn(move || other.send(Note(1)).unwrap())
                .join()
                .unwrap();
            handled(system, &player, 2 * round);
            reply.wait().unwrap();
        }
    });
}

#[test]
fn two_requests_before_two_waits_run_at_the_same_time() {
    // With one worker, that one may be in the first handler while this thread waits for it.
    for workers in [2, 8] {
        in_a_pool(workers, |system| {
            for _ in 0..20 {
                let meet = Arc::new(Barrier::new(2));
                let players = [0; 2].map(|_| begun(system));
                let replies = players.map(|player| {
                    let meet = meet.clone();
                    player.ask(act(move |_, _| {
                        meet.wait();
                        here()
                    }))
                });
                let [first, second] = replies.map(|reply| reply.wait().unwrap());
                assert_ne!(first, second);
            }
        });
    }
}

#[test]
fn a_request_whose_reply_is_kept_is_handled_although_the_worker_that_looked_around_is_held() {
    for (workers, held) in [(2, 1), (8, 1), (8, 7)] {
        in_a_pool(workers, |system| {
            let player = begun(system);
            for round in 0..20 {
                eventually("all sleep", || all_workers_sleep(system));
                player.ask(Note(round)).wait().unwrap();
                // One of them sleeps for a limited time, to look at what is left to threads.
                eventually("all sleep", || all_workers_sleep(system));
                let gates = occupy_some(system, held);
                let (tell, told) = mpsc::channel();
                let reply = player.ask(act(move |_, _| tell.send(7).expect("the test listens")));
                assert_eq!(told.recv_timeout(PATIENCE), Ok(7));
                gates.into_iter().for_each(Gate::open);
                reply.wait().unwrap();
            }
        });
    }
}

// Two systems, and the end of one.

#[test]
fn requests_of_one_thread_to_two_systems_are_all_handled() {
    in_pools(|first| {
        in_a_pool(1, |second| {
            let players = [first, second].map(|system| system.spawn(Player::default()));
            for round in 1..=20 {
                let replies = [0, 1, 0, 1].map(|number| players[number].ask(Note(round)));
                handled(first, &players[0], 2 * round);
                handled(second, &players[1], 2 * round);
                assert!(replies.iter().all(Reply::is_ready));
            }
            for round in 0..200 {
                let [asked, other] = [round % 2, 1 - round % 2].map(|number| &players[number]);
                let kept = other.ask(Note(0));
                asked.ask(Note(0)).wait().unwrap();
                kept.wait().unwrap();
            }
        });
    });
}

#[test]
fn a_shutdown_handles_a_request_that_was_left_to_its_thread() {
    for workers in [1, 2, 8] {
        let system = pool(workers);
        let players: Vec<_> = (0..20).map(|_| begun(&system)).collect();
        let replies: Vec<_> = players.iter().map(|player| player.ask(Note(1))).collect();
        close_the_books(&system);
        assert_eq!(system.snapshot().totals.handled, 40);
        assert!(wait_all(replies).iter().all(Result::is_ok));
    }
}

#[test]
fn a_shutdown_that_stops_at_once_tells_those_whose_requests_were_left_to_them() {
    for workers in [1, 2, 8] {
        let system = pool(workers);
        let player = begun(&system);
        let reply = player.ask(Note(1));
        let report = system.shutdown_now(PATIENCE);
        assert!(report.is_clean(), "{report}");
        assert!(reply.is_ready());
        match reply.wait() {
            Ok(()) => {}
            Err(AskError::Stopped { reason }) => assert_eq!(reason, StopReason::Shutdown),
            other => panic!("{other:?}"),
        }
        assert!(system.snapshot().totals.is_balanced());
    }
}

#[test]
fn a_system_that_is_dropped_handles_a_request_that_was_left_to_its_thread() {
    for workers in [1, 2, 8] {
        let (feed, fed) = mpsc::channel();
        let system = pool(workers);
        let player = begun(&system);
        let reply = player.ask(act(move |_, _| feed.send(7).expect("the test listens")));
        drop(system);
        assert_eq!(fed.recv_timeout(PATIENCE), Ok(7));
        reply.wait().unwrap();
        assert_eq!(end_of(&player), StopReason::Shutdown);
    }
}

// Many threads, and busy workers.

#[test]
fn many_threads_that_ask_one_actor_get_each_its_own_answer() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        let askers: Vec<_> = (0..8_u64)
            .map(|asker| {
                let player = player.clone();
                thread::spawn(move || {
                    for number in (0..500).map(|number| asker << 32 | number) {
                        let echo = player.ask(act(move |_, _| number));
                        assert_eq!(echo.wait().unwrap(), number);
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        handled(system, &player, 8 * 500);
    });
}

/// Two actors that send one ball to and fro until they are told to stop.
struct Rally {
    over: Arc<AtomicBool>,
    peer: Option<Addr<Rally>>,
}

/// The ball, or the peer at the beginning.
enum Ball {
    Meet(Addr<Rally>),
    Hit,
}

impl Actor for Rally {}

impl Handler<Ball> for Rally {
    type Reply = ();

    fn handle(&mut self, ball: Ball, _: &mut Context<Self>) {
        if let Ball::Meet(peer) = ball {
            self.peer = Some(peer);
        }
        if self.over.load(SeqCst) {
            self.peer = None;
        } else if let Some(peer) = &self.peer {
            // The peer may have ended after the last ball.
            let _ = peer.send(Ball::Hit);
        }
    }
}

/// Keeps each of the workers busy with rallies, so that none ever sleeps, until it is dropped.
struct Rallies(Arc<AtomicBool>);

impl Rallies {
    fn begin(system: &System) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..2 * system.snapshot().workers.len() {
            let [ping, pong] = [0; 2].map(|_| {
                let over = over.clone();
                system.spawn(Rally { over, peer: None })
            });
            pong.send(Ball::Meet(ping.clone())).expect("there is room");
            ping.send(Ball::Meet(pong)).expect("there is room");
        }
        Self(over)
    }
}

impl Drop for Rallies {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_request_whose_reply_is_kept_is_handled_although_no_worker_ever_sleeps() {
    in_pools(|system| {
        let _rallies = Rallies::begin(system);
        let player = system.spawn(Player::default());
        for number in 1..=5 {
            let reply = player.ask(Note(number));
            handled(system, &player, number);
            reply.wait().unwrap();
        }
    });
}

// After the end.

/// Has another thread run what was left to this one, and ends the system.
#[cfg(target_os = "linux")]
fn end_with_a_turn_left_over() {
    let system = pool(1);
    let player = begun(&system);
    let gates = occupy(&system);
    let reply = player.ask(Note(1));
    let waiter = thread::spawn(move || reply.wait());
    waiter.join().unwrap().unwrap();
    drop(gates);
    close_the_books(&system);
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_that_has_ended_leaves_no_thread_behind_although_a_turn_was_left_to_a_thread() {
    alone(|| {
        let user = thread::spawn(|| (0..20).for_each(|_| end_with_a_turn_left_over()));
        user.join().unwrap();
        eventually("all of their threads end", || {
            let threads = crate::support::threads();
            !threads.iter().any(|name| name.starts_with("greenroom"))
        });
    });
}
