//! Bounded mailboxes: a queue, what happens when it is full, and the line of those who wait.
//!
//! A mailbox knows no actors. A push says whether the caller must schedule the owner; the
//! runner's side is the [`queue`]'s. The line is kept here: senders that wait for room stand
//! in it in order of arrival, and whoever finds room moves the oldest one's item into it. While
//! somebody stands in line, newcomers go behind him.

mod queue;
mod segment;
mod word;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use queue::{LineRefused, Turn};
pub(crate) use queue::{Queue, Refused, Released, Reserved};
pub(crate) use segment::{SegmentCache, Stash, Stored};
pub(crate) use word::MAX_CAPACITY;

use crate::sync::{Fault, Mutex, Ordering::Relaxed, planted};
use crate::unwind::wake_quietly;

/// What `send` does when the mailbox is full.
///
/// The default is [`Overflow::Block`], with a capacity of 1024 messages. The capacity counts
/// queued messages; the one in hand has left the mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// The sender waits for room, in order of arrival. In a handler of the pool this parks the
    /// handler's stack, on a plain thread the thread.
    #[default]
    Block,
    /// The sender waits for room at most this long, then the message comes back.
    BlockFor(Duration),
    /// The message comes back at once.
    Reject,
    /// The new message is dropped; `send` returns `Ok`, and the loss is counted.
    DropNewest,
}

/// What became of an item that came to a full mailbox.
enum Standing<T> {
    /// In line, with the waker of whoever waits for the place, if anybody does.
    InLine(T, Option<Waker>),
    /// Moved into the queue.
    Granted,
    /// The mailbox closed before there was room.
    Closed(T),
    /// Taken out of the line by its owner.
    Withdrawn,
}

/// A place in the line of a full mailbox. Whoever holds it can wait for it or withdraw it.
pub(crate) struct Place<T>(Mutex<Standing<T>>);

/// How a place in the line stands.
#[derive(Debug)]
pub(crate) enum Progress<T> {
    /// Still in line; the waker is called at the next change.
    Waiting,
    /// The item is in the queue.
    Granted,
    /// The mailbox has closed; here is the item.
    Closed(T),
}

impl<T> Place<T> {
    /// Whether the item is neither queued nor given back.
    pub(crate) fn is_in_line(&self) -> bool {
        matches!(*self.0.lock(), Standing::InLine(..))
    }

    /// How the place stands; registers `waker` while it stands in line.
    pub(crate) fn poll(&self, waker: &Waker) -> Progress<T> {
        let mut standing = self.0.lock();
        match &*standing {
            Standing::InLine(_, Some(old)) if old.will_wake(waker) => return Progress::Waiting,
            Standing::InLine(..) => {
                // Wakers are cloned and dropped outside the lock: they may be of the user's.
                drop(standing);
                let mut new = Some(waker.clone());
                standing = self.0.lock();
                if let Standing::InLine(_, registered) = &mut *standing {
                    std::mem::swap(registered, &mut new);
                    drop(standing);
                    return Progress::Waiting;
                }
            }
            Standing::Granted | Standing::Closed(_) | Standing::Withdrawn => {}
        }
        if matches!(*standing, Standing::Granted) {
            return Progress::Granted;
        }
        match std::mem::replace(&mut *standing, Standing::Withdrawn) {
            Standing::Closed(item) => Progress::Closed(item),
            _ => unreachable!("a withdrawn place is not polled"),
        }
    }
}

struct Line<T> {
    places: VecDeque<Arc<Place<T>>>,
    /// Places in `places` that were withdrawn.
    withdrawn: usize,
}

/// Wake-ups that are owed; collected under a lock and paid outside it.
pub(crate) type Wakes = Vec<Waker>;

/// A bounded queue with a line of senders that wait for room.
pub(crate) struct Mailbox<T: Stored> {
    queue: Queue<T>,
    /// Allocated when the first sender has to wait, given back when nobody does.
    line: Mutex<Option<Box<Line<T>>>>,
}

