//! The limit of stacks: a wait beyond it is refused, and nothing else happens.

use std::sync::mpsc;
use std::thread;

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{
    AskError, BuildError, Overflow, SendError, Spawner, StopReason, System, WaitError, wait_all,
    wait_any,
};

use super::{HOUR, SECOND, sleep_for};
use crate::support::{Act, Borrow, Debtor, Note, Pay, Player, act, end_of, eventually, in_time};

/// What became of each kind of wait in a handler that has no stack to wait on.
#[derive(Debug)]
struct Refusals {
    sleep: Result<(), WaitError>,
    send: Option<SendError<Note>>,
    send_for: Option<SendError<Note>>,
    ask: Option<AskError>,
    ask_for: Option<AskError>,
    all: Vec<Option<AskError>>,
    any: Option<WaitError>,
    kept: usize,
    join: Option<WaitError>,
    join_for: Option<WaitError>,
}

/// Tries each kind of wait; `full` is a player who sleeps with a full mailbox of one.
fn try_to_wait(full: greenroom::Addr<Player>) -> Act<Refusals> {
    act(move |_, ctx| {
        let mut replies = vec![full.ask(Note(5)), full.ask(Note(6))];
        Refusals {
            sleep: ctx.sleep(SECOND),
            send: full.send(Note(1)).err(),
            send_for: full.send_for(Note(2), SECOND).err(),
            ask: full.ask(Note(3)).wait().err(),
            ask_for: full.ask(Note(4)).wait_for(SECOND).err(),
            all: wait_all([full.ask(Note(7))])
                .into_iter()
                .map(Result::err)
                .collect(),
            any: wait_any(&mut replies).err(),
            kept: replies.len(),
            join: full.join().err(),
            join_for: full.join_for(SECOND).err(),
        }
    })
}

fn check_refusals(refusals: &Refusals) {
    assert!(
        matches!(
            refusals,
            Refusals {
                sleep: Err(WaitError::NoStack),
                send: Some(SendError::NoStack(Note(1))),
                send_for: Some(SendError::NoStack(Note(2))),
                ask: Some(AskError::Wait(WaitError::NoStack)),
                ask_for: Some(AskError::Wait(WaitError::NoStack)),
                all: _,
                any: Some(WaitError::NoStack),
                kept: 2,
                join: Some(WaitError::NoStack),
                join_for: Some(WaitError::NoStack),
            }
        ),
        "{refusals:?}"
    );
    let all: Vec<_> = refusals.all.iter().flatten().collect();
    assert!(matches!(*all, [AskError::Wait(WaitError::NoStack)]));
}

fn full(options: Spawner) -> greenroom::Addr<Player> {
    let full = options.capacity(1).overflow(Overflow::Block);
    let full = full.spawn(Player::default()).unwrap();
    full.send(sleep_for(HOUR)).unwrap();
    full
}

#[test]
fn a_wait_beyond_the_limit_of_stacks_is_refused_and_gives_the_message_back() {
    for seed in 0..20 {
        // One for the stepper, two for handlers that wait.
        let stepper = Stepper::with_stacks(seed, 1 << 20, 3).unwrap();
        let full = full(stepper.system().actor());
        stepper.run();
        full.send(Note(0)).unwrap();
        let second = stepper.system().spawn(Player::default());
        second.send(sleep_for(HOUR)).unwrap();
        stepper.run();
        let third = stepper.system().spawn(Player::default());
        check_refusals(&third.ask(try_to_wait(full.clone())).wait().unwrap());
        // Nothing of what was refused is left behind.
        stepper.advance(HOUR);
        let numbers = full.ask(act(|player, _| {
            player.notes.iter().map(|(_, number)| *number).collect()
        }));
        let numbers: Vec<u64> = numbers.wait().unwrap();
        assert_eq!(numbers, [0], "with seed {seed}");
        // The others have ended, so there are stacks again.
        let sleeps = [&second, &third].map(|player| player.ask(sleep_for(SECOND)));
        for sleep in sleeps {
            assert_eq!(sleep.wait().unwrap(), Ok(()));
        }
        let report = stepper.system().shutdown(SECOND);
        assert!(report.is_clean(), "{report}");
        assert!(stepper.system().snapshot().totals.is_balanced());
    }
}

/// A pool with so many stacks, on a clock that is moved by hand.
fn pool_of(workers: usize, stacks: usize) -> (System, ManualClock) {
    let clock = ManualClock::new();
    let system = System::builder()
        .workers(workers)
        .max_stacks(stacks)
        .clock(&clock)
        .build()
        .expect("there is a stack for each worker");
    (system, clock)
}

