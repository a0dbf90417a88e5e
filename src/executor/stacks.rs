//! Stacks that can be parked: each a coroutine that runs its worker's loop.
//!
//! Everything here belongs to one worker's thread: a [`Stack`] holds a coroutine, which is not
//! `Send`, so the types keep it there. Only [`StackControl`], by which a stack is made ready,
//! is known to other threads.
//!
//! The rules that this module keeps are those of the [executor](super).
#![expect(
    unsafe_code,
    reason = "reaches the running stack through a pointer in a thread-local"
)]

mod free;
mod limits;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::ptr;
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use corosensei::{Coroutine, CoroutineResult, Yielder};

pub(crate) use self::limits::StackLimits;

use self::free::FreeList;
use super::memory::{self, Depths, StackMemory};
use super::park::{Token, context, set_context};
use super::post;
use super::ready::{Linked, ReadyList};
use super::sleep::Bell;
use crate::error::WaitError;
use crate::sync::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Mutex, Ordering::Relaxed,
};

/// Where a worker's parked stacks are made ready, and how it is called.
pub(crate) struct Hub {
    ready: ReadyList<StackControl>,
    pub(crate) bell: Bell,
    /// How many stacks are parked; written by the worker.
    parked: AtomicUsize,
    /// All stacks of the worker, for those who look from outside.
    known: Mutex<Vec<Weak<StackControl>>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            ready: ReadyList::new(),
            bell: Bell::new(),
            parked: AtomicUsize::new(0),
            known: Mutex::default(),
        }
    }

    fn know(&self, control: &Arc<StackControl>) {
        let mut known = self.known.lock();
        // Those that are gone are forgotten each time their number may have doubled.
        if known.len().is_power_of_two() {
            known.retain(|control| control.strong_count() > 0);
        }
        known.push(Arc::downgrade(control));
    }

    /// Whose handlers wait on stacks of this worker.
    pub(crate) fn waiters(&self) -> Vec<Waiter> {
        let known = self.known.lock();
        let controls = known.iter().filter_map(Weak::upgrade);
        let waiters = controls.filter_map(|control| control.waiter.read());
        waiters.collect()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn parked_stacks(&self) -> usize {
        // ORDERING: Relaxed: a figure for snapshots.
        self.parked.load(Relaxed)
    }
}

/// Whose handler waits on a stack. The numbers mean something to whoever reads them only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) id: u64,
    pub(crate) residence: u32,
}

/// A [`Waiter`] that the worker writes and others read.
struct Note {
    /// 0 if nobody waits.
    id: AtomicU64,
    residence: AtomicU32,
}

impl Note {
    fn new() -> Self {
        Self {
            id: AtomicU64::new(0),
            residence: AtomicU32::new(0),
        }
    }

    // ORDERING: Relaxed throughout: who reads a mixture of two waiters finds nobody, or somebody
    // else, whom he asks whether he waits.

    #[inline]
    fn write(&self, waiter: Option<Waiter>) {
        self.id.store(waiter.map_or(0, |waiter| waiter.id), Relaxed);
        if let Some(waiter) = waiter {
            self.residence.store(waiter.residence, Relaxed);
        }
    }

    fn read(&self) -> Option<Waiter> {
        let id = self.id.load(Relaxed);
        (id != 0).then(|| Waiter {
            id,
            residence: self.residence.load(Relaxed),
        })
    }
}

/// What other threads know of a stack.
pub(crate) struct StackControl {
    token: Token,
    hub: Arc<Hub>,
    link: AtomicPtr<StackControl>,
    /// The stack itself while it is parked, from `Box::into_raw`. Used by the worker only.
    stack: AtomicPtr<Stack>,
    /// Whether the stack has been parked since its loop began. Used by the worker only.
    was_parked: AtomicBool,
    /// Whose handler waits on the stack, for those who look from outside.
    waiter: Note,
}

impl StackControl {
    #[inline]
    fn was_parked(&self) -> bool {
        // ORDERING: Relaxed: used by the worker only.
        self.was_parked.load(Relaxed)
    }
}

