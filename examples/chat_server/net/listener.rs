//! Opens the socket that clients connect to.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use socket2::{Domain, Socket, Type};

/// How many connections may wait to be accepted. The usual 128 fill up when a thousand clients
/// come back at once after a restart, and whoever finds it full tries again after whole seconds.
const BACKLOG: i32 = 1024;

/// Listens on `address`.
///
/// # Errors
///
/// The address is in use, or is not one of this machine, or the system refuses for its own
/// reasons.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // On Unix this lets a server be started again at once. On Windows it would let a second
    // server take the same address.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
