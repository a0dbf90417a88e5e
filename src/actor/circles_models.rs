//! Models of the search for circles of waits.
#![expect(unsafe_code, reason = "models show records of their own")]

use loom::thread;

use super::*;
use crate::actor::slot::WaitSlot;
use crate::sync::model::{fails, holds};
use crate::sync::{AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Whom an actor waits for, by which wait.
#[repr(align(8))]
struct Edge {
    to: usize,
    number: u64,
}

/// Actors that wait for each other until somebody reports a circle.
struct World {
    slots: Vec<WaitSlot<Edge>>,
    lock: Mutex<()>,
    /// How many waits were refused.
    refused: AtomicUsize,
    /// Whether the answer to the wait with this number is there.
    answered: AtomicU8,
}

#[derive(Clone)]
struct Member {
    world: Arc<World>,
    index: usize,
}

impl Node for Member {
    fn key(&self) -> *const () {
        ptr::from_ref(&self.world.slots[self.index]).cast()
    }

    fn wait(&self, visit: &mut dyn FnMut(&Self)) -> Option<u64> {
        let number = self.world.slots[self.index].look(|edge| {
            self.is_blocked(edge).then(|| {
                visit(&self.other(edge.to));
                edge.number
            })
        });
        number.flatten()
    }
}

impl Member {
    fn other(&self, index: usize) -> Self {
        Self {
            world: self.world.clone(),
            index,
        }
    }

    fn is_blocked(&self, edge: &Edge) -> bool {
        // ORDERING: Acquire: whoever sees the answer sees what was done before it.
        self.world.answered.load(crate::sync::Ordering::Acquire) & (1 << edge.number) == 0
    }

    fn show(&self, edge: *const Edge) {
        // SAFETY: a member is one thread of a model, and its edge stays until it shows another.
        unsafe { self.world.slots[self.index].show(edge) };
    }

    /// Begins to wait; whether that was refused.
    fn is_refused(&self, edge: &Edge) -> bool {
        self.show(edge);
        let refused = closed_circle::<Self, _>(
            &self.world.lock,
            self.key(),
            &mut |visit| {
                let blocked = self.is_blocked(edge);
                if blocked {
                    visit(&self.other(edge.to));
                }
                blocked
            },
            |_| (),
            || self.show(ptr::null()),
        );
        if refused.is_some() {
            // ORDERING: Relaxed: read after all have ended.
            self.world.refused.fetch_add(1, Relaxed);
        }
        refused.is_some()
    }
}

fn world(actors: usize) -> Vec<Member> {
    let world = Arc::new(World {
        slots: (0..actors).map(|_| WaitSlot::new()).collect(),
        lock: Mutex::new(()),
        refused: AtomicUsize::new(0),
        answered: AtomicU8::new(0),
    });
    (0..actors)
        .map(|index| Member {
            world: world.clone(),
            index,
        })
        .collect()
}

/// Each of so many waits for the next one, all at the same moment. Edges stay as long as the
/// model does, since a wait that is not refused does not end.
fn ring(actors: usize) {
    let members = world(actors);
    let last = members[0].clone();
    let threads: Vec<_> = members
        .into_iter()
        .map(|member| {
            let run = move || {
                let to = (member.index + 1) % member.world.slots.len();
                let edge = Box::leak(Box::new(Edge { to, number: 0 }));
                member.is_refused(edge);
            };
            Box::new(run) as Box<dyn FnOnce() + Send>
        })
        .collect();
    let mut threads = threads.into_iter();
    let own = threads.next().expect("a ring has a member");
    let others: Vec<_> = threads.map(thread::spawn).collect();
    own();
    for other in others {
        other.join().unwrap();
    }
    // ORDERING: Relaxed: all have ended.
    let refused = last.world.refused.load(Relaxed);
    assert!(refused > 0, "the circle is missed");
    assert_eq!(refused, 1, "the circle is reported twice");
}

#[test]
fn two_waits_that_close_a_circle_at_once_are_reported_once() {
    holds(3, || ring(2));
}

#[test]
fn three_waits_that_close_a_circle_at_once_are_reported_once() {
    holds(2, || ring(3));
}

#[test]
fn a_walk_that_is_not_ordered_after_its_own_wait_is_found() {
    fails(Fault::WalkUnordered, "the circle is missed", 3, || ring(2));
}

#[test]
fn a_report_without_the_lock_is_found() {
    fails(Fault::CircleUnlocked, "reported twice", 3, || ring(2));
}

/// The second waits for the third, who answers; only then does the third wait for the first, who
/// waits for the second. The three waits stand at no moment together without an answer.
fn answer_then_wait() {
    let members = world(3);
    let [first, second, third] = [0, 1, 2].map(|index| members[index].clone());
    let theirs = thread::spawn(move || {
        let to_third = Edge { to: 2, number: 1 };
        second.show(&to_third);
        // The third answers the second, which goes on and waits for nobody.
        second
            .world
            .answered
            .fetch_or(1 << 1, crate::sync::Ordering::AcqRel);
        second.show(ptr::null());
    });
    let thirds = thread::spawn(move || {
        // Only after the answer, the third waits for the first.
        // ORDERING: Acquire pairs with the answer.
        if third.world.answered.load(crate::sync::Ordering::Acquire) & (1 << 1) != 0 {
            let to_first = Edge { to: 0, number: 2 };
            let refused = third.is_refused(&to_first);
            third.show(ptr::null());
            assert!(!refused, "a false alarm");
        }
    });
    let to_second = Edge { to: 1, number: 0 };
    let refused = first.is_refused(&to_second);
    assert!(!refused, "a false alarm");
    first.show(ptr::null());
    theirs.join().unwrap();
    thirds.join().unwrap();
}

#[test]
fn waits_that_never_stand_together_raise_no_alarm() {
    holds(3, answer_then_wait);
}

#[test]
fn a_report_after_a_single_walk_is_found() {
    fails(
        Fault::CircleNotWalkedTwice,
        "a false alarm",
        3,
        answer_then_wait,
    );
}