impl Linked for StackControl {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

impl StackControl {
    /// Puts a stack that was called while it was parked where its worker finds it.
    fn make_ready(self: Arc<Self>) {
        match current() {
            // We run on its worker, which is awake.
            Some(running) if Arc::ptr_eq(&running.control.hub, &self.hub) => {
                // SAFETY: a worker's stacks are owned by the value that this points to.
                let stacks = unsafe { &*running.stacks };
                stacks.ready.borrow_mut().push_back(self);
            }
            _ => {
                let hub = self.hub.clone();
                hub.ready.push(self);
                hub.bell.ring();
            }
        }
    }
}

impl Wake for StackControl {
    fn wake(self: Arc<Self>) {
        if self.token.notify() {
            self.make_ready();
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.token.notify() {
            self.clone().make_ready();
        }
    }
}

/// What a stack is told when it is switched to.
enum Command {
    /// Begin a loop.
    Drive,
    /// Go on after the wait.
    Resume,
    /// End.
    Quit,
}

/// Why a stack switched back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Switch {
    /// Its handler waits.
    Parked,
    /// It has nothing to do; its loop is over.
    Free,
    /// It has nothing to do and nor has the worker, which is about to sleep.
    Idle,
    /// Its loop ended because the worker is to end.
    Ended,
}

/// How a loop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LoopEnd {
    /// The stack was parked meanwhile, or the loop was for one turn only.
    Over,
    /// The worker is about to sleep, and stacks were used since memory was last given back.
    Idle,
    /// The worker is to end.
    WorkerEnds,
}

/// A worker's loop, as its stacks run it.
pub(crate) trait Drive {
    fn drive(&self, stack: &RunningStack) -> LoopEnd;
}

type Handler = Coroutine<Command, Switch, (), StackMemory>;

/// Boxed wherever it is kept: moving it costs more than a switch.
struct Stack {
    coroutine: Handler,
    control: Arc<StackControl>,
    /// The part of its memory that is not used while it is free.
    depths: Depths,
    /// How often it has come to the free ones.
    returns: u32,
}

/// More than lies below the frame of a coroutine's closure while that is suspended between two
/// loops: the frames that switch away.
const SWITCH_BYTES: usize = 4 << 10;

thread_local! {
    /// The pooled stack that runs on this thread now.
    static RUNNING: Cell<*const RunningStack> = const { Cell::new(ptr::null()) };
}

/// The running stack as seen from inside; lies at its bottom.
pub(crate) struct RunningStack {
    yielder: *const Yielder<Command, Switch>,
    stacks: *const Stacks,
    control: Arc<StackControl>,
    waker: Waker,
}

/// The pooled stack that we run on, if any.
#[inline]
pub(crate) fn current() -> Option<&'static RunningStack> {
    let running = RUNNING.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: the pointer is set while the stack at whose bottom the value lies is running, by
    // that stack, and we run on it; the value outlives every frame above it. The reference
    // must not be kept beyond those, and no caller does.
    unsafe { running.as_ref() }
}

impl RunningStack {
    /// Whether the stack has been parked since its loop began.
    #[inline]
    pub(crate) fn was_parked(&self) -> bool {
        self.control.was_parked()
    }

    /// Whether another stack of this worker is ready to go on.
    #[inline]
    pub(crate) fn others_are_ready(&self) -> bool {
        // SAFETY: a worker's stacks are owned by the value that this points to.
        unsafe { &*self.stacks }.has_ready()
    }

    /// Notes who waits on this stack, for those who look from outside.
    #[inline]
    pub(crate) fn note_waiter(&self, waiter: Option<Waiter>) {
        self.control.waiter.write(waiter);
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Makes sure that the next [`park`](Self::park) is not refused.
    pub(crate) fn provide_spare(&self) -> Result<(), WaitError> {
        if self.control.was_parked() {
            return Ok(());
        }
        // The loop is ours, so somebody must begin a new one.
        // SAFETY: a worker's stacks are owned by the value that this points to.
        unsafe { &*self.stacks }.provide_spare()
    }

    /// Leaves this stack until its waker is called; the worker goes on with another one.
    ///
    /// May return without a call. Returns at once if the waker was called since the last wait.
    pub(crate) fn park(&self) -> Result<(), WaitError> {
        self.provide_spare()?;
        if !self.control.token.prepare() {
            return Ok(());
        }
        // ORDERING: Relaxed: used by the worker only.
        self.control.was_parked.store(true, Relaxed);
        let context = context();
        let at = post::at();
        // SAFETY: the yielder lives as long as its coroutine's closure, whose frame is below.
        let yielder = unsafe { &*self.yielder };
        let Command::Resume = yielder.suspend(Switch::Parked) else {
            unreachable!("a parked stack is only resumed")
        };
        RUNNING.set(self);
        set_context(context);
        post::resume(at);
        self.control.token.resumed();
        Ok(())
    }
}

/// The stacks of one worker.
pub(crate) struct Stacks {
    hub: Arc<Hub>,
    limits: Arc<StackLimits>,
    /// The worker's loop. Set once, before the first stack.
    driver: Cell<Option<*const dyn Drive>>,
    free: RefCell<FreeList>,
    /// How many stacks are parked. Each is held by its control meanwhile.
    parked: Cell<usize>,
    /// Stacks made ready, the oldest first.
    ready: RefCell<VecDeque<Arc<StackControl>>>,
}

impl Stacks {
    /// Free stacks that a worker keeps while it is busy: mapping a stack and its first page costs
    /// microseconds.
    const KEPT: usize = 512;
    /// Those of them that it keeps when it sleeps.
    const KEPT_ASLEEP: usize = 64;

