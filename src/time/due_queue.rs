//! What is due when, in order; made for many things of which most are taken out again early.
//!
//! What is due soon lies in a map that is ordered to the nanosecond, everything else in bags of
//! 134 ms each, in the order in which it was put there. So to put something into a queue of a
//! million, or to take it out, touches two or three lines of memory that are not in a cache, where
//! a map of all would touch a dozen.
//!
//! Which things lie in the map is a matter of cost only: [`DueQueue::settle`] moves bags into it
//! until none that is left can hold anything earlier than the map's first, and only then is the
//! first one believed. A queue of a few uses the map alone.
//!
//! What is due at one moment comes in the order in which it was put in. Moments are nanoseconds
//! since some origin.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

/// How many bits of a moment are its place in its bag.
const BAG_BITS: u32 = 27;
/// Up to so many things lie in the map at once.
const FEW: usize = 64;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct DueQueue<T> {
    soon: BTreeMap<(u64, NonZeroU64), T>,
    /// By the moment without the last [`BAG_BITS`]. No bag is empty.
    bags: BTreeMap<u64, Bag<T>>,
    /// How many things are in bags.
    bagged: usize,
    next_number: NonZeroU64,
    /// Which of several queues this is; its tickets say so.
    name: u32,
}

/// By this something is found again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    due: u64,
    number: NonZeroU64,
    /// Where it was put in its bag. It can only have moved towards the beginning.
    index: u32,
    queue: u32,
}

impl Ticket {
    /// The name of the queue in which it is or was.
    pub(super) fn queue(self) -> u32 {
        self.queue
    }
}

#[derive(Debug)]
struct Bag<T> {
    /// In order of their numbers; `None` has been taken out.
    things: Vec<Thing<T>>,
    taken: u32,
}

#[derive(Debug)]
struct Thing<T> {
    due: u64,
    number: NonZeroU64,
    item: Option<T>,
}

fn bag_of(due: u64) -> u64 {
    due >> BAG_BITS
}

impl<T> Bag<T> {
    fn take(&mut self, ticket: Ticket) -> Option<T> {
        let hint = ticket.index as usize;
        let is_there = |thing: &Thing<T>| thing.number == ticket.number;
        let index = if self.things.get(hint).is_some_and(is_there) {
            hint
        } else {
            let found = self
                .things
                .binary_search_by_key(&ticket.number, |thing| thing.number);
            found.ok()?
        };
        let item = self.things[index].item.take()?;
        self.taken += 1;
        // What is left is moved together when it is less than half, so that a thing is moved once
        // for each one that is taken out.
        if self.taken as usize > 8 + self.things.len() / 2 {
            self.things.retain(|thing| thing.item.is_some());
            self.things.shrink_to_fit();
            self.taken = 0;
        }
        Some(item)
    }

    fn is_empty(&self) -> bool {
        self.taken as usize == self.things.len()
    }
}

impl<T> DueQueue<T> {
    pub(super) fn new(name: u32) -> Self {
        Self {
            soon: BTreeMap::new(),
            bags: BTreeMap::new(),
            bagged: 0,
            next_number: NonZeroU64::MIN,
            name,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.soon.len() + self.bagged
    }

    pub(super) fn insert(&mut self, due: u64, item: T) -> Ticket {
        let number = self.next_number;
        self.next_number = number
            .checked_add(1)
            .expect("a queue lives for some centuries");
        let mut index = 0;
        if self.soon.len() < FEW {
            self.soon.insert((due, number), item);
        } else {
            let bag = self.bags.entry(bag_of(due)).or_insert_with(|| Bag {
                things: Vec::with_capacity(1),
                taken: 0,
            });
            // A wrong hint does no harm.
            index = u32::try_from(bag.things.len()).unwrap_or(u32::MAX);
            bag.things.push(Thing {
                due,
                number,
                item: Some(item),
            });
            self.bagged += 1;
        }
        Ticket {
            due,
            number,
            index,
            queue: self.name,
        }
    }

    /// Takes something out, if it is there still.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        use std::collections::btree_map::Entry;
        if let Entry::Occupied(mut entry) = self.bags.entry(bag_of(ticket.due)) {
            let bag = entry.get_mut();
            if let Some(item) = bag.take(ticket) {
                self.bagged -= 1;
                if bag.is_empty() {
                    entry.remove();
                }
                return Some(item);
            }
        }
        self.soon.remove(&(ticket.due, ticket.number))
    }

