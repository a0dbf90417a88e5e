//! Waits that know whose handler waits, and for what: they end when it is killed, and at a
//! deadline, and are refused if they would close a circle.
#![expect(unsafe_code, reason = "shows a record on its stack to others")]

use std::cell::{Cell, OnceCell};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Instant;

use super::cell::Target;
use super::circles;
use super::core::{Core, stage};
use super::frame::Frame;
use super::orders::{INTERRUPTING, KILL};
use crate::error::WaitError;
use crate::executor::block;
use crate::executor::stacks::{self, Waiter};
use crate::runtime::Runtime;
use crate::sync::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use crate::time::{Action, Stamp, TimerKey};
use crate::waits::Awaited;

/// What a wait is for, as others see it while it lasts.
///
/// It is read by other threads while the waiter is kept from going on, so it answers at once and
/// takes no lock that is held for long.
pub(crate) trait Goal: Sync {
    /// Visits those of whom one has to go on before this wait can end; `false` if it may end
    /// without them: what it waits for is there, or nobody knows who brings it.
    ///
    /// Who is visited does not change while the wait lasts.
    fn blockers(&self, visit: &mut dyn FnMut(&Arc<dyn Target>)) -> bool;

    /// What is awaited, in words.
    fn awaited(&self) -> Awaited;

    /// Whether the waiter cannot go on now, even if what it waits for is there, it is killed, or
    /// its deadline passes.
    fn is_held(&self) -> bool {
        false
    }
}

/// What is awaited is not known to come from an actor.
pub(crate) struct FromOutside(pub(crate) Awaited);

impl Goal for FromOutside {
    fn blockers(&self, _: &mut dyn FnMut(&Arc<dyn Target>)) -> bool {
        false
    }

    fn awaited(&self) -> Awaited {
        self.0.clone()
    }
}

/// A wait as others see it while it lasts. It lies on the waiter's stack.
pub(super) struct Record<'a> {
    pub(super) goal: &'a dyn Goal,
    /// Of whoever waits here; none while its stack is in use above it.
    waker: Option<NonNull<Waker>>,
    /// Tells the waits of an actor apart.
    pub(super) number: u64,
    /// When it began, by the clock of the waiter's own system.
    pub(super) begun: Stamp,
    /// By the clock of the system whose wait it is, which is that of whom it waits for.
    pub(super) deadline: Option<Instant>,
    runtime: &'a Runtime,
}

// SAFETY: the goal is `Sync`, and the waker, which is too, outlives the record.
unsafe impl Sync for Record<'_> {}

impl Record<'_> {
    /// Ends the wait, or has it look again.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker {
            // SAFETY: the waker stays where it is until the waiter has taken its record away,
            // which it does not while somebody reads.
            unsafe { waker.as_ref() }.wake_by_ref();
        }
    }

    /// Whether the waiter goes on because its deadline has passed or, if it is, because it was
    /// killed.
    pub(super) fn ends(&self, is_killed: bool) -> bool {
        let is_late = |due| self.runtime.now() >= due;
        !self.goal.is_held() && (is_killed || self.deadline.is_some_and(is_late))
    }
}

/// A number that no other wait has.
fn next_number() -> u64 {
    thread_local! {
        static NUMBER: Cell<u64> = Cell::new((crate::time::thread_number() as u64) << 40);
    }
    NUMBER
        .try_with(|number| {
            number.set(number.get() + 1);
            number.get()
        })
        .unwrap_or(0)
}

/// Waits until `poll` has an outcome, or until `deadline`: then `None`.
///
/// In a handler, the wait also ends when its actor is killed, and is refused if nobody in a
/// circle of waits could go on.
pub(crate) fn wait<T>(
    runtime: &Runtime,
    goal: &dyn Goal,
    deadline: Option<Instant>,
    mut poll: impl FnMut(&Waker) -> Poll<T>,
) -> Result<Option<T>, WaitError> {
    let record = OnceCell::new();
    let mut waiting = Waiting::new(runtime, goal, deadline, &record);
    block(&runtime.executor, |waker| {
        if let Poll::Ready(outcome) = poll(waker) {
            return Poll::Ready(Ok(Some(outcome)));
        }
        if let Err(error) = waiting.begin(Some(waker)) {
            return Poll::Ready(Err(error));
        }
        if deadline.is_some_and(|due| runtime.now() >= due) {
            return Poll::Ready(Ok(None));
        }
        if let Err(error) = waiting.refuse_circles() {
            return Poll::Ready(Err(error));
        }
        if let Some(due) = deadline {
            waiting.set_timer(due, waker);
        }
        Poll::Pending
    })?
}

