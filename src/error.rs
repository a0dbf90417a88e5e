//! What can go wrong, one type per operation, and why an actor ended.
//!
//! A failed send gives its message back. `Debug` is by hand, so messages need none and nothing
//! of them reaches a log. No error holds a type of another crate.

mod reason;

pub use reason::{ActorError, Escalation, Failure, GaveUpBecause, StopReason};

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::sync::Mutex;
use crate::waits::WaitPath;

/// A wait inside a handler could not be begun, or was ended before its time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The waiting actor was killed, or its system's deadline for shutting down has passed.
    ///
    /// It sticks: every later wait of the actor ends with it at once, those in `stopped` too,
    /// unless what is waited for is there already.
    #[error("the waiting actor was killed")]
    Interrupted,
    /// No stack could be had for the worker to go on with: the system's limit is reached, or
    /// the operating system refused the memory.
    #[error("no stack is left to wait on")]
    NoStack,
    /// The thread is unwinding from a panic; a wait could keep it from ever ending.
    #[error("the waiting thread is panicking")]
    Unwinding,
    /// No thread could be had for a closure that blocks: there is none, and the operating system
    /// refuses to start one, or the system may have none.
    #[error("no thread is left to block")]
    NoThread,
    /// Nobody on this path could go on, since each waits for the next; unless a deadline passes
    /// or one of them is ended from outside.
    ///
    /// It is reported once for each circle of waits, to the call that would close it; the others
    /// go on when this actor's handler does.
    #[error("the wait would never end: {path}")]
    WouldDeadlock {
        /// The circle, beginning with the actor that gets this error.
        path: WaitPath,
    },
}

/// The message was not accepted under the mailbox's policy, or the wait for room ended.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// The mailbox is at capacity and its policy rejects new messages.
    #[error("mailbox is full")]
    Full(M),
    /// There was no room in time.
    #[error("mailbox stayed full")]
    TimedOut(M),
    /// The actor has begun to stop and will never accept a message again.
    #[error("actor has stopped")]
    Stopped(M),
    /// The sending actor was killed while it waited for room.
    #[error("the sending actor was killed while it waited for room")]
    Interrupted(M),
    /// The sending handler would have to wait, and no stack could be had for it.
    #[error("no stack is left to wait on for room")]
    NoStack(M),
    /// The sender would have to wait while its thread is unwinding from a panic.
    #[error("the sending thread is panicking and does not wait for room")]
    Unwinding(M),
    /// Nobody on this path could go on; see [`WaitError::WouldDeadlock`].
    #[error("the wait for room would never end: {path}")]
    WouldDeadlock {
        /// The message, which was not queued.
        message: M,
        /// The circle, beginning with the sender.
        path: WaitPath,
    },
}

impl<M> SendError<M> {
    /// The message that was not accepted.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message)
            | Self::TimedOut(message)
            | Self::Stopped(message)
            | Self::Interrupted(message)
            | Self::NoStack(message)
            | Self::Unwinding(message)
            | Self::WouldDeadlock { message, .. } => message,
        }
    }

    /// The same error without the message: small, `Send` and `Sync`.
    pub fn without_message(&self) -> SendError<()> {
        match self {
            Self::Full(_) => SendError::Full(()),
            Self::TimedOut(_) => SendError::TimedOut(()),
            Self::Stopped(_) => SendError::Stopped(()),
            Self::Interrupted(_) => SendError::Interrupted(()),
            Self::NoStack(_) => SendError::NoStack(()),
            Self::Unwinding(_) => SendError::Unwinding(()),
            Self::WouldDeadlock { path, .. } => SendError::WouldDeadlock {
                message: (),
                path: path.clone(),
            },
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Full(_) => "Full",
            Self::TimedOut(_) => "TimedOut",
            Self::Stopped(_) => "Stopped",
            Self::Interrupted(_) => "Interrupted",
            Self::NoStack(_) => "NoStack",
            Self::Unwinding(_) => "Unwinding",
            Self::WouldDeadlock { path, .. } => {
                return f
                    .debug_struct("WouldDeadlock")
                    .field("path", path)
                    .finish_non_exhaustive();
            }
        };
        f.debug_tuple(variant).finish_non_exhaustive()
    }
}

impl<M> SendError<M> {
    pub(crate) fn from_wait(error: WaitError, message: M) -> Self {
        match error {
            WaitError::Interrupted => Self::Interrupted(message),
            WaitError::NoStack => Self::NoStack(message),
            WaitError::Unwinding => Self::Unwinding(message),
            WaitError::WouldDeadlock { path } => Self::WouldDeadlock { message, path },
            WaitError::NoThread => unreachable!("a wait for room needs no thread"),
        }
    }

    pub(crate) fn map<N>(self, f: impl FnOnce(M) -> N) -> SendError<N> {
        match self {
            Self::Full(m) => SendError::Full(f(m)),
            Self::TimedOut(m) => SendError::TimedOut(f(m)),
            Self::Stopped(m) => SendError::Stopped(f(m)),
            Self::Interrupted(m) => SendError::Interrupted(f(m)),
            Self::NoStack(m) => SendError::NoStack(f(m)),
            Self::Unwinding(m) => SendError::Unwinding(f(m)),
            Self::WouldDeadlock { message, path } => SendError::WouldDeadlock {
                message: f(message),
                path,
            },
        }
    }
}

/// The message was not accepted by the mailbox.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError<M> {
    /// The mailbox is at capacity, whatever its policy.
    #[error("mailbox is full")]
    Full(M),
    /// The actor has begun to stop and will never accept a message again.
    #[error("actor has stopped")]
    Stopped(M),
}

