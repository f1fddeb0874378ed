//! What an admin answer carries: a text, or a file that is sent as it is read.
//!
//! Reading blocks the admin server's own thread for one piece at a time: no client is ever behind it.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// Bytes read and sent at a time.
const PIECE: u64 = 64 << 10;

/// The body of an answer.
#[derive(Debug)]
pub struct Content {
    text: Bytes,
    file: Option<File>,
    /// Bytes still to come, of either.
    left: u64,
}

impl Content {
    /// A text.
    pub fn text(text: String) -> Content {
        Content {
            left: text.len() as u64,
            text: Bytes::from(text),
            file: None,
        }
    }

    /// A file of so many bytes, from where it stands.
    pub fn file(file: File, bytes: u64) -> Content {
        Content {
            left: bytes,
            text: Bytes::new(),
            file: Some(file),
        }
    }

    fn next(&mut self) -> io::Result<Bytes> {
        let Some(file) = &mut self.file else {
            return Ok(std::mem::take(&mut self.text));
        };
        let mut piece = vec![0; self.left.min(PIECE) as usize];
        file.read_exact(&mut piece)?;
        Ok(piece.into())
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = self.next();
        if let Ok(piece) = &piece {
            self.left -= piece.len() as u64;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
