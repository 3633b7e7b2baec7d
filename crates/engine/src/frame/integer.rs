//! `u8` `u16` `u32` `u64`: a length of that width, then so many bytes.
//!
//! The length counts the payload only. Network order (`be`) unless the name ends in `le`.

use super::{Header, Step, prefixed};

/// A length of fixed width before each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Integer {
    pub(super) width: Width,
    /// Always false for one byte, so that equal framings compare equal.
    pub(super) little_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    One,
    Two,
    Four,
    Eight,
}

impl Integer {
    #[inline]
    pub(super) fn next(self, limit: usize, bytes: &[u8]) -> Step {
        match self.width {
            Width::Four => match bytes.first_chunk() {
                Some(&raw) => {
                    let value = if self.little_endian { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) };
                    prefixed(limit, 4, u64::from(value), bytes)
                }
                None => Step::Partial(None),
            },
            Width::Two => match bytes.first_chunk() {
                Some(&raw) => {
                    let value = if self.little_endian { u16::from_le_bytes(raw) } else { u16::from_be_bytes(raw) };
                    prefixed(limit, 2, u64::from(value), bytes)
                }
                None => Step::Partial(None),
            },
            Width::One => match bytes.first() {
                Some(&value) => prefixed(limit, 1, u64::from(value), bytes),
                None => Step::Partial(None),
            },
            Width::Eight => match bytes.first_chunk() {
                Some(&raw) => {
                    let value = if self.little_endian { u64::from_le_bytes(raw) } else { u64::from_be_bytes(raw) };
                    prefixed(limit, 8, value, bytes)
                }
                None => Step::Partial(None),
            },
        }
    }

    /// The longest payload: what the width can say, within the maximum.
    #[inline]
    pub(super) fn limit(self, max_message: usize) -> usize {
        let largest = match self.width {
            Width::One => u64::from(u8::MAX),
            Width::Two => u64::from(u16::MAX),
            Width::Four => u64::from(u32::MAX),
            Width::Eight => u64::MAX,
        };
        usize::try_from(largest).map_or(max_message, |largest| largest.min(max_message))
    }

    /// `length` is within [`Integer::limit`].
    #[inline]
    pub(super) fn header(self, length: usize) -> Header {
        debug_assert!(length <= self.limit(usize::MAX));
        match (self.width, self.little_endian) {
            (Width::One, _) => Header::of([length as u8]),
            (Width::Two, false) => Header::of((length as u16).to_be_bytes()),
            (Width::Two, true) => Header::of((length as u16).to_le_bytes()),
            (Width::Four, false) => Header::of((length as u32).to_be_bytes()),
            (Width::Four, true) => Header::of((length as u32).to_le_bytes()),
            (Width::Eight, false) => Header::of((length as u64).to_be_bytes()),
            (Width::Eight, true) => Header::of((length as u64).to_le_bytes()),
        }
    }
}
