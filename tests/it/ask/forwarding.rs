//! Outcomes that are delivered as messages.

use std::sync::Arc;
use std::thread;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Context, DeferredHandler, Handler, Overflow, ReplyTo, StopReason,
    WaitError,
};

use super::{
    Clerk, Double, Nap, Owe, Renege, Runs, SECOND, Settle, Trip, full_clerk, reason_of,
    waiting_senders, words_of,
};
use crate::support::{PATIENCE, end_of, in_pools, under_seeds};

/// Keeps what is forwarded to it.
#[derive(Default)]
struct Inbox {
    outcomes: Vec<Result<u64, AskError>>,
}

impl Actor for Inbox {}

struct Outcome(Result<u64, AskError>);

impl Handler<Outcome> for Inbox {
    type Reply = ();

    fn handle(&mut self, Outcome(outcome): Outcome, _: &mut Context<Self>) {
        self.outcomes.push(outcome);
    }
}

struct Empty;

impl Handler<Empty> for Inbox {
    type Reply = Vec<Result<u64, AskError>>;

    fn handle(&mut self, _: Empty, _: &mut Context<Self>) -> Vec<Result<u64, AskError>> {
        std::mem::take(&mut self.outcomes)
    }
}

impl Handler<Nap> for Inbox {
    type Reply = Result<(), WaitError>;

    fn handle(&mut self, Nap(time): Nap, ctx: &mut Context<Self>) -> Result<(), WaitError> {
        ctx.sleep(time)
    }
}

#[test]
fn a_forwarded_answer_comes_as_a_message() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let inbox = stepper.system().spawn(Inbox::default());
        // One that is there already, one that comes at once, one that is put off.
        let known = clerk.ask(Double(1));
        stepper.run();
        known.forward(&inbox, Outcome);
        clerk.ask(Double(2)).forward(&inbox, Outcome);
        clerk.ask(Owe).forward(&inbox, Outcome);
        stepper.run();
        clerk.send(Settle(0, 6)).unwrap();
        stepper.run();
        let outcomes = inbox.ask(Empty).wait().unwrap();
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes, [2, 4, 6]);
    });
}

