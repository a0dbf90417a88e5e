//! An evening at a booking office whose people wait for each other all the time: for answers,
//! for room, for time, for an end, for a future, for a thread; and once in a circle, by mistake.
//!
//! ```sh
//! cargo run --example waiting
//! ```

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_channel::oneshot;
use greenroom::{Actor, Addr, AskError, Awaited, Context, Handler, System, WaitError, wait_all};
use tokio::runtime::{Handle, Runtime};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

// Before the office opens: ten thousand guests.

struct Guest;
impl Actor for Guest {}

struct Enter(oneshot::Receiver<()>);
impl Handler<Enter> for Guest {
    type Reply = bool;
    fn handle(&mut self, Enter(door): Enter, ctx: &mut Context<Self>) -> bool {
        matches!(ctx.wait(door), Ok(Ok(())))
    }
}

fn queue_at_the_door() -> Outcome<()> {
    let system = System::builder().workers(2).build()?;
    // On Linux, each thread has a file here.
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let before = threads();
    let (doors, entered): (Vec<_>, Vec<_>) = (0..10_000)
        .map(|_| {
            let (open, door) = oneshot::channel();
            (open, system.spawn(Guest).ask(Enter(door)))
        })
        .unzip();
    let waiting = || -> usize {
        let workers = system.snapshot().workers;
        workers.iter().map(|worker| worker.parked_stacks).sum()
    };
    while waiting() < doors.len() {
        std::thread::yield_now();
    }
    println!("guests who wait at the door: {}", waiting());
    println!("threads of the process: {before} before, {} now", threads());
    for door in doors {
        door.send(()).expect("the guest waits");
    }
    let came_in = wait_all(entered)
        .into_iter()
        .filter(|came| matches!(came, Ok(true)));
    println!("guests who came in: {}\n", came_in.count());
    Ok(())
}

// The office: a clerk, a ledger of seats and prices, a slow printer.

struct Clerk {
    ledger: Addr<Ledger>,
    printer: Addr<Printer>,
    printed: Arc<AtomicUsize>,
    tokio: Handle,
    sold: usize,
}
impl Actor for Clerk {}

struct Sell(usize, oneshot::Receiver<usize>, Duration);
impl Handler<Sell> for Clerk {
    type Reply = Outcome<String>;
    fn handle(&mut self, sale: Sell, ctx: &mut Context<Self>) -> Self::Reply {
        let Sell(count, payment, patience) = sale;
        // Two asks before two waits: the ledger handles both in one turn.
        let seats = self.ledger.ask(Reserve(count));
        let price = self.ledger.ask(PriceOf(count));
        let (seats, price) = (seats.wait()?, price.wait()?);
        // A channel of another crate, under a timeout of tokio. No runtime runs this handler.
        let payment = async { tokio::time::timeout(patience, payment).await };
        let Ok(paid) = ctx.wait(in_tokio(&self.tokio, payment))? else {
            return Ok(format!("{seats:?}: not paid in time"));
        };
        let change = paid?.saturating_sub(price);

        // The printer's mailbox has room for one ticket. This loop is as fast as the printer,
        // and `self` is ours across all of its waits.
        let mut ahead = 0;
        for seat in seats.clone() {
            self.printer
                .send(Ticket(seat))
                .map_err(|error| error.without_message())?;
            self.sold += 1;
            ahead = ahead.max(self.sold - self.printed.load(SeqCst));
        }
        Ok(format!(
            "{seats:?}: change {change}; {ahead} ahead of the printer at most"
        ))
    }
}

/// Enters tokio's runtime around each poll, not across the waits in between.
fn in_tokio<F: Future>(handle: &Handle, future: F) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        let _entered = handle.enter();
        future.as_mut().poll(cx)
    })
}

struct Printer {
    roll: String,
    printed: Arc<AtomicUsize>,
}
impl Actor for Printer {}

struct Ticket(usize);
impl Handler<Ticket> for Printer {
    type Reply = Result<(), WaitError>;
    fn handle(&mut self, Ticket(seat): Ticket, ctx: &mut Context<Self>) -> Self::Reply {
        // What takes long, or blocks, borrows from the actor and runs on a thread for that.
        ctx.blocking(|| self.roll.push_str(&format!("[seat {seat}]")))?;
        ctx.sleep(Duration::from_millis(1))?;
        self.printed.fetch_add(1, SeqCst);
        Ok(())
    }
}

