//! Where a message begins and ends in a stream of bytes: the framers.
//!
//! A [`Framer`] is made from a text such as `u32` or `line` (grammar in `spec.rs`) and then only
//! asked: by a receiver, where the next message is ([`Framer::next`]), and by a sender, what goes
//! before and after a payload ([`Framer::header`], [`Framer::trailer`]) once [`Framer::check`] has
//! agreed to it. The rules that every framing lives by:
//!
//! - Bytes in, verdict out. No I/O, no clock, no allocation after `parse`; nothing that a peer
//!   sends can panic here. Where time divides a stream, it is an argument (`gap.rs`).
//! - The verdict does not depend on how the stream was cut into pieces.
//! - No message is longer than `max_message`, received or sent (`none` sends without limit, as it
//!   has no messages). A length beyond it is an error as soon as the header is complete, not when
//!   the body has arrived; a missing delimiter as soon as it can no longer come in time.
//! - What `check` accepts arrives unchanged at a peer with the same framing and maximum.
//! - After `Broken` the stream has no meaning any more: there is no resynchronisation. Only framings
//!   that can begin anew anywhere skip what is broken, and say so (`Skipped`).
//! - Positions in errors count from the first byte of the frame.
//!
//! | file | framings |
//! |---|---|
//! | `line.rs` | `line`, `line:crlf` |
//! | `delimiter.rs` | `delimiter:...` |
//! | `integer.rs` | `u8` `u16` `u32` `u64`, each `le` or `be` |
//! | `varint.rs` | `varint` |
//! | `netstring.rs` | `netstring` |
//! | `length.rs` | `length:offset=,size=,order=,adjust=` |
//! | `cobs.rs`, `slip.rs` | `cobs`, `slip`; what both have in common in `stuffed.rs` |
//! | `gap.rs` | `gap:20ms` |
//! | here | `none`, `fixed:N` |

mod cobs;
mod delimiter;
mod error;
mod gap;
mod header;
mod integer;
mod length;
mod line;
mod netstring;
mod slip;
mod spec;
mod stuffed;
mod varint;

pub use error::{FrameError, SpecError};
pub use gap::Silences;
pub use header::Header;

use delimiter::Delimiter;
use integer::Integer;
use length::LengthField;
use line::Line;
use stuffed::Stuffed;

/// What a stream's bytes mean as messages. Immutable, shared by all links of a listener.
#[derive(Debug, Clone)]
pub struct Framer {
    kind: Kind,
    /// From 1 to `LONGEST`.
    max_message: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    None,
    Line(Line),
    Delimiter(Box<Delimiter>),
    /// From 1 to `max_message`.
    Fixed(usize),
    Integer(Integer),
    Varint,
    Netstring,
    LengthField(LengthField),
    Stuffed(Stuffed),
    /// Nanoseconds of silence.
    Gap(u64),
}

/// The longest message: links and queues count the bytes of a frame, header and trailer included, in 32 bits.
const LONGEST: usize = (u32::MAX - 1023) as usize;

/// What [`Framer::next`] found at the front of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A whole message: the payload is `bytes[start..end]`, and the first `consumed` bytes belong
    /// to its frame. Where the framing [encodes](Framer::encodes), those are the encoded bytes.
    Message {
        /// First byte of the payload.
        start: usize,
        /// Just past the payload.
        end: usize,
        /// Just past the frame; at least 1.
        consumed: usize,
    },
    /// Not whole yet; more bytes are needed. Says how many where the framing knows.
    Partial(Option<Known>),
    /// The stream breaks the framing's rules; nothing after this point can be understood.
    Broken(FrameError),
    /// No message: the first `consumed` bytes mean nothing, and what follows is understood again.
    Skipped {
        /// At least 1.
        consumed: usize,
        /// What was wrong with the frame that they begin. `None`: they stand between frames, or end one that was told.
        broken: Option<FrameError>,
    },
}

/// The shape of a frame whose header has arrived and whose end has not. The three add up to more
/// than the bytes at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Bytes before the payload.
    pub header: usize,
    /// Bytes of payload, at most `max_message`. A peer's claim: no reason to reserve as much.
    pub body: usize,
    /// Bytes after the payload; see [`Framer::check_trailer`].
    pub trailer: usize,
}

impl Framer {
    /// Reads a framing from its text, such as `u32` or `delimiter:0x0d0a`.
    ///
    /// `max_message` is in bytes and at least 1; beyond 4 GiB less 1 KiB it is the same as that.
    pub fn parse(text: &str, max_message: usize) -> Result<Framer, SpecError> {
        spec::parse(text, max_message)
    }

