//! What is told to an asker whose actor panics or stops, and what becomes of an asker that is ended.

use std::error::Error;
use std::sync::mpsc;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Context, DeferredHandler, Handler, ReplyTo, StopReason, System,
    WaitError,
};

use super::{Cautious, Clerk, Double, Nap, Owe, Retire, Runs, SECOND, Trip, reason_of, words_of};
use crate::support::{
    Borrow, Debtor, Log, PATIENCE, Pay, Seen, end_of, gate, in_pools, under_seed, under_seeds,
};

// Panics.

#[test]
fn a_panic_in_the_handler_is_told_to_the_asker_with_its_words() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        assert_eq!(words_of(clerk.ask(Trip("oh dear")).wait()), "oh dear");
    });
    in_pools(|system| {
        let clerk = system.spawn(Clerk::default());
        let outcome = clerk.ask(Trip("oh dear")).wait_for(PATIENCE);
        assert_eq!(words_of(outcome), "oh dear");
    });
}

#[test]
fn a_panic_is_told_to_those_whose_answers_its_actor_owed() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let owed = [clerk.ask(Owe), clerk.ask(Owe)];
        clerk.send(Trip("bankrupt")).unwrap();
        for reply in owed {
            assert_eq!(words_of(reply.wait()), "bankrupt");
        }
    });
}

/// Panics with the right to answer on the stack of the handler.
struct Stumble(&'static str);

impl DeferredHandler<Stumble> for Clerk {
    type Reply = u64;

    fn handle_deferred(
        &mut self,
        Stumble(words): Stumble,
        reply: ReplyTo<u64>,
        _: &mut Context<Self>,
    ) {
        assert!(!reply.is_wanted(), "{words}");
    }
}

#[test]
fn a_panic_is_told_to_the_asker_whose_debt_lies_on_the_stack_of_the_handler() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let owed = clerk.ask(Owe);
        assert_eq!(words_of(clerk.ask(Stumble("fell")).wait()), "fell");
        assert_eq!(words_of(owed.wait()), "fell");
    });
}

/// Panics with the right to answer on the stack, survives that, and goes on.
struct Recover;

impl DeferredHandler<Recover> for Clerk {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Recover, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _reply = reply;
            panic!("caught by the handler itself");
        }));
        assert!(caught.is_err());
    }
}

#[test]
fn an_answer_that_is_dropped_by_a_panic_which_the_handler_catches_is_an_error_at_the_asker() {
    under_seed(0, |stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let reply = clerk.ask(Recover);
        stepper.run();
        assert!(reply.is_ready(), "the asker learns it at once");
        assert!(matches!(reply.wait(), Err(AskError::Dropped)));
        assert_eq!(clerk.ask(Double(1)).wait().unwrap(), 2);
    });
}

#[test]
fn a_request_that_was_queued_when_its_actor_panicked_says_that_it_stopped_and_why() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let tripped = clerk.ask(Trip("gone"));
        let queued = clerk.ask(Double(1));
        assert_eq!(words_of(tripped.wait()), "gone");
        let reason = StopReason::Panicked {
            message: "gone".into(),
        };
        assert_eq!(reason_of(queued.wait()), reason);
        // So does one that comes afterwards.
        assert_eq!(reason_of(clerk.ask(Double(1)).wait()), reason);
    });
}

// The end of the asked actor.

#[test]
fn a_request_that_is_queued_when_its_actor_stops_says_why_it_stopped() {
    type End = fn(&Addr<Log>);
    let endings: [(End, StopReason); 2] = [
        (Addr::stop, StopReason::Stopped),
        (Addr::kill, StopReason::Killed),
    ];
    in_pools(|system| {
        for (end, reason) in &endings {
            let log = system.spawn(Log::default());
            let (hold, gate) = gate();
            let held = log.ask(hold);
            gate.wait_until_held();
            let queued = log.ask(Seen);
            end(&log);
            gate.open();
            held.wait_for(PATIENCE)
                .expect("the message in hand is handled");
            assert_eq!(reason_of(queued.wait_for(PATIENCE)), *reason);
            let late = log.ask(Seen);
            assert_eq!(reason_of(late.wait_for(PATIENCE)), *reason);
        }
    });
}

#[test]
fn a_request_behind_a_handler_that_stops_its_actor_says_so() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let retire = clerk.ask(Retire);
        let queued = clerk.ask(Double(1));
        retire.wait().unwrap();
        assert_eq!(reason_of(queued.wait()), StopReason::Stopped);
    });
}

#[test]
fn a_request_that_is_queued_when_its_actor_drains_is_answered_and_a_later_one_is_not() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let queued = clerk.ask(Double(1));
        clerk.drain();
        assert_eq!(queued.wait().unwrap(), 2);
        assert_eq!(end_of(&clerk), StopReason::Drained);
        let late = clerk.ask(Double(1));
        assert!(late.is_ready(), "it is known at once");
        assert_eq!(reason_of(late.wait()), StopReason::Drained);
    });
}

#[test]
fn a_request_that_is_queued_when_the_last_address_goes_is_answered() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let queued = clerk.ask(Double(1));
        drop(clerk);
        assert_eq!(queued.wait().unwrap(), 2);
    });
}

#[test]
fn a_request_that_is_queued_when_the_system_shuts_down_is_answered_if_it_drains() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let queued = clerk.ask(Double(1));
        assert!(stepper.system().shutdown(SECOND).is_clean());
        assert_eq!(queued.wait().unwrap(), 2);
        assert_eq!(reason_of(clerk.ask(Double(1)).wait()), StopReason::Shutdown);
    });
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        let queued = clerk.ask(Double(1));
        assert!(stepper.system().shutdown_now(SECOND).is_clean());
        assert_eq!(reason_of(queued.wait()), StopReason::Shutdown);
    });
}

