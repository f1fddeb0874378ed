//! The wire between brokers and servers: a proxy that records what is sent to the servers, and a replay of what one
//! connection sent, as a load on any servers that hold the same topics.
//!
//! A replay is Kafka's own requests in their order, at most ten on the wire at once as Kafka's client does. What a
//! request expects of versions is taken out (-1 fits any), as the same nodes have had other lives elsewhere.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::parts::words::{CHECK, CLOSE, CREATE, CREATE2, DELETE, MULTI, PING, SET};
use crate::peers::jute::In;
use crate::peers::{Attach, RawClient, framed, free_port};

/// `zookeeper.max.in.flight.requests`.
const IN_FLIGHT: usize = 10;

/// Bytes that a connection sent, and when.
struct Sent {
    connection: usize,
    at: Instant,
    bytes: Vec<u8>,
}

/// A proxy in front of each server.
pub struct Recorder {
    sent: Arc<Mutex<Vec<Sent>>>,
    /// In the servers' order.
    pub addresses: Vec<SocketAddr>,
}

impl Recorder {
    /// Proxies for these servers. Their threads end with the test's process, or with both ends of their connection.
    pub fn start(servers: &[SocketAddr]) -> Self {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Mutex::new(0));
        let proxy = |server: &SocketAddr| {
            let (server, sent, connections) = (*server, sent.clone(), connections.clone());
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).expect("a proxy's port");
            let address = listener.local_addr().expect("an address");
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let Ok(upstream) = TcpStream::connect(server) else {
                        continue;
                    };
                    let number = {
                        let mut count = connections.lock().expect("a counter");
                        *count += 1;
                        *count
                    };
                    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
                    let (back, forth) = (upstream.try_clone(), client.try_clone());
                    let (Ok(back), Ok(forth)) = (back, forth) else { continue };
                    let sent = sent.clone();
                    thread::spawn(move || {
                        copy(forth, upstream, |bytes| {
                            let one = Sent {
                                connection: number,
                                at: Instant::now(),
                                bytes: bytes.to_vec(),
                            };
                            sent.lock().expect("the recording").push(one);
                        })
                    });
                    thread::spawn(move || copy(back, client, |_| {}));
                }
            });
            address
        };
        let addresses = servers.iter().map(proxy).collect();
        Self { sent, addresses }
    }

    /// What was sent since then by the connection that sent most requests since then, without pings.
    pub fn busiest_since(&self, since: Instant) -> Vec<Request> {
        let sent = self.sent.lock().expect("the recording");
        let mut all: BTreeMap<usize, Vec<(Instant, &[u8])>> = BTreeMap::new();
        for one in sent.iter() {
            all.entry(one.connection).or_default().push((one.at, &one.bytes));
        }
        let of_each = all.values().map(|parts| requests(parts, since));
        of_each.max_by_key(Vec::len).unwrap_or_default()
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut chunk = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        note(&chunk[..count]);
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A request as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its kind.
    pub op: i32,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// The frames after the first, which opens the session.
fn requests(parts: &[(Instant, &[u8])], since: Instant) -> Vec<Request> {
    let mut bytes = Vec::new();
    let mut found = Vec::new();
    let mut is_first = true;
    for (at, part) in parts {
        bytes.extend_from_slice(part);
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let length = i32::from_be_bytes(*length) as usize;
            if rest.len() < length {
                break;
            }
            let frame = rest[..length].to_vec();
            bytes.drain(..4 + length);
            if std::mem::take(&mut is_first) || *at < since {
                continue;
            }
            let op = i32::from_be_bytes(frame[4..8].try_into().expect("a header"));
            if op != PING {
                found.push(Request {
                    op,
                    body: frame[8..].to_vec(),
                });
            }
        }
    }
    found
}

/// The same without what it expects of versions.
pub fn any_version(request: &Request) -> Request {
    let mut body = request.body.clone();
    match request.op {
        SET | DELETE | CHECK => forget_last_int(&mut body),
        MULTI => forget_in_multi(&mut body).expect("a multi of Kafka's"),
        _ => {}
    }
    Request { op: request.op, body }
}

fn forget_last_int(body: &mut [u8]) {
    let at = body.len() - 4;
    body[at..].copy_from_slice(&(-1i32).to_be_bytes());
}

