//! The command line: which options there are, their defaults and their limits.
//!
//! A limit is checked here, once, so that nothing else in the program asks whether it makes
//! sense.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::Duration;
use std::{fs, io};

use lexopt::{Arg, Parser, ValueExt};

pub(crate) const HELP: &str = "\
A chat server that speaks IRC, on actors.

Usage: chat_server [OPTIONS]

  --listen HOST:PORT           where to listen; port 0 takes a free one [127.0.0.1:6667]
  --name NAME                  the name of this server [chat.localhost]
  --network NAME               the name of the network [Greenroom]
  --motd FILE                  the message of the day [none]

Limits:
  --max-clients N              connections at once [2000]
  --send-queue LINES           lines waiting for a client; one more ends it [1024]
  --send-buffer BYTES          the buffer of each socket for what is sent [65536]
  --max-line BYTES             the longest line read, with its end, without tags [512]
  --nick-length BYTES          the longest nick [30]
  --channel-length BYTES       the longest channel name [64]
  --topic-length BYTES         the longest topic [300]
  --channels N                 channels a client may be in [50]
  --targets N                  receivers of one message [4]
  --flood-burst LINES          lines a client may send at once [40]
  --flood-rate LINES           lines a second after that; 0 is no limit [20]

Times, in seconds:
  --ping-interval SECONDS      silence after which a client is asked for a sign [90]
  --ping-timeout SECONDS       how long it may take to give one [60]
  --registration-timeout SECONDS
                               how long a client may take to give its nick and user [30]

Tests:
  --crash-command NAME         a command for SESSION, OUTBOX, DIRECTORY or a channel, which makes
                               that part of the server panic [none]

  --help                       print this and exit

SIGINT and SIGTERM end the server in order; a second one ends it at once.
";

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Help,
    Serve(Box<Options>),
}

/// The settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) name: String,
    pub(crate) network: String,
    pub(crate) motd: Vec<String>,
    pub(crate) max_clients: usize,
    pub(crate) send_queue_len: usize,
    pub(crate) send_buffer_bytes: usize,
    pub(crate) line_bytes: usize,
    pub(crate) nick_bytes: usize,
    pub(crate) channel_bytes: usize,
    pub(crate) topic_bytes: usize,
    pub(crate) channels_per_client: usize,
    pub(crate) targets: usize,
    pub(crate) flood_burst: u32,
    /// Lines a second; 0 is no limit.
    pub(crate) flood_rate: u32,
    pub(crate) ping_interval: Duration,
    pub(crate) ping_timeout: Duration,
    pub(crate) registration_timeout: Duration,
    /// Failures on command, in upper case.
    pub(crate) crash_command: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 6667)),
            name: "chat.localhost".to_owned(),
            network: "Greenroom".to_owned(),
            motd: Vec::new(),
            max_clients: 2000,
            send_queue_len: 1024,
            send_buffer_bytes: 65_536,
            line_bytes: 512,
            nick_bytes: 30,
            channel_bytes: 64,
            topic_bytes: 300,
            channels_per_client: 50,
            targets: 4,
            flood_burst: 40,
            flood_rate: 20,
            ping_interval: Duration::from_secs(90),
            ping_timeout: Duration::from_secs(60),
            registration_timeout: Duration::from_secs(30),
            crash_command: None,
        }
    }
}

/// The command line makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error("{0}")]
    Syntax(#[from] lexopt::Error),
    #[error("option '--{option}': {problem}")]
    Value { option: String, problem: String },
}

impl Options {
    /// Reads the arguments, without the name of the program.
    pub(crate) fn parse<I>(arguments: I) -> Result<Request, OptionsError>
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        let mut options = Self::default();
        let mut parser = Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            let option = match argument {
                Arg::Long("help") | Arg::Short('h') => return Ok(Request::Help),
                Arg::Long(option) => option.to_owned(),
                other => return Err(other.unexpected().into()),
            };
            let Some(set) = setter(&option) else {
                return Err(Arg::Long(&option).unexpected().into());
            };
            let value = parser.value()?.string()?;
            set(&mut options, &value).map_err(|problem| OptionsError::Value { option, problem })?;
        }
        Ok(Request::Serve(Box::new(options)))
    }
}

type Setter = fn(&mut Options, &str) -> Result<(), String>;

