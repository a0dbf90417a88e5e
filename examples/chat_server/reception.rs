//! The actor that makes the two actors of a connection.
//!
//! Making them takes a wait for their supervisor, and the poller waits for nobody; so it hands a
//! new connection over and learns later whom its lines are for ([`Command::Opened`]).

use std::sync::Arc;
use std::time::Instant;

use greenroom::{
    Actor, Addr, ChildSpec, Context, Handler, Overflow, StartError, StopTimeout, Supervisor,
};

use crate::client::Client;
use crate::directory::Directory;
use crate::net::{Arrival, Command, Goodbye, Outbox, Readiness};
use crate::server::Server;
use crate::session::Session;

/// The mailbox of a session. It gets one batch of lines at a time, one tick and one notice that
/// the connection ends, so it is never full.
const SESSION_CAPACITY: usize = 4;

/// Opens the connections.
pub(crate) struct Reception {
    pub(crate) server: Arc<Server>,
    pub(crate) readiness: Addr<Readiness>,
    pub(crate) directory: Addr<Directory>,
    pub(crate) connections: Addr<Supervisor>,
}

impl Reception {
    fn open_outbox(&self, arrival: &Arrival) -> Result<Addr<Outbox>, StartError> {
        let (socket, link) = (Arc::clone(&arrival.socket), Arc::clone(&arrival.link));
        let id = format!("outbox {}", link.id());
        let outbox = Outbox::new(socket, link, self.readiness.clone());
        let spec = of_a_connection(id, outbox).capacity(self.server.options.send_queue_len);
        self.connections.add(spec).wait()?
    }

    fn open_session(&self, client: Client, now: Instant) -> Result<Addr<Session>, StartError> {
        let (server, directory) = (Arc::clone(&self.server), self.directory.clone());
        let id = format!("session {}", client.id());
        let session = Session::new(server, directory, client, now);
        let spec = of_a_connection(id, session).capacity(SESSION_CAPACITY);
        self.connections.add(spec).wait()?
    }
}

/// An actor of a connection is not started again. Its supervisor stops it only when all
/// connections end: then nobody is left to hear of it, and nothing is worth waiting for.
fn of_a_connection<A: Actor + Send>(id: String, actor: A) -> ChildSpec<A> {
    ChildSpec::temporary(id, actor)
        .overflow(Overflow::Reject)
        .stop_timeout(StopTimeout::AtOnce)
}

impl Actor for Reception {}

impl Handler<Arrival> for Reception {
    type Reply = ();

    fn handle(&mut self, arrival: Arrival, ctx: &mut Context<Self>) {
        let link = &arrival.link;
        let Ok(outbox) = self.open_outbox(&arrival) else {
            link.close(Goodbye::ServerFailed);
            link.say_farewell(Vec::new());
            return;
        };
        let client = Client::new(Arc::clone(link), outbox.clone());
        match self.open_session(client, ctx.now()) {
            Ok(session) => {
                let opened = Command::Opened(link.id(), session.recipient());
                link.commands().push(opened);
            }
            // An outbox that ends says goodbye.
            Err(_) => {
                link.close(Goodbye::ServerFailed);
                outbox.drain();
            }
        }
    }
}
