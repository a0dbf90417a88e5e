//! The restart contract, row by row: what ends a life, and what follows.

mod ends;
mod kept;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Context, Intensity, Restart, Strategy, Supervisor, SupervisorBuilder};

use super::*;
use crate::support::{end_of, under_seeds};

/// A supervisor that restarts as often as it takes.
fn patient(stepper: &Stepper, strategy: Strategy) -> SupervisorBuilder {
    let tree = stepper.system().supervisor(strategy);
    tree.intensity(Intensity::UNLIMITED)
}

/// What a member does in a hook or handler.
type Way = fn(&mut Context<Member>);

/// How the member of a trial is looked after.
const CARES: [Option<Restart>; 4] = [
    Some(Restart::Permanent),
    Some(Restart::Transient),
    Some(Restart::Temporary),
    None,
];

/// A member that is looked after so, and its supervisor if it has one.
fn cast(
    stepper: &Stepper,
    care: Option<Restart>,
    diary: &Diary,
    role: impl Fn(Moment, &mut Context<Member>) + Send + Sync + 'static,
) -> (Option<Addr<Supervisor>>, Addr<Member>) {
    match care {
        None => {
            let member = Member::alone("a", diary, role);
            let spawned = stepper.system().actor().name("a").spawn(member);
            (None, spawned.expect("the system runs"))
        }
        Some(restart) => {
            let child = Member::spec_playing("a", diary, role).restart(restart);
            let (supervisor, addr) = with_child(patient(stepper, Strategy::OneForOne), child);
            (Some(supervisor), addr)
        }
    }
}

/// What came of a trial.
#[derive(PartialEq, Eq, Debug)]
struct Trial {
    /// Of the request in hand.
    hand: Result<u64, String>,
    /// Of one that was queued behind it.
    queued: Result<u64, String>,
    /// What the member noted after its start.
    notes: Vec<String>,
    /// Why it ended, if it did.
    end: Option<String>,
    dead_letters: u64,
}

/// Has a member handle a message, with another one queued behind it.
fn trial(
    stepper: &Stepper,
    care: Option<Restart>,
    role: impl Fn(Moment, &mut Context<Member>) + Send + Sync + 'static,
    message: Do<u64>,
) -> Trial {
    let diary = Diary::default();
    let (_supervisor, a) = cast(stepper, care, &diary, role);
    stepper.run();
    assert_eq!(diary.take(), ["a started"]);
    let hand = a.ask(message);
    let queued = a.ask(to_note("goes on"));
    stepper.run();
    Trial {
        hand: outcome(hand),
        queued: outcome(queued),
        notes: diary.take(),
        end: a.is_stopped().then(|| end_of(&a).to_string()),
        dead_letters: stepper.system().snapshot().totals.dead_lettered,
    }
}

/// A trial in which the member is started again, for this reason.
fn goes_on(hand: Result<u64, &str>, reason: &str) -> Trial {
    Trial {
        dead_letters: hand.is_err().into(),
        hand: hand.map_err(str::to_owned),
        queued: Ok(2),
        notes: vec![
            format!("a restarting: {reason}"),
            format!("a restarted 1: {reason}"),
            "a goes on".to_owned(),
        ],
        end: None,
    }
}

/// A trial in which the member ends, for this reason.
fn ends(hand: Result<u64, &str>, reason: &str) -> Trial {
    Trial {
        dead_letters: 1 + u64::from(hand.is_err()),
        hand: hand.map_err(str::to_owned),
        queued: Err(format!("actor has stopped: {reason}")),
        notes: vec![format!("a stopped: {reason}")],
        end: Some(reason.to_owned()),
    }
}
