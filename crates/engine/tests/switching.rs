//! The switch: recognition, frames to the owner, routes, what ends them, and clients that break the rules.

mod native_peer;
mod stepper;

use jackfield_engine::native::frame::{Code, Kind, MORE, OPENING, Violation};
use jackfield_engine::native::{Recognition, SwitchError, Whom};
use jackfield_engine::*;
use native_peer::*;
use std::io::Read;
use stepper::*;

#[test]
fn one_listener_takes_both_kinds() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let mut plain = exchange.connect();
    plain.write(b"good morning\n");
    assert_eq!(exchange.told(), Told::Message(plain.id, b"good morning".into()));
    let native = exchange.client();
    assert_eq!(exchange.stepper.reactor.is_native(plain.id), Some(false));
    assert_eq!(exchange.stepper.reactor.is_native(native.id), Some(true));
    exchange.end();
}

#[test]
fn the_magic_may_come_byte_by_byte_and_almost_magic_is_plain() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let mut client = exchange.connect();
    for byte in OPENING {
        assert_eq!(exchange.stepper.reactor.is_native(client.id), None);
        client.write(&[byte]);
        exchange.stepper.settle();
    }
    assert_eq!(exchange.told(), Told::Recognised(client.id));
    let mut plain = exchange.connect();
    plain.write(&OPENING[..9]);
    exchange.stepper.settle();
    plain.write(b"!\n");
    assert_eq!(exchange.told(), Told::Message(plain.id, [&OPENING[..9], b"!"].concat()));
    exchange.end();
}

#[test]
fn who_is_not_native_leaves_where_all_have_to_be() {
    let mut exchange = Exchange::new(Recognition::Only);
    let mut plain = exchange.connect();
    plain.write(b"GET / HTTP/1.1\r\n");
    assert_eq!(exchange.told(), Told::Left(plain.id, Some(Fault::Violation(Violation::BadMagic))));
    plain.magic(&mut exchange);
    let last = plain.read(&mut exchange);
    assert_eq!(last.kind, Kind::Control);
    assert!(String::from_utf8_lossy(&last.payload).contains(r#""code":"bad_magic""#));
    exchange.end();
}

#[test]
fn broadcasts_leave_out_natives_and_for_a_second_who_has_said_nothing() {
    let mut exchange = Exchange::with(Recognition::Auto, "line", 1 << 20, Stepper::stepped());
    let mut native = exchange.client();
    let mut silent = exchange.connect();
    assert_eq!(exchange.stepper.reactor.broadcast(exchange.group, b"early"), Ok(0));
    exchange.stepper.until("the silent one to be plain", |reactor, _| reactor.is_native(silent.id));
    assert_eq!(exchange.stepper.reactor.broadcast(exchange.group, b"late"), Ok(1));
    exchange.stepper.settle();
    let mut line = [0; 5];
    silent.socket.read_exact(&mut line).expect("a line");
    assert_eq!(&line, b"late\n");
    native.hears_nothing(&mut exchange);
    let refused = exchange.stepper.send(native.id, b"no frame");
    assert_eq!(refused, Err(SendError::Native));
    exchange.end();
}

#[test]
fn data_credit_and_ends_pass_on_the_other_number() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let (mut a, mut b) = exchange.linked(1000);
    a.write(&[flagged(1, Kind::Data, MORE, b"one "), frame(1, Kind::Data, b"two")].concat());
    assert_eq!(b.read(&mut exchange), Got { stream: 2, kind: Kind::Data, flags: MORE, payload: b"one ".into() });
    assert_eq!(b.read(&mut exchange), got(2, Kind::Data, b"two"));
    b.write(&frame(2, Kind::Data, b"three"));
    assert_eq!(a.read(&mut exchange), got(1, Kind::Data, b"three"));
    a.write(&frame(1, Kind::End, b""));
    assert_eq!(b.read(&mut exchange), got(2, Kind::End, b""));
    b.write(&[frame(2, Kind::Data, b"still"), frame(2, Kind::End, b"")].concat());
    assert_eq!(a.read(&mut exchange), got(1, Kind::Data, b"still"));
    assert_eq!(a.read(&mut exchange), got(1, Kind::End, b""));
    // It is over: what comes now was under way.
    a.write(&frame(1, Kind::Data, b"late"));
    b.write(&frame(2, Kind::Reset, b"\0\0\0\x01"));
    a.hears_nothing(&mut exchange);
    b.hears_nothing(&mut exchange);
    exchange.end();
}

#[test]
fn more_than_was_granted_resets_both_ends() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let (mut a, mut b) = exchange.linked(40);
    a.write(&frame(1, Kind::Data, &[0; 24]));
    assert_eq!(b.read(&mut exchange).payload.len(), 24);
    a.write(&frame(1, Kind::Data, b""));
    for (client, number) in [(&mut a, 1), (&mut b, 2)] {
        assert_eq!(client.read(&mut exchange), got(number, Kind::Reset, &Code::CreditExceeded.payload()));
    }
    exchange.end();
}

