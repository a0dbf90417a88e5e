//! What is allocated, and when: nothing for a small message, one block for a request, little
//! for an actor, and nothing that stays when the work is done.
//!
//! The allocator of this program counts for the threads that have asked for it: a test's own,
//! and the workers of its pool. Tests run one at a time, since systems share what they keep
//! ready for messages to come.
#![expect(
    unsafe_code,
    reason = "an allocator that counts can only be written by hand"
)]

use std::alloc::{GlobalAlloc, Layout, System as Malloc};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use greenroom::{
    Actor, Addr, Context, DeferredHandler, Handler, Overflow, ReplyTo, System, WaitError,
};

// The allocator.

/// What the threads that take part have allocated. Nothing is published through it: a test
/// reads it when the others are at rest, which it knows by their answers.
#[derive(Default)]
struct Tally {
    allocations: AtomicUsize,
    /// Bytes allocated and not given back.
    held_bytes: AtomicIsize,
}

thread_local! {
    static TALLY: Cell<Option<&'static Tally>> = const { Cell::new(None) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(allocations: usize, bytes: isize) {
    // A thread that ends may allocate when its locals are gone.
    if let Ok(Some(tally)) = TALLY.try_with(Cell::get) {
        tally.allocations.fetch_add(allocations, Relaxed);
        tally.held_bytes.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call is passed on to the standard allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`, which is ours too.
        unsafe { Malloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { Malloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `dealloc`, and the block is from `Malloc`.
        unsafe { Malloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, new_size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { Malloc.realloc(pointer, layout, new_size) }
    }
}

impl Tally {
    /// A tally of this thread and all workers of the pool.
    fn of(system: &System, workers: usize) -> &'static Self {
        let tally: &'static Self = Box::leak(Box::default());
        let barrier = Arc::new(Barrier::new(workers));
        let joining: Vec<_> = (0..workers)
            .map(|_| {
                // Each holds its worker until all are held, so that they are all different.
                let recruit = system.spawn(Recruit);
                let joined = recruit.ask(Join(tally, barrier.clone()));
                (recruit, joined)
            })
            .collect();
        for (_, joined) in joining {
            joined.wait_for(PATIENCE).expect("all workers join");
        }
        TALLY.set(Some(tally));
        tally
    }

    /// What `work` allocates, and how many bytes of it stay.
    fn during(&self, work: impl FnOnce()) -> (usize, isize) {
        let allocations = self.allocations.load(Relaxed);
        let held_bytes = self.held_bytes.load(Relaxed);
        work();
        (
            self.allocations.load(Relaxed) - allocations,
            self.held_bytes.load(Relaxed) - held_bytes,
        )
    }
}

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // That another test has failed is no reason to fail.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a pool is given before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Recruit;

impl Actor for Recruit {}

struct Join(&'static Tally, Arc<Barrier>);

impl Handler<Join> for Recruit {
    type Reply = ();

    fn handle(&mut self, Join(tally, barrier): Join, _: &mut Context<Self>) {
        TALLY.set(Some(tally));
        barrier.wait();
    }
}

fn pool(workers: usize) -> System {
    let system = System::builder().workers(workers).build();
    system.expect("the machine has threads for a test")
}

// The actors.

/// 40 bytes, the most that lies in the mailbox itself.
#[derive(Clone, Copy)]
struct Ball {
    rounds: u64,
    rest: [u64; 4],
}

impl Ball {
    fn of(rounds: u64) -> Self {
        Self {
            rounds,
            rest: [rounds; 4],
        }
    }
}

static_assertions::const_assert_eq!(size_of::<Ball>(), 40);

/// 41 bytes.
struct Large(#[expect(dead_code, reason = "only its size is of interest")] [u8; 41]);

/// Plays with another one, and counts. Its state is eight bytes.
#[derive(Default)]
struct Player {
    sum: u64,
}

static_assertions::assert_eq_size!(Player, u64);

impl Actor for Player {}

impl Handler<Ball> for Player {
    type Reply = u64;

    fn handle(&mut self, ball: Ball, _: &mut Context<Self>) -> u64 {
        self.sum += ball.rest[0];
        self.sum
    }
}

impl Handler<Large> for Player {
    type Reply = ();

    fn handle(&mut self, _: Large, _: &mut Context<Self>) {
        self.sum += 1;
    }
}

/// Sets timers and cancels them.
struct SetTimers(u32);

impl Handler<SetTimers> for Player {
    type Reply = ();

    fn handle(&mut self, SetTimers(count): SetTimers, ctx: &mut Context<Self>) {
        for _ in 0..count {
            assert!(ctx.send_after(PATIENCE, Ball::of(0)).cancel());
        }
    }
}

struct Nap(Duration);

impl Handler<Nap> for Player {
    type Reply = Result<(), WaitError>;

    fn handle(&mut self, Nap(time): Nap, ctx: &mut Context<Self>) -> Result<(), WaitError> {
        ctx.sleep(time)
    }
}

/// Waits on a plain channel, so that its worker does nothing else.
struct Hold(mpsc::Receiver<()>);

impl Handler<Hold> for Player {
    type Reply = ();

    fn handle(&mut self, Hold(opened): Hold, _: &mut Context<Self>) {
        let _ = opened.recv();
    }
}

/// Asks for an answer that is never given.
struct Owe;

impl DeferredHandler<Owe> for Player {
    type Reply = u64;

    fn handle_deferred(&mut self, _: Owe, reply: ReplyTo<u64>, _: &mut Context<Self>) {
        drop(reply);
    }
}

/// One of two that play.
struct Partner {
    other: Option<Addr<Self>>,
    /// Who waits for the end of the game.
    done: Option<ReplyTo<()>>,
}

impl Actor for Partner {}

struct Meet(Addr<Partner>);

impl Handler<Meet> for Partner {
    type Reply = ();

    fn handle(&mut self, Meet(other): Meet, _: &mut Context<Self>) {
        self.other = Some(other);
    }
}

struct Part;

impl Handler<Part> for Partner {
    type Reply = ();

    fn handle(&mut self, _: Part, _: &mut Context<Self>) {
        self.other = None;
    }
}

struct Play(u64);

impl DeferredHandler<Play> for Partner {
    type Reply = ();

    fn handle_deferred(&mut self, Play(rounds): Play, reply: ReplyTo<()>, _: &mut Context<Self>) {
        self.done = Some(reply);
        // The last one comes back to us.
        self.pass(Ball::of(2 * rounds - 1));
    }
}

impl Handler<Ball> for Partner {
    type Reply = ();

    fn handle(&mut self, ball: Ball, _: &mut Context<Self>) {
        if ball.rounds > 0 {
            self.pass(Ball::of(ball.rounds - 1));
        } else if let Some(done) = self.done.take() {
            done.send(());
        }
    }
}

impl Partner {
    fn pass(&self, ball: Ball) {
        let other = self.other.as_ref().expect("they have met");
        assert!(other.send(ball).is_ok());
    }
}

// Messages.

#[test]
fn a_ping_pong_of_forty_bytes_allocates_nothing() {
    let _alone = alone();
    for workers in [1, 2] {
        let system = pool(workers);
        let partners = [0, 1].map(|_| {
            system.spawn(Partner {
                other: None,
                done: None,
            })
        });
        partners[0].send(Meet(partners[1].clone())).unwrap();
        partners[1].send(Meet(partners[0].clone())).unwrap();
        let play = |rounds| {
            let played = partners[0].ask(Play(rounds)).wait_for(PATIENCE);
            played.expect("the game ends");
        };
        let tally = Tally::of(&system, workers);
        play(10_000);
        let (allocations, _) = tally.during(|| play(50_000));
        println!("ping-pong on {workers}: {allocations} allocations in 100,000 sends");
        // The game is begun by a request; and a partner may move to the other worker.
        assert!(allocations < 100, "{allocations}");
        partners.iter().for_each(|it| it.send(Part).unwrap());
        drop(partners);
        assert!(system.shutdown(PATIENCE).is_clean());
    }
}

#[test]
fn a_message_of_forty_bytes_to_an_idle_actor_allocates_nothing() {
    let _alone = alone();
    struct Counter(Arc<AtomicUsize>);
    impl Actor for Counter {}
    impl Handler<Ball> for Counter {
        type Reply = ();
        fn handle(&mut self, _: Ball, _: &mut Context<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    let system = pool(1);
    let handled = Arc::new(AtomicUsize::new(0));
    let counter = system.spawn(Counter(handled.clone()));
    let send = |count: usize| {
        for _ in 0..count {
            let before = handled.load(Relaxed);
            counter.send(Ball::of(1)).unwrap();
            while handled.load(Relaxed) == before {
                std::thread::yield_now();
            }
        }
    };
    let tally = Tally::of(&system, 1);
    send(1000);
    let (allocations, _) = tally.during(|| send(10_000));
    println!("one by one: {allocations} allocations in 10,000 sends");
    // The queue of what comes to the pool from outside takes a block for some 63 turns.
    assert!(allocations < 10_000 / 50, "{allocations}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn a_stream_of_forty_bytes_allocates_by_the_segment_and_not_by_the_message() {
    let _alone = alone();
    let system = pool(1);
    // There is room for all: a sender that waits for room allocates its place in line.
    let options = system.actor().capacity(200_000);
    let player = options.spawn(Player::default()).unwrap();
    let stream = |count: u64| {
        (0..count).for_each(|_| player.send(Ball::of(1)).unwrap());
        player.ask(Ball::of(0)).wait_for(PATIENCE).unwrap();
    };
    let tally = Tally::of(&system, 1);
    stream(100_000);
    let (allocations, held_bytes) = tally.during(|| stream(100_000));
    println!("stream: {allocations} allocations, {held_bytes} bytes more held, in 100,000 sends");
    assert!(allocations < 100_000 / 20, "{allocations}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn a_message_of_forty_one_bytes_allocates_once() {
    let _alone = alone();
    let system = pool(1);
    let player = system.spawn(Player::default());
    let send = |count: usize| {
        for _ in 0..count {
            player.send(Large([0; 41])).unwrap();
            player.send(Ball::of(1)).unwrap();
        }
        player.ask(Ball::of(0)).wait_for(PATIENCE).unwrap();
    };
    let tally = Tally::of(&system, 1);
    send(20_000);
    let (allocations, _) = tally.during(|| send(20_000));
    println!("boxed: {allocations} allocations for 20,000 messages");
    // Besides, the small messages between them may take a segment now and then.
    assert!((20_000..24_000).contains(&allocations), "{allocations}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn an_ask_allocates_once() {
    let _alone = alone();
    let system = pool(1);
    let player = system.spawn(Player::default());
    let ask = |count: u64| {
        for _ in 0..count {
            player.ask(Ball::of(1)).wait().unwrap();
        }
    };
    let tally = Tally::of(&system, 1);
    ask(1000);
    let (allocations, held_bytes) = tally.during(|| ask(10_000));
    println!("ask: {allocations} allocations for 10,000, {held_bytes} bytes more held");
    // The queue of what comes to the pool from outside takes a block for some 63 turns.
    assert!((10_000..10_200).contains(&allocations), "{allocations}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn an_ask_in_a_handler_allocates_once_however_it_is_waited_for() {
    let _alone = alone();
    struct Asker(Addr<Player>);
    impl Actor for Asker {}
    impl Handler<Play> for Asker {
        type Reply = ();
        fn handle(&mut self, Play(rounds): Play, _: &mut Context<Self>) {
            for _ in 0..rounds {
                self.0.ask(Ball::of(1)).wait().unwrap();
            }
        }
    }

    let system = pool(1);
    let asker = system.spawn(Asker(system.spawn(Player::default())));
    let play = |rounds| asker.ask(Play(rounds)).wait_for(PATIENCE).unwrap();
    let tally = Tally::of(&system, 1);
    play(1000);
    let (few, _) = tally.during(|| play(100));
    let (many, _) = tally.during(|| play(10_100));
    println!("ask inside: {} allocations for 10,000", many - few);
    assert!(many - few <= 10_000 + 2, "{few} and {many}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

// Actors.

#[test]
fn a_spawn_allocates_at_most_twice() {
    let _alone = alone();
    let system = pool(1);
    let mut players = Vec::with_capacity(1000);
    let tally = Tally::of(&system, 1);
    let mut round = || {
        players.extend((0..1000).map(|_| system.spawn(Player::default())));
        players
            .drain(..)
            .for_each(|player| player.send(Ball::of(1)).unwrap());
        // All have ended when none is there any more.
        while !system.snapshot().actors.is_empty() {
            std::thread::yield_now();
        }
    };
    round();
    let mut players = Vec::with_capacity(1000);
    let (spawned, _) = tally.during(|| {
        players.extend((0..1000).map(|_| system.spawn(Player::default())));
        // They have started when the last of them answers.
        greenroom::wait_all(players[999..].iter().map(|it| it.ask(Ball::of(0))));
    });
    println!("spawn: {spawned} allocations for 1,000");
    assert!(spawned <= 2 * 1000, "{spawned}");
    drop(players);
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn an_idle_actor_with_eight_bytes_of_state_holds_at_most_256_bytes() {
    let _alone = alone();
    const ACTORS: usize = 10_000;
    let system = pool(1);
    let mut players = Vec::with_capacity(ACTORS);
    let settle = |players: &[Addr<Player>]| {
        for player in players {
            player.ask(Ball::of(0)).wait_for(PATIENCE).unwrap();
        }
    };
    let tally = Tally::of(&system, 1);
    // What the threads keep ready for messages to come belongs to no actor.
    let busy = system.spawn(Player::default());
    (0..100_000).for_each(|_| busy.send(Ball::of(1)).unwrap());
    settle(&[busy]);
    let (_, fresh) = tally.during(|| {
        players.extend((0..ACTORS).map(|_| system.spawn(Player::default())));
        settle(&players[ACTORS - 1..]);
    });
    let (_, more) = tally.during(|| {
        for player in &players {
            (0..100).for_each(|_| player.send(Ball::of(1)).unwrap());
            settle(std::slice::from_ref(player));
        }
    });
    let actors = ACTORS.cast_signed();
    println!(
        "idle: {} bytes an actor when fresh, {} more in all after 100 messages each",
        fresh / actors,
        more
    );
    assert!(fresh <= 256 * actors, "{}", fresh / actors);
    // Some segments may have moved from one thread to the other meanwhile; none is an actor's.
    assert!(more.abs() < 16 * 1024, "{more} bytes more");
    drop(players);
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn what_an_actor_held_is_given_back_when_it_ends() {
    let _alone = alone();
    let system = pool(1);
    let tally = Tally::of(&system, 1);
    let round = || {
        for _ in 0..1000 {
            let player = system.spawn(Player::default());
            (0..100).for_each(|_| player.send(Ball::of(1)).unwrap());
            player.send(Large([0; 41])).unwrap();
            player.stop();
            player.join_for(PATIENCE).unwrap().expect("it ends");
        }
    };
    round();
    let (_, held_bytes) = tally.during(round);
    println!("ended: {held_bytes} bytes more after 1,000 lives");
    assert!(held_bytes.abs() < 64 * 1024, "{held_bytes}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

// What must not stay.

#[test]
fn requests_that_stood_in_line_and_were_withdrawn_leave_nothing() {
    let _alone = alone();
    for overflow in [
        Overflow::Block,
        Overflow::BlockFor(Duration::from_secs(3600)),
    ] {
        let system = pool(1);
        let player = system.actor().capacity(1).overflow(overflow);
        let player = player.spawn(Player::default()).unwrap();
        let tally = Tally::of(&system, 1);
        let (open, opened) = mpsc::channel();
        player.send(Hold(opened)).unwrap();
        while player.try_send(Ball::of(1)).is_err() {
            std::thread::yield_now();
        }
        let round = |count| {
            let standing: Vec<_> = (0..count).map(|_| player.ask(Ball::of(1))).collect();
            drop(standing);
            (0..count).for_each(|_| drop(player.ask(Ball::of(1))));
        };
        round(1000);
        let (_, held_bytes) = tally.during(|| round(10_000));
        println!("withdrawn: {held_bytes} bytes more after 20,000");
        assert!(held_bytes.abs() < 4 * 1024, "{held_bytes}");
        open.send(()).unwrap();
        drop(player);
        assert!(system.shutdown(PATIENCE).is_clean());
    }
}

#[test]
fn requests_that_stood_in_line_and_were_answered_leave_nothing() {
    let _alone = alone();
    for overflow in [
        Overflow::Block,
        Overflow::BlockFor(Duration::from_secs(3600)),
    ] {
        let system = pool(1);
        let player = system.actor().capacity(2).overflow(overflow);
        let player = player.spawn(Player::default()).unwrap();
        let tally = Tally::of(&system, 1);
        let round = || {
            let standing: Vec<_> = (0..5000).map(|_| player.ask(Ball::of(1))).collect();
            for reply in standing {
                reply.wait_for(PATIENCE).unwrap();
            }
        };
        round();
        let (_, held_bytes) = tally.during(round);
        println!("answered: {held_bytes} bytes more after 5,000");
        assert!(held_bytes.abs() < 64 * 1024, "{held_bytes}");
        assert!(system.shutdown(PATIENCE).is_clean());
    }
}

#[test]
fn timers_that_were_cancelled_leave_nothing() {
    let _alone = alone();
    let system = pool(1);
    let player = system.spawn(Player::default());
    let tally = Tally::of(&system, 1);
    let set = |count| player.ask(SetTimers(count)).wait_for(PATIENCE).unwrap();
    set(1000);
    let (_, held_bytes) = tally.during(|| set(10_000));
    println!("cancelled: {held_bytes} bytes more after 10,000 timers");
    assert!(held_bytes.abs() < 4 * 1024, "{held_bytes}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

/// Sets timers that stay.
struct KeepTimers(u32);

impl Handler<KeepTimers> for Player {
    type Reply = ();

    fn handle(&mut self, KeepTimers(count): KeepTimers, ctx: &mut Context<Self>) {
        for _ in 0..count {
            ctx.send_after(Duration::from_secs(3600), Ball::of(0));
        }
    }
}

#[test]
fn a_timer_allocates_once_and_is_small() {
    let _alone = alone();
    let system = pool(1);
    let player = system.spawn(Player::default());
    let tally = Tally::of(&system, 1);
    let set = |count| player.ask(KeepTimers(count)).wait_for(PATIENCE).unwrap();
    set(1000);
    let (allocations, held_bytes) = tally.during(|| set(100_000));
    println!("timers: {allocations} allocations and {held_bytes} bytes more for 100,000");
    assert!(allocations < 101_000, "{allocations}");
    let message_bytes = size_of::<Ball>().cast_signed();
    assert!(held_bytes < 100_000 * (200 + message_bytes), "{held_bytes}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn waits_that_are_over_leave_nothing() {
    let _alone = alone();
    let system = pool(1);
    let player = system.spawn(Player::default());
    let sleeper = system.spawn(Player::default());
    let tally = Tally::of(&system, 1);
    let round = |count| {
        for _ in 0..count {
            assert!(player.join_for(Duration::ZERO).unwrap().is_none());
            let nap = sleeper.ask(Nap(Duration::from_nanos(1)));
            nap.wait_for(PATIENCE).unwrap().unwrap();
            assert!(player.ask(Owe).wait_for(PATIENCE).is_err());
            let send = player.send_async(Ball::of(1));
            drop(send);
        }
    };
    round(200);
    let (_, held_bytes) = tally.during(|| round(2000));
    println!("waits: {held_bytes} bytes more after 2,000 of each");
    assert!(held_bytes.abs() < 16 * 1024, "{held_bytes}");
    assert!(system.shutdown(PATIENCE).is_clean());
}

#[test]
fn threads_that_joined_for_a_time_and_ended_leave_nothing() {
    let _alone = alone();
    let system = pool(1);
    let player = system.spawn(Player::default());
    let tally = Tally::of(&system, 1);
    let threads = |join: bool| {
        for _ in 0..500 {
            let player = player.clone();
            let thread = std::thread::spawn(move || {
                TALLY.set(Some(tally));
                !join || player.join_for(Duration::ZERO).unwrap().is_none()
            });
            assert!(thread.join().unwrap());
        }
    };
    threads(true);
    let (_, without) = tally.during(|| threads(false));
    let (_, with) = tally.during(|| threads(true));
    println!("joins: {with} bytes more after 500 threads, {without} if they do not join");
    assert!((with - without).abs() < 4 * 1024, "{with} and {without}");
    assert!(system.shutdown(PATIENCE).is_clean());
}
