//! For tests: a clock moved by hand, and a system that runs one turn at a time.
//!
//! A stepped system has no threads. Its actors run when [`Stepper::step`] is called, one turn
//! at a time; a seed decides which of those that could run does. The same program with the same
//! seed takes the same steps, in virtual time, so its tests neither sleep nor flicker.
//!
//! What it does not cover: threads of your own that send to the actors come in whatever order
//! they run; and turns of different actors never overlap, so data races of unsafe code stay
//! unseen.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

pub use crate::time::ManualClock;

use crate::error::BuildError;
use crate::executor::Executor;
use crate::executor::blocking::Threads;
use crate::executor::stacks::StackLimits;
use crate::executor::stepped::{StepLoop, Stepped};
use crate::runtime::{Limits, Runtime};
use crate::system::System;
use crate::time::{Clock, Timers, later};

/// Steps a system by hand, on the thread that made it.
///
/// A wait on that thread, for a reply say, takes steps by itself until it is over; when nothing
/// is ready, it lets time pass until the next timer. It panics if there is none either: then it
/// would never end. Waits for other systems block the thread as usual.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Context, Handler, testkit::Stepper};
/// use std::time::Duration;
///
/// struct Sleeper;
/// impl Actor for Sleeper {}
/// struct Nap;
/// impl Handler<Nap> for Sleeper {
///     type Reply = Duration;
///     fn handle(&mut self, _: Nap, ctx: &mut Context<Self>) -> Duration {
///         let before = ctx.now();
///         let _ = ctx.sleep(Duration::from_secs(3600));
///         ctx.now() - before
///     }
/// }
///
/// let stepper = Stepper::new(7);
/// let sleeper = stepper.system().spawn(Sleeper);
/// assert_eq!(sleeper.ask(Nap).wait()?, Duration::from_secs(3600));
/// # Ok::<(), greenroom::AskError>(())
/// ```
pub struct Stepper {
    steps: Box<StepLoop>,
    system: System,
    seed: u64,
    /// The stacks and the thread-local that leads to them belong to this thread.
    not_send: PhantomData<*const ()>,
}

impl Stepper {
    /// A stepped system whose order is decided by `seed`.
    ///
    /// # Panics
    ///
    /// If this thread steps another system already, or if the operating system refuses the
    /// memory of a stack.
    pub fn new(seed: u64) -> Self {
        Self::with_stacks(seed, 1 << 20, 16_384)
            .unwrap_or_else(|error| panic!("a stepped system could not be started: {error}"))
    }

    /// As [`new`](Self::new), with stacks of this size and this number at most.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the memory of the first stack.
    ///
    /// # Panics
    ///
    /// If this thread steps another system already.
    pub fn with_stacks(
        seed: u64,
        stack_size: usize,
        max_stacks: usize,
    ) -> Result<Self, BuildError> {
        let clock = ManualClock::new();
        let limits = Arc::new(StackLimits::new(stack_size, max_stacks));
        let stepped = Stepped::new();
        let steps = StepLoop::new(stepped.clone(), limits, seed, clock.clone())
            .map_err(BuildError::Stack)?;
        let clock = Clock::Manual(clock);
        let timers = Timers::start(&clock, 1).map_err(BuildError::Thread)?;
        // Closures that block run in their steps.
        let blocking = Threads::new("stepped", 0);
        let runtime = Runtime::new(
            Executor::Stepped(stepped),
            blocking,
            clock,
            timers,
            1,
            Limits::NONE,
            seed,
        );
        Ok(Self {
            steps,
            system: System::from_runtime(runtime),
            seed,
            not_send: PhantomData,
        })
    }

    /// The stepped system.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The system's clock. It moves by [`advance`](Self::advance) and by waits.
    pub fn clock(&self) -> &ManualClock {
        self.steps.clock()
    }

    /// The seed, to be printed when a test fails.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Runs one turn of an actor that is ready, or resumes one handler whose wait is over;
    /// returns `false` if there is none.
    ///
    /// # Panics
    ///
    /// If it is called in a handler.
    pub fn step(&self) -> bool {
        self.steps.step()
    }

    /// Takes steps until nothing is ready; returns how many.
    ///
    /// # Panics
    ///
    /// If it is called in a handler.
    pub fn run(&self) -> u64 {
        let mut steps = 0;
        while self.step() {
            steps += 1;
        }
        steps
    }

    /// Lets time pass: moves the clock on by `span`, stopping at each timer that is due and
    /// running what is ready before it goes on.
    ///
    /// # Panics
    ///
    /// If it is called in a handler.
    pub fn advance(&self, span: Duration) {
        let clock = self.clock();
        let end = later(clock.now(), span);
        self.run();
        while let Some(due) = clock.next_due().filter(|due| *due <= end) {
            clock.move_to(due);
            self.run();
        }
        clock.move_to(end);
        self.run();
    }
}

/// Kills the actors that are left and runs them to their ends, unless the thread is panicking:
/// then their parked handlers are leaked.
impl Drop for Stepper {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.system.kill_all();
            self.run();
        }
    }
}

impl fmt::Debug for Stepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stepper")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