impl<M> TrySendError<M> {
    /// The message that was not accepted.
    pub fn into_inner(self) -> M {
        match self {
            Self::Full(message) | Self::Stopped(message) => message,
        }
    }

    /// The same error without the message: small, `Send` and `Sync`.
    pub fn without_message(&self) -> TrySendError<()> {
        match self {
            Self::Full(_) => TrySendError::Full(()),
            Self::Stopped(_) => TrySendError::Stopped(()),
        }
    }
}

impl<M> fmt::Debug for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = match self {
            Self::Full(_) => "Full",
            Self::Stopped(_) => "Stopped",
        };
        f.debug_tuple(variant).finish_non_exhaustive()
    }
}

/// A request that comes back because it was never queued.
pub struct Undelivered(Mutex<Box<dyn Any + Send>>);

impl Undelivered {
    pub(crate) fn new(message: Box<dyn Any + Send>) -> Self {
        Self(Mutex::new(message))
    }

    /// The request, if `M` is its type.
    ///
    /// # Errors
    ///
    /// Gives itself back if the request has another type.
    pub fn into_message<M: 'static>(self) -> Result<M, Self> {
        let message = self.0.into_inner();
        message
            .downcast()
            .map(|message| *message)
            .map_err(Self::new)
    }
}

impl fmt::Debug for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undelivered").finish_non_exhaustive()
    }
}

/// How far a request had come when its asker stopped waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It was still queued, or stood in line for a full mailbox. It will never be run.
    Queued,
    /// Its handler had begun, or had put the answer off. Its effects may still come.
    Running,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Running => "running",
        })
    }
}

/// A request was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The actor ended before it answered.
    #[error("actor has stopped")]
    Stopped {
        /// Why it ended.
        #[source]
        reason: StopReason,
    },
    /// The handler panicked while it had this request in hand or its answer in debt.
    #[error("the asked actor panicked: {message}")]
    Panicked {
        /// The panic's words, or a note that it had none.
        message: Arc<str>,
    },
    /// The mailbox is full and its policy rejects new messages, or there was no room in the
    /// time that its policy gives. The request comes back.
    #[error("mailbox is full")]
    Full(Undelivered),
    /// The mailbox is full and its policy drops new messages.
    #[error("request was dropped by the mailbox's policy")]
    DroppedByPolicy,
    /// The [`ReplyTo`](crate::ReplyTo) was dropped unanswered.
    #[error("request was dropped unanswered")]
    Dropped,
    /// There was no answer in time.
    #[error("no answer in time while {0}")]
    TimedOut(Stage),
    /// Nobody on this path could go on; see [`WaitError::WouldDeadlock`]. The request is
    /// withdrawn.
    #[error("the wait for the answer would never end: {path}")]
    WouldDeadlock {
        /// The circle, beginning with the asker.
        path: WaitPath,
    },
    /// The request went to several actors through a [`Router`](crate::Router), of which the first
    /// answer was awaited, and none answered.
    #[error("none of {} asked actors answered", failures.len())]
    NoneAnswered {
        /// How each of the requests failed, in the order of the router's members.
        failures: Vec<AskError>,
    },
    /// The wait for the answer could not be begun or was ended; the request is withdrawn.
    #[error("the wait for the answer failed")]
    Wait(#[source] WaitError),
}

impl From<WaitError> for AskError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::WouldDeadlock { path } => Self::WouldDeadlock { path },
            error => Self::Wait(error),
        }
    }
}

/// An actor could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The capacity is 0 or beyond the limit.
    #[error("a mailbox's capacity must be from 1 to {limit}, not {capacity}")]
    Capacity {
        /// What was asked for.
        capacity: usize,
        /// The largest capacity.
        limit: usize,
    },
    /// The system has begun to shut down.
    #[error("the system is shutting down")]
    ShuttingDown,
    /// The parent ends, or its supervisor does, so no child of it may begin.
    #[error("the parent is ending")]
    ParentEnding,
    /// The name belongs to another actor of the same type that has not ended.
    #[error("an actor `{actor_type}` is registered as {name} already")]
    NameTaken {
        /// The name.
        name: Arc<str>,
        /// The name of the actors' type.
        actor_type: &'static str,
    },
    /// The operating system refused the actor's thread.
    #[error("the operating system refused a thread")]
    Thread(#[source] std::io::Error),
}

/// No actor was found under a name that was waited for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamedError {
    /// The system has begun to shut down, so none will come.
    #[error("the system is shutting down")]
    ShuttingDown,
    /// None came in time.
    #[error("no actor of that name came in time")]
    TimedOut,
    /// The wait could not be begun or was ended.
    #[error("the wait for the name failed")]
    Wait(#[source] WaitError),
}

/// An actor could not join a group.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The actor has ended: its `stopped` has returned.
    #[error("an actor that has ended joins no group")]
    Ended {
        /// Why it ended.
        #[source]
        reason: StopReason,
    },
}

/// A system could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A pool needs at least one worker.
    #[error("a pool needs at least one worker")]
    NoWorkers,
    /// Each worker of a pool needs a stack, also if no handler ever waits.
    #[error("a pool of {workers} workers needs more than {stacks} stacks")]
    TooFewStacks {
        /// How many stacks there may be.
        stacks: usize,
        /// How many workers there are to be.
        workers: usize,
    },
    /// The operating system refused a thread.
    #[error("the operating system refused a thread")]
    Thread(#[source] std::io::Error),
    /// The operating system refused the memory of a worker's first stack.
    #[error("the operating system refused a stack")]
    Stack(#[source] std::io::Error),
}
