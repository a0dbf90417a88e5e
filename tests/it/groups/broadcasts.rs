//! What a broadcast brings to each member, and what it tells the sender.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    ActorId, Addr, Context, Group, Handler, Overflow, SendError, System, TrySendError,
};

use super::{Say, join_all, logs, seen};
use crate::support::{
    Act, Log, PATIENCE, Player, act, end_of, gate, in_pools, under_seed, under_seeds,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn sleep_for(time: Duration) -> Act<()> {
    act(move |_, ctx| ctx.sleep(time).expect("nobody ends the sleep"))
}

/// A player that sleeps for so long and whose mailbox of one is full.
fn full(stepper: &Stepper, policy: Overflow, time: Duration) -> Addr<Player> {
    let spawner = stepper.system().actor().capacity(1).overflow(policy);
    let player = spawner.spawn(Player::default()).unwrap();
    player.send(sleep_for(time)).unwrap();
    stepper.run();
    player.send(Say(0)).unwrap();
    player
}

fn notes(player: &Addr<Player>) -> Vec<u64> {
    let notes = act(|player: &mut Player, _| {
        let notes = player.notes.iter();
        notes.map(|(_, note)| *note).collect()
    });
    player.ask(notes).wait().expect("it answers")
}

fn outcomes<E>(sent: &[(ActorId, Result<(), E>)]) -> Vec<Result<(), &E>> {
    sent.iter()
        .map(|(_, sent)| sent.as_ref().copied())
        .collect()
}

#[test]
fn a_broadcast_reaches_all_in_order_and_says_so_of_each() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        assert_eq!(group.broadcast(Say(0)), [], "nobody is there");
        assert_eq!(group.broadcast_for(Say(0), HOUR), []);
        let logs = logs(system, 3);
        join_all(&group, &logs);
        let all = logs
            .iter()
            .map(|log| (log.id(), Ok(())))
            .collect::<Vec<_>>();
        for number in 0..10 {
            if number % 2 == 0 {
                assert_eq!(group.broadcast(Say(number)), all);
            } else {
                let sent = group.broadcast_for(Say(number), HOUR);
                assert!(sent.iter().all(|(_, sent)| sent.is_ok()));
            }
            // Between the broadcasts, to one of them alone.
            logs[0].send(Say(100 + number)).unwrap();
        }
        let both: Vec<_> = (0..10).flat_map(|number| [number, 100 + number]).collect();
        assert_eq!(seen(&logs[0]), both);
        for log in &logs[1..] {
            assert_eq!(seen(log), (0..10).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_broadcast_waits_for_nobody_and_gives_back_what_had_no_room() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let first = system.spawn(Log::default());
        let last = system.spawn(Log::default());
        group.join(&first).unwrap();
        let policies = [
            Overflow::Block,
            Overflow::BlockFor(HOUR),
            Overflow::Reject,
            Overflow::DropNewest,
        ];
        let slow = policies.map(|policy| full(stepper, policy, SECOND));
        join_all(&group, &slow);
        group.join(&last).unwrap();
        let begun = system.now();
        let sent = group.broadcast(Say(7));
        assert_eq!(system.now(), begun);
        let refused = Err(&TrySendError::Full(Say(7)));
        let expected = [Ok(()), refused, refused, refused, refused, Ok(())];
        assert_eq!(outcomes(&sent), expected);
        assert_eq!((seen(&first), seen(&last)), (vec![7], vec![7]));
        for player in &slow {
            stepper.advance(SECOND);
            assert_eq!(notes(player), [0]);
        }
    });
}

#[test]
fn a_broadcast_that_waits_serves_first_who_has_room_and_then_the_slow_ones() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let policies = [Overflow::Block, Overflow::Reject, Overflow::DropNewest];
        let slow = policies.map(|policy| full(stepper, policy, 2 * SECOND));
        let stuck = full(stepper, Overflow::Block, HOUR);
        let late = full(stepper, Overflow::Block, 3 * SECOND);
        let quick = system.spawn(Player::default());
        join_all(&group, &slow);
        join_all(&group, &[stuck.clone(), late.clone(), quick.clone()]);
        let begun = system.now();
        let sent = group.broadcast_for(Say(7), 4 * SECOND);
        assert_eq!(system.now() - begun, 4 * SECOND, "it waits no longer");
        let expected = [
            Ok(()),
            Ok(()),
            Ok(()),
            Err(&SendError::TimedOut(Say(7))),
            Ok(()),
            Ok(()),
        ];
        assert_eq!(outcomes(&sent), expected);
        let (at, note) = quick.ask(act(|player, _| player.notes[0])).wait().unwrap();
        assert_eq!((at, note), (begun, 7), "before any wait");
        for player in slow.iter().chain([&late]) {
            assert_eq!(notes(player), [0, 7]);
        }
        stuck.kill();
    });
}

#[test]
fn a_member_that_has_begun_to_end_or_has_no_address_gives_the_message_back() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let stopping = full(stepper, Overflow::Block, SECOND);
        let forgotten = full(stepper, Overflow::Block, SECOND);
        let log = system.spawn(Log::default());
        group.join(&stopping).unwrap();
        group.join(&forgotten).unwrap();
        group.join(&log).unwrap();
        stopping.stop();
        drop(forgotten);
        let sent = group.broadcast(Say(7));
        let stopped = Err(&TrySendError::Stopped(Say(7)));
        assert_eq!(outcomes(&sent), [stopped, stopped, Ok(())]);
        let sent = group.broadcast_for(Say(8), HOUR);
        let stopped = Err(&SendError::Stopped(Say(8)));
        assert_eq!(outcomes(&sent), [stopped, stopped, Ok(())]);
        assert_eq!(group.len(), 3, "they have not ended");
        stepper.advance(SECOND);
        assert_eq!(group.len(), 1);
        assert_eq!(seen(&log), [7, 8]);
    });
}

