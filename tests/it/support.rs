//! Actors and helpers that several topics use.

mod depth;
mod numbers;
mod player;
mod process;

pub(crate) use depth::{KIB, MIB, go_down};
pub(crate) use numbers::{Numbers, telling_seed};
pub(crate) use player::{Act, Note, Player, act};
pub(crate) use process::{alone, alone_knowing};
#[cfg(target_os = "linux")]
pub(crate) use process::{alone_after, threads};

use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use greenroom::testkit::Stepper;
use greenroom::{Actor, Addr, Context, Handler, ReplyTo, StopReason, System};

/// How long a real pool is given before a test fails. Nothing waits that long if all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A pool of this size, for tests that need to know it.
pub(crate) fn pool(workers: usize) -> System {
    System::builder()
        .workers(workers)
        .build()
        .expect("the machine has threads for a test")
}

/// Runs a test in pools of one, two and eight workers, and checks the books afterwards.
pub(crate) fn in_pools(test: impl Fn(&System)) {
    for workers in [1, 2, 8] {
        in_a_pool(workers, &test);
    }
}

/// Runs a test in a pool of this size, and checks the books afterwards.
pub(crate) fn in_a_pool(workers: usize, test: impl FnOnce(&System)) {
    let system = pool(workers);
    test(&system);
    close_the_books(&system);
}

/// Runs a test in a stepped system under each of many seeds, and checks the books afterwards.
/// A failure prints the seed.
pub(crate) fn under_seeds(test: impl Fn(&Stepper)) {
    (0..50).for_each(|seed| under_seed(seed, &test));
}

/// Runs a test in a stepped system under one seed, where others would make no difference.
pub(crate) fn under_seed(seed: u64, test: impl FnOnce(&Stepper)) {
    telling_seed(seed, || {
        let stepper = Stepper::new(seed);
        test(&stepper);
        close_the_books(stepper.system());
    });
}

/// Ends the system, and checks that each accepted message is in exactly one bin.
pub(crate) fn close_the_books(system: &System) {
    let report = system.shutdown(PATIENCE);
    assert!(report.is_clean(), "{report}");
    let snapshot = system.snapshot();
    assert_eq!(snapshot.actors, [], "nobody is left");
    assert_eq!(snapshot.totals.queued, 0, "{}", snapshot.totals);
    assert!(snapshot.totals.is_balanced(), "{}", snapshot.totals);
}

/// Runs `work` on a thread of its own; fails if it does not end.
pub(crate) fn in_time<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, outcome) = mpsc::channel();
    let worker = thread::spawn(move || done.send(work()));
    match outcome.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => panic!("the work does not end"),
        Err(RecvTimeoutError::Disconnected) => {
            resume_unwind(worker.join().expect_err("the work has panicked"))
        }
    }
}

/// Looks again and again until `condition` holds; fails if that does not come.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it does not come: {what}");
        thread::yield_now();
    }
}

/// Waits until the actor has ended, and returns why.
pub(crate) fn end_of<A: Actor>(addr: &Addr<A>) -> StopReason {
    let ended = addr.join_for(PATIENCE).expect("a test's thread can wait");
    ended.expect("the actor ends")
}

/// Keeps what it is sent, in order.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) seen: Vec<u64>,
}

impl Actor for Log {}

/// Something to be logged.
pub(crate) struct Entry(pub(crate) u64);

impl Handler<Entry> for Log {
    type Reply = ();

    fn handle(&mut self, Entry(number): Entry, _: &mut Context<Self>) {
        self.seen.push(number);
    }
}

/// Asks for all that was logged.
pub(crate) struct Seen;

impl Handler<Seen> for Log {
    type Reply = Vec<u64>;

    fn handle(&mut self, _: Seen, _: &mut Context<Self>) -> Vec<u64> {
        self.seen.clone()
    }
}

/// Holds the handler until the gate's other side answers; says when it has begun.
///
/// The handler waits on a plain channel, so it blocks its thread, as foreign code would.
pub(crate) struct Hold {
    pub(crate) begun: mpsc::Sender<()>,
    pub(crate) release: mpsc::Receiver<()>,
}

impl Handler<Hold> for Log {
    type Reply = ();

    fn handle(&mut self, hold: Hold, _: &mut Context<Self>) {
        hold.begun
            .send(())
            .expect("the test waits for the beginning");
        // A test that fails drops its side, which releases the handler too.
        let _ = hold.release.recv();
    }
}

/// The test's side of a [`Hold`].
pub(crate) struct Gate {
    pub(crate) begun: mpsc::Receiver<()>,
    pub(crate) release: mpsc::Sender<()>,
}

/// A message that holds its handler, and what releases it.
pub(crate) fn gate() -> (Hold, Gate) {
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let hold = Hold {
        begun: begin,
        release: released,
    };
    (hold, Gate { begun, release })
}

impl Gate {
    /// Waits until the handler holds.
    pub(crate) fn wait_until_held(&self) {
        let begun = self.begun.recv_timeout(PATIENCE);
        begun.expect("the handler begins");
    }

    /// Lets the handler return.
    pub(crate) fn open(self) {
        self.release.send(()).expect("the handler still holds");
    }
}

/// Keeps replies until it is told what to do with them.
#[derive(Default)]
pub(crate) struct Debtor {
    pub(crate) debts: Vec<ReplyTo<u64>>,
}

impl Actor for Debtor {}

/// Asks for an answer that is put off.
pub(crate) struct Borrow;

impl greenroom::DeferredHandler<Borrow> for Debtor {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Borrow, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        self.debts.push(reply);
    }
}

/// Answers all that is owed.
pub(crate) struct Pay(pub(crate) u64);

impl Handler<Pay> for Debtor {
    type Reply = usize;

    fn handle(&mut self, Pay(amount): Pay, _: &mut Context<Self>) -> usize {
        let debts = std::mem::take(&mut self.debts);
        let count = debts.len();
        debts.into_iter().for_each(|debt| debt.send(amount));
        count
    }
}

/// Drops all that is owed.
pub(crate) struct Default_;

impl Handler<Default_> for Debtor {
    type Reply = ();

    fn handle(&mut self, _: Default_, _: &mut Context<Self>) {
        self.debts.clear();
    }
}
