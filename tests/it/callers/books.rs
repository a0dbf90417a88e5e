//! The books while threads, tasks and the pool run the same actors, and requests are withdrawn.
//!
//! The programs are random. A failure prints the seed and how to run it again; the seed decides
//! what each thread does, and the machine when.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenroom::{Actor, Addr, AskError, Context, Handler, Overflow, Reply, SendError, System};

use crate::support::{Numbers, PATIENCE, end_of, in_a_pool};

const SEED: &str = "GREENROOM_SEED";
const ACTORS: usize = 6;
const THREADS: u64 = 4;
const OPS: u64 = 300;

/// What the test itself has counted, for all actors together.
#[derive(Default)]
struct Ledger {
    accepted: AtomicU64,
    rejected: AtomicU64,
    /// Handlers that returned.
    returned: AtomicU64,
    /// Messages that are somewhere.
    alive: AtomicU64,
}

impl Ledger {
    fn count(&self, fits: bool) {
        let counter = if fits { &self.accepted } else { &self.rejected };
        counter.fetch_add(1, SeqCst);
    }

    fn count_ask(&self, outcome: &Result<(), AskError>) {
        self.count(!matches!(outcome, Err(AskError::Full(_))));
    }

    fn count_send<M>(&self, outcome: &Result<(), SendError<M>>) {
        self.count(outcome.is_ok());
    }
}

#[derive(Clone, Copy)]
enum Load {
    Return,
    /// Asks an actor with a higher number, so that nobody waits in a circle, and waits.
    Ask(u64),
    /// Asks such a one, and keeps the reply until the next message.
    Keep(u64),
    /// Sends to such a one.
    Send(u64),
    Panic,
}

/// A message that is counted wherever it goes.
struct Job {
    load: Load,
    ledger: Arc<Ledger>,
}

impl Job {
    fn new(ledger: &Arc<Ledger>, load: Load) -> Self {
        ledger.alive.fetch_add(1, SeqCst);
        let ledger = ledger.clone();
        Self { load, ledger }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.ledger.alive.fetch_sub(1, SeqCst);
    }
}

struct Performer {
    /// The actors with higher numbers.
    others: Vec<Addr<Performer>>,
    kept: Option<Reply<()>>,
}

impl Actor for Performer {}

impl Performer {
    fn other(&self, number: u64) -> Option<&Addr<Self>> {
        self.others.get(number as usize % self.others.len().max(1))
    }
}

impl Handler<Job> for Performer {
    type Reply = ();

    fn handle(&mut self, job: Job, _: &mut Context<Self>) {
        let ledger = &job.ledger;
        if let Some(kept) = self.kept.take() {
            ledger.count_ask(&kept.wait());
        }
        match job.load {
            Load::Return => {}
            Load::Ask(number) => {
                if let Some(other) = self.other(number) {
                    ledger.count_ask(&other.ask(Job::new(ledger, Load::Return)).wait());
                }
            }
            Load::Keep(number) => {
                let asked = self.other(number);
                self.kept = asked.map(|other| other.ask(Job::new(ledger, Load::Return)));
            }
            Load::Send(number) => {
                if let Some(other) = self.other(number) {
                    ledger.count_send(&other.send(Job::new(ledger, Load::Return)));
                }
            }
            // Says nothing on standard error, unlike `panic!`.
            Load::Panic => resume_unwind(Box::new("a performer falls")),
        }
        ledger.returned.fetch_add(1, SeqCst);
    }
}

/// Half of them reject what goes beyond two messages, the others have room for all. Of each
/// three, one may be run by any caller, and one lives on a thread of its own.
fn performers(system: &System) -> Vec<Addr<Performer>> {
    let mut others: Vec<Addr<Performer>> = Vec::new();
    for number in (0..ACTORS).rev() {
        let performer = Performer {
            others: others.clone(),
            kept: None,
        };
        let options = match rejects(number) {
            true => system.actor().capacity(2).overflow(Overflow::Reject),
            false => system.actor().capacity(16_384),
        };
        let addr = match number % 3 {
            0 => options.spawn(performer),
            1 => options.run_on_callers().spawn(performer),
            _ => options.spawn_thread(move || performer),
        };
        others.insert(0, addr.expect("it is spawned"));
    }
    others
}

fn rejects(number: usize) -> bool {
    number % 2 == 1
}

/// What the threads of a program share.
#[derive(Clone)]
struct Program {
    performers: Arc<[Addr<Performer>]>,
    ledger: Arc<Ledger>,
    /// Replies that whoever comes first waits for.
    hat: Arc<Mutex<Vec<Reply<()>>>>,
    /// Whether actors end in the middle.
    with_ends: bool,
}

