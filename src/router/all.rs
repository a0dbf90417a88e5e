//! Routers that give each member a copy of each message.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::members::{Member, Members, Patience};
use crate::actor::{
    Asker, Asks, Identified, Known, Recipient, Reply, Sending, Sends, WeakRecipient,
};
use crate::error::{SendError, TrySendError};
use crate::id::ActorId;
use crate::runtime::Runtime;

/// How messages of this type are copied.
pub(super) struct Copier<M>(fn(&M) -> M);

impl<M: Clone> Copier<M> {
    pub(super) fn new() -> Self {
        Self(M::clone)
    }
}

/// An address of several members, each of which gets a copy of each message.
pub(super) struct All<M, T: ?Sized> {
    copier: Copier<M>,
    members: Members<T>,
}

impl<M: Send + 'static, T: Known + ?Sized> All<M, T> {
    #[track_caller]
    pub(super) fn new(copier: Copier<M>, members: impl Iterator<Item = Arc<T>>) -> Self {
        Self {
            copier,
            members: Members::new(members),
        }
    }

    /// A copy for each member that has not ended; the message if all have.
    fn copies(&self, message: M) -> Result<Vec<(&Member<T>, M)>, M> {
        let living: Vec<_> = self.members.living().collect();
        if living.is_empty() {
            return Err(message);
        }
        Ok(self.copies_for(living, message))
    }

    /// A copy for each of these, the last of them the message itself.
    fn copies_for<'a>(
        &self,
        mut members: Vec<&'a Member<T>>,
        message: M,
    ) -> Vec<(&'a Member<T>, M)> {
        let last = members.pop();
        let others = members.into_iter();
        let mut copies: Vec<_> = others
            .map(|member| (member, (self.copier.0)(&message)))
            .collect();
        copies.extend(last.map(|member| (member, message)));
        copies
    }

    /// Notes that a member has ended, if that is why it did not take its copy.
    fn note<E>(&self, member: &Member<T>, sent: Sent<E>) -> Sent<E> {
        if matches!(sent, Sent::Stopped(_)) {
            self.members.end(member);
        }
        sent
    }
}

/// What came of a copy.
enum Sent<E> {
    Taken,
    Stopped(E),
    Refused(E),
}

impl<M> From<Result<(), SendError<M>>> for Sent<SendError<M>> {
    fn from(sent: Result<(), SendError<M>>) -> Self {
        match sent {
            Ok(()) => Self::Taken,
            Err(error @ SendError::Stopped(_)) => Self::Stopped(error),
            Err(error) => Self::Refused(error),
        }
    }
}

impl<M> From<Result<(), TrySendError<M>>> for Sent<TrySendError<M>> {
    fn from(sent: Result<(), TrySendError<M>>) -> Self {
        match sent {
            Ok(()) => Self::Taken,
            Err(error @ TrySendError::Stopped(_)) => Self::Stopped(error),
            Err(error) => Self::Refused(error),
        }
    }
}

/// `Ok` if one copy was taken, else the first of the errors that say most.
fn verdict<E>(sent: impl Iterator<Item = Sent<E>>) -> Result<(), E> {
    let (mut is_taken, mut stopped, mut refused) = (false, None, None);
    for sent in sent {
        match sent {
            Sent::Taken => is_taken = true,
            Sent::Stopped(error) => drop(stopped.get_or_insert(error)),
            Sent::Refused(error) => drop(refused.get_or_insert(error)),
        }
    }
    match refused.or(stopped) {
        Some(error) if !is_taken => Err(error),
        _ => Ok(()),
    }
}

impl<M: Send + 'static> All<M, dyn Sends<M>> {
    pub(super) fn into_recipient(self) -> Recipient<M> {
        Recipient::from_sends(Arc::new(self))
    }
}

impl<M: Send + 'static, R: Send + 'static> All<M, dyn Asks<M, R>> {
    pub(super) fn into_asker(self) -> Asker<M, R> {
        Asker::from_asks(Arc::new(self))
    }
}

impl<M: Send + 'static, T: Known + ?Sized> Identified for All<M, T> {
    fn id(&self) -> ActorId {
        self.members.id()
    }

    fn name(&self) -> Option<&str> {
        None
    }

    fn identity(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }
}

impl<M: Send + 'static, T: Known + ?Sized> Known for All<M, T> {
    fn runtime(&self) -> &Runtime {
        self.members.runtime()
    }

    fn load(&self) -> usize {
        self.members.load()
    }
}

impl<M: Send + 'static, T: Sends<M> + ?Sized + 'static> Sends<M> for All<M, T> {
    fn downgrade(self: Arc<Self>) -> WeakRecipient<M> {
        let router: Arc<dyn Sends<M>> = self;
        WeakRecipient::of_router(&router)
    }

    fn send(&self, message: M) -> Result<(), SendError<M>> {
        let copies = self.copies(message).map_err(SendError::Stopped)?;
        let sent = copies.into_iter();
        verdict(sent.map(|(member, copy)| self.note(member, member.to.send(copy).into())))
    }

    fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        let copies = self.copies(message).map_err(TrySendError::Stopped)?;
        let sent = copies.into_iter();
        verdict(sent.map(|(member, copy)| self.note(member, member.to.try_send(copy).into())))
    }

    fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>> {
        let copies = self.copies(message).map_err(SendError::Stopped)?;
        let mut patience = Patience::new(limit);
        verdict(copies.into_iter().map(|(member, copy)| {
            let sent = patience.spend(&*member.to, |left| member.to.send_for(copy, left));
            self.note(member, sent.into())
        }))
    }

    fn send_async(self: Arc<Self>, message: M) -> Sending<M> {
        Box::pin(async move {
            let copies = self.copies(message).map_err(SendError::Stopped)?;
            let mut sent = Vec::with_capacity(copies.len());
            for (member, copy) in copies {
                let queued = member.to.clone().send_async(copy).await;
                sent.push(self.note(member, queued.into()));
            }
            verdict(sent.into_iter())
        })
    }
}

impl<M: Send + 'static, R: Send + 'static, T: Asks<M, R> + ?Sized + 'static> Asks<M, R>
    for All<M, T>
{
    fn ask(&self, message: M) -> Reply<R> {
        self.ask_if_open(message).unwrap_or_else(|message| {
            // All have ended, each for its reason.
            let copies = self.copies_for(self.members.all().collect(), message);
            let failed = copies.into_iter();
            Reply::first_of(failed.map(|(member, copy)| member.to.ask(copy)).collect())
        })
    }

    fn ask_if_open(&self, message: M) -> Result<Reply<R>, M> {
        let mut replies = Vec::new();
        let mut stopped = None;
        for (member, copy) in self.copies(message)? {
            match member.to.ask_if_open(copy) {
                Ok(reply) => replies.push(reply),
                Err(back) => {
                    self.members.end(member);
                    stopped = Some(back);
                }
            }
        }
        match stopped {
            Some(message) if replies.is_empty() => Err(message),
            _ => Ok(Reply::first_of(replies)),
        }
    }
}

/// Several addresses, of which each gets a copy of each message, and what became of each copy.
///
/// Where that does not matter, or where an address is wanted, there is
/// [`Router::broadcast`](crate::Router::broadcast). It holds its members as an
/// [`Addr`](crate::Addr) does.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Addr, Broadcast, Context, Handler, SendError, System};
///
/// struct Listener;
/// impl Actor for Listener {}
/// impl Handler<&'static str> for Listener {
///     type Reply = ();
///     fn handle(&mut self, news: &'static str, _: &mut Context<Self>) { println!("{news}") }
/// }
///
/// let system = System::new();
/// let listeners = [(); 2].map(|()| system.spawn(Listener));
/// let all = Broadcast::new(listeners.iter().map(Addr::recipient));
/// listeners[1].stop();
/// assert_eq!(all.send("hello"), [Ok(()), Err(SendError::Stopped("hello"))]);
/// ```
pub struct Broadcast<M: Send + 'static> {
    members: Vec<Recipient<M>>,
}

impl<M: Clone + Send + 'static> Broadcast<M> {
    /// The members in this order; there may be none.
    pub fn new(members: impl IntoIterator<Item = Recipient<M>>) -> Self {
        Self {
            members: members.into_iter().collect(),
        }
    }

    /// Sends a copy to each member, in their order; what became of each, in this order.
    ///
    /// A full member that lets a sender wait holds up those after it. That one failed is nothing
    /// to the others. The last member gets `message` itself.
    ///
    /// # Errors
    ///
    /// At each place, as [`Addr::send`](crate::Addr::send) to that member. Each gives its copy
    /// back.
    pub fn send(&self, message: M) -> Vec<Result<(), SendError<M>>> {
        let copies = self.copies(message);
        copies.map(|(member, copy)| member.send(copy)).collect()
    }

    /// As [`send`](Self::send), without waiting, whatever the members' policies.
    ///
    /// # Errors
    ///
    /// At each place, as [`Addr::try_send`](crate::Addr::try_send) to that member.
    pub fn try_send(&self, message: M) -> Vec<Result<(), TrySendError<M>>> {
        let copies = self.copies(message);
        copies.map(|(member, copy)| member.try_send(copy)).collect()
    }

    /// As [`send`](Self::send), waiting for room for at most `limit` in all, whatever the members'
    /// policies. When the time is over, those that are left get their copies if they have room.
    ///
    /// # Errors
    ///
    /// At each place, as [`Addr::send_for`](crate::Addr::send_for) to that member.
    pub fn send_for(&self, message: M, limit: Duration) -> Vec<Result<(), SendError<M>>> {
        let mut patience = Patience::new(limit);
        let copies = self.copies(message).map(|(member, copy)| {
            let send = |left| member.send_for(copy, left);
            patience.spend(member.sends(), send)
        });
        copies.collect()
    }

    fn copies(&self, message: M) -> impl Iterator<Item = (&Recipient<M>, M)> {
        let copies = std::iter::repeat_n(message, self.members.len());
        self.members.iter().zip(copies)
    }
}

impl<M: Send + 'static> Clone for Broadcast<M> {
    fn clone(&self) -> Self {
        Self {
            members: self.members.clone(),
        }
    }
}

impl<M: Send + 'static> fmt::Debug for Broadcast<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("members", &self.members)
            .finish()
    }
}
