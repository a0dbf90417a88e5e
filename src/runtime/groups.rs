//! The groups of a system, by their keys. What a group is made of is not known here.
//!
//! The map holds groups weakly: their handles and their members keep them. A group that nobody
//! keeps any more takes its own entry away ([`forget`](Groups::forget)), from its `Drop`. Either
//! that is before somebody looks up the key again, who then makes a new group; or it is after: then
//! the entry holds the new group, which lives, and is let be. The map's lock decides which.
//!
//! The lock is taken while no other of this crate is held, and none is taken under it.

use std::any::Any;
use std::sync::{Arc, Weak};

use dashmap::{DashMap, Entry};

use super::names::Key;
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// A group, whose type its key tells.
type Group = dyn Any + Send + Sync;

/// See the [module](self).
pub(crate) struct Groups {
    by_key: DashMap<Key, Weak<Group>>,
    /// How many groups have been numbered.
    numbers: AtomicU64,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            by_key: DashMap::new(),
            numbers: AtomicU64::new(0),
        }
    }

    /// The group with this key, or the one that `make` makes of its number.
    pub(crate) fn get_or_insert<G>(&self, key: Key, make: impl FnOnce(u64) -> Arc<G>) -> Arc<G>
    where
        G: Any + Send + Sync,
    {
        let group = match self.by_key.entry(key) {
            Entry::Occupied(mut entry) => match entry.get().upgrade() {
                Some(group) => group,
                None => {
                    let group: Arc<Group> = make(self.next_number());
                    entry.insert(Arc::downgrade(&group));
                    group
                }
            },
            Entry::Vacant(entry) => {
                let group: Arc<Group> = make(self.next_number());
                entry.insert(Arc::downgrade(&group));
                group
            }
        };
        group.downcast().expect("a key tells the group's type")
    }

    fn next_number(&self) -> u64 {
        // ORDERING: Relaxed: nothing is published through it.
        self.numbers.fetch_add(1, Relaxed)
    }

    /// The group with this key is gone, unless there is a new one.
    pub(crate) fn forget(&self, key: &Key) {
        self.by_key
            .remove_if(key, |_, group| group.strong_count() == 0);
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_goes_late_leaves_its_successor_in_place() {
        let groups = Groups::new();
        let key = Key::of::<u8>("x".into());
        let insert = || groups.get_or_insert(key.clone(), Arc::new);
        let first = insert();
        assert_eq!((*first, *insert()), (0, 0), "the same one");
        drop(first);
        // It would say so now, and is overtaken by its successor.
        let second = insert();
        assert_eq!(*second, 1);
        groups.forget(&key);
        assert_eq!((*insert(), groups.len()), (1, 1));
        drop(second);
        groups.forget(&key);
        assert_eq!(groups.len(), 0);
    }
}
