//! The manifest: what is accepted is written again as it was, and read again as the same.

use storage::manifest::Manifest;

/// Reads the bytes as they are and mended.
pub fn read_any(bytes: &[u8]) {
    check(bytes);
    check(&mended(bytes));
}

fn check(bytes: &[u8]) {
    match Manifest::decode(bytes) {
        Ok(manifest) => assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest)),
        Err((offset, reason)) => assert!(offset <= bytes.len(), "{reason} at {offset} of {}", bytes.len()),
    }
}

/// All but the last line, with its checksum.
fn mended(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.windows(8).rposition(|window| window == b"\ncrc32c ");
    let body = &bytes[..end.map_or(bytes.len(), |end| end + 1)];
    let crc = crc32c::crc32c(body);
    [body, format!("crc32c {crc:08x}\n").as_bytes()].concat()
}
