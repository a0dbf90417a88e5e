//! What others ask of the poller: a queue, and the means to wake the thread that reads it.

use std::mem;
use std::sync::{Mutex, PoisonError};

use greenroom::{Recipient, ReplyTo};
use mio::Waker;

use super::Input;
use super::link::ClientId;

/// A request to the poller.
#[derive(Debug)]
pub(crate) enum Command {
    /// The connection has its session, which takes its first batch.
    Opened(ClientId, Recipient<Input>),
    /// The session is through with its batch and takes another one.
    Credit(ClientId),
    /// Answer when the socket takes bytes again; drop the question if it never will.
    Writable(ClientId, ReplyTo<()>),
    /// The link has got a reason to end.
    Closing(ClientId),
    /// The outbox has ended and these are the last bytes.
    Farewell(ClientId, Vec<u8>),
    /// Accept nobody any more, end every connection and then the thread.
    Shutdown,
}

/// The queue of requests. It is not bounded itself and need not be: a connection has at most one
/// of each kind under way.
pub(crate) struct Commands {
    queue: Mutex<Vec<Command>>,
    waker: Waker,
}

impl Commands {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            queue: Mutex::new(Vec::new()),
            waker,
        }
    }

    /// Queues `command` and wakes the poller. Never waits for it.
    pub(crate) fn push(&self, command: Command) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = queue.is_empty();
        queue.push(command);
        drop(queue);
        // Whoever found the queue empty wakes the poller, which then takes all of it. An error
        // can only mean that the poller is gone, and with it everybody's wish to wake it.
        if was_empty {
            let _ = self.waker.wake();
        }
    }

    /// Takes everything that is queued.
    pub(super) fn take(&self) -> Vec<Command> {
        mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
