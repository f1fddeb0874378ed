//! The nouns every room uses: ids, paths, servers and epochs, limits. Knows nobody.

pub mod id;
pub mod limits;
pub mod member;
pub mod path;

pub use id::{SessionId, Xid};
pub use member::{Epoch, ServerId};
pub use storage::Zxid;
