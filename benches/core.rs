//! What the core costs, each figure beside a twin made of bare channels and threads.
//!
//! One iteration is one operation, so that criterion's time is the time of one; a sample runs tens
//! of thousands in a row, and where a handler can take the time itself it does, so that waking this
//! thread counts for next to nothing. Every mailbox and every channel is bounded; where nothing
//! else is said it holds 1024 messages.
//!
//! | group | one operation |
//! |---|---|
//! | `ping_pong` | a message there and a message back between two actors |
//! | `counting` | a message from one sender to one actor that adds it up |
//! | `ask_from_thread` | a question from a plain thread and the wait for its answer |
//! | `ask_inside` | a question from a handler and the wait for its answer |
//! | `spawn_message_stop` | an actor spawned, one message handled, the actor stopped |
//! | `park` | a wait that leaves the waiting stack and later returns to it |
//!
//! In `park` the first two figures differ by 63/64 of a park and a resume: both ask as often, one
//! waits for each answer before it asks again, the other asks 64 times before it waits.
//!
//! Only ratios within one run mean something on a machine that does other work besides.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corosensei::{Coroutine, CoroutineResult};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use crossbeam_channel::{Receiver, Sender, bounded};
use greenroom::{Actor, Addr, Context, Handler, System, wait_all};

/// The capacity of a mailbox by default, for the bare channels too.
const CAPACITY: usize = 1024;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    ping_pong(&mut criterion.benchmark_group("ping_pong"));
    counting(&mut criterion.benchmark_group("counting"));
    ask_from_thread(&mut criterion.benchmark_group("ask_from_thread"));
    ask_inside(&mut criterion.benchmark_group("ask_inside"));
    spawn_message_stop(&mut criterion.benchmark_group("spawn_message_stop"));
    park(&mut criterion.benchmark_group("park"));
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

// ----- ping-pong

struct Player {
    peer: Option<Addr<Player>>,
    begun: Instant,
    done: Sender<Duration>,
}

impl Actor for Player {}

struct Meet(Addr<Player>);

/// Begins a rally of so many round trips.
struct Serve(u64);

/// The ball, with the messages still to come after this one.
struct Ball(u64);

impl Player {
    fn hit(&self, ball: Ball) {
        let peer = self.peer.as_ref().expect("the players have met");
        peer.send(ball).expect("the peer plays on");
    }
}

impl Handler<Meet> for Player {
    type Reply = ();
    fn handle(&mut self, Meet(peer): Meet, _: &mut Context<Self>) {
        self.peer = Some(peer);
    }
}

impl Handler<Serve> for Player {
    type Reply = ();
    fn handle(&mut self, Serve(rounds): Serve, _: &mut Context<Self>) {
        self.begun = Instant::now();
        self.hit(Ball(2 * rounds - 1));
    }
}

impl Handler<Ball> for Player {
    type Reply = ();
    fn handle(&mut self, Ball(left): Ball, _: &mut Context<Self>) {
        if left == 0 {
            let taken = self.begun.elapsed();
            self.done.send(taken).expect("the benchmark waits");
        } else {
            self.hit(Ball(left - 1));
        }
    }
}

fn ping_pong(group: &mut Group) {
    for (name, workers) in [("greenroom, 1 worker", 1), ("greenroom, 2 workers", 2)] {
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let (done, times) = bounded(1);
            let player = |peer| {
                system.spawn(Player {
                    peer,
                    begun: Instant::now(),
                    done: done.clone(),
                })
            };
            let ping = player(None);
            let pong = player(Some(ping.clone()));
            ping.send(Meet(pong.clone())).expect("ping is there");
            bencher.iter_custom(|rounds| {
                ping.send(Serve(rounds)).expect("ping is there");
                times.recv().expect("ping tells the time")
            });
            ping.stop();
            pong.stop();
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", |bencher| {
        let (ping, to_pong) = bounded::<u64>(CAPACITY);
        let (pong, to_ping) = bounded::<u64>(CAPACITY);
        let echo = thread::spawn(move || {
            for ball in to_pong {
                pong.send(ball).expect("ping is there");
            }
        });
        bencher.iter_custom(|rounds| {
            let begun = Instant::now();
            for ball in 0..rounds {
                ping.send(ball).expect("pong is there");
                black_box(to_ping.recv().expect("pong is there"));
            }
            begun.elapsed()
        });
        drop(ping);
        echo.join().expect("the echo ends");
    });
    // What the channels alone cost, when nobody has to be woken.
    group.bench_function("crossbeam, 1 thread", |bencher| {
        let (ping, to_pong) = bounded::<u64>(CAPACITY);
        let (pong, to_ping) = bounded::<u64>(CAPACITY);
        bencher.iter_custom(|rounds| {
            let begun = Instant::now();
            for ball in 0..rounds {
                ping.send(black_box(ball)).expect("there is room");
                pong.send(to_pong.recv().expect("ping has sent"))
                    .expect("there is room");
                black_box(to_ping.recv().expect("pong has sent"));
            }
            begun.elapsed()
        });
    });
}

// ----- counting

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

/// An actor that does to a counter what a benchmark tells it, and takes the time.
struct Client {
    counter: Addr<Counter>,
}

