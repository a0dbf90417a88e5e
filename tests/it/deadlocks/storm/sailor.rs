//! The actors of a storm: they do at random whatever makes actors wait, and end at random.

use std::fmt::Debug;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use greenroom::{
    Actor, Addr, AskError, Context, DeferredHandler, Handler, Overflow, Reply, ReplyTo, SendError,
    Spawner, StopReason, wait_any,
};

use super::log::Kind;
use super::sea::{Course, Outcome, Sea, Settle};
use crate::support::Numbers;

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

    pub(super) fn spawn(sea: &Arc<Sea>, number: usize, options: Spawner) -> Option<Addr<Self>> {
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
        let ids = [(Some(number), other.id())];
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
            58..72 => {
                self.want_any(numbers, depth, ctx);
                false
            }
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
                self.ask_a_child(job(), ctx);
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
    fn want_any(&mut self, numbers: &mut Numbers, depth: u64, ctx: &Context<Self>) {
        let mut ids = Vec::new();
        let mut replies: Vec<Reply<u64>> = Vec::new();
        for _ in 0..2 + numbers.below(3) {
            let Some((number, other)) = self.sea.other(self.number, numbers) else {
                continue;
            };
            ids.push((Some(number), other.id()));
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
            match first {
                Ok(Some((index, _))) => {
                    ids.remove(index);
                }
                Ok(None) | Err(_) => break,
            }
        }
    }

    /// Has a child of its own, with the same number, do a job and end.
    fn ask_a_child(&self, job: Job, ctx: &Context<Self>) {
        let options = ctx.actor().name(self.number.to_string()).capacity(1);
        let Ok(child) = options.spawn(Self::new(&self.sea, self.number)) else {
            return;
        };
        let me = (self.number, ctx.id());
        let ids = [(Some(self.number), child.id())];
        let reply = child.ask(job);
        let _ = self.sea.wait(me, Kind::Answer, &ids, || reply.wait());
        child.stop();
        let _ = self.sea.wait(me, Kind::End, &ids, || child.join());
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
        let Some(harbour) = self.sea.harbour() else {
            return;
        };
        let me = (self.number, ctx.id());
        let mut numbers = Numbers(job.seed);
        // Whoever keeps an answer is no part of the circles that are found. So where there may be
        // some, it goes at once to somebody who never waits.
        let way = match self.sea.course() {
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
                let _ = self
                    .sea
                    .wait(me, Kind::Room, &[(None, harbour.id())], settle);
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
            let Some((number, sailor)) = self.sea.anybody(&mut self.numbers) else {
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
