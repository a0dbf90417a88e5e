//! Storms of failures: nothing is lost but what was in hand, nothing stays that should go.
//!
//! `GREENROOM_STORM_RESTARTS=1000000 cargo test --release --test it supervision::storms` goes on for
//! that many messages instead of some thousands.

use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenroom::testkit::{ManualClock, Stepper};
use greenroom::{Addr, Backoff, Intensity, Strategy, System};

use super::*;
use crate::support::{Numbers, PATIENCE, eventually, in_pools, telling_seed};

fn patient(system: &System, strategy: Strategy) -> SupervisorBuilder {
    system.supervisor(strategy).intensity(Intensity::UNLIMITED)
}

/// What the lives of an actor have seen, by sender.
#[derive(Default)]
struct Ledger {
    last: [Mutex<u64>; SENDERS],
    handled: AtomicU64,
    panicked: AtomicU64,
}

const SENDERS: usize = 4;

struct Clerk(Arc<Ledger>);
impl Actor for Clerk {}

/// A sender's number, which of its messages this is, and what befalls the clerk at it.
struct Line(usize, u64, u64);

impl Handler<Line> for Clerk {
    type Reply = u64;
    fn handle(&mut self, Line(sender, number, fate): Line, ctx: &mut Context<Self>) -> u64 {
        let Clerk(ledger) = self;
        let before = {
            let mut last = ledger.last[sender].lock().expect("no panic here");
            std::mem::replace(&mut *last, number)
        };
        if before + 1 != number || fate == 0 {
            ledger.panicked.fetch_add(1, SeqCst);
            assert_eq!(before + 1, number, "in order");
            panic!("at random");
        }
        ledger.handled.fetch_add(1, SeqCst);
        if fate == 1 {
            ctx.fail("at random");
        }
        number
    }
}

