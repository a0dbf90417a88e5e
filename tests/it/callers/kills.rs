//! Kills of handlers that wait on threads: the wait ends at once, unless what is waited for runs on
//! top of it; and a shutdown ends all of them.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use greenroom::{Addr, AskError, Context, StopReason, System, WaitError};

use super::{begun, handled, here, is_waiting, occupy, open_player, snapshot_of};
use crate::support::{
    Gate, Log, Note, Player, act, end_of, eventually, gate, in_pools, in_time, pool,
};

const SECOND: Duration = Duration::from_secs(1);

/// Has a handler do this that waits on a thread: that of the caller who runs it, which is the one
/// that is returned, or its actor's own. It is given what occupies all workers.
fn on_a_thread<R: Send + 'static>(
    system: &System,
    of_its_own: bool,
    scene: impl FnOnce(Vec<Gate>, &mut Context<Player>) -> R + Send + 'static,
) -> (Addr<Player>, JoinHandle<R>) {
    let gates = occupy(system);
    let waiter = match of_its_own {
        false => system.spawn(Player::default()),
        true => system.actor().spawn_thread(Player::default).unwrap(),
    };
    let asked = waiter.clone();
    let asker = thread::spawn(move || {
        let told = asked.ask(act(move |_, ctx| (here(), scene(gates, ctx))));
        let (place, told) = told.wait().expect("the handler returns");
        assert_eq!(place != here(), of_its_own);
        told
    });
    (waiter, asker)
}

fn check_interrupted<R: std::fmt::Debug>(outcome: &Result<R, AskError>) {
    assert!(
        matches!(outcome, Err(AskError::Wait(WaitError::Interrupted))),
        "{outcome:?}"
    );
}

#[test]
fn a_kill_ends_a_wait_on_a_thread_at_once_although_the_asked_handler_goes_on() {
    in_pools(|system| {
        for of_its_own in [false, true] {
            let log = system.spawn(Log::default());
            let (hold, gate) = gate();
            let asked = log.clone();
            let (waiter, asker) = on_a_thread(system, of_its_own, move |gates, ctx| {
                drop(gates);
                let outcome = asked.ask(hold).wait();
                assert_eq!(ctx.sleep(SECOND), Err(WaitError::Interrupted));
                outcome
            });
            gate.wait_until_held();
            eventually("it waits", || is_waiting(system, &waiter));
            waiter.kill();
            eventually("its wait ends", || asker.is_finished());
            check_interrupted(&asker.join().unwrap());
            // The asked handler still holds.
            gate.open();
            handled(system, &log, 1);
            assert_eq!(end_of(&waiter), StopReason::Killed);
        }
    });
}

#[test]
fn a_kill_ends_a_wait_after_the_message_that_runs_on_top_of_it() {
    in_pools(|system| {
        for of_its_own in [false, true] {
            let above = open_player(system);
            let options = system.actor().run_on_callers();
            let log = options.spawn(Log::default()).unwrap();
            let (hold, gate) = gate();
            let asked = above.clone();
            let (below, asker) = on_a_thread(system, of_its_own, move |gates, ctx| {
                // On top runs what stands before the request: it waits for the log, which holds
                // on the same thread.
                asked
                    .send(act(move |_, _| log.ask(hold).wait().expect("it is held")))
                    .expect("there is room");
                let outcomes = [1, 2].map(|number| asked.ask(Note(number)).wait());
                assert_eq!(ctx.sleep(SECOND), Err(WaitError::Interrupted));
                drop(gates);
                outcomes
            });
            gate.wait_until_held();
            below.kill();
            // What ends a wait does so before the kill returns.
            assert!(is_waiting(system, &below));
            gate.open();
            let outcomes = asker.join().unwrap();
            outcomes.iter().for_each(check_interrupted);
            assert_eq!(end_of(&below), StopReason::Killed);
            handled(system, &above, 1);
            eventually("the requests are skipped", || {
                snapshot_of(system, &above).counts.cancelled == 2
            });
        }
    });
}

#[test]
fn an_actor_that_was_asked_by_a_killed_one_goes_on_with_what_it_is_sent() {
    in_pools(|system| {
        for (of_its_own, is_open) in [(false, false), (false, true), (true, false), (true, true)] {
            let asked = match is_open {
                false => begun(system),
                true => open_player(system),
            };
            let to = asked.clone();
            let (_, asker) = on_a_thread(system, of_its_own, move |gates, ctx| {
                ctx.addr().kill();
                (to.ask(Note(1)).wait(), gates)
            });
            let (refused, gates) = asker.join().unwrap();
            check_interrupted(&refused);
            drop(gates);
            asked.send(Note(2)).unwrap();
            handled(system, &asked, if is_open { 1 } else { 2 });
        }
    });
}

#[test]
fn a_shutdown_ends_the_waits_of_handlers_on_the_thread_of_a_caller() {
    in_time(|| {
        for above in [
            |system: &System| system.spawn(Player::default()),
            open_player,
        ] {
            check_shutdown_now(above);
        }
    });
}

fn check_shutdown_now(above: fn(&System) -> Addr<Player>) {
    let system = pool(1);
    let below = system.spawn(Player::default());
    let above = above(&system);
    let asked = above.clone();
    let asker = thread::spawn(move || {
        let asleep = below.ask(act(move |_, _| {
            let asleep = asked.ask(act(|_, ctx| ctx.sleep(Duration::from_secs(3600))));
            asleep.wait()
        }));
        asleep.wait()
    });
    eventually("both wait", || system.waits().len() == 2);
    let report = system.shutdown_now(Duration::ZERO);
    assert_eq!(report.unfinished.len(), 2, "{report}");
    let outcome = asker.join().unwrap().expect("the handler below returns");
    assert!(
        matches!(
            outcome,
            Ok(Err(WaitError::Interrupted)) | Err(AskError::Wait(WaitError::Interrupted))
        ),
        "{outcome:?}"
    );
    eventually("both end", || system.snapshot().actors.is_empty());
}
