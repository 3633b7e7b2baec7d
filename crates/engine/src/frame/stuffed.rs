//! What `cobs` and `slip` have in common: a byte that stands between frames and in no frame.
//!
//! The bytes of a frame are changed so that the delimiter is not among them, so a payload is no slice of the stream:
//! [`super::Step::Message`] says where its encoded form lies, and [`super::Framer::decode`] turns that into the payload
//! where it lies, since it never grows. Wherever a reader begins, and whatever noise does to a frame, the next
//! delimiter begins a new one. Therefore a broken frame is skipped ([`super::Step::Skipped`]) and counted; with
//! `:strict` it ends the stream as in the other framings.
//!
//! The maximum counts the payload. A frame that is too long is known by its encoded length before its end has come; its
//! rest is skipped as it comes, so that no more than one longest frame ever waits.

use super::{FrameError, Step, cobs, slip};
use memchr::memchr;

/// The longest payload of these framings: encoded it is still counted in 31 bits.
pub(super) const LONGEST: usize = (1 << 30) - 64;

/// In what a link remembers of its search: what comes up to the next delimiter belongs to a frame that was too long.
const DISCARDING: u32 = 1 << 31;

/// How the delimiter is kept out of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Cobs,
    Slip,
}

/// One of the framings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stuffed {
    pub code: Code,
    /// A broken frame is an error, not skipped.
    pub strict: bool,
}

impl Stuffed {
    fn delimiter(self) -> u8 {
        match self.code {
            Code::Cobs => cobs::DELIMITER,
            Code::Slip => slip::END,
        }
    }

    /// Bytes of the longest frame with a payload of `limit` bytes, without delimiters.
    fn longest(self, limit: usize) -> usize {
        match self.code {
            Code::Cobs => cobs::longest(limit),
            Code::Slip => slip::longest(limit),
        }
    }

    /// Bytes of the payload in a frame without its delimiters, or which of its bytes is wrong: one past the end is the
    /// delimiter.
    fn measure(self, frame: &[u8]) -> Result<usize, FrameError> {
        match self.code {
            Code::Cobs => cobs::measure(frame),
            Code::Slip => slip::measure(frame),
        }
    }

    #[inline(never)]
    pub(super) fn next(self, limit: usize, scan: &mut u32, bytes: &[u8]) -> Step {
        let delimiter = self.delimiter();
        if *scan & DISCARDING != 0 {
            return discard(scan, delimiter, bytes);
        }
        let idle = bytes.iter().take_while(|byte| **byte == delimiter).count();
        let frame = &bytes[idle..];
        let longest = self.longest(limit);
        let window = frame.get(..=longest).unwrap_or(frame);
        let searched = (*scan as usize).min(bytes.len()).saturating_sub(idle).min(window.len());
        let found = memchr(delimiter, &window[searched..]).map(|offset| searched + offset);
        if let Some(end) = found
            && self.measure(&frame[..end]).is_ok_and(|size| size <= limit)
        {
            *scan = 0;
            return Step::Message { start: idle, end: idle + end, consumed: idle + end + 1 };
        }
        if idle > 0 {
            // Nothing stands between delimiters: noise is ended so, and a frame begun.
            *scan = 0;
            return Step::Skipped { consumed: idle, broken: None };
        }
        match found {
            Some(end) => {
                *scan = 0;
                let error = match self.measure(&frame[..end]) {
                    Ok(size) => FrameError::TooLarge { size: Some(size as u64), limit },
                    Err(error) => error,
                };
                self.broken(error, end + 1)
            }
            None if window.len() > longest => {
                *scan = DISCARDING;
                self.broken(FrameError::TooLarge { size: None, limit }, window.len())
            }
            None => {
                *scan = window.len() as u32;
                Step::Partial(None)
            }
        }
    }

    #[cold]
    fn broken(self, error: FrameError, consumed: usize) -> Step {
        if self.strict { Step::Broken(error) } else { Step::Skipped { consumed, broken: Some(error) } }
    }

    pub(super) fn check(self, payload: &[u8]) -> Result<(), FrameError> {
        if self.code == Code::Slip && payload.is_empty() {
            return Err(FrameError::Unsendable {
                reason: "it is empty, and in slip nothing between two ends is nothing",
            });
        }
        Ok(())
    }

    pub(super) fn decode(self, frame: &mut [u8]) -> usize {
        match self.code {
            Code::Cobs => cobs::decode(frame),
            Code::Slip => slip::decode(frame),
        }
    }

    pub(super) fn encode(self, payload: &[u8], out: &mut Vec<u8>) {
        match self.code {
            Code::Cobs => cobs::encode(payload, out),
            Code::Slip => slip::encode(payload, out),
        }
    }
}

/// Whether what was remembered of a search says that the next bytes belong to a frame that was given up.
pub(super) fn discards(scan: u32) -> bool {
    scan & DISCARDING != 0
}

fn discard(scan: &mut u32, delimiter: u8, bytes: &[u8]) -> Step {
    match memchr(delimiter, bytes) {
        Some(end) => {
            *scan = 0;
            Step::Skipped { consumed: end + 1, broken: None }
        }
        None if bytes.is_empty() => Step::Partial(None),
        None => Step::Skipped { consumed: bytes.len(), broken: None },
    }
}
