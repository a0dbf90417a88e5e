//! Models of waiting: a parked stack on its worker, and a parked thread.
#![expect(unsafe_code, reason = "shares cells between the threads of a model")]

use std::collections::VecDeque;

use loom::thread as model;

use super::*;
use crate::executor::ready::{Linked, ReadyList};
use crate::executor::sleep::Bell;
use crate::sync::model::{Spared, fails, holds};
use crate::sync::{AtomicBool, AtomicPtr, Ordering::Relaxed, Track, UnsafeCell};

/// What other threads know of a stack, and where its worker finds it.
struct Stack {
    token: Token,
    link: AtomicPtr<Stack>,
    worker: Arc<Worker>,
    _missed: Track<()>,
}

struct Worker {
    ready: Spared<ReadyList<Stack>>,
    bell: Bell,
}

impl Linked for Stack {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

impl Stack {
    fn new() -> Arc<Self> {
        let worker = Worker {
            ready: Spared::new(ReadyList::new()),
            bell: Bell::new(),
        };
        worker.bell.belongs_here();
        Arc::new(Self {
            token: Token::new(),
            link: AtomicPtr::new(ptr::null_mut()),
            worker: Arc::new(worker),
            _missed: Track::new(()),
        })
    }

    fn wake(self: &Arc<Self>) {
        if self.token.notify() {
            self.worker.ready.push(self.clone());
            self.worker.bell.ring();
        }
    }

    /// Waits until all these are set: parks the stack, and is its worker meanwhile.
    fn wait_for(&self, events: &[Arc<AtomicBool>]) {
        // ORDERING: Relaxed: the waiter learns of the events through its token.
        while !events.iter().all(|event| event.load(Relaxed)) {
            if self.token.prepare() {
                self.worker.run_until_ready();
                self.token.resumed();
            } else {
                self.worker.check_idle();
            }
        }
        self.worker.check_idle();
    }
}

impl Worker {
    fn run_until_ready(&self) {
        loop {
            self.bell.silence();
            let mut ready = VecDeque::new();
            self.ready.take_all(&mut ready);
            match ready.len() {
                0 => self.bell.sleep(None),
                len => return assert_eq!(len, 1, "a stack is ready once for each time it parks"),
            }
        }
    }

    /// Nobody makes a stack ready that runs.
    fn check_idle(&self) {
        assert!(self.ready.is_empty(), "a running stack is made ready");
    }
}

fn calling_against_parking() {
    let stack = Stack::new();
    let events = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let callers = [0, 1].map(|index| {
        let (stack, event) = (stack.clone(), events[index].clone());
        model::spawn(move || {
            event.store(true, Relaxed);
            stack.wake();
            // The counts of the model's threads are not tracked, so they end with the model.
            (stack, event)
        })
    });
    stack.wait_for(&events);
    for caller in callers {
        drop(caller.join().unwrap());
    }
    // A call that came late is noticed at the next wait.
    stack.worker.check_idle();
}

#[test]
fn a_parked_stack_is_resumed_once_and_misses_no_call() {
    holds(3, calling_against_parking);
}

#[test]
fn parking_in_spite_of_a_call_is_found() {
    fails(
        Fault::NoticeOverlooked,
        "deadlock",
        3,
        calling_against_parking,
    );
}

#[test]
fn making_a_stack_ready_twice_is_found() {
    fails(
        Fault::ReadyTwice,
        "a running stack is made ready",
        3,
        calling_against_parking,
    );
}

/// A node of a list, with something that its adder has written.
struct Node {
    link: AtomicPtr<Node>,
    written: UnsafeCell<u32>,
    _missed: Track<()>,
}

impl Node {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            link: AtomicPtr::new(ptr::null_mut()),
            written: UnsafeCell::new(0),
            _missed: Track::new(()),
        })
    }
}

// SAFETY: the model checker looks at each access of the cell.
unsafe impl Sync for Node {}

impl Linked for Node {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

fn adding_against_taking() {
    let list = Arc::new(Spared::new(ReadyList::new()));
    let adder = |numbers: &'static [u32]| {
        let list = list.clone();
        let nodes: Vec<_> = numbers.iter().map(|_| Node::new()).collect();
        model::spawn(move || {
            for (number, node) in numbers.iter().zip(nodes) {
                node.written.with_mut(|written| {
                    // SAFETY: nobody else knows the node yet.
                    unsafe { *written = *number }
                });
                list.push(node);
            }
            list
        })
    };
    let adders = [adder(&[1, 2]), adder(&[11])];
    let mut taken = VecDeque::new();
    list.take_all(&mut taken);
    list.take_all(&mut taken);
    for adder in adders {
        drop(adder.join().unwrap());
    }
    list.take_all(&mut taken);
    let mut numbers: Vec<_> = taken
        .iter()
        .map(|node| {
            node.written.with(|written| {
                // SAFETY: who has taken the node sees what was written before it was added.
                unsafe { *written }
            })
        })
        .collect();
    numbers.retain(|number| *number < 10 || taken.len() < 3);
    assert_eq!(numbers, [1, 2], "a node is lost or out of order");
}

#[test]
fn a_ready_list_loses_nothing_and_keeps_the_order_of_arrival() {
    holds(3, adding_against_taking);
}

#[test]
fn taking_the_ready_list_in_two_steps_is_found() {
    fails(
        Fault::ReadyTakenInTwo,
        "a node is lost",
        3,
        adding_against_taking,
    );
}

fn calling_a_thread() {
    let (parker, waker) = fresh_parker();
    let events = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    for event in &events {
        let (waker, event) = (waker.clone(), event.clone());
        // Not joined: the model checker mistakes a late call for the end of the thread.
        model::spawn(move || {
            event.store(true, Relaxed);
            waker.wake_by_ref();
        });
    }
    let outcome = parker.wait(&waker, &mut |_| {
        // ORDERING: Relaxed: the waiter learns of the events through its parker.
        if events.iter().all(|event| event.load(Relaxed)) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    assert!(outcome.is_ok());
}

#[test]
fn a_parked_thread_misses_no_call() {
    holds(3, calling_a_thread);
}

#[test]
fn unparking_a_thread_before_it_can_see_why_is_found() {
    fails(Fault::UnparkedFirst, "deadlock", 3, calling_a_thread);
}
