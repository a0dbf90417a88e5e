//! The supervision tree: which actors last, and what becomes of the others when one fails.
//!
//! ```text
//! server       RestForOne
//! ├─ readiness
//! ├─ rooms        Dynamic    room #NAME ...
//! ├─ directory
//! ├─ connections  Dynamic    session N, outbox N ...
//! └─ reception
//! ```
//!
//! Each stands on those above it, and is ended and started again with them.
//!
//! - A room that fails comes back at its address, with its members and its topic: it keeps what was
//!   true before the message at which it failed, see [`Kept`](crate::room::Kept). Messages that
//!   were queued for it are handled then.
//! - A session or an outbox that fails is not started again, since its client would not know what
//!   became of its lines. Each of the two ends the connection when it ends, in its `stopped`: the
//!   client reads `ERROR` and is disconnected, its rooms see it quit, its nick is free.
//! - The directory has each change in several tables, and nobody could tell whether a failure has
//!   left them in agreement. So it keeps nothing and the server starts over: all connections end
//!   with `ERROR`, all rooms are closed, and clients that come back find an empty server, at the
//!   same port. The same follows if readiness fails, or if rooms fail too often. The reception, on
//!   which nobody stands, starts again alone.
//! - If one of these fails again within a minute, the root gives up. Then the server ends in order
//!   and says which failures led to it: a server that loses everybody again and again helps nobody,
//!   and whoever started it can do more about it.

use std::sync::Arc;
use std::time::Duration;

use greenroom::{Addr, ChildSpec, Intensity, Overflow, StartError, Strategy, Supervisor, System};

use crate::directory::Directory;
use crate::net::{Commands, Readiness};
use crate::reception::Reception;
use crate::server::Server;

/// How often the server may start over.
const STARTS_OVER: Intensity = Intensity::new(1, Duration::from_secs(60));
/// How often rooms may fail, all rooms together. Beyond it something else must be wrong.
const ROOM_FAILURES: Intensity = Intensity::new(20, Duration::from_secs(10));

/// The ends of the tree that others hold.
pub(crate) struct Tree {
    pub(crate) root: Addr<Supervisor>,
    pub(crate) reception: Addr<Reception>,
}

/// Starts the tree.
///
/// # Errors
///
/// There is no memory for the actors.
pub(crate) fn start(
    system: &System,
    server: Arc<Server>,
    commands: Arc<Commands>,
) -> Result<Tree, StartError> {
    let mut tree = system
        .supervisor(Strategy::RestForOne)
        .intensity(STARTS_OVER);

    let readiness = tree.child(ChildSpec::new("readiness", move || {
        Readiness::new(Arc::clone(&commands))
    }))?;

    let rooms = system
        .supervisor(Strategy::Dynamic)
        .intensity(ROOM_FAILURES);
    let rooms = tree.child(rooms.into_spec("rooms"))?;

    let directory = tree.child({
        let server = Arc::clone(&server);
        ChildSpec::new("directory", move || {
            Directory::new(Arc::clone(&server), rooms.clone())
        })
    })?;

    let connections = system.supervisor(Strategy::Dynamic);
    let connections = tree.child(connections.into_spec("connections"))?;

    // The poller does not wait for room: it refuses whom the reception has no room for.
    let capacity = server.options.max_clients;
    let reception = tree.child(
        ChildSpec::new("reception", move || Reception {
            server: Arc::clone(&server),
            readiness: readiness.clone(),
            directory: directory.clone(),
            connections: connections.clone(),
        })
        .capacity(capacity)
        .overflow(Overflow::Reject),
    )?;

    let root = tree.start()?;
    Ok(Tree { root, reception })
}
