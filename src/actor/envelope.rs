//! A message on its way: 56 bytes, whatever its type.
//!
//! A message of up to 40 bytes lies in the envelope itself, a larger one in a box, that of a timer
//! in the timer, which may have been cancelled when its turn comes. The type is
//! known by a table of functions; the reply, if one is asked for, by a raw count of its cell,
//! whose type that table knows too.
#![expect(
    unsafe_code,
    reason = "holds messages of any type as bytes, and knows them by a table"
)]

use std::any::{TypeId, type_name};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use tracing::Span;

use super::DeferredHandler;
use super::ask::ReplyTo;
use super::asked::{Answer, Outcome};
use super::context::Context;
use super::frame::Failure;
use super::reply::ReplyCell;
use super::timer::{Entry, InHand};
use crate::mailbox::{SegmentCache, Stash, Stored};
use crate::unwind::drop_quietly;

/// What became of a message that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ran {
    Handled,
    /// The asker had gone, or the timer was cancelled; it was not run.
    Cancelled,
}

type Payload = [MaybeUninit<u64>; 5];

/// What is known of a message by its actor's and its own type, and by where it lies.
pub(super) struct Vtable {
    pub(super) message_type: fn() -> &'static str,
    /// The type of the message that lies in the envelope or its box.
    pub(super) message_id: fn() -> TypeId,
    boxed: bool,
    /// Runs the message on the actor. Both pointers are of the types that the table is for.
    run: unsafe fn(NonNull<Envelope>, &dyn Fn(), *mut (), *mut ()) -> Ran,
    /// Drops the message and fails its reply.
    discard: unsafe fn(&mut Payload, *const (), &Failure),
    /// The span in which the message was sent, if it was recorded.
    origin: unsafe fn(&Payload) -> Option<&Span>,
}

/// What travels in a box: a large message, or one whose sender's span is recorded.
struct Boxed<M> {
    message: M,
    origin: Option<Span>,
}

/// A message on its way.
pub(crate) struct Envelope {
    vtable: &'static Vtable,
    /// A count of the reply's cell, or null.
    reply: *const (),
    payload: Payload,
}

// SAFETY: it holds a message and a reply, both `Send` by the bounds of `new`, and a table that
// is shared by all.
unsafe impl Send for Envelope {}

