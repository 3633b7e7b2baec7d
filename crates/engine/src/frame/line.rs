//! `line`: text lines, as people and their tools type them.
//!
//! Received lines end in `\n`; one `\r` before it belongs to the end, not to the line, so peers
//! that end lines either way are understood. The framing only chooses what is sent: `\n`, or
//! `\r\n` with `line:crlf`. The maximum counts the line without its end.

use super::{FrameError, Step, too_large};
use memchr::memchr;

/// The line end that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Lf,
    Crlf,
}

#[inline]
pub(super) fn next(limit: usize, scan: &mut u32, bytes: &[u8]) -> Step {
    // A line that keeps to the limit ends within it and the two bytes of "\r\n".
    let window = bytes.get(..limit + 2).unwrap_or(bytes);
    let searched = (*scan as usize).min(window.len());
    let Some(offset) = memchr(b'\n', &window[searched..]) else {
        return without_end(limit, scan, window);
    };
    let newline = searched + offset;
    let end = match newline.checked_sub(1) {
        Some(before) if window[before] == b'\r' => before,
        _ => newline,
    };
    if end > limit {
        return too_large(None, limit);
    }
    *scan = 0;
    Step::Message { start: 0, end, consumed: newline + 1 }
}

#[inline(never)]
fn without_end(limit: usize, scan: &mut u32, window: &[u8]) -> Step {
    let length = match window {
        [line @ .., b'\r'] => line.len(),
        line => line.len(),
    };
    if length > limit {
        return too_large(None, limit);
    }
    *scan = u32::try_from(window.len()).unwrap_or(u32::MAX);
    Step::Partial(None)
}

impl Line {
    #[inline]
    pub(super) fn end(self) -> &'static [u8] {
        match self {
            Line::Lf => b"\n",
            Line::Crlf => b"\r\n",
        }
    }

    #[inline]
    pub(super) fn check(self, payload: &[u8]) -> Result<(), FrameError> {
        if memchr(b'\n', payload).is_some() {
            return Err(FrameError::Unsendable { reason: "it contains a line end and would arrive as several lines" });
        }
        if self == Line::Lf && payload.last() == Some(&b'\r') {
            return Err(FrameError::Unsendable {
                reason: "it ends in \\r, which the receiver takes for part of the line end \
                         (line:crlf sends \\r\\n)",
            });
        }
        Ok(())
    }
}
