//! Actors that end while a thread that waits runs them: the asker learns what he would have
//! learned otherwise, and the end itself is left to the pool.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, ThreadId};

use greenroom::{
    Actor, Addr, AskError, Context, Handler, SendError, StopReason, System, WaitError,
};

use super::{here, occupy, place, snapshot_of};
use crate::support::{Gate, Player, act, end_of, eventually, in_pools};

/// Where and when something of a [`Mortal`] ran.
#[derive(PartialEq, Debug)]
enum Trace {
    Handled(ThreadId),
    Stopped(ThreadId),
    Dropped(ThreadId),
}

/// Tells where it is run, stopped and dropped.
struct Mortal {
    traces: Sender<Trace>,
}

impl Mortal {
    fn leave(&self, trace: Trace) {
        self.traces.send(trace).expect("the test listens");
    }
}

impl Actor for Mortal {
    fn stopped(&mut self, _: &StopReason, _: &mut Context<Self>) {
        self.leave(Trace::Stopped(here()));
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.leave(Trace::Dropped(here()));
    }
}

/// What a mortal does in its handler.
type Fate = Box<dyn FnOnce(&mut Context<Mortal>) + Send>;

/// A fate that the mortal's handler meets.
struct Meet(Fate);

impl Handler<Meet> for Mortal {
    type Reply = u64;

    fn handle(&mut self, Meet(fate): Meet, ctx: &mut Context<Self>) -> u64 {
        self.leave(Trace::Handled(here()));
        fate(ctx);
        7
    }
}

fn meet(fate: impl FnOnce(&mut Context<Mortal>) + Send + 'static) -> Meet {
    Meet(Box::new(fate))
}

/// A fate that does not print its panic, unlike `panic!`.
fn fall() {
    resume_unwind(Box::new("a fall"));
}

fn mortal(system: &System) -> (Addr<Mortal>, Receiver<Trace>) {
    let (traces, told) = mpsc::channel();
    (system.spawn(Mortal { traces }), told)
}

fn panicked() -> StopReason {
    StopReason::Panicked {
        message: "a fall".into(),
    }
}

