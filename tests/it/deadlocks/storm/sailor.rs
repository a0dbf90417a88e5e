//! The actors of a storm: they do at random whatever makes actors wait, and end at random.

use std::fmt::Debug;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenroom::{
    Actor, ActorId, Addr, AskError, Context, DeferredHandler, Handler, Overflow, Reply, ReplyTo,
    SendError, Spawner, StopReason, WaitError, WaitPath, wait_any,
};

use super::log::{Kind, WaitLog};
use crate::support::Numbers;

/// For whom an actor may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Course {
    /// For those with a higher number only, so that there is no circle.
    Ordered,
    /// For anybody, itself included.
    Wild,
}

/// What all actors of a storm share.
pub(super) struct Sea {
    course: Course,
    sailors: Vec<Mutex<Option<Addr<Sailor>>>>,
    harbour: Mutex<Option<Addr<Harbour>>>,
    log: WaitLog,
    /// After so many waits nobody begins anything.
    enough_waits: u64,
    pub(super) waits: AtomicU64,
    pub(super) alarms: AtomicU64,
    pub(super) unchecked: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Sea {
    /// A sea with so many sailors in it.
    pub(super) fn new(
        course: Course,
        sailors: usize,
        enough_waits: u64,
        options: impl Fn() -> Spawner,
    ) -> Arc<Self> {
        let sea = Arc::new(Self {
            course,
            sailors: (0..sailors).map(|_| Mutex::default()).collect(),
            harbour: Mutex::default(),
            log: WaitLog::new(sailors),
            enough_waits,
            waits: AtomicU64::new(0),
            alarms: AtomicU64::new(0),
            unchecked: AtomicU64::new(0),
            failure: Mutex::default(),
        });
        let harbour = options().capacity(2).spawn(Harbour);
        *sea.harbour.lock().unwrap() = harbour.ok();
        for number in 0..sailors {
            *sea.sailors[number].lock().unwrap() = Sailor::spawn(&sea, number, options());
        }
        sea
    }

    /// Forgets all addresses, which keep this alive in turn.
    pub(super) fn clear(&self) {
        let sailors = self
            .sailors
            .iter()
            .filter_map(|sailor| sailor.lock().unwrap().take());
        drop(sailors.collect::<Vec<_>>());
        drop(self.harbour.lock().unwrap().take());
    }

    fn fail(&self, what: String) {
        self.failure.lock().unwrap().get_or_insert(what);
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap().clone()
    }

    fn is_over(&self) -> bool {
        self.waits.load(SeqCst) >= self.enough_waits || self.failure.lock().unwrap().is_some()
    }

    /// Somebody for whom the one with this number may wait.
    fn other(&self, number: usize, numbers: &mut Numbers) -> Option<(usize, Addr<Sailor>)> {
        let first = match self.course {
            Course::Ordered => number + 1,
            Course::Wild => 0,
        };
        let others = self.sailors.len().checked_sub(first).filter(|n| *n > 0)?;
        let number = first + numbers.below(others as u64) as usize;
        let sailor = self.sailors[number].lock().unwrap().clone()?;
        Some((number, sailor))
    }

    /// Puts another one into the place of one that has ended or ends.
    fn replace(self: &Arc<Self>, (number, gone): (usize, &Addr<Sailor>), options: Spawner) {
        let mut place = self.sailors[number].lock().unwrap();
        if place.as_ref() == Some(gone) {
            *place = Sailor::spawn(self, number, options);
        }
    }

    /// Waits, and notes it.
    fn wait<T: Outcome>(
        &self,
        (number, waiter): (usize, ActorId),
        kind: Kind,
        others: &[ActorId],
        wait: impl FnOnce() -> T,
    ) -> T {
        self.waits.fetch_add(1, SeqCst);
        let begun = self.log.begin(number, waiter, kind, others);
        let outcome = wait();
        if let Some(path) = outcome.path() {
            self.alarms.fetch_add(1, SeqCst);
            let checked = match self.course {
                Course::Ordered => Err("there is no circle".to_owned()),
                Course::Wild => self.log.check(path, waiter, begun, number_of),
            };
            match checked {
                Ok(true) => {}
                Ok(false) => drop(self.unchecked.fetch_add(1, SeqCst)),
                Err(error) => self.fail(format!("a false alarm: {error}: {path}")),
            }
        }
        self.log.end(begun);
        outcome
    }
}

/// The number of a sailor, which is its name.
fn number_of(name: &str) -> Option<usize> {
    name.parse().ok()
}

/// How a wait ended.
trait Outcome {
    fn path(&self) -> Option<&WaitPath>;
}

impl<R> Outcome for Result<R, AskError> {
    fn path(&self) -> Option<&WaitPath> {
        match self {
            Err(AskError::WouldDeadlock { path }) => Some(path),
            _ => None,
        }
    }
}

impl<M> Outcome for Result<(), SendError<M>> {
    fn path(&self) -> Option<&WaitPath> {
        match self {
            Err(SendError::WouldDeadlock { path, .. }) => Some(path),
            _ => None,
        }
    }
}

impl<T> Outcome for Result<T, WaitError> {
    fn path(&self) -> Option<&WaitPath> {
        match self {
            Err(WaitError::WouldDeadlock { path }) => Some(path),
            _ => None,
        }
    }
}

/// Somebody with a number, who waits for others.
pub(super) struct Sailor {
    sea: Arc<Sea>,
    number: usize,
    debts: Vec<ReplyTo<u64>>,
}

impl Sailor {
    fn new(sea: &Arc<Sea>, number: usize) -> Self {
        Self {
            sea: sea.clone(),
            number,
            debts: Vec::new(),
        }
    }

