//! `delimiter:...`: a message ends where these bytes first occur.
//!
//! There is no escape, so a payload in which the delimiter would be found too early is refused when
//! sending. The maximum counts the message without its delimiter.

use super::{FrameError, Step, too_large};
use memchr::{memchr, memmem};

/// Any bytes, at least one; what a message ends with.
#[derive(Debug, Clone)]
pub(super) struct Delimiter {
    bytes: Box<[u8]>,
    finder: memmem::Finder<'static>,
    /// The shifts at which the delimiter overlaps itself, ascending: 2 for `abab`. A payload that
    /// ends in so many of its first bytes makes it begin too early.
    periods: Box<[usize]>,
}

impl Delimiter {
    /// Bytes in the longest delimiter that can be asked for.
    pub(super) const LONGEST: usize = 255;

    /// `bytes` has 1 to `LONGEST` bytes.
    pub(super) fn new(bytes: &[u8]) -> Delimiter {
        let overlaps = |shift: &usize| bytes.starts_with(&bytes[*shift..]);
        Delimiter {
            bytes: bytes.into(),
            finder: memmem::Finder::new(bytes).into_owned(),
            periods: (1..bytes.len()).filter(overlaps).collect(),
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    pub(super) fn next(&self, limit: usize, scan: &mut u32, bytes: &[u8]) -> Step {
        let window = bytes.get(..limit + self.bytes.len()).unwrap_or(bytes);
        let searched = (*scan as usize).min(window.len());
        match self.find(&window[searched..]) {
            Some(offset) => {
                *scan = 0;
                let end = searched + offset;
                Step::Message { start: 0, end, consumed: end + self.bytes.len() }
            }
            None => self.without_end(limit, scan, window.len()),
        }
    }

    #[inline(never)]
    fn without_end(&self, limit: usize, scan: &mut u32, length: usize) -> Step {
        // The delimiter starts here at the earliest; its first bytes may be the last of the window.
        let earliest = (length + 1).saturating_sub(self.bytes.len());
        if earliest > limit {
            return too_large(None, limit);
        }
        *scan = u32::try_from(earliest).unwrap_or(u32::MAX);
        Step::Partial(None)
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match *self.bytes {
            [byte] => memchr(byte, bytes),
            _ => self.finder.find(bytes),
        }
    }

    #[inline]
    pub(super) fn check(&self, payload: &[u8]) -> Result<(), FrameError> {
        if self.find(payload).is_some() {
            return Err(FrameError::Unsendable {
                reason: "it contains the delimiter and would arrive as several messages",
            });
        }
        let early = |&period: &usize| payload.ends_with(&self.bytes[..period]);
        if self.periods.iter().any(early) {
            return Err(FrameError::Unsendable {
                reason: "its last bytes and the delimiter's first make a delimiter of their own",
            });
        }
        Ok(())
    }
}