#[test]
fn forwarded_answers_come_from_real_threads_each_once() {
    in_pools(|system| {
        let clerk = system.spawn(Clerk::default());
        let inbox = system.spawn(Inbox::default());
        let askers: Vec<_> = (0..4)
            .map(|asker| {
                let (clerk, inbox) = (clerk.clone(), inbox.clone());
                thread::spawn(move || {
                    for number in 0..250 {
                        let number = asker * 250 + number;
                        clerk.ask(Double(number)).forward(&inbox, Outcome);
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        // What was forwarded is queued before the clerk answers what was asked later.
        clerk.ask(Runs).wait_for(PATIENCE).unwrap();
        let outcomes = inbox.ask(Empty).wait_for(PATIENCE).unwrap();
        let mut outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        outcomes.sort_unstable();
        assert!(outcomes.into_iter().eq((0..1000).map(|number| number * 2)));
    });
}

#[test]
fn a_forwarded_error_comes_as_a_message() {
    under_seeds(|stepper| {
        let inbox = stepper.system().spawn(Inbox::default());
        let clerk = stepper.system().spawn(Clerk::default());
        clerk.ask(Owe).forward(&inbox, Outcome);
        clerk.send(Renege(0)).unwrap();
        clerk.ask(Trip("fell")).forward(&inbox, Outcome);
        stepper.run();
        let full = full_clerk(stepper, Overflow::Reject, SECOND);
        full.ask(Double(9)).forward(&inbox, Outcome);
        let stopped = stepper.system().spawn(Clerk::default());
        stopped.ask(Double(9)).forward(&inbox, Outcome);
        stopped.stop();
        stepper.run();
        let mut outcomes = inbox.ask(Empty).wait().unwrap().into_iter();
        assert!(matches!(outcomes.next(), Some(Err(AskError::Dropped))));
        assert_eq!(words_of(outcomes.next().unwrap()), "fell");
        assert!(matches!(outcomes.next(), Some(Err(AskError::Full(_)))));
        assert_eq!(reason_of(outcomes.next().unwrap()), StopReason::Stopped);
        assert!(outcomes.next().is_none());
    });
}

/// Asks on, and goes on with other things until the answer comes as a message.
struct Busy {
    clerk: Addr<Clerk>,
    asker: Option<ReplyTo<u64>>,
}

impl Actor for Busy {}

impl DeferredHandler<Double> for Busy {
    type Reply = u64;

    fn handle_deferred(&mut self, double: Double, reply: ReplyTo<u64>, ctx: &mut Context<Self>) {
        self.asker = Some(reply);
        self.clerk.ask(double).forward(&ctx.addr(), Outcome);
    }
}

impl Handler<Outcome> for Busy {
    type Reply = ();

    fn handle(&mut self, Outcome(outcome): Outcome, _: &mut Context<Self>) {
        let asker = self.asker.take().expect("somebody has asked");
        asker.send(outcome.expect("the clerk answers"));
    }
}

impl Handler<Runs> for Busy {
    type Reply = u64;

    fn handle(&mut self, _: Runs, _: &mut Context<Self>) -> u64 {
        u64::from(self.asker.is_some())
    }
}

#[test]
fn an_actor_forwards_an_answer_to_itself_and_handles_others_meanwhile() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        clerk.send(Nap(SECOND)).unwrap();
        stepper.run();
        let busy = stepper.system().spawn(Busy { clerk, asker: None });
        let reply = busy.ask(Double(4));
        assert_eq!(busy.ask(Runs).wait().unwrap(), 1);
        assert!(!reply.is_ready());
        assert_eq!(reply.wait().unwrap(), 8);
        assert_eq!(busy.ask(Runs).wait().unwrap(), 0);
    });
}

fn full_inbox(stepper: &Stepper, overflow: Overflow) -> Addr<Inbox> {
    let inbox = stepper
        .system()
        .actor()
        .capacity(1)
        .overflow(overflow)
        .spawn(Inbox::default())
        .unwrap();
    inbox.send(Nap(SECOND)).unwrap();
    stepper.run();
    inbox.send(Outcome(Ok(0))).unwrap();
    inbox
}

#[test]
fn an_answer_that_is_forwarded_to_a_full_mailbox_which_blocks_stands_in_line() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        for overflow in [Overflow::Block, Overflow::BlockFor(5 * SECOND)] {
            let inbox = full_inbox(stepper, overflow);
            clerk.ask(Double(1)).forward(&inbox, Outcome);
            stepper.run();
            assert_eq!(waiting_senders(stepper.system(), &inbox), 1);
            stepper.advance(SECOND);
            let outcomes = inbox.ask(Empty).wait().unwrap();
            let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
            assert_eq!(outcomes, [0, 2]);
        }
    });
}

#[test]
fn an_answer_that_is_forwarded_to_a_full_mailbox_is_lost_by_the_other_policies_and_reported() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        for overflow in [Overflow::Reject, Overflow::DropNewest] {
            let inbox = full_inbox(stepper, overflow);
            let feed = stepper.system().dead_letters();
            let before = stepper.system().snapshot().totals;
            clerk.ask(Double(1)).forward(&inbox, Outcome);
            stepper.run();
            let letter = feed.try_next().expect("the loss is reported");
            assert_eq!(letter.actor, inbox.id());
            assert!(letter.message_type.ends_with("Outcome"), "{letter}");
            assert!(feed.try_next().is_none(), "it is reported once");
            let after = stepper.system().snapshot().totals;
            let lost = (
                after.rejected - before.rejected,
                after.dropped - before.dropped,
            );
            let expected = if overflow == Overflow::Reject {
                (1, 0)
            } else {
                (0, 1)
            };
            assert_eq!(lost, expected, "{after}");
            stepper.advance(SECOND);
            assert_eq!(inbox.ask(Empty).wait().unwrap().len(), 1);
        }
    });
}

#[test]
fn an_answer_that_is_forwarded_to_an_actor_that_has_ended_is_dropped() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let inbox = stepper.system().spawn(Inbox::default());
        inbox.stop();
        end_of(&inbox);
        let kept = Arc::new(());
        let traced = kept.clone();
        clerk.ask(Double(1)).forward(&inbox, move |outcome| {
            drop(traced);
            Outcome(outcome)
        });
        assert_eq!(clerk.ask(Double(2)).wait().unwrap(), 4);
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}
