//! Any sequence of operations on links, groups and the peers at the other end, checked against a plain model.
//!
//! The model knows what was accepted for sending and what the peers have written. Held at every moment: queues keep to
//! their bound, and what is handed out is exactly what was written, in order. Held at the end, when the reactor's
//! events alone decide what is looked at: everything written arrives (a lost wake-up shows here), everything accepted
//! is either read by the peer, in order, or counted as dropped, and nothing is left behind.

use super::framing_driver;
use jackfield_engine::frame::{FrameError, Framer};
use jackfield_engine::group::GroupTake;
use jackfield_engine::sys::{Errno, io, socket};
use jackfield_engine::{
    Config, Event, Fault, Kind, LinkId, Payload, Plain, Queued, Reactor, SendError, Side, Take, WhenFull, want,
};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

const LINKS: usize = 4;
const HIGH_WATER: usize = 6000;
/// What is sent is shorter than this.
const LONGEST: usize = 140_000;
const FRAMINGS: [&str; 6] = ["none", "line", "u8", "u16", "netstring", "u32"];
const POLICIES: [WhenFull; 5] =
    [WhenFull::Wait, WhenFull::Reject, WhenFull::DropOldest, WhenFull::DropNewest, WhenFull::Disconnect];
/// Far more turns than anything here needs, unless it waits for a wake-up that was lost.
const TURNS: usize = 3000;

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> usize {
        self.next().map_or(0, usize::from)
    }
}

/// A link, the plain socket at its other end, and what the two should have in common.
struct Line {
    id: LinkId,
    framing: &'static str,
    framer: Rc<Framer>,
    packets: bool,
    /// The other end, until it is closed.
    peer: Option<OwnedFd>,
    peer_ended: bool,
    /// What the other end is about to write: packets, or one run of bytes.
    unwritten: VecDeque<Vec<u8>>,
    /// Bytes of frames begun, to know where messages end: sizes on the wire with their payloads.
    frames: VecDeque<(usize, Vec<u8>)>,
    written: usize,
    /// Whole messages that were written and not yet handed out; with `none` the bytes.
    expected: VecDeque<Vec<u8>>,
    bytes: VecDeque<u8>,
    /// What is composed is not in the framing.
    spoiling: bool,
    /// And was written, at least in part: what comes then is not predicted.
    garbage: bool,
    /// The other end has gone in the middle of something.
    cut: bool,
    swapped: bool,
    over: bool,
    /// Messages accepted, in order, and how many were tried at least.
    accepted: Vec<Vec<u8>>,
    attempts: u64,
    /// Something has happened that excuses a loss: an abort, a deadline, a peer that went, the policy to disconnect.
    disturbed: bool,
    read: Vec<Vec<u8>>,
    in_group: bool,
    closing: bool,
    ended: bool,
    gone: bool,
    dropped: bool,
}

struct World {
    reactor: Reactor<Plain>,
    lines: Vec<Line>,
    group: usize,
    serial: u32,
}

/// See the module.
pub fn link_operations(data: &[u8]) {
    let mut input = Input(data);
    let mut reactor = Reactor::new().expect("a reactor");
    let group = reactor.group(POLICIES[input.byte() % POLICIES.len()]);
    let mut world = World { reactor, lines: Vec::new(), group, serial: 0 };
    world.open(input.byte(), input.byte());
    while let Some(operation) = input.next() {
        let line = input.byte() % world.lines.len();
        world.operate(operation, line, &mut input);
        world.check();
    }
    world.finish();
}

