//! The actor of one client: what its lines mean.
//!
//! A session handles one line after the other, and each to its end: it waits until a room has
//! delivered a message before it looks at the next line. That costs a wait per line, which parks
//! a stack and no thread, and it is what makes everything a client causes arrive everywhere in
//! the order of its lines, whatever rooms and nicks it goes to.
//!
//! A session waits for rooms, for the directory and for its own outbox, and none of these waits
//! for a session. So a client that floods, asks for long lists or does not read delays nobody but
//! itself.
//!
//! A room may fail at a message and come back as it was before. Then the session tells its client
//! that nothing came of the line. Only what must not be missing in the room, a new nick or the
//! goodbye, is asked for once more.

mod crash;
mod messages;
mod queries;
mod registration;
mod rooms;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom::{
    Actor, Addr, AskError, Context, DeferredHandler, Handler, ReplyOf, StopReason, Timer,
};

use self::registration::Registration;
use crate::client::{Client, Identity};
use crate::directory::{Directory, Entrance, Forget, Leave};
use crate::net::{Command, Goodbye, Input, Link, Written};
use crate::protocol::{
    Folded, Line, LineWriter, Message, ParseError, Received, numeric, numeric::Failure,
};
use crate::room::{Quit, Room, Told};
use crate::server::Server;
use crate::throttle::Throttle;

/// One client.
pub(crate) struct Session {
    server: Arc<Server>,
    directory: Addr<Directory>,
    client: Client,
    /// Who the client is, as far as it is known.
    identity: Arc<Identity>,
    /// What is known of a client that is not registered yet.
    registration: Option<Registration>,
    rooms: BTreeMap<Folded, Entrance>,
    throttle: Throttle,
    /// Lines written by this session since it last waited for the outbox.
    unpaced_lines: usize,
    last_heard: Instant,
    /// A `PING` was sent, and nothing was heard since.
    has_pinged: bool,
    timer: Option<Timer>,
    has_left: bool,
}

/// The session is over. The link knows why.
#[derive(Debug)]
struct Ended;

/// It is time to see whether the client is still there.
struct Tick;

impl Session {
    /// The session of a client that has just connected.
    pub(crate) fn new(
        server: Arc<Server>,
        directory: Addr<Directory>,
        client: Client,
        now: Instant,
    ) -> Self {
        let identity = Identity {
            nick: "*".to_owned(),
            user: String::new(),
            host: Arc::clone(client.link().host()),
            real_name: String::new(),
            is_invisible: false,
        };
        let throttle = Throttle::new(server.options.flood_burst, server.options.flood_rate, now);
        Self {
            server,
            directory,
            client,
            identity: Arc::new(identity),
            registration: Some(Registration::default()),
            rooms: BTreeMap::new(),
            throttle,
            unpaced_lines: 0,
            last_heard: now,
            has_pinged: false,
            timer: None,
            has_left: false,
        }
    }

    fn link(&self) -> &Link {
        self.client.link()
    }

    fn end(&self, goodbye: Goodbye) -> Ended {
        self.link().close(goodbye);
        Ended
    }

    // What the client sends.

    fn receive(&mut self, received: Received, ctx: &mut Context<Self>) -> Result<(), Ended> {
        let delay = self.throttle.take(ctx.now());
        if !delay.is_zero() && ctx.sleep(delay).is_err() {
            return Err(self.end(Goodbye::ServerFailed));
        }
        if self.link().is_closing() {
            return Err(Ended);
        }
        match received {
            Received::Line(line) => match Message::parse(&line) {
                Ok(message) => self.obey(&message, ctx),
                Err(ParseError::NoCommand) => Ok(()),
                Err(ParseError::Nul) => self.fail(numeric::ERR_UNKNOWNERROR, &[]),
            },
            Received::NotUtf8 => {
                let line = LineWriter::from_source(self.server.name(), "FAIL")
                    .param('*')
                    .param("INVALID_UTF8")
                    .text("The line was dropped: this server takes UTF-8 only");
                self.write(line)
            }
            Received::TooLong => self.fail(numeric::ERR_INPUTTOOLONG, &[]),
            Received::Endless => Err(self.end(Goodbye::InputTooLong)),
        }
    }

