//! Lays out the znodes of a load, and removes them again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringkeeper::wire::acl::{Acl, write_list};
use ringkeeper::wire::jute::Writer;

use super::conn::Conn;
use super::keys::Layout;
use super::mix::Kind;

/// "Node exists", which is as good as created.
const NODE_EXISTS: i32 = -110;
/// Requests on their way at once.
const IN_FLIGHT_MAX: usize = 1000;

/// A create request's record.
pub fn write_create(w: &mut Writer<'_>, path: &str, data: &[u8], flags: i32) {
    w.text(path);
    w.buffer(Some(data));
    write_list(w, &[Acl::anyone(31)]);
    w.int(flags);
}

/// Creates every parent and leaf that is not there, pipelined over one connection.
pub fn fill(address: SocketAddr, layout: &Layout, data: &[u8], mut progress: impl FnMut(u64)) -> io::Result<()> {
    let conn = &mut Conn::open(address, 0, Duration::from_secs(30))?;
    for parent in layout.parents() {
        let ends: Vec<usize> = parent
            .match_indices('/')
            .map(|(at, _)| at)
            .skip(1)
            .chain([parent.len()])
            .collect();
        for end in ends {
            create(conn, &parent[..end], b"")?;
            drain(conn, 0)?;
        }
    }
    for index in 0..layout.count {
        create(conn, &layout.leaf(index), data)?;
        if conn.in_flight() >= IN_FLIGHT_MAX {
            drain(conn, IN_FLIGHT_MAX / 2)?;
            progress(index as u64);
        }
    }
    drain(conn, 0)?;
    progress(layout.count as u64);
    Ok(())
}

fn create(conn: &mut Conn, path: &str, data: &[u8]) -> io::Result<()> {
    conn.request(1, Kind::Churn, 0, false, |w| write_create(w, path, data, 0));
    conn.flush().map(drop)
}

/// Waits until at most `left` requests are on their way.
fn drain(conn: &mut Conn, left: usize) -> io::Result<()> {
    while conn.in_flight() > left {
        let waiting = conn.flush()?;
        let mut failed = None;
        conn.receive(|answer| {
            if answer.err != 0 && answer.err != NODE_EXISTS {
                failed = Some(answer.err);
            }
        })?;
        if let Some(code) = failed {
            return Err(io::Error::other(format!(
                "laying out the znodes failed with error code {code}"
            )));
        }
        if !waiting && conn.in_flight() > left {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(())
}
