//! Panics of the user's code, where they must not get through.

use std::any::{Any, type_name};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Runs code of the user's on behalf of nobody in particular; a panic is reported and ends here.
pub(crate) fn run_quietly<R>(what: &'static str, run: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => Some(result),
        Err(payload) => {
            tracing::error!(
                target: "greenroom",
                panic = panic_message(&*payload),
                "{what} panicked"
            );
            forget_quietly(payload);
            None
        }
    }
}

/// Calls a waker, which may be of an executor that panics.
pub(crate) fn wake_quietly(waker: Waker) {
    run_quietly("a waker", || waker.wake());
}

/// Drops a value of the user's; a panic of its `Drop` is reported and ends here.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        tracing::error!(
            target: "greenroom",
            value = type_name::<T>(),
            panic = panic_message(&*payload),
            "a Drop panicked"
        );
        forget_quietly(payload);
    }
}

/// Drops a panic's payload. If its `Drop` panics, that payload is dropped, and so on; the
/// eighth is leaked.
pub(crate) fn forget_quietly(mut payload: Box<dyn Any + Send>) {
    for _ in 1..8 {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    mem::forget(payload);
}

/// The words of a panic.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a panic without words)"
    }
}
