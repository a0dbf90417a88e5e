//! Spawning: the options of an actor, and the beginning of its life.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use super::cell::{Cell, Life};
use super::core::{Core, Settings};
use super::{Actor, Addr};
use crate::error::{SpawnError, StopReason};
use crate::executor::thread::OwnThread;
use crate::mailbox::{MAX_CAPACITY, Overflow};
use crate::runtime::{Key, Registration, Runtime};

/// Messages that a mailbox holds if nothing else is said.
const DEFAULT_CAPACITY: usize = 1024;

/// The options of an actor to be spawned.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Overflow, System};
///
/// struct Log;
/// impl Actor for Log {}
///
/// let system = System::new();
/// let log = system
///     .actor()
///     .name("log")
///     .capacity(64)
///     .overflow(Overflow::DropNewest)
///     .spawn(Log)?;
/// assert_eq!(log.name(), Some("log"));
/// # Ok::<(), greenroom::SpawnError>(())
/// ```
#[must_use = "nothing is spawned until `spawn` or `spawn_thread`"]
pub struct Spawner {
    runtime: Arc<Runtime>,
    name: Option<Arc<str>>,
    registered: Option<Arc<str>>,
    capacity: usize,
    overflow: Overflow,
    runs_on_callers: bool,
}

impl Spawner {
    pub(crate) fn new(runtime: Arc<Runtime>) -> Self {
        Self {
            runtime,
            name: None,
            registered: None,
            capacity: DEFAULT_CAPACITY,
            overflow: Overflow::default(),
            runs_on_callers: false,
        }
    }

