//! The thread that waits for all sockets at once.
//!
//! Readiness is edge-triggered: the system says once that a socket has become readable or
//! writable, and [`Connection`] remembers it until a call finds the opposite. Each turn reads
//! one buffer at most from each socket that has something, so that a flood on one of them delays
//! the others by the flood of a single buffer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, mem};

use greenroom::Recipient;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::Input;
use super::commands::{Command, Commands};
use super::connection::{Connection, Progress};
use super::link::{ClientId, Goodbye, Link};

/// How long an ending connection may take to write what is queued and to close its half.
const LINGER: Duration = Duration::from_secs(3);
/// The same for all connections together when the server ends.
const SHUTDOWN_LINGER: Duration = Duration::from_secs(1);
/// How long nobody is accepted after the system refused a socket, for example because the
/// process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The most connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// The most connections beyond the limit that are told so; further ones are just closed.
const REFUSALS: usize = 64;
/// The most bytes read from one socket in one turn.
const READ_BYTES: usize = 4096;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// What bounds the connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) line_bytes: usize,
    pub(crate) send_buffer_bytes: usize,
}

/// A connection that was just accepted and needs a session.
pub(crate) struct Arrival {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) link: Arc<Link>,
}

/// The state of the thread.
pub(crate) struct Poller {
    poll: Poll,
    /// `None` once the server ends.
    listener: Option<TcpListener>,
    commands: Arc<Commands>,
    limits: Limits,
    connections: HashMap<ClientId, Connection>,
    next_id: usize,
    /// Connections that may have bytes to read and may be read from, each once.
    ready: VecDeque<ClientId>,
    /// When connections that are ending are given up.
    deadlines: BinaryHeap<Reverse<(Instant, ClientId)>>,
    accepting: Accepting,
    /// The last attempt to accept failed for want of something, and that was said.
    is_short: bool,
    /// When everything is given up, once the server ends.
    end: Option<Instant>,
    buffer: Box<[u8]>,
}

/// Whether the listener may have connections for us.
#[derive(Clone, Copy, Debug)]
enum Accepting {
    Idle,
    Ready,
    PausedUntil(Instant),
}

