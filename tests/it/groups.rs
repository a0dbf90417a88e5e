//! Groups: who is a member, and what a broadcast brings to whom.

mod broadcasts;
mod endings;
mod storms;

use greenroom::{
    ActorId, Addr, Context, DeferredHandler, Group, GroupError, Handler, System, WeakRecipient,
};
use static_assertions::assert_impl_all;

use crate::support::{Entry, Log, Player, Seen, act, end_of, in_a_pool, pool, under_seeds};

// Of messages that are not `Sync`.
assert_impl_all!(Group<std::cell::Cell<u8>>: Send, Sync, Clone, Eq, std::fmt::Debug);
assert_impl_all!(GroupError: Send, Sync, Clone, std::error::Error);

/// A message that can be broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Say(u64);

impl Handler<Say> for Log {
    type Reply = ();

    fn handle(&mut self, Say(number): Say, _: &mut Context<Self>) {
        self.seen.push(number);
    }
}

impl Handler<Say> for Player {
    type Reply = ();

    fn handle(&mut self, Say(number): Say, ctx: &mut Context<Self>) {
        self.notes.push((ctx.now(), number));
    }
}

fn logs(system: &System, count: usize) -> Vec<Addr<Log>> {
    (0..count).map(|_| system.spawn(Log::default())).collect()
}

fn ids<M: Send + 'static>(group: &Group<M>) -> Vec<ActorId> {
    group.members().iter().map(WeakRecipient::id).collect()
}

fn join_all<A: DeferredHandler<Say>>(group: &Group<Say>, addrs: &[Addr<A>]) {
    for addr in addrs {
        group.join(addr).expect("it lives");
    }
}

fn seen(log: &Addr<Log>) -> Vec<u64> {
    log.ask(Seen).wait().expect("it answers")
}

#[test]
fn members_stand_in_the_order_of_joining() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        assert_eq!(group.key(), "kitchen");
        assert!(group.is_empty());
        let mut logs = logs(system, 20);
        logs.reverse();
        join_all(&group, &logs);
        assert_eq!(ids(&group), logs.iter().map(Addr::id).collect::<Vec<_>>());
        assert_eq!(group.len(), 20);
        assert!(!group.is_empty());
    });
}

#[test]
fn who_joins_twice_is_one_member_and_stays_in_its_place() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let logs = logs(system, 3);
        join_all(&group, &logs);
        join_all(&group, &logs);
        let again = system.group::<Say>("kitchen");
        again.join(&logs[0].clone()).unwrap();
        assert_eq!(ids(&group), [logs[0].id(), logs[1].id(), logs[2].id()]);
        assert_eq!(group.broadcast(Say(7)).len(), 3);
        assert_eq!(seen(&logs[0]), [7]);
    });
}

#[test]
fn who_leaves_gets_nothing_more_and_joins_again_behind_the_others() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let logs = logs(system, 3);
        assert!(!group.leave(&logs[0]), "it was no member");
        join_all(&group, &logs);
        group.broadcast(Say(1));
        assert!(group.leave(&logs[0]));
        assert!(!group.leave(&logs[0]));
        group.broadcast(Say(2));
        assert_eq!(ids(&group), [logs[1].id(), logs[2].id()]);
        group.join(&logs[0]).unwrap();
        assert_eq!(ids(&group), [logs[1].id(), logs[2].id(), logs[0].id()]);
        group.broadcast(Say(3));
        assert_eq!(seen(&logs[0]), [1, 3]);
        assert_eq!(seen(&logs[1]), [1, 2, 3]);
    });
}

#[test]
fn members_may_be_actors_of_any_type_that_handles_the_message() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let (log, player) = (
            system.spawn(Log::default()),
            system.spawn(Player::default()),
        );
        group.join(&log).unwrap();
        group.join(&player).unwrap();
        group.broadcast(Say(7));
        assert_eq!(seen(&log), [7]);
        let notes = player.ask(act(|player, _| player.notes[0].1));
        assert_eq!(notes.wait().unwrap(), 7);
    });
}

#[test]
fn a_group_is_known_by_its_system_its_key_and_its_message() {
    in_a_pool(1, |system| {
        let group = system.group::<Say>("x");
        let log = system.spawn(Log::default());
        group.join(&log).unwrap();
        assert_eq!(system.group::<Say>("x"), group);
        assert_eq!(group.clone(), group);
        assert_ne!(system.group::<Say>("y"), group);
        assert!(system.group::<Entry>("x").is_empty());
        let other = pool(1);
        assert_ne!(other.group::<Say>("x"), group);
        assert!(other.group::<Say>("x").is_empty());
        // Groups with one key for two messages have the same member, and nothing in common.
        let entries = system.group::<Entry>("x");
        entries.join(&log).unwrap();
        assert!(group.leave(&log));
        assert_eq!(ids(&entries), [log.id()]);
    });
}

#[test]
fn a_handler_joins_a_group_of_its_system() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let player = system.spawn(Player::default());
        let joined = player.ask(act(|_, ctx| ctx.group::<Say>("kitchen").join(&ctx.addr())));
        joined.wait().unwrap().unwrap();
        assert_eq!(ids(&system.group::<Say>("kitchen")), [player.id()]);
    });
}

#[test]
fn a_group_lives_by_its_members_or_its_handles_and_costs_nothing_afterwards() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let groups = || system.snapshot().groups;
        assert_eq!(groups(), 0);
        let handle = system.group::<Say>("kitchen");
        assert_eq!(groups(), 1, "a handle");
        let log = system.spawn(Log::default());
        handle.join(&log).unwrap();
        drop(handle);
        assert_eq!(groups(), 1, "a member");
        let handle = system.group::<Say>("kitchen");
        assert_eq!(ids(&handle), [log.id()], "of the same group");
        assert!(handle.leave(&log));
        assert_eq!(groups(), 1, "a handle");
        drop(handle.clone());
        assert_eq!(groups(), 1);
        drop(handle);
        assert_eq!(groups(), 0);
        system.group::<Say>("kitchen").join(&log).unwrap();
        log.stop();
        end_of(&log);
        assert_eq!(groups(), 0, "the member has ended");
    });
}
