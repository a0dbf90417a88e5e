//! The feed of dead letters: what is in it, why, and how much it holds.

use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, DeadLetterFeed, LossReason, Overflow, StopReason};

use crate::support::{Note, Player, act, end_of, in_pools, under_seeds};

const SECOND: Duration = Duration::from_secs(1);

/// All that is in the feed.
fn reasons(feed: &DeadLetterFeed) -> Vec<LossReason> {
    std::iter::from_fn(|| feed.try_next())
        .map(|letter| letter.reason)
        .collect()
}

/// A player who sleeps for a second with a full mailbox of one.
fn full(stepper: &Stepper, overflow: Overflow) -> Addr<Player> {
    let options = stepper.system().actor().capacity(1).overflow(overflow);
    let player = options.spawn(Player::default()).unwrap();
    let nap = act(|_, ctx| ctx.sleep(SECOND).expect("nobody ends the sleep"));
    player.send(nap).unwrap();
    stepper.run();
    player.send(Note(0)).unwrap();
    player
}

#[test]
fn a_letter_says_whose_message_it_was_of_which_type_and_why_it_was_lost() {
    under_seeds(|stepper| {
        let feed = stepper.system().dead_letters();
        let named = stepper.system().actor().name("nell");
        let named = named.spawn(Player::default()).unwrap();
        let nameless = stepper.system().spawn(Player::default());
        for player in [&named, &nameless] {
            player.send(Note(1)).unwrap();
            player.stop();
            end_of(player);
        }
        let letters = [feed.try_next(), feed.try_next()].map(|letter| letter.expect("it is lost"));
        assert_eq!(letters[0].actor, named.id());
        assert_eq!(letters[0].name.as_deref(), Some("nell"));
        assert!(letters[0].actor_type.ends_with("::Player"));
        assert!(letters[0].message_type.ends_with("::Note"));
        assert_eq!(letters[0].reason, LossReason::Stopped(StopReason::Stopped));
        assert_eq!((letters[1].actor, &letters[1].name), (nameless.id(), &None));
        let text = letters[0].to_string();
        for part in ["Note`", "Player`", "nell", "it was stopped"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert_eq!(feed.try_next(), None);
    });
}

#[test]
fn what_was_queued_when_its_actor_ended_is_lost_for_the_reason_of_that_end() {
    under_seeds(|stepper| {
        let feed = stepper.system().dead_letters();
        let ends: [fn(&Addr<Player>); 2] = [Addr::stop, Addr::kill];
        for (end, reason) in ends
            .into_iter()
            .zip([StopReason::Stopped, StopReason::Killed])
        {
            let player = stepper.system().spawn(Player::default());
            player.send(Note(1)).unwrap();
            drop(player.ask(Note(2)));
            end(&player);
            assert_eq!(end_of(&player), reason);
            assert_eq!(reasons(&feed), vec![LossReason::Stopped(reason); 2]);
        }
        let player = stepper.system().spawn(Player::default());
        player.send(act(|_, _| panic!("fell"))).unwrap();
        player.send(Note(1)).unwrap();
        let reason = end_of(&player);
        let StopReason::Panicked { message } = reason.clone() else {
            panic!("it panicked, but: {reason}");
        };
        assert_eq!(&*message, "fell");
        let expected = [LossReason::Panicked(message), LossReason::Stopped(reason)];
        assert_eq!(reasons(&feed), expected);
        // Whoever drains loses nothing.
        let player = stepper.system().spawn(Player::default());
        player.send(Note(1)).unwrap();
        player.drain();
        assert_eq!(end_of(&player), StopReason::Drained);
        assert_eq!(reasons(&feed), []);
    });
}

#[test]
fn what_the_policy_drops_is_lost_and_what_comes_back_is_not() {
    under_seeds(|stepper| {
        let feed = stepper.system().dead_letters();
        let dropping = full(stepper, Overflow::DropNewest);
        dropping.send(Note(1)).unwrap();
        drop(dropping.ask(Note(2)));
        assert_eq!(
            reasons(&feed),
            [LossReason::DroppedByPolicy, LossReason::DroppedByPolicy]
        );
        assert!(dropping.try_send(Note(3)).is_err());
        let rejecting = full(stepper, Overflow::Reject);
        assert!(rejecting.send(Note(1)).is_err());
        drop(rejecting.ask(Note(2)));
        let waiting = full(stepper, Overflow::BlockFor(SECOND / 2));
        assert!(waiting.send(Note(1)).is_err());
        assert_eq!(reasons(&feed), []);
    });
}

#[test]
fn a_request_that_was_withdrawn_is_not_lost() {
    under_seeds(|stepper| {
        let feed = stepper.system().dead_letters();
        let player = stepper.system().spawn(Player::default());
        drop(player.ask(Note(1)));
        stepper.run();
        assert_eq!(reasons(&feed), []);
    });
}

#[test]
fn a_feed_holds_so_many_letters_and_counts_those_that_it_missed_to_the_unit() {
    let capacity = DeadLetterFeed::CAPACITY;
    under_seeds(|stepper| {
        let full_one = stepper.system().dead_letters();
        let dropping = full(stepper, Overflow::DropNewest);
        let lose = |count: usize| {
            for _ in 0..count {
                dropping.send(Note(1)).unwrap();
            }
        };
        lose(capacity);
        assert_eq!(full_one.missed(), 0);
        lose(7);
        assert_eq!(full_one.missed(), 7);
        // A feed has what comes after its beginning only.
        let later = stepper.system().dead_letters();
        lose(5);
        assert_eq!((full_one.missed(), later.missed()), (12, 0));
        assert_eq!(reasons(&later).len(), 5);
        assert_eq!(reasons(&full_one).len(), capacity);
        // There is room again.
        lose(3);
        assert_eq!((reasons(&full_one).len(), full_one.missed()), (3, 12));
        drop(later);
        lose(1);
        assert_eq!(reasons(&full_one).len(), 1);
    });
}

#[test]
fn a_full_feed_keeps_the_oldest_letters() {
    under_seeds(|stepper| {
        let feed = stepper.system().dead_letters();
        let players = [0, 1].map(|_| stepper.system().spawn(Player::default()));
        for player in &players {
            for _ in 0..DeadLetterFeed::CAPACITY - 24 {
                player.send(Note(1)).unwrap();
            }
            player.stop();
            end_of(player);
        }
        let ids: Vec<_> = std::iter::from_fn(|| feed.try_next())
            .map(|letter| letter.actor)
            .collect();
        let of_first = DeadLetterFeed::CAPACITY - 24;
        assert!(ids[..of_first].iter().all(|id| *id == players[0].id()));
        assert!(ids[of_first..].iter().all(|id| *id == players[1].id()));
        assert_eq!(
            (ids.len(), feed.missed()),
            (of_first + 24, of_first as u64 - 24)
        );
    });
}

#[test]
fn a_feed_that_nobody_reads_holds_up_nobody() {
    in_pools(|system| {
        let feed = system.dead_letters();
        for _ in 0..10 {
            let player = system.spawn(Player::default());
            player.send(act(|_, ctx| ctx.stop())).unwrap();
            while player.send(Note(1)).is_ok() {}
            end_of(&player);
        }
        let lost = system.snapshot().totals.dead_lettered;
        let read = reasons(&feed).len() as u64;
        assert_eq!(read + feed.missed(), lost);
    });
}
