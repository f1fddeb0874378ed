//! A snapshot read from the first byte to the last, item by item, each seal verified.

use std::io::BufRead;

use super::super::input::{Input, not_text};
use super::super::{Acl, ReadError, Stat, text};
use super::{Digest, END, Item, MAGIC, Node, Trailer, VERSION};

/// Where the reader is.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// So many sessions are left.
    Sessions(i32),
    /// So many ACLs are left.
    Acls(i32),
    Nodes,
    End,
}

/// Reads a snapshot. After an error it must not be asked for more.
pub struct Reader<R> {
    input: Input<R>,
    part: Part,
    sealed: bool,
    nodes: u64,
    path: Vec<u8>,
    decoded: String,
    data: Vec<u8>,
}

/// The most that may stand behind the first seal: two parts with a seal each, the longest digest in text.
const TRAILER_BYTES_MAX: usize = 1024;

impl<R: BufRead> Reader<R> {
    /// Begins with a file's first byte, unpacked.
    ///
    /// # Errors
    /// [`ReadError::Foreign`] if it is no snapshot.
    pub fn open(bytes: R) -> Result<Reader<R>, ReadError> {
        let mut reader = Reader::bare(bytes, true);
        let mut head = [0; 16];
        let filled = reader.input.up_to(&mut head, "the header")?;
        if !head[..filled].starts_with(MAGIC) {
            return Err(ReadError::Foreign {
                wanted: "snapshot of Apache ZooKeeper",
                begins: head[..filled.min(8)].to_vec(),
            });
        }
        if filled < head.len() {
            return Err(reader.input.ends("the header"));
        }
        let version = i32::from_be_bytes(*head[4..].first_chunk().expect("four bytes"));
        if version != VERSION {
            return Err(ReadError::damaged(
                4,
                format!("its format is version {version}; {VERSION} is known"),
            ));
        }
        reader.begin()
    }