impl Actor for Client {}

/// Sends so many messages, then waits until the last is counted.
struct SendMany(u64);

impl Handler<SendMany> for Client {
    type Reply = Duration;
    fn handle(&mut self, SendMany(count): SendMany, _: &mut Context<Self>) -> Duration {
        let begun = Instant::now();
        send_many(&self.counter, count);
        begun.elapsed()
    }
}

fn send_many(counter: &Addr<Counter>, count: u64) {
    for _ in 0..count {
        counter.send(Add(1)).expect("the counter is there");
    }
    counter.ask(Total).wait().expect("the counter is there");
}

fn counting(group: &mut Group) {
    for (name, workers) in [
        ("greenroom, from a thread, 1 worker", 1),
        ("greenroom, from a thread, 2 workers", 2),
    ] {
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            bencher.iter_custom(|count| {
                let begun = Instant::now();
                send_many(&counter, count);
                begun.elapsed()
            });
            drop(counter);
            end(&system);
        });
    }
    for (name, workers) in [
        ("greenroom, from an actor, 1 worker", 1),
        ("greenroom, from an actor, 2 workers", 2),
    ] {
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            let client = system.spawn(Client { counter });
            bencher.iter_custom(|count| {
                client
                    .ask(SendMany(count))
                    .wait()
                    .expect("the client is there")
            });
            drop(client);
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", |bencher| {
        let (numbers, to_count) = bounded::<Option<u64>>(CAPACITY);
        let (totals, total) = bounded::<u64>(1);
        // `None` asks for the total.
        let counter = thread::spawn(move || {
            let mut sum = 0;
            for number in to_count {
                match number {
                    Some(number) => sum += number,
                    None => totals.send(sum).expect("the benchmark waits"),
                }
            }
        });
        bencher.iter_custom(|count| {
            let begun = Instant::now();
            for _ in 0..count {
                numbers.send(Some(1)).expect("the counter is there");
            }
            numbers.send(None).expect("the counter is there");
            total.recv().expect("the counter is there");
            begun.elapsed()
        });
        drop(numbers);
        counter.join().expect("the counter ends");
    });
}

// ----- ask

/// Asks so many times, each time waiting for the answer.
struct AskMany(u64);

impl Handler<AskMany> for Client {
    type Reply = Duration;
    fn handle(&mut self, AskMany(count): AskMany, _: &mut Context<Self>) -> Duration {
        let begun = Instant::now();
        ask_many(&self.counter, count);
        begun.elapsed()
    }
}

fn ask_many(counter: &Addr<Counter>, count: u64) {
    for _ in 0..count {
        black_box(counter.ask(Total).wait().expect("the counter is there"));
    }
}

