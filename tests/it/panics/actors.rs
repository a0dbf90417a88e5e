//! Panics in handlers and hooks.

use std::sync::mpsc;
use std::time::Duration;

use greenroom::{
    Actor, Addr, AskError, Context, DeferredHandler, Handler, LossReason, ReplyTo, SendError,
    StopReason,
};

use super::{Fragile, Owe, Trip, Trouble, everywhere, letters, lost, panicked, words_of};
use crate::support::{Entry, Log, Seen};

// Where a panic ends the actor.

#[test]
fn a_panic_in_a_handler_ends_its_actor_and_the_queue_becomes_dead_letters() {
    everywhere(|stage| {
        let bystander = stage.system.spawn(Log::default());
        let feed = stage.system.dead_letters();
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let owed = fragile.ask(Owe);
        let tripped = fragile.ask(Trip("oh"));
        let queued = fragile.ask(Entry(1));
        fragile.send(Entry(2)).unwrap();
        stage.begin();
        assert_eq!(words_of(stage.outcome(tripped)), "oh");
        assert_eq!(words_of(stage.outcome(owed)), "oh");
        assert!(stage.outcome(queued).is_err());
        assert_eq!(stage.end_of(&fragile), panicked("oh"));
        assert_eq!(stopped.try_iter().collect::<Vec<_>>(), [panicked("oh")]);
        let stopped = LossReason::Stopped(panicked("oh"));
        let expected = [
            lost("Trip", LossReason::Panicked("oh".into())),
            lost("Entry", stopped.clone()),
            lost("Entry", stopped),
        ];
        assert_eq!(letters(&feed), expected);
        let counts = stage.system.snapshot().totals;
        assert_eq!(counts.dead_lettered, 3, "{counts}");
        assert!(matches!(
            fragile.send(Entry(3)),
            Err(SendError::Stopped(Entry(3)))
        ));
        assert!(stage.outcome(bystander.ask(Seen)).is_ok());
    });
}

#[test]
fn a_panic_in_started_ends_the_actor_and_stopped_runs() {
    everywhere(|stage| {
        let feed = stage.system.dead_letters();
        let (fragile, stopped) = stage.fragile(Trouble::InStarted);
        let queued = fragile.ask(Entry(1));
        fragile.send(Entry(2)).unwrap();
        stage.begin();
        assert!(stage.outcome(queued).is_err());
        let reason = panicked("in started");
        assert_eq!(stage.end_of(&fragile), reason);
        let reasons: Vec<_> = stopped.try_iter().collect();
        assert_eq!(reasons, std::slice::from_ref(&reason));
        let expected = lost("Entry", LossReason::Stopped(reason));
        assert_eq!(letters(&feed), [expected.clone(), expected]);
    });
}

#[test]
fn a_panic_in_stopped_or_in_the_drop_of_an_actor_leaves_the_reason_as_it_is() {
    for trouble in [Trouble::InStopped, Trouble::InDrop, Trouble::InTheEnd] {
        everywhere(|stage| {
            let (stopping, reasons) = stage.fragile(trouble);
            let owed = stopping.ask(Owe);
            let answered = stopping.ask(Entry(1));
            stage.begin();
            assert_eq!(stage.outcome(answered).unwrap(), 1);
            stopping.stop();
            assert_eq!(stage.end_of(&stopping), StopReason::Stopped);
            assert_eq!(
                reasons.try_iter().collect::<Vec<_>>(),
                [StopReason::Stopped]
            );
            let Err(AskError::Stopped { reason }) = stage.outcome(owed) else {
                panic!("the actor owed an answer and has stopped");
            };
            assert_eq!(reason, StopReason::Stopped);
            // The same after a panic in a handler.
            let (tripping, reasons) = stage.fragile(trouble);
            let owed = tripping.ask(Owe);
            let tripped = tripping.ask(Trip("first"));
            assert_eq!(words_of(stage.outcome(tripped)), "first");
            assert_eq!(words_of(stage.outcome(owed)), "first");
            assert_eq!(stage.end_of(&tripping), panicked("first"));
            assert_eq!(reasons.try_iter().count(), 1);
        });
    }
}

#[test]
fn a_system_whose_actors_panic_in_their_ends_shuts_down() {
    everywhere(|stage| {
        for trouble in [Trouble::InStopped, Trouble::InDrop, Trouble::InTheEnd] {
            let (fragile, _) = stage.fragile(trouble);
            drop(fragile);
            let (fragile, _) = stage.fragile(trouble);
            stage.kept.borrow_mut().push(fragile);
        }
        stage.begin();
    });
}

