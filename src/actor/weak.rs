//! Addresses that do not keep their actors alive.
#![expect(
    unsafe_code,
    reason = "a weak address is a pointer that holds a count of the cell"
)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::address::debug_address;
use super::cell::Cell;
use super::envelope::Envelope;
use super::{Actor, Addr, DeferredHandler};
use crate::id::ActorId;

/// An address that does not keep its actor alive.
///
/// Equal, hashed and shown as an [`Addr`].
pub struct WeakAddr<A: Actor> {
    /// A pointer from `Arc::into_raw`, which holds a count.
    cell: NonNull<Cell<A>>,
}

// SAFETY: it gives access to the cell, which is `Send` and `Sync`.
unsafe impl<A: Actor> Send for WeakAddr<A> {}
// SAFETY: as above.
unsafe impl<A: Actor> Sync for WeakAddr<A> {}

impl<A: Actor> WeakAddr<A> {
    pub(super) fn new(cell: Arc<Cell<A>>) -> Self {
        let cell = NonNull::new(Arc::into_raw(cell).cast_mut());
        Self {
            cell: cell.expect("an Arc is not null"),
        }
    }

    fn cell(&self) -> ManuallyDrop<Arc<Cell<A>>> {
        // SAFETY: we hold a count, and this one is never dropped.
        ManuallyDrop::new(unsafe { Arc::from_raw(self.cell.as_ptr()) })
    }

    /// Tells actors apart, also those of different systems.
    pub(super) fn identity(&self) -> *const () {
        self.cell.as_ptr().cast()
    }

    /// An address, if there is one left by which the actor is kept alive.
    ///
    /// It may be of an actor that has ended otherwise.
    pub fn upgrade(&self) -> Option<Addr<A>> {
        Addr::upgrade(&self.cell())
    }

    /// The actor's id.
    pub fn id(&self) -> ActorId {
        self.cell().core().id
    }

    /// The actor's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        // SAFETY: we hold a count, and outlive the borrow.
        let cell = unsafe { self.cell.as_ref() };
        cell.core().name().map(|name| &**name)
    }

    /// Queues a message that nobody waits for, if the actor is there.
    pub(super) fn deliver<M>(&self, message: M)
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        self.cell().deliver(Envelope::new::<A, M>(message, None));
    }
}

impl<A: Actor> Clone for WeakAddr<A> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.cell()))
    }
}

impl<A: Actor> Drop for WeakAddr<A> {
    fn drop(&mut self) {
        drop(ManuallyDrop::into_inner(self.cell()));
    }
}

impl<A: Actor> PartialEq for WeakAddr<A> {
    fn eq(&self, other: &Self) -> bool {
        self.cell == other.cell
    }
}

impl<A: Actor> Eq for WeakAddr<A> {}

impl<A: Actor> Hash for WeakAddr<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.cell.hash(state);
    }
}

impl<A: Actor> fmt::Debug for WeakAddr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_address("WeakAddr", self.id(), self.name(), f)
    }
}
