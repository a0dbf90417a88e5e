//! What is no circle, and what is one in spite of appearances.

use std::sync::mpsc;

use greenroom::{
    Actor, Addr, AskError, Awaited, Context, DeferredHandler, Reply, ReplyTo, StopReason,
    WaitError, WaitPath, wait_any,
};

use super::{
    Later, Member, SECOND, WAYS, Way, ask, close_ring, of_ask, path_of, players, run,
    sleep_then_ask, waiters,
};
use crate::support::{
    Borrow, Note, PATIENCE, Player, act, end_of, eventually, in_pools, under_seeds,
};

// Answers that are put off.

/// Hands the right to answer to the test, and waits for somebody afterwards.
struct Lender {
    hand_over: mpsc::Sender<ReplyTo<u64>>,
    then_ask: Option<Addr<Player>>,
}

impl Actor for Lender {}

impl DeferredHandler<Borrow> for Lender {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Borrow, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        self.hand_over.send(reply).expect("the test listens");
        if let Some(other) = self.then_ask.take() {
            let path = of_ask(other.ask(Note(1)).wait());
            assert_eq!(path, None, "whoever holds the answer may give it");
        }
    }
}

#[test]
fn whoever_waits_for_an_answer_that_was_put_off_may_be_asked_by_the_one_who_put_it_off() {
    in_pools(|system| {
        let (hand_over, handed) = mpsc::channel();
        let asker = system.spawn(Player::default());
        let lender = system.spawn(Lender {
            hand_over,
            then_ask: Some(asker.clone()),
        });
        let asked = lender.clone();
        let answer = asker.ask(act(move |_, _| asked.ask(Borrow).wait()));
        let reply = handed.recv_timeout(PATIENCE).expect("it hands it over");
        // Both wait: the one for the answer, the other for the one.
        eventually("both wait", || system.waits().len() == 2);
        let [first, second] = &system.waits()[..] else {
            panic!("two wait");
        };
        assert!(matches!(first.awaited, Awaited::Deferred { .. }), "{first}");
        assert!(matches!(second.awaited, Awaited::Reply { .. }), "{second}");
        reply.send(42);
        assert_eq!(answer.wait_for(PATIENCE).unwrap().unwrap(), 42);
        lender.stop();
        assert_eq!(end_of(&lender), StopReason::Stopped);
        let notes = asker.ask(act(|player, _| player.notes.len()));
        assert_eq!(notes.wait_for(PATIENCE).unwrap(), 1);
    });
}

#[test]
fn an_answer_that_may_be_put_off_is_waited_for_from_its_actor_while_its_turn_has_not_come() {
    under_seeds(|stepper| {
        // The request is queued when its actor asks back.
        let [asker] = players(stepper);
        let busy = stepper.system().spawn(Player::default());
        let told = sleep_then_ask(&busy, &asker);
        let asked = busy.clone();
        stepper.run();
        let answer = asker.ask(act(move |_, _| of_ask(asked.ask(Later).wait())));
        stepper.run();
        let path = told.wait().unwrap().expect("it closes the circle");
        assert_eq!(waiters(&path), [busy.id(), asker.id()]);
        assert!(matches!(path.edges()[0].awaited, Awaited::Reply { .. }));
        assert!(matches!(path.edges()[1].awaited, Awaited::Queued { .. }));
        assert_eq!(answer.wait().unwrap(), None);
        // Its actor waits already when the request is queued.
        let asked = busy.clone();
        let told = asker.ask(act(move |_, ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            path_of(asked.ask(Later).wait())
        }));
        stepper.run();
        let answer = ask(&busy, &asker);
        let path = told.wait().unwrap();
        assert_eq!(waiters(&path), [asker.id(), busy.id()]);
        assert!(matches!(path.edges()[0].awaited, Awaited::Queued { .. }));
        assert!(matches!(path.edges()[1].awaited, Awaited::Reply { .. }));
        assert_eq!(answer.wait().unwrap(), None);
    });
}

/// Keeps the right to answer while it waits for somebody, to its end.
struct Miser(Addr<Player>);

impl Actor for Miser {}

impl DeferredHandler<Borrow> for Miser {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Borrow, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        let outcome = self.0.ask(Note(1)).wait();
        assert!(matches!(
            outcome,
            Err(AskError::Wait(WaitError::Interrupted))
        ));
        assert!(reply.is_wanted());
    }
}

