//! Routers: addresses that spread messages over several others.
//!
//! A router is no actor. It has no queue and no turn of its own: whoever sends through it queues
//! the message at the chosen member, by that member's policy, and waits there if he has to. So
//! ordering, backpressure and the finding of circles are those of the members.

mod all;
mod hash;
mod members;
mod one;

pub use all::Broadcast;

use std::fmt;
use std::hash::Hash;

use crate::actor::{Asker, Recipient};
use all::{All, Copier};
use hash::hash_of;
use one::{Choice, OneOf};

/// The seed of [`Router::random`].
const SEED: u64 = 0;

/// How messages are spread over several addresses, its members.
///
/// It makes an address of them, a [`Recipient`] or an [`Asker`], which is used and passed on like
/// that of an actor:
///
/// | | a message goes to |
/// |---|---|
/// | [`round_robin`](Self::round_robin) | the members in turn |
/// | [`random`](Self::random) | any member |
/// | [`least_loaded`](Self::least_loaded) | the member with the fewest messages |
/// | [`by_key`](Self::by_key) | the member to which its key belongs |
/// | [`broadcast`](Self::broadcast) | all members; the first answer counts |
///
/// There is no actor in between, and no queue: `send`, `try_send`, `send_for`, `send_async` and
/// `ask` do at the chosen member what they do at its own address, by its mailbox's policy. If that
/// one is full, no other is tried.
///
/// The address holds its members as an [`Addr`](crate::Addr) does, so they live as long as it
/// does. A member that has begun to stop is passed over from then on, and the others share its
/// part; what it had in its queue is not given to them. Actors that are restarted stay members. If
/// no member is left, a send gives the message back as `Stopped`, and an ask fails with the first
/// member's `Stopped`. The members are fixed; to add one, make a router anew.
///
/// The address has an id of its own, which is no actor's, and no name.
///
/// # Ordering
///
/// As for each member by itself: messages that one thread sends to the same member are handled in
/// this order. Nothing is promised between members.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Addr, Asker, Context, Handler, Router, System};
///
/// struct Worker(&'static str);
/// impl Actor for Worker {}
///
/// struct Name;
/// impl Handler<Name> for Worker {
///     type Reply = &'static str;
///     fn handle(&mut self, _: Name, _: &mut Context<Self>) -> &'static str { self.0 }
/// }
///
/// let system = System::new();
/// let workers = ["ada", "ben", "cleo"].map(|name| system.spawn(Worker(name)));
/// let any: Asker<Name, &str> = Router::round_robin().asker(workers.iter().map(Addr::asker));
/// for name in ["ada", "ben", "cleo"] {
///     assert_eq!(any.ask(Name).wait()?, name);
/// }
/// workers[2].stop();
/// for name in ["ada", "ben", "ada", "ben"] {
///     assert_eq!(any.ask(Name).wait()?, name);
/// }
/// # Ok::<(), greenroom::AskError>(())
/// ```
#[must_use = "a router is of use only as an address"]
pub struct Router<M>(Spread<M>);

enum Spread<M> {
    One(Choice<M>),
    All(Copier<M>),
}

