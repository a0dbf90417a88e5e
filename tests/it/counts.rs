//! The books: every accepted message is in exactly one bin, whatever happens to it.

mod threads;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, ActorState, Addr, AskError, Context, Counts, DeadLetterFeed, DeferredHandler, Handler,
    LossReason, Overflow, Reply, ReplyTo, SendError, TrySendError,
};
use proptest::prelude::*;

use crate::support::{Entry, Log, under_seeds};

/// What the test itself has counted for one actor.
#[derive(Clone, Copy, Default, Debug)]
struct Ledger {
    /// Sends that returned `Ok`, and requests that were queued or dropped by the policy.
    accepted: u64,
    /// Those that came back since there was no room.
    rejected: u64,
    /// Those of which it is not known whether there was room: timers, what stood in line.
    unknown: u64,
    /// Those of the unknown ones that were run.
    unknown_begun: u64,
    /// Handlers that returned.
    returned: u64,
}

/// What is shared by all actors of a run.
#[derive(Clone)]
struct Books {
    ledgers: Arc<Mutex<Vec<Ledger>>>,
    /// Messages that are somewhere.
    alive: Arc<AtomicU64>,
}

impl Books {
    fn new(actors: usize) -> Self {
        Self {
            ledgers: Arc::new(Mutex::new(vec![Ledger::default(); actors])),
            alive: Arc::default(),
        }
    }

    fn ledgers(&self) -> MutexGuard<'_, Vec<Ledger>> {
        self.ledgers
            .lock()
            .unwrap_or_else(|error| error.into_inner())
    }

    fn count_send<M>(&self, to: usize, outcome: &Result<(), SendError<M>>) {
        let ledger = &mut self.ledgers()[to];
        match outcome {
            Ok(()) => ledger.accepted += 1,
            Err(SendError::Stopped(_)) => {}
            Err(_) => ledger.rejected += 1,
        }
    }

    fn count_try_send<M>(&self, to: usize, outcome: &Result<(), TrySendError<M>>) {
        let ledger = &mut self.ledgers()[to];
        match outcome {
            Ok(()) => ledger.accepted += 1,
            Err(TrySendError::Stopped(_)) => {}
            Err(_) => ledger.rejected += 1,
        }
    }
}

/// What a message has its handler do.
#[derive(Clone, Debug)]
enum Load {
    Return,
    Sleep(u64),
    Panic,
    Stop,
    /// Sends to one of the actors with higher numbers, so that nobody waits in a circle.
    Relay(usize),
    /// Asks such a one, and waits for the answer for so long.
    Ask(usize, u64),
    Timer(u64),
    Interval(u64),
}

/// A message that is counted wherever it goes.
struct Job {
    load: Load,
    /// Whether its sender learns what became of it.
    known: bool,
    books: Books,
}

impl Job {
    fn new(books: &Books, load: Load) -> Self {
        books.alive.fetch_add(1, SeqCst);
        Self {
            load,
            known: true,
            books: books.clone(),
        }
    }

    /// One of which it is not known whether `to` accepts it.
    fn unknown(books: &Books, to: usize) -> Self {
        books.ledgers()[to].unknown += 1;
        let mut job = Self::new(books, Load::Return);
        job.known = false;
        job
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.books.alive.fetch_sub(1, SeqCst);
    }
}

/// A job that is answered now, later, or never.
struct Debt(Job);

struct Performer {
    number: usize,
    /// The actors with higher numbers.
    others: Vec<(usize, Addr<Performer>)>,
    debts: Vec<ReplyTo<u64>>,
    books: Books,
}

impl Actor for Performer {}

impl Performer {
    fn begin(&self, job: &Job) {
        if !job.known {
            self.books.ledgers()[self.number].unknown_begun += 1;
        }
    }

    fn end(&self) {
        self.books.ledgers()[self.number].returned += 1;
    }

    fn other(&self, index: usize) -> Option<&(usize, Addr<Self>)> {
        self.others.get(index % self.others.len().max(1))
    }
}

impl Handler<Job> for Performer {
    type Reply = u64;

