//! The actor's view of itself and its surroundings while a handler or hook runs.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::blocking::run_blocking;
use super::cell::{Cell, Target};
use super::family::Event;
use super::future::wait_for;
use super::group::Group;
use super::names::{Named, find};
use super::orders::{FAIL, STOP};
use super::spawn::Spawner;
use super::timer::{self, Interval, Timer};
use super::wait::{FromOutside, wait};
use super::{Actor, Addr, DeferredHandler, watch};
use crate::error::{ActorError, StopReason, WaitError};
use crate::id::ActorId;
use crate::time::later;
use crate::waits::Awaited;

/// What a hook or handler can ask for; lent to it for the duration of the call.
pub struct Context<A: Actor> {
    cell: Arc<Cell<A>>,
    /// Whether the message in hand is counted as handled already.
    counted: bool,
    /// Whether the life that begins has not begun when its first hook returns.
    starts_later: bool,
}

impl<A: Actor> Context<A> {
    pub(super) fn new(cell: Arc<Cell<A>>) -> Self {
        Self {
            cell,
            counted: false,
            starts_later: false,
        }
    }

    /// For `started`: this life begins only when that is [reported](Self::report_started).
    pub(crate) fn start_later(&mut self) {
        self.starts_later = true;
    }

    pub(super) fn take_starts_later(&mut self) -> bool {
        std::mem::take(&mut self.starts_later)
    }

    /// Tells the supervisor that this life has begun.
    pub(crate) fn report_started(&self) {
        if let Some(kinship) = self.cell.core().kinship() {
            let life = self.cell.core().with_rare(|rare| rare.lives);
            kinship
                .parent
                .report(kinship.place, Event::Started { life });
        }
    }

    pub(crate) fn cell(&self) -> &Arc<Cell<A>> {
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

    /// Fails: ends this life of the actor after the message in hand, as a panic does, but with an
    /// error and without unwinding. What is in hand counts as handled, and its asker gets the
    /// answer.
    ///
    /// In a supervised actor the supervisor decides what comes next, and the mailbox stays open if
    /// it may come back; otherwise the actor ends as [`StopReason::Failed`], and the mailbox takes
    /// nothing from now on. The first of several errors counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, StopReason, System};
    ///
    /// struct Reader;
    /// impl Actor for Reader {}
    ///
    /// struct Line(&'static str);
    /// impl Handler<Line> for Reader {
    ///     type Reply = ();
    ///     fn handle(&mut self, Line(line): Line, ctx: &mut Context<Self>) {
    ///         if let Err(error) = line.parse::<u32>() {
    ///             ctx.fail(error);
    ///         }
    ///     }
    /// }
    ///
    /// let system = System::new();
    /// let reader = system.spawn(Reader);
    /// reader.send(Line("seven")).map_err(|error| error.without_message())?;
    /// let reason = reader.join()?;
    /// assert_eq!(reason.to_string(), "it failed: invalid digit found in string");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&mut self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        let error = ActorError::new(error);
        self.fail_for(StopReason::Failed { error });
    }

    pub(crate) fn fail_for(&mut self, reason: StopReason) {
        let core = self.cell.core();
        let message_type = core.message_in_hand();
        let reason = core.with_rare(|rare| {
            if rare.failed.is_none() {
                rare.failed_at = message_type;
            }
            rare.failed.get_or_insert(reason).clone()
        });
        self.cell.give(FAIL, reason);
    }

    /// Has [`Actor::terminated`] run once when the actor of `addr` has ended; at once if it has.
    ///
    /// It runs in order behind all messages that the other one sent this one before its end, is
    /// never lost, and takes no room in the mailbox. Watching an actor twice is one watch. A watch
    /// keeps nobody alive. It is of the actor, not of one of its lives: a restart is not an end. It
    /// ends with this life of the watcher, so `started` is the place for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Addr, Context, System, Terminated};
    ///
    /// struct Worker;
    /// impl Actor for Worker {}
    ///
    /// struct Foreman(Addr<Worker>);
    /// impl Actor for Foreman {
    ///     fn started(&mut self, ctx: &mut Context<Self>) {
    ///         ctx.watch(&self.0);
    ///     }
    ///     fn terminated(&mut self, ended: &Terminated, ctx: &mut Context<Self>) {
    ///         assert_eq!(ended.id, self.0.id());
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// let system = System::new();
    /// let worker = system.spawn(Worker);
    /// let foreman = system.spawn(Foreman(worker.clone()));
    /// worker.stop();
    /// foreman.join()?;
    /// # Ok::<(), greenroom::WaitError>(())
    /// ```
    pub fn watch<B: Actor>(&mut self, addr: &Addr<B>) {
        watch::watch(&self.target(), &addr.target());
    }

