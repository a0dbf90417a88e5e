//! A client as others see it: who it is, and how to write to it.

use std::sync::Arc;

use greenroom::{Addr, TrySendError};

use crate::net::{ClientId, Goodbye, Link, Outbox};
use crate::protocol::Line;

/// Who a client is. Replaced as a whole when something changes, so that everybody holds either
/// the old or the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) nick: String,
    pub(crate) user: String,
    pub(crate) host: Arc<str>,
    pub(crate) real_name: String,
    /// Not to be found by a mask, except by those who share a channel.
    pub(crate) is_invisible: bool,
}

impl Identity {
    /// The source of what the client says.
    pub(crate) fn source(&self) -> String {
        format!("{}!{}@{}", self.nick, self.user, self.host)
    }
}

/// The way to a client. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    link: Arc<Link>,
    outbox: Addr<Outbox>,
}

impl Client {
    pub(crate) fn new(link: Arc<Link>, outbox: Addr<Outbox>) -> Self {
        Self { link, outbox }
    }

    pub(crate) fn id(&self) -> ClientId {
        self.link.id()
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn outbox(&self) -> &Addr<Outbox> {
        &self.outbox
    }

    /// Queues a line for the client and never waits. A client whose queue is full is cut off;
    /// a client that is on its way out gets nothing new.
    pub(crate) fn deliver(&self, line: &Line) {
        if self.link.is_closing() {
            return;
        }
        match self.outbox.try_send(line.clone()) {
            // An outbox that has stopped belongs to a connection that is ending.
            Ok(()) | Err(TrySendError::Stopped(_)) => {}
            Err(_) => self.cut_off(),
        }
    }

    /// Ends a client that does not read. Its queue is given up at once, which also ends the wait
    /// of its outbox and of its own session for it.
    pub(crate) fn cut_off(&self) {
        self.link.close(Goodbye::SendQueueExceeded);
        self.outbox.kill();
    }
}
