//! The part of an actor's cell that does not depend on the actor's type.
//!
//! # Who may touch what
//!
//! | field | written by |
//! |---|---|
//! | `mailbox` | senders and the runner, by its protocol |
//! | `orders` | anybody sets bits, the runner takes them; see [`orders`](super::orders) |
//! | `stage`, counts, `in_hand`, `watches_rest` | the runner: whoever holds the mailbox's claim |
//! | `wait_slot` | the handler that waits |
//! | `addresses` | holders of addresses |
//! | `rare` | anybody, under its lock |
#![expect(
    unsafe_code,
    reason = "reads the table of the message in hand, a constant"
)]

use std::any::Any;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;
use std::task::{Poll, Waker};

use tracing::Span;

use super::cell::Target;
use super::envelope::{Envelope, Vtable};
use super::family::{Family, Kinship};
use super::frame::{self, Frame};
use super::memberships::Memberships;
use super::orders::{INTERRUPTING, KILL, Orders, REVIVE, START};
use super::retry::{Kept, Retries};
use super::slot::WaitSlot;
use super::timer::OwnTimers;
use super::wait::Record;
use super::watch::Ties;
use crate::error::{Failure, StopReason};
use crate::executor::thread::OwnThread;
use crate::id::ActorId;
use crate::mailbox::{Mailbox, Overflow, Wakes};
use crate::observe::{Counts, DeadLetter, LossReason, OwnCount, SharedCount};
use crate::runtime::{Residence, Runtime};
use crate::sync::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Mutex,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::waits::Identity;

/// How far an actor's life has come. Written by its runner.
pub(crate) mod stage {
    /// It handles messages.
    pub(crate) const LIVE: u8 = 0;
    /// Its mailbox is closed; it handles what is queued, then ends.
    pub(crate) const DRAINING: u8 = 1;
    /// It ends; what is queued becomes dead letters.
    pub(crate) const ENDING: u8 = 2;
    /// It has ended.
    pub(crate) const ENDED: u8 = 3;
    /// One of its lives ends; its mailbox stays open for the next one.
    pub(crate) const FALLING: u8 = 4;
    /// It is between two lives, or before its first one.
    pub(crate) const DOWN: u8 = 5;
}

/// What is set at the spawn and differs from the default.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) name: Option<Arc<str>>,
    pub(super) overflow: Overflow,
    pub(super) thread: Option<Arc<OwnThread>>,
    /// Whether threads that wait with a limit, and tasks that await, may run it too.
    pub(super) runs_on_callers: bool,
    /// Whose child it is.
    pub(super) kinship: Option<Kinship>,
    pub(super) retries: Retries,
}

/// What few actors need, or only at their end.
#[derive(Default)]
pub(crate) struct Rare {
    /// Why it ends, as far as is known; set before the mailbox is closed.
    pub(super) reason: Option<StopReason>,
    /// Messages that were taken and became dead letters.
    pub(super) dead_lettered: u64,
    /// Who waits for its end, by a number.
    pub(super) joiners: BTreeMap<u64, Waker>,
    next_joiner: u64,
    /// Its timers, which end with it.
    pub(super) timers: OwnTimers,
    /// Its name and its groups, which it leaves at its end.
    pub(super) memberships: Memberships,
    /// The span of its life, if somebody listens.
    pub(super) span: Option<Span>,
    /// Makes the actor of each of its lives, if it is supervised: a `Factory` of its type.
    pub(super) factory: Option<Box<dyn Any + Send>>,
    /// Why it has failed, until that is obeyed.
    pub(super) failed: Option<StopReason>,
    /// The message at which it has failed.
    pub(super) failed_at: Option<&'static str>,
    /// A copy of the message in hand, or of the one that the next life begins with.
    pub(super) kept: Option<Kept>,
    /// Why its last life ended.
    pub(super) failure: Option<Failure>,
    /// How many lives it has begun, if it is supervised.
    pub(super) lives: u64,
    /// Its parent has given it up.
    pub(super) is_stuck: bool,
    pub(crate) family: Family,
    pub(super) ties: Ties,
}

