//! How a client becomes known: CAP, PASS, NICK and USER, and what it is told then. Also the
//! commands that work before and after: PING and a change of the nick.

use std::sync::Arc;

use greenroom::Context;

use super::{Ended, Session, given, insist};
use crate::client::Identity;
use crate::directory::{Claim, Settle};
use crate::protocol::{Folded, LineWriter, cut, is_nick, numeric, user_name};
use crate::room::{Rename, Told};
use crate::server::{
    CHANNEL_MODES, REAL_NAME_BYTES, USER_MODES, USER_NAME_BYTES, VERSION, unix_seconds,
};

/// The most tokens in one line of numeric 005.
const FEATURES_PER_LINE: usize = 13;

/// What a client that is not registered has said so far.
#[derive(Debug, Default)]
pub(super) struct Registration {
    has_nick: bool,
    has_user: bool,
    /// The client has asked for the capabilities and not said that it is through with them.
    is_negotiating: bool,
}

impl Session {
    /// There are no capabilities: the list is empty and every request is refused.
    pub(super) fn cap(&mut self, params: &[&str], ctx: &mut Context<Self>) -> Result<(), Ended> {
        let Some(subcommand) = given(params, 0) else {
            return self.fail(numeric::ERR_NEEDMOREPARAMS, &["CAP"]);
        };
        let answer = |session: &Self, verb: &str, text: &str| {
            LineWriter::from_source(session.server.name(), "CAP")
                .param(&session.identity.nick)
                .param(verb)
                .text(text)
        };
        match &*subcommand.to_ascii_uppercase() {
            "LS" => {
                self.set_negotiating(true);
                self.write(answer(self, "LS", ""))
            }
            "LIST" => self.write(answer(self, "LIST", "")),
            "REQ" => {
                self.set_negotiating(true);
                let requested = params.get(1).copied().unwrap_or_default();
                let verb = if requested.trim().is_empty() {
                    "ACK"
                } else {
                    "NAK"
                };
                self.write(answer(self, verb, requested))
            }
            "END" => {
                self.set_negotiating(false);
                self.try_register(ctx)
            }
            _ => self.fail(numeric::ERR_INVALIDCAPCMD, &[subcommand]),
        }
    }

    fn set_negotiating(&mut self, is_negotiating: bool) {
        if let Some(registration) = &mut self.registration {
            registration.is_negotiating = is_negotiating;
        }
    }

    /// Passwords are taken from everybody and mean nothing.
    pub(super) fn pass(&mut self, params: &[&str]) -> Result<(), Ended> {
        if self.registration.is_none() {
            self.fail(numeric::ERR_ALREADYREGISTERED, &[])
        } else if given(params, 0).is_none() {
            self.fail(numeric::ERR_NEEDMOREPARAMS, &["PASS"])
        } else {
            Ok(())
        }
    }

    pub(super) fn nick(&mut self, params: &[&str], ctx: &mut Context<Self>) -> Result<(), Ended> {
        let Some(nick) = given(params, 0) else {
            return self.fail(numeric::ERR_NONICKNAMEGIVEN, &[]);
        };
        if !is_nick(nick, self.server.options.nick_bytes) {
            return self.fail(numeric::ERR_ERRONEUSNICKNAME, &[nick]);
        }
        if nick == self.identity.nick {
            return Ok(());
        }
        let claim = Claim {
            client: self.client.clone(),
            nick: Folded::new(nick),
        };
        if !self.consult(claim)? {
            return self.fail(numeric::ERR_NICKNAMEINUSE, &[nick]);
        }
        let identity = Arc::new(Identity {
            nick: nick.to_owned(),
            ..(*self.identity).clone()
        });
        match &mut self.registration {
            Some(registration) => {
                registration.has_nick = true;
                self.identity = identity;
                self.try_register(ctx)
            }
            None => self.rename(identity),
        }
    }