impl<M: Send + 'static> Router<M> {
    /// Sends to the members in turn, in their order, beginning with the first.
    ///
    /// Those that use the address share one number, which each message counts up: the turn is
    /// exact, also between threads, and costs them one shared cache line. (A number for each clone
    /// or thread would spare that, but all of them would begin with the same member.) To spare it,
    /// give each sender a router of its own.
    pub fn round_robin() -> Self {
        Self(Spread::One(Choice::round_robin()))
    }

    /// Sends to any member, each as likely as the others; the seed is 0.
    ///
    /// The draws follow from the seed: the same messages go to the same members each time. As
    /// for [`round_robin`](Self::round_robin), the number of the draw is shared.
    pub fn random() -> Self {
        Self::random_seeded(SEED)
    }

    /// As [`random`](Self::random), with this seed. Give routers over the same members different
    /// seeds.
    pub fn random_seeded(seed: u64) -> Self {
        Self(Spread::One(Choice::random(seed)))
    }

    /// Sends to the member with the fewest messages, queued or in hand; to the first of them, if
    /// they are several.
    ///
    /// It looks at all members for each message, and writes nothing that is shared. Threads that
    /// send at the same time may choose the same member. If a member is a router, its number is
    /// the least of its own members'.
    pub fn least_loaded() -> Self {
        Self(Spread::One(Choice::LeastLoaded))
    }

    /// Sends messages with the same key to the same member, as long as that one lives.
    ///
    /// `key` runs at the sender, for each message that is sent. If a member ends, only its keys
    /// move, spread over the others. A router anew with one more member takes only the keys that
    /// move to that one, about one in as many as there are members; with one less, only that one's
    /// keys move. (It is rendezvous hashing: each member has a score for the key, and the highest
    /// wins. A score takes some nanoseconds and each member has one, so it is meant for up to some
    /// hundred members.) A member that is given twice gets twice the keys.
    ///
    /// Keys belong to members by their ids, so the same program spawns them to the same keys only
    /// if it spawns in the same order. Nothing random is drawn, but nothing should be stored by
    /// it: how a type is hashed may change with the version of Rust.
    pub fn by_key<K: Hash>(key: impl Fn(&M) -> K + Send + Sync + 'static) -> Self {
        let hash = move |message: &M| hash_of(&key(message));
        Self(Spread::One(Choice::ByKey(Box::new(hash))))
    }

    /// Sends a copy to each member, in their order.
    ///
    /// A send through the address takes the members one after another, so a full member that lets
    /// it wait holds up those after it; the limit of `send_for` is for all of them together. It is
    /// `Ok` if at least one member took its copy. So an error means that none did: it is the first
    /// one that is not `Stopped`, or `Stopped` if all were. What became of each copy, a
    /// [`Broadcast`] tells.
    ///
    /// An ask through the address is a scatter-gather: all members are asked, and the first answer
    /// is the answer. The other requests are withdrawn then: those that have not begun are not
    /// run and count as cancelled. A member that fails is no answer; if all do, the reply is
    /// [`AskError::NoneAnswered`](crate::AskError::NoneAnswered), with each failure. A thread that
    /// waits for such a reply runs none of the asked actors. A handler that waits for it is part
    /// of a circle of waits only if each of the members that have not failed is.
    ///
    /// A message goes with one copy less than there are members. If making a copy panics, that is
    /// the sender's panic, and the members before it have theirs.
    pub fn broadcast() -> Self
    where
        M: Clone,
    {
        Self(Spread::All(Copier::new()))
    }

    /// The address of these members.
    ///
    /// # Panics
    ///
    /// If there are no members.
    #[track_caller]
    pub fn recipient(self, members: impl IntoIterator<Item = Recipient<M>>) -> Recipient<M> {
        let members = members.into_iter().map(Recipient::into_sends);
        match self.0 {
            Spread::One(choice) => OneOf::new(choice, members).into_recipient(),
            Spread::All(copier) => All::new(copier, members).into_recipient(),
        }
    }

    /// The address of these members, which answer.
    ///
    /// # Panics
    ///
    /// If there are no members.
    #[track_caller]
    pub fn asker<R: Send + 'static>(
        self,
        members: impl IntoIterator<Item = Asker<M, R>>,
    ) -> Asker<M, R> {
        let members = members.into_iter().map(Asker::into_asks);
        match self.0 {
            Spread::One(choice) => OneOf::new(choice, members).into_asker(),
            Spread::All(copier) => All::new(copier, members).into_asker(),
        }
    }
}

impl<M> fmt::Debug for Router<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = match &self.0 {
            Spread::One(choice) => choice.as_str(),
            Spread::All(_) => "broadcast",
        };
        f.debug_tuple("Router").field(&spread).finish()
    }
}
