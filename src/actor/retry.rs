//! Messages at which an actor has panicked, and which its next life tries again.
//!
//! A supervised actor may keep a copy of a message of certain types while it handles it. If the
//! handler panics, and the message was not tried as often as it may be, the copy waits for the next
//! life, which handles it before what is queued; meanwhile it counts as queued.
#![expect(unsafe_code, reason = "copies messages out of their envelopes")]

use std::any::TypeId;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::DeferredHandler;
use super::envelope::Envelope;
use crate::unwind::run_quietly;

/// How often messages of which types are tried again.
#[derive(Default)]
pub(crate) struct Retries(BTreeMap<TypeId, Rule>);

struct Rule {
    times: u32,
    copy: Box<dyn Copies>,
}

/// Copies the messages of one type.
trait Copies: Send + Sync {
    /// # Safety
    ///
    /// The envelope holds a message of the type.
    unsafe fn copy(&self, envelope: &Envelope) -> Envelope;
}

struct Copier<A, M>(PhantomData<fn() -> (A, M)>);

impl<A: DeferredHandler<M>, M: Clone + Send + 'static> Copies for Copier<A, M> {
    unsafe fn copy(&self, envelope: &Envelope) -> Envelope {
        // SAFETY: as the caller says.
        let message = unsafe { envelope.message::<M>() };
        Envelope::new::<A, M>(message.clone(), None)
    }
}

impl Retries {
    pub(crate) fn add<A, M>(&mut self, times: u32)
    where
        A: DeferredHandler<M>,
        M: Clone + Send + 'static,
    {
        let copy = Box::new(Copier::<A, M>(PhantomData));
        self.0.insert(TypeId::of::<M>(), Rule { times, copy });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy of the message that is to be handled, if it may be tried again. `tried` says how
    /// often it was before.
    pub(super) fn keep(&self, envelope: NonNull<Envelope>, tried: u32) -> Option<Kept> {
        // SAFETY: it is whole until its message is moved out to be handled.
        let envelope = unsafe { envelope.as_ref() };
        let rule = self.0.get(&(envelope.vtable().message_id)())?;
        if envelope.is_request() || tried >= rule.times {
            return None;
        }
        // SAFETY: the rule was found by the message's type.
        let copy = || unsafe { rule.copy.copy(envelope) };
        let envelope = run_quietly("the `Clone` of a message", copy)?;
        Some(Kept {
            envelope,
            tried: tried + 1,
        })
    }
}

/// A copy of a message.
pub(super) struct Kept {
    pub(super) envelope: Envelope,
    /// How often it will have been tried before.
    pub(super) tried: u32,
}
