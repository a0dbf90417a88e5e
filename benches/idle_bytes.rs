//! How much memory an idle actor holds, beside an idle channel and an idle thread. No timing.
//!
//! Each line is the mean over many of a kind: the bytes asked of the allocator and not given back,
//! and the growth of the process's resident memory, which has the stacks of threads and the
//! allocator's own overhead too (Linux only). The actor's state is one `u64`. The handles
//! themselves (an `Addr`, a channel's two ends) are not counted.

#![expect(
    unsafe_code,
    reason = "an allocator that counts can only be written by hand"
)]

use std::alloc::{GlobalAlloc, Layout, System as Malloc};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use greenroom::{Actor, Addr, Context, Handler, System};

const ACTORS: usize = 100_000;
const CHANNELS: usize = 5_000;
const THREADS: usize = 1_000;

/// Bytes that are allocated now. Relaxed throughout: nothing is published through it.
static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the standard allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD_BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is ours too.
        unsafe { Malloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` above has the block from
        // there.
        unsafe { Malloc.dealloc(pointer, layout) }
    }
}

struct Idle {
    messages: u64,
}

impl Actor for Idle {}

struct Nudge;

impl Handler<Nudge> for Idle {
    type Reply = u64;
    fn handle(&mut self, _: Nudge, _: &mut Context<Self>) -> u64 {
        self.messages += 1;
        self.messages
    }
}

fn main() {
    println!("idle, each          allocated      resident");
    // Each kind is held until the last is measured: memory given back in between would be used
    // again, and the next kind's would not show.
    let (system, actors) = actors();
    let small = channels("bounded(1)", 1);
    let large = channels("bounded(1024)", 1024);
    threads();
    drop((actors, small, large));
    let report = system.shutdown(Duration::from_secs(30));
    assert!(report.is_clean(), "{report}");
}

fn actors() -> (System, Vec<Addr<Idle>>) {
    let system = System::new();
    let mut actors: Vec<Addr<Idle>> = Vec::with_capacity(ACTORS);

    let before = Held::now();
    actors.extend((0..ACTORS).map(|_| system.spawn(Idle { messages: 0 })));
    // The last of them: by then the others have begun.
    settle(&actors[ACTORS - 1..]);
    before.print_growth("actor, spawned", ACTORS);

    // Not all at once: what is queued is not idle.
    for some in actors.chunks(1_000) {
        settle(some);
    }
    before.print_growth("actor, used once", ACTORS);
    (system, actors)
}

/// Asks each actor and waits for the answer: what was queued before has been handled then.
fn settle(actors: &[Addr<Idle>]) {
    let replies: Vec<_> = actors.iter().map(|actor| actor.ask(Nudge)).collect();
    for outcome in greenroom::wait_all(replies) {
        outcome.expect("an idle actor answers");
    }
}

fn channels(name: &str, capacity: usize) -> Vec<(Sender<u64>, Receiver<u64>)> {
    let mut channels = Vec::with_capacity(CHANNELS);
    let before = Held::now();
    channels.extend((0..CHANNELS).map(|_| bounded(capacity)));
    before.print_growth(name, CHANNELS);
    channels
}

fn threads() {
    let mut threads = Vec::with_capacity(THREADS);
    let mut senders = Vec::with_capacity(THREADS);
    let before = Held::now();
    for _ in 0..THREADS {
        let (sender, receiver) = bounded::<Nudge>(1);
        let (ready, begun) = bounded::<()>(1);
        threads.push(thread::spawn(move || {
            ready
                .send(())
                .expect("somebody waits for the thread to begin");
            receiver.recv().is_ok()
        }));
        begun.recv().expect("the thread begins");
        senders.push(sender);
    }
    before.print_growth("thread, bounded(1)", THREADS);
    drop(senders);
    for thread in threads {
        thread.join().expect("an idle thread ends well");
    }
}

/// The memory held at one moment.
struct Held {
    allocated_bytes: usize,
    resident_bytes: Option<usize>,
}

impl Held {
    fn now() -> Self {
        Self {
            allocated_bytes: HELD_BYTES.load(Ordering::Relaxed),
            resident_bytes: resident_bytes(),
        }
    }

    /// Prints what has been added since `self`, for each of `count` things.
    fn print_growth(&self, name: &str, count: usize) {
        let now = Self::now();
        let each = |now: usize, before: usize| now.saturating_sub(before) / count;
        let allocated = each(now.allocated_bytes, self.allocated_bytes);
        match now.resident_bytes.zip(self.resident_bytes) {
            Some((now, before)) => {
                let resident = each(now, before);
                println!("{name:<18} {allocated:>8} B    {resident:>8} B");
            }
            None => println!("{name:<18} {allocated:>8} B"),
        }
    }
}

/// The memory of the process that is in use, where the system tells: the second number, in pages
/// of 4 KiB.
fn resident_bytes() -> Option<usize> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
