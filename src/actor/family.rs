//! Children: who has which, who is told what becomes of them, and how they are stopped.
//!
//! A child is known to its parent by its place, a number that grows in the order of starting.
//! Children are stopped in the reverse of that order, each when the one before has ended; those
//! that need not come in any order, all at once. A child that takes longer than its stop timeout is
//! killed; one that has still not ended after [`GRACE`] is given up as stuck.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::cell::Target;
use super::core::stage;
use super::orders::{END, FALL, KILL, SHUTDOWN_DRAIN, SHUTDOWN_STOP, SIGNALS};
use crate::error::{Failure, StopReason};
use crate::restart::{End, Restart, StopTimeout};
use crate::time::{TimerKey, later};
use crate::waits::Identity;

/// How long a killed child may take to end before it is given up as stuck.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// What becomes of a child. Its lives are counted from 1.
#[derive(Debug)]
pub(crate) enum Event {
    /// One of its lives has begun: its first hook has returned.
    Started { life: u64 },
    /// One of its lives has ended, and it waits for the next.
    Down { life: u64, failure: Failure },
    /// It has ended for good.
    Ended(StopReason),
}

/// Whoever is told what becomes of a child.
pub(crate) trait Parent: Send + Sync {
    fn report(&self, place: u64, event: Event);

    /// The parent itself, if it is there.
    fn target(&self) -> Option<Arc<dyn Target>>;
}

/// An actor that has children, but does not supervise them.
pub(super) struct PlainParent(pub(super) Weak<dyn Target>);

impl Parent for PlainParent {
    fn report(&self, place: u64, event: Event) {
        if let (Event::Ended(_), Some(parent)) = (event, self.0.upgrade()) {
            leave(&parent, place);
        }
    }

    fn target(&self) -> Option<Arc<dyn Target>> {
        self.0.upgrade()
    }
}

/// A child has ended: takes it out of its parent's family.
pub(crate) fn leave(parent: &Arc<dyn Target>, place: u64) {
    let (gone, awaited) = parent.core().with_rare(|rare| {
        let gone = rare.family.kin.remove(&place);
        (gone, rare.family.closed)
    });
    drop(gone);
    if awaited {
        parent.clone().tell(SIGNALS);
    }
}

/// Whose child an actor is.
pub(crate) struct Kinship {
    pub(crate) parent: Box<dyn Parent>,
    pub(crate) place: u64,
    /// When it comes back; `Temporary` if it is not supervised.
    pub(crate) restart: Restart,
}

impl Kinship {
    pub(super) fn comes_back_after(&self, reason: &StopReason) -> bool {
        let end = match reason {
            StopReason::Stopped => End::Normal,
            StopReason::Restarted => End::WithSibling,
            // Its mailbox is closed for good.
            StopReason::Drained
            | StopReason::Unreferenced
            | StopReason::Shutdown
            | StopReason::ParentEnded
            | StopReason::Removed
            | StopReason::Stuck => return false,
            StopReason::Killed
            | StopReason::Panicked { .. }
            | StopReason::Failed { .. }
            | StopReason::Linked { .. }
            | StopReason::GaveUp(_) => End::Abnormal,
        };
        self.restart.is_restarted(end)
    }

    /// Whether it lives again when its parent does.
    fn comes_back(&self) -> bool {
        self.restart != Restart::Temporary
    }
}

/// A child, as its parent knows it.
#[derive(Clone)]
pub(crate) struct Kin {
    pub(crate) cell: Arc<dyn Target>,
    pub(crate) timeout: StopTimeout,
}

/// The children of an actor.
#[derive(Default)]
pub(crate) struct Family {
    kin: BTreeMap<u64, Kin>,
    next: u64,
    /// Whether they are stopped all at once.
    pub(crate) together: bool,
    /// Their parent ends, or one of its lives does: none may come.
    closed: bool,
    stopping: Option<Stopping>,
    timer: Option<TimerKey>,
}

impl Family {
    /// The place of the next child; `None` if none may come.
    pub(crate) fn next_place(&mut self) -> Option<u64> {
        if self.closed {
            return None;
        }
        self.next += 1;
        Some(self.next)
    }

    /// A child comes. `false` if none may.
    #[must_use]
    pub(crate) fn join(&mut self, place: u64, kin: Kin) -> bool {
        if !self.closed {
            self.next = self.next.max(place);
            self.kin.insert(place, kin);
        }
        !self.closed
    }

    /// Lets children come again: their parent has another life.
    pub(super) fn open(&mut self) {
        self.closed = false;
    }

    /// Begins to stop all children, or goes on with it.
    pub(super) fn stopping(&mut self, manner: impl FnOnce() -> Manner) -> Stopping {
        self.closed = true;
        let begin = || {
            let kin = self.kin.values().cloned();
            Stopping::new(kin, manner(), self.together)
        };
        self.stopping.take().unwrap_or_else(begin)
    }

    /// The stopping goes on when a child has ended, or by the timer. Returns the timer that it
    /// needs no more.
    pub(super) fn go_on_later(
        &mut self,
        stopping: Stopping,
        timer: Option<TimerKey>,
    ) -> Option<TimerKey> {
        self.stopping = Some(stopping);
        std::mem::replace(&mut self.timer, timer)
    }

    /// Whether there are no children, nor any on their way out.
    pub(super) fn is_quiet(&self) -> bool {
        self.kin.is_empty() && self.stopping.is_none()
    }

    /// If it is quiet, lets no children come any more.
    pub(super) fn close_if_quiet(&mut self) -> bool {
        self.closed |= self.is_quiet();
        self.is_quiet()
    }

