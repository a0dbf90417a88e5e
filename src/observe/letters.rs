//! Dead letters: the feed of messages that were accepted and never handled.

use std::fmt;
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender};

use crate::error::StopReason;
use crate::id::ActorId;
use crate::observe::SharedCount;
use crate::sync::{AtomicUsize, Mutex, Ordering::Relaxed};

/// Why a message was lost.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LossReason {
    /// It was queued, and its actor ended.
    Stopped(StopReason),
    /// Its handler panicked, with these words.
    Panicked(Arc<str>),
    /// The mailbox was full, and its policy dropped the message.
    DroppedByPolicy,
    /// A message that nobody waits for, of a timer or a forwarded outcome, came to a full mailbox
    /// that rejects.
    Rejected,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(reason) => write!(f, "its actor ended: {reason}"),
            Self::Panicked(message) => write!(f, "its handler panicked: {message}"),
            Self::DroppedByPolicy => f.write_str("the mailbox was full and dropped it"),
            Self::Rejected => f.write_str("the mailbox was full and rejected it"),
        }
    }
}

/// A message that was lost: whose, of which type, and why. The message itself is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The actor that should have handled it.
    pub actor: ActorId,
    /// The actor's name, if it has one.
    pub name: Option<Arc<str>>,
    /// The actor's type.
    pub actor_type: &'static str,
    /// The message's type.
    pub message_type: &'static str,
    /// Why it was lost.
    pub reason: LossReason,
}

impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            actor,
            name,
            actor_type,
            message_type,
            reason,
        } = self;
        write!(f, "`{message_type}` to `{actor_type}` {actor}")?;
        if let Some(name) = name {
            write!(f, " ({name})")?;
        }
        write!(f, ": {reason}")
    }
}

struct Subscription {
    letters: Sender<DeadLetter>,
    missed: Weak<SharedCount>,
}

/// Where dead letters are handed to those who listen.
pub(crate) struct Letters {
    /// How many listen, so that nobody pays for a feed without listeners.
    listeners: AtomicUsize,
    subscriptions: Mutex<Vec<Subscription>>,
}

impl Letters {
    pub(crate) fn new() -> Self {
        Self {
            listeners: AtomicUsize::new(0),
            subscriptions: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn subscribe(&self) -> DeadLetterFeed {
        let (sender, letters) = crossbeam_channel::bounded(DeadLetterFeed::CAPACITY);
        let missed = Arc::new(SharedCount::new());
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.push(Subscription {
            letters: sender,
            missed: Arc::downgrade(&missed),
        });
        // ORDERING: Relaxed: a hint; letters posted from now on may or may not be seen.
        self.listeners.store(subscriptions.len(), Relaxed);
        DeadLetterFeed { letters, missed }
    }

    /// Hands on a letter, which is made only if somebody listens. Never waits.
    pub(crate) fn post(&self, letter: impl FnOnce() -> DeadLetter) {
        // ORDERING: Relaxed, as above.
        if self.listeners.load(Relaxed) == 0 {
            return;
        }
        let letter = letter();
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.retain(|subscription| {
            let Some(missed) = subscription.missed.upgrade() else {
                return false;
            };
            if subscription.letters.try_send(letter.clone()).is_err() {
                let _ = missed.increment();
            }
            true
        });
        // ORDERING: Relaxed, as above.
        self.listeners.store(subscriptions.len(), Relaxed);
    }
}

/// Dead letters as they come, from the moment of [`System::dead_letters`] on.
///
/// The feed holds up to [`CAPACITY`](Self::CAPACITY) letters; later ones are
/// [`missed`](Self::missed) until it is read. It never slows the system down.
///
/// [`System::dead_letters`]: crate::System::dead_letters
pub struct DeadLetterFeed {
    letters: Receiver<DeadLetter>,
    missed: Arc<SharedCount>,
}

impl DeadLetterFeed {
    /// How many unread letters a feed holds.
    pub const CAPACITY: usize = 1024;

    /// The oldest unread letter; never waits.
    pub fn try_next(&self) -> Option<DeadLetter> {
        self.letters.try_recv().ok()
    }

    /// How many letters found the feed full, so far.
    pub fn missed(&self) -> u64 {
        self.missed.get()
    }
}

impl fmt::Debug for DeadLetterFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetterFeed")
            .field("unread", &self.letters.len())
            .field("missed", &self.missed())
            .finish()
    }
}
