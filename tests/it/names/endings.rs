//! When a name is free again: not before the end, and for everybody who has seen it.

use std::sync::{Arc, Mutex};

use greenroom::{Actor, Addr, Context, Handler, StopReason, System};

use super::{assert_no_names, is_taken};
use crate::support::{Player, act, end_of, in_pools, under_seeds};

fn player(system: &System, name: &str, player: Player) -> Addr<Player> {
    let spawned = system.actor().registered(name).spawn(player);
    spawned.expect("the name is free")
}

#[test]
fn a_name_is_taken_and_not_found_while_stopped_runs() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let seen: Arc<Mutex<Vec<bool>>> = Arc::default();
        let notes = seen.clone();
        let nell = player(
            system,
            "nell",
            Player::ending_with(move |_, ctx| {
                let second = || ctx.actor().registered("nell").spawn(Player::default());
                let mut notes = notes.lock().unwrap();
                notes.push(is_taken(second()));
                notes.push(ctx.find::<Player>("nell").is_none());
            }),
        );
        nell.stop();
        assert_eq!(system.find::<Player>("nell"), None, "it has begun to end");
        end_of(&nell);
        assert_eq!(*seen.lock().unwrap(), [true, true]);
        assert_no_names(system);
    });
}

#[test]
fn a_name_is_taken_while_the_actor_is_dropped() {
    /// Tries to take its own name when it is dropped.
    struct Jealous {
        system: System,
        refused: Arc<Mutex<Option<bool>>>,
    }
    impl Actor for Jealous {}
    impl Drop for Jealous {
        fn drop(&mut self) {
            let mut refused = self.refused.lock().unwrap();
            if refused.is_none() {
                let spawner = self.system.actor().registered("x");
                let second = Self {
                    system: self.system.clone(),
                    refused: Arc::new(Mutex::new(Some(true))),
                };
                *refused = Some(is_taken(spawner.spawn(second)));
            }
        }
    }
    under_seeds(|stepper| {
        let system = stepper.system();
        let refused = Arc::default();
        let actor = Jealous {
            system: system.clone(),
            refused: Arc::clone(&refused),
        };
        let actor = system.actor().registered("x").spawn(actor).unwrap();
        actor.stop();
        end_of(&actor);
        assert_eq!(*refused.lock().unwrap(), Some(true));
        assert_no_names(system);
    });
}

#[test]
fn whoever_has_seen_the_end_by_join_takes_the_name_at_once() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let first = player(system, "nell", Player::default());
        let waiter = system.spawn(Player::default());
        let awaited = first.clone();
        let second = waiter.ask(act(move |_, ctx| {
            awaited.join().expect("it ends");
            ctx.actor().registered("nell").spawn(Player::default())
        }));
        stepper.run();
        first.kill();
        let second = second.wait().unwrap().expect("the name is free");
        assert_eq!(system.find::<Player>("nell"), Some(second));
    });
    in_pools(|system| {
        for round in 0..1_000 {
            let nell = player(system, "nell", Player::default());
            match round % 3 {
                0 => nell.stop(),
                1 => nell.drain(),
                _ => nell.kill(),
            }
            end_of(&nell);
        }
        assert_no_names(system);
    });
}

#[test]
fn whoever_sees_that_an_actor_is_stopped_takes_its_name_at_once() {
    in_pools(|system| {
        for _ in 0..1_000 {
            let nell = player(system, "nell", Player::default());
            nell.stop();
            while !nell.is_stopped() {
                std::thread::yield_now();
            }
        }
    });
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Started,
    Handler,
    Stopped,
    Dropped,
}

/// Panics where it is told to.
struct Fragile(Place);

impl Actor for Fragile {
    fn started(&mut self, _: &mut Context<Self>) {
        assert!(self.0 != Place::Started, "planted");
    }

    fn stopped(&mut self, _: &StopReason, _: &mut Context<Self>) {
        assert!(self.0 != Place::Stopped, "planted");
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(self.0 != Place::Dropped, "planted");
    }
}

struct End;

impl Handler<End> for Fragile {
    type Reply = ();

    fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        assert!(self.0 != Place::Handler, "planted");
        ctx.stop();
    }
}

#[test]
fn an_actor_that_panics_anywhere_frees_its_name() {
    let check = |system: &System| {
        for place in [
            Place::Started,
            Place::Handler,
            Place::Stopped,
            Place::Dropped,
        ] {
            let spawner = || system.actor().registered("fragile");
            let pooled = spawner().spawn(Fragile(place)).unwrap();
            let _ = pooled.ask(End).wait();
            end_of(&pooled);
            let threaded = spawner().spawn_thread(move || Fragile(place)).unwrap();
            let _ = threaded.ask(End).wait();
            end_of(&threaded);
        }
        let make = || -> Fragile { panic!("planted") };
        let spawner = system.actor().registered("fragile");
        let unborn = spawner.spawn_thread(make).unwrap();
        end_of(&unborn);
        assert_no_names(system);
    };
    under_seeds(|stepper| check(stepper.system()));
    in_pools(check);
}
