//! Text as Java writes it: UTF-8, but for characters outside the basic plane, which become two surrogates of three
//! bytes each (`BinaryOutputArchive#stringToByteBuffer`). Java itself cannot read those back; here both forms are read.

use std::borrow::Cow;

/// Reads either form; `None` if the bytes are neither.
pub fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => surrogates(bytes).map(Cow::Owned),
    }
}

/// Joins pairs of surrogates; everything else must be UTF-8.
fn surrogates(bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let clean = match std::str::from_utf8(rest) {
            Ok(clean) => clean,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).expect("valid up to there"),
        };
        text.push_str(clean);
        rest = &rest[clean.len()..];
        if let Some((pair, behind)) = rest.split_first_chunk::<6>() {
            text.push(joined(pair)?);
            rest = behind;
        } else if !rest.is_empty() {
            return None;
        }
    }
    Some(text)
}

fn joined(pair: &[u8; 6]) -> Option<char> {
    let unit =
        |bytes: &[u8]| u16::from(bytes[0] & 0x0F) << 12 | u16::from(bytes[1] & 0x3F) << 6 | u16::from(bytes[2] & 0x3F);
    let is_three = |bytes: &[u8]| bytes[0] == 0xED && bytes[1] & 0xC0 == 0x80 && bytes[2] & 0xC0 == 0x80;
    let (high, low) = pair.split_at(3);
    if !is_three(high) || !is_three(low) {
        return None;
    }
    char::decode_utf16([unit(high), unit(low)]).next()?.ok()
}

/// Java's form.
pub fn encode(text: &str) -> Cow<'_, [u8]> {
    if text.bytes().all(|byte| byte < 0xF0) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len() * 3 / 2);
    for character in text.chars() {
        let mut units = [0; 2];
        match character.encode_utf16(&mut units) {
            [high, low] => [*high, *low].into_iter().for_each(|unit| {
                let part = |shift: u16| 0x80 | (unit >> shift & 0x3F) as u8;
                bytes.extend([0xE0 | (unit >> 12) as u8, part(6), part(0)]);
            }),
            _ => bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_javas_is_written() {
        for text in ["", "plain", "añ€", "a😀b€😀", "😀"] {
            assert_eq!(decode(text.as_bytes()).unwrap(), text);
            let written = encode(text);
            assert_eq!(decode(&written).unwrap(), text);
        }
        assert_eq!(*encode("😀"), [0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]);
        assert!(matches!(encode("añ€"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bytes in [
            &b"\xff"[..],
            b"a\xed\xa0\xbd",
            b"\xed\xb8\x80\xed\xa0\xbd",
            b"\xed\xa0\xbdxyz",
            b"abc\xc3",
        ] {
            assert_eq!(decode(bytes), None, "{}", bytes.escape_ascii());
        }
    }
}
