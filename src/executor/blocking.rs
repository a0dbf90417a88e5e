//! Threads for closures that block, so that those who wait for them can be parked.
//!
//! A closure may borrow from whoever waits for it. So what could be refused is refused by
//! [`Threads::admit`], before the closure is handed over; and [`Ticket::run`] does not return,
//! nor unwind, before the closure is over and gone.
//!
//! # Who is there
//!
//! | figure | goes up | goes down |
//! |---|---|---|
//! | `threads` | by whoever starts one | by the thread, when it ends |
//! | `idle` | with `threads`; by a thread that has run a closure | by a thread that has taken one, or ends |
//! | `admitted` | by [`Threads::admit`] | by the thread that has taken the closure; by a ticket that is dropped unused |
//!
//! All of them change under one lock. A thread is started if more is admitted than idle threads
//! will take, up to the limit. An admitted closure always has a thread that will take it: it is
//! admitted only while there is one, and none retires while something is admitted, be it queued
//! already or not. Starting a thread is tried under the lock, so nobody counts on one that the
//! operating system then refuses.
//!
//! The closures stand in a channel, in the order in which they came. Its senders are held by the
//! state, until the system has ended, and by tickets: so a thread that finds it disconnected
//! knows that nothing is admitted, and ends at once.
//!
//! # When a closure is over
//!
//! | [`Completion`] | set by | meaning |
//! |---|---|---|
//! | `Running`, with a waker or without | whoever waits | is to be called |
//! | `Over` | the thread, once the closure and all that it held is gone | the waiter may go on |
//!
//! Both sides take the lock: either the waiter finds `Over`, or the thread finds its waker.
#![expect(
    unsafe_code,
    reason = "a closure that borrows is run by a thread that outlives it"
)]

use std::mem::{replace, transmute};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::Result as Caught;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::thread_name;
use crate::error::WaitError;
use crate::observe::BlockingSnapshot;
use crate::sync::Mutex;
use crate::sync::thread::{self, Thread};
use crate::unwind::{drop_quietly, wake_quietly};

/// How long a thread is kept that has nothing to run.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// The threads of one system; see the [module](self).
pub(crate) struct Threads(Arc<Shared>);

struct Shared {
    name: String,
    max_threads: usize,
    idle_limit: Duration,
    jobs: Receiver<Job>,
    state: Mutex<State>,
}

struct State {
    /// `None` once the system has ended.
    jobs: Option<Sender<Job>>,
    threads: usize,
    idle: usize,
    admitted: usize,
    /// How many threads were started, for their names.
    started: usize,
}

impl Threads {
    pub(crate) fn new(name: &str, max_threads: usize) -> Self {
        Self::with_idle_limit(name, max_threads, IDLE_LIMIT)
    }

    fn with_idle_limit(name: &str, max_threads: usize, idle_limit: Duration) -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Self(Arc::new(Shared {
            name: name.to_owned(),
            max_threads,
            idle_limit,
            jobs: receiver,
            state: Mutex::new(State {
                jobs: Some(sender),
                threads: 0,
                idle: 0,
                admitted: 0,
                started: 0,
            }),
        }))
    }

    /// The right to have one closure run; starts a thread if none is idle and there may be more.
    ///
    /// # Errors
    ///
    /// [`WaitError::NoThread`] if there is no thread, and none can be started.
    pub(crate) fn admit(&self) -> Result<Ticket, WaitError> {
        let mut state = self.0.state.lock();
        let Some(jobs) = state.jobs.clone() else {
            return Err(WaitError::NoThread);
        };
        if state.admitted >= state.idle && state.threads < self.0.max_threads {
            match self.0.start(state.started) {
                Ok(()) => {
                    state.started += 1;
                    state.threads += 1;
                    state.idle += 1;
                }
                Err(error) if state.threads == 0 => {
                    drop(state);
                    tracing::warn!(target: "greenroom", %error, "a handler could not block");
                    return Err(WaitError::NoThread);
                }
                // One of the others will come to it.
                Err(_) => {}
            }
        }
        if state.threads == 0 {
            return Err(WaitError::NoThread);
        }
        state.admitted += 1;
        Ok(Ticket {
            jobs,
            admission: Admission {
                shared: self.0.clone(),
                is_used: false,
            },
        })
    }

    /// Lets the threads end, the idle ones at once.
    pub(crate) fn end(&self) {
        self.0.state.lock().jobs = None;
    }

    pub(crate) fn snapshot(&self) -> BlockingSnapshot {
        let state = self.0.state.lock();
        BlockingSnapshot {
            threads: state.threads,
            idle: state.idle.saturating_sub(state.admitted),
            queued: state.admitted.saturating_sub(state.idle),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn start(self: &Arc<Self>, number: usize) -> std::io::Result<()> {
        let name = thread_name(&format!("{}-blocking-{number}", self.name));
        let this = self.clone();
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || this.run()).map(|_| ())
    }

    /// What a thread does.
    fn run(&self) {
        loop {
            match self.jobs.recv_timeout(self.idle_limit) {
                Ok(mut job) => {
                    {
                        let mut state = self.state.lock();
                        state.idle -= 1;
                        state.admitted -= 1;
                    }
                    job.run();
                    // First idle, then over: who comes back at once finds this thread.
                    self.state.lock().idle += 1;
                    drop(job);
                }
                Err(cause) => {
                    let mut state = self.state.lock();
                    if cause == RecvTimeoutError::Disconnected || state.admitted == 0 {
                        state.idle -= 1;
                        state.threads -= 1;
                        return;
                    }
                }
            }
        }
    }
}

