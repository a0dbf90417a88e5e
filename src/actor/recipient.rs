//! Addresses by message type, whatever the actor.

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::address::debug_address;
use super::ask::Reply;
use super::{Actor, Addr, DeferredHandler, ReplyOf, WeakAddr};
use crate::error::{SendError, TrySendError};
use crate::id::ActorId;
use crate::runtime::Runtime;

/// A future of a boxed send.
pub(crate) type Sending<M> = Pin<Box<dyn Future<Output = Result<(), SendError<M>>> + Send>>;

/// Whose an erased address is.
pub(crate) trait Identified: Send + Sync {
    fn id(&self) -> ActorId;
    fn name(&self) -> Option<&str>;
    /// The cell's address, which tells actors apart, also those of different systems.
    fn identity(&self) -> *const ();
}

/// What every erased address can tell that keeps its actor alive.
pub(crate) trait Known: Identified {
    fn runtime(&self) -> &Runtime;
    /// How many messages are queued or in hand; a picture of some moment.
    fn load(&self) -> usize;
}

impl<A: Actor> Identified for Addr<A> {
    fn id(&self) -> ActorId {
        Addr::id(self)
    }

    fn name(&self) -> Option<&str> {
        Addr::name(self)
    }

    fn identity(&self) -> *const () {
        self.identity()
    }
}

impl<A: Actor> Known for Addr<A> {
    fn runtime(&self) -> &Runtime {
        Addr::runtime(self)
    }

    fn load(&self) -> usize {
        Addr::load(self)
    }
}

impl<A: Actor> Identified for WeakAddr<A> {
    fn id(&self) -> ActorId {
        WeakAddr::id(self)
    }

    fn name(&self) -> Option<&str> {
        WeakAddr::name(self)
    }

    fn identity(&self) -> *const () {
        self.identity()
    }
}

pub(crate) trait Sends<M: Send + 'static>: Known {
    fn send(&self, message: M) -> Result<(), SendError<M>>;
    fn try_send(&self, message: M) -> Result<(), TrySendError<M>>;
    fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>>;
    fn send_async(self: Arc<Self>, message: M) -> Sending<M>;
    fn downgrade(self: Arc<Self>) -> WeakRecipient<M>;
}

impl<A: DeferredHandler<M>, M: Send + 'static> Sends<M> for Addr<A> {
    fn send(&self, message: M) -> Result<(), SendError<M>> {
        Addr::send(self, message)
    }

    fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        Addr::try_send(self, message)
    }

    fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>> {
        Addr::send_for(self, message, limit)
    }

    fn send_async(self: Arc<Self>, message: M) -> Sending<M> {
        Box::pin(Addr::send_async(&self, message))
    }

    fn downgrade(self: Arc<Self>) -> WeakRecipient<M> {
        WeakRecipient::new(Addr::downgrade(&self))
    }
}

trait WeaklySends<M: Send + 'static>: Identified {
    fn upgrade(&self) -> Option<Recipient<M>>;
    fn try_send(&self, message: M) -> Result<(), TrySendError<M>>;
    fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>>;
}

impl<A: DeferredHandler<M>, M: Send + 'static> WeaklySends<M> for WeakAddr<A> {
    fn upgrade(&self) -> Option<Recipient<M>> {
        WeakAddr::upgrade(self).map(Recipient::new)
    }

    fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        match WeakAddr::upgrade(self) {
            Some(addr) => addr.try_send(message),
            None => Err(TrySendError::Stopped(message)),
        }
    }

    fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>> {
        match WeakAddr::upgrade(self) {
            Some(addr) => addr.send_for(message, limit),
            None => Err(SendError::Stopped(message)),
        }
    }
}

pub(crate) trait Asks<M: Send + 'static, R>: Sends<M> {
    fn ask(&self, message: M) -> Reply<R>;
    /// As `ask`, but gives the message back if the mailbox is closed.
    fn ask_if_open(&self, message: M) -> Result<Reply<R>, M>;
}

