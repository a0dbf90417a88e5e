//! Waits while a panic unwinds: they are refused, since they could keep it from ever ending.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

use greenroom::{Addr, AskError, Context, SendError, StopReason, System, WaitError};

use super::{HOUR, sleep_for};
use crate::support::{
    Borrow, Debtor, Note, PATIENCE, Player, act, end_of, eventually, in_pools, in_time, under_seeds,
};

/// Runs a closure when it is dropped, by a panic say.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What became of each kind of wait while the thread unwound.
#[derive(Debug)]
struct Refusals {
    send: Option<SendError<Note>>,
    send_for: Option<SendError<Note>>,
    ask: Option<AskError>,
    join: Option<WaitError>,
    /// An answer that is there needs no wait.
    known: u64,
}

fn try_to_wait(
    full: &Addr<Player>,
    debtor: &Addr<Debtor>,
    there: greenroom::Reply<u64>,
) -> Refusals {
    Refusals {
        send: full.send(Note(1)).err(),
        send_for: full.send_for(Note(2), HOUR).err(),
        ask: debtor.ask(Borrow).wait().err(),
        join: debtor.join().err(),
        known: there.wait().expect("it is there"),
    }
}

fn check(refusals: &Refusals) {
    assert!(
        matches!(
            refusals,
            Refusals {
                send: Some(SendError::Unwinding(Note(1))),
                send_for: Some(SendError::Unwinding(Note(2))),
                ask: Some(AskError::Wait(WaitError::Unwinding)),
                join: Some(WaitError::Unwinding),
                known: 42,
            }
        ),
        "{refusals:?}"
    );
}

/// A player who sleeps with a full mailbox of one.
fn full(system: &System, mut until_idle: impl FnMut()) -> Addr<Player> {
    let options = system.actor().capacity(1);
    let full = options.spawn(Player::default()).unwrap();
    full.send(sleep_for(HOUR)).unwrap();
    until_idle();
    full.send(Note(0)).unwrap();
    full
}

/// Has a handler of `player` panic and try to wait while it unwinds.
fn panic_and_wait(player: &Addr<Player>, full: &Addr<Player>, debtor: &Addr<Debtor>) -> Refusals {
    let (tell, told) = mpsc::channel();
    let there = player.ask(act(|_, _| 42));
    let (full, debtor) = (full.clone(), debtor.clone());
    let reply = player.ask(act(move |_, _| {
        let mut there = Some(there);
        let _finally = Finally(|| {
            let there = there.take().expect("a Drop runs once");
            let refusals = try_to_wait(&full, &debtor, there);
            tell.send(refusals).expect("the test listens");
        });
        panic!("on purpose");
    }));
    let outcome: Result<(), _> = reply.wait_for(PATIENCE);
    assert!(
        matches!(outcome, Err(AskError::Panicked { .. })),
        "{outcome:?}"
    );
    let reason = StopReason::Panicked {
        message: "on purpose".into(),
    };
    assert_eq!(end_of(player), reason);
    told.try_recv().expect("the Drop ran")
}

#[test]
fn a_wait_in_a_drop_that_a_panic_runs_is_refused() {
    under_seeds(|stepper| {
        let full = full(stepper.system(), || {
            stepper.run();
        });
        let debtor = stepper.system().spawn(Debtor::default());
        let player = stepper.system().spawn(Player::default());
        check(&panic_and_wait(&player, &full, &debtor));
        full.kill();
        end_of(&full);
    });
    in_pools(|system| {
        let full = full(system, || {
            eventually("it sleeps", || system.snapshot().timers == 1);
        });
        let debtor = system.spawn(Debtor::default());
        for _ in 0..10 {
            let player = system.spawn(Player::default());
            check(&panic_and_wait(&player, &full, &debtor));
        }
        let alone = system.actor().spawn_thread(Player::default).unwrap();
        check(&panic_and_wait(&alone, &full, &debtor));
        full.kill();
        end_of(&full);
    });
}

/// Sleeps in its `Drop`.
struct SleepsAtTheEnd<'a> {
    ctx: &'a mut Context<Player>,
    slept: mpsc::Sender<Result<(), WaitError>>,
}

impl Drop for SleepsAtTheEnd<'_> {
    fn drop(&mut self) {
        let slept = self.ctx.sleep(HOUR);
        self.slept.send(slept).expect("the test listens");
    }
}

#[test]
fn a_sleep_in_a_drop_that_a_panic_runs_is_refused() {
    under_seeds(|stepper| {
        let begun = stepper.clock().now();
        let player = stepper.system().spawn(Player::default());
        let (slept, outcome) = mpsc::channel();
        player
            .send(act(move |_, ctx| {
                let _sleeper = SleepsAtTheEnd { ctx, slept };
                panic!("on purpose");
            }))
            .unwrap();
        assert!(matches!(end_of(&player), StopReason::Panicked { .. }));
        assert_eq!(outcome.try_recv(), Ok(Err(WaitError::Unwinding)));
        assert_eq!(stepper.clock().now(), begun);
    });
}

#[test]
fn a_plain_thread_does_not_wait_while_it_unwinds() {
    in_pools(|system| {
        let full = full(system, || {
            eventually("it sleeps", || system.snapshot().timers == 1);
        });
        let debtor = system.spawn(Debtor::default());
        let player = system.spawn(Player::default());
        let there = player.ask(act(|_, _| 42));
        eventually("it is answered", || there.is_ready());
        let asked = full.clone();
        let refusals = in_time(move || {
            let mut there = Some(there);
            let mut refusals = None;
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _finally = Finally(|| {
                    let there = there.take().expect("a Drop runs once");
                    refusals = Some(try_to_wait(&asked, &debtor, there));
                });
                panic!("on purpose");
            }));
            assert!(unwound.is_err());
            // Afterwards it waits again.
            assert_eq!(player.ask(act(|_, _| 7)).wait().expect("an answer"), 7);
            refusals.expect("the Drop ran")
        });
        check(&refusals);
        full.kill();
        end_of(&full);
    });
}
