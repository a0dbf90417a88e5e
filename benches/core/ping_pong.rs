//! Two actors that send one message to and fro.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use greenroom::{Actor, Addr, Context, Handler};

use super::{CAPACITY, Group, end, system};

struct Player {
    peer: Option<Addr<Player>>,
    begun: Instant,
    done: Sender<Duration>,
}

impl Actor for Player {}

struct Meet(Addr<Player>);

/// Begins a rally of so many round trips.
struct Serve(u64);

/// The ball, with the messages still to come after this one.
struct Ball(u64);

impl Player {
    fn hit(&self, ball: Ball) {
        let peer = self.peer.as_ref().expect("the players have met");
        peer.send(ball).expect("the peer plays on");
    }
}

impl Handler<Meet> for Player {
    type Reply = ();
    fn handle(&mut self, Meet(peer): Meet, _: &mut Context<Self>) {
        self.peer = Some(peer);
    }
}

impl Handler<Serve> for Player {
    type Reply = ();
    fn handle(&mut self, Serve(rounds): Serve, _: &mut Context<Self>) {
        self.begun = Instant::now();
        self.hit(Ball(2 * rounds - 1));
    }
}

impl Handler<Ball> for Player {
    type Reply = ();
    fn handle(&mut self, Ball(left): Ball, _: &mut Context<Self>) {
        if left == 0 {
            let taken = self.begun.elapsed();
            self.done.send(taken).expect("the benchmark waits");
        } else {
            self.hit(Ball(left - 1));
        }
    }
}

pub(crate) fn ping_pong(group: &mut Group) {
    for (name, workers) in [("greenroom, 1 worker", 1), ("greenroom, 2 workers", 2)] {
        group.bench_function(name, |bencher| {
            let system = system(workers);
            let (done, times) = bounded(1);
            let player = |peer| {
                system.spawn(Player {
                    peer,
                    begun: Instant::now(),
                    done: done.clone(),
                })
            };
            let ping = player(None);
            let pong = player(Some(ping.clone()));
            ping.send(Meet(pong.clone())).expect("ping is there");
            bencher.iter_custom(|rounds| {
                ping.send(Serve(rounds)).expect("ping is there");
                times.recv().expect("ping tells the time")
            });
            ping.stop();
            pong.stop();
            end(&system);
        });
    }
    group.bench_function("crossbeam, 2 threads", |bencher| {
        let (ping, to_pong) = bounded::<u64>(CAPACITY);
        let (pong, to_ping) = bounded::<u64>(CAPACITY);
        let echo = thread::spawn(move || {
            for ball in to_pong {
                pong.send(ball).expect("ping is there");
            }
        });
        bencher.iter_custom(|rounds| {
            let begun = Instant::now();
            for ball in 0..rounds {
                ping.send(ball).expect("pong is there");
                black_box(to_ping.recv().expect("pong is there"));
            }
            begun.elapsed()
        });
        drop(ping);
        echo.join().expect("the echo ends");
    });
    // What the channels alone cost, when nobody has to be woken.
    group.bench_function("crossbeam, 1 thread", |bencher| {
        let (ping, to_pong) = bounded::<u64>(CAPACITY);
        let (pong, to_ping) = bounded::<u64>(CAPACITY);
        bencher.iter_custom(|rounds| {
            let begun = Instant::now();
            for ball in 0..rounds {
                ping.send(black_box(ball)).expect("there is room");
                pong.send(to_pong.recv().expect("ping has sent"))
                    .expect("there is room");
                black_box(to_ping.recv().expect("pong has sent"));
            }
            begun.elapsed()
        });
    });
}
