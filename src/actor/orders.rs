//! What an actor is ordered to do, and who may go on with one that is held.
//!
//! Anybody gives orders, by setting bits in one word; the runner takes them between two messages.
//! `KILL` stays until the next life, so that every later wait of the handler ends at once.
//!
//! # An actor that is held
//!
//! Between two lives an actor handles nothing, however many messages are queued; and one that
//! ends waits for its children. Then its runner keeps the mailbox's claim, so that no sender
//! schedules the actor, and lets go of the thread: it is *held*. Both sides change the same word:
//!
//! - The runner sets `HELD` if no order stands but `KILL`, which it has seen; otherwise it obeys.
//! - Whoever gives an order sets its bit and takes `HELD` away in the same exchange. If it was
//!   there, he is the runner now: he gives the claim up again, with a signal, and schedules.
//!
//! So either the order is first, then the runner sees it instead of holding; or the holding is
//! first, then exactly one giver finds `HELD`, however many come. A giver who does not find it
//! signals the mailbox, whose runner looks again before it lets go.

use crate::sync::{
    AtomicU16, Fault,
    Ordering::{AcqRel, Acquire, Release},
    planted, unless,
};

/// The actor begins its only life.
pub(super) const START: u16 = 1;
pub(super) const STOP: u16 = 1 << 1;
pub(super) const DRAIN: u16 = 1 << 2;
pub(crate) const KILL: u16 = 1 << 3;
pub(super) const SHUTDOWN_DRAIN: u16 = 1 << 4;
pub(super) const SHUTDOWN_STOP: u16 = 1 << 5;
/// Its handler or hook has failed.
pub(super) const FAIL: u16 = 1 << 6;
/// Its parent or supervisor ends it for good.
pub(crate) const END: u16 = 1 << 7;
/// Its supervisor ends this life; another one is to come.
pub(crate) const FALL: u16 = 1 << 8;
/// Its supervisor begins its next life.
pub(crate) const REVIVE: u16 = 1 << 9;
/// With these it is to end, or this life of it is, or its waits are.
pub(super) const INTERRUPTING: u16 = KILL | FALL | END | SHUTDOWN_DRAIN | SHUTDOWN_STOP;
/// Something lies in the lane for signals, or what a held runner waits for may have come.
pub(crate) const SIGNALS: u16 = 1 << 10;
/// No order: nobody runs the actor; see the [module](self).
const HELD: u16 = 1 << 11;

/// The orders that stand.
pub(super) struct Orders(AtomicU16);

impl Orders {
    pub(super) fn new(first: u16) -> Self {
        Self(AtomicU16::new(first))
    }

    /// Of an actor of which nobody knows yet, and which is held.
    pub(super) fn held() -> Self {
        Self::new(HELD)
    }

    /// The orders that stand.
    #[inline]
    pub(super) fn standing(&self) -> u16 {
        // ORDERING: Acquire pairs with the Release of whoever gave the orders; see `WaitSlot` too.
        self.0.load(Acquire)
    }

    /// Adds orders. If so, the actor was held and the caller is its runner now.
    #[must_use = "a runner must go on"]
    pub(super) fn add(&self, orders: u16) -> bool {
        // The last life has ended, however: what falls after this is the next one.
        let done = if orders & REVIVE != 0 { FALL } else { 0 };
        let unheld = |now: u16| {
            let now = now & !done | orders;
            Some(if planted(Fault::HeldKept) {
                now
            } else {
                now & !HELD
            })
        };
        // ORDERING: Release publishes what the giver did before, and pairs with the Acquire of the
        // runner that obeys. Acquire: if we become the runner, we see what the last one did; and
        // for `WaitSlot`'s sake.
        let order = unless(Fault::HolderUnseen, AcqRel);
        let before = self.0.fetch_update(order, Acquire, unheld);
        before.is_ok_and(|before| before & HELD != 0)
    }

    /// Takes all orders but `KILL`, which is among those returned and stays.
    pub(super) fn take(&self) -> u16 {
        // ORDERING: Acquire pairs with the Release of whoever gave the orders.
        self.0.fetch_and(KILL, AcqRel)
    }

    /// As [`take`](Self::take), of an actor that is down: the order to begin its next life stays,
    /// too.
    pub(super) fn take_all_but_revive(&self) -> u16 {
        // ORDERING: as in `take`.
        self.0.fetch_and(KILL | REVIVE, AcqRel)
    }

    /// The runner lets go of the actor without giving up its claim, until somebody gives an order.
    /// `false` if one stands already.
    pub(super) fn hold(&self) -> bool {
        let is_free = |now: u16| (now & !KILL == 0).then_some(now | HELD);
        if planted(Fault::HeldUnlooked) {
            self.0.fetch_or(HELD, AcqRel);
            return true;
        }
        // ORDERING: Release hands the actor to whoever takes HELD away; Acquire for the orders.
        self.0.fetch_update(AcqRel, Acquire, is_free).is_ok()
    }

    /// A kill was meant for a life that has ended. One that ends the actor for good is kept.
    pub(super) fn forget_kill(&self) {
        let forget = |now: u16| {
            let for_good = now & (END | SHUTDOWN_DRAIN | SHUTDOWN_STOP) != 0;
            (!for_good).then_some(now & !KILL)
        };
        // ORDERING: Release, so that what is read of the word later is not older.
        let _ = self.0.fetch_update(Release, Acquire, forget);
    }
}

#[cfg(all(test, loom))]
#[path = "orders_models.rs"]
mod loom_models;
