//! `netstring`: `5:hello,` as D. J. Bernstein defined it, and strictly.
//!
//! The length is decimal without leading zeros, and is refused at the digit that takes it past the
//! maximum, so endless digits cannot be sent. The comma must be there.

use super::{FrameError, Header, Known, Step, invalid, too_large};

pub(super) const TRAILER: &[u8] = b",";

#[inline]
pub(super) fn next(limit: usize, bytes: &[u8]) -> Step {
    let mut length = 0u64;
    for (position, &byte) in bytes.iter().enumerate() {
        match byte {
            b':' if position > 0 => return body(position + 1, length as usize, bytes),
            b'0'..=b'9' if position == 0 || length > 0 => {
                length = length.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
                if length > limit as u64 {
                    return too_large(None, limit);
                }
            }
            _ if position == 0 => return invalid(position, "a digit", byte),
            _ if length == 0 => return invalid(position, "':' after the length 0", byte),
            _ => return invalid(position, "a digit or ':'", byte),
        }
    }
    Step::Partial(None)
}

/// `length` is within the maximum.
#[inline]
fn body(header: usize, length: usize, bytes: &[u8]) -> Step {
    let end = header + length;
    match bytes.get(end) {
        None => Step::Partial(Some(Known { header, body: length, trailer: TRAILER.len() })),
        Some(b',') => Step::Message { start: header, end, consumed: end + 1 },
        Some(&byte) => invalid(end, "','", byte),
    }
}

pub(super) fn check_trailer(position: usize, byte: u8) -> Result<(), FrameError> {
    if byte != b',' {
        return Err(FrameError::Invalid { position, expected: "','", found: byte });
    }
    Ok(())
}

#[inline]
pub(super) fn header(length: usize) -> Header {
    let mut header = Header::EMPTY;
    let mut place = length.checked_ilog10().map_or(1, |power| 10usize.pow(power));
    while place > 0 {
        header.push(b'0' + (length / place % 10) as u8);
        place /= 10;
    }
    header.push(b':');
    header
}
