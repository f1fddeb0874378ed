//! A snapshot on its way between two servers, in Java's form (zab.md 6.2), on a thread at either end.
//!
//! The writer walks a pinned view and hands chunks to the connection; a slow reader holds it up and nobody else. The
//! reader builds a tree of its own: what does not arrive whole was never there.

use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use storage::apache::snapshot;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot};

use crate::base::Zxid;
use crate::server::secret::random_bytes;
use crate::tree::apache::{self, Building, missing_acl};
use crate::tree::{Features, Tree, View};

/// Chunks that may wait between the thread and the socket, and the bytes of one.
pub const CHUNKS: usize = 8;
const CHUNK_BYTES: usize = 128 << 10;

/// What stands behind the nodes (`Learner#syncWithLeader`).
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// Writes the view into the channel, from a thread; an empty chunk ends it.
///
/// # Errors
/// There is no thread.
pub fn write(zxid: Zxid, view: View, to: SocketAddr, stream: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    let body = move || {
        crate::io::processor::unpin();
        let begun = Instant::now();
        match write_all(&view, &stream) {
            Ok(bytes) => {
                let ms = begun.elapsed().as_millis() as u64;
                tracing::info!(%to, %zxid, bytes, ms, "a snapshot was sent");
            }
            // The connection ended; that is told where it did.
            Err(error) => tracing::info!(%to, %zxid, %error, "a snapshot was not sent"),
        }
    };
    std::thread::Builder::new()
        .name("snap-out".into())
        .spawn(body)
        .map(drop)
}

fn write_all(view: &View, stream: &mpsc::Sender<Vec<u8>>) -> io::Result<u64> {
    let out = Chunks {
        stream,
        chunk: Vec::with_capacity(CHUNK_BYTES),
        bytes: 0,
    };
    let begin = |sessions| snapshot::Writer::stream(out, sessions);
    let mut out = apache::write(view, begin, &mut |_| {})?.finish_stream()?;
    out.write_all(SIGNATURE)?;
    out.flush()?;
    out.give(Vec::new())?;
    Ok(out.bytes)
}

/// Bytes into a channel.
struct Chunks<'s> {
    stream: &'s mpsc::Sender<Vec<u8>>,
    chunk: Vec<u8>,
    bytes: u64,
}

impl Chunks<'_> {
    fn give(&mut self, chunk: Vec<u8>) -> io::Result<()> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the connection is gone");
        self.stream.blocking_send(chunk).map_err(gone)
    }
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        self.bytes += bytes.len() as u64;
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        self.give(chunk)
    }
}

/// Reads a stream to its end, beginning with `front`; gives the tree and the bytes behind it.
///
/// # Errors
/// Why there is no tree: the connection is to be closed.
pub async fn read(
    zxid: Zxid,
    from: SocketAddr,
    reader: &mut OwnedReadHalf,
    front: Vec<u8>,
    features: Features,
) -> Result<(Tree, Vec<u8>), String> {
    let begun = Instant::now();
    let seed = random_bytes::<8>().map_err(|error| format!("/dev/urandom: {error}"))?;
    let (chunks, input) = mpsc::channel::<Vec<u8>>(CHUNKS);
    let (done, mut built) = oneshot::channel();
    let work = move || {
        crate::io::processor::unpin();
        let result = build(input, zxid, u64::from_ne_bytes(seed), features);
        // Nobody is left to be told when the connection broke.
        let _ = done.send(result);
    };
    std::thread::Builder::new()
        .name("snap-in".into())
        .spawn(work)
        .map_err(|error| format!("no thread for a snapshot: {error}"))?;
    let gone = |_| "the snapshot's thread is gone".to_owned();
    let mut next = front;
    let (tree, rest, bytes) = loop {
        if !next.is_empty()
            && let Err(mpsc::error::SendError(chunk)) = chunks.send(std::mem::take(&mut next)).await
        {
            // It has what it needs, or it failed: either way its word comes now.
            next = chunk;
            break (&mut built).await.map_err(gone)??;
        }
        next.reserve(CHUNK_BYTES);
        tokio::select! {
            biased;
            result = &mut built => break result.map_err(gone)??,
            read = reader.read_buf(&mut next) => match read {
                // It may have said everything before it hung up.
                Ok(0) => {
                    drop(chunks);
                    break (&mut built).await.map_err(gone)??;
                }
                Ok(_) => {}
                Err(error) => return Err(format!("within a snapshot: {error}")),
            },
        }
    };
    let mut behind = rest;
    behind.append(&mut next);
    let (ms, nodes) = (begun.elapsed().as_millis() as u64, tree.totals().nodes);
    tracing::info!(%from, %zxid, bytes, nodes, ms, "a snapshot was received");
    Ok((tree, behind))
}

type Built = (Tree, Vec<u8>, u64);

