//! The actor's view of itself and its surroundings while a handler or hook runs.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::blocking::run_blocking;
use super::cell::Cell;
use super::core::STOP;
use super::future::wait_for;
use super::group::Group;
use super::names::{Named, find};
use super::spawn::Spawner;
use super::timer::{self, Timer};
use super::wait::{FromOutside, wait};
use super::{Actor, Addr, DeferredHandler};
use crate::error::{StopReason, WaitError};
use crate::id::ActorId;
use crate::time::later;
use crate::waits::Awaited;

/// What a hook or handler can ask for; lent to it for the duration of the call.
pub struct Context<A: Actor> {
    cell: Arc<Cell<A>>,
    /// Whether the message in hand is counted as handled already.
    counted: bool,
}

impl<A: Actor> Context<A> {
    pub(super) fn new(cell: Arc<Cell<A>>) -> Self {
        Self {
            cell,
            counted: false,
        }
    }

    pub(super) fn cell(&self) -> &Arc<Cell<A>> {
        &self.cell
    }

    pub(super) fn into_cell(self) -> Arc<Cell<A>> {
        self.cell
    }

    /// Counts the message in hand as handled, before its asker can know.
    #[inline]
    pub(super) fn count_handled(&mut self) {
        self.cell.core().handled.increment();
        self.counted = true;
    }

    /// Whether the message in hand was counted; the next one is not.
    #[inline]
    pub(super) fn take_counted(&mut self) -> bool {
        std::mem::take(&mut self.counted)
    }

    /// This actor's address. As long as the result lives, the actor is not unreferenced.
    pub fn addr(&self) -> Addr<A> {
        Addr::from_cell(&self.cell)
    }

    /// This actor's id.
    pub fn id(&self) -> ActorId {
        self.cell.core().id
    }

