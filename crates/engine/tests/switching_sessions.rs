//! Sessions that outlive their connections: every frame once and in order, whatever connection is cut where.

mod native_peer;
mod stepper;

use jackfield_engine::native::counting::Counting;
use jackfield_engine::native::frame::{Code, Frame, Kind, MAX_PAYLOAD, Violation};
use jackfield_engine::native::{Recognition, SwitchError, Whom};
use jackfield_engine::*;
use native_peer::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use stepper::*;

#[test]
fn a_resumed_session_has_its_routes_and_what_it_missed() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let (mut a, b) = exchange.linked(10_000);
    let gone = b.id;
    drop(b);
    assert_eq!(exchange.told(), Told::Left(gone, None));
    exchange.stepper.reactor.close(gone, 0);
    let session = exchange.stepper.reactor.hold(gone).expect("a session");
    exchange.stepper.reactor.settle_departed(exchange.group);
    a.write(&[frame(1, Kind::Data, b"one"), frame(1, Kind::Data, b"two")].concat());
    exchange.stepper.settle();
    let mut back = exchange.greet();
    // It had the OPEN, and sent one CREDIT.
    assert_eq!(exchange.stepper.reactor.resume(back.id, session, 1), Ok(1));
    exchange.send(&back, 0, Kind::Control, WELCOME);
    a.write(&frame(1, Kind::Data, b"three"));
    back.magic(&mut exchange);
    assert_eq!(back.read(&mut exchange), got(0, Kind::Control, WELCOME));
    for text in [&b"one"[..], b"two", b"three"] {
        assert_eq!(back.read(&mut exchange), got(2, Kind::Data, text));
    }
    back.write(&frame(2, Kind::Data, b"here again"));
    assert_eq!(a.read(&mut exchange), got(1, Kind::Data, b"here again"));
    assert!(!exchange.stepper.reactor.drop_session(session, None), "the name is used up");
    exchange.end();
}

#[test]
fn what_the_owner_had_not_taken_yet_comes_again_over_the_next_connection() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let mut client = exchange.client();
    // The last one waits for the owner when the client is back.
    let before = [frame(1, Kind::Open, b"{}"), frame(3, Kind::Open, b"{}"), frame(3, Kind::End, b"")];
    for (taken, bytes) in before.iter().enumerate() {
        client.write(bytes);
        exchange.stepper.settle();
        let session = exchange.stepper.reactor.hold(client.id).expect("a session");
        let mut back = exchange.greet();
        assert_eq!(exchange.stepper.reactor.resume(back.id, session, 0), Ok(taken as u64));
        exchange.send(&back, 0, Kind::Control, WELCOME);
        back.magic(&mut exchange);
        assert_eq!(back.read(&mut exchange), got(0, Kind::Control, WELCOME));
        back.write(bytes);
        assert_eq!(exchange.told(), Told::Message(back.id, bytes[4..].to_vec()));
        client = back;
    }
    // The hub's own END is the second on stream 3, and the last.
    exchange.send(&client, 3, Kind::End, b"");
    client.write(&frame(3, Kind::Data, b"too late"));
    client.write(&frame(1, Kind::Open, b"{}"));
    let Told::Left(_, Some(Fault::Violation(Violation::StreamState))) = exchange.told() else {
        panic!("a number is used once")
    };
    exchange.end();
}

#[test]
fn what_cannot_be_resumed_is_refused_and_dropping_it_resets_its_routes() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let (mut a, mut b) = exchange.linked(100 << 20);
    b.write(&frame(0, Kind::Ack, &1u64.to_be_bytes()));
    exchange.stepper.settle();
    let session = exchange.stepper.reactor.hold(b.id).expect("a session");
    assert_eq!(exchange.stepper.reactor.hold(b.id), None, "once");
    let fresh = exchange.greet();
    let reactor = &mut exchange.stepper.reactor;
    assert_eq!(reactor.resume(fresh.id, session, 9), Err(SwitchError::Violation(Violation::BadAck)));
    assert!(matches!(reactor.resume(fresh.id, session, 0), Err(SwitchError::Refused(_))), "it has acknowledged more");
    for _ in 0..80 {
        a.write(&frame(1, Kind::Data, &[0; MAX_PAYLOAD]));
        exchange.stepper.settle();
    }
    let reactor = &mut exchange.stepper.reactor;
    let (_, sent, kept) = reactor.session_facts(Whom::Session(session)).expect("it is held");
    assert_eq!(sent, 81);
    assert!(kept <= 4 << 20, "{kept}");
    assert!(matches!(reactor.resume(fresh.id, session, 1), Err(SwitchError::Refused(_))), "the oldest are gone");
    assert!(reactor.drop_session(session, Some((1, "for good"))));
    assert_eq!(a.read(&mut exchange), got(1, Kind::Reset, b"\0\0\0\x01for good"));
    exchange.end();
}

#[test]
fn who_does_not_read_has_its_route_reset_and_bounded_memory() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let (mut a, b) = exchange.linked(i32::MAX as u32);
    let mut reset = false;
    for _ in 0..400 {
        a.write(&frame(1, Kind::Data, &[0; MAX_PAYLOAD]));
        exchange.stepper.turn(0);
        assert!(exchange.stepper.reactor.queued_of(b.id).0 <= 5 << 20);
        a.socket.set_nonblocking(true).expect("a socket");
        let mut head = [0; 20];
        if let Ok(count) = std::io::Read::read(&mut a.socket, &mut head) {
            // An ACK, or the RESET.
            reset |= count >= 9 && head[8] == Kind::Reset as u8 && head[15] == Code::Overloaded as u8;
        }
        a.socket.set_nonblocking(false).expect("a socket");
        if reset {
            break;
        }
    }
    assert!(reset, "the route was reset");
    exchange.end();
}

