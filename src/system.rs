//! A system: its pool, its clock, its actors, and the end of them all.

mod phases;
mod report;

pub use phases::{ShutdownPhase, TaskOutcome, TaskReport};
pub use report::{ShutdownReport, Unfinished};

use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::actor::{Actor, Addr, FromOutside, Group, Named, Spawner, find, wait};
use crate::error::BuildError;
use crate::executor::Executor;
use crate::executor::blocking::Threads;
use crate::executor::pool::Pool;
use crate::executor::stacks::StackLimits;
use crate::observe::{DeadLetterFeed, Snapshot};
use crate::restart::Strategy;
use crate::runtime::{Limits, Order, Runtime};
use crate::supervisor::SupervisorBuilder;
use crate::time::{Clock, ManualClock, Timers, later};
use crate::waits::{Awaited, Identity, Wait};
use phases::Tasks;

/// A handle to a system of actors. Clones are handles to the same system.
///
/// Dropping the last handle begins a draining shutdown and does not wait for it: nothing can be
/// spawned any more, mailboxes close, each actor handles what is queued, its `stopped` runs,
/// and the threads end when the last actor has ended. Keep a handle as long as the system is
/// meant to work; [`shutdown`](Self::shutdown) says how it ended.
#[derive(Clone)]
pub struct System {
    handle: Arc<Handle>,
}

/// What the handles of a system share; dropped with the last of them.
struct Handle {
    runtime: Arc<Runtime>,
    tasks: Tasks,
}

