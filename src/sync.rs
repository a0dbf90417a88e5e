//! The primitives of this crate's own protocols: from std, or from loom where a model runs.
//!
//! Nothing else names `std::sync::atomic`, so that one switch puts every protocol under the
//! model checker. Plain reference counting (`Arc`) stays std's: no protocol here depends on
//! how it counts.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

mod fault;
#[cfg(all(test, loom))]
pub(crate) mod model;

pub(crate) use fault::{Fault, planted, unless};

/// Parking of plain threads. In models nothing takes time: a wait with a limit only yields.
#[cfg(loom)]
pub(crate) mod thread {
    pub(crate) use loom::thread::{Thread, current, park};

    pub(crate) fn park_timeout(_: std::time::Duration) {
        loom::thread::yield_now();
    }
}
#[cfg(not(loom))]
pub(crate) mod thread {
    pub(crate) use std::thread::{Thread, current, park, park_timeout};
}

/// Something that a model misses if it is not dropped.
#[cfg(loom)]
pub(crate) use loom::alloc::Track;

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// A cell with loom's interface and none of its cost.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// A mutex that ignores poisoning: what it guards here is never left half-changed by code
/// that can panic.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(loom))]
use std::sync as imp;

pub(crate) use imp::MutexGuard;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn into_inner(self) -> T {
        self.0
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Stands between a SeqCst access of one variable and a SeqCst load of another, on which threads
/// must agree. Such accesses need no fence; but the model checker takes them for weaker ones
/// than they are, and gets one.
#[inline(always)]
pub(crate) fn between_sequential() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// Waits a moment for another thread that is known to be between two instructions.
///
/// The first rounds only spin; later ones give up the processor, since on a busy machine the
/// other thread may have been preempted.
#[inline]
pub(crate) fn relax(round: &mut u32) {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    if *round < 64 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
    *round = round.saturating_add(1);
}
