//! What is known when something was refused: the bytes that were no frame, the sender of an ICMP message.

mod stepper;

use jackfield_engine::sys::Errno;
use jackfield_engine::sys::icmp::IcmpError;
use jackfield_engine::*;
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};
use stepper::*;

/// Receives until the fault and gives what is known of the bytes.
fn garbage(framing: &str, sent: &[u8], end: bool) -> Garbage {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.stream(&config(framing));
    assert_eq!(stepper.reactor.garbage(id), None);
    let bytes = sent.to_vec();
    let writer = std::thread::spawn(move || {
        peer.write_all(&bytes).expect("room");
        if end {
            peer.shutdown(std::net::Shutdown::Write).expect("open");
        }
        peer
    });
    while !matches!(stepper.receive(id), Taken::Fault(_)) {}
    let peer = writer.join().expect("it wrote");
    let found = stepper.reactor.garbage(id).expect("the link is at fault");
    assert_eq!(stepper.reactor.garbage(id), Some(found.clone()), "it stays");
    drop(peer);
    stepper.close_all(&[id]);
    found
}

#[test]
fn the_byte_at_fault_is_counted_from_the_start_of_the_stream() {
    let found = garbage("netstring", b"2:ok,5:hello;more", false);
    assert_eq!(found, Garbage { start: 5, position: 12, beginning: b"5:hello;more".to_vec() });
}

#[test]
fn a_frame_that_is_too_large_begins_where_it_begins() {
    let found = garbage("u32", b"\0\0\0\x02okGET / HTTP/1.1\r\n", false);
    assert_eq!(found, Garbage { start: 6, position: 6, beginning: b"GET / HTTP/1.1\r\n".to_vec() });
}

#[test]
fn at_most_32_bytes_are_shown() {
    let found = garbage("u64", &[0xff; 100], false);
    assert_eq!(found, Garbage { start: 0, position: 0, beginning: vec![0xff; 32] });
}

#[test]
fn behind_a_large_message_the_byte_itself_is_told() {
    let mut sent = b"2:ok,9000:".to_vec();
    sent.resize(sent.len() + 9000, b'x');
    let small = garbage("netstring", &[&sent[..], b";"].concat(), false);
    assert_eq!((small.start, small.position), (5, 9010));
    let mut sent = b"2:ok,9999999:".to_vec();
    sent.resize(sent.len() + 9_999_999, b'x');
    let large = garbage("netstring", &[&sent[..], b";"].concat(), false);
    assert_eq!(large, Garbage { start: 5, position: 13 + 9_999_999, beginning: Vec::new() });
}

#[test]
fn a_frame_cut_short_begins_where_it_begins() {
    let found = garbage("u32", b"\0\0\0\x02ok\0\0\0\x09abc", true);
    assert_eq!(found, Garbage { start: 6, position: 6, beginning: b"\0\0\0\x09abc".to_vec() });
    let mut sent = b"\0\0\0\x02ok\0\x01\0\0".to_vec();
    sent.resize(sent.len() + 40_000, b'x');
    let large = garbage("u32", &sent, true);
    assert_eq!(large, Garbage { start: 6, position: 6, beginning: Vec::new() });
}

#[test]
fn over_ipv6_the_sender_of_a_refusal_is_known_too() {
    let Ok(peer) = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let address = peer.local_addr().expect("bound");
    let to = jackfield_engine::sys::address::SocketAddress::ip(address.ip(), address.port());
    let mut stepper = Stepper::new();
    let id = stepper.reactor.connect(&to, &how(libc::SOCK_DGRAM), &config("none")).expect("a link");
    drop(peer);
    assert_eq!(stepper.send(id, "nobody there"), Ok(Queued::Yes));
    let refused = IcmpError {
        errno: Errno(libc::ECONNREFUSED),
        offender: IpAddr::V6(Ipv6Addr::LOCALHOST),
        icmp_type: 1,
        code: 4,
    };
    assert_eq!(stepper.receive(id), Taken::Fault(Fault::Refused(refused)));
    stepper.close_all(&[id]);
}
