//! Timers and sleeps, in virtual time but for what is said of the machine's clock.

mod cancelling;
mod deadlines;
mod idle_timeout;
mod intervals;
mod machine_clock;
mod manual_clock;
mod order;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenroom::testkit::Stepper;
use greenroom::{Addr, AskError, LossReason, Overflow, StopReason, Timer, WaitError};

use crate::support::{Act, Note, Player, act, end_of, under_seed, under_seeds};

const SECOND: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

/// Has an idle player set a timer for a note to itself.
fn note_after(player: &Addr<Player>, delay: Duration, number: u64) -> Timer {
    let set = player.ask(act(move |_, ctx| ctx.send_after(delay, Note(number))));
    set.wait().expect("the player sets a timer")
}

/// Has an idle player note 0, 1, 2 and so on.
fn note_every(player: &Addr<Player>, period: Duration) -> Timer {
    let set = player.ask(act(move |_, ctx| {
        let mut numbers = 0..;
        ctx.interval(period, move || Note(numbers.next().expect("it never ends")))
    }));
    set.wait().expect("the player sets a timer")
}

/// An idle player's notes, each with the time that had passed since `begun`.
fn notes(player: &Addr<Player>, begun: Instant) -> Vec<(Duration, u64)> {
    let notes = player.ask(act(|player, _| player.notes.clone()));
    let notes = notes.wait().expect("the player answers").into_iter();
    notes.map(|(at, number)| (at - begun, number)).collect()
}

/// A player whose handler sleeps for `time`.
fn sleep_for(time: Duration) -> Act<()> {
    act(move |_, ctx| ctx.sleep(time).expect("nobody ends the sleep"))
}

fn timers(stepper: &Stepper) -> usize {
    stepper.system().snapshot().timers
}

// Messages to come.

#[test]
fn a_delayed_message_comes_at_its_instant_and_not_before() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        for seconds in [3, 1, 2] {
            note_after(&player, seconds * SECOND, seconds.into());
        }
        assert_eq!(timers(stepper), 3);
        stepper.advance(SECOND - NANO);
        assert_eq!(notes(&player, begun), []);
        stepper.advance(NANO);
        assert_eq!(notes(&player, begun), [(SECOND, 1)]);
        stepper.advance(10 * SECOND);
        let expected = [1, 2, 3].map(|seconds| (seconds * SECOND, seconds.into()));
        assert_eq!(notes(&player, begun), expected);
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn a_message_without_delay_comes_without_time_passing() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        note_after(&player, Duration::ZERO, 7);
        stepper.advance(Duration::ZERO);
        assert_eq!(notes(&player, begun), [(Duration::ZERO, 7)]);
    });
}

#[test]
fn messages_that_are_due_at_the_same_time_come_in_the_order_of_their_setting() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        for number in 0..100 {
            note_after(&player, SECOND, number);
        }
        stepper.advance(SECOND);
        let notes = notes(&player, begun);
        assert!(notes.iter().all(|(at, _)| *at == SECOND));
        assert!(notes.iter().map(|(_, number)| *number).eq(0..100));
    });
}

#[test]
fn timers_of_two_actors_that_are_due_at_the_same_time_fire_at_that_time() {
    under_seeds(|stepper| {
        let begun = stepper.clock().now();
        let players = [1, 2].map(|_| stepper.system().spawn(Player::default()));
        for player in &players {
            note_after(player, SECOND, 5);
        }
        let sleeper = stepper.system().spawn(Player::default());
        let slept = sleeper.ask(act(|_, ctx| {
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            ctx.now()
        }));
        stepper.advance(10 * SECOND);
        for player in &players {
            assert_eq!(notes(player, begun), [(SECOND, 5)]);
        }
        assert_eq!(slept.wait().unwrap() - begun, SECOND);
    });
}

/// Delays that look random and are the same everywhere.
fn delays(count: u64) -> impl Iterator<Item = Duration> {
    (0..count).map(|number| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        Duration::from_micros(mixed)
    })
}

#[test]
fn thousands_of_timers_fire_in_the_order_of_their_instants() {
    under_seed(1, |stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        for (number, delay) in (0..).zip(delays(5_000)) {
            note_after(&player, delay, number);
        }
        assert_eq!(timers(stepper), 5_000);
        stepper.advance(Duration::from_secs(60));
        let mut expected: Vec<_> = delays(5_000).zip(0..).collect();
        expected.sort();
        assert_eq!(notes(&player, begun), expected);
    });
}

#[test]
fn a_delay_beyond_the_calendar_is_no_panic() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let once = note_after(&player, Duration::MAX, 1);
        let often = note_every(&player, Duration::MAX);
        stepper.advance(1_000_000 * SECOND);
        assert_eq!(timers(stepper), 2);
        assert!(once.cancel());
        assert!(often.cancel());
    });
}

