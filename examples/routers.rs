//! Routers: one address for several actors, by turn, by load, by key, and all of them at once.
//!
//! ```sh
//! cargo run --example routers
//! ```

use greenroom::{
    Actor, Addr, AskError, Asker, Broadcast, Context, DeferredHandler, Handler, Recipient, ReplyTo,
    Router, SendError, System,
};

/// A clerk at a counter.
struct Clerk {
    name: &'static str,
    parcels: Vec<&'static str>,
}

impl Actor for Clerk {}

/// Something to be posted.
#[derive(Clone)]
struct Parcel {
    to: &'static str,
}

impl Handler<Parcel> for Clerk {
    type Reply = &'static str;

    fn handle(&mut self, parcel: Parcel, _: &mut Context<Self>) -> &'static str {
        self.parcels.push(parcel.to);
        self.name
    }
}

/// Who has a parcel to this place?
#[derive(Clone)]
struct Search(&'static str);

impl DeferredHandler<Search> for Clerk {
    type Reply = &'static str;

    fn handle_deferred(
        &mut self,
        search: Search,
        reply: ReplyTo<&'static str>,
        _: &mut Context<Self>,
    ) {
        // Dropped unanswered, the reply is a failure; then the others' answers count.
        if self.parcels.contains(&search.0) {
            reply.send(self.name);
        }
    }
}

/// The post office closes.
#[derive(Clone)]
struct Close;

impl Handler<Close> for Clerk {
    type Reply = ();

    fn handle(&mut self, _: Close, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

fn clerk(name: &'static str) -> Clerk {
    Clerk {
        name,
        parcels: Vec::new(),
    }
}

fn main() -> Result<(), AskError> {
    let system = System::new();
    let clerks = ["ada", "ben", "cleo"].map(|name| system.spawn(clerk(name)));

    // A router is an address like any other: here one that answers.
    let in_turn: Asker<Parcel, &str> = Router::round_robin().asker(clerks.iter().map(Addr::asker));
    for to in ["Rome", "Oslo", "Lima", "Kyiv"] {
        println!("to {to}: taken by {}", in_turn.ask(Parcel { to }).wait()?);
    }

    // The same place has the same clerk, and the places of a clerk who leaves move to the others.
    let by_place: Asker<Parcel, &str> =
        Router::by_key(|parcel: &Parcel| parcel.to).asker(clerks.iter().map(Addr::asker));
    let places = ["Bonn", "Cairo", "Delhi", "Lyon", "Minsk", "Turin"];
    let taken = |to| by_place.ask(Parcel { to }).wait();
    let before = places.map(taken);
    let again = places.map(taken);
    println!("the same clerks again: {}", same(&before, &again) == 6);
    clerks[1].drain();
    let after = places.map(taken);
    let bens = before.iter().filter(|name| matches!(name, Ok("ben")));
    println!(
        "only ben's places move: {}",
        same(&before, &after) + bens.count() == 6
    );

    // All are asked, and the first who has an answer gives it.
    let anybody: Asker<Search, &str> = Router::broadcast().asker(clerks.iter().map(Addr::asker));
    println!(
        "the parcel to Lima: {}",
        anybody.ask(Search("Lima")).wait()?
    );
    if let Err(error) = anybody.ask(Search("Atlantis")).wait() {
        println!("the parcel to Atlantis: {error}");
    }

    // What became of each copy.
    let all = Broadcast::new(clerks.iter().map(Addr::recipient));
    for (clerk, sent) in ["ada", "ben", "cleo"].iter().zip(all.send(Close)) {
        match sent {
            Ok(()) => println!("{clerk} closes"),
            Err(error) => println!("{clerk} does not: {error}"),
        }
    }
    for clerk in &clerks {
        clerk.join()?;
    }
    let closed: Recipient<Parcel> =
        Router::least_loaded().recipient(clerks.iter().map(Addr::recipient));
    if let Err(SendError::Stopped(parcel)) = closed.send(Parcel { to: "Rome" }) {
        println!("too late: the parcel to {} comes back", parcel.to);
    }
    Ok(())
}

/// How many places have the same clerk.
fn same(some: &[Result<&str, AskError>], others: &[Result<&str, AskError>]) -> usize {
    let pairs = some.iter().zip(others);
    pairs
        .filter(|(one, other)| matches!((one, other), (Ok(a), Ok(b)) if a == b))
        .count()
}
