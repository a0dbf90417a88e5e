//! Circles of one: an actor that waits for itself.

use std::sync::mpsc;

use greenroom::{AskError, Awaited, SendError, StopReason, WaitError};

use super::{Member, WAYS, close_ring, path_of, run, waiters};
use crate::support::{Note, Player, act, end_of, in_pools, under_seed, under_seeds};

#[test]
fn an_actor_that_asks_itself_is_told_so_at_once() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let path = player.ask(act(|_, ctx| path_of(ctx.addr().ask(Note(1)).wait())));
        let path = path.wait().unwrap();
        assert_eq!(waiters(&path), [player.id()]);
        let Awaited::Reply { from, request_type } = &path.edges()[0].awaited else {
            panic!("{path}");
        };
        assert_eq!(from.id, player.id());
        assert!(request_type.ends_with("Note"));
        // The request was withdrawn.
        player.ask(act(|_, _| ())).wait().unwrap();
        assert_eq!(stepper.system().snapshot().totals.cancelled, 1);
    });
}

#[test]
fn an_actor_that_sends_to_its_own_full_mailbox_gets_the_message_back() {
    under_seeds(|stepper| {
        let options = stepper.system().actor().capacity(1);
        let player = options.spawn(Player::default()).unwrap();
        let refused = player.ask(act(|_, ctx| {
            ctx.addr().send(Note(1)).expect("there is room");
            ctx.addr().send(Note(2))
        }));
        let Err(SendError::WouldDeadlock { message, path }) = refused.wait().unwrap() else {
            panic!("there was room");
        };
        assert_eq!(message.0, 2);
        assert_eq!(waiters(&path), [player.id()]);
        assert!(matches!(path.edges()[0].awaited, Awaited::Room { .. }));
    });
}

#[test]
fn an_actor_that_waits_for_its_own_end_is_told_so() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let refused = player.ask(act(|_, ctx| ctx.addr().join())).wait().unwrap();
        let Err(WaitError::WouldDeadlock { path }) = refused else {
            panic!("{refused:?}");
        };
        assert!(matches!(path.edges()[0].awaited, Awaited::End { .. }));
    });
}

#[test]
fn an_actor_that_waits_for_itself_in_any_way_is_told_so_wherever_it_runs() {
    under_seed(1, |stepper| {
        let system = stepper.system();
        for way in WAYS {
            let member = Member::new(system, way);
            close_ring(&[member], &|| run(stepper));
            close_ring(&[member.on_its_own_thread()], &|| run(stepper));
        }
    });
    in_pools(|system| {
        for way in WAYS {
            let member = Member::new(system, way);
            close_ring(&[member], &|| ());
            close_ring(&[member.on_its_own_thread()], &|| ());
        }
    });
}

#[test]
fn an_actor_that_waits_for_itself_in_a_hook_is_told_so() {
    in_pools(|system| {
        let (tell, told) = mpsc::channel();
        let tell_end = tell.clone();
        let beginner = system.spawn(Player::beginning_with(move |ctx| {
            let path = path_of(ctx.addr().ask(Note(1)).wait());
            tell.send(path).expect("the test listens");
        }));
        let path = told.recv().expect("the hook does not panic");
        assert_eq!(waiters(&path), [beginner.id()]);
        let ender = system.spawn(Player::ending_with(move |_, ctx| {
            let closed = ctx.addr().ask(Note(1)).wait();
            assert!(matches!(closed, Err(AskError::Stopped { .. })));
            let Err(WaitError::WouldDeadlock { path }) = ctx.addr().join() else {
                panic!("it has not ended");
            };
            tell_end.send(path).expect("the test listens");
        }));
        ender.stop();
        assert_eq!(end_of(&ender), StopReason::Stopped);
        let path = told.recv().expect("the hook does not panic");
        assert_eq!(waiters(&path), [ender.id()]);
    });
}
