//! The election port: the initiator's first message and the notifications (`QuorumCnxManager.InitialMessage`,
//! `FastLeaderElection.WorkerReceiver`).
//!
//! The first message stands alone; afterwards both sides send frames of at most [`FRAME_BYTES_MAX`], one notification
//! each. All comparisons of what is read here are signed: observers propose `i64::MIN`. Who may dial whom, and which
//! connection survives, is decided elsewhere.

use std::fmt;

use super::frame;
use super::jute::{DecodeError, Reader, Writer};

/// The first long of an initial message with one address.
pub const PROTOCOL_V1: i64 = -65_536;
/// The first long of an initial message with several, sent only with `multiAddress.enabled`.
pub const PROTOCOL_V2: i64 = -65_535;

/// The longest text of addresses (`InitialMessage#parse`).
pub const ADDRESS_BYTES_MAX: usize = 2048;
/// The longest notification (`QuorumCnxManager#PACKETMAXSIZE`).
pub const FRAME_BYTES_MAX: usize = 512 * 1024;

/// The form of notification that 3.9.5 sends: with the membership's text.
const NOTIFICATION_VERSION: i32 = 2;
/// What the oldest servers send: no peer epoch, no version.
const LENGTH_WITHOUT_EPOCH: usize = 28;
/// What servers before 3.5 send: whatever stands behind the peer epoch is no version.
const LENGTH_WITHOUT_VERSION: usize = 40;

/// Where a server can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or a literal, without the brackets of IPv6.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What an initiator says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMessage {
    /// Its number.
    pub server: i64,
    /// Where to dial it back. Wildcards have been dropped (traps.md T-67); empty means: look into the configuration.
    pub addresses: Vec<Address>,
}

/// Why a first message was refused; the connection must go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitialError {
    /// A version that nobody speaks.
    Protocol(i64),
    /// A text of impossible length.
    Length(i32),
    /// An element that is no `host:port`.
    Address(String),
}

impl fmt::Display for InitialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitialError::Protocol(version) => write!(f, "election port: no server begins with {version}"),
            InitialError::Length(length) => {
                write!(
                    f,
                    "election port: {length} bytes of addresses, allowed are 1 to {ADDRESS_BYTES_MAX}"
                )
            }
            InitialError::Address(text) => write!(f, "election port: {text:?} is not host:port"),
        }
    }
}

impl std::error::Error for InitialError {}

/// What the front of an accepted connection's buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Initial {
    /// The message and the bytes to drop.
    Whole {
        /// The message.
        message: InitialMessage,
        /// How many bytes it took.
        consumed: usize,
    },
    /// Not whole yet.
    Partial {
        /// Buffer length at which it is worth looking again.
        needed: usize,
    },
}

impl InitialMessage {
    /// Looks at the front of a receive buffer. A number that is not negative is a 3.4 server's, and nothing follows.
    pub fn front(buffer: &[u8]) -> Result<Initial, InitialError> {
        let mut r = Reader::new(buffer);
        let Ok(protocol) = r.long() else {
            return Ok(Initial::Partial { needed: 8 });
        };
        if protocol >= 0 {
            let message = InitialMessage {
                server: protocol,
                addresses: Vec::new(),
            };
            return Ok(Initial::Whole { message, consumed: 8 });
        }
        if protocol != PROTOCOL_V1 && protocol != PROTOCOL_V2 {
            return Err(InitialError::Protocol(protocol));
        }
        let (Ok(server), Ok(length)) = (r.long(), r.int()) else {
            return Ok(Initial::Partial { needed: 20 });
        };
        let bytes = usize::try_from(length).map_err(|_| InitialError::Length(length))?;
        if bytes == 0 || bytes > ADDRESS_BYTES_MAX {
            return Err(InitialError::Length(length));
        }
        let Some(text) = r.rest().get(..bytes) else {
            return Ok(Initial::Partial { needed: 20 + bytes });
        };
        let message = InitialMessage {
            server,
            addresses: addresses(&String::from_utf8_lossy(text))?,
        };
        Ok(Initial::Whole {
            message,
            consumed: 20 + bytes,
        })
    }

