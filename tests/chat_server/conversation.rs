//! What clients do when all is well, and how a server starts and ends.

use crate::harness::{Line, Server, run};

fn briefs(lines: &[Line]) -> Vec<String> {
    lines.iter().map(Line::brief).collect()
}

#[test]
fn a_client_is_welcomed_with_what_holds() {
    let server = Server::start(&[
        "--name",
        "irc.test",
        "--network",
        "TestNet",
        "--nick-length=12",
    ]);
    let mut ann = server.connect();
    ann.send("NICK ann");
    ann.send("USER ann 0 * :Ann Onymous");
    let lines = ann.until(|line| line.is("422"));
    let numerics: Vec<_> = lines.iter().map(|line| &*line.command).collect();
    assert_eq!(
        numerics,
        [
            "001", "002", "003", "004", "005", "251", "253", "254", "255", "422"
        ]
    );
    assert!(
        lines
            .iter()
            .all(|line| line.from == "irc.test" && line.params[0] == "ann")
    );
    assert!(lines[0].text().contains("TestNet"));
    assert!(lines[0].text().ends_with("ann!~ann@127.0.0.1"));
    assert_eq!(lines[3].params[1], "irc.test");
    let features = &lines[4].params;
    for feature in [
        "CASEMAPPING=ascii",
        "CHANTYPES=#",
        "NICKLEN=12",
        "NETWORK=TestNet",
        "UTF8ONLY",
    ] {
        assert!(features.iter().any(|token| token == feature), "{feature}");
    }
    assert_eq!(
        ann.ask("NICK abcdefghijklm"),
        ["irc.test 432 ann abcdefghijklm Not a legal nick"]
    );
    assert!(ann.ask("NICK abcdefghijkl")[0].starts_with("ann NICK"));
}

#[test]
fn the_message_of_the_day_is_shown() {
    let path = std::env::temp_dir().join(format!("greenroom-motd-{}", std::process::id()));
    std::fs::write(&path, "Hello\nWorld\n").expect("the directory can be written");
    let server = Server::start(&["--motd", path.to_str().expect("the path is UTF-8")]);
    let mut ann = server.client("ann");
    std::fs::remove_file(&path).expect("it was just written");
    let motd = ann.ask("MOTD");
    assert!(motd[0].contains(" 375 ann"));
    assert!(motd[1].ends_with("372 ann - Hello") && motd[2].ends_with("372 ann - World"));
    assert!(motd[3].contains(" 376 ann"));
}

#[test]
fn registration_waits_for_the_end_of_capabilities() {
    let server = Server::start(&[]);
    let mut ann = server.connect();
    ann.send("CAP LS 302");
    ann.send("NICK ann");
    ann.send("USER ann 0 * :Ann");
    assert_eq!(briefs(&ann.drain()), ["chat.localhost CAP * LS "]);
    assert_eq!(
        ann.ask("CAP REQ :sasl echo-message"),
        ["chat.localhost CAP ann NAK sasl echo-message"]
    );
    ann.send("CAP END");
    assert!(ann.until(|line| line.is("422"))[0].is("001"));
    assert_eq!(ann.ask("CAP LIST"), ["chat.localhost CAP ann LIST "]);
}

