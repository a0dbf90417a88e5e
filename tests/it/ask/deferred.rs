//! Answers that are put off, and come from elsewhere.

use std::sync::mpsc;
use std::thread;

use greenroom::{Actor, Addr, AskError, Context, DeferredHandler, Handler, ReplyTo, StopReason};

use super::{Clerk, Double, Owe, Renege, Settle, Wanted};
use crate::support::{
    Borrow, Debtor, Default_, PATIENCE, end_of, in_pools, under_seed, under_seeds,
};

#[test]
fn an_answer_may_come_while_later_requests_are_handled_and_in_any_order() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let owed = [clerk.ask(Owe), clerk.ask(Owe)];
        assert_eq!(clerk.ask(Double(1)).wait().unwrap(), 2);
        assert!(!owed[0].is_ready() && !owed[1].is_ready());
        clerk.send(Settle(1, 11)).unwrap();
        stepper.run();
        assert!(!owed[0].is_ready() && owed[1].is_ready());
        clerk.send(Settle(0, 10)).unwrap();
        assert_eq!(owed.map(|reply| reply.wait().unwrap()), [10, 11]);
    });
}

/// Gives its debts to whoever asks for them.
struct Broker {
    out: mpsc::Sender<ReplyTo<u64>>,
}

impl Actor for Broker {}

impl DeferredHandler<Owe> for Broker {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Owe, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        self.out.send(reply).expect("the test waits for the debt");
    }
}

#[test]
fn an_answer_may_come_from_another_thread() {
    in_pools(|system| {
        let (out, debts) = mpsc::channel();
        let broker = system.spawn(Broker { out });
        let payer = thread::spawn(move || {
            let debt: ReplyTo<u64> = debts.recv().unwrap();
            assert!(debt.is_wanted());
            debt.send(5);
        });
        assert_eq!(broker.ask(Owe).wait_for(PATIENCE).unwrap(), 5);
        payer.join().unwrap();
    });
}

#[test]
fn an_answer_may_come_after_the_asked_actor_has_ended() {
    in_pools(|system| {
        let (out, debts) = mpsc::channel();
        let broker = system.spawn(Broker { out });
        let reply = broker.ask(Owe);
        let debt = debts.recv().unwrap();
        broker.stop();
        assert_eq!(end_of(&broker), StopReason::Stopped);
        assert!(!reply.is_ready());
        debt.send(5);
        assert_eq!(reply.wait_for(PATIENCE).unwrap(), 5);
    });
}

/// Hands the right to answer on to another actor.
struct Delegate {
    to: Addr<Clerk>,
}

impl Actor for Delegate {}

struct Handed(ReplyTo<u64>);

impl DeferredHandler<Owe> for Delegate {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Owe, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        let _ = self.to.send(Handed(reply));
    }
}

impl Handler<Handed> for Clerk {
    type Reply = ();

    fn handle(&mut self, Handed(reply): Handed, _: &mut Context<Self>) {
        reply.send(6);
    }
}

#[test]
fn an_answer_may_come_from_another_actor() {
    under_seeds(|stepper| {
        let to = stepper.system().spawn(Clerk::default());
        let delegate = stepper.system().spawn(Delegate { to });
        assert_eq!(delegate.ask(Owe).wait().unwrap(), 6);
    });
}

#[test]
fn a_debt_that_lies_in_a_message_to_an_actor_that_ends_is_an_error_at_the_asker() {
    under_seeds(|stepper| {
        let to = stepper.system().spawn(Clerk::default());
        let delegate = stepper.system().spawn(Delegate { to: to.clone() });
        to.stop();
        let outcome = delegate.ask(Owe).wait();
        assert!(outcome.is_err(), "nobody is left who could answer");
    });
}

#[test]
fn an_answer_that_is_dropped_is_an_error_at_the_asker_at_once() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let owed = [clerk.ask(Owe), clerk.ask(Owe)];
        clerk.send(Renege(1)).unwrap();
        stepper.run();
        assert!(!owed[0].is_ready() && owed[1].is_ready());
        let [owed, dropped] = owed;
        assert!(matches!(dropped.wait(), Err(AskError::Dropped)));
        clerk.send(Settle(0, 3)).unwrap();
        assert_eq!(owed.wait().unwrap(), 3);
    });
    in_pools(|system| {
        let debtor = system.spawn(Debtor::default());
        let owed = debtor.ask(Borrow);
        debtor.send(Default_).unwrap();
        assert!(matches!(owed.wait_for(PATIENCE), Err(AskError::Dropped)));
    });
}

#[test]
fn an_answer_that_is_dropped_on_another_thread_is_an_error_at_the_asker() {
    in_pools(|system| {
        let (out, debts) = mpsc::channel();
        let broker = system.spawn(Broker { out });
        let dropper = thread::spawn(move || drop(debts.recv()));
        let outcome = broker.ask(Owe).wait_for(PATIENCE);
        assert!(matches!(outcome, Err(AskError::Dropped)));
        dropper.join().unwrap();
    });
}

#[test]
fn a_debt_is_wanted_until_its_asker_has_gone_and_never_if_it_was_sent() {
    under_seed(0, |stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let owed = clerk.ask(Owe);
        assert!(clerk.ask(Wanted(0)).wait().unwrap());
        drop(owed);
        assert!(!clerk.ask(Wanted(0)).wait().unwrap());
        // The answer to nobody is dropped, and that is all.
        clerk.send(Settle(0, 1)).unwrap();
        clerk.send(Owe).unwrap();
        assert!(!clerk.ask(Wanted(1)).wait().unwrap());
    });
}
