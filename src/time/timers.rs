//! Timers: what is due when, and the thread that fires it.
//!
//! Timers are kept in shards, each a queue ordered by due time behind its own lock, so that
//! threads which set and cancel deadlines all day do not meet. One thread per system sleeps
//! until the earliest is due; with a clock moved by hand the mover fires them instead.
//!
//! A timer never fires early. It fires late by what the operating system takes to wake the
//! thread, and by what the timers before it take.

use std::cell::Cell;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::Clock;
use super::due_queue::{DueQueue, Ticket};
use crate::sync::{AtomicU64, Mutex, Ordering::Acquire, Ordering::Release};
use crate::unwind::{drop_quietly, run_quietly};

/// What happens when a timer is due.
pub(crate) enum Action {
    /// Somebody who waits is woken.
    Wake(Waker),
    /// Something short is run on the thread that fires.
    Run(Box<dyn FnOnce() + Send>),
    /// Something that is there anyway is told; this costs no allocation.
    Fire(Arc<dyn Fire>),
}

/// What is told that it is due, on the thread that fires.
pub(crate) trait Fire: Send + Sync {
    fn fire(self: Arc<Self>);
}

impl Action {
    fn fire(self) {
        match self {
            Self::Wake(waker) => waker.wake(),
            Self::Run(run) => run(),
            Self::Fire(fire) => fire.fire(),
        }
    }
}

/// Names a timer for its cancellation.
pub(crate) type TimerKey = Ticket;

/// By nanoseconds after the origin.
type Shard = DueQueue<Action>;

struct Shared {
    shards: Box<[Mutex<Shard>]>,
    origin: Instant,
    /// The nanoseconds after `origin` until which the thread sleeps; `u64::MAX` while it looks.
    sleeps_until: AtomicU64,
    watch: Mutex<Option<Watch>>,
}

/// The timers of one system.
pub(crate) struct Timers {
    shared: Arc<Shared>,
    /// Wakes the thread before its time. Dropped with this value, which ends the thread.
    wake: Option<Sender<()>>,
}

/// A timer of the system's own, which is not counted.
type Watch = (Instant, Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Timers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timers").finish_non_exhaustive()
    }
}

impl Timers {
    /// Timers on `clock`; `shards` is about the number of threads that will use them.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the thread.
    pub(crate) fn start(clock: &Clock, shards: usize) -> std::io::Result<Arc<Self>> {
        let machine = matches!(clock, Clock::Machine(_));
        // One shard on a clock moved by hand: its order must not depend on threads.
        let shards = if machine {
            shards.next_power_of_two()
        } else {
            1
        };
        let shared = Arc::new(Shared {
            shards: (0..shards as u32)
                .map(|shard| Mutex::new(Shard::new(shard)))
                .collect(),
            origin: clock.now(),
            sleeps_until: AtomicU64::new(u64::MAX),
            watch: Mutex::new(None),
        });
        let wake = if machine {
            let (wake, woken) = crossbeam_channel::bounded(1);
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("greenroom-timer".into())
                .spawn(move || shared.run(&woken))?;
            Some(wake)
        } else {
            None
        };
        let timers = Arc::new(Self { shared, wake });
        if let Clock::Manual(clock) = clock {
            clock.attach(&timers);
        }
        Ok(timers)
    }

    /// Fires `action` at `due`, or as soon as possible if that has passed.
    pub(crate) fn set(&self, due: Instant, action: Action) -> TimerKey {
        let shard = thread_number() & (self.shared.shards.len() - 1);
        let due = self.shared.after_origin(due);
        let key = self.shared.shards[shard].lock().insert(due, action);
        self.wake_for(due);
        key
    }

    /// Runs `look` at `due`, in the place of what was set in this way before. It is not counted
    /// among the timers.
    pub(crate) fn set_watch(&self, due: Instant, look: impl FnOnce() + Send + 'static) {
        *self.shared.watch.lock() = Some((due, Box::new(look)));
        self.wake_for(self.shared.after_origin(due));
    }

    /// Wakes the thread if it would sleep beyond `due`, for which a timer has been set.
    fn wake_for(&self, due: u64) {
        if let Some(wake) = &self.wake {
            // ORDERING: Acquire. If the thread had passed our shard when we inserted, the
            // shard's lock makes its store of u64::MAX visible here, or a later one; so either
            // it has seen our timer or we see that it may not have.
            if due < self.shared.sleeps_until.load(Acquire) {
                match wake.try_send(()) {
                    // Full: it is about to look anyway.
                    Ok(()) | Err(TrySendError::Full(())) => {}
                    Err(TrySendError::Disconnected(())) => {
                        unreachable!("the timer thread outlives the handle that ends it")
                    }
                }
            }
        }
    }

    /// Forgets a timer; `false` if it has fired or is about to.
    pub(crate) fn cancel(&self, key: TimerKey) -> bool {
        let removed = self.shared.shards[key.queue() as usize].lock().remove(key);
        let found = removed.is_some();
        // It may hold a message of the user's.
        drop_quietly(removed);
        found
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.shared.next_due()
    }

    /// The number of timers that are set.
    pub(crate) fn len(&self) -> usize {
        self.shared
            .shards
            .iter()
            .map(|shard| shard.lock().len())
            .sum()
    }

    pub(crate) fn fire_due(&self, now: Instant) {
        self.shared.fire_due(now);
    }
}

impl Shared {
    fn after_origin(&self, moment: Instant) -> u64 {
        let nanos = moment.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX - 1)
    }

    fn moment(&self, nanos: u64) -> Instant {
        self.origin + Duration::from_nanos(nanos)
    }

    fn next_due(&self) -> Option<Instant> {
        let first = |shard: &Mutex<Shard>| shard.lock().first_due();
        let first = self.shards.iter().filter_map(first).min();
        let watch = self.watch.lock().as_ref().map(|(due, _)| *due);
        let first = first.map(|due| self.moment(due));
        first.into_iter().chain(watch).min()
    }

    fn fire_due(&self, now: Instant) {
        let until = self.after_origin(now);
        for shard in &self.shards {
            loop {
                // The lock is free again when the action is run.
                let action = shard.lock().pop_due(until);
                let Some(action) = action else {
                    break;
                };
                run_quietly("what a timer does", || action.fire());
            }
        }
        let watch = self.watch.lock().take_if(|(due, _)| *due <= now);
        if let Some((_, look)) = watch {
            run_quietly("a look at who works and waits", look);
        }
    }

    /// The thread: sleeps until the earliest timer is due, fires, until the handle is dropped.
    fn run(&self, woken: &Receiver<()>) {
        loop {
            // ORDERING: Release pairs with the Acquire in `set`.
            self.sleeps_until.store(u64::MAX, Release);
            self.fire_due(Instant::now());
            let outcome = match self.next_due() {
                Some(due) => {
                    self.sleeps_until.store(self.after_origin(due), Release);
                    woken.recv_deadline(due)
                }
                None => woken
                    .recv()
                    .map_err(|_| crossbeam_channel::RecvTimeoutError::Disconnected),
            };
            if outcome == Err(crossbeam_channel::RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for shard in &self.shards {
            let left = shard.lock().drain();
            left.for_each(drop_quietly);
        }
    }
}

/// The number of this thread, which spreads threads over shards.
pub(crate) fn thread_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = Cell::new(
            // ORDERING: Relaxed: any number will do.
            NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        );
    }
    NUMBER.try_with(Cell::get).unwrap_or(0)
}
