//! Random programs on trees of supervisors: whatever is ordered, all children are up in the end; and
//! a shutdown in the midst of it ends everybody, soon.

use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Addr, AskError, Backoff, ChildSpec, ChildState, Intensity, Restart, StopTimeout, Strategy,
    Supervisor, System,
};

use super::{Boom, Ping, Worker};
use crate::support::{Numbers, close_the_books, pool, telling_seed, under_seed};

/// How many programs are run; more by the environment, as the README says.
fn programs(few: u64) -> u64 {
    let many = std::env::var("GREENROOM_STORM_TREES");
    many.map_or(few, |number| number.parse().expect("it is a number"))
}

/// Runs a random program until all are up again.
fn befall(system: &System, seed: u64, settle: &dyn Fn(u64)) {
    let mut s = Numbers(seed);
    let strategies = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::Dynamic,
    ];
    let pick = |s: &mut Numbers| strategies[s.below(4) as usize];
    let many = Intensity::new(1_000_000, Duration::from_secs(5));
    let mut root = system.supervisor(pick(&mut s)).intensity(many);
    let mut kids: Vec<Addr<Worker>> = Vec::new();
    let mut sups: Vec<(Addr<Supervisor>, Vec<String>)> = Vec::new();
    for i in 0..3 {
        let mut mid = system.supervisor(pick(&mut s)).intensity(many);
        let mut ids = Vec::new();
        let mut leaf = system.supervisor(pick(&mut s)).intensity(many);
        for j in 0..3 {
            let id = format!("w{i}{j}");
            let mut spec = ChildSpec::new(id.clone(), || Worker);
            if s.below(4) == 0 {
                spec = spec.backoff(Backoff::exponential(Duration::from_millis(1)));
            }
            kids.push(mid.child(spec).unwrap());
            ids.push(id);
            kids.push(
                leaf.child(ChildSpec::new(format!("l{i}{j}"), || Worker))
                    .unwrap(),
            );
        }
        let leaf = mid.child(leaf.into_spec("leaf")).unwrap();
        ids.push("leaf".into());
        sups.push((leaf, (0..3).map(|j| format!("l{i}{j}")).collect()));
        let mid = root.child(mid.into_spec(format!("m{i}"))).unwrap();
        sups.push((mid, ids));
    }
    let root = root.start().unwrap();
    sups.push((root, (0..3).map(|i| format!("m{i}")).collect()));
    let mut restarts = Vec::new();
    let mut others = Vec::new();
    for _ in 0..60 {
        let kid = &kids[s.below(kids.len() as u64) as usize];
        let at = s.below(sups.len() as u64) as usize;
        let is_root = at == sups.len() - 1;
        let (sup, ids) = &sups[at];
        match s.below(9) {
            0 | 1 => {
                let _ = kid.try_send(Boom);
            }
            2 => kid.stop(),
            3 => kid.kill(),
            4 if !is_root => sup.stop(),
            5 if !is_root => sup.kill(),
            6 => restarts.push(sup.restart(ids[s.below(ids.len() as u64) as usize].as_str())),
            7 => others.push(kid.ask(Ping)),
            8 => {
                let n = s.below(u64::MAX);
                // Both are withdrawn, unless their turn comes first.
                drop(sup.add(ChildSpec::temporary(format!("x{n}"), Worker)));
                drop(sup.remove(format!("x{n}")));
            }
            _ => {}
        }
        settle(s.below(12));
    }
    for kid in &kids {
        kid.ask(Ping)
            .wait_for(Duration::from_secs(600))
            .unwrap_or_else(|e| panic!("{e:?}"));
    }
    for reply in restarts {
        if let Err(e) = reply.wait_for(Duration::from_secs(600)) {
            assert!(matches!(e, AskError::Stopped { .. }), "{e:?}");
        }
    }
    for reply in others {
        reply.wait_for(Duration::from_secs(600)).unwrap();
    }
    for (sup, _) in &sups {
        loop {
            let list = sup.list().wait_for(Duration::from_secs(600));
            match list {
                Ok(list) if list.iter().all(|child| child.state == ChildState::Up) => break,
                Ok(_) => settle(12),
                Err(e) => panic!("{e:?}"),
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn whatever_befalls_a_tree_its_children_are_up_in_the_end() {
    (0..programs(100)).for_each(|seed| {
        under_seed(seed, |stepper: &Stepper| {
            befall(stepper.system(), seed + 1, &|n| {
                for _ in 0..n {
                    stepper.step();
                }
            });
        })
    });
}

#[test]
fn whatever_befalls_a_tree_in_pools_its_children_are_up_in_the_end() {
    for round in 0..programs(15) {
        for workers in [1, 2, 8] {
            telling_seed(round, || {
                let system = pool(workers);
                befall(&system, round * 7 + 1, &|n| {
                    (0..n).for_each(|_| std::thread::yield_now());
                });
                close_the_books(&system);
            });
        }
    }
}

/// A shutdown in the middle of it all, with children of all kinds.
fn cut_short(system: &System, seed: u64, settle: &dyn Fn(u64)) {
    let mut s = Numbers(seed);
    let strategies = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::Dynamic,
    ];
    let kinds = [Restart::Permanent, Restart::Transient, Restart::Temporary];
    let pick = |s: &mut Numbers| strategies[s.below(4) as usize];
    let few = |s: &mut Numbers| Intensity::new(s.below(8) as u32, Duration::from_secs(5));
    let mut root = system.supervisor(pick(&mut s)).intensity(few(&mut s));
    let mut kids: Vec<Addr<Worker>> = Vec::new();
    let mut sups: Vec<(Addr<Supervisor>, Vec<String>)> = Vec::new();
    for i in 0..3 {
        let mut mid = system.supervisor(pick(&mut s)).intensity(few(&mut s));
        let mut ids = Vec::new();
        for j in 0..4 {
            let id = format!("w{i}{j}");
            let make = || Worker;
            let mut spec = if s.below(4) == 0 {
                ChildSpec::on_thread(id.clone(), make)
            } else {
                ChildSpec::new(id.clone(), make)
            };
            spec = spec.restart(kinds[s.below(3) as usize]).registered();
            if s.below(3) == 0 {
                spec = spec.backoff(Backoff::exponential(Duration::from_millis(1)));
            }
            if s.below(3) == 0 {
                spec = spec.stop_timeout(StopTimeout::AtOnce);
            }
            kids.push(mid.child(spec).unwrap());
            ids.push(id);
        }
        let mid = root.child(mid.into_spec(format!("m{i}"))).unwrap();
        sups.push((mid, ids));
    }
    let mut replies = Vec::new();
    let root = root.spawn().unwrap();
    sups.push((root, (0..3).map(|i| format!("m{i}")).collect()));
    for _ in 0..s.below(60) {
        let kid = &kids[s.below(kids.len() as u64) as usize];
        let (sup, ids) = &sups[s.below(sups.len() as u64) as usize];
        let id = ids[s.below(ids.len() as u64) as usize].as_str();
        match s.below(10) {
            0 | 1 => {
                let _ = kid.try_send(Boom);
            }
            2 => kid.stop(),
            3 => kid.kill(),
            4 => sup.stop(),
            5 => sup.kill(),
            6 => drop(sup.restart(id)),
            7 => replies.push(kid.ask(Ping)),
            8 => drop(sup.remove(id)),
            _ => kid.drain(),
        }
        settle(s.below(12));
    }
    let report = if s.below(2) == 0 {
        system.shutdown(Duration::from_secs(30))
    } else {
        system.shutdown_now(Duration::from_secs(30))
    };
    assert!(report.is_clean(), "{report:#}");
    for reply in replies {
        let _ = reply
            .wait_for(Duration::from_secs(1))
            .map_err(|e| assert!(!matches!(e, AskError::TimedOut { .. }), "{e:?}"));
    }
    let snapshot = system.snapshot();
    assert_eq!(snapshot.names, 0);
    assert_eq!(snapshot.actors, []);
    assert!(snapshot.totals.is_balanced(), "{}", snapshot.totals);
}

#[test]
fn a_shutdown_in_the_midst_of_failures_ends_everybody_at_once() {
    (0..programs(200)).for_each(|seed| {
        under_seed(seed, |stepper: &Stepper| {
            let before = stepper.system().now();
            cut_short(stepper.system(), seed + 1, &|n| {
                for _ in 0..n {
                    stepper.step();
                }
            });
            assert!(
                stepper.system().now() - before < Duration::from_secs(1),
                "nobody waits"
            );
        })
    });
}

#[test]
fn a_shutdown_in_the_midst_of_failures_in_pools_ends_everybody() {
    for round in 0..programs(15) {
        for workers in [1, 2, 8] {
            telling_seed(round, || {
                let system = pool(workers);
                cut_short(&system, round * 7 + 1, &|n| {
                    (0..n).for_each(|_| std::thread::yield_now());
                });
            });
        }
    }
}