/// Shows a wait of the handler that runs here, which nothing ends before `run` has returned.
pub(super) fn shown_to_the_end<R>(
    runtime: &Runtime,
    goal: &dyn Goal,
    run: impl FnOnce() -> R,
) -> R {
    let record = OnceCell::new();
    let mut waiting = Waiting::new(runtime, goal, None, &record);
    if let Some(frame) = waiting.frame {
        waiting.leave(frame);
        waiting.show(frame, None);
    }
    run()
}

/// Has this thread run the actor that is waited for, if nobody runs it and any thread may, until
/// `is_over`; returns at once otherwise. `has_turn` says whether the actor's turn was left to us.
///
/// This adds no dependency that is not there already, for direct answers and without a deadline.
/// What runs here is run for the sake of an answer that comes when a handler has returned, so
/// nobody can have it earlier; and when it is there nothing of that actor's runs here any more
/// (see [`run_here`](super::runner::run_here)). Below it stand only those who wait for it,
/// directly or through one another. If what runs here waits in turn for one of these, that is a
/// circle with or without us: their waits are shown all the while, as waits that nothing
/// interrupts.
///
/// Two counter-examples, for what must not be waited for in this way:
///
/// - *Room.* We wait for room at B and run it. B takes a message, so our message moves into the
///   mailbox and our wait is over; but the handler of the one that B took now waits for an answer
///   of ours, which it would get if we did not lie below it.
/// - *An answer that was put off.* We wait for one and run B, whose handler gives it in the middle
///   and then waits for us.
///
/// A handler cannot be killed while it lies below what it waits for. So handlers, on an actor's own
/// thread or one that a caller runs, run others only if those allow it; a thread that is no
/// actor's runs anybody. What runs has a stack of its own, of the size that the system gives to
/// all (see [`callers`](crate::executor)).
///
/// A deadline can be overshot by what runs here; actors may allow that
/// ([`run_on_callers`](crate::Spawner::run_on_callers)).
///
/// # Errors
///
/// As [`wait`].
pub(super) fn run_awaited(
    goal: &dyn Goal,
    target: &Arc<dyn Target>,
    has_turn: bool,
    is_over: &dyn Fn() -> bool,
) -> Result<(), WaitError> {
    let Some(frame) = Frame::current() else {
        let caller = Caller {
            is_over,
            hold: None,
        };
        target.clone().run_here(has_turn, &caller);
        return Ok(());
    };
    let give_turn = || {
        if has_turn {
            target.clone().give_turn();
        }
    };
    if !target.may_run_here() {
        give_turn();
        return Ok(());
    }
    let goal = Buried {
        goal,
        target,
        is_held: AtomicBool::new(false),
    };
    let record = OnceCell::new();
    let mut waiting = Waiting::new(target.runtime(), &goal, None, &record);
    let begun = waiting.begin(None).and_then(|()| waiting.refuse_circles());
    begun.inspect_err(|_| give_turn())?;
    let caller = Caller {
        is_over: &|| is_over() || frame.core().is_killed(),
        hold: Some(&goal.is_held),
    };
    target.clone().run_here(has_turn, &caller);
    Ok(())
}

/// Whoever runs an actor on his thread, for the runner.
pub(crate) struct Caller<'a> {
    /// Whether he goes on as soon as no handler runs.
    pub(super) is_over: &'a dyn Fn() -> bool,
    /// Whether a handler or hook runs above him; none if nobody can wait for him.
    pub(super) hold: Option<&'a AtomicBool>,
}

impl Caller<'_> {
    /// Runs a handler or hook, which keeps the caller from going on.
    #[inline]
    pub(super) fn holding<R>(&self, run: impl FnOnce() -> R) -> R {
        /// Lets go also if the handler panics.
        struct LetGo<'a>(&'a AtomicBool);
        impl Drop for LetGo<'_> {
            fn drop(&mut self) {
                // ORDERING: Release: before the actor can be run elsewhere, and wait there.
                self.0.store(false, Release);
            }
        }
        let Some(hold) = self.hold else {
            return run();
        };
        // ORDERING: Release: before the handler can wait.
        hold.store(true, Release);
        let _let_go = LetGo(hold);
        run()
    }
}

/// A wait above which the actor runs that is waited for. While a handler of that one runs, the
/// waiter cannot go on, even if the outcome is there; so that is an edge in any case.
///
/// When the handler has returned the waiter is not held any more, and that is said before the
/// actor can be run elsewhere. So who finds the actor waiting elsewhere does not find that it holds
/// the waiter.
struct Buried<'a> {
    goal: &'a dyn Goal,
    target: &'a Arc<dyn Target>,
    is_held: AtomicBool,
}

impl Goal for Buried<'_> {
    fn blockers(&self, visit: &mut dyn FnMut(&Arc<dyn Target>)) -> bool {
        if self.is_held() {
            visit(self.target);
            return true;
        }
        self.goal.blockers(visit)
    }

    fn is_held(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `holding`.
        self.is_held.load(Acquire)
    }

    fn awaited(&self) -> Awaited {
        self.goal.awaited()
    }
}

