//! Closures that block, run for a handler: on a thread for that while the handler's stack is
//! parked, or right here where there is a thread to be blocked.
//!
//! In the closure there is no actor: the executor's context is empty, so it waits as a plain
//! thread does, and no kill ends its waits.

use std::panic::resume_unwind;
use std::ptr;

use tracing::Span;

use super::core::Core;
use super::wait::{FromOutside, shown_to_the_end};
use crate::error::WaitError;
use crate::executor::blocking::Completion;
use crate::executor::park::{refuse_while_unwinding, set_context};
use crate::executor::{Executor, block, stacks};
use crate::runtime::Runtime;
use crate::waits::Awaited;

const GOAL: FromOutside = FromOutside(Awaited::Blocking);

/// Runs `work` for the handler of the actor with this core.
pub(super) fn run_blocking<R: Send>(
    core: &Core,
    work: impl FnOnce() -> R + Send,
) -> Result<R, WaitError> {
    if core.is_killed() {
        return Err(WaitError::Interrupted);
    }
    refuse_while_unwinding()?;
    let runtime = &core.runtime;
    // A stack that is stepped could be parked too, but the order would come from threads.
    let stack = stacks::current().filter(|_| !runtime.executor.is_stepped());
    let Some(stack) = stack else {
        return Ok(run_here(runtime, work));
    };
    // All that can be refused is refused here, while we have the closure.
    stack.provide_spare()?;
    let ticket = runtime.blocking.admit()?;
    let span = Span::current();
    let outcome = shown_to_the_end(runtime, &GOAL, || {
        ticket.run(
            move || span.in_scope(work),
            |completion| park(&runtime.executor, completion),
        )
    });
    match outcome {
        Some(Ok(result)) => Ok(result),
        Some(Err(payload)) => resume_unwind(payload),
        None => Err(WaitError::NoThread),
    }
}

fn run_here<R>(runtime: &Runtime, work: impl FnOnce() -> R) -> R {
    let span = Span::current();
    shown_to_the_end(runtime, &GOAL, || {
        let _nowhere = Nowhere::new();
        span.in_scope(work)
    })
}

/// Waits until it is complete, whoever is killed. May return before, if the wait fails.
fn park(executor: &Executor, completion: &Completion) {
    if let Err(error) = block(executor, |waker| completion.poll(waker)) {
        tracing::error!(target: "greenroom", %error, "a worker is blocked for want of a stack");
    }
}

/// While this lives, no actor is found here.
struct Nowhere {
    context: *const (),
}

impl Nowhere {
    fn new() -> Self {
        Self {
            context: set_context(ptr::null()),
        }
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        set_context(self.context);
    }
}
