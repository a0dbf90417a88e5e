//! The memory of a queue: runs of slots that are linked one behind the other.
//!
//! A slot is `EMPTY` until the sender that reserved it has written its item, then `READY`.
//! A runner that finds the next slot reserved but unwritten marks it `AWAITED` and lets go;
//! the writer sees the mark in the same exchange that makes the slot `READY`.
//!
//! | stamp | set by | cleared by |
//! |---|---|---|
//! | `EMPTY` | creation; the runner when it takes the item | - |
//! | `AWAITED` | the runner, from `EMPTY` only | the writer, by `READY` |
//! | `READY` | the writer of the slot, once | the runner when it takes the item |
//!
//! Segments that have been emptied go to a small cache of the thread that emptied them, so
//! that a mailbox which fills and empties all day does not visit the allocator each time. What is
//! too much for a thread's cache goes to a stash that all share, many segments at a time. The
//! caches belong to threads; an idle mailbox holds nothing.
#![expect(
    unsafe_code,
    reason = "owns raw memory that senders and the runner share"
)]

use std::alloc::{Layout, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::sync::{AtomicPtr, AtomicU8, AtomicU64, Ordering::Relaxed, UnsafeCell};

pub(super) const EMPTY: u8 = 0;
pub(super) const AWAITED: u8 = 1;
pub(super) const READY: u8 = 2;

/// Slots in a small segment, the first of a lap.
#[cfg(not(loom))]
pub(super) const SMALL: u64 = 4;
/// Slots in a large segment.
#[cfg(not(loom))]
pub(super) const LARGE: u64 = 32;
/// Positions in a lap: a small segment, the rest of a large one, and a large one.
#[cfg(not(loom))]
pub(super) const LAP: u64 = 64;

// Models see the borders between segments after one, two and four items.
#[cfg(loom)]
pub(super) const SMALL: u64 = 1;
#[cfg(loom)]
pub(super) const LARGE: u64 = 2;
#[cfg(loom)]
pub(super) const LAP: u64 = 4;

/// Which of the two sizes a segment has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    Small,
    Large,
}

impl Size {
    /// The size of the segment that begins at this offset of a lap.
    pub(super) fn beginning_at(offset: u64) -> Self {
        if offset == 0 {
            Self::Small
        } else {
            Self::Large
        }
    }

    fn slots(self) -> usize {
        match self {
            Self::Small => SMALL as usize,
            Self::Large => LARGE as usize,
        }
    }
}

/// The offset in its lap at which the segment begins that holds `offset`.
#[inline]
pub(super) fn beginning_of(offset: u64) -> u64 {
    if offset < SMALL {
        0
    } else if offset < LARGE {
        SMALL
    } else {
        LARGE
    }
}

/// One place for an item.
pub(super) struct Slot<T> {
    pub(super) stamp: AtomicU8,
    pub(super) item: UnsafeCell<MaybeUninit<T>>,
}

/// The head of a run of slots, which follow it in the same allocation.
#[repr(C, align(64))]
pub(super) struct Segment<T> {
    /// The position of the first slot. Written before the segment is linked.
    pub(super) base: AtomicU64,
    /// The segment before this one, for senders that come late. Written before it is linked.
    pub(super) previous: AtomicPtr<Segment<T>>,
    /// The segment behind this one: null, [`awaited`], or linked.
    pub(super) next: AtomicPtr<Segment<T>>,
    size: Size,
    #[cfg(loom)]
    _missed: crate::sync::Track<()>,
}

/// The mark of a link that the runner waits for.
pub(super) fn awaited<T>() -> *mut Segment<T> {
    ptr::without_provenance_mut(1)
}

/// Items that have a cache of segments on each thread.
pub(crate) trait Stored: Sized + 'static {
    /// Runs `f` on this thread's cache; `None` where there is none (any more).
    fn with_cache<R>(f: impl FnOnce(&mut SegmentCache<Self>) -> R) -> Option<R>;

    /// Where threads leave segments that they have too many of; `None` where there is none.
    fn stash() -> Option<&'static Stash<Self>>;
}

