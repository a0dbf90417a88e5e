//! What every part of the server knows about it: its settings and what it says of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::options::Options;
use crate::protocol::{Line, LineWriter, numeric};

/// The longest user name, with the `~` before it.
pub(crate) const USER_NAME_BYTES: usize = 10;
/// The longest real name.
pub(crate) const REAL_NAME_BYTES: usize = 100;
/// The program and its version, as clients are told.
pub(crate) const VERSION: &str = concat!("greenroom-chat-", env!("CARGO_PKG_VERSION"));
/// The modes a user can have: `i`, not to be found by a mask.
pub(crate) const USER_MODES: &str = "i";
/// The modes of every channel: `n`, nobody outside may speak. It cannot be changed.
pub(crate) const CHANNEL_MODES: &str = "n";

/// The settings, and the time when they came into force.
pub(crate) struct Server {
    pub(crate) options: Options,
    pub(crate) started: SystemTime,
}

impl Server {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            started: SystemTime::now(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.options.name
    }

    /// Begins the numeric `code` for the client called `nick`.
    pub(crate) fn reply(&self, code: &str, nick: &str) -> LineWriter {
        numeric::reply(self.name(), code, nick)
    }

    /// What is announced with numeric 005. Each token is true: what is missing is not supported.
    pub(crate) fn features(&self) -> Vec<String> {
        let options = &self.options;
        let targets = options.targets;
        vec![
            "CASEMAPPING=ascii".to_owned(),
            format!("CHANLIMIT=#:{}", options.channels_per_client),
            format!("CHANMODES=,,,{CHANNEL_MODES}"),
            format!("CHANNELLEN={}", options.channel_bytes),
            "CHANTYPES=#".to_owned(),
            format!("NETWORK={}", options.network),
            format!("NICKLEN={}", options.nick_bytes),
            "PREFIX=".to_owned(),
            format!("TARGMAX=JOIN:,LIST:,NAMES:,NOTICE:{targets},PART:,PRIVMSG:{targets},WHOIS:1"),
            format!("TOPICLEN={}", options.topic_bytes),
            format!("USERLEN={USER_NAME_BYTES}"),
            "UTF8ONLY".to_owned(),
        ]
    }

    /// The message of the day for the client called `nick`.
    pub(crate) fn motd(&self, nick: &str) -> Vec<Line> {
        if self.options.motd.is_empty() {
            return vec![numeric::ERR_NOMOTD.line(self.name(), nick, &[])];
        }
        let start = self
            .reply(numeric::RPL_MOTDSTART, nick)
            .text(format_args!("- {} message of the day -", self.name()));
        let text = |line| {
            self.reply(numeric::RPL_MOTD, nick)
                .text(format_args!("- {line}"))
        };
        let end = self
            .reply(numeric::RPL_ENDOFMOTD, nick)
            .text("End of the message of the day");
        std::iter::once(start)
            .chain(self.options.motd.iter().map(text))
            .chain([end])
            .collect()
    }
}

/// Seconds since 1970, as the protocol counts time.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
