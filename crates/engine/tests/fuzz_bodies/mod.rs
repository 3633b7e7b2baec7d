//! What the fuzz targets do with their input: one plain function per target, which panics when a
//! promise is broken. Run by `crates/engine/fuzz` under libFuzzer, and by `fuzz_smoke.rs` for some
//! seconds with every test run.

#[path = "../framing_driver/mod.rs"]
mod framing_driver;
mod links;
mod sessions;
#[path = "../tls_peer/mod.rs"]
mod tls_peer;

pub use links::link_operations;
pub use sessions::tls_sessions;

use framing_driver::{Received, frame, pieces, receive};
use jackfield_engine::frame::Framer;

/// Framings for inputs that name none.
const FRAMINGS: [&str; 25] = [
    "none",
    "line",
    "line:crlf",
    "delimiter:|",
    "delimiter:END",
    "delimiter:abab",
    "delimiter:0x0d0a",
    "fixed:5",
    "u8",
    "u16",
    "u16le",
    "u32",
    "u32le",
    "u64",
    "u64le",
    "varint",
    "netstring",
    "length:offset=2,size=2,order=be,adjust=4",
    "length:offset=1,size=3,order=le,adjust=-4",
    "length:size=8,adjust=-9223372036854775807",
    "cobs",
    "cobs:strict",
    "slip",
    "slip:strict",
    "gap:20ms",
];

/// A stream in any framing: the verdict does not depend on how it is cut, keeps to the limits, and
/// what can be sent again arrives again.
///
/// The input is `framing maximum seed`, a line end, and the stream; without such a first line, a
/// byte each for the framing, the maximum and the seed, and the stream.
pub fn framers(data: &[u8]) {
    let Some((framer, seed, stream)) = named(data).or_else(|| numbered(data)) else {
        return;
    };

    let whole = receive(&framer, [stream]);
    let cut = receive(&framer, pieces(stream, seed));
    let bytewise = receive(&framer, stream.chunks(1));
    if framer.is_none() {
        for received in [whole, cut, bytewise] {
            assert_eq!(received.messages.concat(), stream);
        }
    } else {
        let settled = |received: &Received| Received { broken_after: None, ..received.clone() };
        assert_eq!(settled(&whole), settled(&cut), "cut into pieces, the stream means the same");
        assert_eq!(settled(&whole), settled(&bytewise), "byte by byte, the stream means the same");
        for error in [whole.error, whole.end_error].into_iter().flatten().chain(whole.skipped.iter().copied()) {
            assert!(!error.to_string().is_empty());
        }
        for message in whole.messages.iter().chain(&whole.last) {
            sent_arrives(&framer, message);
        }
    }
    sent_arrives(&framer, stream);
}

fn sent_arrives(framer: &Framer, payload: &[u8]) {
    // Silence is no part of a stream.
    if framer.is_none() || framer.gap_ns().is_some() || framer.check(payload).is_err() {
        return;
    }
    // Twice, since the second frame shows whether the first ended where it should.
    let stream = frame(framer, payload).repeat(2);
    let received = receive(framer, [stream.as_slice()]);
    assert_eq!(received.messages, [payload, payload], "what check accepts arrives unchanged");
    assert_eq!((received.error, received.end_error), (None, None));
}

fn named(data: &[u8]) -> Option<(Framer, u64, &[u8])> {
    let end = data.iter().position(|&byte| byte == b'\n')?;
    let (line, stream) = (data.get(..end)?, data.get(end + 1..)?);
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let framing = words.next()?;
    let limit = words.next()?.parse().ok()?;
    let seed = words.next()?.parse().ok()?;
    Some((Framer::parse(framing, limit).ok()?, seed, stream))
}

fn numbered(data: &[u8]) -> Option<(Framer, u64, &[u8])> {
    let &[framing, limit, seed, ref stream @ ..] = data else {
        return None;
    };
    let framing = FRAMINGS[usize::from(framing) % FRAMINGS.len()];
    let limit = if limit > 200 { 1 << 20 } else { usize::from(limit) + 1 };
    Some((Framer::parse(framing, limit).ok()?, u64::from(seed), stream))
}

/// Any text as a framing: no panic, an error points into the text, and what parses prints a text
/// that parses to the same.
pub fn framing_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for limit in [1, 100, 16 << 20, usize::MAX] {
        match Framer::parse(&text, limit) {
            Ok(framer) => {
                let canonical = framer.canonical();
                let again = Framer::parse(&canonical, limit).expect("canonical text parses");
                assert_eq!(again.canonical(), canonical);
                assert_eq!(again.trailer(), framer.trailer());
                for stream in [b"".as_slice(), b"0:,\n", &[0xff; 32]] {
                    assert_eq!(receive(&framer, [stream]), receive(&again, [stream]));
                }
            }
            Err(error) => {
                assert!(error.position <= text.chars().count(), "{error:?}");
                assert!(!error.message.is_empty());
            }
        }
    }
}