#[test]
fn an_end_within_a_message_and_data_behind_an_end_reset_both_ends() {
    for wrong in [
        [flagged(1, Kind::Data, MORE, b"x"), frame(1, Kind::End, b"")],
        [frame(1, Kind::End, b""), frame(1, Kind::Data, b"x")],
        [frame(1, Kind::End, b""), frame(1, Kind::End, b"")],
    ] {
        let mut exchange = Exchange::new(Recognition::Auto);
        let (mut a, mut b) = exchange.linked(1000);
        a.write(&wrong.concat());
        assert_eq!(a.read(&mut exchange), got(1, Kind::Reset, &Code::StreamState.payload()));
        b.read(&mut exchange);
        assert_eq!(b.read(&mut exchange), got(2, Kind::Reset, &Code::StreamState.payload()));
        exchange.end();
    }
}

#[test]
fn ping_is_answered_and_frames_are_acknowledged() {
    let mut exchange = Exchange::with(Recognition::Auto, "line", 1 << 20, Stepper::stepped());
    let mut client = exchange.client();
    client.write(&frame(0, Kind::Ping, b"12345678"));
    assert_eq!(client.read_any(&mut exchange), got(0, Kind::Pong, b"12345678"));
    client.write(&frame(1, Kind::Open, b"{}"));
    assert_eq!(exchange.told(), Told::Message(client.id, bare(1, Kind::Open, b"{}")));
    exchange.stepper.turn(1_000_000_000);
    assert_eq!(client.read_any(&mut exchange), got(0, Kind::Ack, &1u64.to_be_bytes()));
    let many: Vec<u8> = (0..512).flat_map(|_| frame(1, Kind::Credit, b"\0\0\0\x01")).collect();
    client.write(&many);
    for _ in 0..512 {
        assert!(matches!(exchange.told(), Told::Message(..)));
    }
    assert_eq!(client.read_any(&mut exchange), got(0, Kind::Ack, &513u64.to_be_bytes()));
    exchange.end();
}

