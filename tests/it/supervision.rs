//! Supervisors: who is started again, when and in which order; what stays over a restart.

mod chaos;
mod contract;
mod hooks;
mod model;
mod pools;
mod races;
mod requests;
mod retries;

mod standstill;
mod storms;
mod strategies;
mod ties;

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use greenroom::{
    Actor, AskError, ChildSpec, Context, DeferredHandler, Failure, Handler, Reply, ReplyTo,
    Restart, StopReason, Supervisor, SupervisorBuilder, Terminated,
};

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
    #[track_caller]
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no test panics here"))
    }
}

/// Where a child is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Moment {
    Started,
    Restarted,
    Restarting,
    Stopped,
    Told,
}

/// What a child does at a moment of its life, besides taking a note.
type Role = Arc<dyn Fn(Moment, &mut Context<Member>) + Send + Sync>;

/// A child that notes what its hooks are called for, and does what it is told.
///
/// There is never more than one of its lives; else it notes that.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) diary: Diary,
    role: Role,
    lives: Arc<AtomicUsize>,
    pub(super) debts: Vec<ReplyTo<u64>>,
    pub(super) requests: Vec<Reply<u64>>,
}

impl Member {
    pub(super) fn new(name: &'static str, diary: &Diary) -> Self {
        Self::playing(name, diary, Arc::new(|_, _| ()), Arc::default())
    }

    fn playing(name: &'static str, diary: &Diary, role: Role, lives: Arc<AtomicUsize>) -> Self {
        if lives.fetch_add(1, SeqCst) > 0 {
            diary.note(format!("{name} lives twice"));
        }
        Self {
            name,
            diary: diary.clone(),
            role,
            lives,
            debts: Vec::new(),
            requests: Vec::new(),
        }
    }

    pub(super) fn spec(name: &'static str, diary: &Diary) -> ChildSpec<Self> {
        Self::spec_playing(name, diary, |_, _| ())
    }

    /// A child that does this at each moment of its lives.
    pub(super) fn spec_playing(
        name: &'static str,
        diary: &Diary,
        role: impl Fn(Moment, &mut Context<Self>) + Send + Sync + 'static,
    ) -> ChildSpec<Self> {
        let (diary, role, lives) = (diary.clone(), Arc::new(role), Arc::default());
        ChildSpec::new(name, move || {
            Self::playing(name, &diary, role.clone(), Arc::clone(&lives))
        })
    }

    /// A member that is not supervised and does this at each moment of its life.
    pub(super) fn alone(
        name: &'static str,
        diary: &Diary,
        role: impl Fn(Moment, &mut Context<Self>) + Send + Sync + 'static,
    ) -> Self {
        Self::playing(name, diary, Arc::new(role), Arc::default())
    }

    fn note(&self, what: &str) {
        self.diary.note(format!("{} {what}", self.name));
    }

    fn at(&self, moment: Moment, ctx: &mut Context<Self>) {
        let role = self.role.clone();
        role(moment, ctx);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.lives.fetch_sub(1, SeqCst);
    }
}

impl Actor for Member {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.note("started");
        self.at(Moment::Started, ctx);
    }

    fn stopped(&mut self, reason: &StopReason, ctx: &mut Context<Self>) {
        self.note(&format!("stopped: {reason}"));
        self.at(Moment::Stopped, ctx);
    }

    fn restarting(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        self.note(&format!("restarting: {}", failure.reason));
        self.at(Moment::Restarting, ctx);
    }

    fn restarted(&mut self, failure: &Failure, ctx: &mut Context<Self>) {
        assert_eq!(failure.restarts + 1, ctx.restarts());
        self.note(&format!("restarted {}: {}", ctx.restarts(), failure.reason));
        self.at(Moment::Restarted, ctx);
    }

    fn terminated(&mut self, ended: &Terminated, ctx: &mut Context<Self>) {
        let name = ended.name.as_deref().unwrap_or("somebody");
        self.note(&format!("told of {name}: {}", ended.reason));
        self.at(Moment::Told, ctx);
    }
}

type Scene<R> = Box<dyn FnOnce(&mut Member, &mut Context<Member>) -> R + Send>;

/// What a member does when it comes to this message.
pub(super) struct Do<R>(Scene<R>);

/// A message that has a member do this in its handler; what it returns is the answer.
pub(super) fn to<R>(
    scene: impl FnOnce(&mut Member, &mut Context<Member>) -> R + Send + 'static,
) -> Do<R> {
    Do(Box::new(scene))
}

/// A message at which a member panics.
pub(super) fn to_panic() -> Do<u64> {
    to(|_, _| panic!("on request"))
}

/// A message at which a member fails.
pub(super) fn to_fail() -> Do<u64> {
    to(|_, ctx| {
        ctx.fail("by request");
        1
    })
}

/// A message that a member notes.
pub(super) fn to_note(line: &'static str) -> Do<u64> {
    to(move |member, _| {
        member.note(line);
        2
    })
}

impl<R: Send + 'static> Handler<Do<R>> for Member {
    type Reply = R;

    fn handle(&mut self, Do(scene): Do<R>, ctx: &mut Context<Self>) -> R {
        scene(self, ctx)
    }
}

/// A request whose answer a member owes from then on.
pub(super) struct Owe;

impl DeferredHandler<Owe> for Member {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Owe, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        self.debts.push(reply);
    }
}

/// An error with its causes, in one line.
pub(super) fn in_full(error: impl Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What came of a request, in words.
pub(super) fn outcome(reply: Reply<u64>) -> Result<u64, String> {
    let answer: Result<u64, AskError> = reply.wait();
    answer.map_err(in_full)
}

/// Starts a tree with one child.
pub(super) fn with_child<A: Actor>(
    mut tree: SupervisorBuilder,
    child: ChildSpec<A>,
) -> (greenroom::Addr<Supervisor>, greenroom::Addr<A>) {
    let addr = tree.child(child).expect("the child is admitted");
    let supervisor = tree.start().expect("the child starts");
    (supervisor, addr)
}

/// The restart types, for tests that go through all.
pub(super) const RESTARTS: [Restart; 3] =
    [Restart::Permanent, Restart::Transient, Restart::Temporary];

/// A child without a diary.
pub(super) struct Worker;

impl Actor for Worker {}

/// Asks how often it was started again.
pub(super) struct Ping;

impl Handler<Ping> for Worker {
    type Reply = u64;
    fn handle(&mut self, _: Ping, ctx: &mut Context<Self>) -> u64 {
        ctx.restarts()
    }
}

/// Makes it panic.
pub(super) struct Boom;

impl Handler<Boom> for Worker {
    type Reply = ();
    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("boom")
    }
}
