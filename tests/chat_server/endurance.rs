//! Many clients, slow clients, broken connections, floods and want of descriptors.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Server};

const ROOMS: usize = 20;
/// In each room there are also one client that does not read and one whose connection breaks.
const TALKERS: usize = 8;
const ROUNDS: usize = 40;
/// What a talker says before it listens. All that is said in two rounds fits into a send queue,
/// so that nobody is cut off who reads.
const MESSAGES_PER_ROUND: usize = 2;
const SEND_QUEUE: &str = "64";

/// What one talker has heard.
#[derive(Default)]
struct Heard {
    /// The number of the next message of each sender.
    next: HashMap<String, usize>,
    /// Who said goodbye, and how.
    goodbyes: Vec<(String, String)>,
}

impl Heard {
    /// Reads until everybody else has been heard `count` times.
    fn listen(&mut self, client: &mut Client, room: &str, count: usize) {
        while self.next.len() < TALKERS - 1 || self.next.values().any(|next| *next < count) {
            let line = client.line();
            match &*line.command {
                "PRIVMSG" => {
                    assert_ne!(line.from, client.nick, "a sender does not hear itself");
                    assert_eq!(line.params[0], room);
                    let number = line.text().split(' ').next().and_then(|n| n.parse().ok());
                    let next = self.next.entry(line.from).or_default();
                    assert_eq!(number, Some(*next), "once and in order");
                    *next += 1;
                }
                "QUIT" => self
                    .goodbyes
                    .push((line.from.clone(), line.text().to_owned())),
                _ => panic!("{} hears {line:?}", client.nick),
            }
        }
    }

    /// Reads until `count` clients have said goodbye.
    fn wait_for_goodbyes(&mut self, client: &mut Client, count: usize) {
        while self.goodbyes.len() < count {
            let line = client.line();
            assert!(line.is("QUIT"), "{line:?}");
            self.goodbyes
                .push((line.from.clone(), line.text().to_owned()));
        }
    }
}

/// Everything that happens in one room. The other rooms are at the same point at each barrier.
fn live(server: &Server, number: usize, barrier: &Barrier) {
    let room = format!("#room{number}");
    let mut talkers: Vec<_> = (0..TALKERS)
        .map(|n| server.client(&format!("talker{n}-{number}")))
        .collect();
    let mut slow = server.client_with_small_buffer(&format!("slow-{number}"));
    let mut fragile = server.client(&format!("fragile-{number}"));
    for client in talkers.iter_mut().chain([&mut slow, &mut fragile]) {
        client.join(&room);
    }
    for talker in &mut talkers {
        // What was said about the others who joined.
        talker.drain();
    }
    fragile.drain();
    barrier.wait();

    let mut heard: Vec<_> = (0..TALKERS).map(|_| Heard::default()).collect();
    let filler = "x".repeat(300);
    let mut fragile = Some(fragile);
    for round in 0..ROUNDS {
        if round == ROUNDS / 2
            && let Some(mut fragile) = fragile.take()
        {
            // Half a line, which must never be delivered.
            fragile.send_bytes(format!("PRIVMSG {room} :0 half").as_bytes());
            fragile.reset();
        }
        for talker in &mut talkers {
            for message in 0..MESSAGES_PER_ROUND {
                let n = round * MESSAGES_PER_ROUND + message;
                talker.send(&format!("PRIVMSG {room} :{n} {filler}"));
            }
        }
        for (talker, heard) in talkers.iter_mut().zip(&mut heard) {
            heard.listen(talker, &room, (round + 1) * MESSAGES_PER_ROUND);
        }
        if let Some(fragile) = &mut fragile {
            for _ in 0..TALKERS * MESSAGES_PER_ROUND {
                fragile.until(|line| line.is("PRIVMSG"));
            }
        }
    }
    for (talker, heard) in talkers.iter_mut().zip(&mut heard) {
        heard.wait_for_goodbyes(talker, 2);
        heard.goodbyes.sort();
        assert_eq!(heard.goodbyes[0].0, format!("fragile-{number}"));
        assert!(
            heard.goodbyes[0].1.starts_with("Connection lost"),
            "{:?}",
            heard.goodbyes
        );
        assert_eq!(
            heard.goodbyes[1],
            (format!("slow-{number}"), "SendQ exceeded".to_owned())
        );
        assert!(talker.drain().is_empty(), "nothing comes twice");
    }
    // The slow one reads at last and finds its connection ended.
    let _ = slow.rest();
    barrier.wait();
}

#[test]
fn two_hundred_clients_in_twenty_rooms_get_every_message_once_and_in_order() {
    let server = Server::start(&[
        "--flood-rate=0",
        "--send-buffer=4096",
        "--send-queue",
        SEND_QUEUE,
    ]);
    let barrier = Barrier::new(ROOMS);
    thread::scope(|scope| {
        for number in 0..ROOMS {
            let (server, barrier) = (&server, &barrier);
            scope.spawn(move || live(server, number, barrier));
        }
    });
    server.end_in_order();
}

