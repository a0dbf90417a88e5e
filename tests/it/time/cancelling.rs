//! A timer that was cancelled is silent, wherever its message is by then.

use std::sync::Arc;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Interval, MissedTicks, Overflow, StopReason, Timer};

use super::{NANO, SECOND, note_after, notes, sleep_for, timers};
use crate::support::{
    Note, Numbers, PATIENCE, Player, act, end_of, eventually, in_pools, telling_seed, under_seeds,
};

/// The counts of the only actor.
fn counts(stepper: &Stepper) -> greenroom::Counts {
    stepper.system().snapshot().actors[0].counts
}

/// Each kind of timer, due after one second.
fn kinds() -> [fn(&Addr<Player>) -> Timer; 4] {
    fn every(player: &Addr<Player>, interval: Interval) -> Timer {
        let set = player.ask(act(move |_, ctx| ctx.interval(interval, || Note(7))));
        set.wait().unwrap()
    }
    [
        |player| note_after(player, SECOND, 7),
        |player| every(player, Interval::fixed_rate(SECOND)),
        |player| {
            let burst = Interval::fixed_rate(SECOND).missed_ticks(MissedTicks::Burst);
            every(player, burst)
        },
        |player| every(player, Interval::fixed_delay(SECOND)),
    ]
}

#[test]
fn a_queued_message_of_a_cancelled_timer_is_not_handled_and_counted_as_cancelled() {
    under_seeds(|stepper| {
        for set in kinds() {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let timer = set(&player);
            let before = counts(stepper);
            player.send(sleep_for(2 * SECOND + SECOND / 2)).unwrap();
            stepper.advance(2 * SECOND);
            assert_eq!(counts(stepper).queued, 1);
            assert!(timer.cancel(), "it was still to come");
            assert_eq!(
                counts(stepper).queued,
                1,
                "its place is taken until its turn"
            );
            assert!(!timer.cancel());
            stepper.advance(10 * SECOND);
            let after = counts(stepper);
            assert_eq!(after.cancelled, before.cancelled + 1, "{after}");
            assert_eq!(after.handled, before.handled + 1, "only the sleep: {after}");
            assert_eq!(notes(&player, begun), []);
            assert_eq!(timers(stepper), 0);
            player.stop();
            end_of(&player);
        }
    });
}

#[test]
fn a_message_that_stands_in_line_is_cancelled_too() {
    under_seeds(|stepper| {
        for set in kinds() {
            let player = stepper.system().actor().capacity(1);
            let player = player.spawn(Player::default()).unwrap();
            let begun = stepper.clock().now();
            let timer = set(&player);
            player.send(sleep_for(3 * SECOND)).unwrap();
            stepper.run();
            player.send(Note(1)).unwrap();
            stepper.advance(SECOND);
            assert_eq!(stepper.system().snapshot().actors[0].waiting_senders, 1);
            assert!(timer.cancel());
            stepper.advance(10 * SECOND);
            assert_eq!(notes(&player, begun), [(3 * SECOND, 1)]);
            assert_eq!(counts(stepper).cancelled, 1);
            player.stop();
            end_of(&player);
        }
    });
}

#[test]
fn what_a_queued_message_holds_is_dropped_by_its_cancellation() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let kept = Arc::new(());
        let carried = kept.clone();
        let set = player.ask(act(move |_, ctx| {
            ctx.send_after(SECOND, act(move |_, _| drop(carried)))
        }));
        let timer = set.wait().unwrap();
        player.send(sleep_for(2 * SECOND)).unwrap();
        stepper.advance(SECOND);
        assert_eq!(Arc::strong_count(&kept), 2);
        assert!(timer.cancel());
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

#[test]
fn a_message_whose_handler_has_begun_cannot_be_cancelled() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let set = player.ask(act(|_, ctx| {
            let scene = act(|player: &mut Player, ctx| {
                ctx.sleep(SECOND).expect("nobody ends the sleep");
                player.notes.push((ctx.now(), 1));
            });
            ctx.send_after(SECOND, scene)
        }));
        let timer = set.wait().unwrap();
        stepper.advance(SECOND + NANO);
        assert!(!timer.cancel());
        stepper.advance(SECOND);
        assert_eq!(notes(&player, begun), [(2 * SECOND, 1)]);
    });
}

