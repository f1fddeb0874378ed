//! The four-letter words: which there are, who may use them, and the exact text of every answer.
//!
//! Pure: a word is recognised from bytes, an answer is made from plain values. The texts are those of release
//! 3.9.5 (`org.apache.zookeeper.server.command`), to the byte; line ends are LF. What the values mean and where
//! they come from is the server's business (`server::words`).

mod monitor;
mod stats;
mod tables;

pub use monitor::{ALONE, Entries, Gauges, Kind, Monitor, NOT_MEASURED, Quantiles, QuotaLine, Summary};
pub(crate) use stats::java_socket;
pub use stats::{Connection, Served, ServerLines, append_connections, append_server, append_stat};
pub use tables::{
    ConfLines, ConfMember, ConnectionDue, DumpLines, Environment, append_by_path, append_by_session, append_conf,
    append_digests, append_dirs, append_dump, append_environment, append_watch_summary, environment_entries,
};

/// What this server says it is: the release whose behaviour it has, so that tools that parse it work, then itself
/// (`Version#getFullVersion`).
pub const VERSION: &str = concat!(
    "3.9.5-ringkeeper-",
    env!("CARGO_PKG_VERSION"),
    ", built on 2026-11-24 12:00 UTC"
);

/// The trace mask of a server that nobody told another (`ZooTrace#traceMask`).
pub const TRACE_MASK: i64 = 2 + 16 + 32 + 256;

/// Said instead of an answer while there is nothing to serve.
pub const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// The words, and the one byte sequence that telnet sends when it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Word {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Stmk,
    Wchc,
    Wchp,
    Wchs,
    /// Known, so that the log stays quiet; never answered with more than a refusal.
    TelnetClose,
}

impl Word {
    /// Every word, with the four bytes that ask for it and the name it is listed by.
    pub const ALL: [(Word, [u8; 4], &'static str); 19] = [
        (Word::Conf, *b"conf", "conf"),
        (Word::Cons, *b"cons", "cons"),
        (Word::Crst, *b"crst", "crst"),
        (Word::Dirs, *b"dirs", "dirs"),
        (Word::Dump, *b"dump", "dump"),
        (Word::Envi, *b"envi", "envi"),
        (Word::Gtmk, *b"gtmk", "gtmk"),
        (Word::Hash, *b"hash", "hash"),
        (Word::Isro, *b"isro", "isro"),
        (Word::Mntr, *b"mntr", "mntr"),
        (Word::Ruok, *b"ruok", "ruok"),
        (Word::Srst, *b"srst", "srst"),
        (Word::Srvr, *b"srvr", "srvr"),
        (Word::Stat, *b"stat", "stat"),
        (Word::Stmk, *b"stmk", "stmk"),
        (Word::Wchc, *b"wchc", "wchc"),
        (Word::Wchp, *b"wchp", "wchp"),
        (Word::Wchs, *b"wchs", "wchs"),
        (Word::TelnetClose, [0xff, 0xf4, 0xff, 0xfd], "telnet close"),
    ];

    /// The word at the front of a connection's first bytes. `None` while fewer than four are there, and for
    /// anything else: that is a frame's length.
    pub fn at_front(bytes: &[u8]) -> Option<Word> {
        let first = bytes.first_chunk::<4>()?;
        let found = Word::ALL.iter().find(|(_, bytes, _)| bytes == first);
        found.map(|(word, ..)| *word)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let (word, _, name) = Word::ALL[self as usize];
        assert_eq!(word, self, "the list is in the order of the enum");
        name
    }

    /// What is said when the whitelist does not hold it.
    pub fn refusal(self) -> String {
        format!("{} is not executed because it is not in the whitelist.\n", self.name())
    }
}

/// `4lw.commands.whitelist`, read once (`FourLetterCommands#isEnabled`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whitelist(u32);

impl Whitelist {
    /// From the configured text. `srvr` is always in it, since zkServer.sh asks for it; `isro` wherever read-only
    /// mode may happen. A `*` anywhere stands for all; words that nobody knows do no harm.
    pub fn new(configured: Option<&str>, read_only_mode: bool) -> Whitelist {
        let mut entries = configured.unwrap_or_default().split(',').map(str::trim);
        if entries.clone().any(|entry| entry == "*") {
            return Whitelist(u32::MAX);
        }
        let mut list = Whitelist(0);
        list.add(Word::Srvr);
        if read_only_mode {
            list.add(Word::Isro);
        }
        let known = |entry: &str| {
            Word::ALL
                .iter()
                .find(|(.., name)| *name == entry)
                .map(|(word, ..)| *word)
        };
        entries.by_ref().filter_map(known).for_each(|word| list.add(word));
        list
    }

    fn add(&mut self, word: Word) {
        self.0 |= 1 << word as u32;
    }

    /// Whether a word is answered.
    pub fn allows(self, word: Word) -> bool {
        self.0 & (1 << word as u32) != 0
    }
}

/// A double as Java prints one (`Double#toString`).
pub(crate) fn java_double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_four_bytes_at_the_front() {
        assert_eq!(Word::at_front(b"ruo"), None);
        assert_eq!(Word::at_front(b"ruok\r\n"), Some(Word::Ruok));
        assert_eq!(Word::at_front(b"kill"), None);
        assert_eq!(Word::at_front(b"\xff\xf4\xff\xfd"), Some(Word::TelnetClose));
        assert_eq!(Word::at_front(b"\0\0\0\x2d"), None);
        for (index, (word, bytes, name)) in Word::ALL.into_iter().enumerate() {
            assert_eq!(
                (word as usize, Word::at_front(&bytes), word.name()),
                (index, Some(word), name)
            );
        }
    }

    #[test]
    fn a_whitelist_always_has_srvr() {
        let words = |configured, read_only| -> Vec<&str> {
            let list = Whitelist::new(configured, read_only);
            Word::ALL
                .iter()
                .filter(|(word, ..)| list.allows(*word))
                .map(|(.., name)| *name)
                .collect()
        };
        assert_eq!(words(None, false), ["srvr"]);
        assert_eq!(words(None, true), ["isro", "srvr"]);
        assert_eq!(words(Some(" ruok ,, nope,STAT"), false), ["ruok", "srvr"]);
        assert_eq!(words(Some("ruok, * "), false).len(), 19);
    }

    #[test]
    fn refusals() {
        assert_eq!(
            Word::Ruok.refusal(),
            "ruok is not executed because it is not in the whitelist.\n"
        );
        assert_eq!(
            Word::TelnetClose.refusal(),
            "telnet close is not executed because it is not in the whitelist.\n"
        );
    }

    #[test]
    fn doubles_as_java_prints_them() {
        let cases = [
            (0.0, "0.0"),
            (2.3496, "2.3496"),
            (1e-4, "1.0E-4"),
            (2.5e-4, "2.5E-4"),
            (1e7, "1.0E7"),
            (100.0, "100.0"),
        ];
        for (value, text) in cases {
            assert_eq!(java_double(value), text);
        }
    }
}
