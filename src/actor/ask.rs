//! Requests and their answers: [`Reply`] at the asker, [`ReplyTo`] at the actor.
#![expect(
    unsafe_code,
    reason = "keeps the reply cell's contract: one asker, one answer"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::asked::{Answer, Asked, AskedSeveral, Outcome};
use super::envelope::Envelope;
use super::frame::{Debt, DroppedHere, Failure, Frame};
use super::gather::Gathered;
use super::wait::{Caller, run_awaited, wait};
use super::{Addr, DeferredHandler};
use crate::error::{AskError, WaitError};
use crate::executor::{may_run_here, take_back};
use crate::mailbox::Place;
use crate::sync::{AtomicBool, Mutex, Ordering::Relaxed};
use crate::time::{TimerKey, later};
use crate::unwind::run_quietly;

/// The place of a request in the line of a full mailbox, and the end of its patience.
pub(super) struct InLine {
    pub(super) place: Arc<Place<Envelope>>,
    pub(super) expiry: Option<TimerKey>,
}

/// The answer to a request that is under way.
///
/// [`wait`](Self::wait) and [`wait_for`](Self::wait_for) wait for it, in a handler or on a plain
/// thread; as a future it is awaited under any executor. Two asks before two waits pipeline.
/// In a handler prefer `wait` to [`Context::wait`](crate::Context::wait) of the reply as a
/// future: only the former is seen when a circle of waits would close.
///
/// Dropping it withdraws the request: if its turn has not come, it is not run and is counted as
/// cancelled; if it stood in line for a full mailbox, it leaves the line.
///
/// # Cancel safety
///
/// As a future it may be polled by reference, in a `select` say, and awaited or waited for
/// later; nothing is lost. After it was ready it must not be polled again.
#[must_use = "dropping a reply withdraws the request; use `send` for a message without answer"]
pub struct Reply<R> {
    state: State<R>,
}

enum State<R> {
    Pending {
        asked: Asked<R>,
        /// The request's place in line, if the mailbox was full.
        in_line: Option<InLine>,
        /// Whether the actor's turn was left to the thread that asked, in case that it waits.
        offered: AtomicBool,
    },
    /// Of several requests; the first answer counts.
    First(Box<Mutex<Gathered<R>>>),
    /// The outcome was known at once.
    Known(Outcome<R>),
    Taken,
}

