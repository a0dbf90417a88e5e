//! Circles of waits: the call that would close one gets an error with the path, exactly once,
//! and the others go on.

use greenroom::{AskError, Awaited, SendError, WaitError, WaitPath};

use crate::support::{Note, Player, act, under_seeds};

fn path_of<R: std::fmt::Debug>(outcome: Result<R, AskError>) -> WaitPath {
    match outcome {
        Err(AskError::WouldDeadlock { path }) => path,
        other => panic!("{other:?}"),
    }
}

/// The ids along the path, in its order.
fn waiters(path: &WaitPath) -> Vec<greenroom::ActorId> {
    path.edges().iter().map(|edge| edge.waiter.id).collect()
}

// One actor.

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
