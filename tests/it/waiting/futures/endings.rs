//! Waits for futures that end early or by a panic, and orders that end none.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn, ready};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::Poll;

use futures_channel::oneshot;
use greenroom::testkit::Stepper;
use greenroom::{Addr, AskError, Context, StopReason, System, WaitError};

use super::{Event, pooled_and_alone};
use crate::support::{
    Act, Borrow, Debtor, Note, PATIENCE, Pay, Player, act, end_of, eventually, in_pools,
    under_seeds,
};
use crate::waiting::{HOUR, is_waiting, sleep_for};

/// Never ready; counts how often it is dropped.
struct Endless(Arc<AtomicUsize>);

impl Future for Endless {
    type Output = ();

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Has a handler wait for ever, kills it, and looks what has become of the future.
fn kill_it(system: &System, player: &Addr<Player>, until_it_waits: impl Fn()) {
    let drops = Arc::new(AtomicUsize::new(0));
    let future = Endless(drops.clone());
    let seen = drops.clone();
    let ends = player.ask(act(move |_, ctx| {
        let first = ctx.wait(future);
        let dropped = seen.load(SeqCst);
        let second = ctx.wait(pending::<()>());
        let slept = ctx.sleep(HOUR);
        // What is there needs no wait.
        (first, dropped, second, slept, ctx.wait(ready(3)))
    }));
    until_it_waits();
    assert!(is_waiting(system, player));
    assert_eq!(drops.load(SeqCst), 0);
    player.kill();
    let interrupted = Err(WaitError::Interrupted);
    let expected = (
        interrupted.clone(),
        1,
        interrupted.clone(),
        interrupted,
        Ok(3),
    );
    assert_eq!(ends.wait_for(PATIENCE).unwrap(), expected);
    assert_eq!(end_of(player), StopReason::Killed);
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn a_kill_ends_the_wait_and_drops_the_future_once_and_later_waits_end_at_once() {
    in_pools(|system| {
        for player in pooled_and_alone(system) {
            kill_it(system, &player, || {
                eventually("it waits", || is_waiting(system, &player));
            });
        }
    });
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        kill_it(stepper.system(), &player, || {
            stepper.run();
        });
    });
}

#[test]
fn a_kill_ends_the_wait_for_a_future_that_wakes_itself() {
    in_pools(|system| {
        for player in pooled_and_alone(system) {
            let polls = Arc::new(AtomicUsize::new(0));
            let counted = polls.clone();
            let ends = player.ask(act(move |_, ctx| {
                ctx.wait(poll_fn(|cx| {
                    counted.fetch_add(1, SeqCst);
                    cx.waker().wake_by_ref();
                    Poll::<()>::Pending
                }))
            }));
            eventually("it is polled", || polls.load(SeqCst) > 10);
            player.kill();
            let ends = ends.wait_for(PATIENCE).unwrap();
            assert_eq!(ends, Err(WaitError::Interrupted));
        }
    });
}

#[test]
fn a_stop_or_a_drain_does_not_end_the_wait_for_a_future() {
    for order in [Addr::stop, Addr::drain] {
        under_seeds(|stepper| {
            let player = stepper.system().spawn(Player::default());
            let (tell, told) = oneshot::channel();
            let heard = player.ask(act(move |_, ctx| ctx.wait(told)));
            stepper.run();
            order(&player);
            stepper.run();
            assert!(is_waiting(stepper.system(), &player));
            tell.send(1).expect("somebody listens");
            assert_eq!(heard.wait().unwrap(), Ok(Ok(1)));
            end_of(&player);
        });
    }
}

#[test]
fn a_waker_that_is_called_after_its_wait_is_over_does_no_harm() {
    in_pools(|system| {
        for player in pooled_and_alone(system) {
            let event = Event::default();
            let waits = event.clone();
            let ends = player.ask(act(move |_, ctx| {
                let given_up = ctx.wait(poll_fn(|cx| {
                    // It registers its waker, and is ready.
                    let _ = waits.poll(cx.waker());
                    Poll::Ready(())
                }));
                let debtor = ctx.spawn(Debtor::default());
                let owed = debtor.ask(Borrow);
                waits.happen();
                debtor.send(Pay(6)).expect("there is room");
                (given_up, owed.wait().expect("it is paid"))
            }));
            assert_eq!(ends.wait_for(PATIENCE).unwrap(), (Ok(()), 6));
        }
    });
}

/// Waits in its `Drop`.
struct WaitsAtTheEnd<'a> {
    ctx: &'a mut Context<Player>,
    ends: mpsc::Sender<[Result<(), WaitError>; 2]>,
}

impl Drop for WaitsAtTheEnd<'_> {
    fn drop(&mut self) {
        let ends = [self.ctx.wait(ready(())), self.ctx.wait(pending())];
        self.ends.send(ends).expect("the test listens");
    }
}

#[test]
fn a_future_that_is_not_ready_is_refused_while_a_panic_unwinds() {
    let panic_with = |player: &Addr<Player>| {
        let (ends, ended) = mpsc::channel();
        player
            .send(act(move |_, ctx| {
                let _waiter = WaitsAtTheEnd { ctx, ends };
                panic!("on purpose");
            }))
            .unwrap();
        assert!(matches!(end_of(player), StopReason::Panicked { .. }));
        let expected = [Ok(()), Err(WaitError::Unwinding)];
        assert_eq!(ended.recv(), Ok(expected));
    };
    under_seeds(|stepper| panic_with(&stepper.system().spawn(Player::default())));
    in_pools(|system| pooled_and_alone(system).iter().for_each(panic_with));
}

#[test]
fn a_wait_for_a_future_beyond_the_limit_of_stacks_is_refused() {
    let stepper = Stepper::with_stacks(0, 1 << 20, 2).unwrap();
    let sleeper = stepper.system().spawn(Player::default());
    sleeper.send(sleep_for(HOUR)).unwrap();
    stepper.run();
    let player = stepper.system().spawn(Player::default());
    let ends = player.ask(act(|_, ctx| {
        (ctx.wait(pending::<()>()), ctx.wait(ready(1)))
    }));
    assert_eq!(ends.wait().unwrap(), (Err(WaitError::NoStack), Ok(1)));
}

// Panics.

/// Panics in its n-th poll, after calling its waker in each before.
fn panics_in_poll(number: usize) -> Act<Result<(), WaitError>> {
    act(move |_, ctx| {
        let polls = Cell::new(0);
        ctx.wait(poll_fn(|cx| {
            polls.set(polls.get() + 1);
            assert!(polls.get() < number, "in the poll");
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    })
}

#[test]
fn a_panic_in_any_poll_is_a_panic_of_the_handler() {
    let panic_in = |system: &System, player: &Addr<Player>, number| {
        let other = system.spawn(Player::default());
        let outcome = player.ask(panics_in_poll(number)).wait_for(PATIENCE);
        let Err(AskError::Panicked { message }) = outcome else {
            panic!("it has panicked, but: {outcome:?}");
        };
        assert_eq!(&*message, "in the poll");
        assert!(matches!(end_of(player), StopReason::Panicked { .. }));
        other.ask(Note(1)).wait_for(PATIENCE).unwrap();
    };
    for number in 1..=3 {
        in_pools(|system| {
            for player in pooled_and_alone(system) {
                panic_in(system, &player, number);
            }
        });
        under_seeds(|stepper| {
            let player = stepper.system().spawn(Player::default());
            panic_in(stepper.system(), &player, number);
        });
    }
}
