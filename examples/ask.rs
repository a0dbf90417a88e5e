//! Asking: one after another, pipelined, from inside a handler, and with an answer put off.
//!
//! ```sh
//! cargo run --example ask
//! ```

use greenroom::{
    Actor, Addr, AskError, Context, DeferredHandler, Handler, ReplyTo, System, wait_all,
};

/// Squares numbers.
struct Square;

impl Actor for Square {}

impl Handler<u64> for Square {
    type Reply = u64;

    fn handle(&mut self, n: u64, _: &mut Context<Self>) -> u64 {
        n * n
    }
}

/// Adds up squares, for which it asks another actor.
struct Sum {
    square: Addr<Square>,
}

impl Actor for Sum {}

struct SumOfSquares(u64);

impl Handler<SumOfSquares> for Sum {
    type Reply = Result<u64, AskError>;

    fn handle(&mut self, SumOfSquares(n): SumOfSquares, _: &mut Context<Self>) -> Self::Reply {
        // A plain loop with a wait in it. The wait parks this handler's stack; the worker
        // runs the other actor meanwhile, even if it is the only worker.
        (1..=n).map(|k| self.square.ask(k).wait()).sum()
    }
}

/// A desk where one asks for a key and gets it once somebody brings one.
#[derive(Default)]
struct Desk {
    waiting: Vec<ReplyTo<&'static str>>,
}

impl Actor for Desk {}

struct TakeKey;

impl DeferredHandler<TakeKey> for Desk {
    type Reply = &'static str;

    fn handle_deferred(&mut self, _: TakeKey, reply: ReplyTo<&'static str>, _: &mut Context<Self>) {
        self.waiting.push(reply);
    }
}

struct BringKey(&'static str);

impl Handler<BringKey> for Desk {
    type Reply = bool;

    fn handle(&mut self, BringKey(key): BringKey, _: &mut Context<Self>) -> bool {
        match self.waiting.pop() {
            Some(reply) => {
                reply.send(key);
                true
            }
            None => false,
        }
    }
}

fn main() -> Result<(), AskError> {
    let system = System::new();
    let square = system.spawn(Square);
    println!("7 squared is {}", square.ask(7).wait()?);

    // All are queued before the first is waited for.
    let replies: Vec<_> = (1..=5).map(|n| square.ask(n)).collect();
    let squares: Result<Vec<_>, _> = wait_all(replies).into_iter().collect();
    println!("the first squares are {:?}", squares?);

    let sum = system.spawn(Sum {
        square: square.clone(),
    });
    println!("they add up to {}", sum.ask(SumOfSquares(5)).wait()??);

    let desk = system.spawn(Desk::default());
    let key = desk.ask(TakeKey);
    println!("somebody waits: {}", desk.ask(BringKey("key 12")).wait()?);
    println!("the desk gives {}", key.wait()?);

    // An end is an answer too.
    let lost = desk.ask(TakeKey);
    desk.stop();
    match lost.wait() {
        Err(AskError::Stopped { reason }) => println!("no key any more: {reason}"),
        other => println!("unexpected: {other:?}"),
    }
    Ok(())
}
