//! Circles of which members are killed, stopped or drained.

use greenroom::{Addr, AskError, StopReason, WaitError};

use super::{SECOND, of_ask, players, waiters};
use crate::support::{Note, PATIENCE, Player, act, end_of, in_pools, under_seeds};

#[test]
fn a_killed_member_is_not_stuck() {
    under_seeds(|stepper| {
        let [first, second] = players(stepper);
        let other = second.clone();
        let interrupted = first.ask(act(move |_, _| other.ask(Note(1)).wait()));
        let back = first.clone();
        let told = second.ask(act(move |_, ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            back.kill();
            // The killed one has not had its turn: its wait still shows.
            back.join()
        }));
        let outcome = interrupted.wait().unwrap();
        assert!(matches!(
            outcome,
            Err(AskError::Wait(WaitError::Interrupted))
        ));
        assert_eq!(told.wait().unwrap(), Ok(StopReason::Killed));
    });
}

#[test]
fn a_kill_that_meets_a_circle_leaves_nobody_waiting() {
    in_pools(|system| {
        for _ in 0..50 {
            let [first, second] = [0, 1].map(|_| system.spawn(Player::default()));
            let (other, back) = (second.clone(), first.clone());
            let outcomes = [
                first.ask(act(move |_, _| other.ask(Note(1)).wait())),
                second.ask(act(move |_, _| back.ask(Note(1)).wait())),
            ];
            first.kill();
            for outcome in outcomes {
                match outcome.wait_for(PATIENCE) {
                    Ok(Ok(()) | Err(AskError::WouldDeadlock { .. } | AskError::Stopped { .. }))
                    | Err(AskError::Stopped { .. }) => {}
                    Ok(Err(AskError::Wait(WaitError::Interrupted))) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(end_of(&first), StopReason::Killed);
        }
    });
}

#[test]
fn a_member_that_was_told_to_stop_or_drain_waits_on_and_is_found_in_a_circle() {
    for order in [Addr::<Player>::stop, Addr::<Player>::drain] {
        under_seeds(|stepper| {
            let [first, second] = players(stepper);
            let other = second.clone();
            let waited = first.ask(act(move |_, _| of_ask(other.ask(Note(1)).wait())));
            let back = first.clone();
            let told = second.ask(act(move |_, ctx| {
                let asked = back.ask(Note(1));
                ctx.sleep(SECOND).expect("nobody ends the sleep");
                order(&back);
                let refused = back.join();
                drop(asked);
                refused
            }));
            let refused = told.wait().unwrap();
            let Err(WaitError::WouldDeadlock { path }) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(waiters(&path), [second.id(), first.id()]);
            assert_eq!(waited.wait().unwrap(), None);
            end_of(&first);
        });
    }
}
