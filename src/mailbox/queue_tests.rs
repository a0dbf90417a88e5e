//! The queue in the hands of one thread, against a plain model of it.
#![expect(unsafe_code, reason = "plays the runner")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::mailbox::segment::{SegmentCache, Stash};

/// An item with a number; the count says how many are alive.
#[derive(Debug)]
struct Item {
    number: u32,
    _alive: Arc<()>,
}

thread_local! {
    static CACHE: RefCell<SegmentCache<Item>> = const { RefCell::new(SegmentCache::new()) };
}

impl Stored for Item {
    fn with_cache<R>(f: impl FnOnce(&mut SegmentCache<Self>) -> R) -> Option<R> {
        CACHE.try_with(|cache| f(&mut cache.borrow_mut())).ok()
    }

    fn stash() -> Option<&'static Stash<Self>> {
        None
    }
}

/// What is done with the queue. What only the runner may do is skipped if nobody runs.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push(Turn, u32),
    Take(u32),
    GiveBack,
    Release,
    Requeue,
    Claim,
    Signal,
    FormLine,
    DissolveLine,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    // Enough at a time to cross the borders between segments, of which the last is at 64.
    let many = 1..40_u32;
    prop_oneof![
        8 => many.clone().prop_map(|count| Step::Push(Turn::Newcomer, count)),
        2 => many.clone().prop_map(|count| Step::Push(Turn::FirstInLine, count)),
        8 => many.prop_map(Step::Take),
        2 => Just(Step::GiveBack),
        4 => Just(Step::Release),
        2 => Just(Step::Requeue),
        6 => Just(Step::Claim),
        2 => Just(Step::Signal),
        1 => Just(Step::FormLine),
        2 => Just(Step::DissolveLine),
        1 => prop_oneof![9 => Just(Step::Claim), 1 => Just(Step::Close)],
    ]
}

/// What the queue should be.
#[derive(Default)]
struct Model {
    items: VecDeque<u32>,
    capacity: usize,
    running: bool,
    signal: bool,
    line: bool,
    closed: bool,
}

impl Model {
    fn push(&mut self, turn: Turn, number: u32) -> Result<bool, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.line && turn == Turn::Newcomer {
            return Err(Refused::Behind);
        }
        if self.items.len() == self.capacity {
            return Err(Refused::Full);
        }
        let schedule = self.items.is_empty() && !self.running && !self.signal;
        self.items.push_back(number);
        Ok(schedule)
    }

    fn signal(&mut self) -> bool {
        !std::mem::replace(&mut self.signal, true) && !self.running
    }

    fn claim(&mut self) -> bool {
        if self.running {
            self.signal = true;
            return false;
        }
        self.running = self.signal || !self.items.is_empty();
        self.signal = false;
        self.running
    }

    fn release(&mut self) -> Released {
        if std::mem::take(&mut self.signal) {
            return Released::Busy;
        }
        if self.line && self.items.len() < self.capacity {
            return Released::Line;
        }
        self.running = !self.items.is_empty();
        if self.running {
            Released::Busy
        } else {
            Released::Idle
        }
    }

    fn form_line(&mut self) -> Result<(), LineRefused> {
        if self.closed {
            return Err(LineRefused::Closed);
        }
        if !self.line && self.items.len() < self.capacity {
            return Err(LineRefused::Room);
        }
        self.line = true;
        Ok(())
    }
}

/// The queue and its model, to which the same is done.
struct Pair {
    queue: Queue<Item>,
    model: Model,
    next: u32,
    alive: Arc<()>,
}

impl Pair {
    fn new(capacity: usize) -> Self {
        Self {
            queue: Queue::new(capacity),
            model: Model {
                capacity,
                ..Model::default()
            },
            next: 0,
            alive: Arc::new(()),
        }
    }

    fn push(&mut self, turn: Turn) {
        let number = self.next;
        self.next += 1;
        let item = Item {
            number,
            _alive: self.alive.clone(),
        };
        let pushed = self.queue.push(item, turn);
        let refused = pushed.map_err(|(refused, item)| {
            assert_eq!(item.number, number, "another item comes back");
            refused
        });
        assert_eq!(refused, self.model.push(turn, number));
    }