/// One direction of a session in a model: what the sender has counted, and what the receiver has got.
struct Direction {
    sender: Counting,
    receiver: Counting,
    wire: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    got: Vec<Vec<u8>>,
}

impl Direction {
    fn new() -> Direction {
        let (sender, receiver) = (Counting::default(), Counting::default());
        Direction { sender, receiver, wire: VecDeque::new(), sent: Vec::new(), got: Vec::new() }
    }

    fn send(&mut self, connected: bool) {
        let frame = (self.sent.len() as u64).to_be_bytes().to_vec();
        self.sender.send(&frame[..4], &frame[4..]);
        self.sent.push(frame.clone());
        if connected {
            self.wire.push_back(frame);
        }
    }

    fn deliver(&mut self) {
        if let Some(frame) = self.wire.pop_front() {
            self.receiver.receive(frame.len());
            self.got.push(frame);
        }
    }

    fn acknowledge(&mut self) {
        if let Some(received) = self.receiver.acknowledgement() {
            assert_eq!(self.sender.acknowledge(received), Ok(()));
        }
    }

    fn resume(&mut self) {
        self.wire.clear();
        assert!(self.sender.resume(self.receiver.received()));
        self.wire.extend(self.sender.kept().map(<[u8]>::to_vec));
    }
}

proptest! {
    #[test]
    fn every_frame_comes_once_and_in_order_over_any_cuts(steps in prop::collection::vec(0u8..8, 0..400)) {
        let mut direction = Direction::new();
        let mut connected = true;
        for step in steps {
            match step {
                0..=2 => direction.send(connected),
                3..=4 => direction.deliver(),
                5 if connected => direction.acknowledge(),
                6 => {
                    direction.wire.clear();
                    connected = false;
                }
                7 if !connected => {
                    direction.resume();
                    connected = true;
                }
                _ => {}
            }
        }
        direction.resume();
        while !direction.wire.is_empty() {
            direction.deliver();
        }
        prop_assert_eq!(&direction.got, &direction.sent);
        direction.acknowledge();
        prop_assert_eq!(direction.sender.kept_bytes(), 0);
    }

    #[test]
    fn no_frame_panics_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(frame) = Frame::parse(&bytes) {
            prop_assert_eq!([&frame.prefix()[4..], frame.payload].concat(), bytes);
        }
    }
}

/// Frames that are well-formed more often than not, on few streams.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop::collection::vec(any::<u8>(), 0..24);
    let stream = prop_oneof![Just(0u32), 0u32..8, Just(1 << 31), any::<u32>()];
    (stream, 0u8..10, 0u8..4, payload, any::<u8>()).prop_map(|(stream, kind, flags, mut payload, luck)| {
        let flags = if luck < 200 { flags & u8::from(kind == 2) } else { flags };
        if luck > 30 {
            payload.resize(
                match kind {
                    3 => 0,
                    5 => 4,
                    6..=8 => 8,
                    4 => 4 + payload.len(),
                    _ => payload.len(),
                },
                0,
            );
        }
        let mut bytes = flagged(stream, Kind::Data, flags, &payload);
        bytes[8] = kind;
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Two clients send anything, the hub links what is opened, holds and resumes: nothing panics, memory is bounded, and
    /// the exchange still works for a third.
    #[test]
    fn hostile_clients_harm_nobody_else(frames in prop::collection::vec((hostile(), any::<bool>()), 1..60)) {
        let mut exchange = Exchange::new(Recognition::Auto);
        let fan = exchange.stepper.reactor
            .fan_open(exchange.group, native::FanOptions { stream: 1 << 31, publish: true, ..Default::default() })
            .expect("a fan");
        let mut pair = [exchange.client(), exchange.client()];
        for client in &pair {
            let _ = exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1);
        }
        let mut next = 2;
        for (bytes, first) in frames {
            let client = &mut pair[usize::from(first)];
            // It may have been broken off.
            let _ = std::io::Write::write_all(&mut client.socket, &bytes);
            exchange.stepper.settle();
            while let Some(told) = told(&mut exchange.stepper.reactor, exchange.group) {
                let reactor = &mut exchange.stepper.reactor;
                match told {
                    Told::Message(id, bytes) if bytes[4] == Kind::Open as u8 => {
                        let stream = u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"));
                        let other = pair[usize::from(id == pair[0].id)].id;
                        let to = Whom::Member(other);
                        if reactor.switch_send(to, next, Kind::Open, 0, b"{}") == Ok(true) {
                            let linked = reactor.switch_link((Whom::Member(id), stream), (to, next), 100);
                            prop_assert_eq!(linked, Ok(()));
                            next += 2;
                        }
                    }
                    Told::Left(id, _) => {
                        reactor.close(id, 0);
                        if let Some(session) = reactor.hold(id) {
                            reactor.drop_session(session, None);
                        }
                    }
                    _ => {}
                }
            }
            for client in &pair {
                prop_assert!(exchange.stepper.reactor.queued_of(client.id).0 < 1 << 20);
            }
        }
        let mut third = exchange.client();
        third.write(&frame(0, Kind::Ping, b"12345678"));
        prop_assert_eq!(third.read(&mut exchange), got(0, Kind::Pong, b"12345678"));
        exchange.end();
    }
}
