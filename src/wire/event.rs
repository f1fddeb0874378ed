//! Watch events: what the server tells a client unasked.

use super::frame;
use super::jute::Writer;

/// The xid of every notification.
pub const NOTIFICATION_XID: i32 = -1;

/// What happened to a node. The server sends no other types; clients make the rest up themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum EventType {
    /// The node was created.
    Created = 1,
    /// The node was deleted.
    Deleted = 2,
    /// Its data changed.
    DataChanged = 3,
    /// A child came or went.
    ChildrenChanged = 4,
}

/// The keeper state in every notification: SyncConnected.
const SYNC_CONNECTED: i32 = 3;

/// Appends a notification frame; `zxid` is that of the change, −1 for replays of `setWatches`.
/// Gives the frame's length.
pub fn append(out: &mut Vec<u8>, zxid: i64, event: EventType, path: &str) -> usize {
    frame::append(out, |out| {
        let mut w = Writer::new(out);
        w.int(NOTIFICATION_XID);
        w.long(zxid);
        w.int(0);
        w.int(event as i32);
        w.int(SYNC_CONNECTED);
        w.text(path);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let mut out = Vec::new();
        append(&mut out, 5, EventType::DataChanged, "/a");
        assert_eq!(
            out,
            b"\0\0\0\x1e\xff\xff\xff\xff\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x03\0\0\0\x03\0\0\0\x02/a"
        );
    }
}
