//! What was written: every setting under its key, with the place it comes from, each value checked by itself.
//!
//! Nothing is decided here; [`super::meant`] does that. What the reader should be told goes into [`Notes`]. The
//! file wins over `-D` flags, the last of two equal keys wins, and a name that stands for no key is a warning, as
//! ZooKeeper starts with any of them (`QuorumPeerConfig#parseProperties`).

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{self, Key, Kind, Set};
use super::notes::Notes;
use super::properties;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file and the line in it.
    Line(String, u32),
    /// An environment variable with JVM flags.
    Flags(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(file, line) => write!(f, "{file}, line {line}"),
            Place::Flags(variable) => write!(f, "{variable}"),
        }
    }
}

/// One setting.
#[derive(Clone)]
pub struct Setting {
    /// What it sets.
    pub key: &'static Key,
    /// The name as written; a family's members differ only here.
    pub name: String,
    /// Trimmed.
    pub value: String,
    /// For messages.
    pub place: Place,
}

impl Setting {
    /// `name=value`, unless the value is a secret.
    pub fn shown(&self) -> String {
        match self.key.kind {
            Kind::Secret => format!("{}=(not shown)", self.name),
            _ => format!("{}={}", self.name, self.value),
        }
    }
}

/// Everything that was written.
#[derive(Clone, Default)]
pub struct Written {
    /// The file's name, for messages about what is not in it.
    pub file: String,
    settings: BTreeMap<String, Setting>,
}

/// One environment variable with JVM flags, and what is in it.
pub type Flags = (&'static str, String);

impl Written {
    /// Takes the flags first and then the file over them. `file` is its name in messages.
    pub fn read(file: &str, bytes: &[u8], flags: &[Flags], notes: &mut Notes) -> Written {
        let mut written = Written {
            file: file.to_owned(),
            ..Written::default()
        };
        for (variable, text) in flags {
            written.take_flags(variable, text, notes);
        }
        written.take_file(file, bytes, notes);
        written
    }

    fn take_file(&mut self, file: &str, bytes: &[u8], notes: &mut Notes) {
        let entries = match properties::parse(bytes) {
            Ok(entries) => entries,
            Err(bad) => {
                let place = Place::Line(file.to_owned(), bad.line);
                return notes.problem(format!("{place}: \\u must be followed by four hexadecimal digits"));
            }
        };
        let mut lines: BTreeMap<String, u32> = BTreeMap::new();
        for entry in entries {
            let place = Place::Line(file.to_owned(), entry.line);
            if let Some(earlier) = lines.insert(entry.key.clone(), entry.line) {
                notes.warn(format!(
                    "{place}: {} is written again; line {earlier} no longer counts",
                    entry.key
                ));
            }
            self.take_line(entry.key, entry.value, place, notes);
        }
    }

    fn take_line(&mut self, name: String, value: String, place: Place, notes: &mut Notes) {
        match keys::in_file(&name) {
            Some(key) if key.set == Set::Raw => notes.warn(format!(
                "{place}: {name} has no effect in this file, as in ZooKeeper; set it with SERVER_JVMFLAGS=-D{}=...",
                key.property().replace('*', "...")
            )),
            Some(key) => self.insert(
                Setting {
                    key,
                    name,
                    value,
                    place,
                },
                notes,
            ),
            None => notes.unknown(&name, &place),
        }
    }

    fn take_flags(&mut self, variable: &'static str, text: &str, notes: &mut Notes) {
        for flag in text.split_whitespace() {
            let Some(property) = flag.strip_prefix("-D") else {
                notes.jvm(flag);
                continue;
            };
            let (property, value) = property.split_once('=').unwrap_or((property, ""));
            let place = Place::Flags(variable);
            match keys::as_property(property) {
                Some(key) => {
                    let name = property
                        .strip_prefix("zookeeper.")
                        .filter(|_| key.set == Set::Passed)
                        .unwrap_or(property);
                    let (name, value) = (name.to_owned(), value.trim().to_owned());
                    self.insert(
                        Setting {
                            key,
                            name,
                            value,
                            place,
                        },
                        notes,
                    );
                }
                None if property.starts_with("zookeeper.") || property.starts_with("ringkeeper.") => {
                    notes.unknown_property(property, &place);
                }
                None => notes.jvm(&format!("-D{property}")),
            }
        }
    }

    fn insert(&mut self, setting: Setting, notes: &mut Notes) {
        match setting.key.kind.check(&setting.value) {
            Err(allowed) if setting.key.is_strict() => notes.problem(format!(
                "{}: {} is not allowed; allowed is {allowed}",
                setting.place,
                setting.shown()
            )),
            _ => {}
        }
        let single = setting.key.family().is_none();
        let name = if single {
            setting.key.name.to_owned()
        } else {
            setting.name.clone()
        };
        self.settings.insert(name, setting);
    }

    /// Every setting, by name.
    pub fn all(&self) -> impl Iterator<Item = &Setting> {
        self.settings.values()
    }

    /// The setting of a key, if it was written.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        assert!(keys::in_file(name).is_some(), "{name} is in the table");
        self.settings.get(name)
    }

    /// The written value, or the key's default.
    pub fn text(&self, name: &str) -> &str {
        let written = self
            .get(name)
            .filter(|setting| setting.key.kind.check(&setting.value).is_ok());
        written.map_or_else(
            || keys::in_file(name).map_or("", |key| key.default),
            |setting| &setting.value,
        )
    }

    /// A number. A value that was refused counts as the default, or 0 if there is none, so that all problems are found
    /// in one go.
    pub fn int(&self, name: &str) -> i64 {
        keys::int(self.text(name)).unwrap_or(0)
    }

    /// True or false.
    pub fn is(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    /// `file, line N: name=value`, to begin a message about a setting that is there.
    pub fn at(&self, name: &str) -> String {
        match self.get(name) {
            Some(setting) => format!("{}: {}", setting.place, setting.shown()),
            None => name.to_owned(),
        }
    }
}
