//! What a supervisor is told about a child.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::actor::{Actor, Cell, DeferredHandler, Factory, OnThread, Retries, Spawner};
use crate::error::ActorError;
use crate::mailbox::Overflow;
use crate::restart::{Backoff, Restart, StopTimeout};
use crate::runtime::Runtime;

/// What a supervisor has to know of a child: how it is made, under which id, and when it is made
/// again.
///
/// | option | default |
/// |---|---|
/// | [`restart`](Self::restart) | [`Restart::Permanent`] |
/// | [`stop_timeout`](Self::stop_timeout) | 5 s; infinite for a supervisor |
/// | [`backoff`](Self::backoff) | none: it is started again at once |
/// | [`retry`](Self::retry) | none: a message at which it panics is a dead letter |
/// | [`significant`](Self::significant) | no |
/// | [`capacity`](Self::capacity) | 1024 messages |
/// | [`overflow`](Self::overflow) | [`Overflow::Block`] |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use greenroom::{Actor, Backoff, ChildSpec, Restart, Strategy, System};
///
/// struct Feed;
/// impl Actor for Feed {}
///
/// let system = System::new();
/// let mut tree = system.supervisor(Strategy::OneForOne);
/// let feed = tree.child(
///     ChildSpec::new("feed", || Feed)
///         .restart(Restart::Transient)
///         .backoff(Backoff::exponential(Duration::from_millis(100))),
/// )?;
/// let supervisor = tree.start()?;
/// assert_eq!(supervisor.list().wait()?[0].id.as_ref(), "feed");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a child is spawned by its supervisor"]
pub struct ChildSpec<A: Actor> {
    pub(super) id: Arc<str>,
    factory: Factory<A>,
    on_thread: OnThread,
    capacity: Option<usize>,
    overflow: Overflow,
    runs_on_callers: bool,
    registered: bool,
    pub(super) restart: Restart,
    pub(super) stop_timeout: StopTimeout,
    pub(super) backoff: Option<Backoff>,
    pub(super) significant: bool,
    retries: Retries,
    pub(super) kind: ChildKind,
    /// Sees the child's cell before anybody else does.
    pub(super) prepare: Option<Prepare<A>>,
}

pub(super) type Prepare<A> = Box<dyn FnOnce(&Arc<Cell<A>>) + Send>;

/// Whether a child supervises others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChildKind {
    /// It does not.
    Worker,
    /// It does.
    Supervisor,
}

impl<A: Actor + Send> ChildSpec<A> {
    /// A child in the pool, of which `make` makes the actor of each life.
    ///
    /// `id` is unique among the children of its supervisor, and the child's name in logs. A panic
    /// of `make` is a failure of the child. What is to outlive a life is shared with the next one
    /// through `make`: in an `Arc<Mutex<_>>`, say, which the actor sets as the last step of a handler,
    /// so that a panic leaves what was right before.
    pub fn new(id: impl Into<Arc<str>>, make: impl FnMut() -> A + Send + 'static) -> Self {
        Self::begin(id, infallible(make), OnThread::Pool)
    }

    /// As [`new`](Self::new), with a closure that can fail; the error is a failure of the child.
    pub fn fallible<E>(
        id: impl Into<Arc<str>>,
        make: impl FnMut() -> Result<A, E> + Send + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::begin(id, fallible(make), OnThread::Pool)
    }
}

impl<A: Actor + Send> ChildSpec<A> {
    /// A [temporary](Restart::Temporary) child in the pool, which has the one life of `actor`.
    ///
    /// With another restart type its second life fails.
    pub fn temporary(id: impl Into<Arc<str>>, actor: A) -> Self {
        let mut actor = Some(actor);
        let once = move || {
            actor
                .take()
                .ok_or("a child that was given as a value has one life")
        };
        Self::fallible(id, once).restart(Restart::Temporary)
    }
}

