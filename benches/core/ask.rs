//! Questions and the waits for their answers: from a thread, from a task, in the pool; one by one,
//! many at once, and through many hands.

use std::future::Future;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::Bencher;
use crossbeam_channel::{Receiver, Sender, bounded};
use greenroom::{Actor, Addr, Context, Handler, Reply, System, wait_all};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use super::{CAPACITY, Client, Counter, Group, Total, end, inside as in_pool, system, time};

/// How many questions are under way at once.
const FLIGHT: u64 = 64;
const LINKS: usize = 100;

/// A counter that any thread may run, also while it waits with a limit or awaits.
fn open_counter(system: &System) -> Addr<Counter> {
    let options = system.actor().run_on_callers();
    let counter = options.spawn(Counter { total: 0 });
    counter.expect("the defaults are in range")
}

/// Asks so many times, each time waiting for the answer.
pub(crate) fn ask_many(counter: &Addr<Counter>, count: u64) {
    for _ in 0..count {
        black_box(counter.ask(Total).wait().expect("the counter is there"));
    }
}

/// As [`ask_many`], with a limit to each wait.
fn ask_many_in_time(counter: &Addr<Counter>, count: u64) {
    for _ in 0..count {
        let total = counter.ask(Total).wait_for(Duration::from_secs(60));
        black_box(total.expect("the counter is there"));
    }
}

// ----- from a thread

