//! Supervisors: actors that start others in order, restart them when they fail, and stop them.
//!
//! The words and the rules are those of Erlang/OTP's `supervisor`. What is decided (who is started
//! again, how often, after what delay) is in [`restart`](crate::restart), as plain functions; here
//! is what acts on it. A supervisor never blocks while a child starts or stops: it handles other
//! requests meanwhile.
//!
//! What differs from OTP:
//!
//! - A child keeps its address, its name and its queue over its lives, and over those of its
//!   supervisor.
//! - A child that has ended for good is gone from the list: its address does not come back.
//! - A supervisor that gives up has failed, so it is restarted also if it is transient.
//! - A child that does not end is given up instead of killed: a thread cannot be.

mod operation;
mod request;
mod spec;
mod supervision;

pub use request::{ChildInfo, ChildState, Children, RemoveError, RestartError, StartError};
pub use spec::{ChildKind, ChildSpec};

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use self::supervision::Supervision;
use crate::actor::{
    Actor, Addr, Cell, Context, END, Event, Kin, Kinship, OnThread, Parent, Spawner, Target, leave,
};
use crate::error::{SpawnError, StopReason};
use crate::restart::{AutoShutdown, Intensity, Restart, StopTimeout, Strategy};
use crate::runtime::Runtime;
use crate::sync::Mutex;
use request::Begun;

