//! How a shutdown went.

use std::fmt;

use super::phases::{TaskOutcome, TaskReport};
use crate::error::WaitError;
use crate::observe::{ActorSnapshot, ActorState};
use crate::runtime::Resident;
use crate::waits::Identity;

/// How a shutdown went.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Actors that were there at its beginning and have ended.
    pub ended: usize,
    /// Actors that had not ended by the deadline, in order of their ids. A parent does not end
    /// before its children, so who is above one that is stuck is here too.
    pub unfinished: Vec<Unfinished>,
    /// Messages that were queued at these actors.
    pub left: u64,
    /// The tasks of [`System::on_shutdown`](crate::System::on_shutdown), in order of the phases.
    pub tasks: Vec<TaskReport>,
    /// Why the wait for the end was given up before the deadline, if it was.
    pub interrupted: Option<WaitError>,
}

impl ShutdownReport {
    /// Whether every actor has ended, and every task was done.
    pub fn is_clean(&self) -> bool {
        self.unfinished.is_empty() && self.late_tasks().next().is_none()
    }

    fn late_tasks(&self) -> impl Iterator<Item = &TaskReport> {
        let mut tasks = self.tasks.iter();
        std::iter::from_fn(move || tasks.find(|task| task.outcome != TaskOutcome::Done))
    }

    /// The unfinished actors, each behind its parent, with how deep it lies below a root.
    fn tree(&self) -> Vec<(usize, &Unfinished)> {
        let mut tree: Vec<_> = self.unfinished.iter().collect();
        let path = |actor: &Unfinished| {
            let ancestors = actor.ancestors.iter().map(|ancestor| ancestor.id);
            ancestors.chain([actor.actor.id]).collect::<Vec<_>>()
        };
        tree.sort_by_key(|actor| path(actor));
        let deep = |actor: &Unfinished| actor.ancestors.len();
        tree.into_iter().map(|actor| (deep(actor), actor)).collect()
    }
}

/// In one line; with `{:#}` as a tree, in which children stand below their parents.
impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended", self.ended)?;
        if !self.unfinished.is_empty() {
            let (unfinished, left) = (self.unfinished.len(), self.left);
            write!(f, ", {unfinished} did not, with {left} messages left")?;
        }
        if f.alternate() {
            for (depth, actor) in self.tree() {
                write!(f, "\n{:width$}{actor}", "", width = 2 * (depth + 1))?;
            }
            self.late_tasks()
                .try_for_each(|task| write!(f, "\n  {task}"))
        } else {
            let mut unfinished = self.unfinished.iter();
            unfinished.try_for_each(|actor| write!(f, "; {actor}"))?;
            self.late_tasks().try_for_each(|task| write!(f, "; {task}"))
        }
    }
}

/// An actor that had not ended when a shutdown's deadline passed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Unfinished {
    /// What was known of it at the deadline.
    pub actor: ActorSnapshot,
    /// Messages that were queued.
    pub queued: u64,
    /// Its parent and that one's parents, the uppermost first.
    pub ancestors: Vec<Identity>,
}

impl Unfinished {
    pub(super) fn of(resident: &dyn Resident) -> Self {
        let actor = resident.snapshot();
        Self {
            queued: actor.counts.queued,
            ancestors: resident.ancestors(),
            actor,
        }
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actor = &self.actor;
        let identity = Identity {
            id: actor.id,
            name: actor.name.clone(),
            actor_type: actor.actor_type,
        };
        write!(f, "{identity}")?;
        match &actor.state {
            ActorState::Idle => f.write_str(" had not had its turn"),
            ActorState::Down => f.write_str(" was down"),
            ActorState::Stopping => f.write_str(" was stopping its children"),
            ActorState::Running { message_type } => {
                write!(f, " was still handling {}", in_hand(*message_type))
            }
            ActorState::Waiting { message_type } => {
                write!(
                    f,
                    " was waiting while it handled {}",
                    in_hand(*message_type)
                )
            }
            ActorState::Ended(reason) => write!(f, " ended just then: {reason}"),
        }
    }
}

fn in_hand(message_type: Option<&'static str>) -> String {
    message_type.map_or_else(|| "a hook".to_owned(), |name| format!("`{name}`"))
}
