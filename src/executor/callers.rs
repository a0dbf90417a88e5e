//! Stacks on which threads outside run the actors that they wait for.
//!
//! A handler must not depend on whose thread runs it, so it gets a stack of the size that the
//! system gives to all, whatever the thread has. A thread keeps the stacks that it has used for
//! one system until it ends or turns to another one; they count among the system's.
#![expect(
    unsafe_code,
    reason = "gives back memory of stacks on which nothing runs"
)]

use std::cell::RefCell;
use std::sync::Arc;

use corosensei::on_stack;

use super::memory::{self, Depths, StackMemory};
use super::stacks::StackLimits;

/// How many actors a thread runs on top of each other, each waited for by the one below. What they
/// wait for beyond that is run by the pool.
const MOST: usize = 16;
/// Every how many runs of a thread the memory is given back that deep handlers have left behind.
const RUNS_PER_TRIM: u32 = 1024;

/// The stacks of one thread for one system.
struct Own {
    limits: Arc<StackLimits>,
    free: Vec<StackMemory>,
    in_use: usize,
    runs: u32,
}

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
}

impl Own {
    fn new(limits: &Arc<StackLimits>) -> Self {
        Self {
            limits: limits.clone(),
            free: Vec::new(),
            in_use: 0,
            runs: 0,
        }
    }

    fn take(&mut self) -> Option<StackMemory> {
        let stack = self.free.pop().or_else(|| self.make())?;
        self.in_use += 1;
        Some(stack)
    }

    #[cold]
    fn make(&self) -> Option<StackMemory> {
        if self.in_use == MOST || !self.limits.admit() {
            return None;
        }
        let made = memory::obtain(self.limits.stack_bytes);
        made.inspect_err(|_| self.limits.dismiss()).ok()
    }

    fn bring_back(&mut self, stack: StackMemory) {
        self.in_use -= 1;
        self.free.push(stack);
        self.runs = self.runs.wrapping_add(1);
        if self.runs.is_multiple_of(RUNS_PER_TRIM) {
            for stack in &self.free {
                // SAFETY: nothing runs on a free stack, nor has anything been left on it.
                unsafe { Depths::of(stack).give_back() };
            }
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.free.iter().for_each(|_| self.limits.dismiss());
    }
}

/// A stack of this thread's own, to run one actor on.
pub(crate) struct OwnStack {
    /// Taken out when it is dropped.
    memory: Option<StackMemory>,
}

impl OwnStack {
    /// A stack of the size that these limits say; `None` if it cannot be had.
    pub(crate) fn obtain(limits: &Arc<StackLimits>) -> Option<Self> {
        let taken = OWN.try_with(|own| {
            let mut own = own.borrow_mut();
            match &mut *own {
                Some(own) if Arc::ptr_eq(&own.limits, limits) => own.take(),
                // Below runs an actor of another system.
                Some(own) if own.in_use > 0 => None,
                _ => own.insert(Own::new(limits)).take(),
            }
        });
        let memory = taken.ok()??;
        Some(Self {
            memory: Some(memory),
        })
    }

    /// Runs `f` on the stack.
    pub(crate) fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        on_stack(self.memory.as_mut().expect("it is there until the end"), f)
    }
}

impl Drop for OwnStack {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else {
            return;
        };
        OWN.with_borrow_mut(|own| {
            let own = own.as_mut().expect("nobody replaces stacks in use");
            own.bring_back(memory);
        });
    }
}