impl<R: Send + 'static> Reply<R> {
    pub(super) fn pending(asked: Asked<R>, in_line: Option<InLine>, offered: bool) -> Self {
        Self {
            state: State::Pending {
                asked,
                in_line,
                offered: AtomicBool::new(offered),
            },
        }
    }

    pub(super) fn known(outcome: Outcome<R>) -> Self {
        Self {
            state: State::Known(outcome),
        }
    }

    /// The first answer to several requests; the others are withdrawn then. If none is answered,
    /// that is [`AskError::NoneAnswered`].
    pub(crate) fn first_of(replies: Vec<Self>) -> Self {
        let gathered = Gathered::new(replies);
        Self {
            state: State::First(Box::new(Mutex::new(gathered))),
        }
    }

    /// Waits for the answer.
    ///
    /// In a handler of the pool the handler's stack is parked and its worker goes on with other
    /// actors. On a plain thread, that thread runs the asked actor's
    /// handlers until the answer is there, if nobody else runs them and the answer is not one
    /// that may be put off; otherwise it sleeps. A panic in what runs here stays with its actor.
    /// In an async task, that thread is one of its executor: await the reply there.
    ///
    /// # Errors
    ///
    /// Any [`AskError`] but `TimedOut`. It returns at once when the actor ends, panics, or
    /// drops the [`ReplyTo`].
    ///
    /// In a handler, [`AskError::WouldDeadlock`] if the asked actor waits, directly or through
    /// others, for this one.
    pub fn wait(self) -> Result<R, AskError> {
        self.wait_until(None)
    }

    /// Waits for the answer, at most for `limit`, by the system's clock.
    ///
    /// A thread runs the asked actor meanwhile only if that one allows it; see
    /// [`Spawner::run_on_callers`](crate::Spawner::run_on_callers).
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait); besides [`AskError::TimedOut`], which says whether the request
    /// was still queued (it will never run) or had begun (its effects may still come).
    pub fn wait_for(self, limit: Duration) -> Result<R, AskError> {
        let deadline = match &self.state {
            State::Pending { asked, .. } => later(asked.target.runtime().now(), limit),
            State::First(first) => {
                let due = first.lock().due(limit);
                return self.wait_until(due);
            }
            State::Known(_) | State::Taken => return self.wait_until(None),
        };
        self.wait_until(Some(deadline))
    }

    fn wait_until(mut self, deadline: Option<Instant>) -> Result<R, AskError> {
        if let Err(error) = self.run_or_pass_on(deadline) {
            return self.give_up(|_| error.into());
        }
        let asked = match &mut self.state {
            State::Pending { asked, .. } => asked,
            State::First(first) => return first.get_mut().wait_until(deadline),
            State::Known(_) | State::Taken => return self.take_known(),
        };
        let waited = wait(asked.target.runtime(), asked, deadline, |waker| {
            // SAFETY: we are the only asker, and the wait ends when the outcome is there.
            unsafe { asked.cell.poll(waker) }
        });
        match waited {
            Ok(Some(outcome)) => {
                self.finish();
                outcome
            }
            Ok(None) => self.give_up(AskError::TimedOut),
            Err(error) => self.give_up(|_| error.into()),
        }
    }

    /// Runs the asked actor on this thread until the answer is there, as far as that is allowed;
    /// otherwise lets others run it.
    fn run_or_pass_on(&self, deadline: Option<Instant>) -> Result<(), WaitError> {
        let State::Pending {
            asked,
            in_line,
            offered,
        } = &self.state
        else {
            return Ok(());
        };
        let expires = in_line.as_ref().is_some_and(|line| line.expiry.is_some());
        let untimed = deadline.is_none() && !expires;
        // A request in line may be answered while a handler runs: when the mailbox closes. Who
        // waits for a handler that lies below would have to go on then.
        let answers_last = in_line.is_none() || Frame::current().is_none();
        let allowed = answers_last && (untimed || asked.target.core().runs_on_callers());
        let allowed = allowed && asked.target.core().may_be_run_by_caller();
        if asked.request.deferred || !allowed || !may_run_here() {
            self.pass_on();
            return Ok(());
        }
        let has_turn = takes_turn(asked, offered);
        let is_late = || deadline.is_some_and(|due| asked.target.runtime().now() >= due);
        run_awaited(asked, &asked.target, has_turn, &|| {
            asked.cell.is_done() || is_late()
        })
    }

    /// Withdraws the request; if the answer came first after all, that is the outcome.
    pub(super) fn give_up(
        &mut self,
        error: impl FnOnce(crate::error::Stage) -> AskError,
    ) -> Outcome<R> {
        let State::Pending { asked, .. } = &self.state else {
            unreachable!("only a pending reply is waited for")
        };
        match asked.cell.withdraw() {
            Some(stage) => Err(error(stage)),
            None => match self.poll_outcome(Waker::noop()) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => unreachable!("a request that was not withdrawn is answered"),
            },
        }
    }

    fn take_known(&mut self) -> Outcome<R> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Known(outcome) => outcome,
            State::Pending { .. } | State::First(_) => {
                unreachable!("a pending reply has no outcome")
            }
            State::Taken => panic!("a reply is taken once"),
        }
    }

    pub(super) fn poll_outcome(&mut self, waker: &Waker) -> Poll<Outcome<R>> {
        self.pass_on();
        if let State::First(first) = &mut self.state {
            return first.get_mut().poll_outcome(waker);
        }
        let State::Pending { asked, .. } = &self.state else {
            return Poll::Ready(self.take_known());
        };
        // SAFETY: we are the only asker, and the state below keeps us from polling again.
        let polled = unsafe { asked.cell.poll(waker) };
        if polled.is_ready() {
            self.finish();
        }
        polled
    }

    /// Whether the outcome is there, so that a wait returns at once.
    pub fn is_ready(&self) -> bool {
        self.pass_on();
        match &self.state {
            State::Pending { asked, .. } => asked.cell.is_done(),
            State::First(first) => first.lock().is_ready(),
            State::Known(_) | State::Taken => true,
        }
    }

    /// Delivers the outcome to an actor as a message, instead of being waited for.
    ///
    /// It does not keep that actor alive; if it has ended, the outcome is dropped.
    ///
    /// `into_message` runs once, where the answer is given; it should be short. If it panics, that
    /// is reported through `tracing`, and no message comes. The message is
    /// queued without waiting: if the mailbox is full it stands in line under `Block` and
    /// `BlockFor`, and is dropped or rejected under the other policies, counted and reported as
    /// a dead letter.
    pub fn forward<A, M>(
        self,
        to: &Addr<A>,
        into_message: impl FnOnce(Result<R, AskError>) -> M + Send + 'static,
    ) where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let to = to.downgrade();
        let forward = Arc::new(Forward(Mutex::new(Some((
            self,
            Box::new(move |outcome| to.deliver(into_message(outcome))),
        )))));
        forward.wake();
    }
}