#[test]
fn in_a_storm_of_failures_nothing_is_lost_but_what_was_in_hand() {
    let messages = std::env::var("GREENROOM_STORM_RESTARTS");
    let messages: u64 = messages.map_or(2_000, |number| number.parse().expect("it is a number"));
    in_pools(|system| {
        let ledger: Arc<Ledger> = Arc::default();
        let of_lives = ledger.clone();
        let child = ChildSpec::new("clerk", move || Clerk(of_lives.clone())).capacity(16);
        let (supervisor, clerk) = with_child(patient(system, Strategy::OneForOne), child);
        let panicked = AtomicU64::new(0);
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (clerk, panicked) = (&clerk, &panicked);
                scope.spawn(move || {
                    let mut numbers = Numbers(sender as u64);
                    for number in 1..=messages {
                        let line = Line(sender, number, numbers.below(8));
                        if sender % 2 == 0 {
                            clerk.send(line).expect("the mailbox stays open");
                            continue;
                        }
                        match clerk.ask(line).wait_for(PATIENCE) {
                            Ok(answer) => assert_eq!(answer, number),
                            Err(AskError::Panicked { message }) => {
                                assert_eq!(&*message, "at random");
                                panicked.fetch_add(1, SeqCst);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
        let all = SENDERS as u64 * messages;
        let (handled, lost) = (&ledger.handled, &ledger.panicked);
        eventually("all is handled", || {
            handled.load(SeqCst) + lost.load(SeqCst) == all
        });
        assert!(panicked.load(SeqCst) > 0);
        eventually("the last life is up", || {
            supervisor.count().wait_for(PATIENCE).unwrap().up == 1
        });
        let counts = system.snapshot().actors.swap_remove(0).counts;
        assert_eq!(counts.accepted, all, "{counts}");
        assert_eq!(counts.handled, handled.load(SeqCst), "{counts}");
        assert_eq!(counts.dead_lettered, lost.load(SeqCst), "{counts}");
        supervisor.stop();
        drop(clerk);
        eventually("the lives are dropped", || Arc::strong_count(&ledger) == 1);
    });
}

#[test]
fn ten_thousand_restarts_leave_nothing_behind() {
    let stepper = Stepper::new(1);
    let token = Arc::new(());
    let (of_lives, others) = (
        token.clone(),
        stepper.system().spawn(Member::new("x", &Diary::default())),
    );
    struct Busy {
        _token: Arc<()>,
        _children: Vec<Addr<Member>>,
    }
    impl Actor for Busy {}
    impl Handler<Addr<Member>> for Busy {
        type Reply = ();
        fn handle(&mut self, other: Addr<Member>, ctx: &mut Context<Self>) {
            let _ = ctx.send_after(Duration::from_secs(3600), other.clone());
            ctx.watch(&other);
            self._children
                .push(ctx.spawn_child(Member::new("y", &Diary::default())));
            panic!("on request");
        }
    }
    let backoff = Backoff::exponential(Duration::from_secs(1));
    let child = ChildSpec::new("busy", move || Busy {
        _token: of_lives.clone(),
        _children: Vec::new(),
    });
    let tree = patient(stepper.system(), Strategy::OneForOne);
    let (supervisor, busy) = with_child(tree, child.backoff(backoff));
    let before = stepper.system().snapshot();
    for _ in 0..10_000 {
        busy.send(others.clone()).expect("there is room");
        stepper.advance(Duration::from_secs(40));
    }
    let after = stepper.system().snapshot();
    assert_eq!(after.actors.len(), before.actors.len());
    assert_eq!(after.timers, before.timers);
    assert_eq!(supervisor.list().wait().unwrap()[0].restarts, 10_000);
    // Of the factory, of the life, and ours.
    assert_eq!(Arc::strong_count(&token), 3);
    supervisor.stop();
    drop(busy);
    stepper.run();
    assert_eq!(Arc::strong_count(&token), 1);
}

/// A tree of supervisors with ten children each, so many levels deep.
fn grow(
    system: &System,
    levels: u32,
    diary: &Diary,
    leaves: &mut Vec<Addr<Member>>,
) -> SupervisorBuilder {
    let mut tree = system.supervisor(Strategy::OneForOne);
    for name in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        if levels == 1 {
            leaves.push(tree.child(Member::spec(name, diary)).unwrap());
        } else {
            let branch = grow(system, levels - 1, diary, leaves);
            tree.child(branch.into_spec(name)).unwrap();
        }
    }
    tree
}

#[test]
fn a_tree_of_a_thousand_ends_by_its_deadline_but_for_one_that_is_stuck() {
    let clock = ManualClock::new();
    let system = System::builder().workers(2).clock(&clock);
    let system = system
        .warn_slow_handler(None)
        .warn_long_wait(None)
        .build()
        .unwrap();
    let (diary, mut leaves) = (Diary::default(), Vec::new());
    let root = grow(&system, 3, &diary, &mut leaves).start().unwrap();
    assert_eq!(system.snapshot().actors.len(), 1 + 10 + 100 + 1000);
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let stuck = leaves[444].clone();
    let held = stuck.ask(to(move |_, _| {
        begun.send(()).expect("the test waits for it");
        u64::from(released.recv().is_ok())
    }));
    begins.recv_timeout(PATIENCE).expect("the handler begins");
    let deadline = Duration::from_secs(8);
    let shutdown = {
        let system = system.clone();
        thread::spawn(move || (system.shutdown(deadline), system.now()))
    };
    let began = clock.now();
    let left = |actors: usize, timers: usize| {
        eventually("all is done that needs no time", || {
            let snapshot = system.snapshot();
            snapshot.actors.len() == actors && snapshot.timers == timers
        });
    };
    // The deadline's timer, and that of the child that does not stop. Half of what was left has
    // passed when it is killed, and a second later it is given up.
    left(496, 2);
    clock.advance(Duration::from_secs(4));
    left(496, 2);
    clock.advance(Duration::from_secs(1));
    left(1, 1);
    clock.advance(Duration::from_secs(3));
    let (report, now) = shutdown.join().expect("a shutdown does not panic");
    assert_eq!(now, began + deadline);
    let named: Vec<_> = report.unfinished.iter().map(|late| late.actor.id).collect();
    assert_eq!(named, [stuck.id()], "{report}");
    assert_eq!(report.ended, 1110);
    assert!(root.is_stopped());
    assert!(
        leaves
            .iter()
            .all(|leaf| leaf.is_stopped() != (*leaf == stuck))
    );
    release.send(()).expect("the handler holds");
    assert!(held.wait().is_ok());
    eventually("it ends", || stuck.is_stopped());
}

/// Orders and requests from several threads at once, to children and their supervisors.
#[test]
fn in_a_storm_of_orders_nobody_hangs_and_lives_never_overlap() {
    for seed in 0..4 {
        telling_seed(seed, || in_pools(|system| storm_of_orders(system, seed)));
    }
}

fn storm_of_orders(system: &System, seed: u64) {
    let diary = Diary::default();
    let strategies = [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
        Strategy::Dynamic,
    ];
    let mut numbers = Numbers(seed);
    let mut outer = patient(system, numbers.pick(&strategies));
    let (mut inners, mut leaves) = (Vec::new(), Vec::new());
    for name in ["x", "y"] {
        let mut inner = patient(system, numbers.pick(&strategies));
        for name in ["a", "b", "c"] {
            let backoff = Backoff::exponential(Duration::from_micros(10));
            let child = Member::spec(name, &diary).backoff(backoff).capacity(4);
            leaves.push(inner.child(child).unwrap());
        }
        inners.push(outer.child(inner.into_spec(name)).unwrap());
    }
    let outer = outer.start().unwrap();
    thread::scope(|scope| {
        for sender in 0..4 {
            let (leaves, inners, outer) = (&leaves, &inners, &outer);
            let mut numbers = Numbers(seed * 100 + sender);
            scope.spawn(move || {
                for _ in 0..200 {
                    let leaf = &leaves[numbers.below(6) as usize];
                    let inner = &inners[numbers.below(2) as usize];
                    let name = numbers.pick(&["a", "b", "c"]);
                    match numbers.below(12) {
                        0 => leaf.kill(),
                        1 => leaf.stop(),
                        2 => drop(leaf.try_send(to_fail())),
                        3 => drop(leaf.try_send(to_panic())),
                        4 => inner.kill(),
                        5 => {
                            let name = numbers.pick(&["x", "y"]);
                            let _ = outer.restart(name).wait_for(PATIENCE).expect("it answers");
                        }
                        6 => {
                            // The supervisor may be killed before it answers.
                            let restarted = inner.restart(name).wait_for(PATIENCE);
                            assert!(!matches!(restarted, Err(AskError::TimedOut(_))));
                        }
                        7 => {
                            let listed = inner.list().wait_for(PATIENCE).expect("it answers");
                            assert_eq!(listed.len(), 3);
                        }
                        _ => {
                            let done = leaf.ask(to(|_, _| 1)).wait_for(PATIENCE);
                            assert_eq!(done.expect("the next life answers"), 1);
                        }
                    }
                }
            });
        }
    });
    for leaf in &leaves {
        assert_eq!(leaf.ask(to(|_, _| 1)).wait_for(PATIENCE).unwrap(), 1);
    }
    outer.stop();
    for leaf in &leaves {
        assert_eq!(crate::support::end_of(leaf), StopReason::ParentEnded);
    }
    assert!(
        !diary
            .take()
            .iter()
            .any(|note| note.ends_with("lives twice"))
    );
}
