//! How a line falls into words (`ZooKeeperMain.MyCommandOptions#parseCommand`).
//!
//! The two patterns are Java's, oddities included: a quote ends a word only where it began one, and a line of blanks
//! is one word made of a blank.

use std::sync::LazyLock;

use regex::Regex;

static WORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"[ \t\n\x0B\f\r]*([^"'][^ \t\n\x0B\f\r]*|"[^"]*"|'[^']*')[ \t\n\x0B\f\r]*"#).expect("a constant")
});

/// The words of a line, their quotes taken off. Empty only for a line without any word.
pub fn split(line: &str) -> Vec<String> {
    WORD.captures_iter(line)
        .map(|found| unquoted(&found[1]).to_owned())
        .collect()
}

fn unquoted(word: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = word.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_split_as_java_splits_them() {
        for (line, words) in [
            ("create /a data", vec!["create", "/a", "data"]),
            (
                "  set   /a \"two words\"  'a b' ",
                vec!["set", "/a", "two words", "a b"],
            ),
            ("set /a \"\"", vec!["set", "/a", ""]),
            ("set /a it's", vec!["set", "/a", "it's"]),
            ("get \"/open", vec!["get", "/open"]),
            (" ", vec![" "]),
        ] {
            assert_eq!(split(line), words, "{line:?}");
        }
        assert!(split("").is_empty());
    }
}
