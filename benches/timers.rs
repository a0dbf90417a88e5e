//! What timers cost when a million of them are set, beside tokio's sleeps.
//!
//! Each figure is the mean over a million, of the best of five rounds: the bytes asked of the
//! allocator while they are set, the time to set one, to cancel one, from the moment at which the
//! last of them is due to its handler, and to set and cancel one while there is no other. Delays
//! are random, within an hour or, for those that fire, within a millisecond. Then
//! how late single messages are that find an idle timer thread.

#![expect(
    unsafe_code,
    reason = "an allocator that counts can only be written by hand"
)]

use std::alloc::{GlobalAlloc, Layout, System as Malloc};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context as Polling, Waker};
use std::time::{Duration, Instant};

use greenroom::{Actor, Addr, Context, Handler, System, Timer};

const TIMERS: usize = 1_000_000;
const ROUNDS: usize = 5;

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

/// Delays that are the same in every run (SplitMix64).
struct Delays {
    state: u64,
    within: Duration,
}

impl Delays {
    fn next(&mut self) -> Duration {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_nanos((mixed ^ (mixed >> 31)) % self.within.as_nanos() as u64)
    }
}

/// Sets timers, and counts the messages that come of them.
struct Setter {
    came: usize,
    last: Option<Sender<Instant>>,
}

impl Actor for Setter {}

struct Due;

impl Handler<Due> for Setter {
    type Reply = ();
    fn handle(&mut self, _: Due, ctx: &mut Context<Self>) {
        self.came += 1;
        if self.came == TIMERS {
            let last = self.last.take().expect("somebody waits for the last");
            last.send(ctx.now()).expect("somebody waits for the last");
        }
    }
}

/// Sets a million timers that do not fire, and cancels them.
struct SetAndCancel;

struct Costs {
    bytes: usize,
    set: Duration,
    cancel: Duration,
}

impl Handler<SetAndCancel> for Setter {
    type Reply = Costs;
    fn handle(&mut self, _: SetAndCancel, ctx: &mut Context<Self>) -> Costs {
        let mut timers: Vec<Timer> = Vec::with_capacity(TIMERS);
        let mut delays = Delays {
            state: 1,
            within: Duration::from_secs(3600),
        };
        let far = Duration::from_secs(3600);
        let before = HELD_BYTES.load(Ordering::Relaxed);
        let begun = Instant::now();
        for _ in 0..TIMERS {
            timers.push(ctx.send_after(far + delays.next(), Due));
        }
        let set = begun.elapsed();
        let bytes = HELD_BYTES.load(Ordering::Relaxed) - before;
        let begun = Instant::now();
        assert!(timers.iter().all(Timer::cancel));
        Costs {
            bytes,
            set,
            cancel: begun.elapsed(),
        }
    }
}

/// Sets a timer and cancels it, a million times in a row.
struct SetAndCancelEach;

impl Handler<SetAndCancelEach> for Setter {
    type Reply = Duration;
    fn handle(&mut self, _: SetAndCancelEach, ctx: &mut Context<Self>) -> Duration {
        let begun = Instant::now();
        for _ in 0..TIMERS {
            assert!(ctx.send_after(Duration::from_secs(60), Due).cancel());
        }
        begun.elapsed()
    }
}

/// Sets a million timers that are due a while later, at the moment that is returned or up to a
/// millisecond before.
struct SetAll(Sender<Instant>);

impl Handler<SetAll> for Setter {
    type Reply = Instant;
    fn handle(&mut self, SetAll(last): SetAll, ctx: &mut Context<Self>) -> Instant {
        self.last = Some(last);
        self.came = 0;
        let within = Duration::from_millis(1);
        let mut delays = Delays { state: 2, within };
        let due = ctx.now() + Duration::from_secs(4);
        for _ in 0..TIMERS {
            let moment = due - delays.next();
            ctx.send_after(moment - ctx.now(), Due);
        }
        assert!(ctx.now() + within < due, "the machine is too slow for this");
        due
    }
}

/// Something that is due, and tells how late it is.
struct Late(Instant, Sender<Duration>);

impl Handler<Late> for Setter {
    type Reply = ();
    fn handle(&mut self, Late(due, late): Late, ctx: &mut Context<Self>) {
        let _ = late.send(ctx.now() - due);
    }
}

/// Sets a timer for something that tells how late it is.
struct SetLate(Sender<Duration>);

impl Handler<SetLate> for Setter {
    type Reply = ();
    fn handle(&mut self, SetLate(late): SetLate, ctx: &mut Context<Self>) {
        let delay = Duration::from_millis(2);
        ctx.send_after(delay, Late(ctx.now() + delay, late));
    }
}

fn main() {
    let system = System::new();
    let spawner = system.actor().capacity(TIMERS + 1);
    let setter = spawner
        .spawn(Setter {
            came: 0,
            last: None,
        })
        .expect("the system is open");

    println!("each of a million          bytes      set   cancel     fire  at once");
    let mut best = [Duration::MAX; 4];
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let costs = setter.ask(SetAndCancel).wait().expect("the setter answers");
        bytes = costs.bytes;
        let fire = fire(&setter);
        let each = setter.ask(SetAndCancelEach).wait();
        let each = each.expect("the setter answers");
        let round = [costs.set, costs.cancel, fire, each];
        best = std::array::from_fn(|index| best[index].min(round[index]));
    }
    print("greenroom", bytes, &best);
    sleeps();
    lateness(&setter);
    drop(setter);
    let report = system.shutdown(Duration::from_secs(30));
    assert!(report.is_clean(), "{report}");
}

fn print(name: &str, bytes: usize, times: &[Duration]) {
    print!("{name:<26} {:>4} B", bytes / TIMERS);
    for time in times {
        print!(" {:>5} ns", time.as_nanos() / TIMERS as u128);
    }
    println!();
}

fn fire(setter: &Addr<Setter>) -> Duration {
    let (last, came): (_, Receiver<Instant>) = channel();
    let due = setter.ask(SetAll(last)).wait().expect("the setter answers");
    came.recv().expect("all come") - due
}

fn sleeps() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("tokio starts");
    let _entered = runtime.enter();
    let mut polling = Polling::from_waker(Waker::noop());
    let mut best = [Duration::MAX; 2];
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let mut sleeps: Vec<Pin<Box<tokio::time::Sleep>>> = Vec::with_capacity(TIMERS);
        let mut delays = Delays {
            state: 1,
            within: Duration::from_secs(3600),
        };
        let far = Duration::from_secs(3600);
        let before = HELD_BYTES.load(Ordering::Relaxed);
        let begun = Instant::now();
        for _ in 0..TIMERS {
            let mut sleep = Box::pin(tokio::time::sleep(far + delays.next()));
            assert!(sleep.as_mut().poll(&mut polling).is_pending());
            sleeps.push(sleep);
        }
        best[0] = best[0].min(begun.elapsed());
        bytes = HELD_BYTES.load(Ordering::Relaxed) - before;
        let begun = Instant::now();
        drop(sleeps);
        best[1] = best[1].min(begun.elapsed());
    }
    print("tokio", bytes, &best);
}

fn lateness(setter: &Addr<Setter>) {
    let mut late: Vec<Duration> = (0..500)
        .map(|_| {
            let (tell, told) = channel();
            setter
                .ask(SetLate(tell))
                .wait()
                .expect("the setter answers");
            told.recv().expect("it comes")
        })
        .collect();
    late.sort();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100].as_micros();
    println!(
        "late: {} µs in the median, {} µs at 90 %, {} µs at 99 %",
        at(50),
        at(90),
        at(99)
    );
}
