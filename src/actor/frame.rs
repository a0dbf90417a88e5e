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
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;
use tracing::level_filters::LevelFilter;

use super::core::Core;
use crate::error::{AskError, StopReason};
use crate::executor::park::{context, set_context};
use crate::executor::post;
use crate::mailbox::Wakes;
use crate::unwind::wake_quietly;
use crate::waits::Identity;

/// How long wake-ups are owed at most while handlers run one after another.
const BETWEEN_PAYMENTS: Duration = Duration::from_micros(50);

/// An answer in debt, whatever its type.
pub(super) trait Debt {
    fn settle(self: Box<Self>, failure: &Failure);
}

/// Why requests are not answered, in a form that can be told to any number of askers.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    Dropped,
    /// The actor ended for this reason before the request's turn came.
    Ended(StopReason),
    /// The request was in hand, or its answer in debt, when the actor panicked.
    Panicked(Arc<str>),
}

impl Failure {
    /// For answers that were in debt when the actor ended.
    pub(super) fn of_ending(reason: &StopReason) -> Self {
        match reason {
            StopReason::Panicked { message } => Self::Panicked(message.clone()),
            reason => Self::Ended(reason.clone()),
        }
    }

    pub(super) fn to_ask_error(&self) -> AskError {
        match self {
            Self::Dropped => AskError::Dropped,
            Self::Panicked(message) => AskError::Panicked {
                message: message.clone(),
            },
            Self::Ended(reason) => AskError::Stopped {
                reason: reason.clone(),
            },
        }
    }
}

/// See the [module](self). Most turns use nothing but the pointer to the core, so the rest is
/// allocated when it is first needed.
pub(super) struct Frame {
    core: *const Core,
    actor_type: fn() -> &'static str,
    before: Cell<*const ()>,
    extra: RefCell<Option<Box<Extra>>>,
}

#[derive(Default)]
struct Extra {
    /// Replies that were dropped while a handler unwinds; the panic's words are not known yet.
    unwound: Vec<Box<dyn Debt>>,
    /// Why the actor that is being dropped has ended.
    ending: Option<StopReason>,
    /// Wake-ups owed to senders that stood in line.
    wakes: Wakes,
    /// When wake-ups were paid last in this turn.
    paid: Option<Instant>,
    /// The span of the message in hand, if somebody listens.
    span: Option<Span>,
    /// The spans that were left for the wait in hand, the innermost first.
    left: Vec<Span>,
}

impl Frame {
    #[inline]
    pub(super) fn new(core: &Core, actor_type: fn() -> &'static str) -> Self {
        Self {
            core,
            actor_type,
            before: Cell::new(ptr::null()),
            extra: RefCell::new(None),
        }
    }

    /// Runs `f` on the rarely used part. `f` must not run code of the user's.
    pub(super) fn with_wakes<R>(&self, f: impl FnOnce(&mut Wakes) -> R) -> R {
        self.with_extra(|extra| f(&mut extra.wakes))
    }

    fn with_extra<R>(&self, f: impl FnOnce(&mut Extra) -> R) -> R {
        f(self.extra.borrow_mut().get_or_insert_default())
    }

    /// Makes this the current frame until the guard is dropped. The frame must not be moved
    /// meanwhile, which its borrow sees to.
    pub(super) fn enter(&self) -> Entered<'_> {
        self.before.set(set_context(ptr::from_ref(self).cast()));
        post::begin(self.core.addr(), &self.core().runtime.watch);
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

    pub(super) fn identity(&self) -> Identity {
        self.core().identity((self.actor_type)())
    }

    /// What has to be done before a handler parks: room is given back, those who stand in line
    /// move on, wake-ups are paid, spans are left.
    pub(super) fn before_wait(&self) {
        let core = self.core();
        // SAFETY: a frame lies below a handler or hook, so its actor is being run, by us.
        let has_line = unsafe { core.mailbox.queue().give_back() };
        if has_line {
            self.grant();
        }
        if self.extra.borrow().is_some() {
            self.pay_wakes();
            self.settle_all(&Failure::Dropped);
        }
        if LevelFilter::current() != LevelFilter::OFF {
            self.leave_all_spans();
        }
    }

