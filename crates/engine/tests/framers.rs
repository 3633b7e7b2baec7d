//! The framers against `tests/vectors/framings.json`, each case whole, byte by byte and with more
//! bytes after it, and against themselves: what is sent arrives, however the stream is cut.

mod framing_driver;

use framing_driver::{Received, frame, pieces, receive};
use jackfield_engine::frame::{FrameError, Framer, Known, Silences, Step};
use proptest::prelude::*;
use serde_json::Value;

const MAX_MESSAGE: usize = 16 * 1024 * 1024;

fn vectors(part: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/framings.json");
    let text = std::fs::read_to_string(path).expect("the vectors are in the repository");
    let all: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    let part = all[part].as_array().expect("the part is a list").clone();
    assert!(!part.is_empty());
    part
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} is missing in {case}"))
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("bytes are written as a string");
    assert!(hex.len().is_multiple_of(2), "{hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn all_bytes(list: &Value) -> Vec<Vec<u8>> {
    list.as_array().expect("a list").iter().map(bytes).collect()
}

fn framer(case: &Value) -> Framer {
    let limit = case["max_message"].as_u64().map_or(MAX_MESSAGE, |limit| limit as usize);
    Framer::parse(text(case, "framing"), limit).unwrap_or_else(|error| panic!("{error} in {case}"))
}

/// An error in the form that it has in the vectors.
fn facts(error: Option<FrameError>) -> Value {
    match error {
        None => Value::Null,
        Some(FrameError::TooLarge { size, limit }) => {
            serde_json::json!({"kind": "too_large", "size": size, "limit": limit})
        }
        Some(FrameError::Invalid { position, expected, found }) => serde_json::json!(
            {"kind": "invalid", "position": position, "expected": expected, "found": found}
        ),
        Some(FrameError::Truncated { have, need }) => {
            serde_json::json!({"kind": "truncated", "have": have, "need": need})
        }
        Some(FrameError::Unsendable { reason }) => {
            serde_json::json!({"kind": "unsendable", "reason": reason})
        }
    }
}

fn receive_whole(framer: &Framer, stream: &[u8]) -> Received {
    receive(framer, [stream])
}

fn receive_bytewise(framer: &Framer, stream: &[u8]) -> Received {
    receive(framer, stream.chunks(1))
}

#[test]
fn texts_print_canonically() {
    for case in vectors("texts") {
        let framer =
            Framer::parse(text(&case, "text"), MAX_MESSAGE).unwrap_or_else(|error| panic!("{error} in {case}"));
        let canonical = framer.canonical();
        assert_eq!(canonical, text(&case, "canonical"), "{case}");
        assert_eq!(framer.max_message(), MAX_MESSAGE);
        assert_eq!(framer.is_none(), canonical == "none");
        let again = Framer::parse(&canonical, MAX_MESSAGE).expect("canonical text parses");
        assert_eq!(again.canonical(), canonical);
    }
}

#[test]
fn bad_texts_say_where_and_why() {
    for case in vectors("bad_texts") {
        let error = Framer::parse(text(&case, "text"), MAX_MESSAGE).expect_err(&case.to_string());
        assert_eq!(error.message, text(&case, "message"), "{case}");
        assert_eq!(Some(error.position as u64), case["position"].as_u64(), "{case}");
    }
}

#[test]
fn a_maximum_of_nothing_is_refused_and_an_endless_one_taken() {
    assert!(Framer::parse("u32", 0).is_err());
    for framing in ["none", "line", "delimiter:END", "u64", "varint", "netstring", "length:size=8"] {
        let framer = Framer::parse(framing, usize::MAX).expect("any maximum");
        receive_whole(&framer, &[0xff; 32]);
        receive_whole(&framer, &[b'9'; 32]);
    }
}

