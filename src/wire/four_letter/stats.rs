//! `srvr`, `stat` and `cons`: what the server has done, and for whom (`StatCommand`, `ConsCommand`, `ServerStats`).

use std::fmt::Write;
use std::net::SocketAddr;

use super::monitor::Summary;
use super::{VERSION, java_double};

/// What `srvr` and the end of `stat` tell.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct ServerLines {
    pub latency: Summary,
    pub received: u64,
    pub sent: u64,
    /// Connections alive, the asking one included.
    pub connections: usize,
    /// Requests read and not answered.
    pub outstanding: usize,
    pub zxid: i64,
    /// `standalone`, `leader`, `follower`, `observer` or `read-only`.
    pub mode: &'static str,
    pub nodes: u64,
    /// A leader's: bytes of the last proposal, the smallest, the largest; −1 before the first.
    pub proposals: Option<[i64; 3]>,
}

/// One connection in `stat` and `cons`.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Connection {
    pub peer: SocketAddr,
    /// Whether it is read from; what is being answered with a word is not.
    pub reading: bool,
    pub queued: usize,
    pub received: u64,
    pub sent: u64,
    /// Its session is 0 where there is none; `cons` then shows nothing of it.
    pub served: Served,
}

/// What a session's connection was last served with.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Served {
    pub session: i64,
    /// `NA` before the first request.
    pub last_op: &'static str,
    /// Wall clock ms.
    pub established_ms: i64,
    pub timeout_ms: i32,
    /// Negative before the first request.
    pub last_cxid: i64,
    /// −1 before the first reply.
    pub last_zxid: i64,
    /// Monotonic ms.
    pub last_response_ms: u64,
    pub last_latency_ms: u64,
    pub latency: Summary,
}

/// The answer to `srvr`.
pub fn append_server(out: &mut String, lines: &ServerLines) {
    append_version(out, lines);
    append_counts(out, lines);
}

/// The answer to `stat`.
pub fn append_stat(out: &mut String, connections: &[Connection], lines: &ServerLines) {
    append_version(out, lines);
    out.push_str("Clients:\n");
    for connection in connections {
        append_brief(out, connection);
        out.push_str(")\n");
    }
    out.push('\n');
    append_counts(out, lines);
}

/// The answer to `cons`.
pub fn append_connections(out: &mut String, connections: &[Connection]) {
    for connection in connections {
        append_brief(out, connection);
        if connection.served.session != 0 {
            append_served(out, &connection.served);
        }
        out.push_str(")\n");
    }
    out.push('\n');
}

