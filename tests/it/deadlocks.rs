//! Circles of waits: the call that would close one gets an error with the path, exactly once,
//! and the others go on.

mod acyclic;
mod alone;
mod clocks;
mod innocent;
mod orders;
mod picture;
mod rings;
mod storm;

use std::time::Duration;

use greenroom::testkit::Stepper;
use greenroom::{
    Actor, Addr, AskError, Awaited, Context, DeferredHandler, Identity, Reply, ReplyTo, SendError,
    System, Wait, WaitEdge, WaitError, WaitPath, wait_any,
};

use crate::support::{Note, Player, act, eventually};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Answers nobody before so many have come, and then all: so they are all in their handlers.
struct Barrier {
    expected: usize,
    there: Vec<ReplyTo<()>>,
}

impl Barrier {
    fn new(expected: usize) -> Self {
        Self {
            expected,
            there: Vec::new(),
        }
    }
}

impl Actor for Barrier {}

struct Arrive;

impl DeferredHandler<Arrive> for Barrier {
    type Reply = ();

    fn handle_deferred(&mut self, _: Arrive, reply: ReplyTo<()>, _: &mut Context<Self>) {
        self.there.push(reply);
        if self.there.len() == self.expected {
            self.there.drain(..).for_each(|reply| reply.send(()));
        }
    }
}

/// A request whose answer might be put off.
struct Later;

impl DeferredHandler<Later> for Player {
    type Reply = ();

    fn handle_deferred(&mut self, _: Later, reply: ReplyTo<()>, _: &mut Context<Self>) {
        reply.send(());
    }
}

/// In which way one actor waits for another.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Answer,
    AnswerInTime,
    /// The request stands in line for the mailbox.
    AnswerInLine,
    Turn,
    FirstAnswer,
    Room,
    RoomInTime,
    End,
    EndInTime,
}

const WAYS: [Way; 9] = [
    Way::Answer,
    Way::AnswerInTime,
    Way::AnswerInLine,
    Way::Turn,
    Way::FirstAnswer,
    Way::Room,
    Way::RoomInTime,
    Way::End,
    Way::EndInTime,
];

impl Way {
    /// Waits until the other one has gone on; the path, if the wait is refused.
    fn wait_for(self, other: &Addr<Player>) -> Option<WaitPath> {
        match self {
            Self::Answer => of_ask(other.ask(Note(1)).wait()),
            Self::AnswerInTime => of_ask(other.ask(Note(1)).wait_for(HOUR)),
            Self::AnswerInLine => {
                while other.try_send(Note(0)).is_ok() {}
                of_ask(other.ask(Note(1)).wait())
            }
            Self::Turn => of_ask(other.ask(Later).wait()),
            Self::FirstAnswer => {
                let mut replies = vec![other.ask(Note(1)), other.ask(Note(2))];
                of_wait(wait_any(&mut replies)).map_or_else(Some, |first| {
                    let (_, answer) = first.expect("there are two");
                    of_ask(answer)
                })
            }
            Self::Room => {
                while other.try_send(Note(0)).is_ok() {}
                of_send(other.send(Note(1)))
            }
            Self::RoomInTime => {
                while other.try_send(Note(0)).is_ok() {}
                of_send(other.send_for(Note(1), HOUR))
            }
            Self::End => of_wait(other.join()).err(),
            Self::EndInTime => {
                let ended = of_wait(other.join_for(HOUR));
                ended.map(|reason| reason.expect("it ends in time")).err()
            }
        }
    }

    /// Whether the other one has to end before the wait does.
    fn is_for_the_end(self) -> bool {
        matches!(self, Self::End | Self::EndInTime)
    }

    /// Checks what is said of a wait for an actor of this name.
    fn check(self, awaited: &Awaited, name: &str) {
        let (identity, message) = match (self, awaited) {
            (
                Self::Answer | Self::AnswerInTime | Self::AnswerInLine,
                Awaited::Reply { from, request_type },
            ) => (from, Some((request_type, "Note"))),
            (Self::Turn, Awaited::Queued { at, request_type }) => {
                (at, Some((request_type, "Later")))
            }
            (Self::FirstAnswer, Awaited::AnyReply { from }) => {
                assert_eq!(from.len(), 2);
                assert_eq!(from[0], from[1]);
                (&from[0], None)
            }
            (Self::Room | Self::RoomInTime, Awaited::Room { at, message_type }) => {
                (at, Some((message_type, "Note")))
            }
            (Self::End | Self::EndInTime, Awaited::End { of }) => (of, None),
            _ => panic!("{self:?} is not {awaited}"),
        };
        check_identity(identity, name);
        if let Some((message_type, expected)) = message {
            assert!(message_type.ends_with(expected), "{message_type}");
        }
    }
}

fn check_identity(identity: &Identity, name: &str) {
    assert_eq!(identity.name.as_deref(), Some(name));
    assert!(identity.actor_type.ends_with("Player"), "{identity}");
}

fn of_ask<R: std::fmt::Debug>(outcome: Result<R, AskError>) -> Option<WaitPath> {
    match outcome {
        Ok(_) => None,
        Err(AskError::WouldDeadlock { path }) => Some(path),
        Err(other) => panic!("{other}"),
    }
}

