//! Children that wait, while they are to stop, for those who go on only after that.

use std::time::Duration;

use greenroom::{Actor, Addr, AskError, ChildSpec, Context, Handler, Strategy, WaitError};

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
