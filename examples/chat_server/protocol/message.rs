//! One line of the protocol: [`Message`] is a line read, [`LineWriter`] a line being written.
//!
//! What is written can always be read back: a parameter that could not stand where it is put
//! is written as `*`, and a line too long is cut between two characters. So no client can
//! smuggle a second line or a second parameter to another one through this server.

use std::fmt::{Display, Write};
use std::sync::Arc;

/// The longest line, with its CR and LF.
const LINE_BYTES: usize = 512;
/// What is left of it for the text.
const TEXT_BYTES: usize = LINE_BYTES - 2;
/// The most parameters of a message; the last one takes the rest of the line as it is.
const PARAMS: usize = 15;

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// The text between `@` and the first space. No capability is offered, so nothing in it
    /// means anything here.
    pub(crate) tags: Option<&'a str>,
    /// The text between `:` and the next space. A client has no business sending one, and it is
    /// never believed.
    pub(crate) source: Option<&'a str>,
    /// The command as it was typed.
    pub(crate) command: &'a str,
    pub(crate) params: Vec<&'a str>,
}

/// The line is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("the line has no command")]
    NoCommand,
    #[error("the line holds a NUL byte")]
    Nul,
}

impl<'a> Message<'a> {
    /// Parses a line without its end.
    pub(crate) fn parse(line: &'a str) -> Result<Self, ParseError> {
        if line.contains('\0') {
            return Err(ParseError::Nul);
        }
        let mut rest = line.trim_start_matches(' ');
        let mut tags = None;
        let mut source = None;
        if let Some(marked) = rest.strip_prefix('@') {
            let (word, after) = split_word(marked);
            tags = Some(word);
            rest = after;
        }
        if let Some(marked) = rest.strip_prefix(':') {
            let (word, after) = split_word(marked);
            source = Some(word);
            rest = after;
        }
        let (command, mut rest) = split_word(rest);
        if command.is_empty() {
            return Err(ParseError::NoCommand);
        }
        let mut params = Vec::new();
        while !rest.is_empty() {
            if let Some(last) = rest.strip_prefix(':') {
                params.push(last);
                break;
            }
            if params.len() == PARAMS - 1 {
                params.push(rest);
                break;
            }
            let (word, after) = split_word(rest);
            params.push(word);
            rest = after;
        }
        Ok(Self {
            tags,
            source,
            command,
            params,
        })
    }
}

/// A finished line with its CR and LF. A clone shares the bytes, so that a line for a thousand
/// members is written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line(Arc<[u8]>);

impl Line {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A line being written.
pub(crate) struct LineWriter {
    text: String,
}

impl LineWriter {
    /// Begins a line without a source.
    pub(crate) fn new(command: &str) -> Self {
        Self {
            text: command.to_owned(),
        }
    }

    /// Begins a line that comes from `source`.
    pub(crate) fn from_source(source: &str, command: &str) -> Self {
        Self {
            text: format!(":{source} {command}"),
        }
    }

    /// Adds a parameter. If it cannot stand before another one (it is empty, holds a space or
    /// begins with a colon) it is written as `*`.
    pub(crate) fn param(mut self, value: impl Display) -> Self {
        self.text.push(' ');
        let start = self.text.len();
        let _ = write!(self.text, "{value}");
        let value = &self.text[start..];
        if value.is_empty() || value.starts_with(':') || value.contains(' ') {
            self.text.truncate(start);
            self.text.push('*');
        }
        self
    }

    /// Adds the last parameter, which may hold anything, and ends the line.
    pub(crate) fn text(mut self, value: impl Display) -> Line {
        let _ = write!(self.text, " :{value}");
        self.end()
    }

    /// Ends the line: cuts it to 512 bytes and adds CR and LF.
    pub(crate) fn end(self) -> Line {
        let mut text = self.text;
        text.truncate(cut(&text, TEXT_BYTES).len());
        // No client can send these inside a line. A setting of the server might hold one.
        if text.contains(['\r', '\n', '\0']) {
            text = text.replace(['\r', '\n', '\0'], " ");
        }
        text.push_str("\r\n");
        Line(Arc::from(text.into_bytes()))
    }

    /// The bytes still free for a last parameter.
    fn text_bytes_left(&self) -> usize {
        TEXT_BYTES.saturating_sub(self.text.len() + " :".len())
    }
}

/// Packs `words` into the last parameters of as few lines as they need, each begun by `begin`.
/// No word, no line.
pub(crate) fn pack<'a>(
    begin: impl Fn() -> LineWriter,
    words: impl IntoIterator<Item = &'a str>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut packed = String::new();
    let room = begin().text_bytes_left();
    for word in words {
        if !packed.is_empty() {
            if packed.len() + 1 + word.len() > room {
                lines.push(begin().text(&packed));
                packed.clear();
            } else {
                packed.push(' ');
            }
        }
        packed.push_str(word);
    }
    if !packed.is_empty() {
        lines.push(begin().text(&packed));
    }
    lines
}

