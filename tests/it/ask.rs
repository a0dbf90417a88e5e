//! Requests and their answers: where one waits, what can go wrong, what becomes of a request
//! that nobody waits for any more.

mod deadlines;
mod deferred;
mod endings;
mod forwarding;
mod room;
mod several;
mod waits;
mod withdrawal;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Asker, Context, DeferredHandler, Handler, Overflow, ReplyTo, StopReason,
    System, WaitError,
};

const SECOND: Duration = Duration::from_secs(1);

/// Answers at once, or when it is told to.
#[derive(Default)]
struct Clerk {
    owed: Vec<Option<ReplyTo<u64>>>,
    /// How often `Double` was run.
    runs: u64,
}

impl Actor for Clerk {}

struct Double(u64);

impl Handler<Double> for Clerk {
    type Reply = u64;

    fn handle(&mut self, Double(number): Double, _: &mut Context<Self>) -> u64 {
        self.runs += 1;
        number * 2
    }
}

struct Runs;

impl Handler<Runs> for Clerk {
    type Reply = u64;

    fn handle(&mut self, _: Runs, _: &mut Context<Self>) -> u64 {
        self.runs
    }
}

/// Asks for an answer that comes by `Settle`.
struct Owe;

impl DeferredHandler<Owe> for Clerk {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Owe, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        self.owed.push(Some(reply));
    }
}

/// Answers the nth `Owe`.
struct Settle(usize, u64);

impl Handler<Settle> for Clerk {
    type Reply = ();

    fn handle(&mut self, Settle(index, answer): Settle, _: &mut Context<Self>) {
        self.take(index).send(answer);
    }
}

/// Drops the nth `Owe`.
struct Renege(usize);

impl Handler<Renege> for Clerk {
    type Reply = ();

    fn handle(&mut self, Renege(index): Renege, _: &mut Context<Self>) {
        drop(self.take(index));
    }
}

/// Whether the nth `Owe` is still wanted.
struct Wanted(usize);

impl Handler<Wanted> for Clerk {
    type Reply = bool;

    fn handle(&mut self, Wanted(index): Wanted, _: &mut Context<Self>) -> bool {
        self.owed[index]
            .as_ref()
            .is_some_and(|reply| reply.is_wanted())
    }
}

impl Clerk {
    fn take(&mut self, index: usize) -> ReplyTo<u64> {
        self.owed[index].take().expect("it is owed")
    }
}

/// Keeps the clerk waiting, in the system's time.
struct Nap(Duration);

impl Handler<Nap> for Clerk {
    type Reply = Result<(), WaitError>;

    fn handle(&mut self, Nap(time): Nap, ctx: &mut Context<Self>) -> Result<(), WaitError> {
        ctx.sleep(time)
    }
}

struct Trip(&'static str);

impl Handler<Trip> for Clerk {
    type Reply = u64;

    fn handle(&mut self, Trip(words): Trip, _: &mut Context<Self>) -> u64 {
        panic!("{words}");
    }
}

/// Stops from within.
struct Retire;

impl Handler<Retire> for Clerk {
    type Reply = ();

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Asks another actor and waits for the answer in its handler.
struct Relay {
    to: Asker<Double, u64>,
}

impl Actor for Relay {}

impl Handler<Double> for Relay {
    type Reply = u64;

    fn handle(&mut self, double: Double, _: &mut Context<Self>) -> u64 {
        self.to.ask(double).wait().expect("the next one answers")
    }
}

/// Asks another actor and waits for the answer, and answers with how that went.
struct Cautious {
    to: Addr<Clerk>,
}

impl Actor for Cautious {}

impl Handler<Double> for Cautious {
    type Reply = Result<u64, AskError>;

    fn handle(&mut self, double: Double, _: &mut Context<Self>) -> Result<u64, AskError> {
        self.to.ask(double).wait()
    }
}

fn waiting_senders<A: Actor>(system: &System, addr: &Addr<A>) -> usize {
    let snapshot = system.snapshot();
    let actor = snapshot.actors.iter().find(|actor| actor.id == addr.id());
    actor.expect("the actor lives").waiting_senders
}

/// A clerk of a stepped system that sleeps for `time` and whose mailbox of one is full.
fn full_clerk(stepper: &Stepper, overflow: Overflow, time: Duration) -> Addr<Clerk> {
    let clerk = stepper
        .system()
        .actor()
        .capacity(1)
        .overflow(overflow)
        .spawn(Clerk::default())
        .unwrap();
    clerk.send(Nap(time)).unwrap();
    stepper.run();
    clerk.send(Double(0)).unwrap();
    clerk
}

fn reason_of<R: std::fmt::Debug>(outcome: Result<R, AskError>) -> StopReason {
    match outcome {
        Err(AskError::Stopped { reason }) => reason,
        other => panic!("the actor has stopped, but: {other:?}"),
    }
}

fn words_of<R: std::fmt::Debug>(outcome: Result<R, AskError>) -> String {
    match outcome {
        Err(AskError::Panicked { message }) => message.to_string(),
        other => panic!("the actor has panicked, but: {other:?}"),
    }
}

fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut TaskContext::from_waker(waker))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn runtime_of(mut builder: tokio::runtime::Builder) -> tokio::runtime::Runtime {
    builder
        .build()
        .expect("the machine has threads for a runtime")
}
