//! Snapshots: what one sees of a system, as plain data.

use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Actor, ActorSnapshot, ActorState, Addr, Overflow, Snapshot, System};

use crate::support::{
    Note, PATIENCE, Player, act, end_of, eventually, gate, in_a_pool, in_pools, under_seeds,
};

const SECOND: Duration = Duration::from_secs(1);

fn picture_of<A: Actor>(system: &System, addr: &Addr<A>) -> ActorSnapshot {
    let mut actors = system.snapshot().actors.into_iter();
    let actor = actors.find(|actor| actor.id == addr.id());
    actor.expect("the actor lives")
}

#[test]
fn a_snapshot_shows_who_is_there_in_order_of_the_ids() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let named = system.actor().name("nell").capacity(7);
        let named = named.overflow(Overflow::Reject).spawn(Player::default());
        let named = named.unwrap();
        let others: Vec<_> = (0..20).map(|_| system.spawn(Player::default())).collect();
        others[3].stop();
        end_of(&others[3]);
        let actors = system.snapshot().actors;
        assert!(actors.is_sorted_by_key(|actor| actor.id));
        assert_eq!(actors.len(), 20);
        assert!(actors.iter().all(|actor| actor.id != others[3].id()));
        let actor = &actors[0];
        assert_eq!(actor.id, named.id());
        assert_eq!(actor.name.as_deref(), Some("nell"));
        assert!(actor.actor_type.ends_with("::Player"));
        assert_eq!(actor.capacity, 7);
        assert_eq!(actors[1].name, None);
        assert_eq!(actors[1].capacity, 1024);
    });
}

#[test]
fn an_actor_with_nothing_in_hand_is_idle() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let state = || picture_of(stepper.system(), &player).state;
        assert_eq!(state(), ActorState::Idle, "it waits for its first turn");
        stepper.run();
        assert_eq!(state(), ActorState::Idle, "nothing is queued");
        player.send(Note(1)).unwrap();
        assert_eq!(state(), ActorState::Idle, "it waits for its turn");
        let counts = picture_of(stepper.system(), &player).counts;
        assert_eq!((counts.accepted, counts.queued), (1, 1));
    });
}

#[test]
fn a_running_handler_is_seen_with_its_message_by_itself_and_by_others() {
    let check = |state: &ActorState, message: &str| {
        let ActorState::Running {
            message_type: Some(message_type),
        } = state
        else {
            panic!("it runs a handler, but: {state:?}");
        };
        assert!(message_type.contains(message), "{message_type}");
    };
    in_pools(|system| {
        let player = system.spawn(Player::default());
        let handle = system.clone();
        let own = player.ask(act(move |_, ctx| picture_of(&handle, &ctx.addr()).state));
        check(&own.wait_for(PATIENCE).unwrap(), "Act<");
    });
    in_a_pool(1, |system| {
        let log = system.spawn(crate::support::Log::default());
        let (hold, gate) = gate();
        log.send(hold).unwrap();
        gate.wait_until_held();
        check(&picture_of(system, &log).state, "Hold");
        gate.open();
        eventually("it is idle", || {
            picture_of(system, &log).state == ActorState::Idle
        });
    });
}

#[test]
fn a_hook_runs_and_waits_without_a_message() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let handle = system.clone();
        let beginner = system.spawn(Player::beginning_with(move |ctx| {
            let state = picture_of(&handle, &ctx.addr()).state;
            assert_eq!(state, ActorState::Running { message_type: None });
            ctx.sleep(SECOND).expect("nobody ends the sleep");
        }));
        stepper.run();
        let state = picture_of(system, &beginner).state;
        assert_eq!(state, ActorState::Waiting { message_type: None });
        stepper.advance(SECOND);
        assert_eq!(picture_of(system, &beginner).state, ActorState::Idle);
        let handle = system.clone();
        let ender = system.spawn(Player::ending_with(move |_, ctx| {
            let state = picture_of(&handle, &ctx.addr()).state;
            assert_eq!(state, ActorState::Running { message_type: None });
        }));
        ender.send(Note(1)).unwrap();
        stepper.run();
        ender.stop();
        end_of(&ender);
    });
}

#[test]
fn those_who_stand_in_line_and_the_timers_are_counted() {
    under_seeds(|stepper| {
        let system = stepper.system();
        let player = system.actor().capacity(1).spawn(Player::default()).unwrap();
        let nap = act(|_, ctx| ctx.sleep(SECOND).expect("nobody ends the sleep"));
        player.send(nap).unwrap();
        stepper.run();
        player.send(Note(0)).unwrap();
        let line: Vec<_> = (1..4).map(|number| player.ask(Note(number))).collect();
        let picture = picture_of(system, &player);
        assert_eq!((picture.waiting_senders, picture.counts.queued), (3, 1));
        assert_eq!(
            picture.counts.accepted, 2,
            "those in line are not accepted yet"
        );
        assert_eq!(system.snapshot().timers, 1);
        drop(line);
        let picture = picture_of(system, &player);
        assert_eq!((picture.waiting_senders, picture.counts.queued), (0, 1));
        stepper.advance(SECOND);
        let snapshot = system.snapshot();
        assert_eq!((snapshot.timers, snapshot.actors[0].counts.handled), (0, 2));
    });
}

#[test]
fn the_workers_of_a_pool_are_numbered_and_a_stepped_system_has_none() {
    for workers in [1, 2, 8] {
        in_a_pool(workers, |system| {
            let indexes = system.snapshot().workers.into_iter();
            assert!(indexes.map(|worker| worker.index).eq(0..workers));
        });
    }
    assert_eq!(Stepper::new(0).system().snapshot().workers, []);
}

#[test]
fn a_snapshot_stays_as_it_was() {
    under_seeds(|stepper| {
        let player = stepper.system().spawn(Player::default());
        let before: Snapshot = stepper.system().snapshot();
        let copy = before.clone();
        assert_eq!(before, stepper.system().snapshot());
        player.send(Note(1)).unwrap();
        stepper.run();
        assert_eq!(before, copy);
        assert_ne!(before, stepper.system().snapshot());
    });
}
