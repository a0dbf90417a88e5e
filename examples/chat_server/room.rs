//! The actor of one channel: who is in it, what its topic is, and who gets what is said.
//!
//! A room delivers in the handler of the message that causes it, so what a member sees of a room
//! is one sequence: a list of names is never older than the joins and parts around it. It only
//! ever queues without waiting, so no member can delay it; a member whose send queue is full is
//! cut off and its session says goodbye to the room a little later.
//!
//! A line that concerns several rooms, a new nick or a goodbye, must reach each peer once. It is
//! handed from room to room together with the set of those who have been [told](Told).
//!
//! A room that fails begins its next life with what it [kept](Kept). A change is made to a copy,
//! which is kept when all is done that the message asked for: so a message at which the room has
//! failed has changed nothing, and its sender is told so. The copy costs less than the lines that
//! the same message delivers, to as many members.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use greenroom::{Actor, Context, Handler};

use crate::client::{Client, Identity};
use crate::net::ClientId;
use crate::protocol::{Line, numeric, pack};
use crate::server::{Server, unix_seconds};

/// The clients that have had a line already.
pub(crate) type Told = HashSet<ClientId>;

/// One channel.
pub(crate) struct Room {
    server: Arc<Server>,
    name: Arc<str>,
    state: Arc<State>,
    kept: Kept,
}

/// What a room begins its next life with. All clones are one.
#[derive(Clone)]
pub(crate) struct Kept(Arc<Mutex<Arc<State>>>);

/// Who is in a room and what it is about.
#[derive(Clone)]
pub(crate) struct State {
    created: SystemTime,
    topic: Option<Topic>,
    members: BTreeMap<ClientId, Member>,
}

#[derive(Clone)]
struct Member {
    client: Client,
    identity: Arc<Identity>,
}

/// What a channel is about, who said so and when.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) text: String,
    pub(crate) set_by: String,
    pub(crate) set_at: SystemTime,
}

/// Adds a member: everybody gets `line`, and the new member the topic and the names after it.
pub(crate) struct Join {
    pub(crate) client: Client,
    pub(crate) identity: Arc<Identity>,
    pub(crate) line: Line,
}

/// Removes a member after everybody, the member too, has got `line`.
pub(crate) struct Part {
    pub(crate) id: ClientId,
    pub(crate) line: Line,
}

/// Delivers `line` to everybody but the sender.
pub(crate) struct Say {
    pub(crate) from: ClientId,
    pub(crate) line: Line,
}

/// Changes who a member is. Answers `told` with those who got `line` here added.
pub(crate) struct Rename {
    pub(crate) id: ClientId,
    pub(crate) identity: Arc<Identity>,
    pub(crate) line: Line,
    pub(crate) told: Told,
}

/// Removes a member that leaves the server. Answers as [`Rename`] does.
pub(crate) struct Quit {
    pub(crate) id: ClientId,
    pub(crate) line: Line,
    pub(crate) told: Told,
}

/// Sets or clears the topic and delivers `line` to everybody, the sender too.
pub(crate) struct SetTopic {
    pub(crate) topic: Option<Topic>,
    pub(crate) line: Line,
}

/// Delivers the names of all members to `client`, which is called `nick`.
pub(crate) struct ListNames {
    pub(crate) client: Client,
    pub(crate) nick: String,
}

/// Asks who the members are.
pub(crate) struct GetMembers;

/// Asks for the state of the room.
pub(crate) struct GetSummary;

/// The state of a room at one moment.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) created: SystemTime,
    pub(crate) topic: Option<Topic>,
    pub(crate) member_count: usize,
}

impl Kept {
    /// That of a room that is opened.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Arc::new(State {
            created: SystemTime::now(),
            topic: None,
            members: BTreeMap::new(),
        }))))
    }

    // Nothing that can panic runs under the lock.

    fn get(&self) -> Arc<State> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, state: Arc<State>) -> Arc<State> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut kept, state)
    }
}

impl State {
    /// Puts everybody out.
    pub(crate) fn clear(&mut self) {
        self.topic = None;
        self.members.clear();
    }

    fn deliver(&self, line: &Line) {
        for member in self.members.values() {
            member.client.deliver(line);
        }
    }

    /// Delivers to those who have not been told, and notes that they have.
    fn tell(&self, line: &Line, told: &mut Told) {
        for (id, member) in &self.members {
            if told.insert(*id) {
                member.client.deliver(line);
            }
        }
    }
}

impl Room {
    /// A room in the state that was kept.
    pub(crate) fn new(server: Arc<Server>, name: Arc<str>, kept: Kept) -> Self {
        Self {
            server,
            name,
            state: kept.get(),
            kept,
        }
    }

    /// Begins a change, which comes into force when it is [kept](Self::keep).
    pub(crate) fn change(&self) -> State {
        State::clone(&self.state)
    }

