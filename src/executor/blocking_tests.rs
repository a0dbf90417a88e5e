//! What the threads for closures promise, seen from beside them.

use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Instant;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it does not come: {what}");
        std::thread::yield_now();
    }
}

/// Has the closure run while this thread sleeps.
fn run<R: Send>(threads: &Threads, work: impl FnOnce() -> R + Send) -> R {
    let ticket = threads.admit().expect("a thread can be had");
    match ticket.run(work, |_| {}) {
        Some(Ok(result)) => result,
        _ => panic!("it was run and did not panic"),
    }
}

fn figures(threads: &Threads) -> [usize; 3] {
    let snapshot = threads.snapshot();
    [snapshot.threads, snapshot.idle, snapshot.queued]
}

#[test]
fn an_idle_thread_is_used_again_and_retires_after_its_time() {
    let threads = Threads::with_idle_limit("test", 9, Duration::from_millis(1));
    assert_eq!(figures(&threads), [0, 0, 0], "none is started in advance");
    run(&threads, || {});
    eventually("it retires", || figures(&threads) == [0, 0, 0]);
    let threads = Threads::with_idle_limit("test", 9, PATIENCE);
    let first = run(&threads, || std::thread::current().id());
    for _ in 0..100 {
        assert_eq!(run(&threads, || std::thread::current().id()), first);
    }
    assert_eq!(figures(&threads), [1, 1, 0]);
    assert_eq!(threads.0.state.lock().started, 1);
}

#[test]
fn a_thread_that_is_about_to_retire_misses_no_closure() {
    let threads = Threads::with_idle_limit("test", 2, Duration::ZERO);
    for number in 0..2_000 {
        assert_eq!(run(&threads, || number), number);
    }
    eventually("all retire", || figures(&threads) == [0, 0, 0]);
}

#[test]
fn idle_threads_end_with_the_system_at_once() {
    let threads = Threads::with_idle_limit("test", 9, 10 * PATIENCE);
    let name = run(&threads, || {
        std::thread::current().name().map(str::to_owned)
    });
    assert_eq!(name.as_deref(), Some("test-blocking-0"));
    threads.end();
    eventually("it ends", || figures(&threads) == [0, 0, 0]);
    assert!(matches!(threads.admit(), Err(WaitError::NoThread)));
}

#[test]
fn a_closure_that_was_admitted_is_run_although_the_system_ends() {
    let threads = Threads::with_idle_limit("test", 9, 10 * PATIENCE);
    let ticket = threads.admit().unwrap();
    threads.end();
    assert!(matches!(ticket.run(|| 3, |_| {}), Some(Ok(3))));
    let shared = threads.0.clone();
    drop(threads);
    eventually("it ends", || shared.state.lock().threads == 0);
}

#[test]
fn a_ticket_that_is_not_used_is_counted_off() {
    let threads = Threads::new("test", 1);
    drop(threads.admit().unwrap());
    assert_eq!(figures(&threads), [1, 1, 0]);
    assert!(matches!(
        Threads::new("test", 0).admit(),
        Err(WaitError::NoThread)
    ));
}

#[test]
fn closures_beyond_the_limit_are_queued_in_order() {
    let threads = Threads::with_idle_limit("test", 1, PATIENCE);
    let order = StdMutex::new(Vec::new());
    let (release, released) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let (threads, order) = (&threads, &order);
        scope.spawn(move || run(threads, move || released.recv()));
        eventually("the first runs", || figures(threads) == [1, 0, 0]);
        for number in 0..10 {
            scope.spawn(move || run(threads, || order.lock().unwrap().push(number)));
            eventually("it is queued", || {
                figures(threads) == [1, 0, number + 1] && threads.0.jobs.len() == number + 1
            });
        }
        release.send(()).unwrap();
    });
    assert!(order.into_inner().unwrap().into_iter().eq(0..10));
}

#[test]
fn nobody_comes_out_before_the_closure_is_over() {
    let threads = Threads::new("test", 1);
    for panics in [false, true] {
        let is_over = &AtomicBool::new(false);
        let (release, released) = mpsc::channel::<()>();
        let ticket = threads.admit().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let work = move || {
                released.recv().expect("it is released");
                // Whoever came out early would be seen to.
                (0..1_000).for_each(|_| std::thread::yield_now());
                is_over.store(true, SeqCst);
            };
            let outcome = ticket.run(work, |completion| {
                assert!(completion.poll(Waker::noop()).is_pending());
                release.send(()).expect("it waits");
                assert!(!panics, "instead of waiting");
            });
            assert!(matches!(outcome, Some(Ok(()))));
        }));
        assert_eq!(outcome.is_err(), panics);
        assert!(is_over.load(SeqCst));
    }
}

#[test]
fn a_closure_that_is_dropped_unrun_is_gone_before_its_waiter_goes_on() {
    struct Gone<'a>(&'a AtomicBool);
    impl Drop for Gone<'_> {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
            panic!("in a Drop");
        }
    }
    let is_gone = AtomicBool::new(false);
    let (jobs, receiver) = crossbeam_channel::unbounded();
    drop(receiver);
    let threads = Threads::new("test", 1);
    let mut ticket = threads.admit().unwrap();
    ticket.jobs = jobs;
    let gone = Gone(&is_gone);
    let outcome = ticket.run(move || drop(gone), |_| {});
    assert!(outcome.is_none());
    assert!(is_gone.load(SeqCst));
    assert_eq!(figures(&threads), [1, 1, 0]);
}
