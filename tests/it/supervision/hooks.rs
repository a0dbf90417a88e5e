//! User code that panics where it should not.
//!
//! A panic in a `Drop` that a panic runs is the end of the process, by the standard library's
//! rule; so that is not here.

use std::panic::panic_any;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Intensity, Strategy};

use super::*;
use crate::support::under_seeds;

/// Panics when it is dropped.
struct Fused;

impl Drop for Fused {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn patient(stepper: &Stepper) -> SupervisorBuilder {
    let tree = stepper.system().supervisor(Strategy::OneForOne);
    tree.intensity(Intensity::UNLIMITED)
}

fn lives(supervisor: &Addr<Supervisor>) -> u64 {
    supervisor.list().wait().expect("the supervisor lives")[0].restarts
}

#[test]
fn a_payload_whose_drop_panics_is_survived_in_each_hook() {
    for at in [
        Moment::Restarted,
        Moment::Restarting,
        Moment::Stopped,
        Moment::Told,
    ] {
        under_seeds(|stepper| {
            let diary = Diary::default();
            let other = stepper.system().spawn(Member::new("x", &Diary::default()));
            let watched = other.clone();
            let child = Member::spec_playing("a", &diary, move |moment, ctx| {
                if moment == Moment::Started {
                    ctx.watch(&watched);
                }
                if moment == at && ctx.restarts() < 2 {
                    panic_any(Fused);
                }
            });
            let (supervisor, a) = with_child(patient(stepper), child);
            other.stop();
            stepper.run();
            assert!(outcome(a.ask(to(|_, _| panic_any(Fused)))).is_err());
            assert_eq!(outcome(a.ask(to_note("goes on"))), Ok(2));
            // The one in hand, and the one in the hook if that ends a life.
            let expected = match at {
                Moment::Restarted | Moment::Told => 2,
                _ => 1,
            };
            assert_eq!(lives(&supervisor), expected, "{at:?}");
            assert!(
                !diary
                    .take()
                    .iter()
                    .any(|note| note.ends_with("lives twice"))
            );
        });
    }
}

#[test]
fn an_actor_whose_drop_panics_is_restarted_and_ends() {
    struct Fragile {
        _fused: Fused,
    }
    impl Actor for Fragile {}
    impl Handler<()> for Fragile {
        type Reply = u64;
        fn handle(&mut self, (): (), ctx: &mut Context<Self>) -> u64 {
            ctx.fail("by request");
            ctx.restarts()
        }
    }
    under_seeds(|stepper| {
        let child = ChildSpec::new("fragile", || Fragile { _fused: Fused });
        let (supervisor, fragile) = with_child(patient(stepper), child);
        for restarts in 0..3 {
            assert_eq!(outcome(fragile.ask(())), Ok(restarts));
        }
        let removed = supervisor.remove("fragile").wait().unwrap();
        assert_eq!(removed, Ok(StopReason::Removed));
    });
}

#[test]
fn a_factory_whose_drop_panics_is_survived() {
    under_seeds(|stepper| {
        let (diary, fused) = (Diary::default(), Fused);
        let of_lives = diary.clone();
        let child = ChildSpec::new("a", move || {
            let _kept = &fused;
            Member::new("a", &of_lives)
        });
        let (supervisor, a) = with_child(patient(stepper), child);
        a.kill();
        stepper.run();
        assert_eq!(
            supervisor.remove("a").wait().unwrap(),
            Ok(StopReason::Removed)
        );
        assert_eq!(diary.take().len(), 4);
    });
}

#[test]
fn every_hook_may_panic_in_turn() {
    under_seeds(|stepper| {
        let diary = Diary::default();
        // Each hook panics each time, but for every third start.
        let child = Member::spec_playing("a", &diary, |moment, ctx| {
            let starts = matches!(moment, Moment::Started | Moment::Restarted);
            assert!(starts && ctx.restarts().is_multiple_of(3), "{moment:?}");
        });
        let (supervisor, a) = with_child(patient(stepper), child);
        for round in 1..=5 {
            assert!(outcome(a.ask(to_panic())).is_err());
            assert_eq!(outcome(a.ask(to_note("goes on"))), Ok(2));
            assert_eq!(lives(&supervisor), 3 * round);
        }
        supervisor.kill();
        stepper.run();
        assert_eq!(a.join().unwrap(), StopReason::ParentEnded);
    });
}
