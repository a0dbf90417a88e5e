//! What users add to a shutdown, phase by phase.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use crate::actor::{FromOutside, wait};
use crate::runtime::Runtime;
use crate::sync::Mutex;
use crate::unwind::{forget_quietly, panic_message, wake_quietly};
use crate::waits::Awaited;

/// When a task of [`System::on_shutdown`](crate::System::on_shutdown) runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum ShutdownPhase {
    /// Before any actor is told: doors are closed, so that no work comes in any more.
    StopAccepting,
    /// While the actors drain and end.
    Drain,
    /// When all actors have ended, or their time is over: what is left is written out.
    Flush,
}

impl fmt::Display for ShutdownPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StopAccepting => "stop accepting",
            Self::Drain => "drain",
            Self::Flush => "flush",
        })
    }
}

/// How a task of a shutdown ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TaskOutcome {
    /// It returned in time.
    Done,
    /// It panicked, with these words.
    Panicked(Arc<str>),
    /// It had not returned when its time was over, and goes on by itself.
    Late,
}

/// A task of a shutdown, and how it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TaskReport {
    /// Its name.
    pub name: Arc<str>,
    /// When it ran.
    pub phase: ShutdownPhase,
    /// How it ended.
    pub outcome: TaskOutcome,
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, phase, .. } = self;
        match &self.outcome {
            TaskOutcome::Done => write!(f, "`{name}` ({phase}) is done"),
            TaskOutcome::Panicked(message) => write!(f, "`{name}` ({phase}) panicked: {message}"),
            TaskOutcome::Late => write!(f, "`{name}` ({phase}) was not done in time"),
        }
    }
}

type Work = Box<dyn FnOnce(Duration) + Send>;

struct Task {
    name: Arc<str>,
    phase: ShutdownPhase,
    work: Work,
}

/// The tasks that were added, in order.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Vec<Task>>);

/// What became of the tasks of a phase, by their numbers.
#[derive(Default)]
struct Progress {
    ended: Vec<Option<TaskOutcome>>,
    waker: Option<Waker>,
}

impl Tasks {
    pub(super) fn add(&self, phase: ShutdownPhase, name: Arc<str>, work: Work) {
        self.0.lock().push(Task { name, phase, work });
    }

    /// Whether there are tasks that come after this phase.
    pub(super) fn are_left_after(&self, phase: ShutdownPhase) -> bool {
        self.0.lock().iter().any(|task| task.phase > phase)
    }

    /// Begins the tasks of a phase, each on a thread of its own. In a stepped system, and if the
    /// operating system refuses the thread, a task runs right here.
    pub(super) fn begin(
        &self,
        phase: ShutdownPhase,
        runtime: &Runtime,
        deadline: Instant,
    ) -> Running {
        let mut tasks = self.0.lock();
        let is_due = |task: &mut Task| task.phase == phase;
        let due: Vec<Task> = tasks.extract_if(.., is_due).collect();
        drop(tasks);
        let progress = Arc::new(Mutex::new(Progress::default()));
        progress.lock().ended.resize(due.len(), None);
        let mut names = Vec::new();
        for (number, Task { name, work, .. }) in due.into_iter().enumerate() {
            names.push(name.clone());
            let left = deadline.saturating_duration_since(runtime.now());
            // Shared, so that it comes back if there is no thread.
            let work = Arc::new(Mutex::new(Some(work)));
            let run = {
                let (work, progress) = (work.clone(), progress.clone());
                move || {
                    if let Some(work) = { work.lock().take() } {
                        let outcome = run_one(work, left);
                        end_one(&progress, number, outcome);
                    }
                }
            };
            let is_begun = !runtime.executor.is_stepped()
                && std::thread::Builder::new()
                    .name("greenroom-shutdown".into())
                    .spawn(run.clone())
                    .is_ok();
            if !is_begun {
                run();
            }
        }
        Running {
            phase,
            names,
            progress,
        }
    }
}

fn run_one(work: Work, left: Duration) -> TaskOutcome {
    match catch_unwind(AssertUnwindSafe(|| work(left))) {
        Ok(()) => TaskOutcome::Done,
        Err(payload) => {
            let message = panic_message(&*payload).into();
            forget_quietly(payload);
            TaskOutcome::Panicked(message)
        }
    }
}

fn end_one(progress: &Mutex<Progress>, number: usize, outcome: TaskOutcome) {
    let waker = {
        let mut progress = progress.lock();
        progress.ended[number] = Some(outcome);
        progress.waker.take()
    };
    if let Some(waker) = waker {
        wake_quietly(waker);
    }
}

/// The tasks of a phase that have begun.
pub(super) struct Running {
    phase: ShutdownPhase,
    names: Vec<Arc<str>>,
    progress: Arc<Mutex<Progress>>,
}

impl Running {
    /// Waits until all have ended, or until the deadline.
    pub(super) fn wait(self, runtime: &Runtime, deadline: Instant) -> Vec<TaskReport> {
        let goal = FromOutside(Awaited::Shutdown);
        let progress = &self.progress;
        // If the wait fails, what has not ended by now is late.
        let _ = wait(runtime, &goal, Some(deadline), |waker| {
            let mut progress = progress.lock();
            if progress.ended.iter().all(Option::is_some) {
                return Poll::Ready(());
            }
            let before = progress.waker.replace(waker.clone());
            drop(progress);
            drop(before);
            Poll::Pending
        });
        let ended = progress.lock().ended.clone();
        let report = |(name, outcome): (Arc<str>, Option<TaskOutcome>)| TaskReport {
            name,
            phase: self.phase,
            outcome: outcome.unwrap_or(TaskOutcome::Late),
        };
        self.names.into_iter().zip(ended).map(report).collect()
    }
}
