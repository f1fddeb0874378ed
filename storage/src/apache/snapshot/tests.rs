//! A golden file of Apache ZooKeeper's, every damage of it, and round trips.

use super::*;
use crate::apache::{OPEN_ACL, ReadError};

/// Written by Apache ZooKeeper 3.9.5's own classes: zxid 7, one session, `/x` = "v".
const GOLDEN: &str = "
5a4b534e00000002ffffffffffffffff00000001112233445566778800007530000000020000000000000001000000010000000100000005776f726c
6400000006616e796f6e650000000000000002000000010000001f00000005776f726c6400000006616e796f6e650000000000000000ffffffffffff
ffff00000000000000000000000000000000000000000000000000000000000000000000000000000001000000000000000000000000000000000000
0007000000022f78000000017600000000000000020000000000000007000000000000000700000000000003e800000000000003e800000000000000
0000000000000000000000000000000000000000070000000a2f7a6f6f6b656570657200000000ffffffffffffffff00000000000000000000000000
0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000112f7a6f6f6b65657065
722f636f6e66696700000000000000000000000100000000000000000000000000000000000000000000000000000000000000000000000000000000
ffffffff00000000000000000000000000000000000000102f7a6f6f6b65657065722f71756f746100000000ffffffffffffffff0000000000000000
00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000012f000000
0030f74648000000012f00000000000000000000000200000000000000000000000073ef482f000000012f0000000000000007000000007f394a3f00
0000012f";

fn golden() -> Vec<u8> {
    let digits: Vec<u8> = GOLDEN.bytes().filter(u8::is_ascii_hexdigit).collect();
    let text = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(text).collect()
}

/// Everything that a snapshot says, owned.
#[derive(Clone, Debug, Default, PartialEq)]
struct Whole {
    sessions: Vec<(i64, i32)>,
    acls: Vec<(i64, Vec<Acl>)>,
    nodes: Vec<(String, Option<Vec<u8>>, i64, Stat)>,
    trailer: Trailer,
}

fn read(bytes: &[u8]) -> Result<Whole, ReadError> {
    whole(Reader::open(bytes)?)
}

fn whole(mut reader: Reader<&[u8]>) -> Result<Whole, ReadError> {
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
    all.trailer = reader.finish()?;
    Ok(all)
}

fn write(all: &Whole) -> Vec<u8> {
    let mut writer = Writer::file(Vec::new(), all.sessions.len()).unwrap();
    body(&mut writer, all);
    let digest = all.trailer.digest.unwrap();
    let (bytes, count) = writer.finish(&digest, all.trailer.last_zxid.unwrap()).unwrap();
    assert_eq!(bytes.len() as u64, count);
    bytes
}

fn body(writer: &mut Writer<Vec<u8>>, all: &Whole) {
    for (id, timeout_ms) in &all.sessions {
        writer.session(*id, *timeout_ms).unwrap();
    }
    writer.begin_acls(all.acls.len()).unwrap();
    for (id, entries) in &all.acls {
        writer.acl(*id, entries).unwrap();
    }
    for (path, data, acl, stat) in &all.nodes {
        let (data, acl, stat) = (data.as_deref(), *acl, *stat);
        writer.node(&Node { path, data, acl, stat }).unwrap();
    }
}

#[test]
fn the_golden_file_is_read_and_written_to_the_byte() {
    let bytes = golden();
    assert_eq!(bytes.len(), 604);
    let all = read(&bytes).unwrap();
    assert_eq!(all.sessions, [(0x1122_3344_5566_7788, 30_000)]);
    let anyone = |perms| {
        vec![Acl {
            perms,
            scheme: Some("world".into()),
            id: Some("anyone".into()),
        }]
    };
    assert_eq!(all.acls, [(1, anyone(1)), (2, anyone(31))]);
    let paths: Vec<&str> = all.nodes.iter().map(|node| &*node.0).collect();
    assert_eq!(paths, ["", "/x", "/zookeeper", "/zookeeper/config", "/zookeeper/quota"]);
    let (_, data, acl, stat) = &all.nodes[1];
    let want = Stat {
        czxid: 7,
        mzxid: 7,
        ctime: 1000,
        mtime: 1000,
        pzxid: 7,
        ..Stat::default()
    };
    assert_eq!((data.as_deref(), *acl, *stat), (Some(&b"v"[..]), 2, want));
    assert_eq!(all.nodes[0].2, OPEN_ACL);
    assert_eq!(all.nodes[3].3.aversion, -1);
    let digest = Some(Digest {
        zxid: 0,
        version: 2,
        digest: 0,
    });
    let want = Trailer {
        digest,
        last_zxid: Some(7),
        seals: 3,
    };
    assert_eq!(all.trailer, want);
    assert_eq!(write(&all), bytes);
}

/// Where the first seal begins in the golden file.
const SEAL: usize = 604 - 54 - 13;

fn append_seal(bytes: &mut Vec<u8>) {
    let sum = simd_adler32::adler32(&bytes.as_slice());
    bytes.extend(u64::from(sum).to_be_bytes());
    bytes.extend([0, 0, 0, 1, b'/']);
}

