//! The pool: one worker per core, each with a queue that others may steal from.
//!
//! A task that a worker makes ready goes to that worker's own queue, so actors that talk to each
//! other stay together; a task from outside goes to the injector, which all share. A worker
//! takes from its own queue in order of arrival, looks at the injector first in every 61st
//! turn, and steals when it has nothing.
//!
//! Parked stacks that are ready come before new tasks, at most 16 for each task.
#![expect(
    unsafe_code,
    reason = "reaches the worker of this thread through a thread-local"
)]

mod mine;

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_deque::{Injector, Steal, Stealer, Worker as Deque};

use super::offers::Offers;
use super::park::set_context;
use super::post;
use super::sleep::{Sleepers, Woken};
use super::stacks::{
    Drive, Hub, LoopEnd, RunningStack, StackLimits, Stacks, Switch, Waiter, current,
};
use super::{Task, Turn, thread_name};
use crate::error::BuildError;
use crate::observe::WorkerSnapshot;
use crate::sync::{
    AtomicBool, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence, relax,
};
pub(crate) use mine::{pass_on, take_back};

/// Every how many turns a worker looks at the injector before its own queue.
const INJECTOR_INTERVAL: u32 = 61;
/// How many ready stacks are resumed before a task gets its turn.
const RESUMES_PER_TASK: u32 = 16;
/// How often a worker looks around before it goes to sleep: it spins, then gives up its
/// processor.
const ROUNDS_BEFORE_SLEEP: u32 = 80;
/// How long the sentinel sleeps at first, and at most.
const PATIENCE: Duration = Duration::from_millis(1);
const MAX_PATIENCE: Duration = Duration::from_millis(16);

struct Shared {
    injector: Injector<Task>,
    stealers: Box<[Stealer<Task>]>,
    hubs: Box<[Arc<Hub>]>,
    sleepers: Sleepers,
    offers: Offers,
    ended: AtomicBool,
    /// Workers that have not ended.
    workers: AtomicUsize,
}

/// See the [module](self).
pub(crate) struct Pool {
    shared: Arc<Shared>,
    limits: Arc<StackLimits>,
}

thread_local! {
    /// The worker whose thread this is.
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
}

impl Pool {
    /// Starts `workers` threads, and returns when each is ready to run.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread or a first stack; what was started ends again.
    pub(crate) fn start(
        name: &str,
        workers: usize,
        limits: &Arc<StackLimits>,
    ) -> Result<Self, BuildError> {
        let deques: Vec<_> = (0..workers).map(|_| Deque::new_fifo()).collect();
        let shared = Arc::new(Shared {
            injector: Injector::new(),
            stealers: deques.iter().map(Deque::stealer).collect(),
            hubs: (0..workers).map(|_| Arc::new(Hub::new())).collect(),
            sleepers: Sleepers::new(),
            offers: Offers::new(),
            ended: AtomicBool::new(false),
            workers: AtomicUsize::new(workers),
        });
        // Dropped on failure, which ends the workers that are there.
        let pool = Self {
            shared: shared.clone(),
            limits: limits.clone(),
        };
        let unstarted = &*pool.shared;
        let (started, outcomes) = crossbeam_channel::bounded(workers);
        let spawned = deques
            .into_iter()
            .enumerate()
            .try_for_each(|(index, deque)| {
                let shared = shared.clone();
                let limits = limits.clone();
                let started = started.clone();
                std::thread::Builder::new()
                    .name(thread_name(&format!("{name}-{index}")))
                    .spawn(move || Worker::run(index, deque, shared, limits, &started))
                    .map(|_| ())
                    .inspect_err(|_| (index..workers).for_each(|_| unstarted.end_worker()))
            });
        drop(started);
        let outcome = spawned.map_err(BuildError::Thread).and_then(|()| {
            (0..workers).try_for_each(|_| {
                outcomes
                    .recv()
                    .expect("each worker says how it started")
                    .map_err(BuildError::Stack)
            })
        });
        if let Err(error) = outcome {
            pool.end();
            return Err(error);
        }
        Ok(pool)
    }

    /// Queues a task for a turn on some worker.
    #[inline]
    pub(crate) fn schedule(&self, task: Task) {
        let worker = WORKER.try_with(Cell::get).unwrap_or(ptr::null());
        // SAFETY: the pointer is set while the worker lives, by its own thread.
        match unsafe { worker.as_ref() } {
            Some(worker) if ptr::eq(&*worker.shared, &*self.shared) => worker.push(task),
            _ => self.shared.inject(task),
        }
    }

    /// Leaves a task to this thread, if it is a plain one: it will take it back and run it, or
    /// else a worker does a little later. `false` if the task is queued instead.
    ///
    /// An older task that this thread has not taken back is queued.
    pub(crate) fn offer(&self, task: Task) -> bool {
        if current().is_some() {
            self.schedule(task);
            return false;
        }
        let (offered, left) = mine::fill(&self.shared, task);
        if let Some(task) = left {
            self.shared.inject(task);
        }
        if offered && self.shared.offers.watch.note() {
            self.shared.ring(self.shared.sleepers.take_for_outside());
        }
        offered
    }