    fn take(&mut self) {
        let item = if self.model.items.len().is_multiple_of(2) {
            // SAFETY: we are the runner.
            unsafe { self.queue.take() }
        } else {
            // SAFETY: we are the runner.
            let place = unsafe { self.queue.peek() };
            place.map(|place| {
                // SAFETY: the item is moved out once, since it is passed next.
                let item = unsafe { place.read() };
                // SAFETY: we are the runner, and have moved the item out.
                unsafe { self.queue.pass() };
                item
            })
        };
        let number = item.map(|item| item.number);
        assert_eq!(number, self.model.items.pop_front());
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Push(turn, count) => (0..count).for_each(|_| self.push(turn)),
            Step::Claim => assert_eq!(self.queue.claim(), self.model.claim()),
            Step::Signal => assert_eq!(self.queue.signal(), self.model.signal()),
            Step::FormLine => assert_eq!(self.queue.form_line(), self.model.form_line()),
            Step::DissolveLine => {
                self.queue.dissolve_line();
                self.model.line = false;
            }
            Step::Close => {
                self.queue.close();
                self.model.closed = true;
            }
            Step::Take(_) | Step::GiveBack | Step::Release | Step::Requeue
                if !self.model.running => {}
            Step::Take(count) => (0..count).for_each(|_| self.take()),
            Step::GiveBack => {
                // SAFETY: we are the runner.
                unsafe { self.queue.give_back() };
            }
            Step::Release => {
                // SAFETY: we are the runner.
                let released = unsafe { self.queue.release() };
                assert_eq!(released, self.model.release());
            }
            Step::Requeue => {
                // SAFETY: we are the runner.
                unsafe { self.queue.requeue() };
                self.model.running = false;
                self.model.signal = true;
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.queue.len(), self.model.items.len());
        assert_eq!(self.queue.is_running(), self.model.running);
        assert_eq!(self.queue.is_closed(), self.model.closed);
        if self.model.running {
            // SAFETY: we are the runner.
            let exhausted = unsafe { self.queue.is_exhausted() };
            assert_eq!(exhausted, self.model.items.is_empty());
        }
        let alive = Arc::strong_count(&self.alive) - 1;
        assert_eq!(alive, self.model.items.len(), "an item is lost or kept");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_queue_does_what_its_model_does(
        capacity in prop_oneof![1..8_usize, 60..200_usize],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut pair = Pair::new(capacity);
        for step in steps {
            pair.apply(step);
            pair.check();
        }
        let Pair { queue, alive, .. } = pair;
        drop(queue);
        prop_assert_eq!(Arc::strong_count(&alive), 1, "an item outlives the queue");
    }
}

#[test]
fn an_empty_queue_begins_a_new_lap_and_holds_no_segment() {
    let mut pair = Pair::new(10);
    for _ in 0..3 * LAP {
        pair.push(Turn::Newcomer);
        assert!(pair.queue.claim() && pair.model.claim());
        pair.take();
        pair.apply(Step::Release);
        pair.check();
        let word = pair.queue.word.load(Relaxed);
        assert_eq!(offset(word), 0, "not at the beginning of a lap");
        let head = pair.queue.head_segment.with(|head| {
            // SAFETY: nobody runs.
            unsafe { *head }
        });
        assert!(head.is_null() && pair.queue.first.load(Relaxed).is_null());
    }
}

#[test]
fn positions_go_on_beyond_their_end() {
    let mut pair = Pair::new(100);
    // As if the queue had passed all positions but the last few laps.
    let end = 0_u64.wrapping_sub((2 * LAP) << POSITION_SHIFT);
    pair.queue.word.store(end, Relaxed);
    pair.queue.progress.store(end, Relaxed);
    let before = end.wrapping_sub(LAP << POSITION_SHIFT);
    pair.queue.tail_base.store(before, Relaxed);
    pair.apply(Step::Signal);
    pair.apply(Step::Claim);
    for _ in 0..20 {
        pair.apply(Step::Push(Turn::Newcomer, 30));
        pair.apply(Step::Take(25));
        pair.check();
    }
    let word = pair.queue.word.load(Relaxed);
    assert!(tail(word) < end, "the positions have not come to their end");
}
