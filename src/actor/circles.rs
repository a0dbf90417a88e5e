//! Circles of waits: how a wait is refused that would close one.
//!
//! An actor that waits shows a record of its wait in its cell ([`WaitSlot`](super::slot)). The
//! record's [goal](Goal) names those of whom one has to go on before the wait can end. It is an
//! *edge* to each of them:
//!
//! | wait | edge to | as long as |
//! |---|---|---|
//! | for an answer that the handler returns | the asked actor | there is no outcome |
//! | for an answer that may be put off | the asked actor | its handler has not begun |
//! | for the first of several answers | each of the asked | there is no outcome, and each of them is such an edge |
//! | for room | the owner of the mailbox | the message stands in line |
//! | for an end | that actor | it has not ended |
//! | for anything else | nobody | |
//!
//! An edge is not cleared by whoever completes the wait; it is derived from the outcome itself
//! each time somebody looks, and an outcome that is there never goes away while the wait lasts.
//!
//! A waiting actor is *stuck* if it has not been killed, its deadline has not passed, and each of
//! its edges leads to an actor that is stuck. (So a wait for one of several is stuck only if all
//! of them are; a group of workers will be the same.) In other words: no way along the edges
//! leads to somebody who may go on.
//!
//! # No circle is missed
//!
//! A waiter shows its record and then walks along the edges. Showing a record and looking for one
//! are SeqCst, so all of them stand in one total order. Edges only come into being when a wait
//! begins, so of the records of a circle one was shown last. Its walk comes after that, so it
//! sees them all. (Two waits that begin in the same instant may both see the circle.)
//!
//! # No alarm is false, and each circle is reported once
//!
//! The walk reads one record after another, so what it saw need not have been true at one
//! moment. Whoever sees a circle takes a lock that all such walks of the process share, and
//! walks twice. If both walks meet the same waits (by their numbers), then each of them lasted
//! from the first walk to the second without an outcome, so between the walks all of them were
//! stuck at one moment. From there nobody in the circle can go on by himself: an answer needs its
//! handler to return, room and the turn of a request need the actor to take messages, an end
//! needs its handler to return. Only from outside can it be broken: by `kill`, by a `stop` that
//! closes a mailbox for which somebody waits, by a deadline. That is what the error says.
//!
//! Before the lock is free again the reporter has taken its record away. Another member of the
//! circle that has seen it too walks again under the lock, and comes to an actor that does not
//! wait.
//!
//! # What takes no part
//!
//! Futures, threads outside, a [`ReplyTo`](crate::ReplyTo) that somebody keeps, locks. Waits
//! through these show in `System::waits`.

use std::collections::HashSet;
use std::ptr;
use std::sync::{Arc, LazyLock};

use super::cell::Target;
use super::frame::Frame;
use super::wait::Goal;
use crate::error::WaitError;
use crate::sync::{Fault, Mutex, between_sequential, planted};
use crate::waits::{WaitEdge, WaitPath};

/// Somebody who may wait for others.
pub(super) trait Node: Clone {
    /// Tells nodes apart.
    fn key(&self) -> *const ();

    /// The number of its wait and, visited, those of whom one has to go on first; `None` if it
    /// may go on by itself.
    fn wait(&self, visit: &mut dyn FnMut(&Self)) -> Option<u64>;
}

/// Visits the blockers of a wait, as [`Goal::blockers`] does.
type Blockers<'a, N> = &'a mut dyn FnMut(&mut dyn FnMut(&N)) -> bool;

/// What a walk has met: somebody who waits, by which wait, and who led to him.
struct Met<N> {
    node: N,
    number: u64,
    /// The index of whoever waits for him; `None` for whoever walks.
    by: Option<usize>,
}

/// A walk that met nobody who can go on, and came back to where it began.
pub(super) struct Circle<N> {
    met: Vec<Met<N>>,
    /// The index of the first that waits for whoever walks; `None` if he waits for himself.
    last: Option<usize>,
}

impl<N: Node> Circle<N> {
    /// Walks from the one with this key, whose own wait has these blockers.
    pub(super) fn find(me: *const (), blockers: Blockers<'_, N>) -> Option<Self> {
        /// Up to so many are compared one by one.
        const FEW: usize = 16;
        let mut met: Vec<Met<N>> = Vec::new();
        let mut known = HashSet::new();
        let mut last = None;
        let mut meet = |met: &mut Vec<Met<N>>, node: &N, by: Option<usize>| {
            let key = node.key();
            if key == me {
                last.get_or_insert(by);
                return;
            }
            let new = if met.len() < FEW {
                met.iter().all(|met| met.node.key() != key)
            } else {
                if known.is_empty() {
                    known.extend(met.iter().map(|met| met.node.key()));
                }
                known.insert(key)
            };
            if new {
                met.push(Met {
                    node: node.clone(),
                    number: 0,
                    by,
                });
            }
        };
        if !blockers(&mut |node| meet(&mut met, node, None)) {
            return None;
        }
        let mut next = 0;
        while let Some(node) = met.get(next).map(|met| met.node.clone()) {
            met[next].number = node.wait(&mut |node| meet(&mut met, node, Some(next)))?;
            next += 1;
        }
        last.map(|last| Self { met, last })
    }

