//! Frames: a four-byte length and so many bytes.

/// What the front of a receive buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Front<'a> {
    /// A whole frame's bytes; `consumed` counts the length field too.
    Whole {
        /// The bytes behind the length.
        frame: &'a [u8],
        /// Bytes to drop from the buffer afterwards.
        consumed: usize,
    },
    /// Not whole yet; so many bytes in all are needed to go on.
    Partial {
        /// Buffer length at which it is worth looking again.
        needed: usize,
    },
    /// A negative length, or one above the limit: the connection must go.
    Impossible(i32),
}

/// Looks at the front of a receive buffer.
pub fn front(buffer: &[u8], frame_bytes_max: usize) -> Front<'_> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else {
        return Front::Partial { needed: 4 };
    };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= frame_bytes_max => match rest.get(..bytes) {
            Some(frame) => Front::Whole {
                frame,
                consumed: 4 + bytes,
            },
            None => Front::Partial { needed: 4 + bytes },
        },
        _ => Front::Impossible(length),
    }
}

/// Appends a frame whose bytes `body` writes, and gives its length without the length field.
pub fn append(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = out.len() - start - 4;
    let field = i32::try_from(length).expect("a frame is smaller than 2 GiB");
    out[start..start + 4].copy_from_slice(&field.to_be_bytes());
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts() {
        assert_eq!(front(b"\0\0", 10), Front::Partial { needed: 4 });
        assert_eq!(front(b"\0\0\0\x02a", 10), Front::Partial { needed: 6 });
        assert_eq!(
            front(b"\0\0\0\x02abc", 10),
            Front::Whole {
                frame: b"ab",
                consumed: 6
            }
        );
        assert_eq!(
            front(b"\0\0\0\0", 10),
            Front::Whole {
                frame: b"",
                consumed: 4
            }
        );
        assert_eq!(front(b"\0\0\0\x0b", 10), Front::Impossible(11));
        assert_eq!(front(b"\xff\xff\xff\xff", 10), Front::Impossible(-1));
    }

    #[test]
    fn appended_frames_are_fronts() {
        let mut out = Vec::new();
        assert_eq!(append(&mut out, |o| o.extend_from_slice(b"xyz")), 3);
        assert_eq!(
            front(&out, 10),
            Front::Whole {
                frame: b"xyz",
                consumed: 7
            }
        );
    }
}
