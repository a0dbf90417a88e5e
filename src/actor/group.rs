//! Groups: actors that get the same messages, known by a key.
//!
//! A group's members lie behind its lock, in the order of joining. Each member notes its groups in
//! turn ([`memberships`](super::memberships)), so that it leaves them at its end and joins none
//! twice.
//!
//! # A dead member does not stay
//!
//! Who joins holds the group's lock, notes the place at the member under the member's own lock, and
//! adds the member to the list if that was possible. At its end the member takes all that it has
//! noted, and from then on refuses, under its own lock; then it removes itself from each of these
//! groups, under theirs. Either the note was first: then the end finds it, and waits for the group's
//! lock until the list has the member, which it removes. Or the end was first: then the note is
//! refused, and the list never has the member.
//!
//! # Locks
//!
//! A member's lock is taken under a group's, never the other way round. Messages are cloned and
//! sent, and members dropped, under none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::memberships::{Joined, Leave, Membership};
use super::recipient::WeakRecipient;
use super::{Addr, DeferredHandler};
use crate::error::{GroupError, SendError, TrySendError};
use crate::id::ActorId;
use crate::runtime::{Key, Runtime};
use crate::sync::Mutex;
use crate::time::later;

/// A handle to the actors that have joined a group, all of which handle `M`.
///
/// A group is known by its system, its key and `M`; see [`System::group`](crate::System::group).
/// Clones are handles to the same group, and so is what `group` returns for the same key. It exists
/// as long as it has a member or a handle, and costs nothing afterwards.
///
/// Members are held weakly: an actor whose last address is gone ends, whatever groups it is in.
/// Each member leaves by itself at its end: whoever has seen the end, by
/// [`join`](Addr::join) say, does not find it in any group. An actor that is restarted stays.
///
/// # Ordering
///
/// Members are served in the order in which they have joined. What one thread sends to a group and
/// to its members directly is handled by each member in the order of these calls. Nothing is
/// promised between threads: two broadcasts at the same time may come to two members in different
/// orders.
///
/// # Examples
///
/// ```
/// use greenroom::{Actor, Context, Handler, System};
///
/// struct Guest { heard: Vec<String> }
/// impl Actor for Guest {}
///
/// #[derive(Clone)]
/// struct Say(String);
/// impl Handler<Say> for Guest {
///     type Reply = ();
///     fn handle(&mut self, Say(text): Say, _: &mut Context<Self>) { self.heard.push(text) }
/// }
///
/// struct Heard;
/// impl Handler<Heard> for Guest {
///     type Reply = Vec<String>;
///     fn handle(&mut self, _: Heard, _: &mut Context<Self>) -> Vec<String> { self.heard.clone() }
/// }
///
/// let system = System::new();
/// let room = system.group::<Say>("kitchen");
/// let guests = [(); 3].map(|()| system.spawn(Guest { heard: vec![] }));
/// for guest in &guests {
///     room.join(guest)?;
/// }
/// for (_, sent) in room.broadcast(Say("dinner".to_owned())) {
///     sent.map_err(|error| error.without_message())?;
/// }
/// for guest in &guests {
///     assert_eq!(guest.ask(Heard).wait()?, ["dinner"]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Group<M: Send + 'static> {
    shared: Arc<Shared<M>>,
}

/// What handles and members keep.
struct Shared<M: Send + 'static> {
    runtime: Arc<Runtime>,
    key: Key,
    /// No other group of the system has it.
    number: u64,
    members: Mutex<Members<M>>,
}

struct Members<M: Send + 'static> {
    /// The place of whoever joins next.
    next: u64,
    by_place: BTreeMap<u64, WeakRecipient<M>>,
}

