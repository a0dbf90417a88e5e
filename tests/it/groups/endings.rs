//! Members that end leave their groups by themselves.

use std::sync::{Arc, Mutex};

use greenroom::{Addr, Group, GroupError, StopReason, System};

use super::{Say, ids, join_all, logs};
use crate::support::{
    Log, PATIENCE, Player, act, end_of, eventually, in_pools, under_seed, under_seeds,
};

#[test]
fn whoever_has_seen_the_end_does_not_find_the_member() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let logs = logs(system, 4);
        join_all(&group, &logs);
        let waiter = system.spawn(Player::default());
        let (awaited, theirs) = (logs[1].clone(), group.clone());
        let left = waiter.ask(act(move |_, _| {
            awaited.join().expect("it ends");
            ids(&theirs)
        }));
        stepper.run();
        logs[1].kill();
        assert_eq!(
            left.wait().unwrap(),
            [logs[0].id(), logs[2].id(), logs[3].id()]
        );
        logs[0].stop();
        logs[3].drain();
        end_of(&logs[0]);
        end_of(&logs[3]);
        assert_eq!(ids(&group), [logs[2].id()]);
    });
    in_pools(|system| {
        let group = system.group::<Say>("kitchen");
        for round in 0..1_000 {
            let log = system.spawn(Log::default());
            group.join(&log).unwrap();
            match round % 3 {
                0 => log.stop(),
                1 => log.drain(),
                _ => log.kill(),
            }
            end_of(&log);
            assert!(group.is_empty());
        }
    });
}

#[test]
fn an_actor_is_a_member_while_stopped_runs_and_may_still_join() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
        let notes = seen.clone();
        let player = system.spawn(Player::ending_with(move |_, ctx| {
            let kitchen = ctx.group::<Say>("kitchen");
            let hall = ctx.group::<Say>("hall");
            hall.join(&ctx.addr()).expect("it has not ended");
            *notes.lock().unwrap() = vec![kitchen.len(), hall.len()];
        }));
        let group = system.group::<Say>("kitchen");
        group.join(&player).unwrap();
        player.stop();
        end_of(&player);
        assert_eq!(*seen.lock().unwrap(), [1, 1]);
        assert!(group.is_empty());
        drop(group);
        assert_eq!(system.snapshot().groups, 0);
    });
}

#[test]
fn an_actor_that_panics_leaves_all_its_groups() {
    let check = |system: &System| {
        let groups: Vec<Group<Say>> = ["a", "b", "c"].map(|key| system.group(key)).into();
        let player = system.spawn(Player::default());
        groups.iter().for_each(|group| group.join(&player).unwrap());
        let panicked = player.ask(act(|_, _| panic!("planted")));
        let _: Result<(), _> = panicked.wait();
        end_of(&player);
        assert!(groups.iter().all(Group::is_empty));
    };
    under_seeds(|stepper| check(stepper.system()));
    in_pools(check);
}

#[test]
fn a_group_keeps_no_member_alive_nor_a_member_that_holds_its_group() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let logs = logs(system, 3);
        join_all(&system.group("kitchen"), &logs);
        let player = system.spawn(Player::default());
        let group = system.group::<Say>("hall");
        group.join(&player).unwrap();
        let held = group.clone();
        let ending = Player::ending_with(move |_, _| drop(held));
        let holder = system.spawn(ending);
        group.join(&holder).unwrap();
        drop((logs, player, holder, group));
        stepper.run();
        let snapshot = system.snapshot();
        assert_eq!(snapshot.actors, []);
        assert_eq!(snapshot.groups, 0);
    });
}

#[test]
fn an_actor_that_has_ended_joins_no_group() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let log = system.spawn(Log::default());
        log.kill();
        end_of(&log);
        let joined = group.join(&log);
        let reason = StopReason::Killed;
        assert_eq!(joined, Err(GroupError::Ended { reason }));
        assert!(!group.leave(&log));
        assert!(group.is_empty());
    });
}

#[test]
fn an_actor_that_came_too_late_for_its_system_joins_no_group() {
    under_seed(0, |stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        assert!(system.shutdown(PATIENCE).is_clean());
        let late = system.spawn(Log::default());
        let reason = StopReason::Shutdown;
        assert_eq!(group.join(&late), Err(GroupError::Ended { reason }));
        assert!(group.is_empty());
    });
}

#[test]
fn ten_thousand_members_leave_nothing_behind() {
    in_pools(|system| {
        let hall = system.group::<Say>("hall");
        for round in 0..10_000 {
            let log = system.spawn(Log::default());
            system
                .group::<Say>(format!("room {round}"))
                .join(&log)
                .unwrap();
            hall.join(&log).unwrap();
            if round % 2 == 0 {
                log.stop();
            }
        }
        eventually("all have ended", || system.snapshot().actors.is_empty());
        assert!(hall.is_empty());
        assert_eq!(
            system.snapshot().groups,
            1,
            "but the hall, of which there is a handle"
        );
        drop(hall);
        assert_eq!(system.snapshot().groups, 0);
    });
}

#[test]
fn an_address_can_be_used_by_threads_that_join_and_leave_for_it() {
    let log_of = |system: &System| -> Addr<Log> { system.spawn(Log::default()) };
    in_pools(|system| {
        let log = log_of(system);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        system.group::<Say>("kitchen").join(&log).unwrap();
                        system.group::<Say>("kitchen").leave(&log);
                    }
                });
            }
        });
        assert_eq!(system.snapshot().groups, 0, "each joining was undone");
        system.group::<Say>("kitchen").join(&log).unwrap();
        assert_eq!(ids(&system.group::<Say>("kitchen")), [log.id()]);
    });
}