    /// The one text of this framing; it parses back to the same framing.
    pub fn canonical(&self) -> String {
        spec::canonical(self)
    }

    /// Whether both divide and limit a stream in the same way.
    pub fn is_like(&self, other: &Framer) -> bool {
        std::ptr::eq(self, other) || (self.max_message == other.max_message && self.canonical() == other.canonical())
    }

    /// True when there are no messages, only chunks as they come.
    #[inline]
    pub fn is_none(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// The longest payload in bytes.
    #[inline]
    pub fn max_message(&self) -> usize {
        self.max_message
    }

    /// Looks for the next message at the front of `bytes`.
    ///
    /// `scan` is what a link remembers between calls: how many bytes at the front were searched for
    /// a delimiter in vain. It starts at 0, is set back to 0 whenever a message is returned, and
    /// must be set to 0 when bytes are taken from the front by any other means.
    #[inline]
    pub fn next(&self, scan: &mut u32, bytes: &[u8]) -> Step {
        let limit = self.max_message;
        match &self.kind {
            Kind::Integer(integer) => integer.next(limit, bytes),
            Kind::Line(_) => line::next(limit, scan, bytes),
            Kind::None => next_chunk(limit, bytes),
            Kind::Delimiter(delimiter) => delimiter.next(limit, scan, bytes),
            Kind::Fixed(size) => whole(*size, bytes),
            Kind::Varint => varint::next(limit, bytes),
            Kind::Netstring => netstring::next(limit, bytes),
            Kind::LengthField(field) => field.next(limit, bytes),
            Kind::Stuffed(stuffed) => stuffed.next(limit, scan, bytes),
            Kind::Gap(_) => Step::Partial(None),
        }
    }

    /// Whether payloads are not slices of the stream: what `next` found is to be given to [`Framer::decode`], and what is
    /// sent to [`Framer::encode`].
    #[inline]
    pub fn encodes(&self) -> bool {
        matches!(self.kind, Kind::Stuffed(_))
    }

    /// Turns what [`Framer::next`] found into the payload, in place; gives how many bytes that has.
    pub fn decode(&self, found: &mut [u8]) -> usize {
        match &self.kind {
            Kind::Stuffed(stuffed) => stuffed.decode(found),
            _ => found.len(),
        }
    }

    /// Appends the frame of a payload that [`Framer::check`] has accepted: whatever the framing, all its bytes.
    pub fn encode(&self, payload: &[u8], out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Stuffed(stuffed) => stuffed.encode(payload, out),
            _ => {
                out.extend_from_slice(self.header(payload.len()).as_slice());
                out.extend_from_slice(payload);
                out.extend_from_slice(self.trailer());
            }
        }
    }

    /// The silence that ends a message, in nanoseconds, where that is what ends one: see [`Silences`].
    #[inline]
    pub fn gap_ns(&self) -> Option<u64> {
        match self.kind {
            Kind::Gap(gap_ns) => Some(gap_ns),
            _ => None,
        }
    }

    /// Whether the next bytes belong to a frame that was given up, by what `next` remembered in `scan`.
    pub fn discards(&self, scan: u32) -> bool {
        self.encodes() && stuffed::discards(scan)
    }

