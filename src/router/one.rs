//! Routers that give each message to one member.

use std::sync::Arc;
use std::time::Duration;

use super::hash::draw;
use super::members::{Member, Members, Patience};
use crate::actor::{
    Asker, Asks, Identified, Known, Recipient, Reply, Sending, Sends, WeakRecipient,
};
use crate::error::{SendError, TrySendError};
use crate::id::ActorId;
use crate::random::mix;
use crate::runtime::Runtime;
use crate::sync::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The hash of a message's key.
type Key<M> = Box<dyn Fn(&M) -> u64 + Send + Sync>;

/// Which member gets a message.
pub(super) enum Choice<M> {
    RoundRobin { next: AtomicUsize },
    Random { seed: u64, draws: AtomicU64 },
    LeastLoaded,
    ByKey(Key<M>),
}

impl<M> Choice<M> {
    pub(super) fn round_robin() -> Self {
        Self::RoundRobin {
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn random(seed: u64) -> Self {
        Self::Random {
            seed,
            draws: AtomicU64::new(0),
        }
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::RoundRobin { .. } => "round robin",
            Self::Random { .. } => "random",
            Self::LeastLoaded => "least loaded",
            Self::ByKey(_) => "by key",
        }
    }

    /// `None` if all members have ended.
    fn pick<'a, T: Known + ?Sized>(
        &self,
        message: &M,
        members: &'a Members<T>,
    ) -> Option<&'a Member<T>> {
        let count = members.living_count();
        if count == 0 {
            return None;
        }
        match self {
            // ORDERING: Relaxed: the number is all that is shared, here and below.
            Self::RoundRobin { next } => members.nth_living(next.fetch_add(1, Relaxed) % count),
            Self::Random { seed, draws } => {
                let number = draws.fetch_add(1, Relaxed);
                members.nth_living(draw(*seed, number, count))
            }
            Self::LeastLoaded => members.living().min_by_key(|member| member.to.load()),
            Self::ByKey(key) => {
                let key = key(message);
                let score = |member: &&Member<T>| mix(key ^ member.hash);
                members.living().max_by_key(score)
            }
        }
    }
}

/// An address of several members, of which one gets each message.
pub(super) struct OneOf<M, T: ?Sized> {
    choice: Choice<M>,
    members: Members<T>,
}

impl<M: Send + 'static, T: Known + ?Sized> OneOf<M, T> {
    #[track_caller]
    pub(super) fn new(choice: Choice<M>, members: impl Iterator<Item = Arc<T>>) -> Self {
        Self {
            choice,
            members: Members::new(members),
        }
    }

    /// Tries one member after another until one has not ended; `attempt` gives the message back if
    /// it has. If all have ended, the message comes back.
    fn to_one<Out>(
        &self,
        mut message: M,
        mut attempt: impl FnMut(&T, M) -> Result<Out, M>,
    ) -> Result<Out, M> {
        while let Some(member) = self.choice.pick(&message, &self.members) {
            match attempt(&member.to, message) {
                Ok(out) => return Ok(out),
                Err(back) => {
                    self.members.end(member);
                    message = back;
                }
            }
        }
        Err(message)
    }
}

impl<M: Send + 'static> OneOf<M, dyn Sends<M>> {
    pub(super) fn into_recipient(self) -> Recipient<M> {
        Recipient::from_sends(Arc::new(self))
    }
}

impl<M: Send + 'static, R: Send + 'static> OneOf<M, dyn Asks<M, R>> {
    pub(super) fn into_asker(self) -> Asker<M, R> {
        Asker::from_asks(Arc::new(self))
    }
}

impl<M: Send + 'static, T: Known + ?Sized> Identified for OneOf<M, T> {
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

impl<M: Send + 'static, T: Known + ?Sized> Known for OneOf<M, T> {
    fn runtime(&self) -> &Runtime {
        self.members.runtime()
    }

    fn load(&self) -> usize {
        self.members.load()
    }
}

/// Parts a member's end, which gives the message back, from other outcomes.
fn unless_stopped<M>(sent: Result<(), SendError<M>>) -> Result<Result<(), SendError<M>>, M> {
    match sent {
        Err(SendError::Stopped(message)) => Err(message),
        sent => Ok(sent),
    }
}

impl<M: Send + 'static, T: Sends<M> + ?Sized + 'static> Sends<M> for OneOf<M, T> {
    fn downgrade(self: Arc<Self>) -> WeakRecipient<M> {
        let router: Arc<dyn Sends<M>> = self;
        WeakRecipient::of_router(&router)
    }

    fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.to_one(message, |to, message| unless_stopped(to.send(message)))
            .unwrap_or_else(|message| Err(SendError::Stopped(message)))
    }

    fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        self.to_one(message, |to, message| match to.try_send(message) {
            Err(TrySendError::Stopped(message)) => Err(message),
            sent => Ok(sent),
        })
        .unwrap_or_else(|message| Err(TrySendError::Stopped(message)))
    }

    fn send_for(&self, message: M, limit: Duration) -> Result<(), SendError<M>> {
        let mut patience = Patience::new(limit);
        self.to_one(message, |to, message| {
            unless_stopped(patience.spend(to, |left| to.send_for(message, left)))
        })
        .unwrap_or_else(|message| Err(SendError::Stopped(message)))
    }

    fn send_async(self: Arc<Self>, mut message: M) -> Sending<M> {
        Box::pin(async move {
            while let Some(member) = self.choice.pick(&message, &self.members) {
                match unless_stopped(member.to.clone().send_async(message).await) {
                    Ok(sent) => return sent,
                    Err(back) => {
                        self.members.end(member);
                        message = back;
                    }
                }
            }
            Err(SendError::Stopped(message))
        })
    }
}

impl<M: Send + 'static, R: Send + 'static, T: Asks<M, R> + ?Sized + 'static> Asks<M, R>
    for OneOf<M, T>
{
    fn ask(&self, message: M) -> Reply<R> {
        self.ask_if_open(message)
            .unwrap_or_else(|message| self.members.first().to.ask(message))
    }

    fn ask_if_open(&self, message: M) -> Result<Reply<R>, M> {
        self.to_one(message, |to, message| to.ask_if_open(message))
    }
}
