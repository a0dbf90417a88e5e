//! Waits that leave the waiting stack and later return to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use corosensei::{Coroutine, CoroutineResult};
use greenroom::Addr;

use super::ask::{ask_in_flights, ask_many};
use super::{Client, Counter, Group, end, inside, system, time};

pub(crate) fn park(group: &mut Group) {
    type Ask = fn(&Addr<Counter>, u64);
    let rows: [(&str, Ask); 2] = [
        ("greenroom, parked for each answer", ask_many),
        ("greenroom, parked once for 64 answers", ask_in_flights),
    ];
    for (name, ask) in rows {
        group.bench_function(name, |bencher| {
            let system = system(1);
            let counter = system.spawn(Counter { total: 0 });
            let client = system.spawn(Client);
            bencher.iter_custom(|count| {
                let counter = counter.clone();
                inside(&client, move || ask(&counter, count))
            });
            end(&system);
        });
    }
    // The floor: a switch to another stack and back, with nothing around it.
    group.bench_function("bare stack switch", |bencher| {
        let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|yielder, ()| {
            loop {
                yielder.suspend(());
            }
        });
        bencher.iter_custom(|count| {
            time(|| {
                for _ in 0..count {
                    assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
                }
            })
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
