//! Models of the slot through which a handler's wait is ended.
#![expect(unsafe_code, reason = "models show records of their own")]

use std::sync::Arc;
use std::task::Waker;

use loom::thread;

use super::*;
use crate::sync::model::{Alarm, fails, holds};
use crate::sync::{AtomicU8, Ordering::Relaxed};

/// A slot, and the orders that are given before it is called.
struct Actor {
    slot: WaitSlot<Waker>,
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
        self.slot.call(Waker::wake_by_ref);
    }

    /// What was ordered. The waiter learns of it through the slot or its waker, so this needs
    /// no Acquire.
    fn ordered(&self) -> u8 {
        self.orders.load(Relaxed)
    }

    fn show(&self, waker: *const Waker) {
        // SAFETY: a model has one waiter, whose waker stays until it shows another.
        unsafe { self.slot.show(waker) };
    }

    /// Waits as [`wait`](super::super::wait::wait) does until `is_over`, with a waker that is gone afterwards.
    fn wait(&self, (alarm, waker): (Arc<Alarm>, Waker), is_over: impl Fn() -> bool) {
        self.show(&waker);
        while !is_over() {
            alarm.wait();
        }
        self.show(ptr::null());
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
fn an_order_ends_every_wait() {
    holds(3, killing_against_waiting);
}

#[test]
fn a_waker_that_is_used_after_its_wait_is_found() {
    fails(
        Fault::CallUnpublished,
        "Causality violation",
        3,
        killing_against_waiting,
    );
}

// The wait is over without the killer.
fn killing_against_leaving() {
    let actor = actor();
    let killer = thread::spawn({
        let actor = actor.clone();
        move || actor.give(1)
    });
    actor.wait(Alarm::new(), || true);
    killer.join().unwrap();
}

#[test]
fn nobody_uses_a_waker_that_has_left() {
    holds(5, killing_against_leaving);
}

#[test]
fn a_caller_that_does_not_publish_the_end_of_its_call_is_found() {
    fails(
        Fault::CallUnpublished,
        "Causality violation",
        5,
        killing_against_leaving,
    );
}

/// Kills a waiter that does not leave, so that its waker stays until all are done.
///
/// The killers are not joined: the model checker mistakes a late call for the end of a thread.
fn kill(actor: &Arc<Actor>, waker: &Arc<Waker>, order: u8) {
    let (actor, waker) = (actor.clone(), waker.clone());
    thread::spawn(move || {
        actor.give(order);
        drop(waker);
    });
}

fn killing_against_entering() {
    let actor = actor();
    let (alarm, waker) = Alarm::new();
    let waker = Arc::new(waker);
    kill(&actor, &waker, 1);
    actor.show(&*waker);
    while actor.ordered() != 1 {
        alarm.wait();
    }
}

#[test]
fn a_waiter_sees_the_order_or_is_called() {
    holds(5, killing_against_entering);
}

#[test]
fn a_waiter_that_does_not_acquire_the_slot_is_found() {
    let fault = Fault::OrderNotAcquired;
    fails(fault, "deadlock", 5, killing_against_entering);
    fails(fault, "Causality violation", 5, killing_against_leaving);
}

// The waiter neither enters nor leaves while these two may call: of two threads that spin, the
// model checker also explores that they do so for ever, although the third could go on.
fn two_killers() {
    let actor = actor();
    let (alarm, waker) = Alarm::new();
    let waker = Arc::new(waker);
    actor.show(&*waker);
    kill(&actor, &waker, 1);
    kill(&actor, &waker, 2);
    while actor.ordered() != 3 {
        alarm.wait();
    }
}

#[test]
fn two_killers_are_both_heard() {
    holds(3, two_killers);
}

#[test]
fn a_killer_that_is_not_heard_is_found() {
    fails(Fault::WaiterNotCalled, "deadlock", 3, two_killers);
}
