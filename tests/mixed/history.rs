//! What a client did and was told: one record an operation, and one line of text a record.
//!
//! The clients of other languages write the same lines (`load.py`, `Load.java`), so the words are fixed here. Times are
//! of one clock for all of them, the machine's, in microseconds.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// setData; `expected` is the version it insists on, or -1.
    Set,
    /// getData.
    Get,
    /// sync, then getData.
    SyncGet,
    /// multi: setData of `path/left` and `path/right` to one value.
    Pair,
    /// multiRead of both; `version` is of both, and -2 when they differ.
    PairRead,
    /// A multi whose second part must fail.
    Failing,
    /// create of a sequential node; `path` is what it is called, if that is known, otherwise the parent.
    Sequential,
    /// create of an ephemeral.
    Ephemeral,
    /// delete.
    Delete,
    /// sync, then getChildren; `value` is the names, joined by commas.
    List,
    /// A session begins; `version` is its timeout in ms.
    Open,
    /// It is attached to a server again.
    Attach,
    /// The client was told that its session is gone.
    Expired,
    /// closeSession.
    Close,
}

const WORDS: [(Op, &str); 14] = [
    (Op::Set, "set"),
    (Op::Get, "get"),
    (Op::SyncGet, "syncget"),
    (Op::Pair, "pair"),
    (Op::PairRead, "pairread"),
    (Op::Failing, "failing"),
    (Op::Sequential, "sequential"),
    (Op::Ephemeral, "ephemeral"),
    (Op::Delete, "delete"),
    (Op::List, "list"),
    (Op::Open, "open"),
    (Op::Attach, "attach"),
    (Op::Expired, "expired"),
    (Op::Close, "close"),
];

/// What the client knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// The connection ended first: it may have been done or not.
    Unknown,
    /// It was refused, with this code, and not done.
    Failed(i32),
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The client's name.
    pub client: String,
    /// Its session.
    pub session: i64,
    /// What.
    pub op: Op,
    /// On what.
    pub path: String,
    /// Written or read.
    pub value: String,
    /// The version that a set insists on, or -1.
    pub expected: i32,
    /// Before the request was sent.
    pub invoked_us: u64,
    /// After the answer came.
    pub returned_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The transaction that it made or read, or 0.
    pub zxid: i64,
    /// The reply header's zxid, or 0 where the client does not tell.
    pub header: i64,
    /// The node's version afterwards.
    pub version: i32,
}

impl Record {
    /// A record that is being made: unknown until it is told otherwise.
    pub fn begun(client: &str, session: i64, op: Op, path: &str) -> Self {
        Self {
            client: client.into(),
            session,
            op,
            path: path.into(),
            value: String::new(),
            expected: -1,
            invoked_us: now_us(),
            returned_us: 0,
            outcome: Outcome::Unknown,
            zxid: 0,
            header: 0,
            version: -1,
        }
    }

    /// Whether it was acknowledged.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [
            client,
            session,
            op,
            path,
            value,
            expected,
            invoked,
            returned,
            outcome,
            zxid,
            header,
            version,
        ] = words[..]
        else {
            return Err(format!("{} words instead of 12 in history line {line:?}", words.len()));
        };
        let number = |word: &str| {
            word.parse::<i64>()
                .map_err(|error| format!("{word:?} in {line:?}: {error}"))
        };
        let text = |word: &str| if word == "-" { String::new() } else { word.to_owned() };
        let (op, _) = WORDS
            .iter()
            .find(|(_, word)| *word == op)
            .ok_or_else(|| format!("operation {op:?} in history line {line:?}"))?;
        let outcome = match outcome {
            "ok" => Outcome::Ok,
            "unknown" => Outcome::Unknown,
            code => Outcome::Failed(number(code)? as i32),
        };
        Ok(Self {
            client: client.into(),
            session: number(session)?,
            op: *op,
            path: text(path),
            value: text(value),
            expected: number(expected)? as i32,
            invoked_us: number(invoked)? as u64,
            returned_us: number(returned)? as u64,
            outcome,
            zxid: number(zxid)?,
            header: number(header)?,
            version: number(version)? as i32,
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let word = WORDS
            .iter()
            .find(|(op, _)| *op == self.op)
            .map_or("?", |(_, word)| word);
        let text = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text.to_owned()
            }
        };
        let outcome = match self.outcome {
            Outcome::Ok => "ok".to_owned(),
            Outcome::Unknown => "unknown".to_owned(),
            Outcome::Failed(code) => code.to_string(),
        };
        write!(
            f,
            "{} {} {word} {} {} {} {} {} {outcome} {} {} {}",
            self.client,
            self.session,
            text(&self.path),
            text(&self.value),
            self.expected,
            self.invoked_us,
            self.returned_us,
            self.zxid,
            self.header,
            self.version
        )
    }
}

/// The clock of all histories.
pub fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_micros() as u64
}
