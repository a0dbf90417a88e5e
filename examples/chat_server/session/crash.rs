//! Failures on command, to see what the supervisors make of them.
//!
//! A server that is started with `--crash-command NAME` obeys `NAME SESSION`, `NAME OUTBOX`,
//! `NAME DIRECTORY` and `NAME #CHANNEL` from any client that is registered: that part of the
//! server panics. Without the option there is no such command.

use greenroom::{Context, Handler};

use super::{Ended, Session};
use crate::directory::Directory;
use crate::net::Outbox;
use crate::protocol::Folded;
use crate::room::Room;

/// Makes an actor panic.
struct Crash;

/// What the panics say.
const WORDS: &str = "crashed on command";

impl Session {
    /// Obeys the command. A client that names nothing that can fail is told nothing.
    pub(super) fn crash(&mut self, params: &[&str]) -> Result<(), Ended> {
        match params.first().copied().unwrap_or_default() {
            "SESSION" => panic!("{WORDS}"),
            // The outbox ends the connection, of which this session is told as of any other end.
            "OUTBOX" => {
                let _ = self.client.outbox().send(Crash);
                Ok(())
            }
            "DIRECTORY" => self.consult(Crash),
            channel => self.request(&Folded::new(channel), Crash).map(drop),
        }
    }
}

impl Handler<Crash> for Room {
    type Reply = ();

    /// Fails in the midst of a change.
    fn handle(&mut self, _: Crash, _ctx: &mut Context<Self>) {
        let mut next = self.change();
        next.clear();
        panic!("{WORDS}");
    }
}

impl Handler<Crash> for Directory {
    type Reply = ();

    fn handle(&mut self, _: Crash, _ctx: &mut Context<Self>) {
        panic!("{WORDS}");
    }
}

impl Handler<Crash> for Outbox {
    type Reply = ();

    fn handle(&mut self, _: Crash, _ctx: &mut Context<Self>) {
        panic!("{WORDS}");
    }
}
