//! What was asked for, or has happened, and waits until an operation lets it begin.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Supervision;
use crate::actor::{Context, Manner};
use crate::error::{GaveUpBecause, StopReason};
use crate::restart::{Restart, Strategy};
use crate::supervisor::operation::{Operation, Pending, Why};
use crate::supervisor::{RemoveError, RestartError, StartError, Supervisor};

impl Supervision {
    /// Serves a request about a child that is part of an operation: one that is to be removed takes no
    /// part in it any more if it is not started just now, and one whose restart is put off does not
    /// wait any longer if it is to be restarted. Gives back what is still to be done.
    fn look_at_parts(&mut self, pending: Pending) -> Option<Pending> {
        let Some(place) = self.place_of(&pending) else {
            return Some(pending);
        };
        let Some(index) = self.operation_on(place) else {
            return Some(pending);
        };
        let operation = &mut self.operations[index];
        match pending {
            Pending::Restart(_, reply) if operation.is_put_off() => {
                operation.delay = Duration::ZERO;
                operation.askers.push((place, reply));
                None
            }
            Pending::Remove(..) if operation.can_spare(place) => {
                operation.to_start.retain(|next| *next != place);
                operation.places.remove(&place);
                let removed = RestartError::Failed {
                    reason: StopReason::Removed,
                };
                operation.answer(place, &Err(removed));
                Some(pending)
            }
            pending => Some(pending),
        }
    }

    /// The child that it is about, if there is such a one.
    fn place_of(&self, pending: &Pending) -> Option<u64> {
        match pending {
            Pending::Failed { place, .. } | Pending::Begin(place, _) => Some(*place),
            Pending::Remove(id, _) | Pending::Restart(id, _) => self.places.get(id).copied(),
        }
    }

    /// Begins what can begin of what waits. Whether anything did.
    pub(super) fn take_pending(&mut self, ctx: &mut Context<Supervisor>) -> bool {
        let mut blocked = BTreeSet::new();
        let mut any = false;
        for pending in std::mem::take(&mut self.pending) {
            let Some(pending) = self.look_at_parts(pending) else {
                any = true;
                continue;
            };
            let place = self.place_of(&pending);
            // Whoever is started just now may wait for these.
            let overlaps = matches!(pending, Pending::Remove(..) | Pending::Begin(..))
                && self.operations.iter().all(Operation::lets_others_begin);
            let is_busy = match place {
                None => false,
                Some(place) if overlaps => {
                    self.operation_on(place).is_some() || blocked.contains(&place)
                }
                Some(_) if self.is_tied() => !self.operations.is_empty() || !blocked.is_empty(),
                Some(place) => self.operation_on(place).is_some() || blocked.contains(&place),
            };
            // Until the first children have started nothing else does.
            let is_early = !self.has_begun && !overlaps;
            if is_busy || is_early || self.gave_up {
                blocked.extend(place);
                self.pending.push_back(pending);
            } else {
                self.begin_pending(pending, ctx);
                any = true;
            }
        }
        any
    }

    /// Whether operations on different children must not overlap.
    pub(super) fn is_tied(&self) -> bool {
        matches!(self.strategy, Strategy::OneForAll | Strategy::RestForOne)
    }

    fn begin_pending(&mut self, pending: Pending, ctx: &mut Context<Supervisor>) {
        match pending {
            Pending::Failed {
                place,
                life,
                reason,
            } => {
                // It may have been restarted or removed meanwhile.
                let child = self.children.get(&place);
                if child.is_some_and(|child| child.life == life && !child.up) {
                    self.begin_restart(place, reason, ctx);
                }
            }
            Pending::Begin(place, added) if !self.children.contains_key(&place) => {
                let reason = StopReason::Removed;
                added(Err(StartError::Ended { reason }));
            }
            Pending::Begin(place, added) => {
                let manner = Manner::End(StopReason::Removed);
                self.operate(Why::Add(added), &[], manner, Duration::ZERO, vec![place]);
            }
            Pending::Remove(id, reply) => match self.places.get(&id).copied() {
                None => reply.send(Err(RemoveError::Unknown { id })),
                Some(place) => {
                    let why = Why::Remove(reply, None);
                    let manner = Manner::End(StopReason::Removed);
                    self.operate(why, &[place], manner, Duration::ZERO, Vec::new());
                }
            },
            Pending::Restart(id, reply) => match self.places.get(&id).copied() {
                None => reply.send(Err(RestartError::Unknown { id })),
                Some(place) if self.children[&place].restart == Restart::Temporary => {
                    reply.send(Err(RestartError::Temporary { id }));
                }
                Some(place) => {
                    let why = Why::Restart(reply);
                    let manner = Manner::Fall(StopReason::Removed);
                    self.operate(why, &[place], manner, Duration::ZERO, vec![place]);
                }
            },
        }
    }

    /// A child has failed and is to be started again, with whom the strategy says.
    fn begin_restart(&mut self, place: u64, reason: StopReason, ctx: &mut Context<Supervisor>) {
        let now = ctx.now();
        if !self.history.record(self.intensity, now) {
            let cause = GaveUpBecause::Intensity(self.intensity);
            self.give_up(place, reason, cause, ctx);
            return;
        }
        let affected: Vec<u64> = if self.is_tied() {
            let failed = self.children.range(..place).count();
            let range = self.strategy.affected(failed, self.children.len());
            let places = self.children.keys().skip(range.start).take(range.len());
            places.copied().collect()
        } else {
            vec![place]
        };
        let delay = self.delay(place, now, ctx);
        let comes_back = |place: &u64| self.children[place].restart != Restart::Temporary;
        let to_start = affected.iter().copied().filter(comes_back).collect();
        let manner = Manner::Fall(StopReason::Removed);
        self.operate(Why::Failure, &affected, manner, delay, to_start);
    }

    fn delay(&mut self, place: u64, now: Instant, ctx: &Context<Supervisor>) -> Duration {
        let core = ctx.cell().core();
        let child = self.children.get_mut(&place).expect("a child has failed");
        let Some(backoff) = child.backoff else {
            return Duration::ZERO;
        };
        let attempt = child.attempts.failed(&backoff, now);
        let random = core.runtime.random(child.cell.core().id, child.life);
        backoff.delay(attempt, random)
    }
}