#[test]
fn joins_parts_and_messages_are_seen_by_every_member_once() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    assert_eq!(
        ann.ask("JOIN #Room"),
        [
            "ann JOIN #Room",
            "chat.localhost 353 ann = #Room ann",
            "chat.localhost 366 ann #Room End of the names",
        ]
    );
    // The name stays as the first one wrote it.
    assert_eq!(
        bob.ask("JOIN #rOOM,#other"),
        [
            "bob JOIN #Room",
            "chat.localhost 353 bob = #Room ann bob",
            "chat.localhost 366 bob #Room End of the names",
            "bob JOIN #other",
            "chat.localhost 353 bob = #other bob",
            "chat.localhost 366 bob #other End of the names",
        ]
    );
    assert_eq!(briefs(&ann.drain()), ["bob JOIN #Room"]);
    assert!(bob.ask("PRIVMSG #room :hello, world").is_empty());
    assert!(bob.ask("NOTICE #room :psst").is_empty());
    assert_eq!(
        briefs(&ann.drain()),
        ["bob PRIVMSG #Room hello, world", "bob NOTICE #Room psst"]
    );
    assert!(ann.ask("PRIVMSG bob,BOB :only you").is_empty());
    assert_eq!(briefs(&bob.drain()), ["ann PRIVMSG bob only you"]);
    assert_eq!(ann.ask("PART #ROOM :bye"), ["ann PART #Room bye"]);
    assert_eq!(briefs(&bob.drain()), ["ann PART #Room bye"]);
    assert_eq!(bob.ask("JOIN 0"), ["bob PART #other", "bob PART #Room"]);
    assert_eq!(
        bob.ask("LIST"),
        ["chat.localhost 323 bob End of the list"],
        "an empty room is forgotten"
    );
}

#[test]
fn a_topic_is_set_shown_and_cleared() {
    let server = Server::start(&["--topic-length", "10"]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("#a");
    assert_eq!(
        ann.ask("TOPIC #a"),
        ["chat.localhost 331 ann #a No topic is set"]
    );
    assert_eq!(
        ann.ask("TOPIC #a :tea & cakes!"),
        ["ann TOPIC #a tea & cake"]
    );
    let joined = bob.ask("JOIN #a");
    assert_eq!(joined[1], "chat.localhost 332 bob #a tea & cake");
    assert!(joined[2].starts_with("chat.localhost 333 bob #a ann!~ann@127.0.0.1 1"));
    assert_eq!(
        bob.ask("LIST"),
        [
            "chat.localhost 322 bob #a 2 tea & cake",
            "chat.localhost 323 bob End of the list",
        ]
    );
    assert_eq!(bob.ask("TOPIC #a :"), ["bob TOPIC #a "]);
    assert_eq!(briefs(&ann.drain()), ["bob JOIN #a", "bob TOPIC #a "]);
    assert_eq!(
        ann.ask("TOPIC #a"),
        ["chat.localhost 331 ann #a No topic is set"]
    );
}

#[test]
fn names_list_and_who_show_who_is_there() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let mut eve = server.client("eve");
    ann.join("#a");
    bob.join("#a");
    bob.join("#b");
    ann.drain();
    assert_eq!(
        eve.ask("NAMES #a,#none"),
        [
            "chat.localhost 353 eve = #a ann bob",
            "chat.localhost 366 eve #a End of the names",
            "chat.localhost 366 eve #none End of the names",
        ]
    );
    assert_eq!(
        eve.ask("LIST"),
        [
            "chat.localhost 322 eve #a 2 ",
            "chat.localhost 322 eve #b 1 ",
            "chat.localhost 323 eve End of the list",
        ]
    );
    assert_eq!(
        eve.ask("WHO #b"),
        [
            "chat.localhost 352 eve #b ~bob 127.0.0.1 chat.localhost bob H 0 The real bob",
            "chat.localhost 315 eve #b End of WHO",
        ]
    );
    assert_eq!(eve.ask("WHO *B*").len(), 2);
    assert_eq!(eve.ask("WHO bob").len(), 2);
    assert_eq!(eve.ask("WHO nobody").len(), 1);
    assert_eq!(eve.ask("WHO *").len(), 4);
    // Who is invisible is found only by those who share a channel, or who know the name.
    assert_eq!(ann.ask("MODE ann +i"), ["ann MODE ann +i"]);
    assert_eq!(ann.ask("MODE ann"), ["chat.localhost 221 ann +i"]);
    assert_eq!(eve.ask("WHO *").len(), 3);
    assert_eq!(bob.ask("WHO *").len(), 4);
    assert_eq!(
        eve.ask("WHOIS bob"),
        [
            "chat.localhost 311 eve bob ~bob 127.0.0.1 * The real bob",
            "chat.localhost 319 eve bob #a #b",
            "chat.localhost 312 eve bob chat.localhost Greenroom",
            "chat.localhost 318 eve bob End of WHOIS",
        ]
    );
    assert_eq!(
        eve.ask("USERHOST bob nobody"),
        ["chat.localhost 302 eve bob=+~bob@127.0.0.1"]
    );
    let modes = eve.ask("MODE #a");
    assert_eq!(modes[0], "chat.localhost 324 eve #a +n");
    assert!(modes[1].starts_with("chat.localhost 329 eve #a "));
    assert_eq!(
        eve.ask("MODE #a +b"),
        ["chat.localhost 368 eve #a End of the list of bans"]
    );
}