fn of_send(outcome: Result<(), SendError<Note>>) -> Option<WaitPath> {
    match outcome {
        Ok(()) => None,
        Err(SendError::WouldDeadlock { message, path }) => {
            assert_eq!(message.0, 1, "the message comes back");
            Some(path)
        }
        Err(other) => panic!("{other}"),
    }
}

fn of_wait<T>(outcome: Result<T, WaitError>) -> Result<T, WaitPath> {
    outcome.map_err(|error| match error {
        WaitError::WouldDeadlock { path } => path,
        other => panic!("{other}"),
    })
}

/// A member of a ring: where it lives, and how it waits for the next one.
#[derive(Clone, Copy)]
struct Member<'a> {
    system: &'a System,
    way: Way,
    on_its_own_thread: bool,
}

impl<'a> Member<'a> {
    fn new(system: &'a System, way: Way) -> Self {
        Self {
            system,
            way,
            on_its_own_thread: false,
        }
    }

    fn on_its_own_thread(self) -> Self {
        Self {
            on_its_own_thread: true,
            ..self
        }
    }

    fn spawn(self, index: usize) -> Addr<Player> {
        let options = self.system.actor().name(name_of(index)).capacity(1);
        if self.on_its_own_thread {
            options.spawn_thread(Player::default)
        } else {
            options.spawn(Player::default())
        }
        .expect("the capacity is in range")
    }
}

/// Lets a stepped system run.
fn run(stepper: &Stepper) {
    stepper.run();
}

fn name_of(index: usize) -> String {
    format!("member {index}")
}

/// Has each member wait for the next one and the last for the first, all at the same time, and
/// checks that one of them is told the circle and the others go on. `run` lets the systems run.
fn close_ring(ring: &[Member<'_>], run: &dyn Fn()) {
    let barrier = ring[0].system.spawn(Barrier::new(ring.len()));
    let players: Vec<_> = (0..).zip(ring).map(|(i, member)| member.spawn(i)).collect();
    let waits: Vec<_> = (0..ring.len())
        .map(|index| {
            let next = players[(index + 1) % ring.len()].clone();
            let barrier = barrier.clone();
            let way = ring[index].way;
            let before = ring[(index + ring.len() - 1) % ring.len()].way;
            players[index].ask(act(move |_, ctx| {
                barrier.ask(Arrive).wait().expect("all come");
                let path = way.wait_for(&next);
                if before.is_for_the_end() {
                    ctx.stop();
                }
                path
            }))
        })
        .collect();
    eventually("all go on", || {
        run();
        waits.iter().all(|wait| wait.is_ready())
    });
    let paths = waits
        .into_iter()
        .map(|wait| wait.wait().expect("nobody ends"));
    let paths: Vec<_> = (0..)
        .zip(paths)
        .filter_map(|(i, path)| Some((i, path?)))
        .collect();
    let [(first, path)] = &paths[..] else {
        panic!("one of them is told, not {}: {paths:?}", paths.len());
    };
    check_path(path, ring, *first);
}

/// Checks that the path is the whole ring, from this member on.
fn check_path(path: &WaitPath, ring: &[Member<'_>], first: usize) {
    assert_eq!(path.edges().len(), ring.len(), "{path}");
    for (step, edge) in path.edges().iter().enumerate() {
        let WaitEdge {
            waiter, awaited, ..
        } = edge;
        let index = (first + step) % ring.len();
        check_identity(waiter, &name_of(index));
        let next = (index + 1) % ring.len();
        ring[index].way.check(awaited, &name_of(next));
    }
}

fn path_of<R: std::fmt::Debug>(outcome: Result<R, AskError>) -> WaitPath {
    of_ask(outcome).expect("it is refused")
}

/// The ids along the path, in its order.
fn waiters(path: &WaitPath) -> Vec<greenroom::ActorId> {
    path.edges().iter().map(|edge| edge.waiter.id).collect()
}

/// Has a player sleep for a second, then ask the other one.
fn sleep_then_ask(player: &Addr<Player>, other: &Addr<Player>) -> Reply<Option<WaitPath>> {
    let other = other.clone();
    player.ask(act(move |_, ctx| {
        ctx.sleep(SECOND).expect("nobody ends the sleep");
        of_ask(other.ask(Note(1)).wait())
    }))
}

/// Has a player wait for the other one's answer.
fn ask(player: &Addr<Player>, other: &Addr<Player>) -> Reply<Option<WaitPath>> {
    let other = other.clone();
    player.ask(act(move |_, _| of_ask(other.ask(Note(1)).wait())))
}

fn players<const N: usize>(stepper: &Stepper) -> [Addr<Player>; N] {
    std::array::from_fn(|_| stepper.system().spawn(Player::default()))
}

/// The wait of this actor, if it waits.
fn wait_of(system: &System, player: &Addr<Player>) -> Option<Wait> {
    let waits = system.waits();
    let mut of_player = waits
        .into_iter()
        .filter(|wait| wait.actor.id == player.id());
    let wait = of_player.next();
    assert!(of_player.next().is_none(), "an actor waits once");
    wait
}
