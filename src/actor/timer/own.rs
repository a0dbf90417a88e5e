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
