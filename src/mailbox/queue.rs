//! The bounded queue from many senders to one runner, and the right to run.
//!
//! One word holds what senders and runners must agree about; see [the table](self#the-word).
//! Each position of the queue is reserved once, written once and taken once, in order.
//!
//! # The word
//!
//! | bits | what | changed by |
//! |---|---|---|
//! | 28..64 | `tail`: the position that the next sender gets | senders add 1; the runner jumps it to the next lap when nothing is left |
//! | 4..28 | `len`: positions reserved and not yet given back | senders add 1; senders and the runner subtract what the runner has taken |
//! | 3 `WAITERS` | senders stand in line: newcomers go behind them | whoever holds the line's lock |
//! | 2 `CLOSED` | nothing can be reserved any more | the runner, for good |
//! | 1 `SIGNAL` | the runner has to look again before it lets go | anybody sets it, the runner clears it |
//! | 0 `RUNNING` | one thread is the runner | `claim` sets it, `release` and `requeue` clear it |
//!
//! The position up to which messages are given back is `tail - len`. `progress` is the
//! position up to which the runner has taken; it runs ahead of what was given back until the
//! end of the batch.
//!
//! # Reserve, write, take
//!
//! A sender reserves by a compare-exchange that never takes `len` beyond the capacity, so a
//! refusal writes nothing. When the word says "full" the sender first subtracts what the
//! runner has taken meanwhile (`progress`), in the same exchange that reserves. `progress`
//! never decreases, and the word is read first; so if `progress` equals `tail - len`, then the
//! queue held exactly `capacity` messages when the word was read: a refusal is never false.
//!
//! The reserved position names a segment and a slot in it. The sender of a segment's first
//! position links the segment, which it brought along; the others wait for the link, which is
//! a few instructions away. No sender touches a segment before it holds a position in it, and
//! the runner frees no segment before it has taken all its positions; so what a sender reads
//! through `tail_segment` after its reservation stays alive until it has written: its own
//! position keeps that segment and all later ones.
//!
//! A runner that finds a slot (or a link) reserved but not written marks it and lets go of the
//! actor; the writer's exchange returns the mark, and it then sets `SIGNAL`.
//!
//! # Who schedules
//!
//! Whoever makes "not running, and something to do" true, pushes the actor to a run queue:
//! the sender that moves `len` from 0 while nobody runs and no signal stands, the one that sets
//! `SIGNAL` while nobody runs, the runner that lets go with messages left and sets `SIGNAL`. So
//! while nobody runs, a standing `SIGNAL` means that an entry is there or about to be, and there
//! are never more entries than one per run. A thread that pops the actor and
//! finds it running leaves `SIGNAL` behind, so no entry is lost; one that finds nothing to do
//! drops the entry. Hence an entry may be stale and is harmless, and anybody may claim.
//!
//! Nothing is lost between a push and a release: both exchange the same word. Either the
//! sender's reservation is first, then the release fails and sees `len`; or the release is
//! first, then the sender sees that nobody runs and schedules.
//!
//! # An empty queue holds nothing
//!
//! When the runner gives back the last position, the same exchange moves `tail` to the next
//! lap. From then on no sender looks into the old segment, which is the runner's alone. The
//! first sender of the new lap brings a segment and leaves it in `first`.
#![expect(
    unsafe_code,
    reason = "senders and the runner share slots by the word's protocol"
)]

mod runner;

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

pub(crate) use runner::Released;

use super::segment::{AWAITED, LAP, READY, Segment, Size, Stored, awaited, beginning_of};
use super::word::{
    CLOSED, LEN_ONE, LEN_SHIFT, MAX_CAPACITY, POSITION_ONE, POSITION_SHIFT, RUNNING, SIGNAL,
    WAITERS, base_of, given_back, index_in_segment, len, offset, steps, tail,
};
use crate::sync::{
    AtomicPtr, AtomicU32, AtomicU64, Fault,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    UnsafeCell, planted, relax, unless,
};

/// Why nothing was reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The queue was full at some moment of the call.
    Full,
    /// Others stand in line before it.
    Behind,
    /// The queue is closed for good.
    Closed,
}

/// Who may reserve while senders stand in line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// A newcomer goes behind those who stand in line.
    Newcomer,
    /// Whoever holds the line's lock reserves for the first in it.
    FirstInLine,
}

/// A reserved position, which must be written.
#[must_use = "a reserved position that is never written stops the queue"]
pub(crate) struct Reserved<T> {
    position: u64,
    /// The word before the reservation.
    before: u64,
    /// The segment brought along, if this position begins one.
    segment: Option<NonNull<Segment<T>>>,
}

