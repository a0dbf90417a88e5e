//! What a supervisor can be asked, and what it answers.

use std::sync::Arc;

use super::{ChildKind, ChildSpec, Supervisor};
use crate::actor::{Actor, Addr, Context, DeferredHandler, Handler, Reply, ReplyTo};
use crate::error::{AskError, SpawnError, StopReason};
use crate::id::ActorId;
use crate::restart::Restart;

/// A child, or a supervisor with its children, could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another child of the supervisor has this id.
    #[error("the supervisor has a child `{id}` already")]
    Taken {
        /// The id.
        id: Arc<str>,
    },
    /// A child that is always started again cannot be significant for an automatic shutdown.
    #[error("`{id}` is permanent and so cannot be significant")]
    Significant {
        /// The child's id.
        id: Arc<str>,
    },
    /// It could not be spawned.
    #[error("it could not be spawned")]
    Spawn(#[source] SpawnError),
    /// It ended before it had started.
    #[error("it ended before it had started: {reason}")]
    Ended {
        /// Why.
        reason: StopReason,
    },
    /// The wait for the start failed.
    #[error("the wait for the start failed")]
    Wait(#[source] AskError),
}

impl From<AskError> for StartError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Stopped { reason } => Self::Ended { reason },
            AskError::Panicked { message } => Self::Ended {
                reason: StopReason::Panicked { message },
            },
            error => Self::Wait(error),
        }
    }
}

/// A child was not removed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is no such child.
    #[error("the supervisor has no child `{id}`")]
    Unknown {
        /// The id that was asked for.
        id: Arc<str>,
    },
    /// It did not stop in time, and was given up. It is no child any more.
    #[error("`{id}` did not stop in time")]
    Stuck {
        /// The child's id.
        id: Arc<str>,
    },
}

/// A child was not restarted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// There is no such child.
    #[error("the supervisor has no child `{id}`")]
    Unknown {
        /// The id that was asked for.
        id: Arc<str>,
    },
    /// A temporary child is never started again.
    #[error("`{id}` is temporary")]
    Temporary {
        /// The child's id.
        id: Arc<str>,
    },
    /// It failed, or ended for good, before it had started again. If it failed, the supervisor goes
    /// on with it as after any failure.
    #[error("it did not start again: {reason}")]
    Failed {
        /// Why.
        reason: StopReason,
    },
}

/// What a child of a supervisor is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ChildState {
    /// It has started.
    Up,
    /// It is started now, or next.
    Starting,
    /// It has failed, and its restart is put off.
    BackingOff,
    /// It is being stopped, for good or to be started again.
    Stopping,
    /// It has failed, and its turn to be restarted has not come.
    Down,
}

/// A child of a supervisor.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its id.
    pub id: Arc<str>,
    /// The id of its actor.
    pub actor: ActorId,
    /// Whether it is a supervisor.
    pub kind: ChildKind,
    /// When it is started again.
    pub restart: Restart,
    /// What it is doing.
    pub state: ChildState,
    /// How often it was started again.
    pub restarts: u64,
}

/// How many children a supervisor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Children {
    /// All of them.
    pub all: usize,
    /// Those that have started and are neither stopped nor restarted.
    pub up: usize,
    /// Those that are supervisors.
    pub supervisors: usize,
}

/// Asks for an answer when the first children have started.
pub(super) struct Begun;

impl DeferredHandler<Begun> for Supervisor {
    type Reply = ();

    fn handle_deferred(&mut self, _: Begun, reply: ReplyTo<()>, _: &mut Context<Self>) {
        self.supervision.when_begun(reply);
    }
}

pub(super) struct Add<A: Actor>(ChildSpec<A>);

// What it holds of the actor's type is the closure that makes it, which is `Send`.
impl<A: Actor> DeferredHandler<Add<A>> for Supervisor {
    type Reply = Result<Addr<A>, StartError>;

    fn handle_deferred(
        &mut self,
        Add(spec): Add<A>,
        reply: ReplyTo<Self::Reply>,
        ctx: &mut Context<Self>,
    ) {
        let runtime = ctx.cell().core().runtime.clone();
        let post = Arc::downgrade(&self.post);
        match self.supervision.admit(spec, runtime, &post) {
            Ok((place, addr)) => {
                let added = Box::new(|started: Result<(), StartError>| {
                    reply.send(started.map(|()| addr));
                });
                self.supervision.add(place, added, ctx);
            }
            Err(error) => reply.send(Err(error)),
        }
    }
}

pub(super) struct Remove(Arc<str>);

impl DeferredHandler<Remove> for Supervisor {
    type Reply = Result<StopReason, RemoveError>;

    fn handle_deferred(
        &mut self,
        Remove(id): Remove,
        reply: ReplyTo<Self::Reply>,
        ctx: &mut Context<Self>,
    ) {
        self.supervision.remove(id, reply, ctx);
    }
}

pub(super) struct RestartChild(Arc<str>);

impl DeferredHandler<RestartChild> for Supervisor {
    type Reply = Result<(), RestartError>;

    fn handle_deferred(
        &mut self,
        RestartChild(id): RestartChild,
        reply: ReplyTo<Self::Reply>,
        ctx: &mut Context<Self>,
    ) {
        self.supervision.restart(id, reply, ctx);
    }
}

pub(super) struct List;

impl Handler<List> for Supervisor {
    type Reply = Vec<ChildInfo>;

    fn handle(&mut self, _: List, _: &mut Context<Self>) -> Vec<ChildInfo> {
        self.supervision.list()
    }
}

pub(super) struct Count;

impl Handler<Count> for Supervisor {
    type Reply = Children;

    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Children {
        self.supervision.count()
    }
}

/// What the address of a supervisor can do.
impl Addr<Supervisor> {
    /// Adds a child and starts it, after those that are there. The answer comes when it has
    /// started; then it is the last in order. Who must not wait has it
    /// [forwarded](Reply::forward). Dropping the reply may withdraw the request.
    ///
    /// # Errors
    ///
    /// As [`SupervisorBuilder::child`](super::SupervisorBuilder::child); and if the child fails or
    /// ends before it has started: then it is not added.
    pub fn add<A: Actor>(&self, spec: ChildSpec<A>) -> Reply<Result<Addr<A>, StartError>> {
        self.ask(Add(spec))
    }

    /// Stops a child for good, with [`StopReason::Removed`] unless it ends otherwise meanwhile. The
    /// answer comes when it has ended, and says why.
    ///
    /// A child whose restart is put off ends at once; what is queued becomes dead letters.
    ///
    /// # Errors
    ///
    /// If there is no such child, or if it did not stop in time.
    pub fn remove(&self, id: impl Into<Arc<str>>) -> Reply<Result<StopReason, RemoveError>> {
        self.ask(Remove(id.into()))
    }

    /// Stops this life of a child and starts the next, which does not count as a restart for the
    /// supervisor's intensity. The answer comes when it has started again. If its restart is put
    /// off, it is started now.
    ///
    /// # Errors
    ///
    /// If there is no such child, it is temporary, or it does not start again.
    pub fn restart(&self, id: impl Into<Arc<str>>) -> Reply<Result<(), RestartError>> {
        self.ask(RestartChild(id.into()))
    }

    /// The children, in order of their starting.
    pub fn list(&self) -> Reply<Vec<ChildInfo>> {
        self.ask(List)
    }

    /// How many children there are.
    pub fn count(&self) -> Reply<Children> {
        self.ask(Count)
    }
}
