//! Names: unique among the actors of one type while the actor lives, and no longer.

mod endings;
mod storms;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use greenroom::{Actor, Addr, NamedError, SpawnError, System};
use static_assertions::assert_impl_all;

use crate::support::{
    Entry, Log, PATIENCE, Player, Seen, act, end_of, in_a_pool, in_pools, pool, under_seed,
    under_seeds,
};

assert_impl_all!(greenroom::Named<Log>: Send, Sync, Unpin, std::future::Future, std::fmt::Debug);
assert_impl_all!(NamedError: Send, Sync, Clone, std::error::Error);

/// A log of this name.
fn log(system: &System, name: &str) -> Addr<Log> {
    try_log(system, name).expect("the name is free")
}

fn try_log(system: &System, name: &str) -> Result<Addr<Log>, SpawnError> {
    system.actor().registered(name).spawn(Log::default())
}

fn is_taken<A: Actor>(spawned: Result<Addr<A>, SpawnError>) -> bool {
    matches!(spawned, Err(SpawnError::NameTaken { .. }))
}

/// Nothing of any name is left.
fn assert_no_names(system: &System) {
    assert_eq!(system.registered(), []);
    assert_eq!(system.snapshot().names, 0);
}

#[test]
fn a_registered_actor_is_found_by_its_name_and_its_type_from_the_spawn_on() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let ledger = log(system, "ledger");
        assert_eq!(system.find::<Log>("ledger").as_ref(), Some(&ledger));
        assert_eq!(system.find::<Log>("ledgers"), None);
        assert_eq!(system.find::<Player>("ledger"), None, "of another type");
        let found = system.find::<Log>("ledger").unwrap();
        found.send(Entry(7)).unwrap();
        assert_eq!(ledger.ask(Seen).wait().unwrap(), [7]);
    });
}

#[test]
fn a_handler_finds_actors_and_an_actor_finds_itself_when_it_starts() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let player = Player::beginning_with(|ctx| {
            assert_eq!(ctx.find::<Player>("nell"), Some(ctx.addr()));
        });
        let player = system.actor().registered("nell").spawn(player).unwrap();
        let ledger = log(system, "ledger");
        let found = player.ask(act(|_, ctx| ctx.find::<Log>("ledger")));
        assert_eq!(found.wait().unwrap(), Some(ledger));
    });
}

#[test]
fn a_taken_name_is_an_error_that_names_it_and_the_newcomer_is_dropped() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let held = Arc::new(());
        let keeper = held.clone();
        let first = log(system, "ledger");
        let thread = system.actor().registered("ledger");
        assert!(is_taken(thread.spawn_thread(Log::default)));
        let nell = |scene: Player| system.actor().registered("nell").spawn(scene);
        let _nell = nell(Player::default()).unwrap();
        let refused = nell(Player::beginning_with(move |_| drop(keeper)));
        let Err(SpawnError::NameTaken { name, actor_type }) = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(&**name, "nell");
        assert!(actor_type.ends_with("::Player"));
        let text = refused.unwrap_err().to_string();
        assert!(
            text.ends_with("::Player` is registered as nell already"),
            "{text}"
        );
        assert_eq!(Arc::strong_count(&held), 1, "the newcomer is dropped");
        assert_eq!(system.snapshot().actors.len(), 2, "and was never there");
        assert_eq!(system.find::<Log>("ledger"), Some(first));
    });
}

#[test]
fn actors_of_different_types_and_systems_may_have_the_same_name() {
    in_a_pool(1, |system| {
        let ledger = log(system, "x");
        let player = system.actor().registered("x").spawn(Player::default());
        let player = player.unwrap();
        let other = pool(1);
        let abroad = log(&other, "x");
        assert_eq!(system.find::<Log>("x"), Some(ledger));
        assert_eq!(system.find::<Player>("x"), Some(player));
        assert_eq!(other.find::<Log>("x"), Some(abroad));
    });
}

#[test]
fn a_registered_name_is_the_name_in_logs_whatever_name_says() {
    under_seed(0, |stepper| {
        let system = stepper.system();
        let before = system.actor().name("log").registered("first");
        let after = system.actor().registered("second").name("log");
        for (spawner, name) in [(before, "first"), (after, "second")] {
            let addr = spawner.spawn(Log::default()).unwrap();
            assert_eq!(addr.name(), Some(name));
            assert_eq!(system.snapshot().actors[0].name.as_deref(), Some(name));
            addr.stop();
            end_of(&addr);
        }
    });
}