impl Program {
    fn act(&self, numbers: &mut Numbers) {
        let number = numbers.below(ACTORS as u64) as usize;
        let performer = &self.performers[number];
        let other = numbers.below(100);
        let load = match numbers.below(200) {
            0 if self.with_ends => Load::Panic,
            0..40 => Load::Ask(other),
            40..60 => Load::Keep(other),
            60..80 => Load::Send(other),
            _ => Load::Return,
        };
        let ask = || performer.ask(Job::new(&self.ledger, load));
        match numbers.below(8) {
            0 => {
                let sent = performer.send(Job::new(&self.ledger, load));
                self.ledger.count_send(&sent);
            }
            1 => self.ledger.count_ask(&ask().wait_for(PATIENCE)),
            2 => self.ledger.count_ask(&ask().wait_for(Duration::ZERO)),
            3 => self.ledger.count_ask(&pollster::block_on(ask())),
            // One that was rejected would not be seen to be.
            4 if !rejects(number) => {
                drop(ask());
                self.ledger.count(true);
            }
            5 => self.hat.lock().unwrap().push(ask()),
            6 => self.empty_hat(1 + numbers.below(3) as usize),
            _ => self.ledger.count_ask(&ask().wait()),
        }
        if self.with_ends && numbers.below(400) == 0 {
            let ends = [Addr::stop, Addr::drain, Addr::kill];
            ends[numbers.below(3) as usize](performer);
        }
    }

    fn empty_hat(&self, replies: usize) {
        for _ in 0..replies {
            let reply = self.hat.lock().unwrap().pop();
            let Some(reply) = reply else { return };
            self.ledger.count_ask(&reply.wait());
        }
    }
}

/// Runs a program, and lets all its actors end.
fn run(system: &System, seed: u64, with_ends: bool) -> Arc<Ledger> {
    let program = Program {
        performers: performers(system).into(),
        ledger: Arc::default(),
        hat: Arc::default(),
        with_ends,
    };
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let program = program.clone();
            let mut numbers = Numbers(seed * THREADS + thread);
            thread::spawn(move || (0..OPS).for_each(|_| program.act(&mut numbers)))
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    program.empty_hat(usize::MAX);
    // In this order nobody is sent to any more when he is told to drain.
    for performer in program.performers.iter() {
        // One more message, so that no reply is kept.
        let last = performer.ask(Job::new(&program.ledger, Load::Return));
        program.ledger.count_ask(&last.wait());
        performer.drain();
        end_of(performer);
    }
    program.ledger.clone()
}

/// Runs `check` for some seeds, or for the one that the environment names.
fn for_seeds(test: &str, check: impl Fn(&System, u64)) {
    struct Tell<'a>(&'a str, u64);
    impl Drop for Tell<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                let Self(test, seed) = self;
                eprintln!("again: {SEED}={seed} cargo test --test it -- --exact {test}");
            }
        }
    }
    let named = std::env::var(SEED).ok();
    let named = named.map(|seed| seed.parse().expect("a seed is a number"));
    let seeds = named.map_or(0..20, |seed: u64| seed..seed + 1);
    for seed in seeds {
        for workers in [1, 2, 8] {
            let _tell = Tell(test, seed);
            in_a_pool(workers, |system| check(system, seed));
        }
    }
}

#[test]
fn all_is_accepted_rejected_handled_or_cancelled_to_the_unit_whoever_runs_it() {
    let test = "callers::books::\
        all_is_accepted_rejected_handled_or_cancelled_to_the_unit_whoever_runs_it";
    for_seeds(test, |system, seed| {
        let ledger = run(system, seed, false);
        let totals = system.snapshot().totals;
        let [accepted, rejected, returned, alive] = [
            &ledger.accepted,
            &ledger.rejected,
            &ledger.returned,
            &ledger.alive,
        ]
        .map(|counter| counter.load(SeqCst));
        assert_eq!(totals.accepted, accepted, "{totals}");
        assert_eq!(totals.rejected, rejected, "{totals}");
        assert_eq!(totals.handled, returned, "{totals}");
        assert_eq!(totals.cancelled, accepted - returned, "{totals}");
        assert_eq!(totals.dead_lettered, 0, "{totals}");
        assert_eq!(alive, 0);
    });
}

#[test]
fn the_books_balance_whoever_runs_the_actors_and_however_they_end() {
    let test = "callers::books::the_books_balance_whoever_runs_the_actors_and_however_they_end";
    for_seeds(test, |system, seed| {
        let ledger = run(system, seed, true);
        let totals = system.snapshot().totals;
        assert!(totals.is_balanced(), "{totals}");
        assert_eq!(totals.queued, 0, "{totals}");
        assert_eq!(totals.handled, ledger.returned.load(SeqCst), "{totals}");
        assert_eq!(ledger.alive.load(SeqCst), 0);
    });
}
