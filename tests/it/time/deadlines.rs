//! Waits that end at a deadline, to the nanosecond.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, AskError, Context, Overflow, SendError, Stage};

use super::{NANO, SECOND, notes, sleep_for, timers};
use crate::support::{Borrow, Debtor, Note, Pay, Player, act, end_of, under_seeds};

/// A player who sleeps for ten seconds with a full mailbox of one.
fn full(stepper: &Stepper, overflow: Overflow) -> Addr<Player> {
    let options = stepper.system().actor().capacity(1).overflow(overflow);
    let player = options.spawn(Player::default()).unwrap();
    player.send(sleep_for(10 * SECOND)).unwrap();
    stepper.run();
    player.send(Note(0)).unwrap();
    player
}

/// What a handler gets, and how long it took.
fn in_a_handler<R: Send + 'static>(
    stepper: &Stepper,
    scene: impl FnOnce(&mut Context<Player>) -> R + Send + 'static,
) -> (R, Duration) {
    let player = stepper.system().spawn(Player::default());
    let timed = player.ask(act(move |_, ctx| {
        let begun = ctx.now();
        let got = scene(ctx);
        (got, ctx.now() - begun)
    }));
    timed.wait().expect("the player answers")
}

#[test]
fn an_answer_that_is_still_queued_is_not_waited_for_beyond_the_limit_and_never_run() {
    under_seeds(|stepper| {
        let busy = stepper.system().spawn(Player::default());
        busy.send(sleep_for(10 * SECOND)).unwrap();
        stepper.run();
        // On the stepping thread.
        let begun = stepper.clock().now();
        let outcome = busy.ask(Note(1)).wait_for(SECOND);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
        assert_eq!(stepper.clock().now() - begun, SECOND);
        // In a handler.
        let asked = busy.clone();
        let (outcome, time) = in_a_handler(stepper, move |_| asked.ask(Note(2)).wait_for(SECOND));
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
        assert_eq!(time, SECOND);
        stepper.advance(10 * SECOND);
        assert_eq!(notes(&busy, begun), []);
        assert_eq!(stepper.system().snapshot().totals.cancelled, 2);
    });
}

#[test]
fn an_answer_that_is_put_off_is_not_waited_for_beyond_the_limit() {
    under_seeds(|stepper| {
        let debtor = stepper.system().spawn(Debtor::default());
        let begun = stepper.clock().now();
        let outcome = debtor.ask(Borrow).wait_for(SECOND);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Running))));
        assert_eq!(stepper.clock().now() - begun, SECOND);
        let asked = debtor.clone();
        let (outcome, time) = in_a_handler(stepper, move |_| asked.ask(Borrow).wait_for(NANO));
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Running))));
        assert_eq!(time, NANO);
        assert_eq!(debtor.ask(Pay(1)).wait().unwrap(), 2);
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn a_limit_of_nothing_takes_what_is_there_and_waits_for_nothing() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let there = player.ask(act(|_, _| 42));
        stepper.run();
        assert_eq!(there.wait_for(Duration::ZERO).unwrap(), 42);
        player.send(sleep_for(SECOND)).unwrap();
        stepper.run();
        let outcome = player.ask(Note(1)).wait_for(Duration::ZERO);
        assert!(matches!(outcome, Err(AskError::TimedOut(Stage::Queued))));
        assert_eq!(player.join_for(Duration::ZERO), Ok(None));
        assert_eq!(stepper.clock().now(), begun);
    });
}

