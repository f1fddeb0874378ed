//! Listening sockets: bound once, accepted by tokio, handed over as plain sockets.

use std::io;
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

/// A bound listener, before any loop has it.
#[derive(Debug)]
pub struct Bound {
    listener: std::net::TcpListener,
}

/// Binds and listens. SO_REUSEADDR but never SO_REUSEPORT: a second server on the port must fail.
pub fn bind(address: SocketAddr, backlog: i32) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // The wildcard serves IPv4 clients too, as Java's does.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(Bound {
        listener: socket.into(),
    })
}

impl Bound {
    /// The address it really has; for port 0.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts for ever on the calling loop. Errors of single accepts (no file descriptors left, a peer that went)
    /// pause the loop for a moment and never end it.
    pub async fn accept_each(self, keep_alive: bool, mut each: impl FnMut(TcpStream, SocketAddr)) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        loop {
            match listener
                .accept()
                .await
                .and_then(|(socket, peer)| Ok((socket.into_std()?, peer)))
            {
                Ok((socket, peer)) => {
                    if keep_alive {
                        let _ = socket2::SockRef::from(&socket).set_keepalive(true);
                    }
                    each(socket, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
    }
}
