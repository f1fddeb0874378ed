//! Sockets between servers: names resolved at every attempt, several addresses for one server, bounded waits.
//!
//! They are tokio's on either engine: a server has a handful, and what goes over them is gathered before it is sent.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
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

/// How many bytes the other end has not acknowledged; nothing if the kernel does not say.
pub fn unacknowledged(stream: &TcpStream) -> Option<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ of a socket) writes one int where it is told to, and the descriptor is open as long as the
    // stream is borrowed.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    (result == 0).then(|| usize::try_from(bytes).ok())?
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_millis(150);

    fn host(address: SocketAddr) -> (String, u16) {
        (address.ip().to_string(), address.port())
    }

    /// A port at which nobody listens.
    fn refusing() -> (String, u16) {
        host(
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap(),
        )
    }

    /// A port that answers nobody, as a machine that is off: its queue is full. And what keeps it so.
    fn silent() -> ((String, u16), Vec<socket2::Socket>) {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut kept = vec![listener];
        for _ in 0..4 {
            let dialler = socket();
            dialler.set_nonblocking(true).unwrap();
            let _ = dialler.connect(&address);
            kept.push(dialler);
        }
        (host(address.as_socket().unwrap()), kept)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    fn dialled(hosts: &[(String, u16)]) -> (io::Result<TcpStream>, Duration) {
        let runtime = runtime();
        let begun = Instant::now();
        (runtime.block_on(dial(hosts, LIMIT, true)), begun.elapsed())
    }

    #[test]
    fn silence_is_waited_for_as_long_as_cnx_timeout_says_and_told_from_refusal() {
        let (silent, _kept) = silent();
        let (result, took) = dialled(std::slice::from_ref(&silent));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(LIMIT <= took && took < 10 * LIMIT, "{took:?}");
        let kind = |hosts: &[(String, u16)]| dialled(hosts).0.unwrap_err().kind();
        assert_eq!(kind(&[refusing(), refusing()]), io::ErrorKind::ConnectionRefused);
        // It may live behind the silent one.
        assert_eq!(kind(&[silent.clone(), refusing()]), io::ErrorKind::TimedOut);
        assert_eq!(kind(&[refusing(), silent]), io::ErrorKind::TimedOut);
    }

    #[test]
    fn of_several_addresses_the_first_that_answers_is_taken() {
        let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (silent, _kept) = silent();
        let port = there.local_addr().unwrap().port();
        let (result, _) = dialled(&[silent, refusing(), ("localhost".into(), port)]);
        assert_eq!(result.unwrap().peer_addr().unwrap().port(), port);
    }

    #[test]
    fn what_the_other_end_does_not_take_is_not_acknowledged() {
        runtime().block_on(async {
            let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let here = TcpStream::connect(there.local_addr().unwrap()).await.unwrap();
            let (there, _) = there.accept().await.unwrap();
            assert_eq!(unacknowledged(&here), Some(0));
            // More than both ends hold.
            let mut sent = 0;
            while let Ok(bytes) = here.try_write(&[0; 1 << 16]) {
                sent += bytes;
                tokio::task::yield_now().await;
            }
            assert!(unacknowledged(&here).is_some_and(|bytes| bytes > 0), "{sent} bytes");
            let mut taken = 0;
            while taken < sent {
                there.readable().await.unwrap();
                taken += there.try_read(&mut [0; 1 << 16]).unwrap_or(0);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(unacknowledged(&here), Some(0), "{taken} of {sent} bytes");
        });
    }
}
