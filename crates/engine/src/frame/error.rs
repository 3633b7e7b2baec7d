//! What can be wrong with a frame, and with the text of a framing.
//!
//! Facts as fields, and one plain sentence from `Display`, without address or direction: the caller
//! knows those and adds them.

use std::fmt;

/// Why bytes are not a message in this framing, or a message cannot become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than the maximum, or than the width of the length can say.
    TooLarge {
        /// Bytes in the message; `None` when its end has not been seen.
        size: Option<u64>,
        /// The most that is allowed.
        limit: usize,
    },
    /// A byte that cannot stand where it stands.
    Invalid {
        /// Where, counted from the first byte of the frame.
        position: usize,
        /// What could have stood there, as a noun phrase.
        expected: &'static str,
        /// What stood there.
        found: u8,
    },
    /// The stream ended inside a frame.
    Truncated {
        /// Bytes of the frame that arrived.
        have: usize,
        /// Bytes of the whole frame, where its header said so.
        need: Option<usize>,
    },
    /// The payload cannot be told apart at the other end, or is not a frame.
    Unsendable {
        /// A clause about "it", the message.
        reason: &'static str,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            FrameError::TooLarge { size: Some(size), limit } => {
                write!(out, "the message has {size} bytes, more than the limit of {limit}")
            }
            FrameError::TooLarge { size: None, limit } => {
                write!(out, "the message has more than the limit of {limit} bytes")
            }
            FrameError::Invalid { position, expected, found } => {
                write!(out, "byte {position} of the frame is 0x{found:02x}")?;
                if found.is_ascii_graphic() {
                    write!(out, " ('{}')", char::from(found))?;
                }
                write!(out, " and should be {expected}")
            }
            FrameError::Truncated { have, need: Some(need) } => {
                write!(out, "the stream ended inside a message: {have} of {need} bytes arrived")
            }
            FrameError::Truncated { have, need: None } => {
                write!(out, "the stream ended inside a message, {have} bytes after its start")
            }
            FrameError::Unsendable { reason } => {
                write!(out, "the message cannot be sent in this framing: {reason}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Why a text is not a framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// One sentence for a person.
    pub message: String,
    /// Where in the text, counted in characters from 0.
    pub position: usize,
}

impl fmt::Display for SpecError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for SpecError {}
