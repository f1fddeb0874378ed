//! The rules of znode paths (`PathUtils#validatePath`) and the reserved nodes.
//!
//! Reads look any text up; only writes validate. Names are never normalised.

use std::fmt;

/// The reserved subtree.
pub const ZOOKEEPER: &str = "/zookeeper";
/// Where quotas are kept.
pub const QUOTA: &str = "/zookeeper/quota";
/// The membership text.
pub const CONFIG: &str = "/zookeeper/config";

/// Why a path is not one; `Display` gives the sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Length zero.
    Empty,
    /// The first character is not a slash.
    NotAbsolute,
    /// A slash at the end.
    TrailingSlash,
    /// `//` at this byte.
    EmptyName(usize),
    /// `.` or `..` at this byte.
    RelativeName(usize),
    /// A character that no path may hold, at this byte.
    Forbidden(usize),
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathError::Empty => write!(f, "a path must not be empty"),
            PathError::NotAbsolute => write!(f, "a path must start with '/'"),
            PathError::TrailingSlash => write!(f, "a path must not end with '/'"),
            PathError::EmptyName(at) => write!(f, "empty node name at byte {at}"),
            PathError::RelativeName(at) => write!(f, "relative node name at byte {at}"),
            PathError::Forbidden(at) => write!(f, "forbidden character at byte {at}"),
        }
    }
}

/// Checks a path as every write does.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if path.len() == 1 {
        return Ok(());
    }
    if is_plain(&path.as_bytes()[1..]) {
        return Ok(());
    }
    if path.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    let mut at = 1;
    for name in path[1..].split('/') {
        match name {
            "" => return Err(PathError::EmptyName(at)),
            "." | ".." => return Err(PathError::RelativeName(at)),
            _ => {}
        }
        if let Some((offset, _)) = name.char_indices().find(|&(_, c)| is_forbidden(c)) {
            return Err(PathError::Forbidden(at + offset));
        }
        at += name.len() + 1;
    }
    Ok(())
}

/// Whether what is behind the first slash is right at a glance, as nearly all of it is: printable ASCII, and no name
/// that is empty or begins with a dot. A fifth of what the whole check costs.
fn is_plain(names: &[u8]) -> bool {
    let mut before = b'/';
    for &byte in names {
        if !matches!(byte, b' '..=b'~') || (before == b'/' && matches!(byte, b'/' | b'.')) {
            return false;
        }
        before = byte;
    }
    before != b'/'
}

/// Control characters, the private-use area up to U+F8FF, specials, and whatever Java needs surrogates for.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
        || c > '\u{ffff}'
}

/// The parent's path; the root's is empty, as `DataTree` spells it. `None` without any slash.
pub fn parent(path: &str) -> Option<&str> {
    last_slash(path).map(|slash| &path[..slash])
}

/// The last name of a path.
pub fn name(path: &str) -> &str {
    last_slash(path).map_or(path, |slash| &path[slash + 1..])
}

/// A last name is short: looked at byte by byte it is found in half the time of `rfind`.
fn last_slash(path: &str) -> Option<usize> {
    path.bytes().rposition(|byte| byte == b'/')
}

/// The key under which the tree keeps a path: the root is the empty text.
pub fn canonical(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// The path that clients see for a key of the tree.
pub fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// Nodes that no client may delete (`DataTree#isSpecialPath`).
pub fn is_special(path: &str) -> bool {
    matches!(path, "/" | ZOOKEEPER | QUOTA | CONFIG)
}

/// Every prefix of `path` that names a node, from the path itself up to (without) the root.
pub fn ancestors_and_self(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors((!canonical(path).is_empty()).then_some(path), |p| {
        parent(p).filter(|p| !p.is_empty())
    })
}

/// The first name below the root, for per-namespace counters (`PathUtils#getTopNamespace`).
pub fn top_namespace(path: &str) -> Option<&str> {
    path.strip_prefix('/')
        .and_then(|rest| rest.split('/').next())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for good in [
            "/",
            "/a",
            "/a/b",
            "/a.b/..c",
            "/.a/.../b",
            "/~ !",
            "/é/日本",
            "/a b",
            "/\u{f900}",
        ] {
            assert_eq!(validate(good), Ok(()), "{good:?}");
        }
        let bad = [
            ("", PathError::Empty),
            ("a", PathError::NotAbsolute),
            ("/a//", PathError::TrailingSlash),
            ("//", PathError::TrailingSlash),
            ("/.", PathError::RelativeName(1)),
            ("/a/", PathError::TrailingSlash),
            ("/a//b", PathError::EmptyName(3)),
            ("/./a", PathError::RelativeName(1)),
            ("/a/..", PathError::RelativeName(3)),
            ("/a\0", PathError::Forbidden(2)),
            ("/\u{1f}", PathError::Forbidden(1)),
            ("/\u{7f}", PathError::Forbidden(1)),
            ("/\u{f8ff}", PathError::Forbidden(1)),
            ("/\u{fffd}", PathError::Forbidden(1)),
            ("/😀", PathError::Forbidden(1)),
        ];
        for (path, error) in bad {
            assert_eq!(validate(path), Err(error), "{path:?}");
        }
    }

    #[test]
    fn families() {
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some(""));
        assert_eq!(parent("a"), None);
        assert_eq!(name("/a/b"), "b");
        assert_eq!(ancestors_and_self("/a/b").collect::<Vec<_>>(), ["/a/b", "/a"]);
        assert_eq!(ancestors_and_self("/").count(), 0);
        assert_eq!(top_namespace("/a/b"), Some("a"));
        assert_eq!(top_namespace("/"), None);
    }
}