    pub(crate) fn new(hub: Arc<Hub>, limits: Arc<StackLimits>) -> Self {
        Self {
            hub,
            limits,
            driver: Cell::new(None),
            free: RefCell::default(),
            parked: Cell::new(0),
            ready: RefCell::new(VecDeque::new()),
        }
    }

    /// Says which loop the stacks run.
    ///
    /// # Safety
    ///
    /// `driver` outlives this value's last use and is not moved, nor is this value.
    pub(crate) unsafe fn set_driver(&self, driver: *const dyn Drive) {
        self.driver.set(Some(driver));
    }

    /// Makes sure that a free stack is there.
    ///
    /// # Errors
    ///
    /// If the limit is reached or the operating system refuses the memory.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        if !self.free.borrow().is_empty() {
            return Ok(());
        }
        if !self.limits.admit() {
            return Err(io::Error::other("the limit of stacks is reached"));
        }
        let stack = self.create().inspect_err(|_| self.limits.dismiss())?;
        self.free.borrow_mut().push(stack);
        Ok(())
    }

    fn provide_spare(&self) -> Result<(), WaitError> {
        self.prepare().map_err(|error| {
            let error: &(dyn Error + 'static) = &error;
            tracing::warn!(target: "greenroom", error, "a handler could not wait");
            WaitError::NoStack
        })
    }

    fn create(&self) -> io::Result<Box<Stack>> {
        let memory = memory::obtain(self.limits.stack_bytes)?;
        let depths = Depths::of(&memory);
        let control = Arc::new(StackControl {
            token: Token::new(),
            hub: self.hub.clone(),
            link: AtomicPtr::new(ptr::null_mut()),
            stack: AtomicPtr::new(ptr::null_mut()),
            was_parked: AtomicBool::new(false),
            waiter: Note::new(),
        });
        self.hub.know(&control);
        let driver = self
            .driver
            .get()
            .expect("the driver is set before the first stack");
        let stacks: *const Self = self;
        let known = control.clone();
        let coroutine = Handler::with_stack(memory, move |yielder, command| {
            let running = RunningStack {
                yielder,
                stacks,
                waker: Waker::from(known.clone()),
                control: known,
            };
            let frames_end = (&raw const running).addr() - SWITCH_BYTES;
            assert!(
                !depths.contain(frames_end),
                "a free stack's frames lie in the part that is kept"
            );
            let mut command = command;
            while matches!(command, Command::Drive) {
                RUNNING.set(&running);
                set_context(ptr::null());
                // ORDERING: Relaxed: used by the worker only.
                running.control.was_parked.store(false, Relaxed);
                // SAFETY: the driver outlives the stacks, by the contract of `set_driver`.
                let end = unsafe { &*driver }.drive(&running);
                command = yielder.suspend(match end {
                    LoopEnd::Over => Switch::Free,
                    LoopEnd::Idle => Switch::Idle,
                    LoopEnd::WorkerEnds => Switch::Ended,
                });
            }
        });
        Ok(Box::new(Stack {
            coroutine,
            control,
            depths,
            returns: 0,
        }))
    }

    /// Begins a loop on a free stack, and returns when that stack switches back.
    ///
    /// # Panics
    ///
    /// If no stack is free: the caller has prepared one, or a parking stack has.
    pub(crate) fn begin(&self) -> Switch {
        let stack = self.free.borrow_mut().pop();
        self.switch_to(stack.expect("a free stack was prepared"), Command::Drive)
    }

    /// Resumes the stack that has been ready for longest; `false` if none is.
    pub(crate) fn resume_ready(&self) -> bool {
        let Some(control) = self.next_ready() else {
            return false;
        };
        self.resume(&control);
        true
    }

    fn next_ready(&self) -> Option<Arc<StackControl>> {
        let mut ready = self.ready.borrow_mut();
        if self.hub.has_ready() {
            self.hub.ready.take_all(&mut ready);
        }
        ready.pop_front()
    }

    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        self.hub.has_ready() || !self.ready.borrow().is_empty()
    }

    /// The number of ready stacks.
    pub(crate) fn ready_len(&self) -> usize {
        let mut ready = self.ready.borrow_mut();
        self.hub.ready.take_all(&mut ready);
        ready.len()
    }

    /// Resumes the ready stack with this index, counted from the oldest.
    pub(crate) fn resume_nth(&self, index: usize) {
        let control = self.ready.borrow_mut().remove(index);
        self.resume(&control.expect("the index counts ready stacks"));
    }

    fn resume(&self, control: &StackControl) {
        // ORDERING: Relaxed: used by the worker only.
        let stack = control.stack.load(Relaxed);
        control.stack.store(ptr::null_mut(), Relaxed);
        assert!(!stack.is_null(), "a ready stack is parked");
        // SAFETY: from `keep_parked`, and taken out once.
        let stack = unsafe { Box::from_raw(stack) };
        self.count_parked(self.parked.get() - 1);
        self.switch_to(stack, Command::Resume);
    }

    pub(crate) fn has_parked(&self) -> bool {
        self.parked.get() > 0
    }

    fn count_parked(&self, parked: usize) {
        self.parked.set(parked);
        // ORDERING: Relaxed: a figure for snapshots.
        self.hub.parked.store(parked, Relaxed);
    }

    fn switch_to(&self, mut stack: Box<Stack>, command: Command) -> Switch {
        let below = RUNNING.get();
        let context = context();
        let at = post::at();
        let result = stack.coroutine.resume(command);
        RUNNING.set(below);
        set_context(context);
        post::resume(at);
        let switch = match result {
            CoroutineResult::Yield(switch) => switch,
            CoroutineResult::Return(()) => unreachable!("a stack returns only when it quits"),
        };
        match switch {
            Switch::Parked => self.keep_parked(stack),
            Switch::Free | Switch::Ended => self.keep_free(stack),
            // The worker needs it for its next loop.
            Switch::Idle => self.free.borrow_mut().push(stack),
        }
        switch
    }

    fn keep_parked(&self, stack: Box<Stack>) {
        let stack = Box::into_raw(stack);
        // SAFETY: it is the stack that was parked just now, and ours.
        let control = &unsafe { &*stack }.control;
        // ORDERING: Relaxed: used by the worker only.
        control.stack.store(stack, Relaxed);
        self.count_parked(self.parked.get() + 1);
    }

    fn keep_free(&self, stack: Box<Stack>) {
        let mut free = self.free.borrow_mut();
        // Near the limit a stack that one worker keeps may be the one that another one needs.
        if free.len() < Self::KEPT && self.limits.has_plenty() {
            free.push(stack);
        } else {
            drop(free);
            self.discard(*stack);
        }
    }

    /// Whether a free stack was used since memory was last given back.
    pub(crate) fn has_untrimmed(&self) -> bool {
        self.free.borrow().has_untrimmed()
    }

    /// Gives back what a worker that sleeps does not need: some free stacks, and the memory that
    /// handlers have left behind on the others.
    pub(crate) fn trim(&self) {
        while self.free.borrow().len() > Self::KEPT_ASLEEP {
            let stack = self.free.borrow_mut().pop();
            self.discard(*stack.expect("there are some"));
        }
        self.free.borrow_mut().trim();
    }

    fn discard(&self, mut stack: Stack) {
        let below = RUNNING.get();
        let result = stack.coroutine.resume(Command::Quit);
        RUNNING.set(below);
        debug_assert!(matches!(result, CoroutineResult::Return(())));
        self.limits.dismiss();
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        for stack in self.free.take().into_stacks() {
            self.discard(*stack);
        }
        // A parked stack holds a handler in the middle; unwinding it would run user code that
        // may swallow the unwinding. What is still parked is leaked, with its actor: nobody takes
        // it out of its control.
    }
}
