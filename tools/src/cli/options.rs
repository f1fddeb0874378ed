//! Dash options as commons-cli 1.5 reads them (`DefaultParser`), and its list of them (`HelpFormatter`).
//!
//! Kept because its rules show: `-sw` is two options, `-v5` and `-v=5` carry a value, `-1` is an unknown option unless
//! a value is due, `--` ends the options. The errors are Java exceptions in text, for that is what zkCli prints.

use std::collections::HashMap;

/// An option a command has.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Without its dash.
    pub name: &'static str,
    /// Whether a value follows.
    pub takes_value: bool,
    /// Its line in the help.
    pub about: &'static str,
}

/// How the options of a command exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// They don't.
    None,
    /// One or none of them.
    AtMostOne,
    /// One of them must be there.
    ExactlyOne,
}

/// A command's words, parted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The command's name and what is no option.
    pub args: Vec<String>,
    options: HashMap<&'static str, Option<String>>,
}

impl Parsed {
    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The option's first value.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.options.get(name)?.as_deref()
    }
}

/// Parts the words of a command, its name included.
///
/// # Errors
/// What commons-cli throws, as Java prints it.
pub fn parse(specs: &'static [Spec], group: Group, words: &[String]) -> Result<Parsed, String> {
    let mut reading = Reading {
        specs,
        group,
        parsed: Parsed::default(),
        pending: None,
        selected: None,
    };
    let mut only_args = false;
    for word in words {
        if only_args {
            reading.parsed.args.push(word.clone());
        } else if word == "--" {
            only_args = true;
        } else {
            reading.word(word)?;
        }
    }
    reading.finish()
}

struct Reading {
    specs: &'static [Spec],
    group: Group,
    parsed: Parsed,
    /// An option whose value has not come yet.
    pending: Option<&'static str>,
    selected: Option<&'static str>,
}

impl Reading {
    fn word(&mut self, word: &str) -> Result<(), String> {
        if let Some(name) = self.pending
            && self.is_value(word)
        {
            self.give_value(name, strip_quotes(word));
            return Ok(());
        }
        match word.strip_prefix('-') {
            Some(rest) if !rest.is_empty() && !rest.starts_with('-') => self.dashed(word, rest),
            _ => self.unknown(word),
        }
    }

    fn dashed(&mut self, word: &str, rest: &str) -> Result<(), String> {
        if let Some(spec) = self.spec(rest) {
            return self.option(spec);
        }
        match rest.split_once('=') {
            None if rest.chars().count() == 1 => self.unknown(word),
            None => self.run_together(word, rest),
            Some((name, value)) => match self.spec(name) {
                Some(spec) if spec.takes_value && name.chars().count() == 1 => {
                    self.option(spec)?;
                    self.give_value(spec.name, value);
                    Ok(())
                }
                _ => self.unknown(word),
            },
        }
    }

    fn run_together(&mut self, word: &str, rest: &str) -> Result<(), String> {
        for (at, letter) in rest.char_indices() {
            let tail = &rest[at + letter.len_utf8()..];
            let Some(spec) = self.spec(letter.encode_utf8(&mut [0; 4])) else {
                return self.unknown(word);
            };
            self.option(spec)?;
            if spec.takes_value && !tail.is_empty() {
                self.give_value(spec.name, tail);
                break;
            }
        }
        Ok(())
    }

    fn option(&mut self, spec: &'static Spec) -> Result<(), String> {
        self.no_value_due()?;
        if self.group != Group::None {
            match self.selected {
                Some(other) if other != spec.name => {
                    return Err(exception(
                        "AlreadySelected",
                        &format!(
                            "The option '{}' was specified but an option from this group has already been selected: '{other}'",
                            spec.name
                        ),
                    ));
                }
                _ => self.selected = Some(spec.name),
            }
        }
        self.parsed.options.entry(spec.name).or_insert(None);
        self.pending = spec.takes_value.then_some(spec.name);
        Ok(())
    }

    fn give_value(&mut self, name: &'static str, value: &str) {
        let slot = self.parsed.options.entry(name).or_insert(None);
        slot.get_or_insert_with(|| value.to_owned());
        self.pending = None;
    }

    fn unknown(&mut self, word: &str) -> Result<(), String> {
        if word.starts_with('-') && word.len() > 1 {
            return Err(exception("UnrecognizedOption", &format!("Unrecognized option: {word}")));
        }
        self.parsed.args.push(word.to_owned());
        Ok(())
    }

