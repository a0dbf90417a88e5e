//! Fixed rates with their policies for missed ticks, and fixed delays, to the nanosecond.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Actor, Addr, AskError, Context, Handler, Interval, MissedTicks, Overflow, Timer};

use super::{NANO, SECOND, notes, sleep_for, timers};
use crate::support::{Note, Numbers, Player, act, end_of, under_seed, under_seeds};

const ALL: [MissedTicks; 3] = [MissedTicks::Skip, MissedTicks::Burst, MissedTicks::Delay];
const HALF: Duration = Duration::from_millis(500);

/// Has an idle player note 0, 1, 2 and so on, and sleep in each handler as long as it says.
fn note_slowly(
    player: &Addr<Player>,
    interval: Interval,
    takes: impl Fn(u64) -> Duration + Clone + Send + 'static,
) -> Timer {
    let set = player.ask(act(move |_, ctx| {
        let mut numbers = 0..;
        ctx.interval(interval, move || {
            let number = numbers.next().expect("it never ends");
            let takes = takes.clone();
            act(move |player: &mut Player, ctx: &mut Context<Player>| {
                player.notes.push((ctx.now(), number));
                ctx.sleep(takes(number)).expect("nobody ends the sleep");
            })
        })
    }));
    set.wait().expect("the player sets a timer")
}

/// When a player's notes came, in half seconds, and that they came in order.
fn halves(player: &Addr<Player>, begun: std::time::Instant) -> Vec<u64> {
    let notes = notes(player, begun);
    let numbers = notes.iter().map(|(_, number)| *number);
    assert!(numbers.eq(0..notes.len() as u64), "{notes:?}");
    let at = notes.iter().map(|(at, _)| *at);
    at.map(|at| {
        assert_eq!(at.as_nanos() % HALF.as_nanos(), 0, "{at:?}");
        (at.as_nanos() / HALF.as_nanos()) as u64
    })
    .collect()
}

fn after(policy: MissedTicks) -> Interval {
    Interval::fixed_rate(SECOND).missed_ticks(policy)
}

#[test]
fn ticks_that_are_missed_during_a_slow_handler_are_treated_as_the_policy_says() {
    under_seeds(|stepper| {
        for (policy, expected) in [
            (MissedTicks::Skip, [2, 9, 10, 12, 14, 16]),
            (MissedTicks::Burst, [2, 9, 9, 9, 10, 12]),
            (MissedTicks::Delay, [2, 9, 11, 13, 15, 17]),
        ] {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let timer = note_slowly(&player, after(policy), |number| {
                if number == 0 {
                    7 * HALF
                } else {
                    Duration::ZERO
                }
            });
            stepper.advance(20 * SECOND);
            assert!(timer.cancel());
            assert_eq!(halves(&player, begun)[..6], expected, "{policy:?}");
        }
    });
}

#[test]
fn handlers_that_take_less_than_a_period_make_no_tick_late_under_any_policy() {
    under_seeds(|stepper| {
        for policy in ALL {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let timer = note_slowly(&player, after(policy), |_| SECOND - NANO);
            stepper.advance(50 * SECOND);
            assert!(timer.cancel());
            stepper.advance(SECOND);
            let expected: Vec<u64> = (1..=50).map(|second| 2 * second).collect();
            assert_eq!(halves(&player, begun), expected, "{policy:?}");
        }
    });
}

#[test]
fn a_tick_that_is_late_by_less_than_a_period_moves_none_under_any_policy() {
    under_seeds(|stepper| {
        for policy in ALL {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let timer = note_slowly(&player, after(policy), |_| Duration::ZERO);
            player.send(sleep_for(3 * HALF)).unwrap();
            stepper.advance(4 * SECOND);
            assert!(timer.cancel());
            assert_eq!(halves(&player, begun), [3, 4, 6, 8], "{policy:?}");
        }
    });
}

