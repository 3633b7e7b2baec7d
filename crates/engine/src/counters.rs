//! What passed through a link, in numbers.

use crate::frame::FrameError;

/// What passed through a link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Messages handed out.
    pub messages_in: u64,
    /// Messages that the kernel took whole.
    pub messages_out: u64,
    /// Messages dropped on their way out because the queue was full, or unsent at the end. Stops at its maximum.
    pub dropped_out: u32,
    /// Packets dropped on their way in because the owner was slow. Stops at its maximum.
    pub dropped_in: u32,
    /// Packets that the kernel dropped because the socket's receive buffer was full; starts again behind its maximum.
    pub kernel_dropped: u32,
    /// Broken frames that a framing skipped, which can begin anew behind them. Stops at its maximum.
    pub broken_in: u32,
    /// When something last arrived, in monotonic nanoseconds; 0 is never.
    pub last_in: u64,
    /// When something last left.
    pub last_out: u64,
}

/// So many broken frames before the first whole one: then the peer speaks something else.
const NEVER_WHOLE: u32 = 64;

impl Counters {
    /// A part of the stream is skipped, which `broken` is wrong with. An error: so much of it was, and nothing else came,
    /// that there is nothing to wait for.
    pub(crate) fn skip(&mut self, broken: Option<FrameError>) -> Result<(), FrameError> {
        let Some(error) = broken else { return Ok(()) };
        self.broken_in = self.broken_in.saturating_add(1);
        if self.messages_in == 0 && self.broken_in >= NEVER_WHOLE { Err(error) } else { Ok(()) }
    }

    pub(crate) fn drop_out(&mut self, messages: usize) {
        self.dropped_out = self.dropped_out.saturating_add(u32::try_from(messages).unwrap_or(u32::MAX));
    }

    pub(crate) fn drop_in(&mut self, messages: usize) {
        self.dropped_in = self.dropped_in.saturating_add(u32::try_from(messages).unwrap_or(u32::MAX));
    }
}
