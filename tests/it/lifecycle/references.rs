//! What keeps an actor alive, and what becomes of it when nothing does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use greenroom::{Actor, Addr, Asker, Context, Handler, Recipient, StopReason, WeakAddr};

use super::{Do, Event, act, life, spawn};
use crate::support::{
    Log, Note, PATIENCE, Player, end_of, eventually, gate, in_pools, under_seed, under_seeds,
};

#[test]
fn an_actor_whose_last_address_is_dropped_handles_its_queue_and_is_unreferenced() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        (0..200).for_each(|number| addr.send(Do(number)).unwrap());
        drop(addr);
        stepper.run();
        assert_eq!(events.all(), life(0..200, StopReason::Unreferenced));
        assert_eq!(stepper.system().snapshot().actors, []);
    });
    in_pools(|system| {
        let (addr, events) = spawn(system);
        (0..200).for_each(|number| addr.send(Do(number)).unwrap());
        drop(addr);
        let lived: Vec<_> = (0..203)
            .map(|_| events.0.recv_timeout(PATIENCE).unwrap())
            .collect();
        assert_eq!(lived, life(0..200, StopReason::Unreferenced));
    });
}

#[test]
fn an_actor_that_was_never_used_ends_with_its_last_address() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        stepper.run();
        assert_eq!(events.all(), [Event::Started]);
        drop(addr);
        stepper.run();
        let reason = Event::Stopped(StopReason::Unreferenced);
        assert_eq!(events.all(), [reason, Event::Dropped]);
    });
}

#[test]
fn clones_recipients_and_askers_keep_an_actor_alive() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        let clone = addr.clone();
        let recipient: Recipient<Do> = addr.recipient();
        let asker: Asker<Do, u64> = clone.asker();
        drop(addr);
        stepper.run();
        clone.send(Do(1)).unwrap();
        drop(clone);
        stepper.run();
        let other = recipient.clone();
        drop(recipient);
        other.send(Do(2)).unwrap();
        drop(other);
        stepper.run();
        assert_eq!(asker.ask(Do(3)).wait().unwrap(), 3);
        stepper.run();
        assert!(!events.all().contains(&Event::Dropped));
        drop(asker);
        stepper.run();
        assert_eq!(
            events.all(),
            [Event::Stopped(StopReason::Unreferenced), Event::Dropped]
        );
    });
}

#[test]
fn a_weak_address_keeps_no_actor_alive_and_cannot_be_upgraded_afterwards() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        let weak = addr.downgrade();
        assert_eq!(weak.upgrade().as_ref(), Some(&addr));
        drop(addr);
        assert!(weak.upgrade().is_none(), "no address is left");
        stepper.run();
        assert!(events.all().contains(&Event::Dropped));
        assert!(weak.clone().upgrade().is_none());
    });
}

#[test]
fn a_weak_address_of_an_actor_that_was_stopped_can_be_upgraded_while_another_address_is_left() {
    under_seed(0, |stepper| {
        let (addr, _events) = spawn(stepper.system());
        let weak = addr.downgrade();
        addr.stop();
        end_of(&addr);
        let upgraded = weak.upgrade().expect("there is an address left");
        assert!(upgraded.is_stopped());
        drop((addr, upgraded));
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn a_pending_reply_keeps_no_actor_alive() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        let reply = addr.ask(Do(1));
        drop(addr);
        stepper.run();
        assert_eq!(events.all(), life([1], StopReason::Unreferenced));
        assert_eq!(reply.wait().unwrap(), 1);
    });
}

#[test]
fn a_timer_keeps_no_actor_alive() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        addr.send(act(|ctx| {
            ctx.send_after(Duration::from_secs(1), Do(1));
            ctx.interval(Duration::from_secs(1), || Do(2));
        }))
        .unwrap();
        drop(addr);
        stepper.run();
        assert_eq!(events.all(), life([], StopReason::Unreferenced));
        assert_eq!(stepper.system().snapshot().timers, 0);
    });
}

/// Sends itself the numbers down to 0.
struct Countdown(mpsc::Sender<u64>);

impl Actor for Countdown {}

impl Handler<Do> for Countdown {
    type Reply = ();

    fn handle(&mut self, Do(number): Do, ctx: &mut Context<Self>) {
        let _ = self.0.send(number);
        if number > 0 {
            ctx.addr().send(Do(number - 1)).unwrap();
        }
    }
}

#[test]
fn an_actor_that_sends_to_itself_goes_on_until_it_no_longer_does() {
    under_seeds(|stepper| {
        let (tell, told) = mpsc::channel();
        let countdown = stepper.system().spawn(Countdown(tell));
        let weak = countdown.downgrade();
        countdown.send(Do(300)).unwrap();
        drop(countdown);
        stepper.run();
        assert!(told.try_iter().eq((0..=300).rev()));
        assert!(weak.upgrade().is_none());
        assert_eq!(stepper.system().snapshot().actors, []);
    });
    in_pools(|system| {
        let (tell, told) = mpsc::channel();
        let countdown = system.spawn(Countdown(tell));
        countdown.send(Do(1000)).unwrap();
        drop(countdown);
        // The channel closes when the actor is dropped.
        let numbers = std::iter::from_fn(|| told.recv_timeout(PATIENCE).ok());
        assert!(numbers.eq((0..=1000).rev()));
    });
}

/// Keeps its own address until it is told to let go.
#[derive(Default)]
struct Selfish {
    myself: Option<Addr<Self>>,
}

impl Actor for Selfish {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.myself = Some(ctx.addr());
    }
}

struct LetGo;

impl Handler<LetGo> for Selfish {
    type Reply = ();

