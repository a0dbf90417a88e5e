//! Watching other actors for their ends, and being linked with them.
//!
//! # The lane for signals
//!
//! What an actor is told of others travels beside its messages: it takes no room in the mailbox,
//! is not counted, and no policy drops it. It lies in a list under the actor's lock, and the order
//! `SIGNALS` has the runner look there between two messages.
//!
//! The end of a watched actor is told in order behind all that it sent before. When the runner
//! first looks at the signal, all of that is queued: sending came before the end, which came before
//! the signal. So the runner notes how many messages will have been taken once its queue of that
//! moment is through, and puts the signal off until then. It counts under the lock that it needs to
//! see the signal, so it does not count before what the signal has to follow.
//!
//! # Exactly once
//!
//! A watch has a number, which both sides keep: the watcher among those it watches, the watched
//! one among its watchers. The watched actor takes all its watchers under the lock under which it
//! becomes ended; who comes later finds it ended and signals itself. A signal counts only if the
//! watcher still keeps its number, which it forgets then, or when it unwatches.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use super::cell::Target;
use super::core::{Core, stage};
use super::orders::SIGNALS;
use crate::error::StopReason;
use crate::id::ActorId;
use crate::waits::Identity;

/// An actor that was watched has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Terminated {
    /// Its id.
    pub id: ActorId,
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// The name of its type.
    pub actor_type: &'static str,
    /// Why it ended.
    pub reason: StopReason,
}

impl fmt::Display for Terminated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has ended: {}", self.identity(), self.reason)
    }
}

impl Terminated {
    fn new(actor: Identity, reason: StopReason) -> Self {
        Self {
            id: actor.id,
            name: actor.name,
            actor_type: actor.actor_type,
            reason,
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            id: self.id,
            name: self.name.clone(),
            actor_type: self.actor_type,
        }
    }
}

/// Something that an actor is told beside its messages.
pub(super) enum Signal {
    /// Somebody whom it watches or is linked with has ended.
    Ended(Ended),
    /// Something of the crate's own, to be run on the actor and its context.
    Call(Call),
}

/// Both pointers are of the types of the actor that is called.
pub(super) type Call = Box<dyn FnOnce(*mut (), *mut ()) + Send>;

pub(super) struct Ended {
    /// The address of the ended one's cell.
    key: usize,
    number: u64,
    terminated: Terminated,
    /// How many messages must have been taken, once that is known.
    after: Option<u64>,
}

/// What a signal of an end asks for.
pub(super) enum Heard {
    /// Run the crate's own code.
    Call(Call),
    /// Tell the actor.
    Told(Terminated),
    /// End the actor.
    Linked(StopReason),
}

/// One side of a tie between two actors.
struct Tie {
    number: u64,
    /// The number of the other one's side of a link, if both made it at the same time.
    also: u64,
    /// The other one.
    other: Weak<dyn Target>,
}

impl Tie {
    fn new(number: u64, other: &Arc<dyn Target>) -> Self {
        Self {
            number,
            also: number,
            other: Arc::downgrade(other),
        }
    }

    /// Whether a signal with this number is of this tie.
    fn is(&self, number: u64) -> bool {
        self.number == number || self.also == number
    }

    fn numbered(self) -> (u64, Weak<dyn Target>) {
        (self.number, self.other)
    }
}

/// Whom an actor watches, who watches it, whom it is linked with, and what it has been told.
#[derive(Default)]
pub(crate) struct Ties {
    signals: VecDeque<Signal>,
    /// By the address of the other one's cell, which its tie keeps from being used again. The order
    /// is never seen.
    watched: BTreeMap<usize, Tie>,
    linked: BTreeMap<usize, Tie>,
    watchers: BTreeMap<u64, Tie>,
    pub(super) traps: bool,
}

fn address(of: &Arc<dyn Target>) -> usize {
    std::ptr::from_ref(of.core()).addr()
}

/// A number that no other tie has.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // ORDERING: Relaxed: only uniqueness counts.
    NEXT.fetch_add(1, Relaxed)
}

fn post(to: &Arc<dyn Target>, ended: Ended) {
    let signal = Signal::Ended(ended);
    to.core()
        .with_rare(|rare| rare.ties.signals.push_back(signal));
    to.clone().tell(SIGNALS);
}

/// Tells `watcher` when `target` has ended, unless it is to be told already.
pub(super) fn watch(watcher: &Arc<dyn Target>, target: &Arc<dyn Target>) {
    let key = address(target);
    let number = next_number();
    let is_new = watcher.core().with_rare(|rare| {
        let watched = &mut rare.ties.watched;
        let tie = watched
            .entry(key)
            .or_insert_with(|| Tie::new(number, target));
        tie.number == number
    });
    if is_new {
        follow(target, watcher, number, |ties, tie| {
            ties.watchers.insert(number, tie);
        });
    }
}

/// Has `follower` told when `target` has ended: by the tie that `add` adds, or at once.
fn follow(
    target: &Arc<dyn Target>,
    follower: &Arc<dyn Target>,
    number: u64,
    add: impl FnOnce(&mut Ties, Tie),
) {
    let ended = target.core().with_rare(|rare| {
        // Checked under the lock, under which the followers are taken at the end.
        if target.core().stage() == stage::ENDED {
            return Some(rare.reason.clone().expect("an actor ends for a reason"));
        }
        add(&mut rare.ties, Tie::new(number, follower));
        None
    });
    if let Some(reason) = ended {
        let terminated = Terminated::new(target.identity(), reason);
        post(follower, Ended::new(address(target), number, terminated));
    }
}

