//! The halves of a blocking channel, driven over a socket pair without Python and without waiting.

use jackfield_engine::blocking::{Health, Progress, Receiver, Sender, receive};
use jackfield_engine::frame::{FrameError, Framer};
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::{Errno, socket, wait};
use jackfield_engine::{Config, Counters, Fault, Kind, Payload, PlainBody, Queued, Take, WhenFull};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// One end: both halves, and what they share.
struct End {
    fd: OwnedFd,
    kind: Kind,
    config: Config,
    health: Health,
    counters: Counters,
    receiver: Receiver<PlainBody>,
    sender: Sender<Vec<u8>>,
}

impl End {
    fn new(fd: OwnedFd, kind: Kind, framing: &str) -> End {
        let framer = Rc::new(Framer::parse(framing, 1 << 24).unwrap());
        let config = Config {
            framer,
            high_water: 1 << 20,
            when_full: WhenFull::Wait,
            vanished_ns: 0,
            idle_ns: 0,
            max_clients: usize::MAX,
            tls: None,
        };
        End {
            fd,
            kind,
            health: Health::default(),
            counters: Counters::default(),
            receiver: Receiver::new(kind, &config.framer),
            sender: Sender::new(kind, SocketAddress::Unnamed, &config.framer),
            config,
        }
    }

    /// Queues a message and writes as much as the kernel takes.
    fn send(&mut self, message: &[u8]) -> Progress {
        assert!(self.sender.check(self.fd.as_fd(), message, &self.config, &mut self.health).unwrap().is_some());
        self.sender.push(Payload::Bytes(message), &self.config);
        self.write()
    }

    fn write(&mut self) -> Progress {
        loop {
            let result = self.sender.write(self.fd.as_fd(), false);
            match self.sender.written(result, 1, &mut self.health, &mut self.counters) {
                Progress::More => {}
                progress => return progress,
            }
        }
    }

    /// One receive; false if nothing was there.
    fn fill(&mut self) -> bool {
        let result = receive(self.kind, self.fd.as_fd(), self.receiver.target(), false);
        let something = !matches!(result, Err(error) if error.would_block());
        self.receiver.filled(result, 1, &mut self.health, &mut self.counters);
        something
    }

