//! Children that wait, while they are to stop, for those who go on only after that.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use greenroom::{
    Actor, Addr, AskError, ChildSpec, ChildState, Context, Handler, StopReason, StopTimeout,
    Strategy, Supervisor, WaitError,
};

use crate::support::{Entry, Log, Seen, under_seeds};

/// Asks another actor, and notes what comes of it.
struct Curious {
    of: Addr<Sulky>,
    notes: Addr<Log>,
}

impl Actor for Curious {}

struct Inquire;

impl Handler<Inquire> for Curious {
    type Reply = ();

    fn handle(&mut self, _: Inquire, _: &mut Context<Self>) {
        let answer = self.of.ask(Say).wait();
        note(&self.notes, &answer);
    }
}

const ANSWERED: u64 = 0;
const INTERRUPTED: u64 = 1;

fn note(notes: &Addr<Log>, answer: &Result<&'static str, AskError>) {
    let what = match answer {
        Ok(_) => ANSWERED,
        Err(AskError::Wait(WaitError::Interrupted)) => INTERRUPTED,
        Err(other) => panic!("it was neither answered nor interrupted: {other}"),
    };
    notes.try_send(Entry(what)).expect("there is room");
}

/// Panics at its first question, and answers those that come later.
struct Sulky {
    first: bool,
}

impl Actor for Sulky {}

struct Say;

impl Handler<Say> for Sulky {
    type Reply = &'static str;

    fn handle(&mut self, _: Say, _: &mut Context<Self>) -> &'static str {
        "yes"
    }
}

struct Sulk;

impl Handler<Sulk> for Sulky {
    type Reply = ();

    fn handle(&mut self, _: Sulk, _: &mut Context<Self>) {
        if self.first {
            panic!("not now");
        }
    }
}

#[test]
fn a_child_that_is_stopped_does_not_wait_for_an_earlier_sibling_that_is_down() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let notes = system.spawn(Log::default());
        let mut lives = 0;
        let make = move || {
            lives += 1;
            Sulky { first: lives == 1 }
        };
        let mut tree = system.supervisor(Strategy::RestForOne);
        let sulky = tree.child(ChildSpec::new("sulky", make)).unwrap();
        let (of, to) = (sulky.clone(), notes.clone());
        let make = move || Curious {
            of: of.clone(),
            notes: to.clone(),
        };
        let curious = tree.child(ChildSpec::new("curious", make)).unwrap();
        let supervisor = tree.start().unwrap();
        sulky.try_send(Sulk).expect("there is room");
        for _ in 0..3 {
            curious.try_send(Inquire).expect("there is room");
        }
        // No time passes, so nobody waits for a stop timeout.
        stepper.run();
        assert_eq!(supervisor.count().wait().unwrap().up, 2);
        assert_eq!(notes.ask(Seen).wait().unwrap().len(), 3);
        assert_eq!(sulky.ask(Say).wait().unwrap(), "yes");
    });
}

/// Has a child that asks it, and fails meanwhile.
struct Head {
    notes: Addr<Log>,
}

impl Actor for Head {
    fn started(&mut self, ctx: &mut Context<Self>) {
        let (head, notes) = (ctx.addr(), self.notes.clone());
        let limb = ctx.spawn_child(Limb { head, notes });
        limb.try_send(Inquire).expect("there is room");
    }
}

impl Handler<Say> for Head {
    type Reply = &'static str;

    fn handle(&mut self, _: Say, _: &mut Context<Self>) -> &'static str {
        "no"
    }
}

impl Handler<Sulk> for Head {
    type Reply = ();

    fn handle(&mut self, _: Sulk, ctx: &mut Context<Self>) {
        ctx.sleep(Duration::from_secs(1)).expect("nobody kills it");
        panic!("enough");
    }
}

struct Limb {
    head: Addr<Head>,
    notes: Addr<Log>,
}

impl Actor for Limb {}

impl Handler<Inquire> for Limb {
    type Reply = ();

    fn handle(&mut self, _: Inquire, _: &mut Context<Self>) {
        note(&self.notes, &self.head.ask(Say).wait());
    }
}

#[test]
fn a_child_does_not_wait_for_its_parent_that_waits_for_its_end() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let notes = system.spawn(Log::default());
        let mut tree = system.supervisor(Strategy::OneForOne);
        let to = notes.clone();
        let head = ChildSpec::new("head", move || Head { notes: to.clone() });
        let head = tree.child(head).unwrap();
        // It is queued before the child can ask.
        head.try_send(Sulk).expect("there is room");
        let begun = stepper.clock().now();
        tree.start().unwrap();
        stepper.advance(Duration::from_secs(1));
        assert_eq!(stepper.clock().now() - begun, Duration::from_secs(1));
        assert_eq!(
            notes.ask(Seen).wait().unwrap(),
            [INTERRUPTED, ANSWERED],
            "the limb of the first life, and that of the second"
        );
    });
}