    fn handle(&mut self, job: Job, ctx: &mut Context<Self>) -> u64 {
        self.begin(&job);
        let books = self.books.clone();
        match job.load {
            Load::Return => {}
            Load::Sleep(millis) => drop(ctx.sleep(Duration::from_millis(millis)).is_err()),
            // Says nothing on standard error, unlike `panic!`.
            Load::Panic => resume_unwind(Box::new("a performer falls")),
            Load::Stop => ctx.stop(),
            Load::Relay(index) => {
                if let Some((number, other)) = self.other(index) {
                    let outcome = other.send(Job::new(&books, Load::Return));
                    books.count_send(*number, &outcome);
                }
            }
            Load::Ask(index, millis) => {
                if let Some((number, other)) = self.other(index) {
                    let reply = other.ask(Job::unknown(&books, *number));
                    drop(reply.wait_for(Duration::from_millis(millis)));
                }
            }
            Load::Timer(millis) => {
                let job = Job::unknown(&books, self.number);
                ctx.send_after(Duration::from_millis(millis), job);
            }
            Load::Interval(millis) => {
                let number = self.number;
                ctx.interval(Duration::from_millis(millis + 20), move || {
                    Job::unknown(&books, number)
                });
            }
        }
        self.end();
        0
    }
}

impl DeferredHandler<Debt> for Performer {
    type Reply = u64;

    fn handle_deferred(&mut self, Debt(job): Debt, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        self.begin(&job);
        match self.debts.len() % 3 {
            0 => reply.send(1),
            1 => self.debts.push(reply),
            _ => {
                self.debts.clear();
                drop(reply);
            }
        }
        self.end();
    }
}

/// What the test's thread does.
#[derive(Clone, Debug)]
enum Op {
    Send(usize, Load),
    TrySend(usize, Load),
    SendFor(usize, Load, u64),
    Ask(usize, Load),
    AskForDebt(usize),
    /// Asks the first, and forwards the outcome to the second.
    Forward(usize, usize),
    DropReply(usize),
    WaitFor(usize, u64),
    Stop(usize),
    Drain(usize),
    Kill(usize),
    DropAddress(usize),
    Step(u8),
    Advance(u64),
}

/// A program, and the system it runs in.
#[derive(Clone, Debug)]
struct Program {
    seed: u64,
    actors: Vec<(usize, Overflow)>,
    ops: Vec<Op>,
}

/// A program under way.
struct Run {
    stepper: Stepper,
    books: Books,
    policies: Vec<Overflow>,
    actors: Vec<Option<Addr<Performer>>>,
    replies: Vec<Reply<u64>>,
    letters: DeadLetterFeed,
}

impl Run {
    fn new(program: &Program) -> Self {
        let stepper = Stepper::new(program.seed);
        let letters = stepper.system().dead_letters();
        let books = Books::new(program.actors.len());
        let mut others: Vec<(usize, Addr<Performer>)> = Vec::new();
        for (number, (capacity, overflow)) in program.actors.iter().enumerate().rev() {
            let performer = Performer {
                number,
                others: others.clone(),
                debts: Vec::new(),
                books: books.clone(),
            };
            let options = stepper.system().actor();
            let options = options.capacity(*capacity).overflow(*overflow);
            others.push((number, options.spawn(performer).expect("it is spawned")));
        }
        others.reverse();
        Self {
            stepper,
            books,
            policies: program.actors.iter().map(|(_, policy)| *policy).collect(),
            actors: others.into_iter().map(|(_, addr)| Some(addr)).collect(),
            replies: Vec::new(),
            letters,
        }
    }

    /// One of the actors whose address is left.
    fn actor(&self, index: usize) -> Option<(usize, Addr<Performer>)> {
        let number = index % self.actors.len();
        Some((number, self.actors[number].clone()?))
    }

    fn reply(&mut self, index: usize) -> Option<Reply<u64>> {
        let count = self.replies.len();
        (count > 0).then(|| self.replies.swap_remove(index % count))
    }

    fn ask(
        &mut self,
        index: usize,
        ask: impl FnOnce(&Addr<Performer>, Job) -> Reply<u64>,
        load: &Load,
    ) {
        let Some((number, addr)) = self.actor(index) else {
            return;
        };
        let knows = !matches!(
            self.policies[number],
            Overflow::Block | Overflow::BlockFor(_)
        );
        let mut job = Job::new(&self.books, load.clone());
        job.known = knows;
        let reply = ask(&addr, job);
        let mut ledgers = self.books.ledgers();
        let ledger = &mut ledgers[number];
        // No step was taken, so what is ready was known at once.
        if !reply.is_ready() {
            match knows {
                true => ledger.accepted += 1,
                false => ledger.unknown += 1,
            }
            drop(ledgers);
            self.replies.push(reply);
            return;
        }
        match reply.wait() {
            Err(AskError::Full(_)) => ledger.rejected += 1,
            Err(AskError::DroppedByPolicy) => ledger.accepted += 1,
            Err(AskError::Stopped { .. } | AskError::Panicked { .. }) => {}
            other => panic!("nobody has run, but: {other:?}"),
        }
    }

