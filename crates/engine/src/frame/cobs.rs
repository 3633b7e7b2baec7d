//! `cobs`: Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999), each frame ended by a zero byte.
//!
//! A frame is a row of blocks. A block's first byte is its code: so many bytes is the block long, the code included,
//! and a zero follows it in the payload, unless the block is the last one or its code is 0xff. A payload whose end
//! fills a block of 254 bytes is sent without an empty block behind that, and received with or without.

use super::FrameError;
use memchr::memchr;

pub(super) const DELIMITER: u8 = 0;
/// Payload bytes in the longest block.
const BLOCK: usize = 254;
/// Its code.
const FULL: u8 = 0xff;

pub(super) fn longest(limit: usize) -> usize {
    limit + limit / BLOCK + 1
}

/// `frame` has no zero in it.
pub(super) fn measure(frame: &[u8]) -> Result<usize, FrameError> {
    let (mut at, mut size) = (0, 0);
    while let Some(&code) = frame.get(at) {
        at += usize::from(code);
        if at > frame.len() {
            let expected = "one of the bytes that the code of its block announced";
            return Err(FrameError::Invalid { position: frame.len(), expected, found: DELIMITER });
        }
        size += usize::from(code) - 1 + usize::from(code != FULL && at < frame.len());
    }
    Ok(size)
}

/// `frame` is one that `measure` has accepted.
pub(super) fn decode(frame: &mut [u8]) -> usize {
    let (mut at, mut filled) = (0, 0);
    while let Some(&code) = frame.get(at) {
        let end = (at + usize::from(code).max(1)).min(frame.len());
        frame.copy_within(at + 1..end, filled);
        filled += end - at - 1;
        at = end;
        if code != FULL && at < frame.len() {
            frame[filled] = 0;
            filled += 1;
        }
    }
    filled
}

pub(super) fn encode(payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(longest(payload.len()) + 1);
    let mut rest = payload;
    loop {
        let window = rest.get(..BLOCK).unwrap_or(rest);
        match memchr(0, window) {
            Some(zero) => {
                out.push(zero as u8 + 1);
                out.extend_from_slice(&rest[..zero]);
                rest = &rest[zero + 1..];
                continue;
            }
            None if window.len() == BLOCK => {
                out.push(FULL);
                out.extend_from_slice(window);
                rest = &rest[BLOCK..];
                if rest.is_empty() {
                    break;
                }
            }
            None => {
                out.push(window.len() as u8 + 1);
                out.extend_from_slice(window);
                break;
            }
        }
    }
    out.push(DELIMITER);
}
