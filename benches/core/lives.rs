//! Actors that live for one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use greenroom::{Actor, Context, Handler};

use super::{Group, end, system};

/// Lives for one message; the last one tells of its end.
struct Mayfly {
    swarm: Arc<Swarm>,
}

struct Swarm {
    left: AtomicU64,
    ended: Sender<Instant>,
}

struct Once;

impl Actor for Mayfly {
    fn stopped(&mut self, _: &greenroom::StopReason, _: &mut Context<Self>) {
        // Relaxed: only the count matters; the time goes through the channel.
        if self.swarm.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.swarm
                .ended
                .send(Instant::now())
                .expect("the benchmark waits");
        }
    }
}

impl Handler<Once> for Mayfly {
    type Reply = ();
    fn handle(&mut self, _: Once, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// An actor that spawns mayflies, a few at each message, so that they live and end in between.
struct Breeder;

struct Breed {
    left: u64,
    swarm: Arc<Swarm>,
}

impl Actor for Breeder {}

impl Handler<Breed> for Breeder {
    type Reply = ();
    fn handle(&mut self, Breed { left, swarm }: Breed, ctx: &mut Context<Self>) {
        let now = left.min(16);
        for _ in 0..now {
            let swarm = swarm.clone();
            ctx.spawn(Mayfly { swarm })
                .send(Once)
                .expect("a mayfly lives for one message");
        }
        let left = left - now;
        if left > 0 {
            ctx.addr()
                .send(Breed { left, swarm })
                .expect("the breeder is there");
        }
    }
}

pub(crate) fn spawn_message_stop(group: &mut Group) {
    let swarm_of = |count| {
        let (ended, end) = bounded(1);
        let left = AtomicU64::new(count);
        (Arc::new(Swarm { left, ended }), end)
    };
    group.bench_function("greenroom, from a handler, 1 worker", |bencher| {
        let system = system(1);
        let breeder = system.spawn(Breeder);
        bencher.iter_custom(|count| {
            let (swarm, end) = swarm_of(count);
            let begun = Instant::now();
            breeder
                .send(Breed { left: count, swarm })
                .expect("the breeder is there");
            end.recv().expect("the last mayfly tells") - begun
        });
        drop(breeder);
        end(&system);
    });
    group.bench_function("greenroom, from a thread, 2 workers", |bencher| {
        let system = system(2);
        // In waves, so that the living ones fit into memory.
        const WAVE: u64 = 10_000;
        bencher.iter_custom(|count| {
            let mut taken = Duration::ZERO;
            let mut left = count;
            while left > 0 {
                let now = left.min(WAVE);
                left -= now;
                let (swarm, end) = swarm_of(now);
                let begun = Instant::now();
                for _ in 0..now {
                    let swarm = swarm.clone();
                    system
                        .spawn(Mayfly { swarm })
                        .send(Once)
                        .expect("a mayfly lives for one message");
                }
                taken += end.recv().expect("the last mayfly tells") - begun;
            }
            taken
        });
        end(&system);
    });
    group.bench_function("a thread and a channel", |bencher| {
        bencher.iter_custom(|count| {
            let begun = Instant::now();
            for _ in 0..count {
                let (sender, receiver) = bounded::<Once>(1);
                let mayfly = thread::spawn(move || receiver.recv().expect("one message comes"));
                sender.send(Once).expect("a mayfly lives for one message");
                mayfly.join().expect("a mayfly ends well");
            }
            begun.elapsed()
        });
    });
}