#[test]
fn an_interval_that_is_cancelled_while_a_tick_is_handled_lets_that_one_end() {
    under_seeds(|stepper| {
        for interval in [Interval::fixed_rate(SECOND), Interval::fixed_delay(SECOND)] {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let set = player.ask(act(move |_, ctx| {
                ctx.interval(interval, || {
                    act(|player: &mut Player, ctx| {
                        ctx.sleep(3 * SECOND).expect("nobody ends the sleep");
                        player.notes.push((ctx.now(), 1));
                    })
                })
            }));
            let timer = set.wait().unwrap();
            stepper.advance(SECOND + NANO);
            assert!(timer.cancel(), "more was to come");
            stepper.advance(100 * SECOND);
            assert_eq!(notes(&player, begun), [(4 * SECOND, 1)]);
            assert_eq!(timers(stepper), 0);
        }
    });
}

#[test]
fn an_interval_that_its_own_closure_cancels_sends_nothing_more() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let set = player.ask(act(|_, ctx| {
            let place: Arc<std::sync::Mutex<Option<Timer>>> = Arc::default();
            let found = place.clone();
            let mut ticks = 0;
            let timer = ctx.interval(SECOND, move || {
                ticks += 1;
                if ticks == 3 {
                    let timer = found.lock().unwrap().take();
                    assert!(timer.expect("it is set").cancel());
                }
                Note(ticks)
            });
            *place.lock().unwrap() = Some(timer.clone());
            timer
        }));
        let timer = set.wait().unwrap();
        stepper.advance(100 * SECOND);
        assert_eq!(notes(&player, begun), [(SECOND, 1), (2 * SECOND, 2)]);
        assert!(!timer.cancel(), "it is over");
        assert_eq!(timers(stepper), 0);
        assert_eq!(counts(stepper).cancelled, 0, "nothing was queued in vain");
    });
}

#[test]
fn a_handle_does_not_keep_what_its_timer_held() {
    under_seeds(|stepper| {
        let kept = Arc::new(());
        let mut handles = Vec::new();
        for interval in [Interval::fixed_rate(SECOND), Interval::fixed_delay(SECOND)] {
            let player = stepper.system().spawn(Player::default());
            let carried = kept.clone();
            let set = player.ask(act(move |_, ctx| {
                ctx.interval(interval, move || {
                    let carried = carried.clone();
                    act(move |_, ctx| {
                        ctx.sleep(5 * SECOND).expect("nobody ends the sleep");
                        drop(carried);
                    })
                })
            }));
            handles.push(set.wait().unwrap());
            stepper.advance(3 * SECOND);
            player.stop();
            assert_eq!(end_of(&player), StopReason::Stopped);
        }
        assert_eq!(
            Arc::strong_count(&kept),
            1,
            "no closure and no message is left"
        );
        assert!(handles.iter().all(|timer| !timer.cancel()));
        assert_eq!(format!("{:?}", handles[0]), "Timer(over)");
    });
}

#[test]
fn ticks_that_are_queued_when_their_actor_ends_are_dead_letters_and_no_more_come() {
    under_seeds(|stepper| {
        for overflow in [Overflow::Block, Overflow::Reject, Overflow::DropNewest] {
            let letters = stepper.system().dead_letters();
            let player = stepper.system().actor().overflow(overflow);
            let player = player.spawn(Player::default()).unwrap();
            let begun = stepper.clock().now();
            for set in kinds() {
                set(&player);
            }
            player.send(sleep_for(3 * SECOND)).unwrap();
            stepper.advance(2 * SECOND);
            player.stop();
            assert_eq!(end_of(&player), StopReason::Stopped);
            assert_eq!(stepper.clock().now() - begun, 3 * SECOND);
            assert_eq!(std::iter::from_fn(|| letters.try_next()).count(), 4);
            assert_eq!(timers(stepper), 0);
            stepper.advance(100 * SECOND);
            assert_eq!(letters.try_next(), None);
        }
    });
}