impl<A: Actor> ChildSpec<A> {
    /// A child on a thread of its own, where `make` makes the actor of each life; so it need not be
    /// `Send`. The thread stays the same over all lives. See
    /// [`Spawner::spawn_thread`].
    pub fn on_thread(id: impl Into<Arc<str>>, make: impl FnMut() -> A + Send + 'static) -> Self {
        Self::begin(id, infallible(make), OnThread::Own)
    }

    /// As [`on_thread`](Self::on_thread), with a closure that can fail; the error is a failure of
    /// the child.
    pub fn fallible_on_thread<E>(
        id: impl Into<Arc<str>>,
        make: impl FnMut() -> Result<A, E> + Send + 'static,
    ) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::begin(id, fallible(make), OnThread::Own)
    }

    pub(super) fn begin(id: impl Into<Arc<str>>, factory: Factory<A>, on_thread: OnThread) -> Self {
        Self {
            id: id.into(),
            factory,
            on_thread,
            capacity: None,
            overflow: Overflow::default(),
            runs_on_callers: false,
            registered: false,
            restart: Restart::default(),
            stop_timeout: StopTimeout::default(),
            backoff: None,
            significant: false,
            retries: Retries::default(),
            kind: ChildKind::Worker,
            prepare: None,
        }
    }

    /// When it is started again; by default always.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How long it may take to stop; by default 5 s, and infinitely long for a supervisor.
    pub fn stop_timeout(mut self, timeout: StopTimeout) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// How long its restarts after failures are put off; by default not at all. Meanwhile its
    /// messages wait.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Makes it significant for its supervisor's
    /// [automatic shutdown](super::SupervisorBuilder::auto_shutdown).
    pub fn significant(mut self) -> Self {
        self.significant = true;
        self
    }

    /// Has messages of this type tried again, up to so many times, when the handler panics at them;
    /// by default they become dead letters at once.
    ///
    /// The next life handles the message before those that are queued, so their order stays. A copy
    /// is made before each handling. It is for messages that nobody waits for an answer to: an asker
    /// hears of the panic at once, and may ask again. Messages of timers are not tried again, since
    /// the next life sets timers of its own.
    pub fn retry<M>(mut self, times: u32) -> Self
    where
        A: DeferredHandler<M>,
        M: Clone + Send + 'static,
    {
        self.retries.add::<A, M>(times);
        self
    }

    /// Registers it under its id, by which it is [found](crate::System::find); see
    /// [`Spawner::registered`].
    pub fn registered(mut self) -> Self {
        self.registered = true;
        self
    }

    /// How many messages its mailbox holds; see [`Spawner::capacity`].
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = Some(messages);
        self
    }

    /// What `send` does when its mailbox is full; see [`Spawner::overflow`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Lets more callers run it while they wait; see [`Spawner::run_on_callers`].
    pub fn run_on_callers(mut self) -> Self {
        self.runs_on_callers = true;
        self
    }

    /// What is needed to spawn it.
    pub(super) fn into_spawner(
        self,
        runtime: Arc<Runtime>,
    ) -> (Spawner, Factory<A>, OnThread, Option<Prepare<A>>) {
        let spawner = Spawner::new(runtime);
        let spawner = if self.registered {
            spawner.registered(self.id)
        } else {
            spawner.name(self.id)
        };
        let mut spawner = spawner.overflow(self.overflow);
        spawner = spawner.retries(self.retries);
        if let Some(capacity) = self.capacity {
            spawner = spawner.capacity(capacity);
        }
        if self.runs_on_callers {
            spawner = spawner.run_on_callers();
        }
        (spawner, self.factory, self.on_thread, self.prepare)
    }
}

impl<A: Actor> fmt::Debug for ChildSpec<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("stop_timeout", &self.stop_timeout)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

fn infallible<A>(mut make: impl FnMut() -> A + Send + 'static) -> Factory<A> {
    Box::new(move || Ok(make()))
}

fn fallible<A, E>(mut make: impl FnMut() -> Result<A, E> + Send + 'static) -> Factory<A>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    Box::new(move || make().map_err(ActorError::new))
}
