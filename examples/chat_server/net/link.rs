//! One connection as everybody sees it: who it is and whether it is ending, and why.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::commands::{Command, Commands};
use crate::protocol::{Line, LineWriter};

/// The number of a connection, never given twice. Clients are listed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(crate) usize);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a connection ends. Displayed, it is what the others read in the `QUIT` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// The client said so, perhaps with a reason.
    Quit(Option<String>),
    /// The client has closed its half.
    ConnectionClosed,
    /// The connection broke.
    ConnectionLost(String),
    /// The client does not read.
    SendQueueExceeded,
    /// The client gave no sign for so long.
    PingTimeout(Duration),
    /// The client took too long to say who it is.
    RegistrationTimeout,
    /// The client sent a line without an end.
    InputTooLong,
    /// The server is at its limit of connections.
    ServerFull,
    /// The server ends.
    Shutdown,
    /// A part of the server failed.
    ServerFailed,
}

impl Goodbye {
    /// Whether there is no point in writing what is queued for the client.
    pub(crate) fn is_to_the_deaf(&self) -> bool {
        matches!(
            self,
            Self::ConnectionLost(_) | Self::SendQueueExceeded | Self::PingTimeout(_)
        )
    }
}

impl fmt::Display for Goodbye {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit(Some(reason)) => write!(f, "Quit: {reason}"),
            Self::Quit(None) => f.write_str("Client quit"),
            Self::ConnectionClosed => f.write_str("Connection closed"),
            Self::ConnectionLost(problem) => write!(f, "Connection lost: {problem}"),
            Self::SendQueueExceeded => f.write_str("SendQ exceeded"),
            Self::PingTimeout(silence) => {
                write!(f, "Ping timeout: {} seconds", silence.as_secs_f64().round())
            }
            Self::RegistrationTimeout => f.write_str("Registration timed out"),
            Self::InputTooLong => f.write_str("Input line too long"),
            Self::ServerFull => f.write_str("Server is full"),
            Self::Shutdown => f.write_str("Server shutting down"),
            Self::ServerFailed => f.write_str("Internal error"),
        }
    }
}

/// A connection, shared by its session, its outbox, the poller and everybody who writes to it.
pub(crate) struct Link {
    id: ClientId,
    host: Arc<str>,
    goodbye: OnceLock<Goodbye>,
    commands: Arc<Commands>,
}

impl Link {
    pub(super) fn new(id: ClientId, host: Arc<str>, commands: Arc<Commands>) -> Self {
        Self {
            id,
            host,
            goodbye: OnceLock::new(),
            commands,
        }
    }

    pub(crate) fn id(&self) -> ClientId {
        self.id
    }

    /// The address of the client, as it is shown to others.
    pub(crate) fn host(&self) -> &Arc<str> {
        &self.host
    }

    pub(crate) fn commands(&self) -> &Commands {
        &self.commands
    }

    /// Begins to end the connection. The first reason stands; later ones are ignored.
    pub(crate) fn close(&self, goodbye: Goodbye) {
        if self.goodbye.set(goodbye).is_ok() {
            self.commands.push(Command::Closing(self.id));
        }
    }

    /// The reason to end, if there is one.
    pub(crate) fn goodbye(&self) -> Option<&Goodbye> {
        self.goodbye.get()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.goodbye.get().is_some()
    }

    /// Has the poller write what is left of the last words, and the `ERROR` line. Only the first
    /// call counts.
    pub(crate) fn say_farewell(&self, mut unsent: Vec<u8>) {
        unsent.extend_from_slice(self.error_line().as_bytes());
        self.commands.push(Command::Farewell(self.id, unsent));
    }

    /// The last line for the client. Without a reason to end it is a failure of this program
    /// that ends the connection.
    pub(super) fn error_line(&self) -> Line {
        let goodbye = self.goodbye().unwrap_or(&Goodbye::ServerFailed);
        LineWriter::new("ERROR").text(format_args!("Closing Link: {} ({goodbye})", self.host))
    }
}
