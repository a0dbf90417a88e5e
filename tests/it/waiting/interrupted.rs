//! Waits that a kill ends, and orders that end none.

use std::future::pending;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use greenroom::testkit::ManualClock;
use greenroom::{
    Addr, AskError, Context, SendError, StopReason, System, WaitError, wait_all, wait_any,
};

use super::{HOUR, SECOND, is_waiting, pool_on, sleep_for};
use crate::support::{
    Act, Borrow, Debtor, Note, PATIENCE, Pay, Player, act, end_of, eventually, in_pools, in_time,
    under_seeds,
};

/// Actors whose answers, room and end do not come by themselves.
#[derive(Clone)]
struct Wall {
    /// Sleeps with a full mailbox of one.
    full: Addr<Player>,
    /// Answers when it is told to.
    debtor: Addr<Debtor>,
}

impl Wall {
    fn new(system: &System, mut until_idle: impl FnMut()) -> Self {
        let options = system.actor().capacity(1);
        let full = options.spawn(Player::default()).unwrap();
        full.send(sleep_for(HOUR)).unwrap();
        until_idle();
        full.send(Note(0)).unwrap();
        Self {
            full,
            debtor: system.spawn(Debtor::default()),
        }
    }
}

/// A wait that ends by an interruption only; what ended it.
type Wait = fn(&Wall, &mut Context<Player>) -> WaitError;

fn of_send<M>(outcome: Result<(), SendError<M>>) -> WaitError {
    match outcome {
        Err(SendError::Interrupted(_)) => WaitError::Interrupted,
        Err(SendError::NoStack(_)) => WaitError::NoStack,
        Err(SendError::Unwinding(_)) => WaitError::Unwinding,
        other => panic!("{:?}", other.map_err(|error| error.without_message())),
    }
}

fn of_ask<R: std::fmt::Debug>(outcome: Result<R, AskError>) -> WaitError {
    match outcome {
        Err(AskError::Wait(error)) => error,
        other => panic!("{other:?}"),
    }
}

const WAITS: [Wait; 12] = [
    |_, ctx| ctx.sleep(HOUR).expect_err("an hour is long"),
    |_, ctx| ctx.wait(pending::<()>()).expect_err("it is never ready"),
    |wall, _| of_send(wall.full.send(Note(1))),
    |wall, _| of_send(wall.full.send_for(Note(2), HOUR)),
    |wall, _| of_send(wall.full.recipient().send(Note(3))),
    |wall, _| of_ask(wall.full.ask(Note(4)).wait()),
    |wall, _| of_ask(wall.debtor.ask(Borrow).wait()),
    |wall, _| of_ask(wall.debtor.ask(Borrow).wait_for(HOUR)),
    |wall, _| {
        let mut outcomes = wait_all([wall.debtor.ask(Borrow), wall.debtor.ask(Borrow)]);
        of_ask(outcomes.remove(0));
        of_ask(outcomes.remove(0))
    },
    |wall, _| {
        let mut replies = vec![wall.debtor.ask(Borrow), wall.debtor.ask(Borrow)];
        wait_any(&mut replies).expect_err("nobody answers")
    },
    |wall, _| wall.debtor.join().expect_err("it does not end"),
    |wall, _| wall.debtor.join_for(HOUR).expect_err("it does not end"),
];

/// Waits in this way, then in every other; what ended each wait.
fn wait_and_wait_again(wall: &Wall, wait: Wait) -> Act<Vec<WaitError>> {
    let wall = wall.clone();
    act(move |_, ctx| {
        let first = wait(&wall, ctx);
        let others = WAITS.iter().map(|wait| wait(&wall, ctx));
        std::iter::once(first).chain(others).collect()
    })
}

#[test]
fn a_kill_ends_every_wait_of_the_handler_and_every_later_one_at_once() {
    under_seeds(|stepper| {
        let wall = Wall::new(stepper.system(), || {
            stepper.run();
        });
        for wait in WAITS {
            let player = stepper.system().spawn(Player::default());
            let ends = player.ask(wait_and_wait_again(&wall, wait));
            stepper.run();
            assert!(is_waiting(stepper.system(), &player));
            let killed = stepper.clock().now();
            player.kill();
            assert_eq!(ends.wait().unwrap(), [const { WaitError::Interrupted }; 13]);
            assert_eq!(end_of(&player), StopReason::Killed);
            assert_eq!(stepper.clock().now(), killed, "no time has passed");
        }
        // Nothing of what was interrupted is left.
        assert_eq!(stepper.system().snapshot().timers, 1, "but the sleeper's");
        wall.full.kill();
        assert_eq!(end_of(&wall.full), StopReason::Killed);
        let snapshot = stepper.system().snapshot();
        assert_eq!(snapshot.timers, 0);
        assert_eq!(snapshot.totals.rejected, 3 * WAITS.len() as u64 + 3);
    });
}

