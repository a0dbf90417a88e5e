//! The names of a system: which actor has one, and who waits for one.
//!
//! A name belongs to an actor's type, so two actors of different types may be called the same.
//! The actors' types are not known here: an actor is whatever the registrant puts in.
//!
//! # A name's life
//!
//! | step | by whom | the name is then |
//! |---|---|---|
//! | [`reserve`](Names::reserve) | the spawning thread, before there is an actor | taken; nobody is found |
//! | [`fill`](Names::fill) | the same, before the actor's first turn is asked for | taken; the actor is found |
//! | [`release`](Names::release) | the actor's runner after `stopped`, or the spawning thread if the spawn fails | free |
//!
//! All three change the entry under the lock of its shard, and know their holder by a number that
//! no other registration has. So of two who reserve one name the later one finds it taken; and a
//! `fill` that comes after the `release` (a shutdown may end an actor before its spawn is over)
//! finds that the entry is not its own any more, and does nothing.
//!
//! # No wake-up is lost
//!
//! Whoever waits leaves his waker in the entry and looks at its holder under the same lock. Then
//! either that was before the actor came, and `fill` finds the waker; or it was after, and he finds
//! the actor. The same holds for an actor that is found again because it has an address again
//! ([`call_waiters`](Names::call_waiters) after the address was counted), and for the beginning of a
//! shutdown ([`call_all`](Names::call_all) after the flag was set).
//!
//! # Locks
//!
//! A shard's lock is taken while no other of this crate is held, and none is taken under it. Wakers
//! are cloned before, called and dropped after; so are actors.

use std::any::{Any, TypeId};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::mem::take;
use std::sync::Arc;
use std::task::Waker;

use dashmap::DashMap;

use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::unwind::wake_quietly;
use crate::waits::Identity;

/// A name, and the type to which it belongs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    kind: TypeId,
    name: Arc<str>,
}

impl Key {
    pub(crate) fn of<T: 'static>(name: Arc<str>) -> Self {
        Self {
            kind: TypeId::of::<T>(),
            name,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

/// What a key can be looked up by, so that a look-up needs no key of its own.
trait AsKey {
    fn parts(&self) -> (TypeId, &str);
}

impl AsKey for Key {
    fn parts(&self) -> (TypeId, &str) {
        (self.kind, &self.name)
    }
}

impl AsKey for (TypeId, &str) {
    fn parts(&self) -> (TypeId, &str) {
        *self
    }
}

impl<'a> Borrow<dyn AsKey + 'a> for Key {
    fn borrow(&self) -> &(dyn AsKey + 'a) {
        self
    }
}

impl Hash for dyn AsKey + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn AsKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn AsKey + '_ {}

/// An actor's cell, whose type the key tells. It keeps the memory, not the actor alive.
pub(crate) type Erased = Arc<dyn Any + Send + Sync>;

/// A name that is taken, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    key: Key,
    number: u64,
}

impl Registration {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

#[derive(Default)]
struct Entry {
    holder: Option<Holder>,
    /// Who waits for an actor of this name, by a number that no other waiter has.
    waiters: BTreeMap<u64, Waker>,
}

struct Holder {
    /// Of the registration.
    number: u64,
    /// None before the actor is there.
    actor: Option<(Identity, Erased)>,
}

impl Entry {
    fn is_vacant(&self) -> bool {
        self.holder.is_none() && self.waiters.is_empty()
    }

    fn named(&self) -> Option<Erased> {
        let (_, named) = self.holder.as_ref()?.actor.as_ref()?;
        Some(named.clone())
    }
}

/// See the [module](self).
pub(crate) struct Names {
    entries: DashMap<Key, Entry>,
    /// How many registrations and waiters have been numbered.
    numbers: AtomicU64,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            entries: DashMap::new(),
            numbers: AtomicU64::new(0),
        }
    }

    /// A number that no other registration and no other waiter has.
    pub(crate) fn next_number(&self) -> u64 {
        // ORDERING: Relaxed: nothing is published through it.
        self.numbers.fetch_add(1, Relaxed)
    }

    /// Takes a name, for an actor to come; `None` if it is taken.
    pub(crate) fn reserve(&self, key: &Key) -> Option<Registration> {
        let number = self.next_number();
        self.change(key, |entry| {
            if entry.holder.is_some() {
                return None;
            }
            entry.holder = Some(Holder {
                number,
                actor: None,
            });
            Some(Registration {
                key: key.clone(),
                number,
            })
        })
    }

    /// The actor is there; calls who waits for it. Does nothing if the name was released.
    pub(crate) fn fill(&self, registration: &Registration, identity: Identity, actor: Erased) {
        let mut actor = Some((identity, actor));
        let waiters = self.change(&registration.key, |entry| {
            let holder = entry.holder.as_mut();
            match holder.filter(|holder| holder.number == registration.number) {
                Some(holder) => {
                    holder.actor = actor.take();
                    take(&mut entry.waiters)
                }
                None => BTreeMap::new(),
            }
        });
        call(waiters);
    }

