//! Sessions as the tree keeps them: a timeout and a count of ephemerals. Liveness is the replica's business.

/// A session's value in the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The negotiated timeout.
    pub timeout_ms: i32,
    /// How many ephemerals it owns.
    pub ephemerals: u32,
}

impl SessionRecord {
    /// The value.
    pub fn encode(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.timeout_ms.to_be_bytes());
        bytes[4..].copy_from_slice(&self.ephemerals.to_be_bytes());
        bytes
    }

    /// Reads a value; `None` if it is not whole.
    pub fn decode(value: &[u8]) -> Option<SessionRecord> {
        let (timeout, rest) = value.split_first_chunk::<4>()?;
        let ephemerals = rest.first_chunk::<4>()?;
        Some(SessionRecord {
            timeout_ms: i32::from_be_bytes(*timeout),
            ephemerals: u32::from_be_bytes(*ephemerals),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let record = SessionRecord {
            timeout_ms: 4000,
            ephemerals: 3,
        };
        assert_eq!(SessionRecord::decode(&record.encode()), Some(record));
        assert_eq!(SessionRecord::decode(&[0; 7]), None);
    }
}