#[derive(Default)]
struct Ledger {
    reserved: usize,
}
impl Actor for Ledger {}

struct Reserve(usize);
impl Handler<Reserve> for Ledger {
    type Reply = Range<usize>;
    fn handle(&mut self, Reserve(seats): Reserve, _: &mut Context<Self>) -> Range<usize> {
        self.reserved += seats;
        self.reserved - seats..self.reserved
    }
}

struct PriceOf(usize);
impl Handler<PriceOf> for Ledger {
    type Reply = usize;
    fn handle(&mut self, PriceOf(seats): PriceOf, _: &mut Context<Self>) -> usize {
        12 * seats
    }
}

// A circle: to close the day, the clerk asks the ledger, which asks the clerk.

struct CloseDay(oneshot::Receiver<()>);
impl Handler<CloseDay> for Clerk {
    type Reply = Outcome<String>;
    fn handle(&mut self, CloseDay(key): CloseDay, ctx: &mut Context<Self>) -> Self::Reply {
        self.printer.drain();
        let (reason, clerk) = (self.printer.join()?, ctx.addr());
        let unpaid = match self.ledger.ask(Audit { clerk, key }).wait()? {
            Err(AskError::WouldDeadlock { path }) => {
                println!("the ledger could not ask the clerk:");
                for edge in path.edges() {
                    println!("  {} waits for {}", edge.waiter, edge.awaited);
                }
                // What the ledger would ask for can as well come with the request.
                self.ledger.ask(Unpaid(self.sold)).wait()?
            }
            outcome => outcome?,
        };
        Ok(format!(
            "{unpaid} seats not paid for; the printer ended: {reason}"
        ))
    }
}

struct Audit {
    clerk: Addr<Clerk>,
    key: oneshot::Receiver<()>,
}
impl Handler<Audit> for Ledger {
    type Reply = Result<usize, AskError>;
    fn handle(&mut self, audit: Audit, ctx: &mut Context<Self>) -> Self::Reply {
        let _unlocked = ctx.wait(audit.key)?;
        Ok(self.reserved - audit.clerk.ask(Sold).wait()?)
    }
}

struct Sold;
impl Handler<Sold> for Clerk {
    type Reply = usize;
    fn handle(&mut self, _: Sold, _: &mut Context<Self>) -> usize {
        self.sold
    }
}

struct Unpaid(usize);
impl Handler<Unpaid> for Ledger {
    type Reply = usize;
    fn handle(&mut self, Unpaid(sold): Unpaid, _: &mut Context<Self>) -> usize {
        self.reserved - sold
    }
}

fn main() -> Outcome<()> {
    queue_at_the_door()?;
    let tokio = Runtime::new()?;
    let system = System::builder().workers(2).build()?;
    let printed = Arc::new(AtomicUsize::new(0));
    let clerk = system.actor().name("clerk").spawn(Clerk {
        ledger: system.actor().name("ledger").spawn(Ledger::default())?,
        printer: system.actor().capacity(1).spawn(Printer {
            roll: String::new(),
            printed: printed.clone(),
        })?,
        printed,
        tokio: tokio.handle().clone(),
        sold: 0,
    })?;

    let (pay, payment) = oneshot::channel();
    let class = clerk.ask(Sell(20, payment, Duration::from_secs(60)));
    let (_hesitates, payment) = oneshot::channel();
    let pair = clerk.ask(Sell(2, payment, Duration::from_millis(1)));
    pay.send(250).expect("the clerk waits for the payment");
    println!("seats {}\nseats {}\n", class.wait()??, pair.wait()??);

    let (unlock, key) = oneshot::channel();
    let closed = clerk.ask(CloseDay(key));
    // The clerk waits for the ledger, and that one for the key.
    let waits = loop {
        match system.waits() {
            waits if waits.len() == 2 && waits[0].awaited == Awaited::Future => break waits,
            _ => std::thread::yield_now(),
        }
    };
    println!("waits at the end of the day:");
    for wait in waits {
        println!("  {} waits for {}", wait.actor, wait.awaited);
    }
    unlock.send(()).expect("the ledger waits for the key");
    println!("{}", closed.wait()??);
    println!("office: {}", system.shutdown(Duration::from_secs(5)));
    Ok(())
}
