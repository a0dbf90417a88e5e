//! Closures that block: in the pool on threads for that, elsewhere where the handler is.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{
    Actor, ActorState, Addr, AskError, Context, Handler, StopReason, System, WaitError,
};

use super::{HOUR, SECOND, is_waiting, parked_stacks, pool_on, sleep_for};
use crate::support::{
    Act, Borrow, Debtor, Note, PATIENCE, Pay, Player, act, alone, end_of, eventually, in_a_pool,
    in_pools, in_time, pool, under_seeds,
};

/// The other side of [`hold`].
struct Hold {
    begun: mpsc::Receiver<()>,
    release: mpsc::Sender<()>,
}

impl Hold {
    fn wait_until_it_blocks(&self) {
        let begun = self.begun.recv_timeout(PATIENCE);
        begun.expect("the closure begins");
    }

    fn release(&self) {
        self.release.send(()).expect("the closure blocks still");
    }
}

/// A closure that blocks its thread until it is released, and then knows its thread.
fn hold() -> (impl FnOnce() -> ThreadId + Send, Hold) {
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let closure = move || {
        begin.send(()).expect("the test waits for it");
        // A test that fails drops its side, which releases the closure too.
        let _ = released.recv();
        thread::current().id()
    };
    (closure, Hold { begun, release })
}

// What blocks, and what goes on.

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_handlers_that_block_need_two_workers_and_at_most_512_threads_for_blocking() {
    alone(|| {
        let before = crate::support::threads().len();
        let clock = ManualClock::new();
        let builder = System::builder().workers(2).name("w").clock(&clock);
        let system = builder.build().unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let players: Vec<_> = (0..1_000)
            .map(|_| {
                let done = done.clone();
                let player = system.spawn(Player::default());
                let block = act(move |_, ctx| {
                    ctx.blocking(|| thread::sleep(Duration::from_millis(10)))
                        .expect("a thread can be had");
                    done.fetch_add(1, SeqCst);
                });
                player.send(block).unwrap();
                player
            })
            .collect();
        // The workers and the threads for blocking, nothing else.
        let blocking = || crate::support::threads().len() - before - 2;
        eventually("all have blocked", || {
            assert!(blocking() <= 512);
            assert!(system.snapshot().blocking.threads <= 512);
            done.load(SeqCst) == 1_000
        });
        let figures = system.snapshot().blocking;
        assert!(figures.threads > 2);
        assert_eq!(figures.queued, 0);
        // A thread is counted a moment before the system has it.
        eventually("all threads have started", || blocking() == figures.threads);
        eventually("all are idle", || {
            system.snapshot().blocking.idle == figures.threads
        });
        let names = crate::support::threads();
        let names = names.iter().filter(|name| name.starts_with("w-blocking-"));
        assert_eq!(names.count(), figures.threads);
        drop(players);
        assert!(in_time(move || system.shutdown(SECOND)).is_clean());
        eventually("all threads end", || {
            crate::support::threads().len() == before
        });
    });
}

#[test]
fn while_a_closure_blocks_its_worker_goes_on_and_its_actor_waits() {
    in_a_pool(1, |system| {
        let (closure, hold) = hold();
        let player = system.spawn(Player::default());
        let worker = player.ask(act(|_, _| thread::current().id()));
        let worker = worker.wait_for(PATIENCE).unwrap();
        let blocked = player.ask(act(move |_, ctx| {
            let blocked = ctx.blocking(closure);
            (blocked, thread::current().id())
        }));
        hold.wait_until_it_blocks();
        eventually("it waits", || is_waiting(system, &player));
        assert_eq!(parked_stacks(system), 1);
        let other = system.spawn(Player::default());
        let id = other.ask(act(|_, _| thread::current().id()));
        assert_eq!(id.wait_for(PATIENCE).unwrap(), worker);
        hold.release();
        let (blocked, after) = blocked.wait_for(PATIENCE).unwrap();
        assert_ne!(blocked.unwrap(), worker);
        assert_eq!(after, worker, "it goes on where it waited");
    });
}

#[test]
fn closures_beyond_the_limit_of_threads_are_queued() {
    let builder = System::builder().workers(2).max_blocking_threads(1);
    let system = builder.build().unwrap();
    let (closure, hold) = hold();
    let first = system.spawn(Player::default());
    let blocked = first.ask(act(move |_, ctx| ctx.blocking(closure)));
    hold.wait_until_it_blocks();
    let players: Vec<_> = (0..10).map(|_| system.spawn(Player::default())).collect();
    let numbers: Vec<_> = players
        .iter()
        .zip(0..)
        .map(|(player, number)| player.ask(act(move |_, ctx| ctx.blocking(|| number))))
        .collect();
    eventually("all are queued", || system.snapshot().blocking.queued == 10);
    let blocking = system.snapshot().blocking;
    assert_eq!((blocking.threads, blocking.idle), (1, 0));
    hold.release();
    blocked.wait_for(PATIENCE).unwrap().unwrap();
    for (reply, number) in numbers.into_iter().zip(0..) {
        assert_eq!(reply.wait_for(PATIENCE).unwrap(), Ok(number));
    }
    assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
}

