//! Restart decisions: which children are started again, how often, and after what delay.
//!
//! Plain data and pure functions; no actor is known here and no clock is read. The words and the
//! rules are those of Erlang/OTP's `supervisor`; [`Backoff`] has the delays, which OTP lacks.

mod backoff;
mod intensity;

pub use backoff::Backoff;
pub use intensity::Intensity;

pub(crate) use backoff::Attempts;
pub(crate) use intensity::History;

use std::ops::Range;
use std::time::Duration;

/// Which children are started again when one has failed.
///
/// The default is [`OneForOne`](Self::OneForOne). Children are started in the order in which they
/// were declared, and stopped in the reverse order; for [`Dynamic`](Self::Dynamic) ones there is
/// no order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Strategy {
    /// The failed child alone.
    #[default]
    OneForOne,
    /// All children: the others are stopped, then all are started. For children of which none is
    /// of use without each of the others.
    OneForAll,
    /// The failed child and those started after it: the later ones are stopped, then all of these
    /// are started. For children of which each builds on the earlier ones.
    RestForOne,
    /// The failed child alone, of many like ones that come and go while the supervisor runs. They
    /// are started one by one without an order, and stopped all at once. OTP calls it
    /// `simple_one_for_one`. When their supervisor is restarted they come back as all children do,
    /// but for temporary ones.
    Dynamic,
}

impl Strategy {
    /// The children, by their order of starting, that are stopped and started again when the one
    /// at `failed` of `children` has failed. They are started in this order, and before that
    /// stopped in the reverse one.
    ///
    /// # Panics
    ///
    /// If `failed` is none of them.
    pub(crate) fn affected(self, failed: usize, children: usize) -> Range<usize> {
        assert!(failed < children, "a failed child is one of the children");
        match self {
            Self::OneForOne | Self::Dynamic => failed..failed + 1,
            Self::OneForAll => 0..children,
            Self::RestForOne => failed..children,
        }
    }
}

/// When a child that has ended is started again.
///
/// The default is [`Permanent`](Self::Permanent). This is about ends that the supervisor did not
/// bring about, and about those of children that it stopped because another one had failed: by
/// [`Strategy::OneForAll`] and [`Strategy::RestForOne`]. What it stops for good is not started
/// again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after an abnormal end, or if it was stopped because another child had failed.
    Transient,
    /// Never, not even if it was stopped because another child had failed.
    Temporary,
}

/// How a child ended, as far as its restart depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It was stopped or drained, or stopped itself.
    Normal,
    /// It failed.
    Abnormal,
    /// Its supervisor stopped it because another child had failed.
    WithSibling,
}

impl Restart {
    /// Whether a child that ended so is started again.
    pub(crate) fn is_restarted(self, end: End) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => matches!(end, End::Abnormal | End::WithSibling),
            Self::Temporary => false,
        }
    }
}

/// How long a child that is told to stop may take to end.
///
/// The default is [`After`](Self::After) 5 s. The time runs from the order to stop; the message in
/// hand and `stopped` count to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StopTimeout {
    /// It is stopped, and after this time killed.
    After(Duration),
    /// It is stopped and waited for, however long it takes. Meant for children that are
    /// supervisors, whose own children have limits.
    Infinite,
    /// It is killed at once.
    AtOnce,
}

impl Default for StopTimeout {
    fn default() -> Self {
        Self::After(Duration::from_secs(5))
    }
}

/// Whether a supervisor ends of itself when its significant children have ended.
///
/// The default is [`Never`](Self::Never). An end counts if the child is significant, ended of
/// itself, and is not started again; so a [`Permanent`](Restart::Permanent) child cannot be
/// significant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AutoShutdown {
    /// It goes on, also without children.
    #[default]
    Never,
    /// It ends when the first significant child has ended.
    AnySignificant,
    /// It ends when the last significant child has ended.
    AllSignificant,
}

#[cfg(test)]
mod tests;