#[test]
fn broken_rules_end_the_connection_with_their_code_and_its_routes() {
    let too_long = [&65_545u32.to_be_bytes()[..], &[0; 20]].concat();
    let cases = [
        (frame(9, Kind::Data, b"x"), Violation::StreamState),
        (frame(2, Kind::Open, b"{}"), Violation::StreamState),
        (frame(1, Kind::Open, b"{}"), Violation::StreamState),
        (frame((1 << 31) + 1, Kind::Open, b"{}"), Violation::StreamState),
        (frame(1, Kind::Credit, &[0x7f, 0xff, 0xff, 0xff]).repeat(2), Violation::CreditOverflow),
        (frame(0, Kind::Ack, &99u64.to_be_bytes()), Violation::BadAck),
        (frame(0, Kind::Data, b"x"), Violation::BadFrame),
        (flagged(1, Kind::Data, 2, b"x"), Violation::BadFrame),
        (frame(1, Kind::Credit, b"xyz"), Violation::BadFrame),
        (b"\0\0\0\x03abc".to_vec(), Violation::BadFrame),
        (too_long, Violation::TooBig),
    ];
    for (bytes, violation) in cases {
        let mut exchange = Exchange::new(Recognition::Auto);
        let (mut a, mut b) = exchange.linked(1000);
        a.write(&bytes);
        assert_eq!(exchange.told(), Told::Left(a.id, Some(Fault::Violation(violation))), "{bytes:?}");
        let last = a.read(&mut exchange);
        assert!(String::from_utf8_lossy(&last.payload).contains(&format!(r#""code":"{}""#, violation.code())));
        loop {
            let next = b.read(&mut exchange);
            if next.kind == Kind::Reset {
                assert_eq!(next, got(2, Kind::Reset, &Code::PeerGone.payload()));
                break;
            }
            assert_eq!(next.kind, Kind::Credit);
        }
        exchange.stepper.reactor.close(a.id, 0);
        assert_eq!(exchange.stepper.reactor.hold(a.id), None);
        exchange.end();
    }
}

#[test]
fn between_hello_and_welcome_a_client_has_to_wait() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let mut client = exchange.greet();
    client.write(&frame(0, Kind::Ping, b"12345678"));
    assert_eq!(exchange.told(), Told::Left(client.id, Some(Fault::Violation(Violation::BadFrame))));
    exchange.end();
}

#[test]
fn the_owner_opens_streams_and_owns_those_without_a_route() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let mut client = exchange.client();
    let to = Whom::Member(client.id);
    let reactor = &mut exchange.stepper.reactor;
    assert_eq!(reactor.next_stream(to), Ok(2));
    assert_eq!(reactor.switch_send(to, 2, Kind::Open, 0, b"{}"), Ok(true));
    assert_eq!(reactor.next_stream(to), Ok(4));
    assert!(matches!(reactor.switch_send(to, 2, Kind::Open, 0, b"{}"), Err(SwitchError::Refused(_))));
    assert!(matches!(reactor.switch_send(to, 6, Kind::Data, 0, b"x"), Err(SwitchError::Refused(_))));
    assert!(matches!(reactor.switch_send(to, 0, Kind::Ack, 0, &[0; 8]), Err(SwitchError::Refused(_))));
    assert_eq!(reactor.switch_own(to, 2), Ok(()));
    assert_eq!(client.read(&mut exchange), got(2, Kind::Open, b"{}"));
    client.write(&[frame(2, Kind::Data, b"mine"), frame(2, Kind::End, b"")].concat());
    assert_eq!(exchange.told(), Told::Message(client.id, bare(2, Kind::Data, b"mine")));
    assert_eq!(exchange.told(), Told::Message(client.id, bare(2, Kind::End, b"")));
    exchange.send(&client, 2, Kind::End, b"");
    assert_eq!(exchange.stepper.reactor.switch_send(to, 2, Kind::Data, 0, b"x"), Ok(false), "it is over");
    exchange.end();
}

#[test]
fn an_unlinked_route_leads_to_the_owner_again_or_is_reset() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let (mut a, mut b) = exchange.linked(1000);
    let whom = Whom::Member(a.id);
    assert!(matches!(exchange.stepper.reactor.switch_send(whom, 1, Kind::Data, 0, b"x"), Err(SwitchError::Refused(_))));
    assert_eq!(exchange.stepper.reactor.switch_unlink(whom, 1, None), Ok(true));
    assert_eq!(exchange.stepper.reactor.switch_unlink(whom, 1, None), Ok(false));
    a.write(&frame(1, Kind::Data, b"for the hub"));
    assert_eq!(exchange.told(), Told::Message(a.id, bare(1, Kind::Data, b"for the hub")));
    let ends = ((Whom::Member(a.id), 1), (Whom::Member(b.id), 2));
    assert_eq!(exchange.stepper.reactor.switch_link(ends.0, ends.1, 0), Ok(()));
    assert_eq!(exchange.stepper.reactor.switch_unlink(whom, 1, Some((11, "not you"))), Ok(true));
    assert_eq!(a.read(&mut exchange), got(1, Kind::Reset, b"\0\0\0\x0bnot you"));
    assert_eq!(b.read(&mut exchange), got(2, Kind::Reset, b"\0\0\0\x0bnot you"));
    exchange.end();
}

#[test]
fn who_leaves_without_being_held_resets_its_routes() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let (a, mut b) = exchange.linked(1000);
    let gone = a.id;
    drop(a);
    assert_eq!(exchange.told(), Told::Left(gone, None));
    exchange.stepper.reactor.close(gone, 0);
    b.hears_nothing(&mut exchange);
    exchange.stepper.reactor.settle_departed(exchange.group);
    assert_eq!(b.read(&mut exchange), got(2, Kind::Reset, &Code::PeerGone.payload()));
    exchange.end();
}

#[test]
fn a_client_has_1024_streams_and_no_more() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let mut client = exchange.client();
    let opens: Vec<u8> = (0..1025).flat_map(|index| frame(2 * index + 1, Kind::Open, b"{}")).collect();
    client.write(&opens);
    for index in 0..1024 {
        assert_eq!(exchange.told(), Told::Message(client.id, bare(2 * index + 1, Kind::Open, b"{}")));
    }
    assert_eq!(client.read(&mut exchange), got(2049, Kind::Reset, &Code::TooManyStreams.payload()));
    exchange.end();
}