    fn act(&mut self, op: &Op) {
        match op {
            Op::Send(index, load) => {
                if let Some((number, addr)) = self.actor(*index) {
                    let outcome = addr.send(Job::new(&self.books, load.clone()));
                    self.books.count_send(number, &outcome);
                }
            }
            Op::TrySend(index, load) => {
                if let Some((number, addr)) = self.actor(*index) {
                    let outcome = addr.try_send(Job::new(&self.books, load.clone()));
                    self.books.count_try_send(number, &outcome);
                }
            }
            Op::SendFor(index, load, millis) => {
                if let Some((number, addr)) = self.actor(*index) {
                    let job = Job::new(&self.books, load.clone());
                    let outcome = addr.send_for(job, Duration::from_millis(*millis));
                    self.books.count_send(number, &outcome);
                }
            }
            Op::Ask(index, load) => self.ask(*index, |addr, job| addr.ask(job), load),
            Op::AskForDebt(index) => {
                self.ask(*index, |addr, job| addr.ask(Debt(job)), &Load::Return);
            }
            Op::Forward(from, to) => self.forward(*from, *to),
            Op::DropReply(index) => drop(self.reply(*index)),
            Op::WaitFor(index, millis) => {
                if let Some(reply) = self.reply(*index) {
                    drop(reply.wait_for(Duration::from_millis(*millis)));
                }
            }
            Op::Stop(index) => self.order(*index, Addr::stop),
            Op::Drain(index) => self.order(*index, Addr::drain),
            Op::Kill(index) => self.order(*index, Addr::kill),
            Op::DropAddress(index) => {
                let number = index % self.actors.len();
                self.actors[number] = None;
            }
            Op::Step(count) => (0..*count).for_each(|_| {
                self.stepper.step();
            }),
            Op::Advance(millis) => self.stepper.advance(Duration::from_millis(*millis)),
        }
        self.check_each();
    }

    fn order(&self, index: usize, order: impl FnOnce(&Addr<Performer>)) {
        if let Some((_, addr)) = self.actor(index) {
            order(&addr);
        }
    }

    fn forward(&self, from: usize, to: usize) {
        let (Some((asked, from)), Some((number, to))) = (self.actor(from), self.actor(to)) else {
            return;
        };
        let request = Job::unknown(&self.books, asked);
        let books = self.books.clone();
        from.ask(request)
            .forward(&to, move |_| Job::unknown(&books, number));
    }

    /// What holds at any time: an actor has one message in hand at most, which is in no bin.
    fn check_each(&self) {
        let snapshot = self.stepper.system().snapshot();
        let mut in_hand = 0;
        for actor in &snapshot.actors {
            let open = open(&actor.counts);
            assert!(open <= 1, "{open} in hand: {}", actor.counts);
            assert!(open == 0 || actor.state != ActorState::Idle, "{actor:?}");
            assert!(actor.counts.queued <= actor.capacity as u64, "{actor:?}");
            in_hand += open;
        }
        assert_eq!(open(&snapshot.totals), in_hand, "{}", snapshot.totals);
    }

    /// What holds when all is over.
    fn finish(mut self) {
        self.stepper.advance(Duration::from_secs(5));
        let snapshot = self.stepper.system().snapshot();
        for actor in &snapshot.actors {
            assert!(actor.counts.is_balanced(), "{}", actor.counts);
            assert_eq!(actor.counts.queued, 0, "{}", actor.counts);
        }
        assert!(snapshot.totals.is_balanced(), "{}", snapshot.totals);
        let report = self.stepper.system().shutdown(Duration::from_secs(60));
        assert!(report.is_clean(), "{report}");
        self.replies.clear();
        let totals = self.stepper.system().snapshot().totals;
        assert!(totals.is_balanced(), "{totals}");
        assert_eq!(totals.queued, 0);
        self.compare(&totals);
        self.actors.clear();
        assert_eq!(self.books.alive.load(SeqCst), 0, "every message is dropped");
    }

