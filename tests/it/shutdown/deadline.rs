//! What happens when a shutdown's deadline passes.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{ActorState, Addr, AskError, StopReason, System, WaitError};

use super::SECOND;
use crate::support::{
    Entry, Log, Note, Player, act, end_of, eventually, gate, in_time, under_seeds,
};

/// Waits for the end in a system whose clock does not move by itself.
fn end_in_time(addr: &Addr<Log>) -> StopReason {
    let addr = addr.clone();
    in_time(move || addr.join()).expect("a test's thread can wait")
}

#[test]
fn a_shutdown_returns_at_its_deadline_and_names_who_is_stuck() {
    let clock = ManualClock::new();
    let system = System::builder().workers(2).clock(&clock).build().unwrap();
    let other = system.spawn(Log::default());
    let stuck = system.actor().name("stuck").spawn(Log::default()).unwrap();
    let (hold, gate) = gate();
    stuck.send(hold).unwrap();
    gate.wait_until_held();
    stuck.send(Entry(1)).unwrap();
    stuck.send(Entry(2)).unwrap();
    let closing = {
        let system = system.clone();
        thread::spawn(move || system.shutdown(5 * SECOND))
    };
    eventually("it waits for the end", || system.snapshot().timers == 1);
    eventually("the other one ends", || other.is_stopped());
    clock.advance(4 * SECOND);
    assert!(!closing.is_finished());
    clock.advance(SECOND);
    let report = in_time(move || closing.join().unwrap());
    assert!(!report.is_clean());
    assert_eq!(
        (report.ended, report.left, report.interrupted.clone()),
        (1, 2, None)
    );
    let [unfinished] = &report.unfinished[..] else {
        panic!("one is stuck: {report}");
    };
    assert_eq!(unfinished.queued, 2);
    let actor = &unfinished.actor;
    assert_eq!(actor.id, stuck.id());
    assert_eq!(actor.name.as_deref(), Some("stuck"));
    assert!(actor.actor_type.ends_with("support::Log"));
    assert_eq!(actor.counts.queued, 2);
    let ActorState::Running {
        message_type: Some(message_type),
    } = actor.state
    else {
        panic!("it handles a message: {actor:?}");
    };
    assert!(message_type.ends_with("support::Hold"));
    let text = report.to_string();
    for part in [
        "1 ended",
        "1 did not",
        "2 messages",
        "stuck",
        "Log`",
        "Hold`",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert!(text.contains(&stuck.id().to_string()), "{text}");
    // Its handler goes on until it ends by itself; what was queued is not handled any more.
    assert!(!stuck.is_stopped());
    gate.open();
    assert_eq!(end_in_time(&stuck), StopReason::Shutdown);
    let totals = system.snapshot().totals;
    assert_eq!((totals.handled, totals.dead_lettered), (1, 2));
    assert!(in_time(move || system.shutdown(SECOND)).is_clean());
}

#[test]
fn a_shutdown_returns_at_its_deadline_by_the_machines_clock() {
    for workers in [1, 2] {
        let system = crate::support::pool(workers);
        let stuck = system.spawn(Log::default());
        let (hold, gate) = gate();
        stuck.send(hold).unwrap();
        gate.wait_until_held();
        let report = in_time({
            let system = system.clone();
            move || system.shutdown(SECOND / 100)
        });
        assert_eq!(report.unfinished.len(), 1, "{report}");
        gate.open();
        assert_eq!(end_of(&stuck), StopReason::Shutdown);
    }
}

#[test]
fn a_stuck_actor_on_its_own_thread_is_named_too() {
    let clock = ManualClock::new();
    let system = System::builder().workers(1).clock(&clock).build().unwrap();
    let options = system.actor().name("alone");
    let stuck = options.spawn_thread(Log::default).unwrap();
    let (hold, gate) = gate();
    stuck.send(hold).unwrap();
    gate.wait_until_held();
    let closing = {
        let system = system.clone();
        thread::spawn(move || system.shutdown_now(SECOND))
    };
    eventually("it waits for the end", || system.snapshot().timers == 1);
    clock.advance(SECOND);
    let report = in_time(move || closing.join().unwrap());
    assert_eq!(report.unfinished[0].actor.id, stuck.id());
    assert_eq!(report.unfinished[0].queued, 0);
    gate.open();
    assert_eq!(end_in_time(&stuck), StopReason::Shutdown);
}

#[test]
fn a_parked_handler_is_interrupted_at_the_deadline_and_not_before() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let begun = system.now();
        let ended: Arc<Mutex<Option<StopReason>>> = Arc::default();
        let seen = ended.clone();
        let player = system.spawn(Player::ending_with(move |reason, _| {
            *seen.lock().unwrap() = Some(reason.clone());
        }));
        let slept = player.ask(act(|_, ctx| {
            let slept = ctx.sleep(3600 * SECOND);
            (slept, ctx.now())
        }));
        player.send(Note(1)).unwrap();
        stepper.run();
        let report = system.shutdown(SECOND);
        assert_eq!(system.now() - begun, SECOND);
        assert_eq!((report.ended, report.left), (0, 1));
        let state = &report.unfinished[0].actor.state;
        assert!(matches!(
            state,
            ActorState::Waiting {
                message_type: Some(_)
            }
        ));
        assert!(report.to_string().contains("was waiting"), "{report}");
        let (slept, at) = slept.wait().unwrap();
        assert_eq!(slept, Err(WaitError::Interrupted));
        assert_eq!(at - begun, SECOND);
        assert_eq!(end_of(&player), StopReason::Shutdown);
        assert_eq!(*ended.lock().unwrap(), Some(StopReason::Shutdown));
        assert_eq!(system.now() - begun, SECOND);
        assert_eq!(system.snapshot().totals.dead_lettered, 1);
    });
}