pub(crate) fn from_thread(group: &mut Group) {
    type Ask = fn(&Addr<Counter>, u64);
    type Spawn = fn(&System) -> Addr<Counter>;
    let closed: Spawn = |system| system.spawn(Counter { total: 0 });
    let rows: [(&str, Spawn, Ask); 3] = [
        ("greenroom, run by who waits", closed, ask_many),
        (
            "greenroom, with a limit, run by who waits",
            open_counter,
            ask_many_in_time,
        ),
        (
            "greenroom, with a limit, run by the pool",
            closed,
            ask_many_in_time,
        ),
    ];
    for (name, spawn, ask) in rows {
        group.bench_function(name, |bencher| {
            let system = system(2);
            let counter = spawn(&system);
            bencher.iter_custom(|count| time(|| ask(&counter, count)));
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", between_threads);
}

/// With bare channels: each question carries a channel of its own for the answer.
fn between_threads(bencher: &mut Bencher) {
    let (questions, to_answer): (Sender<Sender<u64>>, Receiver<Sender<u64>>) = bounded(CAPACITY);
    let counter = thread::spawn(move || {
        for answer in to_answer {
            answer.send(1).expect("the asker waits");
        }
    });
    bencher.iter_custom(|count| {
        time(|| {
            for _ in 0..count {
                let (answer, answers) = bounded(1);
                questions.send(answer).expect("the counter is there");
                black_box(answers.recv().expect("the counter is there"));
            }
        })
    });
    drop(questions);
    counter.join().expect("the counter ends");
}

// ----- from a task

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).build();
    runtime.expect("the machine has room for a few threads")
}

/// How long a task of its own takes for this.
fn in_task(runtime: &Runtime, work: impl Future<Output = ()> + Send + 'static) -> Duration {
    let task = runtime.spawn(async {
        let begun = Instant::now();
        work.await;
        begun.elapsed()
    });
    runtime.block_on(task).expect("the task ends")
}

type Questions = mpsc::Sender<oneshot::Sender<u64>>;

/// A task that answers; it ends with the last sender of questions.
fn answering_task(runtime: &Runtime) -> Questions {
    let (questions, mut to_answer) = mpsc::channel::<oneshot::Sender<u64>>(CAPACITY);
    runtime.spawn(async move {
        while let Some(answer) = to_answer.recv().await {
            answer.send(1).expect("the asker waits");
        }
    });
    questions
}

async fn ask_task(questions: &Questions) -> oneshot::Receiver<u64> {
    let (answer, answers) = oneshot::channel();
    let asked = questions.send(answer).await;
    asked.expect("the task is there");
    answers
}

pub(crate) fn from_task(group: &mut Group) {
    type Spawn = fn(&System) -> Addr<Counter>;
    let rows: [(&str, Spawn); 2] = [
        ("greenroom, run by the task", open_counter),
        ("greenroom, run by the pool", |system| {
            system.spawn(Counter { total: 0 })
        }),
    ];
    for (name, spawn) in rows {
        group.bench_function(name, |bencher| {
            let runtime = runtime();
            let system = system(2);
            let counter = spawn(&system);
            bencher.iter_custom(|count| {
                let counter = counter.clone();
                in_task(&runtime, async move {
                    for _ in 0..count {
                        black_box(counter.ask(Total).await.expect("the counter is there"));
                    }
                })
            });
            end(&system);
        });
    }
    group.bench_function("tokio, mpsc and oneshot", |bencher| {
        let runtime = runtime();
        let questions = answering_task(&runtime);
        bencher.iter_custom(|count| {
            let questions = questions.clone();
            in_task(&runtime, async move {
                for _ in 0..count {
                    let answer = ask_task(&questions).await.await;
                    black_box(answer.expect("the task is there"));
                }
            })
        });
    });
}

// ----- in the pool

pub(crate) fn inside(group: &mut Group) {
    for workers in [1, 2] {
        group.bench_function(format!("greenroom, workers: {workers}"), |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            let client = system.spawn(Client);
            bencher.iter_custom(|count| {
                let counter = counter.clone();
                in_pool(&client, move || ask_many(&counter, count))
            });
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", between_threads);
}

// ----- many at once

/// How many questions to ask at once, again and again, until there were `count`.
fn flights(count: u64) -> impl Iterator<Item = u64> {
    let begins = (0..count).step_by(FLIGHT as usize);
    begins.map(move |begin| FLIGHT.min(count - begin))
}

fn ask_flight(counter: &Addr<Counter>, questions: u64) -> Vec<Reply<u64>> {
    (0..questions).map(|_| counter.ask(Total)).collect()
}

/// Asks so many times, 64 questions before each wait.
pub(crate) fn ask_in_flights(counter: &Addr<Counter>, count: u64) {
    for questions in flights(count) {
        for outcome in wait_all(ask_flight(counter, questions)) {
            black_box(outcome.expect("the counter is there"));
        }
    }
}

pub(crate) fn pipelined(group: &mut Group) {
    group.bench_function("greenroom, from a thread", |bencher| {
        let system = system(2);
        let counter = system.spawn(Counter { total: 0 });
        bencher.iter_custom(|count| time(|| ask_in_flights(&counter, count)));
        end(&system);
    });
    for workers in [1, 2] {
        let name = format!("greenroom, in the pool, workers: {workers}");
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            let client = system.spawn(Client);
            bencher.iter_custom(|count| {
                let counter = counter.clone();
                in_pool(&client, move || ask_in_flights(&counter, count))
            });
            end(&system);
        });
    }
    group.bench_function("greenroom, from a task", |bencher| {
        let runtime = runtime();
        let system = system(2);
        let counter = system.spawn(Counter { total: 0 });
        bencher.iter_custom(|count| {
            let counter = counter.clone();
            in_task(&runtime, async move {
                for now in flights(count) {
                    for reply in ask_flight(&counter, now) {
                        black_box(reply.await.expect("the counter is there"));
                    }
                }
            })
        });
        end(&system);
    });
    group.bench_function("tokio, mpsc and oneshot", |bencher| {
        let runtime = runtime();
        let questions = answering_task(&runtime);
        bencher.iter_custom(|count| {
            let questions = questions.clone();
            in_task(&runtime, async move {
                for now in flights(count) {
                    let mut answers = Vec::new();
                    for _ in 0..now {
                        answers.push(ask_task(&questions).await);
                    }
                    for answer in answers {
                        black_box(answer.await.expect("the task is there"));
                    }
                }
            })
        });
    });
}

// ----- through many hands

/// Hands a question on, waits for the answer, and answers; the last one answers at once.
struct Link {
    next: Option<Addr<Link>>,
}

impl Actor for Link {}

impl Handler<Total> for Link {
    type Reply = u64;
    fn handle(&mut self, _: Total, _: &mut Context<Self>) -> u64 {
        match &self.next {
            Some(next) => 1 + next.ask(Total).wait().expect("the next one is there"),
            None => 1,
        }
    }
}

fn links(system: &System) -> Addr<Link> {
    let mut first = system.spawn(Link { next: None });
    for _ in 1..LINKS {
        first = system.spawn(Link { next: Some(first) });
    }
    first
}

fn ask_chain(first: &Addr<Link>, count: u64) {
    for _ in 0..count {
        let links = first.ask(Total).wait().expect("the first one is there");
        assert_eq!(links, LINKS as u64);
    }
}

pub(crate) fn chain(group: &mut Group) {
    group.bench_function("greenroom, from a thread", |bencher| {
        let system = system(2);
        let first = links(&system);
        bencher.iter_custom(|count| time(|| ask_chain(&first, count)));
        end(&system);
    });
    for workers in [1, 2] {
        let name = format!("greenroom, in the pool, workers: {workers}");
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let first = links(&system);
            let client = system.spawn(Client);
            bencher.iter_custom(|count| {
                let first = first.clone();
                in_pool(&client, move || ask_chain(&first, count))
            });
            end(&system);
        });
    }
    group.bench_function("tokio, mpsc and oneshot, 100 tasks", |bencher| {
        let runtime = runtime();
        let mut first = answering_task(&runtime);
        for _ in 1..LINKS {
            first = handing_task(&runtime, first);
        }
        bencher.iter_custom(|count| {
            let first = first.clone();
            in_task(&runtime, async move {
                for _ in 0..count {
                    let links = ask_task(&first).await.await;
                    assert_eq!(links, Ok(LINKS as u64));
                }
            })
        });
    });
}

/// A task that hands each question on, waits for the answer, and answers.
fn handing_task(runtime: &Runtime, next: Questions) -> Questions {
    let (questions, mut to_answer) = mpsc::channel::<oneshot::Sender<u64>>(CAPACITY);
    runtime.spawn(async move {
        while let Some(answer) = to_answer.recv().await {
            let links = ask_task(&next).await.await;
            let links = links.expect("the next one is there");
            answer.send(1 + links).expect("the asker waits");
        }
    });
    questions
}
