//! What an actor belongs to, and leaves at its end: its name and its groups.
//!
//! It is in the actor's rare part, under that lock. An actor leaves everything once, after
//! `stopped` and before anybody is told of its end; from then on it joins nothing. So whoever has
//! seen the end finds the name free and the groups without this member.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem::take;
use std::sync::Arc;

use super::core::{Core, Rare, stage};
use crate::error::StopReason;
use crate::runtime::Registration;
use crate::sync::Mutex;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Memberships {
    name: Option<Registration>,
    /// By the groups' numbers.
    groups: BTreeMap<u64, Membership>,
    has_left: bool,
}

/// A place in a group.
pub(super) struct Membership {
    pub(super) group: Arc<dyn Leave>,
    pub(super) place: u64,
}

/// A group, whatever its messages.
pub(super) trait Leave: Send + Sync {
    /// Whoever has this place is no member any more.
    fn leave(&self, place: u64);
}

/// What came of joining a group.
pub(super) enum Joined {
    New,
    /// It was a member.
    Before,
    Ended(StopReason),
}

impl Core {
    /// A core that has this name, if any.
    pub(super) fn with_registration(mut self, registration: Option<&Registration>) -> Self {
        if let Some(registration) = registration {
            let mut rare = Box::<Rare>::default();
            rare.memberships.name = Some(registration.clone());
            self.rare = Mutex::new(Some(rare));
        }
        self
    }

    /// Has those who wait for this actor's name look again: it had no address, and has one.
    #[cold]
    pub(super) fn has_address_again(&self) {
        let rare = self.rare.lock();
        let name = rare.as_ref().and_then(|rare| rare.memberships.name.clone());
        drop(rare);
        if let Some(name) = name {
            self.runtime.names.call_waiters(name.key());
        }
    }

    /// Notes a place in the group with this number. The group's lock is held.
    pub(super) fn join_group(&self, number: u64, membership: Membership) -> Joined {
        self.with_rare(|rare| {
            if rare.memberships.has_left || self.stage() == stage::ENDED {
                let reason = rare.reason.clone();
                return Joined::Ended(reason.expect("an actor ends for a reason"));
            }
            match rare.memberships.groups.entry(number) {
                Entry::Occupied(_) => Joined::Before,
                Entry::Vacant(entry) => {
                    entry.insert(membership);
                    Joined::New
                }
            }
        })
    }

    /// Forgets its place in the group with this number. The group's lock is held.
    pub(super) fn leave_group(&self, number: u64) -> Option<Membership> {
        let mut rare = self.rare.lock();
        rare.as_mut()?.memberships.groups.remove(&number)
    }

    /// Leaves all that the actor belongs to; from now on it joins nothing.
    pub(super) fn leave_all(&self) {
        let left = self.with_rare(|rare| {
            let memberships = &mut rare.memberships;
            memberships.has_left = true;
            (memberships.name.take(), take(&mut memberships.groups))
        });
        let (name, groups) = left;
        if let Some(name) = name {
            self.runtime.names.release(&name);
        }
        for Membership { group, place } in groups.into_values() {
            group.leave(place);
        }
    }
}
