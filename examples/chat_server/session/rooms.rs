//! Channels: JOIN, PART, TOPIC, NAMES and LIST.

use std::sync::Arc;
use std::time::SystemTime;

use greenroom::wait_all;

use super::{Ended, Session, given};
use crate::directory::{Enter, Entrance, FindRoom, GetRooms, Leave};
use crate::protocol::{Folded, LineWriter, cut, is_channel, numeric};
use crate::room::{GetSummary, Join, ListNames, Part, SetTopic, Topic, end_of_names, topic_lines};

/// How many rooms are asked at the same time.
const ROOMS_AT_ONCE: usize = 64;

impl Session {
    pub(super) fn join(&mut self, params: &[&str]) -> Result<(), Ended> {
        let Some(names) = given(params, 0) else {
            return self.fail(numeric::ERR_NEEDMOREPARAMS, &["JOIN"]);
        };
        if names == "0" {
            let names: Vec<_> = self.rooms.keys().cloned().collect();
            return names.iter().try_for_each(|name| self.part_one(name, None));
        }
        names
            .split(',')
            .filter(|name| !name.is_empty())
            .try_for_each(|name| self.join_one(name))
    }

    fn join_one(&mut self, name: &str) -> Result<(), Ended> {
        if !name.starts_with('#') {
            return self.fail(numeric::ERR_NOSUCHCHANNEL, &[name]);
        }
        if !is_channel(name, self.server.options.channel_bytes) {
            return self.fail(numeric::ERR_BADCHANMASK, &[name]);
        }
        let folded = Folded::new(name);
        if self.rooms.contains_key(&folded) {
            return Ok(());
        }
        if self.rooms.len() >= self.server.options.channels_per_client {
            return self.fail(numeric::ERR_TOOMANYCHANNELS, &[name]);
        }
        let enter = Enter {
            id: self.client.id(),
            name: name.into(),
        };
        // Without memory for a room there is no such channel.
        let Ok(entrance) = self.consult(enter)? else {
            return self.fail(numeric::ERR_NOSUCHCHANNEL, &[name]);
        };
        let line = LineWriter::from_source(&self.identity.source(), "JOIN")
            .param(&entrance.name)
            .end();
        let id = self.client.id();
        self.rooms.insert(folded.clone(), entrance);
        let join = Join {
            client: self.client.clone(),
            identity: Arc::clone(&self.identity),
            line,
        };
        let joined = self.request(&folded, join)?;
        // If the room has ended the client is out of it already.
        if joined.is_none() && self.rooms.remove(&folded).is_some() {
            self.consult(Leave { id, name: folded })?;
        }
        self.pace()
    }