    /// Appends the message: version 1 with one address, version 2 with several. It must leave in one write: a Java
    /// acceptor reads the text with a single call.
    pub fn append(&self, out: &mut Vec<u8>) {
        assert!(!self.addresses.is_empty(), "an initiator says where it can be dialled");
        let several = self.addresses.len() > 1;
        let texts: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        let text = texts.join("|");
        assert!(text.len() <= ADDRESS_BYTES_MAX, "{} bytes of addresses", text.len());
        let mut w = Writer::new(out);
        w.long(if several { PROTOCOL_V2 } else { PROTOCOL_V1 });
        w.long(self.server);
        w.buffer(Some(text.as_bytes()));
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn addresses(text: &str) -> Result<Vec<Address>, InitialError> {
    let mut addresses = Vec::new();
    for part in text.split('|') {
        let address = address(part).ok_or_else(|| InitialError::Address(part.to_owned()))?;
        if !is_wildcard(&address.host) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn address(part: &str) -> Option<Address> {
    let (host, port) = match part.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => part.split_once(':')?,
    };
    // A second colon outside of brackets fails here, as a port.
    let port = port.parse().ok()?;
    // Nothing that a name or a literal can hold, and bytes that were no text.
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '[' | ']' | '\u{fffd}');
    (!host.is_empty() && !host.contains(is_odd)).then(|| Address {
        host: host.to_owned(),
        port,
    })
}

fn is_wildcard(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// What a server is doing, as it says with every notification (`QuorumPeer.ServerState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(i32)]
pub enum SenderState {
    Looking = 0,
    Following = 1,
    Leading = 2,
    Observing = 3,
}

/// A vote on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What the sender is doing.
    pub state: SenderState,
    /// Whom it proposes, or whom it has.
    pub leader: i64,
    /// That server's last zxid when it was proposed.
    pub zxid: i64,
    /// The sender's round (`electionEpoch`).
    pub round: i64,
    /// The proposed server's epoch.
    pub peer_epoch: i64,
    /// The form: 0 says nothing of the peer epoch that can be relied on, 2 carries the membership.
    pub version: i32,
    /// The sender's membership text, with version 2.
    pub config: Option<String>,
}

/// Why a frame was no notification; the frame is dropped, the connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotificationError {
    /// Too short for what it announces, or an impossible length inside.
    Malformed(DecodeError),
    /// A state that no server has.
    State(i32),
}

impl fmt::Display for NotificationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotificationError::Malformed(error) => write!(f, "election notification: {error}"),
            NotificationError::State(state) => write!(f, "election notification: unknown state {state}"),
        }
    }
}

impl std::error::Error for NotificationError {}

impl From<DecodeError> for NotificationError {
    fn from(error: DecodeError) -> NotificationError {
        NotificationError::Malformed(error)
    }
}

/// Looks at the front of a receive buffer; a frame of length zero is as impossible as one that is too long.
pub fn front(buffer: &[u8]) -> frame::Front<'_> {
    match frame::front(buffer, FRAME_BYTES_MAX) {
        frame::Front::Whole { frame: [], .. } => frame::Front::Impossible(0),
        front => front,
    }
}

impl Notification {
    /// Reads a frame, in any of the forms that servers since 3.4 send.
    pub fn read(frame: &[u8]) -> Result<Notification, NotificationError> {
        let mut r = Reader::new(frame);
        let state = r.int()?;
        let (leader, zxid, round) = (r.long()?, r.long()?, r.long()?);
        let peer_epoch = if frame.len() == LENGTH_WITHOUT_EPOCH {
            zxid >> 32
        } else {
            r.long()?
        };
        let bare = frame.len() == LENGTH_WITHOUT_EPOCH || frame.len() == LENGTH_WITHOUT_VERSION;
        let version = if bare { 0 } else { r.int()? };
        let config = if version >= NOTIFICATION_VERSION {
            config(&mut r)?
        } else {
            None
        };
        Ok(Notification {
            state: SenderState::from_code(state).ok_or(NotificationError::State(state))?,
            leader,
            zxid,
            round,
            peer_epoch,
            version,
            config,
        })
    }

