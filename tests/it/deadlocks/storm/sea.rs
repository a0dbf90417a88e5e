//! What the actors of a storm share: each other's addresses, the log of their waits, the figures.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use greenroom::{
    Actor, ActorId, Addr, AskError, Context, Handler, ReplyTo, SendError, Spawner, WaitError,
    WaitPath,
};

use super::log::{Kind, Other, WaitLog};
use super::sailor::Sailor;
use crate::support::Numbers;

/// For whom an actor may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Course {
    /// For those with a higher number only, so that there is no circle.
    Ordered,
    /// For anybody, itself included.
    Wild,
}

/// What all actors of a storm share.
pub(super) struct Sea {
    course: Course,
    sailors: Vec<Mutex<Option<Addr<Sailor>>>>,
    harbour: Mutex<Option<Addr<Harbour>>>,
    log: WaitLog,
    /// After so many waits nobody begins anything.
    enough_waits: u64,
    pub(super) waits: AtomicU64,
    pub(super) alarms: AtomicU64,
    pub(super) unchecked: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Sea {
    /// A sea with so many sailors in it.
    pub(super) fn new(
        course: Course,
        sailors: usize,
        enough_waits: u64,
        options: impl Fn() -> Spawner,
    ) -> Arc<Self> {
        let sea = Arc::new(Self {
            course,
            sailors: (0..sailors).map(|_| Mutex::default()).collect(),
            harbour: Mutex::default(),
            log: WaitLog::new(sailors),
            enough_waits,
            waits: AtomicU64::new(0),
            alarms: AtomicU64::new(0),
            unchecked: AtomicU64::new(0),
            failure: Mutex::default(),
        });
        let harbour = options().capacity(2).spawn(Harbour);
        *sea.harbour.lock().unwrap() = harbour.ok();
        for number in 0..sailors {
            *sea.sailors[number].lock().unwrap() = Sailor::spawn(&sea, number, options());
        }
        sea
    }

    /// Forgets all addresses, which keep this alive in turn.
    pub(super) fn clear(&self) {
        let sailors = self
            .sailors
            .iter()
            .filter_map(|sailor| sailor.lock().unwrap().take());
        drop(sailors.collect::<Vec<_>>());
        drop(self.harbour.lock().unwrap().take());
    }

    pub(super) fn course(&self) -> Course {
        self.course
    }

    pub(super) fn harbour(&self) -> Option<Addr<Harbour>> {
        self.harbour.lock().unwrap().clone()
    }

    pub(super) fn fail(&self, what: String) {
        self.failure.lock().unwrap().get_or_insert(what);
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap().clone()
    }

    pub(super) fn is_over(&self) -> bool {
        self.waits.load(SeqCst) >= self.enough_waits || self.failure.lock().unwrap().is_some()
    }

    /// Somebody for whom the one with this number may wait.
    pub(super) fn other(
        &self,
        number: usize,
        numbers: &mut Numbers,
    ) -> Option<(usize, Addr<Sailor>)> {
        match self.course {
            Course::Ordered => self.anybody_from(number + 1, numbers),
            Course::Wild => self.anybody(numbers),
        }
    }

    pub(super) fn anybody(&self, numbers: &mut Numbers) -> Option<(usize, Addr<Sailor>)> {
        self.anybody_from(0, numbers)
    }

    fn anybody_from(&self, first: usize, numbers: &mut Numbers) -> Option<(usize, Addr<Sailor>)> {
        let others = (self.sailors.len() - first) as u64;
        let number = first + (others > 0).then(|| numbers.below(others) as usize)?;
        let sailor = self.sailors[number].lock().unwrap().clone()?;
        Some((number, sailor))
    }

    /// Puts another one into the place of one that has ended or ends.
    pub(super) fn replace(
        self: &Arc<Self>,
        (number, gone): (usize, &Addr<Sailor>),
        options: Spawner,
    ) {
        let mut place = self.sailors[number].lock().unwrap();
        if place.as_ref() == Some(gone) {
            *place = Sailor::spawn(self, number, options);
        }
    }

    /// Waits, and notes it.
    pub(super) fn wait<T: Outcome>(
        &self,
        (number, waiter): (usize, ActorId),
        kind: Kind,
        others: &[Other],
        wait: impl FnOnce() -> T,
    ) -> T {
        self.waits.fetch_add(1, SeqCst);
        let begun = self.log.begin(number, waiter, kind, others);
        let outcome = wait();
        if let Some(path) = outcome.path() {
            self.alarms.fetch_add(1, SeqCst);
            let checked = match self.course {
                Course::Ordered => Err("there is no circle".to_owned()),
                Course::Wild => self.log.check(path, waiter, begun, number_of),
            };
            match checked {
                Ok(true) => {}
                Ok(false) => drop(self.unchecked.fetch_add(1, SeqCst)),
                Err(error) => self.fail(format!("a false alarm: {error}: {path}")),
            }
        }
        self.log.end(begun);
        outcome
    }
}

/// The number of a sailor, which is its name.
fn number_of(name: &str) -> Option<usize> {
    name.parse().ok()
}

/// How a wait ended.
pub(super) trait Outcome {
    fn path(&self) -> Option<&WaitPath>;
}

impl<R> Outcome for Result<R, AskError> {
    fn path(&self) -> Option<&WaitPath> {
        match self {
            Err(AskError::WouldDeadlock { path }) => Some(path),
            _ => None,
        }
    }
}

impl<M> Outcome for Result<(), SendError<M>> {
    fn path(&self) -> Option<&WaitPath> {
        match self {
            Err(SendError::WouldDeadlock { path, .. }) => Some(path),
            _ => None,
        }
    }
}

impl<T> Outcome for Result<T, WaitError> {
    fn path(&self) -> Option<&WaitPath> {
        match self {
            Err(WaitError::WouldDeadlock { path }) => Some(path),
            _ => None,
        }
    }
}

/// Gives answers for others, and never waits.
pub(super) struct Harbour;

impl Actor for Harbour {}

/// Has it give this answer.
pub(super) struct Settle(pub(super) ReplyTo<u64>);

impl Handler<Settle> for Harbour {
    type Reply = ();

    fn handle(&mut self, Settle(reply): Settle, _: &mut Context<Self>) {
        reply.send(0);
    }
}