impl System {
    /// A system with one worker per core and the defaults of [`SystemBuilder`].
    ///
    /// # Panics
    ///
    /// If the operating system refuses a thread or memory for a stack; use
    /// [`builder`](Self::builder) to handle that.
    #[expect(
        clippy::new_without_default,
        reason = "starting threads is no default value"
    )]
    pub fn new() -> Self {
        Self::builder()
            .build()
            .unwrap_or_else(|error| panic!("a system could not be started: {error}"))
    }

    /// Options for a new system.
    pub fn builder() -> SystemBuilder {
        SystemBuilder::new()
    }

    pub(crate) fn from_runtime(runtime: Arc<Runtime>) -> Self {
        Self {
            handle: Arc::new(Handle {
                runtime,
                tasks: Tasks::default(),
            }),
        }
    }

    fn runtime(&self) -> &Arc<Runtime> {
        &self.handle.runtime
    }

    /// Spawns an actor in the pool with the defaults: a mailbox of 1024 messages, `Block`.
    ///
    /// Returns when it can be sent to; its `started` may not have run by then. If the system is
    /// shutting down, the actor is dropped and the address is one of an actor that has ended.
    pub fn spawn<A: Actor + Send>(&self, actor: A) -> Addr<A> {
        self.actor().spawn_or_ended(actor)
    }

    /// Begins to spawn an actor otherwise; see [`Spawner`].
    pub fn actor(&self) -> Spawner {
        Spawner::new(self.runtime().clone())
    }

    /// Begins to build a supervisor with this strategy; see [`SupervisorBuilder`].
    pub fn supervisor(&self, strategy: Strategy) -> SupervisorBuilder {
        SupervisorBuilder::new(self.runtime().clone(), self.actor(), strategy)
    }

    /// The actor of type `A` that is [registered](Spawner::registered) under `name`, if there is
    /// one.
    ///
    /// One that has begun to end is not found, though its name is taken until it has ended; nor is
    /// one whose last address is gone, since looking for an actor does not keep it from ending.
    pub fn find<A: Actor>(&self, name: &str) -> Option<Addr<A>> {
        find(self.runtime(), name)
    }

    /// Begins to wait for an actor of type `A` that is [registered](Spawner::registered) under
    /// `name`; see [`Named`].
    pub fn named<A: Actor>(&self, name: impl Into<Arc<str>>) -> Named<A> {
        Named::new(self.runtime().clone(), name.into())
    }

    /// Who is [registered](Spawner::registered) and has not ended: sorted by their names, then by
    /// the names of their types, then by their ids.
    ///
    /// Each of them was there at some moment of the call.
    pub fn registered(&self) -> Vec<Identity> {
        self.runtime().names.list()
    }

    /// The group with this key for messages of type `M`; see [`Group`]. If there is none, an empty
    /// one comes into being.
    ///
    /// Groups with one key for different types of messages have nothing in common.
    pub fn group<M: Send + 'static>(&self, key: impl Into<Arc<str>>) -> Group<M> {
        Group::new(self.runtime(), key.into())
    }

    /// The moment by the system's clock.
    pub fn now(&self) -> Instant {
        self.runtime().now()
    }

    /// A picture of all actors and their counts; see [`Snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        self.runtime().snapshot()
    }

    /// Who waits for whom, for what and since when: every wait of a handler or hook, in order of
    /// the actors' ids.
    ///
    /// Each wait was there at some moment of the call. Threads and async tasks outside that wait
    /// for an actor are not shown, and neither are locks.
    pub fn waits(&self) -> Vec<Wait> {
        self.runtime().waits()
    }

    /// Subscribes to the dead letters from now on; see [`DeadLetterFeed`].
    pub fn dead_letters(&self) -> DeadLetterFeed {
        self.runtime().letters.subscribe()
    }

    /// Adds a task to the shutdown of this system.
    ///
    /// A shutdown goes through the [phases](ShutdownPhase) in order. The tasks of a phase run side by
    /// side, each on a thread of its own (in a system that is
    /// [stepped by hand](crate::testkit), one after another in the shutdown's step), and are told how
    /// much time they have. Each phase has half of what is left of the shutdown's deadline, and the
    /// last one that has tasks all of it; so one that takes too long leaves something to those that
    /// come after. A task that is not done in time goes on by itself, and the report names it, as one
    /// that panics. Tasks run at the first [`shutdown`](Self::shutdown), and not if the
    /// last handle is dropped instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use greenroom::{ShutdownPhase, System};
    ///
    /// let system = System::new();
    /// let (done, order) = mpsc::channel();
    /// let flushed = done.clone();
    /// system.on_shutdown(ShutdownPhase::Flush, "journal", move |_| flushed.send("flush").unwrap());
    /// system.on_shutdown(ShutdownPhase::StopAccepting, "door", move |_| done.send("close").unwrap());
    /// let report = system.shutdown(Duration::from_secs(10));
    /// assert!(report.is_clean());
    /// assert_eq!(order.iter().collect::<Vec<_>>(), ["close", "flush"]);
    /// ```
    pub fn on_shutdown(
        &self,
        phase: ShutdownPhase,
        name: impl Into<Arc<str>>,
        task: impl FnOnce(Duration) + Send + 'static,
    ) {
        self.handle.tasks.add(phase, name.into(), Box::new(task));
    }

    /// Whether a shutdown has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.runtime().is_closing()
    }

    /// Ends the system: the tasks of [`on_shutdown`](Self::on_shutdown) run, each actor handles what is
    /// queued, its `stopped` runs. Returns when all have ended, or when `deadline` has passed.
    ///
    /// Nothing can be spawned any more. The mailboxes of all actors that have no parent close at once,
    /// and these drain at the same time: what one of them sends to another comes back as `Stopped`.
    /// When such an actor has handled its queue, its children close and drain in the same way,
    /// in the reverse order of their starting, each when the one before has ended; then its own
    /// `stopped` runs. So children end before their parents, who can use them until they have
    /// drained themselves. A child's stop timeout applies, and takes at most half of what is left until
    /// the deadline; so one that is stuck leaves time to the others.
    ///
    /// At the deadline the actors that have not ended are killed: their waits end with an error,
    /// but for those for a closure that [blocks](crate::Context::blocking).
    /// Whoever has still not ended is named in the report. A handler that does not wait goes on
    /// on its thread, which ends when the handler does.
    ///
    /// Called by a handler, that handler's own actor cannot end, so the deadline passes.
    pub fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        self.end(Order::Drain, deadline)
    }

    /// As [`shutdown`](Self::shutdown), but without draining: each actor ends after the message
    /// in hand, and what is queued becomes dead letters.
    pub fn shutdown_now(&self, deadline: Duration) -> ShutdownReport {
        self.end(Order::Stop, deadline)
    }

    /// Closes the system and kills whoever is there.
    pub(crate) fn kill_all(&self) {
        for resident in self.runtime().close() {
            resident.order(Order::Kill);
        }
    }

    fn end(&self, order: Order, limit: Duration) -> ShutdownReport {
        let runtime = self.runtime();
        let tasks = &self.handle.tasks;
        let deadline = later(runtime.now(), limit);
        let half_of_the_rest = || {
            let now = runtime.now();
            later(now, deadline.saturating_duration_since(now) / 2)
        };
        let until = half_of_the_rest();
        let accepting = tasks.begin(ShutdownPhase::StopAccepting, runtime, until);
        let mut reports = accepting.wait(runtime, until);
        let until = if tasks.are_left_after(ShutdownPhase::Drain) {
            half_of_the_rest()
        } else {
            deadline
        };
        runtime.begin_shutdown(order, Some(until));
        let residents = runtime.close();
        let draining = tasks.begin(ShutdownPhase::Drain, runtime, until);
        let roots = residents.iter().filter(|resident| !resident.has_parent());
        roots.for_each(|resident| resident.clone().order(order));
        let all = FromOutside(Awaited::Shutdown);
        let waited = wait(runtime, &all, Some(until), |waker: &Waker| {
            runtime.poll_empty(waker)
        });
        let mut unfinished = Vec::new();
        if !matches!(waited, Ok(Some(()))) {
            let late = runtime.residents();
            unfinished.extend(late.iter().map(|resident| Unfinished::of(&**resident)));
            for resident in late {
                resident.order(Order::Kill);
            }
        }
        reports.extend(draining.wait(runtime, until));
        let flushing = tasks.begin(ShutdownPhase::Flush, runtime, deadline);
        reports.extend(flushing.wait(runtime, deadline));
        ShutdownReport {
            ended: residents.len().saturating_sub(unfinished.len()),
            left: unfinished.iter().map(|actor| actor.queued).sum(),
            unfinished,
            tasks: reports,
            interrupted: waited.err(),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.runtime.begin_shutdown(Order::Drain, None);
        let residents = self.runtime.close().into_iter();
        let roots = residents.filter(|resident| !resident.has_parent());
        roots.for_each(|resident| resident.order(Order::Drain));
    }
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System")
            .field("is_shutting_down", &self.is_shutting_down())
            .finish_non_exhaustive()
    }
}

