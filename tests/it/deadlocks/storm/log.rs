//! What the actors of a storm say of their own waits, against which alarms are checked.
//!
//! Each notes a wait before it begins and after it has ended, so the noted span encloses the
//! true one. When somebody is told of a circle, all its waits lasted at one moment of that call.
//! So there is a moment in the call at which each member of the path was noted as waiting for
//! the next one. A member may go on before the call returns: when it is killed, its time is up, or
//! another one of those from whom it wants any answer goes on. That is why ended waits are kept,
//! the latest of each place; an alarm for which they do not reach back is counted as unchecked.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use greenroom::{ActorId, Awaited, WaitEdge, WaitPath};

/// Waits that are kept for each place.
const KEPT: usize = 256;

/// What a wait is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Answer,
    Turn,
    FirstAnswer,
    Room,
    End,
}

impl Kind {
    /// The kind that is told, and whether this actor is among those who are waited for.
    fn of(awaited: &Awaited, other: ActorId) -> Option<(Self, bool)> {
        Some(match awaited {
            Awaited::Reply { from, .. } => (Self::Answer, from.id == other),
            Awaited::Queued { at, .. } => (Self::Turn, at.id == other),
            Awaited::AnyReply { from } => (
                Self::FirstAnswer,
                from.iter().any(|identity| identity.id == other),
            ),
            Awaited::Room { at, .. } => (Self::Room, at.id == other),
            Awaited::End { of } => (Self::End, of.id == other),
            _ => return None,
        })
    }
}

struct Noted {
    waiter: ActorId,
    kind: Kind,
    others: Vec<ActorId>,
    begun: u64,
    /// `u64::MAX` while it lasts.
    ended: u64,
}

/// A wait that was noted and has not ended.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    place: usize,
    at: u64,
}

/// See the [module](self).
pub(super) struct WaitLog {
    clock: AtomicU64,
    places: Vec<Mutex<VecDeque<Noted>>>,
}

impl WaitLog {
    pub(super) fn new(places: usize) -> Self {
        Self {
            clock: AtomicU64::new(0),
            places: (0..places).map(|_| Mutex::default()).collect(),
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    /// Notes that a wait begins, of an actor at this place.
    pub(super) fn begin(
        &self,
        place: usize,
        waiter: ActorId,
        kind: Kind,
        others: &[ActorId],
    ) -> Begun {
        let mut notes = self.places[place].lock().unwrap();
        let at = self.tick();
        if notes.len() >= KEPT && notes.front().is_some_and(|oldest| oldest.ended < at) {
            notes.pop_front();
        }
        notes.push_back(Noted {
            waiter,
            kind,
            others: others.to_vec(),
            begun: at,
            ended: u64::MAX,
        });
        Begun { place, at }
    }

    /// Notes that it has ended.
    pub(super) fn end(&self, begun: Begun) {
        let mut notes = self.places[begun.place].lock().unwrap();
        let ended = self.tick();
        let noted = notes.iter_mut().rev().find(|noted| noted.begun == begun.at);
        noted.expect("a wait that lasts is kept").ended = ended;
    }

    /// Checks what the actor was told whose wait this is; `false` if the notes do not reach back.
    /// `place_of` finds the place of an actor by its name.
    pub(super) fn check(
        &self,
        path: &WaitPath,
        waiter: ActorId,
        begun: Begun,
        place_of: impl Fn(&str) -> Option<usize>,
    ) -> Result<bool, String> {
        let now = self.tick();
        let edges = path.edges();
        if edges.first().is_none_or(|first| first.waiter.id != waiter) {
            return Err("it does not begin with whoever is told".to_owned());
        }
        // Of each member, the spans in which it was noted as waiting for the next one.
        let mut spans = Vec::new();
        let mut is_complete = true;
        let nexts = edges.iter().cycle().skip(1);
        for (edge, next) in edges.iter().zip(nexts) {
            let place = edge.waiter.name.as_deref().and_then(&place_of);
            let place = place.ok_or_else(|| format!("{} is no member", edge.waiter))?;
            let notes = self.places[place].lock().unwrap();
            let oldest = notes.front().map_or(0, |oldest| oldest.begun);
            is_complete &= notes.len() < KEPT || oldest < begun.at;
            spans.push(Self::matching(&notes, edge, next, begun.at)?);
        }
        // If there is such a moment, one of the beginnings is.
        let moments = spans.iter().flatten().map(|(from, _)| *from);
        let moments = moments.chain([begun.at]);
        let is_one = |moment: u64| {
            let holds = |(from, until): &(u64, u64)| (*from..*until).contains(&moment);
            (begun.at..now).contains(&moment) && spans.iter().all(|spans| spans.iter().any(holds))
        };
        if moments.into_iter().any(is_one) {
            Ok(true)
        } else if is_complete {
            Err("its members did not wait for each other at one moment".to_owned())
        } else {
            Ok(false)
        }
    }

    fn matching(
        notes: &VecDeque<Noted>,
        edge: &WaitEdge,
        next: &WaitEdge,
        since: u64,
    ) -> Result<Vec<(u64, u64)>, String> {
        let other = next.waiter.id;
        let Some((kind, true)) = Kind::of(&edge.awaited, other) else {
            return Err(format!("{} is no wait for {}", edge.awaited, next.waiter));
        };
        let notes = notes.iter().filter(|noted| {
            noted.waiter == edge.waiter.id
                && noted.kind == kind
                && noted.others.contains(&other)
                && noted.ended > since
        });
        Ok(notes.map(|noted| (noted.begun, noted.ended)).collect())
    }
}