#[test]
fn at_most_one_tick_is_pending_under_any_policy() {
    under_seeds(|stepper| {
        for policy in ALL {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let timer = note_slowly(&player, after(policy), |_| Duration::ZERO);
            player.send(sleep_for(21 * HALF)).unwrap();
            for _ in 0..10 {
                stepper.advance(SECOND);
                assert_eq!(stepper.system().snapshot().actors[0].counts.queued, 1);
            }
            // The timer of the sleep alone, once a tick has been missed.
            assert_eq!(timers(stepper), 1);
            stepper.advance(4 * SECOND);
            assert!(timer.cancel());
            let expected: Vec<u64> = match policy {
                MissedTicks::Burst => [21; 10].into_iter().chain([22, 24, 26, 28]).collect(),
                MissedTicks::Delay => vec![21, 23, 25, 27],
                _ => vec![21, 22, 24, 26, 28],
            };
            assert_eq!(halves(&player, begun), expected, "{policy:?}");
            player.stop();
            end_of(&player);
        }
    });
}

#[test]
fn other_messages_come_between_the_ticks_of_a_burst() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let set = player.ask(act(|_, ctx| {
            ctx.interval(after(MissedTicks::Burst), || Note(0))
        }));
        let timer = set.wait().unwrap();
        player.send(sleep_for(7 * HALF)).unwrap();
        stepper.advance(SECOND);
        (1..=3).for_each(|number| player.send(Note(number)).unwrap());
        stepper.advance(3 * SECOND);
        timer.cancel();
        let numbers: Vec<u64> = notes(&player, begun).iter().map(|note| note.1).collect();
        // The second tick of three is queued when the first is taken, behind what is there.
        assert_eq!(numbers, [0, 1, 2, 3, 0, 0, 0]);
    });
}

#[test]
fn ticks_that_nobody_has_fired_in_time_are_treated_as_the_policy_says() {
    under_seeds(|stepper| {
        for (policy, expected) in [
            (MissedTicks::Skip, vec![2, 15, 16, 18, 20]),
            (
                MissedTicks::Burst,
                vec![2, 15, 15, 15, 15, 15, 15, 16, 18, 20],
            ),
            (MissedTicks::Delay, vec![2, 15, 17, 19]),
        ] {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let clock = stepper.clock().clone();
            let set = player.ask(act(move |_, ctx| {
                let mut numbers = 0..;
                ctx.interval(after(policy), move || {
                    let number = numbers.next().expect("it never ends");
                    if number == 1 {
                        // Whoever fires the timers is late.
                        clock.advance(11 * HALF);
                    }
                    Note(number)
                })
            }));
            let timer = set.wait().unwrap();
            stepper.advance(10 * SECOND);
            assert!(timer.cancel());
            assert_eq!(halves(&player, begun), expected, "{policy:?}");
        }
    });
}

#[test]
fn a_fixed_delay_is_counted_from_the_end_of_the_handler_with_its_waits() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let interval = Interval::fixed_delay(SECOND);
        let timer = note_slowly(&player, interval, |number| number as u32 * HALF);
        stepper.advance(8 * SECOND);
        assert_eq!(timers(stepper), 1, "the sleep of the handler");
        stepper.advance(2 * SECOND);
        assert!(timer.cancel());
        assert_eq!(halves(&player, begun), [2, 4, 7, 11, 16]);
    });
}

#[test]
fn a_fixed_delay_misses_nothing_so_a_policy_changes_nothing() {
    under_seeds(|stepper| {
        for policy in ALL {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let interval = Interval::fixed_delay(SECOND).missed_ticks(policy);
            let timer = note_slowly(&player, interval, |_| Duration::ZERO);
            player.send(sleep_for(9 * HALF)).unwrap();
            stepper.advance(8 * SECOND);
            assert!(timer.cancel());
            assert_eq!(halves(&player, begun), [9, 11, 13, 15], "{policy:?}");
        }
    });
}

