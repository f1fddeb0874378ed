//! The words that scripts are made of: paths, data, ACLs, credentials. Good ones often enough that operations meet,
//! and every kind of bad one that the protocol page names.

use crate::peers::jute::Out;

use super::random::Random;
use super::run::SUPER;

const GOOD: &[&str] = &[
    "/d", "/d/a", "/d/a/b", "/d/a/b/c", "/d/e", "/d/e/f", "/q", "/q/a", "/q/a/b", "/é/ü", "/é",
];
const SEQUENTIAL: &[&str] = &["/d/s-", "/q/n", "/d/a/", "/s", "/", "/q/a/x"];
const NUMBERED: &[&str] = &[
    "/d/s-0000000000",
    "/d/s-0000000001",
    "/q/n0000000000",
    "/q/n0000000001",
    "/d/a/0000000000",
    "/q/a/x0000000001",
];
const RESERVED: &[&str] = &[
    "/",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper/new",
];
const QUOTA: &[&str] = &[
    "/zookeeper/quota/d",
    "/zookeeper/quota/d/zookeeper_limits",
    "/zookeeper/quota/d/zookeeper_stats",
    "/zookeeper/quota/d/a",
    "/zookeeper/quota/d/a/zookeeper_limits",
    "/zookeeper/quota/d/a/zookeeper_stats",
];
const BAD: &[&str] = &[
    "",
    "//",
    "/d//a",
    "/d/",
    "d",
    "d/a",
    "/d/./a",
    "/d/../a",
    "/.",
    "/..",
    "/d/a\0",
    "/\u{1}",
    "/d/\u{7f}",
    "/\u{9f}",
    "/\u{e000}",
    "/\u{f8ff}",
    "/\u{fff0}",
    "/\u{ffff}",
    "/😀",
    "/d/...",
    "/.d",
    "/zookeeper/",
    "/\u{a0}",
    "/d ",
    " /d",
];

/// A path and how it was chosen.
pub fn path(random: &mut Random) -> String {
    match random.below(100) {
        0..=71 => random.of(GOOD).into(),
        72..=81 => random.of(NUMBERED).into(),
        82..=86 => random.of(RESERVED).into(),
        87..=92 => random.of(QUOTA).into(),
        93 => format!("/{}", "x".repeat(1 + random.below(60))),
        _ => random.of(BAD).into(),
    }
}

/// A path for a create with flags: sequential ones often end in a prefix.
pub fn path_to_create(random: &mut Random, flags: i32) -> String {
    let sequential = matches!(flags, 2 | 3 | 6);
    if sequential && random.chance(80) {
        random.of(SEQUENTIAL).into()
    } else {
        path(random)
    }
}

/// Data for a node; what a quota node needs, when it is one.
pub fn data(random: &mut Random, path: &str) -> Option<Vec<u8>> {
    if path.ends_with("zookeeper_limits") && random.chance(85) {
        let (count, bytes) = (random.of(&[-1, 2, 3, 5, 100]), random.of(&[-1, 5, 20, 200]));
        let (count_hard, bytes_hard) = (random.of(&[-1, 3, 4, 6]), random.of(&[-1, 10, 30, 300]));
        let text = match random.below(4) {
            0 => format!("count={count},bytes={bytes}"),
            1 => format!("count={count_hard};bytes={bytes};countHardLimit={count_hard}"),
            _ => format!("count={count},bytes={bytes}=;byteHardLimit={bytes_hard};countHardLimit={count_hard}"),
        };
        return Some(text.into_bytes());
    }
    if path.ends_with("zookeeper_stats") && random.chance(85) {
        return Some(b"count=0,bytes=0".to_vec());
    }
    match random.below(20) {
        // Null limits make Java's quota check throw (`StatsTrack(byte[])`) and answer -5 to every write below; here they
        // limit nothing. No client writes them, so they are left out.
        0 | 1 if path.ends_with("zookeeper_limits") => Some(Vec::new()),
        0 | 1 => None,
        2 | 3 => Some(Vec::new()),
        4 => Some(vec![b'L'; 1000 + random.below(20_000)]),
        5 => Some((0..=255).collect()),
        _ => Some(format!("v{}", random.below(1000)).into_bytes()),
    }
}

