//! Idle timeouts: due so long after the last handler, and never while there is something to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom::testkit::Stepper;
use greenroom::{Addr, AskError, Context, Overflow, StopReason};

use super::{NANO, SECOND, note_after, notes, sleep_for, timers};
use crate::support::{
    Borrow, Debtor, Note, Numbers, PATIENCE, Player, act, end_of, eventually, in_pools,
    telling_seed, under_seeds,
};

/// What an idle timeout notes.
const IDLE: u64 = 1_000;

/// A player whose idle timeout notes, set in `started`.
fn idler(limit: Duration) -> Player {
    Player::beginning_with(move |ctx| ctx.set_idle_timeout(limit, || Note(IDLE)))
}

/// When a player noted that it was idle. It is ended by this, so that looking is no activity.
fn idle_at(player: &Addr<Player>, begun: Instant) -> Vec<Duration> {
    let notes = notes(player, begun).into_iter();
    let idle = notes.filter(|(_, number)| *number == IDLE);
    let idle = idle.map(|(at, _)| at).collect();
    player.stop();
    end_of(player);
    idle
}

#[test]
fn it_comes_when_nothing_was_handled_for_so_long_and_again_after_each_further_time() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        stepper.advance(SECOND - NANO);
        assert_eq!(stepper.system().snapshot().actors[0].counts.handled, 0);
        stepper.advance(NANO);
        assert_eq!(stepper.system().snapshot().actors[0].counts.handled, 1);
        assert_eq!(timers(stepper), 1);
        stepper.advance(4 * SECOND);
        let expected = [1, 2, 3, 4, 5].map(|second| second * SECOND);
        assert_eq!(idle_at(&player, begun), expected);
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn it_is_due_to_the_nanosecond_after_the_last_message() {
    under_seeds(|stepper| {
        let mut numbers = Numbers(stepper.seed());
        let player = stepper.system().spawn(idler(SECOND));
        stepper.run();
        let begun = stepper.clock().now();
        let mut last = Duration::ZERO;
        let mut expected = Vec::new();
        for _ in 0..40 {
            let step = Duration::from_nanos(numbers.below(1_600_000_000));
            let now = stepper.clock().now() - begun;
            // Each of its own messages is handled at once, and begins the time anew.
            while last + SECOND <= now + step {
                last += SECOND;
                expected.push(last);
            }
            stepper.advance(step);
            player.send(Note(0)).unwrap();
            stepper.run();
            last = now + step;
        }
        assert_eq!(idle_at(&player, begun), expected);
    });
}

#[test]
fn the_time_of_a_handler_with_its_waits_does_not_count() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        stepper.advance(SECOND / 2);
        player.send(sleep_for(10 * SECOND)).unwrap();
        stepper.advance(SECOND);
        // Only the sleep's: the timeout is set again when there is rest.
        assert_eq!(timers(stepper), 1);
        stepper.advance(10 * SECOND);
        assert_eq!(idle_at(&player, begun), [11 * SECOND + SECOND / 2]);
    });
}

#[test]
fn a_handler_that_sets_it_counts_as_the_last_one_when_it_ends() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let set = act(|_, ctx: &mut Context<Player>| {
            ctx.set_idle_timeout(SECOND, || Note(IDLE));
            ctx.sleep(3 * SECOND).expect("nobody ends the sleep");
        });
        player.send(set).unwrap();
        stepper.advance(4 * SECOND);
        assert_eq!(idle_at(&player, begun), [4 * SECOND]);
    });
}

#[test]
fn it_does_not_come_while_messages_are_queued() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        // Each is queued before the last has ended.
        for number in 0..10 {
            player.send(sleep_for(2 * SECOND)).unwrap();
            player.send(Note(number)).unwrap();
        }
        stepper.advance(20 * SECOND);
        assert_eq!(stepper.system().snapshot().actors[0].counts.handled, 20);
        stepper.advance(SECOND);
        assert_eq!(idle_at(&player, begun), [21 * SECOND]);
    });
}