#[test]
fn who_does_not_read_is_told_why_it_is_cut_off() {
    let server = Server::start(&["--flood-rate=0", "--send-buffer=4096", "--send-queue=32"]);
    let mut slow = server.client_with_small_buffer("slow");
    let mut ann = server.client("ann");
    slow.join("#a");
    ann.join("#a");
    let text = "x".repeat(400);
    let mut said = 0;
    let goodbye = loop {
        ann.send(&format!("PRIVMSG slow :{text}"));
        said += 1;
        if let Some(line) = ann.drain().into_iter().next() {
            break line;
        }
        assert!(said < 100_000, "what a client does not read piles up");
    };
    assert_eq!(goodbye.brief(), "slow QUIT SendQ exceeded");
    let lines = slow.rest();
    let received = lines.iter().filter(|line| line.is("PRIVMSG")).count();
    assert!((1..said).contains(&received));
    // A machine that is busy for seconds between the two may have given the connection up.
    if let Some(line) = lines.iter().find(|line| line.is("ERROR")) {
        assert_eq!(line.text(), "Closing Link: 127.0.0.1 (SendQ exceeded)");
    }
    server.end_in_order();
}

#[test]
fn who_asks_for_long_lists_waits_for_them_and_is_not_cut_off() {
    let server = Server::start(&[
        "--flood-rate=0",
        "--send-buffer=4096",
        "--send-queue=64",
        "--channels=300",
    ]);
    let mut ann = server.client("ann");
    for n in 0..300 {
        ann.join(&format!("#a-channel-with-a-name-of-some-length-{n}"));
    }
    let mut bob = server.client_with_small_buffer("bob");
    // Ten lists of three hundred lines, of which none is read before the last is asked for.
    for _ in 0..10 {
        bob.send("LIST");
    }
    for _ in 0..10 {
        let lines = bob.until(|line| line.is("323"));
        assert_eq!(lines.iter().filter(|line| line.is("322")).count(), 300);
    }
}

#[test]
fn a_flood_slows_down_only_who_sends_it() {
    let server = Server::start(&["--flood-burst=20", "--flood-rate=100"]);
    let mut flooder = server.client("flooder");
    let mut victim = server.client("victim");
    let mut ann = server.client("ann");
    let mut bob = server.client("bob");
    for client in [&mut flooder, &mut victim] {
        client.join("#a");
    }
    victim.drain();
    let mut writer = flooder.writer();
    let start = Instant::now();
    let flood = thread::spawn(move || {
        // Ends when the connection does.
        while writer
            .write_all(&b"PRIVMSG #a :flood\r\n".repeat(1000))
            .is_ok()
        {}
    });
    // The flood has begun, goes on, and is as slow as it should be: after a burst of 20 lines at
    // most, 100 lines take a second.
    for _ in 0..120 {
        assert_eq!(victim.line().text(), "flood");
    }
    assert!(start.elapsed() > Duration::from_millis(950));
    for n in 0..50 {
        ann.send(&format!("PRIVMSG bob :{n}"));
        assert_eq!(bob.line().text(), n.to_string());
        bob.send(&format!("PRIVMSG ann :{n}"));
        assert_eq!(ann.line().text(), n.to_string());
    }
    assert_eq!(victim.line().text(), "flood");
    flooder.abandon();
    flood.join().expect("the flood ends with its connection");
    server.end_in_order();
}

#[test]
fn thousands_of_connections_come_and_go() {
    let server = Server::start(&[]);
    let mut ann = server.client("ann");
    for n in 0..2000 {
        let mut visitor = server.connect();
        match n % 4 {
            0 => {}
            1 => visitor.send_bytes(b"NICK half"),
            2 => visitor.send("NICK visitor"),
            _ => visitor.send("USER visitor 0 * :Visitor"),
        }
        if n % 3 == 0 {
            visitor.reset();
        }
    }
    assert!(ann.ask("WHO visitor").len() == 1);
    // Everybody who has gone is forgotten, as soon as the server has seen him come and go: the nick
    // is free, and then only Ann is left, under that nick.
    loop {
        ann.send("NICK visitor");
        if ann.drain().iter().any(|line| line.is("NICK")) {
            break;
        }
    }
    let is_alone = |line: &String| line.contains(" 253 visitor 0 ");
    while !ann.ask("LUSERS").iter().any(is_alone) {}
    server.end_in_order();
}

#[test]
fn a_full_server_says_so_and_serves_again_when_somebody_leaves() {
    let server = Server::start(&["--max-clients", "3"]);
    let mut clients: Vec<_> = ["ann", "bob", "eve"]
        .iter()
        .map(|nick| server.client(nick))
        .collect();
    let mut late = server.connect();
    assert_eq!(
        late.line().text(),
        "Closing Link: 127.0.0.1 (Server is full)"
    );
    assert!(late.rest().is_empty());
    drop(late);
    let mut eve = clients.pop().expect("there are three");
    eve.send("QUIT");
    eve.rest();
    drop(eve);
    // The server closes its end when it has seen the client close, which is soon.
    let is_served = || {
        let mut next = server.connect();
        next.send("PING :let me in");
        matches!(next.try_line(), Ok(Some(line)) if line.is("PONG"))
    };
    assert!((0..10_000).any(|_| is_served()));
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let server = Server::start_with_descriptors(40, &[]);
    let mut ann = server.client("ann");
    let visitors: Vec<_> = (0..60).map(|_| server.connect()).collect();
    // The server cannot accept them all, and goes on serving those it has.
    assert_eq!(ann.ask("WHO ann").len(), 2);
    drop(visitors);
    let bob = server.client("bob");
    assert_eq!(ann.ask(&format!("WHO {}", bob.nick)).len(), 2);
    server.end_in_order();
}
