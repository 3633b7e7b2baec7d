//! Plain members at the end of a route.

mod native_peer;
mod stepper;

use jackfield_engine::frame::Framer;
use jackfield_engine::native::frame::{Code, Kind, MORE};
use jackfield_engine::native::{Recognition, Whom};
use jackfield_engine::*;
use native_peer::*;
use std::io::Read;
use stepper::*;

/// A native client whose stream 1 leads to a plain one, and may be answered with `credit`.
fn joined(framing: &str, credit: u32) -> (Exchange, Client, Client) {
    let mut exchange = Exchange::with(Recognition::Auto, framing, 1 << 20, Stepper::new());
    let mut plain = exchange.connect();
    let mut hi = Vec::new();
    Framer::parse(framing, 100).expect("a framing").encode(b"hi", &mut hi);
    plain.write(&hi);
    assert_eq!(exchange.told(), Told::Message(plain.id, b"hi".into()));
    let mut native = exchange.client();
    native.write(&frame(1, Kind::Open, b"{}"));
    assert_eq!(exchange.told(), Told::Message(native.id, bare(1, Kind::Open, b"{}")));
    let ends = ((Whom::Member(native.id), 1), (Whom::Member(plain.id), 0));
    assert_eq!(exchange.stepper.reactor.switch_link(ends.0, ends.1, credit), Ok(()));
    assert!(exchange.stepper.reactor.switch_link(ends.0, ends.1, credit).is_err(), "once only");
    assert_eq!(native.read(&mut exchange).kind, Kind::Credit, "which accepts the stream");
    (exchange, native, plain)
}

fn reads(plain: &mut Client, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    plain.socket.read_exact(&mut got).expect("the plain client reads");
    assert_eq!(got, bytes);
}

#[test]
fn data_are_its_messages_and_its_messages_are_data() {
    let (mut exchange, mut native, mut plain) = joined("line", 1000);
    native.write(&[flagged(1, Kind::Data, MORE, b"good "), frame(1, Kind::Data, b"day")].concat());
    exchange.stepper.settle();
    reads(&mut plain, b"good day\n");
    plain.write(b"and to you\n\n");
    assert_eq!(native.read(&mut exchange), got(1, Kind::Data, b"and to you"));
    assert_eq!(exchange.told(), Told::Message(plain.id, b"and to you".into()), "its owner hears it, too");
    assert_eq!(native.read(&mut exchange), got(1, Kind::Data, b""));
    assert_eq!(exchange.told(), Told::Message(plain.id, b"".into()));
    exchange.end();
}

#[test]
fn without_credit_it_is_not_read_and_goes_on_in_pieces() {
    let (mut exchange, mut native, mut plain) = joined("slip", 16 + 4);
    plain.write(&[&[0xc0], &b"abcdefgh"[..], &[0xdb, 0xdc, 0xc0]].concat());
    let piece = native.read(&mut exchange);
    assert_eq!((piece.flags, &piece.payload[..]), (MORE, &b"abcd"[..]));
    native.hears_nothing(&mut exchange);
    assert_eq!(told(&mut exchange.stepper.reactor, exchange.group), None);
    native.write(&frame(1, Kind::Credit, &1000u32.to_be_bytes()));
    assert_eq!(native.read(&mut exchange), got(1, Kind::Data, b"efgh\xc0"));
    assert_eq!(exchange.told(), Told::Message(plain.id, b"abcdefgh\xc0".into()));
    exchange.end();
}

#[test]
fn large_messages_pass_in_both_directions_and_credit_is_granted_again() {
    let (mut exchange, mut native, mut plain) = joined("u32", 1 << 20);
    let large = vec![b'z'; 200_000];
    plain.write(&framed("u32", &large));
    let mut parts = Vec::new();
    loop {
        let part = native.read(&mut exchange);
        parts.extend_from_slice(&part.payload);
        if part.flags == 0 {
            break;
        }
    }
    assert_eq!(parts, large);
    let mut granted = 0;
    for _ in 0..16 {
        native.write(&frame(1, Kind::Data, &[b'y'; 32 * 1024]));
        exchange.stepper.settle();
        reads(&mut plain, &framed("u32", &[b'y'; 32 * 1024]));
        exchange.stepper.settle();
    }
    while granted < 8 * 32 * 1024 {
        let next = native.read(&mut exchange);
        assert_eq!(next.kind, Kind::Credit);
        granted += u32::from_be_bytes(next.payload[..4].try_into().expect("four bytes"));
    }
    exchange.end();
}

#[test]
fn the_end_of_a_conversation_is_not_the_end_of_the_connection() {
    let (mut exchange, mut native, mut plain) = joined("line", 1000);
    native.write(&[frame(1, Kind::Data, b"bye"), frame(1, Kind::End, b"")].concat());
    assert_eq!(native.read(&mut exchange), got(1, Kind::End, b""));
    reads(&mut plain, b"bye\n");
    plain.write(b"still here\n");
    assert_eq!(exchange.told(), Told::Message(plain.id, b"still here".into()));
    native.hears_nothing(&mut exchange);
    assert_eq!(exchange.stepper.send(plain.id, b"as before"), Ok(Queued::Yes));
    exchange.stepper.settle();
    reads(&mut plain, b"as before\n");
    exchange.end();
}

#[test]
fn its_own_end_ends_the_stream() {
    let (mut exchange, mut native, plain) = joined("line", 1000);
    let gone = plain.id;
    drop(plain);
    assert_eq!(exchange.told(), Told::Left(gone, None));
    exchange.stepper.reactor.close(gone, 0);
    assert_eq!(native.read(&mut exchange), got(1, Kind::End, b""));
    assert_eq!(native.read(&mut exchange), got(1, Kind::Reset, &Code::PeerGone.payload()));
    exchange.end();
}

#[test]
fn what_its_framing_cannot_carry_is_refused() {
    let (mut exchange, mut native, _plain) = joined("line", 1000);
    native.write(&frame(1, Kind::Data, b"two\nlines"));
    assert_eq!(native.read(&mut exchange), got(1, Kind::Reset, &Code::Refused.payload()));
    exchange.end();
}