    pub(super) fn part(&mut self, params: &[&str]) -> Result<(), Ended> {
        let Some(names) = given(params, 0) else {
            return self.fail(numeric::ERR_NEEDMOREPARAMS, &["PART"]);
        };
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let folded = Folded::new(name);
            if self.rooms.contains_key(&folded) {
                self.part_one(&folded, given(params, 1))?;
            } else {
                let failure = match self.consult(FindRoom(folded))? {
                    Some(_) => numeric::ERR_NOTONCHANNEL,
                    None => numeric::ERR_NOSUCHCHANNEL,
                };
                self.fail(failure, &[name])?;
            }
        }
        Ok(())
    }

    fn part_one(&mut self, name: &Folded, reason: Option<&str>) -> Result<(), Ended> {
        let Some(entrance) = self.rooms.get(name) else {
            return Ok(());
        };
        let line = LineWriter::from_source(&self.identity.source(), "PART").param(&entrance.name);
        let line = match reason {
            Some(reason) => line.text(reason),
            None => line.end(),
        };
        let id = self.client.id();
        let parted = self.request(name, Part { id, line })?;
        if parted.is_some() && self.rooms.remove(name).is_some() {
            self.consult(Leave {
                id,
                name: name.clone(),
            })?;
        }
        Ok(())
    }

    pub(super) fn topic(&mut self, params: &[&str]) -> Result<(), Ended> {
        let Some(name) = given(params, 0) else {
            return self.fail(numeric::ERR_NEEDMOREPARAMS, &["TOPIC"]);
        };
        let folded = Folded::new(name);
        match params.get(1) {
            Some(text) if self.rooms.contains_key(&folded) => self.set_topic(&folded, text),
            Some(_) => {
                let failure = match self.consult(FindRoom(folded))? {
                    Some(_) => numeric::ERR_NOTONCHANNEL,
                    None => numeric::ERR_NOSUCHCHANNEL,
                };
                self.fail(failure, &[name])
            }
            None => self.tell_topic(name, folded),
        }
    }

    fn set_topic(&mut self, name: &Folded, text: &str) -> Result<(), Ended> {
        let Some(entrance) = self.rooms.get(name) else {
            return Ok(());
        };
        let text = cut(text, self.server.options.topic_bytes);
        let source = self.identity.source();
        let line = LineWriter::from_source(&source, "TOPIC")
            .param(&entrance.name)
            .text(text);
        let topic = (!text.is_empty()).then(|| Topic {
            text: text.to_owned(),
            set_by: source,
            set_at: SystemTime::now(),
        });
        self.request(name, SetTopic { topic, line })?;
        Ok(())
    }

    fn tell_topic(&mut self, name: &str, folded: Folded) -> Result<(), Ended> {
        let Some(entrance) = self.consult(FindRoom(folded))? else {
            return self.fail(numeric::ERR_NOSUCHCHANNEL, &[name]);
        };
        let Ok(summary) = entrance.room.ask(GetSummary).wait() else {
            return self.fail(numeric::ERR_NOSUCHCHANNEL, &[name]);
        };
        if summary.topic.is_none() {
            let line = self
                .reply(numeric::RPL_NOTOPIC)
                .param(&entrance.name)
                .text("No topic is set");
            return self.write(line);
        }
        let nick = &self.identity.nick;
        topic_lines(&self.server, nick, &entrance.name, summary.topic.as_ref())
            .into_iter()
            .try_for_each(|line| self.write(line))
    }

    /// The names of all channels at once are not listed: a client that wants them asks for the
    /// list.
    pub(super) fn names(&mut self, params: &[&str]) -> Result<(), Ended> {
        let names = given(params, 0).unwrap_or("*");
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let listed = match self.consult(FindRoom(Folded::new(name)))? {
                Some(entrance) => {
                    let list = ListNames {
                        client: self.client.clone(),
                        nick: self.identity.nick.clone(),
                    };
                    entrance.room.ask(list).wait().is_ok()
                }
                None => false,
            };
            if !listed {
                self.write(end_of_names(&self.server, &self.identity.nick, name))?;
            }
            self.pace()?;
        }
        Ok(())
    }

    pub(super) fn list(&mut self, params: &[&str]) -> Result<(), Ended> {
        let entrances = match given(params, 0) {
            None => self.consult(GetRooms)?,
            Some(names) => {
                let mut entrances = Vec::new();
                for name in names.split(',') {
                    entrances.extend(self.consult(FindRoom(Folded::new(name)))?);
                }
                entrances
            }
        };
        for entrances in entrances.chunks(ROOMS_AT_ONCE) {
            self.list_some(entrances)?;
        }
        let end = self.reply(numeric::RPL_LISTEND).text("End of the list");
        self.write(end)
    }

    /// Asks several rooms at the same time and lists them in order.
    fn list_some(&mut self, entrances: &[Entrance]) -> Result<(), Ended> {
        let questions: Vec<_> = entrances
            .iter()
            .map(|entrance| entrance.room.ask(GetSummary))
            .collect();
        for (entrance, summary) in entrances.iter().zip(wait_all(questions)) {
            // A room that is empty or has failed by now is not there any more.
            if let Ok(summary) = summary
                && summary.member_count > 0
            {
                let line = self
                    .reply(numeric::RPL_LIST)
                    .param(&entrance.name)
                    .param(summary.member_count)
                    .text(summary.topic.map_or(String::new(), |topic| topic.text));
                self.write(line)?;
            }
        }
        Ok(())
    }
}