    fn spawn(sea: &Arc<Sea>, number: usize, options: Spawner) -> Option<Addr<Self>> {
        let sailor = Self::new(sea, number);
        let overflow = match number % 5 {
            4 => Overflow::BlockFor(Duration::from_micros(100)),
            _ => Overflow::Block,
        };
        let options = options.name(number.to_string()).overflow(overflow);
        let options = options.capacity(1 + number % 3);
        let spawned = if number % 64 == 63 {
            options.spawn_thread(move || sailor)
        } else {
            options.spawn(sailor)
        };
        // It is refused only once the system shuts down.
        spawned.ok()
    }

    /// Does something that waits for another one, or ends somebody.
    fn act(&mut self, numbers: &mut Numbers, depth: u64, ctx: &mut Context<Self>) {
        let sea = self.sea.clone();
        let me = (self.number, ctx.id());
        let Some((number, other)) = sea.other(self.number, numbers) else {
            return;
        };
        let ids = [other.id()];
        let time = Duration::from_micros(1 + numbers.below(200));
        let mut job = || Job {
            seed: numbers.below(u64::MAX),
            depth,
        };
        let what = job().seed % 100;
        let has_ended = match what {
            0..20 => {
                let reply = other.ask(job());
                has_ended(&sea.wait(me, Kind::Answer, &ids, || reply.wait()))
            }
            20..28 => {
                let reply = other.ask(job());
                has_ended(&sea.wait(me, Kind::Answer, &ids, || reply.wait_for(time)))
            }
            28..38 => {
                let reply = other.ask(PutOff(job()));
                has_ended(&sea.wait(me, Kind::Turn, &ids, || reply.wait()))
            }
            38..52 => is_stopped(&sea.wait(me, Kind::Room, &ids, || other.send(job()))),
            52..58 => is_stopped(&sea.wait(me, Kind::Room, &ids, || other.send_for(job(), time))),
            58..72 => self.want_any(numbers, depth, ctx),
            72..78 => {
                let first = other.ask(job());
                self.act(numbers, depth, ctx);
                has_ended(&sea.wait(me, Kind::Answer, &ids, || first.wait()))
            }
            78..84 => {
                other.ask(job()).forward(&ctx.addr(), |_| Told);
                false
            }
            84..88 => {
                let child = ctx.actor().name(self.number.to_string()).capacity(1);
                let Ok(child) = child.spawn(Self::new(&sea, self.number)) else {
                    return;
                };
                let reply = child.ask(job());
                let _ = sea.wait(me, Kind::Answer, &[child.id()], || reply.wait());
                child.stop();
                let _ = sea.wait(me, Kind::End, &[child.id()], || child.join());
                false
            }
            88..92 => {
                end(&other, numbers);
                let _ = sea.wait(me, Kind::End, &ids, || other.join());
                true
            }
            92..94 => {
                let _ = sea.wait(me, Kind::End, &ids, || other.join_for(time));
                other.is_stopped()
            }
            94..96 => {
                end(&other, numbers);
                true
            }
            96..98 => {
                drop(ctx.sleep(time));
                false
            }
            98 => {
                ctx.stop();
                false
            }
            // Unlike `panic!` it writes nothing.
            _ => resume_unwind(Box::new("a sailor goes over board")),
        };
        if has_ended {
            sea.replace((number, &other), ctx.actor());
        }
    }