/// From now on `watcher` is not told of the end of `target`. Whether it would have been.
pub(super) fn unwatch(watcher: &Arc<dyn Target>, target: &Arc<dyn Target>) -> bool {
    let tie = watcher
        .core()
        .with_rare(|rare| rare.ties.watched.remove(&address(target)));
    if let Some(tie) = &tie {
        stop_watching(target, tie.number);
    }
    tie.is_some()
}

/// Links two actors, unless they are.
///
/// If both do so at the same time, each side has a number of its own, and learns the other one's.
pub(super) fn link(one: &Arc<dyn Target>, other: &Arc<dyn Target>) {
    let (key, other_key) = (address(one), address(other));
    if key == other_key {
        return;
    }
    let number = next_number();
    let is_new = one.core().with_rare(|rare| {
        let linked = &mut rare.ties.linked;
        let tie = linked
            .entry(other_key)
            .or_insert_with(|| Tie::new(number, other));
        tie.number == number
    });
    if is_new {
        follow(other, one, number, |ties, tie| {
            let linked = ties.linked.entry(key);
            linked.and_modify(|tie| tie.also = number).or_insert(tie);
        });
    }
}

/// Dissolves a link. Whether there was one.
pub(super) fn unlink(one: &Arc<dyn Target>, other: &Arc<dyn Target>) -> bool {
    let take = |from: &Arc<dyn Target>, with: &Arc<dyn Target>| {
        from.core()
            .with_rare(|rare| rare.ties.unlink(address(with)))
    };
    take(other, one) | take(one, other)
}

impl Ended {
    fn new(key: usize, number: u64, terminated: Terminated) -> Self {
        Self {
            key,
            number,
            terminated,
            after: None,
        }
    }
}

impl Ties {
    /// The next signal whose turn has come, with `taken` messages taken and `queued` more queued.
    /// `Err` if there is none: whether others have to wait.
    pub(super) fn next(&mut self, taken: u64, queued: u64) -> Result<Heard, bool> {
        loop {
            let due = self.signals.iter_mut().position(|signal| match signal {
                Signal::Call(_) => true,
                Signal::Ended(ended) => *ended.after.get_or_insert(taken + queued) <= taken,
            });
            let Some(due) = due else {
                return Err(!self.signals.is_empty());
            };
            match self.signals.remove(due).expect("found above") {
                Signal::Call(call) => return Ok(Heard::Call(call)),
                Signal::Ended(ended) => {
                    if let Some(heard) = self.hear(ended) {
                        return Ok(heard);
                    }
                }
            }
        }
    }

    fn hear(&mut self, ended: Ended) -> Option<Heard> {
        let Ended {
            key,
            number,
            terminated,
            ..
        } = ended;
        let is_watched = self.watched.get(&key).is_some_and(|tie| tie.is(number));
        if is_watched {
            self.watched.remove(&key);
            return Some(Heard::Told(terminated));
        }
        // It may be of a link that another life has made.
        if !self.linked.get(&key)?.is(number) {
            return None;
        }
        self.linked.remove(&key);
        if self.traps {
            Some(Heard::Told(terminated))
        } else if terminated.reason.is_abnormal() {
            Some(Heard::Linked(StopReason::Linked {
                actor: terminated.identity(),
                reason: Arc::new(terminated.reason),
            }))
        } else {
            None
        }
    }

    /// Dissolves a link, and forgets what was told of it.
    fn unlink(&mut self, key: usize) -> bool {
        let watch = self.watched.get(&key).map(|tie| tie.number);
        self.signals.retain(|signal| match signal {
            Signal::Ended(ended) => ended.key != key || Some(ended.number) == watch,
            Signal::Call(_) => true,
        });
        self.linked.remove(&key).is_some()
    }

    pub(super) fn has_signals(&self) -> bool {
        !self.signals.is_empty()
    }

    /// Adds a call of the crate's own.
    pub(super) fn call(&mut self, call: Call) {
        self.signals.push_back(Signal::Call(call));
    }
}

/// One of an actor's lives ends: what it watches is forgotten, and those with whom it is linked
/// are told why.
pub(super) fn part(core: &Core, identity: impl FnOnce() -> Identity, reason: &StopReason) {
    let (watched, linked) = core.with_rare(|rare| {
        let ties = &mut rare.ties;
        ties.traps = false;
        ties.signals
            .retain(|signal| matches!(signal, Signal::Call(_)));
        let watched = std::mem::take(&mut ties.watched);
        let linked = std::mem::take(&mut ties.linked).into_values();
        (watched, Followers(linked.map(Tie::numbered).collect()))
    });
    for tie in watched.values() {
        if let Some(target) = tie.other.upgrade() {
            stop_watching(&target, tie.number);
        }
    }
    linked.tell(core, identity, reason);
}

fn stop_watching(target: &Arc<dyn Target>, number: u64) {
    let tie = target
        .core()
        .with_rare(|rare| rare.ties.watchers.remove(&number));
    drop(tie);
}

/// Those who are to be told of an end, in the order in which they came.
pub(super) struct Followers(BTreeMap<u64, Weak<dyn Target>>);

impl Followers {
    /// Takes them, under the lock under which the end comes.
    pub(super) fn take(ties: &mut Ties) -> Self {
        let watchers = std::mem::take(&mut ties.watchers).into_values();
        let linked = std::mem::take(&mut ties.linked).into_values();
        Self(watchers.chain(linked).map(Tie::numbered).collect())
    }

    pub(super) fn tell(
        self,
        core: &Core,
        identity: impl FnOnce() -> Identity,
        reason: &StopReason,
    ) {
        if self.0.is_empty() {
            return;
        }
        let terminated = Terminated::new(identity(), reason.clone());
        for (number, follower) in self.0 {
            if let Some(follower) = follower.upgrade() {
                let key = std::ptr::from_ref(core).addr();
                post(&follower, Ended::new(key, number, terminated.clone()));
            }
        }
    }
}