/// An actor that supervises others; see [`SupervisorBuilder`] for how it is made.
///
/// # What ends a life, and what follows
///
/// | what happens | reason | the message in hand | [`Permanent`] | [`Transient`] | [`Temporary`], or not supervised |
/// |---|---|---|---|---|---|
/// | a handler panics | `Panicked` | dead letter, or [tried again](ChildSpec::retry); its asker gets `Panicked` | restarted | restarted | ends |
/// | [`Context::fail`] in a handler | `Failed` | handled and answered | restarted | restarted | ends |
/// | a panic in [`terminated`] | `Panicked` | - | restarted | restarted | ends |
/// | a panic or `Context::fail` in [`started`] or [`restarted`] | `Panicked`, `Failed` | - | restarted, but the first start fails | restarted, but the first start fails | ends |
/// | the factory panics or gives an error; no hook runs | `Panicked`, `Failed` | - | as above | as above | ends |
/// | a panic in [`stopped`] or [`restarting`] | as without it; reported by `tracing` | - | as without it | as without it | as without it |
/// | `stop` on its context or address | `Stopped` | handled | restarted, and its mailbox stays open | ends | ends |
/// | [`Addr::kill`] | `Killed` | its waits end with an error; handled when its handler returns | restarted | restarted | ends |
/// | one that it is linked with fails | `Linked` | handled | restarted | restarted | ends |
/// | [`Addr::drain`] | `Drained` | handled, and the queue, unless it is down | ends | ends | ends |
/// | a sibling fails, and the strategy says so | `Restarted` | handled | restarted | restarted | ends as `Removed` |
/// | [`Addr::restart`] | `Restarted` | handled | restarted | restarted | refused |
/// | [`Addr::remove`] | `Removed` | handled | ends | ends | ends |
/// | its parent or supervisor ends | `ParentEnded` | handled | ends | ends | ends |
/// | its supervisor fails, and is supervised itself | `Restarted` | handled | restarted with it, or ends as `ParentEnded` | as before | ends as `ParentEnded` |
/// | the system shuts down | `Shutdown` | handled, and the queue if it drains | ends | ends | ends |
/// | it does not stop within its stop timeout | `Killed` | as by `kill` | as it was to | as it was to | ends |
/// | nor within a second after that | `Stuck` | its handler goes on; the actor ends when it returns | given up, and the supervisor with it unless it was to be removed | as before | given up |
/// | its thread cannot be had | none: [`child`](SupervisorBuilder::child) and `add` give the error | - | - | - | - |
///
/// `stop`, and the orders of a parent or supervisor, end no wait: a handler that is parked is waited
/// for. But an actor that is stopped by its parent or supervisor does not wait for one that may go on
/// only after that, a parent of it that ends or a sibling (of it or of a parent) that is down: that
/// wait ends with [`WaitError::Interrupted`](crate::WaitError::Interrupted). "Restarted" is subject to the [intensity](SupervisorBuilder::intensity) and the
/// [backoff](ChildSpec::backoff).
///
/// # What stays over a restart
///
/// | | over a restart | at an end for good |
/// |---|---|---|
/// | addresses: [`Addr`], [`WeakAddr`](crate::WeakAddr), [`Recipient`](crate::Recipient) | the same, and equal | sends give the message back, asks fail with the reason |
/// | queued messages | stay, in their order | dead letters |
/// | senders in line for room | stay | `Stopped` |
/// | requests that are queued | stay; the next life answers | `Stopped` with the reason |
/// | the request in hand at a panic, and answers that it owed | `Panicked`; answers owed at other ends `Stopped` with the reason | the same |
/// | requests that it had made, if it kept their replies | withdrawn with the replies | withdrawn |
/// | its timers | cancelled | cancelled |
/// | whom it watches | forgotten | forgotten |
/// | those it is linked with | told | told |
/// | those who watch it, or wait for its end | not told | told once |
/// | its own children | end, before `restarting` | end, before `stopped` |
/// | children that it supervises | end this life, and begin the next with it, at their addresses; temporary ones end | end |
/// | its name, its groups | kept | left, before anybody is told |
/// | its counts | go on | are closed |
/// | its thread | stays | ends |
///
/// The next life begins after the last one's actor was dropped; so lives never overlap. While an
/// actor is down, nothing is lost: its mailbox takes messages up to its capacity and then does what
/// its policy says, and asks wait.
///
/// [`Permanent`]: Restart::Permanent
/// [`Transient`]: Restart::Transient
/// [`Temporary`]: Restart::Temporary
/// [`started`]: Actor::started
/// [`restarted`]: Actor::restarted
/// [`stopped`]: Actor::stopped
/// [`restarting`]: Actor::restarting
/// [`terminated`]: Actor::terminated
///
/// # Requests
///
/// It is asked by methods of its address: [`add`](Addr::add), [`remove`](Addr::remove),
/// [`restart`](Addr::restart), [`list`](Addr::list), [`count`](Addr::count). It answers while its
/// children start and stop. When it ends, for whatever reason, its children have ended before. It
/// lives until it is stopped, gives up, or its parent or the system ends; dropping its address does
/// not end it.
pub struct Supervisor {
    /// Taken out of the post for this life.
    supervision: Supervision,
    post: Arc<Post>,
    /// Its own address, so that it is not unreferenced.
    own: Option<Addr<Supervisor>>,
}

/// Where children report; it stays over the lives of their supervisor.
struct Post {
    supervisor: OnceLock<Weak<Cell<Supervisor>>>,
    /// Between two lives, what the next one begins with.
    between: Mutex<Option<Supervision>>,
}

impl Post {
    fn supervisor(&self) -> Option<Arc<Cell<Supervisor>>> {
        self.supervisor.get()?.upgrade()
    }
}

impl Parent for Weak<Post> {
    fn target(&self) -> Option<Arc<dyn Target>> {
        Some(self.upgrade()?.supervisor()?)
    }

    fn report(&self, place: u64, event: Event) {
        let Some(supervisor) = self.upgrade().and_then(|post| post.supervisor()) else {
            return;
        };
        if let Event::Ended(_) = event {
            let supervisor: Arc<dyn Target> = supervisor.clone();
            leave(&supervisor, place);
        }
        supervisor.call_soon(move |supervisor, ctx| {
            supervisor.supervision.happened(place, event, ctx);
        });
    }
}

impl Supervisor {
    fn over(post: Arc<Post>) -> Self {
        let supervision = post.between.lock().take();
        Self {
            supervision: supervision.expect("the last life has left what it had"),
            post,
            own: None,
        }
    }
}

