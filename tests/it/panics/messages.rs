//! Messages and answers that panic when they are dropped.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use greenroom::{
    Actor, Addr, AskError, Context, DeferredHandler, Handler, Overflow, ReplyTo, StopReason,
};

use super::{Fragile, Fused, Nap, Owe, Trip, Trouble, everywhere, letters, panicked, words_of};
use crate::support::Entry;

// Messages whose Drop panics.

#[test]
fn a_message_that_panics_when_its_handler_drops_it_ends_the_actor() {
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let reply = fragile.ask(Fused("handled"));
        stage.begin();
        assert_eq!(words_of(stage.outcome(reply)), "handled");
        assert_eq!(stage.end_of(&fragile), panicked("handled"));
        assert_eq!(stopped.try_iter().count(), 1);
    });
}

#[test]
fn messages_that_panic_when_they_are_discarded_are_dead_letters_like_others() {
    everywhere(|stage| {
        let feed = stage.system.dead_letters();
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let tripped = fragile.ask(Trip("before"));
        let mut queued = Vec::new();
        for number in 0..3 {
            fragile.send(Fused("discarded")).unwrap();
            queued.push(fragile.ask(Entry(number)));
        }
        let fused = fragile.ask(Fused("discarded"));
        stage.begin();
        assert_eq!(words_of(stage.outcome(tripped)), "before");
        for reply in queued {
            assert!(stage.outcome(reply).is_err());
        }
        assert!(stage.outcome(fused).is_err());
        assert_eq!(stage.end_of(&fragile), panicked("before"));
        assert_eq!(stopped.try_iter().count(), 1);
        assert_eq!(letters(&feed).len(), 8);
    });
}

#[test]
fn an_answer_that_lies_in_a_message_which_panics_when_it_is_discarded_is_an_error_at_the_asker() {
    struct Indebted(#[expect(dead_code, reason = "it is dropped with it")] ReplyTo<u64>);
    impl Drop for Indebted {
        fn drop(&mut self) {
            assert!(thread::panicking(), "with a debt in it");
        }
    }
    impl Handler<Indebted> for Fragile {
        type Reply = ();
        fn handle(&mut self, indebted: Indebted, _: &mut Context<Self>) {
            drop(indebted);
        }
    }
    struct Handing {
        to: Addr<Fragile>,
    }
    impl Actor for Handing {}
    impl DeferredHandler<Owe> for Handing {
        type Reply = u64;
        fn handle_deferred(&mut self, _: Owe, reply: ReplyTo<u64>, _: &mut Context<Self>) {
            let _ = self.to.send(Indebted(reply));
        }
    }

    everywhere(|stage| {
        let (fragile, _) = stage.fragile(Trouble::Nowhere);
        let handing = stage.system.spawn(Handing {
            to: fragile.clone(),
        });
        // On its way while the actor stops, or handled by it before.
        let reply = handing.ask(Owe);
        fragile.send(Nap(Duration::from_nanos(1))).unwrap();
        fragile.stop();
        stage.begin();
        assert!(stage.outcome(reply).is_err());
        stage.end_of(&fragile);
    });
    everywhere(|stage| {
        stage.begin();
        // The nap is over once the message is queued behind it, and not before.
        let (fragile, _) = stage.fragile(Trouble::Nowhere);
        let handing = stage.system.spawn(Handing {
            to: fragile.clone(),
        });
        let reply = handing.ask(Owe);
        fragile.send(Trip("before")).unwrap();
        assert!(stage.outcome(reply).is_err());
    });
}

#[test]
fn a_withdrawn_request_that_panics_when_it_is_dropped_is_cancelled_and_the_actor_goes_on() {
    everywhere(|stage| {
        let (fragile, _) = stage.fragile(Trouble::Nowhere);
        drop(fragile.ask(Fused("cancelled")));
        let after = fragile.ask(Entry(1));
        stage.begin();
        assert_eq!(stage.outcome(after).unwrap(), 1);
        assert_eq!(stage.system.snapshot().totals.cancelled, 1);
    });
}

#[test]
fn messages_that_panic_when_the_policy_drops_them_are_survived() {
    everywhere(|stage| {
        let fragile = stage
            .system
            .actor()
            .capacity(1)
            .overflow(Overflow::DropNewest)
            .spawn(Fragile::sound())
            .unwrap();
        let first = fragile.ask(Entry(1));
        fragile.send(Fused("dropped")).unwrap();
        let dropped = fragile.ask(Fused("dropped"));
        assert!(matches!(dropped.wait(), Err(AskError::DroppedByPolicy)));
        stage.begin();
        assert_eq!(stage.outcome(first).unwrap(), 1);
        assert_eq!(stage.system.snapshot().totals.dropped, 2);
    });
}

#[test]
fn requests_in_line_that_panic_when_they_are_discarded_are_survived() {
    everywhere(|stage| {
        let (fragile, stopped) = Fragile::new(Trouble::Nowhere);
        let fragile = stage.system.actor().capacity(1).spawn(fragile).unwrap();
        fragile.send(Fused("queued")).unwrap();
        let standing = [0, 1].map(|_| fragile.ask(Fused("in line")));
        fragile.kill();
        stage.begin();
        for reply in standing {
            assert!(stage.outcome(reply).is_err());
        }
        assert_eq!(stage.end_of(&fragile), StopReason::Killed);
        assert_eq!(stopped.try_iter().count(), 1);
    });
}

#[test]
fn answers_that_panic_when_nobody_wants_them_are_survived() {
    struct Maker;
    impl Actor for Maker {}
    struct Make;
    impl Handler<Make> for Maker {
        type Reply = Fused;
        fn handle(&mut self, _: Make, _: &mut Context<Self>) -> Fused {
            Fused("an unwanted answer")
        }
    }

    everywhere(|stage| {
        let maker = stage.system.spawn(Maker);
        maker.send(Make).unwrap();
        maker.stop();
        stage.begin();
        stage.end_of(&maker);
    });
}

// What a message carries.

#[test]
fn a_dead_letter_may_hold_the_address_of_its_own_actor() {
    #[expect(dead_code, reason = "it is held, not used")]
    struct Holding(Addr<Fragile>, Arc<()>);
    impl Handler<Holding> for Fragile {
        type Reply = ();
        fn handle(&mut self, holding: Holding, _: &mut Context<Self>) {
            drop(holding);
        }
    }

    everywhere(|stage| {
        let (fragile, _) = stage.fragile(Trouble::Nowhere);
        let traced = Arc::new(());
        fragile.send(Trip("with itself in its queue")).unwrap();
        for _ in 0..3 {
            fragile
                .send(Holding(fragile.clone(), traced.clone()))
                .unwrap();
        }
        let last = fragile.ask(Entry(1));
        drop(fragile);
        stage.begin();
        assert!(stage.outcome(last).is_err());
        assert_eq!(Arc::strong_count(&traced), 1);
    });
}
