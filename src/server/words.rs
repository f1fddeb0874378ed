//! Four-letter words on a client's connection.

use std::rc::Rc;

use super::conn::Conn;
use super::core::Core;

impl Core {
    /// If the first bytes are a four-letter word, answers it and ends the connection.
    pub(super) fn try_word(self: &Rc<Core>, _conn: &Rc<Conn>, _bytes: &[u8]) -> bool {
        false
    }
}
