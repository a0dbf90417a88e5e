//! Models of an actor that is held while orders come.
#![expect(
    unsafe_code,
    reason = "what the runner alone touches is shared with all threads"
)]

use std::sync::Arc;

use loom::cell::Cell;
use loom::thread;

use super::*;
use crate::sync::model::{fails, holds};
use crate::sync::{AtomicUsize, Ordering::Relaxed};

/// An actor that obeys three orders, whoever runs it.
struct Held {
    orders: Orders,
    /// Touched by the runner only.
    obeyed: Cell<u16>,
    finished: AtomicUsize,
}

// SAFETY: the cell is touched by the runner only, which the model checks.
unsafe impl Sync for Held {}

impl Held {
    /// The runner obeys what stands, and then lets go, held.
    fn run(&self) {
        loop {
            let obeyed = self.obeyed.get() | self.orders.take();
            self.obeyed.set(obeyed);
            if obeyed == STOP | END | SIGNALS {
                // ORDERING: Relaxed: the joins of the threads publish it.
                self.finished.fetch_add(1, Relaxed);
                return;
            }
            if self.orders.hold() {
                return;
            }
        }
    }

    /// Gives an order, and goes on as the runner if the actor was held.
    fn tell(&self, order: u16) {
        if self.orders.add(order) {
            self.run();
        }
    }
}

fn orders_against_holding() {
    let held = Arc::new(Held {
        orders: Orders::new(SIGNALS),
        obeyed: Cell::new(0),
        finished: AtomicUsize::new(0),
    });
    let givers = [STOP, END].map(|order| {
        let held = held.clone();
        thread::spawn(move || held.tell(order))
    });
    held.run();
    givers
        .into_iter()
        .for_each(|giver| giver.join().expect("it does not panic"));
    assert_eq!(
        held.finished.load(Relaxed),
        1,
        "each order is obeyed, by one runner"
    );
}

#[test]
fn an_order_to_a_held_actor_is_obeyed_by_exactly_one_runner() {
    holds(3, orders_against_holding);
}

#[test]
fn a_holder_that_does_not_look_for_orders_is_found() {
    fails(
        Fault::HeldUnlooked,
        "each order is obeyed",
        3,
        orders_against_holding,
    );
}

#[test]
fn a_giver_that_leaves_the_mark_of_holding_is_found() {
    fails(Fault::HeldKept, "", 3, orders_against_holding);
}

#[test]
fn a_giver_that_does_not_see_what_the_holder_did_is_found() {
    fails(Fault::HolderUnseen, "", 3, orders_against_holding);
}
