//! What clients say to each other: PRIVMSG and NOTICE.

use std::collections::BTreeSet;

use super::{Ended, Session, given};
use crate::directory::{Find, FindRoom};
use crate::protocol::{Folded, LineWriter, numeric, numeric::Failure};
use crate::room::Say;

/// The two commands differ in that nothing ever answers a notice, not even a mistake in it:
/// programs that answer each other would not come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Message,
    Notice,
}

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Self::Message => "PRIVMSG",
            Self::Notice => "NOTICE",
        }
    }
}

impl Session {
    pub(super) fn privmsg(&mut self, params: &[&str]) -> Result<(), Ended> {
        self.say(Kind::Message, params)
    }

    pub(super) fn notice(&mut self, params: &[&str]) -> Result<(), Ended> {
        self.say(Kind::Notice, params)
    }

    fn say(&mut self, kind: Kind, params: &[&str]) -> Result<(), Ended> {
        let Some(targets) = given(params, 0) else {
            return self.refuse(kind, numeric::ERR_NORECIPIENT, &[]);
        };
        let Some(text) = given(params, 1) else {
            return self.refuse(kind, numeric::ERR_NOTEXTTOSEND, &[]);
        };
        let targets: Vec<_> = targets
            .split(',')
            .filter(|target| !target.is_empty())
            .collect();
        if targets.len() > self.server.options.targets {
            return self.refuse(kind, numeric::ERR_TOOMANYTARGETS, &[targets[0]]);
        }
        // Whoever is named twice is told once.
        let mut reached = BTreeSet::new();
        for target in targets {
            if reached.insert(Folded::new(target)) {
                self.say_to(kind, target, text)?;
            }
        }
        Ok(())
    }

    fn say_to(&mut self, kind: Kind, target: &str, text: &str) -> Result<(), Ended> {
        let source = self.identity.source();
        let line = |target: &str| {
            LineWriter::from_source(&source, kind.command())
                .param(target)
                .text(text)
        };
        let folded = Folded::new(target);
        if let Some(entrance) = self.rooms.get(&folded) {
            let say = Say {
                from: self.client.id(),
                line: line(&entrance.name),
            };
            self.request(&folded, say)?;
            return Ok(());
        }
        if target.starts_with('#') {
            return match self.consult(FindRoom(folded))? {
                Some(_) => self.refuse(kind, numeric::ERR_CANNOTSENDTOCHAN, &[target]),
                None => self.refuse(kind, numeric::ERR_NOSUCHCHANNEL, &[target]),
            };
        }
        match self.consult(Find(folded))? {
            Some(found) => {
                found.client.deliver(&line(&found.identity.nick));
                Ok(())
            }
            None => self.refuse(kind, numeric::ERR_NOSUCHNICK, &[target]),
        }
    }

    fn refuse(&mut self, kind: Kind, failure: Failure, params: &[&str]) -> Result<(), Ended> {
        match kind {
            Kind::Message => self.fail(failure, params),
            Kind::Notice => Ok(()),
        }
    }
}