#[test]
fn an_actor_that_stops_tells_those_whose_answers_it_owed_why() {
    under_seeds(|stepper| {
        for kill in [false, true] {
            let clerk = stepper.system().spawn(Clerk::default());
            let owed = clerk.ask(Owe);
            stepper.run();
            if kill {
                clerk.kill()
            } else {
                clerk.stop()
            }
            let reason = if kill {
                StopReason::Killed
            } else {
                StopReason::Stopped
            };
            assert_eq!(reason_of(owed.wait()), reason);
        }
    });
}

#[test]
fn the_source_of_an_error_is_the_reason_for_which_the_actor_stopped() {
    under_seed(0, |stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        clerk.stop();
        let error = clerk.ask(Double(1)).wait().unwrap_err();
        let source = error.source().expect("there is a reason");
        assert_eq!(source.to_string(), StopReason::Stopped.to_string());
    });
}

// The end of the asker.

#[test]
fn a_handler_that_is_killed_while_it_waits_gets_an_error_and_its_request_is_withdrawn() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        clerk.send(Nap(SECOND)).unwrap();
        let cautious = stepper.system().spawn(Cautious { to: clerk.clone() });
        let asked = cautious.ask(Double(1));
        stepper.run();
        cautious.kill();
        let outcome = asked.wait().expect("the handler returns");
        assert!(matches!(
            outcome,
            Err(AskError::Wait(WaitError::Interrupted))
        ));
        assert_eq!(end_of(&cautious), StopReason::Killed);
        assert_eq!(clerk.ask(Runs).wait().unwrap(), 0);
        assert_eq!(stepper.system().snapshot().totals.cancelled, 1);
    });
}

#[test]
fn stop_does_not_end_the_wait_of_a_handler() {
    under_seeds(|stepper| {
        let clerk = stepper.system().spawn(Clerk::default());
        clerk.send(Nap(SECOND)).unwrap();
        let cautious = stepper.system().spawn(Cautious { to: clerk });
        let asked = cautious.ask(Double(1));
        stepper.run();
        cautious.stop();
        assert_eq!(asked.wait().unwrap().unwrap(), 2);
        assert_eq!(end_of(&cautious), StopReason::Stopped);
    });
}

#[test]
fn a_handler_that_cannot_have_a_stack_gets_an_error_and_its_request_is_withdrawn() {
    let stepper = Stepper::with_stacks(0, 1 << 20, 1).expect("there is memory for one stack");
    let clerk = stepper.system().spawn(Clerk::default());
    let cautious = stepper.system().spawn(Cautious { to: clerk.clone() });
    let outcome = cautious.ask(Double(1)).wait().expect("the handler returns");
    assert!(matches!(outcome, Err(AskError::Wait(WaitError::NoStack))));
    assert_eq!(clerk.ask(Runs).wait().unwrap(), 0);
    assert_eq!(stepper.system().snapshot().totals.cancelled, 1);
    assert!(stepper.system().shutdown(SECOND).is_clean());
}

#[test]
fn a_pool_without_further_stacks_refuses_a_wait_and_goes_on() {
    let system = System::builder()
        .workers(1)
        .max_stacks(2)
        .build()
        .expect("there is memory for two stacks");
    let debtor = system.spawn(Debtor::default());
    let lucky = system.spawn(Patient { to: debtor.clone() });
    let unlucky = system.spawn(Patient { to: debtor.clone() });
    let first = lucky.ask(Borrow);
    let second = unlucky.ask(Borrow);
    let refused = second.wait_for(PATIENCE).expect("the handler returns");
    assert!(matches!(refused, Err(AskError::Wait(WaitError::NoStack))));
    debtor.send(Pay(9)).unwrap();
    assert_eq!(first.wait_for(PATIENCE).unwrap().unwrap(), 9);
    assert!(system.shutdown(PATIENCE).is_clean());
}

/// Waits for a loan.
struct Patient {
    to: Addr<Debtor>,
}

impl Actor for Patient {}

impl Handler<Borrow> for Patient {
    type Reply = Result<u64, AskError>;

    fn handle(&mut self, borrow: Borrow, _: &mut Context<Self>) -> Result<u64, AskError> {
        self.to.ask(borrow).wait()
    }
}

/// Asks while its handler unwinds.
struct AskInDrop {
    to: Addr<Clerk>,
    outcome: mpsc::Sender<Result<u64, AskError>>,
}

impl Drop for AskInDrop {
    fn drop(&mut self) {
        let _ = self.outcome.send(self.to.ask(Double(1)).wait());
    }
}

impl Handler<AskInDrop> for Clerk {
    type Reply = ();

    fn handle(&mut self, _guard: AskInDrop, _: &mut Context<Self>) {
        panic!("it falls with a guard on its stack");
    }
}

#[test]
fn a_handler_that_unwinds_does_not_wait_for_an_answer() {
    under_seed(0, |stepper| {
        let to = stepper.system().spawn(Clerk::default());
        let falling = stepper.system().spawn(Clerk::default());
        let (outcome, outcomes) = mpsc::channel();
        let guard = AskInDrop {
            to: to.clone(),
            outcome,
        };
        words_of(falling.ask(guard).wait());
        let outcome = outcomes.try_recv().expect("the guard was dropped");
        assert!(matches!(outcome, Err(AskError::Wait(WaitError::Unwinding))));
        assert_eq!(to.ask(Runs).wait().unwrap(), 0, "the request is withdrawn");
    });
}
