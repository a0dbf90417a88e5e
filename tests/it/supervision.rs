//! Supervisors: who is started again, when and in which order; what stays over a restart.

mod basics;
mod retries;
mod standstill;

use std::sync::{Arc, Mutex};

use greenroom::{Actor, ChildSpec, Context, Failure, Handler, Restart, StopReason};

/// What the children of a test note, in order.
#[derive(Clone, Default)]
pub(super) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(super) fn note(&self, line: impl Into<String>) {
        self.0
            .lock()
            .expect("no test panics here")
            .push(line.into());
    }

    /// What was noted since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no test panics here"))
    }
}

/// A child that notes what its hooks are called for.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) diary: Diary,
}

impl Member {
    pub(super) fn spec(name: &'static str, diary: &Diary) -> ChildSpec<Self> {
        let diary = diary.clone();
        ChildSpec::new(name, move || {
            let diary = diary.clone();
            Self { name, diary }
        })
    }

    fn note(&self, what: &str) {
        self.diary.note(format!("{} {what}", self.name));
    }
}

impl Actor for Member {
    fn started(&mut self, _: &mut Context<Self>) {
        self.note("started");
    }

    fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
        self.note(&format!("stopped: {reason}"));
    }

    fn restarting(&mut self, failure: &Failure, _: &mut Context<Self>) {
        self.note(&format!("restarting: {failure}"));
    }

    fn restarted(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        self.note(&format!("restarted {}: {}", ctx.restarts(), failure.reason));
    }
}

/// Has the member do something.
pub(super) enum Do {
    Panic,
    Fail,
    Stop,
    Nothing,
}

impl Handler<Do> for Member {
    type Reply = ();

    fn handle(&mut self, what: Do, ctx: &mut Context<Self>) {
        match what {
            Do::Panic => panic!("on request"),
            Do::Fail => ctx.fail("by request"),
            Do::Stop => ctx.stop(),
            Do::Nothing => self.note("did nothing"),
        }
    }
}

/// The restart types, for tests that go through all.
pub(super) const RESTARTS: [Restart; 3] =
    [Restart::Permanent, Restart::Transient, Restart::Temporary];
