//! Running a protocol under the model checker, with and without a planted mistake.
//!
//! A model explores every interleaving of its threads with at most so many preemptions, and
//! every value that the orderings allow each load to see. There is no limit of time or of the
//! number of executions: a model that returns has been explored to its end, and one that goes
//! beyond loom's limit of branches panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use super::fault::{self, Fault};

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
    let words = words(&*payload);
    eprintln!("{fault:?} found in execution {executions}: {words}");
    assert!(
        words.contains(symptom),
        "the model fails with {words:?} instead of {symptom:?}"
    );
}

fn builder(preemptions: usize) -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_permutations = None;
    builder.max_duration = None;
    builder.max_threads = 4;
    builder
}

fn words(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a panic without words)"
    }
}