    /// This actor's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.cell.core().name().map(|name| &**name)
    }

    /// The moment by the system's clock.
    pub fn now(&self) -> Instant {
        self.cell.core().runtime.now()
    }

    /// Ends this actor after the message in hand. The mailbox takes nothing from now on; what is
    /// queued becomes dead letters.
    pub fn stop(&mut self) {
        self.cell.give(STOP, StopReason::Stopped);
    }

    /// Spawns an actor with the defaults; see [`System::spawn`](crate::System::spawn).
    pub fn spawn<B: Actor + Send>(&self, actor: B) -> Addr<B> {
        self.actor().spawn_or_ended(actor)
    }

    /// Begins to spawn an actor otherwise; see [`Spawner`].
    pub fn actor(&self) -> Spawner {
        Spawner::new(self.cell.core().runtime.clone())
    }

    /// The actor of type `B` that is registered under `name`; see
    /// [`System::find`](crate::System::find).
    pub fn find<B: Actor>(&self, name: &str) -> Option<Addr<B>> {
        find(&self.cell.core().runtime, name)
    }

    /// Begins to wait for an actor of type `B` that is registered under `name`; see [`Named`].
    pub fn named<B: Actor>(&self, name: impl Into<Arc<str>>) -> Named<B> {
        Named::new(self.cell.core().runtime.clone(), name.into())
    }

    /// The group with this key for messages of type `M`; see
    /// [`System::group`](crate::System::group).
    pub fn group<M: Send + 'static>(&self, key: impl Into<Arc<str>>) -> Group<M> {
        Group::new(&self.cell.core().runtime, key.into())
    }

    /// Waits for `duration` by the system's clock. In the pool the handler's stack is parked and
    /// its worker goes on with other actors; on an actor's own thread, that thread sleeps. This
    /// actor handles nothing else meanwhile.
    ///
    /// # Errors
    ///
    /// [`WaitError::Interrupted`] at once when this actor is killed, or was before;
    /// [`WaitError::NoStack`] if the worker has nothing to go on with; [`WaitError::Unwinding`]
    /// in a `Drop` that a panic runs. `stop` does not end it.
    pub fn sleep(&mut self, duration: Duration) -> Result<(), WaitError> {
        let runtime = &self.cell.core().runtime;
        let due = later(runtime.now(), duration);
        let goal = FromOutside(Awaited::Time);
        wait(runtime, &goal, Some(due), |_| Poll::<()>::Pending).map(|_| ())
    }

    /// Waits for `future`, and returns its output.
    ///
    /// The future is polled here, on the handler's own stack, and parked with it in between: so
    /// it need not be `Send`, and may borrow from the actor. Its worker goes on with other actors
    /// meanwhile, this actor handles nothing else. On an actor's own thread, that thread sleeps.
    ///
    /// A future that wakes itself in each poll is polled once each time the run queue has gone
    /// round, so it keeps nobody else from running. What is polled may wait in turn, as in
    /// `reply.wait()`. A panic in it is a panic of the handler. The wait allocates once, for its
    /// waker.
    ///
    /// Nobody knows who brings about what a future waits for, so a circle of waits that goes
    /// through one is not found, even if the future is a [`Reply`](crate::Reply): wait for an
    /// answer by [`Reply::wait`](crate::Reply::wait).
    ///
    /// In a system that is [stepped by hand](crate::testkit) the future is polled in a step
    /// of its own after its waker was called. If another thread has to call it, a wait beside the stepper
    /// does not know of that, and lets time pass or panics when nothing else is ready: step until
    /// the call has come. While a future wakes itself,
    /// [`Stepper::run`](crate::testkit::Stepper::run) does not return.
    ///
    /// # Async runtimes
    ///
    /// Futures of tokio look for its runtime in a thread-local of the thread that polls them.
    /// Enter the runtime for each poll, as below or by `TokioContext` of `tokio-util`; reactors
    /// with threads of their own (smol, async-std) need nothing. Never hold tokio's `EnterGuard`
    /// across a wait: other handlers of the worker would run inside it until this one goes on,
    /// and tokio panics when guards are dropped out of order. A `block_on` in a handler blocks its
    /// worker.
    ///
    /// # Errors
    ///
    /// The future is polled first, so one that is ready is never refused. Then
    /// [`WaitError::Interrupted`] at once when this actor is killed, or was before;
    /// [`WaitError::NoStack`] if the worker has nothing to go on with; [`WaitError::Unwinding`]
    /// in a `Drop` that a panic runs. `stop` does not end the wait.
    ///
    /// # Cancel safety
    ///
    /// With an error the future is dropped where it stands, as an async task's is that is
    /// cancelled. To go on with it later, wait for `&mut future` (pinned).
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, System, WaitError};
    /// use std::future::{Future, poll_fn};
    /// use std::time::Duration;
    /// use tokio::runtime::Handle;
    ///
    /// /// Enters tokio's runtime around each poll.
    /// fn in_tokio<F: Future>(handle: &Handle, future: F) -> impl Future<Output = F::Output> {
    ///     let mut future = Box::pin(future);
    ///     poll_fn(move |cx| {
    ///         let _entered = handle.enter();
    ///         future.as_mut().poll(cx)
    ///     })
    /// }
    ///
    /// struct Clerk { tokio: Handle, naps: u32 }
    /// impl Actor for Clerk {}
    ///
    /// struct Nap;
    /// impl Handler<Nap> for Clerk {
    ///     type Reply = Result<u32, WaitError>;
    ///     fn handle(&mut self, _: Nap, ctx: &mut Context<Self>) -> Self::Reply {
    ///         let naps = &mut self.naps;
    ///         // The async block is polled in the runtime, so it may make futures that need it.
    ///         ctx.wait(in_tokio(&self.tokio, async {
    ///             tokio::time::sleep(Duration::from_millis(1)).await;
    ///             *naps += 1;
    ///             *naps
    ///         }))
    ///     }
    /// }
    ///
    /// let tokio = tokio::runtime::Runtime::new()?;
    /// let system = System::new();
    /// let clerk = system.spawn(Clerk { tokio: tokio.handle().clone(), naps: 0 });
    /// assert_eq!(clerk.ask(Nap).wait()??, 1);
    /// assert_eq!(clerk.ask(Nap).wait()??, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait<F: IntoFuture>(&mut self, future: F) -> Result<F::Output, WaitError> {
        wait_for(&self.cell.core().runtime, future.into_future())
    }

    /// Runs `work`, which may block its thread, and returns what it returns.
    ///
    /// In the pool it runs on a thread for that, while the handler's stack is parked and its
    /// worker goes on with other actors. These threads are started when none is idle, at most
    /// [`max_blocking_threads`](crate::SystemBuilder::max_blocking_threads) (512 by default);
    /// beyond that closures are queued in the order in which they came. A thread that has been
    /// idle for 10 s ends. On an actor's own thread, and in a system that is
    /// [stepped by hand](crate::testkit), `work` runs right there and blocks that thread. An actor
    /// that blocks in each message is better off with
    /// [a thread of its own](crate::Spawner::spawn_thread).
    ///
    /// `work` may borrow from the handler and the actor. Therefore nothing ends this wait before
    /// `work` is over: no kill, no deadline of a shutdown, nor while it is queued. After a kill its
    /// result comes back all the same, and the next wait of the handler ends with an error.
    ///
    /// In `work` there is no actor: what it waits for, it waits for as a plain thread. No kill ends
    /// that, and no circle of waits that goes through it is found. The `tracing` span that is
    /// current in the handler is entered around it. A panic in `work` goes on in the handler, with
    /// the same payload.
    ///
    /// # Errors
    ///
    /// If there is one, `work` was not run: [`WaitError::Interrupted`] if this actor was killed
    /// before; [`WaitError::Unwinding`] in a `Drop` that a panic runs; in the pool
    /// [`WaitError::NoStack`] if the worker has nothing to go on with, and
    /// [`WaitError::NoThread`] if there is no thread and the operating system refuses to start
    /// one. If it refuses while there are others, `work` waits for those.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, System, WaitError};
    ///
    /// struct Archive { text: String }
    /// impl Actor for Archive {}
    ///
    /// struct Load(std::path::PathBuf);
    /// impl Handler<Load> for Archive {
    ///     type Reply = Result<std::io::Result<usize>, WaitError>;
    ///     fn handle(&mut self, Load(path): Load, ctx: &mut Context<Self>) -> Self::Reply {
    ///         ctx.blocking(|| {
    ///             let text = std::fs::read_to_string(&path)?;
    ///             self.text.push_str(&text);
    ///             Ok(self.text.len())
    ///         })
    ///     }
    /// }
    ///
    /// let system = System::new();
    /// let archive = system.spawn(Archive { text: String::new() });
    /// let loaded = archive.ask(Load("Cargo.toml".into())).wait()??;
    /// assert!(loaded? > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn blocking<R: Send>(&mut self, work: impl FnOnce() -> R + Send) -> Result<R, WaitError> {
        run_blocking(self.cell.core(), work)
    }

    /// Sends `message` to this actor after `delay`, unless it has ended by then.
    ///
    /// The message is queued without waiting, by the mailbox's policy: if there is no room, it
    /// stands in line under `Block` and `BlockFor`, and is lost, counted and reported under
    /// `Reject` and `DropNewest`. A timer keeps no actor from being unreferenced.
    pub fn send_after<M>(&self, delay: Duration, message: M) -> Timer
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        timer::send_after(&self.cell, delay, message)
    }

    /// Sends what `make` makes to this actor every `period`, at a fixed rate, the first time
    /// after one period.
    ///
    /// At most one tick is pending: while the last one is queued, due ones are skipped. Ticks
    /// do not drift: each is due at a multiple of `period` after this call, and is late by what
    /// the system takes. Ticks that were missed altogether are skipped, not made up for.
    /// `make` runs on the timer's thread and should be short; if it panics, the timer ends.
    ///
    /// # Panics
    ///
    /// If `period` is zero.
    pub fn interval<M>(&self, period: Duration, make: impl FnMut() -> M + Send + 'static) -> Timer
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        timer::interval(&self.cell, period, make)
    }
}

impl<A: Actor> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish()
    }
}