    /// Ends a watch: from now on [`Actor::terminated`] does not run for that actor, also if it has
    /// ended already. Whether there was one.
    pub fn unwatch<B: Actor>(&mut self, addr: &Addr<B>) -> bool {
        watch::unwatch(&self.target(), &addr.target())
    }

    /// Links this actor with another one: if one of them fails, the other one ends too, as
    /// [`StopReason::Linked`].
    ///
    /// What counts is the end of a life, so a supervised actor that fails takes those with it that
    /// it is linked with, also if it is restarted. It is told as a watch is: after what the failed one
    /// sent before, and it ends no wait. An end that is not
    /// [abnormal](StopReason::is_abnormal) dissolves the link and does no more. If the other one has
    /// ended already, that counts as its end now. Linking twice is one link, and an actor cannot be linked with itself.
    pub fn link<B: Actor>(&mut self, addr: &Addr<B>) {
        watch::link(&self.target(), &addr.target());
    }

    /// Dissolves a link, for both sides. Whether there was one.
    pub fn unlink<B: Actor>(&mut self, addr: &Addr<B>) -> bool {
        watch::unlink(&self.target(), &addr.target())
    }

    /// From now on, in this life, the ends of those with whom this actor is linked do not end it:
    /// [`Actor::terminated`] runs instead, also for ends that are not abnormal.
    pub fn trap_links(&mut self) {
        self.cell.core().with_rare(|rare| rare.ties.traps = true);
    }

    fn target(&self) -> Arc<dyn Target> {
        self.cell.clone()
    }

    /// Spawns a child with the defaults; see [`child`](Self::child).
    pub fn spawn_child<B: Actor + Send>(&mut self, actor: B) -> Addr<B> {
        self.child().spawn_or_ended(actor)
    }

    /// Begins to spawn a child of this actor: one that ends when this life of its parent does.
    ///
    /// Children are stopped in the reverse order of their spawning, each when the one before has
    /// ended, and before the `stopped` or `restarting` of their parent runs: as by
    /// [`Addr::stop`] with [`StopReason::ParentEnded`], and at a system's shutdown as that orders.
    /// A child that takes longer than its [stop timeout](Spawner::stop_timeout) is killed; one that
    /// has not ended a second after that is given up, and named in a `tracing` error.
    ///
    /// A child that ends before is just gone: [watch](Self::watch) it to know, or have a
    /// [supervisor](Self::supervisor) restart it.
    pub fn child(&mut self) -> Spawner {
        Spawner::new(self.cell.core().runtime.clone()).child_of(self.target())
    }

    /// How often this actor has been started again.
    pub fn restarts(&self) -> u64 {
        self.cell.core().restarts()
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
    /// The message is due at [`now`](Self::now) plus `delay`, to the nanosecond, and never early.
    /// By the machine's clock it is late by what the operating system takes to wake a thread (on
    /// Linux some 100 µs, of which 50 are the system's own slack) and by the timers before it; by a
    /// [clock moved by hand](crate::testkit) it is not late. More than 30 years are as good as
    /// never.
    ///
    /// The message is queued without waiting, by the mailbox's policy: if there is no room, it
    /// stands in line under `Block` and `BlockFor`, and is lost, counted and reported under
    /// `Reject` and `DropNewest`. A timer keeps no actor from being unreferenced. It allocates
    /// once, for itself and the message, beside its place in the lists of timers: some 150 bytes
    /// and the message in all.
    ///
    /// # Ordering
    ///
    /// By a clock moved by hand, what is due at one moment is queued in the order in which it was
    /// set. By the machine's clock nothing is promised between two timers that are due within a
    /// few microseconds.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, testkit::Stepper};
    /// use std::time::Duration;
    ///
    /// #[derive(Default)]
    /// struct Lamp { lit: bool }
    ///
    /// struct Press;
    /// struct GoOut;
    /// struct IsLit;
    ///
    /// impl Actor for Lamp {}
    /// impl Handler<Press> for Lamp {
    ///     type Reply = ();
    ///     fn handle(&mut self, _: Press, ctx: &mut Context<Self>) {
    ///         self.lit = true;
    ///         ctx.send_after(Duration::from_secs(120), GoOut);
    ///     }
    /// }
    /// impl Handler<GoOut> for Lamp {
    ///     type Reply = ();
    ///     fn handle(&mut self, _: GoOut, _: &mut Context<Self>) {
    ///         self.lit = false;
    ///     }
    /// }
    /// impl Handler<IsLit> for Lamp {
    ///     type Reply = bool;
    ///     fn handle(&mut self, _: IsLit, _: &mut Context<Self>) -> bool {
    ///         self.lit
    ///     }
    /// }
    ///
    /// let stepper = Stepper::new(1);
    /// let lamp = stepper.system().spawn(Lamp::default());
    /// lamp.ask(Press).wait()?;
    /// stepper.advance(Duration::from_secs(119));
    /// assert!(lamp.ask(IsLit).wait()?);
    /// stepper.advance(Duration::from_secs(1));
    /// assert!(!lamp.ask(IsLit).wait()?);
    /// # Ok::<(), greenroom::AskError>(())
    /// ```
    pub fn send_after<M>(&self, delay: Duration, message: M) -> Timer
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        timer::send_after(&self.cell, delay, message)
    }

