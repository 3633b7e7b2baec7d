//! `length:offset=2,size=2,order=be,adjust=4`: protocols whose header has a length field somewhere.
//!
//! The frame begins with `offset` bytes of any kind, then the length field of 1 to 8 bytes. The
//! whole frame has `offset + size + value + adjust` bytes, as in Netty's
//! LengthFieldBasedFrameDecoder: with `adjust=0` the value counts what follows the field, with
//! `adjust=-(offset+size)` it counts the whole frame, with `adjust=4` there are four more bytes
//! (such as a checksum or further header) that it does not count.
//!
//! The message is the whole frame, header included, in both directions: what else the header says
//! is for the application to read and write. The maximum counts the whole frame. A value that would
//! end the frame inside its own header is an error. Nothing is added when sending; a message whose
//! length field disagrees with its size is refused, since the receiver would lose its place in the
//! stream.

use super::{FrameError, Step, invalid, too_large, whole};

/// Where the length is, and what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LengthField {
    /// Together with `size` at most the maximum.
    pub(super) offset: usize,
    /// From 1 to 8.
    pub(super) size: usize,
    pub(super) little_endian: bool,
    pub(super) adjust: i64,
}

impl LengthField {
    /// Bytes that must be there to know the length.
    #[inline]
    pub(super) fn header(self) -> usize {
        self.offset + self.size
    }

    /// The largest value that the field can hold.
    pub(super) fn largest(self) -> u64 {
        u64::MAX >> (64 - 8 * self.size)
    }

    /// Bytes in the whole frame when the field holds `value`; senseless when less than the header.
    #[inline]
    pub(super) fn total(self, value: u64) -> i128 {
        self.header() as i128 + i128::from(value) + i128::from(self.adjust)
    }

    #[inline]
    fn value(self, bytes: &[u8]) -> Option<u64> {
        let field = bytes.get(self.offset..self.header())?;
        let shift_in = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(if self.little_endian { field.iter().rev().fold(0, shift_in) } else { field.iter().fold(0, shift_in) })
    }

    #[inline]
    pub(super) fn next(self, limit: usize, bytes: &[u8]) -> Step {
        let Some(value) = self.value(bytes) else {
            return Step::Partial(None);
        };
        let total = self.total(value);
        if total < self.header() as i128 {
            return invalid(self.offset, "a length that covers the header", bytes[self.offset]);
        }
        match usize::try_from(total) {
            Ok(total) if total <= limit => whole(total, bytes),
            _ => too_large(u64::try_from(total).ok(), limit),
        }
    }

    #[inline]
    pub(super) fn check(self, payload: &[u8]) -> Result<(), FrameError> {
        match self.value(payload) {
            None => Err(FrameError::Unsendable { reason: "it is shorter than the header" }),
            Some(value) if self.total(value) != payload.len() as i128 => {
                Err(FrameError::Unsendable { reason: "its length field disagrees with its size" })
            }
            Some(_) => Ok(()),
        }
    }
}