/// Asks its own supervisor for something while it starts.
struct Busybody {
    request: fn(&Addr<Supervisor>),
    supervisor: Arc<OnceLock<Addr<Supervisor>>>,
}

impl Actor for Busybody {
    fn started(&mut self, ctx: &mut Context<Self>) {
        // The first life begins before anybody knows its supervisor's address; the next ones do.
        if ctx.restarts() > 0 {
            (self.request)(self.supervisor.get().expect("it is known by now"));
        }
    }
}

impl Handler<Sulk> for Busybody {
    type Reply = ();

    fn handle(&mut self, _: Sulk, _: &mut Context<Self>) {
        panic!("again");
    }
}

fn with_a_busybody(strategy: Strategy, request: fn(&Addr<Supervisor>)) {
    under_seeds(|stepper| {
        let supervisor = Arc::new(OnceLock::new());
        let of_busybody = Arc::clone(&supervisor);
        let mut tree = stepper.system().supervisor(strategy);
        let spec = ChildSpec::new("busybody", move || Busybody {
            request,
            supervisor: Arc::clone(&of_busybody),
        });
        let busybody = tree.child(spec).unwrap();
        let notes = ChildSpec::new("later", Log::default);
        let _later = tree.child(notes).unwrap();
        supervisor.set(tree.start().unwrap()).unwrap();
        busybody.try_send(Sulk).expect("there is room");
        // No time passes, so nobody waits for a stop timeout.
        stepper.run();
        let supervisor = supervisor.get().unwrap();
        let busybody = &supervisor.list().wait().unwrap()[0];
        assert_eq!((busybody.state, busybody.restarts), (ChildState::Up, 1));
    });
}

const STRATEGIES: [Strategy; 4] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
    Strategy::Dynamic,
];

#[test]
fn a_child_that_starts_can_wait_for_a_child_that_it_has_added() {
    for strategy in STRATEGIES {
        with_a_busybody(strategy, |supervisor| {
            let added = supervisor.add(ChildSpec::new("added", Log::default));
            added.wait().unwrap().unwrap();
            assert_eq!(supervisor.count().wait().unwrap().all, 3);
        });
    }
}

#[test]
fn a_child_that_starts_can_wait_until_a_sibling_is_removed() {
    for strategy in STRATEGIES {
        with_a_busybody(strategy, |supervisor| {
            let removed = supervisor.remove("later").wait().unwrap();
            assert_eq!(removed, Ok(StopReason::Removed));
        });
    }
}

/// Asks its parent in its last hook.
struct Leaver(Addr<Elder>);

impl Actor for Leaver {
    fn stopped(&mut self, _: &StopReason, _: &mut Context<Self>) {
        assert!(self.0.ask(Say).wait().is_err());
    }
}

struct Elder {
    notes: Addr<Log>,
}

impl Actor for Elder {
    fn started(&mut self, ctx: &mut Context<Self>) {
        let own = ctx.addr();
        let _ = ctx
            .child()
            .stop_timeout(StopTimeout::Infinite)
            .spawn(Leaver(own));
        self.notes.try_send(Entry(1)).expect("there is room");
    }
}

impl Handler<Say> for Elder {
    type Reply = &'static str;

    fn handle(&mut self, _: Say, _: &mut Context<Self>) -> &'static str {
        "no"
    }
}

impl Handler<Sulk> for Elder {
    type Reply = ();

    fn handle(&mut self, _: Sulk, _: &mut Context<Self>) {
        panic!("enough");
    }
}

#[test]
fn a_last_hook_does_not_wait_for_the_parent_that_waits_for_it() {
    under_seeds(|stepper| {
        let notes = stepper.system().spawn(Log::default());
        let mut tree = stepper.system().supervisor(Strategy::OneForOne);
        let to = notes.clone();
        let head = ChildSpec::new("head", move || Elder { notes: to.clone() });
        let head = tree.child(head).unwrap();
        tree.start().unwrap();
        stepper.run();
        head.try_send(Sulk).expect("there is room");
        stepper.run();
        assert_eq!(notes.ask(Seen).wait().unwrap(), [1, 1], "it lives again");
    });
}
