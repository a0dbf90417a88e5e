//! Who waits for whom, as plain data: what a picture of a system's waits shows, and the path of
//! a deadlock.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::id::ActorId;

/// An actor, as it is named to people.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// Its id.
    pub id: ActorId,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// The name of its type.
    pub actor_type: &'static str,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.actor_type, self.id)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// What a wait is for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Awaited {
    /// An answer that is given when the handler returns.
    Reply {
        /// Who was asked.
        from: Identity,
        /// The type of the request.
        request_type: &'static str,
    },
    /// An answer that may be put off, while its request is still queued.
    Queued {
        /// Who was asked.
        at: Identity,
        /// The type of the request.
        request_type: &'static str,
    },
    /// An answer that was put off, or is there: whoever holds the
    /// [`ReplyTo`](crate::ReplyTo) gives it, and nobody knows who that is.
    Deferred {
        /// Who was asked.
        from: Identity,
        /// The type of the request.
        request_type: &'static str,
    },
    /// The first of several answers.
    AnyReply {
        /// Who was asked.
        from: Vec<Identity>,
    },
    /// Room in a full mailbox.
    Room {
        /// Whose mailbox it is.
        at: Identity,
        /// The type of the message.
        message_type: &'static str,
    },
    /// An actor's end.
    End {
        /// The actor.
        of: Identity,
    },
    /// An actor that is registered under a name.
    Name {
        /// The name.
        name: Arc<str>,
        /// The name of the actor's type.
        actor_type: &'static str,
    },
    /// A moment.
    Time,
    /// A future, about which nothing is known.
    Future,
    /// A closure that runs on a thread for blocking work.
    Blocking,
    /// The end of all actors of a system.
    Shutdown,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { from, request_type } => {
                write!(f, "the answer of {from} to `{request_type}`")
            }
            Self::Queued { at, request_type } => {
                write!(f, "the turn of `{request_type}`, which is queued at {at}")
            }
            Self::Deferred { from, request_type } => {
                write!(f, "an answer to `{request_type}` that {from} has put off")
            }
            Self::AnyReply { from } => {
                f.write_str("the first answer of")?;
                for (index, from) in from.iter().enumerate() {
                    let separator = if index == 0 { " " } else { ", " };
                    write!(f, "{separator}{from}")?;
                }
                Ok(())
            }
            Self::Room { at, message_type } => {
                write!(f, "room for `{message_type}` in the mailbox of {at}")
            }
            Self::End { of } => write!(f, "the end of {of}"),
            Self::Name { name, actor_type } => {
                write!(f, "an actor `{actor_type}` registered as {name}")
            }
            Self::Time => f.write_str("a moment"),
            Self::Future => f.write_str("a future"),
            Self::Blocking => f.write_str("a blocking closure"),
            Self::Shutdown => f.write_str("the end of all actors"),
        }
    }
}

/// A wait of an actor's handler or hook, as it was at some moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Wait {
    /// Who waits.
    pub actor: Identity,
    /// The type of the message whose handler waits; `None` in a hook.
    pub message_type: Option<&'static str>,
    /// What it waits for.
    pub awaited: Awaited,
    /// How long it has waited so far, by the system's clock.
    pub waited: Duration,
    /// When it will give up, if it has a limit.
    pub deadline: Option<Instant>,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            actor,
            message_type,
            awaited,
            waited,
            ..
        } = self;
        write!(f, "{actor}")?;
        if let Some(message_type) = message_type {
            write!(f, " in `{message_type}`")?;
        }
        write!(f, " has waited {waited:?} for {awaited}")
    }
}

/// One actor of a [`WaitPath`], and what it waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WaitEdge {
    /// Who waits.
    pub waiter: Identity,
    /// For what. It is the next actor of the path that would have to bring it about.
    pub awaited: Awaited,
}

/// A circle of waits: each actor waits for the next one, and the last for the first.
///
/// The first is the one whose call would have closed the circle. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitPath(Arc<[WaitEdge]>);

impl WaitPath {
    pub(crate) fn new(edges: Vec<WaitEdge>) -> Self {
        Self(edges.into())
    }

    /// The waits in order, the one that was refused first.
    pub fn edges(&self) -> &[WaitEdge] {
        &self.0
    }
}

impl fmt::Display for WaitPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, WaitEdge { waiter, awaited }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{waiter} waits for {awaited}")?;
        }
        Ok(())
    }
}
