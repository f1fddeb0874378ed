//! The handshake: ConnectRequest and ConnectResponse, which have no headers.

use super::frame;
use super::jute::{Decoded, Reader, Writer};

/// A client's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Never checked (`ZooKeeperServer#processConnectRequest`).
    pub protocol_version: i32,
    /// The newest zxid the client has seen anywhere.
    pub last_zxid_seen: i64,
    /// The session timeout it would like, in ms.
    pub timeout_ms: i32,
    /// 0 asks for a new session.
    pub session_id: i64,
    /// The password of a session to re-attach.
    pub password: Option<&'a [u8]>,
    /// Whether a read-only server will do; absent in old clients, whose answer then leaves it out as well.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads it; the last byte is optional.
    pub fn read(frame: &'a [u8]) -> Decoded<ConnectRequest<'a>> {
        let mut r = Reader::new(frame);
        Ok(ConnectRequest {
            protocol_version: r.int()?,
            last_zxid_seen: r.long()?,
            timeout_ms: r.int()?,
            session_id: r.long()?,
            password: r.buffer()?,
            read_only: r.bool().ok(),
        })
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The negotiated timeout; 0 tells the client that its session is gone.
    pub timeout_ms: i32,
    /// The session.
    pub session_id: i64,
    /// Its password.
    pub password: [u8; 16],
    /// Sent only to clients that sent theirs.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The refusal of a re-attachment.
    pub fn refused(read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse {
            timeout_ms: 0,
            session_id: 0,
            password: [0; 16],
            read_only: read_only.map(|_| false),
        }
    }

    /// Appends the frame.
    pub fn append(&self, out: &mut Vec<u8>) {
        frame::append(out, |out| {
            let mut w = Writer::new(out);
            w.int(0);
            w.int(self.timeout_ms);
            w.long(self.session_id);
            w.buffer(Some(&self.password));
            if let Some(read_only) = self.read_only {
                w.bool(read_only);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let frame = b"\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x02ab\x01";
        let request = ConnectRequest::read(frame).unwrap();
        assert_eq!(request.last_zxid_seen, 7);
        assert_eq!((request.timeout_ms, request.session_id), (30_000, 0));
        assert_eq!((request.password, request.read_only), (Some(&b"ab"[..]), Some(true)));
        assert_eq!(ConnectRequest::read(&frame[..frame.len() - 1]).unwrap().read_only, None);
        assert!(ConnectRequest::read(&frame[..20]).is_err());

        let mut out = Vec::new();
        ConnectResponse {
            timeout_ms: 1,
            session_id: 2,
            password: [9; 16],
            read_only: None,
        }
        .append(&mut out);
        assert_eq!(out.len(), 4 + 36);
        assert_eq!(out[..20], *b"\0\0\0\x24\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02");
        out.clear();
        ConnectResponse::refused(Some(true)).append(&mut out);
        assert_eq!(out.len(), 4 + 37);
        assert_eq!(out[out.len() - 1], 0);
    }
}
