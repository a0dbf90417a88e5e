//! The actor that writes to one client. Its mailbox is the client's send queue.
//!
//! The mailbox rejects what it cannot hold, so it says by itself when a client does not keep up:
//! lines are at most 512 bytes, hence its capacity bounds the memory too. A line costs one
//! system call, which a queue of buffers would save; but what waits would then be in two places,
//! and the capacity would not be the limit any more.

use std::io::{self, Write};
use std::mem;
use std::sync::Arc;

use greenroom::{Actor, Addr, Context, Handler, StopReason};
use mio::net::TcpStream;

use super::link::{Goodbye, Link};
use super::readiness::{Readiness, Writable};
use crate::protocol::Line;

/// Writes lines to a socket, in order, waiting for it when it must.
pub(crate) struct Outbox {
    socket: Arc<TcpStream>,
    link: Arc<Link>,
    readiness: Addr<Readiness>,
    /// The rest of a line whose writing was given up.
    unsent: Vec<u8>,
    /// Nothing more can be written.
    is_broken: bool,
}

/// Asks an outbox to answer once everything queued before is written.
#[derive(Debug)]
pub(crate) struct Written;

impl Outbox {
    pub(crate) fn new(socket: Arc<TcpStream>, link: Arc<Link>, readiness: Addr<Readiness>) -> Self {
        Self {
            socket,
            link,
            readiness,
            unsent: Vec::new(),
            is_broken: false,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match (&*self.socket).write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    // The wait ends with an error if this outbox is killed or if the poller
                    // gives the connection up. The first leaves the line half written, and the
                    // poller may still get the other half out.
                    if self.readiness.ask(Writable(self.link.id())).wait().is_err() {
                        self.unsent = rest.to_vec();
                        return Err(Broken);
                    }
                }
                Err(e) => {
                    self.link
                        .close(Goodbye::ConnectionLost(e.kind().to_string()));
                    return Err(Broken);
                }
            }
        }
        Ok(())
    }
}

/// Nothing more can be written.
struct Broken;

impl Actor for Outbox {
    fn stopped(&mut self, _reason: &StopReason, _ctx: &mut Context<Self>) {
        // Has no effect if, as usual, there is a reason already.
        self.link.close(Goodbye::ServerFailed);
        self.link.say_farewell(mem::take(&mut self.unsent));
    }
}

impl Handler<Line> for Outbox {
    type Reply = ();

    fn handle(&mut self, line: Line, _ctx: &mut Context<Self>) {
        if !self.is_broken {
            self.is_broken = self.write(line.as_bytes()).is_err();
        }
    }
}

impl Handler<Written> for Outbox {
    type Reply = ();

    /// The mailbox keeps the order, so being handled is the answer.
    fn handle(&mut self, _: Written, _ctx: &mut Context<Self>) {}
}