#[test]
fn sent_and_received() {
    for case in vectors("both") {
        let (framer, wire) = (framer(&case), bytes(&case["wire"]));
        let payloads = all_bytes(&case["payloads"]);
        for payload in &payloads {
            assert_eq!(framer.check(payload), Ok(()), "{case}");
        }
        let sent: Vec<u8> = payloads.iter().flat_map(|payload| frame(&framer, payload)).collect();
        assert_eq!(sent, wire, "{case}");

        for received in [receive_whole(&framer, &wire), receive_bytewise(&framer, &wire)] {
            assert_eq!(received.messages, payloads, "{case}");
            assert_eq!((received.error, received.end_error), (None, None), "{case}");
            assert!(received.last.is_empty(), "{case}");
        }
        let more = [wire.as_slice(), &wire].concat();
        for end in wire.len()..=more.len() {
            for received in [receive_whole(&framer, &more[..end]), receive_bytewise(&framer, &more[..end])] {
                assert!(received.messages.starts_with(&payloads), "{case} and {end} bytes");
                assert_eq!(received.error, None, "{case} and {end} bytes");
            }
        }
    }
}

#[test]
fn every_frame_cut_off_is_truncated() {
    for case in vectors("both") {
        let framer = framer(&case);
        if framer.canonical().starts_with("line") {
            continue; // a line may lack its end: see the vectors
        }
        for payload in all_bytes(&case["payloads"]) {
            let frame = frame(&framer, &payload);
            // One END before a frame is not yet a frame.
            let begin = if framer.canonical().starts_with("slip") { 2 } else { 1 };
            for have in begin..frame.len() {
                let received = receive_whole(&framer, &frame[..have]);
                let Some(FrameError::Truncated { have: said, need }) = received.end_error else {
                    panic!("{case}: {received:?} after {have} bytes");
                };
                assert_eq!(said, have + 1 - begin, "{case}");
                assert!(need.is_none_or(|need| need == frame.len()), "{case}");
            }
        }
    }
}

#[test]
fn received_only() {
    for case in vectors("receive") {
        let (framer, wire) = (framer(&case), bytes(&case["wire"]));
        let payloads = all_bytes(&case["payloads"]);
        let last: Vec<_> = case.get("last").map(bytes).into_iter().collect();
        let whole = receive_whole(&framer, &wire);
        let bytewise = receive_bytewise(&framer, &wire);
        for received in [&whole, &bytewise] {
            assert_eq!(received.messages, payloads, "{case}");
            assert_eq!(received.last, last, "{case}");
            assert_eq!(facts(received.error), case["error"], "{case}");
            assert_eq!(facts(received.end_error), case["end_error"], "{case}");
            let skipped: Vec<_> = received.skipped.iter().map(|error| facts(Some(*error))).collect();
            assert_eq!(Value::from(skipped), *case.get("skipped").unwrap_or(&Value::from([0; 0])), "{case}");
        }
        // An error stands from the byte on that shows it, whatever comes after it.
        let Some(shown) = bytewise.broken_after else {
            continue;
        };
        for after in [b"".as_slice(), b"\n", b"END,:0\r\n", &[0; 64], &[0xff; 64]] {
            let stream = [&wire[..shown], after].concat();
            for received in [receive_whole(&framer, &stream), receive_bytewise(&framer, &stream)] {
                assert_eq!(received.messages, payloads, "{case}");
                assert_eq!(facts(received.error), case["error"], "{case}");
            }
        }
    }
}

#[test]
fn too_large_is_known_from_the_header_alone() {
    for (framing, header) in [
        ("u8", b"\x05".as_slice()),
        ("u16", b"\x00\x05"),
        ("u32le", b"\x05\x00\x00\x00"),
        ("u64", b"\x00\x00\x00\x00\x00\x00\x00\x05"),
        ("varint", b"\x05"),
        ("netstring", b"5"),
        ("length:size=1", b"\x04"),
        ("cobs:strict", b"\x01\x01\x01\x01\x01\x01"),
        ("slip:strict", b"\x01\x01\x01\x01\x01\x01\x01\x01\x01"),
    ] {
        let framer = Framer::parse(framing, 4).expect("a framing");
        let received = receive_bytewise(&framer, header);
        assert_eq!(received.broken_after, Some(header.len()), "{framing}");
        assert!(matches!(received.error, Some(FrameError::TooLarge { limit: 4, .. })), "{framing}");
    }
}

#[test]
fn refused_when_sending() {
    for case in vectors("send") {
        let error = framer(&case).check(&bytes(&case["payload"])).expect_err(&case.to_string());
        assert_eq!(facts(Some(error)), case["error"], "{case}");
    }
}

