//! The election port: who it is, then notification after notification.

use ringkeeper::wire::election::{Initial, InitialMessage, Notification, front};
use ringkeeper::wire::frame::Front;

/// Reads a first message and the frames behind it, and the same bytes as frames alone.
pub fn read_any(bytes: &[u8]) {
    match InitialMessage::front(bytes) {
        Ok(Initial::Whole { message, consumed }) => {
            assert!(consumed <= bytes.len(), "{consumed} of {}", bytes.len());
            again(&message);
            frames(&bytes[consumed..]);
        }
        Ok(Initial::Partial { needed }) => {
            assert!(needed > bytes.len(), "{needed} are needed, {} are there", bytes.len());
        }
        Err(_) => {}
    }
    frames(bytes);
}

fn again(message: &InitialMessage) {
    if message.addresses.is_empty() {
        return;
    }
    let mut out = Vec::new();
    message.append(&mut out);
    let consumed = out.len();
    let message = message.clone();
    assert_eq!(InitialMessage::front(&out), Ok(Initial::Whole { message, consumed }));
}

fn frames(mut rest: &[u8]) {
    loop {
        match front(rest) {
            Front::Whole { frame, consumed } => {
                notification(frame);
                rest = &rest[consumed..];
            }
            Front::Partial { .. } | Front::Impossible(_) => return,
        }
    }
}

fn notification(frame: &[u8]) {
    let Ok(heard) = Notification::read(frame) else { return };
    let mut out = Vec::new();
    heard.append(heard.config.as_deref().unwrap_or_default(), &mut out);
    let told = match front(&out) {
        Front::Whole { frame, .. } => Notification::read(frame).expect("what was written can be read"),
        other => panic!("what was written is {other:?}"),
    };
    let known = |heard: &Notification| (heard.state, heard.leader, heard.zxid, heard.round, heard.peer_epoch);
    assert_eq!(known(&told), known(&heard));
}
