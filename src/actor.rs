//! Actors: the traits one implements, the addresses one holds, and what runs in between.

mod address;
mod ask;
mod asked;
mod blocking;
mod cell;
mod circles;
mod context;
mod core;
mod envelope;
mod family;
mod frame;
mod future;
mod gather;
mod group;
mod join;
mod memberships;
mod names;
mod orders;
mod recipient;
mod reply;
mod retry;
mod room;
mod runner;
mod slot;
mod spawn;
mod timer;
mod wait;
mod watch;
mod weak;

pub use address::Addr;
pub use ask::{Reply, ReplyTo};
pub use context::Context;
pub use gather::{First, wait_all, wait_any};
pub use group::Group;
pub use join::JoinFuture;
pub use names::Named;
pub use recipient::{Asker, Recipient, WeakRecipient};
pub use room::SendFuture;
pub use spawn::Spawner;
pub use timer::{Interval, MissedTicks, Timer};
pub use watch::Terminated;
pub use weak::WeakAddr;

pub(crate) use cell::{Cell, Target};
pub(crate) use core::stage;
pub(crate) use family::{Event, Kin, Kinship, Manner, Parent, Progress, Stopping, leave};
pub(crate) use names::find;
pub(crate) use orders::{END, REVIVE};
pub(crate) use recipient::{Asks, Identified, Known, Sending, Sends};
pub(crate) use retry::Retries;
pub(crate) use runner::Factory;
pub(crate) use spawn::OnThread;
pub(crate) use wait::{FromOutside, wait};

use crate::error::{Failure, StopReason};

/// The state of an actor, and what happens at the ends of its life.
///
/// One thread at a time has the `&mut self` of an actor; which one may change from message to
/// message. What an actor does in its hooks and handlers is seen by its next handler.
///
/// # Changing behaviour
///
/// There is no call that swaps an actor's handlers. Keep what the actor is doing in an enum, with the
/// data of each state in its variant, and `match` on it in the handlers; change it in one method. A
/// message that comes in the wrong state is kept in a `VecDeque` in that state and handled, in
/// order, after the change. Bound that queue, and refuse what does not fit, since the mailbox's bound
/// no longer counts what was taken out of it. A request is kept with its [`ReplyTo`] (by
/// [`DeferredHandler`]), so its asker only waits; [`ReplyTo::is_wanted`] tells whether he still does.
/// What an actor keeps ends with it: the askers get the reason. `examples/state_machine.rs` shows
/// it.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Context, Handler, System};
///
/// struct Counter { total: u64 }
/// impl Actor for Counter {}
///
/// struct Add(u64);
/// impl Handler<Add> for Counter {
///     type Reply = u64;
///     fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
///         self.total += n;
///         self.total
///     }
/// }
///
/// let system = System::new();
/// let counter = system.spawn(Counter { total: 0 });
/// counter.send(Add(2)).map_err(|error| error.without_message())?;
/// assert_eq!(counter.ask(Add(40)).wait()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Actor: Sized + 'static {
    /// Runs before the first message, also if the actor was ordered to end before.
    ///
    /// A panic here ends the actor as one in a handler does; `stopped` runs then too.
    fn started(&mut self, ctx: &mut Context<Self>) {
        let _ = ctx;
    }

    /// Runs once at the end, when no message is handled any more, before the actor is dropped.
    ///
    /// By then the mailbox is closed and what was queued is dead-lettered. A panic here is
    /// reported through `tracing` and changes nothing else: the reason stays.
    fn stopped(&mut self, reason: &StopReason, ctx: &mut Context<Self>) {
        let _ = (reason, ctx);
    }

    /// Runs at the end of a life that another one is to follow, before the actor is dropped; only
    /// if it is supervised.
    ///
    /// Its mailbox stays open, and its children have ended. Unless it is implemented, `stopped`
    /// runs. A panic here is reported through `tracing` and changes nothing else.
    fn restarting(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        self.stopped(&failure.reason, ctx);
    }

    /// Runs at the beginning of each life but the first, before the next message; only if the actor
    /// is supervised. `failure` says why the last life ended.
    ///
    /// Unless it is implemented, `started` runs. A panic here, or a call of [`Context::fail`], ends
    /// this life too, and counts as a further restart.
    fn restarted(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        let _ = failure;
        self.started(ctx);
    }

    /// Runs when an actor that this one [watches](Context::watch) has ended, or one that it is
    /// linked with if it [traps](Context::trap_links) that; in order behind all messages that the
    /// other one sent it before.
    ///
    /// A panic here is one as in a handler.
    fn terminated(&mut self, ended: &Terminated, ctx: &mut Context<Self>) {
        let _ = (ended, ctx);
    }
}