#[test]
fn a_panic_in_a_handler_that_has_waited_ends_its_actor() {
    everywhere(|stage| {
        let (asked, _) = stage.fragile(Trouble::Nowhere);
        let middle = stage.system.spawn(Trusting { to: asked.clone() });
        let outer = stage.system.spawn(Trusting { to: middle.clone() });
        let outcome = outer.ask(Trip("deep down"));
        stage.begin();
        let words = words_of(stage.outcome(outcome));
        assert!(words.contains("deep down"), "{words}");
        assert_eq!(stage.end_of(&asked), panicked("deep down"));
        for addr_end in [stage.end_of(&middle), stage.end_of(&outer)] {
            assert!(matches!(addr_end, StopReason::Panicked { .. }));
        }
    });
}

/// Asks on, and takes it that there is an answer.
struct Trusting<A: Actor> {
    to: Addr<A>,
}

impl<A: Actor> Actor for Trusting<A> {}

impl<A: DeferredHandler<Trip, Reply = u64>> Handler<Trip> for Trusting<A> {
    type Reply = u64;

    fn handle(&mut self, trip: Trip, _: &mut Context<Self>) -> u64 {
        self.to.ask(trip).wait().unwrap()
    }
}

#[test]
fn a_panic_beside_parked_handlers_leaves_them_as_they_are() {
    everywhere(|stage| {
        let owing = stage.system.spawn(Fragile::sound());
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                stage.system.spawn(Borrowing {
                    from: owing.clone(),
                })
            })
            .collect();
        let loans: Vec<_> = waiting.iter().map(|actor| actor.ask(Owe)).collect();
        let tripping: Vec<_> = (0..20).map(|_| stage.fragile(Trouble::InDrop).0).collect();
        let tripped: Vec<_> = tripping
            .iter()
            .map(|actor| actor.ask(Trip("beside")))
            .collect();
        stage.begin();
        for reply in tripped {
            assert_eq!(words_of(stage.outcome(reply)), "beside");
        }
        // What was lent before is paid when all who borrow have come.
        stage.outcome(owing.ask(Pay(20, 4))).unwrap();
        for loan in loans {
            assert_eq!(stage.outcome(loan).unwrap(), 4);
        }
    });
}

/// Waits for a loan.
struct Borrowing {
    from: Addr<Fragile>,
}

impl Actor for Borrowing {}

impl Handler<Owe> for Borrowing {
    type Reply = u64;

    fn handle(&mut self, owe: Owe, _: &mut Context<Self>) -> u64 {
        self.from.ask(owe).wait().expect("the loan is paid")
    }
}

/// Pays what is owed, once so many have borrowed.
struct Pay(usize, u64);

impl DeferredHandler<Pay> for Fragile {
    type Reply = ();

    fn handle_deferred(
        &mut self,
        Pay(count, amount): Pay,
        reply: ReplyTo<()>,
        ctx: &mut Context<Self>,
    ) {
        if self.owed.len() < count {
            // Others are on their way: come again.
            let _ = ctx.addr().send(PayLater(count, amount, reply));
            return;
        }
        self.owed.drain(..).for_each(|debt| debt.send(amount));
        reply.send(());
    }
}

struct PayLater(usize, u64, ReplyTo<()>);

impl Handler<PayLater> for Fragile {
    type Reply = ();

    fn handle(&mut self, PayLater(count, amount, reply): PayLater, ctx: &mut Context<Self>) {
        self.handle_deferred(Pay(count, amount), reply, ctx);
    }
}

#[test]
fn a_panic_while_an_actor_drains_ends_it_for_that_reason() {
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let first = fragile.ask(Entry(1));
        let tripped = fragile.ask(Trip("at last"));
        let queued = fragile.ask(Entry(2));
        fragile.drain();
        stage.begin();
        assert_eq!(stage.outcome(first).unwrap(), 1);
        assert_eq!(words_of(stage.outcome(tripped)), "at last");
        assert!(stage.outcome(queued).is_err());
        assert_eq!(stage.end_of(&fragile), panicked("at last"));
        assert_eq!(stopped.try_iter().count(), 1);
    });
}

