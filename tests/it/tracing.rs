//! Spans for whoever listens: of an actor's life, and of each message that it handles.
//!
//! A subscriber is set for the test's own thread only, on which a stepped system runs. It is the
//! only one in its process: `tracing` asks whichever thread comes to a span first whether
//! anybody wants it, so threads of other tests would answer for this one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{Addr, Context, StopReason};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber, info_span};
use tracing_subscriber::layer::{Context as LayerContext, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Borrow, Debtor, Note, PATIENCE, Pay, Player, act, alone, end_of, pool};

const SECOND: Duration = Duration::from_secs(1);

/// A span that was recorded.
#[derive(Clone, Debug, Default)]
struct Recorded {
    name: &'static str,
    fields: HashMap<&'static str, String>,
    parent: Option<u64>,
    follows_from: Vec<u64>,
    is_closed: bool,
}

/// Something that happened to a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Enter(u64),
    Exit(u64),
}

#[derive(Default)]
struct Notes {
    spans: HashMap<u64, Recorded>,
    /// In order of their beginning.
    order: Vec<u64>,
    steps: Vec<Step>,
    events: Vec<String>,
}

/// Writes down what it hears, up to a level.
#[derive(Clone)]
struct Listener {
    level: Level,
    notes: Arc<Mutex<Notes>>,
}

impl Listener {
    fn new(level: Level) -> Self {
        Self {
            level,
            notes: Arc::default(),
        }
    }

    /// Runs a stepped system while it listens; the seed makes no difference to the claims.
    fn while_stepping(&self, seed: u64, test: impl FnOnce(&Stepper)) {
        let subscriber = tracing_subscriber::registry().with(self.clone());
        tracing::subscriber::with_default(subscriber, || test(&Stepper::new(seed)));
    }

    fn spans(&self, name: &str) -> Vec<(u64, Recorded)> {
        let notes = self.notes.lock().unwrap();
        let spans = notes.order.iter().map(|id| (*id, notes.spans[id].clone()));
        spans.filter(|(_, span)| span.name == name).collect()
    }

    /// The only span of this name.
    fn span(&self, name: &str) -> (u64, Recorded) {
        let mut spans = self.spans(name);
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.remove(0)
    }

    /// The spans of messages of this type.
    fn handled(&self, message: &str) -> Vec<(u64, Recorded)> {
        let mut spans = self.spans("handle");
        spans.retain(|(_, span)| span.fields["message_type"].contains(message));
        spans
    }

    /// What happened to these spans, in order.
    fn steps(&self, of: &[u64]) -> Vec<Step> {
        let notes = self.notes.lock().unwrap();
        let concerns = |step: &&Step| match step {
            Step::Enter(id) | Step::Exit(id) => of.contains(id),
        };
        notes.steps.iter().filter(concerns).copied().collect()
    }

    fn has_heard(&self, words: &str) -> bool {
        let notes = self.notes.lock().unwrap();
        notes.events.iter().any(|event| event.contains(words))
    }

    fn check_that_all_is_left_and_closed(&self) {
        let notes = self.notes.lock().unwrap();
        let mut entered: Vec<u64> = Vec::new();
        for step in &notes.steps {
            match step {
                Step::Enter(id) => entered.push(*id),
                Step::Exit(id) => assert_eq!(entered.pop(), Some(*id), "it was the inner one"),
            }
        }
        assert_eq!(entered, [], "every span is left");
        for (id, span) in &notes.spans {
            assert!(span.is_closed, "{id}: {span:?}");
        }
    }
}

struct Fields<'a>(&'a mut HashMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Listener {
    fn enabled(&self, metadata: &Metadata<'_>, _: LayerContext<'_, S>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: LayerContext<'_, S>) {
        let mut span = Recorded {
            name: attributes.metadata().name(),
            parent: ctx
                .span(id)
                .and_then(|span| span.parent())
                .map(|parent| parent.id().into_u64()),
            ..Recorded::default()
        };
        attributes.record(&mut Fields(&mut span.fields));
        let mut notes = self.notes.lock().unwrap();
        notes.order.push(id.into_u64());
        let before = notes.spans.insert(id.into_u64(), span);
        assert!(before.is_none(), "the registry gives each span its own id");
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: LayerContext<'_, S>) {
        let mut notes = self.notes.lock().unwrap();
        let span = notes.spans.get_mut(&id.into_u64());
        values.record(&mut Fields(&mut span.expect("it has begun").fields));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: LayerContext<'_, S>) {
        let mut notes = self.notes.lock().unwrap();
        let span = notes.spans.get_mut(&id.into_u64());
        span.expect("it has begun")
            .follows_from
            .push(follows.into_u64());
    }

