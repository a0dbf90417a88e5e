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

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::segment::{
    AWAITED, EMPTY, LAP, READY, Segment, Size, Slot, Stored, awaited, beginning_of,
};
use crate::sync::{
    AtomicPtr, AtomicU64, Fault,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    UnsafeCell, planted, relax, unless,
};

const RUNNING: u64 = 1;
const SIGNAL: u64 = 1 << 1;
const CLOSED: u64 = 1 << 2;
const WAITERS: u64 = 1 << 3;
const LEN_SHIFT: u32 = 4;
const LEN_ONE: u64 = 1 << LEN_SHIFT;
const POSITION_SHIFT: u32 = 28;
const POSITION_ONE: u64 = 1 << POSITION_SHIFT;
const LEN_MASK: u64 = (POSITION_ONE - 1) & !(LEN_ONE - 1);
const POSITION_MASK: u64 = !(POSITION_ONE - 1);

/// The largest capacity that the word can count.
pub(crate) const MAX_CAPACITY: usize = (LEN_MASK >> LEN_SHIFT) as usize;

// Positions are kept in the upper bits, as in the word, so that they wrap by themselves.
#[inline]
fn tail(word: u64) -> u64 {
    word & POSITION_MASK
}

#[inline]
fn len(word: u64) -> u64 {
    (word & LEN_MASK) >> LEN_SHIFT
}

#[inline]
fn given_back(word: u64) -> u64 {
    tail(word).wrapping_sub(len(word) << POSITION_SHIFT)
}

#[inline]
fn steps(from: u64, to: u64) -> i64 {
    (to.wrapping_sub(from) as i64) >> POSITION_SHIFT
}

#[inline]
fn offset(position: u64) -> u64 {
    (position >> POSITION_SHIFT) & (LAP - 1)
}

/// The position at which the segment begins that holds `position`.
#[inline]
fn base_of(position: u64) -> u64 {
    let offset = offset(position);
    position.wrapping_sub((offset - beginning_of(offset)) << POSITION_SHIFT)
}

/// Where in its segment the slot of `position` is.
#[inline]
fn index_in_segment(position: u64) -> usize {
    let offset = offset(position);
    (offset - beginning_of(offset)) as usize
}

/// The next position that begins a lap, or this one if it does.
#[inline]
fn next_lap(position: u64) -> u64 {
    let rest = (LAP - offset(position)) & (LAP - 1);
    position.wrapping_add(rest << POSITION_SHIFT)
}

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

