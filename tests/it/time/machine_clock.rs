//! The machine's own clock: how late a timer is cannot be promised, but none is early or lost.

use std::time::Duration;

use greenroom::{AskError, Stage};

use super::{SECOND, delays};
use crate::support::{Borrow, Debtor, Note, PATIENCE, Player, act, end_of, eventually, in_pools};

/// Up to some four milliseconds.
fn short_delays(count: u64) -> impl Iterator<Item = Duration> {
    delays(count).map(|delay| delay / 4096)
}

#[test]
fn no_timer_is_early_and_none_is_lost() {
    in_pools(|system| {
        let players: Vec<_> = (0..8).map(|_| system.spawn(Player::default())).collect();
        for player in &players {
            let set = player.ask(act(|_, ctx| {
                // Whoever fires timers would sleep for long.
                ctx.send_after(3600 * SECOND, Note(0));
                for delay in short_delays(100) {
                    let due = ctx.now() + delay;
                    let check = act(move |player: &mut Player, ctx| {
                        assert!(ctx.now() >= due, "it is early");
                        player.notes.push((due, 1));
                    });
                    ctx.send_after(delay, check);
                }
            }));
            set.wait_for(PATIENCE).unwrap();
        }
        for player in &players {
            eventually("all have come", || {
                let came = player.ask(act(|player, _| player.notes.len()));
                came.wait_for(PATIENCE).unwrap() == 100
            });
            player.stop();
            end_of(player);
        }
        assert_eq!(system.snapshot().timers, 0);
    });
}

#[test]
fn no_sleep_is_short_and_every_sleeper_wakes_up() {
    in_pools(|system| {
        let players: Vec<_> = (0..100).map(|_| system.spawn(Player::default())).collect();
        let sleeps: Vec<_> = players
            .iter()
            .zip(short_delays(100))
            .map(|(player, delay)| {
                player.ask(act(move |_, ctx| {
                    let due = ctx.now() + delay;
                    ctx.sleep(delay).expect("nobody ends the sleep");
                    ctx.now() >= due
                }))
            })
            .collect();
        for sleep in sleeps {
            assert!(sleep.wait_for(PATIENCE).unwrap(), "it is short");
        }
    });
}

#[test]
fn a_deadline_ends_a_wait_on_a_plain_thread_and_in_a_handler() {
    in_pools(|system| {
        let debtor = system.spawn(Debtor::default());
        let limit = Duration::from_millis(2);
        let due = system.now() + limit;
        let outcome = debtor.ask(Borrow).wait_for(limit);
        assert!(matches!(
            outcome,
            Err(AskError::TimedOut(Stage::Running | Stage::Queued))
        ));
        assert!(system.now() >= due, "it is early");
        let player = system.spawn(Player::default());
        let asked = player.ask(act(move |_, ctx| {
            let due = ctx.now() + limit;
            let outcome = debtor.ask(Borrow).wait_for(limit);
            (outcome, ctx.now() >= due)
        }));
        let (outcome, in_time) = asked.wait_for(PATIENCE).unwrap();
        assert!(matches!(outcome, Err(AskError::TimedOut(_))));
        assert!(in_time, "it is early");
    });
}

#[test]
fn an_interval_ticks_until_it_is_cancelled_and_never_early() {
    in_pools(|system| {
        let player = system.spawn(Player::default());
        let period = Duration::from_micros(200);
        let begun = system.now();
        let set = player.ask(act(move |_, ctx| ctx.interval(period, || Note(0))));
        let timer = set.wait_for(PATIENCE).unwrap();
        let notes = || {
            let notes = player.ask(act(|player, _| player.notes.clone()));
            notes.wait_for(PATIENCE).unwrap()
        };
        eventually("it ticks", || notes().len() >= 20);
        assert!(timer.cancel());
        for (number, (at, _)) in (1..).zip(notes()) {
            assert!(at >= begun + number * period, "tick {number} is early");
        }
        assert_eq!(system.snapshot().timers, 0);
    });
}
