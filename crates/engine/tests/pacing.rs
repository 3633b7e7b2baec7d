//! Messages that silence divides, on a clock that steps; and framings that encode, over links and groups.

mod stepper;

use jackfield_engine::frame::FrameError;
use jackfield_engine::group::GroupTake;
use jackfield_engine::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use stepper::*;

const MS: u64 = 1_000_000;

/// Lets the reactor see what is there, without letting time pass.
fn look(stepper: &mut Stepper) {
    stepper.reactor.flush();
    stepper.reactor.wait(Some(0), |wait| wait()).expect("a wait");
    while let Some(event) = stepper.reactor.next_event() {
        stepper.events.push(event);
    }
}

fn shown(stepper: &Stepper) -> u64 {
    stepper.reactor.clock().shown()
}

#[test]
fn a_message_ends_with_the_silence_behind_it() {
    let mut stepper = Stepper::stepped();
    let (id, mut peer) = stepper.stream(&config("gap:20ms"));
    peer.write_all(b"one").expect("room");
    stepper.reactor.want(id, want::RECEIVE);
    look(&mut stepper);
    assert_eq!(stepper.take(id), Taken::Nothing);
    stepper.turn(5 * MS);
    peer.write_all(b" message").expect("room");
    look(&mut stepper);
    stepper.expect(Event::Receivable(id));
    assert_eq!(shown(&stepper), 25 * MS, "20 ms behind the last byte");
    assert_eq!(stepper.take(id), message("one message"));
    assert_eq!(stepper.take(id), Taken::Nothing);
}

#[test]
fn messages_are_divided_while_nobody_receives() {
    let mut stepper = Stepper::stepped();
    let (id, mut peer) = stepper.stream(&config("gap:20ms"));
    for text in ["one", "two", "three"] {
        peer.write_all(text.as_bytes()).expect("room");
        look(&mut stepper);
        stepper.turn(30 * MS);
    }
    for text in ["one", "two", "three"] {
        assert_eq!(stepper.take(id), message(text));
    }
    assert_eq!(stepper.take(id), Taken::Nothing);
}

#[test]
fn what_nobody_looked_at_is_not_divided() {
    let mut stepper = Stepper::stepped();
    let (id, mut peer) = stepper.stream(&config("gap:20ms"));
    peer.write_all(b"half ").expect("room");
    look(&mut stepper);
    // The turn is late: at its deadline the rest is there, and nobody can say since when.
    peer.write_all(b"a message").expect("room");
    stepper.turn(500 * MS);
    stepper.turn(500 * MS);
    assert_eq!(stepper.take(id), message("half a message"));
}

#[test]
fn the_end_ends_a_message_and_too_much_is_an_error() {
    let mut stepper = Stepper::stepped();
    let (id, mut peer) = stepper.stream(&config("gap:20ms"));
    peer.write_all(b"last").expect("room");
    drop(peer);
    look(&mut stepper);
    assert_eq!(stepper.take(id), message("last"));
    assert_eq!(stepper.take(id), Taken::End);

    let (id, mut peer) = stepper.stream(&limited("gap:20ms", 4, 1 << 20, WhenFull::Wait, 0));
    peer.write_all(b"good").expect("room");
    look(&mut stepper);
    stepper.turn(30 * MS);
    peer.write_all(b"too long").expect("room");
    look(&mut stepper);
    assert_eq!(stepper.take(id), message("good"));
    let error = FrameError::TooLarge { size: None, limit: 4 };
    assert_eq!(stepper.take(id), Taken::Fault(Fault::Frame(error)));
}

#[test]
fn silence_is_kept_between_messages_that_leave() {
    let mut stepper = Stepper::stepped();
    let (id, mut peer) = stepper.stream(&config("gap:20ms"));
    peer.set_nonblocking(true).expect("an option");
    for text in ["one", "two", "three"] {
        assert_eq!(stepper.reactor.send(id, Payload::Bytes(text.as_bytes()), None), Ok(Queued::Yes));
    }
    for (text, at) in [("one", 0), ("two", 40 * MS), ("three", 80 * MS)] {
        let mut read = [0; 64];
        let count = loop {
            look(&mut stepper);
            match peer.read(&mut read) {
                Ok(count) => break count,
                Err(_) => stepper.turn(100 * MS),
            }
        };
        assert_eq!((&read[..count], shown(&stepper)), (text.as_bytes(), at));
    }
    assert_eq!(stepper.reactor.queued_of(id), (0, 0));
}

