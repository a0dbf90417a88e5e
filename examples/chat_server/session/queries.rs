//! Questions: WHO, WHOIS, USERHOST, MODE, MOTD, LUSERS and VERSION.

use std::sync::Arc;

use super::{Ended, Session, given};
use crate::client::Identity;
use crate::directory::{Find, FindRoom, GetCensus, Search, Settle};
use crate::protocol::{Folded, LineWriter, has_wildcard, numeric, pack};
use crate::room::{GetMembers, GetSummary};
use crate::server::{CHANNEL_MODES, VERSION, unix_seconds};

/// The most nicks in one USERHOST.
const USERHOST_NICKS: usize = 5;

impl Session {
    /// Lists the members of a channel, or the clients whose nicks fit a mask.
    pub(super) fn who(&mut self, params: &[&str]) -> Result<(), Ended> {
        let mask = given(params, 0).unwrap_or("*");
        // Asked for operators only, of whom there are none.
        let wants_operators = given(params, 1) == Some("o");
        let folded = Folded::new(mask);
        let mut place = "*".into();
        let found = if wants_operators {
            Vec::new()
        } else if mask.starts_with('#') {
            match self.consult(FindRoom(folded))? {
                Some(entrance) => {
                    place = entrance.name;
                    entrance.room.ask(GetMembers).wait().unwrap_or_default()
                }
                None => Vec::new(),
            }
        } else if mask == "0" || has_wildcard(mask) {
            let all = Folded::new("*");
            self.consult(Search {
                mask: if mask == "0" { all } else { folded },
                viewer: self.client.id(),
            })?
        } else {
            let found = self.consult(Find(folded))?;
            found.into_iter().map(|found| found.identity).collect()
        };
        for identity in &found {
            self.write(self.who_line(&place, identity))?;
        }
        let end = self
            .reply(numeric::RPL_ENDOFWHO)
            .param(mask)
            .text("End of WHO");
        self.write(end)
    }

    fn who_line(&self, place: &str, identity: &Identity) -> crate::protocol::Line {
        // `H` says that the user is here and not away, `0` that no other server is between.
        self.reply(numeric::RPL_WHOREPLY)
            .param(place)
            .param(&identity.user)
            .param(&identity.host)
            .param(self.server.name())
            .param(&identity.nick)
            .param('H')
            .text(format_args!("0 {}", identity.real_name))
    }

    pub(super) fn whois(&mut self, params: &[&str]) -> Result<(), Ended> {
        // With two parameters the first one names a server, and there is but one.
        let Some(nick) = given(params, 1).or(given(params, 0)) else {
            return self.fail(numeric::ERR_NONICKNAMEGIVEN, &[]);
        };
        match self.consult(Find(Folded::new(nick)))? {
            None => self.fail(numeric::ERR_NOSUCHNICK, &[nick])?,
            Some(found) => {
                let identity = &found.identity;
                let user = self
                    .reply(numeric::RPL_WHOISUSER)
                    .param(&identity.nick)
                    .param(&identity.user)
                    .param(&identity.host)
                    .param('*')
                    .text(&identity.real_name);
                self.write(user)?;
                let begin = || self.reply(numeric::RPL_WHOISCHANNELS).param(&identity.nick);
                let rooms = pack(begin, found.rooms.iter().map(|name| &**name));
                for line in rooms {
                    self.write(line)?;
                }
                let server = self
                    .reply(numeric::RPL_WHOISSERVER)
                    .param(&identity.nick)
                    .param(self.server.name())
                    .text(&self.server.options.network);
                self.write(server)?;
            }
        }
        let end = self
            .reply(numeric::RPL_ENDOFWHOIS)
            .param(nick)
            .text("End of WHOIS");
        self.write(end)
    }

    pub(super) fn userhost(&mut self, params: &[&str]) -> Result<(), Ended> {
        if given(params, 0).is_none() {
            return self.fail(numeric::ERR_NEEDMOREPARAMS, &["USERHOST"]);
        }
        let mut answers = Vec::new();
        for nick in params.iter().take(USERHOST_NICKS) {
            if let Some(found) = self.consult(Find(Folded::new(nick)))? {
                let Identity {
                    nick, user, host, ..
                } = &*found.identity;
                answers.push(format!("{nick}=+{user}@{host}"));
            }
        }
        let line = self.reply(numeric::RPL_USERHOST).text(answers.join(" "));
        self.write(line)
    }

    pub(super) fn mode(&mut self, params: &[&str]) -> Result<(), Ended> {
        let Some(target) = given(params, 0) else {
            return self.fail(numeric::ERR_NEEDMOREPARAMS, &["MODE"]);
        };
        if target.starts_with('#') {
            self.channel_mode(target, given(params, 1))
        } else {
            self.user_mode(target, given(params, 1))
        }
    }