/// The handlers ran here, and the last hook and the `Drop` elsewhere, in this order.
fn check_traces(told: &Receiver<Trace>, handled_here: usize) {
    let traces: Vec<_> = told.iter().collect();
    let (handled, ended) = traces.split_at(handled_here);
    assert!(handled.iter().all(|trace| *trace == Trace::Handled(here())));
    match ended {
        [Trace::Stopped(stopped), Trace::Dropped(dropped)] => {
            assert_ne!(*stopped, here());
            assert_ne!(*dropped, here());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_panic_of_the_awaited_handler_is_told_here_and_ends_the_actor_in_the_pool() {
    in_pools(|system| {
        let gates = occupy(system);
        let (mortal, told) = mortal(system);
        let outcome = mortal.ask(meet(|_| fall())).wait();
        let Err(AskError::Panicked { message }) = outcome else {
            panic!("it has panicked, but: {outcome:?}");
        };
        assert_eq!(&*message, "a fall");
        // It has not ended yet, but takes nothing more.
        assert!(!mortal.is_stopped());
        assert!(mortal.send(meet(|_| ())).is_err());
        // The thread goes on.
        let player = system.spawn(Player::default());
        assert_eq!(player.ask(place()).wait().unwrap(), here());
        drop(gates);
        assert_eq!(end_of(&mortal), panicked());
        check_traces(&told, 1);
    });
}

/// Has an earlier message, which runs here, let the workers go and do this; returns what becomes
/// of the request behind it.
fn behind(
    mortal: &Addr<Mortal>,
    gates: Vec<Gate>,
    fate: impl FnOnce(&mut Context<Mortal>) + Send + 'static,
) -> Result<u64, AskError> {
    let earlier = meet(move |ctx| {
        drop(gates);
        fate(ctx);
    });
    mortal.send(earlier).expect("there is room");
    mortal.ask(meet(|_| ())).wait()
}

fn reason_of(outcome: Result<u64, AskError>) -> StopReason {
    match outcome {
        Err(AskError::Stopped { reason }) => reason,
        other => panic!("the actor has ended, but: {other:?}"),
    }
}

#[test]
fn a_panic_of_an_earlier_message_tells_the_asker_why_his_was_not_run() {
    in_pools(|system| {
        let gates = occupy(system);
        let (mortal, told) = mortal(system);
        let outcome = behind(&mortal, gates, |_| fall());
        assert_eq!(reason_of(outcome), panicked());
        assert_eq!(end_of(&mortal), panicked());
        check_traces(&told, 1);
        let totals = system.snapshot().totals;
        assert_eq!(totals.dead_lettered, 2, "{totals}");
    });
}

#[test]
fn a_panic_of_the_first_hook_tells_the_asker_why_his_request_was_not_run() {
    in_pools(|system| {
        let gates = occupy(system);
        let (tell, told) = mpsc::channel();
        let player = system.spawn(Player::beginning_with(move |_| {
            tell.send(here()).expect("the test listens");
            drop(gates);
            fall();
        }));
        let outcome = player.ask(act(|_, _| 7)).wait();
        assert_eq!(reason_of(outcome), panicked());
        assert_eq!(told.recv().unwrap(), here());
        assert_eq!(end_of(&player), panicked());
    });
}

#[test]
fn a_stop_and_a_kill_by_an_earlier_message_leave_the_request_to_the_pool_as_a_dead_letter() {
    in_pools(|system| {
        type Fate = fn(&mut Context<Mortal>);
        let fates: [(Fate, StopReason); 3] = [
            (|ctx| ctx.stop(), StopReason::Stopped),
            (|ctx| ctx.addr().stop(), StopReason::Stopped),
            (|ctx| ctx.addr().kill(), StopReason::Killed),
        ];
        for (fate, reason) in fates {
            let gates = occupy(system);
            let (mortal, told) = mortal(system);
            assert_eq!(reason_of(behind(&mortal, gates, fate)), reason);
            assert_eq!(end_of(&mortal), reason);
            check_traces(&told, 1);
        }
    });
}

#[test]
fn a_drain_lets_the_request_be_run_here_and_ends_the_actor_in_the_pool() {
    in_pools(|system| {
        let gates = occupy(system);
        let (mortal, told) = mortal(system);
        let outcome = behind(&mortal, gates, |ctx| ctx.addr().drain());
        assert_eq!(outcome.unwrap(), 7);
        assert_eq!(end_of(&mortal), StopReason::Drained);
        check_traces(&told, 2);
    });
}

#[test]
fn an_actor_that_stops_in_the_awaited_handler_has_answered_and_ends_in_the_pool() {
    in_pools(|system| {
        let gates = occupy(system);
        let (mortal, told) = mortal(system);
        let answer = mortal.ask(meet(|ctx| ctx.stop())).wait();
        assert_eq!(answer.unwrap(), 7);
        assert!(!mortal.is_stopped());
        drop(gates);
        assert_eq!(end_of(&mortal), StopReason::Stopped);
        check_traces(&told, 1);
    });
}

#[test]
fn an_actor_without_an_address_answers_here_and_ends_in_the_pool() {
    in_pools(|system| {
        let gates = occupy(system);
        let (mortal, told) = mortal(system);
        let reply = mortal.ask(meet(|_| ()));
        drop(mortal);
        assert_eq!(reply.wait().unwrap(), 7);
        drop(gates);
        // The channel closes with the actor.
        check_traces(&told, 1);
    });
}

#[test]
fn an_end_that_is_ordered_from_outside_meets_the_run_of_who_waits_in_one_way_or_the_other() {
    in_pools(|system| {
        type End = fn(&Addr<Mortal>);
        let ends: [(End, StopReason); 3] = [
            (Addr::stop, StopReason::Stopped),
            (Addr::kill, StopReason::Killed),
            (Addr::drain, StopReason::Drained),
        ];
        for (end, reason) in ends {
            for _ in 0..100 {
                let (mortal, told) = mortal(system);
                let other = mortal.clone();
                let ender = thread::spawn(move || end(&other));
                match mortal.ask(meet(|_| ())).wait() {
                    Ok(answer) => assert_eq!(answer, 7),
                    outcome => assert_eq!(reason_of(outcome), reason),
                }
                ender.join().expect("it only gives an order");
                assert_eq!(end_of(&mortal), reason);
                let traces: Vec<_> = told.iter().collect();
                let ended = &traces[traces.len() - 2..];
                assert!(!ended.contains(&Trace::Stopped(here())), "{traces:?}");
                assert!(!ended.contains(&Trace::Dropped(here())), "{traces:?}");
            }
        }
    });
}

#[test]
fn who_stands_in_line_hears_of_an_end_that_began_on_the_thread_of_a_caller() {
    type Fate = fn(&mut Context<Mortal>);
    let fates: [(Fate, StopReason); 3] = [
        (|_| fall(), panicked()),
        (|ctx| ctx.stop(), StopReason::Stopped),
        (|ctx| ctx.addr().kill(), StopReason::Killed),
    ];
    in_pools(|system| {
        for (fate, reason) in fates.clone() {
            let gates = occupy(system);
            let (traces, told) = mpsc::channel();
            let options = system.actor().capacity(1);
            let mortal = options.spawn(Mortal { traces }).unwrap();
            let first = mortal.ask(meet(fate));
            // The first of these gets the room that the fate leaves.
            let asked = [1, 2].map(|_| mortal.ask(meet(|_| ())));
            let to = mortal.clone();
            let sender = thread::spawn(move || to.send(meet(|_| ())));
            eventually("all stand in line", || {
                snapshot_of(system, &mortal).waiting_senders == 3
            });
            drop(first.wait());
            drop(gates);
            for reply in asked {
                assert_eq!(reason_of(reply.wait()), reason);
            }
            let refused = sender.join().unwrap();
            assert!(matches!(refused, Err(SendError::Stopped(_))), "{refused:?}");
            assert_eq!(end_of(&mortal), reason);
            check_traces(&told, 1);
        }
    });
}

/// Asks and waits when it is dropped.
struct AskAtLast<'a> {
    of: &'a Addr<Mortal>,
    outcome: &'a mut Option<Result<u64, AskError>>,
}

impl Drop for AskAtLast<'_> {
    fn drop(&mut self) {
        *self.outcome = Some(self.of.ask(meet(|_| ())).wait());
    }
}

#[test]
fn a_thread_that_unwinds_is_refused_and_runs_nothing() {
    in_pools(|system| {
        let gates = occupy(system);
        let (mortal, told) = mortal(system);
        let mut outcome = None;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _last = AskAtLast {
                of: &mortal,
                outcome: &mut outcome,
            };
            fall();
        }));
        assert!(caught.is_err());
        assert!(
            matches!(outcome, Some(Err(AskError::Wait(WaitError::Unwinding)))),
            "{outcome:?}"
        );
        assert!(told.try_recv().is_err(), "nothing has run");
        drop(gates);
        // The request was withdrawn, and the actor goes on.
        eventually("it is skipped", || {
            snapshot_of(system, &mortal).counts.cancelled == 1
        });
        assert_eq!(mortal.ask(meet(|_| ())).wait().unwrap(), 7);
    });
}

#[test]
fn a_handler_that_runs_here_and_unwinds_is_refused_too() {
    in_pools(|system| {
        let gates = occupy(system);
        let (traces, told) = mpsc::channel();
        let options = system.actor().run_on_callers();
        let mortal = options.spawn(Mortal { traces }).unwrap();
        let player = system.spawn(Player::default());
        let asked = mortal.clone();
        let (tell, outcome) = mpsc::channel();
        let fallen = player.ask(act(move |_, _| {
            let mut outcome = None;
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _last = AskAtLast {
                    of: &asked,
                    outcome: &mut outcome,
                };
                fall();
            }));
            tell.send(outcome).expect("the test listens");
            caught.is_err()
        }));
        assert!(fallen.wait().unwrap());
        let outcome = outcome.recv().unwrap();
        assert!(
            matches!(outcome, Some(Err(AskError::Wait(WaitError::Unwinding)))),
            "{outcome:?}"
        );
        assert!(told.try_recv().is_err(), "nothing has run");
        drop(gates);
    });
}
