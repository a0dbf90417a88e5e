//! Finding an actor by its name, and waiting for one; how names are kept is said in `runtime`.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use super::cell::Cell;
use super::wait::{FromOutside, wait};
use super::{Actor, Addr};
use crate::error::NamedError;
use crate::runtime::{Erased, Key, Runtime};
use crate::time::later;
use crate::waits::Awaited;

/// The actor of this name, unless it has begun to end or has no address.
pub(crate) fn find<A: Actor>(runtime: &Runtime, name: &str) -> Option<Addr<A>> {
    address(runtime.names.find::<A>(name)?)
}

fn address<A: Actor>(cell: Erased) -> Option<Addr<A>> {
    let cell = cell.downcast::<Cell<A>>();
    let cell = cell.expect("a name's key tells its actor's type");
    if cell.core().mailbox.queue().is_closed() {
        return None;
    }
    Addr::upgrade(&cell)
}

/// An actor that is or will be registered under a name; see [`System::named`](crate::System::named).
///
/// [`wait`](Self::wait) and [`wait_for`](Self::wait_for) wait for it, in a handler or on a plain
/// thread; as a future it is awaited under any executor. All three end at once if such an actor is
/// there, and when one comes otherwise. An actor that has begun to end does not count, though its
/// name is not free yet; neither does one that nobody has an address of.
///
/// In a handler the wait shows as [`Awaited::Name`]. Nobody knows who will register an
/// actor, so a circle of waits that goes through one is not found.
///
/// It keeps neither an actor alive nor the system.
///
/// # Cancel safety
///
/// As a future it may be polled by reference, and awaited or waited for later; nothing is lost.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Context, Handler, System};
///
/// struct Ledger;
/// impl Actor for Ledger {}
///
/// struct Sum;
/// impl Handler<Sum> for Ledger {
///     type Reply = u64;
///     fn handle(&mut self, _: Sum, _: &mut Context<Self>) -> u64 { 42 }
/// }
///
/// struct Clerk;
/// impl Actor for Clerk {}
///
/// struct Report;
/// impl Handler<Report> for Clerk {
///     type Reply = u64;
///     fn handle(&mut self, _: Report, ctx: &mut Context<Self>) -> u64 {
///         let ledger = ctx.named::<Ledger>("ledger").wait().expect("it will come");
///         ledger.ask(Sum).wait().expect("it answers")
///     }
/// }
///
/// let system = System::new();
/// let report = system.spawn(Clerk).ask(Report);
/// let _ledger = system.actor().registered("ledger").spawn(Ledger)?;
/// assert_eq!(report.wait()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nobody waits before `wait`, `wait_for` or `.await`"]
pub struct Named<A: Actor> {
    runtime: Arc<Runtime>,
    key: Key,
    /// By which a waker was left.
    number: Option<u64>,
    actor: PhantomData<fn() -> A>,
}

impl<A: Actor> Named<A> {
    pub(crate) fn new(runtime: Arc<Runtime>, name: Arc<str>) -> Self {
        Self {
            runtime,
            key: Key::of::<A>(name),
            number: None,
            actor: PhantomData,
        }
    }

    /// Waits until there is an actor of this type and name, and returns its address.
    ///
    /// In a handler of the pool the handler's stack is parked and its worker goes on with other
    /// actors; elsewhere the thread sleeps. In an async task await it instead.
    ///
    /// # Errors
    ///
    /// [`NamedError::ShuttingDown`] if the system begins to shut down, or has begun;
    /// [`NamedError::Wait`] if the wait cannot be begun or is ended, as by a kill of the
    /// waiting actor.
    pub fn wait(self) -> Result<Addr<A>, NamedError> {
        self.wait_until(None)
    }

    /// As [`wait`](Self::wait), for at most `limit` by the system's clock.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait); besides [`NamedError::TimedOut`]. An actor that is there is
    /// found whatever the limit.
    pub fn wait_for(self, limit: Duration) -> Result<Addr<A>, NamedError> {
        let deadline = later(self.runtime.now(), limit);
        self.wait_until(Some(deadline))
    }

    fn wait_until(mut self, deadline: Option<Instant>) -> Result<Addr<A>, NamedError> {
        let goal = FromOutside(Awaited::Name {
            name: self.key.name().clone(),
            actor_type: type_name::<A>(),
        });
        let runtime = self.runtime.clone();
        match wait(&runtime, &goal, deadline, |waker| self.poll_named(waker)) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(NamedError::TimedOut),
            Err(error) => Err(NamedError::Wait(error)),
        }
    }

    fn poll_named(&mut self, waker: &Waker) -> Poll<Result<Addr<A>, NamedError>> {
        if let Some(addr) = find(&self.runtime, self.key.name()) {
            return Poll::Ready(Ok(addr));
        }
        let names = &self.runtime.names;
        let number = *self.number.get_or_insert_with(|| names.next_number());
        // Looks again: whoever came since the waker was left calls it.
        let named = names.find_or_wait(&self.key, number, waker);
        if let Some(addr) = named.and_then(address) {
            return Poll::Ready(Ok(addr));
        }
        if self.runtime.is_closing() {
            return Poll::Ready(Err(NamedError::ShuttingDown));
        }
        Poll::Pending
    }
}

impl<A: Actor> Future for Named<A> {
    type Output = Result<Addr<A>, NamedError>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_named(cx.waker())
    }
}

impl<A: Actor> Drop for Named<A> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.runtime.names.forget_waiter(&self.key, number);
        }
    }
}

impl<A: Actor> fmt::Debug for Named<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named")
            .field("name", self.key.name())
            .field("actor_type", &type_name::<A>())
            .finish_non_exhaustive()
    }
}
