//! The members of a router, and which of them have ended.

use std::sync::Arc;
use std::time::Duration;

use crate::actor::Known;
use crate::id::ActorId;
use crate::random::mix;
use crate::runtime::Runtime;
use crate::sync::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Addresses, of which some may have ended. The marks are changed once for each member, so senders
/// only read here.
pub(super) struct Members<T: ?Sized> {
    all: Vec<Member<T>>,
    /// How many have ended.
    ended: AtomicUsize,
    id: ActorId,
}

pub(super) struct Member<T: ?Sized> {
    pub(super) to: Arc<T>,
    /// What tells it apart where keys are spread.
    pub(super) hash: u64,
    has_ended: AtomicBool,
}

impl<T: Known + ?Sized> Members<T> {
    #[track_caller]
    pub(super) fn new(addresses: impl Iterator<Item = Arc<T>>) -> Self {
        let mut all: Vec<Member<T>> = Vec::new();
        for to in addresses {
            // Who is given again is another member; so is one of another system, by the same id.
            let before = all.iter().filter(|member| member.to.id() == to.id());
            let hash = mix(mix(to.id().as_u64()).wrapping_add(before.count() as u64));
            all.push(Member {
                to,
                hash,
                has_ended: AtomicBool::new(false),
            });
        }
        let first = all.first().expect("a router has at least one member");
        let (id, _) = first.to.runtime().nowhere();
        Self {
            all,
            ended: AtomicUsize::new(0),
            id,
        }
    }

    pub(super) fn id(&self) -> ActorId {
        self.id
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.first().to.runtime()
    }

    pub(super) fn first(&self) -> &Member<T> {
        &self.all[0]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Member<T>> {
        self.all.iter()
    }

    /// How many messages the least loaded of those has that have not ended.
    pub(super) fn load(&self) -> usize {
        let loads = self.living().map(|member| member.to.load());
        loads.min().unwrap_or(0)
    }

    /// Those that are not known to have ended, in order.
    pub(super) fn living(&self) -> impl Iterator<Item = &Member<T>> {
        self.all.iter().filter(|member| !member.has_ended())
    }

    /// How many are not known to have ended.
    pub(super) fn living_count(&self) -> usize {
        // ORDERING: Relaxed: nothing is published through it, nor through the marks.
        self.all.len() - self.ended.load(Relaxed)
    }

    /// The one at this place among those that are not known to have ended; another of them if one
    /// ends meanwhile, `None` if all have ended.
    pub(super) fn nth_living(&self, place: usize) -> Option<&Member<T>> {
        if self.living_count() == self.all.len() {
            return self.all.get(place);
        }
        self.living().nth(place).or_else(|| self.living().next())
    }

    /// Notes that it has ended.
    pub(super) fn end(&self, member: &Member<T>) {
        // ORDERING: Relaxed, as above.
        if !member.has_ended.swap(true, Relaxed) {
            self.ended.fetch_add(1, Relaxed);
        }
    }
}

impl<T: ?Sized> Member<T> {
    fn has_ended(&self) -> bool {
        // ORDERING: Relaxed, as above.
        self.has_ended.load(Relaxed)
    }
}

/// The time that several sends may take in all.
pub(super) struct Patience(Duration);

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self(limit)
    }

    /// Runs a send to this member in the time that is left.
    pub(super) fn spend<Out>(
        &mut self,
        to: &(impl Known + ?Sized),
        send: impl FnOnce(Duration) -> Out,
    ) -> Out {
        let begun = to.runtime().now();
        let out = send(self.0);
        let spent = to.runtime().now().saturating_duration_since(begun);
        self.0 = self.0.saturating_sub(spent);
        out
    }
}
