//! What can go wrong, one type per operation, and why an actor ended.
//!
//! A failed send gives its message back. `Debug` is by hand, so messages need none and nothing
//! of them reaches a log. No error holds a type of another crate.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::sync::Mutex;

/// Why an actor ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StopReason {
    /// `stop` was called on its address or its context.
    #[error("it was stopped")]
    Stopped,
    /// `drain` was called on its address, and it has handled its queue.
    #[error("it was drained")]
    Drained,
    /// `kill` was called on its address.
    #[error("it was killed")]
    Killed,
    /// Its last strong address was gone, and it has handled its queue.
    #[error("its last address was dropped")]
    Unreferenced,
    /// The system shut down.
    #[error("the system shut down")]
    Shutdown,
    /// A handler, a hook or the closure that makes the actor panicked.
    #[error("it panicked: {message}")]
    Panicked {
        /// The panic's words, or a note that it had none.
        message: Arc<str>,
    },
}

/// A wait inside a handler could not be begun, or was ended before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
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
}

macro_rules! message_comes_back {
    ($error:ident { $($variant:ident),+ }) => {
        impl<M> $error<M> {
            /// The message that was not accepted.
            pub fn into_inner(self) -> M {
                match self {
                    $(Self::$variant(message) => message),+
                }
            }

            /// The same error without the message: small, `Send` and `Sync`.
            pub fn without_message(&self) -> $error<()> {
                match self {
                    $(Self::$variant(_) => $error::$variant(())),+
                }
            }

            fn variant(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => stringify!($variant)),+
                }
            }
        }

        impl<M> fmt::Debug for $error<M> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(self.variant()).finish_non_exhaustive()
            }
        }
    };
}

/// The message was not accepted under the mailbox's policy, or the wait for room ended.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
}

message_comes_back!(SendError {
    Full,
    TimedOut,
    Stopped,
    Interrupted,
    NoStack,
    Unwinding
});

impl<M> SendError<M> {
    pub(crate) fn from_wait(error: WaitError, message: M) -> Self {
        match error {
            WaitError::Interrupted => Self::Interrupted(message),
            WaitError::NoStack => Self::NoStack(message),
            WaitError::Unwinding => Self::Unwinding(message),
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

message_comes_back!(TrySendError { Full, Stopped });

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
    /// The wait for the answer could not be begun or was ended; the request is withdrawn.
    #[error("the wait for the answer failed")]
    Wait(#[from] WaitError),
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
    /// The operating system refused the actor's thread.
    #[error("the operating system refused a thread")]
    Thread(#[source] std::io::Error),
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
