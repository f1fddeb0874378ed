//! A connected socket. Buffers move in and come back.

use std::io;
use std::net::Shutdown;

use tokio_uring::buf::BoundedBuf;

use super::runtime::Engine;

enum Inner {
    Uring(tokio_uring::net::TcpStream),
    Epoll(tokio::net::TcpStream),
    Nobody,
}

/// One client's socket, on the loop that serves it.
pub struct Stream(Inner);

impl Stream {
    /// Takes over an accepted socket. Must be called on the loop that will serve it.
    pub fn adopt(engine: Engine, socket: std::net::TcpStream) -> io::Result<Stream> {
        socket.set_nodelay(true)?;
        Ok(Stream(match engine {
            Engine::Uring => {
                // The ring waits for the socket itself; a non-blocking one would answer "try again".
                socket.set_nonblocking(false)?;
                Inner::Uring(tokio_uring::net::TcpStream::from_std(socket))
            }
            Engine::Epoll => {
                socket.set_nonblocking(true)?;
                Inner::Epoll(tokio::net::TcpStream::from_std(socket)?)
            }
        }))
    }

    /// Leads to nobody, for a connection that is fed by hand: nothing ever comes, and what is written is forgotten.
    pub fn to_nobody() -> Stream {
        Stream(Inner::Nobody)
    }

    /// Appends what comes to `buffer`, which must have spare capacity; 0 is the peer's end. The future must not
    /// be dropped before it is done; [`Stream::shutdown`] ends it.
    pub async fn read(&self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        assert!(buffer.len() < buffer.capacity(), "a read needs room");
        match &self.0 {
            Inner::Uring(socket) => {
                let filled = buffer.len();
                let (result, slice) = socket.read(buffer.slice(filled..)).await;
                (result, slice.into_inner())
            }
            Inner::Epoll(socket) => loop {
                if let Err(error) = socket.readable().await {
                    return (Err(error), buffer);
                }
                // read_buf would grow a full vector; the room is bounded by the caller's capacity.
                match socket.try_read_buf(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    result => return (result, buffer),
                }
            },
            Inner::Nobody => (Ok(0), buffer),
        }
    }

    /// Writes all of `buffer`.
    pub async fn write_all(&self, buffer: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        match &self.0 {
            Inner::Uring(socket) => socket.write_all(buffer).await,
            Inner::Epoll(socket) => {
                let mut done = 0;
                while done < buffer.len() {
                    match socket.try_write(&buffer[done..]) {
                        Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                        Ok(written) => done += written,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            if let Err(error) = socket.writable().await {
                                return (Err(error), buffer);
                            }
                        }
                        Err(error) => return (Err(error), buffer),
                    }
                }
                (Ok(()), buffer)
            }
            Inner::Nobody => (Ok(()), buffer),
        }
    }

    /// Ends both directions: a pending read completes with 0.
    pub fn shutdown(&self) {
        // The peer may have gone first; then there is nothing left to end.
        let _ = match &self.0 {
            Inner::Uring(socket) => socket.shutdown(Shutdown::Both),
            Inner::Epoll(socket) => socket2::SockRef::from(socket).shutdown(Shutdown::Both),
            Inner::Nobody => Ok(()),
        };
    }
}