fn ask_from_thread(group: &mut Group) {
    for (name, workers) in [("greenroom, 1 worker", 1), ("greenroom, 2 workers", 2)] {
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            bencher.iter_custom(|count| {
                let begun = Instant::now();
                ask_many(&counter, count);
                begun.elapsed()
            });
            drop(counter);
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", ask_between_threads);
}

fn ask_inside(group: &mut Group) {
    for (name, workers) in [("greenroom, 1 worker", 1), ("greenroom, 2 workers", 2)] {
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            let client = system.spawn(Client { counter });
            bencher.iter_custom(|count| {
                client
                    .ask(AskMany(count))
                    .wait()
                    .expect("the client is there")
            });
            drop(client);
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", ask_between_threads);
}

/// The same with bare channels: each question carries a channel of its own for the answer.
fn ask_between_threads(bencher: &mut criterion::Bencher) {
    let (questions, to_answer): (Sender<Sender<u64>>, Receiver<Sender<u64>>) = bounded(CAPACITY);
    let counter = thread::spawn(move || {
        for answer in to_answer {
            answer.send(1).expect("the asker waits");
        }
    });
    bencher.iter_custom(|count| {
        let begun = Instant::now();
        for _ in 0..count {
            let (answer, answers) = bounded(1);
            questions.send(answer).expect("the counter is there");
            black_box(answers.recv().expect("the counter is there"));
        }
        begun.elapsed()
    });
    drop(questions);
    counter.join().expect("the counter ends");
}

// ----- spawn, one message, stop

/// Actors that live for one message, and tell the last one's end.
struct Mayfly {
    swarm: Arc<Swarm>,
}

struct Swarm {
    left: AtomicU64,
    ended: Sender<Instant>,
}

struct Once;

impl Actor for Mayfly {
    fn stopped(&mut self, _: &greenroom::StopReason, _: &mut Context<Self>) {
        // Relaxed: only the count matters; the time goes through the channel.
        if self.swarm.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.swarm
                .ended
                .send(Instant::now())
                .expect("the benchmark waits");
        }
    }
}

impl Handler<Once> for Mayfly {
    type Reply = ();
    fn handle(&mut self, _: Once, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// An actor that spawns mayflies, a few at each message, so that they live and end in between.
struct Breeder;

struct Breed {
    left: u64,
    swarm: Arc<Swarm>,
}

impl Actor for Breeder {}

impl Handler<Breed> for Breeder {
    type Reply = ();
    fn handle(&mut self, Breed { left, swarm }: Breed, ctx: &mut Context<Self>) {
        let now = left.min(16);
        for _ in 0..now {
            let swarm = swarm.clone();
            ctx.spawn(Mayfly { swarm })
                .send(Once)
                .expect("a mayfly lives for one message");
        }
        let left = left - now;
        if left > 0 {
            ctx.addr()
                .send(Breed { left, swarm })
                .expect("the breeder is there");
        }
    }
}

fn spawn_message_stop(group: &mut Group) {
    let swarm_of = |count| {
        let (ended, end) = bounded(1);
        let left = AtomicU64::new(count);
        (Arc::new(Swarm { left, ended }), end)
    };
    group.bench_function("greenroom, from a handler, 1 worker", |bencher| {
        let system = system(1);
        let breeder = system.spawn(Breeder);
        bencher.iter_custom(|count| {
            let (swarm, end) = swarm_of(count);
            let begun = Instant::now();
            breeder
                .send(Breed { left: count, swarm })
                .expect("the breeder is there");
            end.recv().expect("the last mayfly tells") - begun
        });
        drop(breeder);
        end(&system);
    });
    group.bench_function("greenroom, from a thread, 2 workers", |bencher| {
        let system = system(2);
        // In waves, so that the living ones fit into memory.
        const WAVE: u64 = 10_000;
        bencher.iter_custom(|count| {
            let mut taken = Duration::ZERO;
            let mut left = count;
            while left > 0 {
                let now = left.min(WAVE);
                left -= now;
                let (swarm, end) = swarm_of(now);
                let begun = Instant::now();
                for _ in 0..now {
                    let swarm = swarm.clone();
                    system
                        .spawn(Mayfly { swarm })
                        .send(Once)
                        .expect("a mayfly lives for one message");
                }
                taken += end.recv().expect("the last mayfly tells") - begun;
            }
            taken
        });
        end(&system);
    });
    group.bench_function("a thread and a channel", |bencher| {
        bencher.iter_custom(|count| {
            let begun = Instant::now();
            for _ in 0..count {
                let (sender, receiver) = bounded::<Once>(1);
                let mayfly = thread::spawn(move || receiver.recv().expect("one message comes"));
                sender.send(Once).expect("a mayfly lives for one message");
                mayfly.join().expect("a mayfly ends well");
            }
            begun.elapsed()
        });
    });
}

// ----- park and resume

/// Asks so many times, 64 questions before each wait.
struct AskInFlights(u64);

impl Handler<AskInFlights> for Client {
    type Reply = Duration;
    fn handle(&mut self, AskInFlights(count): AskInFlights, _: &mut Context<Self>) -> Duration {
        let begun = Instant::now();
        let mut left = count;
        while left > 0 {
            let now = left.min(64);
            left -= now;
            let replies: Vec<_> = (0..now).map(|_| self.counter.ask(Total)).collect();
            for outcome in wait_all(replies) {
                black_box(outcome.expect("the counter is there"));
            }
        }
        begun.elapsed()
    }
}

fn park(group: &mut Group) {
    group.bench_function("greenroom, parked for each answer", |bencher| {
        let system = system(1);
        let counter = system.spawn(Counter { total: 0 });
        let client = system.spawn(Client { counter });
        bencher.iter_custom(|count| {
            client
                .ask(AskMany(count))
                .wait()
                .expect("the client is there")
        });
        drop(client);
        end(&system);
    });
    group.bench_function("greenroom, parked once for 64 answers", |bencher| {
        let system = system(1);
        let counter = system.spawn(Counter { total: 0 });
        let client = system.spawn(Client { counter });
        bencher.iter_custom(|count| {
            client
                .ask(AskInFlights(count))
                .wait()
                .expect("the client is there")
        });
        drop(client);
        end(&system);
    });
    // The floor: a switch to another stack and back, with nothing around it.
    group.bench_function("bare stack switch", |bencher| {
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|yielder, ()| {
            loop {
                yielder.suspend(());
            }
        });
        bencher.iter_custom(|count| {
            let begun = Instant::now();
            for _ in 0..count {
                assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
            }
            begun.elapsed()
        });
    });
    group.bench_function("threads, park and unpark", |bencher| {
        bencher.iter_custom(park_threads);
    });
}

/// Lets two threads take turns so many times each, a thread's turn ending when it unparks the other
/// and parks.
fn park_threads(count: u64) -> Duration {
    let turn = Arc::new(AtomicU64::new(0));
    let play = |turn: Arc<AtomicU64>, own: u64, other: thread::Thread| {
        for round in 0..count {
            while turn.load(Ordering::Acquire) != 2 * round + own {
                thread::park();
            }
            turn.store(2 * round + own + 1, Ordering::Release);
            other.unpark();
        }
    };
    let here = thread::current();
    let begun = Instant::now();
    thread::scope(|scope| {
        let other = scope.spawn({
            let turn = turn.clone();
            move || play(turn, 1, here)
        });
        play(turn, 0, other.thread().clone());
    });
    // Each of the two parks once in a round.
    begun.elapsed() / 2
}
