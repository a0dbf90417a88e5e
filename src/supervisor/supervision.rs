//! What a supervisor has and does: its children, and the operations on them that are under way.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::operation::{Added, Operation, Pending, Step, Why};
use super::spec::ChildSpec;
use super::{
    ChildInfo, ChildKind, ChildState, Children, Household, Post, RemoveError, RestartError,
    StartError, Supervisor, kinship,
};
use crate::actor::{
    Actor, Addr, Context, END, Event, Kin, Manner, Progress, REVIVE, ReplyTo, Stopping, Target,
    leave, stage,
};
use crate::error::{Escalation, GaveUpBecause, SpawnError, StopReason};
use crate::restart::{
    Attempts, AutoShutdown, Backoff, History, Intensity, Restart, StopTimeout, Strategy,
};
use crate::runtime::Runtime;
use crate::time::{Action, later};
use crate::waits::Identity;

/// A child, as its supervisor knows it.
pub(super) struct Child {
    id: Arc<str>,
    cell: Arc<dyn Target>,
    /// Its address, which keeps it from being unreferenced.
    _addr: Box<dyn Any + Send>,
    pub(super) restart: Restart,
    timeout: StopTimeout,
    backoff: Option<Backoff>,
    attempts: Attempts,
    significant: bool,
    kind: ChildKind,
    /// The life that was begun last, counted from 1. What is told of another one is outdated.
    life: u64,
    /// Whether that life has started and has not ended.
    up: bool,
    /// Whether that life was told to stop.
    told: bool,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Supervision {
    strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) auto_shutdown: AutoShutdown,
    history: History,
    /// By place: in order of starting.
    children: BTreeMap<u64, Child>,
    places: BTreeMap<Arc<str>, u64>,
    last_place: u64,
    operations: Vec<Operation>,
    last_operation: u64,
    /// What has to wait for operations to end, in order.
    pending: VecDeque<Pending>,
    has_begun: bool,
    /// This life ends.
    gave_up: bool,
    /// Who waits for that.
    beginners: Vec<ReplyTo<()>>,
}