    fn compare(&self, totals: &Counts) {
        let mut all = Ledger::default();
        for ledger in self.books.ledgers().iter() {
            all.accepted += ledger.accepted;
            all.rejected += ledger.rejected;
            all.unknown += ledger.unknown;
            all.unknown_begun += ledger.unknown_begun;
            all.returned += ledger.returned;
        }
        assert_eq!(totals.handled, all.returned, "{totals}, {all:?}");
        // Without unknown ones both are exact.
        let open = all.unknown - all.unknown_begun;
        let accepted = all.accepted + all.unknown_begun;
        assert!(
            (accepted..=accepted + open).contains(&totals.accepted),
            "{totals}, {all:?}"
        );
        let rejected = all.rejected;
        assert!(
            (rejected..=rejected + open).contains(&totals.rejected),
            "{totals}, {all:?}"
        );
        self.compare_letters(totals);
    }

    fn compare_letters(&self, totals: &Counts) {
        let (mut dead, mut dropped, mut rejected) = (0, 0, 0);
        while let Some(letter) = self.letters.try_next() {
            match letter.reason {
                LossReason::Stopped(_) | LossReason::Panicked(_) => dead += 1,
                LossReason::DroppedByPolicy => dropped += 1,
                LossReason::Rejected => rejected += 1,
                other => panic!("{other}"),
            }
        }
        if self.letters.missed() == 0 {
            assert_eq!((dead, dropped), (totals.dead_lettered, totals.dropped));
            assert!(rejected <= totals.rejected);
        }
    }
}

/// Accepted messages that are in no bin.
fn open(counts: &Counts) -> u64 {
    let bins = counts.handled + counts.dropped + counts.dead_lettered;
    let bins = bins + counts.cancelled + counts.queued;
    let open = counts.accepted.checked_sub(bins);
    open.unwrap_or_else(|| panic!("more in the bins than accepted: {counts}"))
}

fn run(program: &Program) {
    let mut run = Run::new(program);
    program.ops.iter().for_each(|op| run.act(op));
    run.finish();
}

fn policies() -> impl Strategy<Value = Overflow> {
    prop_oneof![
        Just(Overflow::Block),
        (0..20_u64).prop_map(|millis| Overflow::BlockFor(Duration::from_millis(millis))),
        Just(Overflow::Reject),
        Just(Overflow::DropNewest),
    ]
}

/// Loads whose sends all have a known outcome.
fn plain_loads() -> impl Strategy<Value = Load> {
    prop_oneof![
        4 => Just(Load::Return),
        2 => (0..30_u64).prop_map(Load::Sleep),
        1 => Just(Load::Panic),
        1 => Just(Load::Stop),
        3 => any::<usize>().prop_map(Load::Relay),
    ]
}

fn loads() -> impl Strategy<Value = Load> {
    prop_oneof![
        6 => plain_loads(),
        1 => (any::<usize>(), 0..40_u64).prop_map(|(index, limit)| Load::Ask(index, limit)),
        1 => (0..30_u64).prop_map(Load::Timer),
        1 => (0..30_u64).prop_map(Load::Interval),
    ]
}

fn ops(loads: impl Strategy<Value = Load> + Clone) -> impl Strategy<Value = Op> {
    let actor = || any::<usize>();
    prop_oneof![
        4 => (actor(), loads.clone()).prop_map(|(to, load)| Op::Send(to, load)),
        3 => (actor(), loads.clone()).prop_map(|(to, load)| Op::TrySend(to, load)),
        2 => (actor(), loads.clone(), 0..20_u64)
            .prop_map(|(to, load, limit)| Op::SendFor(to, load, limit)),
        4 => (actor(), loads).prop_map(|(to, load)| Op::Ask(to, load)),
        1 => actor().prop_map(Op::AskForDebt),
        2 => actor().prop_map(Op::DropReply),
        1 => (actor(), 0..20_u64).prop_map(|(reply, limit)| Op::WaitFor(reply, limit)),
        1 => prop_oneof![
            actor().prop_map(Op::Stop),
            actor().prop_map(Op::Drain),
            actor().prop_map(Op::Kill),
            actor().prop_map(Op::DropAddress),
        ],
        4 => (1..8_u8).prop_map(Op::Step),
        2 => (0..30_u64).prop_map(Op::Advance),
    ]
}