/// How a push ended.
pub(crate) enum Pushed<T> {
    /// Queued; the flag says whether the caller must schedule the owner.
    Queued(bool),
    /// There is no room, or others stand in line. The flag is as above, for what was moved
    /// from the line meanwhile.
    Full(T, bool),
    /// The mailbox is closed.
    Closed(T),
}

/// How coming to stand in line ended.
pub(crate) enum Stood<T> {
    /// Queued after all; the flag says whether the caller must schedule the owner.
    Queued(bool),
    /// In line.
    InLine(Arc<Place<T>>),
    /// The mailbox is closed.
    Closed(T),
}

impl<T: Stored> Mailbox<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            queue: Queue::new(capacity),
            line: Mutex::new(None),
        }
    }

    /// The runner's side.
    pub(crate) fn queue(&self) -> &Queue<T> {
        &self.queue
    }

    /// Reserves room for an item, if there is some and nobody stands in line; otherwise
    /// [`push`](Self::push) says what to do.
    #[inline]
    pub(crate) fn reserve(&self) -> Option<Reserved<T>> {
        self.queue.reserve(Turn::Newcomer).ok()
    }

    /// Queues the item if there is room and nobody stands in line.
    ///
    /// Who is about to be refused because others stand in line first moves them on, so that a
    /// refusal means that the mailbox was full.
    #[cold]
    pub(crate) fn push(&self, item: T) -> Pushed<T> {
        match self.queue.push(item, Turn::Newcomer) {
            Ok(schedule) => Pushed::Queued(schedule),
            Err((Refused::Closed, item)) => Pushed::Closed(item),
            Err((Refused::Full, item)) => Pushed::Full(item, false),
            Err((Refused::Behind, item)) => self.push_behind_line(item),
        }
    }

    fn push_behind_line(&self, item: T) -> Pushed<T> {
        if planted(Fault::LineHintTrusted) && !self.has_line() {
            return Pushed::Full(item, false);
        }
        let mut wakes = Wakes::new();
        let schedule = self.grant(&mut wakes);
        wakes.into_iter().for_each(wake_quietly);
        match self.queue.push(item, Turn::Newcomer) {
            Ok(also) => Pushed::Queued(schedule | also),
            // Behind others again: either we left them in line because the queue was full, or
            // they came to a full queue since.
            Err((Refused::Full | Refused::Behind, item)) => Pushed::Full(item, schedule),
            Err((Refused::Closed, item)) => Pushed::Closed(item),
        }
    }

    /// Queues the item, or stands in line with it. `waker` is called when that changes.
    pub(crate) fn push_or_stand(&self, item: T, waker: Option<&Waker>) -> Stood<T> {
        let mut line = self.line.lock();
        let mut item = item;
        loop {
            match self.queue.form_line() {
                Ok(()) => break,
                Err(LineRefused::Closed) => return Stood::Closed(item),
                Err(LineRefused::Room) => match self.queue.push(item, Turn::Newcomer) {
                    Ok(schedule) => return Stood::Queued(schedule),
                    Err((Refused::Closed, back)) => return Stood::Closed(back),
                    Err((Refused::Full | Refused::Behind, back)) => item = back,
                },
            }
        }
        let place = Arc::new(Place(Mutex::new(Standing::InLine(item, waker.cloned()))));
        let line = line.get_or_insert_with(|| {
            Box::new(Line {
                places: VecDeque::new(),
                withdrawn: 0,
            })
        });
        line.places.push_back(place.clone());
        // ORDERING: Relaxed: written under the lock; a hint for others.
        self.queue.waiting.fetch_add(1, Relaxed);
        Stood::InLine(place)
    }

    /// How many stand in line.
    pub(crate) fn line_len(&self) -> usize {
        // ORDERING: Relaxed: a figure for snapshots.
        self.queue.waiting.load(Relaxed) as usize
    }

    /// Whether somebody seems to stand in line.
    #[inline]
    pub(crate) fn has_line(&self) -> bool {
        // ORDERING: Relaxed: a hint. The runner that misses it sees WAITERS when it releases.
        self.queue.waiting.load(Relaxed) != 0
    }

    /// Moves items from the line into the queue while there is room.
    ///
    /// The flag says whether the caller must schedule the owner: never, if it is the runner.
    pub(crate) fn grant(&self, wakes: &mut Wakes) -> bool {
        let mut guard = self.line.lock();
        let Some(line) = guard.as_mut() else {
            return false;
        };
        let mut schedule = false;
        while let Some(place) = line.places.pop_front() {
            let mut standing = place.0.lock();
            match std::mem::replace(&mut *standing, Standing::Granted) {
                Standing::InLine(item, waker) => {
                    match self.queue.push(item, Turn::FirstInLine) {
                        Ok(also) => {
                            schedule |= also;
                            if !planted(Fault::GrantUnannounced) {
                                wakes.extend(waker);
                            }
                            // ORDERING: Relaxed: under the lock; a hint for others.
                            self.queue.waiting.fetch_sub(1, Relaxed);
                        }
                        Err((_, item)) => {
                            *standing = Standing::InLine(item, waker);
                            drop(standing);
                            line.places.push_front(place);
                            return schedule;
                        }
                    }
                }
                withdrawn => {
                    *standing = withdrawn;
                    line.withdrawn -= 1;
                }
            }
        }
        self.queue.dissolve_line();
        *guard = None;
        schedule
    }

    /// Takes a place out of the line; gives its item back unless it is already queued.
    pub(crate) fn withdraw(&self, place: &Place<T>) -> Option<T> {
        // Dropped last: it may be of the user's, and own whatever it likes.
        let _waker;
        let mut guard = self.line.lock();
        let item = {
            let mut standing = place.0.lock();
            match std::mem::replace(&mut *standing, Standing::Withdrawn) {
                Standing::InLine(item, waker) => {
                    _waker = waker;
                    item
                }
                Standing::Closed(item) => return Some(item),
                other => {
                    *standing = other;
                    return None;
                }
            }
        };
        // ORDERING: Relaxed: under the lock; a hint for others.
        self.queue.waiting.fetch_sub(1, Relaxed);
        if let Some(line) = guard.as_mut() {
            line.withdrawn += 1;
            // Each sweep removes at least half of the places, so withdrawing costs constant
            // time on average, and what stays is bounded by those who really wait.
            if line.withdrawn * 2 > line.places.len() {
                line.places
                    .retain(|place| !matches!(*place.0.lock(), Standing::Withdrawn));
                line.withdrawn = 0;
                if line.places.is_empty() {
                    *guard = None;
                    if planted(Fault::LineDissolvedUnlocked) {
                        drop(guard);
                    }
                    self.queue.dissolve_line();
                }
            }
        }
        Some(item)
    }

    /// Closes the mailbox; those who stand in line get their items back. Items whose owners do
    /// not wait for their places are put into `orphans`.
    pub(crate) fn close(&self, wakes: &mut Wakes, orphans: &mut Vec<T>) {
        self.queue.close();
        let mut guard = self.line.lock();
        let Some(line) = guard.take() else {
            return;
        };
        for place in line.places {
            let mut standing = place.0.lock();
            match std::mem::replace(&mut *standing, Standing::Withdrawn) {
                Standing::InLine(item, Some(waker)) => {
                    *standing = Standing::Closed(item);
                    wakes.push(waker);
                }
                Standing::InLine(item, None) => orphans.push(item),
                other => *standing = other,
            }
        }
        // ORDERING: Relaxed: under the lock; a hint for others.
        self.queue.waiting.store(0, Relaxed);
        self.queue.dissolve_line();
    }
}

#[cfg(all(test, loom))]
#[path = "mailbox/line_models.rs"]
mod loom_models;
