//! Session ids, their derivation and their passwords.
//!
//! Both derivations are Java's (`SessionTrackerImpl#initializeNextSessionId`,
//! `ZooKeeperServer#generatePasswd`), because a session may move between a Java server and ours.

use std::fmt;

/// A client session's id; 0 means "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub i64);

/// A client-chosen request number.
pub type Xid = i32;

/// The length of a session password.
pub const PASSWORD_BYTES: usize = 16;

const PASSWORD_SECRET: i64 = 0xB341_5C00;

impl SessionId {
    /// No session.
    pub const NONE: SessionId = SessionId(0);

    /// The first id a server gives out after a start at `now_ms` (wall clock): the server's number in the
    /// high byte, then five bytes of time, then a counter.
    pub fn first(server_id: u8, now_ms: i64) -> SessionId {
        let time = ((now_ms << 24) as u64 >> 8) as i64;
        SessionId(time | (server_id as i64) << 56).skip_marker()
    }

    /// The id after this one.
    #[must_use]
    pub fn next(self) -> SessionId {
        SessionId(self.0.wrapping_add(1)).skip_marker()
    }

    /// `i64::MIN` marks container nodes and is never a session (`EphemeralType#CONTAINER_EPHEMERAL_OWNER`).
    fn skip_marker(self) -> SessionId {
        if self.0 == i64::MIN {
            SessionId(self.0 + 1)
        } else {
            self
        }
    }

    /// The password that re-attaches this session: sixteen bytes of `java.util.Random`.
    pub fn password(self) -> [u8; PASSWORD_BYTES] {
        const MASK: u64 = (1 << 48) - 1;
        const STEP: u64 = 0x5_DEEC_E66D;
        let mut seed = ((self.0 ^ PASSWORD_SECRET) as u64 ^ STEP) & MASK;
        let mut password = [0; PASSWORD_BYTES];
        for chunk in password.chunks_exact_mut(4) {
            seed = seed.wrapping_mul(STEP).wrapping_add(0xB) & MASK;
            chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
        }
        password
    }

    /// Compares in constant time, so that the answer's delay tells nothing about the password.
    pub fn accepts(self, password: &[u8]) -> bool {
        let expected = self.password();
        password.len() == PASSWORD_BYTES
            && expected
                .iter()
                .zip(password)
                .fold(0, |difference, (a, b)| difference | (a ^ b))
                == 0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_javas() {
        let hex: String = SessionId(0x1234)
            .password()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, "3c18abe05b0e6182741d625d127c15b0");
        assert!(SessionId(0x1234).accepts(&SessionId(0x1234).password()));
        assert!(!SessionId(0x1234).accepts(&SessionId(0x1235).password()));
        assert!(!SessionId(0x1234).accepts(&[]));
    }

    #[test]
    fn first_id_carries_the_server_and_never_the_container_marker() {
        assert_eq!(SessionId::first(1, 1_700_000_000_000).0 >> 56, 1);
        assert_eq!(SessionId(i64::MIN).skip_marker().0, i64::MIN + 1);
        assert_eq!(SessionId(i64::MAX).next().0, i64::MIN + 1);
    }
}
