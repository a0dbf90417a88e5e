//! Routers: which member gets a message, and what becomes of it there.

mod all;
mod keys;
mod threads;

use std::collections::HashSet;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Asker, Context, Counts, Handler, Overflow, Recipient, Router, SendError,
    StopReason, TrySendError,
};

use crate::support::{Entry, Log, Player, Seen, act, gate, in_pools, under_seed, under_seeds};

const SECOND: Duration = Duration::from_secs(1);

/// Spawns this many members.
fn logs(stepper: &Stepper, count: usize) -> Vec<Addr<Log>> {
    let spawn = |_| stepper.system().spawn(Log::default());
    (0..count).map(spawn).collect()
}

fn recipients(logs: &[Addr<Log>]) -> impl Iterator<Item = Recipient<Entry>> {
    logs.iter().map(Addr::recipient)
}

/// What each of those that live has handled.
fn seen(logs: &[Addr<Log>]) -> Vec<Vec<u64>> {
    let asked: Vec<_> = logs.iter().map(|log| log.ask(Seen)).collect();
    asked.into_iter().map(|seen| seen.wait().unwrap()).collect()
}

fn send_all(to: &Recipient<Entry>, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        to.send(Entry(number)).unwrap();
    }
}

fn counts<A: Actor>(stepper: &Stepper, addr: &Addr<A>) -> Counts {
    let actors = stepper.system().snapshot().actors;
    let actor = actors.iter().find(|actor| actor.id == addr.id());
    actor.expect("it lives").counts
}

/// A player with room for one message, who is busy for five seconds, and full.
fn busy(stepper: &Stepper, overflow: Overflow) -> Addr<Player> {
    let spawner = stepper.system().actor().capacity(1).overflow(overflow);
    let busy = spawner.spawn(Player::default()).unwrap();
    busy.send(act(|_, ctx| ctx.sleep(5 * SECOND).unwrap_or_default()))
        .unwrap();
    stepper.run();
    busy.send(act(|_, _| ())).unwrap();
    busy
}

// Strategies.

#[test]
fn round_robin_goes_to_the_members_in_turn() {
    under_seeds(|stepper| {
        let logs = logs(stepper, 3);
        let router = Router::round_robin().recipient(recipients(&logs));
        let clone = router.clone();
        for number in (0..9).step_by(2) {
            send_all(&router, [number]);
            send_all(&clone, [number + 1]);
        }
        assert_eq!(
            seen(&logs),
            [vec![0, 3, 6, 9], vec![1, 4, 7], vec![2, 5, 8]]
        );
    });
}

/// How many of these members get each of so many messages.
fn drawn(router: Router<Entry>, messages: u64) -> Vec<Vec<u64>> {
    let stepper = Stepper::new(0);
    let logs = logs(&stepper, 3);
    let router = router.recipient(recipients(&logs));
    for number in 0..messages {
        router.send(Entry(number)).unwrap();
        stepper.run();
    }
    seen(&logs)
}

#[test]
fn random_members_are_drawn_evenly_and_the_seed_decides_which() {
    let first = drawn(Router::random(), 3000);
    assert_eq!(first, drawn(Router::random_seeded(0), 3000));
    assert_ne!(first, drawn(Router::random_seeded(1), 3000));
    for seed in 0..20 {
        for numbers in drawn(Router::random_seeded(seed), 3000) {
            // Within six standard deviations.
            let count = numbers.len();
            assert!((845..=1155).contains(&count), "{count} under seed {seed}");
            // The draws do not come in turn.
            let gaps: HashSet<_> = numbers.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.len() > 5, "{gaps:?} under seed {seed}");
        }
    }
}

#[test]
fn the_least_loaded_member_is_the_first_with_the_fewest_messages() {
    under_seed(0, |stepper| {
        let logs = logs(stepper, 3);
        for (log, queued) in logs.iter().zip([3, 1, 2]) {
            (0..queued).for_each(|_| log.send(Entry(100)).unwrap());
        }
        let router = Router::least_loaded().recipient(recipients(&logs));
        send_all(&router, 0..6);
        // 3 1 2, 3 2 2, 3 3 2, 3 3 3, 4 3 3, 4 4 3, 4 4 4.
        let seen = seen(&logs);
        assert_eq!(seen[0], [100, 100, 100, 3]);
        assert_eq!(seen[1], [100, 0, 1, 4]);
        assert_eq!(seen[2], [100, 100, 2, 5]);
    });
}

