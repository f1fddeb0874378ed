//! Messages between cores: a queue and a bell.
//!
//! Ringing costs the sender some 12 µs when the receiver sleeps and a tenth of one when it is awake, so a sender
//! pushes all it has and rings once.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::SegQueue;
use crossbeam::utils::CachePadded;
use tokio::sync::Notify;

/// What one core is told by the others.
pub struct Inbox<T> {
    queue: SegQueue<T>,
    /// In a line of its own, as the queue's ends are: who looks at what lies beside an inbox is not disturbed by senders.
    bell: CachePadded<Notify>,
    rung: CachePadded<AtomicBool>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Inbox<T> {
        Inbox {
            queue: SegQueue::new(),
            bell: CachePadded::new(Notify::new()),
            rung: CachePadded::new(AtomicBool::new(false)),
        }
    }
}

impl<T> Inbox<T> {
    /// Leaves a message without waking anybody.
    pub fn push(&self, message: T) {
        self.queue.push(message);
    }

    /// Wakes the receiver, unless it has been woken and has not looked yet.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.notify_one();
        }
    }

    /// Leaves a message and wakes the receiver.
    pub fn send(&self, message: T) {
        self.push(message);
        self.ring();
    }

    /// Takes the oldest message.
    pub fn pop(&self) -> Option<T> {
        // Most looks find nothing, and this one needs no fence.
        if self.queue.is_empty() {
            return None;
        }
        self.queue.pop()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Waits for the bell. What was pushed before the ring is there afterwards.
    pub async fn rung(&self) {
        self.bell.notified().await;
        // Cleared before the queue is looked at: a push from now on rings anew.
        self.rung.store(false, Ordering::Release);
    }
}