#[test]
fn without_threads_for_blocking_nothing_blocks_but_actors_on_threads_of_their_own() {
    let builder = System::builder().workers(1).max_blocking_threads(0);
    let system = builder.build().unwrap();
    let options = system.actor();
    let alone = options.spawn_thread(Player::default).unwrap();
    for (player, expected) in [
        (system.spawn(Player::default()), Err(WaitError::NoThread)),
        (alone, Ok(3)),
    ] {
        let blocked = player.ask(act(|_, ctx| ctx.blocking(|| 3)));
        assert_eq!(blocked.wait_for(PATIENCE).unwrap(), expected);
    }
    assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
}

// Where there is a thread to be blocked.

#[test]
fn an_actor_on_its_own_thread_and_a_stepped_one_block_where_they_are() {
    let block = || {
        act(|_, ctx| {
            let here = thread::current().id();
            ctx.blocking(|| thread::current().id()) == Ok(here)
        })
    };
    in_pools(|system| {
        let alone = system.actor().spawn_thread(Player::default).unwrap();
        assert!(alone.ask(block()).wait_for(PATIENCE).unwrap());
        assert_eq!(system.snapshot().blocking.threads, 0);
    });
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        assert!(player.ask(block()).wait().unwrap());
        assert_eq!(stepper.system().snapshot().blocking.threads, 0);
    });
}

/// Runs a test with an actor in the pool, one on a thread of its own, and a stepped one.
fn everywhere(test: impl Fn(&System, &Addr<Player>)) {
    in_pools(|system| {
        test(system, &system.spawn(Player::default()));
        let alone = system.actor().spawn_thread(Player::default);
        test(system, &alone.unwrap());
    });
    under_seeds(|stepper| {
        test(stepper.system(), &stepper.system().spawn(Player::default()));
    });
}

// What a closure may do.

/// Keeps words, and changes them in closures that block.
#[derive(Default)]
struct Words {
    text: String,
    lengths: Vec<usize>,
}

impl Actor for Words {}

struct Append(&'static str);

impl Handler<Append> for Words {
    type Reply = (String, usize);

    fn handle(&mut self, Append(word): Append, ctx: &mut Context<Self>) -> Self::Reply {
        let mut calls = 0;
        let Self { text, lengths } = self;
        // What it returns borrows from the actor.
        let last: &mut usize = ctx
            .blocking(|| {
                calls += 1;
                text.push_str(word);
                lengths.push(text.len());
                lengths.last_mut().expect("it was pushed")
            })
            .expect("it is run");
        *last += calls;
        (self.text.clone(), self.lengths.iter().sum())
    }
}

#[test]
fn a_closure_borrows_from_the_actor_and_the_handler_and_so_does_what_it_returns() {
    let append = |words: Addr<Words>| {
        for (word, text, sum) in [("ab", "ab", 3), ("c", "abc", 7)] {
            let appended = words.ask(Append(word)).wait_for(PATIENCE).unwrap();
            assert_eq!(appended, (text.to_owned(), sum));
        }
    };
    in_pools(|system| {
        append(system.spawn(Words::default()));
        append(system.actor().spawn_thread(Words::default).unwrap());
    });
    under_seeds(|stepper| append(stepper.system().spawn(Words::default())));
}

#[test]
fn a_closure_asks_another_actor_as_a_plain_thread_does() {
    everywhere(|system, player| {
        let echo = system.spawn(Player::default());
        let asked = player.ask(act(move |_, ctx| {
            ctx.blocking(|| {
                let replies = (0..20_u64).map(|number| echo.ask(act(move |_, _| number)));
                replies.map(|reply| reply.wait().expect("an echo")).sum()
            })
        }));
        assert_eq!(asked.wait_for(PATIENCE).unwrap(), Ok(190_u64));
    });
}

#[test]
fn no_kill_ends_what_a_closure_waits_for() {
    everywhere(|system, player| {
        let debtor = system.spawn(Debtor::default());
        let (asked, own) = (debtor.clone(), player.clone());
        let ends = player.ask(act(move |_, ctx| {
            let paid = ctx.blocking(|| {
                let owed = asked.ask(Borrow);
                own.kill();
                asked.send(Pay(4)).expect("there is room");
                owed.wait().expect("it is paid")
            });
            (paid, ctx.sleep(HOUR))
        }));
        let expected = (Ok(4), Err(WaitError::Interrupted));
        assert_eq!(ends.wait_for(PATIENCE).unwrap(), expected);
        assert_eq!(end_of(player), StopReason::Killed);
    });
}

#[test]
fn a_panic_in_a_closure_goes_on_in_the_handler_with_its_payload() {
    #[derive(PartialEq, Debug)]
    struct Payload(u32);
    everywhere(|system, player| {
        let caught = player.ask(act(|_, ctx| {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _ = ctx.blocking(|| panic_any(Payload(7)));
            }));
            let payload = caught.expect_err("it panics");
            (
                payload.downcast_ref() == Some(&Payload(7)),
                ctx.blocking(|| 1),
            )
        }));
        assert_eq!(caught.wait_for(PATIENCE).unwrap(), (true, Ok(1)));
        let panicked: Act<()> = act(|_, ctx| {
            ctx.blocking(|| panic!("in the closure"))
                .expect("it is run")
        });
        let outcome = player.ask(panicked).wait_for(PATIENCE);
        let Err(AskError::Panicked { message }) = outcome else {
            panic!("it has panicked, but: {outcome:?}");
        };
        assert_eq!(&*message, "in the closure");
        let reason = StopReason::Panicked { message };
        assert_eq!(end_of(player), reason);
        let other = system.spawn(Player::default());
        let blocked = other.ask(act(|_, ctx| ctx.blocking(|| 2)));
        assert_eq!(blocked.wait_for(PATIENCE).unwrap(), Ok(2));
    });
}

