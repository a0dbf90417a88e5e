//! What a client is told that does something wrong, and that nothing else comes of it.

use crate::harness::{Line, Server};

/// Sends each line and compares the answer, without the name of the server.
fn assert_answers(server: &Server, nick: &str, table: &[(&str, &str)]) {
    let mut client = server.client(nick);
    for (line, answer) in table {
        let answers = client.ask(line);
        let expected: Vec<_> = Some(*answer)
            .filter(|answer| !answer.is_empty())
            .map(|answer| format!("chat.localhost {answer}"))
            .into_iter()
            .collect();
        assert_eq!(answers, expected, "for {line:?}");
    }
}

#[test]
fn every_mistake_has_its_numeric() {
    let server = Server::start(&["--flood-rate", "0", "--targets", "2"]);
    let mut bob = server.client("bob");
    bob.join("#bobs");
    assert_answers(
        &server,
        "ann",
        &[
            ("BOGUS", "421 ann BOGUS Unknown command"),
            ("bogus x y", "421 ann bogus Unknown command"),
            ("USER a 0 * :again", "462 ann You may not register twice"),
            ("PASS word", "462 ann You may not register twice"),
            ("NICK", "431 ann No nick given"),
            ("NICK :", "431 ann No nick given"),
            ("NICK 1st", "432 ann 1st Not a legal nick"),
            ("NICK :two words", "432 ann * Not a legal nick"),
            ("NICK Bob", "433 ann Bob The nick is in use"),
            ("JOIN", "461 ann JOIN Not enough parameters"),
            ("JOIN bob", "403 ann bob No such channel"),
            ("JOIN #", "476 ann # Not a legal channel name"),
            ("PART", "461 ann PART Not enough parameters"),
            ("PART #none", "403 ann #none No such channel"),
            ("PART #bobs", "442 ann #bobs You are not in that channel"),
            ("PRIVMSG", "411 ann No recipient given"),
            ("PRIVMSG bob", "412 ann No text to send"),
            ("PRIVMSG bob :", "412 ann No text to send"),
            ("PRIVMSG nobody :hello", "401 ann nobody No such nick"),
            ("PRIVMSG #none :hello", "403 ann #none No such channel"),
            (
                "PRIVMSG #bobs :hello",
                "404 ann #bobs You are not in that channel",
            ),
            ("PRIVMSG bob,a,b :hello", "407 ann bob Too many targets"),
            // A notice is never answered.
            ("NOTICE", ""),
            ("NOTICE nobody :hello", ""),
            ("NOTICE #bobs :hello", ""),
            ("NOTICE bob,a,b :hello", ""),
            ("TOPIC", "461 ann TOPIC Not enough parameters"),
            ("TOPIC #none", "403 ann #none No such channel"),
            (
                "TOPIC #bobs :mine",
                "442 ann #bobs You are not in that channel",
            ),
            ("PING", "409 ann No token given"),
            ("CAP", "461 ann CAP Not enough parameters"),
            ("CAP WHAT", "410 ann WHAT No such CAP command"),
            ("WHOIS", "431 ann No nick given"),
            ("USERHOST", "461 ann USERHOST Not enough parameters"),
            ("MODE", "461 ann MODE Not enough parameters"),
            ("MODE #none", "403 ann #none No such channel"),
            ("MODE #bobs +z", "472 ann z Unknown channel mode"),
            (
                "MODE #bobs -n",
                "482 ann #bobs Channels have no operators here",
            ),
            (
                "MODE bob",
                "502 ann The modes of others are not yours to see or change",
            ),
            ("MODE nobody", "401 ann nobody No such nick"),
            ("MODE ann +z", "501 ann Unknown user mode"),
            ("MOTD other.server", "402 ann other.server No such server"),
            (
                ":bob!b@h PRIVMSG nobody :forged",
                "401 ann nobody No such nick",
            ),
            ("@tag=1 BOGUS", "421 ann BOGUS Unknown command"),
            (":only.a.source", ""),
        ],
    );
    assert_eq!(
        bob.drain().iter().map(Line::brief).collect::<Vec<_>>(),
        [""; 0],
        "Bob has heard nothing of it"
    );
    server.end_in_order();
}

