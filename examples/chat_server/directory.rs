//! The actor that knows every nick and every room.
//!
//! A nick has one owner because only this actor gives it away. A room exists from the moment
//! somebody [enters](Enter) until the last one who did has [left](Leave) or is
//! [forgotten](Forget): a session enters before it joins and leaves after it has parted, so no
//! room is forgotten while somebody is on the way into it.
//!
//! The directory waits for the supervisor of the rooms only, when a room is opened or closed. It
//! holds no line of any client back, and whoever waits for it waits for short handlers.
//!
//! If it fails it begins anew and knows nobody; by then all sessions have ended, as the supervision
//! tree has it. So it closes the rooms that are left.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use greenroom::{Actor, Addr, ChildSpec, Context, Failure, Handler, StartError, Supervisor};

use crate::client::{Client, Identity};
use crate::net::ClientId;
use crate::protocol::{Folded, matches};
use crate::room::{Kept, Room};
use crate::server::Server;

/// Who and what exists.
pub(crate) struct Directory {
    server: Arc<Server>,
    /// Supervises the rooms.
    supervisor: Addr<Supervisor>,
    clients: HashMap<ClientId, Entry>,
    /// The owner of each nick. A client that is changing its nick owns two.
    nicks: HashMap<Folded, ClientId>,
    rooms: HashMap<Folded, OpenRoom>,
}

/// A client that has a nick.
struct Entry {
    client: Client,
    nick: Folded,
    /// The nick that a registered client has claimed and not yet settled with.
    next_nick: Option<Folded>,
    /// Who the client is, once it is registered.
    identity: Option<Arc<Identity>>,
    rooms: BTreeSet<Folded>,
}

struct OpenRoom {
    entrance: Entrance,
    inside: HashSet<ClientId>,
}

/// The way into a room.
#[derive(Clone)]
pub(crate) struct Entrance {
    /// The name as the first one wrote it.
    pub(crate) name: Arc<str>,
    pub(crate) room: Addr<Room>,
}

/// Claims a nick. Answers whether the client owns it now. A registered client keeps its old nick
/// until it [settles](Settle), so that nobody can take it before the peers know.
pub(crate) struct Claim {
    pub(crate) client: Client,
    pub(crate) nick: Folded,
}

/// Says who a client is from now on, and gives up any other nick it owns. The first time this
/// makes it a registered client, which others can find.
pub(crate) struct Settle {
    pub(crate) id: ClientId,
    pub(crate) identity: Arc<Identity>,
}

/// Forgets a client and its nicks, and takes it out of every room. To be sent after its goodbye.
pub(crate) struct Forget(pub(crate) ClientId);

/// Asks for the client that owns a nick.
pub(crate) struct Find(pub(crate) Folded);

/// A registered client.
pub(crate) struct Found {
    pub(crate) client: Client,
    pub(crate) identity: Arc<Identity>,
    /// The names of the rooms it is in.
    pub(crate) rooms: Vec<Arc<str>>,
}

/// Asks for the clients whose nicks fit a mask and that `viewer` may see.
pub(crate) struct Search {
    pub(crate) mask: Folded,
    pub(crate) viewer: ClientId,
}

/// Asks for the way into a room, which is opened if there is none, and counts the client in.
pub(crate) struct Enter {
    pub(crate) id: ClientId,
    pub(crate) name: Arc<str>,
}

/// Counts the client out of a room.
pub(crate) struct Leave {
    pub(crate) id: ClientId,
    pub(crate) name: Folded,
}

/// Asks for a room that exists.
pub(crate) struct FindRoom(pub(crate) Folded);

/// Asks for all rooms, by name.
pub(crate) struct GetRooms;

/// Asks how many there are.
pub(crate) struct GetCensus;

/// How many there are.
#[derive(Debug)]
pub(crate) struct Census {
    pub(crate) visible: usize,
    pub(crate) invisible: usize,
    pub(crate) unregistered: usize,
    pub(crate) rooms: usize,
}

impl Directory {
    pub(crate) fn new(server: Arc<Server>, supervisor: Addr<Supervisor>) -> Self {
        Self {
            server,
            supervisor,
            clients: HashMap::new(),
            nicks: HashMap::new(),
            rooms: HashMap::new(),
        }
    }

    fn take_out(&mut self, id: ClientId, name: &Folded) {
        if let Some(open) = self.rooms.get_mut(name) {
            open.inside.remove(&id);
            if open.inside.is_empty() {
                self.rooms.remove(name);
                // Waits until the room has ended, so that its name is free. If that fails the
                // rooms have ended all together, and so will this directory.
                let _ = self.supervisor.remove(room_id(name)).wait();
            }
        }
    }

    fn open(&self, name: &Arc<str>, folded: &Folded) -> Result<Addr<Room>, StartError> {
        let (server, name, kept) = (Arc::clone(&self.server), Arc::clone(name), Kept::new());
        let make = move || Room::new(Arc::clone(&server), Arc::clone(&name), kept.clone());
        let spec = ChildSpec::new(room_id(folded), make);
        self.supervisor.add(spec).wait()?
    }

    fn found(&self, id: ClientId) -> Option<Found> {
        let entry = self.clients.get(&id)?;
        let rooms = entry.rooms.iter().filter_map(|name| self.rooms.get(name));
        Some(Found {
            client: entry.client.clone(),
            identity: Arc::clone(entry.identity.as_ref()?),
            rooms: rooms.map(|open| Arc::clone(&open.entrance.name)).collect(),
        })
    }
}

/// The id of a room at its supervisor.
fn room_id(name: &Folded) -> String {
    format!("room {}", name.as_str())
}