    /// Frees the name, unless that was done.
    pub(crate) fn release(&self, registration: &Registration) {
        let gone = self.change(&registration.key, |entry| {
            let is_ours = |holder: &mut Holder| holder.number == registration.number;
            entry.holder.take_if(is_ours)
        });
        drop(gone);
    }

    /// The actor of this name, as soon as it is there.
    pub(crate) fn find<T: 'static>(&self, name: &str) -> Option<Erased> {
        let key: &dyn AsKey = &(TypeId::of::<T>(), name);
        self.entries.get(key)?.named()
    }

    /// As [`find`](Self::find); besides, leaves a waker, which is called once when it is worth
    /// looking again.
    pub(crate) fn find_or_wait(&self, key: &Key, number: u64, waker: &Waker) -> Option<Erased> {
        let waker = waker.clone();
        let (named, before) = self.change(key, |entry| {
            (entry.named(), entry.waiters.insert(number, waker))
        });
        drop(before);
        named
    }

    /// Nobody waits by this number any more.
    pub(crate) fn forget_waiter(&self, key: &Key, number: u64) {
        let waker = self.change(key, |entry| entry.waiters.remove(&number));
        drop(waker);
    }

    /// Has those who wait for this name look again.
    pub(crate) fn call_waiters(&self, key: &Key) {
        call(self.change(key, |entry| take(&mut entry.waiters)));
    }

    /// Has all who wait look again.
    pub(super) fn call_all(&self) {
        let mut waiters = BTreeMap::new();
        for mut entry in self.entries.iter_mut() {
            waiters.append(&mut entry.waiters);
        }
        // What is vacant now goes when the waiters have looked: each of them forgets his number.
        call(waiters);
    }

    /// Who has a name, in order of the names, then of the types' names, then of the ids.
    pub(crate) fn list(&self) -> Vec<Identity> {
        let mut identities: Vec<_> = self
            .entries
            .iter()
            .filter_map(|entry| {
                let (identity, _) = entry.holder.as_ref()?.actor.as_ref()?;
                Some(identity.clone())
            })
            .collect();
        let order = |identity: &Identity| (identity.name.clone(), identity.actor_type, identity.id);
        identities.sort_by_key(order);
        identities
    }

    /// How many names are taken or waited for.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Changes the entry of this key under its lock. One in which nothing is left goes.
    fn change<R>(&self, key: &Key, change: impl FnOnce(&mut Entry) -> R) -> R {
        let mut entry = self.entries.entry(key.clone()).or_default();
        let changed = change(&mut entry);
        let is_vacant = entry.is_vacant();
        drop(entry);
        if is_vacant {
            self.entries.remove_if(key, |_, entry| entry.is_vacant());
        }
        changed
    }
}

/// Calls wakers, the longest waiting first.
fn call(waiters: BTreeMap<u64, Waker>) {
    waiters.into_values().for_each(wake_quietly);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::of::<u8>(name.into())
    }

    #[test]
    fn a_key_is_found_by_its_parts() {
        let names = Names::new();
        let key = key("x");
        let kept = names.reserve(&key).expect("the name is free");
        names.fill(&kept, identity(), Arc::new(7_u8));
        assert!(names.find::<u8>("x").is_some());
        assert!(names.find::<u16>("x").is_none(), "of another type");
        assert!(names.find::<u8>("y").is_none());
    }

    #[test]
    fn what_is_filled_after_its_release_is_not_found() {
        let names = Names::new();
        let first = names.reserve(&key("x")).expect("the name is free");
        names.release(&first);
        names.fill(&first, identity(), Arc::new(7_u8));
        assert!(names.find::<u8>("x").is_none());
        assert_eq!(names.len(), 0);

        let second = names.reserve(&key("x")).expect("the name is free again");
        names.fill(&first, identity(), Arc::new(7_u8));
        assert!(names.find::<u8>("x").is_none(), "the second has not come");
        names.release(&first);
        assert!(names.reserve(&key("x")).is_none(), "the second has it");
        names.release(&second);
        assert_eq!(names.len(), 0);
    }

    #[test]
    fn an_entry_goes_with_its_last_waiter() {
        let names = Names::new();
        let numbers = [names.next_number(), names.next_number()];
        for number in numbers {
            let found = names.find_or_wait(&key("x"), number, Waker::noop());
            assert!(found.is_none());
        }
        names.forget_waiter(&key("x"), numbers[0]);
        assert_eq!(names.len(), 1);
        names.forget_waiter(&key("x"), numbers[1]);
        assert_eq!(names.len(), 0);
    }

    fn identity() -> Identity {
        Identity {
            id: crate::id::ActorId::new(std::num::NonZeroU64::MIN),
            name: None,
            actor_type: "u8",
        }
    }
}
