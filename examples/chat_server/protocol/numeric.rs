//! The three-digit replies by their names in the RFCs and in the «Modern IRC» document.
//!
//! A reply is only its code, since its text depends on the case. A [`Failure`] has one text.

use super::message::{Line, LineWriter};

pub(crate) const RPL_WELCOME: &str = "001";
pub(crate) const RPL_YOURHOST: &str = "002";
pub(crate) const RPL_CREATED: &str = "003";
pub(crate) const RPL_MYINFO: &str = "004";
pub(crate) const RPL_ISUPPORT: &str = "005";
pub(crate) const RPL_UMODEIS: &str = "221";
pub(crate) const RPL_LUSERCLIENT: &str = "251";
pub(crate) const RPL_LUSERUNKNOWN: &str = "253";
pub(crate) const RPL_LUSERCHANNELS: &str = "254";
pub(crate) const RPL_LUSERME: &str = "255";
pub(crate) const RPL_USERHOST: &str = "302";
pub(crate) const RPL_WHOISUSER: &str = "311";
pub(crate) const RPL_WHOISSERVER: &str = "312";
pub(crate) const RPL_ENDOFWHO: &str = "315";
pub(crate) const RPL_ENDOFWHOIS: &str = "318";
pub(crate) const RPL_WHOISCHANNELS: &str = "319";
pub(crate) const RPL_LIST: &str = "322";
pub(crate) const RPL_LISTEND: &str = "323";
pub(crate) const RPL_CHANNELMODEIS: &str = "324";
pub(crate) const RPL_CREATIONTIME: &str = "329";
pub(crate) const RPL_NOTOPIC: &str = "331";
pub(crate) const RPL_TOPIC: &str = "332";
pub(crate) const RPL_TOPICWHOTIME: &str = "333";
pub(crate) const RPL_VERSION: &str = "351";
pub(crate) const RPL_WHOREPLY: &str = "352";
pub(crate) const RPL_NAMREPLY: &str = "353";
pub(crate) const RPL_ENDOFNAMES: &str = "366";
pub(crate) const RPL_ENDOFBANLIST: &str = "368";
pub(crate) const RPL_MOTD: &str = "372";
pub(crate) const RPL_MOTDSTART: &str = "375";
pub(crate) const RPL_ENDOFMOTD: &str = "376";

pub(crate) const ERR_UNKNOWNERROR: Failure = Failure::new("400", "The line cannot be read");
pub(crate) const ERR_NOSUCHNICK: Failure = Failure::new("401", "No such nick");
pub(crate) const ERR_NOSUCHSERVER: Failure = Failure::new("402", "No such server");
pub(crate) const ERR_NOSUCHCHANNEL: Failure = Failure::new("403", "No such channel");
pub(crate) const ERR_CANNOTSENDTOCHAN: Failure = Failure::new("404", "You are not in that channel");
pub(crate) const ERR_TOOMANYCHANNELS: Failure = Failure::new("405", "You are in too many channels");
pub(crate) const ERR_TOOMANYTARGETS: Failure = Failure::new("407", "Too many targets");
pub(crate) const ERR_NOORIGIN: Failure = Failure::new("409", "No token given");
pub(crate) const ERR_INVALIDCAPCMD: Failure = Failure::new("410", "No such CAP command");
pub(crate) const ERR_NORECIPIENT: Failure = Failure::new("411", "No recipient given");
pub(crate) const ERR_NOTEXTTOSEND: Failure = Failure::new("412", "No text to send");
pub(crate) const ERR_INPUTTOOLONG: Failure = Failure::new("417", "The line was too long");
pub(crate) const ERR_UNKNOWNCOMMAND: Failure = Failure::new("421", "Unknown command");
pub(crate) const ERR_NOMOTD: Failure = Failure::new("422", "There is no message of the day");
pub(crate) const ERR_NONICKNAMEGIVEN: Failure = Failure::new("431", "No nick given");
pub(crate) const ERR_ERRONEUSNICKNAME: Failure = Failure::new("432", "Not a legal nick");
pub(crate) const ERR_NICKNAMEINUSE: Failure = Failure::new("433", "The nick is in use");
pub(crate) const ERR_NOTONCHANNEL: Failure = Failure::new("442", "You are not in that channel");
pub(crate) const ERR_NOTREGISTERED: Failure = Failure::new("451", "You have not registered");
pub(crate) const ERR_NEEDMOREPARAMS: Failure = Failure::new("461", "Not enough parameters");
pub(crate) const ERR_ALREADYREGISTERED: Failure = Failure::new("462", "You may not register twice");
pub(crate) const ERR_INVALIDUSERNAME: Failure = Failure::new("468", "Not a legal user name");
pub(crate) const ERR_UNKNOWNMODE: Failure = Failure::new("472", "Unknown channel mode");
pub(crate) const ERR_BADCHANMASK: Failure = Failure::new("476", "Not a legal channel name");
pub(crate) const ERR_CHANOPRIVSNEEDED: Failure =
    Failure::new("482", "Channels have no operators here");
pub(crate) const ERR_UMODEUNKNOWNFLAG: Failure = Failure::new("501", "Unknown user mode");
pub(crate) const ERR_USERSDONTMATCH: Failure =
    Failure::new("502", "The modes of others are not yours to see or change");

/// A numeric that tells a client what it did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: &'static str,
    text: &'static str,
}

impl Failure {
    const fn new(code: &'static str, text: &'static str) -> Self {
        Self { code, text }
    }

    /// The line for the client that is called `nick`, about `params`.
    pub(crate) fn line(self, server: &str, nick: &str, params: &[&str]) -> Line {
        let writer = reply(server, self.code, nick);
        params
            .iter()
            .fold(writer, LineWriter::param)
            .text(self.text)
    }
}

/// Begins the numeric `code` for the client that is called `nick`.
pub(crate) fn reply(server: &str, code: &str, nick: &str) -> LineWriter {
    LineWriter::from_source(server, code).param(nick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_what_it_is_about() {
        let line = ERR_NOSUCHCHANNEL.line("server", "ann", &["#a"]);
        assert_eq!(line.as_bytes(), b":server 403 ann #a :No such channel\r\n");
    }
}