#[test]
fn a_message_in_hand_is_load() {
    under_seeds(|stepper| {
        let players: Vec<_> = (0..2)
            .map(|_| stepper.system().spawn(Player::default()))
            .collect();
        let router: Asker<_, &str> = Router::least_loaded().asker(players.iter().map(Addr::asker));
        let first = router.ask(act(|_, ctx| {
            ctx.sleep(SECOND).unwrap();
            "the first"
        }));
        stepper.run();
        let second = router.ask(act(|_, _| "the second"));
        stepper.run();
        assert!(second.is_ready(), "it went to the one that is busy");
        assert_eq!(first.wait().unwrap(), "the first");
        assert_eq!(second.wait().unwrap(), "the second");
    });
}

// Members that end.

fn routers() -> Vec<Router<Entry>> {
    vec![
        Router::round_robin(),
        Router::random(),
        Router::least_loaded(),
        Router::by_key(|Entry(number)| *number),
    ]
}

#[test]
fn members_that_have_ended_are_passed_over_and_no_message_is_lost() {
    for router in routers() {
        let name = format!("{router:?}");
        under_seed(0, |stepper| {
            let mut logs = logs(stepper, 3);
            let router = router.recipient(recipients(&logs));
            let mut handled = Vec::new();
            for (index, count) in [(1, 30), (0, 60)] {
                send_all(&router, handled.len() as u64..count);
                handled.resize(count as usize, ());
                stepper.run();
                // Its last message is handled; from then on it takes no more.
                logs[index].drain();
                stepper.run();
            }
            send_all(&router, 60..90);
            let last = logs.pop().expect("the last one lives");
            let kept = last.ask(Seen).wait().unwrap();
            assert!(kept.ends_with(&(60..90).collect::<Vec<_>>()), "{name}");
            let totals = stepper.system().snapshot().totals;
            assert_eq!(totals.handled, 90 + 1, "{name}: {totals}");
            assert_eq!(totals.dead_lettered, 0, "{name}");
        });
    }
}

#[test]
fn the_part_of_a_member_that_ended_is_shared_by_the_others_in_turn() {
    under_seeds(|stepper| {
        let mut logs = logs(stepper, 4);
        let router = Router::round_robin().recipient(recipients(&logs));
        send_all(&router, 0..4);
        logs.remove(1).drain();
        stepper.run();
        send_all(&router, 4..34);
        let shares: Vec<_> = seen(&logs).iter().map(Vec::len).collect();
        let total: usize = shares.iter().sum();
        assert_eq!(total, 33);
        assert!(
            shares.iter().all(|share| (10..=12).contains(share)),
            "{shares:?}"
        );
    });
}

#[test]
fn if_no_member_is_left_the_message_comes_back() {
    for router in routers() {
        under_seed(0, |stepper| {
            let logs = logs(stepper, 3);
            let router: Asker<Entry, ()> = router.asker(logs.iter().map(Addr::asker));
            logs[0].kill();
            logs[1].stop();
            logs[2].drain();
            stepper.run();
            let sent = router.send(Entry(1)).unwrap_err();
            assert!(matches!(sent, SendError::Stopped(Entry(1))), "{sent:?}");
            let sent = router.try_send(Entry(2)).unwrap_err();
            assert!(matches!(sent, TrySendError::Stopped(Entry(2))), "{sent:?}");
            let sent = router.send_for(Entry(3), SECOND).unwrap_err();
            assert!(matches!(sent, SendError::Stopped(Entry(3))), "{sent:?}");
            let sent = pollster::block_on(router.send_async(Entry(4))).unwrap_err();
            assert!(matches!(sent, SendError::Stopped(Entry(4))), "{sent:?}");
            match router.ask(Entry(5)).wait() {
                Err(AskError::Stopped { reason }) => assert_eq!(reason, StopReason::Killed),
                other => panic!("{other:?}"),
            }
        });
    }
}

