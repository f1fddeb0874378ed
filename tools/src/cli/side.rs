//! A second connection, for the two things the crate cannot express: writing a null value, and telling a null value
//! from an empty one (`Client::create` takes a slice, `Client::get_data` gives a `Vec`).
//!
//! It opens a session of its own with the shell's credentials, sends one request and closes. It is never used for an
//! ephemeral node, which would belong to the wrong session. The records are written with `ringkeeper::wire`.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::frame;
use ringkeeper::wire::jute::{Reader, Writer};
use ringkeeper::wire::request::Op;

use super::failure::CONNECTION_LOSS;
use super::session::Session;

/// Longest wait for one answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// `ClientCnxn`'s xid for credentials.
const AUTH_XID: i32 = -4;
/// The largest frame taken: far above any `jute.maxbuffer` in use.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// A create with a null value.
#[derive(Clone, Debug)]
pub struct NullCreate {
    /// The path, without the chroot.
    pub path: String,
    /// The ACL.
    pub acl: Vec<Acl>,
    /// The create mode's flag.
    pub flags: i32,
    /// The opcode that goes with it.
    pub op: Op,
    /// Milliseconds, for createTTL alone.
    pub ttl: i64,
}

/// Creates a node that holds null. Gives the path it got.
///
/// # Errors
/// The server's error code, or ConnectionLoss.
pub async fn create_null(session: &Session, create: NullCreate) -> Result<String, i32> {
    let target = Target::of(session);
    let chroot = target.chroot.clone();
    let reply = target
        .ask(create.op, move |w| {
            w.text(&prefixed(&chroot, &create.path));
            w.buffer(None);
            write_list(w, &create.acl);
            w.int(create.flags);
            if create.op == Op::CreateTtl {
                w.long(create.ttl);
            }
        })
        .await?;
    let chroot = Target::of(session).chroot;
    let path = Reader::new(&reply).some_text("path").map_err(|_| CONNECTION_LOSS)?;
    Ok(path.strip_prefix(chroot.as_str()).unwrap_or(&path).to_owned())
}

/// Whether a node's value is null.
///
/// # Errors
/// The server's error code, or ConnectionLoss.
pub async fn is_null(session: &Session, path: &str) -> Result<bool, i32> {
    let target = Target::of(session);
    let path = prefixed(&target.chroot, path);
    let reply = target
        .ask(Op::GetData, move |w| {
            w.text(&path);
            w.bool(false);
        })
        .await?;
    let data = Reader::new(&reply).buffer().map_err(|_| CONNECTION_LOSS)?;
    Ok(data.is_none())
}

fn prefixed(chroot: &str, path: &str) -> String {
    if path == "/" && !chroot.is_empty() {
        chroot.to_owned()
    } else {
        format!("{chroot}{path}")
    }
}

/// Where to connect and as whom.
struct Target {
    hosts: Vec<String>,
    chroot: String,
    credentials: Vec<(String, Vec<u8>)>,
    timeout: Duration,
}

impl Target {
    fn of(session: &Session) -> Target {
        let (hosts, chroot) = match session.server.find('/') {
            Some(slash) => session.server.split_at(slash),
            None => (session.server.as_str(), ""),
        };
        Target {
            hosts: hosts.split(',').map(with_port).collect(),
            chroot: chroot.trim_end_matches('/').to_owned(),
            credentials: session.credentials.lock().expect("no panic under this lock").clone(),
            timeout: session.timeout,
        }
    }

    async fn ask(self, op: Op, body: impl FnOnce(&mut Writer<'_>) + Send + 'static) -> Result<Vec<u8>, i32> {
        tokio::task::spawn_blocking(move || self.ask_now(op, body))
            .await
            .map_err(|_| CONNECTION_LOSS)?
            .map_err(|_| CONNECTION_LOSS)?
    }

    /// The record of the answer, or the server's error code.
    fn ask_now(&self, op: Op, body: impl FnOnce(&mut Writer<'_>)) -> io::Result<Result<Vec<u8>, i32>> {
        let mut line = self.connect()?;
        for (scheme, auth) in &self.credentials {
            let answer = line.request(AUTH_XID, Op::Auth, |w| {
                w.int(0);
                w.text(scheme);
                w.buffer(Some(auth));
            })?;
            if let Err(code) = answer {
                return Ok(Err(code));
            }
        }
        let answer = line.request(1, op, body)?;
        // Closing is a courtesy: an unclosed session would only live until its timeout.
        let _ = line.request(2, Op::CloseSession, |_| {});
        Ok(answer)
    }

    fn connect(&self) -> io::Result<Line> {
        let mut last = io::Error::from(io::ErrorKind::NotConnected);
        for host in &self.hosts {
            match self.connect_to(host) {
                Ok(line) => return Ok(line),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn connect_to(&self, host: &str) -> io::Result<Line> {
        let stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut line = Line { stream };
        line.send(|w| {
            w.int(0);
            w.long(0);
            w.int(i32::try_from(self.timeout.as_millis()).unwrap_or(i32::MAX));
            w.long(0);
            w.buffer(Some(&[0; 16]));
            w.bool(false);
        })?;
        line.receive()?;
        Ok(line)
    }
}

fn with_port(host: &str) -> String {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port {
        host.to_owned()
    } else {
        format!("{host}:2181")
    }
}

struct Line {
    stream: TcpStream,
}

impl Line {
    fn request(&mut self, xid: i32, op: Op, body: impl FnOnce(&mut Writer<'_>)) -> io::Result<Result<Vec<u8>, i32>> {
        self.send(|w| {
            w.int(xid);
            w.int(op as i32);
            body(w);
        })?;
        loop {
            let frame = self.receive()?;
            let mut r = Reader::new(&frame);
            let header = (|| Ok::<_, ringkeeper::wire::jute::DecodeError>((r.int()?, r.long()?, r.int()?)))();
            let (found, _zxid, err) = header.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if found == xid {
                return Ok(if err == 0 { Ok(r.rest().to_vec()) } else { Err(err) });
            }
        }
    }

    fn send(&mut self, body: impl FnOnce(&mut Writer<'_>)) -> io::Result<()> {
        let mut out = Vec::new();
        frame::append(&mut out, |out| body(&mut Writer::new(out)));
        self.stream.write_all(&out)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }
}