fn setter(option: &str) -> Option<Setter> {
    Some(match option {
        "listen" => |options, value| {
            options.listen = address(value)?;
            Ok(())
        },
        "name" => |options, value| {
            options.name = word(value)?;
            Ok(())
        },
        "network" => |options, value| {
            options.network = word(value)?;
            Ok(())
        },
        "motd" => |options, value| {
            let text = fs::read_to_string(value).map_err(|e| format!("{value}: {e}"))?;
            options.motd = text.lines().map(str::to_owned).collect();
            Ok(())
        },
        "max-clients" => |options, value| set(&mut options.max_clients, value, 1..=100_000),
        "send-queue" => |options, value| set(&mut options.send_queue_len, value, 16..=1_000_000),
        "send-buffer" => {
            |options, value| set(&mut options.send_buffer_bytes, value, 2048..=16_777_216)
        }
        // Below 128 bytes nobody can register; what is written is at most 512 bytes in any case.
        "max-line" => |options, value| set(&mut options.line_bytes, value, 128..=8192),
        "nick-length" => |options, value| set(&mut options.nick_bytes, value, 1..=64),
        "channel-length" => |options, value| set(&mut options.channel_bytes, value, 2..=128),
        "topic-length" => |options, value| set(&mut options.topic_bytes, value, 1..=390),
        "channels" => |options, value| set(&mut options.channels_per_client, value, 1..=10_000),
        "targets" => |options, value| set(&mut options.targets, value, 1..=100),
        "flood-burst" => |options, value| set(&mut options.flood_burst, value, 1..=1_000_000),
        "flood-rate" => |options, value| set(&mut options.flood_rate, value, 0..=1_000_000),
        "ping-interval" => |options, value| set_time(&mut options.ping_interval, value),
        "ping-timeout" => |options, value| set_time(&mut options.ping_timeout, value),
        "registration-timeout" => {
            |options, value| set_time(&mut options.registration_timeout, value)
        }
        "crash-command" => |options, value| {
            options.crash_command = Some(word(value)?.to_ascii_uppercase());
            Ok(())
        },
        _ => return None,
    })
}

fn set<N>(target: &mut N, value: &str, allowed: RangeInclusive<N>) -> Result<(), String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match value.parse() {
        Ok(number) if allowed.contains(&number) => {
            *target = number;
            Ok(())
        }
        _ => Err(format!(
            "'{value}' is not a whole number from {} to {}",
            allowed.start(),
            allowed.end()
        )),
    }
}

/// Reads seconds, whole or with a fraction.
fn set_time(target: &mut Duration, value: &str) -> Result<(), String> {
    match value.parse() {
        Ok(seconds) if (0.01..=1_000_000.0).contains(&seconds) => {
            *target = Duration::from_secs_f64(seconds);
            Ok(())
        }
        _ => Err(format!(
            "'{value}' is not a number of seconds from 0.01 to 1000000"
        )),
    }
}

fn address(value: &str) -> Result<SocketAddr, String> {
    let first = |mut addresses: std::vec::IntoIter<SocketAddr>| {
        addresses
            .next()
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
    };
    value
        .to_socket_addrs()
        .and_then(first)
        .map_err(|e| format!("'{value}' is not an address HOST:PORT ({e})"))
}

/// A name that can be a source or a token of a line.
fn word(value: &str) -> Result<String, String> {
    let is_good = (1..=63).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic())
        && !value.contains([':', '!', '@', ',', '*', '?', '=']);
    if is_good {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "'{value}' is not a name of 1 to 63 letters, digits, dots and dashes"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        match Options::parse(arguments) {
            Ok(Request::Serve(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn problem(arguments: &[&str]) -> String {
        Options::parse(arguments)
            .expect_err("a bad command line")
            .to_string()
    }

    #[test]
    fn without_arguments_everything_has_its_default() {
        assert_eq!(options(&[]), Options::default());
    }

    #[test]
    fn the_help_names_every_option_and_its_default() {
        let named = HELP
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("--"))
            .filter(|option| *option != "help");
        let mut count = 0;
        for option in named {
            assert!(setter(option).is_some(), "--{option} does nothing");
            count += 1;
        }
        assert_eq!(count, 19);
        // What the help says in brackets is what a server does that is told so.
        let mut arguments = Vec::new();
        let mut words = HELP.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let is_off = ["--motd", "--crash-command", "--help"].contains(&word);
            if word.starts_with("--") && !is_off {
                let default = words.by_ref().find_map(|word| word.strip_prefix('['));
                arguments.push(word);
                arguments.extend(default.and_then(|word| word.strip_suffix(']')));
            }
        }
        assert_eq!(options(&arguments), Options::default());
    }

    #[test]
    fn values_are_read_in_both_spellings() {
        let options = options(&[
            "--listen",
            "127.0.0.1:0",
            "--ping-timeout=0.5",
            "--targets=9",
        ]);
        assert_eq!(options.listen.port(), 0);
        assert_eq!(options.ping_timeout, Duration::from_millis(500));
        assert_eq!(options.targets, 9);
        assert!(matches!(Options::parse(["--help"]), Ok(Request::Help)));
    }

    #[test]
    fn a_mistake_is_named() {
        assert_eq!(problem(&["--bogus"]), "invalid option '--bogus'");
        assert_eq!(
            problem(&["--targets", "many"]),
            "option '--targets': 'many' is not a whole number from 1 to 100"
        );
        assert!(problem(&["--targets"]).contains("'--targets'"));
        assert!(problem(&["--listen", "nowhere"]).contains("'--listen'"));
        assert!(problem(&["--ping-interval", "nan"]).contains("'--ping-interval'"));
        assert!(problem(&["--name", "two words"]).contains("'--name'"));
        assert!(problem(&["--motd", "/no/such/file"]).contains("'--motd'"));
        assert!(problem(&["extra"]).contains("extra"));
    }
}
