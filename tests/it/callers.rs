//! A thread outside the pool that waits for an answer runs the asked actor meanwhile, and nobody
//! can tell the difference, except by the thread.

mod books;
mod circles;
mod endings;
mod nested;
mod offers;
mod order;
mod places;

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
    let workers = system.snapshot().workers.len();
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

/// A player who has had his first turn, so that the next one is for the request that comes.
fn begun(system: &System) -> Addr<Player> {
    let player = system.spawn(Player::default());
    player.ask(Note(0)).wait_for(PATIENCE).unwrap();
    player
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
