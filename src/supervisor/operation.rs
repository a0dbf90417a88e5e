//! What a supervisor does with some of its children at a time: stop them, let a while pass, start
//! them.
//!
//! | step | goes on when | then |
//! |---|---|---|
//! | `Stopping` | a child has ended, or is down, or its time is over | `Delayed`, or at once `Starting` |
//! | `Delayed` | the time has come | `Starting` |
//! | `Starting` | the child has started | the next child, in order |
//!
//! Operations on different children go on side by side, unless the strategy ties them together.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{RemoveError, RestartError, StartError};
use crate::actor::{ReplyTo, Stopping};
use crate::error::StopReason;
use crate::time::TimerKey;

/// See the [module](self).
pub(super) struct Operation {
    /// Tells its timers from those of others.
    pub(super) number: u64,
    pub(super) why: Why,
    /// The children that it is about.
    pub(super) places: BTreeSet<u64>,
    pub(super) step: Step,
    /// How long it waits between stopping and starting.
    pub(super) delay: Duration,
    /// Those who are still to be started, in order.
    pub(super) to_start: VecDeque<u64>,
    /// Those who asked for a restart that was put off, with the child's place.
    pub(super) askers: Vec<(u64, ReplyTo<Result<(), RestartError>>)>,
    /// When it is looked at again, if nothing happens before.
    pub(super) timer: Option<(Instant, TimerKey)>,
}

impl Operation {
    /// Whether it waits between stopping and starting.
    pub(super) fn is_put_off(&self) -> bool {
        matches!(self.step, Step::Delayed) && !self.delay.is_zero()
    }

    /// Whether a child can be removed meanwhile that takes part in this.
    pub(super) fn can_spare(&self, place: u64) -> bool {
        match self.step {
            Step::Starting(starting) => starting != place,
            Step::Delayed => true,
            Step::Stopping(_) => false,
        }
    }

    /// Whether operations on other children may begin meanwhile, of which a child that is started
    /// just now may wait for the end.
    pub(super) fn lets_others_begin(&self) -> bool {
        matches!(self.step, Step::Starting(_)) || self.is_put_off()
    }

    /// Answers those who asked for the restart of this child.
    pub(super) fn answer(&mut self, place: u64, restarted: &Result<(), RestartError>) {
        let is_about = |asker: &mut (u64, _)| asker.0 == place;
        for (_, reply) in self.askers.extract_if(.., is_about) {
            reply.send(restarted.clone());
        }
    }
}

pub(super) enum Step {
    Stopping(Stopping),
    Delayed,
    Starting(u64),
}

/// Why an operation is under way, and who is told how it ended.
pub(super) enum Why {
    /// The supervisor begins.
    Begin,
    /// A child has failed.
    Failure,
    /// Somebody adds a child, and hears whether it has started.
    Add(Added),
    /// Somebody removes a child; it ended for this reason.
    Remove(ReplyTo<Result<StopReason, RemoveError>>, Option<StopReason>),
    /// Somebody restarts a child.
    Restart(ReplyTo<Result<(), RestartError>>),
}

pub(super) type Added = Box<dyn FnOnce(Result<(), StartError>) + Send>;

/// What was asked for, or has happened, and has to wait for an operation to end.
pub(super) enum Pending {
    Failed {
        place: u64,
        life: u64,
        reason: StopReason,
    },
    Remove(Arc<str>, ReplyTo<Result<StopReason, RemoveError>>),
    Restart(Arc<str>, ReplyTo<Result<(), RestartError>>),
    Begin(u64, Added),
}
