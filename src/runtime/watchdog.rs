//! Names handlers that take long and waits that take long, through `tracing`.
//!
//! A sampler looks at the threads' [posts](crate::executor::post) and at the waits, at a quarter
//! of the shorter limit. It is a timer of the system, so it goes by the system's clock, and it
//! stops when nobody works and all long waits are named; an idle system uses no processor.
//!
//! A handler is slow if a thread has been at the same message for the limit, by what the sampler
//! has seen; so it is named between one and one and a half times the limit after it began, and
//! again whenever that time has doubled. Time that a handler waits is no work.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Resident, Runtime};
use crate::executor::post::{AtWork, Post};
use crate::sync::Mutex;
use crate::time::later;
use crate::waits::{Awaited, Identity};

/// After what time a warning is given; `None` for never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) slow_handler: Option<Duration>,
    pub(crate) long_wait: Option<Duration>,
}

impl Limits {
    pub(crate) const NONE: Self = Self {
        slow_handler: None,
        long_wait: None,
    };

    /// How often to look; `None` if there is nothing to look for.
    fn period(&self) -> Option<Duration> {
        const SHORTEST: Duration = Duration::from_millis(1);
        let limits = [self.slow_handler, self.long_wait];
        let shortest = limits.into_iter().flatten().min()?;
        Some((shortest / 4).max(SHORTEST))
    }
}

/// A message in hand, as a resident tells it.
pub(crate) struct InHand {
    pub(crate) actor: Identity,
    /// Its type; `None` in a hook.
    pub(crate) message_type: Option<&'static str>,
    /// Messages that were taken before and with it.
    pub(crate) taken: u64,
    /// Whether its handler waits.
    pub(crate) waits: bool,
}

/// See the [module](self).
pub(crate) struct Watchdog {
    limits: Limits,
    memory: Mutex<Memory>,
}

/// What the sampler has seen before.
#[derive(Default)]
struct Memory {
    /// By the address of a thread's post.
    threads: HashMap<usize, Seen>,
    /// The numbers of the waits that were named and last.
    named: HashSet<u64>,
}

/// A thread in the same turn.
struct Seen {
    post: Weak<Post>,
    turns: u64,
    /// The message, once the turn was found for the second time.
    message: Option<Message>,
}

/// A thread at the same message.
struct Message {
    actor: Weak<dyn Resident>,
    taken: u64,
    since: Instant,
    /// After what time it is named next.
    next: Duration,
}

impl Watchdog {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            memory: Mutex::default(),
        }
    }

    /// Begins to watch, if there is anything to look for.
    pub(super) fn start(runtime: &Arc<Runtime>) {
        let Some(period) = runtime.watchdog.limits.period() else {
            return;
        };
        let weak = Arc::downgrade(runtime);
        let begin = move || {
            if let Some(runtime) = weak.upgrade() {
                runtime.set_watch(period);
            }
        };
        runtime.watch.set_sampler(begin);
    }
}

impl Runtime {
    fn set_watch(self: &Arc<Self>, period: Duration) {
        let weak = Arc::downgrade(self);
        let due = later(self.now(), period);
        self.timers.set_watch(due, move || {
            if let Some(runtime) = weak.upgrade() {
                runtime.sample(period);
            }
        });
    }

    fn sample(self: &Arc<Self>, period: Duration) {
        let at_work = self.look_at_threads();
        let watched = self.look_at_waits();
        let is_idle = || {
            self.watch.at_work().is_empty() && self.executor.is_asleep() && !self.look_at_waits()
        };
        if !at_work && !watched && self.executor.is_asleep() {
            self.watch.turn_off();
            if is_idle() || !self.watch.stay_on() {
                return;
            }
        }
        self.set_watch(period);
    }