/// Empty segments on their way from threads that take to threads that send.
///
/// Where one thread sends and another takes, every segment is obtained on the one and emptied
/// on the other. They come back through here, many at a time.
pub(crate) struct Stash<T>(std::sync::Mutex<SegmentCache<T>>);

impl<T> Stash<T> {
    /// How many times what a thread keeps the stash may hold.
    const THREADS: usize = 16;

    pub(crate) const fn new() -> Self {
        Self(std::sync::Mutex::new(SegmentCache::new()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SegmentCache<T>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Moves half of what a thread may keep from its full cache to here, if there is room.
    fn put(&self, cache: &mut SegmentCache<T>, size: Size) {
        let (kept, limit) = cache.of(size);
        let mut stash = self.lock();
        let (stashed, _) = stash.of(size);
        if stashed.len() < limit * Self::THREADS {
            stashed.extend(kept.drain(limit / 2..));
        }
    }

    /// Moves up to half of what a thread may keep from here to its empty cache.
    fn get(&self, cache: &mut SegmentCache<T>, size: Size) {
        let (kept, limit) = cache.of(size);
        let mut stash = self.lock();
        let (stashed, _) = stash.of(size);
        let left = stashed.len().saturating_sub(limit / 2);
        kept.extend(stashed.drain(left..));
    }
}

/// Empty segments that a thread keeps for its next queues.
pub(crate) struct SegmentCache<T> {
    small: Vec<NonNull<Segment<T>>>,
    large: Vec<NonNull<Segment<T>>>,
}

impl<T> SegmentCache<T> {
    /// Small segments kept at most, 320 bytes each for items of 56 bytes.
    const SMALL_KEPT: usize = 64;
    /// Large segments kept at most, 2112 bytes each for items of 56 bytes.
    const LARGE_KEPT: usize = 32;

    pub(crate) const fn new() -> Self {
        Self {
            small: Vec::new(),
            large: Vec::new(),
        }
    }

    fn of(&mut self, size: Size) -> (&mut Vec<NonNull<Segment<T>>>, usize) {
        match size {
            Size::Small => (&mut self.small, Self::SMALL_KEPT),
            Size::Large => (&mut self.large, Self::LARGE_KEPT),
        }
    }
}

// SAFETY: what is in a cache is empty and linked nowhere: plain memory that any thread may use.
unsafe impl<T> Send for SegmentCache<T> {}

impl<T> Drop for SegmentCache<T> {
    fn drop(&mut self) {
        for segment in self.small.drain(..).chain(self.large.drain(..)) {
            // SAFETY: what is in the cache is empty, linked nowhere, and ours alone.
            unsafe { Segment::free(segment) };
        }
    }
}

impl<T> Segment<T> {
    fn layout(size: Size) -> (Layout, usize) {
        let slots = Layout::array::<Slot<T>>(size.slots()).expect("a segment is small");
        Layout::new::<Self>()
            .extend(slots)
            .expect("a segment is small")
    }

    fn allocate(size: Size) -> NonNull<Self> {
        let (layout, slots) = Self::layout(size);
        // SAFETY: the layout is not of size zero, it holds at least the header.
        let memory = unsafe { std::alloc::alloc(layout) };
        let Some(segment) = NonNull::new(memory.cast::<Self>()) else {
            handle_alloc_error(layout)
        };
        // SAFETY: freshly allocated with room and alignment for the header.
        unsafe {
            segment.write(Self {
                base: AtomicU64::new(0),
                previous: AtomicPtr::new(ptr::null_mut()),
                next: AtomicPtr::new(ptr::null_mut()),
                size,
                #[cfg(loom)]
                _missed: crate::sync::Track::new(()),
            });
        }
        for index in 0..size.slots() {
            let offset = slots + index * size_of::<Slot<T>>();
            // SAFETY: the layout holds this many slots behind the header.
            let slot = unsafe { memory.add(offset) }.cast::<Slot<T>>();
            // SAFETY: as above; nobody else knows the memory yet.
            unsafe {
                slot.write(Slot {
                    stamp: AtomicU8::new(EMPTY),
                    item: UnsafeCell::new(MaybeUninit::uninit()),
                });
            }
        }
        segment
    }

    /// Gives the memory back.
    ///
    /// # Safety
    ///
    /// The segment is linked nowhere, all its slots are empty, and nobody uses it any more.
    unsafe fn free(segment: NonNull<Self>) {
        // SAFETY: alive until the deallocation below.
        let size = unsafe { segment.as_ref() }.size;
        let (layout, _) = Self::layout(size);
        #[cfg(loom)]
        // SAFETY: as the caller says.
        unsafe {
            Self::check_unused(segment);
        }
        for index in 0..size.slots() {
            // SAFETY: the index is within the segment's size.
            let slot = unsafe { Self::slot(segment, index) };
            // SAFETY: the caller gives it up.
            unsafe { ptr::drop_in_place(slot.as_ptr()) };
        }
        // SAFETY: nobody uses the header any more, says the caller.
        unsafe { ptr::drop_in_place(segment.as_ptr()) };
        #[cfg(loom)]
        // SAFETY: nothing is left in the memory. Who looks into it nevertheless finds no object
        // of the model checker, which then panics.
        unsafe {
            segment.cast::<u8>().write_bytes(u8::MAX, layout.size());
        }
        // SAFETY: allocated by `allocate` with this very layout.
        unsafe { std::alloc::dealloc(segment.as_ptr().cast(), layout) };
    }

    /// Lets the model checker see that every use of the segment was over before this.
    ///
    /// # Safety
    ///
    /// As for [`free`](Self::free).
    #[cfg(loom)]
    unsafe fn check_unused(segment: NonNull<Self>) {
        // SAFETY: alive, and nobody uses it any more.
        let this = unsafe { &mut *segment.as_ptr() };
        this.base.with_mut(|_| ());
        this.previous.with_mut(|_| ());
        this.next.with_mut(|_| ());
        for index in 0..this.size.slots() {
            // SAFETY: the index is within the segment's size.
            let slot = unsafe { Self::slot(segment, index) };
            // SAFETY: as above.
            let slot = unsafe { &mut *slot.as_ptr() };
            slot.stamp.with_mut(|_| ());
            slot.item.with_mut(|_| ());
        }
    }

    /// The slot with this index.
    ///
    /// # Safety
    ///
    /// `segment` is alive and `index` lies within its size.
    #[inline]
    pub(super) unsafe fn slot(segment: NonNull<Self>, index: usize) -> NonNull<Slot<T>> {
        const { assert!(align_of::<Slot<T>>() <= 64) };
        // The slots follow the header at the next multiple of their alignment, which divides
        // the header's size: that is a multiple of 64.
        // SAFETY: the end of the header lies inside the allocation.
        let slots = unsafe { segment.add(1) }.cast::<Slot<T>>();
        // SAFETY: inside the allocation, says the caller.
        unsafe { slots.add(index) }
    }
}

impl<T: Stored> Segment<T> {
    /// An empty segment for the positions from `base`, linked nowhere.
    #[inline]
    pub(super) fn obtain(size: Size) -> NonNull<Self> {
        let cached = T::with_cache(|cache| {
            if cache.of(size).0.is_empty()
                && let Some(stash) = T::stash()
            {
                stash.get(cache, size);
            }
            cache.of(size).0.pop()
        });
        cached.flatten().unwrap_or_else(|| Self::allocate(size))
    }

    /// Keeps an emptied segment for the thread's next queue, or gives its memory back.
    ///
    /// # Safety
    ///
    /// The segment is linked nowhere, all its slots are empty, and nobody uses it any more.
    #[inline]
    pub(super) unsafe fn recycle(segment: NonNull<Self>) {
        // SAFETY: alive, says the caller.
        let this = unsafe { segment.as_ref() };
        let size = this.size;
        // ORDERING: Relaxed: the segment is ours alone until it is linked again with Release.
        this.next.store(ptr::null_mut(), Relaxed);
        let kept = T::with_cache(|cache| {
            let (kept, limit) = cache.of(size);
            if kept.len() == limit
                && let Some(stash) = T::stash()
            {
                stash.put(cache, size);
            }
            let (kept, limit) = cache.of(size);
            let room = kept.len() < limit;
            if room {
                kept.push(segment);
            }
            room
        });
        if kept != Some(true) {
            // SAFETY: as the caller says.
            unsafe { Self::free(segment) };
        }
    }
}
