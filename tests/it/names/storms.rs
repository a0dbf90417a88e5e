//! Many who want the same names at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

use greenroom::testkit::Stepper;
use greenroom::{Actor, Addr, Context, SpawnError, StopReason, System};

use super::{assert_no_names, is_taken, try_log};
use crate::support::{
    Entry, Log, Numbers, end_of, eventually, in_pools, in_time, telling_seed, under_seeds,
};

#[test]
fn of_eight_threads_that_register_one_name_exactly_one_wins() {
    const THREADS: usize = 8;
    in_pools(|system| {
        let system = system.clone();
        in_time(move || {
            let start = Barrier::new(THREADS);
            let winners = AtomicUsize::new(0);
            let compete = || {
                for round in 0..100 {
                    start.wait();
                    let spawned = try_log(&system, "ledger");
                    start.wait();
                    if let Ok(winner) = spawned {
                        assert_eq!(system.find::<Log>("ledger").as_ref(), Some(&winner));
                        winner.stop();
                        end_of(&winner);
                        winners.fetch_add(1, SeqCst);
                    } else {
                        assert!(is_taken(spawned));
                    }
                    start.wait();
                    assert_eq!(winners.load(SeqCst), round + 1);
                }
            };
            thread::scope(|scope| {
                (0..THREADS).for_each(|_| drop(scope.spawn(compete)));
            });
            assert_no_names(&system);
        });
    });
}

/// The actors that have one name, as they count themselves.
#[derive(Default)]
struct Census {
    living: AtomicUsize,
    /// Whether two have lived at once.
    were_two: AtomicBool,
}

/// Counts itself from `started` to its drop, which is before its name is free.
struct Citizen(Arc<Census>, bool);

impl Actor for Citizen {
    fn started(&mut self, _: &mut Context<Self>) {
        self.1 = true;
        if self.0.living.fetch_add(1, SeqCst) > 0 {
            self.0.were_two.store(true, SeqCst);
        }
    }

    fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
        assert!(*reason != StopReason::Drained, "planted");
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        if self.1 {
            self.0.living.fetch_sub(1, SeqCst);
        }
    }
}

const NAMES: [&str; 3] = ["ada", "bob", "cyd"];

fn settle(
    system: &System,
    name: &'static str,
    census: &Arc<Census>,
) -> Result<Addr<Citizen>, SpawnError> {
    let citizen = Citizen(census.clone(), false);
    system.actor().registered(name).spawn(citizen)
}

fn end_somehow(numbers: &mut Numbers, citizen: Addr<Citizen>) {
    match numbers.below(5) {
        0 => citizen.stop(),
        // It panics in `stopped`.
        1 => citizen.drain(),
        2 => citizen.kill(),
        // It ends unreferenced, or lives on.
        _ => drop(citizen),
    }
}

#[test]
fn in_a_storm_of_spawns_ends_and_searches_no_two_have_a_name_at_once() {
    for seed in 0..4 {
        telling_seed(seed, || in_pools(|system| storm(system, seed)));
    }
}

fn storm(system: &System, seed: u64) {
    let censuses: [Arc<Census>; 3] = Default::default();
    let live = |thread: u64| {
        let mut numbers = Numbers(seed * 100 + thread);
        let mut mine = Vec::new();
        for _ in 0..1_000 {
            let at = numbers.below(3) as usize;
            match numbers.below(4) {
                0 | 1 => match settle(system, NAMES[at], &censuses[at]) {
                    Ok(citizen) => {
                        assert_eq!(citizen.name(), Some(NAMES[at]));
                        mine.push(citizen);
                    }
                    Err(error) => assert!(matches!(error, SpawnError::NameTaken { .. })),
                },
                2 => {
                    if let Some(citizen) = system.find::<Citizen>(NAMES[at]) {
                        assert_eq!(citizen.name(), Some(NAMES[at]));
                        end_somehow(&mut numbers, citizen);
                    }
                }
                _ => {
                    if let Some(citizen) = mine.pop() {
                        end_somehow(&mut numbers, citizen);
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        (0..4).for_each(|thread| drop(scope.spawn(move || live(thread))));
    });
    eventually("all have ended", || system.snapshot().actors.is_empty());
    for census in censuses {
        assert!(!census.were_two.load(SeqCst));
        assert_eq!(census.living.load(SeqCst), 0);
    }
    assert_no_names(system);
}

/// One who lives at a name, by the test's own books.
struct Neighbour {
    addr: Option<Addr<Citizen>>,
    /// Held by the actor as long as it is there.
    census: Arc<Census>,
}

impl Neighbour {
    fn has_ended(&self) -> bool {
        Arc::strong_count(&self.census) == 1
    }
}

#[test]
fn in_any_order_of_steps_a_name_is_taken_just_as_long_as_its_actor_is_there() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let mut numbers = Numbers(stepper.seed());
        let mut homes: [Option<Neighbour>; 3] = Default::default();
        for _ in 0..400 {
            let at = numbers.below(3) as usize;
            let home = &mut homes[at];
            let is_free = home.as_ref().is_none_or(Neighbour::has_ended);
            match numbers.below(5) {
                0 => {
                    let census = Arc::default();
                    let spawned = settle(system, NAMES[at], &census);
                    assert_eq!(spawned.is_ok(), is_free);
                    assert_eq!(is_taken_by(&spawned), !is_free);
                    if let Ok(addr) = spawned {
                        let addr = Some(addr);
                        *home = Some(Neighbour { addr, census });
                    }
                }
                1 => {
                    if let Some(addr) = home.as_mut().and_then(|home| home.addr.take()) {
                        end_somehow(&mut numbers, addr);
                    }
                }
                2 => {
                    let found = system.find::<Citizen>(NAMES[at]);
                    if let Some(addr) = home.as_ref().and_then(|home| home.addr.as_ref()) {
                        assert_eq!(found.as_ref(), Some(addr));
                    } else {
                        assert_eq!(found, None, "it has no address, or ends");
                    }
                }
                _ => drop(stepper.step()),
            }
            let taken = homes.iter().flatten().filter(|home| !home.has_ended());
            assert_eq!(system.registered().len(), taken.count());
        }
        drop(homes);
        stepper.run();
        assert_no_names(system);
    });
}

fn is_taken_by(spawned: &Result<Addr<Citizen>, SpawnError>) -> bool {
    matches!(spawned, Err(SpawnError::NameTaken { .. }))
}

#[test]
fn the_same_seed_calls_those_who_wait_in_the_same_order() {
    let order = |seed| -> Vec<u64> {
        let stepper = Stepper::new(seed);
        let system = stepper.system();
        let log = system.spawn(Log::default());
        let players: Vec<_> = (0..20)
            .map(|number| {
                let player = system.spawn(crate::support::Player::default());
                let log = log.clone();
                let scene = crate::support::act(move |_, ctx: &mut Context<_>| {
                    ctx.named::<Log>("ledger").wait().expect("it comes");
                    log.send(Entry(number)).expect("there is room");
                });
                player.send(scene).expect("there is room");
                player
            })
            .collect();
        stepper.run();
        let _ledger = try_log(system, "ledger").expect("the name is free");
        let seen = log.ask(crate::support::Seen);
        stepper.run();
        drop(seen.wait());
        let seen = log.ask(crate::support::Seen).wait().expect("it answers");
        drop(players);
        seen
    };
    for seed in 0..20 {
        let first = order(seed);
        assert_eq!(first.len(), 20);
        assert_eq!(order(seed), first);
    }
    assert_ne!(order(1), order(2), "seeds differ");
}
