//! What both sides of a session have counted, and what is kept until it is acknowledged. Pure.
//!
//! Both sides count the frames that matter, each direction from 1, and no number travels with a frame: a transport that
//! keeps order makes the n-th frame sent the n-th received. So an ACK says all, and after a lost connection each side
//! knows what the other lacks.

use super::frame::Violation;
use std::collections::VecDeque;

/// What is kept for one client; beyond it the oldest frames go, and the session cannot be resumed past them.
pub const KEPT_MAX: usize = 4 * 1024 * 1024;
/// After so many frames, or so many bytes, an acknowledgement is due at once.
pub const ACK_FRAMES: u32 = 512;
/// See [`ACK_FRAMES`].
pub const ACK_BYTES: u32 = 256 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Counting {
    /// Frames received, as the other side numbers them.
    received: u64,
    /// How many of them the other side was told of.
    acknowledged_in: u64,
    /// Bytes received since then.
    bytes_in: u32,
    /// Frames sent.
    sent: u64,
    /// Those that are kept, the oldest first: the last ones that were sent. Frames without the length before them.
    kept: VecDeque<u8>,
    /// Their sizes.
    sizes: VecDeque<u32>,
}

impl Counting {
    /// A frame was sent: it is kept until the other side has it.
    #[inline]
    pub fn send(&mut self, header: &[u8], payload: &[u8]) {
        self.sent += 1;
        self.kept.extend(header);
        self.kept.extend(payload);
        self.sizes.push_back((header.len() + payload.len()) as u32);
        while self.kept_bytes() > KEPT_MAX {
            self.forget_oldest();
        }
    }

    /// What is kept, with what the keeping costs.
    #[inline]
    pub fn kept_bytes(&self) -> usize {
        self.kept.len() + size_of::<u32>() * self.sizes.len()
    }

    fn forget_oldest(&mut self) {
        if let Some(size) = self.sizes.pop_front() {
            self.kept.drain(..size as usize);
        }
    }

    /// Frames that the other side is known to have, or that are kept no more.
    fn settled(&self) -> u64 {
        self.sent - self.sizes.len() as u64
    }

    /// The other side says how many frames it has received.
    #[inline]
    pub fn acknowledge(&mut self, received: u64) -> Result<(), Violation> {
        if received > self.sent {
            return Err(Violation::BadAck);
        }
        if received == self.sent {
            // An idle client costs nothing.
            (self.kept, self.sizes) = Default::default();
        } else if let Some(count) = received.checked_sub(self.settled()) {
            let sizes = self.sizes.drain(..count as usize);
            let bytes: usize = sizes.map(|size| size as usize).sum();
            self.kept.drain(..bytes);
        }
        Ok(())
    }

    /// A frame was received; true when the other side is to be told at once.
    #[inline]
    pub fn receive(&mut self, size: usize) -> bool {
        self.received += 1;
        self.bytes_in = self.bytes_in.saturating_add(size as u32);
        self.received - self.acknowledged_in >= u64::from(ACK_FRAMES) || self.bytes_in >= ACK_BYTES
    }

    /// Frames received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Frames sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// What an ACK is to say; `None` when the other side knows already.
    pub fn acknowledgement(&mut self) -> Option<u64> {
        if self.acknowledged_in == self.received {
            return None;
        }
        self.acknowledged_in = self.received;
        self.bytes_in = 0;
        Some(self.received)
    }

    /// The other side comes back and says how many frames it has received: what is kept is what it lacks now. False, and
    /// nothing changes: it lacks what is not kept any more, or claims what was never sent.
    pub fn resume(&mut self, received: u64) -> bool {
        if received < self.settled() || self.acknowledge(received).is_err() {
            return false;
        }
        // It hears of ours in the WELCOME.
        self.acknowledged_in = self.received;
        self.bytes_in = 0;
        true
    }

    /// The frames that are kept, the oldest first.
    pub fn kept(&mut self) -> impl Iterator<Item = &[u8]> {
        let mut bytes: &[u8] = self.kept.make_contiguous();
        self.sizes.iter().map(move |size| {
            let (frame, rest) = bytes.split_at(*size as usize);
            bytes = rest;
            frame
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_is_forgotten_and_the_rest_is_sent_again() {
        let mut counting = Counting::default();
        for text in ["one", "two", "three"] {
            counting.send(b"h", text.as_bytes());
        }
        assert_eq!(counting.acknowledge(1), Ok(()));
        assert_eq!(counting.acknowledge(1), Ok(()), "twice is fine");
        assert_eq!(counting.acknowledge(0), Ok(()), "an old one says nothing new");
        assert_eq!(counting.kept().collect::<Vec<_>>(), [b"htwo".as_slice(), b"hthree"]);
        assert_eq!(counting.acknowledge(4), Err(Violation::BadAck));
        assert!(!counting.resume(0), "the first is kept no more");
        assert!(!counting.resume(4));
        assert!(counting.resume(2));
        assert_eq!(counting.kept().collect::<Vec<_>>(), [b"hthree".as_slice()]);
        assert_eq!(counting.acknowledge(3), Ok(()));
        assert_eq!(counting.kept.capacity() + counting.sizes.capacity(), 0, "idle, it costs nothing");
    }

    #[test]
    fn an_acknowledgement_is_due_after_frames_or_bytes() {
        let mut counting = Counting::default();
        assert_eq!(counting.acknowledgement(), None);
        for _ in 1..ACK_FRAMES {
            assert!(!counting.receive(10));
        }
        assert!(counting.receive(10));
        assert_eq!(counting.acknowledgement(), Some(512));
        assert_eq!(counting.acknowledgement(), None);
        assert!(!counting.receive(ACK_BYTES as usize - 1));
        assert!(counting.receive(1));
        assert_eq!(counting.acknowledgement(), Some(514));
    }

    #[test]
    fn beyond_the_limit_the_oldest_go() {
        let mut counting = Counting::default();
        for _ in 0..5 * 1024 {
            counting.send(&[0; 8], &[0; 1024]);
            assert!(counting.kept_bytes() <= KEPT_MAX);
        }
        assert!(!counting.resume(0));
        let settled = counting.settled();
        assert!(settled > 0 && counting.resume(settled));
    }
}
