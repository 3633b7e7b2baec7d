//! Encrypted links over real sockets: what a peer does wrong, and when it is told.

mod stepper;
mod tls_peer;

use jackfield_engine::frame::FrameError;
use jackfield_engine::*;
use std::net::Shutdown;
use std::rc::Rc;
use stepper::*;
use tls_peer::*;

fn encrypted(framing: &str, terms: tls::Terms) -> Rc<Config> {
    let config = config(framing);
    Rc::new(Config { framer: config.framer.clone(), tls: Some(Rc::new(terms)), ..*config })
}

/// A link that was accepted, and its client, which have agreed.
fn agreed(stepper: &mut Stepper, framing: &str) -> (LinkId, LinkId, Peer) {
    let config = encrypted(framing, server_terms());
    let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &config).expect("a listener");
    let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
    let mut peer = Peer::client(std::net::TcpStream::connect(address).expect("a connection"));
    let id = stepper.until("a handshake", |reactor, _| {
        peer.pump();
        reactor.accept(listener).expect("accepts")
    });
    peer.pump();
    (id, listener, peer)
}

/// The cause of a fault that is TLS's.
#[track_caller]
fn cause(taken: Taken) -> &'static str {
    match taken {
        Taken::Fault(Fault::Tls(failure)) => failure.cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_connection_that_is_cut_behind_any_record_is_truncated() {
    for kept in 0..=4 {
        let mut stepper = Stepper::new();
        let (id, listener, mut peer) = agreed(&mut stepper, "u32");
        let messages: Vec<Vec<u8>> = (0..4).map(|number| vec![number; 16 * 1024 - 4]).collect();
        let plain: Vec<u8> = messages.iter().flat_map(|message| framed("u32", message)).collect();
        let sealed = peer.sealed(&plain);
        let records = records(&sealed);
        assert_eq!(records.len(), 4);
        // Whole records, and a part of the next one every other time.
        let part = records.get(kept).map_or(&[][..], |record| &record[..kept % 2 * record.len() / 2]);
        peer.write(&[records[..kept].concat(), part.to_vec()].concat());
        peer.stream.shutdown(Shutdown::Write).expect("a socket");
        for expected in &messages[..kept] {
            assert_eq!(stepper.receive(id), message(expected));
        }
        assert_eq!(cause(stepper.receive(id)), "truncated");
        assert_eq!(cause(stepper.receive(id)), "truncated");
        stepper.close_all(&[id, listener]);
    }
}

#[test]
fn a_handshake_that_is_cut_behind_any_record_is_told() {
    // The hello; behind the server's answer what older ones expect (RFC 8446, D.4), and the end of the handshake.
    for (flight, kept, rest) in [(0, 0, 0), (0, 0, 100), (1, 0, 0), (1, 1, 0), (1, 1, 20)] {
        let mut stepper = Stepper::new();
        let config = encrypted("u32", server_terms());
        let listener = stepper.reactor.listen(&loopback(), &how(libc::SOCK_STREAM), &config).expect("a listener");
        let address = tcp_address(&stepper.reactor.local(listener).expect("bound"));
        let mut peer = Peer::client(std::net::TcpStream::connect(address).expect("a connection"));
        if flight == 1 {
            let hello = outgoing(&mut peer.session);
            peer.write(&hello);
            stepper.until("the server's flight", |reactor, _| {
                assert!(reactor.accept(listener).expect("accepts").is_none());
                peer.read();
                (!peer.session.outgoing().is_empty()).then_some(())
            });
        }
        let said = outgoing(&mut peer.session);
        let records = records(&said);
        assert_eq!(records.len(), 1 + flight, "what a client says");
        peer.write(&[records[..kept].concat(), records[kept][..rest].to_vec()].concat());
        peer.stream.shutdown(Shutdown::Write).expect("a socket");
        let failed = stepper.until("the failure", |reactor, _| {
            assert!(reactor.accept(listener).expect("accepts").is_none());
            reactor.take_failed_handshake(listener)
        });
        assert!(failed.failure.in_handshake);
        assert_eq!(failed.failure.cause, "closed_in_handshake");
        assert_eq!(stepper.reactor.handshakes_failed(listener), 1);
        stepper.close_all(&[listener]);
    }
}

#[test]
fn an_end_in_order_is_an_end() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = agreed(&mut stepper, "u32");
    let sealed = [peer.sealed(&framed("u32", b"last")), peer.sealed_end()].concat();
    peer.write(&sealed);
    assert_eq!(stepper.receive(id), message(b"last"));
    assert_eq!(stepper.receive(id), Taken::End);
    stepper.close_all(&[id, listener]);
}