    /// When the first thing is due.
    pub(super) fn first_due(&mut self) -> Option<u64> {
        self.settle();
        self.soon.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the first thing out if it is due at `now`.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<T> {
        self.settle();
        let first = self.soon.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Sees to it that the first thing of all is the first in the map.
    fn settle(&mut self) {
        while let Some(first) = self.bags.first_entry() {
            let earliest = self.soon.first_key_value();
            if earliest.is_some_and(|((due, _), _)| bag_of(*due) < *first.key()) {
                return;
            }
            let things = first.remove().things.into_iter();
            let things =
                things.filter_map(|Thing { due, number, item }| Some(((due, number), item?)));
            let before = self.soon.len();
            if before == 0 {
                // This sorts them and builds the map at once.
                self.soon = things.collect();
            } else {
                self.soon.extend(things);
            }
            self.bagged -= self.soon.len() - before;
        }
    }

    /// Takes everything out, in no order that counts.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let bags = std::mem::take(&mut self.bags).into_values();
        self.bagged = 0;
        let soon = std::mem::take(&mut self.soon).into_values();
        soon.chain(
            bags.flat_map(|bag| bag.things)
                .filter_map(|thing| thing.item),
        )
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        /// Takes out one that is there, or was.
        Remove(usize),
        Pass(u64),
    }

    /// Moments that crowd in a few bags, or stand alone.
    fn due() -> impl Strategy<Value = u64> {
        prop_oneof![
            0_u64..50,
            0_u64..4 << BAG_BITS,
            (0_u64..3, 0_u64..2).prop_map(|(bag, offset)| (bag << BAG_BITS) + offset),
            any::<u64>(),
        ]
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => due().prop_map(Step::Insert),
            3 => any::<usize>().prop_map(Step::Remove),
            1 => (0_u64..1 << BAG_BITS).prop_map(Step::Pass),
        ];
        prop::collection::vec(step, 0..600)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn it_does_what_a_plain_map_does(steps in steps()) {
            let mut queue = DueQueue::new(0);
            let mut model = BTreeMap::new();
            let mut tickets = Vec::new();
            let mut now = 0;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(due) => {
                        tickets.push((queue.insert(due, number), (due, number)));
                        model.insert((due, number), number);
                    }
                    Step::Remove(index) if !tickets.is_empty() => {
                        let (ticket, key) = tickets[index % tickets.len()];
                        prop_assert_eq!(queue.remove(ticket), model.remove(&key));
                    }
                    Step::Remove(_) => {}
                    Step::Pass(time) => {
                        now += time;
                        while let Some(item) = queue.pop_due(now) {
                            let first = model.pop_first();
                            prop_assert_eq!(first.map(|(_, item)| item), Some(item));
                        }
                        let first = model.first_key_value().map(|((due, _), _)| *due);
                        prop_assert!(first.is_none_or(|due| due > now));
                        prop_assert_eq!(queue.first_due(), first);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
            let mut left: Vec<_> = queue.drain().collect();
            left.sort_unstable();
            let mut expected: Vec<_> = model.into_values().collect();
            expected.sort_unstable();
            prop_assert_eq!(left, expected);
            prop_assert_eq!(queue.len(), 0);
        }
    }

    #[test]
    fn a_bag_whose_things_are_taken_out_gives_its_memory_back() {
        let mut queue = DueQueue::new(0);
        let tickets: Vec<_> = (0..10_000)
            .map(|item| queue.insert(1 << 40, item))
            .collect();
        for ticket in &tickets[..9_900] {
            assert!(queue.remove(*ticket).is_some());
        }
        let room: usize = queue.bags.values().map(|bag| bag.things.capacity()).sum();
        assert!(room < 300, "{room}");
        for ticket in &tickets[9_900..] {
            assert!(queue.remove(*ticket).is_some());
            assert!(queue.remove(*ticket).is_none());
        }
        assert!(queue.bags.is_empty());
    }
}