impl Actor for Directory {
    fn restarted(&mut self, _failure: &Failure, _ctx: &mut Context<Self>) {
        let rooms = self.supervisor.list().wait().unwrap_or_default();
        for room in rooms {
            let _ = self.supervisor.remove(room.id).wait();
        }
    }
}

impl Handler<Claim> for Directory {
    type Reply = bool;

    fn handle(&mut self, claim: Claim, _ctx: &mut Context<Self>) -> bool {
        let id = claim.client.id();
        if self
            .nicks
            .get(&claim.nick)
            .is_some_and(|owner| *owner != id)
        {
            return false;
        }
        self.nicks.insert(claim.nick.clone(), id);
        let entry = self.clients.entry(id).or_insert_with(|| Entry {
            client: claim.client,
            nick: claim.nick.clone(),
            next_nick: None,
            identity: None,
            rooms: BTreeSet::new(),
        });
        if entry.nick == claim.nick {
            return true;
        }
        if entry.identity.is_some() {
            entry.next_nick = Some(claim.nick);
        } else {
            // Nobody knows an unregistered client by its old nick.
            self.nicks.remove(&entry.nick);
            entry.nick = claim.nick;
        }
        true
    }
}

impl Handler<Settle> for Directory {
    type Reply = ();

    fn handle(&mut self, settle: Settle, _ctx: &mut Context<Self>) {
        let Some(entry) = self.clients.get_mut(&settle.id) else {
            return;
        };
        let nick = Folded::new(&settle.identity.nick);
        if entry.nick != nick {
            self.nicks.remove(&entry.nick);
            entry.nick = nick;
        }
        entry.next_nick = None;
        entry.identity = Some(settle.identity);
    }
}

impl Handler<Forget> for Directory {
    type Reply = ();

    fn handle(&mut self, Forget(id): Forget, _ctx: &mut Context<Self>) {
        let Some(entry) = self.clients.remove(&id) else {
            return;
        };
        for nick in entry.next_nick.iter().chain([&entry.nick]) {
            self.nicks.remove(nick);
        }
        for name in entry.rooms {
            self.take_out(id, &name);
        }
    }
}

impl Handler<Find> for Directory {
    type Reply = Option<Found>;

    fn handle(&mut self, Find(nick): Find, _ctx: &mut Context<Self>) -> Option<Found> {
        self.found(*self.nicks.get(&nick)?)
    }
}

impl Handler<Search> for Directory {
    type Reply = Vec<Arc<Identity>>;

    fn handle(&mut self, search: Search, _ctx: &mut Context<Self>) -> Self::Reply {
        let own_rooms = self.clients.get(&search.viewer).map(|entry| &entry.rooms);
        let shares_room =
            |entry: &Entry| own_rooms.is_some_and(|rooms| !rooms.is_disjoint(&entry.rooms));
        let mut found: Vec<_> = self
            .clients
            .iter()
            .filter_map(|(id, entry)| {
                let identity = entry.identity.as_ref()?;
                let is_visible =
                    !identity.is_invisible || *id == search.viewer || shares_room(entry);
                (is_visible && matches(&search.mask, &entry.nick))
                    .then(|| (*id, Arc::clone(identity)))
            })
            .collect();
        found.sort_by_key(|(id, _)| *id);
        found.into_iter().map(|(_, identity)| identity).collect()
    }
}

impl Handler<Enter> for Directory {
    type Reply = Result<Entrance, StartError>;

    fn handle(&mut self, enter: Enter, _ctx: &mut Context<Self>) -> Self::Reply {
        let folded = Folded::new(&enter.name);
        if !self.rooms.contains_key(&folded) {
            let room = self.open(&enter.name, &folded)?;
            let entrance = Entrance {
                name: enter.name,
                room,
            };
            let open = OpenRoom {
                entrance,
                inside: HashSet::new(),
            };
            self.rooms.insert(folded.clone(), open);
        }
        let open = self.rooms.get_mut(&folded).expect("the room is open");
        open.inside.insert(enter.id);
        if let Some(entry) = self.clients.get_mut(&enter.id) {
            entry.rooms.insert(folded);
        }
        Ok(open.entrance.clone())
    }
}

impl Handler<Leave> for Directory {
    type Reply = ();

    fn handle(&mut self, leave: Leave, _ctx: &mut Context<Self>) {
        if let Some(entry) = self.clients.get_mut(&leave.id) {
            entry.rooms.remove(&leave.name);
        }
        self.take_out(leave.id, &leave.name);
    }
}

impl Handler<FindRoom> for Directory {
    type Reply = Option<Entrance>;

    fn handle(&mut self, FindRoom(name): FindRoom, _ctx: &mut Context<Self>) -> Self::Reply {
        self.rooms.get(&name).map(|open| open.entrance.clone())
    }
}

impl Handler<GetRooms> for Directory {
    type Reply = Vec<Entrance>;

    fn handle(&mut self, _: GetRooms, _ctx: &mut Context<Self>) -> Vec<Entrance> {
        let mut rooms: Vec<_> = self.rooms.iter().collect();
        rooms.sort_by_key(|(name, _)| *name);
        rooms
            .into_iter()
            .map(|(_, open)| open.entrance.clone())
            .collect()
    }
}

impl Handler<GetCensus> for Directory {
    type Reply = Census;

    fn handle(&mut self, _: GetCensus, _ctx: &mut Context<Self>) -> Census {
        let identities = || self.clients.values().flat_map(|entry| &entry.identity);
        let registered = identities().count();
        let invisible = identities()
            .filter(|identity| identity.is_invisible)
            .count();
        Census {
            visible: registered - invisible,
            invisible,
            unregistered: self.clients.len() - registered,
            rooms: self.rooms.len(),
        }
    }
}