    fn no_value_due(&self) -> Result<(), String> {
        match self.pending {
            Some(name) => Err(exception(
                "MissingArgument",
                &format!("Missing argument for option: {name}"),
            )),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<Parsed, String> {
        self.no_value_due()?;
        if self.group == Group::ExactlyOne && self.selected.is_none() {
            let all: Vec<String> = self
                .specs
                .iter()
                .map(|spec| format!("-{} {}", spec.name, spec.about))
                .collect();
            return Err(exception(
                "MissingOption",
                &format!("Missing required option: [{}]", all.join(", ")),
            ));
        }
        Ok(self.parsed)
    }

    fn spec(&self, name: &str) -> Option<&'static Spec> {
        self.specs.iter().find(|spec| spec.name == name)
    }

    /// Whether a word is taken as the value that is due: anything but an option, and every number.
    fn is_value(&self, word: &str) -> bool {
        let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            return true;
        };
        let name = rest.split('=').next().unwrap_or_default();
        let first = name.chars().next();
        let is_option =
            self.spec(name).is_some() || first.is_some_and(|c| self.spec(c.encode_utf8(&mut [0; 4])).is_some());
        !is_option || word.parse::<f64>().is_ok()
    }
}

fn strip_quotes(word: &str) -> &str {
    let inner = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(word)
}

fn exception(name: &str, text: &str) -> String {
    format!("org.apache.commons.cli.{name}Exception: {text}")
}

/// The options of a command, a line each, sorted (`HelpFormatter#printOptions`).
pub fn help(specs: &[Spec]) -> String {
    let mut specs = specs.to_vec();
    specs.sort_by_key(|spec| spec.name.to_lowercase());
    let head = |spec: &Spec| format!(" -{}{}", spec.name, if spec.takes_value { " <arg>" } else { "" });
    let width = specs.iter().map(|spec| head(spec).len()).max().unwrap_or(0);
    specs
        .iter()
        .map(|spec| format!("{:width$}   {}\n", head(spec), spec.about))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::catalog::find;

    /// Arguments, and options with their values.
    type Expected<'a> = (&'a [&'a str], &'a [(&'a str, Option<&'a str>)]);

    fn check(line: &str, expected: Result<Expected<'_>, &str>) {
        let words = crate::cli::words::split(line);
        let command = find(&words[0]).unwrap();
        let expected = expected.map_err(|text| format!("org.apache.commons.cli.{text}"));
        match (parse(command.specs, command.group, &words), expected) {
            (Ok(parsed), Ok((args, options))) => {
                assert_eq!(parsed.args[1..], *args, "{line}");
                assert_eq!(parsed.options.len(), options.len(), "{line}");
                for (name, value) in options {
                    assert!(parsed.has(name), "{line}: -{name}");
                    assert_eq!(parsed.value(name), *value, "{line}: -{name}");
                }
            }
            (found, expected) => assert_eq!(found.err(), expected.err(), "{line}"),
        }
    }

    #[test]
    fn options_stand_anywhere_and_run_together() {
        check("ls -sw /a", Ok((&["/a"], &[("s", None), ("w", None)])));
        check("ls /a -R -s", Ok((&["/a"], &[("s", None), ("R", None)])));
        check("delete /a -v5", Ok((&["/a"], &[("v", Some("5"))])));
        check("delete -v=5 /a", Ok((&["/a"], &[("v", Some("5"))])));
        check("delete -v -1 /a", Ok((&["/a"], &[("v", Some("-1"))])));
        check("set /a -- -1", Ok((&["/a", "-1"], &[])));
        check("set /a -", Ok((&["/a", "-"], &[])));
        check(
            "reconfig -add x -remove 3",
            Ok((&[], &[("add", Some("x")), ("remove", Some("3"))])),
        );
    }

    #[test]
    fn errors_are_java_exceptions() {
        check("set /a -1", Err("UnrecognizedOptionException: Unrecognized option: -1"));
        check(
            "ls --help /",
            Err("UnrecognizedOptionException: Unrecognized option: --help"),
        );
        check("ls -sz /", Err("UnrecognizedOptionException: Unrecognized option: -sz"));
        check(
            "delete -v",
            Err("MissingArgumentException: Missing argument for option: v"),
        );
        check(
            "delquota -n -B /a",
            Err(
                "AlreadySelectedException: The option 'B' was specified but an option from this group has already been selected: 'n'",
            ),
        );
        check(
            "setquota /a",
            Err(
                "MissingOptionException: Missing required option: [-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]",
            ),
        );
    }
}