    /// Whether any thread is at work.
    fn look_at_threads(&self) -> bool {
        let at_work = self.watch.at_work();
        // Those who wait on their threads are found here, too, if slow handlers are not named.
        let limit = self.watchdog.limits.slow_handler.unwrap_or(Duration::MAX);
        let now = self.now();
        let mut slow = Vec::new();
        let mut memory = self.watchdog.memory.lock();
        memory
            .threads
            .retain(|_, seen| seen.post.strong_count() > 0);
        for work in &at_work {
            let key = Arc::as_ptr(&work.post).addr();
            match memory.threads.get_mut(&key) {
                Some(seen) if seen.turns == work.turns => {
                    if let Some((in_hand, time)) = self.look_again(seen, work, now, limit) {
                        slow.push((work, in_hand, time));
                    }
                }
                _ => {
                    let seen = Seen {
                        post: Arc::downgrade(&work.post),
                        turns: work.turns,
                        message: None,
                    };
                    memory.threads.insert(key, seen);
                }
            }
        }
        drop(memory);
        for (work, in_hand, time) in slow {
            let InHand {
                actor,
                message_type,
                ..
            } = in_hand;
            tracing::warn!(
                target: "greenroom",
                actor = %actor.id,
                name = actor.name.as_deref(),
                actor_type = actor.actor_type,
                message_type,
                thread = work.thread(),
                holds_up_others = work.holds_up_others(),
                ?time,
                "a handler is slow"
            );
        }
        !at_work.is_empty()
    }

    /// Looks at a thread that is in the same turn as before; returns the message and the time if it
    /// has to be named.
    fn look_again(
        &self,
        seen: &mut Seen,
        work: &AtWork,
        now: Instant,
        limit: Duration,
    ) -> Option<(InHand, Duration)> {
        let known = seen
            .message
            .as_ref()
            .and_then(|message| message.actor.upgrade());
        let actor = known.or_else(|| self.resident_at(work.at))?;
        let in_hand = actor.in_hand();
        let message = seen.message.get_or_insert_with(|| Message {
            actor: Arc::downgrade(&actor),
            taken: in_hand.taken,
            since: now,
            next: limit,
        });
        if message.taken != in_hand.taken || in_hand.waits {
            message.taken = in_hand.taken;
            message.since = now;
            message.next = limit;
            return None;
        }
        let time = now.saturating_duration_since(message.since);
        (time >= message.next).then(|| {
            message.next = time.max(message.next) * 2;
            (in_hand, time)
        })
    }

    /// Whether any wait may have to be named later.
    fn look_at_waits(&self) -> bool {
        let Some(limit) = self.watchdog.limits.long_wait else {
            return false;
        };
        let parked = self.executor.waiters().into_iter();
        let parked = parked.filter_map(|waiter| self.resident(waiter.id, waiter.residence));
        // An actor that waits on its thread is in the same turn all the time.
        let on_threads: Vec<_> = {
            let memory = self.watchdog.memory.lock();
            let messages = memory
                .threads
                .values()
                .filter_map(|seen| seen.message.as_ref());
            messages
                .filter_map(|message| message.actor.upgrade())
                .collect()
        };
        let waits = parked
            .chain(on_threads)
            .filter_map(|resident| resident.wait())
            .filter(|(_, wait)| wait.awaited != Awaited::Time);
        let mut memory = self.watchdog.memory.lock();
        let named = std::mem::take(&mut memory.named);
        let mut may_be_named = false;
        for (number, wait) in waits {
            let is_named = named.contains(&number);
            if !is_named && wait.waited < limit {
                may_be_named = true;
                continue;
            }
            // An actor whose stack is being parked is met twice.
            let is_first = memory.named.insert(number);
            if !is_named && is_first {
                tracing::warn!(
                    target: "greenroom",
                    actor = %wait.actor.id,
                    name = wait.actor.name.as_deref(),
                    actor_type = wait.actor.actor_type,
                    message_type = wait.message_type,
                    awaited = %wait.awaited,
                    time = ?wait.waited,
                    "a wait takes long"
                );
            }
        }
        may_be_named
    }
}