/// A version argument.
pub fn version(random: &mut Random) -> i32 {
    random.of(&[-1, -1, -1, -1, -1, 0, 0, 0, 1, 1, 2, 3, 7, -2, i32::MAX, i32::MIN])
}

/// Credentials for an auth packet: scheme and bytes.
pub fn credentials(random: &mut Random) -> (&'static str, Option<Vec<u8>>) {
    let (scheme, auth): (_, Option<&[u8]>) = random.of(&[
        ("digest", Some(b"u:p")),
        ("digest", Some(b"u:p")),
        ("digest", Some(b"v:q")),
        ("digest", Some(b"v:q")),
        ("digest", Some(b"u:p:more")),
        ("digest", Some(b"nocolon")),
        ("digest", Some(b"")),
        ("digest", Some(b":")),
        ("digest", Some(SUPER.as_bytes())),
        ("digest", Some(SUPER.as_bytes())),
        ("digest", None),
        ("ip", Some(b"")),
        ("ip", None),
        ("ip", Some(b"10.9.8.7")),
        ("world", Some(b"anyone")),
        ("auth", Some(b"")),
        ("super", Some(b"")),
        ("sasl", Some(b"bob")),
        ("x509", Some(b"CN=a")),
        ("ensemble", Some(b"name")),
        ("nosuch", Some(b"x")),
        ("", Some(b"x")),
    ]);
    (scheme, auth.map(<[u8]>::to_vec))
}

const U: &str = "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=";

/// An ACL vector as bytes, and its text.
pub fn acl(random: &mut Random) -> (Vec<u8>, String) {
    if random.chance(70) {
        return (Out::new().acls(&[(31, "world", "anyone")]).0, "open".into());
    }
    if random.chance(6) {
        return (Out::new().null().0, "null".into());
    }
    if random.chance(4) {
        return (
            Out::new().int(1).int(31).null().string("anyone").0,
            "null scheme".into(),
        );
    }
    if random.chance(4) {
        return (Out::new().int(1).int(31).string("world").null().0, "null id".into());
    }
    let count = random.of(&[0, 1, 1, 1, 1, 2, 2, 3]);
    let entries: Vec<(i32, &str, &str)> = (0..count).map(|_| entry(random)).collect();
    (Out::new().acls(&entries).0, format!("{entries:?}"))
}

fn entry(random: &mut Random) -> (i32, &'static str, &'static str) {
    let perms = random.of(&[31, 31, 31, 31, 1, 1, 2, 3, 4, 8, 15, 16, 17, 23, 27, 30, 0, 255, -1]);
    let (scheme, id) = random.of(&[
        ("world", "anyone"),
        ("world", "anyone"),
        ("world", "anyone"),
        ("auth", ""),
        ("auth", ""),
        ("auth", "ignored"),
        ("digest", U),
        ("digest", U),
        ("digest", "w:AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("ip", "127.0.0.1"),
        ("ip", "127.0.0.0/8"),
        ("ip", "127.1.2.3/9"),
        ("ip", "10.0.0.1"),
        ("ip", "::1"),
        ("ip", "fe80::/10"),
        ("ip", "0.0.0.0/0"),
        ("world", "someone"),
        ("world", ""),
        ("digest", "nocolon"),
        ("digest", "a:b:c"),
        ("digest", ":x"),
        ("digest", "x:"),
        ("ip", "999.1.1.1"),
        ("ip", "127.0.0.1/33"),
        ("ip", "127.0.0"),
        ("ip", ""),
        ("ip", "localhost"),
        ("super", ""),
        ("sasl", "bob"),
        ("x509", "CN=a"),
        ("nosuch", "x"),
        ("", ""),
    ]);
    (perms, scheme, id)
}