/// The longest start of `text` of at most `max_bytes` that ends between two characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(' ') {
        Some((word, rest)) => (word, rest.trim_start_matches(' ')),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(line: &str) -> Message<'_> {
        Message::parse(line).expect("a good line")
    }

    fn as_str(line: &Line) -> &str {
        std::str::from_utf8(line.as_bytes()).expect("lines are UTF-8")
    }

    #[test]
    fn tags_source_command_and_parameters_are_told_apart() {
        let message = parsed("@id=1;x :ann!a@h  PRIVMSG  #room   :hello  world ");
        assert_eq!(message.tags, Some("id=1;x"));
        assert_eq!(message.source, Some("ann!a@h"));
        assert_eq!(message.command, "PRIVMSG");
        assert_eq!(message.params, ["#room", "hello  world "]);
    }

    #[test]
    fn an_empty_last_parameter_is_a_parameter() {
        assert_eq!(parsed("TOPIC #room :").params, ["#room", ""]);
        assert!(parsed("LIST").params.is_empty());
        assert_eq!(parsed("JOIN #a ").params, ["#a"]);
    }

    #[test]
    fn the_fifteenth_parameter_takes_the_rest_of_the_line() {
        let message = parsed("X 1 2 3 4 5 6 7 8 9 10 11 12 13 14 and all :the rest");
        assert_eq!(message.params.len(), PARAMS);
        assert_eq!(message.params[PARAMS - 1], "and all :the rest");
    }

    #[test]
    fn a_line_without_a_command_is_refused() {
        for line in ["", "   ", ":ann", "@tag", "@tag :ann ", ":"] {
            assert_eq!(
                Message::parse(line),
                Err(ParseError::NoCommand),
                "for {line:?}"
            );
        }
        assert_eq!(Message::parse("A\0B"), Err(ParseError::Nul));
    }

    #[test]
    fn a_parameter_that_cannot_stand_in_the_middle_is_written_as_a_star() {
        let line = LineWriter::new("403")
            .param("a b")
            .param("")
            .param(":c")
            .param("d")
            .text("No such channel");
        assert_eq!(as_str(&line), "403 * * * d :No such channel\r\n");
    }

    #[test]
    fn a_line_is_cut_between_two_characters() {
        let line = LineWriter::new("PRIVMSG").param("#a").text("é".repeat(400));
        assert!(line.as_bytes().len() <= LINE_BYTES);
        assert!(line.as_bytes().len() >= LINE_BYTES - 1);
        assert!(as_str(&line).ends_with("é\r\n"));
    }

    #[test]
    fn a_line_end_inside_a_text_does_not_end_the_line() {
        let line = LineWriter::new("NOTICE").text("one\r\nQUIT\0");
        assert_eq!(as_str(&line), "NOTICE :one  QUIT \r\n");
    }

    #[test]
    fn packed_words_fill_lines_and_none_is_lost() {
        let words: Vec<String> = (0..200).map(|n| format!("nick{n}")).collect();
        let begin = || LineWriter::from_source("server", "353").param("me");
        let lines = pack(begin, words.iter().map(String::as_str));
        let found: Vec<String> = lines
            .iter()
            .flat_map(|line| {
                assert!(line.as_bytes().len() <= LINE_BYTES);
                let message = parsed(as_str(line).trim_end());
                let text = message.params[1].to_owned();
                text.split(' ').map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(found, words);
        assert_eq!(lines.len(), 4);
        assert!(pack(begin, []).is_empty());
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in any::<String>()) {
            let _ = Message::parse(&line);
        }

        #[test]
        fn what_is_written_is_read_back(
            source in proptest::option::of("[a-z]{1,9}(![a-z]{1,5}@[a-z.]{1,9})?"),
            command in "[A-Z]{1,12}|[0-9]{3}",
            params in proptest::collection::vec("[^ :\0\r\n][^ \0\r\n]{0,11}", 0..14),
            text in proptest::option::of("[^\0\r\n]{0,40}"),
        ) {
            let mut writer = match &source {
                Some(source) => LineWriter::from_source(source, &command),
                None => LineWriter::new(&command),
            };
            for param in &params {
                writer = writer.param(param);
            }
            let line = match &text {
                Some(text) => writer.text(text),
                None => writer.end(),
            };
            // A line that was cut reads back as something shorter, which is not the claim here.
            prop_assume!(line.as_bytes().len() < LINE_BYTES - 4);
            let expected = Message {
                tags: None,
                source: source.as_deref(),
                command: &command,
                params: params.iter().chain(&text).map(String::as_str).collect(),
            };
            let line = as_str(&line).strip_suffix("\r\n").expect("a line has an end");
            prop_assert_eq!(Message::parse(line), Ok(expected));
        }

        #[test]
        fn no_text_makes_a_second_line(param in any::<String>(), text in any::<String>()) {
            let line = LineWriter::new("NOTICE").param(&param).text(&text);
            prop_assert!(line.as_bytes().len() <= LINE_BYTES);
            let inner = &line.as_bytes()[..line.as_bytes().len() - 2];
            prop_assert!(!inner.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        }
    }
}
