//! Every bound of the server and its reason, in one place.

/// The largest request frame: `jute.maxbuffer`'s default (`BinaryInputArchive#maxBuffer`).
pub const FRAME_BYTES_MAX: usize = 0xF_FFFF;

/// A ConnectRequest is 45 bytes; nothing before a session may be larger than this.
pub const CONNECT_BYTES_MAX: usize = 1024;

/// Unread replies and events that one connection may pile up before the server stops reading its requests.
pub const UNSENT_BYTES_SOFT: usize = 4 << 20;

/// Unread events at which a connection that does not read is closed: events cannot be held back by not reading requests.
pub const UNSENT_BYTES_HARD: usize = 256 << 20;

/// How long a connection may stay without a session (`NIOServerCnxnFactory#ZOOKEEPER_NIO_SESSIONLESS_CNXN_TIMEOUT`).
pub const SESSIONLESS_MS: u64 = 10_000;

/// Node data from this size on lies under its own key, so that a change of the Stat does not copy it.
pub const LARGE_DATA_BYTES: usize = 4096;

/// Digests kept for the four-letter word `hash` (`DataTree#DIGEST_LOG_LIMIT`).
pub const DIGEST_LOG_MAX: usize = 1024;

/// One digest is kept for so many transactions (`DataTree#DIGEST_LOG_INTERVAL`).
pub const DIGEST_LOG_INTERVAL: u64 = 128;

const _: () = assert!(CONNECT_BYTES_MAX < FRAME_BYTES_MAX && FRAME_BYTES_MAX < UNSENT_BYTES_SOFT);
const _: () = assert!(UNSENT_BYTES_SOFT < UNSENT_BYTES_HARD);