    fn obey(&mut self, message: &Message<'_>, ctx: &mut Context<Self>) -> Result<(), Ended> {
        let params = &*message.params;
        let command = message.command.to_ascii_uppercase();
        match &*command {
            "CAP" => return self.cap(params, ctx),
            "PASS" => return self.pass(params),
            "NICK" => return self.nick(params, ctx),
            "USER" => return self.user(params, ctx),
            "PING" => return self.ping(params),
            "PONG" => return Ok(()),
            "QUIT" => {
                let reason = given(params, 0).map(str::to_owned);
                return Err(self.end(Goodbye::Quit(reason)));
            }
            _ => {}
        }
        if self.registration.is_some() {
            return self.fail(numeric::ERR_NOTREGISTERED, &[]);
        }
        match &*command {
            "JOIN" => self.join(params),
            "PART" => self.part(params),
            "TOPIC" => self.topic(params),
            "NAMES" => self.names(params),
            "LIST" => self.list(params),
            "PRIVMSG" => self.privmsg(params),
            "NOTICE" => self.notice(params),
            "WHO" => self.who(params),
            "WHOIS" => self.whois(params),
            "USERHOST" => self.userhost(params),
            "MODE" => self.mode(params),
            "MOTD" => self.motd(params),
            "LUSERS" => self.lusers(),
            "VERSION" => self.version(params),
            _ if Some(&command) == self.server.options.crash_command.as_ref() => self.crash(params),
            _ => self.fail(numeric::ERR_UNKNOWNCOMMAND, &[message.command]),
        }
    }

    // What the client is told.

    /// Begins the numeric `code` for this client.
    fn reply(&self, code: &str) -> LineWriter {
        self.server.reply(code, &self.identity.nick)
    }

    fn fail(&mut self, failure: Failure, params: &[&str]) -> Result<(), Ended> {
        let line = failure.line(self.server.name(), &self.identity.nick, params);
        self.write(line)
    }

    /// Queues a line for this client, and now and then waits until what is queued is written:
    /// otherwise one who asks for long lists would fill his own send queue and be cut off.
    fn write(&mut self, line: Line) -> Result<(), Ended> {
        self.client.deliver(&line);
        self.unpaced_lines += 1;
        if self.unpaced_lines >= self.server.options.send_queue_len / 4 {
            self.pace()?;
        }
        if self.link().is_closing() {
            Err(Ended)
        } else {
            Ok(())
        }
    }

    /// Waits until everything that is queued for this client is written.
    fn pace(&mut self) -> Result<(), Ended> {
        self.unpaced_lines = 0;
        let options = &self.server.options;
        let patience = options.ping_interval + options.ping_timeout;
        match self.client.outbox().ask(Written).wait_for(patience) {
            Ok(()) => Ok(()),
            Err(AskError::Wait(_)) => Err(self.end(Goodbye::ServerFailed)),
            Err(_) => {
                // If the outbox has ended the link has a reason already, and it stands.
                self.client.cut_off();
                Err(Ended)
            }
        }
    }

    // Whom the session asks.

    /// Asks the directory and waits for the answer.
    fn consult<M>(&self, message: M) -> Result<ReplyOf<Directory, M>, Ended>
    where
        M: Send + 'static,
        Directory: DeferredHandler<M>,
    {
        self.directory
            .ask(message)
            .wait()
            .map_err(|_| self.end(Goodbye::ServerFailed))
    }

    /// Asks a room the client is in and waits for the answer. `None` if it has none, and the client
    /// is told.
    fn request<M>(&mut self, name: &Folded, message: M) -> Result<Option<ReplyOf<Room, M>>, Ended>
    where
        M: Send + 'static,
        Room: DeferredHandler<M>,
    {
        let Some(entrance) = self.rooms.get(name) else {
            return Ok(None);
        };
        let outcome = entrance.room.ask(message).wait();
        self.answer_of(name, outcome)
    }

