//! `zoo.cfg`: whatever it says, the answer is a configuration or a list of problems.
//!
//! Host names are not looked up and no other file is opened: both belong to the machine, not to the reader.

use ringkeeper::server::config::{from_bytes, properties};

/// Keys whose values name hosts or files that reading would go and ask.
pub const OUTSIDE: &[&str] = &["clientPortAddress", "admin.serverAddress", "dynamicConfigFile"];

/// Reads the bytes.
pub fn read_any(bytes: &[u8]) {
    let asks_outside = |name: &str| OUTSIDE.contains(&name) || name.starts_with("server.");
    let entries = properties::parse(bytes).unwrap_or_default();
    if entries.iter().any(|entry| asks_outside(&entry.key)) {
        return;
    }
    if let Err(refusal) = from_bytes("fuzz.cfg", bytes, &[], || Ok(())) {
        assert!(!refusal.problems.is_empty(), "a refusal without a reason");
        assert!(refusal.problems.iter().all(|problem| !problem.is_empty()));
    }
}
