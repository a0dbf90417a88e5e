//! What the core costs, each figure beside a twin made of bare channels and threads or tasks.
//!
//! One iteration is one operation, so that criterion's time is the time of one; a sample runs tens
//! of thousands in a row, so that starting and ending it counts for next to nothing. Every mailbox
//! and every channel is bounded; where nothing else is said it holds 1024 messages.
//!
//! | group | one operation |
//! |---|---|
//! | `ping_pong` | a message there and a message back between two actors |
//! | `counting` | a message from one sender to one actor that adds it up |
//! | `room` | a message through a mailbox of 16 whose senders wait for room |
//! | `ask_from_thread` | a question from a plain thread and the wait for its answer |
//! | `ask_from_task` | a question from a task of tokio, and its answer awaited |
//! | `ask_inside` | a question from a handler in the pool and the wait for its answer |
//! | `pipelined` | a question and its answer, 64 asked before the first is waited for |
//! | `chain` | a question handed on by 100 actors, each of which waits for the next one's answer |
//! | `spawn_message_stop` | an actor spawned, one message handled, the actor stopped |
//! | `park` | a wait that leaves the waiting stack and later returns to it |
//!
//! A plain thread that waits for an answer runs the asked actor itself, if it may. So what is to
//! be measured in the pool is begun there by a [`Client`], whose answer might be put off and is
//! therefore never waited for in that way.
//!
//! In `park` the first two figures differ by 63/64 of a park and a resume: both ask as often, one
//! waits for each answer before it asks again, the other asks 64 times before it waits.
//!
//! Only ratios within one run mean something on a machine that does other work besides.

mod ask;
mod counting;
mod lives;
mod park;
mod ping_pong;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use greenroom::{Actor, Addr, Context, DeferredHandler, Handler, Reply, ReplyTo, System};

/// The capacity of a mailbox by default, for the bare channels too.
const CAPACITY: usize = 1024;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    type Bench = fn(&mut Group);
    let groups: [(&str, Bench); 10] = [
        ("ping_pong", ping_pong::ping_pong),
        ("counting", counting::counting),
        ("room", counting::room),
        ("ask_from_thread", ask::from_thread),
        ("ask_from_task", ask::from_task),
        ("ask_inside", ask::inside),
        ("pipelined", ask::pipelined),
        ("chain", ask::chain),
        ("spawn_message_stop", lives::spawn_message_stop),
        ("park", park::park),
    ];
    for (name, bench) in groups {
        bench(&mut criterion.benchmark_group(name));
    }
    criterion.final_summary();
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn system(workers: usize) -> System {
    System::builder()
        .workers(workers)
        .build()
        .expect("the machine has room for a few threads")
}

/// Stops what a benchmark has left, so that it does not run beside the next one.
fn end(system: &System) {
    let report = system.shutdown(Duration::from_secs(10));
    assert!(report.is_clean(), "{report}");
}

/// How long it takes.
fn time(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// An actor that does what a benchmark tells it, in the pool, and takes the time.
struct Client;

impl Actor for Client {}

/// Something that a client does in its handler.
struct Do(Box<dyn FnOnce() + Send>);

impl DeferredHandler<Do> for Client {
    type Reply = Duration;
    fn handle_deferred(&mut self, Do(work): Do, reply: ReplyTo<Duration>, _: &mut Context<Self>) {
        reply.send(time(work));
    }
}

/// Has the client do this; the answer is how long it took.
fn begin(client: &Addr<Client>, work: impl FnOnce() + Send + 'static) -> Reply<Duration> {
    client.ask(Do(Box::new(work)))
}

/// As [`begin`], and waits for its end.
fn inside(client: &Addr<Client>, work: impl FnOnce() + Send + 'static) -> Duration {
    begin(client, work).wait().expect("the client is there")
}

struct Counter {
    total: u64,
}

impl Actor for Counter {}

struct Add(u64);

struct Total;

impl Handler<Add> for Counter {
    type Reply = ();
    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) {
        self.total += n;
    }
}

impl Handler<Total> for Counter {
    type Reply = u64;
    fn handle(&mut self, _: Total, _: &mut Context<Self>) -> u64 {
        self.total
    }
}
