//! Models of the slot through which a handler's wait is ended.

use std::sync::Arc;

use loom::thread;

use super::*;
use crate::sync::model::{Alarm, fails, holds};
use crate::sync::{AtomicU8, Ordering::Relaxed};

/// A slot, and the orders that are given before it is called.
struct Actor {
    slot: WaitSlot,
    orders: AtomicU8,
}

fn actor() -> Arc<Actor> {
    Arc::new(Actor {
        slot: WaitSlot::new(),
        orders: AtomicU8::new(0),
    })
}

impl Actor {
    /// Gives an order as a killer does.
    fn give(&self, order: u8) {
        self.orders.fetch_or(order, AcqRel);
        self.slot.call();
    }

    /// What was ordered. The waiter learns of it through the slot or its waker, so this needs
    /// no Acquire.
    fn ordered(&self) -> u8 {
        self.orders.load(Relaxed)
    }

    /// Waits as [`wait`] does until `is_over`, with a waker that is gone afterwards.
    fn wait(&self, (alarm, waker): (Arc<Alarm>, Waker), is_over: impl Fn() -> bool) {
        self.slot.enter(&waker);
        while !is_over() {
            alarm.wait();
        }
        self.slot.leave();
        alarm.end();
    }
}

// Waits that are over for another reason, or by an order.
fn killing_against_waiting() {
    let actor = actor();
    let killer = thread::spawn({
        let actor = actor.clone();
        move || actor.give(1)
    });
    actor.wait(Alarm::new(), || true);
    actor.wait(Alarm::new(), || actor.ordered() == 1);
    actor.wait(Alarm::new(), || actor.ordered() == 1);
    killer.join().unwrap();
    assert!(!actor.slot.is_occupied());
}

#[test]
fn an_order_ends_every_wait_and_no_waker_is_used_after_it() {
    holds(3, killing_against_waiting);
}

#[test]
fn a_waiter_that_does_not_acquire_the_order_is_found() {
    fails(
        Fault::OrderNotAcquired,
        "deadlock",
        3,
        killing_against_waiting,
    );
}

#[test]
fn a_caller_that_does_not_publish_the_end_of_its_call_is_found() {
    fails(
        Fault::CallUnpublished,
        "Causality violation",
        3,
        killing_against_waiting,
    );
}

// Only one thread at a time can spin here: of two that spin, the model checker also explores
// that they do so for ever while the third could go on. So nobody leaves before both called.
fn two_killers() {
    let actor = actor();
    let (alarm, waker) = Alarm::new();
    let killers = [1, 2].map(|order| {
        let actor = actor.clone();
        thread::spawn(move || actor.give(order))
    });
    actor.slot.enter(&waker);
    while actor.ordered() != 3 {
        alarm.wait();
    }
    for killer in killers {
        killer.join().unwrap();
    }
    actor.slot.leave();
    alarm.end();
}

#[test]
fn two_killers_both_end_the_wait() {
    holds(3, two_killers);
}

#[test]
fn a_second_killer_whose_order_is_not_acquired_is_found() {
    fails(Fault::OrderNotAcquired, "deadlock", 3, two_killers);
}
