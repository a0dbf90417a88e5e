//! One timer: its states, and whose turn it is.
//!
//! Everything that changes a timer does so under the timer's own lock. The user's code (the closure
//! that makes messages, the `Drop` of what the timer holds) never runs under it: what leaves the
//! state is moved out and used or dropped afterwards.
//!
//! # The states
//!
//! | phase | in the system's timers | `message` | what goes on |
//! |---|---|---|---|
//! | `Waiting` | yes | of a one-shot timer | it waits until it is due |
//! | `Making` | no | - | whoever fires has the closure, and runs it |
//! | `Queued` | a fixed rate that has missed nothing | yes | an envelope is on its way to its turn |
//! | `Resting` | no | - | it waits for the end of its handler, or of the actor's turn |
//! | `Over` | no | - | nothing will come; it holds nothing, not even the actor's memory |
//!
//! | from | to | by | when |
//! |---|---|---|---|
//! | `Waiting` | `Queued` | who fires | a one-shot timer is due |
//! | `Waiting` | `Making` | who fires | another one is due |
//! | `Waiting` | `Waiting` | who fires | an idle timeout whose actor has handled something meanwhile |
//! | `Waiting` | `Resting` | who fires | an idle timeout whose actor is busy |
//! | `Making` | `Queued` | who fires | the message is made |
//! | `Queued` | `Queued` | who fires | a fixed rate misses a tick, and is no longer set |
//! | `Queued` | `Over`, `Waiting`, `Resting` | the runner | the message's turn: one-shot, fixed rate, others |
//! | `Queued` | `Over`, `Waiting` | who drops the envelope | it was lost: one-shot, others |
//! | `Resting` | `Waiting` | the runner | the handler is over, or the turn |
//! | any | `Over` | anybody | cancelled, the actor has ended, the closure has panicked |
//!
//! # Why a cancelled timer is silent
//!
//! An envelope of a timer carries no message but a count of the timer, where the message is. The
//! runner takes it out when the envelope's turn comes, under the lock and in phase `Queued` only.
//! So for a cancel and a turn, either the turn is first: then the message is in hand, and the cancel
//! speaks of what comes after it; or the cancel is first: then the phase is `Over`, the runner finds
//! nothing, and counts the envelope as cancelled. Who fires looks at the phase when it begins and
//! when the closure has returned, so a cancel that comes in between wins too. `Over` is never left.
//!
//! There is at most one envelope: it is made on the way into `Queued`, and gone on the way out. And
//! there is at most one entry among the system's timers or in the hands of who fires: a timer is
//! set by who creates it, by who fires it, or by who leads it from a state in which it is in none
//! of these places. So a late firing cannot meet a timer that was set anew.
//!
//! How an idle timeout learns whether its actor rests is told in [`super::idle`].

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::idle::{Idle, Rest};
use super::interval::{Interval, MissedTicks, Pace};
use super::{Core, Set};
use crate::actor::cell::Cell;
use crate::actor::envelope::Envelope;
use crate::actor::{Actor, DeferredHandler};
use crate::sync::Mutex;
use crate::time::{Action, Fire, TimerKey, later};
use crate::unwind::{drop_quietly, run_quietly};

type Make<M> = Box<dyn FnMut() -> M + Send>;

/// See the [module](self).
pub(in crate::actor) struct Entry<A: Actor, M>(Mutex<State<A, M>>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Waiting,
    Making,
    Queued,
    Resting,
    Over,
}

struct State<A: Actor, M> {
    phase: Phase,
    /// Where it is in the actor's list.
    place: u32,
    /// Leads to nobody once it is over.
    cell: Weak<Cell<A>>,
    /// By which it is known to the system's timers, while it is among them.
    key: Option<TimerKey>,
    message: Option<M>,
    /// What a one-shot timer has not.
    repeated: Option<Box<Repeated<M>>>,
}

struct Repeated<M> {
    /// Here unless it runs.
    make: Option<Make<M>>,
    rule: Rule,
}

/// When the next message is due.
pub(super) enum Rule {
    Rate {
        period: Duration,
        missed_ticks: MissedTicks,
        /// The next tick's due time.
        next: Instant,
    },
    Delay {
        period: Duration,
    },
    Idle(Idle),
}

impl Rule {
    pub(super) fn of(interval: Interval, first: Instant) -> Self {
        match interval.pace {
            Pace::Rate {
                period,
                missed_ticks,
            } => Self::Rate {
                period,
                missed_ticks,
                next: first,
            },
            Pace::Delay { period } => Self::Delay { period },
        }
    }

    pub(super) fn idle(limit: Duration) -> Self {
        Self::Idle(Idle::new(limit))
    }
}

/// What a timer held, to be dropped when its lock is free.
#[must_use = "it is dropped where no lock is held"]
struct Remains<A: Actor, M> {
    message: Option<M>,
    repeated: Option<Box<Repeated<M>>>,
    cell: Option<Arc<Cell<A>>>,
}

impl<A: Actor, M> Remains<A, M> {
    fn discard(self) {
        drop_quietly(self.message);
        drop_quietly(self.repeated);
        drop(self.cell);
    }
}

