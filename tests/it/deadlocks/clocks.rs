//! Waits with limits that are over, and waits through systems with different clocks.

use std::sync::mpsc;
use std::time::Duration;

use greenroom::testkit::ManualClock;
use greenroom::{AskError, SendError, System};

use super::{HOUR, SECOND, of_ask, wait_of};
use crate::support::{
    Borrow, Debtor, Note, Player, act, end_of, eventually, in_a_pool, in_time, under_seed,
    under_seeds,
};

#[test]
fn a_limit_of_zero_is_over_before_it_could_close_a_circle() {
    under_seeds(|stepper| {
        let options = stepper.system().actor().capacity(1);
        let player = options.spawn(Player::default()).unwrap();
        let outcomes = player.ask(act(|_, ctx| {
            let me = ctx.addr();
            let asked = me.ask(Note(1)).wait_for(Duration::ZERO);
            let joined = me.join_for(Duration::ZERO);
            while me.try_send(Note(1)).is_ok() {}
            (asked, joined, me.send_for(Note(2), Duration::ZERO))
        }));
        let (asked, joined, sent) = outcomes.wait().unwrap();
        assert!(matches!(asked, Err(AskError::TimedOut(_))), "{asked:?}");
        assert_eq!(joined, Ok(None));
        assert!(matches!(sent, Err(SendError::TimedOut(_))));
    });
}

#[test]
fn a_wait_for_an_actor_of_another_system_shows_by_the_clock_of_the_one_who_waits() {
    under_seed(1, |stepper| {
        in_a_pool(1, |system| {
            let debtor = system.spawn(Debtor::default());
            let player = stepper.system().spawn(Player::default());
            player
                .send(act(move |_, _| drop(debtor.ask(Borrow).wait())))
                .unwrap();
            stepper.advance(SECOND);
            stepper.advance(SECOND);
            let wait = wait_of(stepper.system(), &player).expect("it waits");
            assert_eq!(wait.waited, 2 * SECOND);
            player.kill();
            end_of(&player);
        });
    });
}

#[test]
fn a_limit_by_another_systems_clock_hides_no_circle() {
    under_seed(1, |stepper| {
        let clock = ManualClock::new();
        let system = System::builder().workers(1).clock(&clock).build().unwrap();
        // The clock of the one who waits is ahead of the clock by which its limit counts.
        stepper.advance(10 * HOUR);
        let (here, there) = (
            stepper.system().spawn(Player::default()),
            system.spawn(Player::default()),
        );
        let (release, released) = mpsc::channel::<()>();
        let back = here.clone();
        let told = there.ask(act(move |_, _| {
            released.recv().expect("the test releases it");
            of_ask(back.ask(Note(1)).wait())
        }));
        let asked = there.clone();
        let waited = here.ask(act(move |_, _| of_ask(asked.ask(Note(1)).wait_for(HOUR))));
        stepper.run();
        assert!(wait_of(stepper.system(), &here).is_some());
        release.send(()).expect("it holds still");
        // Its wait is shown for a moment before it is refused, so that says nothing.
        eventually("the second one is told", || told.is_ready());
        assert!(told.wait().unwrap().is_some());
        eventually("the first one goes on", || {
            stepper.run();
            waited.is_ready()
        });
        assert_eq!(waited.wait().unwrap(), None);
        assert!(in_time(move || system.shutdown(SECOND)).is_clean());
    });
}
