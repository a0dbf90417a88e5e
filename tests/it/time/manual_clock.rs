//! A clock that is moved by hand, under a pool of real threads.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use greenroom::testkit::ManualClock;
use greenroom::{Addr, AskError, Overflow, Reply, SendError, Stage, System};

use super::{NANO, SECOND, delays, sleep_for};
use crate::support::{Note, Player, act, eventually, in_time};

/// Runs a test in pools of one and two workers whose clock is moved by hand.
fn on_a_clock(test: impl Fn(&System, &ManualClock)) {
    for workers in [1, 2] {
        let clock = ManualClock::new();
        let system = System::builder().workers(workers).clock(&clock);
        let system = system.build().expect("the machine has threads for a test");
        test(&system, &clock);
        let report = in_time(move || system.shutdown(SECOND));
        assert!(report.is_clean(), "{report}");
    }
}

/// Waits until so many timers are set.
fn wait_for_timers(system: &System, count: usize) {
    eventually("the timers are set", || system.snapshot().timers == count);
}

fn answer_of<R: Send + 'static>(reply: Reply<R>) -> R {
    eventually("the answer comes", || reply.is_ready());
    reply.wait().expect("it is an answer")
}

fn sleep_until(delay: Duration) -> crate::support::Act<Instant> {
    act(move |_, ctx| {
        ctx.sleep(delay).expect("nobody ends the sleep");
        ctx.now()
    })
}

#[test]
fn a_clock_stands_still_until_it_is_moved() {
    let clock = ManualClock::new();
    let same = clock.clone();
    let begun = clock.now();
    assert_eq!(clock.now(), begun);
    clock.advance(SECOND);
    same.advance(NANO);
    assert_eq!(clock.now() - begun, SECOND + NANO);
    assert_eq!(same.now(), clock.now());
    on_a_clock(|system, clock| {
        assert_eq!(system.now(), clock.now());
        clock.advance(SECOND);
        assert_eq!(system.now(), clock.now());
    });
}

#[test]
fn moving_the_clock_wakes_the_sleepers_whose_time_has_come() {
    on_a_clock(|system, clock| {
        let begun = clock.now();
        let players = [1, 2, 3].map(|_| system.spawn(Player::default()));
        let mut sleeps: Vec<_> = (1..)
            .zip(&players)
            .map(|(seconds, player)| player.ask(sleep_until(seconds * SECOND)))
            .collect();
        wait_for_timers(system, 3);
        clock.advance(2 * SECOND);
        let third = sleeps.pop().expect("there are three");
        for (seconds, sleep) in (1..).zip(sleeps) {
            // The first may see the clock on its way to the second.
            let woken = answer_of(sleep) - begun;
            assert!((seconds * SECOND..=2 * SECOND).contains(&woken));
        }
        assert!(!third.is_ready());
        assert_eq!(system.snapshot().timers, 1);
        clock.advance(SECOND);
        assert_eq!(answer_of(third) - begun, 3 * SECOND);
        assert_eq!(system.snapshot().timers, 0);
    });
}

#[test]
fn while_a_timer_fires_the_clock_stands_at_its_instant() {
    on_a_clock(|system, clock| {
        let begun = clock.now();
        let fired: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let player = system.spawn(Player::default());
        let (times, read) = (fired.clone(), clock.clone());
        let set = player.ask(act(move |_, ctx| {
            for seconds in [3, 1, 2].into_iter().cycle().take(30) {
                let (times, read) = (times.clone(), read.clone());
                let set = Arc::new(Mutex::new(None::<greenroom::Timer>));
                let own = set.clone();
                let timer = ctx.interval(seconds * SECOND, move || {
                    times.lock().unwrap().push(read.now() - begun);
                    own.lock().unwrap().take().expect("it is set").cancel();
                    Note(0)
                });
                *set.lock().unwrap() = Some(timer);
            }
        }));
        answer_of(set);
        clock.advance(100 * SECOND);
        let expected = (0..30).map(|index| (1 + index / 10) * SECOND);
        assert!(fired.lock().unwrap().iter().copied().eq(expected));
        assert_eq!(clock.now() - begun, 100 * SECOND);
    });
}

#[test]
fn thousands_of_timers_fire_in_the_order_of_their_instants_in_one_move() {
    on_a_clock(|system, clock| {
        let options = system.actor().capacity(7);
        let player = options.spawn(Player::default()).unwrap();
        let set = player.ask(act(|_, ctx| {
            for (number, delay) in (0..).zip(delays(2_000)) {
                ctx.send_after(delay, Note(number));
            }
        }));
        answer_of(set);
        clock.advance(Duration::from_secs(60));
        assert_eq!(system.snapshot().timers, 0, "all have fired");
        // Those that found no room stand in line before this one.
        let numbers = player.ask(act(|player, _| {
            let numbers = player.notes.iter().map(|(_, number)| *number);
            numbers.collect::<Vec<_>>()
        }));
        let mut expected: Vec<_> = delays(2_000).zip(0..).collect();
        expected.sort();
        let expected: Vec<u64> = expected.into_iter().map(|(_, number)| number).collect();
        assert_eq!(answer_of(numbers), expected);
    });
}