#[test]
fn the_first_tick_comes_after_its_own_delay_and_the_others_count_from_it() {
    under_seeds(|stepper| {
        for first in [0, 1, 5] {
            for interval in [Interval::fixed_rate(SECOND), Interval::fixed_delay(SECOND)] {
                let player = stepper.system().spawn(Player::default());
                let begun = stepper.clock().now();
                let interval = interval.first_after(first * HALF);
                let timer = note_slowly(&player, interval, |_| Duration::ZERO);
                stepper.advance(first * HALF + 3 * SECOND);
                assert!(timer.cancel());
                let expected = [0, 2, 4, 6].map(|halves| halves + u64::from(first));
                assert_eq!(halves(&player, begun), expected, "{interval:?}");
            }
        }
    });
}

#[test]
fn a_message_at_an_instant_comes_then_and_one_of_the_past_at_once() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        stepper.advance(10 * SECOND);
        let begun = stepper.clock().now();
        let set = player.ask(act(move |_, ctx| {
            ctx.send_at(begun + 2 * SECOND, Note(2));
            ctx.send_at(begun + SECOND, Note(1));
            ctx.send_at(begun - SECOND, Note(0));
            ctx.send_at(begun + 200 * 365 * (86_400 * SECOND), Note(3))
        }));
        let never = set.wait().unwrap();
        stepper.advance(Duration::ZERO);
        assert_eq!(notes(&player, begun), [(Duration::ZERO, 0)]);
        stepper.advance(2 * SECOND - NANO);
        assert_eq!(notes(&player, begun).len(), 2);
        stepper.advance(1_000_000 * SECOND);
        let expected = [0, 1, 2].map(|second| (second * SECOND, u64::from(second)));
        assert_eq!(notes(&player, begun), expected);
        assert!(never.cancel());
    });
}

#[test]
fn intervals_without_period_are_a_panic_of_who_makes_them() {
    under_seed(1, |stepper| {
        for make in [Interval::fixed_rate, Interval::fixed_delay] {
            let player = stepper.system().spawn(Player::default());
            let set = player.ask(act(move |_, ctx| {
                ctx.interval(make(Duration::ZERO), || Note(0));
            }));
            assert!(matches!(set.wait(), Err(AskError::Panicked { .. })));
        }
    });
}

// Mailboxes that are full when ticks are due.

/// A player with a full mailbox of one who sleeps until 3.5 seconds have passed, with an
/// interval of one second that notes from 0 on; `made` counts what its closure has made.
fn full_with(
    stepper: &Stepper,
    overflow: Overflow,
    interval: Interval,
    made: &Arc<AtomicU64>,
) -> Addr<Player> {
    let options = stepper.system().actor().capacity(1).overflow(overflow);
    let player = options.spawn(Player::default()).unwrap();
    let counted = made.clone();
    let set = player.ask(act(move |_, ctx| {
        ctx.interval(interval, move || Note(counted.fetch_add(1, SeqCst)))
    }));
    set.wait().unwrap();
    player.send(sleep_for(7 * HALF)).unwrap();
    stepper.run();
    player.send(Note(100)).unwrap();
    player
}

#[test]
fn a_tick_that_stands_in_line_for_a_full_mailbox_is_pending() {
    under_seeds(|stepper| {
        for overflow in [Overflow::Block, Overflow::BlockFor(SECOND)] {
            for policy in ALL {
                let made = Arc::new(AtomicU64::new(0));
                let begun = stepper.clock().now();
                let player = full_with(stepper, overflow, after(policy), &made);
                stepper.advance(3 * SECOND);
                assert_eq!(stepper.system().snapshot().actors[0].waiting_senders, 1);
                assert_eq!(made.load(SeqCst), 1);
                stepper.advance(HALF);
                let late = 7 * HALF;
                let mut expected = vec![(late, 100), (late, 0)];
                if policy == MissedTicks::Burst {
                    expected.extend([(late, 1), (late, 2)]);
                }
                assert_eq!(notes(&player, begun), expected, "{policy:?}");
                player.stop();
                end_of(&player);
            }
        }
    });
}

