//! The syntax of a properties file (`java.util.Properties#load`), with the line each entry begins on.
//!
//! Comments begin with `#` or `!`, a backslash at the end of a line continues it, `=`, `:` or white space ends a key,
//! and `\t \n \r \f \uXXXX` are escapes. Then keys and values are trimmed (`QuorumPeerConfig#parseProperties`).
//! One thing is wider than Java: bytes that are valid UTF-8 are read as that, not as ISO 8859-1.

/// One `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unescaped and trimmed.
    pub key: String,
    /// Unescaped and trimmed; may be empty.
    pub value: String,
    /// The line its key stands on, from 1.
    pub line: u32,
}

/// An escape `\u` without four hexadecimal digits, and the line its entry begins on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEscape {
    /// From 1.
    pub line: u32,
}

/// All entries in the order they are written; a key that comes twice is there twice.
pub fn parse(bytes: &[u8]) -> Result<Vec<Entry>, BadEscape> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    logical_lines(&text)
        .into_iter()
        .map(|(line, text)| {
            entry(&text)
                .ok_or(BadEscape { line })
                .map(|(key, value)| Entry { key, value, line })
        })
        .collect()
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Lines as a person sees them: `\n`, `\r` and `\r\n` end one.
fn natural_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        lines.push(&rest[..end]);
        let length = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
    }
    lines.push(rest);
    lines
}

/// Joins continued lines and drops comments and blank ones. Escapes are still in.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut open: Option<(u32, String)> = None;
    for (index, line) in natural_lines(text).into_iter().enumerate() {
        let line = line.trim_start_matches(is_blank);
        // A line that holds nothing but a backslash begins no entry: what follows may still be a comment.
        open = open.filter(|(_, joined)| !joined.is_empty());
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let (number, mut joined) = open.take().unwrap_or((index as u32 + 1, String::new()));
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            joined.push_str(&line[..line.len() - 1]);
            open = Some((number, joined));
        } else {
            joined.push_str(line);
            found.push((number, joined));
        }
    }
    found.extend(open.filter(|(_, joined)| !joined.is_empty()));
    found
}

/// Splits at the first separator that is not escaped. `None` is a bad `\u`.
fn entry(line: &str) -> Option<(String, String)> {
    let mut escaped = false;
    let end = line
        .char_indices()
        .find(|(_, c)| {
            let ends = !escaped && (is_blank(*c) || matches!(c, '=' | ':'));
            escaped = !escaped && *c == '\\';
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let rest = line[end..].trim_start_matches(is_blank);
    let value = rest
        .strip_prefix(['=', ':'])
        .unwrap_or(rest)
        .trim_start_matches(is_blank);
    Some((trim(&unescape(&line[..end])?), trim(&unescape(value)?)))
}

/// `String#trim`: everything up to the space goes.
fn trim(text: &str) -> String {
    text.trim_matches(|c| c <= ' ').to_owned()
}

fn unescape(text: &str) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                None => break,
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let digits = chars.as_str().get(..4)?;
                    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return None;
                    }
                    units.push(u16::from_str_radix(digits, 16).ok()?);
                    chars = chars.as_str()[4..].chars();
                    continue;
                }
                Some(other) => other,
            },
            plain => plain,
        };
        units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(&str, &str, u32)]) {
        let found = parse(text.as_bytes()).expect("it parses");
        let found: Vec<_> = found
            .iter()
            .map(|e| (e.key.as_str(), e.value.as_str(), e.line))
            .collect();
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn separators() {
        check(
            "a=1\nb:2\nc 3\nd\t=\t4\ne = = 5\nf",
            &[
                ("a", "1", 1),
                ("b", "2", 2),
                ("c", "3", 3),
                ("d", "4", 4),
                ("e", "= 5", 5),
                ("f", "", 6),
            ],
        );
    }

    #[test]
    fn comments_and_blank_lines() {
        check(
            "# a=1\r\n  ! b\\\r\n\r\n \t\n c=1 # not a comment  \n",
            &[("c", "1 # not a comment", 5)],
        );
    }

    #[test]
    fn continuations_keep_the_first_line_number() {
        check(
            "a=1,\\\n   2,\\\r\n\t3\nb=x\\\\\nc=y\\",
            &[("a", "1,2,3", 1), ("b", "x\\", 4), ("c", "y", 5)],
        );
        check("a=1\\\n# no comment\n", &[("a", "1# no comment", 1)]);
        check("\\\n# a comment\n\\\n\nb=1\\\n\nc=2", &[("b", "1", 5), ("c", "2", 7)]);
    }

    #[test]
    fn escapes() {
        check("a\\ b\\=c=\\u0041\\t|\\q\\\\", &[("a b=c", "A\t|q\\", 1)]);
        check("a=\\ud83d\\ude00", &[("a", "\u{1f600}", 1)]);
        assert_eq!(parse(b"x=1\ny=\\u12G4"), Err(BadEscape { line: 2 }));
        assert_eq!(parse(b"y=\\u12"), Err(BadEscape { line: 1 }));
    }

    #[test]
    fn a_windows_path_loses_its_backslashes_as_in_java() {
        check("dataDir=C:\\data\\zk", &[("dataDir", "C:datazk", 1)]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin_1() {
        assert_eq!(parse(b"a=\xe9").unwrap()[0].value, "\u{e9}");
        assert_eq!(parse("a=\u{e9}".as_bytes()).unwrap()[0].value, "\u{e9}");
    }
}
