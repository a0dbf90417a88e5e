//! What the crate promises, by topic; each test's name is the claim.

mod ask;
mod callers;
mod counts;
mod dead_letters;
mod deadlocks;
mod groups;
mod idle;
mod layers;
mod lifecycle;
mod mailbox;
mod names;
mod panics;
mod refusals;
mod routers;
mod sends;
mod shutdown;
mod snapshot;
mod supervision;
mod support;
mod time;
mod tracing;
mod waiting;
mod watchdog;