/// The right to have one closure run.
pub(crate) struct Ticket {
    jobs: Sender<Job>,
    admission: Admission,
}

/// Counted in `admitted`, unless it is used: then whoever takes the closure counts it off.
struct Admission {
    shared: Arc<Shared>,
    is_used: bool,
}

impl Drop for Admission {
    fn drop(&mut self) {
        if !self.is_used {
            self.shared.state.lock().admitted -= 1;
        }
    }
}

impl Ticket {
    /// Has `work` run by a thread of these, and returns when it is over: what it returned, or
    /// the payload of its panic. `None` if it was dropped unrun, which does not happen as long as
    /// the threads do what they should.
    ///
    /// `park` is to wait until the completion is there. If it returns or unwinds before that,
    /// this thread sleeps until then.
    pub(crate) fn run<R: Send>(
        mut self,
        work: impl FnOnce() -> R + Send,
        park: impl FnOnce(&Completion),
    ) -> Option<Caught<R>> {
        let mut outcome = None;
        let place = &mut outcome;
        let work = Box::new(move || *place = Some(catch_unwind(AssertUnwindSafe(work))));
        let completion = Arc::new(Completion::new());
        let until_over = UntilOver(&completion);
        let job = Job {
            // SAFETY: the job drops the closure before it says that it is over, wherever it ends,
            // and from here on `until_over` lets nobody out of this call before that. If this
            // stack is never resumed, it is leaked as it is, and what is borrowed stays.
            work: Some(unsafe { without_lifetime(work) }),
            completion: completion.clone(),
        };
        self.admission.is_used = self.jobs.send(job).is_ok();
        park(&completion);
        drop(until_over);
        outcome
    }
}

/// # Safety
///
/// The closure is gone, run or not, before anything ends that it borrows.
unsafe fn without_lifetime<'a>(
    work: Box<dyn FnOnce() + Send + 'a>,
) -> Box<dyn FnOnce() + Send + 'static> {
    // SAFETY: the types differ in a lifetime only, for which the caller answers.
    unsafe { transmute(work) }
}

/// A closure under way.
struct Job {
    work: Option<Box<dyn FnOnce() + Send>>,
    completion: Arc<Completion>,
}

impl Job {
    /// Runs the closure, which catches its panics; nothing is left of it.
    fn run(&mut self) {
        if let Some(work) = self.work.take() {
            work();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // One that was not run is dropped all the same before the waiter goes on.
        drop_quietly(self.work.take());
        self.completion.complete();
    }
}

/// Whether a closure is over, and who is to be called then; see the [module](self).
pub(crate) struct Completion(Mutex<Progress>);

enum Progress {
    Running(Option<Waker>),
    Over,
}

impl Completion {
    fn new() -> Self {
        Self(Mutex::new(Progress::Running(None)))
    }

    /// Ready once the closure is over; else `waker` will be called then.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<()> {
        match &mut *self.0.lock() {
            Progress::Over => Poll::Ready(()),
            Progress::Running(known) => {
                if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    *known = Some(waker.clone());
                }
                Poll::Pending
            }
        }
    }

    fn complete(&self) {
        let before = replace(&mut *self.0.lock(), Progress::Over);
        if let Progress::Running(Some(waker)) = before {
            wake_quietly(waker);
        }
    }
}

/// When it is dropped, its thread sleeps until the closure is over.
struct UntilOver<'a>(&'a Completion);

impl Drop for UntilOver<'_> {
    fn drop(&mut self) {
        if self.0.poll(Waker::noop()).is_ready() {
            return;
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        while self.0.poll(&waker).is_pending() {
            thread::park();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(all(test, not(loom)))]
#[path = "blocking_tests.rs"]
mod tests;