    /// Appends a frame in the form of 3.9.5; a receiver there must find a configuration that it can read.
    pub fn append(&self, config: &str, out: &mut Vec<u8>) {
        let length = frame::append(out, |out| {
            let mut w = Writer::new(out);
            w.int(self.state as i32);
            w.long(self.leader);
            w.long(self.zxid);
            w.long(self.round);
            w.long(self.peer_epoch);
            w.int(NOTIFICATION_VERSION);
            w.buffer(Some(config.as_bytes()));
        });
        assert!(length <= FRAME_BYTES_MAX, "a notification of {length} bytes");
    }
}

impl SenderState {
    fn from_code(code: i32) -> Option<SenderState> {
        [
            SenderState::Looking,
            SenderState::Following,
            SenderState::Leading,
            SenderState::Observing,
        ]
        .into_iter()
        .find(|state| *state as i32 == code)
    }
}

fn config(r: &mut Reader<'_>) -> Result<Option<String>, DecodeError> {
    let bytes = r.buffer()?.ok_or(DecodeError::Null("configuration"))?;
    Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    fn whole(bytes: &[u8]) -> InitialMessage {
        match InitialMessage::front(bytes) {
            Ok(Initial::Whole { message, consumed }) if consumed == bytes.len() => message,
            other => panic!("{other:?}"),
        }
    }

    /// An initial message with that text.
    fn saying(text: &str) -> Vec<u8> {
        let mut bytes = PROTOCOL_V1.to_be_bytes().to_vec();
        bytes.extend(3i64.to_be_bytes());
        bytes.extend((text.len() as i32).to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn golden_bytes_of_the_first_message() {
        let mut out = Vec::new();
        let one = InitialMessage {
            server: 3,
            addresses: vec![host("::1", 3888)],
        };
        one.append(&mut out);
        assert_eq!(
            out,
            b"\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\x03\0\0\0\x0a[::1]:3888"
        );
        assert_eq!(whole(&out), one);
        out.clear();
        let two = InitialMessage {
            server: 3,
            addresses: vec![host("a", 1), host("b", 2)],
        };
        two.append(&mut out);
        assert_eq!(
            out,
            b"\xff\xff\xff\xff\xff\xff\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x07a:1|b:2"
        );
        assert_eq!(whole(&out), two);
    }

    #[test]
    fn servers_of_3_4_say_only_their_number() {
        let message = whole(&5i64.to_be_bytes());
        assert_eq!((message.server, message.addresses), (5, vec![]));
    }

    #[test]
    fn wildcards_are_dropped_and_nonsense_is_refused() {
        assert_eq!(whole(&saying("0.0.0.0:1|a:2|[::]:3")).addresses, [host("a", 2)]);
        assert_eq!(whole(&saying("0.0.0.0:1")).addresses, []);
        for text in ["a", "a:b", "a:1:2", ":1", "a:70000", "[::1:2", "a:1|"] {
            let refused = InitialMessage::front(&saying(text));
            assert!(matches!(refused, Err(InitialError::Address(_))), "{text}: {refused:?}");
        }
        let mut bytes = saying("a:1");
        bytes[7] = 2;
        assert_eq!(InitialMessage::front(&bytes), Err(InitialError::Protocol(-65_534)));
        for length in [0, -1, ADDRESS_BYTES_MAX as i32 + 1, i32::MAX] {
            bytes = saying("a:1");
            bytes[16..20].copy_from_slice(&length.to_be_bytes());
            assert_eq!(InitialMessage::front(&bytes), Err(InitialError::Length(length)));
        }
    }

    const VOTE: Notification = Notification {
        state: SenderState::Leading,
        leader: 3,
        zxid: 0x1_0000_0002,
        round: 4,
        peer_epoch: 5,
        version: NOTIFICATION_VERSION,
        config: None,
    };

    #[test]
    fn golden_bytes_of_a_notification() {
        let mut out = Vec::new();
        VOTE.append("version=0", &mut out);
        let golden = b"\0\0\0\x35\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05\0\0\0\x02\0\0\0\x09version=0";
        assert_eq!(out, golden);
        let read = Notification::read(&out[4..]).unwrap();
        assert_eq!(read.config.as_deref(), Some("version=0"));
        assert_eq!(Notification { config: None, ..read }, VOTE);
    }

    #[test]
    fn older_forms_by_their_length() {
        let mut out = Vec::new();
        VOTE.append("", &mut out);
        let frame = &out[4..];
        let oldest = Notification::read(&frame[..28]).unwrap();
        assert_eq!((oldest.peer_epoch, oldest.version), (1, 0));
        // Forty bytes: the version that stands there is not read.
        let old = Notification::read(&frame[..40]).unwrap();
        assert_eq!((old.peer_epoch, old.version, old.config), (5, 0, None));
        for short in [0, 27, 30, 38, 42] {
            assert!(Notification::read(&frame[..short]).is_err(), "{short}");
        }
        let mut first_version = frame[..44].to_vec();
        first_version[36..40].copy_from_slice(&1i32.to_be_bytes());
        assert_eq!(Notification::read(&first_version).unwrap().version, 1);
        for length in [-1, 1, i32::MAX] {
            let mut claims = frame.to_vec();
            claims[40..44].copy_from_slice(&i32::to_be_bytes(length));
            assert!(matches!(
                Notification::read(&claims),
                Err(NotificationError::Malformed(_))
            ));
        }
        let mut nobody = frame.to_vec();
        nobody[3] = 4;
        assert_eq!(Notification::read(&nobody), Err(NotificationError::State(4)));
    }

    #[test]
    fn frames_have_bounds() {
        assert_eq!(front(&0i32.to_be_bytes()), frame::Front::Impossible(0));
        let above = FRAME_BYTES_MAX as i32 + 1;
        assert_eq!(front(&above.to_be_bytes()), frame::Front::Impossible(above));
        let most = FRAME_BYTES_MAX as i32;
        let needed = 4 + FRAME_BYTES_MAX;
        assert_eq!(front(&most.to_be_bytes()), frame::Front::Partial { needed });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_hurt(bytes in proptest::collection::vec(any::<u8>(), 0..120), version in 0..3u8) {
            let _ = Notification::read(&bytes);
            let mut bytes = bytes;
            if bytes.len() > 8 {
                bytes[..8].copy_from_slice(&(PROTOCOL_V1 + version as i64).to_be_bytes());
            }
            match InitialMessage::front(&bytes) {
                Ok(Initial::Whole { consumed, .. }) => prop_assert!(consumed <= bytes.len()),
                Ok(Initial::Partial { needed }) => prop_assert!(needed > bytes.len()),
                Err(_) => {}
            }
        }

        #[test]
        fn notifications_round_trip(
            state in 0..4i32,
            (leader, zxid, round, peer_epoch) in any::<(i64, i64, i64, i64)>(),
            config in "\\PC{0,80}",
        ) {
            let state = SenderState::from_code(state).unwrap();
            let version = NOTIFICATION_VERSION;
            let sent = Notification { state, leader, zxid, round, peer_epoch, version, config: Some(config.clone()) };
            let mut out = Vec::new();
            sent.append(&config, &mut out);
            let frame::Front::Whole { frame, consumed } = front(&out) else { panic!("a whole frame") };
            prop_assert_eq!(consumed, out.len());
            prop_assert_eq!(Notification::read(frame), Ok(sent));
        }

        #[test]
        fn first_messages_round_trip_at_every_cut(server in any::<i64>(), ports in proptest::collection::vec(any::<u16>(), 1..4), name in "[a-z0-9.-]{1,20}") {
            let addresses: Vec<Address> = ports.into_iter().map(|port| host(&format!("h{name}"), port)).collect();
            let sent = InitialMessage { server, addresses };
            let mut out = Vec::new();
            sent.append(&mut out);
            for cut in 0..out.len() {
                match InitialMessage::front(&out[..cut]) {
                    Ok(Initial::Partial { needed }) => prop_assert!(needed > cut && needed <= out.len()),
                    other => prop_assert!(false, "{:?} at {}", other, cut),
                }
            }
            prop_assert_eq!(whole(&out), sent);
        }
    }
}