    /// Tells the client and each of its peers once, then gives the old nick free.
    fn rename(&mut self, identity: Arc<Identity>) -> Result<(), Ended> {
        let line = LineWriter::from_source(&self.identity.source(), "NICK")
            .param(&identity.nick)
            .end();
        self.identity = Arc::clone(&identity);
        // Once begun it is done in every room, even if the client is cut off in between:
        // otherwise some of the peers would never hear of the nick that says goodbye.
        self.client.deliver(&line);
        let id = self.client.id();
        let mut told = Told::from([id]);
        let names: Vec<_> = self.rooms.keys().cloned().collect();
        for name in names {
            let Some(entrance) = self.rooms.get(&name) else {
                continue;
            };
            let rename = || Rename {
                id,
                identity: Arc::clone(&identity),
                line: line.clone(),
                told: told.clone(),
            };
            let outcome = insist(&entrance.room, rename);
            told = self.answer_of(&name, outcome)?.unwrap_or(told);
        }
        self.consult(Settle { id, identity })
    }

    pub(super) fn user(&mut self, params: &[&str], ctx: &mut Context<Self>) -> Result<(), Ended> {
        let Some(registration) = &mut self.registration else {
            return self.fail(numeric::ERR_ALREADYREGISTERED, &[]);
        };
        let (Some(user), Some(real_name)) = (given(params, 0), given(params, 3)) else {
            return self.fail(numeric::ERR_NEEDMOREPARAMS, &["USER"]);
        };
        let Some(user) = user_name(user, USER_NAME_BYTES) else {
            return self.fail(numeric::ERR_INVALIDUSERNAME, &[]);
        };
        registration.has_user = true;
        self.identity = Arc::new(Identity {
            user,
            real_name: cut(real_name, REAL_NAME_BYTES).to_owned(),
            ..(*self.identity).clone()
        });
        self.try_register(ctx)
    }

    fn try_register(&mut self, ctx: &mut Context<Self>) -> Result<(), Ended> {
        match &self.registration {
            Some(Registration {
                has_nick: true,
                has_user: true,
                is_negotiating: false,
            }) => {}
            _ => return Ok(()),
        }
        self.registration = None;
        self.consult(Settle {
            id: self.client.id(),
            identity: Arc::clone(&self.identity),
        })?;
        self.set_timer(self.server.options.ping_interval, ctx);
        self.welcome()
    }

    fn welcome(&mut self) -> Result<(), Ended> {
        let server = Arc::clone(&self.server);
        let name = server.name();
        let welcome = format!(
            "Welcome to the {} network, {}",
            server.options.network,
            self.identity.source()
        );
        self.write(self.reply(numeric::RPL_WELCOME).text(welcome))?;
        let host = format!("Your host is {name}, running {VERSION}");
        self.write(self.reply(numeric::RPL_YOURHOST).text(host))?;
        let started = unix_seconds(server.started);
        let created = format!("This server was started {started} seconds after 1970");
        self.write(self.reply(numeric::RPL_CREATED).text(created))?;
        let info = self
            .reply(numeric::RPL_MYINFO)
            .param(name)
            .param(VERSION)
            .param(USER_MODES)
            .param(CHANNEL_MODES)
            .end();
        self.write(info)?;
        for features in server.features().chunks(FEATURES_PER_LINE) {
            let line = features
                .iter()
                .fold(self.reply(numeric::RPL_ISUPPORT), LineWriter::param)
                .text("are supported by this server");
            self.write(line)?;
        }
        self.lusers()?;
        self.motd(&[])
    }

    pub(super) fn ping(&mut self, params: &[&str]) -> Result<(), Ended> {
        let Some(token) = params.first() else {
            return self.fail(numeric::ERR_NOORIGIN, &[]);
        };
        let line = LineWriter::from_source(self.server.name(), "PONG")
            .param(self.server.name())
            .text(token);
        self.write(line)
    }
}