    /// Lets each worker end when it has nothing to run and no stack is parked.
    pub(crate) fn end(&self) {
        // ORDERING: Release pairs with the workers' Acquire: what was scheduled before is seen.
        self.shared.ended.store(true, Release);
        self.shared.hubs.iter().for_each(|hub| hub.bell.ring());
    }

    pub(crate) fn limits(&self) -> &Arc<StackLimits> {
        &self.limits
    }

    /// Whether all workers sleep.
    pub(crate) fn is_asleep(&self) -> bool {
        self.shared.hubs.iter().all(|hub| hub.bell.is_asleep())
    }

    /// Whose handlers wait on parked stacks.
    pub(crate) fn waiters(&self) -> Vec<Waiter> {
        let hubs = self.shared.hubs.iter();
        hubs.flat_map(|hub| hub.waiters()).collect()
    }

    pub(crate) fn workers(&self) -> Vec<WorkerSnapshot> {
        let snapshot = |(index, hub): (usize, &Arc<Hub>)| WorkerSnapshot {
            index,
            parked_stacks: hub.parked_stacks(),
            asleep: hub.bell.is_asleep(),
        };
        self.shared.hubs.iter().enumerate().map(snapshot).collect()
    }
}

impl Shared {
    /// Wakes a worker that was taken from the list of sleepers, if one was.
    #[inline]
    fn ring(&self, sleeper: Option<usize>) {
        if let Some(sleeper) = sleeper {
            self.hubs[sleeper].bell.ring();
        }
    }

    fn inject(&self, task: Task) {
        self.injector.push(task);
        // A fence is passed below.
        self.ring(self.sleepers.take_for_outside());
        // ORDERING: Relaxed: ordered by the fence; see `end_worker`.
        if self.workers.load(Relaxed) == 0 {
            self.drop_tasks();
        }
    }

    /// A worker has ended. The last one drops what nobody will run: turns of actors that have
    /// ended. They hold the system that holds them.
    ///
    /// Whoever injects a task afterwards drops it himself: both pass a fence (SeqCst), one between
    /// leaving and looking at the tasks, the other between pushing and looking for workers.
    fn end_worker(&self) {
        // ORDERING: AcqRel: the last worker sees what the others have pushed.
        if self.workers.fetch_sub(1, AcqRel) == 1 {
            fence(SeqCst);
            // The first look leaves a task to its thread.
            (0..2).for_each(|_| self.offers.look(drop));
            self.drop_tasks();
        }
    }

    fn drop_tasks(&self) {
        loop {
            match self.injector.steal() {
                Steal::Success(task) => drop(task),
                Steal::Empty => return,
                Steal::Retry => {}
            }
        }
    }

    fn has_tasks(&self) -> bool {
        !self.injector.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }
}

/// One thread of the pool. Lives on the thread's own stack; its loop runs on pooled ones.
struct Worker {
    index: usize,
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    deque: Deque<Task>,
    stacks: Stacks,
    turns: Cell<u32>,
    /// State of the generator that picks whom to steal from first.
    random: Cell<u32>,
    /// Whether somebody rang for this worker to search.
    searching: Cell<bool>,
    /// Whether it was the sentinel, and has found nothing to do since.
    watching: Cell<bool>,
    patience: Cell<Duration>,
    /// How often it has looked around since there was work. Kept across loops.
    rounds: Cell<u32>,
}

impl Worker {
    fn run(
        index: usize,
        deque: Deque<Task>,
        shared: Arc<Shared>,
        limits: Arc<StackLimits>,
        started: &crossbeam_channel::Sender<std::io::Result<()>>,
    ) {
        let hub = shared.hubs[index].clone();
        hub.bell.belongs_here();
        let worker = Self {
            index,
            stacks: Stacks::new(hub.clone(), limits),
            shared,
            hub,
            deque,
            turns: Cell::new(0),
            random: Cell::new(index as u32 + 1),
            searching: Cell::new(false),
            watching: Cell::new(false),
            patience: Cell::new(PATIENCE),
            rounds: Cell::new(0),
        };
        let driver: *const dyn Drive = &raw const worker as *const dyn Drive;
        // SAFETY: the worker stays here until its stacks are gone: they are its own field.
        unsafe { worker.stacks.set_driver(driver) };
        let prepared = worker.stacks.prepare();
        let ready = prepared.is_ok();
        // A starter that has heard of a failure listens no more, and lets us end.
        let _ = started.send(prepared);
        if !ready {
            worker.shared.end_worker();
            return;
        }
        WORKER.set(&worker);
        post::belongs_to(&worker.hub);
        loop {
            match worker.stacks.begin() {
                Switch::Ended => break,
                // All stacks that are not parked are free now, the loop's own too.
                Switch::Idle => worker.stacks.trim(),
                // A stack that parked has provided the free one on which the loop goes on.
                Switch::Parked | Switch::Free => {}
            }
        }
        WORKER.set(ptr::null());
        worker.shared.end_worker();
    }

