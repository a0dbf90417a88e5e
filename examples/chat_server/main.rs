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
//! - [`reception::Reception`]: makes the two actors of each new connection.
//! - [`net::Readiness`]: the door to the poller, for those who wait for a socket.
//! - [`net::Poller`], no actor but a thread: waits for all sockets, accepts and reads.
//!
//! Who supervises whom, and what becomes of the others when one of them fails, is in [`tree`].
//!
//! # Who waits for whom
//!
//! ```text
//! Session ──► Directory        (who owns this nick, where is this room)
//!      │ │         └─────────► supervisor of the rooms      (open or close this one)
//!      │ └────► Room           (deliver this, and tell me when it is done)
//!      └──────► its own Outbox (is what I wrote on its way)
//!                  └─────────► Readiness ──► poller         (can I write again)
//! Reception ─────────────────► supervisor of the sessions   (start these two)
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
mod reception;
mod room;
mod server;
mod session;
mod throttle;
mod tree;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use std::{env, fmt};

use greenroom::{Actor, Addr, Context, Supervisor, System, Terminated};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::net::{Command, Commands, Limits, Poller, listen};
use crate::options::{HELP, Options, Request};
use crate::server::Server;
use crate::tree::Tree;

/// How long the actors may take to end.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(5);

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

/// Serves until a signal, or until the supervision tree gives up. Returns whether everything ended
/// in order.
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
    let poller = Poller::new(listener, limits)?;
    let commands = poller.commands();
    let server = Arc::new(Server::new(options));
    let Tree { root, reception } =
        tree::start(&system, server, Arc::clone(&commands)).map_err(io::Error::other)?;
    // It lives as long as its address.
    let _watch = system.spawn(Watch {
        root: root.clone(),
        commands: Arc::clone(&commands),
    });
    let wake_main = CloseOnDrop(signals.handle());
    let thread = thread::Builder::new()
        .name("poller".to_owned())
        .spawn(move || {
            // If it is not a signal that ends the poller, the main thread still waits for one.
            let _wake_main = wake_main;
            poller.run(&reception.recipient())
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
    let has_failed = root.is_stopped();
    let is_clean = end(&system);
    served.map(|()| is_clean && !has_failed)
}

/// Ends the server when its tree has given up.
struct Watch {
    root: Addr<Supervisor>,
    commands: Arc<Commands>,
}

impl Actor for Watch {
    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.watch(&self.root);
    }

    fn terminated(&mut self, ended: &Terminated, _ctx: &mut Context<Self>) {
        if ended.reason.is_abnormal() {
            complain(format_args!("{ended}"));
            self.commands.push(Command::Shutdown);
        }
    }
}

/// Ends the wait for signals, also if the thread that owns it panics.
struct CloseOnDrop(Handle);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
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
