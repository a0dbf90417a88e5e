//! Why an actor, or one of its lives, ended.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::restart::Intensity;
use crate::waits::Identity;

/// Why an actor ended, or one of the lives of an actor that is supervised.
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
    /// It failed by [`Context::fail`](crate::Context::fail), or the closure that makes it gave an
    /// error.
    #[error("it failed: {error}")]
    Failed {
        /// The error.
        error: ActorError,
    },
    /// Its parent or supervisor ended.
    #[error("its parent ended")]
    ParentEnded,
    /// Its supervisor was asked to remove it, or to stop it with its siblings.
    #[error("its supervisor stopped it")]
    Removed,
    /// Its supervisor starts it again, since it was asked to or because a sibling has failed.
    #[error("its supervisor restarts it")]
    Restarted,
    /// An actor that it is linked with has ended otherwise than by being told to.
    #[error("it is linked with {actor}, which has ended: {reason}")]
    Linked {
        /// The other actor.
        actor: Identity,
        /// Why that one ended.
        reason: Arc<StopReason>,
    },
    /// It had not ended long after it was told to stop, and then killed: its handler neither
    /// returned nor waited. Its parent has gone on without it.
    #[error("it did not stop in time")]
    Stuck,
    /// It is a supervisor, and one of its children could not be kept alive.
    #[error("it gave up: {0}")]
    GaveUp(Arc<Escalation>),
}

impl StopReason {
    /// Whether the actor failed, instead of ending because it, or whoever is responsible for it,
    /// meant to.
    ///
    /// A [`Transient`](crate::Restart::Transient) child is restarted after such an end only, and
    /// only such an end is passed on by a [link](crate::Context::link).
    pub fn is_abnormal(&self) -> bool {
        match self {
            Self::Stopped
            | Self::Drained
            | Self::Unreferenced
            | Self::Shutdown
            | Self::ParentEnded
            | Self::Removed
            | Self::Restarted => false,
            Self::Killed
            | Self::Panicked { .. }
            | Self::Failed { .. }
            | Self::Linked { .. }
            | Self::Stuck
            | Self::GaveUp(_) => true,
        }
    }
}

/// An error with which an actor failed. Cheap to clone.
///
/// Two are equal if they are clones of one.
#[derive(Clone)]
pub struct ActorError(Arc<dyn Error + Send + Sync>);

impl ActorError {
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(error.into().into())
    }

    /// The error that was given.
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl PartialEq for ActorError {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ActorError {}

impl fmt::Debug for ActorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ActorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for ActorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Why a supervisor gave up: the child that it could not keep alive.
///
/// If that child is a supervisor that gave up itself, its reason tells of the next one; the text
/// of the whole names them all, the innermost last.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Escalation {
    /// The child.
    pub child: Identity,
    /// Why it ended the last time.
    pub reason: StopReason,
    /// Why it was not started again.
    pub cause: GaveUpBecause,
}

/// Why a supervisor does not start a child again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GaveUpBecause {
    /// There were more restarts within a time than the supervisor allows.
    Intensity(Intensity),
    /// The child is still there: it did not stop in time.
    Stuck,
    /// The child could not be started when the supervisor was.
    Start,
}

impl fmt::Display for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            child,
            reason,
            cause,
        } = self;
        match cause {
            GaveUpBecause::Intensity(intensity) => {
                write!(f, "{child} needed more than {intensity}: {reason}")
            }
            GaveUpBecause::Stuck => write!(f, "{child} did not stop in time"),
            GaveUpBecause::Start => write!(f, "{child} could not be started: {reason}"),
        }
    }
}

/// Why a life of an actor ended, as its hooks are told.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The reason, with a panic's words if it was one.
    pub reason: StopReason,
    /// The type of the message that was in hand; `None` in a hook, or between messages.
    pub message_type: Option<&'static str>,
    /// How often the actor was started again before.
    pub restarts: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reason, f)?;
        match self.message_type {
            Some(message_type) => write!(f, " (at `{message_type}`)"),
            None => Ok(()),
        }
    }
}
