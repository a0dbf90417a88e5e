//! Models of offers: each task is moved out once, and none is forgotten.
#![expect(unsafe_code, reason = "models are the owners of their offers")]

use loom::thread;

use super::*;
use crate::sync::AtomicUsize;
use crate::sync::model::{fails, holds};

/// A task that counts how often it was moved out.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn run(self) {
        // ORDERING: AcqRel: the model reads it after both have ended.
        self.0.fetch_add(1, AcqRel);
    }
}

// An owner that fills and takes back, twice, against two looks of a worker.
fn an_owner_and_a_worker() {
    let offer = Arc::new(Offer::new());
    let runs = Arc::new(AtomicUsize::new(0));
    let worker = thread::spawn({
        let offer = offer.clone();
        move || (0..2).for_each(|_| offer.look().into_iter().for_each(Counted::run))
    });
    let mut made = 0;
    for _ in 0..2 {
        // SAFETY: this is the owner.
        match unsafe { offer.fill(Counted(runs.clone())) } {
            Ok(()) => made += 1,
            Err(_still_there) => {}
        }
        // SAFETY: this is the owner.
        if let Some(task) = unsafe { offer.take_back() } {
            task.run();
        }
    }
    worker.join().unwrap();
    // SAFETY: this is the owner.
    if let Some(task) = unsafe { offer.take_back() } {
        task.run();
    }
    assert_eq!(runs.load(Acquire), made, "a task is moved out once");
}

#[test]
fn a_task_is_moved_out_once() {
    holds(4, an_owner_and_a_worker);
}

#[test]
fn an_offer_that_is_emptied_before_its_task_is_out_is_found() {
    fails(
        Fault::OfferEmptiedFirst,
        "Causality violation",
        4,
        an_owner_and_a_worker,
    );
}

// A thread that leaves its offer, as others did before, against a worker that ends the watch.
fn an_offer_and_the_end_of_the_watch() {
    let offer = Arc::new(Offer::new());
    let watch = Arc::new(Watch(AtomicU8::new(MADE)));
    let worker = thread::spawn({
        let (offer, watch) = (offer.clone(), watch.clone());
        move || {
            let mut taken = false;
            for _ in 0..2 {
                watch.begin_look();
                taken |= offer.look().is_some();
                if !offer.is_empty() {
                    watch.keep();
                }
            }
            taken
        }
    });
    // SAFETY: this is the owner.
    unsafe { offer.fill(()) }.expect("it is empty");
    let wakes = watch.note();
    let taken = worker.join().unwrap();
    assert!(
        wakes || taken || watch.is_on(),
        "nobody comes to look at the offer"
    );
}

#[test]
fn an_offer_is_seen_or_wakes_a_worker() {
    holds(4, an_offer_and_the_end_of_the_watch);
}

#[test]
fn an_offer_without_a_fence_is_found() {
    fails(
        Fault::OfferUnfenced,
        "nobody comes",
        4,
        an_offer_and_the_end_of_the_watch,
    );
}