#[test]
fn a_thousand_panics_cost_no_worker() {
    everywhere(|stage| {
        stage.begin();
        for number in 0..100 {
            let actors: Vec<_> = (0..10)
                .map(|_| stage.fragile(Trouble::InStopped).0)
                .collect();
            let replies: Vec<_> = actors
                .iter()
                .map(|actor| actor.ask(Trip("again")))
                .collect();
            for reply in replies {
                assert_eq!(words_of(stage.outcome(reply)), "again", "{number}");
            }
        }
    });
}

#[test]
fn senders_that_wait_for_room_get_their_messages_back_when_the_actor_panics() {
    everywhere(|stage| {
        let (fragile, _) = Fragile::new(Trouble::Nowhere);
        let fragile = stage.system.actor().capacity(1).spawn(fragile).unwrap();
        let feeders: Vec<_> = (0..3)
            .map(|_| {
                stage.system.spawn(Feeder {
                    to: fragile.clone(),
                })
            })
            .collect();
        fragile.send(Trip("full")).unwrap();
        let replies: Vec<_> = feeders.iter().map(|feeder| feeder.ask(Feed)).collect();
        stage.begin();
        for reply in replies {
            assert_eq!(stage.outcome(reply).unwrap(), "actor has stopped");
        }
        assert_eq!(stage.end_of(&fragile), panicked("full"));
    });
}

/// Sends without end.
struct Feeder {
    to: Addr<Fragile>,
}

impl Actor for Feeder {}

struct Feed;

impl Handler<Feed> for Feeder {
    type Reply = String;

    fn handle(&mut self, _: Feed, _: &mut Context<Self>) -> String {
        for number in 0.. {
            if let Err(error) = self.to.send(Entry(number)) {
                let error_text = error.to_string();
                assert_eq!(error.into_inner().0, number);
                return error_text;
            }
        }
        unreachable!("the actor panics at some time")
    }
}

// Threads of their own.

#[test]
fn a_panic_in_the_closure_that_makes_an_actor_ends_it() {
    everywhere(|stage| {
        let feed = stage.system.dead_letters();
        let (open, opened) = mpsc::channel();
        let real = stage.stepper.is_none();
        let fragile = stage
            .system
            .actor()
            .spawn_thread(move || -> Fragile {
                if real {
                    opened.recv().expect("the test opens");
                }
                panic!("not made")
            })
            .unwrap();
        let queued = fragile.ask(Entry(1));
        fragile.send(Entry(2)).unwrap();
        open.send(()).unwrap();
        stage.begin();
        assert!(stage.outcome(queued).is_err());
        assert_eq!(stage.end_of(&fragile), panicked("not made"));
        assert!(fragile.is_stopped());
        let expected = lost("Entry", LossReason::Stopped(panicked("not made")));
        assert_eq!(letters(&feed), [expected.clone(), expected]);
    });
}

#[test]
fn a_panic_on_a_thread_of_its_own_ends_the_actor_in_the_same_way() {
    everywhere(|stage| {
        stage.begin();
        for trouble in [Trouble::Nowhere, Trouble::InTheEnd] {
            let (fragile, stopped) = Fragile::new(trouble);
            let fragile = stage.system.actor().spawn_thread(move || fragile).unwrap();
            let owed = fragile.ask(Owe);
            let tripped = fragile.ask(Trip("alone"));
            assert_eq!(words_of(stage.outcome(tripped)), "alone");
            assert_eq!(words_of(stage.outcome(owed)), "alone");
            assert_eq!(stage.end_of(&fragile), panicked("alone"));
            let reasons: Vec<_> = stopped.try_iter().collect();
            assert_eq!(reasons, [panicked("alone")]);
        }
    });
}

// Kills.

#[test]
fn a_handler_that_panics_because_its_wait_was_ended_is_ended() {
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let (begun, begins) = mpsc::channel();
        let reply = fragile.ask(Unwrap(begun));
        stage.begin();
        if let Some(stepper) = stage.stepper {
            stepper.run();
        }
        begins.recv().unwrap();
        fragile.kill();
        assert!(stage.outcome(reply).is_err());
        assert!(matches!(
            stage.end_of(&fragile),
            StopReason::Panicked { .. } | StopReason::Killed
        ));
        assert_eq!(stopped.try_iter().count(), 1);
    });
}

/// Sleeps long, and takes it that nobody kills it.
struct Unwrap(mpsc::Sender<()>);

impl Handler<Unwrap> for Fragile {
    type Reply = ();

    fn handle(&mut self, Unwrap(begun): Unwrap, ctx: &mut Context<Self>) {
        begun.send(()).expect("the test waits");
        ctx.sleep(Duration::from_secs(1 << 20)).unwrap();
    }
}