impl<M: Send + 'static> Group<M> {
    pub(crate) fn new(runtime: &Arc<Runtime>, key: Arc<str>) -> Self {
        let key = Key::of::<M>(key);
        let make = |number| {
            Arc::new(Shared {
                runtime: runtime.clone(),
                key: key.clone(),
                number,
                members: Mutex::new(Members {
                    next: 0,
                    by_place: BTreeMap::new(),
                }),
            })
        };
        let shared = runtime.groups.get_or_insert(key.clone(), make);
        Self { shared }
    }

    /// The group's key.
    pub fn key(&self) -> &str {
        self.shared.key.name()
    }

    /// Makes the actor a member, behind all others; returns when it is one. A member that joins
    /// again stays where it is.
    ///
    /// # Errors
    ///
    /// [`GroupError::Ended`] if the actor has ended. One that has only begun to end may join, and
    /// leaves at its end.
    pub fn join<A: DeferredHandler<M>>(&self, addr: &Addr<A>) -> Result<(), GroupError> {
        let member = WeakRecipient::new(addr.downgrade());
        let mut members = self.shared.members.lock();
        let place = members.next;
        let membership = Membership {
            group: self.shared.clone(),
            place,
        };
        let cell = addr.cell();
        match cell.core().join_group(self.shared.number, membership) {
            Joined::New => {
                members.next += 1;
                members.by_place.insert(place, member);
                Ok(())
            }
            Joined::Before => Ok(()),
            Joined::Ended(reason) => Err(GroupError::Ended { reason }),
        }
    }

    /// Ends the actor's membership; returns whether it was a member. What was sent to it before
    /// is handled.
    pub fn leave<A: DeferredHandler<M>>(&self, addr: &Addr<A>) -> bool {
        let cell = addr.cell();
        let mut members = self.shared.members.lock();
        let left = cell.core().leave_group(self.shared.number);
        let member = left
            .as_ref()
            .and_then(|left| members.by_place.remove(&left.place));
        drop(members);
        let was_member = member.is_some();
        drop((member, left));
        was_member
    }

    /// The members, in the order in which they have joined.
    pub fn members(&self) -> Vec<WeakRecipient<M>> {
        let members = self.shared.members.lock();
        members.by_place.values().cloned().collect()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.shared.members.lock().by_place.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a clone of `message` to each member without waiting, and returns what came of
    /// each, in the order of joining.
    ///
    /// It is sent as by [`Addr::try_send`], whatever the mailboxes' policies: a member whose
    /// mailbox is full does not get the message, and holds nobody up. The members are those at
    /// the beginning of the call.
    ///
    /// The last member gets `message` itself. If a clone panics, the members before have got
    /// theirs, and the panic goes on.
    ///
    /// # Errors
    ///
    /// For each member [`TrySendError::Full`], or [`TrySendError::Stopped`] once it has begun to
    /// stop or nobody has an address of it any more. Both hold its clone.
    pub fn broadcast(&self, message: M) -> Vec<(ActorId, Result<(), TrySendError<M>>)>
    where
        M: Clone,
    {
        self.send_to_each(message, |member, message| member.try_send(message))
    }

    /// Sends a clone of `message` to each member, waiting for room for at most `limit` in all,
    /// and returns what came of each, in the order of joining.
    ///
    /// First all members that have room get it, as by [`broadcast`](Self::broadcast); only then
    /// it waits for those that have none, one after another. So a slow member holds up the
    /// caller, and nobody else who had room. It waits as [`Addr::send_for`] does, whatever the
    /// mailboxes' policies: in a handler of the pool the stack is parked, elsewhere the thread
    /// sleeps. In an async task, or to wait for all at once, send to the
    /// [`members`](Self::members) by [`send_async`](crate::Recipient::send_async).
    ///
    /// # Errors
    ///
    /// For each member as [`Addr::send_for`]: [`SendError::TimedOut`] if it had no room before
    /// the limit, [`SendError::Stopped`] once it has begun to stop or nobody has an address of it
    /// any more, and the errors of a wait. All hold its clone.
    pub fn broadcast_for(
        &self,
        message: M,
        limit: Duration,
    ) -> Vec<(ActorId, Result<(), SendError<M>>)>
    where
        M: Clone,
    {
        let runtime = &self.shared.runtime;
        let deadline = later(runtime.now(), limit);
        let first_round = self.send_to_each(message, |member, message| {
            let sent = member.try_send(message);
            sent.map_err(|error| (member, error))
        });
        let second_round = first_round.into_iter().map(|(id, sent)| {
            let sent = match sent {
                Ok(()) => Ok(()),
                Err((member, TrySendError::Full(message))) => {
                    let left = deadline.saturating_duration_since(runtime.now());
                    member.send_for(message, left)
                }
                Err((_, TrySendError::Stopped(message))) => Err(SendError::Stopped(message)),
            };
            (id, sent)
        });
        second_round.collect()
    }

    /// Has `send` send a clone to each member.
    fn send_to_each<R>(
        &self,
        message: M,
        mut send: impl FnMut(WeakRecipient<M>, M) -> R,
    ) -> Vec<(ActorId, R)>
    where
        M: Clone,
    {
        let mut members = self.members();
        let last = members.pop();
        let mut sent = Vec::with_capacity(members.len() + 1);
        for member in members {
            sent.push((member.id(), send(member, message.clone())));
        }
        if let Some(last) = last {
            sent.push((last.id(), send(last, message)));
        }
        sent
    }
}

impl<M: Send + 'static> Leave for Shared<M> {
    fn leave(&self, place: u64) {
        let member = self.members.lock().by_place.remove(&place);
        drop(member);
    }
}

/// Neither a member nor a handle is left.
impl<M: Send + 'static> Drop for Shared<M> {
    fn drop(&mut self) {
        self.runtime.groups.forget(&self.key);
    }
}

impl<M: Send + 'static> Clone for Group<M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<M: Send + 'static> PartialEq for Group<M> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<M: Send + 'static> Eq for Group<M> {}

impl<M: Send + 'static> fmt::Debug for Group<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("key", &self.key())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