    fn keep(&mut self, state: State) {
        self.state = Arc::new(state);
        self.kept.set(Arc::clone(&self.state));
    }

    fn deliver_topic(&self, state: &State, client: &Client, nick: &str) {
        for line in topic_lines(&self.server, nick, &self.name, state.topic.as_ref()) {
            client.deliver(&line);
        }
    }

    fn deliver_names(&self, state: &State, client: &Client, nick: &str) {
        let begin = || {
            // The `=` says that the channel is public.
            self.server
                .reply(numeric::RPL_NAMREPLY, nick)
                .param('=')
                .param(&self.name)
        };
        let nicks = state.members.values().map(|member| &*member.identity.nick);
        for line in pack(begin, nicks) {
            client.deliver(&line);
        }
        client.deliver(&end_of_names(&self.server, nick, &self.name));
    }
}

/// The numerics that tell a topic.
pub(crate) fn topic_lines(
    server: &Server,
    nick: &str,
    room: &str,
    topic: Option<&Topic>,
) -> Vec<Line> {
    let Some(topic) = topic else {
        return Vec::new();
    };
    vec![
        server
            .reply(numeric::RPL_TOPIC, nick)
            .param(room)
            .text(&topic.text),
        server
            .reply(numeric::RPL_TOPICWHOTIME, nick)
            .param(room)
            .param(&topic.set_by)
            .param(unix_seconds(topic.set_at))
            .end(),
    ]
}

/// The numeric after the names of a channel, also if there is no such channel.
pub(crate) fn end_of_names(server: &Server, nick: &str, room: &str) -> Line {
    server
        .reply(numeric::RPL_ENDOFNAMES, nick)
        .param(room)
        .text("End of the names")
}

impl Actor for Room {}

impl Handler<Join> for Room {
    type Reply = ();

    fn handle(&mut self, join: Join, _ctx: &mut Context<Self>) {
        let Join {
            client,
            identity,
            line,
        } = join;
        let member = Member {
            client: client.clone(),
            identity: Arc::clone(&identity),
        };
        let mut next = self.change();
        next.members.insert(client.id(), member);
        next.deliver(&line);
        self.deliver_topic(&next, &client, &identity.nick);
        self.deliver_names(&next, &client, &identity.nick);
        self.keep(next);
    }
}

impl Handler<Part> for Room {
    type Reply = ();

    fn handle(&mut self, part: Part, _ctx: &mut Context<Self>) {
        self.state.deliver(&part.line);
        let mut next = self.change();
        next.members.remove(&part.id);
        self.keep(next);
    }
}

impl Handler<Say> for Room {
    type Reply = ();

    fn handle(&mut self, say: Say, _ctx: &mut Context<Self>) {
        for (id, member) in &self.state.members {
            if *id != say.from {
                member.client.deliver(&say.line);
            }
        }
    }
}

impl Handler<Rename> for Room {
    type Reply = Told;

    fn handle(&mut self, rename: Rename, _ctx: &mut Context<Self>) -> Told {
        let mut next = self.change();
        if let Some(member) = next.members.get_mut(&rename.id) {
            member.identity = rename.identity;
        }
        let mut told = rename.told;
        next.tell(&rename.line, &mut told);
        self.keep(next);
        told
    }
}

impl Handler<Quit> for Room {
    type Reply = Told;

    fn handle(&mut self, quit: Quit, _ctx: &mut Context<Self>) -> Told {
        let mut next = self.change();
        next.members.remove(&quit.id);
        let mut told = quit.told;
        next.tell(&quit.line, &mut told);
        self.keep(next);
        told
    }
}

impl Handler<SetTopic> for Room {
    type Reply = ();

    fn handle(&mut self, set: SetTopic, _ctx: &mut Context<Self>) {
        self.state.deliver(&set.line);
        let mut next = self.change();
        next.topic = set.topic;
        self.keep(next);
    }
}

impl Handler<ListNames> for Room {
    type Reply = ();

    fn handle(&mut self, list: ListNames, _ctx: &mut Context<Self>) {
        self.deliver_names(&self.state, &list.client, &list.nick);
    }
}

impl Handler<GetMembers> for Room {
    type Reply = Vec<Arc<Identity>>;

    fn handle(&mut self, _: GetMembers, _ctx: &mut Context<Self>) -> Self::Reply {
        self.state
            .members
            .values()
            .map(|member| Arc::clone(&member.identity))
            .collect()
    }
}

impl Handler<GetSummary> for Room {
    type Reply = Summary;

    fn handle(&mut self, _: GetSummary, _ctx: &mut Context<Self>) -> Summary {
        Summary {
            created: self.state.created,
            topic: self.state.topic.clone(),
            member_count: self.state.members.len(),
        }
    }
}
