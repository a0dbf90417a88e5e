//! Messages at which an actor panics, tried again by its next life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenroom::{
    Actor, Backoff, ChildSpec, Context, Handler, Intensity, LossReason, Restart, StopReason,
    Strategy,
};

use crate::support::{end_of, under_seeds};

/// How often each message has been tried, over all lives.
type Tries = Arc<Mutex<BTreeMap<u64, u32>>>;

/// Panics at each message until it has been tried often enough.
struct Clumsy {
    needed: u32,
    tries: Tries,
    done: Arc<Mutex<Vec<u64>>>,
}

impl Actor for Clumsy {}

#[derive(Clone)]
struct Job(u64);

impl Handler<Job> for Clumsy {
    type Reply = u64;

    fn handle(&mut self, Job(number): Job, _: &mut Context<Self>) -> u64 {
        let tried = {
            let mut tries = self.tries.lock().expect("it is not held at a panic");
            let tried = tries.entry(number).or_default();
            *tried += 1;
            *tried
        };
        assert!(tried >= self.needed, "job {number}, try {tried}");
        self.done
            .lock()
            .expect("it is not held at a panic")
            .push(number);
        number
    }
}

fn clumsy(needed: u32) -> (ChildSpec<Clumsy>, Tries, Arc<Mutex<Vec<u64>>>) {
    let (tries, done) = (Tries::default(), Arc::default());
    let (tries_of_all, done_by_all) = (tries.clone(), Arc::clone(&done));
    let spec = ChildSpec::new("clumsy", move || Clumsy {
        needed,
        tries: tries_of_all.clone(),
        done: Arc::clone(&done_by_all),
    });
    (spec, tries, done)
}

#[test]
fn a_message_is_tried_again_before_those_that_are_queued() {
    under_seeds(|stepper| {
        let (spec, _, done) = clumsy(3);
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        tree = tree.intensity(Intensity::UNLIMITED);
        let clumsy = tree.child(spec.retry::<Job>(2)).expect("it can be spawned");
        tree.start().expect("it starts");
        for number in 0..5 {
            clumsy.try_send(Job(number)).expect("there is room");
        }
        stepper.run();
        assert_eq!(*done.lock().unwrap(), [0, 1, 2, 3, 4]);
        let counts = stepper.system().snapshot().actors[0].counts;
        assert_eq!((counts.handled, counts.dead_lettered), (5, 0), "{counts}");
    });
}

#[test]
fn a_message_that_was_tried_often_enough_is_a_dead_letter() {
    under_seeds(|stepper| {
        let letters = stepper.system().dead_letters();
        let (spec, tries, done) = clumsy(4);
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        tree = tree.intensity(Intensity::UNLIMITED);
        let clumsy = tree.child(spec.retry::<Job>(2)).expect("it can be spawned");
        tree.start().expect("it starts");
        clumsy.try_send(Job(7)).expect("there is room");
        stepper.run();
        assert_eq!(tries.lock().unwrap()[&7], 3, "once, and two retries");
        assert!(done.lock().unwrap().is_empty());
        let letter = letters.try_next().expect("it is lost");
        assert_eq!(letter.reason, LossReason::Panicked("job 7, try 3".into()));
        assert_eq!(letters.try_next(), None);
    });
}

#[test]
fn a_message_that_waits_for_the_next_life_counts_as_queued() {
    under_seeds(|stepper| {
        let (spec, ..) = clumsy(2);
        let backoff = Backoff::exponential(Duration::from_secs(1)).jitter(0.0);
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        let spec = spec.retry::<Job>(1).backoff(backoff);
        let clumsy = tree.child(spec).expect("it can be spawned");
        tree.start().expect("it starts");
        clumsy.try_send(Job(1)).expect("there is room");
        clumsy.try_send(Job(2)).expect("there is room");
        stepper.run();
        let snapshot = stepper.system().snapshot();
        let counts = snapshot.actors[0].counts;
        assert_eq!((counts.queued, counts.dead_lettered), (2, 0), "{counts}");
        assert!(counts.is_balanced(), "{counts}");
        clumsy.drain();
        stepper.run();
        let totals = stepper.system().snapshot().totals;
        assert_eq!(totals.dead_lettered, 2, "there is no next life: {totals}");
        assert_eq!(end_of(&clumsy), StopReason::Drained);
    });
}

#[test]
fn a_request_is_not_tried_again_since_its_asker_is_told() {
    under_seeds(|stepper| {
        let (spec, tries, _) = clumsy(2);
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        let clumsy = tree.child(spec.retry::<Job>(5)).expect("it can be spawned");
        tree.start().expect("it starts");
        let error = clumsy.ask(Job(1)).wait().expect_err("it panics");
        assert_eq!(error.to_string(), "the asked actor panicked: job 1, try 1");
        assert_eq!(clumsy.ask(Job(1)).wait().expect("it works now"), 1);
        assert_eq!(tries.lock().unwrap()[&1], 2);
    });
}

#[test]
fn a_temporary_child_tries_nothing_again() {
    under_seeds(|stepper| {
        let (spec, tries, _) = clumsy(2);
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        let spec = spec.retry::<Job>(5).restart(Restart::Temporary);
        let clumsy = tree.child(spec).expect("it can be spawned");
        tree.start().expect("it starts");
        clumsy.try_send(Job(1)).expect("there is room");
        stepper.run();
        assert_eq!(tries.lock().unwrap()[&1], 1);
        assert_eq!(stepper.system().snapshot().totals.dead_lettered, 1);
    });
}

/// Its `Clone` panics.
struct Unique;

impl Clone for Unique {
    fn clone(&self) -> Self {
        panic!("there is only one");
    }
}

impl Handler<Unique> for Clumsy {
    type Reply = ();

    fn handle(&mut self, _: Unique, _: &mut Context<Self>) {
        self.done
            .lock()
            .expect("it is not held at a panic")
            .push(99);
    }
}

#[test]
fn a_message_whose_clone_panics_is_handled_once() {
    under_seeds(|stepper| {
        let (spec, _, done) = clumsy(1);
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        let clumsy = tree
            .child(spec.retry::<Unique>(1))
            .expect("it can be spawned");
        tree.start().expect("it starts");
        clumsy.try_send(Unique).expect("there is room");
        stepper.run();
        assert_eq!(*done.lock().unwrap(), [99]);
    });
}

#[test]
fn a_message_is_not_lost_if_the_next_life_cannot_begin_at_once() {
    under_seeds(|stepper| {
        let (tries, done) = (Tries::default(), Arc::new(Mutex::new(Vec::new())));
        let (tries_of_all, done_by_all) = (tries.clone(), Arc::clone(&done));
        let mut lives = 0;
        let make = move || {
            lives += 1;
            assert!(lives != 2 && lives != 3, "life {lives}");
            Clumsy {
                needed: 2,
                tries: tries_of_all.clone(),
                done: Arc::clone(&done_by_all),
            }
        };
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        tree = tree.intensity(Intensity::UNLIMITED);
        let spec = ChildSpec::new("clumsy", make).retry::<Job>(1);
        let clumsy = tree.child(spec).expect("it can be spawned");
        tree.start().expect("it starts");
        clumsy.try_send(Job(1)).expect("there is room");
        clumsy.try_send(Job(2)).expect("there is room");
        stepper.run();
        assert_eq!(*done.lock().unwrap(), [1, 2]);
        assert_eq!(tries.lock().unwrap()[&1], 2);
    });
}
