//! Configuration: a `zoo.cfg` as written, then as meant.
//!
//! ```text
//! bytes -> properties::Entry -> written::Written -> ensemble::Members -> options::Options
//!          syntax, lines        keys, places,       who is a member       what the server is told
//!                               single values
//! ```
//!
//! The table in [`keys`] says of each of ZooKeeper's 254 keys what happens with it here. Everything that is wrong
//! is gathered and told at once; nothing wrong is ever replaced by a guess. A configuration that starts a standalone
//! ZooKeeper means the same here, with these differences, each told at start:
//!
//! * old snapshots and logs are removed unless the file says `autopurge.purgeInterval=0`;
//! * a value that ZooKeeper would silently replace by the default is refused where the key acts;
//! * a server without a client port is refused: nobody could reach it.

pub mod ensemble;
mod judge;
pub mod keys;
mod listen;
pub mod meant;
mod membership;
pub mod nearest;
pub mod notes;
pub mod properties;
pub mod written;

use std::path::Path;

pub use meant::{Config, EngineChoice};
pub use notes::{Level, Notes};
pub use written::{Flags, Written};

/// A configuration that no server can run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Each names its place, what is written there and what could be instead.
    pub problems: Vec<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // ZooKeeper's words (`QuorumPeerMain#main`), then ours.
        f.write_str("Invalid config, exiting abnormally")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// What `zk-server` without arguments runs with: `conf/ringkeeper-minimal.cfg`, compiled in.
pub const EMBEDDED: &str = include_str!("../../../conf/ringkeeper-minimal.cfg");

/// The name of [`EMBEDDED`] in messages.
pub const EMBEDDED_NAME: &str = "(built-in configuration)";

/// Reads a configuration file. `probe` tells whether io_uring can be had.
pub fn load(path: &Path, flags: &[Flags], probe: fn() -> std::io::Result<()>) -> Result<Config, Refusal> {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => from_bytes(&name, &bytes, flags, probe),
        Err(error) => Err(Refusal {
            problems: vec![format!("{name} cannot be read: {error}")],
        }),
    }
}

/// Reads a configuration from memory; `name` is for messages.
pub fn from_bytes(
    name: &str,
    bytes: &[u8],
    flags: &[Flags],
    probe: fn() -> std::io::Result<()>,
) -> Result<Config, Refusal> {
    let mut notes = Notes::default();
    let written = Written::read(name, bytes, flags, &mut notes);
    let mut config = meant::config(&written, notes, probe)?;
    if let Some(admin) = &mut config.options.admin {
        admin.file = String::from_utf8_lossy(bytes).into_owned();
    }
    Ok(config)
}