    /// The next message, or what there is instead.
    fn next(&mut self) -> Outcome {
        loop {
            match self.receiver.take(&self.config.framer, false, &mut self.health, &mut self.counters) {
                Take::Bytes(bytes) => return Outcome::Message(bytes.to_vec()),
                Take::Body(body) => return Outcome::Message(body.into_vec()),
                Take::End => return Outcome::End,
                Take::Fault(fault) => return Outcome::Fault(fault),
                Take::Closed => unreachable!("a receiver does not close"),
                Take::Nothing => {}
            }
            if !self.fill() {
                return Outcome::Nothing;
            }
        }
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Message(Vec<u8>),
    End,
    Fault(Fault),
    Nothing,
}

fn message(bytes: &[u8]) -> Outcome {
    Outcome::Message(bytes.to_vec())
}

fn pair(framing: &str) -> (End, End) {
    let (one, two) = socket::pair(libc::SOCK_STREAM).unwrap();
    (End::new(one, Kind::UnixStream, framing), End::new(two, Kind::UnixStream, framing))
}

fn packets() -> (End, End) {
    let (one, two) = socket::pair(libc::SOCK_SEQPACKET).unwrap();
    socket::set_option(two.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1).unwrap();
    (End::new(one, Kind::Seqpacket, "none"), End::new(two, Kind::Seqpacket, "none"))
}

#[test]
fn messages_of_every_size_come_whole_and_in_order() {
    let (mut one, mut two) = pair("u32");
    for size in [0, 1, 4095, 4096, 32_767, 32_768, 100_000, 262_144, 1 << 20] {
        let sent: Vec<u8> = (0..size).map(|index: usize| (index * 7 + size) as u8).collect();
        let mut progress = one.send(&sent);
        let got = loop {
            match two.next() {
                Outcome::Nothing => {
                    assert_eq!(progress, Progress::Full, "what was written arrives");
                    progress = one.write();
                }
                outcome => break outcome,
            }
        };
        assert_eq!(got, Outcome::Message(sent));
    }
    assert_eq!(one.counters.messages_out, two.counters.messages_in);
}

#[test]
fn the_end_comes_last_and_stays() {
    let (mut one, mut two) = pair("line");
    one.send(b"first");
    one.sender.end();
    one.sender.end_if_due(one.fd.as_fd(), &one.health);
    assert_eq!(two.next(), message(b"first"));
    assert_eq!((two.next(), two.next()), (Outcome::End, Outcome::End));
    assert!(two.receiver.has_ended());
    assert_eq!(two.send(b"the other way goes on"), Progress::Empty);
    assert_eq!(one.next(), message(b"the other way goes on"));
}

#[test]
fn an_end_inside_a_large_message_is_truncated() {
    let (one, mut two) = pair("u32");
    wait::send(one.fd.as_fd(), &[0, 1, 0, 0, b'x', b'y'], false).unwrap();
    assert_eq!(two.next(), Outcome::Nothing);
    drop(one);
    let fault = Fault::Frame(FrameError::Truncated { have: 6, need: Some(65_540) });
    assert_eq!(two.next(), Outcome::Fault(fault));
}

#[test]
fn a_message_of_which_nothing_left_can_be_taken_back() {
    let (mut one, mut two) = pair("u32");
    let mut whole = 0;
    while one.send(&[b'm'; 3_000]) == Progress::Empty {
        whole += 1;
    }
    let begun = !one.sender.withdraw();
    assert_eq!(one.sender.is_empty(), !begun);
    for _ in 0..whole {
        assert_eq!(two.next(), message(&[b'm'; 3_000]));
    }
    one.write();
    assert_eq!(two.next() == message(&[b'm'; 3_000]), begun);
    one.send(b"after");
    assert_eq!(two.next(), message(b"after"));
}

#[test]
fn a_framing_for_one_call_leaves_what_it_cannot_divide() {
    let (mut one, mut two) = pair("none");
    one.send(b"abc\ndef");
    two.fill();
    let line = Framer::parse("line", 2).unwrap();
    let taken = two.receiver.take(&line, true, &mut two.health, &mut two.counters);
    assert!(matches!(taken, Take::Fault(Fault::Frame(FrameError::TooLarge { .. }))));
    let three = Framer::parse("fixed:3", 3).unwrap();
    let taken = two.receiver.take(&three, true, &mut two.health, &mut two.counters);
    assert!(matches!(taken, Take::Bytes(b"abc")));
    assert_eq!(two.next(), message(b"\ndef"));
}

#[test]
fn packets_tell_an_empty_one_from_the_end() {
    let (mut one, mut two) = packets();
    for packet in [&b""[..], b"one", b"", b"two"] {
        assert_eq!(one.send(packet), Progress::Empty);
    }
    drop(one);
    for packet in [&b""[..], b"one", b"", b"two"] {
        assert_eq!(two.next(), message(packet));
    }
    assert_eq!(two.next(), Outcome::End);
}

#[test]
fn a_failed_send_does_not_hide_what_the_peer_said_before() {
    let (mut one, mut two) = pair("u32");
    two.send(b"last words");
    drop(two);
    assert_eq!(one.send(b"x"), Progress::Broken);
    assert_eq!(one.counters.dropped_out, 1);
    assert_eq!(one.next(), message(b"last words"));
    assert_eq!(one.next(), Outcome::End);
}

#[test]
fn a_full_queue_does_what_the_policy_says() {
    for (policy, outcome) in [
        (WhenFull::Wait, Queued::Full),
        (WhenFull::Reject, Queued::Rejected),
        (WhenFull::DropNewest, Queued::Dropped),
        (WhenFull::DropOldest, Queued::Yes),
        (WhenFull::Disconnect, Queued::Disconnected),
    ] {
        let (mut one, _two) = pair("u32");
        one.config.high_water = 10_000;
        while one.sender.has_room(1_004, &one.config) {
            one.send(&[b'm'; 1_000]);
        }
        let (health, counters) = (&mut one.health, &mut one.counters);
        assert_eq!(one.sender.make_room(1_004, &one.config, policy, health, counters), outcome);
        let dropped = matches!(policy, WhenFull::DropNewest | WhenFull::DropOldest | WhenFull::Disconnect);
        assert_eq!(one.counters.dropped_out > 0, dropped, "{policy:?}");
    }
}

#[test]
fn a_signal_is_not_the_end_of_the_connection() {
    let (mut one, _two) = pair("u32");
    one.sender.push(Payload::Bytes(b"x"), &one.config);
    let interrupted = one.sender.written(Err(Errno(libc::EINTR)), 1, &mut one.health, &mut one.counters);
    assert_eq!(interrupted, Progress::More);
    assert_eq!(one.write(), Progress::Empty);
}

#[test]
fn a_gate_opens_for_who_waits_and_for_who_comes_late() {
    let gate = wait::Gate::default();
    let seen = gate.opened();
    gate.wait(seen, Some(1_000_000)).unwrap();
    assert_eq!(gate.opened(), seen);
    gate.open();
    gate.wait(seen, None).unwrap();
    std::thread::scope(|scope| {
        let (gate, seen) = (&gate, gate.opened());
        let waiting = scope.spawn(move || while gate.opened() == seen && gate.wait(seen, None).is_ok() {});
        gate.open();
        waiting.join().unwrap();
    });
}