#[test]
fn a_member_that_ends_while_a_broadcast_waits_for_it_gives_the_message_back() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let slow = full(stepper, Overflow::Block, HOUR);
        group.join(&slow).unwrap();
        let sender = system.spawn(Player::default());
        let to = group.clone();
        let sent = sender.ask(act(move |_, _| to.broadcast_for(Say(7), HOUR)));
        stepper.run();
        slow.kill();
        let sent = sent.wait().unwrap();
        assert_eq!(sent, [(slow.id(), Err(SendError::Stopped(Say(7))))]);
        end_of(&slow);
        assert!(group.is_empty());
    });
}

#[test]
fn a_kill_of_the_sender_ends_its_broadcast_and_each_message_comes_back() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let slow = [(); 2].map(|()| full(stepper, Overflow::Block, SECOND));
        join_all(&group, &slow);
        let quick = system.spawn(Log::default());
        group.join(&quick).unwrap();
        let sender = system.spawn(Player::default());
        let to = group.clone();
        let sent = sender.ask(act(move |_, _| to.broadcast_for(Say(7), HOUR)));
        stepper.run();
        sender.kill();
        let sent = sent.wait().unwrap();
        let interrupted = Err(&SendError::Interrupted(Say(7)));
        assert_eq!(outcomes(&sent), [interrupted, interrupted, Ok(())]);
        stepper.advance(SECOND);
        assert_eq!(notes(&slow[0]), [0]);
    });
}

#[test]
fn a_member_with_a_full_mailbox_that_waits_for_room_at_itself_is_told() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let group = system.group::<Say>("kitchen");
        let spawner = system.actor().capacity(1);
        let player = spawner.spawn(Player::default()).unwrap();
        group.join(&player).unwrap();
        let log = system.spawn(Log::default());
        group.join(&log).unwrap();
        let to = group.clone();
        let sent = player.ask(act(move |_, ctx: &mut Context<Player>| {
            ctx.addr().send(Say(0)).expect("there is room for one");
            to.broadcast_for(Say(7), HOUR)
        }));
        let sent = sent.wait().unwrap();
        let (_, Err(SendError::WouldDeadlock { message, .. })) = &sent[0] else {
            panic!("{sent:?}");
        };
        assert_eq!(*message, Say(7));
        assert_eq!(sent[1], (log.id(), Ok(())));
    });
}

/// Counts its clones, and panics at one of them.
struct Counted {
    clones: Arc<AtomicUsize>,
    panics_at: usize,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        let clones = self.clones.fetch_add(1, SeqCst) + 1;
        assert_ne!(clones, self.panics_at, "planted");
        Self {
            clones: self.clones.clone(),
            panics_at: self.panics_at,
        }
    }
}

impl Handler<Counted> for Log {
    type Reply = ();

    fn handle(&mut self, _: Counted, _: &mut Context<Self>) {
        self.seen.push(0);
    }
}

fn counted(system: &System, panics_at: usize) -> (Vec<Addr<Log>>, Group<Counted>, Counted) {
    let group = system.group::<Counted>("kitchen");
    let logs = logs(system, 4);
    logs.iter().for_each(|log| group.join(log).unwrap());
    let message = Counted {
        clones: Arc::default(),
        panics_at,
    };
    (logs, group, message)
}

#[test]
fn the_last_member_gets_the_message_itself() {
    under_seed(0, |stepper| {
        let (_logs, group, message) = counted(stepper.system(), usize::MAX);
        let clones = message.clones.clone();
        group.broadcast(message.clone());
        assert_eq!(clones.load(SeqCst), 1 + 3);
        group.broadcast_for(message, HOUR);
        assert_eq!(clones.load(SeqCst), 1 + 3 + 3);
    });
}

#[test]
fn a_clone_that_panics_ends_the_broadcast_and_hurts_nobody() {
    under_seeds(|stepper| {
        let (logs, group, message) = counted(stepper.system(), 3);
        let broadcast = catch_unwind(AssertUnwindSafe(|| group.broadcast(message)));
        assert!(broadcast.is_err());
        let got = logs.iter().map(|log| seen(log).len());
        assert_eq!(got.collect::<Vec<_>>(), [1, 1, 0, 0]);
        assert_eq!(group.len(), 4);
    });
}

#[test]
fn a_slow_member_of_a_pool_holds_up_nobody_who_has_room() {
    in_pools(|system| {
        let group = system.group::<Say>("kitchen");
        let slow = system.actor().capacity(1).spawn(Log::default()).unwrap();
        let (hold, gate) = gate();
        slow.send(hold).unwrap();
        gate.wait_until_held();
        slow.send(Say(0)).unwrap();
        group.join(&slow).unwrap();
        // In a pool of one worker, the slow one holds it: so the quick one has its own thread.
        let quick = system.actor().spawn_thread(Log::default).unwrap();
        group.join(&quick).unwrap();
        let sent = group.broadcast(Say(1));
        assert_eq!(outcomes(&sent), [Err(&TrySendError::Full(Say(1))), Ok(())]);
        thread::scope(|scope| {
            let sending = scope.spawn(|| group.broadcast_for(Say(2), PATIENCE));
            crate::support::eventually("the quick one has it", || seen(&quick) == [1, 2]);
            assert!(!sending.is_finished(), "it waits for the slow one");
            gate.open();
            let sent = sending.join().unwrap();
            assert_eq!(outcomes(&sent), [Ok(()), Ok(())]);
        });
        assert_eq!(seen(&slow), [0, 2]);
        slow.stop();
        end_of(&slow);
    });
}