    fn handle(&mut self, _: LetGo, _: &mut Context<Self>) {
        self.myself = None;
    }
}

#[test]
fn an_actor_that_holds_its_own_address_is_referenced() {
    under_seeds(|stepper| {
        let selfish = stepper.system().spawn(Selfish::default());
        stepper.run();
        let weak: WeakAddr<Selfish> = selfish.downgrade();
        drop(selfish);
        stepper.run();
        let again = weak.upgrade().expect("it holds its address");
        assert!(!again.is_stopped());
        again.send(LetGo).unwrap();
        drop(again);
        stepper.run();
        assert!(weak.upgrade().is_none());
        assert_eq!(stepper.system().snapshot().actors, []);
    });
}

/// Holds another one's address, or its own.
struct Friend {
    of: Vec<Addr<Friend>>,
    #[expect(dead_code, reason = "it tells when it is dropped")]
    traced: Arc<()>,
}

impl Actor for Friend {}

struct Befriend(Addr<Friend>);

impl Handler<Befriend> for Friend {
    type Reply = ();

    fn handle(&mut self, Befriend(friend): Befriend, _: &mut Context<Self>) {
        self.of.push(friend);
    }
}

#[test]
fn an_actor_that_is_stopped_may_hold_the_last_address_of_itself() {
    under_seeds(|stepper| {
        for kill in [false, true] {
            let traced = Arc::new(());
            let friend = stepper.system().spawn(Friend {
                of: Vec::new(),
                traced: traced.clone(),
            });
            friend.ask(Befriend(friend.clone())).wait().unwrap();
            if kill {
                friend.kill()
            } else {
                friend.stop()
            }
            drop(friend);
            stepper.run();
            assert_eq!(Arc::strong_count(&traced), 1);
            assert_eq!(stepper.system().snapshot().actors, []);
        }
    });
}

#[test]
fn actors_that_hold_each_other_live_until_the_system_shuts_down_and_leave_nothing() {
    let traced = Arc::new(());
    in_pools(|system| {
        let [first, second] = [0, 1].map(|_| {
            system.spawn(Friend {
                of: Vec::new(),
                traced: traced.clone(),
            })
        });
        for (one, other) in [(&first, &second), (&second, &first)] {
            let befriended = one.ask(Befriend(other.clone()));
            befriended.wait_for(PATIENCE).unwrap();
        }
        drop((first, second));
        assert_eq!(system.snapshot().actors.len(), 2);
        assert!(system.shutdown(PATIENCE).is_clean());
        eventually("both are dropped", || Arc::strong_count(&traced) == 1);
    });
}

#[test]
fn an_address_that_lies_in_the_actors_own_queue_is_handled_before_it_ends() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        let own = addr.clone();
        addr.send(act(move |_| own.send(Do(1)).unwrap())).unwrap();
        drop(addr);
        stepper.run();
        assert_eq!(events.all(), life([1], StopReason::Unreferenced));
    });
}

#[test]
fn an_actor_that_is_unreferenced_while_a_handler_runs_ends_after_its_queue() {
    in_pools(|system| {
        let log = system.spawn(Log::default());
        let weak = log.downgrade();
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        drop(log);
        assert!(weak.upgrade().is_none());
        gate.open();
        eventually("the actor leaves", || system.snapshot().actors.is_empty());
    });
}

/// Counts what it handles, in a number that others can see.
struct Counting(Arc<AtomicU64>);

impl Actor for Counting {}

impl Handler<Do> for Counting {
    type Reply = ();

    fn handle(&mut self, _: Do, _: &mut Context<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn what_was_accepted_through_an_upgraded_address_is_handled_however_the_last_one_goes() {
    in_pools(|system| {
        for _ in 0..50 {
            let handled = Arc::new(AtomicU64::new(0));
            let addr = system.spawn(Counting(handled.clone()));
            let begin = Arc::new(Barrier::new(4));
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let weak = addr.downgrade();
                    let begin = begin.clone();
                    thread::spawn(move || {
                        begin.wait();
                        let mut accepted = 0;
                        while let Some(addr) = weak.upgrade() {
                            accepted += u64::from(addr.send(Do(0)).is_ok());
                            if accepted == 1000 {
                                break;
                            }
                        }
                        accepted
                    })
                })
                .collect();
            begin.wait();
            drop(addr);
            let accepted: u64 = senders.into_iter().map(|it| it.join().unwrap()).sum();
            eventually("the actor ends", || system.snapshot().actors.is_empty());
            assert_eq!(handled.load(SeqCst), accepted);
        }
    });
}

#[test]
fn a_weak_recipient_keeps_no_actor_alive_and_is_equal_to_others_of_its_actor() {
    under_seed(0, |stepper| {
        let system = stepper.system();
        let named = |name| system.actor().name(name).spawn(Player::default()).unwrap();
        let (nell, bill) = (named("nell"), named("bill"));
        let recipient: Recipient<Note> = nell.recipient();
        let weak = recipient.downgrade();
        assert_eq!((weak.id(), weak.name()), (nell.id(), Some("nell")));
        assert_eq!(weak, nell.recipient().downgrade());
        assert_ne!(weak, bill.recipient().downgrade());
        let text = format!("WeakRecipient {{ name: \"nell\", id: {} }}", nell.id());
        assert_eq!(format!("{weak:?}"), text);
        assert_eq!(weak.upgrade(), Some(recipient.clone()));
        drop(recipient);
        weak.upgrade()
            .expect("an address is left")
            .send(Note(7))
            .unwrap();
        stepper.run();
        drop(nell);
        assert_eq!(weak.clone().upgrade(), None);
        stepper.run();
        assert_eq!(system.snapshot().actors.len(), 1);
    });
}