/// A reply and where its outcome goes. Its own waker: called when the outcome is there.
struct Forward<R>(Mutex<Option<Forwarded<R>>>);

type Forwarded<R> = (Reply<R>, Box<dyn FnOnce(Outcome<R>) + Send>);

impl<R: Send + 'static> Wake for Forward<R> {
    fn wake(self: Arc<Self>) {
        let mut guard = self.0.lock();
        let Some((reply, _)) = guard.as_mut() else {
            return;
        };
        let Poll::Ready(outcome) = reply.poll_outcome(&Waker::from(self.clone())) else {
            return;
        };
        let forwarded = guard.take();
        drop(guard);
        if let Some((_, deliver)) = forwarded {
            // We run where the answer is given; a panic in the closure is not its business.
            run_quietly("the closure that makes a message of an outcome", || {
                deliver(outcome);
            });
        }
    }
}

/// Whether the actor's turn was left to this thread, which takes it now.
fn takes_turn<R>(asked: &Asked<R>, offered: &AtomicBool) -> bool {
    // ORDERING: Relaxed: it is only a note of ours.
    offered.load(Relaxed) && offered.swap(false, Relaxed) && take_back(asked.key()).is_some()
}

impl<R: Send + 'static> Future for Reply<R> {
    type Output = Result<R, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let State::Pending { asked, offered, .. } = &self.state
            && asked.target.core().runs_on_callers()
            && !asked.request.deferred
            && Frame::current().is_none()
            && may_run_here()
        {
            let has_turn = takes_turn(asked, offered);
            let target = asked.target.clone();
            let caller = Caller {
                is_over: &|| asked.cell.is_done(),
                hold: None,
            };
            target.run_here(has_turn, &caller);
        }
        self.poll_outcome(cx.waker())
    }
}

impl<R> Reply<R> {
    /// Gives the actor's turn to its executor, if it was left to us.
    fn pass_on(&self) {
        let State::Pending { asked, offered, .. } = &self.state else {
            return;
        };
        // ORDERING: Relaxed: it is only a note of ours.
        if offered.load(Relaxed) && offered.swap(false, Relaxed) {
            // If it is not in this thread's offer, it stands elsewhere by now, or in the offer of
            // another thread; one turn too many does no harm.
            drop(take_back(asked.key()));
            asked.target.clone().give_turn();
        }
    }