#[test]
fn a_member_that_stops_while_one_waits_for_room_hands_the_message_to_the_next() {
    for limit in [None, Some(10 * SECOND)] {
        under_seeds(|stepper| {
            let full = busy(stepper, Overflow::Block);
            let next = stepper.system().spawn(Player::default());
            let router: Recipient<_> =
                Router::round_robin().recipient([full.recipient(), next.recipient()]);
            let sender = stepper.system().spawn(Player::default());
            let sent = sender.ask(act(move |_, _| match limit {
                None => router.send(act(|_, _| ())).is_ok(),
                Some(limit) => router.send_for(act(|_, _| ()), limit).is_ok(),
            }));
            stepper.run();
            assert!(!sent.is_ready(), "there is room");
            full.stop();
            assert!(sent.wait().unwrap());
            stepper.run();
            assert_eq!(counts(stepper, &next).handled, 1);
        });
    }
}

#[test]
fn a_limit_is_for_all_members_that_are_tried() {
    under_seeds(|stepper| {
        let full = [(); 2].map(|()| busy(stepper, Overflow::Block));
        let router: Recipient<_> =
            Router::round_robin().recipient(full.iter().map(Addr::recipient));
        let sender = stepper.system().spawn(Player::default());
        let begun = stepper.clock().now();
        let sent = sender.ask(act(move |_, ctx| {
            let sent = router.send_for(act(|_, _| ()), 3 * SECOND);
            (matches!(sent, Err(SendError::TimedOut(_))), ctx.now())
        }));
        stepper.advance(SECOND);
        full[0].stop();
        let (is_late, ended) = sent.wait().unwrap();
        assert!(is_late);
        assert_eq!(ended - begun, 3 * SECOND);
    });
}