/// What has to be undone when a wait is over, however it ends.
struct Waiting<'a> {
    runtime: &'a Runtime,
    goal: &'a dyn Goal,
    deadline: Option<Instant>,
    /// Of the handler that waits, if it is one.
    frame: Option<&'a Frame>,
    /// Where the record lies that is shown to others.
    record: &'a OnceCell<Record<'a>>,
    /// What was shown before, while the record is shown. That is nothing, unless code that is run
    /// while a wait is shown waits in turn.
    before: Option<*const Record<'static>>,
    /// Whether the handler has left its spans.
    is_away: bool,
    /// Whether it has looked for circles.
    has_looked: bool,
    timer: Option<TimerKey>,
}

impl<'a> Waiting<'a> {
    #[inline]
    fn new(
        runtime: &'a Runtime,
        goal: &'a dyn Goal,
        deadline: Option<Instant>,
        record: &'a OnceCell<Record<'a>>,
    ) -> Self {
        Self {
            runtime,
            goal,
            deadline,
            frame: Frame::current(),
            record,
            before: None,
            is_away: false,
            has_looked: false,
            timer: None,
        }
    }

    /// Does what has to be done before a handler parks; an error if it must not.
    #[inline]
    fn begin(&mut self, waker: Option<&Waker>) -> Result<(), WaitError> {
        let Some(frame) = self.frame else {
            return Ok(());
        };
        if self.before.is_none() {
            self.leave(frame);
            self.show(frame, waker);
        }
        let core = frame.core();
        let orders = core.orders.standing();
        let may_be = orders & INTERRUPTING != 0 || core.stage() != stage::LIVE;
        if may_be && self.is_interrupted(core, orders) {
            return Err(WaitError::Interrupted);
        }
        Ok(())
    }

    /// Whether it was killed, or is to stop before those can go on for whom it waits.
    #[cold]
    fn is_interrupted(&self, core: &Core, orders: u16) -> bool {
        if orders & KILL != 0 {
            return true;
        }
        // Before, since a lock may be held where they are visited.
        let is_told = core.is_told_to_end();
        let mut is_awaited = false;
        self.goal.blockers(&mut |target| {
            is_awaited |= core.is_awaited_by(target.core(), is_told);
        });
        is_awaited
    }

    /// Refuses the wait if it would close a circle. It has begun; looks once, since a circle is
    /// closed by the wait that begins last.
    #[inline]
    fn refuse_circles(&mut self) -> Result<(), WaitError> {
        match self.frame {
            Some(frame) if !std::mem::replace(&mut self.has_looked, true) => {
                circles::refuse(frame, self.goal, || self.hide(frame))
            }
            _ => Ok(()),
        }
    }

    fn leave(&mut self, frame: &Frame) {
        frame.before_wait();
        self.is_away = true;
    }

    fn show(&mut self, frame: &Frame, waker: Option<&Waker>) {
        let record = self.record.get_or_init(|| Record {
            goal: self.goal,
            waker: waker.map(NonNull::from),
            number: next_number(),
            begun: frame.core().runtime.clock.stamp(),
            deadline: self.deadline,
            runtime: self.runtime,
        });
        let record = ptr::from_ref(record).cast::<Record<'static>>();
        // SAFETY: the waiter is the handler that runs, and that is us. The record is not touched
        // until it is hidden, which this value's `Drop` does at the latest.
        self.before = Some(unsafe { frame.core().wait_slot.show(record) });
        if let Some(stack) = stacks::current() {
            let core = frame.core();
            stack.note_waiter(Some(Waiter {
                id: core.id.as_u64(),
                residence: core.residence.number(),
            }));
        }
    }

    fn hide(&mut self, frame: &Frame) {
        let Some(before) = self.before.take() else {
            return;
        };
        let core = frame.core();
        // SAFETY: as above. What was shown before is a record of an outer wait, which lasts.
        unsafe { core.wait_slot.show(before) };
        if let Some(record) = self.record.get().filter(|_| before.is_null()) {
            let ticks = core.runtime.clock.stamp().ticks_since(record.begun);
            core.waited.add(ticks);
            if let Some(stack) = stacks::current() {
                stack.note_waiter(None);
            }
        }
    }

    fn set_timer(&mut self, due: Instant, waker: &Waker) {
        let timers = &self.runtime.timers;
        self.timer
            .get_or_insert_with(|| timers.set(due, Action::Wake(waker.clone())));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(frame) = self.frame {
            self.hide(frame);
            if self.is_away {
                frame.after_wait();
            }
        }
        if let Some(timer) = self.timer {
            self.runtime.timers.cancel(timer);
        }
    }
}