/// How a release ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Released {
    /// Nothing is left, or the next message is still being written; the caller is no longer
    /// the runner. Whoever brings the next thing to do schedules.
    Idle,
    /// The caller is still the runner: a signal came, or a message can be taken.
    Busy,
    /// The caller is still the runner, and there is room for senders that stand in line.
    Line,
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

    /// Becomes the runner if there is something to do and nobody else is.
    ///
    /// If somebody else runs, a signal makes that runner look again before it lets go.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        // ORDERING: Relaxed: the exchange below decides.
        let mut word = self.word.load(Relaxed);
        loop {
            let new = if word & RUNNING != 0 {
                if planted(Fault::ClaimUnsignalled) {
                    return false;
                }
                word | SIGNAL
            } else if len(word) == 0 && word & SIGNAL == 0 {
                return false;
            } else {
                (word | RUNNING) & !SIGNAL
            };
            // ORDERING: Acquire pairs with the Release of the last runner's exchange (all it
            // did to the actor is visible) and of the signal. Release for the signal we leave.
            match self.word.compare_exchange_weak(word, new, AcqRel, Relaxed) {
                Ok(_) if word & RUNNING != 0 => return false,
                Ok(_) => {
                    // ORDERING: Release, like every store of it; see `take`.
                    self.progress.store(given_back(word), Release);
                    return true;
                }
                Err(now) => word = now,
            }
        }
    }

    /// Takes the oldest item, if it is written.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    pub(crate) unsafe fn take(&self) -> Option<T> {
        // SAFETY: the caller is the runner.
        let slot = unsafe { self.written_slot() }?;
        let item = slot.item.with(|place| {
            // SAFETY: the slot is written, and its item is moved out once: it is passed below.
            unsafe { place.cast::<T>().read() }
        });
        // SAFETY: the caller is the runner, and the item is moved out.
        unsafe { self.pass() };
        Some(item)
    }

    /// Where the oldest item lies, if it is written. The caller may move it out, and then
    /// [passes](Self::pass) it.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    #[inline]
    pub(crate) unsafe fn peek(&self) -> Option<NonNull<T>> {
        // SAFETY: the caller is the runner.
        let slot = unsafe { self.written_slot() }?;
        NonNull::new(slot.item.with_mut(|place| place.cast::<T>()))
    }

    /// Gives up the slot of the oldest item, which has been moved out.
    ///
    /// # Safety
    ///
    /// The caller is the runner, has peeked at the item and moved it out.
    #[inline]
    pub(crate) unsafe fn pass(&self) {
        // ORDERING: Relaxed: only the runner writes it, and that is us.
        let position = self.progress.load(Relaxed);
        let head = self.head_segment.with(|head| {
            // SAFETY: only the runner touches the field.
            unsafe { *head }
        });
        let head = NonNull::new(head).expect("an item was peeked at");
        // SAFETY: the position lies in this segment, which only we can free.
        let slot = unsafe { Segment::slot(head, index_in_segment(position)) };
        // SAFETY: as above.
        let stamp = &unsafe { slot.as_ref() }.stamp;
        // ORDERING: Relaxed: the slot is used again only through a new link with Release.
        if !planted(Fault::StampKept) {
            stamp.store(EMPTY, Relaxed);
        }
        // ORDERING: Release pairs with the Acquire in `reserve`.
        self.progress
            .store(position.wrapping_add(POSITION_ONE), Release);
    }

    /// The slot of the oldest item, if it is written.
    ///
    /// # Safety
    ///
    /// The caller is the runner; the reference is of no use after the slot was passed.
    #[inline]
    unsafe fn written_slot(&self) -> Option<&Slot<T>> {
        // ORDERING: Relaxed: only the runner writes it, and that is us.
        let position = self.progress.load(Relaxed);
        // SAFETY: the caller is the runner.
        let segment = unsafe { self.head_at(position) }?;
        // SAFETY: the position lies in this segment, which only we can free.
        let slot = unsafe { Segment::slot(segment, index_in_segment(position)) };
        // SAFETY: as above.
        let slot = unsafe { slot.as_ref() };
        // ORDERING: Acquire pairs with the writer's Release: the item is complete, and the
        // writer is done with the slot.
        (slot.stamp.load(Acquire) == READY).then_some(slot)
    }

    /// The segment that holds `position`, the next to be taken, if it is linked.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    #[inline]
    unsafe fn head_at(&self, position: u64) -> Option<NonNull<Segment<T>>> {
        // SAFETY: only the runner touches the field.
        let head = self.head_segment.with(|head| unsafe { *head });
        let head = NonNull::new(head);
        if let Some(segment) = head {
            // SAFETY: the runner's own segment; only we free it.
            // ORDERING: Relaxed: we read it through a link's Acquire.
            if unsafe { segment.as_ref() }.base.load(Relaxed) == base_of(position) {
                return head;
            }
        }
        let link = match &head {
            // SAFETY: as above.
            Some(segment) => &unsafe { segment.as_ref() }.next,
            None => &self.first,
        };
        // ORDERING: Acquire pairs with the Release in `link`.
        let next = link.load(unless(Fault::LinkUnacquired, Acquire));
        if next.is_null() || next == awaited() {
            return None;
        }
        if let Some(exhausted) = head {
            // SAFETY: all its positions are taken and the segment behind it is linked, so no
            // sender can need it any more.
            unsafe { Segment::recycle(exhausted) };
        } else {
            // ORDERING: Relaxed: the next sender to write it has read the word after our
            // Release exchange that ended this lap.
            self.first.store(ptr::null_mut(), Relaxed);
        }
        // SAFETY: only the runner touches the field.
        self.head_segment.with_mut(|head| unsafe { *head = next });
        NonNull::new(next)
    }

    /// Marks the next position as awaited; `false` if it is written by now.
    ///
    /// # Safety
    ///
    /// The caller is the runner, and the next position is reserved.
    unsafe fn await_next(&self, position: u64) -> bool {
        // SAFETY: the caller is the runner.
        let Some(segment) = (unsafe { self.head_at(position) }) else {
            // SAFETY: only the runner touches the field.
            let head = NonNull::new(self.head_segment.with(|head| unsafe { *head }));
            let link = match &head {
                // SAFETY: the runner's own segment; only we free it.
                Some(segment) => &unsafe { segment.as_ref() }.next,
                None => &self.first,
            };
            // ORDERING: Release: what we did precedes the writer's signal. Acquire: if the
            // exchange fails, the link is there and what it points to is complete.
            return link
                .compare_exchange(ptr::null_mut(), awaited(), AcqRel, Acquire)
                .map_or_else(|seen| seen == awaited(), |_| true);
        };
        // SAFETY: the position lies in this segment, which only we can free.
        let slot = unsafe { Segment::slot(segment, index_in_segment(position)) };
        // SAFETY: as above.
        let stamp = &unsafe { slot.as_ref() }.stamp;
        // ORDERING: as for the link above.
        stamp
            .compare_exchange(EMPTY, AWAITED, AcqRel, Acquire)
            .map_or_else(|seen| seen == AWAITED, |_| true)
    }

    /// Lets go of the queue if nothing can be taken; see [`Released`].
    ///
    /// # Safety
    ///
    /// The caller is the runner, and no longer is after [`Released::Idle`].
    pub(crate) unsafe fn release(&self) -> Released {
        // ORDERING: Relaxed: ours.
        let position = self.progress.load(Relaxed);
        // ORDERING: Acquire pairs with the senders' Release.
        let mut word = self.word.load(Acquire);
        loop {
            if word & SIGNAL != 0 {
                // ORDERING: AcqRel: what the signal is about is visible to us.
                self.word.fetch_and(!SIGNAL, AcqRel);
                return Released::Busy;
            }
            let left = steps(position, tail(word)) as u64;
            // With no room for those in line it is the writer of the next message that matters.
            let room = left < u64::from(self.capacity);
            if word & WAITERS != 0 && room && !planted(Fault::LineOverlooked) {
                return Released::Line;
            }
            let outcome = if planted(Fault::ReleaseUnchecked) {
                self.word.fetch_and(!RUNNING, AcqRel);
                Ok(())
            } else if tail(word) == position {
                // SAFETY: the caller is the runner.
                unsafe { self.empty(word, word & !RUNNING) }
            } else {
                // SAFETY: the caller is the runner, and the word says that more is reserved.
                if !unsafe { self.await_next(position) } {
                    return Released::Busy;
                }
                let new = (word & !(LEN_MASK | RUNNING)) | (left << LEN_SHIFT);
                // ORDERING: Release hands the actor to the next runner; Acquire as above.
                self.word
                    .compare_exchange(word, new, AcqRel, Acquire)
                    .map(|_| ())
            };
            match outcome {
                Ok(()) => return Released::Idle,
                Err(now) => word = now,
            }
        }
    }

    /// Exchanges `word`, in which nothing is left, for `new` at the next lap with no length.
    ///
    /// # Safety
    ///
    /// The caller is the runner, and has taken all positions before the word's tail.
    unsafe fn empty(&self, word: u64, new: u64) -> Result<(), u64> {
        // The field is ours only until the exchange: clear it first, put it back on failure.
        let head = self.head_segment.with_mut(|head| {
            // SAFETY: only the runner touches the field.
            unsafe { ptr::replace(head, ptr::null_mut()) }
        });
        let new = (new & !(LEN_MASK | POSITION_MASK)) | next_lap(tail(word));
        // ORDERING: Release hands the actor, and the lap's end, to whoever comes next.
        match self.word.compare_exchange(word, new, AcqRel, Acquire) {
            Ok(_) => {
                if let Some(segment) = NonNull::new(head) {
                    // SAFETY: no position in it is left, and senders of the next lap bring
                    // their own.
                    unsafe { Segment::recycle(segment) };
                }
                Ok(())
            }
            Err(now) => {
                // SAFETY: we are still the runner.
                self.head_segment.with_mut(|field| unsafe { *field = head });
                Err(now)
            }
        }
    }

    /// Gives back what was taken, and remains the runner.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    pub(crate) unsafe fn give_back(&self) {
        // ORDERING: Relaxed: ours.
        let position = self.progress.load(Relaxed);
        // ORDERING: Acquire pairs with the senders' Release.
        let mut word = self.word.load(Acquire);
        loop {
            let outcome = if tail(word) == position {
                if len(word) == 0 {
                    return;
                }
                // SAFETY: the caller is the runner.
                let outcome = unsafe { self.empty(word, word) };
                if outcome.is_ok() {
                    // ORDERING: Release, like every store of it.
                    self.progress.store(next_lap(position), Release);
                }
                outcome
            } else {
                let left = steps(position, tail(word)) as u64;
                let new = (word & !LEN_MASK) | (left << LEN_SHIFT);
                // ORDERING: AcqRel as for every exchange of the word.
                self.word
                    .compare_exchange(word, new, AcqRel, Acquire)
                    .map(|_| ())
            };
            match outcome {
                Ok(()) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Lets go of the queue in the middle; the caller must schedule it again.
    ///
    /// # Safety
    ///
    /// The caller is the runner, and no longer is afterwards.
    pub(crate) unsafe fn requeue(&self) {
        // SAFETY: the caller is the runner.
        unsafe { self.give_back() };
        // The signal makes the next claim succeed even if nothing is queued.
        // ORDERING: Relaxed: the exchange below decides.
        let mut word = self.word.load(Relaxed);
        loop {
            let new = (word & !RUNNING) | SIGNAL;
            // ORDERING: Release hands the actor to the next runner.
            match self.word.compare_exchange_weak(word, new, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
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

    /// Whether the runner has taken all that was ever reserved.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    pub(crate) unsafe fn is_exhausted(&self) -> bool {
        // ORDERING: Acquire pairs with the senders' Release; `progress` is ours.
        tail(self.word.load(Acquire)) == self.progress.load(Relaxed)
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