impl<A: DeferredHandler<M>, M: Send + 'static> Asks<M, ReplyOf<A, M>> for Addr<A> {
    fn ask(&self, message: M) -> Reply<ReplyOf<A, M>> {
        Addr::ask(self, message)
    }

    fn ask_if_open(&self, message: M) -> Result<Reply<ReplyOf<A, M>>, M> {
        Addr::ask_if_open(self, message)
    }
}

macro_rules! sending_address {
    ($name:ident < $($param:ident),+ >) => {
        impl<$($param: Send + 'static),+> $name<$($param),+> {
            /// Queues `message`; see [`Addr::send`].
            ///
            /// # Errors
            ///
            /// As [`Addr::send`].
            pub fn send(&self, message: M) -> Result<(), SendError<M>> {
                self.to.send(message)
            }

            /// Queues `message` without waiting; see [`Addr::try_send`].
            ///
            /// # Errors
            ///
            /// As [`Addr::try_send`].
            pub fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
                self.to.try_send(message)
            }

            /// Queues `message`, waiting at most for `limit`; see [`Addr::send_for`].
            ///
            /// # Errors
            ///
            /// As [`Addr::send_for`].
            pub fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>> {
                self.to.send_for(message, limit)
            }

            /// Queues `message`; waiting for room is awaited. See [`Addr::send_async`], from
            /// which it differs by one allocation.
            pub fn send_async(
                &self,
                message: M,
            ) -> impl Future<Output = Result<(), SendError<M>>> + Send + use<$($param),+> {
                self.to.clone().send_async(message)
            }
        }
    };
}

macro_rules! erased_address {
    ($name:ident < $($param:ident),+ >, $text:literal) => {
        impl<$($param: Send + 'static),+> $name<$($param),+> {
            /// The actor's id.
            pub fn id(&self) -> ActorId {
                self.to.id()
            }

            /// The actor's name, if it has one.
            pub fn name(&self) -> Option<&str> {
                self.to.name()
            }
        }

        impl<$($param: Send + 'static),+> Clone for $name<$($param),+> {
            fn clone(&self) -> Self {
                Self {
                    to: self.to.clone(),
                }
            }
        }

        impl<$($param: Send + 'static),+> PartialEq for $name<$($param),+> {
            fn eq(&self, other: &Self) -> bool {
                self.to.identity() == other.to.identity()
            }
        }

        impl<$($param: Send + 'static),+> Eq for $name<$($param),+> {}

        impl<$($param: Send + 'static),+> Hash for $name<$($param),+> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.to.identity().hash(state);
            }
        }

        impl<$($param: Send + 'static),+> fmt::Debug for $name<$($param),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                debug_address($text, self.id(), self.name(), f)
            }
        }
    };
}

/// Some actor that handles `M`. Keeps it alive as an [`Addr`] does.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Context, Handler, Recipient, System};
///
/// struct Printer;
/// impl Actor for Printer {}
/// impl Handler<String> for Printer {
///     type Reply = ();
///     fn handle(&mut self, line: String, _: &mut Context<Self>) { println!("{line}") }
/// }
///
/// let system = System::new();
/// let listeners: Vec<Recipient<String>> = vec![system.spawn(Printer).recipient()];
/// for listener in &listeners {
///     listener.send("hello".to_owned()).map_err(|error| error.without_message())?;
/// }
/// # Ok::<(), greenroom::SendError<()>>(())
/// ```
pub struct Recipient<M: Send + 'static> {
    to: Arc<dyn Sends<M>>,
}

impl<M: Send + 'static> Recipient<M> {
    pub(super) fn new<A: DeferredHandler<M>>(to: Addr<A>) -> Self {
        Self { to: Arc::new(to) }
    }

    pub(crate) fn from_sends(to: Arc<dyn Sends<M>>) -> Self {
        Self { to }
    }

    pub(crate) fn sends(&self) -> &dyn Sends<M> {
        &*self.to
    }

    pub(crate) fn into_sends(self) -> Arc<dyn Sends<M>> {
        self.to
    }

    /// A handle that does not keep the actor alive.
    pub fn downgrade(&self) -> WeakRecipient<M> {
        self.to.clone().downgrade()
    }
}

