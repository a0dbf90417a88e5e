//! A state machine in plain Rust: the behaviour is an enum, and what comes too early is kept.
//!
//! A link to a server connects, works and fails. What it is told or asked while it connects waits
//! in a bounded queue of its own, in order, and is handled once it is ready; what does not fit is
//! refused at once. An asker sees nothing of this but that his answer takes its time.
//!
//! ```sh
//! cargo run --example state_machine
//! ```

use std::collections::VecDeque;

use greenroom::{Actor, AskError, Context, DeferredHandler, Handler, Reply, ReplyTo, System};

/// Queries that may wait for the link.
const MOST_STASHED: usize = 2;

/// What the link does; what it needs for that is in the state itself.
enum State {
    Disconnected,
    Connecting { stash: VecDeque<Stashed> },
    Ready { session: u32, queries: u32 },
    Failed { why: &'static str },
}

/// A query that came too early, and who is to get its answer.
struct Stashed {
    query: Query,
    reply: ReplyTo<Result<String, Refused>>,
}

/// Why a query gets no answer.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the link is not connected")]
    NotConnected,
    #[error("{MOST_STASHED} queries wait for the link already")]
    TooMany,
    #[error("the link has failed: {0}")]
    Failed(&'static str),
}

struct Link {
    state: State,
    sessions: u32,
}

impl Actor for Link {}

impl Link {
    /// The one place where the state changes; returns the state that it leaves.
    fn enter(&mut self, state: State) -> State {
        println!("  {} -> {}", self.state, state);
        std::mem::replace(&mut self.state, state)
    }

    /// Handles a query, in the state in which the link is when its turn comes.
    fn answer(&mut self, stashed: Stashed) {
        let Stashed { query, reply } = stashed;
        match &mut self.state {
            State::Disconnected => reply.send(Err(Refused::NotConnected)),
            State::Connecting { stash } if stash.len() < MOST_STASHED => {
                stash.push_back(Stashed { query, reply });
            }
            State::Connecting { .. } => reply.send(Err(Refused::TooMany)),
            State::Ready { session, queries } => {
                *queries += 1;
                let Query(text) = query;
                reply.send(Ok(format!("{text}! (session {session}, query {queries})")));
            }
            State::Failed { why } => reply.send(Err(Refused::Failed(why))),
        }
    }
}

/// Has the link connect.
struct Connect;

impl Handler<Connect> for Link {
    type Reply = ();

    fn handle(&mut self, _: Connect, _: &mut Context<Self>) {
        match self.state {
            State::Disconnected | State::Failed { .. } => {
                let stash = VecDeque::new();
                self.enter(State::Connecting { stash });
            }
            // It is under way or done.
            State::Connecting { .. } | State::Ready { .. } => {}
        }
    }
}

/// What became of the attempt to connect; a socket would say so.
struct Connected(Result<(), &'static str>);

impl Handler<Connected> for Link {
    type Reply = ();

    fn handle(&mut self, Connected(outcome): Connected, _: &mut Context<Self>) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        let left = match outcome {
            Ok(()) => {
                self.sessions += 1;
                self.enter(State::Ready {
                    session: self.sessions,
                    queries: 0,
                })
            }
            Err(why) => self.enter(State::Failed { why }),
        };
        if let State::Connecting { stash } = left {
            // Before anything that comes later, and in the order in which they came. Nobody may
            // wait for some of them any more.
            let wanted = stash.into_iter().filter(|it| it.reply.is_wanted());
            wanted.for_each(|stashed| self.answer(stashed));
        }
    }
}

struct Query(&'static str);

impl DeferredHandler<Query> for Link {
    type Reply = Result<String, Refused>;

    fn handle_deferred(
        &mut self,
        query: Query,
        reply: ReplyTo<Self::Reply>,
        _: &mut Context<Self>,
    ) {
        self.answer(Stashed { query, reply });
    }
}

fn main() -> Result<(), AskError> {
    let system = System::new();
    let link = system.spawn(Link {
        state: State::Disconnected,
        sessions: 0,
    });
    let ask = |text| (text, link.ask(Query(text)));

    show(ask("too early"))?;

    link.ask(Connect).wait()?;
    // Nobody of these waits on a thread: they are asked, and come to the link in this order.
    let waiting = [ask("one"), ask("two")];
    show(ask("three"))?;
    link.ask(Connected(Err("no route"))).wait()?;
    waiting.into_iter().try_for_each(show)?;
    show(ask("four"))?;

    link.ask(Connect).wait()?;
    let waiting = [ask("five"), ask("six")];
    link.ask(Connected(Ok(()))).wait()?;
    let last = ask("seven");
    waiting.into_iter().try_for_each(show)?;
    show(last)
}

fn show((text, reply): (&str, Reply<Result<String, Refused>>)) -> Result<(), AskError> {
    match reply.wait()? {
        Ok(answer) => println!("{text}: {answer}"),
        Err(refused) => println!("{text}: {refused}"),
    }
    Ok(())
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disconnected => f.write_str("disconnected"),
            Self::Connecting { stash } => write!(f, "connecting ({} wait)", stash.len()),
            Self::Ready { session, .. } => write!(f, "ready (session {session})"),
            Self::Failed { why } => write!(f, "failed ({why})"),
        }
    }
}