    /// Leaves all spans that are entered on this thread, the handler's own ones and those around
    /// it, so that nobody who runs here meanwhile finds them.
    #[cold]
    fn leave_all_spans(&self) {
        // Nobody enters as many; a subscriber whose current span does not change would not end.
        const MOST: usize = 256;
        let mut left = Vec::new();
        while left.len() < MOST {
            let span = Span::current();
            if span.is_none() {
                break;
            }
            span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
            left.push(span);
        }
        if !left.is_empty() {
            self.with_extra(|extra| extra.left.append(&mut left));
        }
    }

    /// What has to be done before the actor goes back to a run queue with work left.
    pub(super) fn before_requeue(&self) {
        if self.core().mailbox.has_line() {
            self.grant();
        }
    }

    /// Moves on those who stand in line, before a handler runs.
    ///
    /// Waking a thread costs more than most handlers, so wake-ups are paid in bulk: the first
    /// in a turn at once, later ones when the last payment is some time ago, and all at the end
    /// of the turn. So a slow handler keeps nobody waiting who has his room, and a batch of
    /// quick ones pays a few times.
    pub(super) fn grant_in_passing(&self) {
        self.grant();
        let now = self.core().runtime.now();
        let due = self.with_extra(|extra| {
            let due = !extra.wakes.is_empty()
                && extra.paid.is_none_or(|paid| now - paid >= BETWEEN_PAYMENTS);
            if due {
                extra.paid = Some(now);
            }
            due
        });
        if due {
            self.pay_wakes();
        }
    }

    /// Moves on those who stand in line; their wake-ups are owed.
    pub(super) fn grant(&self) {
        // A grant wakes nobody and runs no code of the user's.
        self.with_wakes(|wakes| self.core().mailbox.grant(wakes));
    }

    /// Enters the spans again that were left.
    pub(super) fn after_wait(&self) {
        let left = match &mut *self.extra.borrow_mut() {
            Some(extra) => std::mem::take(&mut extra.left),
            None => return,
        };
        for span in left.into_iter().rev() {
            span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
        }
    }

    #[inline]
    pub(super) fn pay_wakes(&self) {
        if self.extra.borrow().is_some() {
            let wakes = self.with_wakes(std::mem::take);
            wakes.into_iter().for_each(wake_quietly);
        }
    }

    /// Enters a span, which is left while the handler waits.
    pub(super) fn enter_span(&self, span: Span) {
        span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
        self.with_extra(|extra| extra.span = Some(span));
    }

    pub(super) fn leave_span(&self) {
        let span = self
            .extra
            .borrow_mut()
            .as_mut()
            .and_then(|extra| extra.span.take());
        if let Some(span) = span {
            span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
        }
    }

    /// What an answer is told that is dropped here and now; `Err` gives it back if it has to
    /// wait until the panic's words are known.
    pub(super) fn failure_of_dropped() -> DroppedHere {
        match Self::current() {
            None => DroppedHere::Settle(Failure::Dropped),
            Some(frame) => {
                let ending = frame
                    .extra
                    .borrow()
                    .as_ref()
                    .and_then(|extra| extra.ending.clone());
                if let Some(reason) = ending {
                    DroppedHere::Settle(Failure::of_ending(&reason))
                } else if std::thread::panicking() {
                    DroppedHere::Keep(frame)
                } else {
                    DroppedHere::Settle(Failure::Dropped)
                }
            }
        }
    }

    pub(super) fn keep_unwound(&self, debt: Box<dyn Debt>) {
        self.with_extra(|extra| extra.unwound.push(debt));
    }

    /// Tells those whose answers were dropped by a panic what became of it.
    #[inline]
    pub(super) fn settle_unwound(&self, failure: &Failure) {
        if self.extra.borrow().is_some() {
            self.settle_all(failure);
        }
    }

    fn settle_all(&self, failure: &Failure) {
        let unwound = self.with_extra(|extra| std::mem::take(&mut extra.unwound));
        for debt in unwound {
            debt.settle(failure);
        }
    }

    /// From now on answers that are dropped here say that the actor has ended.
    pub(super) fn begin_ending(&self, reason: &StopReason) {
        self.with_extra(|extra| extra.ending = Some(reason.clone()));
    }

    /// The actor may have another life, whose answers are its own.
    pub(super) fn end_ending(&self) {
        self.with_extra(|extra| extra.ending = None);
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
        post::end();
    }
}
