//! From where actors are spawned, and what happens when it is too late.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use greenroom::{
    Actor, Addr, AskError, Context, Handler, SendError, SpawnError, StopReason, System,
    TrySendError,
};

use super::{Do, Event, Told, act, spawn, told};
use crate::support::{PATIENCE, end_of, in_pools, in_time, under_seed, under_seeds};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_address_can_be_sent_to_before_its_actor_has_started() {
    under_seeds(|stepper| {
        let (addr, events) = spawn(stepper.system());
        addr.send(Do(1)).unwrap();
        let reply = addr.ask(Do(2));
        assert_eq!(events.all(), []);
        assert_eq!(reply.wait().unwrap(), 2);
        let expected = [Event::Started, Event::Handled(1), Event::Handled(2)];
        assert_eq!(events.all(), expected);
    });
}

#[test]
fn handlers_spawn_actors() {
    let test = |system: &System, wait: &dyn Fn(greenroom::Reply<Addr<Told>>) -> Addr<Told>| {
        let (parent, _events) = spawn(system);
        let (actor, events) = told();
        let child = wait(parent.ask(act(move |ctx| ctx.spawn(actor))));
        let (actor, named_events) = told();
        let named = wait(parent.ask(act(move |ctx| {
            let spawner = ctx.actor().name("child").capacity(1);
            spawner.spawn(actor).unwrap()
        })));
        assert_eq!(named.name(), Some("child"));
        for (child, events) in [(child, events), (named, named_events)] {
            child.send(Do(1)).unwrap();
            child.drain();
            assert_eq!(end_of(&child), StopReason::Drained);
            assert!(events.all().contains(&Event::Handled(1)));
        }
    };
    under_seeds(|stepper| test(stepper.system(), &|reply| reply.wait().unwrap()));
    in_pools(|system| test(system, &|reply| reply.wait_for(PATIENCE).unwrap()));
}

/// Spawns a child in each hook.
struct Parent(mpsc::Sender<Addr<Told>>);

impl Actor for Parent {
    fn started(&mut self, ctx: &mut Context<Self>) {
        let _ = self.0.send(ctx.spawn(told().0));
    }

    fn stopped(&mut self, _: &StopReason, ctx: &mut Context<Self>) {
        let _ = self.0.send(ctx.spawn(told().0));
    }
}

#[test]
fn hooks_spawn_actors_which_outlive_their_parent() {
    under_seeds(|stepper| {
        let (tell, children) = mpsc::channel();
        let parent = stepper.system().spawn(Parent(tell));
        parent.stop();
        end_of(&parent);
        let children: Vec<_> = children.try_iter().collect();
        assert_eq!(children.len(), 2);
        for child in children {
            assert_eq!(child.ask(Do(1)).wait().unwrap(), 1);
        }
    });
}

#[test]
fn threads_and_async_tasks_spawn_actors() {
    in_pools(|system| {
        let of_thread = system.clone();
        let on_a_thread = thread::spawn(move || spawn(&of_thread).0);
        let on_a_thread = on_a_thread.join().unwrap();
        assert_eq!(on_a_thread.ask(Do(1)).wait_for(PATIENCE).unwrap(), 1);

        let of_tokio = system.clone();
        let answer = in_time(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .build()
                .expect("the machine has threads for a runtime");
            let task = async move {
                let addr = spawn(&of_tokio).0;
                addr.send_async(Do(1)).await.unwrap();
                addr.ask(Do(2)).await.unwrap()
            };
            runtime.block_on(runtime.spawn(task)).unwrap()
        });
        assert_eq!(answer, 2);

        let of_smol = system.clone();
        let answer = in_time(move || {
            smol::block_on(async move { spawn(&of_smol).0.ask(Do(3)).await.unwrap() })
        });
        assert_eq!(answer, 3);
    });
}

