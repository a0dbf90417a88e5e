//! What an actor belongs to, and leaves at its end: its name.
//!
//! It is in the actor's rare part, under that lock. An actor leaves everything once, after
//! `stopped` and before anybody is told of its end. So whoever has seen the end finds the name free.

use super::core::{Core, Rare};
use crate::runtime::Registration;
use crate::sync::Mutex;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Memberships {
    name: Option<Registration>,
}

impl Core {
    /// A core that has this name, if any.
    pub(super) fn with_registration(mut self, registration: Option<&Registration>) -> Self {
        if let Some(registration) = registration {
            let mut rare = Box::<Rare>::default();
            rare.memberships.name = Some(registration.clone());
            self.rare = Mutex::new(Some(rare));
        }
        self
    }

    /// Has those who wait for this actor's name look again: it had no address, and has one.
    #[cold]
    pub(super) fn has_address_again(&self) {
        let rare = self.rare.lock();
        let name = rare.as_ref().and_then(|rare| rare.memberships.name.clone());
        drop(rare);
        if let Some(name) = name {
            self.runtime.names.call_waiters(name.key());
        }
    }

    /// Leaves all that the actor belongs to.
    pub(super) fn leave_all(&self) {
        let name = self.with_rare(|rare| rare.memberships.name.take());
        if let Some(name) = name {
            self.runtime.names.release(&name);
        }
    }
}
