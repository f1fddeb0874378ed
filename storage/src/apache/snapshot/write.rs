//! A snapshot written as Apache ZooKeeper 3.9 writes it: all parts, all seals.

use std::io::{self, Write};

use simd_adler32::Adler32;

use super::super::{Acl, BUFFER_BYTES_MAX, encode_text};
use super::{DBID, Digest, END, MAGIC, Node, VERSION};

/// Writes a snapshot: first the sessions, then the ACLs, then the nodes, parents before children.
pub struct Writer<W> {
    out: Summed<W>,
    /// Items of the part that are still to come.
    left: usize,
    sealed: bool,
}

struct Summed<W> {
    out: W,
    sum: Adler32,
    bytes: u64,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.sum.write(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn int(&mut self, int: i32) -> io::Result<()> {
        self.put(&int.to_be_bytes())
    }

    fn long(&mut self, long: i64) -> io::Result<()> {
        self.put(&long.to_be_bytes())
    }

    fn buffer(&mut self, bytes: Option<&[u8]>) -> io::Result<()> {
        let Some(bytes) = bytes else { return self.int(-1) };
        assert!(bytes.len() <= BUFFER_BYTES_MAX, "a buffer of {} bytes", bytes.len());
        self.int(bytes.len() as i32)?;
        self.put(bytes)
    }

    fn text(&mut self, text: Option<&str>) -> io::Result<()> {
        self.buffer(text.map(encode_text).as_deref())
    }

    fn seal(&mut self) -> io::Result<()> {
        self.long(i64::from(self.sum.finish()))?;
        self.text(Some(END))
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What `out` returned, here as in all that follows.
    pub fn file(out: W, sessions: usize) -> io::Result<Writer<W>> {
        let mut writer = Writer::bare(out, true);
        writer.out.put(MAGIC)?;
        writer.out.int(VERSION)?;
        writer.out.long(DBID)?;
        writer.begin(sessions)?;
        Ok(writer)
    }

    /// Begins the stream to a learner: no header, no seals.
    ///
    /// # Errors
    /// What `out` returned.
    pub fn stream(out: W, sessions: usize) -> io::Result<Writer<W>> {
        let mut writer = Writer::bare(out, false);
        writer.begin(sessions)?;
        Ok(writer)
    }

    fn bare(out: W, sealed: bool) -> Writer<W> {
        let (sum, bytes) = (Adler32::new(), 0);
        Writer {
            out: Summed { out, sum, bytes },
            left: 0,
            sealed,
        }
    }

    fn begin(&mut self, count: usize) -> io::Result<()> {
        assert_eq!(self.left, 0, "items of the part before are missing");
        self.left = count;
        let count =
            i32::try_from(count).map_err(|_| io::Error::other(format!("{count} items do not fit the format")))?;
        self.out.int(count)
    }

    fn one(&mut self) {
        self.left = self.left.checked_sub(1).expect("no more items than were announced");
    }

    /// Writes a session, one of those that were announced.
    ///
    /// # Errors
    /// What the output returned.
    pub fn session(&mut self, id: i64, timeout_ms: i32) -> io::Result<()> {
        self.one();
        self.out.long(id)?;
        self.out.int(timeout_ms)
    }

    /// Ends the sessions and announces the ACLs.
    ///
    /// # Errors
    /// What the output returned.
    pub fn begin_acls(&mut self, count: usize) -> io::Result<()> {
        self.begin(count)
    }

    /// Writes an ACL, one of those that were announced.
    ///
    /// # Errors
    /// What the output returned.
    pub fn acl(&mut self, id: i64, entries: &[Acl]) -> io::Result<()> {
        self.one();
        self.out.long(id)?;
        self.out.int(entries.len() as i32)?;
        for Acl { perms, scheme, id } in entries {
            self.out.int(*perms)?;
            self.out.text(scheme.as_deref())?;
            self.out.text(id.as_deref())?;
        }
        Ok(())
    }

    /// Writes a node. The root comes first, and every parent before its children.
    ///
    /// # Errors
    /// What the output returned.
    pub fn node(&mut self, node: &Node<'_>) -> io::Result<()> {
        assert_eq!(self.left, 0, "ACLs are missing");
        self.out.text(Some(node.path))?;
        self.out.buffer(node.data)?;
        self.out.long(node.acl)?;
        self.out.put(&node.stat.encode())
    }

    /// Ends a file: the digest, the last zxid, three seals. Gives back the output and how many bytes it got.
    ///
    /// # Errors
    /// What the output returned.
    pub fn finish(mut self, digest: &Digest, last_zxid: i64) -> io::Result<(W, u64)> {
        assert!(self.sealed, "a stream ends with its nodes");
        assert!(digest.version >= super::DIGEST_VERSION, "older digests are not written");
        self.out.text(Some(END))?;
        self.out.seal()?;
        self.out.long(digest.zxid)?;
        self.out.int(digest.version)?;
        self.out.long(digest.digest as i64)?;
        self.out.seal()?;
        self.out.long(last_zxid)?;
        self.out.seal()?;
        Ok((self.out.out, self.out.bytes))
    }

    /// Ends a stream.
    ///
    /// # Errors
    /// What the output returned.
    pub fn finish_stream(mut self) -> io::Result<W> {
        assert!(!self.sealed, "a file ends with seals");
        self.out.text(Some(END))?;
        Ok(self.out.out)
    }
}
