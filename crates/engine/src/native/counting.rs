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
/// After so many frames an acknowledgement goes along with the next frame that is sent anyway: it costs no packet of its
/// own, and lets the other side forget what it keeps while that is still in the processor's caches.
pub const ACK_ALONG: u32 = 16;
/// See [`ACK_FRAMES`].
pub const ACK_BYTES: u32 = 256 * 1024;

/// How long the length is that stands before a frame.
const LENGTH: usize = 4;

/// See the module.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Counting {
    /// Bytes received of which the other side was not told.
    bytes_in: u32,
    /// Frames received of which the other side was not told.
    frames_in: u32,
    /// Frames received, as the other side numbers them.
    received: u64,
    /// Frames sent.
    sent: u64,
    /// Those that are kept, the oldest first: the last ones that were sent, each behind its length. One run of bytes, and
    /// nothing beside it: of many clients that are sent a frame now and then, none is in the processor's caches.
    kept: VecDeque<u8>,
    /// How many that are.
    frames_kept: u32,
}

impl Counting {
    /// A frame was sent: it is kept until the other side has it.
    #[inline]
    pub fn send(&mut self, header: &[u8], payload: &[u8]) {
        let length = (header.len() + payload.len()) as u32;
        self.sent += 1;
        self.frames_kept += 1;
        self.kept.extend(&length.to_be_bytes());
        self.kept.extend(header);
        self.kept.extend(payload);
        while self.kept.len() > KEPT_MAX {
            self.forget_oldest();
        }
    }

    /// What is kept, with what the keeping costs.
    #[inline]
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// The size of the frame at this place of `kept`, its length included.
    fn size_at(&self, at: usize) -> usize {
        let length = self.kept.range(at..at + LENGTH).fold(0, |length, byte| length << 8 | usize::from(*byte));
        LENGTH + length
    }

    fn forget_oldest(&mut self) {
        self.forget(1);
    }

    fn forget(&mut self, frames: u32) {
        let mut bytes = 0;
        for _ in 0..frames {
            bytes += self.size_at(bytes);
        }
        self.kept.drain(..bytes);
        self.frames_kept -= frames;
    }

    /// Frames that the other side is known to have, or that are kept no more.
    fn settled(&self) -> u64 {
        self.sent - u64::from(self.frames_kept)
    }

    /// The other side says how many frames it has received.
    #[inline]
    pub fn acknowledge(&mut self, received: u64) -> Result<(), Violation> {
        if received > self.sent {
            return Err(Violation::BadAck);
        }
        if received == self.sent {
            // An idle client costs nothing.
            (self.kept, self.frames_kept) = Default::default();
        } else if let Some(count) = received.checked_sub(self.settled()) {
            // Below what is kept, which is counted in 32 bits.
            self.forget(count as u32);
        }
        Ok(())
    }

    /// A frame was received; true when the other side is to be told at once.
    #[inline]
    pub fn receive(&mut self, size: usize) -> bool {
        self.received += 1;
        self.frames_in += 1;
        self.bytes_in = self.bytes_in.saturating_add(size as u32);
        self.frames_in >= ACK_FRAMES || self.bytes_in >= ACK_BYTES
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
        if self.frames_in == 0 {
            return None;
        }
        self.told();
        Some(self.received)
    }

    /// The same, for when something is sent anyway: `None` also while it would say little.
    #[inline]
    pub fn acknowledgement_along(&mut self) -> Option<u64> {
        if self.frames_in < ACK_ALONG { None } else { self.acknowledgement() }
    }

    fn told(&mut self) {
        (self.frames_in, self.bytes_in) = (0, 0);
    }

    /// The other side comes back and says how many frames it has received: what is kept is what it lacks now. False, and
    /// nothing changes: it lacks what is not kept any more, or claims what was never sent.
    pub fn resume(&mut self, received: u64) -> bool {
        if received < self.settled() || self.acknowledge(received).is_err() {
            return false;
        }
        // It hears of ours in the WELCOME.
        self.told();
        true
    }

    /// The frames that are kept, the oldest first.
    pub fn kept(&mut self) -> impl Iterator<Item = &[u8]> {
        let mut bytes: &[u8] = self.kept.make_contiguous();
        std::iter::from_fn(move || {
            let length = u32::from_be_bytes(*bytes.first_chunk::<LENGTH>()?) as usize;
            let (frame, rest) = bytes.get(LENGTH..)?.split_at_checked(length)?;
            bytes = rest;
            Some(frame)
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
        assert_eq!(counting.kept.capacity(), 0, "idle, it costs nothing");
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
        for _ in 1..ACK_ALONG {
            counting.receive(10);
            assert_eq!(counting.acknowledgement_along(), None);
        }
        counting.receive(10);
        assert_eq!(counting.acknowledgement_along(), Some(530));
        assert_eq!(counting.acknowledgement(), None);
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
