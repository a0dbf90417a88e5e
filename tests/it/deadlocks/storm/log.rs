//! What the actors of a storm say of their own waits, against which alarms are checked.
//!
//! Each notes a wait before it begins and after it has ended, so the noted span encloses the
//! true one. When somebody is told of a circle, nobody on its path and nobody for whom they wait
//! could go on at one moment of that call. So there is a moment in the call at which each member
//! of the path was noted as waiting for the next one, and all to whom the noted waits lead were
//! noted as waiting too. A member may go on before the call returns: when it is killed, its time
//! is up, or somebody else is told of another circle. That is why ended waits are kept, the latest
//! of each place; an alarm for which they do not reach back is counted as unchecked.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use greenroom::{ActorId, Awaited, WaitPath};

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

/// An actor, and the place at which it notes its waits; none if it never waits.
pub(super) type Other = (Option<usize>, ActorId);

struct Noted {
    waiter: ActorId,
    kind: Kind,
    others: Vec<Other>,
    begun: u64,
    /// `u64::MAX` while it lasts.
    ended: u64,
}

impl Noted {
    fn lasts_at(&self, moment: u64) -> bool {
        (self.begun..self.ended).contains(&moment)
    }
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
        others: &[Other],
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
        let edges = path.edges();
        if edges.first().is_none_or(|first| first.waiter.id != waiter) {
            return Err("it does not begin with whoever is told".to_owned());
        }
        let mut members = Vec::new();
        for (edge, next) in edges.iter().zip(edges.iter().cycle().skip(1)) {
            let place = edge.waiter.name.as_deref().and_then(&place_of);
            let place = place.ok_or_else(|| format!("{} is no member", edge.waiter))?;
            let next = next.waiter.id;
            let Some((kind, true)) = Kind::of(&edge.awaited, next) else {
                return Err(format!("{} is no wait for {next}", edge.awaited));
            };
            members.push((place, edge.waiter.id, kind, next));
        }
        let is_told = |moment: u64| {
            let mut members = members.iter();
            members.all(|(place, waiter, kind, next)| {
                let told = |noted: &Noted| {
                    let mut others = noted.others.iter();
                    noted.kind == *kind && others.any(|(_, other)| other == next)
                };
                self.noted_at(moment, *place, *waiter, told) == Some(true)
            }) && self.nobody_can_go_on(moment, (begun.place, waiter))
        };
        // If there is such a moment, one of the beginnings is.
        let (moments, is_complete) = self.beginnings_since(begun.at);
        if moments.into_iter().any(is_told) {
            Ok(true)
        } else if is_complete {
            Err("somebody could go on at each moment".to_owned())
        } else {
            Ok(false)
        }
    }

    /// When the waits have begun that were noted since this moment, itself included; and whether
    /// the notes reach back so far.
    fn beginnings_since(&self, moment: u64) -> (Vec<u64>, bool) {
        let now = self.tick();
        let mut beginnings = Vec::new();
        let mut is_complete = true;
        for notes in &self.places {
            let notes = notes.lock().unwrap();
            let begun = notes.iter().rev().map(|noted| noted.begun);
            let recent = begun.take_while(|begun| *begun >= moment);
            beginnings.extend(recent.filter(|begun| *begun < now));
            is_complete &= notes.len() < KEPT || notes[0].begun < moment;
        }
        (beginnings, is_complete)
    }

    /// Looks at the wait that this actor had noted at this moment, if there is one.
    fn noted_at<T>(
        &self,
        moment: u64,
        place: usize,
        waiter: ActorId,
        look: impl FnOnce(&Noted) -> T,
    ) -> Option<T> {
        let notes = self.places[place].lock().unwrap();
        let mut notes = notes.iter().rev();
        let noted = notes.find(|noted| noted.waiter == waiter && noted.lasts_at(moment));
        noted.map(look)
    }

    /// Whether all to whom the waits lead from this actor had noted a wait at this moment.
    fn nobody_can_go_on(&self, moment: u64, first: (usize, ActorId)) -> bool {
        let mut met = vec![(Some(first.0), first.1)];
        let mut next = 0;
        while let Some((place, actor)) = met.get(next).copied() {
            let others = place.and_then(|place| {
                self.noted_at(moment, place, actor, |noted| noted.others.clone())
            });
            let Some(others) = others else {
                return false;
            };
            for other in others {
                if !met.contains(&other) {
                    met.push(other);
                }
            }
            next += 1;
        }
        true
    }
}
