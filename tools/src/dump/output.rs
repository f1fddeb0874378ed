//! Lines: one fact each, in words for people or as a JSON object for programs.

use std::fmt::{self, Display};
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
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

/// A table for people: numbers to the right, the last column to the left.
pub struct Table {
    title: String,
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a line above it; each row has as many cells as there are heads.
    pub fn new(title: String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Table {
        Table {
            title,
            heads: heads.iter().map(|head| (*head).to_owned()).collect(),
            rows: rows.collect(),
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.heads).chain(&self.rows);
        let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        write!(f, "{}", self.title)?;
        for row in lines() {
            writeln!(f)?;
            let (last, front) = row.split_last().expect("a table has columns");
            for (cell, width) in front.iter().zip(&widths) {
                write!(f, "{cell:>width$}  ")?;
            }
            write!(f, "{last}")?;
        }
        Ok(())
    }
}

/// A share of a whole in per cent.
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}%", part as f64 * 100.0 / whole.max(1) as f64)
}

/// Mean, percentiles and maximum, for people and for programs. Percentiles are within 0.1 %, the others exact.
pub fn percentiles(histogram: &Histogram<u64>, exact: &Extent) -> (String, Value) {
    let mean = exact.sum as f64 / histogram.len().max(1) as f64;
    let mut text = format!("mean {mean:.1}");
    let mut object = Map::new();
    object.insert("mean".into(), json!((mean * 10.0).round() / 10.0));
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
        let value = histogram.value_at_quantile(quantile).min(exact.max);
        text.push_str(&format!(" {name} {value}"));
        object.insert(name.into(), value.into());
    }
    text.push_str(&format!(" max {}", exact.max));
    object.insert("max".into(), exact.max.into());
    (text, object.into())
}

/// What a histogram rounds: the sum and the maximum of what was recorded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Of all values.
    pub sum: u64,
    /// The largest.
    pub max: u64,
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