/// An actor that handles messages of type `M` and answers at once, by returning.
#[diagnostic::on_unimplemented(message = "`{Self}` does not handle `{M}`")]
pub trait Handler<M: Send + 'static>: Actor {
    /// What the asker gets. A `send` drops it.
    type Reply: Send + 'static;

    /// Handles one message.
    ///
    /// A panic ends the actor with [`StopReason::Panicked`]; the asker gets
    /// [`AskError::Panicked`](crate::AskError::Panicked), and no other actor is touched. Requests
    /// that are still queued were not run: they get [`AskError::Stopped`](crate::AskError::Stopped)
    /// with that reason.
    fn handle(&mut self, message: M, ctx: &mut Context<Self>) -> Self::Reply;
}

/// An actor that handles messages of type `M`, and may answer later or from elsewhere.
///
/// Every [`Handler`] is one that answers at once; so all addresses are bound by this trait.
/// Implement it instead of `Handler` where the answer has to wait: keep the [`ReplyTo`], move
/// it to another thread or actor, and answer from there.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Context, DeferredHandler, Handler, ReplyTo, System};
///
/// /// Answers all who wait for it when the door opens.
/// #[derive(Default)]
/// struct Door { waiting: Vec<ReplyTo<&'static str>> }
/// impl Actor for Door {}
///
/// struct Pass;
/// impl DeferredHandler<Pass> for Door {
///     type Reply = &'static str;
///     fn handle_deferred(&mut self, _: Pass, reply: ReplyTo<&'static str>, _: &mut Context<Self>) {
///         self.waiting.push(reply);
///     }
/// }
///
/// struct Open;
/// impl Handler<Open> for Door {
///     type Reply = ();
///     fn handle(&mut self, _: Open, _: &mut Context<Self>) {
///         self.waiting.drain(..).for_each(|reply| reply.send("come in"));
///     }
/// }
///
/// let system = System::new();
/// let door = system.spawn(Door::default());
/// let (first, second) = (door.ask(Pass), door.ask(Pass));
/// door.ask(Open).wait()?;
/// assert_eq!((first.wait()?, second.wait()?), ("come in", "come in"));
/// # Ok::<(), greenroom::AskError>(())
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` does not handle `{M}`")]
pub trait DeferredHandler<M: Send + 'static>: Actor {
    /// What the asker gets.
    type Reply: Send + 'static;

    /// Whether the answer may come after the handler has returned.
    #[doc(hidden)]
    const DEFERRED: bool = true;

    /// Handles one message. The answer is given through `reply`, now or later.
    fn handle_deferred(&mut self, message: M, reply: ReplyTo<Self::Reply>, ctx: &mut Context<Self>);
}

impl<A: Handler<M>, M: Send + 'static> DeferredHandler<M> for A {
    type Reply = <A as Handler<M>>::Reply;

    const DEFERRED: bool = false;

    #[inline]
    fn handle_deferred(
        &mut self,
        message: M,
        reply: ReplyTo<Self::Reply>,
        ctx: &mut Context<Self>,
    ) {
        let answer = self.handle(message, ctx);
        ctx.count_handled();
        reply.send(answer);
    }
}

/// What an actor of type `A` answers to a message of type `M`.
pub type ReplyOf<A, M> = <A as DeferredHandler<M>>::Reply;