sending_address!(Recipient<M>);
erased_address!(Recipient<M>, "Recipient");

/// Some actor that handles `M`, which this does not keep alive.
///
/// Equal, hashed and shown as a [`Recipient`].
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Context, Handler, System};
///
/// struct Printer;
/// impl Actor for Printer {}
/// impl Handler<String> for Printer {
///     type Reply = ();
///     fn handle(&mut self, line: String, _: &mut Context<Self>) { println!("{line}") }
/// }
///
/// let system = System::new();
/// let printer = system.spawn(Printer).recipient::<String>();
/// let weak = printer.downgrade();
/// assert_eq!(weak.upgrade().as_ref(), Some(&printer));
/// drop(printer);
/// assert!(weak.upgrade().is_none());
/// ```
pub struct WeakRecipient<M: Send + 'static> {
    to: Arc<dyn WeaklySends<M>>,
}

/// A router, as one that keeps neither it nor its members alive.
struct WeakRouter<M> {
    router: Weak<dyn Sends<M>>,
    id: ActorId,
    identity: usize,
}

impl<M: Send + 'static> Identified for WeakRouter<M> {
    fn id(&self) -> ActorId {
        self.id
    }

    fn name(&self) -> Option<&str> {
        None
    }

    fn identity(&self) -> *const () {
        ptr::without_provenance(self.identity)
    }
}

impl<M: Send + 'static> WeaklySends<M> for WeakRouter<M> {
    fn upgrade(&self) -> Option<Recipient<M>> {
        self.router.upgrade().map(Recipient::from_sends)
    }

    fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        match self.router.upgrade() {
            Some(router) => router.try_send(message),
            None => Err(TrySendError::Stopped(message)),
        }
    }

    fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>> {
        match self.router.upgrade() {
            Some(router) => router.send_for(message, limit),
            None => Err(SendError::Stopped(message)),
        }
    }
}

impl<M: Send + 'static> WeakRecipient<M> {
    pub(crate) fn of_router(router: &Arc<dyn Sends<M>>) -> Self {
        let weak = WeakRouter {
            router: Arc::downgrade(router),
            id: router.id(),
            identity: router.identity().addr(),
        };
        Self { to: Arc::new(weak) }
    }

    pub(super) fn new<A: DeferredHandler<M>>(to: WeakAddr<A>) -> Self {
        Self { to: Arc::new(to) }
    }

    /// A recipient, if an address is left by which the actor is kept alive.
    ///
    /// It may be of an actor that has ended otherwise.
    pub fn upgrade(&self) -> Option<Recipient<M>> {
        self.to.upgrade()
    }

    /// As [`Addr::try_send`]; without an address left, the actor counts as one that has stopped.
    pub(super) fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        self.to.try_send(message)
    }

    /// As [`Addr::send_for`]; without an address left, the actor counts as one that has stopped.
    pub(super) fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>> {
        self.to.send_for(message, limit)
    }
}

erased_address!(WeakRecipient<M>, "WeakRecipient");

/// Some actor that answers `M` with `R`. Keeps it alive as an [`Addr`] does.
pub struct Asker<M: Send + 'static, R: Send + 'static> {
    to: Arc<dyn Asks<M, R>>,
}

impl<M: Send + 'static, R: Send + 'static> Asker<M, R> {
    pub(super) fn new<A: DeferredHandler<M, Reply = R>>(to: Addr<A>) -> Self {
        Self { to: Arc::new(to) }
    }

    pub(crate) fn from_asks(to: Arc<dyn Asks<M, R>>) -> Self {
        Self { to }
    }

    pub(crate) fn into_asks(self) -> Arc<dyn Asks<M, R>> {
        self.to
    }

    /// Queues `message` as a request; see [`Addr::ask`].
    pub fn ask(&self, message: M) -> Reply<R> {
        self.to.ask(message)
    }
}

sending_address!(Asker<M, R>);
erased_address!(Asker<M, R>, "Asker");