    /// Wants the first of several answers.
    fn want_any(&mut self, numbers: &mut Numbers, depth: u64, ctx: &Context<Self>) -> bool {
        let mut ids = Vec::new();
        let mut replies: Vec<Reply<u64>> = Vec::new();
        for _ in 0..2 + numbers.below(3) {
            let Some((_, other)) = self.sea.other(self.number, numbers) else {
                continue;
            };
            ids.push(other.id());
            let seed = numbers.below(u64::MAX);
            let job = Job { seed, depth };
            replies.push(if seed.is_multiple_of(4) {
                other.ask(PutOff(job))
            } else {
                other.ask(job)
            });
        }
        let me = (self.number, ctx.id());
        for _ in 0..1 + numbers.below(2) {
            let first = self
                .sea
                .wait(me, Kind::FirstAnswer, &ids, || wait_any(&mut replies));
            if first.is_err() {
                break;
            }
        }
        false
    }
}

/// Orders an end in one way or another.
fn end(other: &Addr<Sailor>, numbers: &mut Numbers) {
    match numbers.below(3) {
        0 => other.stop(),
        1 => other.drain(),
        _ => other.kill(),
    }
}

fn has_ended<R: Debug>(outcome: &Result<R, AskError>) -> bool {
    matches!(
        outcome,
        Err(AskError::Stopped { .. } | AskError::Panicked { .. })
    )
}

fn is_stopped<M>(outcome: &Result<(), SendError<M>>) -> bool {
    matches!(outcome, Err(SendError::Stopped(_)))
}

impl Actor for Sailor {
    fn stopped(&mut self, reason: &StopReason, ctx: &mut Context<Self>) {
        // In the last hook, too, somebody waits at times.
        if *reason != StopReason::Shutdown && self.number.is_multiple_of(3) {
            let mut numbers = Numbers(ctx.id().as_u64());
            self.act(&mut numbers, 0, ctx);
        }
    }
}

/// Something to do, with deeds of its own as long as it is deep enough.
pub(super) struct Job {
    seed: u64,
    depth: u64,
}

impl Handler<Job> for Sailor {
    type Reply = u64;

    fn handle(&mut self, Job { seed, depth }: Job, ctx: &mut Context<Self>) -> u64 {
        let mut numbers = Numbers(seed);
        if depth > 0 && !self.sea.is_over() {
            for _ in 0..1 + numbers.below(3) {
                self.act(&mut numbers, depth - 1, ctx);
            }
        }
        seed
    }
}

/// A job whose answer is put off.
pub(super) struct PutOff(Job);

impl DeferredHandler<PutOff> for Sailor {
    type Reply = u64;

    fn handle_deferred(
        &mut self,
        PutOff(job): PutOff,
        reply: ReplyTo<u64>,
        ctx: &mut Context<Self>,
    ) {
        let Some(harbour) = self.sea.harbour.lock().unwrap().clone() else {
            return;
        };
        let me = (self.number, ctx.id());
        let mut numbers = Numbers(job.seed);
        // Whoever keeps an answer is no part of the circles that are found. So where there may be
        // some, it goes at once to somebody who never waits.
        let way = match self.sea.course {
            Course::Ordered => numbers.below(3),
            Course::Wild => 2,
        };
        match (way, self.sea.other(self.number, &mut numbers)) {
            (0, _) => {
                self.debts.push(reply);
                if ctx.addr().try_send(Pay).is_err() {
                    self.debts.clear();
                }
            }
            (1, Some((_, other))) => {
                let settled = other.ask(job);
                settled.forward(&harbour, |_| Settle(reply));
            }
            _ => {
                let settle = || harbour.send(Settle(reply));
                let _ = self.sea.wait(me, Kind::Room, &[harbour.id()], settle);
            }
        }
    }
}

/// Has a sailor pay its debts.
struct Pay;

impl Handler<Pay> for Sailor {
    type Reply = ();

    fn handle(&mut self, _: Pay, _: &mut Context<Self>) {
        self.debts.drain(..).for_each(|debt| debt.send(0));
    }
}

/// An outcome that was forwarded.
struct Told;

impl Handler<Told> for Sailor {
    type Reply = ();

    fn handle(&mut self, _: Told, _: &mut Context<Self>) {}
}

/// Gives answers for others, and never waits.
struct Harbour;

impl Actor for Harbour {}

struct Settle(ReplyTo<u64>);

impl Handler<Settle> for Harbour {
    type Reply = ();

    fn handle(&mut self, Settle(reply): Settle, _: &mut Context<Self>) {
        reply.send(0);
    }
}

/// Keeps the sailors busy. Nobody waits for it, so it is in no circle.
pub(super) struct Wind {
    pub(super) sea: Arc<Sea>,
    pub(super) numbers: Numbers,
}

impl Actor for Wind {}

/// Has it blow until there were enough waits.
pub(super) struct Blow;

impl Handler<Blow> for Wind {
    type Reply = ();

    fn handle(&mut self, _: Blow, ctx: &mut Context<Self>) {
        while !self.sea.is_over() {
            let number = self.numbers.below(self.sea.sailors.len() as u64) as usize;
            let Some(sailor) = self.sea.sailors[number].lock().unwrap().clone() else {
                return;
            };
            let seed = self.numbers.below(u64::MAX);
            let outcome = sailor.ask(Job { seed, depth: 3 }).wait();
            if let Some(path) = outcome.path() {
                self.sea.fail(format!("nobody waits for the wind: {path}"));
            }
            if has_ended(&outcome) {
                self.sea.replace((number, &sailor), ctx.actor());
            }
        }
        ctx.stop();
    }
}