impl Actor for Supervisor {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.own = Some(ctx.addr());
        ctx.start_later();
        self.supervision.begin(ctx);
    }

    fn stopped(&mut self, _: &StopReason, ctx: &mut Context<Self>) {
        let mut supervision = std::mem::take(&mut self.supervision);
        supervision.end_life(ctx);
        *self.post.between.lock() = Some(supervision);
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

/// A supervisor to be, with its first children.
///
/// [`child`](Self::child) gives out the address of each child at once: messages are queued until
/// it has started, and other children's closures can hold it. [`start`](Self::start) starts the
/// children in that order, each when the one before has. Dropped instead, the children end.
///
/// | option | default |
/// |---|---|
/// | strategy | given to [`System::supervisor`](crate::System::supervisor) |
/// | [`intensity`](Self::intensity) | 1 restart in 5 s |
/// | [`auto_shutdown`](Self::auto_shutdown) | [`AutoShutdown::Never`] |
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, ChildSpec, Context, Handler, Strategy, System};
///
/// struct Parser { lines: u32 }
/// impl Actor for Parser {}
/// impl Handler<&'static str> for Parser {
///     type Reply = u32;
///     fn handle(&mut self, line: &'static str, _: &mut Context<Self>) -> u32 {
///         assert!(!line.is_empty(), "an empty line");
///         self.lines += 1;
///         self.lines
///     }
/// }
///
/// let system = System::new();
/// let mut tree = system.supervisor(Strategy::OneForOne);
/// let parser = tree.child(ChildSpec::new("parser", || Parser { lines: 0 }))?;
/// tree.start()?;
/// assert_eq!(parser.ask("one").wait()?, 1);
/// let error = parser.ask("").wait().unwrap_err();
/// assert_eq!(error.to_string(), "the asked actor panicked: an empty line");
/// assert_eq!(parser.ask("the same address, a new life").wait()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is started until `start`"]
pub struct SupervisorBuilder {
    runtime: Arc<Runtime>,
    /// Whose child it is, if it is not supervised.
    parent: Option<Spawner>,
    supervision: Option<Supervision>,
    post: Arc<Post>,
}

impl SupervisorBuilder {
    pub(crate) fn new(runtime: Arc<Runtime>, spawner: Spawner, strategy: Strategy) -> Self {
        let post = Arc::new(Post {
            supervisor: OnceLock::new(),
            between: Mutex::new(None),
        });
        Self {
            runtime,
            parent: Some(spawner.stop_timeout(StopTimeout::Infinite)),
            supervision: Some(Supervision::new(strategy)),
            post,
        }
    }

    fn supervision(&mut self) -> &mut Supervision {
        let supervision = self.supervision.as_mut();
        supervision.expect("it is taken when the builder is consumed")
    }