#[test]
fn a_send_that_is_given_time_waits_for_room_so_long_whatever_the_policy() {
    under_seeds(|stepper| {
        let policies = [
            Overflow::Block,
            Overflow::BlockFor(NANO),
            Overflow::Reject,
            Overflow::DropNewest,
        ];
        for policy in policies {
            let to = full(stepper, policy);
            let begun = stepper.clock().now();
            let outcome = to.send_for(Note(1), SECOND);
            assert!(matches!(outcome, Err(SendError::TimedOut(Note(1)))));
            assert_eq!(stepper.clock().now() - begun, SECOND);
            let sender = to.clone();
            let (outcome, time) =
                in_a_handler(stepper, move |_| sender.send_for(Note(2), 2 * SECOND));
            assert!(matches!(outcome, Err(SendError::TimedOut(Note(2)))));
            assert_eq!(time, 2 * SECOND);
            // There is room in time, after the other seven.
            let sender = to.clone();
            let (outcome, time) =
                in_a_handler(stepper, move |_| sender.send_for(Note(3), 8 * SECOND));
            assert!(outcome.is_ok());
            assert_eq!(time, 7 * SECOND);
            let numbers = notes(&to, begun).into_iter().map(|(_, number)| number);
            assert!(numbers.eq([0, 3]));
            to.stop();
            end_of(&to);
        }
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn a_send_to_a_mailbox_that_blocks_for_a_time_waits_so_long() {
    under_seeds(|stepper| {
        let to = full(stepper, Overflow::BlockFor(3 * SECOND));
        let begun = stepper.clock().now();
        let outcome = to.send(Note(1));
        assert!(matches!(outcome, Err(SendError::TimedOut(Note(1)))));
        assert_eq!(stepper.clock().now() - begun, 3 * SECOND);
        let sender = to.clone();
        let (outcome, time) = in_a_handler(stepper, move |_| sender.send(Note(2)));
        assert!(matches!(outcome, Err(SendError::TimedOut(Note(2)))));
        assert_eq!(time, 3 * SECOND);
        stepper.advance(2 * SECOND);
        let sender = to.clone();
        let (outcome, time) = in_a_handler(stepper, move |_| sender.send(Note(3)));
        assert!(outcome.is_ok());
        assert_eq!(time, 2 * SECOND);
        let snapshot = stepper.system().snapshot();
        assert_eq!(
            (snapshot.actors[0].counts.rejected, snapshot.timers),
            (2, 0)
        );
    });
}

#[test]
fn a_request_to_a_mailbox_that_blocks_for_a_time_comes_back_after_it() {
    under_seeds(|stepper| {
        let to = full(stepper, Overflow::BlockFor(3 * SECOND));
        let begun = stepper.clock().now();
        let reply = to.ask(Note(1));
        stepper.advance(3 * SECOND - NANO);
        assert!(!reply.is_ready());
        stepper.advance(NANO);
        assert!(reply.is_ready());
        let Err(AskError::Full(back)) = reply.wait() else {
            panic!("there was no room in time");
        };
        assert!(matches!(back.into_message(), Ok(Note(1))));
        let asker = to.clone();
        let (outcome, time) = in_a_handler(stepper, move |_| asker.ask(Note(2)).wait());
        assert!(matches!(outcome, Err(AskError::Full(_))));
        assert_eq!(time, 3 * SECOND);
        stepper.advance(4 * SECOND);
        assert_eq!(notes(&to, begun), [(10 * SECOND, 0)]);
        assert_eq!(stepper.system().snapshot().totals.rejected, 2);
    });
}

#[test]
fn a_request_that_found_room_in_time_leaves_no_timer() {
    under_seeds(|stepper| {
        let to = full(stepper, Overflow::BlockFor(100 * SECOND));
        let reply = to.ask(act(|_, _| 42));
        assert_eq!(reply.wait().unwrap(), 42);
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn an_end_is_waited_for_until_the_limit() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        assert_eq!(player.join_for(SECOND), Ok(None));
        assert_eq!(stepper.clock().now() - begun, SECOND);
        let joined = player.clone();
        let (outcome, time) = in_a_handler(stepper, move |_| joined.join_for(2 * SECOND));
        assert_eq!((outcome, time), (Ok(None), 2 * SECOND));
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn a_wait_that_ends_before_its_deadline_leaves_no_timer() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        player.ask(Note(1)).wait_for(SECOND).unwrap();
        let asked = player.clone();
        let (outcome, time) = in_a_handler(stepper, move |ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            asked.ask(Note(1)).wait_for(SECOND)
        });
        outcome.unwrap();
        assert_eq!(time, SECOND);
        player.stop();
        assert!(player.join_for(SECOND).unwrap().is_some());
        assert_eq!(timers(stepper), 0);
    });
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn an_awaited_send_to_a_mailbox_that_blocks_for_a_time_is_woken_after_it() {
    under_seeds(|stepper| {
        let to = full(stepper, Overflow::BlockFor(3 * SECOND));
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(calls.clone());
        let mut task = TaskContext::from_waker(&waker);
        let mut sending = pin!(to.send_async(Note(1)));
        assert!(sending.as_mut().poll(&mut task).is_pending());
        stepper.advance(3 * SECOND - NANO);
        assert_eq!(calls.0.load(SeqCst), 0);
        assert!(sending.as_mut().poll(&mut task).is_pending());
        stepper.advance(NANO);
        assert_eq!(calls.0.load(SeqCst), 1);
        let Poll::Ready(outcome) = sending.as_mut().poll(&mut task) else {
            panic!("the time is over");
        };
        assert!(matches!(outcome, Err(SendError::TimedOut(Note(1)))));
        assert_eq!(timers(stepper), 1, "but the sleeper's");
    });
}

#[test]
fn an_awaited_send_that_is_dropped_leaves_no_timer() {
    under_seeds(|stepper| {
        let to = full(stepper, Overflow::BlockFor(3 * SECOND));
        let mut task = TaskContext::from_waker(Waker::noop());
        {
            let mut sending = pin!(to.send_async(Note(1)));
            assert!(sending.as_mut().poll(&mut task).is_pending());
            assert_eq!(timers(stepper), 2);
        }
        assert_eq!(timers(stepper), 1, "but the sleeper's");
        let begun = stepper.clock().now();
        stepper.advance(10 * SECOND);
        assert_eq!(notes(&to, begun), [(10 * SECOND, 0)]);
    });
}