#[test]
fn a_wait_beyond_the_limit_of_stacks_is_refused_in_the_pool_too() {
    let (system, clock) = pool_of(1, 3);
    let full = full(system.actor());
    eventually("the first sleeps", || system.snapshot().timers == 1);
    full.send(Note(0)).unwrap();
    let second = system.spawn(Player::default());
    second.send(sleep_for(HOUR)).unwrap();
    eventually("the second sleeps", || system.snapshot().timers == 2);
    let third = system.spawn(Player::default());
    for _ in 0..3 {
        let refusals = third.ask(try_to_wait(full.clone()));
        eventually("the third answers", || refusals.is_ready());
        check_refusals(&refusals.wait().unwrap());
    }
    assert_eq!(system.snapshot().timers, 2);
    clock.advance(HOUR);
    eventually("both wake up", || {
        let workers = system.snapshot().workers;
        workers.iter().all(|worker| worker.parked_stacks == 0)
    });
    let sleeps = [&second, &third].map(|player| player.ask(sleep_for(SECOND)));
    eventually("both sleep", || system.snapshot().timers == 2);
    clock.advance(SECOND);
    for sleep in sleeps {
        eventually("it answers", || sleep.is_ready());
        assert_eq!(sleep.wait().unwrap(), Ok(()));
    }
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
}

#[test]
fn with_one_stack_for_each_worker_handlers_run_and_none_can_wait() {
    let (system, _clock) = pool_of(2, 2);
    let debtor = system.spawn(Debtor::default());
    let players: Vec<_> = (0..20).map(|_| system.spawn(Player::default())).collect();
    for player in &players {
        let asked = debtor.clone();
        let outcome = player.ask(act(move |_, _| asked.ask(Borrow).wait()));
        eventually("it answers", || outcome.is_ready());
        let outcome = outcome.wait().unwrap();
        assert!(matches!(outcome, Err(AskError::Wait(WaitError::NoStack))));
    }
    // A plain thread needs no stack to wait.
    let owed = debtor.ask(Borrow);
    let waiter = thread::spawn(move || owed.wait());
    eventually("it is owed", || {
        let paid = debtor.ask(Pay(5));
        eventually("it pays", || paid.is_ready());
        paid.wait().unwrap();
        waiter.is_finished()
    });
    assert_eq!(waiter.join().unwrap().unwrap(), 5);
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
}

#[test]
fn a_handler_that_was_refused_ends_and_is_ended_as_any_other() {
    let (system, _clock) = pool_of(1, 1);
    let player = system.spawn(Player::ending_with(|_, ctx| {
        assert_eq!(ctx.sleep(SECOND), Err(WaitError::NoStack));
    }));
    let reply = player.ask(act(|_, ctx| {
        assert_eq!(ctx.sleep(SECOND), Err(WaitError::NoStack));
        panic!("without a stack");
    }));
    eventually("it panics", || reply.is_ready());
    let outcome: Result<(), _> = reply.wait();
    assert!(matches!(outcome, Err(AskError::Panicked { .. })));
    let ended = in_time(move || player.join()).unwrap();
    assert!(matches!(ended, StopReason::Panicked { .. }));
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
}

#[test]
fn a_stack_that_one_worker_has_free_does_not_keep_the_other_one_from_waiting() {
    // One for each of two workers, and two for handlers that wait.
    let (system, clock) = pool_of(2, 4);
    let holder = system.spawn(Player::default());
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let slept = holder.ask(act(move |_, ctx| {
        begin.send(()).expect("the test waits for it");
        // Holds its worker, so that the sleepers below are all on the other one.
        let _ = released.recv();
        ctx.sleep(SECOND)
    }));
    begun.recv().expect("it begins");
    let sleepers = [1, 2].map(|_| system.spawn(Player::default()));
    let sleeps = sleepers
        .each_ref()
        .map(|player| player.ask(sleep_for(SECOND)));
    eventually("both sleep", || system.snapshot().timers == 2);
    clock.advance(SECOND);
    for sleep in sleeps {
        eventually("it wakes up", || sleep.is_ready());
        assert_eq!(sleep.wait().unwrap(), Ok(()));
    }
    // Nobody waits now.
    release.send(()).expect("it holds still");
    eventually("it sleeps or is refused", || {
        slept.is_ready() || system.snapshot().timers == 1
    });
    clock.advance(SECOND);
    eventually("it answers", || slept.is_ready());
    assert_eq!(slept.wait().unwrap(), Ok(()));
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
}

#[test]
fn a_pool_with_fewer_stacks_than_workers_cannot_be_built() {
    for (workers, stacks) in [(1, 0), (2, 1), (8, 7)] {
        let built = System::builder()
            .workers(workers)
            .max_stacks(stacks)
            .build();
        let Err(BuildError::TooFewStacks {
            stacks: told,
            workers: needed,
        }) = built
        else {
            panic!("{built:?}");
        };
        assert_eq!((told, needed), (stacks, workers));
    }
    let stepped = Stepper::with_stacks(0, 1 << 20, 0);
    assert!(matches!(stepped, Err(BuildError::Stack(_))));
}

#[test]
fn after_a_stepper_ended_the_thread_may_step_another_one() {
    for seed in 0..10 {
        let stepper = Stepper::with_stacks(seed, 1 << 16, 2).unwrap();
        assert_eq!(stepper.seed(), seed);
        let player = stepper.system().spawn(Player::default());
        assert_eq!(player.ask(sleep_for(SECOND)).wait().unwrap(), Ok(()));
        player.stop();
        end_of(&player);
    }
}
