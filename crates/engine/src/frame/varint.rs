//! `varint`: the payload's length as an unsigned LEB128 number, as Protocol Buffers delimit theirs.
//!
//! Seven bits a byte, least significant first, the top bit saying that more follow; at most 10
//! bytes and 64 bits. Only the shortest form is accepted: a length that ends in a zero byte
//! (`80 00`) can come from no encoder that we know, and one message should have one form.

use super::{Header, Step, invalid, prefixed};

/// Bytes in the longest number, of which the last holds one bit.
const LONGEST: usize = 10;

#[inline]
pub(super) fn next(limit: usize, bytes: &[u8]) -> Step {
    match bytes.first() {
        Some(&first) if first < 0x80 => prefixed(limit, 1, u64::from(first), bytes),
        Some(_) => next_long(limit, bytes),
        None => Step::Partial(None),
    }
}

fn next_long(limit: usize, bytes: &[u8]) -> Step {
    let mut value = 0;
    for (position, &byte) in bytes.iter().take(LONGEST).enumerate() {
        if position == LONGEST - 1 && byte > 1 {
            return invalid(position, "the end of a 64-bit length (0x01)", byte);
        }
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            if byte == 0 {
                return invalid(position, "left out, for a length has one form only", byte);
            }
            return prefixed(limit, position + 1, value, bytes);
        }
    }
    Step::Partial(None)
}

#[inline]
pub(super) fn header(length: usize) -> Header {
    let mut header = Header::EMPTY;
    let mut rest = length;
    while rest >= 0x80 {
        header.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    header.push(rest as u8);
    header
}
