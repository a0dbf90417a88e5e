//! What a supervisor has: its children, and the operations on them that are under way.
//!
//! What becomes of children is heard in [`events`]; what has to wait for an operation to end begins
//! in [`pending`]; operations take their [`steps`].

mod events;
mod pending;
mod steps;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::operation::{Added, Operation, Pending, Step, Why};
use super::spec::ChildSpec;
use super::{
    ChildInfo, ChildKind, ChildState, Children, Household, Post, RemoveError, RestartError,
    StartError, Supervisor, kinship,
};
use crate::actor::{Actor, Addr, Context, END, Kin, Manner, ReplyTo, Target, stage};
use crate::error::{GaveUpBecause, SpawnError, StopReason};
use crate::restart::{
    Attempts, AutoShutdown, Backoff, History, Intensity, Restart, StopTimeout, Strategy,
};
use crate::runtime::Runtime;

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
            .operation_on(place)
            .map(|index| &self.operations[index]);
        match operation.map(|operation| (&operation.step, operation)) {
            Some((Step::Stopping(_), _)) => ChildState::Stopping,
            Some((Step::Delayed, _)) => ChildState::BackingOff,
            Some((Step::Starting(starting), operation))
                if *starting == place || operation.to_start.contains(&place) =>
            {
                ChildState::Starting
            }
            _ if child.up => ChildState::Up,
            _ => ChildState::Down,
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

    fn forget(&mut self, place: u64) {
        if let Some(child) = self.children.remove(&place) {
            self.places.remove(&child.id);
        }
    }

    fn operation_on(&self, place: u64) -> Option<usize> {
        let mut operations = self.operations.iter();
        operations.position(|operation| operation.places.contains(&place))
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