/// A number that differs from process to process and from system to system.
fn any_seed() -> u64 {
    use std::hash::BuildHasher;
    std::collections::hash_map::RandomState::new().hash_one(0)
}

/// The options of a system.
///
/// # Examples
///
/// ```
/// use greenroom::System;
///
/// let system = System::builder().workers(2).name("orders").build()?;
/// # Ok::<(), greenroom::BuildError>(())
/// ```
#[must_use = "nothing is started until `build`"]
pub struct SystemBuilder {
    workers: usize,
    name: String,
    clock: Clock,
    stack_bytes: usize,
    max_stacks: usize,
    max_blocking_threads: usize,
    limits: Limits,
}

impl SystemBuilder {
    fn new() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            name: "greenroom".to_owned(),
            clock: Clock::machine(),
            stack_bytes: 1 << 20,
            max_stacks: 16_384,
            max_blocking_threads: 512,
            limits: Limits {
                slow_handler: Some(Duration::from_secs(1)),
                long_wait: Some(Duration::from_secs(10)),
            },
        }
    }

    /// How many threads the pool has. The default is one per core that the process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// The first part of the names of the pool's threads. The default is `greenroom`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The clock that decides about all time in the system. The default is the machine's.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Clock::Manual(clock.clone());
        self
    }

    /// The address space of each stack on which handlers run, in bytes. The default is 1 MiB;
    /// less than 64 KiB is rounded up to that.
    ///
    /// Memory is used page by page, as far as a handler reaches. What the next handlers do not
    /// need of it is given back when the worker has nothing to do, or after some 1024 waits: on
    /// Linux at once, on other Unix systems when they are short of memory, on Windows with the
    /// stack. A stack that overflows hits a guard (of 64 KiB on Unix) and ends the process.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// How many stacks the pool may have: one for each worker, one for each handler that waits,
    /// some that workers and threads outside keep for the next; so not below the number of
    /// workers. Beyond it a wait is refused with [`WaitError::NoStack`](crate::WaitError::NoStack). The default is 16,384. A
    /// stack needs two memory mappings, so these need half of what Linux gives a process by
    /// default.
    pub fn max_stacks(mut self, stacks: usize) -> Self {
        self.max_stacks = stacks;
        self
    }

    /// How many threads there may be for closures that block, started when they are needed; see
    /// [`Context::blocking`](crate::Context::blocking). Beyond them closures are queued. The
    /// default is 512. With 0, handlers of the pool that would block get
    /// [`WaitError::NoThread`](crate::WaitError::NoThread).
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.max_blocking_threads = threads;
        self
    }

    /// After what time at one message, waits not counted, a handler or hook is named by a warning
    /// of `tracing`; `None` for never. The default is one second.
    ///
    /// It costs nothing per message: a sampler looks at a quarter of the time, and not at all
    /// while nothing runs. So the warning comes between one and one and a half times this time
    /// after the handler began, and again whenever it has taken twice as long. It names the
    /// actor, the type of the message, the thread, the time as the sampler has seen it, and
    /// whether it holds up handlers whose waits on that worker are over. A handler that holds a
    /// lock across a wait, for which another one blocks its thread, shows in this way.
    pub fn warn_slow_handler(mut self, after: Option<Duration>) -> Self {
        self.limits.slow_handler = after;
        self
    }

    /// After what time a handler's wait is named by a warning of `tracing`; `None` for never. The
    /// default is ten seconds. Sleeps are never named. It is sampled as slow handlers are.
    pub fn warn_long_wait(mut self, after: Option<Duration>) -> Self {
        self.limits.long_wait = after;
        self
    }

    /// Starts the system, and returns when its workers are ready.
    ///
    /// # Errors
    ///
    /// If there are to be no workers or fewer stacks than workers, or if the operating system
    /// refuses a thread or the memory of a worker's first stack. What was started ends again.
    pub fn build(self) -> Result<System, BuildError> {
        if self.workers == 0 {
            return Err(BuildError::NoWorkers);
        }
        if self.max_stacks < self.workers {
            return Err(BuildError::TooFewStacks {
                stacks: self.max_stacks,
                workers: self.workers,
            });
        }
        let limits = Arc::new(StackLimits::new(self.stack_bytes, self.max_stacks));
        let timers = Timers::start(&self.clock, self.workers).map_err(BuildError::Thread)?;
        let pool = Pool::start(&self.name, self.workers, &limits)?;
        let blocking = Threads::new(&self.name, self.max_blocking_threads);
        let shards = self.workers;
        let executor = Executor::Pool(pool);
        let (clock, limits) = (self.clock, self.limits);
        let runtime = Runtime::new(
            executor,
            blocking,
            clock,
            timers,
            shards,
            limits,
            any_seed(),
        );
        Ok(System::from_runtime(runtime))
    }
}

impl fmt::Debug for SystemBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBuilder")
            .field("workers", &self.workers)
            .field("name", &self.name)
            .field("stack_size", &self.stack_bytes)
            .field("max_stacks", &self.max_stacks)
            .field("max_blocking_threads", &self.max_blocking_threads)
            .finish_non_exhaustive()
    }
}
