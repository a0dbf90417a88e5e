//! A system with nothing to do: its workers sleep, and wake up for the next message.

use std::time::Duration;

use greenroom::System;

use crate::support::{Borrow, Debtor, Note, PATIENCE, Pay, Player, act, eventually, in_pools};

fn all_workers_sleep(system: &System) -> bool {
    let workers = system.snapshot().workers;
    !workers.is_empty() && workers.iter().all(|worker| worker.asleep)
}

#[test]
fn all_workers_sleep_while_nothing_is_to_be_done() {
    in_pools(|system| {
        eventually("all sleep", || all_workers_sleep(system));
        let players: Vec<_> = (0..50).map(|_| system.spawn(Player::default())).collect();
        for player in &players {
            player.ask(Note(1)).wait_for(PATIENCE).unwrap();
        }
        // Idle actors keep nobody awake, nor does a timer.
        let set = players[0].ask(act(|_, ctx| {
            ctx.send_after(Duration::from_secs(3600), Note(2));
        }));
        set.wait_for(PATIENCE).unwrap();
        eventually("all sleep", || all_workers_sleep(system));
    });
}

#[test]
fn all_workers_sleep_while_handlers_wait() {
    in_pools(|system| {
        let debtor = system.spawn(Debtor::default());
        let players: Vec<_> = (0..20).map(|_| system.spawn(Player::default())).collect();
        let answers: Vec<_> = players
            .iter()
            .map(|player| {
                let asked = debtor.clone();
                player.ask(act(move |_, _| asked.ask(Borrow).wait()))
            })
            .collect();
        eventually("all wait", || {
            let workers = system.snapshot().workers;
            workers
                .iter()
                .map(|worker| worker.parked_stacks)
                .sum::<usize>()
                == 20
        });
        eventually("all sleep", || all_workers_sleep(system));
        debtor.send(Pay(7)).unwrap();
        for answer in answers {
            assert_eq!(answer.wait_for(PATIENCE).unwrap().unwrap(), 7);
        }
    });
}

#[test]
fn a_sleeping_pool_wakes_up_for_each_single_message() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        for _ in 0..50 {
            eventually("all sleep", || all_workers_sleep(system));
            player.ask(Note(1)).wait_for(PATIENCE).unwrap();
        }
    });
}
