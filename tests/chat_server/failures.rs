//! What clients see of parts of the server that fail: rooms come back, a connection ends alone, and
//! without the directory the server starts over.

use crate::harness::{Client, Line, Server, assert_balanced};

const FAILED: &str = "chat.localhost FAIL * CHANNEL_FAILED #a \
                      The channel failed at this and is back as it was before";

fn start() -> Server {
    Server::start_with_errors_kept(&["--crash-command", "CRASH", "--flood-rate", "0"])
}

/// Reads to the end of the connection, which must be that of a failure.
fn assert_failed(client: &mut Client) {
    let last = client.rest().pop();
    assert_eq!(
        last.as_ref().map(Line::brief).as_deref(),
        Some(" ERROR Closing Link: 127.0.0.1 (Internal error)"),
        "for {}",
        client.nick
    );
}

#[test]
fn a_room_that_panics_comes_back_with_its_members_and_its_topic() {
    let server = start();
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("#a");
    bob.join("#a");
    ann.ask("TOPIC #a :The weather");
    for _ in 0..2 {
        assert_eq!(ann.ask("CRASH #a"), [FAILED]);
    }
    bob.drain();
    assert_eq!(
        bob.ask("NAMES #a"),
        [
            "chat.localhost 353 bob = #a ann bob",
            "chat.localhost 366 bob #a End of the names"
        ]
    );
    assert!(bob.ask("TOPIC #a")[0].ends_with("332 bob #a The weather"));
    assert!(ann.ask("PRIVMSG #a :still here").is_empty());
    let briefs: Vec<_> = bob.drain().iter().map(Line::brief).collect();
    assert_eq!(briefs, ["ann PRIVMSG #a still here"]);
    // The room is one to come and go, as before.
    bob.ask("PART #a");
    let mut eve = server.client("eve");
    eve.join("#a");
    let briefs: Vec<_> = ann.drain().iter().map(Line::brief).collect();
    assert_eq!(briefs, ["bob PART #a", "eve JOIN #a"]);
    server.end_in_order();
}

#[test]
fn a_session_or_outbox_that_panics_ends_its_own_connection_only() {
    for part in ["SESSION", "OUTBOX"] {
        let server = start();
        let mut ann = server.client("ann");
        let mut bob = server.client("bob");
        for room in ["#a", "#b"] {
            ann.join(room);
            bob.join(room);
        }
        ann.drain();
        bob.send(&format!("CRASH {part}"));
        assert_failed(&mut bob);
        let quit = ann.until(|line| line.is("QUIT")).pop();
        assert_eq!(
            quit.as_ref().map(Line::brief).as_deref(),
            Some("bob QUIT Internal error"),
            "for {part}"
        );
        // The session frees the nick when it has told the rooms.
        while !ann.ask("WHOIS bob")[0].contains(" 401 ") {}
        assert!(ann.drain().is_empty(), "a peer is told once");
        let mut bob = server.client("bob");
        bob.join("#a");
        ann.until(|line| line.is("JOIN"));
        bob.send("PRIVMSG #a :back");
        assert_eq!(ann.line().brief(), "bob PRIVMSG #a back");
        server.end_in_order();
    }
}

#[test]
fn without_its_directory_the_server_starts_over() {
    let server = start();
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let mut guest = server.connect();
    ann.join("#a");
    bob.join("#b");
    ann.ask("TOPIC #a :The weather");
    ann.send("CRASH DIRECTORY");
    assert_failed(&mut ann);
    assert_failed(&mut bob);
    assert_failed(&mut guest);
    let mut bob = server.client("bob");
    let mut ann = server.client("ann");
    assert_eq!(
        bob.ask("LIST"),
        ["chat.localhost 323 bob End of the list"],
        "no room is left"
    );
    bob.join("#a");
    assert_eq!(
        bob.ask("TOPIC #a"),
        ["chat.localhost 331 bob #a No topic is set"]
    );
    ann.join("#a");
    ann.send("PRIVMSG #a :hello again");
    bob.until(|line| line.is("PRIVMSG") && line.text() == "hello again");
    server.end_in_order();
}

#[test]
fn a_server_that_starts_over_again_and_again_ends_and_says_why() {
    let server = start();
    for nick in ["ann", "bob"] {
        let mut client = server.client(nick);
        client.send("CRASH DIRECTORY");
        assert_failed(&mut client);
    }
    let (status, output, errors) = server.wait_with_errors();
    assert_eq!(status.code(), Some(1), "{errors}");
    assert_balanced(&output);
    let reason = errors
        .lines()
        .find(|line| line.starts_with("chat_server: "))
        .unwrap_or_else(|| panic!("no reason in {errors:?}"));
    assert!(
        reason.contains("it gave up: `chat_server::directory::Directory`"),
        "{reason}"
    );
    assert!(
        reason.ends_with("needed more than 1 restart in 60s: it panicked: crashed on command"),
        "{reason}"
    );
}

#[test]
fn rooms_that_fail_again_and_again_make_the_server_start_over() {
    let server = start();
    let mut ann = server.client("ann");
    ann.join("#a");
    for _ in 0..20 {
        assert_eq!(ann.ask("CRASH #a"), [FAILED]);
    }
    ann.send("CRASH #a");
    assert_failed(&mut ann);
    let mut ann = server.client("ann");
    assert_eq!(ann.ask("LIST"), ["chat.localhost 323 ann End of the list"]);
    server.end_in_order();
}

#[test]
fn without_the_option_nothing_fails_on_command() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    ann.join("#a");
    for command in ["CRASH SESSION", "CRASH #a"] {
        assert_eq!(
            ann.ask(command),
            ["chat.localhost 421 ann CRASH Unknown command"]
        );
    }
}
