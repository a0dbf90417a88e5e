//! A thread outside the pool that waits for an answer runs the asked actor meanwhile, and nobody
//! can tell the difference, except by the thread.

mod books;
mod circles;
mod endings;
mod kills;
mod nested;
mod offers;
mod order;
mod places;
mod stacks;

use std::sync::{Arc, Barrier};
use std::thread::{self, ThreadId};

use greenroom::{Actor, ActorSnapshot, Addr, System};

use crate::support::{Act, Gate, Log, Note, PATIENCE, Player, act, eventually, gate};

/// A message whose answer is the thread on which it is handled.
fn place() -> Act<ThreadId> {
    act(|_, _| here())
}

fn here() -> ThreadId {
    thread::current().id()
}

/// Keeps every worker of the pool in a handler that blocks its thread, until the gates are
/// dropped. Meanwhile whatever is run is run by somebody who waits for it.
fn occupy(system: &System) -> Vec<Gate> {
    occupy_some(system, system.snapshot().workers.len())
}

/// As [`occupy`], with so many workers.
fn occupy_some(system: &System, workers: usize) -> Vec<Gate> {
    let gates: Vec<_> = (0..workers)
        .map(|_| {
            let (hold, gate) = gate();
            let log = system.spawn(Log::default());
            log.send(hold).expect("there is room");
            gate
        })
        .collect();
    gates.iter().for_each(Gate::wait_until_held);
    gates
}

fn players<const N: usize>(system: &System) -> [Addr<Player>; N] {
    std::array::from_fn(|_| system.spawn(Player::default()))
}

/// Players whom also a handler that waits on a thread may run meanwhile.
fn open_players<const N: usize>(system: &System) -> [Addr<Player>; N] {
    std::array::from_fn(|_| open_player(system))
}

fn open_player(system: &System) -> Addr<Player> {
    let options = system.actor().run_on_callers();
    options.spawn(Player::default()).expect("it is spawned")
}

/// A player who has had his first turn, so that the next one is for the request that comes.
fn begun(system: &System) -> Addr<Player> {
    let player = system.spawn(Player::default());
    player.ask(Note(0)).wait_for(PATIENCE).unwrap();
    player
}

/// The threads of the pool.
fn workers(system: &System) -> Vec<ThreadId> {
    let workers = system.snapshot().workers.len();
    let meet = Arc::new(Barrier::new(workers));
    let players: Vec<_> = (0..workers).map(|_| begun(system)).collect();
    let ask = |player: &Addr<Player>| {
        let meet = meet.clone();
        player.ask(act(move |_, _| {
            meet.wait();
            here()
        }))
    };
    let places: Vec<_> = players.iter().map(ask).collect();
    let places = places.into_iter().map(|place| place.wait_for(PATIENCE));
    places
        .map(|place| place.expect("a worker runs it"))
        .collect()
}

fn all_workers_sleep(system: &System) -> bool {
    let workers = system.snapshot().workers;
    workers.iter().all(|worker| worker.asleep)
}

fn is_waiting<A: Actor>(system: &System, addr: &Addr<A>) -> bool {
    system.waits().iter().any(|wait| wait.actor.id == addr.id())
}

fn snapshot_of<A: Actor>(system: &System, addr: &Addr<A>) -> ActorSnapshot {
    let actors = system.snapshot().actors;
    let mut found = actors.into_iter().filter(|actor| actor.id == addr.id());
    found.next().expect("the actor lives")
}

/// Waits until so many messages of the actor were handled.
fn handled<A: Actor>(system: &System, addr: &Addr<A>, messages: u64) {
    eventually("they are handled", || {
        snapshot_of(system, addr).counts.handled == messages
    });
}