/// The part of a cell that does not depend on the actor's type.
pub(crate) struct Core {
    pub(super) mailbox: Mailbox<Envelope>,
    /// Strong addresses. They hold one count of the cell together.
    pub(super) addresses: AtomicUsize,
    pub(super) orders: Orders,
    pub(super) stage: AtomicU8,
    /// Whether a timer has to know when a turn ends with nothing left to handle.
    pub(super) watches_rest: AtomicBool,
    /// The table of the message in hand, or null.
    pub(super) in_hand: AtomicPtr<Vtable>,
    pub(super) wait_slot: WaitSlot<Record<'static>>,
    pub(super) taken: OwnCount,
    pub(super) handled: OwnCount,
    pub(super) cancelled: OwnCount,
    /// Ticks of the clock's stamps that its handlers have waited.
    pub(super) waited: OwnCount,
    pub(super) dropped: SharedCount,
    pub(super) rejected: SharedCount,
    pub(super) settings: Option<Box<Settings>>,
    pub(super) rare: Mutex<Option<Box<Rare>>>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) id: ActorId,
    /// Where it is in the register.
    pub(super) residence: Residence,
}

impl Core {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        id: ActorId,
        residence: Residence,
        capacity: usize,
        settings: Option<Box<Settings>>,
    ) -> Self {
        Self {
            mailbox: Mailbox::new(capacity),
            addresses: AtomicUsize::new(1),
            orders: Orders::new(START),
            stage: AtomicU8::new(stage::LIVE),
            watches_rest: AtomicBool::new(false),
            in_hand: AtomicPtr::new(ptr::null_mut()),
            wait_slot: WaitSlot::new(),
            taken: OwnCount::new(),
            handled: OwnCount::new(),
            cancelled: OwnCount::new(),
            waited: OwnCount::new(),
            dropped: SharedCount::new(),
            rejected: SharedCount::new(),
            settings,
            rare: Mutex::new(None),
            runtime,
            id,
            residence,
        }
    }

    /// For an actor of which nobody knows yet: it is held before its first life.
    pub(super) fn begin_down(&mut self, factory: Box<dyn Any + Send>) {
        self.with_rare(|rare| rare.factory = Some(factory));
        self.orders = Orders::held();
        self.mailbox.queue().signal();
        self.mailbox.queue().claim();
        self.set_stage(stage::DOWN);
    }

    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.settings.as_ref()?.name.as_ref()
    }

    pub(super) fn identity(&self, actor_type: &'static str) -> Identity {
        Identity {
            id: self.id,
            name: self.name().cloned(),
            actor_type,
        }
    }

    pub(super) fn overflow(&self) -> Overflow {
        self.settings
            .as_ref()
            .map_or_else(Overflow::default, |settings| settings.overflow)
    }

    /// Whether whoever waits here may run this actor meanwhile: a thread outside may, a handler
    /// only if the actor allows it, since the handler cannot be killed while it lies below.
    #[inline]
    pub(super) fn may_be_run_by_caller(&self) -> bool {
        Frame::current().is_none() || self.runs_on_callers()
    }

    pub(super) fn runs_on_callers(&self) -> bool {
        let settings = self.settings.as_ref();
        settings.is_some_and(|settings| settings.runs_on_callers)
    }

    pub(crate) fn with_rare<R>(&self, f: impl FnOnce(&mut Rare) -> R) -> R {
        f(self.rare.lock().get_or_insert_default())
    }

    /// How often it has been started again.
    pub(crate) fn restarts(&self) -> u64 {
        let lives = self.with_rare_if_any(|rare| rare.lives);
        lives.unwrap_or(0).saturating_sub(1)
    }

    pub(super) fn with_rare_if_any<R>(&self, f: impl FnOnce(&Rare) -> R) -> Option<R> {
        self.rare.lock().as_deref().map(f)
    }

    /// Whether a life that ends for this reason is followed by another one, unless the supervisor
    /// gives the actor up.
    pub(super) fn comes_back_after(&self, reason: &StopReason) -> bool {
        let kinship = self
            .settings
            .as_ref()
            .and_then(|settings| settings.kinship.as_ref());
        kinship.is_some_and(|kinship| kinship.comes_back_after(reason))
    }

    /// Whether it waits for its children to end.
    pub(super) fn has_children_to_stop(&self) -> bool {
        matches!(self.stage(), stage::ENDING | stage::FALLING)
            && self.with_rare_if_any(|rare| rare.family.is_quiet()) == Some(false)
    }

    /// Whether this other actor may go on only when this one has ended, which it does or is ordered to:
    /// it is one of its parents, which ends too; or, if [others have ordered it](Self::is_told_to_end),
    /// a sibling of it or of one of its parents, which is down and may be started again later.
    pub(super) fn is_awaited_by(&self, other: &Self, is_told: bool) -> bool {
        let ends = matches!(other.stage(), stage::FALLING | stage::ENDING);
        let is_down = other.stage() == stage::FALLING || other.stays_down();
        let may_be_sibling = is_down && is_told;
        if !ends && !may_be_sibling {
            return false;
        }
        let parent_of_other = other.parent();
        let mut parent = self.parent();
        while let Some(next) = parent {
            let is_parent = ends && ptr::eq(next.core(), other);
            let is_sibling = may_be_sibling
                && parent_of_other
                    .as_ref()
                    .is_some_and(|parent| ptr::eq(parent.core(), next.core()));
            if is_parent || is_sibling {
                return true;
            }
            parent = next.core().parent();
        }
        false
    }

    /// Whether others have ordered this life to end, which it may do by now.
    pub(super) fn is_told_to_end(&self) -> bool {
        if self.orders.standing() & INTERRUPTING != 0 {
            return true;
        }
        let reason = self.with_rare_if_any(|rare| match self.stage() {
            stage::FALLING => rare.failure.as_ref().map(|failure| failure.reason.clone()),
            _ => rare.reason.clone(),
        });
        matches!(
            reason.flatten(),
            Some(
                StopReason::Restarted
                    | StopReason::ParentEnded
                    | StopReason::Removed
                    | StopReason::Shutdown
            )
        )
    }

    pub(super) fn parent(&self) -> Option<Arc<dyn Target>> {
        self.kinship()?.parent.target()
    }

    pub(crate) fn kinship(&self) -> Option<&Kinship> {
        self.settings.as_ref()?.kinship.as_ref()
    }

    /// Why it ends or has ended.
    pub(super) fn reason(&self) -> Option<StopReason> {
        self.with_rare_if_any(|rare| rare.reason.clone())?
    }

    /// Whether it is between two lives, and none is about to begin.
    pub(super) fn stays_down(&self) -> bool {
        // Looked at before the stage: the runner makes it `LIVE` before it takes the order away.
        let is_revived = self.orders.standing() & REVIVE != 0;
        !is_revived && self.stage() == stage::DOWN
    }

    pub(super) fn is_killed(&self) -> bool {
        self.orders.standing() & KILL != 0
    }

    pub(crate) fn stage(&self) -> u8 {
        // ORDERING: Acquire pairs with the Release in `set_stage`.
        self.stage.load(Acquire)
    }

    pub(super) fn set_stage(&self, stage: u8) {
        // ORDERING: Release: who sees the end sees what the actor did.
        self.stage.store(stage, Release);
    }

    pub(super) fn counts(&self) -> Counts {
        let in_hand = self.message_in_hand().is_some();
        let (dead_lettered, kept) = self
            .with_rare_if_any(|rare| (rare.dead_lettered, rare.kept.is_some() && !in_hand))
            .unwrap_or_default();
        let counts = self.counts_of(dead_lettered, self.dropped.get(), self.rejected.get());
        Counts {
            queued: counts.queued + u64::from(kept),
            ..counts
        }
    }

    /// Whether it keeps copies of some messages while it handles them.
    #[inline]
    pub(super) fn retries(&self) -> Option<&Retries> {
        let settings = self.settings.as_ref()?;
        (!settings.retries.is_empty()).then_some(&settings.retries)
    }

    /// The last counts, for the runner at the end. Senders that are refused later are counted
    /// by the register.
    pub(super) fn close_books(&self, dead_lettered: u64) -> Counts {
        self.counts_of(dead_lettered, self.dropped.close(), self.rejected.close())
    }

    /// Counts a message that was refused and goes back to its sender.
    pub(super) fn count_rejected(&self) {
        if !self.rejected.increment() {
            let late = Counts {
                rejected: 1,
                ..Counts::default()
            };
            self.runtime.add_departed(self.id, late);
        }
    }

    /// Counts a message that was taken and dropped by the policy.
    pub(super) fn count_dropped(&self) {
        if !self.dropped.increment() {
            let late = Counts {
                accepted: 1,
                dropped: 1,
                ..Counts::default()
            };
            self.runtime.add_departed(self.id, late);
        }
    }

    fn counts_of(&self, dead_lettered: u64, dropped: u64, rejected: u64) -> Counts {
        let queued = self.mailbox.queue().len() as u64;
        Counts {
            accepted: self.taken.get() + dropped + queued,
            handled: self.handled.get(),
            dropped,
            dead_lettered,
            cancelled: self.cancelled.get(),
            queued,
            rejected,
        }
    }

    pub(super) fn message_in_hand(&self) -> Option<&'static str> {
        // ORDERING: Acquire is not needed: tables are constants.
        let vtable = self.in_hand.load(Relaxed);
        // SAFETY: null, or a constant.
        unsafe { vtable.as_ref() }.map(|vtable| (vtable.message_type)())
    }

    pub(super) fn post_dead_letter(
        &self,
        actor_type: &'static str,
        message_type: &'static str,
        reason: LossReason,
    ) {
        self.runtime.letters.post(|| DeadLetter {
            actor: self.id,
            name: self.name().cloned(),
            actor_type,
            message_type,
            reason: reason.clone(),
        });
        tracing::debug!(
            target: "greenroom",
            actor = %self.id,
            actor_type,
            message_type,
            %reason,
            "dead letter"
        );
    }

    /// Closes the mailbox, unless it is closed already; who stands in line learns the reason.
    pub(super) fn close(&self, reason: StopReason, wakes: &mut Wakes) {
        let mut orphans = Vec::new();
        self.mailbox.close(wakes, &mut orphans);
        let failure = frame::Failure::Ended(reason);
        for orphan in orphans {
            self.count_rejected();
            orphan.discard(&failure);
        }
    }

    /// Why a request to this closed mailbox fails.
    pub(super) fn failure(&self) -> frame::Failure {
        frame::Failure::Ended(self.reason().unwrap_or(StopReason::Stopped))
    }

    /// Ready with the reason once the actor has ended. Who waits is known by `joiner`, and
    /// [forgotten](Self::forget_joiner) if he gives up.
    pub(super) fn poll_ended(&self, joiner: &mut Option<u64>, waker: &Waker) -> Poll<StopReason> {
        // It may be of the user's: cloned before, and dropped after the lock is held.
        let waker = waker.clone();
        let (outcome, _outdated) = self.with_rare(|rare| {
            // Checked under the lock, under which the joiners are taken at the end.
            if self.stage() == stage::ENDED {
                let reason = rare.reason.clone();
                let reason = reason.expect("an actor ends for a reason");
                return (Poll::Ready(reason), Some(waker));
            }
            let number = *joiner.get_or_insert_with(|| {
                rare.next_joiner += 1;
                rare.next_joiner
            });
            (Poll::Pending, rare.joiners.insert(number, waker))
        });
        outcome
    }

    /// Nobody waits for the end by this number any more.
    pub(super) fn forget_joiner(&self, joiner: Option<u64>) {
        if let Some(number) = joiner {
            self.with_rare(|rare| rare.joiners.remove(&number));
        }
    }
}
