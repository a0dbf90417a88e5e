//! Actors for threads: plain `fn` handlers, bounded mailboxes, and waits that park a stack
//! instead of a thread.
//!
//! See the README for what the crate promises, and DESIGN.md for how it keeps it.
//!
//! # Where to begin
//!
//! Implement [`Actor`] and one [`Handler`] per message; [`System::spawn`] it; [`Addr::send`] and
//! [`Addr::ask`] it.
//!
//! # Waiting
//!
//! A handler waits in plain code: for an answer by [`Reply::wait`], for room by [`Addr::send`], for
//! an end by [`Addr::join`], for a while by [`Context::sleep`], for any future by [`Context::wait`],
//! for a closure that blocks by [`Context::blocking`]. In the pool that parks its stack; on an
//! actor's own thread ([`Spawner::spawn_thread`]) and on a plain thread, the thread waits. An async
//! task awaits a [`Reply`], [`Addr::send_async`] and [`Addr::join_async`].
//!
//! `stop` and `drain` end no wait, [`Addr::kill`] ends nearly all: [`WaitError::Interrupted`]. A
//! circle of waits is refused, with its path: [`WaitError::WouldDeadlock`]. [`System::waits`] shows
//! who waits for whom. The README has the rules in full, `examples/waiting.rs` shows them at work.

#![warn(unreachable_pub)]

// The list is corosensei's, from its `arch` module.
#[cfg(not(any(
    all(
        unix,
        any(
            target_arch = "x86_64",
            target_arch = "x86",
            target_arch = "aarch64",
            all(target_arch = "arm", not(target_vendor = "apple")),
            target_arch = "riscv64",
            target_arch = "riscv32",
            target_arch = "loongarch64",
            all(target_arch = "powerpc64", target_abi = "elfv2"),
        )
    ),
    all(windows, any(target_arch = "x86_64", target_arch = "x86")),
)))]
compile_error!(
    "greenroom parks stacks by means of corosensei, which supports Unix on x86-64, x86, AArch64, \
     ARM (but for Apple's), RISC-V, LoongArch64 and PowerPC64 (ELFv2), and Windows on x86-64 and \
     x86; this target is none of them"
);

// In order of dependence: a module imports from those above it only.
mod unwind;

mod random;

mod sync;

mod id;

mod waits;

mod restart;

mod error;

mod time;

mod observe;

mod mailbox;

mod executor;

mod runtime;

mod actor;

mod router;

mod supervisor;

mod system;

pub mod testkit;

pub use actor::{
    Actor, Addr, Asker, Context, DeferredHandler, First, Group, Handler, Interval, JoinFuture,
    MissedTicks, Named, Recipient, Reply, ReplyOf, ReplyTo, SendFuture, Spawner, Terminated, Timer,
    WeakAddr, WeakRecipient, wait_all, wait_any,
};
pub use error::{
    ActorError, AskError, BuildError, Escalation, Failure, GaveUpBecause, GroupError, NamedError,
    SendError, SpawnError, Stage, StopReason, TrySendError, Undelivered, WaitError,
};
pub use id::ActorId;
pub use mailbox::Overflow;
pub use observe::{
    ActorSnapshot, ActorState, BlockingSnapshot, Counts, DeadLetter, DeadLetterFeed, LossReason,
    Snapshot, WorkerSnapshot,
};
pub use restart::{AutoShutdown, Backoff, Intensity, Restart, StopTimeout, Strategy};
pub use router::{Broadcast, Router};
pub use supervisor::{
    ChildInfo, ChildKind, ChildSpec, ChildState, Children, RemoveError, RestartError, StartError,
    Supervisor, SupervisorBuilder,
};
pub use system::{
    ShutdownPhase, ShutdownReport, System, SystemBuilder, TaskOutcome, TaskReport, Unfinished,
};
pub use waits::{Awaited, Identity, Wait, WaitEdge, WaitPath};