    /// A name for logs and snapshots; it need not be unique. The default is none.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A name under which the actor is [found](crate::System::find); it is the actor's name in logs
    /// too, whatever [`name`](Self::name) says. The default is none.
    ///
    /// It is unique among the actors of one type in one system. It is the actor's from before the
    /// spawn returns until the actor has ended, restarts included: while `stopped` runs it is still
    /// taken, and whoever has seen the end, by [`join`](Addr::join) say, can take it at once. It does
    /// not keep the actor alive.
    ///
    /// # Examples
    ///
    /// ```
    /// use greenroom::{Actor, SpawnError, System};
    ///
    /// struct Ledger;
    /// impl Actor for Ledger {}
    ///
    /// let system = System::new();
    /// let ledger = system.actor().registered("ledger").spawn(Ledger)?;
    /// assert_eq!(system.find::<Ledger>("ledger"), Some(ledger.clone()));
    ///
    /// let second = system.actor().registered("ledger").spawn(Ledger);
    /// assert!(matches!(second, Err(SpawnError::NameTaken { .. })));
    ///
    /// ledger.stop();
    /// ledger.join()?;
    /// let third = system.actor().registered("ledger").spawn(Ledger)?;
    /// assert_eq!(third.name(), Some("ledger"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn registered(mut self, name: impl Into<Arc<str>>) -> Self {
        self.registered = Some(name.into());
        self
    }

    /// How many messages the mailbox holds, from 1 to 16,777,215. The default is 1024. Memory
    /// is used only for messages that are queued.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.capacity = messages;
        self
    }

    /// What `send` does when the mailbox is full. The default is [`Overflow::Block`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Lets threads outside the pool run this actor also while they wait for its answer with a
    /// limit ([`Reply::wait_for`](crate::Reply::wait_for)), async tasks while they await it, and
    /// handlers on threads (an actor's own, or of a caller that runs them). The default is no.
    ///
    /// Without this, only a thread that is no actor's runs an actor, in
    /// [`Reply::wait`](crate::Reply::wait). With it, an answer that nobody else works on costs no
    /// wake-up of a worker, and the caller runs the actor's handlers until its answer is there. So
    /// its limit may be overshot by one handler, a kill of the handler that waits takes effect
    /// after it, and an async executor's thread is held for as long as these handlers run or wait.
    /// It is meant for actors whose handlers are short. Answers that are put off
    /// ([`DeferredHandler`](crate::DeferredHandler)) are never waited for in this way.
    pub fn run_on_callers(mut self) -> Self {
        self.runs_on_callers = true;
        self
    }

    /// Spawns the actor in the pool, and returns when it can be sent to; its `started` may not
    /// have run by then.
    ///
    /// # Errors
    ///
    /// If the capacity is out of range, the name is taken, or the system is shutting down. The actor
    /// is dropped.
    pub fn spawn<A: Actor + Send>(self, actor: A) -> Result<Addr<A>, SpawnError> {
        let (cell, registration) = self.admit(Life::Alive(actor), None)?;
        begin(&cell, registration);
        Ok(Addr::adopt(cell))
    }

    /// Spawns with the defaults; if the system is shutting down, the address is one of an actor
    /// that has ended.
    pub(crate) fn spawn_or_ended<A: Actor + Send>(self, actor: A) -> Addr<A> {
        let runtime = self.runtime.clone();
        match self.spawn(actor) {
            Ok(addr) => addr,
            Err(_) => Addr::adopt(Cell::ended(runtime, StopReason::Shutdown)),
        }
    }

    /// Spawns an actor on a thread of its own, which makes it by calling `make`; so it need not
    /// be `Send`. Returns when it can be sent to; `make` may not have run by then.
    ///
    /// The thread carries the actor's name (`greenroom-actor-#` and its id if it has none), sleeps while there is nothing to do, and ends with
    /// the actor. Waits in its handlers block the thread. If `make` panics, the actor ends with
    /// [`StopReason::Panicked`].
    ///
    /// In a system that is stepped by hand there is no such thread: the stepping thread makes
    /// the actor and runs it.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn), and if the operating system refuses the thread.
    pub fn spawn_thread<A: Actor>(
        self,
        make: impl FnOnce() -> A + Send + 'static,
    ) -> Result<Addr<A>, SpawnError> {
        let life = Life::Unborn(Box::new(make));
        if self.runtime.executor.is_stepped() {
            let (cell, registration) = self.admit(life, None)?;
            begin(&cell, registration);
            return Ok(Addr::adopt(cell));
        }
        let thread = OwnThread::new();
        let name = self.registered.clone().or_else(|| self.name.clone());
        let (cell, registration) = self.admit(life, Some(thread.clone()))?;
        let id = cell.core().id;
        let name = name.unwrap_or_else(|| format!("greenroom-actor-{id}").into());
        if let Err(error) = thread.start(&name, cell.clone()) {
            cell.core().leave_all();
            cell.bury();
            return Err(SpawnError::Thread(error));
        }
        begin(&cell, registration);
        Ok(Addr::adopt(cell))
    }

    fn admit<A: Actor>(
        self,
        life: Life<A>,
        thread: Option<Arc<OwnThread>>,
    ) -> Result<(Arc<Cell<A>>, Option<Registration>), SpawnError> {
        let Self {
            runtime,
            name,
            registered,
            capacity,
            overflow,
            runs_on_callers,
        } = self;
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return Err(SpawnError::Capacity {
                capacity,
                limit: MAX_CAPACITY,
            });
        }
        let registration = registered
            .as_ref()
            .map(|name| reserve::<A>(&runtime, name))
            .transpose()?;
        let name = registered.or(name);
        let plain = name.is_none()
            && overflow == Overflow::default()
            && thread.is_none()
            && !runs_on_callers;
        let settings = (!plain).then(|| {
            Box::new(Settings {
                name,
                overflow,
                thread,
                runs_on_callers,
            })
        });
        let admitted = runtime.admit(|id, residence| {
            let core = Core::new(runtime.clone(), id, residence, capacity, settings);
            let core = core.with_registration(registration.as_ref());
            Arc::new(Cell::new(core, life))
        });
        if let (Err(_), Some(registration)) = (&admitted, &registration) {
            runtime.names.release(registration);
        }
        let cell = admitted?;
        open_span(cell.core(), type_name::<A>());
        Ok((cell, registration))
    }
}

/// Takes a name for an actor to come.
fn reserve<A: Actor>(runtime: &Runtime, name: &Arc<str>) -> Result<Registration, SpawnError> {
    if runtime.is_closing() {
        return Err(SpawnError::ShuttingDown);
    }
    let reserved = runtime.names.reserve(&Key::of::<A>(name.clone()));
    reserved.ok_or_else(|| SpawnError::NameTaken {
        name: name.clone(),
        actor_type: type_name::<A>(),
    })
}

/// Has the actor be found by its name, and gives it its first turn.
fn begin<A: Actor>(cell: &Arc<Cell<A>>, registration: Option<Registration>) {
    if let Some(registration) = registration {
        let identity = cell.core().identity(type_name::<A>());
        let names = &cell.core().runtime.names;
        names.fill(&registration, identity, cell.clone());
    }
    cell.signal();
}

/// The span of the actor's life, if somebody listens.
fn open_span(core: &Core, actor_type: &'static str) {
    if tracing::level_filters::LevelFilter::current() < tracing::Level::DEBUG {
        return;
    }
    let span = tracing::debug_span!(
        target: "greenroom",
        "actor",
        id = %core.id,
        name = core.name().map(|name| &**name),
        actor_type,
    );
    core.with_rare(|rare| rare.span = Some(span));
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner")
            .field("name", &self.name)
            .field("registered", &self.registered)
            .field("capacity", &self.capacity)
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}