impl Supervision {
    pub(super) fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            ..Self::default()
        }
    }

    /// Spawns a child, which is down until it is started.
    pub(super) fn admit<A: Actor>(
        &mut self,
        spec: ChildSpec<A>,
        runtime: Arc<Runtime>,
        post: &Weak<Post>,
    ) -> Result<(u64, Addr<A>), StartError> {
        let id = spec.id.clone();
        if self.places.contains_key(&id) {
            return Err(StartError::Taken { id });
        }
        if spec.significant && spec.restart == Restart::Permanent {
            return Err(StartError::Significant { id });
        }
        let place = self.last_place + 1;
        let (restart, timeout, backoff) = (spec.restart, spec.stop_timeout, spec.backoff);
        let (significant, kind) = (spec.significant, spec.kind);
        let (spawner, factory, on_thread, prepare) = spec.into_spawner(runtime);
        let kinship = kinship(post, place, restart);
        let cell = spawner.spawn_supervised(factory, kinship, on_thread)?;
        let addr = Addr::adopt(cell.clone());
        if let Some(prepare) = prepare {
            prepare(&cell);
        }
        let kin = Kin {
            cell: cell.clone(),
            timeout,
        };
        // If it has begun, the supervisor is there, and runs this.
        let supervisor = post.upgrade().and_then(|post| post.supervisor());
        if let Some(supervisor) = supervisor {
            let joined = supervisor
                .core()
                .with_rare(|rare| rare.family.join(place, kin));
            if !joined {
                let cell: Arc<dyn Target> = cell;
                cell.end(END, StopReason::ParentEnded);
                return Err(StartError::Spawn(SpawnError::ParentEnding));
            }
        }
        self.last_place = place;
        self.places.insert(id.clone(), place);
        let child = Child {
            id,
            cell,
            _addr: Box::new(addr.clone()),
            restart,
            timeout,
            backoff,
            attempts: Attempts::default(),
            significant,
            kind,
            life: 0,
            up: false,
            told: false,
        };
        self.children.insert(place, child);
        Ok((place, addr))
    }

    pub(super) fn household(&self) -> Household {
        let kin = self
            .children
            .iter()
            .map(|(place, child)| (*place, child.kin()));
        Household {
            kin: kin.collect(),
            together: self.strategy == Strategy::Dynamic,
        }
    }

    /// A life of the supervisor begins: starts all children, of which none is up.
    pub(super) fn begin(&mut self, ctx: &mut Context<Supervisor>) {
        self.history = History::default();
        self.gave_up = false;
        let ended = |child: &Child| child.cell.core().stage() == stage::ENDED;
        let children = self.children.iter();
        let ended: Vec<u64> = children
            .filter_map(|(place, child)| ended(child).then_some(*place))
            .collect();
        ended.into_iter().for_each(|place| self.forget(place));
        // One that was given up does not come back.
        let mut children = self.children.iter();
        let stuck = children.find(|(_, child)| child.cell.core().stage() != stage::DOWN);
        if let Some(place) = stuck.map(|(place, _)| *place) {
            self.give_up(place, StopReason::Stuck, GaveUpBecause::Stuck, ctx);
            return;
        }
        for child in self.children.values_mut() {
            child.up = false;
            child.attempts = Attempts::default();
        }
        let places: Vec<u64> = self.children.keys().copied().collect();
        self.operate(
            Why::Begin,
            &[],
            Manner::End(StopReason::Removed),
            Duration::ZERO,
            places,
        );
        self.go_on(ctx);
    }

    /// A life of the supervisor ends, and its children have ended with it or are down.
    pub(super) fn end_life(&mut self, ctx: &mut Context<Supervisor>) {
        let timers = &ctx.cell().core().runtime.timers;
        for operation in std::mem::take(&mut self.operations) {
            operation.timer.map(|(_, timer)| timers.cancel(timer));
        }
        // Whoever waits is told that this life has ended.
        self.pending.clear();
        self.beginners.clear();
        self.has_begun = false;
    }

    /// Answers when the supervisor has begun.
    pub(super) fn when_begun(&mut self, reply: ReplyTo<()>) {
        if self.has_begun {
            reply.send(());
        } else {
            self.beginners.push(reply);
        }
    }

    pub(super) fn add(&mut self, place: u64, added: Added, ctx: &mut Context<Supervisor>) {
        self.pending.push_back(Pending::Begin(place, added));
        self.go_on(ctx);
    }

    pub(super) fn remove(
        &mut self,
        id: Arc<str>,
        reply: ReplyTo<Result<StopReason, RemoveError>>,
        ctx: &mut Context<Supervisor>,
    ) {
        self.pending.push_back(Pending::Remove(id, reply));
        self.go_on(ctx);
    }

    pub(super) fn restart(
        &mut self,
        id: Arc<str>,
        reply: ReplyTo<Result<(), RestartError>>,
        ctx: &mut Context<Supervisor>,
    ) {
        self.pending.push_back(Pending::Restart(id, reply));
        self.go_on(ctx);
    }

    pub(super) fn list(&self) -> Vec<ChildInfo> {
        let info = |(place, child): (&u64, &Child)| ChildInfo {
            id: child.id.clone(),
            actor: child.cell.core().id,
            kind: child.kind,
            restart: child.restart,
            state: self.state_of(*place, child),
            restarts: child.cell.core().restarts(),
        };
        self.children.iter().map(info).collect()
    }

    fn state_of(&self, place: u64, child: &Child) -> ChildState {
        let operation = self
            .operations
            .iter()
            .find(|operation| operation.places.contains(&place));
        match operation.map(|operation| (&operation.step, operation)) {
            Some((Step::Stopping(_), _)) => ChildState::Stopping,
            Some((Step::Delayed, _)) => ChildState::BackingOff,
            Some((Step::Starting(starting), operation)) => {
                if *starting == place || operation.to_start.contains(&place) {
                    ChildState::Starting
                } else if child.up {
                    ChildState::Up
                } else {
                    ChildState::Down
                }
            }
            None if child.up => ChildState::Up,
            None => ChildState::Down,
        }
    }

    pub(super) fn count(&self) -> Children {
        let is_up =
            |(place, child): &(&u64, &Child)| self.state_of(**place, child) == ChildState::Up;
        let children = self.children.values();
        Children {
            all: self.children.len(),
            up: self.children.iter().filter(is_up).count(),
            supervisors: children
                .filter(|child| child.kind == ChildKind::Supervisor)
                .count(),
        }
    }

    /// Something has become of a child.
    pub(super) fn happened(&mut self, place: u64, event: Event, ctx: &mut Context<Supervisor>) {
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

    fn forget(&mut self, place: u64) {
        if let Some(child) = self.children.remove(&place) {
            self.places.remove(&child.id);
        }
    }

    fn operation_on(&self, place: u64) -> Option<usize> {
        let mut operations = self.operations.iter();
        operations.position(|operation| operation.places.contains(&place))
    }

    /// The time of an operation has come.
    fn timer(&mut self, number: u64, ctx: &mut Context<Supervisor>) {
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

    /// Serves a request about a child that is part of an operation: one that is to be removed takes no
    /// part in it any more if it is not started just now, and one whose restart is put off does not
    /// wait any longer if it is to be restarted. Gives back what is still to be done.
    fn look_at_parts(&mut self, pending: Pending) -> Option<Pending> {
        let place = match &pending {
            Pending::Remove(id, _) | Pending::Restart(id, _) => self.places.get(id).copied(),
            Pending::Failed { .. } | Pending::Begin(..) => None,
        };
        let Some(place) = place else {
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

    /// Begins what can begin of what waits. Whether anything did.
    fn take_pending(&mut self, ctx: &mut Context<Supervisor>) -> bool {
        let mut blocked = BTreeSet::new();
        let mut any = false;
        for pending in std::mem::take(&mut self.pending) {
            let Some(pending) = self.look_at_parts(pending) else {
                any = true;
                continue;
            };
            let place = match &pending {
                Pending::Failed { place, .. } | Pending::Begin(place, _) => Some(*place),
                Pending::Remove(id, _) | Pending::Restart(id, _) => self.places.get(id).copied(),
            };
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
    fn is_tied(&self) -> bool {
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

    /// Begins to stop and to start children.
    fn operate(
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
    fn go_on(&mut self, ctx: &mut Context<Supervisor>) {
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
            if matches!(operation.step, Step::Starting(_)) {
                continue;
            }
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
    fn give_up(
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
    fn set_timer(&mut self, index: usize, due: Option<Instant>, ctx: &Context<Supervisor>) {
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

impl Child {
    fn kin(&self) -> Kin {
        Kin {
            cell: self.cell.clone(),
            timeout: self.timeout,
        }
    }
}