    /// Every channel has the same mode and nobody can change it.
    fn channel_mode(&mut self, target: &str, change: Option<&str>) -> Result<(), Ended> {
        let Some(entrance) = self.consult(FindRoom(Folded::new(target)))? else {
            return self.fail(numeric::ERR_NOSUCHCHANNEL, &[target]);
        };
        let Some(change) = change else {
            let modes = self
                .reply(numeric::RPL_CHANNELMODEIS)
                .param(&entrance.name)
                .param(format_args!("+{CHANNEL_MODES}"))
                .end();
            self.write(modes)?;
            if let Ok(summary) = entrance.room.ask(GetSummary).wait() {
                let created = self
                    .reply(numeric::RPL_CREATIONTIME)
                    .param(&entrance.name)
                    .param(unix_seconds(summary.created))
                    .end();
                self.write(created)?;
            }
            return Ok(());
        };
        // Clients ask for the list of bans without having looked whether there are bans.
        match change.trim_start_matches('+') {
            "b" => {
                let end = self
                    .reply(numeric::RPL_ENDOFBANLIST)
                    .param(&entrance.name)
                    .text("End of the list of bans");
                self.write(end)
            }
            _ if change.contains(CHANNEL_MODES) => {
                self.fail(numeric::ERR_CHANOPRIVSNEEDED, &[&entrance.name])
            }
            _ => {
                let unknown: String = change
                    .chars()
                    .filter(|c| !"+-".contains(*c))
                    .take(1)
                    .collect();
                self.fail(numeric::ERR_UNKNOWNMODE, &[&unknown])
            }
        }
    }

    fn user_mode(&mut self, target: &str, change: Option<&str>) -> Result<(), Ended> {
        let target = Folded::new(target);
        if target != Folded::new(&self.identity.nick) {
            return match self.consult(Find(target.clone()))? {
                Some(_) => self.fail(numeric::ERR_USERSDONTMATCH, &[]),
                None => self.fail(numeric::ERR_NOSUCHNICK, &[target.as_str()]),
            };
        }
        let Some(change) = change else {
            let modes = if self.identity.is_invisible {
                "+i"
            } else {
                "+"
            };
            let line = self.reply(numeric::RPL_UMODEIS).param(modes).end();
            return self.write(line);
        };
        let mut is_invisible = self.identity.is_invisible;
        let mut is_adding = true;
        let mut has_unknown = false;
        for mode in change.chars() {
            match mode {
                '+' => is_adding = true,
                '-' => is_adding = false,
                'i' => is_invisible = is_adding,
                _ => has_unknown = true,
            }
        }
        if has_unknown {
            self.fail(numeric::ERR_UMODEUNKNOWNFLAG, &[])?;
        }
        if is_invisible == self.identity.is_invisible {
            return Ok(());
        }
        self.set_invisible(is_invisible)
    }

    fn set_invisible(&mut self, is_invisible: bool) -> Result<(), Ended> {
        self.identity = Arc::new(Identity {
            is_invisible,
            ..(*self.identity).clone()
        });
        self.consult(Settle {
            id: self.client.id(),
            identity: Arc::clone(&self.identity),
        })?;
        let line = LineWriter::from_source(&self.identity.source(), "MODE")
            .param(&self.identity.nick)
            .text(if is_invisible { "+i" } else { "-i" });
        self.write(line)
    }

    pub(super) fn motd(&mut self, params: &[&str]) -> Result<(), Ended> {
        if let Some(failed) = self.other_server(params) {
            return failed;
        }
        self.server
            .motd(&self.identity.nick)
            .into_iter()
            .try_for_each(|line| self.write(line))
    }

    pub(super) fn version(&mut self, params: &[&str]) -> Result<(), Ended> {
        if let Some(failed) = self.other_server(params) {
            return failed;
        }
        let line = self
            .reply(numeric::RPL_VERSION)
            .param(VERSION)
            .param(self.server.name())
            .text("Actors for threads");
        self.write(line)
    }

    /// Answers a question to another server than this one; there is none.
    fn other_server(&mut self, params: &[&str]) -> Option<Result<(), Ended>> {
        let target = given(params, 0)?;
        let is_other = Folded::new(target) != Folded::new(self.server.name());
        is_other.then(|| self.fail(numeric::ERR_NOSUCHSERVER, &[target]))
    }

    pub(super) fn lusers(&mut self) -> Result<(), Ended> {
        let census = self.consult(GetCensus)?;
        let users = format!(
            "There are {} users and {} invisible on 1 server",
            census.visible, census.invisible
        );
        self.write(self.reply(numeric::RPL_LUSERCLIENT).text(users))?;
        let unregistered = self
            .reply(numeric::RPL_LUSERUNKNOWN)
            .param(census.unregistered)
            .text("connections not registered");
        self.write(unregistered)?;
        let rooms = self
            .reply(numeric::RPL_LUSERCHANNELS)
            .param(census.rooms)
            .text("channels");
        self.write(rooms)?;
        let clients = census.visible + census.invisible;
        let me = format!("I have {clients} clients and 0 servers");
        self.write(self.reply(numeric::RPL_LUSERME).text(me))
    }
}