#[test]
fn a_sleep_beyond_the_calendar_lasts_until_it_is_ended() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let slept = player.ask(act(|_, ctx| ctx.sleep(Duration::MAX)));
        stepper.advance(1_000_000 * SECOND);
        assert!(!slept.is_ready());
        player.kill();
        assert_eq!(slept.wait().unwrap(), Err(WaitError::Interrupted));
        assert_eq!(end_of(&player), StopReason::Killed);
    });
}

// A mailbox that is full when a timer is due.

/// A player with a full mailbox of one who sleeps until two seconds have passed, and whose
/// timer is due after one.
fn full_when_due(stepper: &Stepper, overflow: Overflow) -> Addr<Player> {
    let options = stepper.system().actor().capacity(1).overflow(overflow);
    let player = options.spawn(Player::default()).unwrap();
    note_after(&player, SECOND, 2);
    player.send(sleep_for(2 * SECOND)).unwrap();
    stepper.run();
    player.send(Note(1)).unwrap();
    stepper.advance(SECOND);
    player
}

#[test]
fn a_delayed_message_stands_in_line_for_a_full_mailbox_that_blocks() {
    under_seeds(|stepper| {
        for overflow in [Overflow::Block, Overflow::BlockFor(100 * SECOND)] {
            let begun = stepper.clock().now();
            let player = full_when_due(stepper, overflow);
            assert_eq!(stepper.system().snapshot().actors[0].waiting_senders, 1);
            stepper.advance(SECOND);
            let expected = [(2 * SECOND, 1), (2 * SECOND, 2)];
            assert_eq!(notes(&player, begun), expected);
            player.stop();
            end_of(&player);
        }
    });
}

#[test]
fn a_delayed_message_to_a_full_mailbox_is_lost_by_the_other_policies_counted_and_reported() {
    under_seeds(|stepper| {
        for overflow in [Overflow::Reject, Overflow::DropNewest] {
            let letters = stepper.system().dead_letters();
            let player = full_when_due(stepper, overflow);
            let counts = stepper.system().snapshot().actors[0].counts;
            let letter = letters.try_next().expect("the loss is reported");
            assert_eq!(letter.actor, player.id());
            let (rejected, reason) = match overflow {
                Overflow::Reject => (1, LossReason::Rejected),
                _ => (0, LossReason::DroppedByPolicy),
            };
            assert_eq!((counts.rejected, counts.dropped), (rejected, 1 - rejected));
            assert_eq!(letter.reason, reason);
            assert_eq!(letters.try_next(), None);
            stepper.advance(SECOND);
            player.stop();
            end_of(&player);
        }
    });
}

// The end of a timer.

#[test]
fn a_cancelled_message_does_not_come() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let first = note_after(&player, SECOND, 1);
        note_after(&player, SECOND, 2);
        assert!(first.cancel(), "it was still to come");
        assert_eq!(timers(stepper), 1);
        assert!(!first.cancel(), "nothing was to come any more");
        stepper.advance(10 * SECOND);
        assert_eq!(notes(&player, begun), [(SECOND, 2)]);
    });
}

#[test]
fn a_cancelled_message_is_dropped_at_once() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let kept = Arc::new(());
        let carried = kept.clone();
        let set = player.ask(act(move |_, ctx| {
            ctx.send_after(SECOND, act(move |_, _| drop(carried)))
        }));
        let timer = set.wait().unwrap();
        assert_eq!(Arc::strong_count(&kept), 2);
        assert!(timer.cancel());
        assert_eq!(Arc::strong_count(&kept), 1);
    });
}

#[test]
fn a_message_that_has_come_cannot_be_cancelled() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let timer = note_after(&player, SECOND, 1);
        stepper.advance(SECOND);
        assert!(!timer.cancel());
        assert_eq!(notes(&player, begun), [(SECOND, 1)]);
    });
}

#[test]
fn a_timer_does_not_keep_its_actor() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        note_after(&player, SECOND, 1);
        note_every(&player, SECOND);
        let (weak, begun) = (player.downgrade(), stepper.clock().now());
        drop(player);
        stepper.run();
        assert!(weak.upgrade().is_none());
        assert_eq!(timers(stepper), 0);
        assert_eq!(stepper.system().snapshot().actors, []);
        assert_eq!(stepper.clock().now(), begun);
    });
}

