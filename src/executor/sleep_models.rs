//! Models of workers that sleep.

use std::sync::Arc;

use loom::thread as model;

use super::*;
use crate::sync::model::{fails, holds};

/// Workers, each with a bell, and flags that stand for tasks in queues.
struct Pool {
    sleepers: Sleepers,
    bells: [Bell; 2],
    tasks: AtomicUsize,
}

impl Pool {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sleepers: Sleepers::new(),
            bells: [Bell::new(), Bell::new()],
            tasks: AtomicUsize::new(0),
        })
    }

    /// Queues a task. The queue orders nothing beyond itself.
    fn push(&self) {
        self.tasks.fetch_add(1, Relaxed);
        if let Some(sleeper) = self.sleepers.take_for_outside() {
            self.bells[sleeper].ring();
        }
    }

    /// Waits for a task and takes it.
    fn run(&self, worker: usize) {
        self.bells[worker].belongs_here();
        while !self.take() {
            self.bells[worker].silence();
            self.sleepers.enter(worker);
            if self.tasks.load(Relaxed) == 0 {
                self.bells[worker].sleep(None);
            }
            if self.sleepers.leave(worker) == Woken::ToSearch {
                self.sleepers.end_search();
            }
        }
    }

    fn take(&self) -> bool {
        let take = |tasks: usize| tasks.checked_sub(1);
        self.tasks.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

fn ringing_against_sleeping() {
    let pool = Pool::new();
    let bell = &pool.bells[0];
    bell.belongs_here();
    let ringers = [(); 2].map(|()| {
        let pool = pool.clone();
        model::spawn(move || {
            pool.tasks.fetch_add(1, Relaxed);
            pool.bells[0].ring();
        })
    });
    loop {
        bell.silence();
        if pool.tasks.load(Relaxed) == 2 {
            break;
        }
        bell.sleep(None);
    }
    for ringer in ringers {
        ringer.join().unwrap();
    }
}

#[test]
fn a_bell_that_rings_is_never_slept_through() {
    holds(3, ringing_against_sleeping);
}

#[test]
fn falling_asleep_over_a_ring_is_found() {
    fails(
        Fault::RingOverlooked,
        "deadlock",
        3,
        ringing_against_sleeping,
    );
}

fn two_pushers_and_a_worker() {
    let pool = Pool::new();
    let pushers = [(); 2].map(|()| {
        let pool = pool.clone();
        model::spawn(move || pool.push())
    });
    pool.run(0);
    pool.run(0);
    for pusher in pushers {
        pusher.join().unwrap();
    }
}

fn a_pusher_and_two_workers() {
    let pool = Pool::new();
    let workers = [0, 1].map(|worker| {
        let pool = pool.clone();
        model::spawn(move || pool.run(worker))
    });
    pool.push();
    pool.push();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[test]
fn no_task_waits_while_its_worker_sleeps() {
    holds(3, two_pushers_and_a_worker);
}

#[test]
fn no_task_waits_while_all_workers_sleep() {
    holds(2, a_pusher_and_two_workers);
}

#[test]
fn a_sleeper_without_a_fence_is_found() {
    fails(
        Fault::SleeperUnfenced,
        "deadlock",
        3,
        two_pushers_and_a_worker,
    );
    fails(
        Fault::SleeperUnfenced,
        "deadlock",
        2,
        a_pusher_and_two_workers,
    );
}

#[test]
fn a_pusher_without_a_fence_is_found() {
    fails(
        Fault::PusherUnfenced,
        "deadlock",
        3,
        two_pushers_and_a_worker,
    );
    fails(
        Fault::PusherUnfenced,
        "deadlock",
        2,
        a_pusher_and_two_workers,
    );
}
