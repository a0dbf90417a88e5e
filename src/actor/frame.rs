//! What is known of the actor that runs on the current stack.
//!
//! The runner lays a [`Frame`] on its stack and leaves a pointer to it with the executor, which
//! keeps it across parks. Waits, replies that are dropped, and `Context` find it there.
#![expect(
    unsafe_code,
    reason = "finds the frame of the running actor through a pointer"
)]

use std::cell::{Cell, RefCell};
use std::ptr;

use tracing::Span;

use super::cell::Core;
use crate::error::{AskError, StopReason};
use crate::executor::park::{context, set_context};
use crate::mailbox::Wakes;

/// An answer in debt, whatever its type.
pub(super) trait Debt {
    fn settle(self: Box<Self>, failure: &Failure);
}

/// Why requests are not answered, in a form that can be told to any number of askers.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    Dropped,
    Ended(StopReason),
}

impl Failure {
    pub(super) fn to_ask_error(&self) -> AskError {
        match self {
            Self::Dropped => AskError::Dropped,
            Self::Ended(StopReason::Panicked { message }) => AskError::Panicked {
                message: message.clone(),
            },
            Self::Ended(reason) => AskError::Stopped {
                reason: reason.clone(),
            },
        }
    }
}

/// See the [module](self).
pub(super) struct Frame {
    core: *const Core,
    /// Replies that were dropped while a handler unwinds; the panic's words are not known yet.
    unwound: RefCell<Vec<Box<dyn Debt>>>,
    /// Why the actor that is being dropped has ended.
    ending: RefCell<Option<StopReason>>,
    /// Wake-ups owed to senders that stood in line.
    pub(super) wakes: RefCell<Wakes>,
    /// The span that is entered, if somebody listens.
    span: RefCell<Option<Span>>,
    before: Cell<*const ()>,
}

impl Frame {
    pub(super) fn new(core: &Core) -> Self {
        Self {
            core,
            unwound: RefCell::new(Vec::new()),
            ending: RefCell::new(None),
            wakes: RefCell::new(Wakes::new()),
            span: RefCell::new(None),
            before: Cell::new(ptr::null()),
        }
    }

    /// Makes this the current frame until the guard is dropped. The frame must not be moved
    /// meanwhile, which its borrow sees to.
    pub(super) fn enter(&self) -> Entered<'_> {
        self.before.set(set_context(ptr::from_ref(self).cast()));
        Entered(self)
    }

    /// The frame of the actor that runs on this stack.
    ///
    /// The reference must not outlive the caller's own frame.
    pub(super) fn current() -> Option<&'static Self> {
        // SAFETY: only `enter` stores a context, and its guard removes it before the frame is
        // gone; the executor keeps it with the stack on which the frame lies.
        unsafe { context().cast::<Self>().as_ref() }
    }

    pub(super) fn core(&self) -> &Core {
        // SAFETY: the runner that laid this frame holds a count of the cell.
        unsafe { &*self.core }
    }

    /// What has to be done before a handler parks: room is given back, those who stand in line
    /// move on, wake-ups are paid, spans are left.
    pub(super) fn before_wait(&self) {
        let core = self.core();
        // SAFETY: a frame lies below a handler or hook, so its actor is being run, by us.
        unsafe { core.mailbox.queue().give_back() };
        if core.mailbox.has_line() {
            self.grant();
        }
        self.pay_wakes();
        if let Some(span) = &*self.span.borrow() {
            span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
        }
    }

    /// What has to be done before the actor goes back to a run queue with work left.
    pub(super) fn before_requeue(&self) {
        if self.core().mailbox.has_line() {
            self.grant();
        }
    }

    /// Moves on those who stand in line; their wake-ups are owed.
    pub(super) fn grant(&self) {
        self.core().mailbox.grant(&mut self.wakes.borrow_mut());
    }

    pub(super) fn after_wait(&self) {
        if let Some(span) = &*self.span.borrow() {
            span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
        }
    }

    pub(super) fn pay_wakes(&self) {
        let wakes = self.wakes.take();
        wakes.into_iter().for_each(std::task::Waker::wake);
    }

    /// Enters a span, which is left while the handler waits.
    pub(super) fn enter_span(&self, span: Span) {
        span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
        *self.span.borrow_mut() = Some(span);
    }

    pub(super) fn leave_span(&self) {
        if let Some(span) = self.span.take() {
            span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
        }
    }

    /// What an answer is told that is dropped here and now; `Err` gives it back if it has to
    /// wait until the panic's words are known.
    pub(super) fn failure_of_dropped() -> DroppedHere {
        match Self::current() {
            None => DroppedHere::Settle(Failure::Dropped),
            Some(frame) => {
                if let Some(reason) = &*frame.ending.borrow() {
                    DroppedHere::Settle(Failure::Ended(reason.clone()))
                } else if std::thread::panicking() {
                    DroppedHere::Keep(frame)
                } else {
                    DroppedHere::Settle(Failure::Dropped)
                }
            }
        }
    }

    pub(super) fn keep_unwound(&self, debt: Box<dyn Debt>) {
        self.unwound.borrow_mut().push(debt);
    }

    /// Tells those whose answers were dropped by a panic what it said.
    pub(super) fn settle_unwound(&self, reason: &StopReason) {
        let failure = Failure::Ended(reason.clone());
        for debt in self.unwound.take() {
            debt.settle(&failure);
        }
    }

    /// From now on answers that are dropped here say that the actor has ended.
    pub(super) fn begin_ending(&self, reason: &StopReason) {
        *self.ending.borrow_mut() = Some(reason.clone());
    }
}

/// What to do with an answer that is dropped.
pub(super) enum DroppedHere {
    /// Tell its asker so.
    Settle(Failure),
    /// Keep it until the panic's words are known.
    Keep(&'static Frame),
}

/// While this lives, the frame is the current one.
pub(super) struct Entered<'a>(&'a Frame);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        set_context(self.0.before.get());
    }
}