#[test]
fn a_busy_actor_gets_one_tick_however_far_the_clock_moves_at_once() {
    on_a_clock(|system, clock| {
        let player = system.spawn(Player::default());
        let set = player.ask(act(|_, ctx| ctx.interval(SECOND, || Note(0))));
        let timer = answer_of(set);
        let handled =
            |player: &Addr<Player>| answer_of(player.ask(act(|player, _| player.notes.len())));
        for moves in 1..=20 {
            clock.advance(SECOND);
            assert_eq!(handled(&player), moves);
        }
        let asleep = player.ask(sleep_until(100 * SECOND));
        wait_for_timers(system, 2);
        clock.advance(100 * SECOND);
        answer_of(asleep);
        timer.cancel();
        let after = handled(&player);
        // It may take the pending one before the last one is due.
        assert!((21..=22).contains(&after), "{after} ticks were handled");
    });
}

/// What a plain thread of its own gets that waits on this clock.
fn on_a_thread<R: Send + 'static>(
    wait: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    thread::spawn(wait)
}

fn result_of<R>(thread: thread::JoinHandle<R>) -> R {
    eventually("the thread ends", || thread.is_finished());
    thread.join().expect("the thread does not panic")
}

#[test]
fn a_plain_threads_deadlines_are_those_of_the_clock() {
    on_a_clock(|system, clock| {
        let options = system
            .actor()
            .capacity(1)
            .overflow(Overflow::BlockFor(SECOND));
        let busy = options.spawn(Player::default()).unwrap();
        busy.send(sleep_for(3 * SECOND)).unwrap();
        wait_for_timers(system, 1);
        busy.send(Note(0)).unwrap();
        let (joiner, sender, patient, asker) =
            (busy.clone(), busy.clone(), busy.clone(), busy.clone());
        let joined = on_a_thread(move || joiner.join_for(SECOND));
        let sent = on_a_thread(move || sender.send(Note(1)));
        let patient = on_a_thread(move || patient.send_for(Note(2), 2 * SECOND));
        let asked = on_a_thread(move || {
            let reply = asker.ask(act(|_, _| ()));
            reply.wait_for(NANO)
        });
        // The asker needs two: his own limit, and that of the mailbox.
        wait_for_timers(system, 6);
        clock.advance(NANO);
        let asked = result_of(asked);
        assert!(matches!(asked, Err(AskError::TimedOut(Stage::Queued))));
        clock.advance(SECOND - NANO);
        assert_eq!(result_of(joined), Ok(None));
        assert!(matches!(result_of(sent), Err(SendError::TimedOut(Note(1)))));
        assert!(!patient.is_finished());
        clock.advance(SECOND);
        assert!(matches!(
            result_of(patient),
            Err(SendError::TimedOut(Note(2)))
        ));
        clock.advance(SECOND);
        let numbers = busy.ask(act(|player, _| player.notes.len()));
        assert_eq!(answer_of(numbers), 1);
    });
}

#[test]
fn two_systems_live_by_one_clock() {
    let clock = ManualClock::new();
    let systems = [1, 2].map(|workers| {
        let system = System::builder().workers(workers).clock(&clock);
        system.build().expect("the machine has threads for a test")
    });
    let begun = clock.now();
    let players = systems
        .each_ref()
        .map(|system| system.spawn(Player::default()));
    let sleeps = players
        .each_ref()
        .map(|player| player.ask(sleep_until(SECOND)));
    systems.iter().for_each(|system| wait_for_timers(system, 1));
    clock.advance(SECOND);
    for sleep in sleeps {
        assert_eq!(answer_of(sleep) - begun, SECOND);
    }
    // One that is gone does not hold up the other.
    let [gone, left] = systems;
    assert!(in_time(move || gone.shutdown(SECOND)).is_clean());
    let sleep = players[1].ask(sleep_until(SECOND));
    wait_for_timers(&left, 1);
    clock.advance(SECOND);
    assert_eq!(answer_of(sleep) - begun, 2 * SECOND);
    assert!(in_time(move || left.shutdown(SECOND)).is_clean());
}

#[test]
fn a_timer_that_is_cancelled_while_it_fires_comes_once_or_not_at_all_as_the_cancelling_says() {
    const TIMERS: u64 = 500;
    on_a_clock(|system, clock| {
        let player = system.spawn(Player::default());
        for round in 0..20 {
            let set = player.ask(act(|_, ctx| {
                let timers = (0..TIMERS).map(|number| ctx.send_after(SECOND, Note(number)));
                timers.collect::<Vec<_>>()
            }));
            let timers = answer_of(set);
            let mover = {
                let clock = clock.clone();
                on_a_thread(move || clock.advance(SECOND))
            };
            eventually("they begin to fire", || {
                system.snapshot().timers < TIMERS as usize
            });
            // Now one runs after the other.
            let cancelled: BTreeSet<_> = (0..)
                .zip(&timers)
                .filter_map(|(number, timer)| timer.cancel().then_some(number))
                .collect();
            result_of(mover);
            let notes = player.ask(act(|player, _| std::mem::take(&mut player.notes)));
            let notes = answer_of(notes);
            let came: BTreeSet<_> = notes.iter().map(|(_, number)| *number).collect();
            assert_eq!(came.len(), notes.len(), "each comes once");
            let both: Vec<_> = came.intersection(&cancelled).collect();
            assert!(
                both.is_empty(),
                "cancelled, and came: {both:?} in round {round}"
            );
            let neither: Vec<_> = (0..TIMERS)
                .filter(|number| !came.contains(number) && !cancelled.contains(number))
                .collect();
            assert!(neither.is_empty(), "neither: {neither:?} in round {round}");
            assert_eq!(system.snapshot().timers, 0);
        }
    });
}