#[test]
fn the_names_of_a_full_room_are_all_listed() {
    let server = Server::start(&["--send-queue", "64"]);
    let mut clients: Vec<_> = (0..60)
        .map(|n| server.client(&format!("a-nick-of-some-length-{n:02}")))
        .collect();
    for client in &mut clients {
        client.join("#a");
    }
    let last = clients.last_mut().expect("there are sixty");
    last.send("NAMES #a");
    let mut nicks: Vec<String> = last
        .until(|line| line.is("366"))
        .iter()
        .filter(|line| line.is("353"))
        .flat_map(|line| {
            line.text()
                .split(' ')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    nicks.sort();
    let expected: Vec<_> = clients.iter().map(|client| client.nick.clone()).collect();
    assert_eq!(nicks, expected);
}

#[test]
fn a_nick_has_one_owner_and_is_free_after_him() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    let mut other = server.connect();
    other.send("NICK ANN");
    other.send("USER o 0 * :Other");
    assert_eq!(
        briefs(&other.drain()),
        ["chat.localhost 433 * ANN The nick is in use"]
    );
    // A nick that was claimed before registering is kept from others, and given up for the next.
    other.send("NICK first");
    other.until(|line| line.is("422"));
    assert!(ann.ask("NICK first")[0].contains("433"));
    assert_eq!(
        ann.ask("NICK Ann"),
        ["ann NICK Ann"],
        "his own in other letters"
    );
    assert_eq!(ann.ask("NICK amy"), ["Ann NICK amy"]);
    assert_eq!(other.ask("NICK ann"), ["first NICK ann"]);
    ann.send("QUIT");
    ann.rest();
    assert_eq!(other.ask("NICK amy"), ["ann NICK amy"]);
    assert_eq!(
        other.ask("PRIVMSG first :hello"),
        ["chat.localhost 401 amy first No such nick"]
    );
}

#[test]
fn a_nick_and_a_goodbye_reach_each_peer_once() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    for room in ["#a", "#b", "#c"] {
        ann.join(room);
        bob.join(room);
    }
    ann.drain();
    assert_eq!(ann.ask("NICK amy"), ["ann NICK amy"]);
    assert_eq!(briefs(&bob.drain()), ["ann NICK amy"]);
    assert_eq!(
        bob.ask("NAMES #c")[0],
        "chat.localhost 353 bob = #c amy bob"
    );
    ann.send("PRIVMSG #b :last words");
    ann.send("QUIT :so long");
    assert_eq!(
        briefs(&ann.rest()),
        [" ERROR Closing Link: 127.0.0.1 (Quit: so long)"]
    );
    let lines = bob.until(|line| line.is("QUIT"));
    assert_eq!(
        briefs(&lines),
        ["amy PRIVMSG #b last words", "amy QUIT Quit: so long"]
    );
    assert!(bob.drain().is_empty());
    assert_eq!(bob.ask("NAMES #a")[0], "chat.localhost 353 bob = #a bob");
}