    /// All are seen off but those that are stuck, of whom the family knows no more. Returns the
    /// timer that is needed no more.
    pub(super) fn end_stopping(&mut self, stuck: &[Identity]) -> Option<TimerKey> {
        let is_stuck = |kin: &Kin| stuck.iter().any(|stuck| stuck.id == kin.cell.core().id);
        self.kin.retain(|_, kin| !is_stuck(kin));
        self.timer.take()
    }
}

/// How children are stopped.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// For good, for this reason.
    End(StopReason),
    /// Those who come back end this life; the others end for good, for this reason.
    Fall(StopReason),
    /// As at a shutdown that drains.
    Drain(Option<Instant>),
    /// As at a shutdown that does not.
    Shutdown(Option<Instant>),
}

impl Manner {
    /// When a shutdown is to be over, which all have to share.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Drain(deadline) | Self::Shutdown(deadline) => *deadline,
            Self::End(_) | Self::Fall(_) => None,
        }
    }

    fn falls(&self, cell: &dyn Target) -> bool {
        let comes_back = cell.core().kinship().is_some_and(Kinship::comes_back);
        matches!(self, Self::Fall(_)) && comes_back
    }

    fn tell(&self, cell: &Arc<dyn Target>, also: u16) {
        let cell = cell.clone();
        match self {
            Self::End(reason) => cell.end(END | also, reason.clone()),
            Self::Fall(_) if self.falls(&*cell) => cell.tell(FALL | also),
            Self::Fall(reason) => cell.end(END | also, reason.clone()),
            Self::Drain(_) => cell.end(SHUTDOWN_DRAIN | also, StopReason::Shutdown),
            Self::Shutdown(_) => cell.end(SHUTDOWN_STOP | also, StopReason::Shutdown),
        }
    }

    fn is_over(&self, cell: &dyn Target) -> bool {
        let core = cell.core();
        core.stage() == stage::ENDED || (self.falls(cell) && core.stays_down())
    }
}

/// Some children on their way to their ends.
pub(crate) struct Stopping {
    /// The next one to be stopped comes last.
    left: Vec<Leaving>,
    manner: Manner,
    together: bool,
    /// Those who were given up.
    pub(crate) stuck: Vec<Identity>,
}

struct Leaving {
    kin: Kin,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Untold,
    Told {
        until: Option<Instant>,
    },
    Killed {
        until: Instant,
    },
    /// It has ended or was given up.
    Over,
}

/// How far a stopping has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    Over,
    /// Until a child has ended, or until this moment.
    Until(Option<Instant>),
}

impl Stopping {
    /// To stop these children, in order of their starting.
    pub(crate) fn new(kin: impl Iterator<Item = Kin>, manner: Manner, together: bool) -> Self {
        let untold = |kin| Leaving {
            kin,
            step: Step::Untold,
        };
        Self {
            left: kin.map(untold).collect(),
            manner,
            together,
            stuck: Vec::new(),
        }
    }

    /// Does what is due by now.
    pub(crate) fn go_on(&mut self, now: Instant) -> Progress {
        loop {
            let from = if self.together {
                0
            } else {
                self.left.len().saturating_sub(1)
            };
            let mut next = None;
            for leaving in &mut self.left[from..] {
                let due = leaving.go_on(&self.manner, now, &mut self.stuck);
                next = [next, due].into_iter().flatten().min();
            }
            let before = self.left.len();
            self.left
                .retain(|leaving| !matches!(leaving.step, Step::Over));
            if self.left.is_empty() {
                return Progress::Over;
            }
            if self.together || self.left.len() == before {
                return Progress::Until(next);
            }
        }
    }
}

impl Leaving {
    /// Takes all steps that are due; returns when the next one is.
    fn go_on(
        &mut self,
        manner: &Manner,
        now: Instant,
        stuck: &mut Vec<Identity>,
    ) -> Option<Instant> {
        let Kin { cell, timeout } = &self.kin;
        loop {
            if manner.is_over(&**cell) {
                self.step = Step::Over;
            }
            match self.step {
                Step::Over => return None,
                Step::Untold => {
                    if let StopTimeout::AtOnce = timeout {
                        manner.tell(cell, KILL);
                        self.step = Step::Killed {
                            until: limit(now, GRACE, manner),
                        };
                    } else {
                        manner.tell(cell, 0);
                        let until = match timeout {
                            StopTimeout::After(timeout) => Some(limit(now, *timeout, manner)),
                            StopTimeout::Infinite | StopTimeout::AtOnce => None,
                        };
                        self.step = Step::Told { until };
                    }
                }
                Step::Told { until } => match until {
                    Some(until) if until <= now => {
                        manner.tell(cell, KILL);
                        self.step = Step::Killed {
                            until: limit(now, GRACE, manner),
                        };
                    }
                    until => return until,
                },
                Step::Killed { until } if until <= now => {
                    let identity = cell.identity();
                    tracing::error!(
                        target: "greenroom",
                        actor = %identity,
                        "a child did not stop in time and is given up"
                    );
                    cell.clone().give_up();
                    stuck.push(identity);
                    self.step = Step::Over;
                }
                Step::Killed { until } => return Some(until),
            }
        }
    }
}

/// The end of a time that begins now. At a shutdown each takes at most half of what is left, so
/// that one who is stuck leaves something to the others.
fn limit(now: Instant, time: Duration, manner: &Manner) -> Instant {
    let time = match manner.deadline() {
        Some(deadline) => time.min(deadline.saturating_duration_since(now) / 2),
        None => time,
    };
    later(now, time)
}
