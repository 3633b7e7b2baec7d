//! The engine and the protocol's vectors (tests/vectors/protocol) mean the same by a frame and by a stream.

use jackfield_engine::frame::{FrameError, Framer, Step};
use jackfield_engine::native::frame::{Frame, HEADER, Kind, MAX_FRAME, SHARED, Violation, prefix};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("{}/../../tests/vectors/protocol/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the vectors")).expect("JSON")
}

/// `00ff 61*256`
fn bytes(text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for word in text.split_whitespace() {
        let (digits, times) = word.split_once('*').unwrap_or((word, "1"));
        let piece: Vec<u8> = (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect();
        all.extend(piece.repeat(times.parse().expect("a number")));
    }
    all
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{value} has no {name}"))
}

fn kind(name: &str) -> Kind {
    let names = ["CONTROL", "OPEN", "DATA", "END", "RESET", "CREDIT", "ACK", "PING", "PONG"];
    let number = names.iter().position(|other| *other == name).expect("a kind");
    Kind::from_number(number as u8).expect("a kind")
}

#[test]
fn good_frames_read_and_write_as_they_stand_there() {
    let all = vectors("frames");
    let good = all["good"].as_array().expect("a list");
    assert!(good.len() > 10);
    for vector in good {
        let (message, payload) = (bytes(text(vector, "message")), bytes(text(vector, "payload")));
        let stream = u32::try_from(vector["stream"].as_u64().expect("a number")).expect("32 bits");
        let flags = vector["flags"].as_u64().expect("a number") as u8;
        let kind = kind(text(vector, "kind"));
        assert_eq!([&prefix(stream, kind, flags, payload.len())[12 - HEADER..], &payload].concat(), message);
        let read = Frame::parse(&message);
        if flags & SHARED == 0 {
            assert_eq!(read, Ok(Frame { stream, kind, flags, payload: &payload }));
        } else {
            assert_eq!(read, Err(Violation::BadFrame), "a client must not send SHARED (P-007)");
        }
    }
}

#[test]
fn bad_frames_fail_with_their_code() {
    let all = vectors("frames");
    let bad = all["bad"].as_array().expect("a list");
    assert!(bad.len() > 20);
    for vector in bad {
        let violation = Frame::parse(&bytes(text(vector, "message"))).expect_err(text(vector, "name"));
        assert_eq!(violation.code(), text(vector, "code"), "{}", text(vector, "name"));
    }
}

#[test]
fn streams_divide_into_the_same_messages() {
    let framer = Framer::parse("u32", MAX_FRAME).expect("a framing");
    for case in vectors("streams")["cases"].as_array().expect("a list") {
        let name = text(case, "name");
        let stream = bytes(text(case, "bytes"));
        let expected: Vec<Vec<u8>> =
            case["messages"].as_array().expect("a list").iter().map(|one| bytes(one.as_str().expect("hex"))).collect();
        let (mut at, mut messages, mut scan, mut error) = (0, Vec::new(), 0, None);
        loop {
            match framer.next(&mut scan, &stream[at..]) {
                Step::Message { start, end, consumed } => {
                    messages.push(stream[at + start..at + end].to_vec());
                    at += consumed;
                }
                Step::Broken(FrameError::TooLarge { .. }) => {
                    error = Some("too_big");
                    break;
                }
                _ => break,
            }
        }
        assert_eq!(messages, expected, "{name}");
        assert_eq!(error, case["error"].as_str(), "{name}");
    }
}
