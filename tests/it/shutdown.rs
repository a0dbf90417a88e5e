//! The end of a system: draining or not, every `stopped`, nobody new, and a report.

mod deadline;
mod phases;
#[cfg(target_os = "linux")]
mod threads;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{
    Addr, AskError, Context, LossReason, SendError, ShutdownReport, SpawnError, StopReason, System,
    TrySendError, WaitError,
};

use crate::support::{
    Act, Entry, Log, Note, PATIENCE, Player, Seen, act, end_of, eventually, gate, in_a_pool,
    in_pools, in_time, pool, under_seeds,
};

const SECOND: Duration = Duration::from_secs(1);

fn sleep_for(time: Duration) -> Act<Result<(), WaitError>> {
    act(move |_, ctx| ctx.sleep(time))
}

/// Either way to end a system.
type End = fn(&System, Duration) -> ShutdownReport;
const ENDS: [End; 2] = [System::shutdown, System::shutdown_now];

// Draining, or not.

#[test]
fn a_shutdown_lets_every_actor_handle_what_is_queued() {
    let work = |system: &System| {
        let (tell, told) = mpsc::channel();
        let players: Vec<_> = (0..10).map(|_| system.spawn(Player::default())).collect();
        for player in &players {
            for number in 0..100_u64 {
                let tell = tell.clone();
                let id = player.id();
                let message = act(move |_, _| tell.send((id, number)).expect("the test listens"));
                player.send(message).expect("there is room");
            }
        }
        let report = system.shutdown(PATIENCE);
        assert!(report.is_clean(), "{report}");
        assert_eq!(
            (report.ended, report.left, report.interrupted),
            (10, 0, None)
        );
        let handled: Vec<_> = told.try_iter().collect();
        for player in &players {
            assert_eq!(player.join(), Ok(StopReason::Shutdown));
            let of_player = handled.iter().filter(|(id, _)| *id == player.id());
            assert!(of_player.map(|(_, number)| *number).eq(0..100));
        }
        let totals = system.snapshot().totals;
        assert_eq!((totals.accepted, totals.handled), (1000, 1000));
    };
    in_pools(work);
    under_seeds(|stepper| work(stepper.system()));
}

#[test]
fn a_shutdown_without_draining_ends_each_actor_after_the_message_in_hand() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let letters = system.dead_letters();
        let player = system.spawn(Player::default());
        let begun = stepper.clock().now();
        let in_hand = player.ask(sleep_for(SECOND));
        stepper.run();
        player.send(Note(1)).unwrap();
        let queued = player.ask(Note(2));
        let report = system.shutdown_now(10 * SECOND);
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.left, 0);
        assert_eq!(stepper.clock().now() - begun, SECOND);
        assert_eq!(in_hand.wait().unwrap(), Ok(()));
        let Err(AskError::Stopped { reason }) = queued.wait() else {
            panic!("it was queued when its actor ended");
        };
        assert_eq!(reason, StopReason::Shutdown);
        for _ in 0..2 {
            let letter = letters.try_next().expect("both were queued");
            assert_eq!(letter.reason, LossReason::Stopped(StopReason::Shutdown));
        }
        assert_eq!(letters.try_next(), None);
        let totals = system.snapshot().totals;
        assert_eq!((totals.handled, totals.dead_lettered), (1, 2));
    });
}

#[test]
fn every_stopped_runs_once_with_the_reason_before_a_shutdown_returns() {
    for end in ENDS {
        let work = |system: &System| {
            let ended: Arc<Mutex<Vec<StopReason>>> = Arc::default();
            let player = || {
                let ended = ended.clone();
                move || {
                    Player::ending_with(move |reason, _| {
                        ended.lock().unwrap().push(reason.clone());
                    })
                }
            };
            let mut players: Vec<_> = (0..100).map(|_| system.spawn(player()())).collect();
            for _ in 0..5 {
                let on_a_thread = system.actor().spawn_thread(player());
                players.push(on_a_thread.unwrap());
            }
            let report = end(system, PATIENCE);
            assert!(report.is_clean(), "{report}");
            assert_eq!(report.ended, 105);
            assert_eq!(*ended.lock().unwrap(), vec![StopReason::Shutdown; 105]);
            assert!(players.iter().all(Addr::is_stopped));
        };
        in_pools(work);
        under_seeds(|stepper| work(stepper.system()));
    }
}