#[test]
fn none_gives_chunks_within_the_maximum() {
    let framer = Framer::parse("none", 4).expect("a framing");
    assert_eq!(framer.next(&mut 0, b""), Step::Partial(None));
    assert_eq!(receive_whole(&framer, b"abcdefghij").messages, [&b"abcd"[..], b"efgh", b"ij"]);
    assert_eq!(receive_bytewise(&framer, b"abc").messages, [b"a", b"b", b"c"]);
    assert_eq!(framer.check(b"longer than the maximum"), Ok(()));
    assert_eq!(frame(&framer, b"abc"), b"abc");
    let whole = Step::Message { start: 0, end: 3, consumed: 3 };
    assert_eq!(framer.finish(b"abc"), Ok(Some(whole)));
    assert_eq!(framer.finish(b""), Ok(None));
}

#[test]
fn partial_says_what_is_known() {
    let known = |header, body, trailer| Step::Partial(Some(Known { header, body, trailer }));
    for (framing, bytes, expected) in [
        ("u32", b"\0\0".as_slice(), Step::Partial(None)),
        ("u32", b"\0\0\0\x05he", known(4, 5, 0)),
        ("varint", b"\x85\x01", known(2, 133, 0)),
        ("netstring", b"5:", known(2, 5, 1)),
        ("netstring", b"5:hello", known(2, 5, 1)),
        ("fixed:8", b"", known(0, 8, 0)),
        ("length:size=1,adjust=1", b"\x05", known(0, 7, 0)),
        ("line", b"hello", Step::Partial(None)),
    ] {
        let framer = Framer::parse(framing, 1000).expect("a framing");
        assert_eq!(framer.next(&mut 0, bytes), expected, "{framing}");
    }
}

#[test]
fn a_trailer_received_apart_is_checked() {
    let framer = Framer::parse("netstring", 1000).expect("a framing");
    assert_eq!(framer.check_trailer(7, b","), Ok(()));
    let error = FrameError::Invalid { position: 7, expected: "','", found: b'.' };
    assert_eq!(framer.check_trailer(7, b"."), Err(error));
}

#[test]
fn a_search_goes_on_where_it_stopped() {
    for (framing, scanned) in [("line", 5), ("delimiter:|", 5), ("delimiter:END", 3)] {
        let framer = Framer::parse(framing, 1000).expect("a framing");
        let mut scan = 0;
        assert_eq!(framer.next(&mut scan, b"hello"), Step::Partial(None));
        assert_eq!(scan, scanned, "{framing}");
        // More than there is, as after bytes were taken by other means, is no panic.
        framer.next(&mut 1_000_000, b"hello");
    }
}

#[test]
fn errors_read_as_sentences() {
    for (error, sentence) in [
        (FrameError::TooLarge { size: Some(5), limit: 4 }, "the message has 5 bytes, more than the limit of 4"),
        (FrameError::TooLarge { size: None, limit: 4 }, "the message has more than the limit of 4 bytes"),
        (
            FrameError::Invalid { position: 3, expected: "','", found: b'b' },
            "byte 3 of the frame is 0x62 ('b') and should be ','",
        ),
        (
            FrameError::Invalid { position: 0, expected: "a digit", found: 0 },
            "byte 0 of the frame is 0x00 and should be a digit",
        ),
        (FrameError::Truncated { have: 3, need: Some(9) }, "the stream ended inside a message: 3 of 9 bytes arrived"),
        (FrameError::Truncated { have: 3, need: None }, "the stream ended inside a message, 3 bytes after its start"),
        (
            FrameError::Unsendable { reason: "it is shorter than the header" },
            "the message cannot be sent in this framing: it is shorter than the header",
        ),
    ] {
        assert_eq!(error.to_string(), sentence);
    }
}

/// Makes a payload that the framing can carry, or one that `check` refuses.
fn shaped(framing: &str, mut payload: Vec<u8>) -> Vec<u8> {
    match framing {
        "fixed:5" => payload.resize(5, b'.'),
        "length:offset=2,size=2,order=le,adjust=4" => {
            let length = (payload.len() as u16).to_le_bytes();
            payload.extend_from_slice(b"CRC.");
            payload.splice(0..0, [0xaa, 0xbb, length[0], length[1]]);
        }
        _ => {}
    }
    payload
}