    /// What a room has answered. If it has failed and comes back, nothing came of the request; if
    /// it has ended, the client is out of it.
    fn answer_of<R>(
        &mut self,
        name: &Folded,
        outcome: Result<R, AskError>,
    ) -> Result<Option<R>, Ended> {
        let error = match outcome {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        let Some(entrance) = self.rooms.get(name) else {
            return Ok(None);
        };
        if self.link().is_closing() {
            return Err(Ended);
        }
        if let AskError::Panicked { .. } = error {
            let line = LineWriter::from_source(self.server.name(), "FAIL")
                .param('*')
                .param("CHANNEL_FAILED")
                .param(&entrance.name)
                .text("The channel failed at this and is back as it was before");
            self.write(line)?;
            return Ok(None);
        }
        let line = LineWriter::from_source(self.server.name(), "KICK")
            .param(&entrance.name)
            .param(&self.identity.nick)
            .text("The channel has failed");
        self.rooms.remove(name);
        self.consult(Leave {
            id: self.client.id(),
            name: name.clone(),
        })?;
        self.write(line)?;
        Ok(None)
    }

    // How the session ends.

    /// Says goodbye to everybody, once.
    fn leave(&mut self) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let id = self.client.id();
        self.link().close(Goodbye::ServerFailed);
        let goodbye = self
            .link()
            .goodbye()
            .expect("a reason was just given")
            .clone();
        // When the server ends, everybody goes and nobody needs to be told of the others.
        if goodbye != Goodbye::Shutdown {
            let line = LineWriter::from_source(&self.identity.source(), "QUIT").text(&goodbye);
            let mut told = Told::from([id]);
            for entrance in std::mem::take(&mut self.rooms).into_values() {
                let quit = || Quit {
                    id,
                    line: line.clone(),
                    told: told.clone(),
                };
                // A room that has ended has nobody to tell.
                told = insist(&entrance.room, quit).unwrap_or(told);
            }
            // Fails only if the directory has ended, and then there is nothing to forget.
            let _ = self.directory.send(Forget(id));
        }
        if goodbye.is_to_the_deaf() {
            self.client.outbox().kill();
        } else {
            self.client.outbox().drain();
        }
    }

    fn set_timer(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            timer.cancel();
        }
        self.timer = Some(ctx.send_after(delay, Tick));
    }

    fn check_signs_of_life(&mut self, ctx: &mut Context<Self>) -> Result<(), Ended> {
        if self.registration.is_some() {
            return Err(self.end(Goodbye::RegistrationTimeout));
        }
        let interval = self.server.options.ping_interval;
        let limit = interval + self.server.options.ping_timeout;
        let silence = ctx.now().saturating_duration_since(self.last_heard);
        let next_check = if silence < interval {
            interval - silence
        } else if silence < limit || !self.has_pinged {
            if !std::mem::replace(&mut self.has_pinged, true) {
                self.write(LineWriter::new("PING").text(self.server.name()))?;
            }
            // Never at once, should this check have come late.
            limit
                .saturating_sub(silence)
                .max(self.server.options.ping_timeout / 2)
        } else {
            return Err(self.end(Goodbye::PingTimeout(limit)));
        };
        self.set_timer(next_check, ctx);
        Ok(())
    }
}

impl Actor for Session {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.set_timer(self.server.options.registration_timeout, ctx);
    }

    /// Only a session that failed, or that was stopped from outside, has not left before.
    fn stopped(&mut self, _reason: &StopReason, _ctx: &mut Context<Self>) {
        self.leave();
    }
}

impl Handler<Input> for Session {
    type Reply = ();

    fn handle(&mut self, input: Input, ctx: &mut Context<Self>) {
        let handled = match input {
            Input::Lines(lines) => {
                self.last_heard = ctx.now();
                self.has_pinged = false;
                lines
                    .into_iter()
                    .try_for_each(|received| self.receive(received, ctx))
            }
            Input::Closing => Err(Ended),
        };
        if handled.is_ok() {
            // Being slow is our doing, so the time it took is not held against the client.
            self.last_heard = ctx.now();
            let id = self.client.id();
            self.link().commands().push(Command::Credit(id));
        } else {
            self.leave();
            ctx.stop();
        }
    }
}

impl Handler<Tick> for Session {
    type Reply = ();

    fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
        if self.check_signs_of_life(ctx).is_err() {
            self.leave();
            ctx.stop();
        }
    }
}

/// Asks a room for what must not be missing there: once more if it fails at it.
fn insist<M>(room: &Addr<Room>, message: impl Fn() -> M) -> Result<ReplyOf<Room, M>, AskError>
where
    M: Send + 'static,
    Room: DeferredHandler<M>,
{
    match room.ask(message()).wait() {
        Err(AskError::Panicked { .. }) => room.ask(message()).wait(),
        outcome => outcome,
    }
}

/// The parameter at `index`, if it is there and not empty.
fn given<'a>(params: &[&'a str], index: usize) -> Option<&'a str> {
    params.get(index).copied().filter(|param| !param.is_empty())
}