#[test]
fn before_registering_only_registering_is_possible() {
    let server = Server::start(&[]);
    let mut ann = server.connect();
    assert_eq!(
        ann.ask("JOIN #a"),
        ["chat.localhost 451 * You have not registered"]
    );
    assert_eq!(
        ann.ask("PRIVMSG ann :hello"),
        ["chat.localhost 451 * You have not registered"]
    );
    assert_eq!(
        ann.ask("USER ann"),
        ["chat.localhost 461 * USER Not enough parameters"]
    );
    assert_eq!(
        ann.ask("USER !! 0 * :Ann"),
        ["chat.localhost 468 * Not a legal user name"]
    );
    ann.register("ann");
}

#[test]
fn channels_per_client_are_limited() {
    let server = Server::start(&["--channels", "2"]);
    let mut ann = server.client("ann");
    ann.join("#a");
    ann.join("#b");
    assert_eq!(
        ann.ask("JOIN #c"),
        ["chat.localhost 405 ann #c You are in too many channels"]
    );
    assert!(ann.ask("JOIN #A").is_empty(), "who is in is in");
    ann.ask("PART #a");
    ann.join("#c");
}

#[test]
fn an_overlong_line_is_refused_and_the_next_one_is_read() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let longest = format!("PRIVMSG bob :{}", "x".repeat(497));
    assert_eq!(longest.len(), 510);
    assert_eq!(
        ann.ask(&format!("{longest}x")),
        ["chat.localhost 417 ann The line was too long"]
    );
    assert_eq!(
        ann.ask(&"x".repeat(9000)),
        ["chat.localhost 417 ann The line was too long"]
    );
    assert!(ann.ask(&longest).is_empty());
    assert!(
        ann.ask(&format!("@tag={} {longest}", "t".repeat(4000)))
            .is_empty()
    );
    let lines = bob.drain();
    assert_eq!(lines.len(), 2);
    // The source is longer than nothing, so the text arrives cut. The line is as long as it can be.
    let cut = 510 - ":ann!~ann@127.0.0.1 PRIVMSG bob :".len();
    assert!(lines.iter().all(|line| line.text() == "x".repeat(cut)));
}

#[test]
fn a_line_without_end_ends_the_connection() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    ann.send_bytes(&[b'x'; 17_000]);
    assert_eq!(
        ann.rest().iter().map(Line::brief).collect::<Vec<_>>(),
        [" ERROR Closing Link: 127.0.0.1 (Input line too long)"]
    );
}

#[test]
fn only_utf_8_is_passed_on() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("#größe");
    bob.join("#größe");
    bob.drain();
    ann.send_bytes(b"PRIVMSG bob :caf\xe9\r\n");
    let lines = ann.until(|line| line.is("FAIL"));
    assert_eq!(
        lines.last().map(|line| &*line.params[1]),
        Some("INVALID_UTF8")
    );
    ann.send("PRIVMSG #größe :naïve ☕");
    ann.drain();
    assert_eq!(
        bob.drain().iter().map(Line::brief).collect::<Vec<_>>(),
        ["ann PRIVMSG #größe naïve ☕"]
    );
    // A cut never falls into a character.
    ann.send(&format!("PRIVMSG bob :{}", "☕".repeat(165)));
    ann.drain();
    let lines = bob.drain();
    assert!(lines[0].text().chars().all(|c| c == '☕'));
    assert!(lines[0].text().len() > 470);
}

#[test]
fn rubbish_is_survived() {
    let server = Server::start(&["--flood-rate", "0"]);
    let mut ann = server.client("ann");
    // The same bytes in every run, without a source of chance.
    let mut state = 1_u32;
    let rubbish: Vec<u8> = (0..200_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    for chunk in rubbish.chunks(10_000) {
        let mut visitor = server.connect();
        let mut writer = visitor.writer();
        let chunk = chunk.to_vec();
        let sending = std::thread::spawn(move || {
            // The server may have had enough before the end.
            let _ = std::io::Write::write_all(&mut writer, &chunk)
                .and_then(|()| std::io::Write::write_all(&mut writer, b"\r\nQUIT\r\n"));
        });
        visitor.rest();
        sending.join().expect("sending does not panic");
    }
    ann.send_bytes(b"\0\r\n\r\n\n\n   \r\n@\r\n:\r\nPRIVMSG\0ann :x\r\n");
    let answers: Vec<_> = ann.drain().iter().map(Line::brief).collect();
    assert_eq!(
        answers,
        ["chat.localhost 400 ann The line cannot be read"; 2]
    );
    server.end_in_order();
}