    fn on_event(&self, event: &Event<'_>, _: LayerContext<'_, S>) {
        let mut fields = HashMap::new();
        event.record(&mut Fields(&mut fields));
        let mut notes = self.notes.lock().unwrap();
        notes.events.push(format!("{fields:?}"));
    }

    fn on_enter(&self, id: &Id, _: LayerContext<'_, S>) {
        let mut notes = self.notes.lock().unwrap();
        notes.steps.push(Step::Enter(id.into_u64()));
    }

    fn on_exit(&self, id: &Id, _: LayerContext<'_, S>) {
        let mut notes = self.notes.lock().unwrap();
        notes.steps.push(Step::Exit(id.into_u64()));
    }

    fn on_close(&self, id: Id, _: LayerContext<'_, S>) {
        let mut notes = self.notes.lock().unwrap();
        let span = notes.spans.get_mut(&id.into_u64());
        span.expect("it has begun").is_closed = true;
    }
}

fn is_closed(listener: &Listener, name: &str) -> bool {
    listener.span(name).1.is_closed
}

#[test]
fn an_actors_life_is_a_span_from_its_spawn_to_its_end() {
    alone(|| {
        let listener = Listener::new(Level::DEBUG);
        listener.while_stepping(1, |stepper| {
            let player = stepper.system().actor().name("nell");
            let player = player.spawn(Player::default()).unwrap();
            let (_, span) = listener.span("actor");
            assert_eq!(span.fields["id"], player.id().to_string());
            assert!(span.fields["name"].contains("nell"));
            assert!(span.fields["actor_type"].contains("Player"));
            player.send(Note(1)).unwrap();
            stepper.run();
            assert!(!is_closed(&listener, "actor"));
            player.stop();
            assert_eq!(end_of(&player), StopReason::Stopped);
            assert!(is_closed(&listener, "actor"));
            // That level hears of no messages.
            assert_eq!(listener.spans("handle").len(), 0);
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn each_message_is_handled_in_a_span_of_its_own_within_the_actors() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(2, |stepper| {
            let player = stepper.system().spawn(Player::default());
            player.send(Note(1)).unwrap();
            player.ask(Note(2)).wait().unwrap();
            let inside = player.ask(act(|_, _| {
                let current = tracing::Span::current();
                current.id().map(|id| id.into_u64())
            }));
            let inside = inside.wait().unwrap();
            player.stop();
            end_of(&player);
            let (life, _) = listener.span("actor");
            let spans = listener.spans("handle");
            assert_eq!(spans.len(), 3);
            for (id, span) in &spans {
                assert_eq!(span.fields["actor"], player.id().to_string());
                assert_eq!(span.parent, Some(life));
                assert_eq!(listener.steps(&[*id]), [Step::Enter(*id), Step::Exit(*id)]);
            }
            assert_eq!(listener.handled("Note").len(), 2);
            assert_eq!(
                inside,
                Some(spans[2].0),
                "it is the current one in the handler"
            );
        });
        listener.check_that_all_is_left_and_closed();
    });
}

/// More than lies in an envelope.
struct Large([u64; 32]);

impl greenroom::Handler<Large> for Player {
    type Reply = u64;

    fn handle(&mut self, Large(numbers): Large, _: &mut greenroom::Context<Self>) -> u64 {
        numbers.iter().sum()
    }
}

#[test]
fn the_span_of_a_message_follows_from_the_senders() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(3, |stepper| {
            let player = stepper.system().spawn(Player::default());
            let caller = info_span!("caller");
            let caller_id = caller.id().expect("somebody listens").into_u64();
            let large = caller.in_scope(|| {
                player.send(Note(1)).unwrap();
                player.try_send(Note(2)).unwrap();
                player.send_for(Note(3), SECOND).unwrap();
                player.recipient().send(Note(4)).unwrap();
                player.ask(Large([1; 32]))
            });
            // The stepping thread is in no span now.
            assert_eq!(large.wait().unwrap(), 32);
            player.send(Note(5)).unwrap();
            stepper.run();
            let notes = listener.handled("Note");
            assert_eq!(notes.len(), 5);
            for (_, note) in &notes[..4] {
                assert_eq!(note.follows_from, [caller_id]);
            }
            assert_eq!(notes[4].1.follows_from, []);
            assert_eq!(listener.handled("Large")[0].1.follows_from, [caller_id]);
            player.stop();
            end_of(&player);
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn what_a_handler_sends_follows_from_the_handlers_span() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(4, |stepper| {
            let [player, other] = [0, 1].map(|_| stepper.system().spawn(Player::default()));
            let to = other.clone();
            let relay = player.ask(act(move |_, _| {
                to.send(Note(1)).expect("there is room");
                to.ask(Note(2)).wait().expect("it is noted");
            }));
            relay.wait().unwrap();
            let (relay, _) = listener.handled("Act")[0];
            let notes = listener.handled("Note");
            assert_eq!(notes.len(), 2);
            for (_, note) in &notes {
                assert_eq!(note.follows_from, [relay]);
            }
            for player in [player, other] {
                player.stop();
                end_of(&player);
            }
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn a_handler_that_waits_leaves_its_span_and_enters_it_again() {
    alone(|| {
        for seed in 0..20 {
            let listener = Listener::new(Level::TRACE);
            listener.while_stepping(seed, |stepper| {
                let debtor = stepper.system().spawn(Debtor::default());
                let player = stepper.system().spawn(Player::default());
                let asked = debtor.clone();
                let waiter = player.ask(act(move |_, ctx| {
                    let before = tracing::Span::current().id();
                    let answer = asked.ask(Borrow).wait().expect("it is paid");
                    ctx.sleep(SECOND).expect("nobody ends the sleep");
                    assert_eq!(tracing::Span::current().id(), before);
                    answer
                }));
                stepper.run();
                // While it is parked nobody's span is entered.
                assert!(tracing::Span::current().is_none());
                debtor.send(Pay(5)).unwrap();
                assert_eq!(waiter.wait().unwrap(), 5);
                let (waiter, _) = listener.handled("Act")[0];
                let (payer, _) = listener.handled("Pay")[0];
                let expected = [
                    Step::Enter(waiter),
                    Step::Exit(waiter),
                    Step::Enter(payer),
                    Step::Exit(payer),
                    Step::Enter(waiter),
                    Step::Exit(waiter),
                    Step::Enter(waiter),
                    Step::Exit(waiter),
                ];
                assert_eq!(
                    listener.steps(&[waiter, payer]),
                    expected,
                    "with seed {seed}"
                );
                player.stop();
                debtor.stop();
                end_of(&player);
                end_of(&debtor);
            });
            listener.check_that_all_is_left_and_closed();
        }
    });
}

#[test]
fn a_span_of_the_handlers_own_is_entered_again_with_it() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(5, |stepper| {
            let [player, other] = [0, 1].map(|_| stepper.system().spawn(Player::default()));
            let slept = player.ask(act(|_, ctx| {
                ctx.sleep(SECOND).expect("nobody ends the sleep");
                info_span!("after").in_scope(|| tracing::Span::current().id().is_some())
            }));
            stepper.run();
            let inside = other.ask(act(|_, _| {
                tracing::Span::current().id().map(|id| id.into_u64())
            }));
            let inside = inside.wait().unwrap();
            assert_eq!(inside, Some(listener.handled("Act")[1].0));
            assert!(slept.wait().unwrap());
            let (waiter, _) = listener.handled("Act")[0];
            assert_eq!(listener.span("after").1.parent, Some(waiter));
            for player in [player, other] {
                player.stop();
                end_of(&player);
            }
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn each_poll_of_a_future_is_within_the_span_of_its_handler() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(6, |stepper| {
            let [player, echo] = [0, 1].map(|_| stepper.system().spawn(Player::default()));
            let polled = player.ask(act(move |_, ctx| {
                let mut polls = Vec::new();
                ctx.wait(std::future::poll_fn(|cx| {
                    // The second poll waits in turn, which leaves the span and enters it again.
                    if polls.len() == 1 {
                        echo.ask(Note(1)).wait().expect("it is noted");
                    }
                    polls.push(tracing::Span::current().id().map(|id| id.into_u64()));
                    if polls.len() == 3 {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }))
                .expect("nobody ends the wait");
                polls
            }));
            let polls = polled.wait().unwrap();
            let (waiter, _) = listener.handled("Act")[0];
            assert_eq!(polls, [Some(waiter); 3]);
            let passes = [Step::Enter(waiter), Step::Exit(waiter)];
            assert_eq!(listener.steps(&[waiter]), [passes; 4].concat());
            player.stop();
            end_of(&player);
        });
        listener.check_that_all_is_left_and_closed();
    });
}

/// Has a handler block; whether the closure was within the span that was current there.
fn blocks_in_its_span(ctx: &mut Context<Player>) -> bool {
    let here = tracing::Span::current().id();
    let there = ctx.blocking(|| tracing::Span::current().id());
    here.is_some() && there == Ok(here)
}

#[test]
fn a_closure_that_blocks_is_within_the_span_of_its_handler_in_a_step() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(7, |stepper| {
            let player = stepper.system().spawn(Player::default());
            let blocked = player.ask(act(|_, ctx| blocks_in_its_span(ctx)));
            assert!(blocked.wait().unwrap());
            player.stop();
            end_of(&player);
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn a_closure_that_blocks_is_within_the_span_of_its_handler_on_another_thread() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        let subscriber = tracing_subscriber::registry().with(listener.clone());
        tracing::subscriber::set_global_default(subscriber).expect("it is the only one");
        let system = pool(2);
        let player = system.spawn(Player::default());
        for _ in 0..10 {
            let blocked = player.ask(act(|_, ctx| {
                blocks_in_its_span(ctx) && info_span!("own").in_scope(|| blocks_in_its_span(ctx))
            }));
            assert!(blocked.wait_for(PATIENCE).unwrap());
        }
        player.stop();
        end_of(&player);
        assert_eq!(system.snapshot().blocking.threads, 1);
        assert!(system.shutdown(SECOND).is_clean());
        let own = listener.spans("own").into_iter().map(|(id, _)| id);
        let of_own = listener.steps(&own.collect::<Vec<_>>());
        let enters = of_own.iter().filter(|step| matches!(step, Step::Enter(_)));
        assert_eq!((of_own.len(), enters.count()), (40, 20));
    });
}

#[test]
fn a_panic_leaves_the_span_and_is_reported() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(6, |stepper| {
            let player = stepper.system().spawn(Player::default());
            player.send(act(|_, _| panic!("a word"))).unwrap();
            assert!(matches!(end_of(&player), StopReason::Panicked { .. }));
            assert!(tracing::Span::current().is_none());
            assert!(listener.has_heard("a word"));
            // After a wait, too.
            let player = stepper.system().spawn(Player::default());
            let panics = act(|_, ctx| {
                ctx.sleep(SECOND).expect("nobody ends the sleep");
                panic!("another word")
            });
            player.send(panics).unwrap();
            assert!(matches!(end_of(&player), StopReason::Panicked { .. }));
            assert!(listener.has_heard("another word"));
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn losses_and_ends_are_reported() {
    alone(|| {
        let listener = Listener::new(Level::DEBUG);
        listener.while_stepping(7, |stepper| {
            let player = stepper.system().spawn(Player::default());
            player.send(Note(1)).unwrap();
            player.stop();
            end_of(&player);
            assert!(listener.has_heard("dead letter"));
            assert!(listener.has_heard("an actor ended"));
            let player = stepper
                .system()
                .spawn(Player::ending_with(|_, _| panic!("last word")));
            player.stop();
            assert_eq!(end_of(&player), StopReason::Stopped);
            assert!(listener.has_heard("last word"));
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn a_message_that_was_sent_in_a_span_is_the_same_when_it_comes_back() {
    alone(|| {
        let listener = Listener::new(Level::TRACE);
        listener.while_stepping(8, |stepper| {
            let options = stepper.system().actor().capacity(1);
            let player: Addr<Player> = options.spawn(Player::default()).unwrap();
            info_span!("caller").in_scope(|| {
                player.try_send(Note(1)).unwrap();
                let back = player.try_send(Note(2)).map_err(|error| error.into_inner());
                assert!(matches!(back, Err(Note(2))));
                player.stop();
                let back = player.send(Note(3)).map_err(|error| error.into_inner());
                assert!(matches!(back, Err(Note(3))));
            });
            end_of(&player);
        });
        listener.check_that_all_is_left_and_closed();
    });
}

#[test]
fn a_listener_to_important_things_only_hears_of_no_message_and_no_life() {
    alone(|| {
        let listener = Listener::new(Level::INFO);
        listener.while_stepping(9, |stepper| {
            let player = stepper.system().spawn(Player::default());
            info_span!("caller").in_scope(|| player.send(Note(1)).unwrap());
            stepper.run();
            player.stop();
            end_of(&player);
        });
        assert_eq!(
            listener.spans("actor").len() + listener.spans("handle").len(),
            0
        );
        listener.check_that_all_is_left_and_closed();
    });
}
