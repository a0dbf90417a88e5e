//! Handlers and waits that take long are named by warnings of `tracing`.
//!
//! The clock is moved by hand, and the sampler is one of its timers; so it looks when the test
//! says. Each test has a process of its own, for the sake of the subscriber.

use std::fmt;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use greenroom::testkit::ManualClock;
use greenroom::{Actor, ActorState, Addr, Awaited, System, SystemBuilder, Wait};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};

use crate::support::{
    Borrow, Debtor, Hold, Log, Note, PATIENCE, Pay, Player, Seen, act, alone, end_of, eventually,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Keeps the crate's warnings, each as one line of text.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        if *event.metadata().level() == Level::WARN {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }
}

impl Warnings {
    fn listen() -> Self {
        let warnings = Self::default();
        let subscriber = tracing_subscriber::registry().with(warnings.clone());
        tracing::subscriber::set_global_default(subscriber).expect("it is the only one");
        warnings
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The parts that one line has.
fn has_all(line: &str, parts: &[&str]) -> bool {
    let missing: Vec<_> = parts.iter().filter(|part| !line.contains(**part)).collect();
    assert!(missing.is_empty(), "{missing:?} in {line}");
    true
}

fn watched(clock: &ManualClock) -> SystemBuilder {
    System::builder().workers(2).name("stage").clock(clock)
}

/// A handler that blocks its thread until the sender is used.
fn hold(log: &Addr<Log>) -> mpsc::Sender<()> {
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let hold = Hold {
        begun,
        release: released,
    };
    log.send(hold).expect("there is room");
    has_begun.recv_timeout(PATIENCE).expect("it begins");
    release
}

fn is_waiting<A: Actor>(system: &System, addr: &Addr<A>) -> bool {
    let snapshot = system.snapshot();
    let actor = snapshot.actors.iter().find(|actor| actor.id == addr.id());
    actor.is_some_and(|actor| matches!(actor.state, ActorState::Waiting { .. }))
}

/// Waits until no worker is in the middle of a turn: the clock jumps, and a turn that a jump falls
/// into is as long as the jump.
fn settle(system: &System) {
    eventually("all workers sleep", || {
        system.snapshot().workers.iter().all(|worker| worker.asleep)
    });
}

/// Ends the system and waits for its threads: the process ends next.
fn end(system: System) {
    assert!(system.shutdown(SECOND).is_clean());
    drop(system);
    #[cfg(target_os = "linux")]
    eventually("its threads end", || {
        let threads = crate::support::threads();
        threads.iter().all(|name| !name.starts_with("stage"))
    });
}

#[test]
fn a_slow_handler_is_named_and_again_when_it_has_taken_twice_as_long() {
    alone(|| {
        let warnings = Warnings::listen();
        let clock = ManualClock::new();
        let system = watched(&clock).build().unwrap();
        let log = system.actor().name("scribe").spawn(Log::default()).unwrap();
        let release = hold(&log);
        clock.advance(SECOND);
        assert_eq!(warnings.take(), [""; 0], "it may have begun a moment ago");
        clock.advance(SECOND / 2);
        let lines = warnings.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let id = format!("actor={}", log.id());
        has_all(
            &lines[0],
            &[
                "a handler is slow",
                &id,
                "\"scribe\"",
                "Log",
                "Hold",
                "thread=\"stage-",
                "time=1s",
            ],
        );
        clock.advance(SECOND / 2);
        assert_eq!(warnings.take(), [""; 0]);
        clock.advance(SECOND / 2);
        assert!(warnings.take()[0].contains("time=2s"));
        clock.advance(SECOND);
        assert_eq!(warnings.take(), [""; 0]);
        clock.advance(SECOND);
        assert!(warnings.take()[0].contains("time=4s"));
        release.send(()).unwrap();
        log.ask(Seen).wait_for(PATIENCE).unwrap();
        clock.advance(100 * SECOND);
        assert_eq!(warnings.take(), [""; 0], "it has ended");
        end(system);
    });
}

#[test]
fn many_quick_handlers_in_one_turn_are_not_slow() {
    alone(|| {
        let warnings = Warnings::listen();
        let clock = ManualClock::new();
        let system = watched(&clock).build().unwrap();
        let log = system.spawn(Log::default());
        // All but the first are queued behind it, so they are handled in one turn.
        let first = hold(&log);
        let (begun, has_begun) = mpsc::channel();
        let releases: Vec<_> = (0..20)
            .map(|_| {
                let (release, released) = mpsc::channel();
                let begun = begun.clone();
                log.send(Hold {
                    begun,
                    release: released,
                })
                .unwrap();
                release
            })
            .collect();
        first.send(()).unwrap();
        for release in releases {
            has_begun.recv_timeout(PATIENCE).unwrap();
            clock.advance(SECOND / 2);
            release.send(()).unwrap();
        }
        log.ask(Seen).wait_for(PATIENCE).unwrap();
        assert_eq!(warnings.take(), [""; 0]);
        end(system);
    });
}

#[test]
fn a_handler_on_a_thread_of_its_own_or_of_a_caller_is_named_with_that_thread() {
    alone(|| {
        let warnings = Warnings::listen();
        let clock = ManualClock::new();
        let system = watched(&clock).build().unwrap();
        let own = system
            .actor()
            .name("own")
            .spawn_thread(Log::default)
            .unwrap();
        let release = hold(&own);
        clock.advance(2 * SECOND);
        let lines = warnings.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        has_all(&lines[0], &["Hold", "thread=\"own\""]);
        release.send(()).unwrap();
        own.ask(Seen).wait_for(PATIENCE).unwrap();

        let called = system.spawn(Log::default());
        let (begun, has_begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let asker = thread::Builder::new().name("caller".to_owned());
        let addr = called.clone();
        let asker = asker.spawn(move || {
            addr.ask(Hold {
                begun,
                release: released,
            })
            .wait()
            .unwrap();
        });
        has_begun.recv_timeout(PATIENCE).unwrap();
        clock.advance(2 * SECOND);
        let lines = warnings.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        has_all(&lines[0], &["Hold", "thread=\"caller\""]);
        release.send(()).unwrap();
        asker.unwrap().join().unwrap();
        end(system);
    });
}

#[test]
fn a_handler_that_waits_is_not_slow_and_one_that_was_resumed_may_be() {
    alone(|| {
        let warnings = Warnings::listen();
        let clock = ManualClock::new();
        let system = watched(&clock).warn_long_wait(None).build().unwrap();
        let player = system.spawn(Player::default());
        let (woken, has_woken) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let nap = act(move |_, ctx| {
            ctx.sleep(100 * SECOND).unwrap();
            woken.send(()).unwrap();
            let _ = released.recv();
        });
        player.send(nap).unwrap();
        eventually("it sleeps", || is_waiting(&system, &player));
        settle(&system);
        clock.advance(100 * SECOND);
        has_woken.recv_timeout(PATIENCE).unwrap();
        assert_eq!(warnings.take(), [""; 0]);
        clock.advance(2 * SECOND);
        let lines = warnings.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        has_all(&lines[0], &["a handler is slow", "Player", "Act"]);
        release.send(()).unwrap();
        player.ask(Note(1)).wait_for(PATIENCE).unwrap();
        end(system);
    });
}

#[test]
fn a_long_wait_is_named_once_with_what_is_awaited_and_a_sleep_is_not() {
    alone(|| {
        let warnings = Warnings::listen();
        let clock = ManualClock::new();
        let system = watched(&clock).build().unwrap();
        let debtor = system
            .actor()
            .name("debtor")
            .spawn(Debtor::default())
            .unwrap();
        let player = system.spawn(Player::default());
        let own = system.actor().spawn_thread(Player::default).unwrap();
        let sleeper = system.spawn(Player::default());
        let waits = [&player, &own].map(|player| {
            let asked = debtor.clone();
            player.ask(act(move |_, _| asked.ask(Borrow).wait().unwrap()))
        });
        sleeper
            .send(act(|_, ctx| ctx.sleep(1000 * SECOND)))
            .unwrap();
        for waiter in [&player, &own, &sleeper] {
            eventually("it waits", || is_waiting(&system, waiter));
        }
        eventually("both answers are in debt", || {
            let waits = system.waits();
            let deferred = |wait: &&Wait| matches!(wait.awaited, Awaited::Deferred { .. });
            waits.iter().filter(deferred).count() == 2
        });
        settle(&system);
        clock.advance(10 * SECOND - MILLISECOND);
        assert_eq!(warnings.take(), [""; 0]);
        clock.advance(SECOND);
        let lines = warnings.take();
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, waiter) in lines.iter().zip([&player, &own]) {
            let id = format!("actor={}", waiter.id());
            has_all(
                line,
                &[
                    "a wait takes long",
                    &id,
                    "Act",
                    "Borrow",
                    "(debtor)",
                    "put off",
                ],
            );
        }
        clock.advance(500 * SECOND);
        assert_eq!(warnings.take(), [""; 0], "each is named once");
        debtor.send(Pay(5)).unwrap();
        for wait in waits {
            assert_eq!(wait.wait_for(PATIENCE).unwrap(), 5);
        }
        // A new wait is named anew.
        let asked = debtor.clone();
        let again = player.ask(act(move |_, _| asked.ask(Borrow).wait().unwrap()));
        eventually("it waits", || is_waiting(&system, &player));
        settle(&system);
        clock.advance(11 * SECOND);
        let lines = warnings.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        debtor.send(Pay(6)).unwrap();
        assert_eq!(again.wait_for(PATIENCE).unwrap(), 6);
        sleeper.kill();
        end_of(&sleeper);
        end(system);
    });
}

#[test]
fn warnings_that_are_not_wanted_are_not_given() {
    alone(|| {
        let warnings = Warnings::listen();
        let clock = ManualClock::new();
        let system = watched(&clock).warn_slow_handler(None).warn_long_wait(None);
        let system = system.build().unwrap();
        let log = system.spawn(Log::default());
        let player = system.spawn(Player::default());
        let asked = log.clone();
        let release = hold(&log);
        let wait = player.ask(act(move |_, _| asked.ask(Seen).wait().unwrap().len()));
        eventually("it waits", || is_waiting(&system, &player));
        clock.advance(1000 * SECOND);
        assert_eq!(warnings.take(), [""; 0]);
        release.send(()).unwrap();
        assert_eq!(wait.wait_for(PATIENCE).unwrap(), 0);
        end(system);
    });
}
