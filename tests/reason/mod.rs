//! What a panic said, for tests that catch one, or join a thread that ended with one, and tell of it later. Shared; no
//! test lives here.

use std::any::Any;

/// The panic's message.
pub fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
        .unwrap_or_else(|| "a panic without a message".into())
}
