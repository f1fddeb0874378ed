//! Which commands the admin server has, and by which names (`Commands`).
//!
//! Invariant: all 28 of ZooKeeper 3.9.5 are here, so that the page of links is the same. `restore` is there to be refused.

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Configuration,
    ConnectionStatReset,
    Connections,
    Dirs,
    Dump,
    Environment,
    GetTraceMask,
    Hash,
    InitialConfiguration,
    IsReadOnly,
    LastSnapshot,
    Leader,
    Monitor,
    ObserverConnectionStatReset,
    Observers,
    Restore,
    Ruok,
    ServerStats,
    SetTraceMask,
    Snapshot,
    StatReset,
    Stats,
    SystemProperties,
    VotingView,
    WatchSummary,
    Watches,
    WatchesByPath,
    Zabstate,
}

/// Each with its names, the primary one first; sorted by it.
pub const COMMANDS: [(Command, &[&str]); 28] = [
    (Command::Configuration, &["configuration", "conf", "config"]),
    (Command::ConnectionStatReset, &["connection_stat_reset", "crst"]),
    (Command::Connections, &["connections", "cons"]),
    (Command::Dirs, &["dirs"]),
    (Command::Dump, &["dump"]),
    (Command::Environment, &["environment", "env", "envi"]),
    (Command::GetTraceMask, &["get_trace_mask", "gtmk"]),
    (Command::Hash, &["hash"]),
    (Command::InitialConfiguration, &["initial_configuration", "icfg"]),
    (Command::IsReadOnly, &["is_read_only", "isro"]),
    (Command::LastSnapshot, &["last_snapshot", "lsnp"]),
    (Command::Leader, &["leader", "lead"]),
    (Command::Monitor, &["monitor", "mntr"]),
    (
        Command::ObserverConnectionStatReset,
        &["observer_connection_stat_reset", "orst"],
    ),
    (Command::Observers, &["observers", "obsr"]),
    (Command::Restore, &["restore", "rest"]),
    (Command::Ruok, &["ruok"]),
    (Command::ServerStats, &["server_stats", "srvr"]),
    (Command::SetTraceMask, &["set_trace_mask", "stmk"]),
    (Command::Snapshot, &["snapshot", "snap"]),
    (Command::StatReset, &["stat_reset", "srst"]),
    (Command::Stats, &["stats", "stat"]),
    (Command::SystemProperties, &["system_properties", "sysp"]),
    (Command::VotingView, &["voting_view"]),
    (Command::WatchSummary, &["watch_summary", "wchs"]),
    (Command::Watches, &["watches", "wchc"]),
    (Command::WatchesByPath, &["watches_by_path", "wchp"]),
    (Command::Zabstate, &["zabstate"]),
];

impl Command {
    /// The command of a name, primary or not.
    pub fn named(name: &str) -> Option<Command> {
        let found = COMMANDS.iter().find(|(_, names)| names.contains(&name));
        found.map(|(command, _)| *command)
    }

    /// Its primary name.
    pub fn name(self) -> &'static str {
        let (command, names) = COMMANDS[self as usize];
        assert_eq!(command, self, "the list is in the order of the enum");
        names[0]
    }

    /// Whether it asks for an `Authorization` header, and for all permissions on the root node.
    pub fn is_guarded(self) -> bool {
        matches!(self, Command::Snapshot | Command::Restore)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_finds_its_command() {
        for (command, names) in COMMANDS {
            assert_eq!(command.name(), names[0]);
            names
                .iter()
                .for_each(|name| assert_eq!(Command::named(name), Some(command)));
        }
        assert!(COMMANDS.is_sorted_by_key(|(_, names)| names[0]));
        assert_eq!(Command::named("sessions"), None);
    }
}
