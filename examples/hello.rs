//! The smallest whole program: an actor that counts.
//!
//! ```sh
//! cargo run --example hello
//! ```

use std::error::Error;

use greenroom::{Actor, Context, Handler, SendError, StopReason, System};

struct Counter {
    total: u64,
}

impl Actor for Counter {
    fn stopped(&mut self, reason: &StopReason, _: &mut Context<Self>) {
        println!("the counter ends at {}: {reason}", self.total);
    }
}

struct Add(u64);

impl Handler<Add> for Counter {
    type Reply = ();

    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) {
        self.total += n;
    }
}

struct Total;

impl Handler<Total> for Counter {
    type Reply = u64;

    fn handle(&mut self, _: Total, _: &mut Context<Self>) -> u64 {
        self.total
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let system = System::new();
    let counter = system.spawn(Counter { total: 0 });
    for n in 1..=10 {
        counter
            .send(Add(n))
            .map_err(|error: SendError<Add>| error.without_message())?;
    }
    println!("the total is {}", counter.ask(Total).wait()?);
    let report = system.shutdown(std::time::Duration::from_secs(5));
    println!("shutdown: {report}");
    Ok(())
}