    /// Takes several requests apart, if it is a reply to several.
    pub(super) fn into_gathered(mut self) -> Result<Gathered<R>, Self> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::First(first) => Ok(first.into_inner()),
            state => {
                self.state = state;
                Err(self)
            }
        }
    }

    /// Has the request not run, if it has not begun. It keeps its place in line until the reply
    /// is dropped, so nothing is dropped here.
    pub(super) fn withdraw(&self) {
        if let State::Pending { asked, .. } = &self.state {
            asked.cell.withdraw();
        }
    }

    /// The requests behind several replies that are not answered.
    pub(super) fn each_asked<'a>(replies: impl Iterator<Item = &'a Self>) -> AskedSeveral<R>
    where
        R: 'a,
    {
        let mut several = Vec::new();
        for reply in replies {
            match &reply.state {
                State::Pending { asked, .. } => several.push(asked.clone()),
                State::First(first) => several.append(&mut first.lock().asked().0),
                State::Known(_) | State::Taken => {}
            }
        }
        AskedSeveral(several)
    }

    /// The outcome has been taken.
    fn finish(&mut self) {
        self.leave_line();
        self.state = State::Taken;
    }

    /// Takes the request out of the line, if it stands there, and forgets the end of its
    /// patience.
    fn leave_line(&mut self) {
        if let State::Pending { asked, in_line, .. } = &mut self.state
            && let Some(InLine { place, expiry }) = in_line.take()
        {
            let target = &asked.target;
            if let Some(expiry) = expiry {
                target.runtime().timers.cancel(expiry);
            }
            target.withdraw(&place);
        }
    }
}

impl<R> Drop for Reply<R> {
    fn drop(&mut self) {
        if let State::Pending { asked, .. } = &self.state {
            asked.cell.withdraw();
            self.pass_on();
            self.leave_line();
        }
    }
}

impl<R> Unpin for Reply<R> {}

impl<R> fmt::Debug for Reply<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Pending { asked, .. } if !asked.cell.is_done() => "pending",
            State::First(first) if !first.lock().has_outcome() => "pending",
            State::Pending { .. } | State::First(_) | State::Known(_) => "ready",
            State::Taken => "taken",
        };
        f.debug_tuple("Reply").field(&state).finish()
    }
}

/// The right to answer one request, once, from anywhere.
///
/// Dropped unanswered, the asker learns it at once: [`AskError::Dropped`], or what became of
/// the actor if it is dropped with it. For a message that was sent rather than asked, nobody
/// waits and the answer is dropped.
#[must_use = "dropped unanswered, it is an error at the asker"]
pub struct ReplyTo<R: Send + 'static> {
    cell: Option<Answer<R>>,
}

impl<R: Send + 'static> ReplyTo<R> {
    pub(super) fn new(cell: Answer<R>) -> Self {
        Self { cell: Some(cell) }
    }

    pub(super) fn nobody() -> Self {
        Self { cell: None }
    }

    /// Gives the answer. It is dropped if nobody waits for it any more.
    #[inline]
    pub fn send(mut self, answer: R) {
        if let Some(cell) = self.cell.take() {
            // SAFETY: we are the only answerer, and have taken the cell out.
            unsafe { cell.complete(Ok(answer)) };
        }
    }

    /// Whether somebody waits for the answer or may come to; if not, work can be spared.
    pub fn is_wanted(&self) -> bool {
        self.cell.as_ref().is_some_and(|cell| cell.is_wanted())
    }
}

impl<R: Send + 'static> Drop for ReplyTo<R> {
    fn drop(&mut self) {
        let Some(cell) = self.cell.take() else {
            return;
        };
        match Frame::failure_of_dropped() {
            DroppedHere::Settle(failure) => Box::new(Unanswered(cell)).settle(&failure),
            DroppedHere::Keep(frame) => frame.keep_unwound(Box::new(Unanswered(cell))),
        }
    }
}

impl<R: Send + 'static> fmt::Debug for ReplyTo<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo")
            .field("is_wanted", &self.is_wanted())
            .finish()
    }
}

struct Unanswered<R: Send + 'static>(Answer<R>);

impl<R: Send + 'static> Debt for Unanswered<R> {
    fn settle(self: Box<Self>, failure: &Failure) {
        // SAFETY: taken out of the only `ReplyTo`, which has not answered.
        unsafe { self.0.complete(Err(failure.to_ask_error())) };
    }
}