    /// Sends `message` to this actor at `due`, by the system's clock, or as soon as possible if
    /// that has passed.
    ///
    /// Otherwise as [`send_after`](Self::send_after). By a clock moved by hand, what is due already
    /// comes when the clock is moved next, if only by nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, testkit::Stepper};
    /// use std::time::{Duration, Instant};
    ///
    /// #[derive(Default)]
    /// struct Sluice { closed: Option<Instant> }
    ///
    /// /// Opens it until this moment.
    /// struct OpenUntil(Instant);
    /// struct Close;
    /// struct ClosedAt;
    ///
    /// impl Actor for Sluice {}
    /// impl Handler<OpenUntil> for Sluice {
    ///     type Reply = ();
    ///     fn handle(&mut self, OpenUntil(end): OpenUntil, ctx: &mut Context<Self>) {
    ///         ctx.send_at(end, Close);
    ///     }
    /// }
    /// impl Handler<Close> for Sluice {
    ///     type Reply = ();
    ///     fn handle(&mut self, _: Close, ctx: &mut Context<Self>) {
    ///         self.closed = Some(ctx.now());
    ///     }
    /// }
    /// impl Handler<ClosedAt> for Sluice {
    ///     type Reply = Option<Instant>;
    ///     fn handle(&mut self, _: ClosedAt, _: &mut Context<Self>) -> Option<Instant> {
    ///         self.closed
    ///     }
    /// }
    ///
    /// let stepper = Stepper::new(1);
    /// let sluice = stepper.system().spawn(Sluice::default());
    /// let end = stepper.clock().now() + Duration::from_secs(3600);
    /// sluice.ask(OpenUntil(end)).wait()?;
    /// stepper.advance(Duration::from_secs(4000));
    /// assert_eq!(sluice.ask(ClosedAt).wait()?, Some(end));
    /// # Ok::<(), greenroom::AskError>(())
    /// ```
    pub fn send_at<M>(&self, due: Instant, message: M) -> Timer
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        timer::send_at(&self.cell, due, message)
    }

    /// Sends what `make` makes to this actor again and again, as `interval` says: for a plain
    /// [`Duration`] at a fixed rate, the first time after one period. See [`Interval`] for other
    /// ones.
    ///
    /// At most one tick is pending at a time: queued, or in line for a full mailbox. What becomes
    /// of those that are due meanwhile is decided by [`MissedTicks`](crate::MissedTicks); by
    /// default they are skipped. A tick that is lost because the mailbox has no room, under
    /// `Reject` and `DropNewest`, is not pending any more. Each tick is late as a message of
    /// [`send_after`](Self::send_after) is, but the lateness of one does not move the next.
    ///
    /// `make` runs on the timer's thread, once per tick that is queued, and should be short; if it
    /// panics, the timer ends and the actor goes on.
    ///
    /// # Panics
    ///
    /// If the period is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, Interval, testkit::Stepper};
    /// use std::time::Duration;
    ///
    /// /// Looks for news, which takes a while, and rests for a second after each look.
    /// #[derive(Default)]
    /// struct Reader { looks: u32 }
    ///
    /// struct Look;
    /// struct Looks;
    ///
    /// impl Actor for Reader {
    ///     fn started(&mut self, ctx: &mut Context<Self>) {
    ///         ctx.interval(Interval::fixed_delay(Duration::from_secs(1)), || Look);
    ///     }
    /// }
    /// impl Handler<Look> for Reader {
    ///     type Reply = ();
    ///     fn handle(&mut self, _: Look, ctx: &mut Context<Self>) {
    ///         self.looks += 1;
    ///         let _ = ctx.sleep(Duration::from_secs(9));
    ///     }
    /// }
    /// impl Handler<Looks> for Reader {
    ///     type Reply = u32;
    ///     fn handle(&mut self, _: Looks, _: &mut Context<Self>) -> u32 {
    ///         self.looks
    ///     }
    /// }
    ///
    /// let stepper = Stepper::new(1);
    /// let reader = stepper.system().spawn(Reader::default());
    /// // Looks begin at 1, 11, 21 and 31 s.
    /// stepper.advance(Duration::from_secs(40));
    /// assert_eq!(reader.ask(Looks).wait()?, 4);
    /// # Ok::<(), greenroom::AskError>(())
    /// ```
    pub fn interval<M>(
        &self,
        interval: impl Into<Interval>,
        make: impl FnMut() -> M + Send + 'static,
    ) -> Timer
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        timer::interval(&self.cell, interval.into(), make)
    }

    /// Sends what `make` makes to this actor each time it has handled nothing for `limit`. An actor
    /// has one such timeout, which takes the place of the one before.
    ///
    /// The message is due `limit` after the end of the last handler, or of the handler or hook that
    /// calls this, by the system's clock and to the nanosecond; it is late as one of
    /// [`send_after`](Self::send_after) is. It is a message like any other: once it has been
    /// handled too, the next one is due after a further `limit`. It never comes while a handler
    /// runs or waits, nor is it handled before anything that was queued when it was due: whatever
    /// was handled meanwhile begins the time anew, and a message that was queued in vain
    /// is counted as [`cancelled`](crate::Counts::cancelled). Requests that were withdrawn and
    /// messages of cancelled timers are not handled and do not begin it anew.
    ///
    /// `make` runs on the timer's thread and should be short; if it panics, the timeout is cleared
    /// and the actor goes on. The timeout ends with the actor and does not keep it from being
    /// unreferenced. An actor that has one pays for each turn that ends at rest (a look at the
    /// clock and two locks that nobody else holds for long), not for each message.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    ///
    /// # Examples
    ///
    /// A session that ends when nobody has used it for a minute:
    ///
    /// ```
    /// use greenroom::{Actor, Context, Handler, StopReason, testkit::Stepper};
    /// use std::time::Duration;
    ///
    /// struct Session;
    /// struct Use;
    /// struct Expire;
    ///
    /// impl Actor for Session {
    ///     fn started(&mut self, ctx: &mut Context<Self>) {
    ///         ctx.set_idle_timeout(Duration::from_secs(60), || Expire);
    ///     }
    /// }
    /// impl Handler<Use> for Session {
    ///     type Reply = ();
    ///     fn handle(&mut self, _: Use, _: &mut Context<Self>) {}
    /// }
    /// impl Handler<Expire> for Session {
    ///     type Reply = ();
    ///     fn handle(&mut self, _: Expire, ctx: &mut Context<Self>) {
    ///         ctx.stop();
    ///     }
    /// }
    ///
    /// let stepper = Stepper::new(1);
    /// let session = stepper.system().spawn(Session);
    /// let begun = stepper.clock().now();
    /// stepper.advance(Duration::from_secs(50));
    /// session.ask(Use).wait()?;
    /// // It waits until 110 s have passed.
    /// assert_eq!(session.join()?, StopReason::Stopped);
    /// assert_eq!(stepper.clock().now() - begun, Duration::from_secs(110));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_idle_timeout<M>(&self, limit: Duration, make: impl FnMut() -> M + Send + 'static)
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        timer::set_idle_timeout(&self.cell, limit, make);
    }

    /// Ends the idle timeout, and returns whether there was one. Its message does not come any
    /// more, also if it is queued already.
    pub fn clear_idle_timeout(&self) -> bool {
        timer::clear_idle_timeout(self.cell.core())
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