#[test]
fn a_tick_for_which_there_is_no_room_is_lost_and_frees_the_next() {
    under_seeds(|stepper| {
        for overflow in [Overflow::Reject, Overflow::DropNewest] {
            for policy in ALL {
                let made = Arc::new(AtomicU64::new(0));
                let letters = stepper.system().dead_letters();
                let begun = stepper.clock().now();
                let player = full_with(stepper, overflow, after(policy), &made);
                stepper.advance(3 * SECOND);
                assert_eq!(std::iter::from_fn(|| letters.try_next()).count(), 3);
                let counts = stepper.system().snapshot().actors[0].counts;
                assert_eq!(counts.rejected + counts.dropped, 3, "{counts}");
                stepper.advance(2 * SECOND);
                let expected = [(7 * HALF, 100), (4 * SECOND, 3), (5 * SECOND, 4)];
                assert_eq!(notes(&player, begun), expected, "{policy:?}");
                player.stop();
                end_of(&player);
            }
        }
    });
}

#[test]
fn a_fixed_delay_is_counted_from_the_loss_of_a_tick() {
    under_seeds(|stepper| {
        for overflow in [Overflow::Reject, Overflow::DropNewest] {
            let made = Arc::new(AtomicU64::new(0));
            let begun = stepper.clock().now();
            let interval = Interval::fixed_delay(SECOND).first_after(HALF);
            let player = full_with(stepper, overflow, interval, &made);
            stepper.advance(5 * SECOND);
            // Lost at 0.5, 1.5 and 2.5; that of 3.5 meets the end of the sleep.
            let notes = notes(&player, begun);
            assert!(made.load(SeqCst) >= 5, "{notes:?}");
            assert_eq!(notes[0], (7 * HALF, 100));
            let rest = notes[1..].iter();
            assert!(rest.clone().all(|(at, _)| *at > 3 * SECOND), "{notes:?}");
            assert!(
                rest.rev().take(1).all(|(at, _)| *at == 9 * HALF),
                "{notes:?}"
            );
            player.stop();
            end_of(&player);
        }
    });
}

// Panics.

#[test]
fn a_closure_that_panics_ends_its_interval_whatever_the_pace() {
    under_seeds(|stepper| {
        let intervals = ALL.map(after).into_iter();
        for interval in intervals.chain([Interval::fixed_delay(SECOND)]) {
            let player = stepper.system().spawn(Player::default());
            let begun = stepper.clock().now();
            let kept = Arc::new(());
            let held = kept.clone();
            let set = player.ask(act(move |_, ctx| {
                let mut numbers = 0..;
                ctx.interval(interval, move || {
                    let number = numbers.next().expect("it never ends");
                    assert!(number < 2, "the closure falls with {held:?}");
                    Note(number)
                })
            }));
            let timer = set.wait().unwrap();
            stepper.advance(10 * SECOND);
            assert_eq!(notes(&player, begun), [(SECOND, 0), (2 * SECOND, 1)]);
            assert_eq!(Arc::strong_count(&kept), 1, "the closure is dropped");
            assert!(!timer.cancel());
            assert_eq!(timers(stepper), 0);
            player.stop();
            end_of(&player);
        }
    });
}

#[test]
fn a_panic_in_the_handler_of_a_tick_ends_the_actor_and_its_timer() {
    under_seeds(|stepper| {
        for interval in [Interval::fixed_rate(SECOND), Interval::fixed_delay(SECOND)] {
            let player = stepper.system().spawn(Player::default());
            let set = player.ask(act(move |_, ctx| {
                ctx.interval(interval, || act(|_, _| panic!("fell over a tick")))
            }));
            let timer = set.wait().unwrap();
            stepper.advance(SECOND);
            assert_eq!(
                end_of(&player),
                greenroom::StopReason::Panicked {
                    message: "fell over a tick".into()
                }
            );
            assert!(!timer.cancel());
            assert_eq!(timers(stepper), 0);
        }
    });
}

// Many.