#[test]
fn a_send_that_is_awaited_goes_on_to_the_next_member() {
    in_pools(|system| {
        let (hold, gate) = gate();
        let full = system.actor().capacity(1).spawn(Log::default()).unwrap();
        full.send(hold).unwrap();
        gate.wait_until_held();
        full.send(Entry(0)).unwrap();
        let next = system.spawn(Log::default());
        let members = [full.clone(), next.clone()];
        let router = Router::round_robin().recipient(recipients(&members));
        let mut sending = Box::pin(router.send_async(Entry(7)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(sending.as_mut().poll(&mut cx).is_pending());
        full.stop();
        gate.open();
        pollster::block_on(sending).unwrap();
        assert_eq!(next.ask(Seen).wait().unwrap(), [7]);
    });
}

struct Risky(u64);

#[derive(Debug)]
struct Slip;

impl Actor for Risky {}

impl Handler<Option<Slip>> for Risky {
    type Reply = u64;

    fn handle(&mut self, slip: Option<Slip>, _: &mut Context<Self>) -> u64 {
        assert!(slip.is_none(), "a slip");
        self.0
    }
}

#[test]
fn a_member_that_panics_fails_its_request_and_is_passed_over() {
    under_seeds(|stepper| {
        let risky = (0..3).map(|number| stepper.system().spawn(Risky(number)).asker());
        let router: Asker<_, u64> = Router::round_robin().asker(risky);
        let slipped = router.ask(Some(Slip)).wait();
        assert!(
            matches!(slipped, Err(AskError::Panicked { .. })),
            "{slipped:?}"
        );
        let answers: Vec<_> = (0..6).map(|_| router.ask(None).wait().unwrap()).collect();
        assert!(!answers.contains(&0), "{answers:?}");
        let ones = answers.iter().filter(|answer| **answer == 1).count();
        assert_eq!(ones, 3, "{answers:?}");
    });
}

// Members that are full.

#[test]
fn a_full_member_does_what_its_policy_says_and_no_other_is_tried() {
    for overflow in [
        Overflow::Reject,
        Overflow::DropNewest,
        Overflow::BlockFor(SECOND),
        Overflow::Block,
    ] {
        under_seed(0, |stepper| {
            let full = busy(stepper, overflow);
            let idle = stepper.system().spawn(Player::default());
            // Each begins with the first member.
            let router =
                || -> Asker<_, ()> { Router::round_robin().asker([full.asker(), idle.asker()]) };
            let begun = stepper.clock().now();
            let sent = router().try_send(act(|_, _| ()));
            assert!(matches!(sent, Err(TrySendError::Full(_))), "{overflow:?}");
            let sent = router().send_for(act(|_, _| ()), SECOND / 10);
            assert!(matches!(sent, Err(SendError::TimedOut(_))), "{overflow:?}");
            let asked = router().ask(act(|_, _| ()));
            let sent = router().send(act(|_, _| ()));
            let waited = stepper.clock().now() - begun - SECOND / 10;
            match overflow {
                Overflow::Reject => {
                    assert!(matches!(sent, Err(SendError::Full(_))));
                    assert!(matches!(asked.wait(), Err(AskError::Full(_))));
                    assert_eq!(waited, Duration::ZERO);
                }
                Overflow::DropNewest => {
                    assert!(sent.is_ok());
                    assert!(matches!(asked.wait(), Err(AskError::DroppedByPolicy)));
                    assert_eq!(counts(stepper, &full).dropped, 2);
                }
                Overflow::BlockFor(_) => {
                    assert!(matches!(sent, Err(SendError::TimedOut(_))));
                    assert!(matches!(asked.wait(), Err(AskError::Full(_))));
                    assert_eq!(waited, SECOND);
                }
                _ => {
                    assert!(sent.is_ok());
                    assert!(asked.wait().is_ok());
                    assert_eq!(waited, 5 * SECOND - SECOND / 10);
                }
            }
            assert_eq!(counts(stepper, &idle).accepted, 0, "another one was tried");
        });
    }
}

// The address.

#[test]
fn a_router_is_passed_on_as_a_recipient() {
    under_seeds(|stepper| {
        let logs = logs(stepper, 2);
        let router = Router::round_robin().recipient(recipients(&logs));
        let player = stepper.system().spawn(Player::default());
        let passed = router.clone();
        player
            .send(act(move |_, _| send_all(&passed, 0..4)))
            .unwrap();
        stepper.run();
        assert_eq!(seen(&logs), [[0, 2], [1, 3]]);
        send_all(&router, [4]);
        assert_eq!(seen(&logs), [vec![0, 2, 4], vec![1, 3]]);
    });
}

#[test]
fn a_router_may_be_a_member_of_another() {
    under_seeds(|stepper| {
        let logs = logs(stepper, 4);
        let inner = logs
            .chunks(2)
            .map(|pair| Router::round_robin().recipient(recipients(pair)));
        let router = Router::round_robin().recipient(inner);
        send_all(&router, 0..8);
        assert_eq!(seen(&logs), [[0, 4], [2, 6], [1, 5], [3, 7]]);
        // A router of which all members have ended has ended.
        logs[..2].iter().for_each(Addr::drain);
        stepper.run();
        send_all(&router, 8..12);
        assert_eq!(seen(&logs[2..]).concat().len(), 8);
    });
}

#[test]
fn a_router_has_an_id_of_its_own() {
    under_seed(0, |stepper| {
        let logs = logs(stepper, 2);
        let one = Router::round_robin().recipient(recipients(&logs));
        let other = Router::round_robin().recipient(recipients(&logs));
        assert_eq!(one, one.clone());
        assert_ne!(one, other);
        let ids = [one.id(), other.id(), logs[0].id(), logs[1].id()];
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!((one.id(), one.name()), (one.clone().id(), None));
    });
}

#[test]
fn a_router_holds_its_members() {
    under_seeds(|stepper| {
        let logs = logs(stepper, 2);
        let router = Router::round_robin().recipient(recipients(&logs));
        drop(logs);
        stepper.run();
        send_all(&router, 0..2);
        stepper.run();
        assert_eq!(stepper.system().snapshot().totals.handled, 2);
        drop(router);
        stepper.run();
        assert_eq!(stepper.system().snapshot().actors, []);
    });
}

#[test]
#[should_panic = "a router has at least one member"]
fn a_router_needs_a_member() {
    let _ = Router::<Entry>::round_robin().recipient([]);
}