#[test]
fn a_message_that_is_due_in_the_same_instant_is_handled_first_or_begins_the_time_anew() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        // Its timer is set before the timeout's, at the end of this turn, so it fires first.
        note_after(&player, SECOND, 1);
        stepper.advance(3 * SECOND);
        assert_eq!(idle_at(&player, begun), [2 * SECOND, 3 * SECOND]);
    });
}

#[test]
fn what_is_cancelled_is_no_activity() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        stepper.advance(SECOND / 2);
        // A request that is withdrawn while it is queued.
        drop(player.ask(act(|_, _| ())));
        stepper.run();
        let counts = stepper.system().snapshot().actors[0].counts;
        assert_eq!((counts.handled, counts.cancelled), (0, 1));
        stepper.advance(SECOND / 2);
        assert_eq!(idle_at(&player, begun), [SECOND]);
    });
}

#[test]
fn a_wait_for_an_answer_is_no_rest() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let debtor = stepper.system().spawn(Debtor::default());
        let begun = stepper.clock().now();
        let ask = act(move |_, _| {
            let outcome = debtor.ask(Borrow).wait_for(5 * SECOND);
            assert!(matches!(outcome, Err(AskError::TimedOut(_))));
        });
        player.send(ask).unwrap();
        stepper.advance(6 * SECOND);
        assert_eq!(idle_at(&player, begun), [6 * SECOND]);
    });
}

#[test]
fn a_new_one_takes_the_place_of_the_old() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        stepper.advance(SECOND / 2);
        let set = act(|_, ctx: &mut Context<Player>| {
            ctx.set_idle_timeout(3 * SECOND, || Note(IDLE));
        });
        player.ask(set).wait().unwrap();
        assert_eq!(timers(stepper), 1);
        stepper.advance(7 * SECOND);
        let expected = [SECOND / 2 + 3 * SECOND, SECOND / 2 + 6 * SECOND];
        assert_eq!(idle_at(&player, begun), expected);
    });
}

#[test]
fn one_that_is_cleared_does_not_come() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        let clear = || {
            let clear = act(|_, ctx: &mut Context<Player>| ctx.clear_idle_timeout());
            player.ask(clear).wait().unwrap()
        };
        stepper.advance(SECOND);
        assert!(clear());
        assert!(!clear(), "there is none any more");
        assert_eq!(timers(stepper), 0);
        stepper.advance(10 * SECOND);
        assert_eq!(idle_at(&player, begun), [SECOND]);
    });
}

#[test]
fn a_message_that_was_queued_before_it_is_handled_before_it() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        stepper.run();
        // The clock is moved without a turn, so its message is queued and waits.
        stepper.clock().advance(SECOND);
        assert_eq!(stepper.system().snapshot().actors[0].counts.queued, 1);
        player.send(Note(1)).unwrap();
        stepper.run();
        assert_eq!(notes(&player, begun), [(SECOND, IDLE), (SECOND, 1)]);
        // With something in the queue it does not come.
        player.send(Note(2)).unwrap();
        stepper.clock().advance(SECOND);
        assert_eq!(stepper.system().snapshot().actors[0].counts.queued, 1);
        stepper.advance(SECOND);
        let expected = [SECOND, 3 * SECOND];
        assert_eq!(idle_at(&player, begun), expected);
    });
}

#[test]
fn a_closure_that_panics_clears_it_and_the_actor_goes_on() {
    under_seeds(|stepper| {
        let kept = Arc::new(());
        let held = kept.clone();
        let player = stepper.system().spawn(Player::beginning_with(move |ctx| {
            ctx.set_idle_timeout(SECOND, move || -> Note { panic!("falls with {held:?}") });
        }));
        let begun = stepper.clock().now();
        stepper.advance(5 * SECOND);
        assert_eq!(Arc::strong_count(&kept), 1);
        assert_eq!(timers(stepper), 0);
        let clear = act(|_, ctx: &mut Context<Player>| ctx.clear_idle_timeout());
        assert!(!player.ask(clear).wait().unwrap(), "there is none any more");
        assert_eq!(idle_at(&player, begun), []);
    });
}