#[test]
fn a_circle_through_an_answer_that_somebody_keeps_shows_and_is_not_found() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let [asker] = players(stepper);
        let miser = system.spawn(Miser(asker.clone()));
        let asked = miser.clone();
        let answer = asker.ask(act(move |_, _| asked.ask(Borrow).wait()));
        stepper.run();
        let [first, second] = &system.waits()[..] else {
            panic!("two wait");
        };
        assert!(matches!(first.awaited, Awaited::Deferred { .. }), "{first}");
        assert!(matches!(second.awaited, Awaited::Reply { .. }), "{second}");
        miser.kill();
        assert!(matches!(answer.wait().unwrap(), Err(AskError::Dropped)));
        assert_eq!(end_of(&miser), StopReason::Killed);
    });
}

// Any of several.

/// Has a player wait for the first answer of these.
fn want_any(player: &Addr<Player>, others: &[&Addr<Player>]) -> Reply<Option<WaitPath>> {
    let others: Vec<_> = others.iter().map(|other| (*other).clone()).collect();
    player.ask(act(move |_, _| {
        let mut replies: Vec<_> = others.iter().map(|other| other.ask(Note(1))).collect();
        match wait_any(&mut replies) {
            Ok(first) => of_ask(first.expect("there are some").1),
            Err(WaitError::WouldDeadlock { path }) => {
                assert_eq!(replies.len(), others.len(), "nothing is lost");
                Some(path)
            }
            Err(other) => panic!("{other}"),
        }
    }))
}

#[test]
fn nobody_is_alarmed_as_long_as_one_of_several_answers_can_be_given() {
    under_seeds(|stepper| {
        let [chooser, stuck, free] = players(stepper);
        let slept = free.ask(act(|_, ctx| ctx.sleep(SECOND)));
        let told = sleep_then_ask(&stuck, &chooser);
        stepper.run();
        let chosen = want_any(&chooser, &[&stuck, &free]);
        // The circle of two closes, while the third sleeps on.
        assert_eq!(told.wait().unwrap(), None);
        assert_eq!(chosen.wait().unwrap(), None);
        assert_eq!(slept.wait().unwrap(), Ok(()));
    });
}

#[test]
fn the_last_of_several_who_is_stuck_too_is_told_the_circle() {
    under_seeds(|stepper| {
        let [chooser, first, last] = players(stepper);
        let first_told = sleep_then_ask(&first, &chooser);
        let asked = chooser.clone();
        let last_told = last.ask(act(move |_, ctx| {
            ctx.sleep(2 * SECOND).expect("nobody ends the sleep");
            path_of(asked.ask(Note(1)).wait())
        }));
        stepper.run();
        let chosen = want_any(&chooser, &[&first, &last]);
        stepper.advance(SECOND);
        assert!(!first_told.is_ready() && !chosen.is_ready());
        let path = last_told.wait().unwrap();
        assert_eq!(waiters(&path), [last.id(), chooser.id()]);
        let Awaited::AnyReply { from } = &path.edges()[1].awaited else {
            panic!("{path}");
        };
        let from: Vec<_> = from.iter().map(|identity| identity.id).collect();
        assert_eq!(from, [first.id(), last.id()]);
        // It was the chooser whom the last one kept waiting.
        assert_eq!(chosen.wait().unwrap(), None);
        assert_eq!(first_told.wait().unwrap(), None);
    });
}

#[test]
fn whoever_wants_any_of_several_answers_is_told_if_all_of_them_wait_for_it() {
    under_seeds(|stepper| {
        let [chooser, first, second] = players(stepper);
        let (asked, others) = (chooser.clone(), [first.clone(), second.clone()]);
        let told = chooser.ask(act(move |_, ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            let mut replies = others.map(|other| other.ask(Note(1))).into();
            match wait_any(&mut replies) {
                Err(WaitError::WouldDeadlock { path }) => path,
                other => panic!("{other:?}"),
            }
        }));
        stepper.run();
        let answers = [ask(&first, &asked), ask(&second, &asked)];
        stepper.run();
        let path = told.wait().unwrap();
        assert_eq!(path.edges().len(), 2);
        assert_eq!(waiters(&path)[0], chooser.id());
        assert!(matches!(path.edges()[0].awaited, Awaited::AnyReply { .. }));
        for answer in answers {
            assert_eq!(answer.wait().unwrap(), None);
        }
    });
}

