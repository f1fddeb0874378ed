//! What a reader of a configuration is told: problems that stop the start, warnings, and what is good to know.

use super::keys;
use super::nearest::nearest;
use super::written::Place;

/// How loud a note is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Info,
    Warn,
}

/// Notes in the order they came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Any of them stops the start.
    pub problems: Vec<String>,
    /// The others.
    pub told: Vec<(Level, String)>,
    jvm: Vec<String>,
}

impl Notes {
    /// Something stops the start.
    pub fn problem(&mut self, text: String) {
        if !self.problems.contains(&text) {
            self.problems.push(text);
        }
    }

    /// Something is not as the writer may believe.
    pub fn warn(&mut self, text: String) {
        self.told.push((Level::Warn, text));
    }

    /// Something is good to know.
    pub fn info(&mut self, text: String) {
        self.told.push((Level::Info, text));
    }

    /// Something that is only about Java; told once with all its like by [`Notes::finish`].
    pub fn jvm(&mut self, what: &str) {
        self.jvm.push(what.to_owned());
    }

    /// A name in the file that stands for nothing.
    pub fn unknown(&mut self, name: &str, place: &Place) {
        if name.starts_with("ringkeeper.") {
            let known: Vec<_> = keys::own().map(|key| key.name).collect();
            return self.problem(format!(
                "{place}: there is no key {name}; there are {}",
                known.join(", ")
            ));
        }
        if keys::FORGOTTEN.contains(&name) {
            return self.info(format!("{place}: {name} is read by no ZooKeeper since 3.5, nor here"));
        }
        let unprefixed = name
            .strip_prefix("zookeeper.")
            .filter(|name| keys::in_file(name).is_some());
        self.warn(match (unprefixed, nearest(name)) {
            (Some(right), _) => {
                format!("{place}: {name} has no effect, as in ZooKeeper; in this file it is written {right}")
            }
            (None, Some(near)) => format!("{place}: {name} is no key of ZooKeeper 3.9.5; did you mean {near}?"),
            (None, None) => format!("{place}: {name} is no key of ZooKeeper 3.9.5 and has no effect"),
        });
    }

    /// The same for a `-D` property.
    pub fn unknown_property(&mut self, property: &str, place: &Place) {
        if property.starts_with("ringkeeper.") {
            return self.unknown(property, place);
        }
        let name = property.trim_start_matches("zookeeper.");
        self.warn(match (keys::in_file(name), nearest(name)) {
            (Some(_), _) => format!("{place}: -D{property} has no effect, as in ZooKeeper; write {name} in the file"),
            (None, Some(near)) => {
                format!("{place}: -D{property} is no property of ZooKeeper 3.9.5; did you mean that of {near}?")
            }
            (None, None) => format!("{place}: -D{property} is no property of a ZooKeeper 3.9.5 server"),
        });
    }

    /// Tells what was gathered about Java, in one line.
    pub fn finish(&mut self) {
        if !self.jvm.is_empty() {
            let names = std::mem::take(&mut self.jvm).join(", ");
            self.info(format!(
                "these are about the JVM or ZooKeeper's insides and have no meaning here: {names}"
            ));
        }
    }
}
