//! Feeds a stream to a framer piece by piece, as a link does, and holds every step to its contract.
//! Shared by the framer tests and the fuzz bodies.

#![allow(dead_code)] // each of its users needs a part of it

use jackfield_engine::frame::{FrameError, Framer, Step};

/// What came out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Messages that were whole while the stream was open.
    pub messages: Vec<Vec<u8>>,
    /// Messages that were handed out because the stream had ended.
    pub last: Vec<Vec<u8>>,
    /// What was wrong with the frames that were skipped.
    pub skipped: Vec<FrameError>,
    /// The error while the stream was open, if any.
    pub error: Option<FrameError>,
    /// The error at the end of the stream, if any.
    pub end_error: Option<FrameError>,
    /// How many bytes had arrived when the stream broke.
    pub broken_after: Option<usize>,
}

/// Receives a stream that comes in these pieces and then ends.
pub fn receive<'a>(framer: &Framer, pieces: impl IntoIterator<Item = &'a [u8]>) -> Received {
    let mut received = Received {
        messages: Vec::new(),
        last: Vec::new(),
        skipped: Vec::new(),
        error: None,
        end_error: None,
        broken_after: None,
    };
    let (mut pending, mut scan, mut arrived) = (Vec::new(), 0, 0);
    for piece in pieces {
        pending.extend_from_slice(piece);
        arrived += piece.len();
        let mut front = 0;
        loop {
            let bytes = &pending[front..];
            match framer.next(&mut scan, bytes) {
                Step::Message { start, end, consumed } => {
                    check_message(framer, bytes, start, end, consumed);
                    assert_eq!(scan, 0, "a message resets what was searched");
                    received.messages.push(decoded(framer, &bytes[start..end]));
                    front += consumed;
                }
                Step::Skipped { consumed, broken } => {
                    assert!(consumed > 0 && consumed <= bytes.len(), "what is skipped is there");
                    received.skipped.extend(broken);
                    front += consumed;
                }
                Step::Partial(known) => {
                    assert!(framer.discards(scan) || scan as usize <= bytes.len(), "searched more than there is");
                    if let Some(frame) = known {
                        let whole = frame.header + frame.body + frame.trailer;
                        assert!(whole > bytes.len(), "a whole frame is not partial");
                        assert!(frame.header <= bytes.len(), "the header has been seen");
                        assert!(frame.body <= framer.max_message());
                    }
                    break;
                }
                Step::Broken(error) => {
                    received.error = Some(error);
                    received.broken_after = Some(arrived);
                    return received;
                }
            }
        }
        pending.drain(..front);
    }
    let mut rest = pending.as_slice();
    loop {
        match framer.finish(rest) {
            Ok(None) => break,
            Ok(Some(Step::Message { start, end, consumed })) => {
                check_message(framer, rest, start, end, consumed);
                received.last.push(decoded(framer, &rest[start..end]));
                rest = &rest[consumed..];
            }
            Ok(Some(step)) => panic!("the end of a stream hands out {step:?}"),
            Err(error) => {
                received.end_error = Some(error);
                break;
            }
        }
    }
    received
}

fn check_message(framer: &Framer, bytes: &[u8], start: usize, end: usize, consumed: usize) {
    assert!(start <= end && end <= consumed && consumed <= bytes.len());
    assert!(consumed > 0, "every message takes the stream forward");
    assert!(decoded(framer, &bytes[start..end]).len() <= framer.max_message(), "longer than the maximum");
}

fn decoded(framer: &Framer, found: &[u8]) -> Vec<u8> {
    let mut payload = found.to_vec();
    let size = framer.decode(&mut payload);
    assert!(framer.encodes() || size == found.len(), "only what is encoded changes");
    payload.truncate(size);
    payload
}

/// The frame that carries a payload.
pub fn frame(framer: &Framer, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    framer.encode(payload, &mut frame);
    if !framer.encodes() {
        assert_eq!(frame, [framer.header(payload.len()).as_slice(), payload, framer.trailer()].concat());
    }
    frame
}

/// Cuts a stream at places that depend on `seed` alone; pieces are short, some are empty.
pub fn pieces(stream: &[u8], seed: u64) -> Vec<&[u8]> {
    let (mut pieces, mut rest, mut state) = (Vec::new(), stream, seed);
    while !rest.is_empty() {
        // One step of the linear congruential generator of Knuth's MMIX.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let size = ((state >> 33) as usize % 8).min(rest.len());
        let (piece, after) = rest.split_at(size);
        pieces.push(piece);
        rest = after;
    }
    pieces
}
