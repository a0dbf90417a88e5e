//! Timers, and answers that are forwarded.

use std::panic::panic_any;
use std::time::Duration;

use greenroom::{Context, Handler, Overflow, StopReason, WaitError};

use super::{Fragile, Fused, Nap, Owe, Trip, Trouble, everywhere, panicked};
use crate::support::{Entry, Log};

// Timers.

/// Begins something with timers.
struct Begin<T>(T);

/// Fires once, and panics.
struct PanickingInterval;

impl Handler<Begin<PanickingInterval>> for Fragile {
    type Reply = ();

    fn handle(&mut self, _: Begin<PanickingInterval>, ctx: &mut Context<Self>) {
        let mut fired = false;
        ctx.interval(Duration::from_nanos(1), move || -> Entry {
            assert!(!fired, "the timer has ended");
            fired = true;
            panic!("in the interval's closure");
        });
        ctx.interval(Duration::from_nanos(1), || -> Entry {
            panic_any(Fused("the payload of an interval"));
        });
        let fused = Fused("what an interval holds");
        ctx.interval(Duration::from_nanos(1), move || -> Entry {
            let held = &fused;
            panic!("the closure holds {}", held.0);
        });
    }
}

#[test]
fn a_panic_in_the_closure_of_an_interval_ends_the_timer_and_nothing_else() {
    everywhere(|stage| {
        let (fragile, _) = stage.fragile(Trouble::Nowhere);
        fragile.send(Begin(PanickingInterval)).unwrap();
        stage.begin();
        // On a real clock the nap ends after the ticks, which were due before.
        let nap = stage.outcome(fragile.ask(Nap(Duration::from_millis(1))));
        nap.unwrap().unwrap();
        assert_eq!(stage.outcome(fragile.ask(Entry(1))).unwrap(), 1);
    });
}

/// Sets timers that will not fire.
struct FarTimers;

impl Handler<Begin<FarTimers>> for Fragile {
    type Reply = ();

    fn handle(&mut self, _: Begin<FarTimers>, ctx: &mut Context<Self>) {
        let far = Duration::from_secs(1 << 20);
        ctx.send_after(far, Fused("a message that never came"));
        let fused = Fused("what an interval holds");
        ctx.interval(far, move || {
            let held = &fused;
            Entry(held.0.len() as u64)
        });
        ctx.send_after(far, Fused("another"));
    }
}

#[test]
fn messages_of_timers_that_panic_when_their_actor_ends_are_survived() {
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let begun = fragile.ask(Begin(FarTimers));
        stage.begin();
        stage.outcome(begun).unwrap();
        fragile.stop();
        assert_eq!(stage.end_of(&fragile), StopReason::Stopped);
        assert_eq!(stopped.try_iter().count(), 1);
        assert_eq!(stage.system.snapshot().timers, 0);
    });
}

/// Fills the mailbox of one, and sets a timer that is due before there is room.
struct NearTimer;

impl Handler<Begin<NearTimer>> for Fragile {
    type Reply = Result<(), WaitError>;

    fn handle(&mut self, _: Begin<NearTimer>, ctx: &mut Context<Self>) -> Result<(), WaitError> {
        ctx.addr().try_send(Entry(1)).expect("the mailbox is empty");
        ctx.send_after(Duration::from_nanos(1), Fused("due"));
        ctx.sleep(Duration::from_millis(1))
    }
}

#[test]
fn messages_of_timers_that_panic_when_the_mailbox_has_no_room_for_them_are_survived() {
    everywhere(|stage| {
        for overflow in [Overflow::Reject, Overflow::DropNewest, Overflow::Block] {
            let fragile = stage
                .system
                .actor()
                .capacity(1)
                .overflow(overflow)
                .spawn(Fragile::sound())
                .unwrap();
            let begun = fragile.ask(Begin(NearTimer));
            stage.begin();
            stage.outcome(begun).unwrap().unwrap();
            fragile.stop();
            stage.end_of(&fragile);
        }
    });
}

/// A timer that is due while the actor drains.
struct DrainingTimer;

impl Handler<Begin<DrainingTimer>> for Fragile {
    type Reply = ();

    fn handle(&mut self, _: Begin<DrainingTimer>, ctx: &mut Context<Self>) {
        ctx.addr().drain();
        ctx.send_after(Duration::from_nanos(1), Fused("due while it drains"));
    }
}

#[test]
fn messages_of_timers_that_panic_when_their_actor_drains_are_survived() {
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        fragile.send(Begin(DrainingTimer)).unwrap();
        let nap = fragile.ask(Nap(Duration::from_millis(1)));
        stage.begin();
        stage.outcome(nap).unwrap().unwrap();
        assert_eq!(stage.end_of(&fragile), StopReason::Drained);
        assert_eq!(stopped.try_iter().count(), 1);
    });
}

// Forwarded answers.

#[test]
fn a_panic_in_what_makes_a_forwarded_message_does_not_touch_the_actor_that_answers() {
    everywhere(|stage| {
        let (fragile, _) = stage.fragile(Trouble::Nowhere);
        let log = stage.system.spawn(Log::default());
        fragile
            .ask(Entry(1))
            .forward(&log, |_| -> Entry { panic!("in the answerer") });
        let after = fragile.ask(Entry(2));
        stage.begin();
        assert_eq!(stage.outcome(after).unwrap(), 2);
    });
}

#[test]
fn a_panic_in_what_makes_a_forwarded_message_does_not_keep_an_actor_from_ending() {
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let log = stage.system.spawn(Log::default());
        fragile
            .ask(Owe)
            .forward(&log, |_| -> Entry { panic!("when a debt is dropped") });
        let owed = fragile.ask(Entry(1));
        stage.begin();
        stage.outcome(owed).unwrap();
        fragile.stop();
        assert_eq!(stage.end_of(&fragile), StopReason::Stopped);
        assert_eq!(stopped.try_iter().count(), 1);
    });
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let log = stage.system.spawn(Log::default());
        fragile.send(Trip("before")).unwrap();
        fragile
            .ask(Entry(1))
            .forward(&log, |_| -> Entry { panic!("when a request is discarded") });
        let queued = fragile.ask(Entry(2));
        stage.begin();
        assert!(stage.outcome(queued).is_err());
        assert_eq!(stage.end_of(&fragile), panicked("before"));
        assert_eq!(stopped.try_iter().count(), 1);
    });
}

#[test]
fn a_panic_in_what_makes_a_forwarded_message_costs_no_timer() {
    everywhere(|stage| {
        let fragile = stage
            .system
            .actor()
            .capacity(1)
            .overflow(Overflow::BlockFor(Duration::from_nanos(1)))
            .spawn(Fragile::sound())
            .unwrap();
        let log = stage.system.spawn(Log::default());
        let queued = fragile.ask(Entry(1));
        fragile
            .ask(Entry(2))
            .forward(&log, |_| -> Entry { panic!("when a request expires") });
        stage.advance();
        stage.begin();
        assert_eq!(stage.outcome(queued).unwrap(), 1);
    });
}
