//! Nicks, channel names and masks: which are legal, which are the same.
//!
//! The casemapping is `ascii`: `A` to `Z` equal `a` to `z` and nothing else has a case. It is
//! announced as such; the older `rfc1459` mapping would make `{` and `[` the same letter, which
//! few users expect.

use std::fmt;

/// A name with its case taken away: the key by which nicks and channels are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Folded(Box<str>);

impl Folded {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.to_ascii_lowercase().into_boxed_str())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` may be a nick: ASCII letters, digits and ``[]\`_^{|}-``, not beginning with a
/// digit or a minus, of 1 to `max_bytes` bytes.
pub(crate) fn is_nick(name: &str, max_bytes: usize) -> bool {
    let is_special = |byte| b"[]\\`_^{|}".contains(&byte);
    let may_begin = |byte: u8| byte.is_ascii_alphabetic() || is_special(byte);
    name.len() <= max_bytes
        && name.bytes().next().is_some_and(may_begin)
        && name
            .bytes()
            .all(|byte| may_begin(byte) || byte.is_ascii_digit() || byte == b'-')
}

/// Whether `name` may be a channel: `#`, then at least one character and `max_bytes` bytes in
/// all, without spaces, commas and control characters.
pub(crate) fn is_channel(name: &str, max_bytes: usize) -> bool {
    name.len() <= max_bytes
        && name.strip_prefix('#').is_some_and(|rest| {
            !rest.is_empty()
                && !rest
                    .chars()
                    .any(|c| c == ',' || c.is_whitespace() || c.is_control())
        })
}

/// What of `text` can be a user name: ASCII letters, digits and `-._`, at most `max_bytes`,
/// after a `~`, which says that nobody has checked it. `None` if nothing is left.
pub(crate) fn user_name(text: &str, max_bytes: usize) -> Option<String> {
    let kept = text
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c))
        .take(max_bytes - 1);
    let name: String = std::iter::once('~').chain(kept).collect();
    (name.len() > 1).then_some(name)
}

/// Whether `text` is a mask rather than a name.
pub(crate) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether `mask`, in which `*` stands for any text and `?` for any character, fits all of
/// `name`. Takes at most the product of the two lengths in steps.
pub(crate) fn matches(mask: &Folded, name: &Folded) -> bool {
    let mask: Vec<char> = mask.as_str().chars().collect();
    let name: Vec<char> = name.as_str().chars().collect();
    let (mut m, mut n) = (0, 0);
    // The last star seen, and the end of what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if mask.get(m) == Some(&'*') {
            star = Some((m, n));
            m += 1;
        } else if mask.get(m).is_some_and(|&c| c == '?' || c == name[n]) {
            m += 1;
            n += 1;
        } else if let Some((at, end)) = star {
            star = Some((at, end + 1));
            m = at + 1;
            n = end + 1;
        } else {
            return false;
        }
    }
    mask[m..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_ascii_case_are_the_same() {
        assert_eq!(Folded::new("#Rust"), Folded::new("#rUST"));
        assert_ne!(Folded::new("a[b]"), Folded::new("a{b}"));
        assert_ne!(Folded::new("#É"), Folded::new("#é"));
    }

    #[test]
    fn nicks_are_ascii_and_begin_with_a_letter() {
        for good in ["a", "Ann", "x1-2", "[a]\\`_^{|}", "_"] {
            assert!(is_nick(good, 12), "{good}");
        }
        for bad in [
            "", "1a", "-a", "a b", "a!b", "a@b", "#a", "a.b", "é", "a:b", "a,b",
        ] {
            assert!(!is_nick(bad, 12), "{bad}");
        }
        assert!(is_nick("abcd", 4) && !is_nick("abcde", 4));
    }

    #[test]
    fn channels_begin_with_a_hash_and_have_no_separators() {
        for good in ["#a", "##", "#a:b", "#Größe", "#1"] {
            assert!(is_channel(good, 12), "{good}");
        }
        for bad in [
            "",
            "#",
            "a",
            "&a",
            "#a,b",
            "#a b",
            "#a\x07",
            "#a\u{a0}b",
            "0",
        ] {
            assert!(!is_channel(bad, 12), "{bad}");
        }
        assert!(is_channel("#abc", 4) && !is_channel("#abcd", 4));
    }

    #[test]
    fn a_user_name_keeps_only_what_is_safe_in_a_source() {
        assert_eq!(user_name("ann", 10).as_deref(), Some("~ann"));
        assert_eq!(user_name("a!n@n x", 10).as_deref(), Some("~annx"));
        assert_eq!(
            user_name("abcdefghijklm", 10).as_deref(),
            Some("~abcdefghi")
        );
        assert_eq!(user_name("!@ ", 10), None);
    }

    #[test]
    fn a_mask_fits_the_whole_name() {
        let fits = |mask: &str, name: &str| matches(&Folded::new(mask), &Folded::new(name));
        assert!(fits("*", "") && fits("*", "anything") && fits("a*", "A"));
        assert!(fits("a?c*e", "abcde") && fits("*b*b*", "abcb") && fits("é?", "éa"));
        assert!(!fits("a", "ab") && !fits("?", "") && !fits("*b", "abc") && !fits("", "a"));
        assert!(!fits(&"*a".repeat(50), &"a".repeat(49)));
    }
}
