//! A list to which anybody adds and from which its owner takes all, in order of arrival.
//!
//! Treiber's stack (IBM RJ 5118, 1986), with the one operation for the owner that has no ABA
//! problem: taking everything. The nodes are linked through themselves, so adding allocates
//! nothing; a node is in the list at most once, which its adders must see to.
#![expect(
    unsafe_code,
    reason = "the list holds its nodes' reference counts as raw pointers"
)]

use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;

use crate::sync::{
    AtomicPtr, Fault, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, planted,
};

/// A node that can be in one list at a time.
pub(crate) trait Linked: Sized {
    fn link(&self) -> &AtomicPtr<Self>;
}

/// See the [module](self).
pub(crate) struct ReadyList<N: Linked> {
    newest: AtomicPtr<N>,
}

impl<N: Linked> ReadyList<N> {
    pub(crate) fn new() -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // ORDERING: Acquire: who sees a node by this also sees what its adder did before.
        self.newest.load(Acquire).is_null()
    }

    /// Adds a node that is in no list.
    pub(crate) fn push(&self, node: Arc<N>) {
        let node = Arc::into_raw(node);
        // ORDERING: Relaxed: the exchange below decides.
        let mut newest = self.newest.load(Relaxed);
        loop {
            // SAFETY: we hold the node's count until the exchange hands it to the list.
            let link = unsafe { &*node }.link();
            // ORDERING: Relaxed: published by the exchange.
            link.store(newest, Relaxed);
            // ORDERING: Release publishes the link and what its adder did; pairs with the
            // owner's swap. AcqRel keeps the chain of Releases that the owner reads through.
            match self
                .newest
                .compare_exchange_weak(newest, node.cast_mut(), AcqRel, Relaxed)
            {
                Ok(_) => return,
                Err(now) => newest = now,
            }
        }
    }

    /// Moves all nodes to `taken`, the oldest first.
    pub(crate) fn take_all(&self, taken: &mut VecDeque<Arc<N>>) {
        let mut node = if planted(Fault::ReadyTakenInTwo) {
            let newest = self.newest.load(Acquire);
            self.newest.store(ptr::null_mut(), Relaxed);
            newest
        } else {
            // ORDERING: Acquire pairs with the adders' Release.
            self.newest.swap(ptr::null_mut(), AcqRel)
        };
        let before = taken.len();
        while !node.is_null() {
            // SAFETY: the list held one count of each node, which is ours now.
            let owned = unsafe { Arc::from_raw(node) };
            // ORDERING: Relaxed: published by the exchange that put the node in.
            node = owned.link().load(Relaxed);
            taken.push_back(owned);
        }
        taken.make_contiguous()[before..].reverse();
    }
}

impl<N: Linked> Drop for ReadyList<N> {
    fn drop(&mut self) {
        self.take_all(&mut VecDeque::new());
    }
}
