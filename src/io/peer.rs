//! Sockets between servers: names resolved at every attempt, several addresses for one server, bounded waits.
//!
//! They are tokio's on either engine: a server has a handful, and what goes over them is gathered before it is sent.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};

use super::listen;

/// Connections that may wait to be accepted from other servers.
const BACKLOG: i32 = 128;

/// Connects to the first of the addresses that answers; gives the last one's error if none does. A refusal is told from
/// silence: where every address refused, the error's kind is `ConnectionRefused`.
///
/// # Errors
/// None of them answered, or no name has an address.
pub async fn dial(hosts: &[(String, u16)], limit: Duration, keep_alive: bool) -> io::Result<TcpStream> {
    let mut failed: Option<io::Error> = None;
    for (host, port) in hosts {
        match dial_one(host, *port, limit).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                if keep_alive {
                    socket2::SockRef::from(&stream).set_keepalive(true)?;
                }
                return Ok(stream);
            }
            // One that may be alive behind a silent network counts more than one that refuses.
            Err(error) => {
                let keep = failed
                    .as_ref()
                    .is_some_and(|kept| kept.kind() != io::ErrorKind::ConnectionRefused);
                if !keep {
                    failed = Some(error);
                }
            }
        }
    }
    Err(failed.unwrap_or_else(|| io::Error::other("it has no address")))
}

async fn dial_one(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let attempt = async {
        let mut failed = None;
        for address in lookup_host((host, port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| io::Error::other(format!("{host} has no address"))))
    };
    match tokio::time::timeout(limit, attempt).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{host}:{port} does not answer"),
        )),
    }
}

/// A listener for other servers, bound before any loop runs.
#[derive(Debug)]
pub struct PeerListener(listen::Bound);

impl PeerListener {
    /// Binds a host and port, or all addresses with `everywhere`.
    ///
    /// # Errors
    /// The name has no address, or the port is taken.
    pub fn bind(host: &str, port: u16, everywhere: bool) -> io::Result<PeerListener> {
        use std::net::ToSocketAddrs;
        let address = match everywhere {
            true => SocketAddr::from(([0u16; 8], port)),
            false => (host, port)
                .to_socket_addrs()?
                .next()
                .ok_or_else(|| io::Error::other(format!("{host} has no address")))?,
        };
        let bound = listen::bind(address, BACKLOG).or_else(|error| match everywhere {
            // A machine without IPv6.
            true => listen::bind(SocketAddr::from(([0u8; 4], port)), BACKLOG),
            false => Err(error),
        });
        bound.map(PeerListener)
    }

    /// Accepts for ever on the calling loop.
    ///
    /// # Errors
    /// The loop does not take the socket.
    pub async fn accept_each(self, keep_alive: bool, mut each: impl FnMut(TcpStream, SocketAddr)) -> io::Result<()> {
        self.0
            .accept_each(keep_alive, move |socket, from| {
                let taken = socket.set_nodelay(true).and_then(|()| TcpStream::from_std(socket));
                match taken {
                    Ok(stream) => each(stream, from),
                    Err(error) => tracing::warn!(%from, %error, "taking over a server's connection failed"),
                }
            })
            .await
    }
}