#[test]
fn timers_end_with_their_actor_however_it_ends() {
    type End = fn(&Addr<Player>);
    let ends: [(End, StopReason); 4] = [
        (Addr::stop, StopReason::Stopped),
        (Addr::drain, StopReason::Drained),
        (Addr::kill, StopReason::Killed),
        (
            |player| player.send(act(|_, _| panic!("fell"))).unwrap(),
            StopReason::Panicked {
                message: "fell".into(),
            },
        ),
    ];
    under_seeds(|stepper| {
        for (end, reason) in &ends {
            let kept = Arc::new(());
            let carried = kept.clone();
            let player = stepper.system().spawn(Player::ending_with(|_, ctx| {
                ctx.send_after(SECOND, Note(0));
                ctx.interval(SECOND, || Note(0));
            }));
            let set = player.ask(act(move |_, ctx| {
                ctx.send_after(SECOND, act(move |_, _| drop(carried)))
            }));
            let once = set.wait().unwrap();
            let often = note_every(&player, SECOND);
            end(&player);
            assert_eq!(end_of(&player), *reason);
            assert_eq!(timers(stepper), 0);
            assert_eq!(Arc::strong_count(&kept), 1, "the message is dropped");
            assert!(!once.cancel() && !often.cancel(), "nothing was to come");
        }
    });
}

#[test]
fn timers_end_when_the_system_shuts_down() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        note_after(&player, SECOND, 1);
        note_every(&player, SECOND);
        assert!(stepper.system().shutdown(SECOND).is_clean());
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn a_message_that_is_due_while_its_actor_drains_does_not_come() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        note_after(&player, SECOND, 1);
        player.send(sleep_for(2 * SECOND)).unwrap();
        player
            .send(act(move |player, _| assert_eq!(player.notes, [])))
            .unwrap();
        stepper.run();
        player.drain();
        assert_eq!(end_of(&player), StopReason::Drained);
        assert_eq!(stepper.clock().now() - begun, 2 * SECOND);
    });
}

// Intervals.

#[test]
fn an_interval_ticks_at_each_multiple_of_its_period_and_first_after_one() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let timer = note_every(&player, SECOND);
        stepper.advance(SECOND - NANO);
        assert_eq!(notes(&player, begun), []);
        stepper.advance(99 * SECOND + NANO);
        let expected: Vec<_> = (0..100)
            .map(|number| ((number + 1) * SECOND, number.into()))
            .collect();
        assert_eq!(notes(&player, begun), expected);
        assert_eq!(timers(stepper), 1);
        assert!(timer.cancel());
        assert_eq!(timers(stepper), 0);
        stepper.advance(10 * SECOND);
        assert_eq!(notes(&player, begun).len(), 100);
        assert!(!timer.cancel());
    });
}

#[test]
fn an_interval_does_not_drift_when_its_handler_takes_time() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let set = player.ask(act(|_, ctx| {
            ctx.interval(SECOND, || {
                act(|player, ctx| {
                    player.notes.push((ctx.now(), 0));
                    ctx.sleep(Duration::from_millis(900))
                        .expect("nobody ends the sleep");
                })
            })
        }));
        let timer = set.wait().unwrap();
        stepper.advance(100 * SECOND);
        timer.cancel();
        stepper.advance(SECOND);
        let expected: Vec<_> = (1..=100).map(|second| (second * SECOND, 0)).collect();
        assert_eq!(notes(&player, begun), expected);
    });
}

#[test]
fn at_most_one_tick_is_pending_and_the_others_are_skipped() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let timer = note_every(&player, SECOND);
        player.send(sleep_for(10 * SECOND + SECOND / 2)).unwrap();
        for _ in 0..10 {
            stepper.advance(SECOND);
            assert_eq!(stepper.system().snapshot().actors[0].counts.queued, 1);
        }
        stepper.advance(3 * SECOND);
        let at_half = 10 * SECOND + SECOND / 2;
        let expected = [at_half, 11 * SECOND, 12 * SECOND, 13 * SECOND];
        assert!(
            notes(&player, begun)
                .into_iter()
                .eq(expected.into_iter().zip(0..))
        );
        timer.cancel();
    });
}

#[test]
fn a_handler_cancels_the_interval_whose_tick_it_handles() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let place: Arc<Mutex<Option<Timer>>> = Arc::default();
        let set = player.ask(act(move |_, ctx| {
            let found = place.clone();
            let timer = ctx.interval(SECOND, move || {
                let found = found.clone();
                act(move |player, ctx| {
                    player.notes.push((ctx.now(), 0));
                    if player.notes.len() == 3 {
                        let timer = found.lock().unwrap().take();
                        assert!(timer.expect("it is set").cancel());
                    }
                })
            });
            *place.lock().unwrap() = Some(timer);
        }));
        set.wait().unwrap();
        stepper.advance(100 * SECOND);
        let expected = [1, 2, 3].map(|second| (second * SECOND, 0));
        assert_eq!(notes(&player, begun), expected);
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn ticks_that_are_missed_altogether_are_skipped_and_not_made_up_for() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let clock = stepper.clock().clone();
        let set = player.ask(act(move |_, ctx| {
            let mut numbers = 0..;
            ctx.interval(SECOND, move || {
                let number = numbers.next().expect("it never ends");
                if number == 1 {
                    // Whoever fires the timers is late.
                    clock.advance(5 * SECOND + SECOND / 2);
                }
                Note(number)
            })
        }));
        let timer = set.wait().unwrap();
        stepper.advance(10 * SECOND);
        timer.cancel();
        let late = 7 * SECOND + SECOND / 2;
        let expected = [SECOND, late, 8 * SECOND, 9 * SECOND, 10 * SECOND];
        assert!(
            notes(&player, begun)
                .into_iter()
                .eq(expected.into_iter().zip(0..))
        );
    });
}

