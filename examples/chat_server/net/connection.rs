//! What the poller remembers of one socket.
//!
//! Edge-triggered readiness is remembered in two flags. `is_writable` is what keeps an outbox
//! from waiting for ever. The outbox asks after its write was refused. Either the socket takes
//! bytes again before the question arrives: then the event has set the flag, which answers the
//! question at once. Or it happens later: then the event finds the question waiting. The flag may
//! be older than the refused write, in which case the outbox tries once in vain and asks again.

use std::io::{self, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::sync::Arc;

use greenroom::{Recipient, ReplyTo};
use mio::net::TcpStream;

use super::Input;
use super::link::{Goodbye, Link};
use crate::protocol::LineBuffer;

/// What to do with a connection after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It wants to be read again.
    More,
    /// It waits for an event or for a command.
    Wait,
    /// It has ended.
    Over,
}

/// A socket and its state.
pub(super) struct Connection {
    socket: Arc<TcpStream>,
    link: Arc<Link>,
    session: Session,
    lines: LineBuffer,
    /// The session takes a batch.
    has_credit: bool,
    /// Reading may give bytes.
    is_readable: bool,
    /// The poller has it in its list of connections to read.
    is_listed: bool,
    /// Writing may take bytes.
    is_writable: bool,
    /// The question of the outbox, if it asked and the socket takes nothing.
    question: Option<ReplyTo<()>>,
    farewell: Farewell,
    /// The client sends nothing more.
    is_at_end: bool,
}

/// The way to the session.
enum Session {
    /// It is being made.
    Expected,
    Open(Recipient<Input>),
    /// It has been told that the connection ends, or will be when it is there. What is read
    /// afterwards is thrown away.
    Parted,
}

/// The last bytes, which the poller writes when the outbox has ended.
enum Farewell {
    NotYet,
    Saying(Vec<u8>),
    Said,
}

impl Connection {
    pub(super) fn new(socket: Arc<TcpStream>, link: Arc<Link>, line_bytes: usize) -> Self {
        Self {
            socket,
            link,
            session: Session::Expected,
            lines: LineBuffer::new(line_bytes),
            has_credit: false,
            is_readable: false,
            is_listed: false,
            is_writable: false,
            question: None,
            farewell: Farewell::NotYet,
            is_at_end: false,
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Notes that there may be bytes to read. As the next three, returns whether the connection is
    /// to be put on the list.
    pub(super) fn set_readable(&mut self) -> bool {
        self.is_readable = true;
        self.enlist()
    }

    /// Takes the session, and begins to read for it.
    pub(super) fn open(&mut self, session: Recipient<Input>) -> bool {
        if let Session::Parted = self.session {
            // A session that has ended knows already.
            let _ = session.try_send(Input::Closing);
            return false;
        }
        self.session = Session::Open(session);
        self.give_credit()
    }

    pub(super) fn give_credit(&mut self) -> bool {
        self.has_credit = true;
        self.enlist()
    }

    /// Tells the session that the connection ends, and parts from it.
    pub(super) fn begin_closing(&mut self) -> bool {
        if let Session::Open(session) = mem::replace(&mut self.session, Session::Parted) {
            // A session that has ended knows already.
            let _ = session.try_send(Input::Closing);
        }
        self.enlist()
    }

    fn enlist(&mut self) -> bool {
        let may_read = self.has_credit || matches!(self.session, Session::Parted);
        let is_new = self.is_readable && may_read && !self.is_listed;
        self.is_listed |= is_new;
        is_new
    }

    /// Reads once, at most a buffer, and passes on the lines that are complete.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Progress {
        self.is_listed = false;
        match (&*self.socket).read(buffer) {
            Ok(0) => self.reach_end(Goodbye::ConnectionClosed),
            Ok(count) => {
                self.pass_on(&buffer[..count]);
                self.continue_reading()
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                Progress::Wait
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => self.continue_reading(),
            Err(e) => self.reach_end(Goodbye::ConnectionLost(e.kind().to_string())),
        }
    }

    fn continue_reading(&mut self) -> Progress {
        if self.enlist() {
            Progress::More
        } else {
            Progress::Wait
        }
    }

    fn pass_on(&mut self, bytes: &[u8]) {
        let Session::Open(session) = &self.session else {
            return;
        };
        let mut received = Vec::new();
        self.lines.push(bytes, &mut received);
        if received.is_empty() {
            return;
        }
        self.has_credit = false;
        if session.try_send(Input::Lines(received)).is_err() {
            self.link.close(Goodbye::ServerFailed);
        }
    }

    fn reach_end(&mut self, goodbye: Goodbye) -> Progress {
        self.is_readable = false;
        self.is_at_end = true;
        self.link.close(goodbye);
        match self.farewell {
            Farewell::Said => Progress::Over,
            Farewell::NotYet | Farewell::Saying(_) => Progress::Wait,
        }
    }

    /// Keeps the question until the socket takes bytes.
    pub(super) fn ask_writable(&mut self, question: ReplyTo<()>) {
        if mem::take(&mut self.is_writable) {
            question.send(());
        } else {
            self.question = Some(question);
        }
    }

    /// Notes that the socket may take bytes and lets whoever waits for it go on.
    pub(super) fn set_writable(&mut self) -> Progress {
        match self.question.take() {
            Some(question) => question.send(()),
            None => self.is_writable = true,
        }
        self.write_farewell()
    }

    /// Takes the last bytes and begins to write them. Only the first ones count.
    pub(super) fn say_farewell(&mut self, bytes: Vec<u8>) -> Progress {
        if let Farewell::NotYet = self.farewell {
            self.farewell = Farewell::Saying(bytes);
        }
        self.write_farewell()
    }

    fn write_farewell(&mut self) -> Progress {
        let Farewell::Saying(bytes) = &mut self.farewell else {
            return Progress::Wait;
        };
        while !bytes.is_empty() {
            match (&*self.socket).write(bytes) {
                Ok(count) => drop(bytes.drain(..count)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Progress::Wait,
                Err(_) => break,
            }
        }
        self.farewell = Farewell::Said;
        // It may fail if the connection is broken, and then the client knows.
        let _ = self.socket.shutdown(Shutdown::Write);
        if self.is_at_end {
            Progress::Over
        } else {
            Progress::Wait
        }
    }
}
