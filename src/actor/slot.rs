//! Where a handler that waits shows its wait to others: to those who may end it, and to those
//! who look for circles of waits.
//!
//! | value | set by | meaning |
//! |---|---|---|
//! | null | the waiter | nobody waits |
//! | a record | the waiter | it waits; the record stays whole until it is taken away |
//! | either, with the low bit | a reader | the record is being read: the waiter must not go on |
//!
//! The waiter swaps its record in and then looks whether it was ordered to end; whoever gave the
//! order [calls](WaitSlot::call) after that. Both are read-modify-writes of one word: if the
//! waiter's is first, the caller finds the record; if the caller's is first, the waiter's swap
//! reads it, and sees the order.
//!
//! Those who only look ([`WaitSlot::look`]) leave an empty slot alone. They look at the slots of
//! others after they have shown a record of their own: so that of two who do this one sees the
//! other, both steps are SeqCst, and stand in one total order.
#![expect(
    unsafe_code,
    reason = "the record is reached through a pointer to the waiter's stack"
)]

use std::ptr;

use crate::sync::{
    AtomicPtr, Fault,
    Ordering::{AcqRel, Acquire, Release, SeqCst},
    planted, relax, unless,
};

/// See the [module](self).
pub(crate) struct WaitSlot<R>(AtomicPtr<R>);

impl<R> WaitSlot<R> {
    pub(crate) fn new() -> Self {
        const { assert!(align_of::<R>() > 1, "the low bit of a pointer is free") };
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// The waiter shows this record, or none if it is null; returns what it showed before, which
    /// nobody uses afterwards.
    ///
    /// # Safety
    ///
    /// The caller is the only waiter. The record is not changed, moved or dropped until another
    /// one is shown.
    pub(crate) unsafe fn show(&self, record: *const R) -> *const R {
        let new = record.cast_mut();
        let mut round = 0;
        // ORDERING: Acquire, for the order of a caller that came before; see above.
        let mut old = self.0.load(Acquire);
        loop {
            if old.addr() & 1 == 0 {
                // ORDERING: Release publishes the record; Acquire as above; SeqCst for those who
                // look at the slots of others next.
                let order = if planted(Fault::OrderNotAcquired) {
                    Release
                } else {
                    SeqCst
                };
                match self.0.compare_exchange_weak(old, new, order, Acquire) {
                    Ok(_) => return old,
                    Err(now) => old = now,
                }
            } else {
                // A reader is between a few instructions.
                relax(&mut round);
                old = self.0.load(Acquire);
            }
        }
    }

    /// Reads the record on behalf of somebody who has given the waiter an order. The waiter sees
    /// the order, now or when it comes to wait.
    pub(crate) fn call(&self, read: impl FnOnce(&R)) {
        if let Some(record) = self.hold(true) {
            // SAFETY: the waiter does not take its record away while the bit is set.
            if let Some(record) = unsafe { record.as_ref() } {
                read(record);
            }
            self.let_go(record);
        }
    }

    /// Reads the record, if there is one.
    pub(crate) fn look<T>(&self, read: impl FnOnce(&R) -> T) -> Option<T> {
        let record = self.hold(false)?;
        // SAFETY: the waiter does not take its record away while the bit is set.
        let result = unsafe { record.as_ref() }.map(read);
        self.let_go(record);
        result
    }

    /// Sets the low bit, also of an empty slot if `always`.
    fn hold(&self, always: bool) -> Option<*mut R> {
        let mut round = 0;
        // ORDERING: Acquire pairs with the Release in `show`; SeqCst for those who have shown a
        // record of their own.
        let mut record = self.0.load(SeqCst);
        loop {
            if record.is_null() && !always {
                return None;
            }
            if record.addr() & 1 != 0 {
                if planted(Fault::WaiterNotCalled) {
                    return None;
                }
                relax(&mut round);
                record = self.0.load(SeqCst);
                continue;
            }
            let marked = record.map_addr(|address| address | 1);
            // ORDERING: Release hands a caller's order to a waiter that comes after; Acquire as
            // above.
            match self.0.compare_exchange_weak(record, marked, AcqRel, SeqCst) {
                Ok(_) => return Some(record),
                Err(now) => record = now,
            }
        }
    }

    fn let_go(&self, record: *mut R) {
        // ORDERING: Release: our use of the record is over before the waiter goes on.
        self.0
            .store(record, unless(Fault::CallUnpublished, Release));
    }

    #[inline]
    pub(crate) fn is_occupied(&self) -> bool {
        // ORDERING: SeqCst for those who have shown a record of their own.
        self.0.load(SeqCst).addr() & !1 != 0
    }
}

#[cfg(all(test, loom))]
#[path = "slot_models.rs"]
mod loom_models;
