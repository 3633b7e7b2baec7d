//! The frames of the Jackfield protocol: eight bytes of header and a payload. Pure.
//!
//! ```text
//! 0          4      5       6          8
//! | stream   | kind | flags | reserved | payload ...      big-endian
//! ```

/// What each side says first, as a message of its own.
pub const MAGIC: [u8; 8] = [0x8f, b'J', b'A', b'C', b'K', 0x0d, 0x0a, 0x1a];
/// The same on a stream, where messages have a u32 before them.
pub const OPENING: [u8; 12] = [0, 0, 0, 8, 0x8f, b'J', b'A', b'C', b'K', 0x0d, 0x0a, 0x1a];
/// Bytes of a frame before its payload.
pub const HEADER: usize = 8;
/// The longest payload.
pub const MAX_PAYLOAD: usize = 65_536;
/// The longest frame.
pub const MAX_FRAME: usize = HEADER + MAX_PAYLOAD;
/// What a DATA frame costs beyond its payload.
pub const DATA_COST: u32 = 16;
/// The longest reason of a RESET.
const MAX_REASON: usize = 256;

/// DATA: the message goes on in the next DATA of the stream.
pub const MORE: u8 = 1;
/// DATA: one delivery to many, which is neither counted nor acknowledged. From the hub only.
pub const SHARED: u8 = 2;

/// What a frame is: those up to `Credit` are counted, but for DATA that is shared, which clients do not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub enum Kind {
    /// A JSON object for the other side itself.
    Control,
    /// A new stream.
    Open,
    /// A message, or a part of one.
    Data,
    /// Nothing more comes on the stream from this side.
    End,
    /// The stream is over.
    Reset,
    /// So much more may be sent on the stream.
    Credit,
    /// So many frames have been received.
    Ack,
    /// To be answered.
    Ping,
    /// The answer.
    Pong,
}

impl Kind {
    /// The kind with this number.
    #[inline]
    pub fn from_number(number: u8) -> Option<Kind> {
        Some(match number {
            0 => Kind::Control,
            1 => Kind::Open,
            2 => Kind::Data,
            3 => Kind::End,
            4 => Kind::Reset,
            5 => Kind::Credit,
            6 => Kind::Ack,
            7 => Kind::Ping,
            8 => Kind::Pong,
            _ => return None,
        })
    }
}

/// Why a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// What was sent cannot be passed on.
    Refused = 2,
    /// The other end can be reached no more.
    PeerGone = 5,
    /// A queue is full beyond its hard limit.
    Overloaded = 6,
    /// More was sent than was granted.
    CreditExceeded = 7,
    /// The frame does not fit what the stream is.
    StreamState = 8,
    /// The client has as many as it may.
    TooManyStreams = 9,
}

impl Code {
    /// The reason in words.
    pub fn reason(self) -> &'static str {
        match self {
            Code::Refused => "the message cannot be carried in the framing of the other end",
            Code::PeerGone => "the other end is gone",
            Code::Overloaded => "the receiver does not keep up",
            Code::CreditExceeded => "more was sent than was granted",
            Code::StreamState => "the frame does not fit the state of the stream",
            Code::TooManyStreams => "too many streams are open",
        }
    }

    /// What a RESET with this code carries.
    pub fn payload(self) -> Vec<u8> {
        reset_payload(self as u32, self.reason())
    }
}

/// What a RESET carries.
pub fn reset_payload(code: u32, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    [&code.to_be_bytes(), &reason.as_bytes()[..end]].concat()
}

/// A rule of the protocol that a client broke; its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It did not begin with the magic, where only native clients may come.
    BadMagic,
    /// Too short, not zero where it must be, an unknown kind or flag, or a payload of the wrong length.
    BadFrame,
    /// Longer than a frame may be.
    TooBig,
    /// A stream was used that was never opened, or opened with a number that is not above the last.
    StreamState,
    /// More was granted on a stream than can be counted.
    CreditOverflow,
    /// More was acknowledged than was sent.
    BadAck,
    /// It does not read what it asked for.
    Overloaded,
}

impl Violation {
    /// The protocol's word for it.
    pub fn code(self) -> &'static str {
        match self {
            Violation::BadMagic => "bad_magic",
            Violation::BadFrame => "bad_frame",
            Violation::TooBig => "too_big",
            Violation::StreamState => "stream_state",
            Violation::CreditOverflow => "credit_overflow",
            Violation::BadAck => "bad_ack",
            Violation::Overloaded => "overloaded",
        }
    }

    /// What is wrong.
    pub fn message(self) -> &'static str {
        match self {
            Violation::BadMagic => "the connection does not begin with the magic of the Jackfield protocol",
            Violation::BadFrame => "a frame is malformed",
            Violation::TooBig => "a frame is longer than 65,544 bytes",
            Violation::StreamState => "a frame names a stream that was never opened, or opens one out of order",
            Violation::CreditOverflow => "a grant takes a stream's credit beyond 2,147,483,647",
            Violation::BadAck => "more frames were acknowledged than were sent",
            Violation::Overloaded => "the client does not read what it is sent",
        }
    }

    /// What to try.
    pub fn hint(self) -> &'static str {
        match self {
            Violation::BadMagic => "use a Jackfield client here, or a listener that takes plain clients, too",
            Violation::Overloaded => "read from the connection while writing to it",
            _ => "the client is at fault: see docs/protocol.md",
        }
    }

    /// The payload of the CONTROL frame that says so.
    pub fn payload(self) -> Vec<u8> {
        // None of the texts needs escaping.
        let (code, message, hint) = (self.code(), self.message(), self.hint());
        format!(r#"{{"type":"error","code":"{code}","message":"{message}","hint":"{hint}"}}"#).into_bytes()
    }
}

