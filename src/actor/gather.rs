//! Several requests: waiting for all of them, for any of them, and for the first that is answered.
//!
//! For the last of these, a failure is no answer: the wait goes on for the others. Each time that one has failed a new
//! wait begins, for those that are left. So while a wait lasts its edges do not change, and each
//! of these waits looks for circles; see [`circles`](super::circles).

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::ask::Reply;
use super::asked::{AskedSeveral, Outcome};
use super::wait::wait;
use crate::error::{AskError, Stage, WaitError};
use crate::time::later;

/// See the [module](self). A member is told by its number.
pub(super) struct Gathered<R> {
    /// Those that are not answered; when an answer is there, those that lost.
    open: Vec<(usize, Reply<R>)>,
    failures: Vec<(usize, AskError)>,
    outcome: Option<Outcome<R>>,
    is_taken: bool,
}

impl<R: Send + 'static> Gathered<R> {
    pub(super) fn new(replies: Vec<Reply<R>>) -> Self {
        let mut gathered = Self {
            open: Vec::with_capacity(replies.len()),
            failures: Vec::new(),
            outcome: None,
            is_taken: false,
        };
        let mut members = 0;
        for reply in replies {
            // Replies to several are taken apart, so that none stands within another: what fails
            // within it would change the edges of a wait that lasts.
            match reply.into_gathered() {
                Err(reply) => {
                    gathered.open.push((members, reply));
                    members += 1;
                }
                Ok(inner) => {
                    let of_all = |(number, part)| (members + number, part);
                    let count = inner.open.len() + inner.failures.len();
                    gathered.open.extend(inner.open.into_iter().map(of_all));
                    let failures = inner.failures.into_iter();
                    gathered
                        .failures
                        .extend(failures.map(|(number, error)| (members + number, error)));
                    members += count;
                }
            }
        }
        gathered
    }

    /// Whether a wait returns at once.
    pub(super) fn is_ready(&mut self) -> bool {
        self.gather(None);
        self.has_outcome()
    }

    /// Takes the outcome, or leaves the waker with each of those that are asked.
    pub(super) fn poll_outcome(&mut self, waker: &Waker) -> Poll<Outcome<R>> {
        self.gather(Some(waker));
        self.take()
    }

    pub(super) fn wait_until(&mut self, deadline: Option<Instant>) -> Outcome<R> {
        loop {
            self.gather(None);
            if let Poll::Ready(outcome) = self.take() {
                return outcome;
            }
            let several = self.asked();
            let target = several.waited_in().expect("somebody is asked");
            let waited = wait(target.runtime(), &several, deadline, |waker| {
                if self.gather(Some(waker)) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
            match waited {
                Ok(Some(())) => {}
                Ok(None) => return self.give_up(AskError::TimedOut),
                Err(error) => return self.give_up(|_| error.into()),
            }
        }
    }

    /// Takes what is there; whether there was something. Leaves the waker with the others, if
    /// there is one.
    ///
    /// This is called under a lock if there is none, so nothing of the user's is dropped.
    fn gather(&mut self, waker: Option<&Waker>) -> bool {
        let mut has_gathered = false;
        let mut next = 0;
        while self.outcome.is_none() && !self.is_taken {
            let Some((_, reply)) = self.open.get_mut(next) else {
                break;
            };
            let polled = match waker {
                Some(waker) => reply.poll_outcome(waker),
                None if reply.is_ready() => reply.poll_outcome(Waker::noop()),
                None => Poll::Pending,
            };
            let Poll::Ready(outcome) = polled else {
                next += 1;
                continue;
            };
            has_gathered = true;
            let (number, _) = self.open.remove(next);
            match outcome {
                Ok(answer) => {
                    self.outcome = Some(Ok(answer));
                    self.open.iter().for_each(|(_, reply)| reply.withdraw());
                }
                Err(error) => {
                    self.failures.push((number, error));
                    if self.open.is_empty() {
                        self.outcome = Some(Err(self.none_answered()));
                    }
                }
            }
        }
        has_gathered
    }

    fn none_answered(&mut self) -> AskError {
        let mut failures = std::mem::take(&mut self.failures);
        failures.sort_by_key(|(number, _)| *number);
        AskError::NoneAnswered {
            failures: failures.into_iter().map(|(_, error)| error).collect(),
        }
    }

    fn take(&mut self) -> Poll<Outcome<R>> {
        assert!(!self.is_taken, "a reply is taken once");
        match self.outcome.take() {
            Some(outcome) => {
                self.is_taken = true;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }

    /// Withdraws what is not answered; if an answer came first after all, that is the outcome.
    fn give_up(&mut self, error: impl FnOnce(Stage) -> AskError) -> Outcome<R> {
        self.is_taken = true;
        let mut furthest = None;
        let mut answer = None;
        for (number, mut reply) in std::mem::take(&mut self.open) {
            let mut withdrawn = None;
            let outcome = reply.give_up(|stage| {
                withdrawn = Some(stage);
                AskError::TimedOut(stage)
            });
            match (withdrawn, outcome) {
                (Some(Stage::Running), _) => furthest = Some(Stage::Running),
                (Some(Stage::Queued), _) => furthest = furthest.or(Some(Stage::Queued)),
                (None, Ok(came)) => answer = answer.or(Some(came)),
                (None, Err(error)) => self.failures.push((number, error)),
            }
        }
        match (answer, furthest) {
            (Some(answer), _) => Ok(answer),
            (None, Some(stage)) => Err(error(stage)),
            (None, None) => Err(self.none_answered()),
        }
    }

    /// When a wait with this limit ends; `None` if it is over at once.
    pub(super) fn due(&mut self, limit: Duration) -> Option<Instant> {
        if self.is_ready() {
            return None;
        }
        let several = self.asked();
        let target = several.waited_in().map(Arc::clone)?;
        Some(later(target.runtime().now(), limit))
    }
}

impl<R> Gathered<R> {
    /// The requests that are not answered.
    pub(super) fn asked(&self) -> AskedSeveral<R> {
        if self.has_outcome() {
            return AskedSeveral(Vec::new());
        }
        Reply::each_asked(self.open.iter().map(|(_, reply)| reply))
    }

    pub(super) fn has_outcome(&self) -> bool {
        self.outcome.is_some() || self.is_taken
    }
}

/// Waits for all of several answers; returns them in the order of the requests.
pub fn wait_all<R: Send + 'static>(
    replies: impl IntoIterator<Item = Reply<R>>,
) -> Vec<Result<R, AskError>> {
    // All requests are made before the first is waited for, also by a lazy iterator.
    let replies: Vec<_> = replies.into_iter().collect();
    replies.into_iter().map(Reply::wait).collect()
}

/// The first of several answers: its index among them, and how that request ended.
pub type First<R> = (usize, Result<R, AskError>);

/// Waits until one of several answers is there, and takes it out of `replies`.
///
/// Returns its index and its outcome; `None` if `replies` is empty. If several are there, it is
/// the first of them. A thread that waits so runs none of the asked actors.
///
/// # Errors
///
/// If the wait could not be begun or was ended; `replies` is as it was. In a handler,
/// [`WaitError::WouldDeadlock`] if each of the asked actors waits, directly or through others,
/// for this one.
pub fn wait_any<R: Send + 'static>(
    replies: &mut Vec<Reply<R>>,
) -> Result<Option<First<R>>, WaitError> {
    loop {
        if let Some(index) = replies.iter().position(Reply::is_ready) {
            let outcome = replies.remove(index).wait();
            return Ok(Some((index, outcome)));
        }
        let several = Reply::each_asked(replies.iter());
        let Some(target) = several.waited_in() else {
            return Ok(None);
        };
        let first = wait(target.runtime(), &several, None, |waker| {
            for (index, reply) in replies.iter_mut().enumerate() {
                if let Poll::Ready(outcome) = reply.poll_outcome(waker) {
                    return Poll::Ready(Some((index, outcome)));
                }
            }
            // If a request of a reply to several has failed, a wait for the others begins anew, so
            // that a circle is looked for among them.
            if Reply::each_asked(replies.iter()).0.len() < several.0.len() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })?;
        if let Some((index, outcome)) = first.expect("a wait without deadline ends with an outcome")
        {
            drop(replies.remove(index));
            return Ok(Some((index, outcome)));
        }
    }
}