    fn push(&self, task: Task) {
        self.deque.push(task);
        let shared = &self.shared;
        shared.ring(shared.sleepers.take_for_inside(|| self.deque.len()));
    }

    fn next_task(&self) -> Option<Task> {
        let turn = self.turns.get().wrapping_add(1);
        self.turns.set(turn);
        if turn.is_multiple_of(INJECTOR_INTERVAL) {
            if self.shared.offers.watch.is_on() {
                self.look_at_offers();
            }
            if let Some(task) = self.injected_task() {
                return Some(task);
            }
        }
        self.deque
            .pop()
            .or_else(|| self.injected_task())
            .or_else(|| self.steal())
    }

    fn look_at_offers(&self) {
        self.shared.offers.look(|task| self.push(task));
    }

    fn injected_task(&self) -> Option<Task> {
        loop {
            match self.shared.injector.steal_batch_and_pop(&self.deque) {
                Steal::Success(task) => return Some(task),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    fn steal(&self) -> Option<Task> {
        let stealers = &self.shared.stealers;
        // Xorshift (Marsaglia 2003): any start will do, so long as workers differ.
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        self.random.set(random);
        let first = random as usize % stealers.len();
        let victims = (0..stealers.len())
            .map(|step| (first + step) % stealers.len())
            .filter(|victim| *victim != self.index);
        for victim in victims {
            loop {
                match stealers[victim].steal_batch_and_pop(&self.deque) {
                    Steal::Success(task) => return Some(task),
                    Steal::Empty => break,
                    Steal::Retry => {}
                }
            }
        }
        None
    }

    fn run_task(&self, task: Task, stack: &RunningStack) {
        if let Some(again) = task.run(&Turn::on(Some(stack))) {
            self.push(again);
        }
    }

    /// What this worker runs now may take long: somebody else has to look at offers, and at what
    /// comes to stand behind this turn.
    #[cold]
    fn hand_over_watch(&self) {
        self.watching.set(false);
        self.shared.ring(self.shared.sleepers.take_to_watch());
    }

    /// After a search: lets another worker look, if there is more than this one can take.
    fn found_work(&self) {
        self.patience.set(PATIENCE);
        if self.watching.get() {
            self.hand_over_watch();
        }
        if self.searching.replace(false) {
            self.shared.sleepers.end_search();
            if !self.deque.is_empty() {
                let sleeper = self.shared.sleepers.take_for_inside(|| usize::MAX);
                self.shared.ring(sleeper);
            }
        }
    }

    fn sleep(&self) {
        let sleepers = &self.shared.sleepers;
        if self.searching.replace(false) {
            sleepers.end_search();
        }
        self.hub.bell.silence();
        sleepers.enter(self.index);
        let mut timed_out = false;
        if !self.shared.has_tasks() && !self.hub.has_ready() && !self.may_end() {
            let offers = self.shared.offers.watch.is_on();
            let patience = if offers {
                PATIENCE
            } else {
                self.patience.get()
            };
            let limit = sleepers.watch(self.index, self.shared.hubs.len(), offers, patience);
            self.hub.bell.sleep(limit);
            if limit.is_some() {
                sleepers.end_watch();
                timed_out = true;
                self.watching.set(true);
            }
        }
        post::rested();
        match sleepers.leave(self.index) {
            Woken::ToSearch => self.searching.set(true),
            Woken::ByItself if timed_out => {
                self.patience
                    .set((self.patience.get() * 2).min(MAX_PATIENCE));
            }
            Woken::ByItself => {}
        }
        if timed_out && self.shared.offers.watch.is_on() {
            self.look_at_offers();
        }
    }

    fn may_end(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `end`.
        self.shared.ended.load(Acquire) && !self.stacks.has_parked()
    }
}

impl Drive for Worker {
    fn drive(&self, stack: &RunningStack) -> LoopEnd {
        // Whether a handler may have left memory behind on this stack.
        let mut used = false;
        loop {
            let mut resumed = 0;
            if self.watching.get() && self.stacks.has_ready() {
                self.hand_over_watch();
            }
            while resumed < RESUMES_PER_TASK && self.stacks.resume_ready() {
                resumed += 1;
            }
            if let Some(task) = self.next_task() {
                used = true;
                self.rounds.set(0);
                self.found_work();
                self.run_task(task, stack);
                if stack.was_parked() {
                    return LoopEnd::Over;
                }
            } else if resumed > 0 {
                self.rounds.set(0);
            } else if self.rounds.get() < ROUNDS_BEFORE_SLEEP {
                let mut rounds = self.rounds.get();
                relax(&mut rounds);
                self.rounds.set(rounds);
            } else if self.may_end() {
                return LoopEnd::WorkerEnds;
            } else if used || self.stacks.has_untrimmed() {
                return LoopEnd::Idle;
            } else {
                self.sleep();
            }
            debug_assert!(
                set_context(ptr::null()).is_null(),
                "a turn cleans up after itself"
            );
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end();
    }
}
