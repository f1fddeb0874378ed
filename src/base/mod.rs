//! The nouns every room uses: ids, paths, limits. Knows nobody.

pub mod id;
pub mod limits;
pub mod path;

pub use id::{SessionId, Xid};
pub use storage::Zxid;
