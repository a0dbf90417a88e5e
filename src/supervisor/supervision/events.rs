//! What becomes of the children, and what follows.

use super::Supervision;
use crate::actor::{Context, END, Event};
use crate::error::{GaveUpBecause, StopReason};
use crate::restart::AutoShutdown;
use crate::supervisor::operation::{Pending, Step, Why};
use crate::supervisor::{RestartError, StartError, Supervisor};

impl Supervision {
    /// Something has become of a child.
    pub(in crate::supervisor) fn happened(
        &mut self,
        place: u64,
        event: Event,
        ctx: &mut Context<Supervisor>,
    ) {
        let Some(child) = self.children.get_mut(&place) else {
            return;
        };
        match event {
            Event::Started { life } if life == child.life => {
                child.up = true;
                child.attempts.restarted(ctx.now());
            }
            Event::Down { life, failure } if life == child.life => {
                child.up = false;
                self.went_down(place, life, failure.reason, ctx);
            }
            Event::Ended(reason) => self.ended(place, reason, ctx),
            Event::Started { .. } | Event::Down { .. } => return,
        }
        self.go_on(ctx);
    }

    /// A child is down: because it was to be, or because it has failed.
    fn went_down(
        &mut self,
        place: u64,
        life: u64,
        reason: StopReason,
        ctx: &mut Context<Supervisor>,
    ) {
        let operation = self.operation_on(place);
        match operation.map(|index| &self.operations[index].step) {
            // It was to be stopped.
            Some(Step::Stopping(_) | Step::Delayed) => {}
            Some(Step::Starting(starting)) if *starting == place => {
                let index = operation.expect("found above");
                self.start_failed(index, place, life, reason, ctx);
            }
            _ => self.pending.push_back(Pending::Failed {
                place,
                life,
                reason,
            }),
        }
    }

    /// The child that an operation starts has failed instead.
    fn start_failed(
        &mut self,
        index: usize,
        place: u64,
        life: u64,
        reason: StopReason,
        ctx: &mut Context<Supervisor>,
    ) {
        let operation = self.operations.remove(index);
        for (_, reply) in operation.askers {
            let reason = reason.clone();
            reply.send(Err(RestartError::Failed { reason }));
        }
        let child = &self.children[&place];
        match operation.why {
            Why::Begin => {
                self.give_up(place, reason, GaveUpBecause::Start, ctx);
            }
            Why::Add(added) => {
                child.cell.clone().end(END, reason.clone());
                self.forget(place);
                added(Err(StartError::Ended { reason }));
            }
            Why::Failure | Why::Remove(..) => self.pending.push_front(Pending::Failed {
                place,
                life,
                reason,
            }),
            Why::Restart(reply) => {
                self.pending.push_front(Pending::Failed {
                    place,
                    life,
                    reason: reason.clone(),
                });
                reply.send(Err(RestartError::Failed { reason }));
            }
        }
    }

    /// A child has ended for good.
    fn ended(&mut self, place: u64, reason: StopReason, ctx: &mut Context<Supervisor>) {
        let child = &self.children[&place];
        let is_significant_end = child.significant && !child.told;
        if let Some(index) = self.operation_on(place) {
            let operation = &mut self.operations[index];
            operation.to_start.retain(|next| *next != place);
            let failed = RestartError::Failed {
                reason: reason.clone(),
            };
            operation.answer(place, &Err(failed));
            let is_starting =
                matches!(operation.step, Step::Starting(starting) if starting == place);
            match (&mut operation.why, &operation.step) {
                (Why::Remove(_, ended), _) => {
                    *ended = Some(reason);
                }
                (Why::Restart(_), _) => {
                    self.set_timer(index, None, ctx);
                    if let Why::Restart(reply) = self.operations.remove(index).why {
                        let reason = reason.clone();
                        reply.send(Err(RestartError::Failed { reason }));
                    }
                }
                (Why::Begin, _) if is_starting => {
                    self.operations.remove(index);
                    self.give_up(place, reason, GaveUpBecause::Start, ctx);
                }
                (Why::Add(_), _) if is_starting => {
                    if let Why::Add(added) = self.operations.remove(index).why {
                        added(Err(StartError::Ended { reason }));
                    }
                }
                _ => {}
            }
        }
        self.forget(place);
        if is_significant_end {
            let mut others = self.children.values();
            let ends = match self.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !others.any(|child| child.significant),
            };
            if ends {
                ctx.stop();
            }
        }
    }
}
