//! Routers that real threads share.

use std::thread;

use greenroom::{Addr, Router};

use crate::support::{Entry, Log, Seen, in_pools};

const THREADS: u64 = 4;
const EACH: u64 = 3000;

#[test]
fn turns_are_exact_between_threads() {
    in_pools(|system| {
        let logs = [(); 3].map(|()| system.spawn(Log::default()));
        let router = Router::round_robin().recipient(logs.iter().map(Addr::recipient));
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let router = router.clone();
                scope.spawn(move || {
                    for number in 0..EACH {
                        router.send(Entry(thread * EACH + number)).unwrap();
                    }
                });
            }
        });
        let seen = logs.each_ref().map(|log| log.ask(Seen).wait().unwrap());
        for numbers in &seen {
            assert_eq!(numbers.len() as u64, THREADS * EACH / 3);
            // Each thread's messages came in its order.
            for thread in 0..THREADS {
                let of_thread = numbers.iter().filter(|number| **number / EACH == thread);
                assert!(of_thread.is_sorted());
            }
        }
    });
}

#[test]
fn members_that_end_while_threads_send_lose_nothing_that_comes_back() {
    in_pools(|system| {
        let routers = || {
            [
                Router::round_robin(),
                Router::random(),
                Router::least_loaded(),
                Router::by_key(|Entry(number)| *number),
            ]
        };
        for router in routers() {
            let mut logs: Vec<_> = (0..4).map(|_| system.spawn(Log::default())).collect();
            let router = router.recipient(logs.iter().map(Addr::recipient));
            let last = logs.pop().expect("there are four");
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| (0..EACH).for_each(|n| router.send(Entry(n)).unwrap()));
                }
                logs.iter().for_each(Addr::drain);
            });
            last.ask(Seen).wait().unwrap();
            logs.iter().for_each(|log| drop(log.join().unwrap()));
            last.drain();
            last.join().unwrap();
        }
        let totals = system.snapshot().totals;
        let routers = routers().len() as u64;
        assert_eq!(totals.handled, routers * (THREADS * EACH + 1), "{totals}");
    });
}