impl Envelope {
    /// Wraps a message for an actor of type `A`.
    #[inline]
    pub(super) fn new<A, M>(message: M, reply: Option<Answer<A::Reply>>) -> Self
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let origin = current_span();
        let reply = reply.map_or(ptr::null(), |cell| Arc::into_raw(cell).cast());
        if fits::<M>() && origin.is_none() {
            let mut payload = [MaybeUninit::uninit(); 5];
            // SAFETY: `fits` says that the payload has the size and alignment.
            unsafe { payload.as_mut_ptr().cast::<M>().write(message) };
            Self {
                vtable: const { &Inline::<A, M>::VTABLE },
                reply,
                payload,
            }
        } else {
            Self::boxed::<A, M>(message, reply, origin)
        }
    }

    /// Wraps a timer, which has the message when its turn comes, or has it no more.
    pub(super) fn of_timer<A, M>(timer: Arc<Entry<A, M>>) -> Self
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let mut payload = [MaybeUninit::uninit(); 5];
        const { assert!(fits::<Arc<Entry<A, M>>>()) };
        // SAFETY: the payload has the size and alignment.
        unsafe { payload.as_mut_ptr().cast::<Arc<Entry<A, M>>>().write(timer) };
        Self {
            vtable: const { &OfTimer::<A, M>::VTABLE },
            reply: ptr::null(),
            payload,
        }
    }

    fn boxed<A, M>(message: M, reply: *const (), origin: Option<Span>) -> Self
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let boxed = Box::new(Boxed { message, origin });
        let mut payload = [MaybeUninit::uninit(); 5];
        payload[0] = MaybeUninit::new(Box::into_raw(boxed).expose_provenance() as u64);
        Self {
            vtable: const { &InBox::<A, M>::VTABLE },
            reply,
            payload,
        }
    }

    pub(super) fn vtable(&self) -> &'static Vtable {
        self.vtable
    }

    /// Whether somebody is to be answered.
    pub(super) fn is_request(&self) -> bool {
        !self.reply.is_null()
    }

    /// The message.
    ///
    /// # Safety
    ///
    /// It is of this type.
    pub(super) unsafe fn message<M>(&self) -> &M {
        if self.vtable.boxed {
            // SAFETY: a boxed payload's first word is initialised.
            let address = unsafe { self.payload[0].assume_init() } as usize;
            // SAFETY: the box lives as long as the envelope, to which the result is bound.
            &unsafe { &*ptr::with_exposed_provenance::<Boxed<M>>(address) }.message
        } else {
            // SAFETY: an inline payload of the type, bound to the envelope.
            unsafe { &*self.payload.as_ptr().cast::<M>() }
        }
    }

    /// The span in which it was sent.
    pub(super) fn origin(&self) -> Option<&Span> {
        // SAFETY: the table is the payload's own.
        unsafe { (self.vtable.origin)(&self.payload) }
    }

    /// Moves the message out of the envelope, calls `moved`, and runs the message.
    ///
    /// The envelope is run where it lies, in its slot, since a move of it costs more than the
    /// rest; `moved` gives the slot up before the handler begins.
    ///
    /// # Safety
    ///
    /// `actor` and `context` point to the `A` and the `Context<A>` for which the envelope was
    /// made, and are not used by others meanwhile. The envelope is not used again.
    #[inline]
    pub(super) unsafe fn run(
        this: NonNull<Self>,
        moved: &dyn Fn(),
        actor: *mut (),
        context: *mut (),
    ) -> Ran {
        // SAFETY: the envelope is whole until the message is moved out.
        let run = unsafe { this.as_ref() }.vtable.run;
        // SAFETY: as the caller says.
        unsafe { run(this, moved, actor, context) }
    }

    /// Drops the message, and tells the asker, if there is one. A panic in the message's `Drop`
    /// ends here.
    pub(super) fn discard(self, failure: &Failure) {
        let mut this = ManuallyDrop::new(self);
        let reply = this.reply;
        // SAFETY: the payload is consumed once, since `this` is not dropped.
        unsafe { (this.vtable.discard)(&mut this.payload, reply, failure) };
    }

    /// Takes the message out again, and the reply's cell, which is not told.
    ///
    /// # Safety
    ///
    /// The envelope was made by `new::<A, M>`.
    pub(super) unsafe fn into_parts<A, M>(self) -> (M, Option<Answer<A::Reply>>)
    where
        A: DeferredHandler<M>,
        M: Send + 'static,
    {
        let this = ManuallyDrop::new(self);
        let reply = (!this.reply.is_null()).then(|| {
            // SAFETY: a count of the cell for this type, which is given out once.
            unsafe { Arc::from_raw(this.reply.cast::<ReplyCell<Outcome<A::Reply>>>()) }
        });
        let message = if this.vtable.boxed {
            // SAFETY: as above.
            unsafe { unbox::<M>(&this.payload) }.message
        } else {
            // SAFETY: an inline payload of the type, consumed once.
            unsafe { this.payload.as_ptr().cast::<M>().read() }
        };
        (message, reply)
    }
}

impl Drop for Envelope {
    fn drop(&mut self) {
        let reply = self.reply;
        // SAFETY: an envelope that is consumed otherwise is not dropped.
        unsafe { (self.vtable.discard)(&mut self.payload, reply, &Failure::Dropped) };
    }
}

impl Stored for Envelope {
    fn with_cache<R>(f: impl FnOnce(&mut SegmentCache<Self>) -> R) -> Option<R> {
        thread_local! {
            static CACHE: std::cell::RefCell<SegmentCache<Envelope>> =
                const { std::cell::RefCell::new(SegmentCache::new()) };
        }
        CACHE.try_with(|cache| f(&mut cache.borrow_mut())).ok()
    }

