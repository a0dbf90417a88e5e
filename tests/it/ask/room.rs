//! Requests to full mailboxes.

use std::sync::Arc;
use std::time::Duration;

use greenroom::{AskError, Context, Handler, Overflow, StopReason, wait_all};

use super::{Clerk, Double, Nap, Runs, SECOND, full_clerk, reason_of, waiting_senders};
use crate::support::{Entry, Log, Seen, end_of, under_seed, under_seeds};

#[test]
fn a_request_to_a_full_mailbox_that_rejects_comes_back() {
    under_seed(0, |stepper| {
        let clerk = full_clerk(stepper, Overflow::Reject, SECOND);
        let reply = clerk.ask(Double(7));
        assert!(reply.is_ready(), "it is known at once");
        let Err(AskError::Full(undelivered)) = reply.wait() else {
            panic!("the mailbox is full");
        };
        let Err(undelivered) = undelivered.into_message::<Entry>() else {
            panic!("it is no entry");
        };
        let Ok(Double(7)) = undelivered.into_message() else {
            panic!("the request comes back");
        };
        let counts = stepper.system().snapshot().totals;
        assert_eq!((counts.rejected, counts.accepted), (1, 2), "{counts}");
    });
}

#[test]
fn a_request_to_a_full_mailbox_that_drops_is_dropped() {
    under_seed(0, |stepper| {
        let clerk = full_clerk(stepper, Overflow::DropNewest, SECOND);
        let feed = stepper.system().dead_letters();
        let reply = clerk.ask(Double(7));
        assert!(reply.is_ready(), "it is known at once");
        assert!(matches!(reply.wait(), Err(AskError::DroppedByPolicy)));
        assert_eq!(stepper.system().snapshot().totals.dropped, 1);
        assert!(feed.try_next().is_some(), "the loss is reported");
    });
}

#[test]
fn a_request_to_a_full_mailbox_that_blocks_stands_in_line_and_is_answered() {
    under_seeds(|stepper| {
        let clerk = full_clerk(stepper, Overflow::Block, SECOND);
        let replies: Vec<_> = (0..10).map(|number| clerk.ask(Double(number))).collect();
        assert_eq!(waiting_senders(stepper.system(), &clerk), 10);
        let answers = wait_all(replies).into_iter().map(Result::unwrap);
        assert!(answers.eq((0..10).map(|number| number * 2)));
        assert_eq!(waiting_senders(stepper.system(), &clerk), 0);
    });
}

#[test]
fn a_request_that_stands_in_line_and_is_dropped_leaves_the_line_at_once() {
    under_seeds(|stepper| {
        let clerk = full_clerk(stepper, Overflow::Block, SECOND);
        let ran = Arc::new(());
        let replies: Vec<_> = (0..1000).map(|_| clerk.ask(Traced(ran.clone()))).collect();
        assert_eq!(waiting_senders(stepper.system(), &clerk), 1000);
        assert_eq!(Arc::strong_count(&ran), 1001);
        drop(replies);
        assert_eq!(waiting_senders(stepper.system(), &clerk), 0);
        assert_eq!(Arc::strong_count(&ran), 1, "the requests are gone");
        assert_eq!(clerk.ask(Runs).wait().unwrap(), 1);
        let counts = stepper.system().snapshot().totals;
        assert_eq!(counts.accepted, 3, "none of them was queued: {counts}");
    });
}

/// Counts as a run, and is seen to be dropped.
struct Traced(Arc<()>);

impl Handler<Traced> for Clerk {
    type Reply = ();

    fn handle(&mut self, traced: Traced, _: &mut Context<Self>) {
        assert!(Arc::strong_count(&traced.0) > 0);
        self.runs += 1;
    }
}

#[test]
fn those_who_stay_in_line_keep_their_order_when_others_leave_it() {
    under_seeds(|stepper| {
        let log = stepper
            .system()
            .actor()
            .capacity(1)
            .spawn(Log::default())
            .unwrap();
        log.send(Entry(0)).unwrap();
        let replies: Vec<_> = (1..100_u64)
            .map(|number| (number, log.ask(Entry(number))))
            .collect();
        let (stay, leave): (Vec<_>, Vec<_>) =
            replies.into_iter().partition(|(number, _)| number % 3 == 0);
        drop(leave);
        assert_eq!(waiting_senders(stepper.system(), &log), stay.len());
        for (_, reply) in stay {
            reply.wait().unwrap();
        }
        let seen = log.ask(Seen).wait().unwrap();
        assert!(seen.into_iter().eq((0..100).step_by(3)));
    });
}

#[test]
fn a_request_that_stands_in_line_when_its_actor_ends_says_why() {
    under_seeds(|stepper| {
        let clerk = full_clerk(stepper, Overflow::Block, SECOND);
        let standing = clerk.ask(Double(1));
        clerk.stop();
        assert_eq!(reason_of(standing.wait()), StopReason::Stopped);
    });
    under_seeds(|stepper| {
        let clerk = full_clerk(stepper, Overflow::Block, SECOND);
        let standing = clerk.ask(Double(1));
        clerk.drain();
        let outcome = standing.wait();
        assert_eq!(reason_of(outcome), StopReason::Drained);
        assert_eq!(end_of(&clerk), StopReason::Drained);
    });
}

#[test]
fn a_request_that_stands_in_line_expires_by_the_policy_and_comes_back() {
    under_seeds(|stepper| {
        let clerk = full_clerk(stepper, Overflow::BlockFor(SECOND), 10 * SECOND);
        let reply = clerk.ask(Double(7));
        stepper.advance(SECOND - Duration::from_nanos(1));
        assert!(!reply.is_ready());
        assert_eq!(waiting_senders(stepper.system(), &clerk), 1);
        stepper.advance(Duration::from_nanos(1));
        assert!(reply.is_ready());
        let Err(AskError::Full(undelivered)) = reply.wait() else {
            panic!("there was no room in time");
        };
        let Ok(Double(7)) = undelivered.into_message() else {
            panic!("the request comes back");
        };
        assert_eq!(waiting_senders(stepper.system(), &clerk), 0);
        assert_eq!(stepper.system().snapshot().totals.rejected, 1);
    });
}

#[test]
fn a_request_that_finds_room_in_time_does_not_expire() {
    under_seeds(|stepper| {
        let clerk = full_clerk(stepper, Overflow::BlockFor(2 * SECOND), SECOND);
        let reply = clerk.ask(Double(7));
        // It is queued when the first nap ends, and then waits for as long as it takes.
        let nap = clerk.ask(Nap(10 * SECOND));
        let last = clerk.ask(Double(8));
        assert_eq!(reply.wait().unwrap(), 14);
        nap.wait().unwrap().unwrap();
        assert_eq!(last.wait().unwrap(), 16);
    });
}
