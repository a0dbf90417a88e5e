//! Spawning: the options of an actor, and the beginning of its life.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use super::cell::{Cell, Life, Target};
use super::core::{Core, Settings};
use super::family::{Event, Kin, Kinship, PlainParent};
use super::retry::Retries;
use super::runner::Factory;
use super::{Actor, Addr};
use crate::error::{SpawnError, StopReason};
use crate::executor::thread::OwnThread;
use crate::mailbox::{MAX_CAPACITY, Overflow};
use crate::restart::{Restart, StopTimeout};
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
    parent: Option<Arc<dyn Target>>,
    stop_timeout: StopTimeout,
    retries: Retries,
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
            parent: None,
            stop_timeout: StopTimeout::default(),
            retries: Retries::default(),
        }
    }

    /// For an actor that is supervised, and so not plain.
    pub(crate) fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    pub(super) fn child_of(mut self, parent: Arc<dyn Target>) -> Self {
        self.parent = Some(parent);
        self
    }

    /// How long the actor may take to stop when its parent ends; for children only. The default is
    /// 5 s.
    pub fn stop_timeout(mut self, timeout: StopTimeout) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// A name for logs and snapshots; it need not be unique. The default is none.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The name that it has if none is given.
    pub(crate) fn name_if_none(mut self, name: &str) -> Self {
        self.name.get_or_insert_with(|| name.into());
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
    /// If the capacity is out of range, the name is taken, or the system is shutting down, or, for a
    /// child, if its parent ends. The actor is dropped.
    pub fn spawn<A: Actor + Send>(self, actor: A) -> Result<Addr<A>, SpawnError> {
        self.spawn_prepared(actor, |_| ())
    }

    /// As [`spawn`](Self::spawn); `before` sees the cell before the actor has its first turn.
    pub(crate) fn spawn_prepared<A: Actor + Send>(
        self,
        actor: A,
        before: impl FnOnce(&Arc<Cell<A>>),
    ) -> Result<Addr<A>, SpawnError> {
        let (cell, registration) = self.admit(Begin::Once(Life::Alive(actor)), None)?;
        before(&cell);
        publish(&cell, registration);
        cell.signal();
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
        let (cell, registration) = self.admit_on_thread(Begin::Once(life))?;
        publish(&cell, registration);
        cell.signal();
        Ok(Addr::adopt(cell))
    }

    /// Spawns an actor that is down until its supervisor begins its first life.
    pub(crate) fn spawn_supervised<A: Actor>(
        self,
        factory: Factory<A>,
        kinship: Kinship,
        on_thread: OnThread,
    ) -> Result<Arc<Cell<A>>, SpawnError> {
        let begin = Begin::Down { factory, kinship };
        let (cell, registration) = match on_thread {
            OnThread::Pool => self.admit(begin, None)?,
            OnThread::Own => self.admit_on_thread(begin)?,
        };
        publish(&cell, registration);
        Ok(cell)
    }

    fn admit_on_thread<A: Actor>(self, begin: Begin<A>) -> Result<Admitted<A>, SpawnError> {
        if self.runtime.executor.is_stepped() {
            return self.admit(begin, None);
        }
        let thread = OwnThread::new();
        let name = self.registered.clone().or_else(|| self.name.clone());
        let (cell, registration) = self.admit(begin, Some(thread.clone()))?;
        let id = cell.core().id;
        let name = name.unwrap_or_else(|| format!("greenroom-actor-{id}").into());
        if let Err(error) = thread.start(&name, cell.clone()) {
            cell.core().leave_all();
            cell.bury();
            if let Some(kinship) = cell.core().kinship() {
                let reason = StopReason::Stopped;
                kinship.parent.report(kinship.place, Event::Ended(reason));
            }
            return Err(SpawnError::Thread(error));
        }
        Ok((cell, registration))
    }

    fn admit<A: Actor>(
        self,
        begin: Begin<A>,
        thread: Option<Arc<OwnThread>>,
    ) -> Result<Admitted<A>, SpawnError> {
        let Self {
            runtime,
            name,
            registered,
            capacity,
            overflow,
            runs_on_callers,
            parent,
            stop_timeout,
            retries,
        } = self;
        if !(1..=MAX_CAPACITY).contains(&capacity) {
            return Err(SpawnError::Capacity {
                capacity,
                limit: MAX_CAPACITY,
            });
        }
        let (life, factory, kinship) = match begin {
            Begin::Once(life) => {
                let kinship = match &parent {
                    Some(parent) => Some(plain_kinship(parent)?),
                    None => None,
                };
                (life, None, kinship)
            }
            Begin::Down { factory, kinship } => (Life::Gone, Some(factory), Some(kinship)),
        };
        let place = kinship.as_ref().map(|kinship| kinship.place);
        let registration = registered
            .as_ref()
            .map(|name| reserve::<A>(&runtime, name))
            .transpose()?;
        let name = registered.or(name);
        let plain = name.is_none()
            && overflow == Overflow::default()
            && thread.is_none()
            && kinship.is_none()
            && !runs_on_callers;
        let settings = (!plain).then(|| {
            Box::new(Settings {
                name,
                overflow,
                thread,
                runs_on_callers,
                kinship,
                retries,
            })
        });
        let admitted = runtime.admit(|id, residence| {
            let core = Core::new(runtime.clone(), id, residence, capacity, settings);
            let mut core = core.with_registration(registration.as_ref());
            if let Some(factory) = factory {
                core.begin_down(Box::new(factory));
            }
            Arc::new(Cell::new(core, life))
        });
        if let (Err(_), Some(registration)) = (&admitted, &registration) {
            runtime.names.release(registration);
        }
        let cell = admitted?;
        if let (Some(parent), Some(place)) = (parent, place) {
            let kin = Kin {
                cell: cell.clone(),
                timeout: stop_timeout,
            };
            let joined = parent.core().with_rare(|rare| rare.family.join(place, kin));
            if !joined {
                cell.core().leave_all();
                cell.bury();
                return Err(SpawnError::ParentEnding);
            }
        }
        open_span(cell.core(), type_name::<A>());
        Ok((cell, registration))
    }
}

/// An actor of which nobody knows yet, and the name that it is to have.
type Admitted<A> = (Arc<Cell<A>>, Option<Registration>);

/// How an actor begins.
enum Begin<A> {
    /// With its only life.
    Once(Life<A>),
    /// With its supervisor's order.
    Down {
        factory: Factory<A>,
        kinship: Kinship,
    },
}

/// Where an actor runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum OnThread {
    #[default]
    Pool,
    Own,
}

fn plain_kinship(parent: &Arc<dyn Target>) -> Result<Kinship, SpawnError> {
    let place = parent.core().with_rare(|rare| rare.family.next_place());
    Ok(Kinship {
        parent: Box::new(PlainParent(Arc::downgrade(parent))),
        place: place.ok_or(SpawnError::ParentEnding)?,
        restart: Restart::Temporary,
    })
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

/// Has the actor be found by its name.
fn publish<A: Actor>(cell: &Arc<Cell<A>>, registration: Option<Registration>) {
    if let Some(registration) = registration {
        let identity = cell.core().identity(type_name::<A>());
        let names = &cell.core().runtime.names;
        names.fill(&registration, identity, cell.clone());
    }
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