    fn stash() -> Option<&'static Stash<Self>> {
        static STASH: Stash<Envelope> = Stash::new();
        Some(&STASH)
    }
}

#[inline]
const fn fits<M>() -> bool {
    size_of::<M>() <= size_of::<Payload>() && align_of::<M>() <= align_of::<Payload>()
}

/// The span to record with a message, if somebody listens that closely.
#[inline]
fn current_span() -> Option<Span> {
    if tracing::level_filters::LevelFilter::current() < tracing::Level::TRACE {
        return None;
    }
    let span = Span::current();
    (!span.is_none()).then_some(span)
}

/// # Safety
///
/// The payload holds a `Boxed<M>` that has not been taken.
unsafe fn unbox<M>(payload: &Payload) -> Box<Boxed<M>> {
    // SAFETY: a boxed payload's first word is initialised.
    let address = unsafe { payload[0].assume_init() } as usize;
    // SAFETY: made by `Box::into_raw` for this type, and taken once.
    unsafe { Box::from_raw(ptr::with_exposed_provenance_mut(address)) }
}

/// # Safety
///
/// As for [`Envelope::run`]; `reply` is null or a count of the cell for `A` and `M`.
#[inline]
unsafe fn handle<A, M>(message: M, reply: *const (), actor: *mut (), context: *mut ()) -> Ran
where
    A: DeferredHandler<M>,
    M: Send + 'static,
{
    let reply = if reply.is_null() {
        ReplyTo::nobody()
    } else {
        // SAFETY: as the caller says.
        let cell = unsafe { Arc::from_raw(reply.cast::<ReplyCell<Outcome<A::Reply>>>()) };
        if !cell.begin() {
            drop_quietly(message);
            return Ran::Cancelled;
        }
        ReplyTo::new(cell)
    };
    // SAFETY: as the caller says.
    let actor = unsafe { &mut *actor.cast::<A>() };
    // SAFETY: as the caller says.
    let context = unsafe { &mut *context.cast::<Context<A>>() };
    actor.handle_deferred(message, reply, context);
    Ran::Handled
}

/// # Safety
///
/// `reply` is null or a count of a `ReplyCell<Outcome<R>>` that is ours.
unsafe fn fail<R: Send + 'static>(reply: *const (), failure: &Failure) {
    if !reply.is_null() {
        // SAFETY: as the caller says.
        let cell = unsafe { Arc::from_raw(reply.cast::<ReplyCell<Outcome<R>>>()) };
        // SAFETY: the request was not handled, so nobody else answers.
        unsafe { cell.complete(Err(failure.to_ask_error())) };
        drop_quietly(cell);
    }
}

/// The table of messages that lie in the envelope.
struct Inline<A, M>(std::marker::PhantomData<(A, M)>);

impl<A: DeferredHandler<M>, M: Send + 'static> Inline<A, M> {
    const VTABLE: Vtable = Vtable {
        message_type: type_name::<M>,
        message_id: TypeId::of::<M>,
        boxed: false,
        run: Self::run,
        discard: Self::discard,
        origin: Self::origin,
    };

    unsafe fn run(
        envelope: NonNull<Envelope>,
        moved: &dyn Fn(),
        actor: *mut (),
        context: *mut (),
    ) -> Ran {
        // SAFETY: the envelope is not used after this, says the caller.
        let envelope = unsafe { envelope.as_ref() };
        let reply = envelope.reply;
        // SAFETY: the payload holds an `M`, consumed once.
        let message = unsafe { envelope.payload.as_ptr().cast::<M>().read() };
        moved();
        // SAFETY: as the caller says.
        unsafe { handle::<A, M>(message, reply, actor, context) }
    }

    unsafe fn discard(payload: &mut Payload, reply: *const (), failure: &Failure) {
        // SAFETY: the payload holds an `M`, consumed once.
        drop_quietly(unsafe { payload.as_ptr().cast::<M>().read() });
        // SAFETY: as the caller says.
        unsafe { fail::<A::Reply>(reply, failure) };
    }

    unsafe fn origin(_: &Payload) -> Option<&Span> {
        None
    }
}

