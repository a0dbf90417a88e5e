//! What happens when a mailbox is full: the same burst under each policy, and the books after
//! it.
//!
//! The receiver waits for a gate before its first message, so each run overflows in the same way.
//!
//! ```sh
//! cargo run --example backpressure
//! ```

use std::time::Duration;

use greenroom::{
    Actor, Addr, Context, Counts, Handler, Overflow, Reply, ReplyTo, SendError, System,
};

/// Gives its answer when it is told to open.
#[derive(Default)]
struct Gate {
    waiting: Vec<ReplyTo<()>>,
    open: bool,
}

impl Actor for Gate {}

struct Pass;

impl greenroom::DeferredHandler<Pass> for Gate {
    type Reply = ();

    fn handle_deferred(&mut self, _: Pass, reply: ReplyTo<()>, _: &mut Context<Self>) {
        if self.open {
            reply.send(());
        } else {
            self.waiting.push(reply);
        }
    }
}

struct Open;

impl Handler<Open> for Gate {
    type Reply = ();

    fn handle(&mut self, _: Open, _: &mut Context<Self>) {
        self.open = true;
        self.waiting.drain(..).for_each(|reply| reply.send(()));
    }
}

/// Handles numbers once the gate is open.
struct Receiver {
    gate: Option<Reply<()>>,
    seen: Vec<u32>,
}

impl Actor for Receiver {}

impl Handler<u32> for Receiver {
    type Reply = ();

    fn handle(&mut self, number: u32, _: &mut Context<Self>) {
        if let Some(gate) = self.gate.take() {
            // Parks this handler's stack; the mailbox fills meanwhile.
            gate.wait().expect("the gate opens");
        }
        self.seen.push(number);
    }
}

struct Seen;

impl Handler<Seen> for Receiver {
    type Reply = Vec<u32>;

    fn handle(&mut self, _: Seen, _: &mut Context<Self>) -> Vec<u32> {
        self.seen.clone()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policies = [
        Overflow::Reject,
        Overflow::DropNewest,
        Overflow::BlockFor(Duration::from_millis(20)),
        Overflow::Block,
    ];
    for policy in policies {
        run(policy)?;
    }
    Ok(())
}

/// Sends eight numbers to a mailbox for four.
fn run(policy: Overflow) -> Result<(), Box<dyn std::error::Error>> {
    let system = System::new();
    let gate = system.spawn(Gate::default());
    let receiver = system
        .actor()
        .capacity(4)
        .overflow(policy)
        .spawn(Receiver {
            gate: Some(gate.ask(Pass)),
            seen: Vec::new(),
        })?;
    // The first number is in hand, and waits, before the burst begins.
    receiver.send(0).map_err(|error| error.without_message())?;
    while receiver_is_idle(&system) {
        std::thread::yield_now();
    }
    let mut refused = Vec::new();
    for number in 1..=8 {
        if policy == Overflow::Block && number == 5 {
            // The next one would wait for room for ever: let the receiver go on first.
            gate.ask(Open).wait()?;
        }
        match receiver.send(number) {
            Ok(()) => {}
            // The number comes back.
            Err(SendError::Full(number) | SendError::TimedOut(number)) => refused.push(number),
            Err(error) => return Err(error.without_message().into()),
        }
    }
    gate.ask(Open).wait()?;
    println!("{policy:?}");
    // The mailbox has room for a question when it is empty.
    while books(&system, &receiver).is_some_and(|books| books.queued > 0) {
        std::thread::yield_now();
    }
    let handled = receiver.ask(Seen).wait()?;
    println!("  handled {handled:?}, came back {refused:?}");
    if let Some(books) = books(&system, &receiver) {
        println!("  {books}");
    }
    Ok(())
}

fn books(system: &System, receiver: &Addr<Receiver>) -> Option<Counts> {
    let actors = system.snapshot().actors;
    let receiver = actors.iter().find(|actor| actor.id == receiver.id());
    receiver.map(|actor| actor.counts)
}

fn receiver_is_idle(system: &System) -> bool {
    let snapshot = system.snapshot();
    !snapshot
        .actors
        .iter()
        .any(|actor| matches!(actor.state, greenroom::ActorState::Waiting { .. }))
}
