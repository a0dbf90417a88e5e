//! Running a protocol under the model checker, with and without a planted mistake.
//!
//! A model explores every interleaving of its threads with at most so many preemptions, and
//! every value that the orderings allow each load to see. There is no limit of time or of the
//! number of executions: a model that returns has been explored to its end, and one that goes
//! beyond loom's limit of branches panics.
#![expect(unsafe_code, reason = "what models need from cells and drops")]

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Wake, Waker};

use super::fault::{self, Fault};
use super::thread::{Thread, current, park};
use super::{AtomicBool, Ordering::AcqRel, Track, UnsafeCell};
use crate::unwind::panic_message;

/// Checks that `model` holds in all executions with up to `preemptions` preemptions.
pub(crate) fn holds(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicUsize::new(0));
    let counted = executions.clone();
    let builder = builder(preemptions);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    let executions = executions.load(Relaxed);
    eprintln!("{executions} executions");
    assert!(executions > 1, "a model with one execution shows nothing");
}

/// Checks that `model` fails with a panic that says `symptom` once the mistake is planted.
pub(crate) fn fails(
    fault: Fault,
    symptom: &str,
    preemptions: usize,
    model: impl Fn() + Send + Sync + 'static,
) {
    let executions = Arc::new(AtomicUsize::new(0));
    let counted = executions.clone();
    let builder = builder(preemptions);
    let outcome = fault::with(fault, || {
        catch_unwind(AssertUnwindSafe(|| {
            builder.check(move || {
                counted.fetch_add(1, Relaxed);
                model();
            });
        }))
    });
    let executions = executions.load(Relaxed);
    let payload = outcome.expect_err("the model overlooks a planted mistake");
    let words = panic_message(&*payload);
    eprintln!("{fault:?} found in execution {executions}: {words}");
    assert!(
        words.contains(symptom),
        "the model fails with {words:?} instead of {symptom:?}"
    );
}

/// Something that is not dropped if the model has failed: in a deadlock the model checker is
/// out of reach, and a drop that needs it would abort.
pub(crate) struct Spared<T>(ManuallyDrop<T>);

impl<T> Spared<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for Spared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Spared<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: it is dropped here only, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

/// A waker for a thread of a model that has nothing else to do, and is missed if it is not
/// dropped.
pub(crate) struct Alarm {
    rung: AtomicBool,
    thread: Thread,
    /// Read when the waker is called.
    used: UnsafeCell<()>,
    _missed: Track<()>,
}

// SAFETY: the model checker looks at each access of the cell.
unsafe impl Sync for Alarm {}

impl Alarm {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let alarm = Arc::new(Self {
            rung: AtomicBool::new(false),
            thread: current(),
            used: UnsafeCell::new(()),
            _missed: Track::new(()),
        });
        (alarm.clone(), Waker::from(alarm))
    }

    /// Parks the thread until the waker is called.
    pub(crate) fn wait(&self) {
        while !self.rung.swap(false, AcqRel) {
            park();
        }
    }

    /// Says that nobody uses the waker any more, which the model checker then sees to.
    pub(crate) fn end(&self) {
        self.used.with_mut(|_| ());
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.swap(true, AcqRel);
        self.thread.unpark();
        // Last, since loom takes what was done before an unpark for known to the thread.
        self.used.with(|_| ());
    }
}

fn builder(preemptions: usize) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.max_threads = 4;
    builder
}