#[test]
fn a_kill_ends_every_wait_in_the_pool_and_on_a_thread_of_its_own() {
    in_pools(|system| {
        let wall = Wall::new(system, || {
            eventually("the wall sleeps", || system.snapshot().timers == 1);
        });
        for wait in WAITS {
            let pooled = system.spawn(Player::default());
            let alone = system.actor().spawn_thread(Player::default).unwrap();
            for player in [pooled, alone] {
                let ends = player.ask(wait_and_wait_again(&wall, wait));
                eventually("it waits", || is_waiting(system, &player));
                player.kill();
                let ends = ends.wait_for(PATIENCE).unwrap();
                assert_eq!(ends, [const { WaitError::Interrupted }; 13]);
                assert_eq!(end_of(&player), StopReason::Killed);
            }
        }
        wall.full.kill();
        end_of(&wall.full);
    });
}

#[test]
fn waits_in_the_last_hook_of_a_killed_actor_end_at_once() {
    under_seeds(|stepper| {
        let ended: Arc<Mutex<Option<Result<(), WaitError>>>> = Arc::default();
        let seen = ended.clone();
        let player = stepper
            .system()
            .spawn(Player::ending_with(move |reason, ctx| {
                assert_eq!(*reason, StopReason::Killed);
                *seen.lock().unwrap() = Some(ctx.sleep(HOUR));
            }));
        player.kill();
        assert_eq!(end_of(&player), StopReason::Killed);
        assert_eq!(*ended.lock().unwrap(), Some(Err(WaitError::Interrupted)));
    });
}

#[test]
fn a_killed_handler_still_sends_where_it_need_not_wait() {
    under_seeds(|stepper| {
        let log = stepper.system().spawn(Player::default());
        let player = stepper.system().spawn(Player::default());
        let to = log.clone();
        let sent = player.ask(act(move |_, ctx| {
            assert_eq!(ctx.sleep(HOUR), Err(WaitError::Interrupted));
            to.send(Note(1)).is_ok()
        }));
        stepper.run();
        player.kill();
        assert!(sent.wait().unwrap());
        assert_eq!(
            log.ask(act(|player, _| player.notes.len())).wait().unwrap(),
            1
        );
    });
}

#[test]
fn a_request_whose_asker_is_killed_while_it_is_queued_is_not_run() {
    under_seeds(|stepper| {
        let busy = stepper.system().spawn(Player::default());
        busy.send(sleep_for(SECOND)).unwrap();
        let player = stepper.system().spawn(Player::default());
        let asked = busy.clone();
        player
            .send(act(move |_, _| drop(asked.ask(Note(1)).wait())))
            .unwrap();
        stepper.run();
        player.kill();
        end_of(&player);
        let noted = busy.ask(act(|player, _| player.notes.len()));
        assert_eq!(noted.wait().unwrap(), 0);
        assert_eq!(stepper.system().snapshot().totals.cancelled, 1);
    });
}

#[test]
fn a_stop_does_not_end_a_wait_and_takes_effect_after_the_message_in_hand() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let slept = player.ask(sleep_for(SECOND));
        player.send(Note(1)).unwrap();
        stepper.run();
        player.stop();
        stepper.advance(SECOND / 2);
        assert!(is_waiting(stepper.system(), &player));
        assert_eq!(slept.wait().unwrap(), Ok(()));
        assert_eq!(stepper.clock().now() - begun, SECOND);
        assert_eq!(end_of(&player), StopReason::Stopped);
        assert_eq!(stepper.system().snapshot().totals.dead_lettered, 1);
    });
}

#[test]
fn a_drain_does_not_end_a_wait_and_lets_the_queue_be_handled() {
    under_seeds(|stepper| {
        let debtor = stepper.system().spawn(Debtor::default());
        let player = stepper.system().spawn(Player::default());
        let asked = debtor.clone();
        let answered = player.ask(act(move |_, _| asked.ask(Borrow).wait()));
        player.send(Note(1)).unwrap();
        stepper.run();
        player.drain();
        stepper.run();
        assert!(is_waiting(stepper.system(), &player));
        debtor.send(Pay(3)).unwrap();
        assert_eq!(answered.wait().unwrap().unwrap(), 3);
        assert_eq!(end_of(&player), StopReason::Drained);
        assert_eq!(stepper.system().snapshot().totals.dead_lettered, 0);
    });
}

#[test]
fn a_kill_that_meets_the_end_of_the_wait_ends_it_in_one_way_or_the_other() {
    for workers in [1, 2] {
        let clock = ManualClock::new();
        let system = pool_on(&clock, workers);
        for _ in 0..100 {
            let player = system.spawn(Player::default());
            let slept = player.ask(sleep_for(SECOND));
            eventually("it sleeps", || system.snapshot().timers == 1);
            let (go, gone) = mpsc::channel();
            let mover = {
                let clock = clock.clone();
                thread::spawn(move || {
                    gone.recv().expect("the test goes on");
                    clock.advance(SECOND);
                })
            };
            go.send(()).expect("the mover waits");
            player.kill();
            eventually("it answers", || slept.is_ready());
            let slept = slept.wait().unwrap();
            assert!(matches!(slept, Ok(()) | Err(WaitError::Interrupted)));
            let ended = player.clone();
            assert_eq!(in_time(move || ended.join()), Ok(StopReason::Killed));
            mover.join().unwrap();
            assert_eq!(system.snapshot().timers, 0);
        }
        assert!(in_time(move || system.shutdown(SECOND)).is_clean());
    }
}