#[test]
fn random_timers_that_are_cancelled_at_random_moments_are_silent_from_then_on() {
    under_seeds(|stepper| {
        let mut numbers = Numbers(stepper.seed());
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let mut set: Vec<(Timer, u64, Option<Duration>)> = Vec::new();
        for number in 0..60 {
            let timer = if numbers.below(3) == 0 {
                let period = (1 + numbers.below(4)) as u32 * SECOND / 2;
                let interval = if numbers.below(2) == 0 {
                    Interval::fixed_delay(period)
                } else {
                    let all = [MissedTicks::Skip, MissedTicks::Burst, MissedTicks::Delay];
                    Interval::fixed_rate(period).missed_ticks(numbers.pick(&all))
                };
                let made = player.ask(act(move |_, ctx| {
                    ctx.interval(interval, move || Note(number))
                }));
                made.wait().unwrap()
            } else {
                note_after(&player, numbers.below(4) as u32 * SECOND / 2, number)
            };
            set.push((timer, number, None));
            if numbers.below(4) == 0 {
                player
                    .send(sleep_for(numbers.below(3) as u32 * SECOND))
                    .unwrap();
            }
            if numbers.below(2) == 0 {
                let index = numbers.below(set.len() as u64) as usize;
                let (timer, _, silent) = &mut set[index];
                if timer.cancel() {
                    *silent = Some(stepper.clock().now() - begun);
                }
            }
            stepper.advance(numbers.below(3) as u32 * SECOND / 2);
        }
        for (timer, _, silent) in &mut set {
            if timer.cancel() {
                *silent = Some(stepper.clock().now() - begun);
            }
        }
        let queued = notes(&player, begun).len();
        stepper.advance(100 * SECOND);
        let notes = notes(&player, begun);
        assert_eq!(notes.len(), queued, "all were cancelled or had come");
        for (at, number) in notes {
            let silent = set[number as usize].2;
            // What was handled in the same instant was handled before.
            assert!(silent.is_none_or(|since| at <= since), "{number} at {at:?}");
        }
        assert_eq!(timers(stepper), 0);
    });
}

/// On real threads: a cancel that says that something was to come is right.
#[test]
fn a_cancel_that_races_with_firing_decides_what_comes() {
    in_pools(|system| {
        telling_seed(7, || {
            let mut numbers = Numbers(7);
            let player = system.spawn(Player::default());
            let mut expected = Vec::new();
            for number in 0..2_000 {
                let delay = Duration::from_nanos(numbers.below(40_000));
                let set = player.ask(act(move |_, ctx| ctx.send_after(delay, Note(number))));
                let timer = set.wait_for(PATIENCE).unwrap();
                for _ in 0..numbers.below(2_000) {
                    std::hint::spin_loop();
                }
                if !timer.cancel() {
                    expected.push(number);
                }
            }
            eventually("all that were not cancelled come", || {
                let came = player.ask(act(|player, _| player.notes.len()));
                came.wait_for(PATIENCE).unwrap() >= expected.len()
            });
            let came = player.ask(act(|player, _| {
                let notes = player.notes.iter();
                notes.map(|(_, number)| *number).collect::<Vec<_>>()
            }));
            let mut came = came.wait_for(PATIENCE).unwrap();
            came.sort_unstable();
            assert_eq!(came, expected);
            let counts = system.snapshot().actors[0].counts;
            println!(
                "{} came, {} were cancelled in the queue, {} before",
                came.len(),
                counts.cancelled,
                2_000 - came.len() as u64 - counts.cancelled
            );
        });
    });
}

#[test]
fn an_interval_that_is_cancelled_by_another_thread_while_it_fires_ticks_no_more() {
    in_pools(|system| {
        for _ in 0..200 {
            let player = system.spawn(Player::default());
            let set = player.ask(act(|_, ctx| {
                let burst = Interval::fixed_rate(Duration::from_nanos(500));
                ctx.interval(burst.missed_ticks(MissedTicks::Burst), || Note(0))
            }));
            let timer = set.wait_for(PATIENCE).unwrap();
            let len = || {
                let notes = player.ask(act(|player, _| player.notes.len()));
                notes.wait_for(PATIENCE).unwrap()
            };
            eventually("it ticks", || len() > 0);
            assert!(timer.cancel());
            // A tick may be in its handler when its timer is cancelled, but not after another one.
            let after = len();
            let handled = len();
            assert_eq!(handled, after);
            player.stop();
            end_of(&player);
        }
        assert_eq!(system.snapshot().timers, 0);
    });
}

#[test]
fn actors_that_end_while_their_timers_fire_are_forgotten() {
    in_pools(|system| {
        for _ in 0..200 {
            let player = system.spawn(Player::default());
            let set = player.ask(act(|_, ctx| {
                let period = Duration::from_nanos(700);
                ctx.interval(Interval::fixed_delay(period), || Note(0));
                ctx.interval(period, || Note(0));
                ctx.set_idle_timeout(period, || Note(0));
                ctx.send_after(period, Note(0))
            }));
            let timer = set.wait_for(PATIENCE).unwrap();
            player.kill();
            end_of(&player);
            assert!(!timer.cancel());
        }
        assert_eq!(system.snapshot().timers, 0);
    });
}