fn forget_in_multi(body: &mut [u8]) -> Option<()> {
    let mut versions = Vec::new();
    {
        let mut input = In::new(body);
        let total = body.len();
        loop {
            let (op, is_last, _err) = (input.int()?, input.bool()?, input.int()?);
            if is_last {
                break;
            }
            input.buffer()?;
            match op {
                CHECK | DELETE => {}
                SET => drop(input.buffer()?),
                CREATE | CREATE2 => {
                    input.buffer()?;
                    for _ in 0..input.int()? {
                        let _acl = (input.int()?, input.buffer()?, input.buffer()?);
                    }
                    input.int()?;
                    continue;
                }
                _ => return None,
            }
            versions.push(total - input.rest().len());
            input.int()?;
        }
    }
    for at in versions {
        body[at..at + 4].copy_from_slice(&(-1i32).to_be_bytes());
    }
    Some(())
}

/// What a replay took.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// From the first request to the last answer.
    pub wall: Duration,
    /// Of all servers together, µs.
    pub cpu_us: u64,
    /// How many answers had which error code.
    pub errors: BTreeMap<i32, usize>,
}

/// Sends them to this server in a session of their own; `pids` are the servers whose processor time counts. What may go
/// goes at once, so that the time is the servers' and little of it the sender's.
pub fn replay(requests: &[Request], address: SocketAddr, pids: &[u32]) -> Replayed {
    let (mut client, _) = RawClient::open(address, &Attach::default());
    client.patience(Duration::from_secs(30));
    let cpu_before = cpu_us(pids);
    let since = Instant::now();
    let mut errors = BTreeMap::new();
    let (mut sent, mut answered) = (0, 0);
    while answered < requests.len() {
        if !client.has_packet() {
            let mut together = Vec::new();
            while sent < requests.len() && sent - answered < IN_FLIGHT {
                let Request { op, body } = &requests[sent];
                sent += 1;
                together.extend(framed(sent as i32, *op, body));
            }
            client.send_bytes(&together);
        }
        let packet = client.packet().expect("an answer to a replayed request");
        if packet.xid != -1 {
            answered += 1;
            assert_eq!(packet.xid, answered as i32, "answers in order");
            *errors.entry(packet.err).or_default() += 1;
        }
    }
    let wall = since.elapsed();
    let cpu_us = cpu_us(pids) - cpu_before;
    client.call(sent as i32 + 1, CLOSE, &[], &mut Vec::new());
    Replayed { wall, cpu_us, errors }
}

/// Of all threads of these processes, as the scheduler counts it.
fn cpu_us(pids: &[u32]) -> u64 {
    let of_process = |pid: &u32| -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a running server");
        let of_task = |task: std::fs::DirEntry| -> u64 {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        tasks.flatten().map(of_task).sum()
    };
    pids.iter().map(of_process).sum::<u64>() / 1000
}

#[test]
fn versions_are_taken_out() {
    use crate::peers::jute::Out;
    let set = |version| Out::new().string("/a").buffer(b"x").int(version);
    let header = |out: Out, op| out.int(op).bool(false).int(-1);
    let multi = |version| {
        let out = header(Out::new(), CREATE)
            .string("/c")
            .buffer(b"d")
            .acls(&[(31, "world", "anyone")])
            .int(1);
        let out = header(out, CHECK).string("/e").int(version);
        let out = header(out, SET).raw(&set(version).0);
        out.int(-1).bool(true).int(-1).0
    };
    let taken = |op, body| any_version(&Request { op, body }).body;
    assert_eq!(taken(SET, set(7).0), set(-1).0);
    assert_eq!(taken(MULTI, multi(7)), multi(-1));
    assert_eq!(taken(CREATE, multi(7)), multi(7), "others stay as they are");
}

#[test]
fn a_recording_is_cut_into_requests() {
    let frame = |op: i32| framed(1, op, b"body");
    let bytes: Vec<u8> = [frame(100), frame(4), frame(PING), frame(5)].concat();
    let now = Instant::now();
    let parts: Vec<(Instant, &[u8])> = bytes.chunks(7).map(|part| (now, part)).collect();
    let found: Vec<i32> = requests(&parts, now).iter().map(|request| request.op).collect();
    assert_eq!(found, [4, 5], "without the handshake and the ping");
    assert!(requests(&parts, now + Duration::from_secs(1)).is_empty());
}
