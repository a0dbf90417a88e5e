//! The steps of operations, and how they end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Child, Supervision};
use crate::actor::{Context, Kin, Manner, Progress, REVIVE, Stopping, Target, leave};
use crate::error::{Escalation, GaveUpBecause, StopReason};
use crate::restart::Restart;
use crate::supervisor::operation::{Operation, Step, Why};
use crate::supervisor::{RemoveError, RestartError, Supervisor};
use crate::time::{Action, later};
use crate::waits::Identity;

impl Supervision {
    /// The time of an operation has come.
    pub(super) fn timer(&mut self, number: u64, ctx: &mut Context<Supervisor>) {
        let mut operations = self.operations.iter_mut();
        let operation = operations.find(|operation| operation.number == number);
        // One that was cancelled in the last moment may still come.
        let is_due = |timer: &mut (Instant, _)| timer.0 <= ctx.now();
        if let Some(operation) = operation
            && operation.timer.take_if(is_due).is_some()
        {
            if let Step::Delayed = operation.step {
                operation.delay = Duration::ZERO;
            }
            self.go_on(ctx);
        }
    }

    /// Begins to stop and to start children.
    pub(super) fn operate(
        &mut self,
        why: Why,
        to_stop: &[u64],
        manner: Manner,
        delay: Duration,
        to_start: Vec<u64>,
    ) {
        self.last_operation += 1;
        for place in to_stop {
            if let Some(child) = self.children.get_mut(place) {
                child.told = true;
            }
        }
        let kin: Vec<Kin> = to_stop
            .iter()
            .map(|place| self.children[place].kin())
            .collect();
        let places = to_stop.iter().chain(&to_start).copied().collect();
        self.operations.push(Operation {
            number: self.last_operation,
            why,
            places,
            step: Step::Stopping(Stopping::new(kin.into_iter(), manner, false)),
            delay,
            to_start: to_start.into(),
            askers: Vec::new(),
            timer: None,
        });
    }

    /// Takes all steps that can be taken.
    pub(super) fn go_on(&mut self, ctx: &mut Context<Supervisor>) {
        loop {
            let mut index = 0;
            while index < self.operations.len() && !self.gave_up {
                if !self.step(index, ctx) {
                    index += 1;
                }
            }
            if !self.take_pending(ctx) {
                return;
            }
        }
    }

    /// Takes the steps of an operation that can be taken. Whether it is over and gone.
    fn step(&mut self, index: usize, ctx: &mut Context<Supervisor>) -> bool {
        let now = ctx.now();
        loop {
            let operation = &mut self.operations[index];
            match &mut operation.step {
                Step::Stopping(stopping) => match stopping.go_on(now) {
                    Progress::Until(due) => {
                        self.set_timer(index, due, ctx);
                        return false;
                    }
                    Progress::Over => {
                        let stuck = std::mem::take(&mut stopping.stuck);
                        self.set_timer(index, None, ctx);
                        if !stuck.is_empty() && self.are_stuck(index, &stuck, ctx) {
                            return true;
                        }
                        let operation = &mut self.operations[index];
                        // It has ended, which we are about to be told with the reason.
                        let is_told = |place| !self.children.contains_key(place);
                        if matches!(operation.why, Why::Remove(_, None))
                            && !operation.places.iter().all(is_told)
                        {
                            return false;
                        }
                        let delay = operation.delay;
                        operation.step = Step::Delayed;
                        if !delay.is_zero() && !operation.to_start.is_empty() {
                            self.set_timer(index, Some(later(now, delay)), ctx);
                            return false;
                        }
                    }
                },
                Step::Delayed => {
                    if !operation.delay.is_zero() && !operation.to_start.is_empty() {
                        return false;
                    }
                    self.set_timer(index, None, ctx);
                    self.start_next(index);
                }
                Step::Starting(place) => {
                    let place = *place;
                    if let Some(child) = self.children.get(&place) {
                        if !child.up {
                            return false;
                        }
                        operation.answer(place, &Ok(()));
                    }
                    self.start_next(index);
                }
            }
            let operation = &self.operations[index];
            if matches!(operation.step, Step::Delayed) && operation.to_start.is_empty() {
                let operation = self.operations.remove(index);
                self.is_over(operation, ctx);
                return true;
            }
        }
    }

