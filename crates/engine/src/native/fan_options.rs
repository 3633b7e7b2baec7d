//! How a fan is set up, and what it tells of itself.

use super::frame::{Frame, MORE};

/// How a fan behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct FanOptions {
    /// Its number at each member; even.
    pub stream: u32,
    /// What members send goes to all members; else it goes to the owner.
    pub publish: bool,
    /// A member that does not keep up is disconnected instead of missing something.
    pub disconnect: bool,
    /// So many of the last messages are kept for the owner, if it publishes; 0: none. What is not `u64 above 0 | at most
    /// `longest` bytes` goes to the owner then, who can say no, and a member that does not keep up is left out and told of.
    pub recent: usize,
    /// See `recent`.
    pub longest: usize,
    /// The sequence of the message before the first.
    pub sequence: u64,
}

impl FanOptions {
    /// A member that does not keep up is left out until it is added again.
    pub(super) fn leaves_out(&self) -> bool {
        !self.publish || self.recent > 0
    }

    /// Whether a frame is one that the owner of a fan with `recent` need not see.
    pub(super) fn is_usual(&self, frame: &Frame<'_>) -> bool {
        let number = frame.long_number();
        frame.flags & MORE == 0 && (8..=8 + self.longest).contains(&frame.payload.len()) && number.cast_signed() > 0
    }
}

/// What a fan has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FanFacts {
    /// Members, those left out included.
    pub members: usize,
    /// Members that are left out because they fell behind.
    pub behind: usize,
    /// Messages that were sent to it.
    pub sent: u64,
    /// Messages queued for members.
    pub delivered: u64,
    /// Messages that members have missed.
    pub dropped: u64,
    /// The last sequence.
    pub sequence: u64,
}
