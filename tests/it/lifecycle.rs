//! The life of an actor: its spawn, its hooks, its addresses, and each way in which it ends.

mod endings;
mod identity;
mod references;
mod spawns;
mod threads;

use std::sync::mpsc;

use greenroom::{Actor, Addr, Context, Handler, StopReason, System};

/// What happened to an actor.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Event {
    Started,
    Handled(u64),
    Stopped(StopReason),
    Dropped,
}

/// An actor that tells what happens to it.
struct Told {
    events: mpsc::Sender<Event>,
}

/// Where it tells so.
struct Events(mpsc::Receiver<Event>);

impl Events {
    fn all(&self) -> Vec<Event> {
        self.0.try_iter().collect()
    }
}

fn told() -> (Told, Events) {
    let (events, told) = mpsc::channel();
    (Told { events }, Events(told))
}

impl Told {
    fn tell(&self, event: Event) {
        // A test that has failed no longer listens.
        let _ = self.events.send(event);
    }
}

impl Actor for Told {
    fn started(&mut self, _: &mut Context<Self>) {
        self.tell(Event::Started);
    }

    fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
        self.tell(Event::Stopped(reason.clone()));
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell(Event::Dropped);
    }
}

/// A message that is told by its number.
struct Do(u64);

impl Handler<Do> for Told {
    type Reply = u64;

    fn handle(&mut self, Do(number): Do, _: &mut Context<Self>) -> u64 {
        self.tell(Event::Handled(number));
        number
    }
}

/// Has something done in the handler.
struct Act<R>(Scene<R>);

type Scene<R> = Box<dyn FnOnce(&mut Context<Told>) -> R + Send>;

fn act<R>(action: impl FnOnce(&mut Context<Told>) -> R + Send + 'static) -> Act<R> {
    Act(Box::new(action))
}

impl<R: Send + 'static> Handler<Act<R>> for Told {
    type Reply = R;

    fn handle(&mut self, Act(action): Act<R>, ctx: &mut Context<Self>) -> R {
        action(ctx)
    }
}

/// All that happens to an actor which handles these messages and ends for this reason.
fn life(handled: impl IntoIterator<Item = u64>, reason: StopReason) -> Vec<Event> {
    let mut life = vec![Event::Started];
    life.extend(handled.into_iter().map(Event::Handled));
    life.extend([Event::Stopped(reason), Event::Dropped]);
    life
}

fn spawn(system: &System) -> (Addr<Told>, Events) {
    let (actor, events) = told();
    (system.spawn(actor), events)
}
