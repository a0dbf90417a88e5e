//! The runner's side of a queue: claim, take, give back, let go.
//!
//! All of it is for whoever holds the claim; the protocol is written at the [queue](super).
#![expect(
    unsafe_code,
    reason = "the runner takes from slots that senders have written"
)]

use std::ptr::{self, NonNull};

use super::Queue;
use crate::mailbox::segment::{AWAITED, EMPTY, READY, Segment, Slot, Stored, awaited};
use crate::mailbox::word::{
    LEN_MASK, LEN_SHIFT, POSITION_MASK, POSITION_ONE, RUNNING, SIGNAL, WAITERS, base_of,
    given_back, index_in_segment, len, next_lap, steps, tail,
};
use crate::sync::{
    Fault,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    planted, unless,
};

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

impl<T: Stored> Queue<T> {
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

    /// As [`claim`](Self::claim), for somebody who comes without an entry of a run queue, or a turn
    /// that would have become one: if somebody else runs, he leaves no trace.
    pub(crate) fn claim_unasked(&self) -> bool {
        // ORDERING: Relaxed: a claim decides.
        self.word.load(Relaxed) & RUNNING == 0 && self.claim()
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

    /// Gives back what was taken, and remains the runner; says whether senders stand in line.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    pub(crate) unsafe fn give_back(&self) -> bool {
        // ORDERING: Relaxed: ours.
        let position = self.progress.load(Relaxed);
        // ORDERING: Acquire pairs with the senders' Release.
        let mut word = self.word.load(Acquire);
        loop {
            let outcome = if tail(word) == position {
                if len(word) == 0 {
                    return word & WAITERS != 0;
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
                Ok(()) => return word & WAITERS != 0,
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

    /// Whether the runner has taken all that was ever reserved.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    pub(crate) unsafe fn is_exhausted(&self) -> bool {
        // ORDERING: Acquire pairs with the senders' Release; `progress` is ours.
        tail(self.word.load(Acquire)) == self.progress.load(Relaxed)
    }
}