#[test]
fn a_large_message_comes_whole_however_its_bytes_trickle() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = agreed(&mut stepper, "u32");
    let body: Vec<u8> = (0..1_000_000u32).map(|index| index as u8).collect();
    for size in [3000, 20_000, 300_000] {
        let sealed = peer.sealed(&framed("u32", &body));
        let mut pieces = sealed.chunks(size);
        let taken = stepper.until("the message", |reactor, _| {
            if let Some(piece) = pieces.next() {
                peer.write(piece);
            }
            match take(reactor, id) {
                Taken::Nothing => {
                    reactor.want(id, want::RECEIVE);
                    None
                }
                taken => Some(taken),
            }
        });
        assert_eq!(taken, message(&body));
    }
    // Small messages are told of as ever.
    for _ in 0..3 {
        let sealed = peer.sealed(&framed("u32", b"small"));
        peer.write(&sealed);
        assert_eq!(stepper.receive(id), message(b"small"));
    }
    stepper.close_all(&[id, listener]);
}

#[test]
fn an_end_within_a_large_message_is_told_though_the_connection_stays() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = agreed(&mut stepper, "u32");
    let mut frame = framed("u32", &vec![1; 1_000_000]);
    frame.truncate(400_000);
    let sealed = peer.sealed(&frame);
    let half = sealed.len() / 2;
    peer.write(&sealed[..half]);
    assert_eq!(stepper.take(id), Taken::Nothing);
    stepper.settle();
    assert_eq!(stepper.take(id), Taken::Nothing);
    let end = [sealed[half..].to_vec(), peer.sealed_end()].concat();
    peer.write(&end);
    let truncated = FrameError::Truncated { have: 400_000, need: Some(1_000_004) };
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Frame(truncated)));
    stepper.close_all(&[id, listener]);
}

#[test]
fn a_stall_within_a_large_message_leaves_time_for_others() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = agreed(&mut stepper, "u32");
    let frame = framed("u32", &vec![1; 1_000_000]);
    let sealed = peer.sealed(&frame);
    peer.write(&sealed[..sealed.len() / 2]);
    stepper.until("half of it, and quiet", |reactor, _| {
        assert_eq!(take(reactor, id), Taken::Nothing);
        reactor.want(id, want::RECEIVE);
        // All deadlines are over: nobody is woken again as long as nothing comes.
        let received = reactor.counters(id).is_some_and(|counters| counters.bytes_in > 450_000);
        (received && reactor.next_deadline().is_none()).then_some(())
    });
    peer.write(&sealed[sealed.len() / 2..]);
    assert_eq!(stepper.receive(id), message(&frame[4..]));
    stepper.close_all(&[id, listener]);
}

#[test]
fn records_that_are_too_large_are_refused() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = agreed(&mut stepper, "u32");
    // Application data of 65,535 bytes: RFC 8446 allows 16,640.
    let record = [&[0x17, 3, 3, 0xff, 0xff][..], &[0; 65_535]].concat();
    peer.write(&record);
    assert_eq!(cause(stepper.receive(id)), "damaged_record");
    stepper.until("the alert", |_, _| {
        peer.pump();
        (peer.ended || peer.session.failure().is_some()).then_some(())
    });
    stepper.close_all(&[id, listener]);
}
