//! A server with a door that can be slammed: a proxy in front of it, and a port on which the scenario, in whatever
//! language, asks for trouble.
//!
//! The control protocol is one line a request, one line a reply (`ok`):
//! `cut` breaks every connection through the proxy; `hold` does, and lets no new one in until `release`;
//! `stop` kills the server, `start` starts it on the same directory, `restart` is both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::peers::{Engine, JavaServer, Peer, RingServer, last_lines};

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache ZooKeeper 3.9.5.
    Apache,
    /// The server of this repository.
    Ringkeeper,
}

/// The same for both servers: short ticks, so that sessions expire while a test waits; the super user's password is
/// `test`; every client comes from one address.
const SETTINGS: &[&str] = &[
    "tickTime=500",
    "minSessionTimeout=1000",
    "maxSessionTimeout=60000",
    "4lw.commands.whitelist=*",
    "extendedTypesEnabled=true",
    "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
];

/// How often containers and nodes with a lifetime are looked at: a system property only.
const REAPING: &str = "znode.container.checkIntervalMs=500";

/// Server, proxy and control port.
pub struct Stage {
    server: Arc<Mutex<Option<Server>>>,
    direct: SocketAddr,
    proxy: SocketAddr,
    control: SocketAddr,
}

struct Server {
    peer: Box<dyn Peer>,
    runs: bool,
}

impl Server {
    /// Kills the process, as a crash would; nothing to do when it is down.
    fn down(&mut self) {
        if std::mem::take(&mut self.runs) {
            self.peer.kill9();
        }
    }

    /// Starts it on the same directory; nothing to do when it runs.
    fn up(&mut self) {
        if !self.runs {
            self.peer.start();
            self.runs = true;
        }
    }
}

/// The connections that go through the proxy now.
#[derive(Default)]
struct Door {
    held: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Stage {
    /// A fresh server of this kind, proxied.
    pub fn set(kind: Kind) -> Stage {
        let peer: Box<dyn Peer> = match kind {
            Kind::Apache => Box::new(JavaServer::launch(SETTINGS, &[REAPING])),
            Kind::Ringkeeper => Box::new(RingServer::launch_with(Engine::Uring, SETTINGS, &[REAPING])),
        };
        let direct = peer.address();
        let server = Arc::new(Mutex::new(Some(Server { peer, runs: true })));
        let door = Arc::new(Door::default());
        let behind = door.clone();
        let proxy = listen(move |client| behind.carry(client, direct));
        let asked = server.clone();
        let control = listen(move |caller| obey(caller, &asked, &door));
        Stage {
            server,
            direct,
            proxy,
            control,
        }
    }

    /// What a scenario finds in its environment.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("ZK_SERVER", self.direct.to_string()),
            ("ZK_PROXY", self.proxy.to_string()),
            ("ZK_CONTROL", self.control.to_string()),
        ]
    }

    /// The end of the server's log.
    pub fn last_words(&self) -> String {
        let server = self.server.lock().unwrap();
        let output = server.as_ref().expect("it is on").peer.output();
        last_lines(&output, 60)
    }
}

impl Drop for Stage {
    /// Connections keep their share of the server as long as this process lives: it is taken out of it, and ends.
    fn drop(&mut self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(server);
    }
}

/// Accepts on a free port for as long as the test process lives, a thread for each connection.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn obey(caller: TcpStream, server: &Mutex<Option<Server>>, door: &Door) {
    let mut reply = caller.try_clone().unwrap();
    for line in BufReader::new(caller).lines() {
        let Ok(line) = line else { return };
        match line.trim() {
            "cut" => door.cut(),
            "hold" => {
                door.held.store(true, SeqCst);
                door.cut();
            }
            "release" => door.held.store(false, SeqCst),
            word @ ("stop" | "start" | "restart") => {
                let mut server = server.lock().unwrap();
                // The play is over.
                let Some(server) = server.as_mut() else { return };
                if word != "start" {
                    server.down();
                }
                if word != "stop" {
                    server.up();
                }
            }
            other => panic!("the control port does not know '{other}'"),
        }
        if reply.write_all(b"ok\n").is_err() {
            return;
        }
    }
}

impl Door {
    fn carry(&self, client: TcpStream, server: SocketAddr) {
        if self.held.load(SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(server) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
        }
        if self.held.load(SeqCst) {
            self.cut();
        }
        let (client_reads, server_writes) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = thread::spawn(move || pump(client_reads, server_writes));
        pump(server, client);
        let _ = up.join();
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Carries bytes one way until either side ends; then both do.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