impl Poller {
    /// Prepares to serve `listener`. Nothing happens before [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The system has no descriptor for the poll or for the waker.
    pub(crate) fn new(mut listener: TcpListener, limits: Limits) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let commands = Arc::new(Commands::new(Waker::new(poll.registry(), WAKER)?));
        Ok(Self {
            poll,
            listener: Some(listener),
            commands,
            limits,
            connections: HashMap::new(),
            next_id: 1,
            ready: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            accepting: Accepting::Idle,
            is_short: false,
            end: None,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    pub(crate) fn commands(&self) -> Arc<Commands> {
        Arc::clone(&self.commands)
    }

    /// Serves until [`Command::Shutdown`] and then until every connection has ended or a
    /// second has passed. Who arrives is sent to `reception`, which is to answer with
    /// [`Command::Opened`].
    ///
    /// # Errors
    ///
    /// The system refuses to wait for events. All connections are closed then.
    pub(crate) fn run(mut self, reception: &Recipient<Arrival>) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout(Instant::now());
            match self.poll.poll(&mut events, timeout) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                // The events are those of an earlier turn.
                Err(_) => events.clear(),
                Ok(()) => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accepting = Accepting::Ready,
                    WAKER => {}
                    Token(id) => self.on_event(ClientId(id), event),
                }
            }
            for command in self.commands.take() {
                self.on_command(command);
            }
            let now = Instant::now();
            self.give_up_late(now);
            self.accept(now, reception);
            self.read_ready();
            if self
                .end
                .is_some_and(|end| self.connections.is_empty() || end <= now)
            {
                return Ok(());
            }
        }
    }

    /// How long the next poll may sleep.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept = match self.accepting {
            Accepting::Idle => None,
            Accepting::Ready => Some(now),
            Accepting::PausedUntil(time) => Some(time),
        };
        let deadline = self.deadlines.peek().map(|Reverse((time, _))| *time);
        [accept, deadline, self.end]
            .into_iter()
            .flatten()
            .min()
            .map(|time| time.saturating_duration_since(now))
    }

    fn on_event(&mut self, id: ClientId, event: &mio::event::Event) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let is_lost = event.is_error() || event.is_write_closed();
        if is_lost {
            connection
                .link()
                .close(Goodbye::ConnectionLost("reset".to_owned()));
        }
        if is_lost || event.is_writable() {
            let progress = connection.set_writable();
            self.settle(id, progress);
        }
        if is_lost || event.is_readable() || event.is_read_closed() {
            self.set_readable(id);
        }
    }

    fn set_readable(&mut self, id: ClientId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.set_readable()
        {
            self.ready.push_back(id);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Opened(id, session) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    if connection.open(session) {
                        self.ready.push_back(id);
                    }
                } else {
                    // The connection was given up while the session was made.
                    let _ = session.try_send(Input::Closing);
                }
            }
            Command::Credit(id) => {
                if let Some(connection) = self.connections.get_mut(&id)
                    && connection.give_credit()
                {
                    self.ready.push_back(id);
                }
            }
            // Dropping the reply of a connection that is gone tells its outbox so.
            Command::Writable(id, reply) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.ask_writable(reply);
                }
            }
            Command::Closing(id) => self.begin_closing(id),
            Command::Farewell(id, bytes) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    let progress = connection.say_farewell(bytes);
                    self.settle(id, progress);
                }
            }
            Command::Shutdown => {
                self.listener = None;
                self.accepting = Accepting::Idle;
                self.end = Some(Instant::now() + SHUTDOWN_LINGER);
                for connection in self.connections.values() {
                    connection.link().close(Goodbye::Shutdown);
                }
            }
        }
    }

    /// Tells the session and starts the clock. Comes once for each link, since a link is closed
    /// once.
    fn begin_closing(&mut self, id: ClientId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        self.deadlines.push(Reverse((Instant::now() + LINGER, id)));
        // From now on the connection is read without credit, only to throw the bytes away.
        if connection.begin_closing() {
            self.ready.push_back(id);
        }
    }

    fn give_up_late(&mut self, now: Instant) {
        while let Some(&Reverse((time, id))) = self.deadlines.peek()
            && time <= now
        {
            self.deadlines.pop();
            self.connections.remove(&id);
        }
    }

    fn settle(&mut self, id: ClientId, progress: Progress) {
        if progress == Progress::Over {
            self.connections.remove(&id);
        }
    }

    /// Reads once from everybody who is ready now; who has more comes next turn.
    fn read_ready(&mut self) {
        for id in mem::take(&mut self.ready) {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            match connection.read(&mut self.buffer) {
                Progress::More => self.ready.push_back(id),
                Progress::Wait => {}
                Progress::Over => self.settle(id, Progress::Over),
            }
        }
    }

    fn accept(&mut self, now: Instant, reception: &Recipient<Arrival>) {
        match self.accepting {
            Accepting::Idle => return,
            Accepting::PausedUntil(time) if now < time => return,
            Accepting::PausedUntil(_) | Accepting::Ready => {}
        }
        let Some(listener) = self.listener.take() else {
            return;
        };
        self.accepting = Accepting::Ready;
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.accept() {
                Ok((socket, address)) => {
                    self.is_short = false;
                    self.admit(socket, address.ip(), reception);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.accepting = Accepting::Idle;
                    break;
                }
                Err(e) if is_of_one_connection(&e) => {}
                Err(e) => {
                    self.pause_accepting(&e, now);
                    break;
                }
            }
        }
        self.listener = Some(listener);
    }

    fn admit(&mut self, mut socket: TcpStream, address: IpAddr, reception: &Recipient<Arrival>) {
        let refused_count = self
            .connections
            .len()
            .saturating_sub(self.limits.connections);
        if refused_count >= REFUSALS {
            return;
        }
        let id = ClientId(self.next_id);
        self.next_id += 1;
        // Not being told about these settings makes the connection slower or its buffers
        // larger, which is no reason to refuse it.
        let _ = socket.set_nodelay(true);
        let _ = socket2::SockRef::from(&socket).set_send_buffer_size(self.limits.send_buffer_bytes);
        let both = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self
            .poll
            .registry()
            .register(&mut socket, Token(id.0), both)
        {
            complain(format_args!("cannot watch a connection: {e}"));
            return;
        }
        let link = Arc::new(Link::new(id, host(address), self.commands()));
        let socket = Arc::new(socket);
        let is_full = self.connections.len() >= self.limits.connections;
        let connection = Connection::new(
            Arc::clone(&socket),
            Arc::clone(&link),
            self.limits.line_bytes,
        );
        self.connections.insert(id, connection);
        if is_full {
            link.close(Goodbye::ServerFull);
            link.say_farewell(Vec::new());
        } else if let Err(refused) = reception.try_send(Arrival { socket, link }) {
            let Arrival { link, .. } = refused.into_inner();
            link.close(Goodbye::ServerFailed);
            link.say_farewell(Vec::new());
        }
    }

    /// Says once why nobody is accepted, and waits a little: trying again at once would fail at
    /// once, and the thread would spin.
    fn pause_accepting(&mut self, error: &io::Error, now: Instant) {
        if !mem::replace(&mut self.is_short, true) {
            complain(format_args!("cannot accept: {error}"));
        }
        self.accepting = Accepting::PausedUntil(now + ACCEPT_PAUSE);
    }
}

/// Writes to standard error, which may be closed.
fn complain(problem: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "chat_server: {problem}");
}

/// Whether only the connection that was about to be accepted has failed.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// The address in a form that can stand as a parameter, which must not begin with a colon.
fn host(address: IpAddr) -> Arc<str> {
    let text = address.to_canonical().to_string();
    if text.starts_with(':') {
        format!("0{text}").into()
    } else {
        text.into()
    }
}
