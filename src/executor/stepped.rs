//! One thread that runs one turn at a time, when it is told to; a seed picks which.
//!
//! Everything that is ready stands in one list, tasks and parked stacks alike. Each step picks
//! one of them by a generator that is seeded at the start; so the same program with the same
//! seed takes the same steps. Tasks scheduled by other threads come in whatever order those
//! threads run.
#![expect(
    unsafe_code,
    reason = "finds the stepper beside a wait through a thread-local"
)]

use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::Arc;

use super::stacks::{Drive, Hub, LoopEnd, RunningStack, StackLimits, Stacks, current};
use super::{Executor, Task, Turn};
use crate::random::{STEP, mix};
use crate::sync::Mutex;
use crate::time::ManualClock;

/// What other threads know of the executor: where to put tasks.
pub(crate) struct Stepped {
    tasks: Mutex<Vec<Task>>,
}

impl Stepped {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            tasks: Mutex::new(Vec::new()),
        })
    }

    pub(crate) fn schedule(&self, task: Task) {
        self.tasks.lock().push(task);
    }
}

thread_local! {
    /// The executor that is stepped on this thread.
    static BESIDE: Cell<*const StepLoop> = const { Cell::new(ptr::null()) };
}

/// The stepper of this executor, if it is stepped and on this thread.
pub(super) fn beside(executor: &Executor) -> Option<&'static StepLoop> {
    let Executor::Stepped(stepped) = executor else {
        return None;
    };
    here().filter(|steps| Arc::ptr_eq(&steps.shared, stepped))
}

/// The executor that is stepped on this thread.
fn here() -> Option<&'static StepLoop> {
    let beside = BESIDE.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: set by `StepLoop::new` on this thread and cleared when that value is dropped,
    // which is boxed and not `Send`. The reference is used for one wait below its owner.
    unsafe { beside.as_ref() }
}

/// The executor's thread side.
pub(crate) struct StepLoop {
    shared: Arc<Stepped>,
    stacks: Stacks,
    /// The task of the step that begins.
    next: RefCell<Option<Task>>,
    random: Cell<u64>,
    clock: ManualClock,
}

impl StepLoop {
    /// # Errors
    ///
    /// If the operating system refuses the first stack.
    ///
    /// # Panics
    ///
    /// If this thread steps another executor already.
    pub(crate) fn new(
        shared: Arc<Stepped>,
        limits: Arc<StackLimits>,
        seed: u64,
        clock: ManualClock,
    ) -> std::io::Result<Box<Self>> {
        assert!(here().is_none(), "a thread steps one executor at a time");
        let this = Box::new(Self {
            shared,
            stacks: Stacks::new(Arc::new(Hub::new()), limits),
            next: RefCell::new(None),
            random: Cell::new(seed),
            clock,
        });
        let driver: *const dyn Drive = &raw const *this as *const dyn Drive;
        // SAFETY: the value is boxed, and its stacks are its own field.
        unsafe { this.stacks.set_driver(driver) };
        this.stacks.prepare()?;
        BESIDE.set(&raw const *this);
        Ok(this)
    }

    /// A number below `limit`.
    fn pick(&self, limit: usize) -> usize {
        let state = self.random.get().wrapping_add(STEP);
        self.random.set(state);
        (mix(state) % limit as u64) as usize
    }

    /// Runs one turn, or one ready stack up to its next wait or end; `false` if nothing is
    /// ready.
    ///
    /// # Panics
    ///
    /// If it is called in a handler, or if no stack can be had.
    pub(crate) fn step(&self) -> bool {
        assert!(
            current().is_none(),
            "a handler does not step its own executor"
        );
        let stacks = self.stacks.ready_len();
        let mut tasks = self.shared.tasks.lock();
        let ready = stacks + tasks.len();
        if ready == 0 {
            return false;
        }
        let picked = self.pick(ready);
        if picked < stacks {
            drop(tasks);
            self.stacks.resume_nth(picked);
        } else {
            // Order is kept but for the picked one, so that the seed alone decides.
            let task = tasks.remove(picked - stacks);
            drop(tasks);
            self.stacks.prepare().expect("a step needs a stack");
            *self.next.borrow_mut() = Some(task);
            self.stacks.begin();
        }
        true
    }

    /// Takes a step; if nothing is ready, lets time pass until the next timer. `false` if there
    /// is none either: nothing will ever happen by itself.
    pub(crate) fn step_or_pass_time(&self) -> bool {
        self.step()
            || self.clock.next_due().is_some_and(|due| {
                self.clock.move_to(due);
                true
            })
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

impl Drive for StepLoop {
    fn drive(&self, stack: &RunningStack) -> LoopEnd {
        let task = self.next.borrow_mut().take();
        let task = task.expect("a step begins with a task");
        if let Some(again) = task.run(&Turn::on(Some(stack))) {
            self.shared.schedule(again);
        }
        LoopEnd::Over
    }
}

impl Drop for StepLoop {
    fn drop(&mut self) {
        BESIDE.set(ptr::null());
    }
}
