//! What else of the asked actor runs on the thread that waits: what stands before the request,
//! and nothing that stands behind it.

use std::sync::mpsc;
use std::thread::ThreadId;

use greenroom::{Addr, System};

use super::{all_workers_sleep, handled, here, occupy, place, snapshot_of};
use crate::support::{Act, Note, Player, act, eventually, in_pools};

/// A note, and where it was made.
fn noted(number: u64, tell: &mpsc::Sender<(u64, ThreadId)>) -> Act<()> {
    let tell = tell.clone();
    act(move |_, _| tell.send((number, here())).expect("the test listens"))
}

#[test]
fn what_stands_before_the_request_is_handled_first_and_on_the_same_thread() {
    in_pools(|system| {
        let _gates = occupy(system);
        let player = system.spawn(Player::default());
        let (tell, told) = mpsc::channel();
        for number in 0..200 {
            player.send(noted(number, &tell)).unwrap();
        }
        let last = player.ask(noted(200, &tell));
        // Nobody has come by yet.
        assert!(told.try_recv().is_err());
        last.wait().unwrap();
        let notes: Vec<_> = told.try_iter().collect();
        assert!(notes.into_iter().eq((0..=200).map(|note| (note, here()))));
    });
}

#[test]
fn what_stands_behind_the_request_is_left_to_the_pool() {
    in_pools(|system| {
        let gates = occupy(system);
        let player = system.spawn(Player::default());
        let (tell, told) = mpsc::channel();
        let own = tell.clone();
        // One is queued by the handler itself, which is the last moment for it.
        let asked = player.ask(act(move |_, ctx| {
            ctx.addr().send(noted(2, &own)).expect("there is room");
        }));
        player.send(noted(1, &tell)).unwrap();
        asked.wait().unwrap();
        assert!(told.try_recv().is_err());
        assert_eq!(snapshot_of(system, &player).counts.queued, 2);
        drop(gates);
        handled(system, &player, 3);
        let notes: Vec<_> = told.try_iter().collect();
        assert!(notes.iter().map(|(number, _)| *number).eq([1, 2]));
        assert!(notes.iter().all(|(_, place)| *place != here()));
    });
}

#[test]
fn the_first_hook_runs_on_the_thread_that_waits_before_what_is_queued() {
    in_pools(|system| {
        let _gates = occupy(system);
        let (tell, told) = mpsc::channel();
        let begun = tell.clone();
        let player = Player::beginning_with(move |_| {
            begun.send((0, here())).expect("the test listens");
        });
        let player = system.spawn(player);
        player.ask(noted(1, &tell)).wait().unwrap();
        let notes: Vec<_> = told.try_iter().collect();
        assert_eq!(notes, [(0, here()), (1, here())]);
    });
}

#[test]
fn waits_in_another_order_than_the_requests_get_their_answers() {
    in_pools(|system| {
        let _gates = occupy(system);
        let player = system.spawn(Player::default());
        let mut replies: Vec<_> = (0..100_usize)
            .map(|number| {
                player.ask(act(move |player: &mut Player, ctx| {
                    player.notes.push((ctx.now(), 0));
                    (number, player.notes.len() - 1)
                }))
            })
            .collect();
        replies.reverse();
        for (number, reply) in (0..100).rev().zip(replies) {
            assert_eq!(reply.wait().unwrap(), (number, number));
        }
    });
}

/// Has this thread send and ask `rounds` times while the pool runs the same actor.
fn take_turns(system: &System, player: &Addr<Player>, rounds: u64) {
    for round in 0..rounds {
        player.send(Note(round)).unwrap();
        let seen = player.ask(act(|player, _| player.notes.last().map(|note| note.1)));
        assert_eq!(seen.wait().unwrap(), Some(round));
    }
    handled(system, player, 2 * rounds);
}

#[test]
fn a_thread_and_the_pool_take_turns_without_changing_the_order() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        take_turns(system, &player, 2000);
        let seen = player.ask(act(|player, _| {
            let notes = player.notes.iter().map(|note| note.1);
            notes.eq(0..2000)
        }));
        assert!(seen.wait().unwrap());
    });
}

#[test]
fn a_request_that_was_withdrawn_is_not_run_by_the_next_who_waits() {
    in_pools(|system| {
        let gates = occupy(system);
        let player = system.spawn(Player::default());
        drop(player.ask(Note(1)));
        let kept = player.ask(Note(2));
        drop(player.ask(Note(3)));
        assert_eq!(player.ask(place()).wait().unwrap(), here());
        assert!(kept.is_ready());
        let counts = snapshot_of(system, &player).counts;
        assert_eq!((counts.cancelled, counts.handled), (2, 2), "{counts}");
        drop(gates);
        eventually("the pool finds nothing to do", || all_workers_sleep(system));
        assert_eq!(snapshot_of(system, &player).counts, counts);
    });
}