    /// The supervisor's name in logs and snapshots; by default `supervisor`. A nested one has its id
    /// as its name instead.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.parent = self.parent.take().map(|spawner| spawner.name(name));
        self
    }

    /// How many restarts are too many; by default more than 1 in 5 s.
    ///
    /// A restart of several children together counts once; a start that fails counts, too. The restarts
    /// of all children are counted together: one with many children wants a larger intensity. Beyond it
    /// the supervisor stops its children in reverse order and fails, as [`StopReason::GaveUp`]; so
    /// its own supervisor decides.
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.supervision().intensity = intensity;
        self
    }

    /// Whether the supervisor stops when significant children have ended; by default never.
    pub fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.supervision().auto_shutdown = auto_shutdown;
        self
    }

    /// Adds a child, which is started by [`start`](Self::start) after those that were added
    /// before. Returns its address, which stays the same over all of the child's lives.
    ///
    /// # Errors
    ///
    /// If the id is taken, the capacity is out of range, the operating system refuses the child's
    /// thread, or the system is shutting down; and if the child is both significant and permanent.
    pub fn child<A: Actor>(&mut self, spec: ChildSpec<A>) -> Result<Addr<A>, StartError> {
        let runtime = self.runtime.clone();
        let post = Arc::downgrade(&self.post);
        let (place, addr) = self.supervision().admit(spec, runtime, &post)?;
        debug_assert!(place > 0);
        Ok(addr)
    }

    /// Starts the supervisor and its children, and returns when all have started. In a handler of the
    /// pool the wait parks the handler's stack; elsewhere it blocks the thread.
    ///
    /// # Errors
    ///
    /// If a child cannot be started: then those that have started are stopped again, in reverse
    /// order, and all have ended. If the system is shutting down.
    pub fn start(self) -> Result<Addr<Supervisor>, StartError> {
        let supervisor = self.spawn()?;
        supervisor.ask(Begun).wait()?;
        Ok(supervisor)
    }

    /// As [`start`](Self::start), but returns at once: the children start later. If one cannot be
    /// started, the supervisor ends.
    ///
    /// # Errors
    ///
    /// If the system is shutting down.
    pub fn spawn(mut self) -> Result<Addr<Supervisor>, StartError> {
        let spawner = self.parent.take().expect("it is consumed once");
        let supervisor = Supervisor {
            supervision: self.supervision.take().expect("it is consumed once"),
            post: self.post.clone(),
            own: None,
        };
        let household = supervisor.supervision.household();
        let spawner = spawner.name_if_none("supervisor");
        Ok(spawner.spawn_prepared(supervisor, |cell| adopt(&self.post, cell, household))?)
    }

    /// Makes this supervisor a child to be of another one, with this id there.
    ///
    /// By default it may take infinitely long to stop, since its own children have limits.
    pub fn into_spec(mut self, id: impl Into<Arc<str>>) -> ChildSpec<Supervisor> {
        let supervision = self.supervision.take().expect("it is consumed once");
        let household = supervision.household();
        *self.post.between.lock() = Some(supervision);
        let (maker, adopter) = (self.post.clone(), self.post.clone());
        let factory = Box::new(move || Ok(Supervisor::over(maker.clone())));
        let mut spec = ChildSpec::begin(id, factory, OnThread::Pool);
        spec.kind = ChildKind::Supervisor;
        spec.stop_timeout = StopTimeout::Infinite;
        spec.prepare = Some(Box::new(move |cell| adopt(&adopter, cell, household)));
        spec
    }
}

/// The children that a supervisor is to have, by their places. Should it never be, they end.
pub(crate) struct Household {
    kin: Vec<(u64, Kin)>,
    together: bool,
}

impl Drop for Household {
    fn drop(&mut self) {
        for (_, kin) in std::mem::take(&mut self.kin).into_iter().rev() {
            kin.cell.end(END, StopReason::ParentEnded);
        }
    }
}

/// Makes the children those of this cell.
fn adopt(post: &Post, cell: &Arc<Cell<Supervisor>>, mut household: Household) {
    let set = post.supervisor.set(Arc::downgrade(cell));
    set.expect("a supervisor has one cell");
    // If a shutdown has ended it already, the household is dropped and its members end.
    cell.core().with_rare(|rare| {
        rare.family.together = household.together;
        household
            .kin
            .retain(|(place, kin)| !rare.family.join(*place, kin.clone()));
    });
}

impl Drop for SupervisorBuilder {
    fn drop(&mut self) {
        // If it was not consumed, the children end.
        if let Some(supervision) = self.supervision.take() {
            drop(supervision.household());
        }
    }
}

impl fmt::Debug for SupervisorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisorBuilder").finish_non_exhaustive()
    }
}

/// The kinship of a supervisor's child.
fn kinship(post: &Weak<Post>, place: u64, restart: Restart) -> Kinship {
    Kinship {
        parent: Box::new(post.clone()),
        place,
        restart,
    }
}

impl<A: Actor> Context<A> {
    /// Begins to build a supervisor that is a [child](Self::child) of this actor; see
    /// [`SupervisorBuilder`].
    pub fn supervisor(&mut self, strategy: Strategy) -> SupervisorBuilder {
        let runtime = self.cell().core().runtime.clone();
        SupervisorBuilder::new(runtime, self.child(), strategy)
    }
}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}