fn append_version(out: &mut String, lines: &ServerLines) {
    let _ = writeln!(out, "Zookeeper version: {VERSION}");
    if lines.mode == "read-only" {
        out.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
}

fn append_counts(out: &mut String, lines: &ServerLines) {
    let ServerLines {
        latency,
        received,
        sent,
        connections,
        outstanding,
        zxid,
        mode,
        nodes,
        proposals,
    } = lines;
    let (min, average, max) = (latency.min(), java_double(latency.average()), latency.max());
    let _ = write!(
        out,
        "Latency min/avg/max: {min}/{average}/{max}\n\
         Received: {received}\n\
         Sent: {sent}\n\
         Connections: {connections}\n\
         Outstanding: {outstanding}\n\
         Zxid: 0x{zxid:x}\n\
         Mode: {mode}\n\
         Node count: {nodes}\n"
    );
    if let Some([last, min, max]) = proposals {
        let _ = writeln!(out, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
}

fn append_brief(out: &mut String, connection: &Connection) {
    let Connection {
        peer,
        reading,
        queued,
        received,
        sent,
        ..
    } = connection;
    let peer = java_socket(peer);
    let interest = *reading as u8;
    let _ = write!(out, " {peer}[{interest}](queued={queued},recved={received},sent={sent}");
}

fn append_served(out: &mut String, served: &Served) {
    let Served {
        session,
        last_op,
        established_ms,
        timeout_ms,
        last_cxid,
        last_zxid,
        ..
    } = served;
    let _ = write!(
        out,
        ",sid=0x{session:x},lop={last_op},est={established_ms},to={timeout_ms}"
    );
    if *last_cxid >= 0 {
        let _ = write!(out, ",lcxid=0x{last_cxid:x}");
    }
    let (response, last) = (served.last_response_ms, served.last_latency_ms);
    // A connection's average is a whole number, the server's is not.
    let (min, average, max) = (
        served.latency.min(),
        served.latency.whole_average(),
        served.latency.max(),
    );
    let _ = write!(
        out,
        ",lzxid=0x{last_zxid:x},lresp={response},llat={last},minlat={min},avglat={average},maxlat={max}"
    );
}

/// `InetSocketAddress#toString` of an address without a name.
pub(crate) fn java_socket(peer: &SocketAddr) -> String {
    let port = peer.port();
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(address) => format!("/{address}:{port}"),
        std::net::IpAddr::V6(address) => {
            let groups: Vec<String> = address.segments().iter().map(|group| format!("{group:x}")).collect();
            format!("/[{}]:{port}", groups.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> ServerLines {
        let mut latency = Summary::default();
        [0, 1, 13].into_iter().for_each(|ms| latency.add(ms));
        ServerLines {
            latency,
            received: 12,
            sent: 11,
            connections: 2,
            outstanding: 0,
            zxid: 0x1f,
            mode: "standalone",
            proposals: None,
            nodes: 5,
        }
    }

    fn connections() -> Vec<Connection> {
        let mut latency = Summary::default();
        [0, 7].into_iter().for_each(|ms| latency.add(ms));
        let served = Served {
            session: 0x1000_0000_0abc,
            last_op: "GETD",
            established_ms: 1_764_000_000_123,
            timeout_ms: 30_000,
            last_cxid: 26,
            last_zxid: 31,
            last_response_ms: 777,
            last_latency_ms: 7,
            latency,
        };
        let unused = Served {
            last_op: "NA",
            last_cxid: -1,
            last_zxid: -1,
            latency: Summary::default(),
            ..served.clone()
        };
        let row = |peer: &str, served| Connection {
            peer: peer.parse().unwrap(),
            reading: true,
            queued: 1,
            received: 3,
            sent: 2,
            served,
        };
        let none = Served {
            session: 0,
            ..unused.clone()
        };
        let asking = Connection {
            reading: false,
            queued: 0,
            received: 1,
            sent: 0,
            ..row("127.0.0.1:50000", none)
        };
        vec![
            asking,
            row("[::1]:40001", served),
            row("[::ffff:10.0.0.1]:40002", unused),
        ]
    }

    #[test]
    fn srvr() {
        let mut out = String::new();
        append_server(&mut out, &lines());
        assert_eq!(
            out,
            format!(
                "Zookeeper version: {VERSION}\nLatency min/avg/max: 0/4.6667/13\nReceived: 12\nSent: 11\nConnections: 2\n\
                 Outstanding: 0\nZxid: 0x1f\nMode: standalone\nNode count: 5\n"
            )
        );
    }

    #[test]
    fn stat() {
        let mut out = String::new();
        append_stat(&mut out, &connections(), &lines());
        let clients = " /127.0.0.1:50000[0](queued=0,recved=1,sent=0)\n \
                       /[0:0:0:0:0:0:0:1]:40001[1](queued=1,recved=3,sent=2)\n \
                       /10.0.0.1:40002[1](queued=1,recved=3,sent=2)\n";
        let start = format!("Zookeeper version: {VERSION}\nClients:\n{clients}\nLatency min/avg/max: 0/4.6667/13\n");
        assert!(out.starts_with(&start), "{out}");
        assert!(out.ends_with("Mode: standalone\nNode count: 5\n"), "{out}");
    }

    #[test]
    fn cons() {
        let mut out = String::new();
        append_connections(&mut out, &connections());
        assert_eq!(
            out,
            " /127.0.0.1:50000[0](queued=0,recved=1,sent=0)\n \
             /[0:0:0:0:0:0:0:1]:40001[1](queued=1,recved=3,sent=2,sid=0x100000000abc,lop=GETD,est=1764000000123,to=30000,\
             lcxid=0x1a,lzxid=0x1f,lresp=777,llat=7,minlat=0,avglat=3,maxlat=7)\n \
             /10.0.0.1:40002[1](queued=1,recved=3,sent=2,sid=0x100000000abc,lop=NA,est=1764000000123,to=30000,\
             lzxid=0xffffffffffffffff,lresp=777,llat=7,minlat=0,avglat=0,maxlat=0)\n\n"
        );
    }
}