impl<A, M> Entry<A, M>
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    /// A timer that sends `message` at `due`.
    pub(super) fn once(cell: &Arc<Cell<A>>, due: Instant, message: M) -> Arc<Self> {
        Self::set(cell, Some(due), Some(message), None)
    }

    /// A timer that sends what `make` makes; if it is not due at a known moment, it rests.
    pub(super) fn repeated(
        cell: &Arc<Cell<A>>,
        due: Option<Instant>,
        rule: Rule,
        make: Make<M>,
    ) -> Arc<Self> {
        let repeated = Repeated {
            make: Some(make),
            rule,
        };
        Self::set(cell, due, None, Some(Box::new(repeated)))
    }

    fn set(
        cell: &Arc<Cell<A>>,
        due: Option<Instant>,
        message: Option<M>,
        repeated: Option<Box<Repeated<M>>>,
    ) -> Arc<Self> {
        let this = Arc::new(Self(Mutex::new(State {
            phase: Phase::Resting,
            place: 0,
            cell: Arc::downgrade(cell),
            key: None,
            message,
            repeated,
        })));
        let mut state = this.0.lock();
        state.place = cell
            .core()
            .with_rare(|rare| rare.timers.insert(this.clone()));
        if let Some(due) = due {
            state.phase = Phase::Waiting;
            this.arm(&mut state, cell.core(), due);
        }
        drop(state);
        this
    }

    fn arm(self: &Arc<Self>, state: &mut State<A, M>, core: &Core, due: Instant) {
        let action = Action::Fire(self.clone());
        state.key = Some(core.runtime.timers.set(due, action));
    }

    /// Ends the timer; `None` if it is over.
    fn end(&self, state: &mut State<A, M>) -> Option<Remains<A, M>> {
        if state.phase == Phase::Over {
            return None;
        }
        state.phase = Phase::Over;
        let cell = std::mem::take(&mut state.cell).upgrade();
        if let Some(cell) = &cell {
            let core = cell.core();
            if let Some(key) = state.key.take() {
                core.runtime.timers.cancel(key);
            }
            let this = std::ptr::from_ref(self).cast();
            core.with_rare(|rare| rare.timers.remove(state.place, this));
        }
        Some(Remains {
            message: state.message.take(),
            repeated: state.repeated.take(),
            cell,
        })
    }

    /// Ends the timer and drops what it held; `false` if it was over.
    fn end_and_discard(&self) -> bool {
        let remains = self.end(&mut self.0.lock());
        let ended = remains.is_some();
        remains.into_iter().for_each(Remains::discard);
        ended
    }

    /// The timer is due, and no longer among the system's. Says for whom, and what is to be done.
    fn begin_fire(self: &Arc<Self>) -> Option<Fired<A, M>> {
        let mut state = self.0.lock();
        if state.phase == Phase::Over {
            return None;
        }
        state.key = None;
        let cell = state.cell.upgrade()?;
        let due = if cell.core().mailbox.queue().is_closed() {
            Due::Never(self.end(&mut state))
        } else {
            self.look_when_due(&mut state, cell.core())
        };
        Some((cell, due))
    }

    fn look_when_due(self: &Arc<Self>, state: &mut State<A, M>, core: &Core) -> Due<A, M> {
        let queued = state.phase == Phase::Queued;
        let Some(repeated) = &mut state.repeated else {
            state.phase = Phase::Queued;
            return Due::Message;
        };
        let make = match &mut repeated.rule {
            // Missed. Who takes the last one sees that the timer is not set.
            Rule::Rate { .. } if queued => return Due::Nothing,
            Rule::Rate { .. } | Rule::Delay { .. } => repeated.make.take(),
            Rule::Idle(idle) => match idle.look(core) {
                Rest::Long => repeated.make.take(),
                Rest::Until(due) => {
                    self.arm(state, core, due);
                    return Due::Nothing;
                }
                Rest::None => {
                    state.phase = Phase::Resting;
                    return Due::Nothing;
                }
            },
        };
        state.phase = Phase::Making;
        Due::Made(make.expect("a closure that does not run is here"))
    }

    /// The closure has made a message; `false` if nobody wants it any more.
    fn keep_made(self: &Arc<Self>, core: &Core, make: Make<M>, message: M) -> bool {
        let mut state = self.0.lock();
        if state.phase == Phase::Over {
            drop(state);
            drop_quietly(message);
            drop_quietly(make);
            return false;
        }
        state.phase = Phase::Queued;
        state.message = Some(message);
        let repeated = state.repeated();
        repeated.make = Some(make);
        if let Rule::Rate {
            period,
            missed_ticks,
            next,
        } = &mut repeated.rule
        {
            let now = core.runtime.now();
            *next = missed_ticks.next_due(later(*next, *period), *period, now);
            let due = *next;
            self.arm(&mut state, core, due);
        }
        true
    }

    /// The envelope's turn has come: the message, if it is still wanted.
    pub(in crate::actor) fn begin(self: &Arc<Self>, core: &Core) -> Option<M> {
        let mut state = self.0.lock();
        if state.phase != Phase::Queued {
            return None;
        }
        let message = state.message.take();
        let mut remains = None;
        let mut late = false;
        match &mut state.repeated {
            None => remains = self.end(&mut state),
            Some(repeated) => match &repeated.rule {
                Rule::Rate { .. } => self.go_on(&mut state, core),
                Rule::Delay { .. } => state.phase = Phase::Resting,
                Rule::Idle(idle) => {
                    late = idle.is_overtaken(core);
                    state.phase = Phase::Resting;
                }
            },
        }
        drop(state);
        remains.into_iter().for_each(Remains::discard);
        if late {
            drop_quietly(message);
            return None;
        }
        message
    }

    /// The handler of a message that was [begun](Self::begin) is over.
    fn end_handling(self: &Arc<Self>) {
        let mut state = self.0.lock();
        let rests = state.phase == Phase::Resting;
        if !rests || !matches!(state.repeated().rule, Rule::Delay { .. }) {
            return;
        }
        // Its runner has it, so this count is not the last.
        if let Some(cell) = state.cell.upgrade()
            && !cell.core().mailbox.queue().is_closed()
        {
            self.go_on(&mut state, cell.core());
        }
    }

    /// The envelope will have no turn.
    pub(in crate::actor) fn discard(self: &Arc<Self>) {
        let mut state = self.0.lock();
        if state.phase != Phase::Queued {
            return;
        }
        // It may be the last count, and is dropped when the lock is free.
        let cell = state.cell.upgrade();
        let message = state.message.take();
        let mut remains = None;
        match &cell {
            Some(cell) if state.repeated.is_some() && !cell.core().mailbox.queue().is_closed() => {
                self.go_on(&mut state, cell.core());
            }
            _ => remains = self.end(&mut state),
        }
        drop(state);
        drop_quietly(message);
        remains.into_iter().for_each(Remains::discard);
    }

    /// The last message is over, and the next one waits until it is due.
    fn go_on(self: &Arc<Self>, state: &mut State<A, M>, core: &Core) {
        state.phase = Phase::Waiting;
        if state.key.is_some() {
            return;
        }
        let due = match &mut state.repeated().rule {
            Rule::Rate {
                period,
                missed_ticks,
                next,
            } => {
                *next = missed_ticks.next_due(*next, *period, core.runtime.now());
                *next
            }
            Rule::Delay { period } => later(core.runtime.now(), *period),
            // It is looked at again when it is due, which may be now.
            Rule::Idle(idle) => idle.due().unwrap_or_else(|| core.runtime.now()),
        };
        self.arm(state, core, due);
    }
}

