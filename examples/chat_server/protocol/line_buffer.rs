//! Cuts a stream of bytes into lines, whatever the bytes are.
//!
//! Either of CR and LF ends a line, so that every common habit is understood and no line holds
//! one inside. Empty lines are left out. A line that is longer than allowed is dropped as it
//! arrives and reported once at its end; after 16,384 bytes without an end it is reported as
//! [`Received::Endless`] and nothing is read any more. So a buffer never holds more than one
//! longest line, and an idle one holds nothing.

/// The most bytes of tags: the `@`, the text and the space after it.
const TAG_BYTES: usize = 4096;
/// From this length on a line is not waited for any more.
const ENDLESS_BYTES: usize = 16_384;

/// What a piece of the stream turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A line without its end.
    Line(String),
    /// A line that is not UTF-8; it is gone.
    NotUtf8,
    /// A line that was too long; it is gone.
    TooLong,
    /// A line that does not end. The buffer takes nothing after it.
    Endless,
}

/// Lines in the making.
#[derive(Debug)]
pub(crate) struct LineBuffer {
    /// The most bytes of a line without tags and without its end.
    text_bytes: usize,
    /// The start of a line. Empty while a line is skipped.
    partial: Vec<u8>,
    skipping: Skipping,
}

#[derive(Clone, Copy, Debug)]
enum Skipping {
    No,
    /// Inside a line that is too long, of which so many bytes went by.
    Line(usize),
    /// To the end of the stream.
    All,
}

impl LineBuffer {
    /// A buffer for lines of at most `line_bytes` with their CR and LF.
    pub(crate) fn new(line_bytes: usize) -> Self {
        Self {
            text_bytes: line_bytes - 2,
            partial: Vec::new(),
            skipping: Skipping::No,
        }
    }

    /// Takes the next bytes of the stream and adds the lines they complete to `received`.
    pub(crate) fn push(&mut self, bytes: &[u8], received: &mut Vec<Received>) {
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
            match piece {
                [text @ .., b'\r' | b'\n'] => self.end_line(text, received),
                text => self.extend_line(text, received),
            }
        }
    }

    fn end_line(&mut self, text: &[u8], received: &mut Vec<Received>) {
        match self.skipping {
            Skipping::No => {}
            Skipping::Line(_) => {
                self.skipping = Skipping::No;
                received.push(Received::TooLong);
                return;
            }
            Skipping::All => return,
        }
        let mut line = std::mem::take(&mut self.partial);
        line.extend_from_slice(text);
        if line.is_empty() {
            return;
        }
        received.push(if self.text_len(&line) > self.text_bytes {
            Received::TooLong
        } else {
            String::from_utf8(line).map_or(Received::NotUtf8, Received::Line)
        });
    }

    fn extend_line(&mut self, text: &[u8], received: &mut Vec<Received>) {
        let len = match self.skipping {
            Skipping::No => {
                self.partial.extend_from_slice(text);
                if self.text_len(&self.partial) <= self.text_bytes {
                    return;
                }
                std::mem::take(&mut self.partial).len()
            }
            Skipping::Line(len) => len + text.len(),
            Skipping::All => return,
        };
        self.skipping = if len > ENDLESS_BYTES {
            received.push(Received::Endless);
            Skipping::All
        } else {
            Skipping::Line(len)
        };
    }

    /// How much of `line` counts against the limit: tags are free up to their own limit, and
    /// what they have beyond it counts.
    fn text_len(&self, line: &[u8]) -> usize {
        if line.first() != Some(&b'@') {
            return line.len();
        }
        let tag_bytes = match line.iter().position(|&byte| byte == b' ') {
            Some(space) => space + 1,
            None => line.len(),
        };
        if tag_bytes > TAG_BYTES {
            usize::MAX
        } else {
            line.len() - tag_bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Received {
        Received::Line(text.to_owned())
    }

    fn received(pieces: &[&[u8]]) -> Vec<Received> {
        let mut buffer = LineBuffer::new(512);
        let mut received = Vec::new();
        for piece in pieces {
            buffer.push(piece, &mut received);
        }
        received
    }

    #[test]
    fn either_line_end_ends_a_line_and_empty_lines_are_left_out() {
        assert_eq!(
            received(&[b"\r\n\r\nNICK a\nUSER b\r\nPING c\r\r"]),
            [line("NICK a"), line("USER b"), line("PING c")]
        );
    }

    #[test]
    fn a_line_in_pieces_is_put_together() {
        assert_eq!(
            received(&[b"NI", b"CK ", b"a", b"\r", b"\nUSER", b"\n"]),
            [line("NICK a"), line("USER")]
        );
    }

    #[test]
    fn the_longest_line_is_read_and_one_byte_more_is_refused() {
        let longest = "x".repeat(510);
        assert_eq!(received(&[longest.as_bytes(), b"\r\n"]), [line(&longest)]);
        assert_eq!(
            received(&[longest.as_bytes(), b"y\r\n"]),
            [Received::TooLong]
        );
    }

    #[test]
    fn an_overlong_line_is_refused_and_the_next_one_is_read() {
        let long = vec![b'x'; 5000];
        assert_eq!(
            received(&[&long, &long, b"\nPING a\n"]),
            [Received::TooLong, line("PING a")]
        );
    }

    #[test]
    fn a_line_without_end_is_reported_once_and_nothing_is_read_after_it() {
        let piece = vec![b'x'; 10_000];
        assert_eq!(
            received(&[&piece, &piece, &piece, b"\nPING a\n"]),
            [Received::Endless]
        );
    }

    #[test]
    fn tags_do_not_count_up_to_their_own_limit() {
        let text = "x".repeat(510);
        let tagged = format!("@{} {text}", "t".repeat(TAG_BYTES - 2));
        assert_eq!(received(&[tagged.as_bytes(), b"\n"]), [line(&tagged)]);
        let too_many = format!("@{} PING", "t".repeat(TAG_BYTES - 1));
        assert_eq!(
            received(&[too_many.as_bytes(), b"\nPING\n"]),
            [Received::TooLong, line("PING")]
        );
        let never_ending = vec![b'@'; ENDLESS_BYTES + 1];
        assert_eq!(received(&[&never_ending]), [Received::Endless]);
    }

    #[test]
    fn a_line_that_is_not_utf_8_is_refused_and_the_next_one_is_read() {
        assert_eq!(
            received(&[b"PRIVMSG a :caf\xe9\nPING \xc3", b"\xa9\n"]),
            [Received::NotUtf8, line("PING é")]
        );
    }

    proptest! {
        #[test]
        fn rubbish_in_any_pieces_holds_bounded_memory_and_gives_the_same_lines(
            bytes in proptest::collection::vec(
                prop_oneof![8 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b'@')],
                0..1500,
            ),
            piece_len in 1_usize..700,
        ) {
            let whole = received(&[&bytes]);
            let mut buffer = LineBuffer::new(512);
            let mut in_pieces = Vec::new();
            for piece in bytes.chunks(piece_len) {
                buffer.push(piece, &mut in_pieces);
                prop_assert!(buffer.partial.len() <= TAG_BYTES + 510);
            }
            prop_assert_eq!(in_pieces, whole);
        }
    }
}