#[test]
fn one_senders_lines_arrive_in_order_whatever_way_they_take() {
    const ROUNDS: usize = 200;
    let server = Server::start(&["--flood-rate", "0"]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    for room in ["#a", "#b"] {
        ann.join(room);
        bob.join(room);
    }
    bob.drain();
    let mut script = String::new();
    let mut expected = Vec::new();
    let mut nick = "ann".to_owned();
    for round in 0..ROUNDS {
        for target in ["#a", "bob", "#b"] {
            script += &format!("PRIVMSG {target} :{round}\r\n");
            expected.push(format!("{nick} PRIVMSG {target} {round}"));
        }
        let next = format!("ann{round}");
        script += &format!("NICK {next}\r\nPART #a\r\nJOIN #a\r\n");
        expected.push(format!("{nick} NICK {next}"));
        expected.push(format!("{next} PART #a"));
        expected.push(format!("{next} JOIN #a"));
        nick = next;
    }
    script += "QUIT\r\n";
    expected.push(format!("{nick} QUIT Client quit"));
    let mut writer = ann.writer();
    let sending = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, script.as_bytes()).expect("the server reads");
    });
    let reading = std::thread::spawn(move || ann.rest());
    let lines = bob.until(|line| line.is("QUIT"));
    assert_eq!(briefs(&lines), expected);
    sending.join().expect("everything was sent");
    assert!(reading.join().expect("everything was read").len() > ROUNDS);
}

#[test]
fn a_client_that_has_nothing_more_to_say_still_gets_its_answers() {
    let server = Server::start(&[]);
    let mut ann = server.connect();
    ann.send("NICK ann");
    ann.send("USER ann 0 * :Ann");
    ann.send("JOIN #a");
    ann.send("TOPIC #a :the last one");
    ann.close_half();
    let lines = ann.rest();
    assert!(lines.iter().any(|line| line.is("TOPIC")));
    assert_eq!(
        lines.last().map(Line::brief).as_deref(),
        Some(" ERROR Closing Link: 127.0.0.1 (Connection closed)")
    );
}

#[test]
fn a_silent_client_is_pinged_and_ended_if_it_does_not_answer() {
    let server = Server::start(&["--ping-interval", "0.5", "--ping-timeout", "2.5"]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    ann.join("#a");
    bob.join("#a");
    // Ann answers every time and hears Bob, who does not, go.
    let goodbye = loop {
        let line = ann.line();
        match &*line.command {
            "PING" => ann.send(&format!("PONG :{}", line.text())),
            "QUIT" => break line,
            _ => {}
        }
    };
    assert_eq!(goodbye.brief(), "bob QUIT Ping timeout: 3 seconds");
    let lines = bob.rest();
    assert!(lines.iter().any(|line| line.is("PING")));
    assert!(ann.drain().iter().all(|line| line.is("PING")));
}

#[test]
fn a_client_that_does_not_register_is_ended() {
    let server = Server::start(&["--registration-timeout", "0.2"]);
    let mut nobody = server.connect();
    nobody.send("NICK nobody");
    assert_eq!(
        briefs(&nobody.rest()),
        [" ERROR Closing Link: 127.0.0.1 (Registration timed out)"]
    );
}

#[test]
fn a_signal_ends_the_server_in_order() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    let mut guest = server.connect();
    guest.send("PING :here");
    guest.line();
    ann.join("#a");
    bob.join("#a");
    server.terminate();
    for client in [&mut ann, &mut bob, &mut guest] {
        let lines = client.rest();
        assert_eq!(
            lines.last().map(Line::brief).as_deref(),
            Some(" ERROR Closing Link: 127.0.0.1 (Server shutting down)")
        );
        assert!(!lines.iter().any(|line| line.is("QUIT")));
    }
    // The clients have not closed their half, and do not keep the server by that.
    let (status, output) = server.wait();
    assert_eq!(status.code(), Some(0), "{output}");
    crate::harness::assert_balanced(&output);
}

#[test]
fn the_help_is_printed_and_a_bad_option_is_named() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("--listen HOST:PORT") && text.contains("--send-queue LINES"));
    for (arguments, mistake) in [
        (&["--bogus"][..], "invalid option '--bogus'"),
        (&["--max-clients", "some"], "'--max-clients': 'some'"),
        (&["--listen", "nowhere"], "'--listen': 'nowhere'"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(mistake), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn an_address_in_use_is_an_error() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let output = run(&["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains(&format!("cannot listen on {address}")),
        "{text}"
    );
}
