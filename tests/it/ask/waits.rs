//! Where one waits for an answer, and in which order requests are handled.

use std::sync::Arc;
use std::thread;

use greenroom::{Addr, Asker, Reply};

use super::{Clerk, Double, Nap, Owe, Relay, SECOND, Settle, runtime_of};
use crate::support::{Entry, Log, PATIENCE, Seen, in_a_pool, in_pools, in_time, under_seeds};

// Where one waits.

#[test]
fn a_plain_thread_waits_for_an_answer() {
    in_pools(|system| {
        let clerk = system.spawn(Clerk::default());
        assert_eq!(clerk.ask(Double(21)).wait_for(PATIENCE).unwrap(), 42);
        let reply = clerk.ask(Double(4));
        assert_eq!(in_time(move || reply.wait()).unwrap(), 8);
    });
}

#[test]
fn a_handler_waits_for_an_answer_in_a_pool_of_one_worker() {
    in_a_pool(1, |system| {
        let clerk = system.spawn(Clerk::default());
        let relay = system.spawn(Relay { to: clerk.asker() });
        assert_eq!(relay.ask(Double(21)).wait_for(PATIENCE).unwrap(), 42);
    });
}

#[test]
fn a_chain_of_a_thousand_waiting_handlers_is_answered() {
    in_pools(|system| {
        let mut asker: Asker<Double, u64> = system.spawn(Clerk::default()).asker();
        for _ in 0..1000 {
            asker = system.spawn(Relay { to: asker }).asker();
        }
        assert_eq!(asker.ask(Double(21)).wait_for(PATIENCE).unwrap(), 42);
    });
}

#[test]
fn actors_on_threads_of_their_own_and_in_pools_of_two_systems_ask_each_other() {
    in_a_pool(1, |first| {
        in_a_pool(1, |second| {
            let clerk = first.spawn(Clerk::default());
            let to = clerk.asker();
            let on_a_thread = second.actor().spawn_thread(move || Relay { to }).unwrap();
            let to = on_a_thread.asker();
            let in_the_pool = second.spawn(Relay { to });
            assert_eq!(in_the_pool.ask(Double(21)).wait_for(PATIENCE).unwrap(), 42);
        });
    });
}

async fn ask_and_await(clerk: Addr<Clerk>) {
    assert_eq!(clerk.ask(Double(21)).await.unwrap(), 42);
    let replies: Vec<_> = (0..100).map(|number| clerk.ask(Double(number))).collect();
    for (number, reply) in (0..).zip(replies) {
        assert_eq!(reply.await.unwrap(), number * 2);
    }
    let owed = clerk.ask(Owe);
    clerk.send(Settle(0, 7)).unwrap();
    assert_eq!(owed.await.unwrap(), 7);
}

fn ask_under(block_on: impl Fn(Addr<Clerk>) + Send + Sync + 'static) {
    let block_on = Arc::new(block_on);
    in_pools(|system| {
        let clerk = system.spawn(Clerk::default());
        let block_on = block_on.clone();
        in_time(move || block_on(clerk));
    });
}

#[test]
fn a_reply_is_awaited_under_tokio_on_one_thread() {
    ask_under(|clerk| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        runtime_of(runtime).block_on(ask_and_await(clerk));
    });
}

#[test]
fn a_reply_is_awaited_under_tokio_on_several_threads() {
    in_pools(|system| {
        let clerks: Vec<_> = (0..8).map(|_| system.spawn(Clerk::default())).collect();
        in_time(move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(3);
            runtime_of(runtime).block_on(async {
                let tasks: Vec<_> = clerks
                    .into_iter()
                    .map(|clerk| tokio::spawn(ask_and_await(clerk)))
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        });
    });
}

#[test]
fn a_reply_is_awaited_under_smol() {
    ask_under(|clerk| {
        let executor = smol::Executor::new();
        let task = executor.spawn(ask_and_await(clerk));
        smol::block_on(executor.run(task));
    });
}

#[test]
fn a_reply_is_awaited_under_pollster() {
    ask_under(|clerk| pollster::block_on(ask_and_await(clerk)));
}

// Pipelines and order.

#[test]
fn two_requests_before_two_waits_are_under_way_together() {
    under_seeds(|stepper| {
        let first = stepper.system().spawn(Clerk::default());
        let second = stepper.system().spawn(Clerk::default());
        let replies = [
            first.ask(Double(1)),
            first.ask(Double(2)),
            second.ask(Double(3)),
        ];
        assert!(!replies.iter().any(Reply::is_ready));
        stepper.run();
        assert!(replies.iter().all(Reply::is_ready));
        let answers = replies.map(|reply| reply.wait().unwrap());
        assert_eq!(answers, [2, 4, 6]);
    });
}

#[test]
fn naps_of_two_actors_that_are_asked_before_they_are_waited_for_overlap() {
    under_seeds(|stepper| {
        let clerks = [0, 1].map(|_| stepper.system().spawn(Clerk::default()));
        let before = stepper.clock().now();
        for nap in clerks.map(|clerk| clerk.ask(Nap(SECOND))) {
            nap.wait().unwrap().unwrap();
        }
        assert_eq!(stepper.clock().now() - before, SECOND);
    });
}

#[test]
fn requests_and_messages_of_one_thread_are_handled_in_the_order_of_their_calls() {
    in_pools(|system| {
        let log = system
            .actor()
            .capacity(3)
            .spawn(Log::default())
            .expect("the capacity is in range");
        for number in 0..1000_u64 {
            log.send(Entry(2 * number)).unwrap();
            // Each is asked before it is known whether there is room.
            let entry = log.ask(Entry(2 * number + 1));
            let seen = log.ask(Seen);
            entry.wait_for(PATIENCE).unwrap();
            let seen = seen.wait_for(PATIENCE).unwrap();
            assert!(seen.into_iter().eq(0..2 * number + 2));
        }
    });
}

#[test]
fn each_of_many_askers_gets_the_answer_to_his_own_request() {
    in_pools(|system| {
        let clerk = system
            .actor()
            .capacity(2)
            .spawn(Clerk::default())
            .expect("the capacity is in range");
        let askers: Vec<_> = (0..8_u64)
            .map(|asker| {
                let clerk = clerk.clone();
                thread::spawn(move || {
                    for number in (0..500).map(|number| asker << 32 | number) {
                        let pair = [clerk.ask(Double(number)), clerk.ask(Double(number + 1))];
                        let pair = pair.map(|reply| reply.wait_for(PATIENCE).unwrap());
                        assert_eq!(pair, [number * 2, number * 2 + 2]);
                    }
                })
            })
            .collect();
        askers.into_iter().for_each(|asker| asker.join().unwrap());
    });
}
