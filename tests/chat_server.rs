//! The chat server from the outside: the program runs, clients are real sockets.
//!
//! Ordinary use is in `conversation`, wrong use in `mistakes`, ill will and bad luck in
//! `endurance`, failures of its own parts in `failures`. The protocol's pure parts have their tests beside the code, in the example.

#![cfg(all(unix, not(loom)))]

#[path = "examples/build.rs"]
mod build;
#[path = "chat_server/conversation.rs"]
mod conversation;
#[path = "chat_server/endurance.rs"]
mod endurance;
#[path = "chat_server/failures.rs"]
mod failures;
#[path = "chat_server/harness.rs"]
mod harness;
#[path = "chat_server/mistakes.rs"]
mod mistakes;