    /// Starts the next child of an operation; if there is none, its step is `Delayed`.
    fn start_next(&mut self, index: usize) {
        let operation = &mut self.operations[index];
        operation.step = Step::Delayed;
        operation.delay = Duration::ZERO;
        while let Some(place) = operation.to_start.pop_front() {
            if let Some(child) = self.children.get_mut(&place) {
                child.life += 1;
                child.up = false;
                child.told = false;
                child.cell.clone().tell(REVIVE);
                operation.step = Step::Starting(place);
                return;
            }
        }
    }

    fn is_over(&mut self, operation: Operation, ctx: &mut Context<Supervisor>) {
        match operation.why {
            Why::Begin => {
                self.has_begun = true;
                ctx.report_started();
                let beginners = std::mem::take(&mut self.beginners);
                beginners.into_iter().for_each(|reply| reply.send(()));
            }
            Why::Failure => {}
            Why::Add(added) => added(Ok(())),
            Why::Remove(reply, ended) => reply.send(Ok(ended.unwrap_or(StopReason::Removed))),
            Why::Restart(reply) => reply.send(Ok(())),
        }
    }

    /// Some children of an operation have not stopped in time and were given up. Whether the
    /// operation ends with that: it goes on without those who would not come back anyway.
    fn are_stuck(
        &mut self,
        index: usize,
        stuck: &[Identity],
        ctx: &mut Context<Supervisor>,
    ) -> bool {
        let is_stuck = |child: &Child| stuck.iter().any(|stuck| stuck.id == child.cell.core().id);
        let children = self.children.iter();
        let stuck: Vec<u64> = children
            .filter_map(|(place, child)| is_stuck(child).then_some(*place))
            .collect();
        let comes_back = |place: &u64| self.children[place].restart != Restart::Temporary;
        let missed = stuck.iter().copied().find(comes_back);
        let is_removal = matches!(self.operations[index].why, Why::Remove(..));
        let is_over = missed.is_some() || (is_removal && !stuck.is_empty());
        if is_over {
            match self.operations.remove(index).why {
                Why::Remove(reply, _) => {
                    let id = self.children[&stuck[0]].id.clone();
                    reply.send(Err(RemoveError::Stuck { id }));
                }
                Why::Restart(reply) => {
                    let reason = StopReason::Stuck;
                    reply.send(Err(RestartError::Failed { reason }));
                }
                Why::Begin | Why::Failure | Why::Add(_) => {}
            }
        }
        if let Some(place) = missed.filter(|_| !is_removal) {
            self.give_up(place, StopReason::Stuck, GaveUpBecause::Stuck, ctx);
        }
        let supervisor: Arc<dyn Target> = ctx.cell().clone();
        for place in stuck {
            leave(&supervisor, place);
            self.forget(place);
        }
        is_over
    }

    /// This life of the supervisor ends: it cannot keep this child alive.
    pub(super) fn give_up(
        &mut self,
        place: u64,
        reason: StopReason,
        cause: GaveUpBecause,
        ctx: &mut Context<Supervisor>,
    ) {
        self.gave_up = true;
        ctx.fail_for(StopReason::GaveUp(Arc::new(Escalation {
            child: self.children[&place].cell.identity(),
            reason,
            cause,
        })));
    }

    /// Has the operation looked at again at this moment, instead of one before.
    pub(super) fn set_timer(
        &mut self,
        index: usize,
        due: Option<Instant>,
        ctx: &Context<Supervisor>,
    ) {
        let cell = ctx.cell();
        let timers = &cell.core().runtime.timers;
        let operation = &mut self.operations[index];
        let number = operation.number;
        let timer = due.map(|due| {
            let this = Arc::downgrade(cell);
            let look = move || {
                if let Some(cell) = this.upgrade() {
                    cell.call_soon(move |supervisor, ctx| {
                        supervisor.supervision.timer(number, ctx);
                    });
                }
            };
            (due, timers.set(due, Action::Run(Box::new(look))))
        });
        if let Some((_, before)) = std::mem::replace(&mut operation.timer, timer) {
            timers.cancel(before);
        }
    }
}
