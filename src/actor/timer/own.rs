//! The timers of one actor that are not over, 16 bytes each.
//!
//! A place in the list is given out again once its timer is over. All of it is under the lock of
//! the actor's rare part.

use std::sync::Arc;

use super::Set;

/// See the [module](self).
#[derive(Default)]
pub(in crate::actor) struct OwnTimers {
    places: Vec<Place>,
    first_free: Option<u32>,
    len: u32,
    /// The one that is told when the actor comes to rest.
    rest_watch: Option<Arc<dyn Set>>,
}

enum Place {
    Held(Arc<dyn Set>),
    /// The next free one.
    Free(Option<u32>),
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Place>() == 16);

/// A list with so many places is kept when it becomes empty.
const FEW: usize = 16;

impl OwnTimers {
    /// Returns the timer's place.
    pub(super) fn insert(&mut self, timer: Arc<dyn Set>) -> u32 {
        self.len += 1;
        match self.first_free {
            Some(index) => {
                let place = &mut self.places[index as usize];
                let Place::Free(next) = std::mem::replace(place, Place::Held(timer)) else {
                    unreachable!("a place in the chain of free ones is free");
                };
                self.first_free = next;
                index
            }
            None => {
                let index = u32::try_from(self.places.len());
                self.places.push(Place::Held(timer));
                index.expect("an actor has fewer than 2^32 timers")
            }
        }
    }

    /// Forgets a timer, if it is still at this place: all of them may have been taken.
    pub(super) fn remove(&mut self, index: u32, timer: *const ()) -> Option<Arc<dyn Set>> {
        let place = self.places.get_mut(index as usize)?;
        match place {
            Place::Held(held) if Arc::as_ptr(held).cast::<()>() == timer => {}
            _ => return None,
        }
        let Place::Held(held) = std::mem::replace(place, Place::Free(self.first_free)) else {
            unreachable!("the place was held just now");
        };
        self.first_free = Some(index);
        self.len -= 1;
        if self.len == 0 && self.places.len() > FEW {
            self.places = Vec::new();
            self.first_free = None;
        }
        Some(held)
    }

    /// Takes all of them, in the order of their places.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Arc<dyn Set>> + use<> {
        let places = std::mem::take(self).places;
        places.into_iter().filter_map(|place| match place {
            Place::Held(timer) => Some(timer),
            Place::Free(_) => None,
        })
    }

    pub(super) fn watch_rest(&mut self, timer: Arc<dyn Set>) {
        self.rest_watch = Some(timer);
    }

    pub(super) fn unwatch_rest(&mut self) -> Option<Arc<dyn Set>> {
        self.rest_watch.take()
    }

    pub(super) fn rest_watch(&self) -> Option<Arc<dyn Set>> {
        self.rest_watch.clone()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::actor::core::Core;

    /// A timer that does nothing. It has a byte, so that each has an address of its own.
    struct Still(#[expect(dead_code, reason = "only its address counts")] u8);

    impl Set for Still {
        fn cancel(&self) -> bool {
            false
        }

        fn is_over(&self) -> bool {
            false
        }

        fn note_rest(self: Arc<Self>, _: &Core) {}
    }

    fn address(timer: &Arc<dyn Set>) -> *const () {
        Arc::as_ptr(timer).cast()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        /// Removes one that is there, or was.
        Remove(usize),
        Take,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            20 => Just(Step::Insert),
            20 => any::<usize>().prop_map(Step::Remove),
            1 => Just(Step::Take),
        ];
        prop::collection::vec(step, 0..300)
    }

    proptest! {
        #[test]
        fn it_holds_what_was_inserted_and_not_removed(steps in steps()) {
            let mut own = OwnTimers::default();
            let mut model = BTreeMap::new();
            let mut known: Vec<(u32, Arc<dyn Set>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert => {
                        let timer: Arc<dyn Set> = Arc::new(Still(0));
                        let place = own.insert(timer.clone());
                        prop_assert_eq!(model.insert(place, address(&timer)), None);
                        known.push((place, timer));
                    }
                    Step::Remove(index) if !known.is_empty() => {
                        let (place, timer) = &known[index % known.len()];
                        let removed = own.remove(*place, address(timer));
                        let is_there = model.get(place) == Some(&address(timer));
                        prop_assert_eq!(removed.is_some(), is_there);
                        if is_there {
                            model.remove(place);
                        }
                    }
                    Step::Remove(_) => {}
                    Step::Take => {
                        let taken: Vec<_> = own.take().map(|timer| address(&timer)).collect();
                        let expected: Vec<_> = std::mem::take(&mut model).into_values().collect();
                        prop_assert_eq!(taken, expected);
                    }
                }
                prop_assert_eq!(own.len as usize, model.len());
            }
        }
    }

    #[test]
    fn a_long_list_gives_its_memory_back_when_it_becomes_empty() {
        let mut own = OwnTimers::default();
        let timers: Vec<Arc<dyn Set>> = (0..1_000).map(|_| Arc::new(Still(0)) as _).collect();
        let places: Vec<_> = timers
            .iter()
            .map(|timer| own.insert(timer.clone()))
            .collect();
        for (place, timer) in places.into_iter().zip(&timers) {
            assert!(own.remove(place, address(timer)).is_some());
        }
        assert_eq!(own.places.capacity(), 0);
    }
}
