//! Models of the cell between an asker and whoever answers.
#![expect(unsafe_code, reason = "plays the asker and the answerer")]

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::sync::Track;
use crate::sync::model::{Alarm, fails, holds};

/// An outcome that is missed if it is not dropped.
type Outcome = Track<u32>;

fn completing_against_waiting() {
    let cell = Arc::new(ReplyCell::new());
    let answerer = thread::spawn({
        let cell = cell.clone();
        move || {
            assert!(cell.begin());
            // SAFETY: we are the answerer, and do it once.
            unsafe { cell.complete(Outcome::new(7)) };
        }
    });
    // One poll before the wait leaves a waker that the wait has to take back.
    let mut waker = Waker::noop().clone();
    let (alarm, own) = Alarm::new();
    let outcome = loop {
        // SAFETY: we are the asker, and do it until it is ready.
        match unsafe { cell.poll(&waker) } {
            Poll::Ready(outcome) => break outcome,
            Poll::Pending if waker.will_wake(&own) => alarm.wait(),
            Poll::Pending => waker = own.clone(),
        }
    };
    assert_eq!(*outcome.get_ref(), 7);
    assert_eq!(cell.withdraw(), None);
    answerer.join().unwrap();
}

#[test]
fn a_reply_is_given_once_and_wakes_the_asker() {
    holds(3, completing_against_waiting);
}

#[test]
fn an_outcome_that_is_not_published_is_found() {
    fails(
        Fault::OutcomeUnpublished,
        "Causality violation",
        3,
        completing_against_waiting,
    );
}

#[test]
fn an_asker_that_is_not_woken_is_found() {
    fails(
        Fault::WakerOverlooked,
        "deadlock",
        3,
        completing_against_waiting,
    );
}

#[test]
fn a_waker_that_is_not_taken_back_is_found() {
    fails(
        Fault::WakerNotTakenBack,
        "Causality violation",
        3,
        completing_against_waiting,
    );
}

fn withdrawing_against_beginning() {
    let cell = Arc::new(ReplyCell::new());
    let answerer = thread::spawn({
        let cell = cell.clone();
        move || {
            let begun = cell.begin();
            if begun {
                // SAFETY: we are the answerer, and do it once.
                unsafe { cell.complete(Outcome::new(7)) };
            }
            (begun, cell.is_wanted())
        }
    });
    // A waker stands while the request is withdrawn, as in a future that is dropped.
    // SAFETY: we are the asker.
    let outcome = unsafe { cell.poll(Waker::noop()) };
    let taken = outcome.is_ready();
    drop(outcome);
    let withdrawn = cell.withdraw();
    let done = cell.is_done();
    let (begun, wanted) = answerer.join().unwrap();
    match withdrawn {
        Some(Stage::Queued) => assert!(!begun && !taken, "begun though withdrawn"),
        Some(Stage::Running) => assert!(begun && !taken),
        None => assert!(begun && done),
    }
    assert!(begun || !wanted, "only who has withdrawn is not answered");
}

#[test]
fn a_request_that_was_withdrawn_while_queued_never_runs() {
    holds(3, withdrawing_against_beginning);
}

#[test]
fn beginning_in_two_steps_is_found() {
    fails(
        Fault::BegunInTwo,
        "begun though withdrawn",
        3,
        withdrawing_against_beginning,
    );
}
