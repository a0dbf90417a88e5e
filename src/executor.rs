//! Runs things when told that they are ready, and parks and resumes the stacks they run on.
//!
//! Knows no actors: it runs [`Runnable`]s. There are three places to run: the work-stealing
//! [`pool`], a [`thread`] of its own, and the executor [`stepped`] by hand. Closures that block
//! run on threads of their own kind, see [`blocking`].
//!
//! # The rules of the loop
//!
//! 1. A worker's loop and the handlers that it runs share one stack. A handler that never waits
//!    costs no switch.
//! 2. A handler that waits leaves that stack parked, loop and all; the worker takes another
//!    stack from its pool and begins a new loop there.
//! 3. A parked stack is resumed by its own worker only, and only between two messages of the
//!    loop that resumes it, on top of which it then runs.
//! 4. A stack that was parked never goes on with its old loop: when its handler has ended, it
//!    lets go of its actor and goes back to the pool.
//! 5. A stack is never dropped or unwound while it is parked.
//!
//! So at any time a worker has one loop, at most one resumed stack on top of it, and any number
//! of parked stacks; nobody runs on the stack of somebody who waits.

pub(crate) mod blocking;
mod callers;
mod memory;
mod offers;
pub(crate) mod park;
pub(crate) mod pool;
pub(crate) mod post;
mod ready;
mod sleep;
pub(crate) mod stacks;
pub(crate) mod stepped;
pub(crate) mod thread;

use std::sync::Arc;

pub(crate) use callers::OwnStack;
pub(crate) use park::block;
pub(crate) use pool::take_back;
use stacks::RunningStack;

/// Something that can be run for a turn.
pub(crate) trait Runnable: Send + Sync {
    /// Runs for one turn, and returns itself if it wants another one.
    fn run(self: Arc<Self>, turn: &Turn<'_>) -> Option<Task>;
}

/// An entry of a run queue.
pub(crate) type Task = Arc<dyn Runnable>;

/// What a turn may ask of the place where it runs.
pub(crate) struct Turn<'a> {
    /// The stack, if it can be parked.
    stack: Option<&'a RunningStack>,
}

impl<'a> Turn<'a> {
    pub(crate) fn on(stack: Option<&'a RunningStack>) -> Self {
        Self { stack }
    }

    /// Whether the stack was parked during this turn, which then ends with the message in hand.
    #[inline]
    pub(crate) fn was_parked(&self) -> bool {
        self.stack.is_some_and(RunningStack::was_parked)
    }

    /// Whether a parked stack of this worker is ready to go on.
    #[inline]
    pub(crate) fn others_are_ready(&self) -> bool {
        self.stack.is_some_and(RunningStack::others_are_ready)
    }
}

/// Whether a wait here would block the thread, and nothing forbids to run something meanwhile.
pub(crate) fn may_run_here() -> bool {
    stacks::current().is_none() && !std::thread::panicking() && park::has_parker()
}

/// A name that the operating system takes: without the zero bytes that would end it.
fn thread_name(name: &str) -> String {
    name.replace('\0', "")
}

/// Where a system's actors run unless they have threads of their own.
pub(crate) enum Executor {
    Pool(pool::Pool),
    Stepped(Arc<stepped::Stepped>),
}

impl Executor {
    #[inline]
    pub(crate) fn schedule(&self, task: Task) {
        match self {
            Self::Pool(pool) => pool.schedule(task),
            Self::Stepped(stepped) => stepped.schedule(task),
        }
    }

    /// Leaves a task to this thread, which says whether it takes it; see [`offers`].
    #[inline]
    pub(crate) fn offer(&self, task: Task) -> bool {
        match self {
            Self::Pool(pool) => pool.offer(task),
            Self::Stepped(stepped) => {
                stepped.schedule(task);
                false
            }
        }
    }

    /// Whether no worker looks for something to do.
    pub(crate) fn is_asleep(&self) -> bool {
        match self {
            Self::Pool(pool) => pool.is_asleep(),
            Self::Stepped(_) => true,
        }
    }

    /// Whose handlers wait on parked stacks of workers.
    pub(crate) fn waiters(&self) -> Vec<stacks::Waiter> {
        match self {
            Self::Pool(pool) => pool.waiters(),
            Self::Stepped(_) => Vec::new(),
        }
    }

    pub(crate) fn is_stepped(&self) -> bool {
        matches!(self, Self::Stepped(_))
    }

    /// A stack on which this thread may run an actor; `None` if only the executor may run it, or if
    /// no stack can be had.
    pub(crate) fn own_stack(&self) -> Option<OwnStack> {
        match self {
            Self::Pool(pool) => OwnStack::obtain(pool.limits()),
            Self::Stepped(_) => None,
        }
    }

    /// Lets the threads end once nothing is left to run.
    pub(crate) fn end(&self) {
        match self {
            Self::Pool(pool) => pool.end(),
            Self::Stepped(_) => {}
        }
    }
}
