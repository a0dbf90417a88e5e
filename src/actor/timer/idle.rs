//! How an idle timeout learns whether its actor rests, and since when.
//!
//! The runner counts what it takes and what it has handled anyway. At the end of a turn, before it
//! gives the claim up, it notes both counts and the moment, if the actor has such a timer
//! (`Core::watches_rest`, one test per turn). When the timer is due, the actor is at rest if it has
//! taken nothing since the note and nothing is queued. Otherwise the timer rests too, and the next
//! note sets it.
//!
//! *That note will come.* Notes and looks are made under the timer's lock, so a look sees no less
//! than the last note did. If it sees more taken than was noted, then the turn that took it has not
//! noted it yet; if it sees something queued, then that has not been taken before the note. Either
//! way a turn that takes something is not over, or will come, and ends in a note that is made after
//! the look.
//!
//! *It is not early.* A look may see too little of what happens at that moment. So the runner looks
//! again when the message's turn comes: if anything was handled since the decision, the message is
//! dropped as a cancelled one. Hence none is handled less than the limit after another message.

use std::time::{Duration, Instant};

use crate::actor::core::Core;
use crate::time::later;

/// See the [module](self).
pub(super) struct Idle {
    limit: Duration,
    note: Option<Note>,
    /// What had been handled when the message in the queue was decided on.
    decided: u64,
}

/// What the actor had done when it came to rest, and since when it had.
#[derive(Clone, Copy)]
struct Note {
    since: Instant,
    taken: u64,
    handled: u64,
}

/// What an idle timeout that is due finds.
pub(super) enum Rest {
    /// The actor has rested for long enough.
    Long,
    /// It has not, and will have at this moment.
    Until(Instant),
    /// It has something to do.
    None,
}

impl Idle {
    /// For a handler that runs: the first note comes at the end of its turn.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            note: None,
            decided: 0,
        }
    }

    /// When the timer is due by what was noted.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(later(self.note?.since, self.limit))
    }

    /// The timer is due; decides whether its message is.
    pub(super) fn look(&mut self, core: &Core) -> Rest {
        let Some(note) = self.note.filter(|note| note.taken == core.taken.get()) else {
            return Rest::None;
        };
        if core.mailbox.queue().len() > 0 {
            return Rest::None;
        }
        let due = later(note.since, self.limit);
        if due > core.runtime.now() {
            return Rest::Until(due);
        }
        self.decided = note.handled;
        Rest::Long
    }

    /// Notes at the end of a turn what the actor has done; returns when the timer is due by that.
    pub(super) fn note(&mut self, core: &Core) -> Instant {
        let (taken, handled) = (core.taken.get(), core.handled.get());
        let since = match &self.note {
            // What was taken and not handled is no reason to begin anew.
            Some(note) if note.handled == handled => note.since,
            _ => core.runtime.now(),
        };
        self.note = Some(Note {
            since,
            taken,
            handled,
        });
        later(since, self.limit)
    }

    /// Whether anything was handled since the message was decided on, whose turn has come.
    pub(super) fn is_overtaken(&self, core: &Core) -> bool {
        self.decided != core.handled.get()
    }
}