/// The table of messages that lie in a box.
struct InBox<A, M>(std::marker::PhantomData<(A, M)>);

impl<A: DeferredHandler<M>, M: Send + 'static> InBox<A, M> {
    const VTABLE: Vtable = Vtable {
        message_type: type_name::<M>,
        message_id: TypeId::of::<M>,
        boxed: true,
        run: Self::run,
        discard: Self::discard,
        origin: Self::origin,
    };

    unsafe fn run(
        envelope: NonNull<Envelope>,
        moved: &dyn Fn(),
        actor: *mut (),
        context: *mut (),
    ) -> Ran {
        // SAFETY: the envelope is not used after this, says the caller.
        let envelope = unsafe { envelope.as_ref() };
        let reply = envelope.reply;
        // SAFETY: the payload holds a `Boxed<M>`, consumed once.
        let boxed = unsafe { unbox::<M>(&envelope.payload) };
        moved();
        // SAFETY: as the caller says.
        unsafe { handle::<A, M>(boxed.message, reply, actor, context) }
    }

    unsafe fn discard(payload: &mut Payload, reply: *const (), failure: &Failure) {
        // SAFETY: the payload holds a `Boxed<M>`, consumed once.
        drop_quietly(unsafe { unbox::<M>(payload) });
        // SAFETY: as the caller says.
        unsafe { fail::<A::Reply>(reply, failure) };
    }

    unsafe fn origin(payload: &Payload) -> Option<&Span> {
        // SAFETY: a boxed payload's first word is initialised.
        let address = unsafe { payload[0].assume_init() } as usize;
        // SAFETY: the box lives as long as the envelope, to which the result is bound.
        let boxed = unsafe { &*ptr::with_exposed_provenance::<Boxed<M>>(address) };
        boxed.origin.as_ref()
    }
}

/// The table of messages that a timer keeps until their turn.
struct OfTimer<A, M>(std::marker::PhantomData<(A, M)>);

impl<A: DeferredHandler<M>, M: Send + 'static> OfTimer<A, M> {
    const VTABLE: Vtable = Vtable {
        message_type: type_name::<M>,
        // Its payload is no message.
        message_id: TypeId::of::<Self>,
        boxed: false,
        run: Self::run,
        discard: Self::discard,
        origin: Self::origin,
    };

    unsafe fn run(
        envelope: NonNull<Envelope>,
        moved: &dyn Fn(),
        actor: *mut (),
        context: *mut (),
    ) -> Ran {
        // SAFETY: the envelope is not used after this, says the caller.
        let envelope = unsafe { envelope.as_ref() };
        // SAFETY: the payload holds a count of the timer, consumed once.
        let timer = unsafe { envelope.payload.as_ptr().cast::<Arc<Entry<A, M>>>().read() };
        moved();
        // SAFETY: as the caller says; the handler has not got it yet.
        let core = unsafe { &*context.cast::<Context<A>>() }.cell().core();
        let Some(message) = timer.begin(core) else {
            return Ran::Cancelled;
        };
        let _in_hand = InHand(&timer);
        // SAFETY: as the caller says.
        unsafe { handle::<A, M>(message, ptr::null(), actor, context) }
    }

    unsafe fn discard(payload: &mut Payload, _: *const (), _: &Failure) {
        // SAFETY: the payload holds a count of the timer, consumed once.
        unsafe { payload.as_ptr().cast::<Arc<Entry<A, M>>>().read() }.discard();
    }

    unsafe fn origin(_: &Payload) -> Option<&Span> {
        None
    }
}