// Orders meanwhile.

#[test]
fn a_kill_does_not_end_a_closure_and_the_next_wait_ends_at_once() {
    in_pools(|system| {
        for player in [
            system.spawn(Player::default()),
            system.actor().spawn_thread(Player::default).unwrap(),
        ] {
            let (closure, hold) = hold();
            let ends = player.ask(act(move |_, ctx| {
                let mut runs = 0;
                let first = ctx.blocking(closure).is_ok();
                let second = ctx.blocking(|| runs += 1);
                (first, second, ctx.sleep(HOUR), runs)
            }));
            hold.wait_until_it_blocks();
            player.kill();
            // Who is not ended by the kill handles nothing else meanwhile.
            let other = system.spawn(Player::default());
            other.ask(Note(1)).wait_for(PATIENCE).unwrap();
            assert!(!ends.is_ready());
            assert!(!player.is_stopped());
            hold.release();
            let interrupted = Err(WaitError::Interrupted);
            let expected = (true, interrupted.clone(), interrupted, 0);
            assert_eq!(ends.wait_for(PATIENCE).unwrap(), expected);
            assert_eq!(end_of(&player), StopReason::Killed);
        }
    });
}

#[test]
fn a_shutdown_returns_at_its_deadline_and_names_the_actor_that_blocks() {
    let clock = ManualClock::new();
    let system = pool_on(&clock, 2);
    let (closure, hold) = hold();
    let player = system.spawn(Player::default());
    let ends = player.ask(act(move |_, ctx| {
        (ctx.blocking(closure).is_ok(), ctx.sleep(SECOND))
    }));
    hold.wait_until_it_blocks();
    eventually("it waits", || is_waiting(&system, &player));
    let closing = {
        let system = system.clone();
        thread::spawn(move || system.shutdown(5 * SECOND))
    };
    eventually("it waits for the end", || system.snapshot().timers == 1);
    clock.advance(5 * SECOND);
    let report = in_time(move || closing.join().unwrap());
    assert_eq!((report.ended, &report.interrupted), (0, &None));
    let [unfinished] = &report.unfinished[..] else {
        panic!("one is stuck: {report}");
    };
    assert_eq!(unfinished.actor.id, player.id());
    assert!(matches!(
        unfinished.actor.state,
        ActorState::Waiting {
            message_type: Some(_)
        }
    ));
    hold.release();
    eventually("it answers", || ends.is_ready());
    let expected = (true, Err(WaitError::Interrupted));
    assert_eq!(ends.wait().unwrap(), expected);
    eventually("the threads end", || {
        system.snapshot().blocking.threads == 0
    });
}

// Refusals.

/// Blocks in its `Drop`.
struct BlocksAtTheEnd<'a> {
    ctx: &'a mut Context<Player>,
    ends: mpsc::Sender<(Result<(), WaitError>, bool)>,
}

