//! JSON as ZooKeeper's admin server prints it: Jackson's default pretty printer, two spaces deep, `"key" : value`,
//! keys in the order in which they were put (`JsonOutputter`).
//!
//! Invariant: whatever the texts hold, the output is valid JSON; only quotes, backslashes and control characters are
//! escaped.

use std::fmt::Write;

/// A value. Numbers come as text that is already JSON's.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Fields),
}

/// Keys and values, in order.
pub type Fields = Vec<(String, Json)>;

impl Json {
    /// A whole number.
    pub fn int(number: impl Into<i128>) -> Json {
        Json::Number(number.into().to_string())
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// A list made from items.
    pub fn list(items: impl IntoIterator<Item = Json>) -> Json {
        Json::List(items.into_iter().collect())
    }

    /// The text.
    pub fn print(&self) -> String {
        let mut out = String::new();
        self.append(&mut out, 0);
        out
    }

    fn append(&self, out: &mut String, depth: usize) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) => out.push_str(text),
            Json::Text(text) => append_text(out, text),
            // Lists stay on one line, as far as what is in them does.
            Json::List(items) => {
                out.push_str("[ ");
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    item.append(out, depth);
                }
                out.push_str(if items.is_empty() { "]" } else { " ]" });
            }
            Json::Map(fields) if fields.is_empty() => out.push_str("{ }"),
            Json::Map(fields) => {
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if index > 0 { ",\n" } else { "{\n" });
                    indent(out, depth + 1);
                    append_text(out, key);
                    out.push_str(" : ");
                    value.append(out, depth + 1);
                }
                out.push('\n');
                indent(out, depth);
                out.push('}');
            }
        }
    }
}

fn indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

fn append_text(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            letter if letter < ' ' => {
                let _ = write!(out, "\\u{:04X}", letter as u32);
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_jackson_prints() {
        let field = |key: &str, value| (key.to_owned(), value);
        let inner = Json::Map(vec![field("a", Json::int(-1)), field("b", Json::Null)]);
        let all = Json::Map(vec![
            field("none", Json::list([])),
            field("empty", Json::Map(vec![])),
            field("numbers", Json::list([Json::int(1), Json::int(2)])),
            field("maps", Json::list([inner.clone(), inner])),
            field("text", Json::text("\"\\\n\u{1}\u{1f}ä")),
            field("yes", Json::Bool(true)),
        ]);
        let printed = all.print();
        assert_eq!(
            printed,
            "{\n  \"none\" : [ ],\n  \"empty\" : { },\n  \"numbers\" : [ 1, 2 ],\n  \"maps\" : [ {\n    \"a\" : -1,\n    \
             \"b\" : null\n  }, {\n    \"a\" : -1,\n    \"b\" : null\n  } ],\n  \
             \"text\" : \"\\\"\\\\\\n\\u0001\\u001Fä\",\n  \"yes\" : true\n}"
        );
    }
}
