//! Handlers that wait: they hold a stack and no thread, and their actors handle nothing else
//! meanwhile.

mod blocking;
mod futures;
mod interrupted;
mod limited;
mod stacks;
mod unwinding;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{
    Actor, ActorState, Addr, Context, Handler, StopReason, System, WaitError, wait_all,
};

use crate::support::{
    Act, Entry, Log, Note, PATIENCE, Player, Seen, act, alone, end_of, eventually, in_a_pool,
    in_pools, in_time, under_seeds,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn sleep_for(time: Duration) -> Act<Result<(), WaitError>> {
    act(move |_, ctx| ctx.sleep(time))
}

fn pool_on(clock: &ManualClock, workers: usize) -> System {
    let system = System::builder().workers(workers).clock(clock);
    system.build().expect("the machine has threads for a test")
}

fn parked_stacks(system: &System) -> usize {
    let workers = system.snapshot().workers;
    workers.iter().map(|worker| worker.parked_stacks).sum()
}

fn is_waiting<A: Actor>(system: &System, addr: &Addr<A>) -> bool {
    let snapshot = system.snapshot();
    let actor = snapshot.actors.iter().find(|actor| actor.id == addr.id());
    actor.is_some_and(|actor| matches!(actor.state, ActorState::Waiting { .. }))
}

// What a wait holds.

/// Has ten thousand actors sleep for an hour at once.
fn sleepers(system: &System, woken: &Arc<AtomicUsize>) -> Vec<Addr<Player>> {
    let sleepers = (0..10_000).map(|_| {
        let woken = woken.clone();
        let player = system.spawn(Player::default());
        let sleep = act(move |_, ctx| {
            ctx.sleep(HOUR).expect("nobody ends the sleep");
            woken.fetch_add(1, SeqCst);
        });
        player.send(sleep).expect("there is room");
        player
    });
    sleepers.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_sleeping_handlers_hold_no_thread_beyond_the_two_workers() {
    alone(|| {
        let threads = || crate::support::threads().len();
        let before = threads();
        let clock = ManualClock::new();
        let system = pool_on(&clock, 2);
        assert_eq!(threads(), before + 2);
        let woken = Arc::new(AtomicUsize::new(0));
        let sleepers = sleepers(&system, &woken);
        eventually("all sleep", || parked_stacks(&system) == 10_000);
        assert_eq!(system.snapshot().timers, 10_000);
        assert_eq!(threads(), before + 2);
        clock.advance(HOUR);
        eventually("all wake up", || woken.load(SeqCst) == 10_000);
        drop(sleepers);
        assert!(in_time(move || system.shutdown(SECOND)).is_clean());
    });
}

#[test]
fn ten_thousand_handlers_sleep_at_once_in_virtual_time() {
    alone(|| {
        let stepper = Stepper::new(1);
        let woken = Arc::new(AtomicUsize::new(0));
        let sleepers = sleepers(stepper.system(), &woken);
        stepper.run();
        assert_eq!(stepper.system().snapshot().timers, 10_000);
        stepper.advance(HOUR - SECOND);
        assert_eq!(woken.load(SeqCst), 0);
        stepper.advance(SECOND);
        assert_eq!(woken.load(SeqCst), 10_000);
        drop(sleepers);
        assert!(stepper.system().shutdown(SECOND).is_clean());
    });
}

#[test]
fn a_chain_of_a_thousand_handlers_that_ask_the_next_one_holds_a_thousand_stacks() {
    for workers in [1, 2] {
        let clock = ManualClock::new();
        let system = pool_on(&clock, workers);
        let last = system.spawn(Player::default());
        let mut reply = last.ask(act(|_, ctx| {
            ctx.sleep(HOUR).expect("nobody ends the sleep");
            0
        }));
        let links: Vec<_> = (1..1000).map(|_| system.spawn(Player::default())).collect();
        for link in &links {
            let before = reply;
            reply = link.ask(act(|_, _| before.wait().expect("it is answered") + 1));
        }
        eventually("all wait", || parked_stacks(&system) == 1000);
        clock.advance(HOUR);
        eventually("all are answered", || reply.is_ready());
        assert_eq!(reply.wait().unwrap(), 999);
        assert_eq!(parked_stacks(&system), 0);
        assert!(in_time(move || system.shutdown(SECOND)).is_clean());
    }
}

/// Adds up the numbers of a range: halves it, has two children of its own do the halves, and
/// waits for both.
struct Adder;

impl Actor for Adder {}

struct Range(u64, u64);

impl Handler<Range> for Adder {
    type Reply = u64;

    fn handle(&mut self, Range(first, last): Range, ctx: &mut Context<Self>) -> u64 {
        // Lies on the stack across the wait.
        let canary: [u64; 256] = std::array::from_fn(|index| first ^ index as u64);
        let thread = thread::current().id();
        let sum = if first == last {
            first
        } else {
            let middle = first.midpoint(last);
            let halves = [Range(first, middle), Range(middle + 1, last)];
            let halves = halves.map(|half| ctx.spawn(Adder).ask(half));
            wait_all(halves)
                .into_iter()
                .map(|sum| sum.expect("a child answers"))
                .sum()
        };
        assert!((0..).zip(canary).all(|(index, word)| word == first ^ index));
        assert_eq!(thread::current().id(), thread, "it goes on where it waited");
        sum
    }
}

#[test]
fn a_tree_of_handlers_that_wait_for_their_children_adds_up() {
    in_pools(|system| {
        let adder = system.spawn(Adder);
        // A child whose address is dropped handles what is queued before it ends.
        let sum = adder.ask(Range(1, 1000)).wait_for(PATIENCE).unwrap();
        assert_eq!(sum, 500_500);
    });
    under_seeds(|stepper| {
        let adder = stepper.system().spawn(Adder);
        assert_eq!(adder.ask(Range(1, 50)).wait().unwrap(), 1275);
    });
}

#[test]
fn a_handler_that_waits_is_seen_to_wait_with_its_message_and_its_stack() {
    in_a_pool(1, |system| {
        let player = system.spawn(Player::default());
        player.send(sleep_for(HOUR)).unwrap();
        eventually("it waits", || is_waiting(system, &player));
        let state = &system.snapshot().actors[0].state;
        let ActorState::Waiting {
            message_type: Some(message_type),
        } = state
        else {
            panic!("it handles a message, but: {state:?}");
        };
        assert!(message_type.contains("Act<"), "{message_type}");
        eventually("its stack is counted", || parked_stacks(system) == 1);
        player.kill();
        end_of(&player);
        assert_eq!(parked_stacks(system), 0);
    });
}

// Waits for room.

#[test]
fn a_handler_sends_a_hundred_thousand_messages_through_a_mailbox_of_one() {
    const MESSAGES: u64 = 100_000;
    for workers in [1, 2] {
        in_a_pool(workers, |system| {
            let options = system.actor().capacity(1);
            let log = options.spawn(Log::default()).unwrap();
            let player = system.spawn(Player::default());
            let to = log.clone();
            let sent = player.ask(act(move |_, _| {
                (0..MESSAGES).all(|number| to.send(Entry(number)).is_ok())
            }));
            assert!(sent.wait_for(PATIENCE).unwrap());
            let seen = log.ask(Seen).wait_for(PATIENCE).unwrap();
            assert!(seen.into_iter().eq(0..MESSAGES));
        });
    }
}

/// Has two hundred handlers send ten messages each to one mailbox of one.
fn fan_in(system: &System) -> (Addr<Log>, Vec<Addr<Player>>) {
    let options = system.actor().capacity(1);
    let log = options.spawn(Log::default()).unwrap();
    let senders = (0..200_u64).map(|sender| {
        let player = system.spawn(Player::default());
        let to = log.clone();
        let send = act(move |_, _| {
            for number in 0..10 {
                to.send(Entry(sender << 32 | number)).expect("it is taken");
            }
        });
        player.send(send).expect("there is room");
        player
    });
    let senders = senders.collect();
    (log, senders)
}

/// Checks that the queue is not longer than it may be; returns whether all was handled.
fn is_done_and_in_bounds(system: &System, log: &Addr<Log>) -> bool {
    let snapshot = system.snapshot();
    let actor = snapshot.actors.iter().find(|actor| actor.id == log.id());
    let actor = actor.expect("the log lives");
    assert!(actor.counts.queued <= 1, "{}", actor.counts);
    assert!(actor.waiting_senders <= 200);
    actor.counts.handled == 2000
}

fn check_order(seen: &[u64]) {
    assert_eq!(seen.len(), 2000);
    for sender in 0..200 {
        let of_sender = seen.iter().filter(|entry| *entry >> 32 == sender);
        assert!(of_sender.map(|entry| entry & 0xffff_ffff).eq(0..10));
    }
}

#[test]
fn two_hundred_handlers_that_send_to_a_mailbox_of_one_never_overfill_it_and_keep_their_order() {
    in_pools(|system| {
        let (log, _senders) = fan_in(system);
        eventually("all is handled", || is_done_and_in_bounds(system, &log));
        check_order(&log.ask(Seen).wait_for(PATIENCE).unwrap());
    });
    for seed in 0..3 {
        let stepper = Stepper::new(seed);
        let (log, _senders) = fan_in(stepper.system());
        while !is_done_and_in_bounds(stepper.system(), &log) {
            assert!(stepper.step(), "with seed {seed}");
        }
        check_order(&log.ask(Seen).wait().unwrap());
    }
}

// Parked and resumed.

#[test]
fn two_handlers_of_one_worker_wait_and_go_on_in_turn() {
    in_pools(|system| {
        let echoes = [1, 2].map(|_| system.spawn(Player::default()));
        let players = [1, 2].map(|_| system.spawn(Player::default()));
        let sums: Vec<_> = players
            .iter()
            .zip(&echoes)
            .map(|(player, echo)| {
                let echo = echo.clone();
                player.ask(act(move |_, _| {
                    let asked = (0..5_000_u64).map(|number| echo.ask(act(move |_, _| number)));
                    asked
                        .map(|reply| reply.wait().expect("an echo"))
                        .sum::<u64>()
                }))
            })
            .collect();
        for sum in sums {
            assert_eq!(sum.wait_for(PATIENCE).unwrap(), 12_497_500);
        }
    });
}

#[test]
fn a_parked_handler_goes_on_while_another_one_of_its_worker_is_in_the_middle() {
    in_a_pool(1, |system| {
        // The first waits for the second. Once it has its answer, it has the second ask it for
        // a note and wait in turn, goes on meanwhile, ends, and so lets the second go on.
        let first = system.spawn(Player::default());
        let second = system.spawn(Player::default());
        let third = system.spawn(Player::default());
        let asked = second.clone();
        let last = third.clone();
        let reply = first.ask(act(move |_, ctx| {
            let half = asked.ask(act(|_, _| 1)).wait().expect("an answer");
            let own = ctx.addr();
            asked
                .send(act(move |_, _| {
                    let note = own.ask(Note(7));
                    note.wait().expect("the first one is done by then");
                    last.send(Note(8)).expect("there is room");
                }))
                .expect("there is room");
            half + 1
        }));
        assert_eq!(reply.wait_for(PATIENCE).unwrap(), 2);
        let handled = || {
            let reply = third.ask(act(|player, _| player.notes.len()));
            reply.wait_for(PATIENCE).unwrap()
        };
        eventually("the third hears of it", || handled() == 1);
        let noted = first.ask(act(|player, _| player.notes.len()));
        assert_eq!(noted.wait_for(PATIENCE).unwrap(), 1);
    });
}

#[test]
fn a_handler_goes_on_on_the_thread_on_which_it_waited() {
    in_pools(|system| {
        let replies: Vec<_> = (0..50)
            .map(|_| {
                let (player, echo) = (
                    system.spawn(Player::default()),
                    system.spawn(Player::default()),
                );
                let reply = player.ask(act(move |_, _| {
                    let thread = thread::current().id();
                    (0..100).all(|_| {
                        echo.ask(Note(0)).wait().expect("it is noted");
                        thread::current().id() == thread
                    })
                }));
                (player, reply)
            })
            .collect();
        for (_player, reply) in replies {
            assert!(reply.wait_for(PATIENCE).unwrap());
        }
    });
}

#[test]
fn a_handler_that_panics_after_a_wait_ends_its_actor_and_nobody_else() {
    in_pools(|system| {
        let echo = system.spawn(Player::default());
        for _ in 0..100 {
            let player = system.spawn(Player::default());
            let asked = echo.clone();
            let reply = player.ask(act(move |_, _| {
                asked.ask(Note(0)).wait().expect("it is noted");
                panic!("after the wait");
            }));
            let () = reply.wait_for(PATIENCE).expect_err("it panics").into_unit();
            let reason = StopReason::Panicked {
                message: "after the wait".into(),
            };
            assert_eq!(end_of(&player), reason);
        }
        let noted = echo.ask(act(|player, _| player.notes.len()));
        assert_eq!(noted.wait_for(PATIENCE).unwrap(), 100);
    });
}

/// Says that an error is all that one wants to know.
trait IntoUnit {
    fn into_unit(self);
}

impl<E> IntoUnit for E {
    fn into_unit(self) {}
}

#[test]
fn a_panic_that_is_caught_between_two_waits_changes_nothing() {
    in_pools(|system| {
        let echo = system.spawn(Player::default());
        let player = system.spawn(Player::default());
        let reply = player.ask(act(move |_, _| {
            echo.ask(Note(0)).wait().expect("it is noted");
            let caught = std::panic::catch_unwind(|| panic!("to be caught"));
            echo.ask(Note(0)).wait().expect("it is noted");
            caught.is_err()
        }));
        assert!(reply.wait_for(PATIENCE).unwrap());
    });
}

#[test]
fn hooks_wait_in_the_pool() {
    in_pools(|system| {
        let echo = system.spawn(Player::default());
        let asked = echo.clone();
        let beginner = system.spawn(Player::beginning_with(move |_| {
            asked.ask(Note(1)).wait().expect("it is noted");
        }));
        beginner.ask(Note(0)).wait_for(PATIENCE).unwrap();
        let asked = echo.clone();
        let ender = system.spawn(Player::ending_with(move |_, _| {
            asked.ask(Note(2)).wait().expect("it is noted");
        }));
        ender.stop();
        assert_eq!(end_of(&ender), StopReason::Stopped);
        let noted = echo.ask(act(|player, _| player.notes.len()));
        assert_eq!(noted.wait_for(PATIENCE).unwrap(), 2);
    });
}

// An actor on a thread of its own.

#[test]
fn an_actor_on_its_own_thread_waits_by_blocking_that_thread() {
    let clock = ManualClock::new();
    let system = pool_on(&clock, 1);
    let echo = system.spawn(Player::default());
    let options = system.actor().name("alone");
    let player = options.spawn_thread(Player::default).unwrap();
    let asked = echo.clone();
    let reply = player.ask(act(move |_, ctx| {
        let thread = thread::current();
        let answer = asked.ask(act(|_, _| 42)).wait().expect("an answer");
        ctx.sleep(SECOND).expect("nobody ends the sleep");
        assert_eq!(thread::current().id(), thread.id());
        (answer, thread.name().map(str::to_owned))
    }));
    eventually("it sleeps", || system.snapshot().timers == 1);
    assert!(is_waiting(&system, &player));
    assert_eq!(parked_stacks(&system), 0);
    // The only worker is free.
    let free = echo.ask(act(|_, _| 7));
    eventually("the worker answers", || free.is_ready());
    clock.advance(SECOND);
    eventually("the sleeper answers", || reply.is_ready());
    assert_eq!(reply.wait().unwrap(), (42, Some("alone".to_owned())));
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
}

#[test]
fn an_actor_on_its_own_thread_waits_for_room_by_blocking_that_thread() {
    in_pools(|system| {
        let options = system.actor().capacity(1);
        let log = options.spawn(Log::default()).unwrap();
        let player = system.actor().spawn_thread(Player::default).unwrap();
        let to = log.clone();
        let sent = player.ask(act(move |_, _| {
            (0..2_000).all(|number| to.send(Entry(number)).is_ok())
        }));
        assert!(sent.wait_for(PATIENCE).unwrap());
        let seen = log.ask(Seen).wait_for(PATIENCE).unwrap();
        assert!(seen.into_iter().eq(0..2_000));
    });
}