#[test]
fn an_actor_that_was_ending_already_keeps_its_reason() {
    under_seeds(|stepper| {
        let players = [0, 1, 2].map(|_| stepper.system().spawn(Player::default()));
        for player in &players {
            player.send(sleep_for(SECOND)).unwrap();
        }
        stepper.run();
        players[0].stop();
        players[1].drain();
        assert!(stepper.system().shutdown(10 * SECOND).is_clean());
        let reasons = players.map(|player| player.join().unwrap());
        let expected = [
            StopReason::Stopped,
            StopReason::Drained,
            StopReason::Shutdown,
        ];
        assert_eq!(reasons, expected);
    });
}

#[test]
fn a_system_without_actors_shuts_down_at_once() {
    in_pools(|system| {
        assert!(!system.is_shutting_down());
        let report = system.shutdown(PATIENCE);
        assert_eq!((report.ended, report.is_clean()), (0, true));
        assert!(system.is_shutting_down());
    });
    under_seeds(|stepper| {
        assert!(stepper.system().shutdown(Duration::ZERO).is_clean());
    });
}

// Intake.

#[test]
fn a_system_that_shuts_down_refuses_newcomers() {
    in_pools(|system| {
        assert!(system.shutdown(PATIENCE).is_clean());
        let dropped = Arc::new(());
        let carried = dropped.clone();
        let player = || {
            let carried = carried.clone();
            Player::ending_with(move |_, _| drop(carried))
        };
        let pooled = system.actor().spawn(player());
        assert!(matches!(pooled, Err(SpawnError::ShuttingDown)));
        let alone = player();
        let alone = system.actor().spawn_thread(move || alone);
        assert!(matches!(alone, Err(SpawnError::ShuttingDown)));
        // The short form gives the address of an actor that has ended.
        let ended = system.spawn(player());
        assert!(ended.is_stopped());
        assert_eq!(ended.join(), Ok(StopReason::Shutdown));
        assert!(matches!(
            ended.send(Note(1)),
            Err(SendError::Stopped(Note(1)))
        ));
        assert!(matches!(
            ended.try_send(Note(2)),
            Err(TrySendError::Stopped(Note(2)))
        ));
        let Err(AskError::Stopped { reason }) = ended.ask(Note(3)).wait() else {
            panic!("it has ended");
        };
        assert_eq!(reason, StopReason::Shutdown);
        ended.stop();
        ended.kill();
        drop(carried);
        assert_eq!(Arc::strong_count(&dropped), 1, "the actors are dropped");
    });
}

#[test]
fn an_actor_that_drains_cannot_spawn() {
    under_seeds(|stepper| {
        let spawned = Arc::new(AtomicUsize::new(0));
        let counted = spawned.clone();
        let spawn = move |ctx: &mut Context<Player>| {
            let refused = ctx.actor().spawn(Player::default());
            assert!(matches!(refused, Err(SpawnError::ShuttingDown)));
            assert!(ctx.spawn(Player::default()).is_stopped());
            counted.fetch_add(1, SeqCst);
        };
        let last = spawn.clone();
        let player = stepper
            .system()
            .spawn(Player::ending_with(move |_, ctx| last(ctx)));
        player.send(act(move |_, ctx| spawn(ctx))).unwrap();
        assert!(stepper.system().shutdown(SECOND).is_clean());
        assert_eq!(spawned.load(SeqCst), 2);
    });
}

#[test]
fn the_address_of_an_actor_that_was_refused_does_no_harm() {
    let test = |system: &System| {
        let player = system.spawn(Player::default());
        let (hold, gate) = gate();
        let log = system.spawn(Log::default());
        log.send(hold).unwrap();
        gate.wait_until_held();
        for _ in 0..20 {
            let spawn = act(|_, ctx| {
                let refused = ctx.spawn(Player::default());
                refused.stop();
                refused.drain();
                refused.kill();
                let weak = refused.downgrade();
                drop(refused);
                assert!(weak.upgrade().is_none());
            });
            player.send(spawn).unwrap();
        }
        drop(player.ask(sleep_for(SECOND / 1000)));
        let handle = system.clone();
        let closing = thread::spawn(move || handle.shutdown(PATIENCE));
        assert_eq!(end_of(&player), StopReason::Shutdown);
        gate.open();
        assert!(in_time(move || closing.join().unwrap()).is_clean());
    };
    // One worker is held, so that the system is still there.
    in_a_pool(2, test);
    in_a_pool(8, test);
}