    /// Begins with the first byte of the stream that a leader sends to a learner: no header, no seals, nothing behind
    /// the nodes. See [`Reader::into_inner`] for what follows there.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn stream(bytes: R) -> Result<Reader<R>, ReadError> {
        Reader::bare(bytes, false).begin()
    }

    fn bare(bytes: R, sealed: bool) -> Reader<R> {
        Reader {
            input: Input::new(bytes),
            part: Part::End,
            sealed,
            nodes: 0,
            path: Vec::new(),
            decoded: String::new(),
            data: Vec::new(),
        }
    }

    fn begin(mut self) -> Result<Reader<R>, ReadError> {
        self.part = Part::Sessions(self.count("the count of sessions")?);
        Ok(self)
    }

    /// Bytes read so far, unpacked.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// Nodes read so far.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// The next item; `None` behind the last node.
    ///
    /// # Errors
    /// [`ReadError`]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item<'_>>, ReadError> {
        loop {
            match self.part {
                Part::Sessions(0) => self.part = Part::Acls(self.count("the count of ACLs")?),
                Part::Sessions(left) => {
                    self.part = Part::Sessions(left - 1);
                    let id = self.input.long("a session")?;
                    let timeout_ms = self.input.int("a session")?;
                    return Ok(Some(Item::Session { id, timeout_ms }));
                }
                Part::Acls(0) => self.part = Part::Nodes,
                Part::Acls(left) => {
                    self.part = Part::Acls(left - 1);
                    return self.acl().map(Some);
                }
                Part::Nodes => return self.node().map(|node| node.map(Item::Node)),
                Part::End => return Ok(None),
            }
        }
    }

    fn count(&mut self, what: &'static str) -> Result<i32, ReadError> {
        let at = self.input.offset();
        match self.input.int(what)? {
            negative @ ..0 => Err(ReadError::damaged(at, format!("{what} is {negative}"))),
            count => Ok(count),
        }
    }

    fn acl(&mut self) -> Result<Item<'static>, ReadError> {
        let id = self.input.long("an ACL")?;
        let count = self.count("the count of an ACL's entries")?;
        // A count is only a claim: nothing is set aside for it.
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(Acl {
                perms: self.input.int("an ACL's entry")?,
                scheme: self.input.text(&mut self.data, "an ACL's scheme")?,
                id: self.input.text(&mut self.data, "an ACL's id")?,
            });
        }
        Ok(Item::Acl { id, entries })
    }

    fn node(&mut self) -> Result<Option<Node<'_>>, ReadError> {
        let at = self.input.offset();
        if !self.input.buffer(&mut self.path, "a path")? {
            return Err(ReadError::damaged(at, "a path is null"));
        }
        if self.path == END.as_bytes() {
            self.part = Part::End;
            return Ok(None);
        }
        if !(self.path.is_empty() || self.path.starts_with(b"/")) || self.path.ends_with(b"/") {
            let shown = &self.path[..self.path.len().min(80)];
            return Err(ReadError::damaged(
                at,
                format!("\"{}\" is no path", shown.escape_ascii()),
            ));
        }
        let has_data = self.input.buffer(&mut self.data, "a node's data")?;
        let fixed: [u8; 68] = self.input.exact("a node's ACL and Stat")?;
        let (acl, stat) = fixed.split_first_chunk::<8>().expect("68 bytes");
        self.nodes += 1;
        let path = match std::str::from_utf8(&self.path) {
            Ok(path) => path,
            Err(_) => {
                let text = text::decode(&self.path).ok_or_else(|| not_text(at, "a path", &self.path))?;
                self.decoded = text.into_owned();
                &self.decoded
            }
        };
        Ok(Some(Node {
            path,
            data: has_data.then_some(&self.data),
            acl: i64::from_be_bytes(*acl),
            stat: Stat::decode(stat.try_into().expect("60 bytes")),
        }))
    }

    /// Reads what stands behind the nodes: verifies every seal, and that nothing follows. A stream has nothing there.
    ///
    /// # Errors
    /// [`ReadError`]
    pub fn finish(&mut self) -> Result<Trailer, ReadError> {
        assert!(matches!(self.part, Part::End), "the nodes are read first");
        if !self.sealed {
            return Ok(Trailer::default());
        }
        self.seal()?;
        let (at, sum) = (self.input.offset(), self.input.checksum());
        let mut rest = Vec::new();
        self.input
            .append(&mut rest, TRAILER_BYTES_MAX + 1, "what is behind the first seal")?;
        // Nothing but trying tells which parts are there; the seals say which try was right. The last one is what a
        // writer leaves that has digests off: Java misreads it.
        let tries: [fn(&mut Tail<'_>) -> Option<Trailer>; 4] = [
            |tail| tail.nothing(),
            |tail| tail.digest(),
            |tail| tail.both(),
            |tail| tail.zxid(),
        ];
        let mut furthest = at;
        for each in tries {
            let mut tail = Tail {
                bytes: &rest,
                read: 0,
                sum,
            };
            match each(&mut tail) {
                Some(trailer) if tail.read == rest.len() => return Ok(trailer),
                _ => furthest = furthest.max(at + tail.read as u64),
            }
        }
        Err(ReadError::damaged(
            furthest,
            "what is behind the first seal is neither digest nor zxid under a right seal",
        ))
    }

    fn seal(&mut self) -> Result<(), ReadError> {
        let (at, want) = (self.input.offset(), self.input.checksum());
        let found = self.input.long("the first seal")?;
        if found != want {
            return Err(ReadError::damaged(
                at,
                format!("the seal over the {at} bytes before it says Adler-32 {found:08x}, they have {want:08x}"),
            ));
        }
        // Java does not look at this text; a file must end with it, though (`SnapStream#isValidSnapshot`).
        let mut scratch = Vec::new();
        match self.input.text(&mut scratch, "the first seal")? {
            Some(text) if text == END => Ok(()),
            other => Err(ReadError::damaged(
                at + 8,
                format!("{other:?} stands behind the seal, not {END:?}"),
            )),
        }
    }

    /// The source, at the first byte behind what was read.
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }
}