/// One frame, where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The conversation; 0 is the connection itself.
    pub stream: u32,
    /// What it is.
    pub kind: Kind,
    /// [`MORE`], [`SHARED`].
    pub flags: u8,
    /// The rest.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a whole frame that a client sent.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Frame<'a>, Violation> {
        let Some((&[s0, s1, s2, s3, kind, flags, r0, r1], payload)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(Violation::BadFrame);
        };
        if payload.len() > MAX_PAYLOAD {
            return Err(Violation::TooBig);
        }
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let kind = Kind::from_number(kind).ok_or(Violation::BadFrame)?;
        let of_connection = matches!(kind, Kind::Control | Kind::Ping | Kind::Pong | Kind::Ack);
        let flags_allowed = if kind == Kind::Data { MORE } else { 0 };
        let length_fits = match kind {
            Kind::Data | Kind::Control | Kind::Open => true,
            Kind::End => payload.is_empty(),
            Kind::Reset => (4..=4 + MAX_REASON).contains(&payload.len()),
            Kind::Credit => payload.len() == 4,
            Kind::Ack | Kind::Ping | Kind::Pong => payload.len() == 8,
        };
        let fits = r0 | r1 == 0 && flags & !flags_allowed == 0 && of_connection == (stream == 0) && length_fits;
        if fits { Ok(Frame { stream, kind, flags, payload }) } else { Err(Violation::BadFrame) }
    }

    /// The first number of the payload.
    #[inline]
    pub fn number(&self) -> u32 {
        self.payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// The same, of eight bytes.
    #[inline]
    pub fn long_number(&self) -> u64 {
        self.payload.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// What DATA costs its sender.
    #[inline]
    pub fn cost(&self) -> u32 {
        self.payload.len() as u32 + DATA_COST
    }

    /// The header on a stream: with the u32 that says how long the frame is. On packets the last eight bytes of it.
    #[inline]
    pub fn prefix(&self) -> [u8; 12] {
        prefix(self.stream, self.kind, self.flags, self.payload.len())
    }

    /// Whether it is counted, kept and acknowledged.
    #[inline]
    pub fn is_counted(&self) -> bool {
        (self.kind as u8) < Kind::Ack as u8 && self.flags & SHARED == 0
    }
}

/// See [`Frame::prefix`].
#[inline]
pub fn prefix(stream: u32, kind: Kind, flags: u8, payload: usize) -> [u8; 12] {
    let [l0, l1, l2, l3] = ((HEADER + payload) as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [l0, l1, l2, l3, s0, s1, s2, s3, kind as u8, flags, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let frame = Frame { stream: 7, kind: Kind::Data, flags: MORE, payload: b"abc" };
        let bytes = [&frame.prefix()[4..], b"abc"].concat();
        assert_eq!(bytes, [0, 0, 0, 7, 2, 1, 0, 0, b'a', b'b', b'c']);
        assert_eq!(Frame::parse(&bytes), Ok(frame));
        assert_eq!(frame.prefix()[..4], [0, 0, 0, 11]);
        assert_eq!(frame.cost(), 19);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let bad: [&[u8]; 12] = [
            b"",
            b"\0\0\0\x01\x02\0\0",
            b"\0\0\0\x01\x02\0\0\x01",
            b"\0\0\0\x01\x09\0\0\0",
            b"\0\0\0\x01\x02\x02\0\0",
            b"\0\0\0\x01\x02\x04\0\0",
            b"\0\0\0\x01\x03\x01\0\0",
            b"\0\0\0\x01\x00\0\0\0{}",
            b"\0\0\0\0\x02\0\0\0",
            b"\0\0\0\x01\x05\0\0\0\0\0\0",
            b"\0\0\0\x01\x04\0\0\0\0\0\0",
            b"\0\0\0\0\x06\0\0\0\0\0\0\0",
        ];
        for bytes in bad {
            assert_eq!(Frame::parse(bytes), Err(Violation::BadFrame), "{bytes:?}");
        }
        let long = [b"\0\0\0\x01\x02\0\0\0".as_slice(), &[0; MAX_PAYLOAD + 1]].concat();
        assert_eq!(Frame::parse(&long), Err(Violation::TooBig));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let payload = reset_payload(3, &"ä".repeat(200));
        assert_eq!(payload.len(), 4 + 256);
        assert!(std::str::from_utf8(&payload[4..]).is_ok());
    }
}
