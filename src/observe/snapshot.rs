//! A picture of a system at about one moment, as plain data.

use std::sync::Arc;
use std::time::Duration;

use crate::error::StopReason;
use crate::id::ActorId;
use crate::observe::Counts;

/// What an actor is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ActorState {
    /// Nothing is queued, or it waits for its turn.
    Idle,
    /// A handler or hook is running.
    Running {
        /// The type of the message in hand; `None` in a hook.
        message_type: Option<&'static str>,
    },
    /// A handler or hook waits; in the pool its stack is parked.
    Waiting {
        /// The type of the message in hand; `None` in a hook.
        message_type: Option<&'static str>,
    },
    /// It is supervised and between two lives, or not started yet; its messages wait.
    Down,
    /// It ends, or this life of it does, and waits for its children to end.
    Stopping,
    /// It has ended.
    Ended(StopReason),
}

/// One actor.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ActorSnapshot {
    /// Its id.
    pub id: ActorId,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// The name of its type.
    pub actor_type: &'static str,
    /// What it is doing.
    pub state: ActorState,
    /// Its mailbox's limit, in messages.
    pub capacity: usize,
    /// Senders and requests that stand in line for room.
    pub waiting_senders: usize,
    /// How long its handlers and hooks have waited in all, but for the wait in hand.
    pub waited: Duration,
    /// How often it was started again.
    pub restarts: u64,
    /// What became of its messages.
    pub counts: Counts,
}

/// One worker of the pool.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Its number, from 0.
    pub index: usize,
    /// Stacks that are parked in a wait.
    pub parked_stacks: usize,
    /// Whether it sleeps for want of work.
    pub asleep: bool,
}

/// The threads for closures that block; see [`Context::blocking`](crate::Context::blocking).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BlockingSnapshot {
    /// How many there are.
    pub threads: usize,
    /// How many of them have nothing to run.
    pub idle: usize,
    /// Closures that wait for a thread.
    pub queued: usize,
}

/// A system at about one moment.
///
/// Each figure was true at some moment of the call; the figures are of one moment only if the
/// system is at rest.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The actors that have not ended, in order of their ids.
    pub actors: Vec<ActorSnapshot>,
    /// The sums over these and all actors that have ended.
    pub totals: Counts,
    /// The workers of the pool; none in a system that is stepped by hand.
    pub workers: Vec<WorkerSnapshot>,
    /// The threads for closures that block.
    pub blocking: BlockingSnapshot,
    /// Timers that are set, deadlines of waits among them. One whose message is pending, or whose
    /// actor has to do something first, is not set meanwhile.
    pub timers: usize,
    /// Names that are taken or waited for.
    pub names: usize,
    /// Groups that have a member or a handle.
    pub groups: usize,
}