#[test]
fn a_timeout_of_zero_is_a_panic_of_the_handler_that_wants_it() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(Duration::ZERO));
        assert!(matches!(end_of(&player), StopReason::Panicked { .. }));
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn it_does_not_keep_its_actor_and_ends_with_it() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        stepper.advance(3 * SECOND);
        let weak = player.downgrade();
        drop(player);
        stepper.run();
        assert!(weak.upgrade().is_none());
        assert_eq!(timers(stepper), 0);
        assert_eq!(stepper.system().snapshot().actors, []);
    });
}

#[test]
fn a_drain_does_not_wait_for_it() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(idler(SECOND));
        let begun = stepper.clock().now();
        player.send(sleep_for(5 * SECOND)).unwrap();
        stepper.run();
        player.drain();
        assert_eq!(end_of(&player), StopReason::Drained);
        assert_eq!(stepper.clock().now() - begun, 5 * SECOND);
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn the_smallest_mailbox_has_room_for_it_whatever_its_policy() {
    under_seeds(|stepper| {
        for overflow in [Overflow::Block, Overflow::Reject, Overflow::DropNewest] {
            let player = stepper.system().actor().capacity(1).overflow(overflow);
            let player = player.spawn(idler(SECOND)).unwrap();
            let begun = stepper.clock().now();
            player.send(sleep_for(2 * SECOND)).unwrap();
            stepper.run();
            player.send(Note(0)).unwrap();
            stepper.advance(4 * SECOND);
            let counts = stepper.system().snapshot().actors[0].counts;
            assert_eq!((counts.dropped, counts.rejected), (0, 0), "{counts}");
            assert_eq!(idle_at(&player, begun), [3 * SECOND, 4 * SECOND]);
        }
    });
}

/// An actor that runs on its own thread is stepped like the others; a pool's one is not.
fn idle_again_and_again(stepper: &Stepper, player: &Addr<Player>) {
    let begun = stepper.clock().now();
    stepper.advance(3 * SECOND);
    let expected = [1, 2, 3].map(|second| second * SECOND);
    assert_eq!(idle_at(player, begun), expected);
}

#[test]
fn actors_on_threads_of_their_own_and_ones_that_callers_run_have_it_too() {
    under_seeds(|stepper| {
        let spawner = stepper.system().actor();
        let player = spawner.spawn_thread(|| idler(SECOND)).unwrap();
        idle_again_and_again(stepper, &player);
        let spawner = stepper.system().actor().run_on_callers();
        let player = spawner.spawn(idler(SECOND)).unwrap();
        idle_again_and_again(stepper, &player);
    });
}

// On real threads.

/// Each note of the timeout that comes less than `limit` after the note before.
fn early(notes: &[(Instant, u64)], limit: Duration) -> usize {
    let early = |pair: &&[(Instant, u64)]| pair[1].1 == IDLE && pair[1].0 - pair[0].0 < limit;
    notes.windows(2).filter(early).count()
}

#[test]
fn it_is_never_early_and_never_forgotten_while_others_send() {
    in_pools(|system| {
        telling_seed(11, || {
            let limit = Duration::from_micros(30);
            let player = system.spawn(idler(limit));
            let mut numbers = Numbers(11);
            let look = || {
                let notes = player.ask(act(|player, _| player.notes.clone()));
                notes.wait_for(PATIENCE).unwrap()
            };
            for _ in 0..300 {
                for _ in 0..numbers.below(30) {
                    player.send(Note(0)).unwrap();
                    for _ in 0..numbers.below(4_000) {
                        std::hint::spin_loop();
                    }
                }
                let idle = player.ask(act(|player, _| {
                    let idle = player.notes.iter().filter(|(_, number)| *number == IDLE);
                    idle.count()
                }));
                let before = idle.wait_for(PATIENCE).unwrap();
                // Nobody disturbs the actor until it has said that it is idle.
                let counts = || system.snapshot().actors[0].counts.handled;
                let handled = counts();
                eventually("it comes", || counts() > handled);
                let notes = look();
                let after = notes.iter().filter(|(_, number)| *number == IDLE).count();
                assert!(after > before, "{after}");
            }
            assert_eq!(early(&look(), limit), 0);
        });
    });
}