    /// Whether both walks met the same waits.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let waits = |circle: &Self| -> Vec<_> {
            let met = circle.met.iter();
            met.map(|met| (met.node.key(), met.number)).collect()
        };
        self.last == other.last && waits(self) == waits(other)
    }

    /// Who waits for whom, from whoever walked to the one who waits for him.
    fn path(&self) -> Vec<&N> {
        let mut path = Vec::new();
        let mut next = self.last;
        while let Some(index) = next {
            path.push(&self.met[index].node);
            next = self.met[index].by;
        }
        path.reverse();
        path
    }
}

/// Finds the circle that the caller's wait closes, if it does; `withdraw` takes that wait back
/// before others look.
///
/// The caller has shown its wait. `describe` is given the circle while all its waits last.
pub(super) fn closed_circle<N: Node, D>(
    lock: &Mutex<()>,
    me: *const (),
    blockers: Blockers<'_, N>,
    describe: impl Fn(&Circle<N>) -> D,
    withdraw: impl FnOnce(),
) -> Option<D> {
    if !planted(Fault::WalkUnordered) {
        between_sequential();
    }
    let seen = Circle::find(me, blockers)?;
    if planted(Fault::CircleNotWalkedTwice) {
        withdraw();
        return Some(describe(&seen));
    }
    let _guard = (!planted(Fault::CircleUnlocked)).then(|| lock.lock());
    loop {
        let circle = Circle::find(me, blockers)?;
        let description = describe(&circle);
        // A wait that has changed is the business of whoever has begun it; but others may stand
        // still in a circle beside it.
        if circle.is_same(&Circle::find(me, blockers)?) {
            withdraw();
            return Some(description);
        }
    }
}

impl Node for Arc<dyn Target> {
    fn key(&self) -> *const () {
        ptr::from_ref(self.core()).cast()
    }

    fn wait(&self, visit: &mut dyn FnMut(&Self)) -> Option<u64> {
        let core = self.core();
        let stuck = core.wait_slot.look(|record| {
            let stays = !record.ends(core.is_killed());
            (stays && record.goal.blockers(visit)).then_some(record.number)
        });
        stuck.flatten()
    }
}

/// Refuses the wait of the handler that runs here, if it would close a circle. The wait is shown
/// already; `withdraw` takes it back.
///
/// # Errors
///
/// [`WaitError::WouldDeadlock`]; the wait has been taken back then.
pub(super) fn refuse(
    frame: &Frame,
    goal: &dyn Goal,
    withdraw: impl FnOnce(),
) -> Result<(), WaitError> {
    static LOCK: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
    // Most waits are for somebody who does not wait.
    let mut may_go_on = false;
    let waits = goal.blockers(&mut |blocker| {
        may_go_on |= !blocker.core().wait_slot.is_occupied();
    });
    if !waits || may_go_on {
        return Ok(());
    }
    let path = closed_circle::<Arc<dyn Target>, _>(
        &LOCK,
        ptr::from_ref(frame.core()).cast(),
        &mut |visit| goal.blockers(visit),
        |circle| describe(frame, goal, circle),
        withdraw,
    );
    match path.flatten() {
        None => Ok(()),
        Some(path) => {
            tracing::warn!(target: "greenroom", %path, "a wait would never end");
            Err(WaitError::WouldDeadlock { path })
        }
    }
}

/// The circle in words; `None` if one of its waits has ended.
fn describe(frame: &Frame, goal: &dyn Goal, circle: &Circle<Arc<dyn Target>>) -> Option<WaitPath> {
    let first = WaitEdge {
        waiter: frame.identity(),
        awaited: goal.awaited(),
    };
    let others = circle.path().into_iter().map(|node| {
        let slot = &node.core().wait_slot;
        Some(WaitEdge {
            waiter: node.identity(),
            awaited: slot.look(|record| record.goal.awaited())?,
        })
    });
    let edges: Option<Vec<_>> = std::iter::once(Some(first)).chain(others).collect();
    edges.map(WaitPath::new)
}

#[cfg(all(test, loom))]
#[path = "circles_models.rs"]
mod loom_models;