#[test]
fn a_deadline_that_has_passed_already_names_all_and_ends_them_afterwards() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let players = [0, 1, 2].map(|_| system.spawn(Player::default()));
        players[1].send(Note(1)).unwrap();
        let report = system.shutdown(std::time::Duration::ZERO);
        let ids: Vec<_> = report
            .unfinished
            .iter()
            .map(|unfinished| unfinished.actor.id)
            .collect();
        assert_eq!(
            ids,
            players.each_ref().map(Addr::id),
            "in order of their ids"
        );
        assert_eq!((report.ended, report.left), (0, 1));
        assert!(report.to_string().contains("3 did not"), "{report}");
        for player in &players {
            assert_eq!(end_of(player), StopReason::Shutdown);
        }
        assert_eq!(system.snapshot().timers, 0);
    });
}

#[test]
fn a_hook_that_waits_is_named_as_a_hook() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let beginner = system.spawn(Player::beginning_with(|ctx| {
            assert_eq!(ctx.sleep(10 * SECOND), Err(WaitError::Interrupted));
        }));
        let ender = system.spawn(Player::ending_with(|_, ctx| {
            assert_eq!(ctx.sleep(10 * SECOND), Err(WaitError::Interrupted));
        }));
        stepper.run();
        let report = system.shutdown(SECOND);
        assert_eq!(report.unfinished.len(), 2);
        for unfinished in &report.unfinished {
            let state = &unfinished.actor.state;
            assert!(matches!(state, ActorState::Waiting { message_type: None }));
            assert!(unfinished.to_string().contains("a hook"), "{unfinished}");
        }
        assert_eq!(end_of(&beginner), StopReason::Shutdown);
        assert_eq!(end_of(&ender), StopReason::Shutdown);
    });
}

#[test]
fn a_clean_report_says_how_many_have_ended() {
    let stepper = Stepper::new(1);
    let _kept = [0, 1, 2].map(|_| stepper.system().spawn(Player::default()));
    let report = stepper.system().shutdown(SECOND);
    assert_eq!(report.to_string(), "3 ended");
}

#[test]
fn an_actor_that_was_killed_before_the_shutdown_has_ended_for_that_reason() {
    let system = System::builder().workers(2).build().unwrap();
    let stuck = system.spawn(Log::default());
    let (hold, gate) = gate();
    stuck.send(hold).unwrap();
    gate.wait_until_held();
    stuck.kill();
    let refused = stuck.ask(Entry(1)).wait();
    let Err(AskError::Stopped { reason }) = refused else {
        panic!("{refused:?}");
    };
    let report = system.shutdown(Duration::ZERO);
    assert_eq!(report.unfinished.len(), 1);
    drop(gate);
    assert_eq!(
        (reason, end_of(&stuck)),
        (StopReason::Killed, StopReason::Killed)
    );
}
