//! A chat server that real IRC clients talk to: `cargo run --release --example chat_server`.
//!
//! Connect with any client, for example `irssi -c 127.0.0.1`, or by hand with `nc 127.0.0.1 6667`
//! and the lines `NICK me`, `USER me 0 * :Me`, `JOIN #room` and `PRIVMSG #room :hello`. All
//! options are in [`options::HELP`].
//!
//! # Who is there
//!
//! - [`session::Session`], one per connection: what the client's lines mean.
//! - [`net::Outbox`], one per connection: its mailbox is the client's send queue.
//! - [`room::Room`], one per channel: the members, and the delivery of what is said.
//! - [`directory::Directory`]: who has which nick, and which rooms exist.
//! - [`net::Readiness`]: the door to the poller, for those who wait for a socket.
//! - [`net::Poller`], no actor but a thread: waits for all sockets, accepts and reads.
//!
//! # Who waits for whom
//!
//! ```text
//! Session ──► Directory        (who owns this nick, where is this room)
//!    │ ├────► Room             (deliver this, and tell me when it is done)
//!    │ └────► its own Outbox   (is what I wrote on its way)
//!    │             └─────────► Readiness ──► poller   (can I write again)
//! ```
//!
//! The arrows make no circle, so nobody waits for himself. Against the arrows goes only what
//! does not wait: the poller and the rooms `try_send`, the directory answers.
//!
//! The limits follow from it. What a client sends is read when its session is through with what
//! it sent before. What a client is sent waits in a mailbox of fixed capacity, and when that is
//! full the client is cut off with «SendQ exceeded». A room with a thousand members and one that
//! does not read does the same work as without that one.
//!
//! # What is promised
//!
//! A member of a channel gets each message to it once, and none of its own. What one client
//! causes, messages, joins, parts, nicks and its goodbye at last, reaches each other client in
//! the order of its lines. Nothing is promised about the order between two senders. Lines that
//! are not UTF-8 are refused.

mod client;
mod directory;
mod net;
mod options;
mod protocol;
mod room;
mod server;
mod session;
mod throttle;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use std::{env, fmt};

use greenroom::{Addr, Overflow, Recipient, System};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::client::Client;
use crate::directory::Directory;
use crate::net::{Arrival, Command, Input, Limits, Outbox, Poller, Readiness, listen};
use crate::options::{HELP, Options, Request};
use crate::server::Server;
use crate::session::Session;

/// How long the actors may take to end.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);
/// The mailbox of a session. It gets one batch of lines at a time, one tick and one notice that
/// the connection ends, so it is never full.
const SESSION_CAPACITY: usize = 4;

fn main() -> ExitCode {
    let options = match Options::parse(env::args_os().skip(1)) {
        Ok(Request::Help) => {
            say(format_args!("{HELP}"));
            return ExitCode::SUCCESS;
        }
        Ok(Request::Serve(options)) => *options,
        Err(e) => {
            complain(format_args!("{e}; see --help"));
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            complain(format_args!("{e}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal. Returns whether everything ended in order.
fn serve(options: Options) -> io::Result<bool> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let listener = listen(options.listen).map_err(|e| {
        io::Error::new(
            e.kind(),
            format!("cannot listen on {}: {e}", options.listen),
        )
    })?;
    let address = listener.local_addr()?;
    let system = System::builder()
        .name("chat")
        // Each client may have its session and its outbox waiting at the same time.
        .max_stacks(2 * options.max_clients + 64)
        .build()
        .map_err(io::Error::other)?;
    let limits = Limits {
        connections: options.max_clients,
        line_bytes: options.line_bytes,
        send_buffer_bytes: options.send_buffer_bytes,
    };
    let server = Arc::new(Server::new(options));
    let directory = system
        .actor()
        .name("directory")
        .spawn(Directory::new(Arc::clone(&server)))
        .map_err(io::Error::other)?;
    let poller = {
        let system = system.clone();
        Poller::new(listener, limits, move |commands| {
            let readiness = system.spawn(Readiness::new(Arc::clone(commands)));
            move |arrival| open_session(&system, &server, &directory, &readiness, arrival)
        })?
    };
    let commands = poller.commands();
    let wake_main = CloseOnDrop(signals.handle());
    let thread = thread::Builder::new()
        .name("poller".to_owned())
        .spawn(move || {
            // If it is not a signal that ends the poller, the main thread still waits for one.
            let _wake_main = wake_main;
            poller.run()
        })?;
    say(format_args!("listening on {address}\n"));

    if signals.forever().next().is_some() {
        end_at_once_on_next_signal()?;
        say(format_args!("shutting down\n"));
        commands.push(Command::Shutdown);
    }
    let served = thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the poller panicked")));
    let is_clean = end(&system);
    served.map(|()| is_clean)
}

/// Ends the wait for signals, also if the thread that owns it panics.
struct CloseOnDrop(Handle);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Makes the two actors of a connection. `None` if there is no memory for them.
fn open_session(
    system: &System,
    server: &Arc<Server>,
    directory: &Addr<Directory>,
    readiness: &Addr<Readiness>,
    arrival: Arrival,
) -> Option<Recipient<Input>> {
    let Arrival { socket, link } = arrival;
    let id = link.id();
    let outbox = system
        .actor()
        .name(format!("outbox {id}"))
        .capacity(server.options.send_queue_len)
        .overflow(Overflow::Reject)
        .spawn(Outbox::new(socket, Arc::clone(&link), readiness.clone()))
        .ok()?;
    let session = Session::new(
        Arc::clone(server),
        directory.clone(),
        Client::new(link, outbox),
        system.now(),
    );
    let session = system
        .actor()
        .name(format!("session {id}"))
        .capacity(SESSION_CAPACITY)
        .overflow(Overflow::Reject)
        .spawn(session)
        .ok()?;
    Some(session.recipient())
}

/// The default action of the signals, from now on.
fn end_at_once_on_next_signal() -> io::Result<()> {
    let armed = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&armed))?;
    }
    Ok(())
}

/// Ends the actors and says how they ended and where all messages went.
fn end(system: &System) -> bool {
    let report = system.shutdown(SHUTDOWN_DEADLINE);
    say(format_args!("{report}\n"));
    let counts = system.snapshot().totals;
    say(format_args!(
        "messages: accepted {} = handled {} + dropped {} + dead-lettered {} + cancelled {} + \
         queued {}\n",
        counts.accepted,
        counts.handled,
        counts.dropped,
        counts.dead_lettered,
        counts.cancelled,
        counts.queued,
    ));
    report.is_clean()
}

/// Writes to standard output at once. That it may be closed is no reason to end.
fn say(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}

fn complain(problem: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "chat_server: {problem}");
}