#[test]
fn an_interval_ends_when_its_closure_panics_and_the_actor_goes_on() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let runs = Arc::new(AtomicU64::new(0));
        let counted = runs.clone();
        let set = player.ask(act(move |_, ctx| {
            ctx.interval(SECOND, move || {
                let run = counted.fetch_add(1, SeqCst);
                assert!(run < 2, "the closure falls");
                Note(run)
            })
        }));
        let timer = set.wait().unwrap();
        stepper.advance(100 * SECOND);
        assert_eq!(runs.load(SeqCst), 3);
        assert_eq!(notes(&player, begun), [(SECOND, 0), (2 * SECOND, 1)]);
        assert_eq!(timers(stepper), 0);
        assert!(!timer.cancel(), "nothing was to come any more");
        let counts = stepper.system().snapshot().actors[0].counts;
        assert_eq!(counts.dead_lettered, 0, "{counts}");
    });
}

#[test]
fn an_interval_without_period_is_a_panic_of_the_handler_that_wants_it() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let set = player.ask(act(|_, ctx| ctx.interval(Duration::ZERO, || Note(0))));
        assert!(matches!(set.wait(), Err(AskError::Panicked { .. })));
        assert!(matches!(end_of(&player), StopReason::Panicked { .. }));
        assert_eq!(timers(stepper), 0);
    });
}

// Sleeps.

#[test]
fn a_sleep_takes_exactly_its_time() {
    under_seeds(|stepper| {
        let spans = [
            Duration::ZERO,
            NANO,
            Duration::from_millis(1),
            SECOND,
            86_400 * SECOND,
        ];
        let player = stepper.system().spawn(Player::default());
        let slept = player.ask(act(move |_, ctx| {
            spans.map(|span| {
                let begun = ctx.now();
                ctx.sleep(span).expect("nobody ends the sleep");
                ctx.now() - begun
            })
        }));
        assert_eq!(slept.wait().unwrap(), spans);
        assert_eq!(timers(stepper), 0);
    });
}

#[test]
fn sleeps_of_many_actors_overlap_and_end_in_the_order_of_their_instants() {
    under_seed(2, |stepper| {
        let begun = stepper.clock().now();
        let ends: Arc<Mutex<Vec<(Duration, u64)>>> = Arc::default();
        for (number, delay) in (0..).zip(delays(500)) {
            let ends = ends.clone();
            let player = stepper.system().spawn(Player::default());
            let sleep = act(move |_, ctx| {
                ctx.sleep(delay).expect("nobody ends the sleep");
                ends.lock().unwrap().push((ctx.now() - begun, number));
            });
            player.send(sleep).unwrap();
        }
        stepper.advance(Duration::from_secs(60));
        let mut expected: Vec<_> = delays(500).zip(0..).collect();
        expected.sort();
        assert_eq!(*ends.lock().unwrap(), expected);
    });
}

#[test]
fn an_actor_that_sleeps_handles_nothing_else_meanwhile() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        player.send(sleep_for(SECOND)).unwrap();
        player.send(Note(1)).unwrap();
        stepper.advance(SECOND - NANO);
        assert_eq!(stepper.system().snapshot().actors[0].counts.queued, 1);
        assert_eq!(notes(&player, begun), [(SECOND, 1)]);
    });
}

#[test]
fn hooks_sleep_too() {
    under_seeds(|stepper| {
        let begun = stepper.clock().now();
        let (beginner, ender) = (
            Player::beginning_with(|ctx| ctx.sleep(SECOND).expect("nobody ends the sleep")),
            Player::ending_with(|_, ctx| ctx.sleep(SECOND).expect("nobody ends the sleep")),
        );
        let beginner = stepper.system().spawn(beginner);
        assert_eq!(notes(&beginner, begun), []);
        assert_eq!(stepper.clock().now() - begun, SECOND);
        let ender = stepper.system().spawn(ender);
        ender.stop();
        assert_eq!(end_of(&ender), StopReason::Stopped);
        assert_eq!(stepper.clock().now() - begun, 2 * SECOND);
    });
}
