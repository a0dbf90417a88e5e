//! What a system tells of its waits, and in which words.

use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Addr, AskError, Awaited, SendError, StopReason, System, Wait, WaitError, wait_any,
};

use super::{HOUR, Later, SECOND, of_ask, path_of, wait_of};
use crate::support::{
    Act, Borrow, Debtor, Note, Player, act, end_of, eventually, under_seed, under_seeds,
};

/// What the actor has waited in all.
fn waited(stepper: &Stepper, player: &Addr<Player>) -> Duration {
    let actors = stepper.system().snapshot().actors;
    let actor = actors.iter().find(|actor| actor.id == player.id());
    actor.expect("it lives").waited
}

/// Somebody named, who sleeps for an hour with a full mailbox of one.
fn sleeper(stepper: &Stepper) -> Addr<Player> {
    let options = stepper.system().actor().capacity(1).name("sleeper");
    let sleeper = options.spawn(Player::default()).unwrap();
    sleeper.send(sleep()).unwrap();
    stepper.run();
    sleeper.send(Note(0)).unwrap();
    sleeper
}

fn sleep() -> Act<()> {
    act(|_, ctx| drop(ctx.sleep(HOUR)))
}

/// Has a new actor wait, and returns how that looks a second after it has begun.
fn picture(
    stepper: &Stepper,
    wait: impl FnOnce(&mut Player, &mut greenroom::Context<Player>) + Send + 'static,
) -> Wait {
    let player = stepper.system().spawn(Player::default());
    player.send(act(wait)).unwrap();
    stepper.run();
    stepper.advance(SECOND);
    let wait = wait_of(stepper.system(), &player).expect("it waits");
    assert_eq!(wait.waited, SECOND);
    assert!(wait.actor.actor_type.ends_with("Player"));
    assert!(wait.message_type.expect("a handler waits").contains("Act<"));
    player.kill();
    end_of(&player);
    assert_eq!(wait_of(stepper.system(), &player), None);
    wait
}

/// The words for what is awaited, with the paths of types cut off.
fn words(wait: &Wait) -> String {
    plain(&wait.awaited.to_string())
}

/// A text with types instead of their paths.
fn plain(text: &str) -> String {
    let pieces = text.split_inclusive('`');
    let without_path = |piece: &'_ str| piece.rsplit("::").next().map(str::to_owned);
    pieces.filter_map(without_path).collect()
}

#[test]
fn each_wait_shows_for_whom_and_for_what_it_is() {
    under_seeds(|stepper| {
        let asleep = sleeper(stepper);
        let debtor = stepper.system().actor().name("debtor");
        let debtor = debtor.spawn(Debtor::default()).unwrap();
        let who = format!("`Player` {} (sleeper)", asleep.id());
        let to = asleep.clone();
        let wait = picture(stepper, move |_, _| drop(to.ask(Note(1)).wait()));
        assert_eq!(words(&wait), format!("the answer of {who} to `Note`"));
        let Awaited::Reply { from, request_type } = wait.awaited else {
            panic!("it waits for an answer");
        };
        assert_eq!(from.id, asleep.id());
        assert_eq!(from.name.as_deref(), Some("sleeper"));
        assert_eq!(request_type, std::any::type_name::<Note>());
        let to = asleep.clone();
        let wait = picture(stepper, move |_, _| drop(to.ask(Later).wait()));
        let turn = format!("the turn of `Later`, which is queued at {who}");
        assert_eq!(words(&wait), turn);
        let to = debtor.clone();
        let wait = picture(stepper, move |_, _| drop(to.ask(Borrow).wait()));
        let from = format!("`Debtor` {} (debtor)", debtor.id());
        let put_off = format!("an answer to `Borrow` that {from} has put off");
        assert_eq!(words(&wait), put_off);
        let to = asleep.clone();
        let wait = picture(stepper, move |_, _| {
            let mut replies = vec![to.ask(act(|_, _| 1)), debtor.ask(Borrow)];
            drop(wait_any(&mut replies));
        });
        assert_eq!(words(&wait), format!("the first answer of {who}, {from}"));
        let to = asleep.clone();
        let wait = picture(stepper, move |_, _| drop(to.send(Note(1))));
        let room = format!("room for `Note` in the mailbox of {who}");
        assert_eq!(words(&wait), room);
        let to = asleep.clone();
        let wait = picture(stepper, move |_, _| drop(to.join()));
        assert_eq!(words(&wait), format!("the end of {who}"));
        let wait = picture(stepper, |_, ctx| drop(ctx.sleep(HOUR)));
        assert_eq!(wait.awaited, Awaited::Time);
        assert_eq!(words(&wait), "a moment");
        asleep.kill();
    });
}