#[test]
fn every_set_of_sections_is_told_by_its_seals() {
    let all = golden();
    let first_seal_only = &all[..SEAL + 13];
    let trailer = read(first_seal_only).unwrap().trailer;
    assert_eq!((trailer.seals, trailer.digest, trailer.last_zxid), (1, None, None));
    let trailer = read(&all[..SEAL + 13 + 33]).unwrap().trailer;
    assert_eq!(
        (trailer.seals, trailer.digest.is_some(), trailer.last_zxid),
        (2, true, None)
    );
    // What Java itself misreads: no digest, but a zxid.
    let mut bytes = first_seal_only.to_vec();
    bytes.extend(7i64.to_be_bytes());
    append_seal(&mut bytes);
    let trailer = read(&bytes).unwrap().trailer;
    assert_eq!((trailer.seals, trailer.digest, trailer.last_zxid), (2, None, Some(7)));
    // Digests before version 2 are text.
    let mut bytes = first_seal_only.to_vec();
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 4]);
    bytes.extend(b"ff1a");
    append_seal(&mut bytes);
    let digest = read(&bytes).unwrap().trailer.digest.unwrap();
    assert_eq!((digest.zxid, digest.version, digest.digest), (9, 1, 0xff1a));
}

#[test]
fn every_flipped_bit_and_every_cut_is_seen() {
    let bytes = golden();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let read = read(&damaged);
        // The dbid is under the seals too, so there is no bit that may flip.
        assert!(read.is_err(), "bit {bit} (offset {})", bit / 8);
    }
    for end in 0..bytes.len() {
        let whole = [SEAL + 13, SEAL + 13 + 33].contains(&end);
        assert_eq!(read(&bytes[..end]).is_ok(), whole, "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(read(&longer).is_err());
}

#[test]
fn damage_is_named_with_its_offset() {
    let bytes = golden();
    let told = |at: usize, byte: u8| {
        let mut damaged = bytes.clone();
        damaged[at] = byte;
        read(&damaged).unwrap_err()
    };
    assert!(matches!(told(0, b'X'), ReadError::Foreign { .. }));
    assert!(told(7, 9).to_string().contains("version 9"));
    assert!(told(16, 0x80).to_string().contains("count of sessions is -"));
    // A byte of data: only the seal can tell.
    let at = bytes.windows(2).position(|pair| pair == b"v\0").unwrap();
    let error = told(at, b'w');
    assert_eq!(error.offset(), SEAL as u64);
    assert!(error.to_string().contains("seal over the 537 bytes"), "{error}");
    // The length of a path claims more than there is.
    let at = bytes.windows(2).position(|pair| pair == b"/x").unwrap();
    assert!(matches!(told(at - 2, 0x70), ReadError::Ends { .. }));
    assert!(told(at - 4, 0x70).to_string().contains("length of a path"));
}

#[test]
fn odd_contents_survive() {
    let entry = |scheme: Option<&str>, id: Option<&str>| Acl {
        perms: -1,
        scheme: scheme.map(Into::into),
        id: id.map(Into::into),
    };
    let node = |path: &str, data: Option<&[u8]>, acl| {
        let stat = Stat {
            version: i32::MIN,
            owner: i64::MIN,
            ..Stat::default()
        };
        (path.to_owned(), data.map(<[u8]>::to_vec), acl, stat)
    };
    let all = Whole {
        sessions: vec![(-1, i32::MIN), (0, 0)],
        acls: vec![
            (
                i64::MAX,
                vec![entry(None, Some("")), entry(Some("digest"), Some("😀:h"))],
            ),
            (5, vec![]),
        ],
        nodes: vec![
            node("", None, OPEN_ACL),
            node("/añ€", Some(&[]), 5),
            node("/añ€/😀", Some(&[7; 100_000]), i64::MAX),
        ],
        trailer: Trailer {
            digest: Some(Digest {
                zxid: i64::MAX,
                version: 2,
                digest: u64::MAX,
            }),
            last_zxid: Some(-1),
            seals: 3,
        },
    };
    assert_eq!(read(&write(&all)).unwrap(), all);
}

#[test]
fn a_stream_leaves_what_follows_it() {
    let all = read(&golden()).unwrap();
    let mut writer = Writer::stream(Vec::new(), all.sessions.len()).unwrap();
    body(&mut writer, &all);
    let mut bytes = writer.finish_stream().unwrap();
    assert_eq!(bytes[..], golden()[16..SEAL]);
    bytes.extend(b"BenWasHere");
    let mut reader = Reader::stream(&bytes[..]).unwrap();
    while reader.next().unwrap().is_some() {}
    assert_eq!(reader.finish().unwrap(), Trailer::default());
    assert_eq!(reader.into_inner(), b"BenWasHere");
}

#[test]
fn claims_cost_nothing() {
    // A buffer of 255 MiB in a file of a few bytes.
    let mut bytes = golden()[..16].to_vec();
    bytes.extend([0; 8]);
    bytes.extend([0x0F, 0xF0, 0, 0, 1, 2, 3]);
    assert!(matches!(read(&bytes), Err(ReadError::Ends { .. })));
}
