//! Requests that are under way, as the goals of waits for their answers.

use std::any::type_name;
use std::sync::Arc;

use super::DeferredHandler;
use super::cell::Target;
use super::reply::ReplyCell;
use super::wait::Goal;
use crate::error::AskError;
use crate::waits::Awaited;

/// How a request ends.
pub(super) type Outcome<R> = Result<R, AskError>;

/// Where the outcome of a request is put by the actor and found by the asker.
pub(super) type Answer<R> = Arc<ReplyCell<Outcome<R>>>;

/// What is known of requests by their type.
pub(super) struct Request {
    message_type: fn() -> &'static str,
    /// Whether the answer may come after the handler has returned.
    pub(super) deferred: bool,
}

impl Request {
    pub(super) const fn of<A: DeferredHandler<M>, M: Send + 'static>() -> Self {
        Self {
            message_type: type_name::<M>,
            deferred: A::DEFERRED,
        }
    }
}

/// A request that is under way. As the goal of a wait it is an edge to the asked actor; see
/// [`circles`](super::circles).
pub(super) struct Asked<R> {
    pub(super) cell: Answer<R>,
    pub(super) target: Arc<dyn Target>,
    pub(super) request: &'static Request,
}

impl<R> Asked<R> {
    /// Tells the asked actor's turns apart from those of others.
    pub(super) fn key(&self) -> *const () {
        Arc::as_ptr(&self.target).cast()
    }
}

impl<R> Clone for Asked<R> {
    fn clone(&self) -> Self {
        Self {
            cell: self.cell.clone(),
            target: self.target.clone(),
            request: self.request,
        }
    }
}

impl<R: Send> Goal for Asked<R> {
    fn blockers(&self, visit: &mut dyn FnMut(&Arc<dyn Target>)) -> bool {
        let free = self.cell.is_done() || (self.request.deferred && self.cell.has_begun());
        if !free {
            visit(&self.target);
        }
        !free
    }

    fn awaited(&self) -> Awaited {
        let request_type = (self.request.message_type)();
        let asked = self.target.identity();
        if !self.request.deferred {
            let from = asked;
            Awaited::Reply { from, request_type }
        } else if self.cell.has_begun() {
            let from = asked;
            Awaited::Deferred { from, request_type }
        } else {
            let at = asked;
            Awaited::Queued { at, request_type }
        }
    }
}

/// Several requests, of which the first answer is awaited.
pub(super) struct AskedSeveral<R>(pub(super) Vec<Asked<R>>);

impl<R> AskedSeveral<R> {
    /// In whose system to wait; `None` if there are no requests.
    pub(super) fn waited_in(&self) -> Option<&Arc<dyn Target>> {
        // If one of the systems is stepped on this thread, it has to be.
        let is_stepped = |asked: &&Asked<R>| asked.target.runtime().executor.is_stepped();
        let asked = self.0.iter().find(is_stepped).or(self.0.first());
        asked.map(|asked| &asked.target)
    }
}

impl<R: Send> Goal for AskedSeveral<R> {
    fn blockers(&self, visit: &mut dyn FnMut(&Arc<dyn Target>)) -> bool {
        self.0.iter().all(|asked| asked.blockers(visit))
    }

    fn awaited(&self) -> Awaited {
        let identities = self.0.iter().map(|asked| asked.target.identity());
        Awaited::AnyReply {
            from: identities.collect(),
        }
    }
}