#[test]
fn a_handler_that_shuts_a_system_down_waits_for_the_end_of_all() {
    under_seed(1, |stepper| {
        let other = greenroom::testkit::ManualClock::new();
        let system = System::builder().workers(1).clock(&other).build().unwrap();
        let debtor = system.spawn(Debtor::default());
        let keeper = system.clone();
        debtor.send(Borrow).unwrap();
        let player = system.spawn(Player::default());
        player
            .send(act(move |_, _| drop(keeper.shutdown(HOUR))))
            .unwrap();
        eventually("it waits", || wait_of(&system, &player).is_some());
        let wait = wait_of(&system, &player).expect("it waits");
        assert_eq!(wait.awaited, Awaited::Shutdown);
        assert_eq!(words(&wait), "the end of all actors");
        assert_eq!(wait.deadline, Some(other.now() + HOUR));
        other.advance(HOUR);
        end_of(&player);
        assert_eq!(stepper.run(), 0);
    });
}

#[test]
fn a_limit_shows_as_the_moment_at_which_it_is_over() {
    under_seeds(|stepper| {
        let asleep = sleeper(stepper);
        let began = stepper.clock().now();
        let limits: [fn(&Addr<Player>); 3] = [
            |to| drop(to.ask(Note(1)).wait_for(5 * SECOND)),
            |to| drop(to.send_for(Note(1), 5 * SECOND)),
            |to| drop(to.join_for(5 * SECOND)),
        ];
        for (number, limit) in (0..).zip(limits) {
            let to = asleep.clone();
            let wait = picture(stepper, move |_, _| limit(&to));
            assert_eq!(wait.deadline, Some(began + (5 + number) * SECOND));
        }
        let wait = picture(stepper, |_, ctx| drop(ctx.sleep(5 * SECOND)));
        assert_eq!(wait.deadline, Some(began + 8 * SECOND));
        let to = asleep.clone();
        let wait = picture(stepper, move |_, _| drop(to.join()));
        assert_eq!(wait.deadline, None);
        asleep.kill();
    });
}

#[test]
fn waits_are_shown_in_the_order_of_the_ids_with_exact_times_and_no_longer_than_they_last() {
    under_seeds(|stepper| {
        let players: Vec<_> = (0..10)
            .map(|_| stepper.system().spawn(Player::default()))
            .collect();
        for player in players.iter().rev() {
            player.send(sleep()).unwrap();
            stepper.advance(SECOND);
        }
        let waits = stepper.system().waits();
        let shown: Vec<_> = waits
            .iter()
            .map(|wait| (wait.actor.id, wait.waited))
            .collect();
        let expected: Vec<_> = (1..)
            .zip(&players)
            .map(|(n, player)| (player.id(), n * SECOND))
            .collect();
        assert_eq!(shown, expected);
        stepper.advance(HOUR - 10 * SECOND);
        assert_eq!(stepper.system().waits().len(), 9);
        stepper.advance(10 * SECOND);
        assert_eq!(stepper.system().waits(), []);
    });
}

#[test]
fn a_hook_that_waits_shows_without_a_message() {
    under_seeds(|stepper| {
        let beginner = Player::beginning_with(|ctx| drop(ctx.sleep(SECOND)));
        let beginner = stepper.system().spawn(beginner);
        let ender = Player::ending_with(|_, ctx| drop(ctx.sleep(SECOND)));
        let ender = stepper.system().spawn(ender);
        ender.stop();
        stepper.run();
        for player in [&beginner, &ender] {
            let wait = wait_of(stepper.system(), player).expect("it waits");
            assert_eq!(wait.message_type, None);
            assert!(plain(&wait.to_string()).ends_with(" has waited 0ns for a moment"));
        }
        stepper.advance(SECOND);
        assert_eq!(stepper.system().waits(), []);
    });
}

#[test]
fn the_time_waited_is_summed_up_exactly() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let other = stepper.system().spawn(Player::default());
        assert_eq!(waited(stepper, &player), Duration::ZERO);
        let asked = other.clone();
        player
            .ask(act(move |_, ctx| {
                ctx.sleep(SECOND).expect("nobody ends the sleep");
                of_ask(asked.ask(act(|_, ctx| ctx.sleep(2 * SECOND))).wait());
                // It is there already, or refused at once: no time passes.
                ctx.addr().join().expect_err("it does not end");
                path_of(ctx.addr().ask(Note(1)).wait());
                let late = asked.ask(act(|_, ctx| ctx.sleep(HOUR)));
                late.wait_for(4 * SECOND).expect_err("an hour is long");
            }))
            .wait()
            .unwrap();
        assert_eq!(waited(stepper, &player), 7 * SECOND);
        player.send(sleep()).unwrap();
        stepper.advance(8 * SECOND);
        assert_eq!(
            waited(stepper, &player),
            7 * SECOND,
            "but for the wait in hand"
        );
        stepper.advance(HOUR);
        assert_eq!(waited(stepper, &player), HOUR + 7 * SECOND);
    });
}

