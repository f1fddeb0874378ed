//! A snapshot of Apache ZooKeeper, plain or packed; and the same bytes as the stream from a leader.

use std::io::BufRead;

use storage::apache::snapshot::{Digest, Item, Node, Reader, Trailer, Writer};
use storage::apache::{Acl, Compression, ReadError, Stat};

/// Reads the bytes as they are, unpacked in each way, and mended.
pub fn read_any(bytes: &[u8]) {
    if let Ok(whole) = read(Reader::open(bytes)) {
        again(&whole);
    }
    for packing in [Compression::Gzip, Compression::Snappy] {
        if let Ok(unpacked) = packing.reader(bytes) {
            let _ = read(Reader::open(unpacked));
        }
    }
    if let Ok(mut reader) = Reader::stream(bytes) {
        while let Ok(Some(_)) = reader.next() {}
        assert!(reader.offset() <= bytes.len() as u64);
    }
    if let Some(mended) = mended(bytes)
        && let Ok(whole) = read(Reader::open(&mended[..]))
    {
        again(&whole);
    }
}

/// Everything that a snapshot says.
#[derive(Debug, Default, PartialEq)]
struct Whole {
    sessions: Vec<(i64, i32)>,
    acls: Vec<(i64, Vec<Acl>)>,
    nodes: Vec<(String, Option<Vec<u8>>, i64, Stat)>,
    trailer: Trailer,
}

fn read<R: BufRead>(reader: Result<Reader<R>, ReadError>) -> Result<Whole, ReadError> {
    let read = reader.and_then(|mut reader| {
        let mut all = Whole::default();
        while let Some(item) = reader.next()? {
            match item {
                Item::Session { id, timeout_ms } => all.sessions.push((id, timeout_ms)),
                Item::Acl { id, entries } => all.acls.push((id, entries)),
                Item::Node(Node { path, data, acl, stat }) => {
                    all.nodes.push((path.into(), data.map(<[u8]>::to_vec), acl, stat));
                }
            }
        }
        assert_eq!(reader.nodes(), all.nodes.len() as u64);
        all.trailer = reader.finish()?;
        Ok(all)
    });
    read.inspect_err(|error| assert!(!error.to_string().is_empty()))
}

/// What was read whole is written, and read again as the same.
fn again(whole: &Whole) {
    let (Some(digest), Some(last_zxid)) = (whole.trailer.digest, whole.trailer.last_zxid) else {
        return;
    };
    let bytes = write(whole, &digest, last_zxid).expect("memory takes all");
    let same = read(Reader::open(&bytes[..])).expect("a snapshot just written");
    assert_eq!(
        (&same.sessions, &same.acls, &same.nodes),
        (&whole.sessions, &whole.acls, &whole.nodes)
    );
}

fn write(whole: &Whole, digest: &Digest, last_zxid: i64) -> std::io::Result<Vec<u8>> {
    let mut writer = Writer::file(Vec::new(), whole.sessions.len())?;
    for (id, timeout_ms) in &whole.sessions {
        writer.session(*id, *timeout_ms)?;
    }
    writer.begin_acls(whole.acls.len())?;
    for (id, entries) in &whole.acls {
        writer.acl(*id, entries)?;
    }
    for (path, data, acl, stat) in &whole.nodes {
        writer.node(&Node {
            path,
            data: data.as_deref(),
            acl: *acl,
            stat: *stat,
        })?;
    }
    Ok(writer.finish(digest, last_zxid)?.0)
}

/// Bytes of a seal, of a digest since 3.6, and of a last zxid.
const SEAL: usize = 13;
const PARTS: [usize; 3] = [0, 20, 8];

/// The bytes with the seals made right that stand where a file of 3.9 has them.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::open(bytes).ok()?;
    while reader.next().ok()?.is_some() {}
    let mut at = reader.offset() as usize;
    let mut bytes = bytes.to_vec();
    for part in PARTS {
        at += part;
        let sum = u64::from(simd_adler32::adler32(&bytes.get(..at)?));
        let seal = bytes.get_mut(at..at + SEAL)?;
        seal[..8].copy_from_slice(&sum.to_be_bytes());
        seal[8..].copy_from_slice(b"\0\0\0\x01/");
        at += SEAL;
    }
    Some(bytes)
}
