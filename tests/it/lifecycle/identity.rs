//! Addresses as values: size, threads, equality, names.

use std::collections::HashSet;
use std::rc::Rc;

use greenroom::{
    Actor, ActorId, Addr, AskError, Asker, Recipient, Reply, ReplyTo, SendError, StopReason,
    System, TrySendError, WaitError, WeakAddr, WeakRecipient,
};
use static_assertions::{assert_eq_size, assert_impl_all};

use super::{Act, Do, Told, spawn, told};
use crate::support::{in_a_pool, under_seed};

/// An actor that may not leave its thread.
struct Tied(#[expect(dead_code, reason = "it ties the actor")] Rc<()>);

impl Actor for Tied {}

assert_eq_size!(Addr<Tied>, *const ());
assert_eq_size!(Addr<Told>, *const ());
assert_impl_all!(Addr<Tied>: Send, Sync, Clone, Eq, std::hash::Hash, std::fmt::Debug);
assert_impl_all!(WeakAddr<Tied>: Send, Sync, Clone, Eq, std::hash::Hash, std::fmt::Debug);
// A message that is not `Sync` and an answer that is not either.
assert_impl_all!(Recipient<std::cell::Cell<u8>>: Send, Sync, Clone, Eq, std::hash::Hash);
assert_impl_all!(WeakRecipient<std::cell::Cell<u8>>: Send, Sync, Clone, Eq, std::hash::Hash);
assert_impl_all!(Asker<std::cell::Cell<u8>, std::cell::Cell<u8>>: Send, Sync, Clone, Eq);
assert_impl_all!(Reply<std::cell::Cell<u8>>: Send, Unpin, std::future::Future);
assert_impl_all!(ReplyTo<std::cell::Cell<u8>>: Send);
assert_impl_all!(System: Send, Sync, Clone);
assert_impl_all!(ActorId: Send, Sync, Copy, Ord, std::hash::Hash);
assert_impl_all!(AskError: Send, Sync, std::error::Error);
assert_impl_all!(SendError<()>: Send, Sync, std::error::Error);
assert_impl_all!(TrySendError<()>: Send, Sync, std::error::Error);
assert_impl_all!(StopReason: Send, Sync, std::error::Error);
assert_impl_all!(WaitError: Send, Sync, Clone, std::error::Error);

#[test]
fn addresses_are_equal_and_hashed_alike_if_they_are_of_one_actor() {
    under_seed(0, |stepper| {
        let (first, _events) = spawn(stepper.system());
        let (second, _events) = spawn(stepper.system());
        assert_eq!(first, first.clone());
        assert_ne!(first, second);
        assert_eq!(first.downgrade(), first.downgrade());
        assert_ne!(first.downgrade(), second.downgrade());
        assert_eq!(first.downgrade().upgrade(), Some(first.clone()));
        assert_eq!(first.recipient::<Do>(), first.clone().recipient::<Do>());
        assert_ne!(first.recipient::<Do>(), second.recipient::<Do>());
        assert_eq!(first.asker::<Do>(), first.asker::<Do>());
        assert_ne!(first.asker::<Do>(), second.asker::<Do>());

        let addresses: HashSet<_> = [&first, &second, &first].map(Clone::clone).into();
        assert_eq!(addresses.len(), 2);
        assert!(addresses.contains(&second.clone()));
        let weak: HashSet<_> = addresses.iter().map(Addr::downgrade).collect();
        assert!(weak.contains(&first.downgrade()) && weak.len() == 2);
        let recipients: HashSet<_> = [&first, &second, &first].map(Addr::recipient::<Do>).into();
        assert_eq!(recipients.len(), 2);
        let askers: HashSet<_> = [&first, &second, &first].map(Addr::asker::<Do>).into();
        assert_eq!(askers.len(), 2);
    });
}

#[test]
fn addresses_of_one_actor_stay_equal_when_it_has_ended() {
    under_seed(0, |stepper| {
        let (first, _events) = spawn(stepper.system());
        first.stop();
        stepper.run();
        assert_eq!(first, first.clone());
        assert_ne!(first, spawn(stepper.system()).0);
    });
}

#[test]
fn actors_of_two_systems_with_one_id_are_not_equal() {
    in_a_pool(1, |first| {
        in_a_pool(1, |second| {
            let (here, there) = (spawn(first).0, spawn(second).0);
            assert_eq!(here.id(), there.id(), "both are the first of their system");
            assert_ne!(here, there);
            assert_ne!(here.downgrade(), there.downgrade());
            assert_ne!(here.recipient::<Do>(), there.recipient::<Do>());
            assert_ne!(here.asker::<Do>(), there.asker::<Do>());
        });
    });
}

#[test]
fn an_address_shows_the_name_and_the_id_of_its_actor() {
    under_seed(0, |stepper| {
        let (actor, _events) = told();
        let named = stepper
            .system()
            .actor()
            .name("room-1")
            .spawn(actor)
            .unwrap();
        let (plain, _events) = spawn(stepper.system());
        let shown = [
            format!("{named:?}"),
            format!("{:?}", named.downgrade()),
            format!("{:?}", named.recipient::<Do>()),
            format!("{:?}", named.asker::<Do>()),
        ];
        for shown in shown {
            assert!(shown.contains("\"room-1\""), "{shown}");
            assert!(shown.contains(&named.id().to_string()), "{shown}");
        }
        let shown = format!("{plain:?}");
        assert!(shown.contains(&plain.id().to_string()), "{shown}");
    });
}

#[test]
fn an_actor_has_the_name_that_it_was_given_and_need_not_be_the_only_one() {
    under_seed(0, |stepper| {
        let twins = [0, 1].map(|_| {
            let (actor, _events) = told();
            stepper.system().actor().name("twin").spawn(actor).unwrap()
        });
        for twin in &twins {
            assert_eq!(twin.name(), Some("twin"));
            assert_eq!(twin.downgrade().name(), Some("twin"));
            assert_eq!(twin.recipient::<Do>().name(), Some("twin"));
            assert_eq!(twin.asker::<Do>().name(), Some("twin"));
            let within: Act<Option<String>> =
                super::act(|ctx| ctx.name().map(|name| name.to_owned()));
            assert_eq!(twin.ask(within).wait().unwrap().as_deref(), Some("twin"));
        }
        assert_ne!(twins[0].id(), twins[1].id());
        let (plain, _events) = spawn(stepper.system());
        assert_eq!(plain.name(), None);
        assert_eq!(plain.recipient::<Do>().name(), None);
        let snapshot = stepper.system().snapshot();
        let names: Vec<_> = snapshot
            .actors
            .iter()
            .map(|actor| actor.name.as_deref())
            .collect();
        assert_eq!(names, [Some("twin"), Some("twin"), None]);
    });
}

#[test]
fn ids_grow_in_the_order_of_the_spawns_of_a_thread_and_are_never_used_twice() {
    in_a_pool(2, |system| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let system = system.clone();
                std::thread::spawn(move || {
                    let ids: Vec<_> = (0..500).map(|_| spawn(&system).0.id()).collect();
                    assert!(ids.is_sorted());
                    ids
                })
            })
            .collect();
        let ids: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    });
}

#[test]
fn an_id_is_the_same_wherever_it_is_asked_for() {
    under_seed(0, |stepper| {
        let (addr, _events) = spawn(stepper.system());
        let within = addr.ask(super::act(|ctx| (ctx.id(), ctx.addr())));
        let (id, own) = within.wait().unwrap();
        assert_eq!(id, addr.id());
        assert_eq!(own, addr);
        assert_eq!(addr.downgrade().id(), id);
        assert_eq!(addr.recipient::<Do>().id(), id);
        assert_eq!(addr.asker::<Do>().id(), id);
    });
}