#[test]
fn a_plain_name_is_neither_unique_nor_found() {
    under_seed(0, |stepper| {
        let system = stepper.system();
        let plain = || system.actor().name("x").spawn(Log::default()).unwrap();
        let _both = (plain(), plain());
        assert_eq!(system.find::<Log>("x"), None);
        assert_no_names(system);
        let registered = log(system, "x");
        assert_eq!(system.find::<Log>("x"), Some(registered));
    });
}

#[test]
fn a_spawn_that_fails_otherwise_takes_no_name() {
    under_seed(0, |stepper| {
        let system = stepper.system();
        let spawner = system.actor().registered("x").capacity(0);
        let refused = spawner.spawn(Log::default());
        assert!(matches!(refused, Err(SpawnError::Capacity { .. })));
        assert_no_names(system);
        let _addr = log(system, "x");
    });
}

#[test]
fn in_a_system_that_shuts_down_no_name_can_be_taken() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let ending = Player::ending_with(|_, ctx| {
            let spawner = || ctx.actor().registered("x");
            let free = spawner().spawn(Log::default());
            assert!(matches!(free, Err(SpawnError::ShuttingDown)), "{free:?}");
            let taken = spawner().spawn(Player::default());
            assert!(matches!(taken, Err(SpawnError::ShuttingDown)), "{taken:?}");
        });
        let player = system.actor().registered("x").spawn(ending).unwrap();
        assert!(system.shutdown(PATIENCE).is_clean());
        assert!(player.is_stopped());
        assert_no_names(system);
    });
}

#[test]
fn an_actor_on_a_thread_of_its_own_has_its_name_as_its_threads() {
    in_a_pool(1, |system| {
        let spawner = system.actor().registered("nell").name("other");
        let player = spawner.spawn_thread(Player::default).unwrap();
        assert_eq!(system.find::<Player>("nell").as_ref(), Some(&player));
        let name = player.ask(act(|_, _| thread::current().name().map(str::to_owned)));
        assert_eq!(name.wait().unwrap().as_deref(), Some("nell"));
        player.stop();
        end_of(&player);
        assert_no_names(system);
    });
}

#[test]
fn names_are_listed_in_order_with_their_types_and_ids() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let b = log(system, "b");
        let c = log(system, "c");
        let player = system.actor().registered("b").spawn(Player::default());
        let player = player.unwrap();
        let a = log(system, "a");
        let listed = || -> Vec<_> {
            let listed = system.registered().into_iter();
            listed
                .map(|it| (it.name.expect("it has a name").to_string(), it.id))
                .collect()
        };
        let expected = [
            ("a", a.id()),
            ("b", player.id()),
            ("b", b.id()),
            ("c", c.id()),
        ];
        // Logs come before players by the names of their types.
        let expected = [expected[0], expected[2], expected[1], expected[3]];
        let expected = expected.map(|(name, id)| (name.to_owned(), id));
        assert_eq!(listed(), expected);
        let types = system.registered();
        assert!(types[1].actor_type.ends_with("::Log"));
        assert!(types[2].actor_type.ends_with("::Player"));
        b.stop();
        end_of(&b);
        assert_eq!(listed().len(), 3);
        assert_eq!(system.snapshot().names, 3);
    });
}

#[test]
fn looking_for_an_actor_does_not_keep_it_from_ending_and_an_address_found_in_time_does() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let first = log(system, "x");
        let found = system.find::<Log>("x").unwrap();
        drop(first);
        stepper.run();
        assert!(!found.is_stopped());
        let last = found.downgrade();
        drop(found);
        assert_eq!(system.find::<Log>("x"), None, "no address is left");
        assert!(last.upgrade().is_none());
        assert!(is_taken(try_log(system, "x")), "it has not ended");
        stepper.run();
        assert_no_names(system);
        let next = log(system, "x");
        assert_eq!(system.find::<Log>("x"), Some(next));
    });
}

#[test]
fn ten_thousand_names_leave_nothing_behind() {
    in_pools(|system| {
        let living = Arc::new(AtomicUsize::new(0));
        for round in 0..10_000_u32 {
            let counted = living.clone();
            living.fetch_add(1, SeqCst);
            let player = Player::ending_with(move |_, _| {
                counted.fetch_sub(1, SeqCst);
            });
            let name = format!("player {round}");
            let player = system.actor().registered(name).spawn(player).unwrap();
            if round % 2 == 0 {
                player.stop();
            }
        }
        crate::support::eventually("all have ended", || system.snapshot().actors.is_empty());
        assert_eq!(living.load(SeqCst), 0);
        assert_no_names(system);
    });
}
