//! Joining, leaving, ending and broadcasting at once.

use std::sync::{Arc, Barrier};
use std::thread;

use greenroom::{Addr, Group, GroupError, System, WeakRecipient};

use super::{Say, ids, seen};
use crate::support::{
    Log, Numbers, end_of, eventually, in_pools, in_time, telling_seed, under_seeds,
};

#[test]
fn no_dead_member_stays_when_joining_and_ending_meet() {
    in_pools(|system| {
        let system = system.clone();
        in_time(move || {
            let group = system.group::<Say>("kitchen");
            let start = Barrier::new(2);
            let (hand_over, handed) = std::sync::mpsc::channel::<Addr<Log>>();
            thread::scope(|scope| {
                let (start, theirs) = (&start, &group);
                let joiner = scope.spawn(move || {
                    let (mut joined, mut refused) = (0, 0);
                    for log in handed {
                        start.wait();
                        match theirs.join(&log) {
                            Ok(()) => joined += 1,
                            Err(GroupError::Ended { .. }) => refused += 1,
                            Err(error) => panic!("{error}"),
                        }
                        end_of(&log);
                        assert!(theirs.is_empty());
                        start.wait();
                    }
                    (joined, refused)
                });
                for _ in 0..1_000 {
                    let log = system.spawn(Log::default());
                    hand_over.send(log.clone()).unwrap();
                    start.wait();
                    log.stop();
                    start.wait();
                }
                drop(hand_over);
                let (joined, refused) = joiner.join().unwrap();
                assert_eq!(joined + refused, 1_000);
            });
            assert!(group.is_empty());
        });
    });
}

const KEYS: [&str; 3] = ["a", "b", "c"];

#[test]
fn in_a_storm_the_groups_end_empty_and_gone() {
    for seed in 0..4 {
        telling_seed(seed, || in_pools(|system| storm(system, seed)));
    }
}

fn storm(system: &System, seed: u64) {
    let actors: Arc<Vec<_>> = Arc::new((0..8).map(|_| system.spawn(Log::default())).collect());
    let work = |thread: u64| {
        let mut numbers = Numbers(seed * 100 + thread);
        let mut mine: Vec<Addr<Log>> = Vec::new();
        for _ in 0..1_000 {
            let group: Group<Say> = system.group(KEYS[numbers.below(3) as usize]);
            let common = &actors[numbers.below(8) as usize];
            match numbers.below(7) {
                0 => group.join(common).unwrap(),
                1 => drop(group.leave(common)),
                2 => {
                    let log = system.spawn(Log::default());
                    group.join(&log).unwrap();
                    mine.push(log);
                }
                3 => drop(mine.pop()),
                4 => {
                    if let Some(log) = mine.pop() {
                        log.kill();
                        end_of(&log);
                        assert!(!ids(&group).contains(&log.id()));
                    }
                }
                5 => {
                    let members = group.members();
                    let distinct: std::collections::BTreeSet<_> =
                        members.iter().map(WeakRecipient::id).collect();
                    assert_eq!(distinct.len(), members.len());
                }
                _ => drop(group.broadcast(Say(thread))),
            }
        }
    };
    thread::scope(|scope| {
        (0..4).for_each(|thread| drop(scope.spawn(move || work(thread))));
    });
    drop(actors);
    eventually("all have ended", || system.snapshot().actors.is_empty());
    assert_eq!(system.snapshot().groups, 0);
}

#[test]
fn in_any_order_of_steps_the_members_are_those_that_have_joined_and_are_there() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let mut numbers = Numbers(stepper.seed());
        // Who has joined, in order, by the test's own books; and what each should have seen.
        let mut members: Vec<Addr<Log>> = Vec::new();
        let mut others: Vec<Addr<Log>> = Vec::new();
        for number in 0..300 {
            match numbers.below(7) {
                0 => others.push(system.spawn(Log::default())),
                1 if !others.is_empty() => {
                    let log = others.remove(numbers.below(others.len() as u64) as usize);
                    assert_eq!(group.join(&log).is_err(), log.is_stopped());
                    members.push(log);
                }
                2 if !members.is_empty() => {
                    let log = members.remove(numbers.below(members.len() as u64) as usize);
                    assert_eq!(group.leave(&log), !log.is_stopped());
                    others.push(log);
                }
                3 if !members.is_empty() => {
                    let at = numbers.below(members.len() as u64) as usize;
                    members[at].kill();
                }
                4 => {
                    let sent = group.broadcast(Say(number));
                    assert_eq!(sent.len(), group.len());
                }
                _ => drop(stepper.step()),
            }
            members.retain(|log| !log.is_stopped());
            let expected: Vec<_> = members.iter().map(Addr::id).collect();
            assert_eq!(ids(&group), expected);
        }
        stepper.run();
        for log in members.iter().filter(|log| !log.is_stopped()) {
            let seen = seen(log);
            assert!(seen.is_sorted(), "{seen:?}");
        }
    });
}