/// Whose timer is due, and what is to be done. The count may be the last, so it is dropped where no
/// lock is held.
type Fired<A, M> = (Arc<Cell<A>>, Due<A, M>);

/// What is to be done for a timer that is due.
enum Due<A: Actor, M> {
    Nothing,
    /// Its actor takes no messages any more.
    Never(Option<Remains<A, M>>),
    /// Its message is to be queued.
    Message,
    /// A message is to be made.
    Made(Make<M>),
}

impl<A: Actor, M> State<A, M> {
    fn repeated(&mut self) -> &mut Repeated<M> {
        let repeated = self.repeated.as_mut();
        repeated.expect("a timer that is not over and not one-shot repeats")
    }
}

impl<A, M> Fire for Entry<A, M>
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    fn fire(self: Arc<Self>) {
        let Some((cell, due)) = self.begin_fire() else {
            return;
        };
        match due {
            Due::Nothing => return,
            Due::Never(remains) => {
                remains.into_iter().for_each(Remains::discard);
                return;
            }
            Due::Message => {}
            Due::Made(mut make) => {
                let made = run_quietly("the closure that makes a timer's message", &mut make);
                let Some(message) = made else {
                    drop_quietly(make);
                    self.end_and_discard();
                    return;
                };
                if !self.keep_made(cell.core(), make, message) {
                    return;
                }
            }
        }
        cell.deliver(Envelope::of_timer(self));
    }
}

impl<A, M> Set for Entry<A, M>
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    fn cancel(&self) -> bool {
        self.end_and_discard()
    }

    fn is_over(&self) -> bool {
        self.0.lock().phase == Phase::Over
    }

    fn note_rest(self: Arc<Self>, core: &Core) {
        let mut state = self.0.lock();
        if state.phase == Phase::Over {
            return;
        }
        let rests = state.phase == Phase::Resting;
        if let Rule::Idle(idle) = &mut state.repeated().rule {
            let due = idle.note(core);
            if rests {
                state.phase = Phase::Waiting;
                self.arm(&mut state, core, due);
            }
        }
    }
}

/// While this lives, a timer's message is in its handler.
pub(in crate::actor) struct InHand<'a, A, M>(pub(in crate::actor) &'a Arc<Entry<A, M>>)
where
    A: DeferredHandler<M>,
    M: Send + 'static;

impl<A, M> Drop for InHand<'_, A, M>
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    fn drop(&mut self) {
        self.0.end_handling();
    }
}