#[test]
fn the_time_waited_of_a_killed_actor_counts_up_to_the_kill() {
    under_seeds(|stepper| {
        let (tell, told) = std::sync::mpsc::channel();
        let system = stepper.system().clone();
        let player = stepper.system().spawn(Player::ending_with(move |_, ctx| {
            let actors = system.snapshot().actors;
            let me = actors.iter().find(|actor| actor.id == ctx.id());
            tell.send(me.map(|me| me.waited)).expect("the test listens");
        }));
        player.send(sleep()).unwrap();
        stepper.advance(3 * SECOND);
        player.kill();
        assert_eq!(end_of(&player), StopReason::Killed);
        assert_eq!(told.recv().unwrap(), Some(3 * SECOND));
    });
}

// Words.

/// The texts of the errors when one actor waits in three ways for another that waits for it, and
/// both of them.
fn texts_of_two(stepper: &Stepper) -> ([String; 3], [Addr<Player>; 2]) {
    let named = |name: &str| stepper.system().actor().name(name).capacity(1);
    let first = named("first").spawn(Player::default()).unwrap();
    let second = named("second").spawn(Player::default()).unwrap();
    let (asked, back) = (second.clone(), first.clone());
    let texts = first.ask(act(move |_, ctx| {
        ctx.sleep(SECOND).expect("nobody ends the sleep");
        let Err(error) = asked.ask(Note(1)).wait() else {
            panic!("it is no answer");
        };
        assert!(matches!(error, AskError::WouldDeadlock { .. }));
        while asked.try_send(Note(0)).is_ok() {}
        let Err(of_send) = asked.send(Note(1)) else {
            panic!("there is no room");
        };
        assert!(matches!(of_send, SendError::WouldDeadlock { .. }));
        let same = of_send.without_message();
        assert_eq!(of_send.to_string(), same.to_string());
        let debug = format!("{of_send:?}");
        assert!(debug.starts_with("WouldDeadlock { path: ") && debug.ends_with(", .. }"));
        let Err(of_join) = asked.join() else {
            panic!("it has not ended");
        };
        assert!(matches!(of_join, WaitError::WouldDeadlock { .. }));
        assert_eq!(of_join, of_join.clone());
        [error.to_string(), of_send.to_string(), of_join.to_string()]
    }));
    stepper.run();
    let answer = second.ask(act(move |_, _| of_ask(back.ask(Note(2)).wait())));
    let texts = texts.wait().unwrap();
    assert_eq!(answer.wait().unwrap(), None);
    (texts.map(|text| plain(&text)), [first, second])
}

#[test]
fn the_errors_say_who_waits_for_what_of_whom() {
    under_seeds(|stepper| {
        let (texts, [first, second]) = texts_of_two(stepper);
        let first = format!("`Player` {} (first)", first.id());
        let second = format!("`Player` {} (second)", second.id());
        let back = format!("{second} waits for the answer of {first} to `Note`");
        let answer = format!(
            "the wait for the answer would never end: {first} waits for \
             the answer of {second} to `Note`; {back}"
        );
        let room = format!(
            "the wait for room would never end: {first} waits for \
             room for `Note` in the mailbox of {second}; {back}"
        );
        let end =
            format!("the wait would never end: {first} waits for the end of {second}; {back}");
        assert_eq!(texts, [answer, room, end]);
    });
}

#[test]
fn a_wait_says_who_waits_in_which_message_how_long_and_for_what() {
    under_seeds(|stepper| {
        let asleep = sleeper(stepper);
        let wait = wait_of(stepper.system(), &asleep).expect("it waits");
        let text = wait.to_string();
        let id = asleep.id();
        assert_eq!(
            wait.actor.to_string(),
            format!("`{}` {id} (sleeper)", wait.actor.actor_type)
        );
        let message = wait.message_type.expect("a handler waits");
        assert_eq!(
            text,
            format!("{} in `{message}` has waited 0ns for a moment", wait.actor)
        );
        let unnamed = stepper.system().spawn(Player::default());
        unnamed.send(sleep()).unwrap();
        stepper.advance(SECOND / 2);
        let wait = wait_of(stepper.system(), &unnamed).expect("it waits");
        assert_eq!(
            wait.actor.to_string(),
            format!("`{}` {}", wait.actor.actor_type, unnamed.id())
        );
        assert!(wait.to_string().ends_with(" has waited 500ms for a moment"));
        [asleep, unnamed].iter().for_each(Addr::kill);
    });
}
