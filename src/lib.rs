//! Actors for threads: plain `fn` handlers, bounded mailboxes, and waits that park a stack
//! instead of a thread.
//!
//! See the README for what the crate promises, and DESIGN.md for how it keeps it.
//!
//! # Where to begin
//!
//! Implement [`Actor`] and one [`Handler`] per message; [`System::spawn`] it; [`Addr::send`] and
//! [`Addr::ask`] it.

#![warn(unreachable_pub)]

#[cfg(not(any(unix, windows)))]
compile_error!("greenroom parks stacks, for which it needs a platform that corosensei supports");

// In order of dependence: a module imports from those above it only.
mod sync;

mod id;

mod waits;

mod error;

mod unwind;

mod time;

mod observe;

mod mailbox;

mod executor;

mod runtime;

mod actor;

mod system;

pub mod testkit;

pub use actor::{
    Actor, Addr, Asker, Context, DeferredHandler, First, Handler, Recipient, Reply, ReplyOf,
    ReplyTo, SendFuture, Spawner, Timer, WeakAddr, wait_all, wait_any,
};
pub use error::{
    AskError, BuildError, SendError, SpawnError, Stage, StopReason, TrySendError, Undelivered,
    WaitError,
};
pub use id::ActorId;
pub use mailbox::Overflow;
pub use observe::{
    ActorSnapshot, ActorState, BlockingSnapshot, Counts, DeadLetter, DeadLetterFeed, LossReason,
    Snapshot, WorkerSnapshot,
};
pub use system::{ShutdownReport, System, SystemBuilder, Unfinished};
pub use waits::{Awaited, Identity, Wait, WaitEdge, WaitPath};
