//! Closures that block, run for a handler: on a thread for that while the handler's stack is
//! parked, or right here where there is a thread to be blocked.
//!
//! In the closure there is no actor: the executor's context is empty, so it waits as a plain
//! thread does, and no kill ends its waits.

use std::panic::resume_unwind;
use std::ptr;

use tracing::Span;

use super::cell::Core;
use super::frame::Frame;
use crate::error::WaitError;
use crate::executor::blocking::Completion;
use crate::executor::park::{refuse_while_unwinding, set_context};
use crate::executor::{Executor, block, stacks};

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
    let stack = stacks::current().filter(|_| matches!(runtime.executor, Executor::Pool(_)));
    let Some(stack) = stack else {
        return Ok(run_here(work));
    };
    // All that can be refused is refused here, while we have the closure.
    stack.provide_spare()?;
    let ticket = runtime.blocking.admit()?;
    let span = Span::current();
    let away = Away::new();
    let outcome = ticket.run(
        move || span.in_scope(work),
        |completion| away.park(&runtime.executor, completion),
    );
    drop(away);
    match outcome {
        Some(Ok(result)) => Ok(result),
        Some(Err(payload)) => resume_unwind(payload),
        None => Err(WaitError::NoThread),
    }
}

fn run_here<R>(work: impl FnOnce() -> R) -> R {
    let span = Span::current();
    let _away = Away::new();
    let _nowhere = Nowhere::new();
    span.in_scope(work)
}

/// While this lives, the handler does not go on: what it owes is paid, its span is left.
struct Away {
    frame: Option<&'static Frame>,
}

impl Away {
    fn new() -> Self {
        let frame = Frame::current();
        if let Some(frame) = frame {
            frame.before_wait();
        }
        Self { frame }
    }

    /// Waits until it is complete, whoever is killed. May return before, if the wait fails.
    fn park(&self, executor: &Executor, completion: &Completion) {
        let slot = self.frame.map(|frame| &frame.core().wait_slot);
        let waited = block(executor, |waker| {
            let polled = completion.poll(waker);
            if polled.is_pending()
                && let Some(slot) = slot
            {
                // A killer who calls it is not heard; but so the actor is seen to wait.
                slot.enter(waker);
            }
            polled
        });
        if let Err(error) = waited {
            tracing::error!(target: "greenroom", %error, "a worker is blocked for want of a stack");
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Some(frame) = self.frame {
            frame.core().wait_slot.leave();
            frame.after_wait();
        }
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
