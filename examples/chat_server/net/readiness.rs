//! The door through which an actor waits for a socket.
//!
//! The poller is a thread of its own and no actor, so nothing can be asked of it. This actor can
//! be asked: it hands the question with its [`ReplyTo`] to the poller, which answers it or drops
//! it. It never waits, so it is never the reason why somebody else does.

use std::sync::Arc;

use greenroom::{Actor, Context, DeferredHandler, ReplyTo};

use super::commands::{Command, Commands};
use super::link::ClientId;

/// Passes questions on to the poller.
pub(crate) struct Readiness {
    commands: Arc<Commands>,
}

/// Asks when the socket of a connection takes bytes again. Asked once at a time by its outbox.
#[derive(Debug)]
pub(crate) struct Writable(pub(crate) ClientId);

impl Readiness {
    pub(crate) fn new(commands: Arc<Commands>) -> Self {
        Self { commands }
    }
}

impl Actor for Readiness {}

impl DeferredHandler<Writable> for Readiness {
    type Reply = ();

    fn handle_deferred(
        &mut self,
        Writable(id): Writable,
        reply: ReplyTo<()>,
        _ctx: &mut Context<Self>,
    ) {
        self.commands.push(Command::Writable(id, reply));
    }
}
