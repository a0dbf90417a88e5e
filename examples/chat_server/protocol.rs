//! The IRC client protocol: lines in, lines out, names, numerics. No actor, socket or clock is
//! known here, so everything is tested by itself.
//!
//! The sources are RFC 1459, RFC 2812 and the «Modern IRC» document, in this order of ageing.
//! Where they differ the newest is followed.
//!
//! - [`LineBuffer`] cuts a stream of bytes into [`Received`] lines and holds bounded memory
//!   whatever arrives.
//! - [`Message`] is a parsed line; [`LineWriter`] writes one, never longer than 512 bytes.
//! - [`Folded`], [`is_nick`], [`is_channel`] and [`matches`] decide which names are legal and
//!   which are the same.
//! - [`numeric`] names the three-digit replies.

mod line_buffer;
mod message;
mod name;
pub(crate) mod numeric;

pub(crate) use line_buffer::{LineBuffer, Received};
pub(crate) use message::{Line, LineWriter, Message, ParseError, cut, pack};
pub(crate) use name::{Folded, has_wildcard, is_channel, is_nick, matches, user_name};