    /// The peer has ended and `bytes` is what is left: hands out what is still a message, one per
    /// call, and `None` when nothing is left.
    ///
    /// `line` hands out a last line without its end (a `\r` at its end is then kept, since only
    /// `\r\n` is a line end), `gap` what came last. In every other framing an incomplete frame is `Truncated`.
    pub fn finish(&self, bytes: &[u8]) -> Result<Option<Step>, FrameError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        match self.next(&mut 0, bytes) {
            Step::Broken(error) => Err(error),
            Step::Partial(known) if !matches!(self.kind, Kind::Line(_) | Kind::Gap(_)) => Err(FrameError::Truncated {
                have: bytes.len(),
                need: known.map(|frame| frame.header + frame.body + frame.trailer),
            }),
            Step::Partial(_) if bytes.len() > self.max_message => {
                Err(FrameError::TooLarge { size: None, limit: self.max_message })
            }
            Step::Partial(_) => Ok(Some(Step::Message { start: 0, end: bytes.len(), consumed: bytes.len() })),
            found @ (Step::Message { .. } | Step::Skipped { .. }) => Ok(Some(found)),
        }
    }

    /// Says whether a payload can be sent so that it arrives unchanged: it fits the maximum and the
    /// width of the length, has the fixed size, does not contain the delimiter.
    #[inline]
    pub fn check(&self, payload: &[u8]) -> Result<(), FrameError> {
        let limit = match &self.kind {
            Kind::None => return Ok(()),
            Kind::Integer(integer) => integer.limit(self.max_message),
            _ => self.max_message,
        };
        if payload.len() > limit {
            return Err(FrameError::TooLarge { size: Some(payload.len() as u64), limit });
        }
        match &self.kind {
            Kind::Line(line) => line.check(payload),
            Kind::Delimiter(delimiter) => delimiter.check(payload),
            Kind::Fixed(size) if payload.len() != *size => {
                Err(FrameError::Unsendable { reason: "it has not the fixed size of a message" })
            }
            Kind::LengthField(field) => field.check(payload),
            Kind::Stuffed(stuffed) => stuffed.check(payload),
            Kind::Gap(_) if payload.is_empty() => {
                Err(FrameError::Unsendable { reason: "it is empty, and silence cannot end what never began" })
            }
            Kind::Gap(_) | Kind::None | Kind::Integer(_) | Kind::Varint | Kind::Netstring | Kind::Fixed(_) => Ok(()),
        }
    }

    /// What goes before a payload of `length` bytes that [`Framer::check`] has accepted.
    ///
    /// Empty for `length:...`, whose payloads bring their own header, and where the framing [encodes](Framer::encodes).
    #[inline]
    pub fn header(&self, length: usize) -> Header {
        match &self.kind {
            Kind::Integer(integer) => integer.header(length),
            Kind::Varint => varint::header(length),
            Kind::Netstring => netstring::header(length),
            Kind::None
            | Kind::Line(_)
            | Kind::Delimiter(_)
            | Kind::Fixed(_)
            | Kind::LengthField(_)
            | Kind::Stuffed(_)
            | Kind::Gap(_) => Header::EMPTY,
        }
    }

    /// What goes after a payload.
    #[inline]
    pub fn trailer(&self) -> &[u8] {
        match &self.kind {
            Kind::Line(line) => line.end(),
            Kind::Delimiter(delimiter) => delimiter.bytes(),
            Kind::Netstring => netstring::TRAILER,
            Kind::None
            | Kind::Fixed(_)
            | Kind::Integer(_)
            | Kind::Varint
            | Kind::LengthField(_)
            | Kind::Stuffed(_)
            | Kind::Gap(_) => b"",
        }
    }

    /// Checks the bytes that followed a payload, for a caller that saw [`Known`] and received the
    /// payload straight into its place. `position` is where in the frame they began, `trailer` has
    /// the length which `Known` gave.
    pub fn check_trailer(&self, position: usize, trailer: &[u8]) -> Result<(), FrameError> {
        match (&self.kind, trailer) {
            (Kind::Netstring, &[byte, ..]) => netstring::check_trailer(position, byte),
            _ => Ok(()),
        }
    }
}

/// `none`: all bytes at hand, in chunks of at most the maximum.
#[inline]
fn next_chunk(limit: usize, bytes: &[u8]) -> Step {
    match bytes.len().min(limit) {
        0 => Step::Partial(None),
        size => Step::Message { start: 0, end: size, consumed: size },
    }
}

/// A frame that is payload from its first byte to its last, `size` bytes within the limit.
#[inline]
fn whole(size: usize, bytes: &[u8]) -> Step {
    if bytes.len() < size {
        return Step::Partial(Some(Known { header: 0, body: size, trailer: 0 }));
    }
    Step::Message { start: 0, end: size, consumed: size }
}

/// A frame of a header that announced `length` bytes of payload, and those.
#[inline]
fn prefixed(limit: usize, header: usize, length: u64, bytes: &[u8]) -> Step {
    let body = match usize::try_from(length) {
        Ok(body) if body <= limit => body,
        _ => return too_large(Some(length), limit),
    };
    let end = header + body;
    if bytes.len() < end {
        return Step::Partial(Some(Known { header, body, trailer: 0 }));
    }
    Step::Message { start: header, end, consumed: end }
}

#[cold]
fn too_large(size: Option<u64>, limit: usize) -> Step {
    Step::Broken(FrameError::TooLarge { size, limit })
}

#[cold]
fn invalid(position: usize, expected: &'static str, found: u8) -> Step {
    Step::Broken(FrameError::Invalid { position, expected, found })
}