#[test]
fn two_links_understand_each_other() {
    let mut stepper = Stepper::stepped();
    let (one, two) = stepper.reactor.pair(libc::SOCK_STREAM, &config("gap:1.75ms")).expect("a pair");
    let texts = ["a", "message", "and another one"];
    for text in texts {
        assert_eq!(stepper.reactor.send(one, Payload::Bytes(text.as_bytes()), None), Ok(Queued::Yes));
    }
    let mut got = Vec::new();
    for _ in 0..100 {
        look(&mut stepper);
        match stepper.take(two) {
            Taken::Message(message) => got.push(String::from_utf8(message).expect("text")),
            _ => stepper.turn(100 * MS),
        }
    }
    assert_eq!(got, texts);
}

#[test]
fn a_group_hears_what_silence_divides() {
    let mut stepper = Stepper::stepped();
    let group = stepper.reactor.group(WhenFull::Wait);
    let (id, mut peer) = stepper.stream(&config("gap:20ms"));
    assert!(stepper.reactor.join(group, id));
    let mut told = Vec::new();
    for text in ["one", "two"] {
        peer.write_all(text.as_bytes()).expect("room");
        for _ in 0..3 {
            look(&mut stepper);
            loop {
                match stepper.reactor.group_take(group) {
                    GroupTake::Message(from, data) => told.push((from, data.to_vec())),
                    GroupTake::Joined(_) => {}
                    _ => break,
                }
            }
            stepper.turn(30 * MS);
        }
    }
    assert_eq!(told, [(id, b"one".to_vec()), (id, b"two".to_vec())]);
}

/// What `peer` reads once everything has left.
fn heard(stepper: &mut Stepper, peer: &mut UnixStream, count: usize) -> Vec<u8> {
    stepper.settle();
    let mut heard = vec![0; count];
    peer.read_exact(&mut heard).expect("it comes");
    heard
}

#[test]
fn encoded_messages_cross_links_and_groups() {
    for (framing, payload, wire) in
        [("cobs", &b"a\0b"[..], &b"\x02a\x02b\0"[..]), ("slip", b"a\xc0b", b"\xc0a\xdb\xdcb\xc0")]
    {
        let mut stepper = Stepper::new();
        let group = stepper.reactor.group(WhenFull::Wait);
        let (id, mut peer) = stepper.stream(&config(framing));
        assert_eq!(stepper.reactor.send(id, Payload::Bytes(payload), None), Ok(Queued::Yes));
        assert_eq!(stepper.reactor.send(id, Payload::Loan(payload.to_vec()), None), Ok(Queued::Yes));
        assert!(stepper.reactor.join(group, id));
        assert_eq!(stepper.reactor.broadcast(group, payload), Ok(1));
        assert_eq!(heard(&mut stepper, &mut peer, 3 * wire.len()), wire.repeat(3), "{framing}");

        let (id, mut peer) = stepper.stream(&config(framing));
        peer.write_all(&wire.repeat(2)).expect("room");
        stepper.settle();
        // The second one is decoded where it was put aside for another link.
        assert_eq!(stepper.take(id), message(payload), "{framing}");
        let (other, mut another) = stepper.stream(&config(framing));
        another.write_all(wire).expect("room");
        stepper.settle();
        assert_eq!(stepper.take(other), message(payload), "{framing}");
        assert_eq!(stepper.take(id), message(payload), "{framing}");
        assert_eq!(stepper.take(id), Taken::Nothing, "{framing}");
    }
}

#[test]
fn broken_frames_are_counted_and_skipped() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("cobs"));
    peer.write_all(b"\xff\xee\0\x02a\0\x05b\0\x02c\0").expect("room");
    stepper.settle();
    assert_eq!(stepper.take(id), message("a"));
    assert_eq!(stepper.take(id), message("c"));
    assert_eq!(stepper.take(id), Taken::Nothing);
    assert_eq!(stepper.reactor.counters(id).expect("a link").broken_in, 2);
}

#[test]
fn a_peer_that_never_sends_a_whole_frame_speaks_something_else() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config("slip"));
    peer.write_all(&b"\xdb\x00\xc0".repeat(63)).expect("room");
    stepper.settle();
    assert_eq!(stepper.take(id), Taken::Nothing);
    peer.write_all(b"\xdb\x00\xc0").expect("room");
    stepper.settle();
    let error = FrameError::Invalid { position: 1, expected: "0xdc or 0xdd behind the escape 0xdb", found: 0 };
    assert_eq!(stepper.take(id), Taken::Fault(Fault::Frame(error)));
}