fn build(input: mpsc::Receiver<Vec<u8>>, zxid: Zxid, seed: u64, features: Features) -> Result<Built, String> {
    let source = Source {
        input,
        chunk: Vec::new(),
        at: 0,
    };
    let bad = |error: storage::apache::ReadError| format!("the leader's snapshot: {error}");
    let mut reader = snapshot::Reader::stream(source).map_err(bad)?;
    let mut building = Building::new(seed, features);
    building.read(&mut reader, zxid, &mut |_| {}).map_err(bad)?;
    let bytes = reader.offset();
    let mut source = reader.into_inner();
    let mut signature = [0; SIGNATURE.len()];
    source
        .read_exact(&mut signature)
        .map_err(|error| format!("the leader's snapshot: {error}"))?;
    if signature != SIGNATURE {
        return Err("the leader's snapshot does not end with its signature".into());
    }
    let mut tree = building.finish(zxid)?.tree;
    if let Some((node, number)) = missing_acl(&tree.view()) {
        // Java writes it while transactions go on: the one that made the node comes again.
        tracing::warn!(
            node,
            number,
            "the leader's snapshot does not have the ACL that a node names"
        );
    }
    Ok((tree, source.rest(), bytes + SIGNATURE.len() as u64))
}

/// Bytes out of a channel.
struct Source {
    input: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Source {
    /// Everything that came and was not read.
    fn rest(mut self) -> Vec<u8> {
        // Closed first: what is sent later is refused, and stays with the sender.
        self.input.close();
        let mut rest = self.chunk.split_off(self.at);
        while let Some(mut more) = self.input.blocking_recv() {
            rest.append(&mut more);
        }
        rest
    }
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(out.len());
        out[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.chunk.len() {
            let Some(chunk) = self.input.blocking_recv() else {
                return Ok(&[]);
            };
            (self.chunk, self.at) = (chunk, 0);
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::acl::{ALL, Acl};
    use crate::wire::txn::{Change, CreateTxn, Txn, TxnHeader};
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    fn tree(nodes: i64) -> Tree {
        let mut tree = Tree::new(3, Features::default());
        for zxid in 1..=nodes {
            let header = TxnHeader {
                session: 1,
                cxid: 0,
                zxid,
                time_ms: zxid,
            };
            let txn = Txn::Change(Change::Create {
                path: format!("/node{zxid}"),
                data: Some(vec![zxid as u8; 700]),
                acl: vec![Acl::anyone(ALL)],
                kind: CreateTxn::Plain { ephemeral: false },
                parent_cversion: -1,
            });
            tree.apply(&header, &txn, &mut Vec::new());
        }
        tree
    }

    /// The bytes of a whole stream.
    fn stream(tree: &mut Tree) -> Vec<u8> {
        let (sender, mut receiver) = mpsc::channel(CHUNKS);
        let to = ([127, 0, 0, 1], 1).into();
        write(tree.totals().zxid, tree.view(), to, sender).unwrap();
        let (mut bytes, mut whole) = (Vec::new(), false);
        while let Some(chunk) = receiver.blocking_recv() {
            whole = chunk.is_empty();
            bytes.extend(chunk);
        }
        assert!(whole, "an empty chunk ends it");
        bytes
    }

    /// What a learner makes of bytes: the first `front` of them were read before, the rest comes in pieces.
    fn received(bytes: Vec<u8>, front: usize, piece: usize, zxid: Zxid) -> Result<(Tree, Vec<u8>), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut out = TcpStream::connect(address).await.unwrap();
            let (socket, from) = listener.accept().await.unwrap();
            let (mut reader, _writer) = socket.into_split();
            let (front, rest) = (bytes[..front].to_vec(), bytes[front..].to_vec());
            let sending = async move {
                for piece in rest.chunks(piece) {
                    if out.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                // Hung up: what was not read within the stream is still to come on the socket.
            };
            let reading = read(zxid, from, &mut reader, front, Features::default());
            let (mut result, ()) = tokio::join!(reading, sending);
            if let Ok((_, behind)) = &mut result {
                reader.read_to_end(behind).await.unwrap();
            }
            result
        })
    }

    #[test]
    fn a_snapshot_arrives_whole_and_what_follows_is_kept() {
        let mut sent = tree(3000);
        let zxid = sent.totals().zxid;
        let bytes = stream(&mut sent);
        for (front, piece) in [(0, 1 << 20), (17, 1460), (bytes.len(), 1), (bytes.len() - 3, 2)] {
            let behind = b"NEWLEADER and so on";
            let all = [&bytes[..], behind].concat();
            let (mut tree, rest) = received(all, front, piece, zxid).unwrap();
            assert_eq!(rest, behind, "{front} {piece}");
            assert_eq!(tree.totals().nodes, sent.totals().nodes);
            let view = tree.view();
            let node = view.node("/node2999").expect("it came");
            assert_eq!(view.data("/node2999", &node).map(<[u8]>::len), Some(700));
        }
    }

    #[test]
    fn what_is_not_whole_was_never_there() {
        let mut sent = tree(50);
        let zxid = sent.totals().zxid;
        let bytes = stream(&mut sent);
        for cut in [0, 1, 10, bytes.len() / 2, bytes.len() - 1] {
            let Err(why) = received(bytes[..cut].to_vec(), 0, 1000, zxid) else {
                panic!("cut at {cut}")
            };
            assert!(why.contains("snapshot"), "{why}");
        }
        let mut other = bytes.clone();
        let at = bytes.len() - 2;
        other[at] ^= 1;
        let Err(why) = received(other, 0, 1000, zxid) else {
            panic!("another signature")
        };
        assert!(why.contains("signature"), "{why}");
    }
}
