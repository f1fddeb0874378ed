//! Jute, written a second time and on purpose: the tests' own encoder and decoder (client-protocol.md, 1).
//!
//! Nothing here comes from the server's crate. The writer can also write what no honest client would: any length,
//! any null.

/// Bytes under construction; each call appends one jute value and gives the writer back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Out(pub Vec<u8>);

impl Out {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// boolean, one byte.
    pub fn bool(self, value: bool) -> Self {
        self.raw(&[u8::from(value)])
    }

    /// int, 4 bytes, big-endian.
    pub fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// long, 8 bytes, big-endian.
    pub fn long(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// ustring.
    pub fn string(self, value: &str) -> Self {
        self.buffer(value.as_bytes())
    }

    /// buffer.
    pub fn buffer(self, value: &[u8]) -> Self {
        self.int(value.len() as i32).raw(value)
    }

    /// A null buffer, string or vector.
    pub fn null(self) -> Self {
        self.int(-1)
    }

    /// buffer, null when there is none.
    pub fn buffer_or_null(self, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.buffer(value),
            None => self.null(),
        }
    }

    /// vector of ustring.
    pub fn strings<S: AsRef<str>>(self, values: &[S]) -> Self {
        let out = self.int(values.len() as i32);
        values.iter().fold(out, |out, value| out.string(value.as_ref()))
    }

    /// vector of ACL: (perms, scheme, id).
    pub fn acls(self, values: &[(i32, &str, &str)]) -> Self {
        let out = self.int(values.len() as i32);
        values.iter().fold(out, |out, (perms, scheme, id)| {
            out.int(*perms).string(scheme).string(id)
        })
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// A reader over received bytes; every call says `None` when the bytes do not hold the value.
#[derive(Clone, Debug)]
pub struct In<'a> {
    rest: &'a [u8],
}

impl<'a> In<'a> {
    /// Reads from `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    /// boolean.
    pub fn bool(&mut self) -> Option<bool> {
        Some(self.take(1)?[0] != 0)
    }

    /// int.
    pub fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// long.
    pub fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// buffer; the inner `None` is a null.
    pub fn buffer(&mut self) -> Option<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Some(None),
            count => Some(Some(self.take(usize::try_from(count).ok()?)?)),
        }
    }

    /// ustring; a null is not accepted.
    pub fn string(&mut self) -> Option<String> {
        String::from_utf8(self.buffer()??.to_vec()).ok()
    }

    /// vector of ustring; a null is not accepted.
    pub fn strings(&mut self) -> Option<Vec<String>> {
        let count = usize::try_from(self.int()?).ok()?;
        (0..count).map(|_| self.string()).collect()
    }

    /// vector of ACL.
    pub fn acls(&mut self) -> Option<Vec<(i32, String, String)>> {
        let count = usize::try_from(self.int()?).ok()?;
        (0..count)
            .map(|_| Some((self.int()?, self.string()?, self.string()?)))
            .collect()
    }

    /// Stat.
    pub fn stat(&mut self) -> Option<Stat> {
        Some(Stat {
            czxid: self.long()?,
            mzxid: self.long()?,
            ctime: self.long()?,
            mtime: self.long()?,
            version: self.int()?,
            cversion: self.int()?,
            aversion: self.int()?,
            ephemeral_owner: self.long()?,
            data_length: self.int()?,
            num_children: self.int()?,
            pzxid: self.long()?,
        })
    }
}

/// A node's Stat as it came over the wire, in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Transaction that made the node.
    pub czxid: i64,
    /// Transaction that last set its data.
    pub mzxid: i64,
    /// When it was made, ms.
    pub ctime: i64,
    /// When its data was last set, ms.
    pub mtime: i64,
    /// Data changes.
    pub version: i32,
    /// Children made and deleted.
    pub cversion: i32,
    /// ACL changes.
    pub aversion: i32,
    /// Session that owns it, or 0.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// Direct children.
    pub num_children: i32,
    /// Transaction that last changed its children.
    pub pzxid: i64,
}
