//! The stepper: its order is decided by the seed and by nothing else.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Actor, Addr, Context, Handler, StopReason};

use crate::support::{
    Borrow, Debtor, Note, PATIENCE, Pay, Player, act, alone_knowing, end_of, eventually, in_a_pool,
};

/// FNV-1a over all that was handled, in order.
#[derive(Clone)]
struct Signature(Arc<Mutex<u64>>);

impl Signature {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(0xcbf2_9ce4_8422_2325)))
    }

    fn note(&self, actor: u64, event: u64) {
        let mut hash = self.0.lock().unwrap();
        for byte in [actor, event].into_iter().flat_map(u64::to_le_bytes) {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// One of a circle that passes balls on, sleeps now and then, and asks now and then.
struct Passer {
    number: u64,
    others: Vec<Addr<Passer>>,
    signature: Signature,
}

impl Actor for Passer {}

struct Others(Vec<Addr<Passer>>);

impl Handler<Others> for Passer {
    type Reply = ();

    fn handle(&mut self, Others(others): Others, _: &mut Context<Self>) {
        self.others = others;
    }
}

/// A ball that is passed on so many times.
struct Ball(u64);

impl Handler<Ball> for Passer {
    type Reply = u64;

    fn handle(&mut self, Ball(left): Ball, ctx: &mut Context<Self>) -> u64 {
        self.signature.note(self.number, left);
        if left.is_multiple_of(5) {
            let _ = ctx.sleep(Duration::from_millis(1 + self.number % 3));
            self.signature.note(self.number, 1_000 + left);
        }
        let Some(left) = left.checked_sub(1) else {
            return self.number;
        };
        let next = (self.number + left + 1) as usize % self.others.len();
        let _ = self.others[next].try_send(Ball(left));
        if left.is_multiple_of(7) {
            // Only those of higher numbers are asked, so nobody waits in a circle.
            if let Some(other) = self.others.get(self.number as usize + 1) {
                let _ = other.ask(Ball(0)).wait();
                self.signature.note(self.number, 2_000 + left);
            }
        }
        if left == 11 {
            ctx.send_after(Duration::from_micros(300), Ball(1));
        }
        self.number
    }
}

/// What the order of a system with this seed comes to.
fn signature(seed: u64) -> u64 {
    let stepper = Stepper::new(seed);
    let signature = Signature::new();
    let passers: Vec<_> = (0..8)
        .map(|number| {
            stepper.system().spawn(Passer {
                number,
                others: Vec::new(),
                signature: signature.clone(),
            })
        })
        .collect();
    for passer in &passers {
        passer.send(Others(passers.clone())).expect("there is room");
    }
    for (number, passer) in (0..).zip(&passers) {
        passer.send(Ball(20 + number)).expect("there is room");
    }
    stepper.advance(Duration::from_secs(1));
    // They hold each other's addresses.
    assert!(stepper.system().shutdown(Duration::from_secs(1)).is_clean());
    *signature.0.lock().unwrap()
}

#[test]
fn one_seed_gives_one_order() {
    for seed in 0..50 {
        assert_eq!(signature(seed), signature(seed), "with seed {seed}");
    }
}

#[test]
fn many_seeds_give_many_orders() {
    let orders: BTreeSet<_> = (0..200).map(signature).collect();
    assert!(orders.len() > 190, "200 seeds gave {}", orders.len());
}

#[test]
fn one_seed_gives_one_order_in_another_process_too() {
    let orders = || format!("{:?}", (0..50).map(signature).collect::<Vec<_>>());
    alone_knowing(orders, |known| assert_eq!(orders(), known));
}

#[test]
fn a_thread_steps_one_system_at_a_time() {
    let first = Stepper::new(1);
    assert!(catch_unwind(|| Stepper::new(2)).is_err());
    // The first one is as it was.
    let player = first.system().spawn(Player::default());
    assert_eq!(player.ask(act(|_, _| 7)).wait().unwrap(), 7);
    // Another thread may step another one.
    let other = thread::spawn(|| {
        let second = Stepper::new(2);
        let player = second.system().spawn(Player::default());
        player.ask(act(|_, _| 8)).wait().unwrap()
    });
    assert_eq!(other.join().unwrap(), 8);
    drop((player, first));
    let third = Stepper::new(3);
    assert!(!third.step(), "nothing is ready");
    assert_eq!(third.run(), 0);
}

#[test]
fn a_wait_beside_a_stepped_system_that_can_never_end_is_a_panic() {
    let stepper = Stepper::new(1);
    let debtor = stepper.system().spawn(Debtor::default());
    let waited = catch_unwind(AssertUnwindSafe(|| debtor.ask(Borrow).wait()));
    assert!(waited.is_err());
    // The system goes on.
    let reply = debtor.ask(Borrow);
    debtor.send(Pay(5)).unwrap();
    assert_eq!(reply.wait().unwrap(), 5);
}

#[test]
fn a_step_is_one_turn_of_one_actor() {
    let stepper = Stepper::new(1);
    let players = [0, 1, 2].map(|_| stepper.system().spawn(Player::default()));
    // Each begins its life in a turn.
    assert_eq!(stepper.run(), 3);
    players[0].send(Note(1)).unwrap();
    players[0].send(Note(2)).unwrap();
    players[1].send(Note(3)).unwrap();
    assert_eq!(stepper.run(), 2);
    assert!(!stepper.step());
    let before = stepper.clock().now();
    stepper.advance(Duration::from_secs(5));
    assert_eq!(stepper.clock().now() - before, Duration::from_secs(5));
}

#[test]
fn messages_from_other_threads_are_handled_on_the_stepping_thread() {
    let stepper = Stepper::new(1);
    let player = stepper.system().spawn(Player::default());
    let reply = thread::scope(|scope| {
        let asking = scope.spawn(|| player.ask(act(|_, _| thread::current().id())));
        asking.join().unwrap()
    });
    assert!(!reply.is_ready());
    assert_eq!(reply.wait().unwrap(), thread::current().id());
}

#[test]
fn another_thread_waits_while_this_one_steps() {
    let stepper = Stepper::new(1);
    let player = stepper.system().spawn(Player::default());
    let waiting = thread::spawn(move || {
        let slept = player.ask(act(|_, ctx| ctx.sleep(Duration::from_secs(5))));
        slept.wait().expect("the player answers")
    });
    eventually("it sleeps", || {
        stepper.run();
        stepper.system().snapshot().timers == 1
    });
    stepper.advance(Duration::from_secs(5));
    eventually("it waits no more", || waiting.is_finished());
    assert_eq!(waiting.join().unwrap(), Ok(()));
}

#[test]
fn a_thread_that_steps_one_system_waits_for_another_one_too() {
    let stepper = Stepper::new(1);
    let sleeper = stepper.system().spawn(Player::default());
    let asleep = sleeper.ask(act(|_, ctx| ctx.sleep(Duration::from_secs(5))));
    stepper.run();
    let begun = stepper.clock().now();
    in_a_pool(1, |system| {
        let player = system.spawn(Player::default());
        let slept = player.ask(act(|_, ctx| ctx.sleep(Duration::from_millis(1))));
        assert_eq!(slept.wait_for(PATIENCE).unwrap(), Ok(()));
        player.stop();
        assert_eq!(end_of(&player), StopReason::Stopped);
    });
    assert_eq!(stepper.clock().now(), begun, "the stepped one stood still");
    assert_eq!(asleep.wait().unwrap(), Ok(()));
}
