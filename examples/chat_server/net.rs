//! Sockets: bytes come in as batches of lines, lines go out as bytes.
//!
//! One thread, the [`Poller`], waits for all sockets at once. It accepts, reads and cuts lines;
//! it never waits for an actor. Each connection has a [`Link`], which everybody who has to do
//! with it shares, and an [`Outbox`], the actor that writes.
//!
//! # Reading is on credit
//!
//! The session of a new connection is made elsewhere; the first credit comes with it
//! ([`Command::Opened`]). It is sent one batch of lines and no other until it has given the credit
//! back ([`Command::Credit`]). Until then nothing is read from its socket. So a client that sends
//! faster than its session works is slowed down by TCP, holds at most one batch, one unfinished
//! line and what the kernel buffers, and a session's mailbox is never full.
//!
//! # Writing waits for the socket, not for a thread
//!
//! An outbox writes to the socket by itself. Only if the socket takes no more does it ask
//! [`Readiness`] and wait, which parks the stack of its handler. The poller answers when the
//! socket takes bytes again, or drops the question when it gives the connection up, so that no
//! outbox waits for ever.
//!
//! # How a connection ends
//!
//! 1. Somebody has a reason: [`Link::close`]. The first reason stands. From now on nobody sends
//!    the client anything new.
//! 2. The poller passes it on to the session ([`Input::Closing`]) and starts the clock.
//! 3. The session tells the rooms and the directory, lets its outbox drain, or kills it if the
//!    client does not read, and stops.
//! 4. The outbox stops and hands over its last bytes ([`Command::Farewell`]), among them the
//!    `ERROR` line with the reason. The poller writes them, closes its half, and reads what the
//!    client still sends: closing with bytes unread would reset the connection and lose the
//!    `ERROR` line on the way.
//! 5. The socket is closed when the client closes its half, or when the time is over.

mod commands;
mod connection;
mod link;
mod listener;
mod outbox;
mod poller;
mod readiness;

pub(crate) use commands::{Command, Commands};
pub(crate) use link::{ClientId, Goodbye, Link};
pub(crate) use listener::listen;
pub(crate) use outbox::{Outbox, Written};
pub(crate) use poller::{Arrival, Limits, Poller};
pub(crate) use readiness::Readiness;

use crate::protocol::Received;

/// What the poller tells a session.
#[derive(Debug)]
pub(crate) enum Input {
    /// The lines of one batch. The session returns [`Command::Credit`] when it is through.
    Lines(Vec<Received>),
    /// The connection has a reason to end. Nothing comes after it.
    Closing,
}
