//! The 28 commands: their names, usages and options, in one table.
//!
//! Sorted by name as Java sorts (capitals first), so the table is also the usage list and what completion offers.

use super::options::{Group, Spec};

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// What is typed.
    pub name: &'static str,
    /// What is shown behind the name.
    pub usage: &'static str,
    /// Its dash options.
    pub specs: &'static [Spec],
    /// Whether and how the options exclude each other.
    pub group: Group,
    /// Whether the usage also lists the options (`get` and `set` alone do).
    pub lists_options: bool,
}

const fn flag(name: &'static str, about: &'static str) -> Spec {
    Spec {
        name,
        takes_value: false,
        about,
    }
}

const fn value(name: &'static str, about: &'static str) -> Spec {
    Spec {
        name,
        takes_value: true,
        about,
    }
}

const fn plain(name: &'static str, usage: &'static str, specs: &'static [Spec]) -> Command {
    Command {
        name,
        usage,
        specs,
        group: Group::None,
        lists_options: false,
    }
}

const fn grouped(name: &'static str, usage: &'static str, specs: &'static [Spec], group: Group) -> Command {
    Command {
        name,
        usage,
        specs,
        group,
        lists_options: false,
    }
}

const fn listed(name: &'static str, usage: &'static str, specs: &'static [Spec]) -> Command {
    Command {
        name,
        usage,
        specs,
        group: Group::None,
        lists_options: true,
    }
}

/// Every command.
#[rustfmt::skip]
pub const COMMANDS: &[Command] = &[
    plain("addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE",
        &[value("m", "")]),
    plain("addauth", "scheme auth", &[]),
    plain("close", "", &[]),
    plain("config", "[-c] [-w] [-s]",
        &[flag("s", "stats"), flag("w", "watch"), flag("c", "client connection string")]),
    plain("connect", "host:port", &[]),
    plain("create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        &[flag("e", "ephemeral"), flag("s", "sequential"), flag("c", "container"), value("t", "ttl")]),
    plain("delete", "[-v version] path", &[value("v", "version")]),
    plain("deleteall", "path [-b batch size]", &[value("b", "batch size")]),
    grouped("delquota", "[-n|-b|-N|-B] path",
        &[flag("n", "num soft quota"), flag("b", "bytes soft quota"),
          flag("N", "num hard quota"), flag("B", "bytes hard quota")], Group::AtMostOne),
    listed("get", "[-s] [-w] [-b] [-x] path",
        &[flag("s", "Print znode stats additionally"), flag("w", "Watch for changes on the znode"),
          flag("b", "Output data in base64 format"), flag("x", "Output data in hexdump format")]),
    plain("getAcl", "[-s] path", &[flag("s", "stats")]),
    plain("getAllChildrenNumber", "path", &[]),
    plain("getEphemerals", "path", &[]),
    plain("history", "", &[]),
    plain("listquota", "path", &[]),
    plain("ls", "[-s] [-w] [-R] path",
        &[flag("?", "help"), flag("s", "stat"), flag("w", "watch"), flag("R", "recurse")]),
    plain("printwatches", "on|off", &[]),
    plain("quit", "", &[]),
    plain("reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        &[flag("s", "stats"), value("v", "required current config version"),
          value("file", "path of config file to parse for membership"),
          value("members", "comma-separated list of config strings for non-incremental reconfig"),
          value("add", "comma-separated list of config strings for new servers"),
          value("remove", "comma-separated list of server IDs to remove")]),
    plain("redo", "cmdno", &[]),
    plain("removewatches", "path [-c|-d|-a] [-l]",
        &[flag("c", "child watcher type"), flag("d", "data watcher type"), flag("p", "persistent watcher type"),
          flag("r", "persistent recursive watcher type"), flag("a", "any watcher type"),
          flag("l", "remove locally when there is no server connection")]),
    listed("set", "path data [-s] [-v version] [-b]",
        &[flag("s", "Print znode stats additionally"), value("v", "Set with an expected version"),
          flag("b", "Supply data in base64 format")]),
    plain("setAcl", "[-s] [-v version] [-R] path acl",
        &[flag("s", "stats"), value("v", "version"), flag("R", "recursive")]),
    grouped("setquota", "-n|-b|-N|-B val path",
        &[value("n", "num soft quota"), value("b", "bytes soft quota"),
          value("N", "num hard quota"), value("B", "bytes hard quota")], Group::ExactlyOne),
    plain("stat", "[-w] path", &[flag("w", "watch")]),
    plain("sync", "path", &[]),
    plain("version", "", &[]),
    plain("whoami", "", &[]),
];

/// The command of a name.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

impl Command {
    /// What a wrong use is answered with (`CliCommand#getUsageStr`).
    pub fn usage_text(&self) -> String {
        let line = format!("{} {}", self.name, self.usage);
        if !self.lists_options {
            return line;
        }
        format!("{line}\n{}", super::options::help(self.specs))
    }
}

/// The list an unknown command is answered with (`ZooKeeperMain#usage`).
pub fn usage() -> String {
    let mut text = String::from("ZooKeeper -server host:port -client-configuration properties-file cmd args");
    for command in COMMANDS {
        text += &format!("\n\t{} {}", command.name, command.usage);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete_and_sorted_as_java_sorts() {
        assert_eq!(COMMANDS.len(), 28);
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
        assert_eq!(usage().lines().count(), 29);
    }

    #[test]
    fn get_lists_its_options() {
        let text = find("get").unwrap().usage_text();
        assert_eq!(text.lines().nth(1), Some(" -b   Output data in base64 format"));
        let text = find("set").unwrap().usage_text();
        assert_eq!(text.lines().nth(3), Some(" -v <arg>   Set with an expected version"));
        assert!(text.ends_with('\n'));
    }
}