fn programs(
    policies: impl Strategy<Value = Overflow>,
    ops: impl Strategy<Value = Op>,
) -> impl Strategy<Value = Program> {
    let actors = proptest::collection::vec((1..5_usize, policies), 1..5);
    let ops = proptest::collection::vec(ops, 0..80);
    (any::<u64>(), actors, ops).prop_map(|(seed, actors, ops)| Program { seed, actors, ops })
}

/// Programs of which the test knows what becomes of every single message.
fn known_programs() -> impl Strategy<Value = Program> {
    let policies = prop_oneof![Just(Overflow::Reject), Just(Overflow::DropNewest)];
    programs(policies, ops(plain_loads().boxed()))
}

/// Programs with requests and timers that stand in line besides.
fn all_programs() -> impl Strategy<Value = Program> {
    let forward = (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Op::Forward(from, to));
    let ops = prop_oneof![20 => ops(loads().boxed()), 1 => forward];
    programs(policies(), ops)
}

/// As `known_programs`, with mailboxes that block, and without requests, which would not know.
fn blocking_programs() -> impl Strategy<Value = Program> {
    let ops = ops(plain_loads().boxed()).prop_map(|op| match op {
        Op::Ask(to, load) => Op::Send(to, load),
        Op::AskForDebt(to) => Op::Send(to, Load::Return),
        op => op,
    });
    programs(policies(), ops)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        // A failure prints the whole program, its seed included.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn the_books_balance_to_the_unit_under_random_programs(program in known_programs()) {
        run(&program);
    }

    #[test]
    fn the_books_balance_to_the_unit_under_random_programs_that_block(
        program in blocking_programs()
    ) {
        run(&program);
    }

    #[test]
    fn the_books_balance_under_random_programs_with_timers_lines_and_forwards(
        program in all_programs()
    ) {
        run(&program);
    }
}

// Single bins.

#[test]
fn a_request_that_nobody_waits_for_when_its_turn_comes_is_cancelled_and_not_run() {
    under_seeds(|stepper| {
        let log = stepper.system().spawn(Log::default());
        drop(log.ask(Entry(1)));
        let kept = log.ask(Entry(2));
        stepper.run();
        kept.wait().unwrap();
        let counts = stepper.system().snapshot().actors[0].counts;
        let bins = (counts.accepted, counts.handled, counts.cancelled);
        assert_eq!(bins, (2, 1, 1), "{counts}");
    });
}

#[test]
fn a_request_that_leaves_the_line_is_neither_accepted_nor_rejected() {
    under_seeds(|stepper| {
        let options = stepper.system().actor().capacity(1);
        let log = options.spawn(Log::default()).unwrap();
        log.send(Entry(1)).unwrap();
        drop(log.ask(Entry(2)));
        stepper.run();
        let counts = stepper.system().snapshot().actors[0].counts;
        assert_eq!((counts.accepted, counts.rejected), (1, 0), "{counts}");
    });
}

#[test]
fn an_actors_counts_are_in_the_totals_once_its_end_was_waited_for() {
    under_seeds(|stepper| {
        let log = stepper.system().spawn(Log::default());
        log.send(Entry(1)).unwrap();
        stepper.run();
        log.send(Entry(2)).unwrap();
        log.stop();
        log.join().unwrap();
        let snapshot = stepper.system().snapshot();
        assert_eq!(snapshot.actors, []);
        let totals = snapshot.totals;
        let bins = (totals.accepted, totals.handled, totals.dead_lettered);
        assert_eq!(bins, (2, 1, 1), "{totals}");
        assert!(totals.is_balanced());
    });
}

#[test]
fn a_message_in_hand_is_accepted_and_in_no_bin() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(crate::support::Player::default());
        let nap = crate::support::act(|_, ctx| ctx.sleep(Duration::from_secs(1)));
        player.send(nap).unwrap();
        stepper.run();
        let counts = stepper.system().snapshot().actors[0].counts;
        assert_eq!((counts.accepted, counts.queued), (1, 0), "{counts}");
        assert!(!counts.is_balanced(), "{counts}");
        stepper.advance(Duration::from_secs(1));
        let counts = stepper.system().snapshot().actors[0].counts;
        assert_eq!(counts.handled, 1, "{counts}");
        assert!(counts.is_balanced(), "{counts}");
    });
}
