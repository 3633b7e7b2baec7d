//! `gap:20ms`: a message ends when nothing has come for that time, as on serial lines (Modbus RTU).
//!
//! The bytes say nothing, so the framer alone finds no end but that of the stream; a [`Silences`] beside it is told what
//! came and when, and where the time has shown that nothing did. Time is seen when somebody looks. So **a message
//! without a gap in it is never divided, but two may arrive as one** if nobody looked between them: silence counts only
//! once it was seen. When sending, the same silence, doubled for a reader that looks late, is kept between messages.

use super::{FrameError, Step};
use std::collections::VecDeque;

/// The shortest and the longest gap that can be asked for, in nanoseconds: a microsecond, an hour.
pub(super) const BOUNDS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000_000_000;

/// The messages that silence has divided in the unclaimed bytes of one stream.
#[derive(Debug, Clone)]
pub struct Silences {
    gap_ns: u64,
    /// Bytes of the whole messages that wait, the oldest first.
    whole: VecDeque<usize>,
    /// Bytes behind them, of a message that may go on.
    open: usize,
    /// When the last of those came.
    last: u64,
}

impl Silences {
    /// Of a stream of which nothing has come yet.
    pub fn new(gap_ns: u64) -> Silences {
        Silences { gap_ns, whole: VecDeque::new(), open: 0, last: 0 }
    }

    /// `count` bytes came; `now` in nanoseconds.
    pub fn arrived(&mut self, count: usize, now: u64) {
        if count > 0 {
            self.open += count;
            self.last = now;
        }
    }

    /// Up to `now` nothing else has come.
    pub fn quiet(&mut self, now: u64) {
        if self.open > 0 && now >= self.last.saturating_add(self.gap_ns) {
            self.whole.push_back(std::mem::take(&mut self.open));
        }
    }

    /// When the message that may go on will have ended, if nothing else comes; `None` without one.
    pub fn deadline(&self) -> Option<u64> {
        (self.open > 0).then(|| self.last.saturating_add(self.gap_ns))
    }

    /// The first message, which counts as handed out then; `ended`: nothing else will come.
    pub fn next(&mut self, limit: usize, ended: bool) -> Step {
        let size = match self.whole.pop_front() {
            Some(size) => size,
            None if self.open <= limit && !(ended && self.open > 0) => return Step::Partial(None),
            None => std::mem::take(&mut self.open),
        };
        if size > limit {
            return Step::Broken(FrameError::TooLarge { size: None, limit });
        }
        Step::Message { start: 0, end: size, consumed: size }
    }

    /// Bytes of the whole messages that wait.
    pub fn whole(&self) -> usize {
        self.whole.iter().sum()
    }

    /// Another stream follows: the message that has not ended never will.
    pub fn cut(&mut self) {
        self.open = 0;
    }
}
