//! Mistakes that the models plant, to show that they would find them.
//!
//! A model that cannot fail proves nothing. So each has a twin in which one of these mistakes
//! is made, and which must fail. Outside of the models [`planted`] is `false` at compile time,
//! and nothing of it remains.

use super::Ordering;

/// One mistake each, named by what goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// A slot is said to be ready without publishing the item in it.
    SlotUnpublished,
    /// The writer of a slot does not tell the runner that waits for it.
    MarkOverlooked,
    /// A slot that was taken is still said to be ready when its segment is used again.
    StampKept,
    /// A late sender looks for its segment without waiting until that is linked.
    LinkNotAwaited,
    /// The runner goes on to the next segment without acquiring what its sender did.
    LinkUnacquired,
    /// The runner lets go without comparing the word with what it has seen.
    ReleaseUnchecked,
    /// Whoever pops the entry of a running owner drops it.
    ClaimUnsignalled,
    /// A signal does not publish what it is about.
    SignalUnpublished,
    /// A full word is believed, although the runner may have taken since.
    ProgressOverlooked,
    /// A sender uses the room that the runner made, and does not account for it.
    RoomUsedTwice,
    /// The mailbox is closed by a store, over a reservation that was made meanwhile.
    CloseUnchecked,
    /// The runner lets go although there is room for those who stand in line.
    LineOverlooked,
    /// Whoever waits for a place is not called when it is granted.
    GrantUnannounced,
    /// The line is dissolved after its lock is free again.
    LineDissolvedUnlocked,
    /// Somebody comes to stand in line although the queue is closed.
    ClosedOverlooked,
    /// A newcomer trusts the hint that nobody stands in line.
    LineHintTrusted,
    /// The waiter parks although it has been called.
    NoticeOverlooked,
    /// A thread is unparked before it can see what for.
    UnparkedFirst,
    /// A waker makes a stack ready that others have made ready already.
    ReadyTwice,
    /// The owner of a ready list takes its nodes with a load and a store.
    ReadyTakenInTwo,
    /// A worker falls asleep although its bell has rung.
    RingOverlooked,
    /// A worker enters the list of sleepers without a fence.
    SleeperUnfenced,
    /// A pusher reads the number of sleepers without a fence.
    PusherUnfenced,
    /// An outcome is said to be there without being published.
    OutcomeUnpublished,
    /// The answerer does not look whether a waker is there.
    WakerOverlooked,
    /// The asker replaces its waker without taking the old one back.
    WakerNotTakenBack,
    /// A request begins after a look whether it was withdrawn, and not in the same step.
    BegunInTwo,
    /// The waiter shows and takes away its waker without acquiring what callers have done.
    OrderNotAcquired,
    /// A caller that finds another one at the waker leaves the call to that one.
    WaiterNotCalled,
    /// A caller lets the waiter go on without publishing that it is done with the waker.
    CallUnpublished,
    /// The waiter says that it waits before it has left its waker.
    WaiterLate,
    /// A worker says that an offer is empty before it has moved the task out.
    OfferEmptiedFirst,
    /// Whoever makes an offer reads the watch without a fence.
    OfferUnfenced,
    /// A thread may look for the sampler before its note is written.
    WorkUnordered,
    /// Whoever begins to wait may walk along the waits before its own is shown.
    WalkUnordered,
    /// Whoever sees a circle of waits reports it without a lock.
    CircleUnlocked,
    /// Whoever sees a circle of waits reports it without a second walk.
    CircleNotWalkedTwice,
    /// A runner holds an actor without looking for orders in the same step.
    HeldUnlooked,
    /// Whoever orders something of a held actor does not say that it is held no more.
    HeldKept,
    /// Whoever takes a held actor over does not see what its last runner did.
    HolderUnseen,
}

/// Whether the model that runs now has this mistake planted.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn planted(_: Fault) -> bool {
    false
}

/// `order`, or `Relaxed` if the model that runs now has this mistake planted.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn unless(_: Fault, order: Ordering) -> Ordering {
    order
}

#[cfg(all(test, loom))]
pub(super) use switch::with;
#[cfg(loom)]
pub(crate) use switch::{planted, unless};

#[cfg(loom)]
mod switch {
    use std::cell::Cell;

    use super::{Fault, Ordering};

    thread_local! {
        /// Loom runs all threads of a model on the thread that called it, so this is seen by
        /// all of them, and by no model that runs beside it.
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    pub(crate) fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }

    pub(crate) fn unless(fault: Fault, order: Ordering) -> Ordering {
        if planted(fault) {
            Ordering::Relaxed
        } else {
            order
        }
    }

    /// Runs `f` with the mistake planted.
    #[cfg(test)]
    pub(in crate::sync) fn with<R>(fault: Fault, f: impl FnOnce() -> R) -> R {
        PLANTED.set(Some(fault));
        let result = f();
        PLANTED.set(None);
        result
    }
}