/// See the [module](self).
pub(crate) struct Queue<T: Stored> {
    word: AtomicU64,
    /// The position up to which the runner has taken. Written by the runner only.
    progress: AtomicU64,
    /// The last linked segment, and its first position.
    tail_segment: AtomicPtr<Segment<T>>,
    tail_base: AtomicU64,
    /// The first segment after the queue was empty: null, marked as awaited, or linked.
    first: AtomicPtr<Segment<T>>,
    /// The segment in which the runner takes, or null. Touched by the runner only.
    head_segment: UnsafeCell<*mut Segment<T>>,
    capacity: u32,
    /// How many stand in line. Kept by whoever holds the line's lock; the runner's hint. It lies
    /// here because there is room.
    pub(super) waiting: AtomicU32,
}

// SAFETY: items move from the sender's thread to the runner's, so they must be `Send`; no
// reference to an item is ever shared. The runner's fields are touched by the runner only,
// and the word's RUNNING bit hands that role from thread to thread with Acquire and Release.
unsafe impl<T: Stored + Send> Send for Queue<T> {}
// SAFETY: as above.
unsafe impl<T: Stored + Send> Sync for Queue<T> {}

impl<T: Stored> Queue<T> {
    /// An empty queue for `capacity` items, from 1 to [`MAX_CAPACITY`].
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(
            (1..=MAX_CAPACITY).contains(&capacity),
            "a capacity lies between 1 and {MAX_CAPACITY}"
        );
        Self {
            word: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            tail_segment: AtomicPtr::new(ptr::null_mut()),
            // One lap before the first position: "not linked yet".
            tail_base: AtomicU64::new(0_u64.wrapping_sub(LAP << POSITION_SHIFT)),
            first: AtomicPtr::new(ptr::null_mut()),
            head_segment: UnsafeCell::new(ptr::null_mut()),
            capacity: capacity as u32,
            waiting: AtomicU32::new(0),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// The number of items that are queued, exact when nobody pushes or takes.
    pub(crate) fn len(&self) -> usize {
        // ORDERING: Acquire, so that what is read of the runner's counters afterwards is not
        // older than this length. Both loads are only a picture of some moment.
        let word = self.word.load(Acquire);
        let taken = steps(given_back(word), self.progress.load(Acquire)).max(0);
        (len(word) as i64 - taken).max(0) as usize
    }

    /// Whether somebody is the runner; a figure for snapshots.
    pub(crate) fn is_running(&self) -> bool {
        // ORDERING: Relaxed: nothing is published through it.
        self.word.load(Relaxed) & RUNNING != 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `close`.
        self.word.load(Acquire) & CLOSED != 0
    }

    /// Queues `item` if there is room and nobody stands in line; gives it back otherwise.
    ///
    /// `Ok(true)` means that the caller must schedule the queue's owner.
    pub(crate) fn push(&self, item: T, turn: Turn) -> Result<bool, (Refused, T)> {
        match self.reserve(turn) {
            Ok(reserved) => Ok(self.write(reserved, || item)),
            Err(refused) => Err((refused, item)),
        }
    }

    /// Reserves a position, which the caller must [write](Self::write) next.
    #[inline]
    pub(crate) fn reserve(&self, turn: Turn) -> Result<Reserved<T>, Refused> {
        let mut segment = None;
        // ORDERING: Acquire pairs with the Release of the runner's exchanges: it makes the
        // runner's `first.store(null)` of an earlier lap precede our link.
        let mut word = self.word.load(Acquire);
        let outcome = loop {
            if word & CLOSED != 0 {
                break Err(Refused::Closed);
            }
            if word & WAITERS != 0 && turn == Turn::Newcomer {
                break Err(Refused::Behind);
            }
            let mut new = word.wrapping_add(POSITION_ONE + LEN_ONE);
            if len(word) >= u64::from(self.capacity) {
                // ORDERING: Acquire pairs with the Release in `take`: what the runner did
                // before it took the message happened before we use its room.
                let taken = steps(given_back(word), self.progress.load(Acquire));
                if taken <= 0 || planted(Fault::ProgressOverlooked) {
                    break Err(Refused::Full);
                }
                if !planted(Fault::RoomUsedTwice) {
                    // If the word is outdated by now, this makes no sense, and the exchange fails.
                    new = new.wrapping_sub((taken as u64) << LEN_SHIFT);
                }
            }
            let offset = offset(word);
            if segment.is_none() && beginning_of(offset) == offset {
                segment = Some(Segment::obtain(Size::beginning_at(offset)));
            }
            // ORDERING: AcqRel: Acquire as above; Release so that the runner that reads our
            // `len` sees what we did before. The failure reloads with the same meaning.
            match self.word.compare_exchange_weak(word, new, AcqRel, Acquire) {
                Ok(_) => {
                    return Ok(Reserved {
                        position: tail(word),
                        before: word,
                        segment,
                    });
                }
                Err(now) => {
                    // At another position a segment may be of no use, or have another size.
                    if let Some(unused) = segment.take_if(|_| tail(now) != tail(word)) {
                        // SAFETY: obtained above and linked nowhere.
                        unsafe { Segment::recycle(unused) };
                    }
                    word = now;
                }
            }
        };
        if let Some(unused) = segment {
            // SAFETY: obtained above and linked nowhere.
            unsafe { Segment::recycle(unused) };
        }
        outcome
    }

    /// Writes the item into the reserved position; says whether the caller must schedule.
    ///
    /// `item` must not panic: the queue would stand still. It is made in the slot, since a move
    /// of 56 bytes costs more than all the rest.
    #[inline]
    pub(crate) fn write(&self, reserved: Reserved<T>, item: impl FnOnce() -> T) -> bool {
        let Reserved {
            position,
            before,
            segment,
        } = reserved;
        // We moved the length from 0 while nobody ran: scheduling is our duty, after writing.
        // (Had somebody set SIGNAL, he would have scheduled, or be about to.) A runner that claims through a stale entry meanwhile may mark what we have not
        // written; overwriting its mark is harmless, since we schedule in any case.
        let schedules = before & (RUNNING | SIGNAL) == 0 && len(before) == 0;
        let mut awaited = false;
        let segment = match segment {
            Some(segment) => {
                awaited |= self.link(segment, position, before, schedules);
                segment
            }
            None => self.find(base_of(position)),
        };
        // SAFETY: our position lies in this segment, which stays alive until it is taken.
        let slot = unsafe { Segment::slot(segment, index_in_segment(position)) };
        // SAFETY: as above.
        let slot = unsafe { slot.as_ref() };
        slot.item.with_mut(|place| {
            // SAFETY: the slot is ours until the stamp says READY: the position was given to
            // us alone, and the runner reads it after the Acquire load of the stamp.
            unsafe { place.write(MaybeUninit::new(item())) }
        });
        if schedules {
            // ORDERING: Release publishes the item; pairs with the Acquire load in `take`.
            #[cfg(not(loom))]
            slot.stamp.store(READY, Release);
            // The runner's exchange of EMPTY for its mark, if there was one, comes before this
            // store in the stamp's modification order. Loom does not see that of a store, and
            // lets later runners read the mark again.
            #[cfg(loom)]
            slot.stamp.swap(READY, Release);
        } else {
            // ORDERING: Release as above; Acquire for the mark: it makes what the runner did
            // before it let go precede our signal.
            let seen = slot
                .stamp
                .swap(READY, unless(Fault::SlotUnpublished, AcqRel));
            awaited |= seen == AWAITED;
        }
        schedules || (awaited && !planted(Fault::MarkOverlooked) && self.signal())
    }

    /// Links the segment that begins with our position; says whether the runner waits for it.
    fn link(
        &self,
        segment: NonNull<Segment<T>>,
        position: u64,
        before: u64,
        schedules: bool,
    ) -> bool {
        // SAFETY: ours alone until it is linked below, and kept alive by our position then.
        let this = unsafe { segment.as_ref() };
        // ORDERING: Relaxed: published by the Release operations below.
        this.base.store(position, Relaxed);
        let mut awaited = false;
        if len(before) == 0 {
            // Nothing was attached. ORDERING: Release publishes the segment; pairs with the
            // Acquire load in `take`.
            this.previous.store(ptr::null_mut(), Relaxed);
            if schedules {
                #[cfg(not(loom))]
                self.first.store(segment.as_ptr(), Release);
                // For loom's sake, as in `write`.
                #[cfg(loom)]
                self.first.swap(segment.as_ptr(), Release);
            } else {
                // ORDERING: Acquire for the mark, as in `write`.
                awaited = self.first.swap(segment.as_ptr(), AcqRel) == self::awaited();
            }
        } else {
            let previous = self.find(base_of(position.wrapping_sub(POSITION_ONE)));
            // ORDERING: Relaxed: published by `tail_segment`'s Release.
            this.previous.store(previous.as_ptr(), Relaxed);
            // SAFETY: the runner frees the previous segment only after it has found this
            // link, so it is alive. ORDERING: as for `first`.
            let link = &unsafe { previous.as_ref() }.next;
            awaited = link.swap(segment.as_ptr(), AcqRel) == self::awaited();
        }
        // ORDERING: Release publishes the segment's fields and slots to `find`; the base goes
        // last, so that who reads it finds this segment or a later one in `tail_segment`.
        self.tail_segment.store(segment.as_ptr(), Release);
        self.tail_base.store(position, Release);
        awaited
    }

    /// The linked segment that begins at `base`.
    ///
    /// The caller holds a position in it, or the first position behind it; so it is alive, and
    /// its link is at most a few instructions of another sender away.
    #[inline]
    fn find(&self, base: u64) -> NonNull<Segment<T>> {
        let mut round = 0;
        // ORDERING: Acquire pairs with the Release in `link`: `tail_segment` is then the
        // segment of this base or a later one.
        while steps(base, self.tail_base.load(Acquire)) < 0 && !planted(Fault::LinkNotAwaited) {
            relax(&mut round);
        }
        // ORDERING: Acquire pairs with the Release in `link`.
        let mut segment = self.tail_segment.load(Acquire);
        loop {
            let found = NonNull::new(segment).expect("a base is stored after its segment");
            // SAFETY: the segment of our position and all later ones are alive, since the
            // runner cannot pass a position that is not written.
            let this = unsafe { found.as_ref() };
            // ORDERING: Relaxed: both were published by the Release that linked the segment.
            if this.base.load(Relaxed) == base {
                return found;
            }
            segment = this.previous.load(Relaxed);
        }
    }

    /// Tells the runner to look again; says whether the caller must schedule.
    #[inline]
    pub(crate) fn signal(&self) -> bool {
        // ORDERING: Release publishes what the signal is about; pairs with the Acquire of
        // `claim` and `release`. Acquire for a signal that others set before us.
        let order = unless(Fault::SignalUnpublished, AcqRel);
        self.word.fetch_or(SIGNAL, order) & (RUNNING | SIGNAL) == 0
    }

    /// Lets nothing be reserved any more.
    pub(crate) fn close(&self) {
        if planted(Fault::CloseUnchecked) {
            let word = self.word.load(Acquire);
            self.word.store(word | CLOSED, Release);
            return;
        }
        // ORDERING: Release: whoever is refused sees why; Acquire pairs with the senders'.
        self.word.fetch_or(CLOSED, AcqRel);
    }

    /// Says that somebody stands in line, unless there is room or the queue is closed.
    ///
    /// The caller holds the line's lock.
    pub(crate) fn form_line(&self) -> Result<(), LineRefused> {
        // ORDERING: as in `reserve`.
        let mut word = self.word.load(Acquire);
        loop {
            if word & CLOSED != 0 && !planted(Fault::ClosedOverlooked) {
                return Err(LineRefused::Closed);
            }
            if word & WAITERS != 0 {
                return Ok(());
            }
            let full = len(word) >= u64::from(self.capacity)
                && steps(given_back(word), self.progress.load(Acquire)) <= 0;
            if !full {
                return Err(LineRefused::Room);
            }
            // ORDERING: AcqRel as for every exchange of the word: a later release sees it.
            match self
                .word
                .compare_exchange_weak(word, word | WAITERS, AcqRel, Acquire)
            {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Says that nobody stands in line any more. The caller holds the line's lock.
    pub(crate) fn dissolve_line(&self) {
        // ORDERING: AcqRel as for every exchange of the word.
        self.word.fetch_and(!WAITERS, AcqRel);
    }
}

/// Why nobody needs to stand in line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LineRefused {
    /// There is room.
    Room,
    /// The queue is closed for good.
    Closed,
}

impl<T: Stored> Drop for Queue<T> {
    fn drop(&mut self) {
        // Nobody else is left, so we are the runner, and what is reserved is written.
        // ORDERING: Relaxed: exclusive access.
        let word = self.word.load(Relaxed);
        if word & RUNNING == 0 {
            self.progress.store(given_back(word), Relaxed);
        }
        // SAFETY: we are the runner.
        while let Some(item) = unsafe { self.take() } {
            drop(item);
        }
        let head = self.head_segment.with(|head| {
            // SAFETY: we are the runner.
            unsafe { *head }
        });
        if let Some(segment) = NonNull::new(head) {
            // SAFETY: nobody is left to use it.
            unsafe { Segment::recycle(segment) };
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "queue_tests.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "queue_models.rs"]
mod loom_models;
