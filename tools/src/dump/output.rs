//! Lines: one fact each, in words for people or as a JSON object for programs.

use std::fmt::Display;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ringkeeper::wire::acl::Acl;
use ringkeeper::wire::show;
use serde_json::{Map, Value, json};

/// Where lines go, and in which form.
pub struct Output<'w> {
    writer: Box<dyn Write + 'w>,
    json: bool,
}

impl<'w> Output<'w> {
    /// Writes through a buffer; [`Output::finish`] empties it.
    pub fn new(writer: impl Write + 'w, json: bool) -> Output<'w> {
        Output {
            writer: Box::new(io::BufWriter::with_capacity(64 << 10, writer)),
            json,
        }
    }

    /// One line in the form that was asked for; the other is not built.
    pub fn line<Text: Display>(
        &mut self,
        text: impl FnOnce() -> Text,
        object: impl FnOnce() -> Object,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.writer, &object().0)?;
            self.writer.write_all(b"\n")
        } else {
            writeln!(self.writer, "{}", text())
        }
    }

    /// Everything has been written.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A JSON object that is put together key by key.
#[derive(Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// An object that says what it is about.
    pub fn of_type(name: &str) -> Object {
        Object::default().with("type", name)
    }

    /// Adds a key.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Object {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a 64-bit id.
    #[must_use]
    pub fn with_id(self, key: &str, id: i64) -> Object {
        self.with(key, hex(id))
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Value {
        Value::Object(object.0)
    }
}

/// A 64-bit id as text.
pub fn hex(id: i64) -> String {
    format!("0x{id:x}")
}

/// Milliseconds since 1970 as people read them, in UTC; a number that is no time stays a number.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms}ms"), |time| format!("{time:.3}"))
}

/// An ACL's entries.
pub fn acl(entries: &[Acl]) -> Value {
    let entry = |acl: &Acl| json!({"scheme": acl.id.scheme, "id": acl.id.id, "perms": show::perms(acl.perms)});
    entries.iter().map(entry).collect()
}

/// Data in base64, or null.
pub fn data(bytes: Option<&[u8]>) -> Value {
    bytes.map(|bytes| BASE64.encode(bytes)).into()
}

/// Data for people: in quotes, everything but plain ASCII escaped.
pub fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// A count and its noun.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(i64::MAX), format!("{}ms", i64::MAX));
    }

    #[test]
    fn lines_come_in_one_form_or_the_other() {
        for (json, wanted) in [(true, "{\"type\":\"x\",\"zxid\":\"0x5\"}\n"), (false, "x 5\n")] {
            let mut bytes = Vec::new();
            let mut output = Output::new(&mut bytes, json);
            output
                .line(|| "x 5", || Object::of_type("x").with_id("zxid", 5))
                .unwrap();
            output.finish().unwrap();
            assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
        }
    }
}
