//! Who lives, who does not read, and what became of the messages: over real connections.

mod stepper;

use jackfield_engine::frame::Framer;
use jackfield_engine::sys::{monotonic_ns, socket};
use jackfield_engine::*;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use stepper::*;

/// A tenth of a second, so that tests see many periods of it.
const VANISHED_NS: u64 = 100_000_000;

fn watchful(high_water: usize) -> Rc<Config> {
    let framer = Rc::new(Framer::parse("u16", 16 << 20).expect("a framing"));
    let when_full = WhenFull::Wait;
    Rc::new(Config {
        framer,
        high_water,
        when_full,
        vanished_ns: VANISHED_NS,
        idle_ns: 0,
        max_clients: 1000,
        tls: None,
    })
}

/// Fills the link, the kernel's buffers and the peer's window; gives how many messages and bytes were queued.
fn stuff(stepper: &mut Stepper, id: LinkId) -> (usize, usize) {
    let (mut messages, mut bytes) = (0, 0);
    let mut quiet = 0;
    while quiet < 20 {
        let payload = vec![7; 1 + messages * 37 % 3000];
        match stepper.send(id, &payload).expect("can be sent") {
            Queued::Yes => {
                messages += 1;
                bytes += payload.len() + 2;
                quiet = 0;
                stepper.turn(0);
            }
            Queued::Full => {
                quiet += 1;
                stepper.turn(10_000_000);
            }
            other => panic!("{other:?}"),
        }
    }
    (messages, bytes)
}

fn fd_of(stepper: &Stepper, id: LinkId) -> BorrowedFd<'_> {
    let raw = stepper.reactor.raw_fd(id).expect("an open link");
    // SAFETY: the link keeps the descriptor open as long as the stepper is borrowed.
    unsafe { BorrowedFd::borrow_raw(raw) }
}

fn reset(peer: &std::net::TcpStream) {
    socket::set_linger(peer.as_fd(), 0).expect("an option");
}

#[test]
fn a_peer_that_does_not_read_is_never_taken_for_dead() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = stepper.tcp(&watchful(100_000));
    let (messages, bytes) = stuff(&mut stepper, id);
    let end = monotonic_ns() + 20 * VANISHED_NS;
    while monotonic_ns() < end {
        stepper.turn(VANISHED_NS / 4);
        assert_eq!(stepper.reactor.fault(id), None);
    }
    let stall = stepper.reactor.stall(id).expect("the peer does not read");
    assert!(stall.since_ns >= 10 * VANISHED_NS && stall.waiting > 100_000, "{stall:?}");
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; bytes];
        peer.read_exact(&mut all).expect("everything comes");
        peer
    });
    stepper.until("everything to leave", |reactor, _| (reactor.queued_of(id).1 == 0).then_some(()));
    let peer = reader.join().expect("a reader");
    assert_eq!(stepper.reactor.counters(id).expect("a link").messages_out, messages as u64);
    assert_eq!(stepper.reactor.stall(id), None);
    drop(peer);
    stepper.close_all(&[id, listener]);
}

#[test]
fn a_reset_tells_the_unsent_from_the_unknown() {
    let mut stepper = Stepper::new();
    let (id, listener, peer) = stepper.tcp(&watchful(200_000));
    let (messages, bytes) = stuff(&mut stepper, id);
    let (queued, waiting) = stepper.reactor.queued_of(id);
    let acknowledged = bytes - queued - socket::unacknowledged(fd_of(&stepper, id));
    // Which messages lie whole within what was acknowledged, and which of the rest have begun to leave.
    let (mut end, mut whole, mut unsent) = (0, 0, 0);
    for index in 0..messages {
        let start = end;
        end += 1 + index * 37 % 3000 + 2;
        whole += usize::from(end <= acknowledged);
        unsent += usize::from(start >= bytes - queued);
    }
    assert!(whole > 0 && unsent > 0 && unsent < waiting + 1, "{whole} {unsent} {waiting}");
    reset(&peer);
    drop(peer);
    stepper.reactor.want(id, want::RECEIVE);
    assert!(matches!(stepper.receive(id), Taken::Fault(Fault::Lost(_))));
    let loss = stepper.reactor.loss(id).expect("a loss");
    assert_eq!(loss, Loss { unsent, unknown: messages - whole - unsent });
    stepper.close_all(&[id, listener]);
}

#[test]
fn a_broken_link_with_nothing_under_way_lost_nothing() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = stepper.tcp(&watchful(100_000));
    stepper.send(id, b"heard").expect("can be sent");
    stepper.settle();
    let mut heard = [0; 7];
    peer.read_exact(&mut heard).expect("it comes");
    let position = stepper.reactor.queued_position(id);
    stepper
        .until("the acknowledgement", |reactor, _| (reactor.passed(id, position, true) == Passed::Yes).then_some(()));
    reset(&peer);
    drop(peer);
    assert!(matches!(stepper.receive(id), Taken::Fault(Fault::Lost(_))));
    assert_eq!(stepper.reactor.loss(id), Some(Loss::default()));
    stepper.close_all(&[id, listener]);
}

#[test]
fn an_acknowledgement_is_told_to_who_waits_for_it() {
    let mut stepper = Stepper::new();
    let (id, listener, mut peer) = stepper.tcp(&watchful(8 << 20));
    stuff(&mut stepper, id);
    let position = stepper.reactor.queued_position(id);
    assert_eq!(stepper.reactor.passed(id, position, true), Passed::No);
    stepper.reactor.want_passed(id, position, true);
    for _ in 0..10 {
        stepper.turn(10_000_000);
        assert!(!stepper.events.contains(&Event::Flushed(id)), "nothing was acknowledged");
    }
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; position as usize];
        peer.read_exact(&mut all).expect("everything comes");
        peer
    });
    stepper.expect(Event::Flushed(id));
    assert_eq!(stepper.reactor.passed(id, position, true), Passed::Yes);
    assert_eq!(stepper.reactor.wanted(id), 0);
    drop(reader.join());
    stepper.close_all(&[id, listener]);
}

#[test]
fn what_this_kernel_took_is_told_before_the_rest() {
    let mut stepper = Stepper::new();
    let (id, mut peer) = stepper.narrow_stream(&watchful(1 << 20));
    stepper.send(id, vec![1; 60_000]).expect("can be sent");
    let first = stepper.reactor.queued_position(id);
    stepper.send(id, vec![2; 60_000]).expect("can be sent");
    assert_eq!(stepper.reactor.passed(id, first, false), Passed::No);
    stepper.reactor.want_passed(id, first, false);
    let mut some = vec![0; 60_002];
    let reader = std::thread::spawn(move || {
        peer.read_exact(&mut some).expect("it comes");
        peer
    });
    stepper.expect(Event::Flushed(id));
    assert!(stepper.reactor.queued_of(id).1 > 0, "the second one still waits");
    let mut peer = reader.join().expect("a reader");
    let rest = std::thread::spawn(move || peer.read_exact(&mut vec![0; 60_002]));
    stepper.until("the rest to leave", |reactor, _| (reactor.queued_of(id).1 == 0).then_some(()));
    rest.join().expect("a reader").expect("it comes");
    stepper.close_all(&[id]);
}