#[test]
fn what_a_draining_actor_sends_to_another_one_comes_back() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let [player, other] = [0, 1].map(|_| system.spawn(Player::default()));
        let to = other.clone();
        let sent = player.ask(act(move |_, ctx| {
            // By then the other one, who has nothing to do, has ended.
            ctx.sleep(SECOND).expect("nobody ends the sleep");
            to.send(Note(1))
        }));
        stepper.run();
        assert!(system.shutdown(10 * SECOND).is_clean());
        let sent = sent.wait().unwrap();
        assert!(matches!(sent, Err(SendError::Stopped(Note(1)))));
    });
}

#[test]
fn every_mailbox_closes_at_once_also_that_of_a_busy_actor() {
    let system = pool(1);
    let log = system.spawn(Log::default());
    let (hold, gate) = gate();
    log.send(hold).unwrap();
    gate.wait_until_held();
    log.send(Entry(1)).unwrap();
    let closing = {
        let system = system.clone();
        thread::spawn(move || system.shutdown(PATIENCE))
    };
    // The deadline's timer is set after all have been told.
    eventually("it waits for the end", || system.snapshot().timers == 1);
    let late = log.try_send(Entry(2));
    gate.open();
    let report = in_time(move || closing.join().unwrap());
    assert!(report.is_clean(), "{report}");
    assert!(matches!(late, Err(TrySendError::Stopped(Entry(2)))));
    assert_eq!(system.snapshot().totals.handled, 2);
}

#[test]
fn those_who_wait_for_room_get_their_messages_back() {
    in_pools(|system| {
        let options = system.actor().capacity(1);
        let log = options.spawn(Log::default()).unwrap();
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        log.send(Entry(1)).unwrap();
        let sender = {
            let log = log.clone();
            thread::spawn(move || log.send(Entry(2)))
        };
        let request = log.ask(Seen);
        let waiting = || system.snapshot().actors[0].waiting_senders;
        eventually("both stand in line", || waiting() == 2);
        let closing = {
            let system = system.clone();
            thread::spawn(move || system.shutdown(PATIENCE))
        };
        eventually("it waits for the end", || system.snapshot().timers == 1);
        gate.open();
        let sent = in_time(move || sender.join().unwrap());
        let request = request.wait_for(PATIENCE);
        assert!(in_time(move || closing.join().unwrap()).is_clean());
        // What stood in line when there was room may have been taken before the end.
        match sent {
            Ok(()) | Err(SendError::Stopped(Entry(2))) => {}
            Err(error) => panic!("{error}"),
        }
        match request {
            Ok(_) => {}
            Err(AskError::Stopped { reason }) => assert_eq!(reason, StopReason::Shutdown),
            Err(error) => panic!("{error}"),
        }
        assert!(system.snapshot().totals.is_balanced());
    });
}

// By whom, and how often.

#[test]
fn dropping_the_last_handle_drains_and_ends_all_without_waiting() {
    for workers in [1, 2, 8] {
        let system = pool(workers);
        let clone = system.clone();
        let log = system.spawn(Log::default());
        drop(system);
        // Another handle is left.
        assert!(clone.actor().spawn(Log::default()).is_ok());
        assert!(!log.is_stopped());
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        log.send(Entry(1)).unwrap();
        let seen = log.ask(Seen);
        drop(clone);
        gate.open();
        assert_eq!(end_of(&log), StopReason::Shutdown);
        assert_eq!(seen.wait_for(PATIENCE).unwrap(), [1]);
        assert!(matches!(log.send(Entry(2)), Err(SendError::Stopped(_))));
    }
}

#[test]
fn a_handler_may_drop_the_last_handle() {
    let system = pool(1);
    let player = system.spawn(Player::default());
    let (give, given) = mpsc::channel::<System>();
    let dropped = player.ask(act(move |_, ctx| {
        drop(given.recv().expect("the test gives it"));
        ctx.spawn(Player::default()).is_stopped()
    }));
    give.send(system).expect("the handler waits for it");
    assert!(dropped.wait_for(PATIENCE).unwrap());
    assert_eq!(end_of(&player), StopReason::Shutdown);
}