impl Drop for BlocksAtTheEnd<'_> {
    fn drop(&mut self) {
        let mut was_run = false;
        let end = self.ctx.blocking(|| was_run = true);
        self.ends.send((end, was_run)).expect("the test listens");
    }
}

#[test]
fn a_closure_is_refused_while_a_panic_unwinds() {
    everywhere(|_, player| {
        let (ends, ended) = mpsc::channel();
        player
            .send(act(move |_, ctx| {
                let _blocker = BlocksAtTheEnd { ctx, ends };
                panic!("on purpose");
            }))
            .unwrap();
        assert!(matches!(end_of(player), StopReason::Panicked { .. }));
        assert_eq!(ended.recv(), Ok((Err(WaitError::Unwinding), false)));
    });
}

#[test]
fn a_closure_is_refused_and_not_run_beyond_the_limit_of_stacks() {
    let clock = ManualClock::new();
    let builder = System::builder().workers(1).max_stacks(2).clock(&clock);
    let system = builder.build().unwrap();
    let sleeper = system.spawn(Player::default());
    sleeper.send(sleep_for(SECOND)).unwrap();
    eventually("it sleeps", || parked_stacks(&system) == 1);
    let player = system.spawn(Player::default());
    let block = || {
        act(|_, ctx| {
            let mut was_run = false;
            (ctx.blocking(|| was_run = true), was_run)
        })
    };
    let refused = player.ask(block());
    eventually("it answers", || refused.is_ready());
    assert_eq!(refused.wait().unwrap(), (Err(WaitError::NoStack), false));
    assert_eq!(system.snapshot().blocking.threads, 0);
    clock.advance(SECOND);
    eventually("the sleeper ends", || parked_stacks(&system) == 0);
    let run = player.ask(block());
    eventually("it answers", || run.is_ready());
    assert_eq!(run.wait().unwrap(), (Ok(()), true));
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
    // A stepped one needs no stack to wait on.
    let stepper = Stepper::with_stacks(0, 1 << 20, 1).unwrap();
    let player = stepper.system().spawn(Player::default());
    assert_eq!(player.ask(block()).wait().unwrap(), (Ok(()), true));
}

// Hooks, and those who stand in line.

#[test]
fn hooks_block_too() {
    let seen: Arc<Mutex<Vec<Result<u32, WaitError>>>> = Arc::default();
    let system = pool(2);
    let notes = seen.clone();
    let beginner = system.spawn(Player::beginning_with(move |ctx| {
        notes.lock().unwrap().push(ctx.blocking(|| 1));
    }));
    beginner.ask(Note(0)).wait_for(PATIENCE).unwrap();
    let notes = seen.clone();
    let ender = system.spawn(Player::ending_with(move |_, ctx| {
        notes.lock().unwrap().push(ctx.blocking(|| 2));
    }));
    ender.stop();
    assert_eq!(end_of(&ender), StopReason::Stopped);
    assert_eq!(*seen.lock().unwrap(), [Ok(1), Ok(2)]);
    assert!(in_time(move || system.shutdown(PATIENCE)).is_clean());
}

#[test]
fn those_who_stand_in_line_move_on_before_a_closure_blocks() {
    in_pools(|system| {
        for player in [
            system.actor().capacity(1).spawn(Player::default()),
            system.actor().capacity(1).spawn_thread(Player::default),
        ] {
            let player = player.unwrap();
            let (first, second) = (hold(), hold());
            let blocks = [(first.0, true), (second.0, false)].map(|(closure, in_line)| {
                let blocked = player.ask(act(move |_, ctx| ctx.blocking(closure)));
                if !in_line {
                    return blocked;
                }
                first.1.wait_until_it_blocks();
                blocked
            });
            // The second is queued, so this one stands in line until the second blocks.
            let to = player.clone();
            let is_sent = Arc::new(AtomicBool::new(false));
            let tell = is_sent.clone();
            let sender = thread::spawn(move || {
                to.send(Note(1)).expect("there will be room");
                tell.store(true, SeqCst);
            });
            eventually("it stands in line", || {
                let actors = system.snapshot().actors;
                let actor = actors.iter().find(|actor| actor.id == player.id());
                actor.is_some_and(|actor| actor.waiting_senders == 1)
            });
            first.1.release();
            second.1.wait_until_it_blocks();
            eventually("it has moved on", || is_sent.load(SeqCst));
            sender.join().unwrap();
            second.1.release();
            for blocked in blocks {
                blocked.wait_for(PATIENCE).unwrap().unwrap();
            }
        }
    });
}