// Moments.

#[test]
fn an_answer_that_comes_in_the_moment_of_the_wait_is_no_alarm() {
    in_pools(|system| {
        for _ in 0..500 {
            let [first, second] = [0, 1].map(|_| system.spawn(Player::default()));
            let (asked, back) = (second.clone(), first.clone());
            let (tell, told) = mpsc::channel();
            // The second one asks back as soon as it has answered; the first one may not have
            // heard of it yet.
            let answer = first.ask(act(move |_, _| {
                let asking = act(move |_, ctx| {
                    let ask_back = act(move |_, _| {
                        let path = of_ask(back.ask(Note(1)).wait());
                        tell.send(path).expect("the test listens");
                    });
                    ctx.addr().send(ask_back).expect("there is room");
                });
                of_ask(asked.ask(asking).wait())
            }));
            assert_eq!(answer.wait_for(PATIENCE).unwrap(), None);
            assert_eq!(told.recv_timeout(PATIENCE).expect("it tells"), None);
        }
    });
}

#[test]
fn a_deadline_in_the_circle_keeps_nobody_from_being_told_at_once() {
    under_seeds(|stepper| {
        let began = stepper.clock().now();
        for way in [Way::AnswerInTime, Way::RoomInTime, Way::EndInTime] {
            let ring = [way; 3].map(|way| Member::new(stepper.system(), way));
            close_ring(&ring, &|| run(stepper));
        }
        assert_eq!(stepper.clock().now(), began);
    });
}

#[test]
fn a_wait_whose_deadline_has_passed_is_in_no_circle() {
    under_seeds(|stepper| {
        let [first, second] = players(stepper);
        let other = second.clone();
        let asked = first.ask(act(move |_, _| other.ask(Note(1)).wait_for(SECOND)));
        // In the moment in which the first one's time is up, the second one asks back.
        let told = sleep_then_ask(&second, &first);
        let outcome = asked.wait().unwrap();
        assert!(matches!(outcome, Err(AskError::TimedOut(_)) | Ok(())));
        assert_eq!(told.wait().unwrap(), None);
    });
}

#[test]
fn a_circle_that_is_closed_again_is_told_again() {
    under_seeds(|stepper| {
        let [first, second] = players(stepper);
        for _ in 0..5 {
            let (asked, back) = (second.clone(), first.clone());
            // The one that is told asks again at once, and is told again.
            let told = first.ask(act(move |_, ctx| {
                ctx.sleep(SECOND).expect("nobody ends the sleep");
                [(); 3].map(|()| waiters(&path_of(asked.ask(Note(1)).wait())))
            }));
            stepper.run();
            let answer = ask(&second, &back);
            let circle = vec![first.id(), second.id()];
            assert_eq!(told.wait().unwrap(), [(); 3].map(|()| circle.clone()));
            assert_eq!(answer.wait().unwrap(), None);
        }
    });
}

#[test]
fn whoever_waits_for_a_circle_in_which_it_is_not_is_not_told() {
    for way in WAYS {
        under_seeds(|stepper| {
            let system = stepper.system();
            let [outsider, in_front] = players(stepper);
            let options = system.actor().capacity(1);
            let first = options.spawn(Player::default()).unwrap();
            let second = system.spawn(Player::default());
            let told = sleep_then_ask(&first, &second);
            let asked = sleep_then_ask(&second, &first);
            stepper.run();
            let other = first.clone();
            let waited = outsider.ask(act(move |_, _| way.wait_for(&other)));
            let before = ask(&in_front, &outsider);
            stepper.run();
            let paths = [told.wait().unwrap(), asked.wait().unwrap()];
            let told: Vec<_> = paths.iter().flatten().collect();
            assert_eq!(told.len(), 1, "{paths:?}");
            let mut circle = waiters(told[0]);
            circle.sort_unstable();
            assert_eq!(circle, [first.id(), second.id()]);
            if way.is_for_the_end() {
                first.stop();
            }
            assert_eq!(waited.wait().unwrap(), None);
            assert_eq!(before.wait().unwrap(), None);
        });
    }
}