#[test]
fn a_hundred_thousand_timers_fire_in_the_order_of_their_instants() {
    under_seed(3, |stepper| {
        let player = stepper.system().actor().capacity(1_000);
        let player = player.spawn(Player::default()).unwrap();
        let begun = stepper.clock().now();
        let mut numbers = Numbers(3);
        let delays: Vec<Duration> = (0..100_000)
            .map(|_| Duration::from_nanos(numbers.below(50_000_000_000)))
            .collect();
        let mut expected: Vec<_> = delays.iter().copied().zip(0..).collect();
        expected.sort();
        let set = player.ask(act(move |_, ctx| {
            for (number, delay) in (0..).zip(delays) {
                ctx.send_after(delay, Note(number));
            }
        }));
        set.wait().unwrap();
        assert_eq!(timers(stepper), 100_000);
        stepper.advance(60 * SECOND);
        assert!(notes(&player, begun) == expected);
        assert_eq!(timers(stepper), 0);
    });
}

// A model.

/// When ticks are taken by an actor that handles each for a while, counted by hand: ticks stand
/// in the order of their due times, one may be pending.
fn taken_by_hand(policy: MissedTicks, period: u64, takes: &[u64], end: u64) -> Vec<u64> {
    let (mut taken, mut free) = (Vec::new(), 0);
    let mut due = period;
    for take in takes.iter().cycle() {
        // The tick comes to the mailbox when it is due and waits until the actor is free.
        let now = due.max(free);
        if now > end {
            return taken;
        }
        taken.push(now);
        free = now + take;
        due += period;
        // Missed is what was due while that one was pending.
        if due <= now {
            match policy {
                MissedTicks::Burst => {}
                MissedTicks::Delay => due = now + period,
                _ => {
                    while due <= now {
                        due += period;
                    }
                }
            }
        }
    }
    taken
}

/// Handles each tick for a while of its own.
struct Slow {
    takes: Vec<u64>,
    taken: Arc<Mutex<Vec<u64>>>,
    begun: Option<std::time::Instant>,
}

struct Tick;

impl Actor for Slow {}

impl Handler<Interval> for Slow {
    type Reply = ();

    fn handle(&mut self, interval: Interval, ctx: &mut Context<Self>) {
        self.begun = Some(ctx.now());
        ctx.interval(interval, || Tick);
    }
}

impl Handler<Tick> for Slow {
    type Reply = ();

    fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
        let begun = self.begun.expect("it has begun");
        let now = (ctx.now() - begun).as_nanos() as u64;
        let index = {
            let mut taken = self.taken.lock().unwrap();
            taken.push(now);
            taken.len() - 1
        };
        let take = self.takes[index % self.takes.len()];
        // A handler that takes no time does not park either.
        if take > 0 {
            ctx.sleep(Duration::from_nanos(take))
                .expect("nobody ends the sleep");
        }
    }
}

#[test]
fn ticks_come_as_counted_by_hand_whatever_their_handlers_take() {
    const END: u64 = 3_000;
    under_seeds(|stepper| {
        let mut numbers = Numbers(stepper.seed());
        for policy in ALL {
            let period = 20 + numbers.below(30);
            let takes: Vec<u64> = (0..1 + numbers.below(6))
                .map(|_| numbers.below(2) * numbers.below(4 * period))
                .collect();
            let taken: Arc<Mutex<Vec<u64>>> = Arc::default();
            let slow = stepper.system().spawn(Slow {
                takes: takes.clone(),
                taken: taken.clone(),
                begun: None,
            });
            let interval = Interval::fixed_rate(Duration::from_nanos(period));
            slow.ask(interval.missed_ticks(policy)).wait().unwrap();
            stepper.advance(Duration::from_nanos(END));
            let expected = taken_by_hand(policy, period, &takes, END);
            let taken = taken.lock().unwrap().clone();
            assert_eq!(taken, expected, "{policy:?}, {period}, {takes:?}");
            slow.kill();
            end_of(&slow);
        }
    });
}
