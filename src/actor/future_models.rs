//! Models of the waker that a future is given.

use loom::thread;

use super::*;
use crate::sync::model::{Alarm, fails, holds};
use crate::sync::{AtomicBool, Ordering::Relaxed};

/// Waits as [`wait_for`] does until both of two events have come, of which two threads tell.
fn calling_against_polling() {
    let call = Arc::new(Call::new());
    let events = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    for event in &events {
        let (waker, event) = (Waker::from(call.clone()), event.clone());
        // Not joined: the model checker mistakes a late call for the end of the thread.
        thread::spawn(move || {
            event.store(true, Relaxed);
            waker.wake();
        });
    }
    let (alarm, waiter) = Alarm::new();
    // ORDERING: Relaxed: the waiter learns of the events through the call.
    while !events.iter().all(|event| event.load(Relaxed)) {
        if call.begin(&waiter) {
            call.wake_by_ref();
        }
        // As there, it parks before it looks.
        alarm.wait();
        while !call.token.is_notified() {
            alarm.wait();
        }
        call.token.resumed();
    }
}

#[test]
fn a_future_is_polled_after_every_call() {
    holds(3, calling_against_polling);
}

#[test]
fn a_call_during_the_poll_that_is_overlooked_is_found() {
    fails(
        Fault::NoticeOverlooked,
        "deadlock",
        3,
        calling_against_polling,
    );
}

#[test]
fn a_waiter_that_leaves_its_waker_too_late_is_found() {
    fails(Fault::WaiterLate, "deadlock", 3, calling_against_polling);
}