impl World {
    fn open(&mut self, choice: usize, policy: usize) {
        if self.lines.len() == LINKS {
            return;
        }
        let framing = FRAMINGS[choice % FRAMINGS.len()];
        let packets = choice >= 200;
        let kind = if packets { libc::SOCK_SEQPACKET } else { libc::SOCK_STREAM };
        let (ours, theirs) = socket::pair(kind).expect("a pair");
        for fd in [&ours, &theirs] {
            socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 4096).expect("an option");
        }
        let framer = Rc::new(Framer::parse(framing, 200_000).expect("a framing"));
        let config = Rc::new(Config {
            framer: framer.clone(),
            high_water: HIGH_WATER,
            when_full: POLICIES[policy % POLICIES.len()],
            vanished_ns: 100_000_000,
            idle_ns: 0,
            max_clients: 0,
            tls: None,
        });
        let kind = if packets { Kind::Seqpacket } else { Kind::UnixStream };
        let id = self.reactor.adopt(ours, kind, &config).expect("a link");
        self.lines.push(Line {
            id,
            framing,
            framer,
            packets,
            peer: Some(theirs),
            peer_ended: false,
            unwritten: VecDeque::new(),
            frames: VecDeque::new(),
            written: 0,
            expected: VecDeque::new(),
            bytes: VecDeque::new(),
            spoiling: false,
            garbage: false,
            cut: false,
            swapped: false,
            over: false,
            accepted: Vec::new(),
            attempts: 0,
            disturbed: false,
            read: Vec::new(),
            in_group: false,
            closing: false,
            ended: false,
            gone: false,
            dropped: false,
        });
    }

    fn operate(&mut self, operation: u8, at: usize, input: &mut Input<'_>) {
        let id = self.lines[at].id;
        match operation % 24 {
            0 | 1 => {
                let payload = self.payload(at, input.byte());
                self.send(at, payload, operation % 24 == 1);
            }
            2 => {
                let payload = self.payload(at, input.byte());
                self.broadcast(payload);
            }
            3 | 4 => {
                for _ in 0..=input.byte() % 4 {
                    self.take(at);
                }
            }
            5 => self.reactor.want(id, input.byte() as u8 & (want::RECEIVE | want::SEND | want::FLUSH)),
            6 => self.reactor.unwant(id, input.byte() as u8 & 7),
            7 => {
                let now = self.reactor.tick();
                let deadline = if input.byte().is_multiple_of(4) { now } else { 0 };
                self.reactor.close(id, deadline);
                let too_slow = self.reactor.fault(id) == Some(Fault::TooSlow);
                self.lines[at].closing = true;
                self.lines[at].disturbed |= deadline != 0 || too_slow;
            }
            8 => {
                if input.byte().is_multiple_of(4) {
                    self.reactor.abort(id);
                    (self.lines[at].closing, self.lines[at].disturbed) = (true, true);
                }
            }
            9 => {
                if self.reactor.send_end(id).is_ok() {
                    self.lines[at].ended = true;
                }
            }
            10 => self.swap(at, input.byte()),
            11 | 12 => self.compose(at, input.byte()),
            13 | 14 => {
                let count = input.byte() * 40;
                self.lines[at].write(count);
            }
            15 | 16 => {
                let count = input.byte();
                self.lines[at].read(count);
            }
            17 => self.lines[at].end_writing(),
            18 => {
                let line = &mut self.lines[at];
                if input.byte().is_multiple_of(4) && line.peer.take().is_some() {
                    line.disturbed = true;
                    if !line.peer_ended {
                        line.peer_ended = true;
                        line.end_frames();
                    }
                }
            }
            19 => {
                if self.reactor.join(self.group, id) {
                    self.lines[at].in_group = true;
                }
            }
            20 => {
                for _ in 0..=input.byte() % 8 {
                    self.group_take();
                }
            }
            21 => match input.byte() % 5 {
                0 => self.reactor.group_want(self.group, 0),
                1 => self.reactor.group_unwant(self.group),
                2 => drop(self.reactor.group_want_room(self.group)),
                3 => {
                    let now = self.reactor.tick();
                    self.reactor.group_want(self.group, now);
                }
                _ => {
                    let (now, side) = (self.reactor.tick(), [Side::Receive, Side::Send][input.byte() % 2]);
                    self.reactor.set_deadline(id, side, now);
                }
            },
            22 => match input.byte() % 8 {
                0 => self.open(input.byte(), input.byte()),
                1 => {
                    let line = &mut self.lines[at];
                    // Not in any framing with a length or a limit that small.
                    if !line.packets && line.framing != "none" && line.unwritten.is_empty() {
                        line.unwritten.push_back(vec![0xff; 300]);
                        line.spoiling = true;
                    }
                }
                2 => self.send_descriptors(at, input.byte()),
                3 => {
                    self.reactor.ask_descriptors(id);
                    self.take(at);
                    drop(self.reactor.take_descriptors(id));
                }
                _ => self.reactor.flush(),
            },
            _ => {
                let events = input.byte() % 16;
                self.turn(0, events);
            }
        }
    }

    /// A payload with a number of its own, which the link's framing can carry.
    fn payload(&mut self, at: usize, choice: usize) -> Vec<u8> {
        self.serial += 1;
        let line = &self.lines[at];
        let number = format!("{:08}", self.serial).into_bytes();
        let size = match (line.framing, line.packets) {
            (_, true) | ("u8", _) => 8 + choice % 240,
            ("u16", _) if choice >= 250 => 30_000 + (choice - 250) * 7_000,
            _ if choice >= 250 => 30_000 + (choice - 250) * 20_000,
            _ => 8 + choice * 5,
        };
        number.into_iter().cycle().take(size).collect()
    }

    fn send(&mut self, at: usize, payload: Vec<u8>, lend: bool) {
        let id = self.lines[at].id;
        let outcome = match lend {
            true => self.reactor.send(id, Payload::Loan(payload.clone()), None),
            false => self.reactor.send(id, Payload::Bytes(&payload), None),
        };
        self.file_sent(at, payload, outcome);
    }

    /// The peer's plain reads have the kernel close what comes with the message.
    fn send_descriptors(&mut self, at: usize, choice: usize) {
        let payload = self.payload(at, choice);
        let some = socket::socket(libc::AF_UNIX, libc::SOCK_DGRAM).expect("a socket");
        let mut fds = vec![some];
        let outcome = self.reactor.send_descriptors(self.lines[at].id, Payload::Bytes(&payload), &mut fds);
        assert_eq!(fds.is_empty(), outcome == Ok(Queued::Yes));
        self.file_sent(at, payload, outcome);
    }

    fn file_sent(&mut self, at: usize, payload: Vec<u8>, outcome: Result<Queued, SendError>) {
        let line = &mut self.lines[at];
        match outcome {
            Ok(Queued::Yes) => {
                line.attempts += 1;
                line.accepted.push(payload);
                assert!(!line.ended && !line.closing);
            }
            Ok(Queued::Dropped) => line.attempts += 1,
            Ok(Queued::Full | Queued::Rejected) => {}
            Ok(Queued::Disconnected) => line.disturbed = true,
            Err(SendError::Closed) => assert!(line.closing),
            Err(SendError::Ended) => assert!(line.ended),
            Err(SendError::Fault(Fault::TooSlow)) => line.disturbed = true,
            Err(SendError::Fault(Fault::Lost(_))) => assert!(line.disturbed),
            Err(SendError::Fault(Fault::Frame(_))) => assert!(line.garbage || line.cut || line.swapped),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn broadcast(&mut self, payload: Vec<u8>) {
        if self.reactor.broadcast(self.group, &payload).is_ok() {
            for line in self.lines.iter_mut().filter(|line| line.in_group && !line.closing) {
                line.attempts += 1;
                line.accepted.push(payload.clone());
            }
        }
    }

    /// The peer makes up a message; it is written later, piece by piece.
    fn compose(&mut self, at: usize, choice: usize) {
        let payload = self.payload(at, choice);
        let line = &mut self.lines[at];
        if line.spoiling || line.peer_ended || line.unwritten.iter().map(Vec::len).sum::<usize>() > 200_000 {
            return;
        }
        if line.packets {
            let payload = if choice.is_multiple_of(8) { Vec::new() } else { payload };
            line.unwritten.push_back(payload);
            return;
        }
        let frame = framing_driver::frame(&line.framer, &payload);
        line.frames.push_back((frame.len(), payload));
        line.unwritten.push_back(frame);
    }

    fn swap(&mut self, at: usize, size: usize) {
        let line = &mut self.lines[at];
        if line.framing != "none" || line.packets {
            return;
        }
        // Sizes on both sides of what is received straight into its object.
        let framer = match size {
            0..128 => line.framer.clone(),
            _ => Rc::new(Framer::parse(&format!("fixed:{}", (size - 127) * 400), 200_000).expect("a framing")),
        };
        line.swapped = size >= 128;
        self.reactor.swap_framer(line.id, framer);
    }

    fn take(&mut self, at: usize) -> bool {
        let line = &mut self.lines[at];
        let (message, outcome) = match self.reactor.take(line.id) {
            Take::Bytes(bytes) => (Some(bytes.to_vec()), None),
            Take::Body(body) => (Some(body.into_vec()), None),
            Take::End => (None, Some(Ok(()))),
            Take::Fault(fault) => (None, Some(Err(fault))),
            Take::Closed => {
                assert!(line.closing);
                return false;
            }
            Take::Nothing => return false,
        };
        match (message, outcome) {
            (Some(message), _) => line.received(message),
            (None, Some(outcome)) => line.received_end(outcome),
            (None, None) => {}
        }
        !line.over
    }

    fn group_take(&mut self) -> bool {
        let (id, message) = match self.reactor.group_take(self.group) {
            GroupTake::Nothing => return false,
            GroupTake::Joined(_) => return true,
            GroupTake::Message(id, bytes) => (id, Ok(bytes.to_vec())),
            GroupTake::Body(id, body) => (id, Ok(body.into_vec())),
            GroupTake::Left(id, fault) => (id, Err(fault)),
            GroupTake::AcceptFailed(..) => panic!("there is no listener"),
            GroupTake::Recognised(_) | GroupTake::FellBehind(..) => panic!("no link is native"),
        };
        let line = self.lines.iter_mut().find(|line| line.id == id).expect("a member");
        assert!(line.in_group && !line.closing);
        match message {
            Ok(message) => line.received(message),
            Err(fault) => {
                line.received_end(fault.map_or(Ok(()), Err));
                line.closing = true;
                line.disturbed |= self.reactor.fault(id) == Some(Fault::TooSlow);
                self.reactor.close(id, 0);
            }
        }
        true
    }

    fn turn(&mut self, timeout_ns: u64, events: usize) -> Vec<Event> {
        self.reactor.flush();
        self.reactor.wait(Some(timeout_ns), |wait| wait()).expect("the wait succeeds");
        let mut seen = Vec::new();
        while seen.len() < events
            && let Some(event) = self.reactor.next_event()
        {
            if let Event::Gone(id) = event {
                let line = self.lines.iter_mut().find(|line| line.id == id && !line.gone).expect("told once");
                assert!(line.closing);
                line.gone = true;
                line.conclude(&self.reactor.ending());
            }
            seen.push(event);
        }
        seen
    }

    /// What holds at every moment.
    fn check(&mut self) {
        for line in self.lines.iter().filter(|line| !line.gone) {
            let (bytes, messages) = self.reactor.queued_of(line.id);
            // Above the mark there is at most one message that is begun and one that an empty queue would take, or
            // bursts of a group that waits.
            if !line.in_group {
                assert!(
                    bytes <= HIGH_WATER + 2 * LONGEST && messages <= HIGH_WATER + 1,
                    "{bytes} bytes, {messages} messages"
                );
            }
            let Some(counters) = self.reactor.counters(line.id) else { continue };
            let known = counters.messages_out + u64::from(counters.dropped_out) + messages as u64;
            assert!(known <= line.attempts, "{known} of {} messages", line.attempts);
            if !line.in_group {
                assert_eq!(known, line.attempts, "every message is queued, sent or counted as dropped");
            }
        }
        assert!(self.reactor.parked() < LINKS * 1_000_000);
    }

    /// Everybody says what they have to say; events alone decide what is looked at.
    fn finish(&mut self) {
        for at in 0..self.lines.len() {
            self.swap(at, 0);
            let id = self.lines[at].id;
            if !self.lines[at].in_group {
                self.reactor.want(id, want::RECEIVE);
            }
        }
        self.reactor.group_want(self.group, 0);
        for _ in 0..TURNS {
            let idle = !self.reactor.is_busy() && !self.reactor.is_dirty();
            for event in self.turn(if idle { 200_000 } else { 0 }, usize::MAX) {
                match event {
                    Event::Receivable(id) => {
                        let at = self.lines.iter().position(|line| line.id == id).expect("a link");
                        while self.take(at) {}
                        if self.lines[at].over {
                            self.lines[at].closing = true;
                            self.lines[at].disturbed |= self.reactor.fault(id) == Some(Fault::TooSlow);
                            self.reactor.close(id, 0);
                        } else if !self.lines[at].in_group {
                            self.reactor.want(id, want::RECEIVE);
                        }
                    }
                    Event::Expired(id, Side::Receive) => self.reactor.want(id, want::RECEIVE),
                    Event::GroupReceivable(group) | Event::GroupExpired(group) => {
                        while self.group_take() {}
                        self.reactor.group_want(group, 0);
                    }
                    _ => {}
                }
            }
            for line in &mut self.lines {
                line.write(usize::MAX);
                line.read(usize::MAX);
                if line.unwritten.is_empty() {
                    line.end_writing();
                }
            }
            if self.lines.iter().all(|line| line.gone) {
                break;
            }
        }
        for line in &mut self.lines {
            assert!(line.gone, "link {:?} waits for ever, {} messages outstanding", line.id, line.expected.len());
            line.read(usize::MAX);
            line.compare();
        }
        assert!(self.reactor.is_empty());
        assert_eq!(self.reactor.parked(), 0);
        assert!(!self.reactor.group_waits(self.group, None), "nobody is left above the mark");
        assert!(!self.reactor.is_dirty() || self.reactor.members(self.group).is_empty());
    }
}

impl Line {
    /// The peer writes up to `count` bytes of what it has composed.
    fn write(&mut self, count: usize) {
        let Some(peer) = self.peer.as_ref().filter(|_| !self.peer_ended) else { return };
        let mut left = count;
        while left > 0
            && let Some(front) = self.unwritten.front_mut()
        {
            let size = if self.packets { front.len() } else { front.len().min(left) };
            match io::send(peer.as_fd(), &front[..size]) {
                Ok(sent) if self.packets => {
                    left -= sent.min(left).max(1);
                    self.expected.extend(self.unwritten.pop_front());
                }
                Ok(sent) => {
                    if self.framing == "none" {
                        self.bytes.extend(&front[..sent]);
                    }
                    self.garbage |= self.spoiling && sent > 0;
                    left -= sent;
                    front.drain(..sent);
                    if front.is_empty() {
                        self.unwritten.pop_front();
                    }
                    self.written += sent;
                }
                Err(error) if error.would_block() => break,
                // Our end is gone.
                Err(_) => {
                    self.unwritten.clear();
                    break;
                }
            }
        }
        while let Some((size, _)) = self.frames.front()
            && self.written >= *size
        {
            self.written -= size;
            let frame = self.frames.pop_front();
            if self.framing != "none" {
                self.expected.extend(frame.map(|(_, payload)| payload));
            }
        }
    }

    /// The peer writes no more; a frame may be left half written.
    fn end_writing(&mut self) {
        if let Some(peer) = &self.peer
            && !self.peer_ended
        {
            let _ = socket::shutdown_send(peer.as_fd());
            self.peer_ended = true;
            self.end_frames();
        }
    }

    fn end_frames(&mut self) {
        if self.written > 0 && self.framing == "line" && !self.garbage {
            // A last line counts without its end, unless it ends in a reset.
            self.cut = true;
            if let Some((_, payload)) = self.frames.front() {
                self.expected.push_back(payload[..self.written.min(payload.len())].to_vec());
            }
        } else if self.written > 0 && self.framing != "none" {
            self.cut = true;
        }
        self.unwritten.clear();
        self.frames.clear();
    }

    fn read(&mut self, count: usize) {
        let Some(peer) = &self.peer else { return };
        let mut buffer = vec![0; 70_000];
        for _ in 0..count.min(1000) {
            let size = if self.packets { buffer.len() } else { buffer.len().min(count.saturating_mul(16)) };
            match io::receive(peer.as_fd(), io::uninit(&mut buffer[..size]), 0) {
                Ok(0) | Err(_) => return,
                Ok(size) => self.read.push(buffer[..size].to_vec()),
            }
        }
    }

    fn received(&mut self, message: Vec<u8>) {
        assert!(!self.over, "a message behind the end");
        if self.garbage && self.expected.is_empty() {
            return;
        }
        if self.framing == "none" && !self.packets {
            assert!(message.len() <= self.bytes.len(), "more than was written");
            assert!(self.bytes.drain(..message.len()).eq(message), "other bytes than were written");
            return;
        }
        let expected = self.expected.pop_front();
        assert_eq!(expected.as_ref().map(Vec::len), Some(message.len()));
        assert!(expected == Some(message), "another message than was written");
    }

    fn received_end(&mut self, outcome: Result<(), Fault>) {
        let policy_cut = outcome == Err(Fault::TooSlow);
        // Where a framing that was swapped in finds its message cut short, the bytes can be had by another.
        if self.swapped && matches!(outcome, Err(Fault::Frame(FrameError::Truncated { .. }) | Fault::Lost(_))) {
            return;
        }
        self.over = true;
        if policy_cut {
            return;
        }
        if self.framing == "line" && self.cut && matches!(outcome, Err(Fault::Lost(_))) {
            self.expected.pop_back();
        }
        assert!(self.expected.is_empty() && self.bytes.is_empty(), "{outcome:?} came before {:?}", self.expected);
        match outcome {
            Ok(()) => assert!(self.peer_ended && (self.garbage || !self.cut || self.framing == "line")),
            Err(Fault::Frame(FrameError::Truncated { .. })) => assert!(self.peer_ended && (self.garbage || self.cut)),
            Err(Fault::Frame(_)) => assert!(self.garbage),
            Err(Fault::Lost(error)) => {
                assert!(self.disturbed && error == Errno(libc::ECONNRESET), "{error:?}");
            }
            Err(Fault::Refused(error)) => panic!("no network is between the two: {error:?}"),
            Err(Fault::TooSlow | Fault::Tls(_)) => {}
            Err(Fault::Vanished(silence)) => panic!("a Unix peer cannot vanish: {silence:?}"),
            Err(Fault::Violation(_)) => panic!("no link is native"),
        }
    }

    /// The link is gone: nothing has vanished uncounted.
    fn conclude(&mut self, ending: &jackfield_engine::Ending) {
        let counters = ending.counters;
        let known = counters.messages_out + u64::from(counters.dropped_out);
        assert!(known <= self.attempts);
        if !self.in_group {
            assert_eq!(known, self.attempts);
        }
        self.dropped = known != self.attempts || counters.dropped_out > 0;
        assert!(ending.complete || (self.disturbed && counters.dropped_out > 0), "an orderly close delivers");
    }

    /// What the peer has read are accepted messages in order; all of them, if nothing was dropped.
    fn compare(&mut self) {
        if self.peer.is_none() {
            return;
        }
        let read = if self.packets {
            std::mem::take(&mut self.read)
        } else {
            let stream = self.read.concat();
            match self.framing {
                "none" => {
                    assert!(self.dropped || self.accepted.concat().starts_with(&stream));
                    return;
                }
                _ => {
                    let received = framing_driver::receive(&self.framer, [stream.as_slice()]);
                    assert_eq!(received.error, None);
                    received.messages
                }
            }
        };
        let mut accepted = self.accepted.iter();
        let last = read.len().saturating_sub(1);
        for (index, message) in read.iter().enumerate() {
            let whole = accepted.any(|one| one == message);
            assert!(whole || (self.disturbed && index == last), "message {index} of {} was not sent so", read.len());
        }
    }
}