#[test]
fn what_comes_behind_a_frame_that_is_given_up_is_skipped_as_it_comes() {
    for (framing, delimiter) in [("cobs", 0x00), ("slip", 0xc0)] {
        let framer = Framer::parse(framing, 4).expect("a framing");
        let good = frame(&framer, b"good");
        let stream = [vec![0x11; 100_000], vec![delimiter], good].concat();
        for received in [receive_whole(&framer, &stream), receive_bytewise(&framer, &stream)] {
            assert_eq!(received.messages, [b"good"], "{framing}");
            assert_eq!(received.skipped, [FrameError::TooLarge { size: None, limit: 4 }], "{framing}");
        }
        // However long it goes on, nothing of it has to be kept.
        let (mut scan, mut kept) = (0, Vec::new());
        for piece in stream[..100_000].chunks(7) {
            kept.extend_from_slice(piece);
            while let Step::Skipped { consumed, .. } = framer.next(&mut scan, &kept) {
                kept.drain(..consumed);
            }
            assert!(kept.len() <= 16, "{framing}: {} bytes wait", kept.len());
        }
        assert!(framer.discards(scan), "{framing}");
    }
}

#[test]
fn silence_divides_as_the_vectors_say() {
    for case in vectors("gaps") {
        let framer = framer(&case);
        let mut silences = Silences::new(framer.gap_ns().expect("a gap"));
        let (mut unclaimed, mut messages, mut error, mut ended) = (Vec::new(), Vec::new(), None, false);
        for event in case["events"].as_array().expect("a list") {
            let now = 1_000_000_000 + (event[0].as_f64().expect("milliseconds") * 1e6) as u64;
            match event[1].as_str().expect("what happens") {
                "quiet" => silences.quiet(now),
                "end" => ended = true,
                _ => {
                    let came = bytes(&event[1]);
                    silences.arrived(came.len(), now);
                    unclaimed.extend(came);
                }
            }
            loop {
                match silences.next(framer.max_message(), ended) {
                    Step::Message { start: 0, end, consumed } => {
                        assert_eq!(end, consumed);
                        messages.push(unclaimed.drain(..end).collect::<Vec<u8>>());
                    }
                    Step::Broken(broken) => {
                        error = Some(broken);
                        break;
                    }
                    Step::Partial(None) => break,
                    step => panic!("{step:?} in {case}"),
                }
            }
        }
        assert_eq!(messages, all_bytes(&case["payloads"]), "{case}");
        assert_eq!(facts(error), case["error"], "{case}");
        let waits = silences.deadline().map(|at| (at - 1_000_000_000) as f64 / 1e6);
        assert_eq!(waits, case["deadline"].as_f64(), "{case}");
    }
}

proptest! {
    #[test]
    fn what_is_sent_arrives(
        framing in prop::sample::select(vec![
            "line", "line:crlf", "delimiter:|", "delimiter:END", "delimiter:abab", "delimiter:aa",
            "delimiter:0x0d0a", "fixed:5", "u8", "u16", "u16le", "u32", "u32le", "u64", "u64le",
            "varint", "netstring", "length:offset=2,size=2,order=le,adjust=4", "cobs", "slip",
            "cobs:strict", "slip:strict",
        ]),
        payloads in prop::collection::vec(
            prop_oneof![
                "[abEND|\r\n:,0-9]{0,12}".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..300),
                prop::collection::vec(prop::sample::select(vec![0u8, 1, 0xc0, 0xdb, 0xdc, 0xdd, 0xff]), 0..300),
                (250usize..260, any::<u8>()).prop_map(|(size, byte)| vec![byte; size]),
            ],
            0..8,
        ),
        limit in prop_oneof![Just(1000usize), 8usize..400],
        seed: u64,
    ) {
        let framer = Framer::parse(framing, limit).expect("a framing");
        let mut payloads: Vec<_> = payloads.into_iter().map(|one| shaped(framing, one)).collect();
        payloads.retain(|payload| framer.check(payload).is_ok());
        let stream: Vec<u8> = payloads.iter().flat_map(|one| frame(&framer, one)).collect();
        let received = receive(&framer, pieces(&stream, seed));
        prop_assert_eq!((received.error, received.end_error), (None, None));
        prop_assert_eq!(&received.messages, &payloads);
        prop_assert!(received.last.is_empty());
    }
}
