//! What is printed and what is passed over. Every filter that is given must match.

use std::str::FromStr;

use clap::Args;
use ringkeeper::base::path;

/// The filters that both tools have.
#[derive(Args, Clone, Debug, Default)]
pub struct Filters {
    /// Only these zxids, both ends included; hexadecimal with 0x or decimal, either end may be left out.
    #[arg(long, value_name = "FROM..TO")]
    pub zxid: Option<ZxidRange>,
    /// Only this node and what is below it.
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    pub path: Option<String>,
    /// Only this session; hexadecimal with 0x or decimal.
    #[arg(long, value_name = "ID", value_parser = parse_session)]
    pub session: Option<i64>,
    /// Only these types, separated by commas.
    #[arg(long = "type", value_name = "TYPES", value_delimiter = ',')]
    pub types: Vec<String>,
}

/// Zxids from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZxidRange {
    from: u64,
    to: u64,
}

impl ZxidRange {
    /// Whether a zxid is among them.
    pub fn contains(&self, zxid: i64) -> bool {
        (self.from..=self.to).contains(&(zxid as u64))
    }
}

impl FromStr for ZxidRange {
    type Err = String;

    fn from_str(text: &str) -> Result<ZxidRange, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        if from.is_empty() && to.is_empty() {
            return Err("one end at least must be given".into());
        }
        let end = |text: &str, open| if text.is_empty() { Ok(open) } else { parse_id(text) };
        let range = ZxidRange {
            from: end(from, 0)?,
            to: end(to, u64::MAX)?,
        };
        if range.from > range.to {
            return Err(format!("0x{:x} is above 0x{:x}", range.from, range.to));
        }
        Ok(range)
    }
}

fn parse_id(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        // `from_str_radix` would take a sign.
        Some(digits) if digits.starts_with('+') => return Err(format!("{text:?} is not a number")),
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{text:?} is not a number of 64 bits ({error}); hexadecimal ones begin with 0x"))
}

fn parse_session(text: &str) -> Result<i64, String> {
    match text.strip_prefix('-') {
        Some(_) => text.parse().map_err(|error| format!("{text:?}: {error}")),
        None => parse_id(text).map(|id| id as i64),
    }
}

fn parse_prefix(text: &str) -> Result<String, String> {
    match path::validate(text) {
        Ok(()) => Ok(path::canonical(text).to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Filters {
    /// Refuses a type that does not exist: a filter with a slip of the pen would pass everything over in silence.
    pub fn check_types(&self, known: &[&str]) -> Result<(), String> {
        match self.types.iter().find(|wanted| !known.contains(&wanted.as_str())) {
            Some(unknown) => Err(format!(
                "there is no type {unknown:?}; the types are {}",
                known.join(", ")
            )),
            None => Ok(()),
        }
    }

    /// Whether one of these types is wanted.
    pub fn wants_type(&self, names: &[&str]) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| names.contains(&wanted.as_str()))
    }

    /// Whether one of these zxids is wanted.
    pub fn wants_zxid(&self, zxids: &[i64]) -> bool {
        self.zxid
            .is_none_or(|range| zxids.iter().any(|zxid| range.contains(*zxid)))
    }

    /// Whether this session is wanted.
    pub fn wants_session(&self, session: i64) -> bool {
        self.session.is_none_or(|wanted| wanted == session)
    }

    /// Whether one of these paths is wanted.
    pub fn wants_path<'p>(&self, mut paths: impl Iterator<Item = &'p str>) -> bool {
        match &self.path {
            None => true,
            Some(prefix) => paths.any(|path| is_below(prefix, path)),
        }
    }
}

/// Whether `path` is `prefix` or lies below it, by whole names.
fn is_below(prefix: &str, path: &str) -> bool {
    path::canonical(path)
        .strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |text: &str| text.parse::<ZxidRange>();
        assert_eq!(range("0x10..0x1F"), Ok(ZxidRange { from: 16, to: 31 }));
        assert_eq!(range("7.."), Ok(ZxidRange { from: 7, to: u64::MAX }));
        assert_eq!(range("..0x500000000"), Ok(ZxidRange { from: 0, to: 5 << 32 }));
        assert_eq!(range("9"), Ok(ZxidRange { from: 9, to: 9 }));
        assert!(range("9").unwrap().contains(9) && !range("9").unwrap().contains(10));
        for wrong in [
            "",
            "..",
            "x",
            "5..4",
            "0x..",
            "0x+5",
            "-1",
            "1..2..3",
            "0xfffffffffffffffff",
        ] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sessions_are_what_any_tool_prints() {
        assert_eq!(parse_session("0x1000abc"), Ok(0x1000abc));
        assert_eq!(parse_session("0xffffffffffffffff"), Ok(-1));
        assert_eq!(parse_session("-1"), Ok(-1));
        assert!(parse_session("zk").is_err());
    }

    #[test]
    fn prefixes_are_whole_names() {
        let filters = |text: &str| Filters {
            path: Some(parse_prefix(text).unwrap()),
            ..Filters::default()
        };
        let wants = |prefix: &str, path: &str| filters(prefix).wants_path([path].into_iter());
        assert!(wants("/a", "/a") && wants("/a", "/a/b") && !wants("/a", "/ab") && !wants("/a", "/"));
        assert!(wants("/", "/") && wants("/", "/a") && wants("/", ""));
        assert!(parse_prefix("a").is_err() && parse_prefix("/a/").is_err());
    }

    #[test]
    fn a_type_that_is_none_is_refused() {
        let filters = Filters {
            types: vec!["create".into(), "delte".into()],
            ..Filters::default()
        };
        let error = filters.check_types(&["create", "delete"]).unwrap_err();
        assert_eq!(error, "there is no type \"delte\"; the types are create, delete");
        assert!(filters.wants_type(&["multi", "create"]) && !filters.wants_type(&["setData"]));
    }
}
