//! Circles of waits through handlers that run on the threads of callers: the call that would close
//! one is refused, and all go on.

use std::sync::{Arc, Barrier};
use std::thread;

use greenroom::{ActorId, AskError, SendError, WaitError, WaitPath};

use super::{handled, here, occupy, open_players, place, players};
use crate::support::{Note, Player, act, in_pools};

fn path_of<R: std::fmt::Debug>(outcome: Result<R, AskError>) -> WaitPath {
    match outcome {
        Err(AskError::WouldDeadlock { path }) => path,
        other => panic!("{other:?}"),
    }
}

/// The ids along the path, in ascending order.
fn waiters(path: &WaitPath) -> Vec<ActorId> {
    let mut ids: Vec<_> = path.edges().iter().map(|edge| edge.waiter.id).collect();
    ids.sort();
    ids
}

#[test]
fn two_actors_on_one_callers_thread_that_ask_each_other_are_told_at_the_call_that_closes_it() {
    in_pools(|system| {
        let _gates = occupy(system);
        let [first, second] = open_players(system);
        let asked = second.clone();
        let path = first.ask(act(move |_, ctx| {
            let own = ctx.addr();
            let path = asked.ask(act(move |_, _| path_of(own.ask(Note(1)).wait())));
            path.wait().expect("the second one goes on")
        }));
        assert_eq!(waiters(&path.wait().unwrap()), [first.id(), second.id()]);
        // Both go on.
        assert_eq!(first.ask(place()).wait().unwrap(), here());
        assert_eq!(second.ask(place()).wait().unwrap(), here());
    });
}

#[test]
fn a_wait_for_room_or_for_the_end_of_an_actor_below_is_refused() {
    in_pools(|system| {
        let gates = occupy(system);
        let options = system.actor().capacity(1);
        let first = options.spawn(Player::default()).unwrap();
        let [second] = open_players(system);
        let asked = second.clone();
        let refusals = first.ask(act(move |_, ctx| {
            let own = ctx.addr();
            let refusals = asked.ask(act(move |_, _| {
                own.send(Note(1)).expect("there is room for one");
                (own.send(Note(2)), own.join())
            }));
            refusals.wait().expect("the second one goes on")
        }));
        let (room, end) = refusals.wait().unwrap();
        let Err(SendError::WouldDeadlock { message, path }) = room else {
            panic!("there was room");
        };
        assert_eq!(message.0, 2);
        assert_eq!(waiters(&path), [first.id(), second.id()]);
        let Err(WaitError::WouldDeadlock { path }) = end else {
            panic!("{end:?}");
        };
        assert_eq!(waiters(&path), [first.id(), second.id()]);
        drop(gates);
        handled(system, &first, 2);
    });
}

#[test]
fn an_actor_in_the_middle_of_a_chain_below_is_part_of_a_circle() {
    in_pools(|system| {
        let _gates = occupy(system);
        let [first, second, third] = open_players(system);
        let (asked, last, middle) = (second.clone(), third.clone(), second.clone());
        let path = first.ask(act(move |_, _| {
            let path = asked.ask(act(move |_, _| {
                let path = last.ask(act(move |_, _| path_of(middle.ask(Note(1)).wait())));
                path.wait().expect("the third one goes on")
            }));
            path.wait().expect("the second one goes on")
        }));
        assert_eq!(waiters(&path.wait().unwrap()), [second.id(), third.id()]);
    });
}

#[test]
fn two_threads_that_ask_two_actors_crosswise_all_go_on_and_one_of_them_is_told() {
    in_pools(|system| {
        for _ in 0..100 {
            let actors: [_; 2] = players(system);
            let meet = Arc::new(Barrier::new(2));
            let askers = [0, 1].map(|number| {
                let own = actors[number].clone();
                let (other, meet) = (actors[1 - number].clone(), meet.clone());
                thread::spawn(move || {
                    let told = own.ask(act(move |_, _| {
                        // Both are run at the same time, by whomever.
                        meet.wait();
                        match other.ask(Note(1)).wait() {
                            Ok(()) => 0,
                            outcome => path_of(outcome).edges().len(),
                        }
                    }));
                    told.wait().expect("it goes on")
                })
            });
            let mut told = askers.map(|asker| asker.join().unwrap());
            told.sort_unstable();
            assert_eq!(told, [0, 2]);
        }
    });
}
