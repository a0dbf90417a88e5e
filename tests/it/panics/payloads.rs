//! The words of a panic, and payloads that panic themselves.

use std::panic::panic_any;
use std::thread;

use greenroom::{Actor, Context, Handler, StopReason};

use super::{Fragile, Fused, Trouble, everywhere, words_of};

struct Odd(fn());

impl Handler<Odd> for Fragile {
    type Reply = ();

    fn handle(&mut self, Odd(panic): Odd, _: &mut Context<Self>) {
        panic();
    }
}

#[test]
fn the_words_of_a_panic_may_be_literal_or_made() {
    everywhere(|stage| {
        stage.begin();
        let ways: [fn(); 2] = [|| panic!("as is"), || panic!("{} {}", "as", "is")];
        for way in ways {
            let (fragile, _) = stage.fragile(Trouble::Nowhere);
            assert_eq!(words_of(stage.outcome(fragile.ask(Odd(way)))), "as is");
        }
    });
}

#[test]
fn a_panic_without_words_has_a_note_that_it_had_none() {
    everywhere(|stage| {
        let (fragile, _) = stage.fragile(Trouble::Nowhere);
        let reply = fragile.ask(Odd(|| panic_any(7_u8)));
        stage.begin();
        assert!(!words_of(stage.outcome(reply)).is_empty());
    });
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_is_survived() {
    everywhere(|stage| {
        let (fragile, stopped) = stage.fragile(Trouble::Nowhere);
        let reply = fragile.ask(Odd(|| panic_any(Fused("payload"))));
        stage.begin();
        assert!(!words_of(stage.outcome(reply)).is_empty());
        stage.end_of(&fragile);
        assert_eq!(stopped.try_iter().count(), 1);
    });
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_is_survived_in_hooks_too() {
    struct Evil(bool);
    impl Actor for Evil {
        fn started(&mut self, _: &mut Context<Self>) {
            if self.0 {
                panic_any(Fused("payload of started"));
            }
        }
        fn stopped(&mut self, _: &StopReason, _: &mut Context<Self>) {
            panic_any(Fused("payload of stopped"));
        }
    }
    impl Drop for Evil {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic_any(Fused("payload of drop"));
            }
        }
    }

    everywhere(|stage| {
        stage.begin();
        for in_started in [false, true] {
            let evil = stage.system.spawn(Evil(in_started));
            evil.stop();
            let reason = stage.end_of(&evil);
            assert_eq!(matches!(reason, StopReason::Panicked { .. }), in_started);
        }
    });
}
