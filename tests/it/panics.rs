//! Panics: they end their actor and nothing else, wherever in its code they happen.
//!
//! Each test runs in stepped systems and in real pools. After each, every worker must still
//! work, and so must the timers; the books are checked by the stage.

mod actors;
mod messages;
mod payloads;
mod timers;

use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Context, DeadLetterFeed, DeferredHandler, Handler, LossReason, Reply,
    ReplyTo, StopReason, System, WaitError,
};

use crate::support::{Entry, Gate, Log, gate, in_a_pool, in_time, under_seed};

const SECOND: Duration = Duration::from_secs(1);

/// A system in which nothing runs until it is told to begin.
struct Stage<'a> {
    system: &'a System,
    stepper: Option<&'a Stepper>,
    /// What holds the workers of a real pool.
    holds: RefCell<Vec<Gate>>,
    /// Addresses that are kept until the system has been shut down.
    kept: &'a RefCell<Vec<Addr<Fragile>>>,
}

/// Runs a test in stepped systems and in pools, and finds out whether anything is broken.
fn everywhere(test: impl Fn(&Stage<'_>)) {
    for seed in 0..10 {
        let kept = RefCell::default();
        under_seed(seed, |stepper| {
            test(&Stage {
                system: stepper.system(),
                stepper: Some(stepper),
                holds: RefCell::default(),
                kept: &kept,
            });
        });
    }
    for workers in [1, 2, 8] {
        let kept = RefCell::default();
        in_a_pool(workers, |system| {
            let stage = Stage {
                system,
                stepper: None,
                holds: RefCell::new(hold_all(system, workers)),
                kept: &kept,
            };
            test(&stage);
            stage.begin();
            let all = hold_all(system, workers);
            all.into_iter().for_each(Gate::open);
            let napper = system.spawn(Fragile::sound());
            let nap = in_time(move || napper.ask(Nap(Duration::from_nanos(1))).wait());
            nap.expect("the timers work").expect("nobody kills it");
        });
    }
}

/// Holds as many workers; fails if one is lost.
fn hold_all(system: &System, workers: usize) -> Vec<Gate> {
    let gates: Vec<_> = (0..workers)
        .map(|_| {
            let (hold, gate) = gate();
            system.spawn(Log::default()).send(hold).unwrap();
            gate
        })
        .collect();
    gates.iter().for_each(Gate::wait_until_held);
    gates
}

impl Stage<'_> {
    fn begin(&self) {
        self.holds.take().into_iter().for_each(Gate::open);
    }

    /// An actor with trouble at this place, and what its `stopped` tells.
    fn fragile(&self, trouble: Trouble) -> (Addr<Fragile>, mpsc::Receiver<StopReason>) {
        let (fragile, stopped) = Fragile::new(trouble);
        (self.system.spawn(fragile), stopped)
    }

    /// Waits for the outcome, also when no timer works any more.
    fn outcome<R: Send + 'static>(&self, reply: Reply<R>) -> Result<R, AskError> {
        if self.stepper.is_some() {
            reply.wait()
        } else {
            in_time(move || reply.wait())
        }
    }

    fn end_of<A: Actor>(&self, addr: &Addr<A>) -> StopReason {
        let addr = addr.clone();
        let ended = if self.stepper.is_some() {
            addr.join()
        } else {
            in_time(move || addr.join())
        };
        ended.expect("a test's thread can wait")
    }

    /// Lets a second of the system's time pass, if that is in our hands.
    fn advance(&self) {
        if let Some(stepper) = self.stepper {
            stepper.advance(SECOND);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Nowhere,
    InStarted,
    InStopped,
    InDrop,
    /// In both of the last two.
    InTheEnd,
}

/// An actor that panics where it is told to.
struct Fragile {
    trouble: Trouble,
    stopped: mpsc::Sender<StopReason>,
    owed: Vec<ReplyTo<u64>>,
}

impl Fragile {
    fn new(trouble: Trouble) -> (Self, mpsc::Receiver<StopReason>) {
        let (stopped, reasons) = mpsc::channel();
        let fragile = Self {
            trouble,
            stopped,
            owed: Vec::new(),
        };
        (fragile, reasons)
    }

    fn sound() -> Self {
        Self::new(Trouble::Nowhere).0
    }
}

impl Actor for Fragile {
    fn started(&mut self, _: &mut Context<Self>) {
        assert!(self.trouble != Trouble::InStarted, "in started");
    }

    fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
        let _ = self.stopped.send(reason.clone());
        assert!(
            !matches!(self.trouble, Trouble::InStopped | Trouble::InTheEnd),
            "in stopped"
        );
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(
            thread::panicking() || !matches!(self.trouble, Trouble::InDrop | Trouble::InTheEnd),
            "in drop"
        );
    }
}

struct Trip(&'static str);

impl Handler<Trip> for Fragile {
    type Reply = u64;

    fn handle(&mut self, Trip(words): Trip, _: &mut Context<Self>) -> u64 {
        panic!("{words}");
    }
}

impl Handler<Entry> for Fragile {
    type Reply = u64;

    fn handle(&mut self, Entry(number): Entry, _: &mut Context<Self>) -> u64 {
        number
    }
}

struct Owe;

impl DeferredHandler<Owe> for Fragile {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Owe, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        self.owed.push(reply);
    }
}

struct Nap(Duration);

impl Handler<Nap> for Fragile {
    type Reply = Result<(), WaitError>;

    fn handle(&mut self, Nap(time): Nap, ctx: &mut Context<Self>) -> Result<(), WaitError> {
        ctx.sleep(time)
    }
}

/// Panics when it is dropped.
struct Fused(&'static str);

impl Drop for Fused {
    fn drop(&mut self) {
        // Not while a test fails, which would end the whole process.
        assert!(thread::panicking(), "{}", self.0);
    }
}

impl Handler<Fused> for Fragile {
    type Reply = ();

    fn handle(&mut self, fused: Fused, _: &mut Context<Self>) {
        drop(fused);
    }
}

fn panicked(words: &str) -> StopReason {
    StopReason::Panicked {
        message: words.into(),
    }
}

fn words_of<R>(outcome: Result<R, AskError>) -> String {
    match outcome {
        Err(AskError::Panicked { message }) => message.to_string(),
        Err(other) => panic!("the actor has panicked, but: {other}"),
        Ok(_) => panic!("the actor has panicked, but it has answered"),
    }
}

/// The letters that have come: the last word of each message's type, and the reason.
fn letters(feed: &DeadLetterFeed) -> Vec<(String, LossReason)> {
    std::iter::from_fn(|| feed.try_next())
        .map(|letter| {
            let kind = letter.message_type.rsplit("::").next();
            (kind.unwrap_or_default().to_owned(), letter.reason)
        })
        .collect()
}

fn lost(kind: &str, reason: LossReason) -> (String, LossReason) {
    (kind.to_owned(), reason)
}
