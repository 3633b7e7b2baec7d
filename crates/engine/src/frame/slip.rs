//! `slip`: a frame between two END bytes, in which END and ESC are escaped (RFC 1055).
//!
//! Sent with an END before it, too, which ends noise that came before; several ENDs in a row are one, so that an empty
//! message cannot be told. What the RFC leaves open, ESC before any other byte, is a broken frame here.

use super::FrameError;
use memchr::{memchr, memchr2};

pub(super) const END: u8 = 0xc0;
const ESC: u8 = 0xdb;
/// END behind ESC.
const ESC_END: u8 = 0xdc;
/// ESC behind ESC.
const ESC_ESC: u8 = 0xdd;

pub(super) fn longest(limit: usize) -> usize {
    2 * limit
}

/// `frame` has no END in it.
pub(super) fn measure(frame: &[u8]) -> Result<usize, FrameError> {
    let (mut at, mut size) = (0, frame.len());
    while let Some(offset) = memchr(ESC, &frame[at..]) {
        let position = at + offset + 1;
        let found = frame.get(position).copied().unwrap_or(END);
        if found != ESC_END && found != ESC_ESC {
            return Err(FrameError::Invalid { position, expected: "0xdc or 0xdd behind the escape 0xdb", found });
        }
        size -= 1;
        at = position + 1;
    }
    Ok(size)
}

/// `frame` is one that `measure` has accepted.
pub(super) fn decode(frame: &mut [u8]) -> usize {
    let (mut at, mut filled) = (0, 0);
    while at < frame.len() {
        let end = memchr(ESC, &frame[at..]).map_or(frame.len(), |offset| at + offset);
        frame.copy_within(at..end, filled);
        filled += end - at;
        at = end;
        if let Some(&escaped) = frame.get(at + 1) {
            frame[filled] = if escaped == ESC_END { END } else { ESC };
            filled += 1;
        }
        at += 2;
    }
    filled
}

pub(super) fn encode(payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + 2);
    out.push(END);
    let mut rest = payload;
    while let Some(at) = memchr2(END, ESC, rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[ESC, if rest[at] == END { ESC_END } else { ESC_ESC }]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(END);
}