#[test]
fn a_handler_that_shuts_its_system_down_is_the_only_one_left_at_the_deadline() {
    let test = |system: &System, pass_time: &dyn Fn()| {
        let others = [0, 1].map(|_| system.spawn(Player::default()));
        let player = system.spawn(Player::default());
        let handle = system.clone();
        let reply = player.ask(act(move |_, ctx| {
            let report = handle.shutdown(SECOND);
            // It has been told, so its waits are over.
            (report, ctx.sleep(SECOND))
        }));
        pass_time();
        eventually("it returns", || reply.is_ready());
        let (report, slept) = reply.wait().unwrap();
        assert_eq!((report.ended, report.interrupted), (2, None));
        let unfinished: Vec<_> = report
            .unfinished
            .iter()
            .map(|unfinished| unfinished.actor.id)
            .collect();
        assert_eq!(unfinished, [player.id()]);
        assert_eq!(slept, Err(WaitError::Interrupted));
        pass_time();
        eventually("it ends", || player.is_stopped());
        assert_eq!(player.join(), Ok(StopReason::Shutdown));
        assert!(others.iter().all(Addr::is_stopped));
    };
    under_seeds(|stepper| test(stepper.system(), &|| stepper.advance(SECOND)));
    for workers in [1, 2] {
        let clock = ManualClock::new();
        let system = System::builder().workers(workers).clock(&clock);
        let system = system.build().unwrap();
        test(&system, &|| {
            eventually("the others end", || {
                let snapshot = system.snapshot();
                snapshot.actors.len() <= 1 && snapshot.timers == snapshot.actors.len()
            });
            clock.advance(SECOND);
        });
    }
}

#[test]
fn a_second_shutdown_finds_nobody() {
    in_pools(|system| {
        system.spawn(Player::default());
        let _kept = system.spawn(Player::default());
        assert!(system.shutdown(PATIENCE).is_clean());
        for end in ENDS {
            let report = end(system, Duration::ZERO);
            assert_eq!((report.ended, report.is_clean()), (0, true), "{report}");
        }
    });
}

#[test]
fn two_threads_may_shut_a_system_down() {
    in_pools(|system| {
        let players: Vec<_> = (0..50).map(|_| system.spawn(Player::default())).collect();
        let closers = ENDS.map(|end| {
            let system = system.clone();
            thread::spawn(move || end(&system, PATIENCE))
        });
        for closer in closers {
            let report = in_time(move || closer.join().unwrap());
            assert!(report.is_clean(), "{report}");
        }
        assert!(players.iter().all(Addr::is_stopped));
    });
}

#[test]
fn a_shutdown_without_draining_hurries_one_that_drains() {
    in_pools(|system| {
        let log = system.spawn(Log::default());
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        for number in 0..100 {
            log.send(Entry(number)).unwrap();
        }
        let closers = ENDS.map(|end| {
            let closing = {
                let system = system.clone();
                thread::spawn(move || end(&system, PATIENCE))
            };
            eventually("it has begun", || system.snapshot().timers >= 1);
            closing
        });
        eventually("both have begun", || system.snapshot().timers == 2);
        gate.open();
        for closer in closers {
            assert!(in_time(move || closer.join().unwrap()).is_clean());
        }
        let totals = system.snapshot().totals;
        assert_eq!((totals.handled, totals.dead_lettered), (1, 100));
    });
}

#[test]
fn a_shutdown_whose_caller_is_killed_says_that_it_was_interrupted() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let sleeper = system.spawn(Player::default());
        sleeper.send(sleep_for(SECOND)).unwrap();
        let player = system.spawn(Player::default());
        let handle = system.clone();
        let reply = player.ask(act(move |_, _| handle.shutdown(100 * SECOND)));
        stepper.run();
        player.kill();
        let report = reply.wait().unwrap();
        assert_eq!(report.interrupted, Some(WaitError::Interrupted));
        assert!(!report.is_clean());
        end_of(&player);
        end_of(&sleeper);
    });
}

#[test]
fn a_stepped_system_shuts_down_on_the_thread_that_steps_it() {
    for seed in 0..50 {
        let stepper = Stepper::new(seed);
        let system = stepper.system().clone();
        let players: Vec<_> = (0..10).map(|_| system.spawn(Player::default())).collect();
        for (seconds, player) in (1..).zip(&players) {
            player.send(sleep_for(seconds * SECOND)).unwrap();
        }
        let begun = system.now();
        assert!(system.shutdown(100 * SECOND).is_clean(), "with seed {seed}");
        assert_eq!(system.now() - begun, 10 * SECOND);
    }
}
