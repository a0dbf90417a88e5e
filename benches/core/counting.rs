//! Messages from one or many senders to one actor that adds them up.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use greenroom::{Addr, System, wait_all};

use super::{Add, CAPACITY, Client, Counter, Group, Total, begin, end, inside, system, time};

/// The capacity of a mailbox that is soon full.
const SMALL: usize = 16;
const ACTORS: u64 = 100;

fn send_many(counter: &Addr<Counter>, count: u64) {
    for _ in 0..count {
        counter.send(Add(1)).expect("the counter is there");
    }
}

/// Waits until all is counted that was sent before, and leaves the counting to the pool.
fn wait_for_count(counter: &Addr<Counter>) {
    let total = counter.ask(Total).wait_for(Duration::from_secs(60));
    total.expect("the counter is there");
}

pub(crate) fn counting(group: &mut Group) {
    for workers in [1, 2] {
        let name = format!("greenroom, from a thread, workers: {workers}");
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            bencher.iter_custom(|count| {
                time(|| {
                    send_many(&counter, count);
                    wait_for_count(&counter);
                })
            });
            end(&system);
        });
    }
    for workers in [1, 2] {
        let name = format!("greenroom, from an actor, workers: {workers}");
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = system.spawn(Counter { total: 0 });
            let client = system.spawn(Client);
            bencher.iter_custom(|count| {
                let counter = counter.clone();
                inside(&client, move || {
                    send_many(&counter, count);
                    wait_for_count(&counter);
                })
            });
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", |bencher| {
        let counter = BareCounter::start(CAPACITY);
        bencher.iter_custom(|count| {
            time(|| {
                counter.send_many(count);
                counter.wait_for_count();
            })
        });
        counter.end();
    });
}

pub(crate) fn room(group: &mut Group) {
    for threads in [1, 8] {
        group.bench_function(format!("greenroom, from threads: {threads}"), |bencher| {
            let system = system(2);
            let counter = small_counter(&system);
            bencher.iter_custom(|count| {
                time(|| {
                    on_threads(threads, count, |count| send_many(&counter, count));
                    wait_for_count(&counter);
                })
            });
            end(&system);
        });
        group.bench_function(format!("crossbeam, from threads: {threads}"), |bencher| {
            let counter = BareCounter::start(SMALL);
            bencher.iter_custom(|count| {
                time(|| {
                    on_threads(threads, count, |count| counter.send_many(count));
                    counter.wait_for_count();
                })
            });
            counter.end();
        });
    }
    for workers in [1, 2] {
        let name = format!("greenroom, from 100 actors, workers: {workers}");
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let counter = small_counter(&system);
            let clients: Vec<_> = (0..ACTORS).map(|_| system.spawn(Client)).collect();
            bencher.iter_custom(|count| {
                time(|| {
                    let share = |client| {
                        let counter = counter.clone();
                        begin(client, move || send_many(&counter, count.div_ceil(ACTORS)))
                    };
                    for outcome in wait_all(clients.iter().map(share)) {
                        outcome.expect("the client is there");
                    }
                    wait_for_count(&counter);
                })
            });
            end(&system);
        });
    }
}

fn small_counter(system: &System) -> Addr<Counter> {
    let options = system.actor().capacity(SMALL);
    let counter = options.spawn(Counter { total: 0 });
    counter.expect("the capacity is in range")
}

/// Has so many threads do equal shares of `count`; the first is this one.
fn on_threads(threads: u64, count: u64, send: impl Fn(u64) + Sync) {
    let share = count.div_ceil(threads);
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| send(share));
        }
        send(share);
    });
}

/// A thread that counts what comes through a bare channel.
struct BareCounter {
    /// `None` asks for the total.
    numbers: Sender<Option<u64>>,
    totals: Receiver<u64>,
    thread: JoinHandle<()>,
}

impl BareCounter {
    fn start(capacity: usize) -> Self {
        let (numbers, to_count) = bounded::<Option<u64>>(capacity);
        let (tell, totals) = bounded(1);
        let thread = thread::spawn(move || {
            let mut sum = 0;
            for number in to_count {
                match number {
                    Some(number) => sum += number,
                    None => tell.send(sum).expect("the benchmark waits"),
                }
            }
        });
        Self {
            numbers,
            totals,
            thread,
        }
    }

    fn send_many(&self, count: u64) {
        for _ in 0..count {
            self.numbers.send(Some(1)).expect("the counter is there");
        }
    }

    fn wait_for_count(&self) {
        self.numbers.send(None).expect("the counter is there");
        self.totals.recv().expect("the counter is there");
    }

    fn end(self) {
        drop(self.numbers);
        self.thread.join().expect("the counter ends");
    }
}