impl Stat {
    /// Bytes of it.
    pub const BYTES: usize = 60;

    /// Reads it.
    pub fn decode(bytes: &[u8; Stat::BYTES]) -> Stat {
        let long = |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("eight bytes"));
        let int = |at: usize| i32::from_be_bytes(*bytes[at..].first_chunk().expect("four bytes"));
        Stat {
            czxid: long(0),
            mzxid: long(8),
            ctime: long(16),
            mtime: long(24),
            version: int(32),
            cversion: int(36),
            aversion: int(40),
            owner: long(44),
            pzxid: long(52),
        }
    }

    /// Writes it.
    pub fn encode(&self) -> [u8; Stat::BYTES] {
        let mut bytes = [0; Stat::BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &self.czxid.to_be_bytes());
        put(8, &self.mzxid.to_be_bytes());
        put(16, &self.ctime.to_be_bytes());
        put(24, &self.mtime.to_be_bytes());
        put(32, &self.version.to_be_bytes());
        put(36, &self.cversion.to_be_bytes());
        put(40, &self.aversion.to_be_bytes());
        put(44, &self.owner.to_be_bytes());
        put(52, &self.pzxid.to_be_bytes());
        bytes
    }
}

/// The bytes behind the first seal, read one way. Each part is `None` if they do not hold it under a right seal.
struct Tail<'b> {
    bytes: &'b [u8],
    read: usize,
    /// Adler-32 up to the first of the bytes.
    sum: i64,
}

impl Tail<'_> {
    fn nothing(&mut self) -> Option<Trailer> {
        Some(Trailer {
            seals: 1,
            ..Trailer::default()
        })
    }

    fn digest(&mut self) -> Option<Trailer> {
        let zxid = self.long()?;
        let version = self.int()?;
        let digest = match version {
            ..super::DIGEST_VERSION => self.hexadecimal()?,
            _ => self.long()? as u64,
        };
        self.seal()?;
        Some(Trailer {
            digest: Some(Digest { zxid, version, digest }),
            last_zxid: None,
            seals: 2,
        })
    }

    fn zxid(&mut self) -> Option<Trailer> {
        let last_zxid = self.long()?;
        self.seal()?;
        Some(Trailer {
            digest: None,
            last_zxid: Some(last_zxid),
            seals: 2,
        })
    }

    fn both(&mut self) -> Option<Trailer> {
        let Trailer { digest, .. } = self.digest()?;
        let Trailer { last_zxid, .. } = self.zxid()?;
        Some(Trailer {
            digest,
            last_zxid,
            seals: 3,
        })
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.read..)?.get(..count)?;
        self.read += count;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        self.take(4)?.first_chunk().copied().map(i32::from_be_bytes)
    }

    fn long(&mut self) -> Option<i64> {
        self.take(8)?.first_chunk().copied().map(i64::from_be_bytes)
    }

    fn hexadecimal(&mut self) -> Option<u64> {
        match self.int()? {
            // Null, where nothing was digested yet.
            -1 => Some(0),
            length => {
                let digits = self.take(usize::try_from(length).ok()?)?;
                u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
            }
        }
    }

    fn seal(&mut self) -> Option<()> {
        let sum = adler_from(self.sum, &self.bytes[..self.read]);
        let right = self.long()? == sum;
        let end = self.take(5)? == [0, 0, 0, 1, b'/'];
        (right && end).then_some(())
    }
}

fn adler_from(sum: i64, bytes: &[u8]) -> i64 {
    let mut adler = simd_adler32::Adler32::from_checksum(sum as u32);
    adler.write(bytes);
    i64::from(adler.finish())
}
