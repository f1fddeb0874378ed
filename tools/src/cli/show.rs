//! How values look in text: Stat blocks, dates, ACLs, hex dumps. The formats are Java's and stand only here.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ringkeeper::wire::show::perms;
use zookeeper_client::{Acl, Permission, Stat};

/// The eleven lines of a Stat (`StatPrinter#print`), each ended.
pub fn stat(stat: &Stat) -> String {
    format!(
        "cZxid = {:#x}\nctime = {}\nmZxid = {:#x}\nmtime = {}\npZxid = {:#x}\ncversion = {}\ndataVersion = {}\n\
         aclVersion = {}\nephemeralOwner = {:#x}\ndataLength = {}\nnumChildren = {}\n",
        stat.czxid,
        date(stat.ctime),
        stat.mzxid,
        date(stat.mtime),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children
    )
}

/// Milliseconds since 1970 in the local zone (`java.util.Date#toString`).
fn date(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(instant) => instant
            .to_zoned_datetime(TimeZone::system())
            .strftime("%a %b %d %H:%M:%S %Z %Y")
            .to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// The entries of an ACL (`GetAclCommand#exec`: `Id#toString` is a line of its own), each ended.
pub fn acl(entries: &[Acl]) -> String {
    entries
        .iter()
        .map(|entry| {
            format!(
                "'{},'{}\n: {}\n",
                entry.scheme(),
                entry.id(),
                perms(bits(entry.permission()))
            )
        })
        .collect()
}

/// The permission bits as the wire has them.
pub fn bits(permission: Permission) -> i32 {
    PERMISSIONS
        .iter()
        .filter(|(_, one)| permission.has(*one))
        .map(|(bit, _)| bit)
        .sum()
}

/// The crate's permission of some bits.
pub fn permission(bits: i32) -> Permission {
    let chosen = PERMISSIONS.iter().filter(|(bit, _)| bits & bit != 0);
    chosen.fold(Permission::NONE, |all, (_, one)| all | *one)
}

const PERMISSIONS: [(i32, Permission); 5] = [
    (1, Permission::READ),
    (2, Permission::WRITE),
    (4, Permission::CREATE),
    (8, Permission::DELETE),
    (16, Permission::ADMIN),
];

const RULE: &str = "+-------------------------------------------------+";

/// A box of sixteen bytes a row (netty's `ByteBufUtil#prettyHexDump`), without a last line end. Nothing of nothing.
pub fn hex_dump(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "         {RULE}\n         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n+--------{RULE}----------------+"
    );
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let letters: String = bytes
            .iter()
            .map(|&b| if (0x20..0x7f).contains(&b) { b as char } else { '.' })
            .collect();
        text += &format!("\n|{:08x}|{hex:<48} |{letters:<16}|", row * 16);
    }
    text + &format!("\n+--------{RULE}----------------+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_go_both_ways() {
        for bits_in in 0..32 {
            assert_eq!(bits(permission(bits_in)), bits_in);
        }
    }

    #[test]
    fn hex_dumps_have_java_s_frame() {
        let text = hex_dump(b"hello world, this\n");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(
            lines[3],
            "|00000000| 68 65 6c 6c 6f 20 77 6f 72 6c 64 2c 20 74 68 69 |hello world, thi|"
        );
        assert_eq!(
            lines[4],
            "|00000010| 73 0a                                           |s.              |"
        );
        assert!(lines.iter().skip(2).all(|line| line.len() == lines[3].len()));
        assert_eq!(hex_dump(b""), "");
    }
}