#[test]
fn many_threads_spawn_and_drop_at_once() {
    in_pools(|system| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let system = system.clone();
                thread::spawn(move || {
                    for number in 0..500 {
                        let (addr, events) = spawn(&system);
                        addr.send(Do(number)).unwrap();
                        let answer = (number % 2 == 0).then(|| addr.ask(Do(number)));
                        drop(addr);
                        if let Some(answer) = answer {
                            assert_eq!(answer.wait_for(PATIENCE).unwrap(), number);
                            assert!(events.all().contains(&Event::Handled(number)));
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|it| it.join().unwrap());
    });
}

// Too late.

/// All that can be done with an address of an actor that never lived.
fn assert_is_of_one_that_has_ended(addr: &Addr<Told>) {
    assert!(addr.is_stopped());
    assert_eq!(end_of(addr), StopReason::Shutdown);
    assert!(matches!(addr.send(Do(1)), Err(SendError::Stopped(Do(1)))));
    assert!(matches!(
        addr.try_send(Do(2)),
        Err(TrySendError::Stopped(Do(2)))
    ));
    assert!(matches!(
        addr.send_for(Do(3), SECOND),
        Err(SendError::Stopped(Do(3)))
    ));
    assert!(matches!(
        pollster::block_on(addr.send_async(Do(4))),
        Err(SendError::Stopped(Do(4)))
    ));
    assert!(matches!(
        addr.ask(Do(5)).wait(),
        Err(AskError::Stopped {
            reason: StopReason::Shutdown
        })
    ));
    addr.stop();
    addr.drain();
    addr.kill();
    assert!(addr.downgrade().upgrade().is_some());
    assert_eq!(*addr, addr.clone());
    assert_eq!(addr.name(), None);
    assert!(addr.recipient::<Do>().send(Do(6)).is_err());
}

#[test]
fn after_a_shutdown_an_actor_is_dropped_and_its_address_is_of_one_that_has_ended() {
    let test = |system: &System| {
        assert!(system.shutdown(PATIENCE).is_clean());
        assert!(system.is_shutting_down());
        let (actor, events) = told();
        let addr = system.spawn(actor);
        assert_eq!(events.all(), [Event::Dropped], "no hook has run");
        assert_is_of_one_that_has_ended(&addr);
        let refused = system.actor().spawn(told().0);
        assert!(matches!(refused, Err(SpawnError::ShuttingDown)));
        let refused = system.actor().spawn_thread(|| told().0);
        assert!(matches!(refused, Err(SpawnError::ShuttingDown)));
    };
    in_pools(test);
    under_seed(0, |stepper| {
        test(stepper.system());
        stepper.run();
    });
}

/// Spawns others in `stopped`, which runs while the system shuts down.
struct Late(mpsc::Sender<(Addr<Told>, bool)>);

impl Actor for Late {
    fn stopped(&mut self, _: &StopReason, ctx: &mut Context<Self>) {
        let addr = ctx.spawn(told().0);
        // Some addresses are dropped while the pool is at work still.
        drop(ctx.spawn(told().0));
        let refused = ctx.actor().name("late").spawn(told().0).is_err();
        let _ = self.0.send((addr, refused));
    }
}

impl Handler<Do> for Late {
    type Reply = ();

    fn handle(&mut self, _: Do, _: &mut Context<Self>) {}
}

#[test]
fn during_a_shutdown_nobody_new_comes_to_live() {
    let test = |system: &System| {
        let (tell, told) = mpsc::channel();
        let late: Vec<_> = (0..20).map(|_| system.spawn(Late(tell.clone()))).collect();
        assert!(system.shutdown(PATIENCE).is_clean());
        for late in late {
            assert_eq!(end_of(&late), StopReason::Shutdown);
        }
        let spawned: Vec<_> = told.try_iter().collect();
        assert_eq!(spawned.len(), 20);
        for (addr, refused) in spawned {
            assert!(refused);
            assert_is_of_one_that_has_ended(&addr);
        }
    };
    in_pools(test);
    under_seeds(|stepper| test(stepper.system()));
}
