//! The receiving half: from the kernel to a claimed message.

use super::Health;
use super::sealed::{Receiving, SharedSession};
use crate::counters::Counters;
use crate::evidence::Garbage;
use crate::frame::{FrameError, Framer, Known, Silences, Step};
use crate::host::Body;
use crate::link::{Fault, Kind, Large};
use crate::reactor::RECEIVE_BUFFER;
use crate::receive::{LARGE, Take};
use crate::sealing::TLS_FAILED;
use crate::sys::{Errno, Result, file, io, wait};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// The room that a stream starts with: most channels never need more, and each has its own.
const FIRST_SIZE: usize = 4 * 1024;
/// The room grows up to here while receives fill it.
const FULL_SIZE: usize = 128 * 1024;
/// How far the object of a large message runs ahead of what has arrived.
const AHEAD: usize = 256 * 1024;

/// What one receive brought.
#[derive(Clone, Copy, Debug)]
pub struct Arrived {
    /// Bytes; the true length of a packet, which can exceed the room.
    pub length: usize,
    /// The peer has ended its side.
    pub end: bool,
    /// It did so without the end of TLS.
    pub cut: bool,
}

/// One receive from the kernel into [`Receiver::target`]; with `wait` it blocks until something is there.
#[inline]
pub fn receive(kind: Kind, fd: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>], wait: bool) -> Result<Arrived> {
    match kind {
        Kind::Seqpacket => {
            // Every packet carries credentials (SO_PASSCRED); only the end comes without.
            let packet = wait::receive_packet(fd, into, wait)?;
            Ok(Arrived { length: packet.length, end: packet.length == 0 && !packet.has_control, cut: false })
        }
        kind if kind.is_packet() => {
            wait::receive(fd, into, libc::MSG_TRUNC, wait).map(|length| Arrived { length, end: false, cut: false })
        }
        Kind::File if !into.is_empty() => {
            if wait {
                wait::poll(fd, wait::READABLE, None, None)?;
            }
            file::read(fd, into).map(|length| Arrived { length, end: length == 0, cut: false })
        }
        // No room means no memory: then nothing is asked of the kernel.
        _ if into.is_empty() => Ok(Arrived { length: 0, end: false, cut: false }),
        _ => wait::receive(fd, into, 0, wait).map(|length| Arrived { length, end: length == 0, cut: false }),
    }
}

enum Found {
    Message(Range<usize>),
    Body,
    End,
    Fault(Fault),
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Receiver<B> {
    kind: Kind,
    /// Filled with zeroes to its whole length; what has arrived and is unclaimed lies in `from..to`.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// What the framer remembers of the unclaimed bytes.
    scan: u32,
    large: Option<Large<B>>,
    /// How silence divides what is unclaimed, where that is what does.
    silences: Option<Silences>,
    /// An unclaimed packet's true length.
    packet: Option<usize>,
    ended: bool,
    /// A packet socket told of a reset before the packets that came earlier.
    reset: bool,
    /// What lies between the socket and the buffer, with TLS; not here during a receive.
    sealed: Option<Box<Receiving>>,
}

impl<B: Body> Receiver<B> {
    /// Nothing received yet, from a stream that `framer` divides; no memory either.
    pub fn new(kind: Kind, framer: &Framer) -> Receiver<B> {
        Receiver {
            kind,
            silences: framer.gap_ns().filter(|_| !kind.is_packet()).map(Silences::new),
            buffer: Vec::new(),
            from: 0,
            to: 0,
            scan: 0,
            large: None,
            packet: None,
            ended: false,
            reset: false,
            sealed: None,
        }
    }

    /// From now on what arrives is decrypted; nothing was received yet.
    pub fn decrypt(&mut self, session: SharedSession) {
        self.sealed = Some(Box::new(Receiving::new(session)));
    }

    /// With TLS what receives instead of [`receive`]: for one receive, then it is given back.
    #[inline]
    pub fn lend(&mut self) -> Option<Box<Receiving>> {
        self.sealed.take()
    }

    /// See [`Receiver::lend`].
    #[inline]
    pub fn give_back(&mut self, sealed: Option<Box<Receiving>>) {
        self.sealed = sealed;
    }

    /// Whether the peer has ended its side and everything before it was read.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Claims the next message as `framer` divides the stream. With `once` that is not the channel's own framing: what
    /// it finds unacceptable may be divided anew.
    #[inline]
    pub fn take(&mut self, framer: &Framer, once: bool, health: &mut Health, counters: &mut Counters) -> Take<'_, B> {
        if once {
            self.scan = 0;
        }
        let found = self.find(framer, once, health, counters);
        if once {
            self.scan = 0;
        }
        match found {
            Found::Message(range) => {
                counters.messages_in += 1;
                let found = &mut self.buffer[range];
                let size = if framer.encodes() && !self.kind.is_packet() { framer.decode(found) } else { found.len() };
                Take::Bytes(&found[..size])
            }
            Found::Body => {
                counters.messages_in += 1;
                self.large.take().map_or(Take::Nothing, |large| Take::Body(large.body))
            }
            Found::End => Take::End,
            Found::Fault(fault) => Take::Fault(fault),
            Found::Nothing => Take::Nothing,
        }
    }

    /// Whether a packet can be claimed at once; false also before an end and a fault.
    pub fn has_packet(&self) -> bool {
        self.packet.is_some()
    }

    /// What came instead of a frame, when `error` was the fault; `None` where the kernel keeps boundaries.
    pub fn garbage(&self, error: &FrameError, counters: &Counters) -> Option<Garbage> {
        let unclaimed = &self.buffer[self.from..self.to];
        (!self.kind.is_packet()).then(|| Garbage::of(error, unclaimed, counters.bytes_in))
    }

    /// When a message will have ended, if nothing else comes; a receive that finds nothing by then proves it, which
    /// [`Receiver::quiet`] files.
    pub fn silent_at(&self) -> Option<u64> {
        self.silences.as_ref()?.deadline()
    }

    /// Up to `now` nothing else has come.
    pub fn quiet(&mut self, now: u64) {
        if let Some(silences) = &mut self.silences {
            silences.quiet(now);
        }
    }

    fn find(&mut self, framer: &Framer, once: bool, health: &mut Health, counters: &mut Counters) -> Found {
        if self.kind.is_packet() {
            if let Some(size) = self.packet.take() {
                let limit = framer.max_message().min(RECEIVE_BUFFER);
                if size <= limit {
                    return Found::Message(0..size);
                }
                health.fail_receiving(Fault::Frame(FrameError::TooLarge { size: Some(size as u64), limit }));
            }
        } else if self.large.is_some() {
            if let Some(found) = self.find_large(framer, health) {
                return found;
            }
        } else if self.from < self.to
            && !matches!(health.receive_fault(), Some(Fault::Frame(_) | Fault::TooSlow))
            && let Some(found) = self.divide(framer, once, health, counters)
        {
            return found;
        }
        // Connected datagram sockets go on after an error: it is told once.
        if self.kind == Kind::Datagram
            && let Some(fault) = health.fault.take()
        {
            return Found::Fault(fault);
        }
        match health.receive_fault() {
            Some(fault) => Found::Fault(fault.clone()),
            None if self.ended => Found::End,
            None => Found::Nothing,
        }
    }

    /// Looks for a message in the unclaimed bytes, of which there are some.
    #[inline]
    fn divide(&mut self, framer: &Framer, once: bool, health: &mut Health, counters: &mut Counters) -> Option<Found> {
        let goes_on = !self.ended && health.receive_fault().is_none();
        let mut step = framer.next(&mut self.scan, &self.buffer[self.from..self.to]);
        while let Step::Skipped { consumed, broken } = step {
            if let Err(error) = counters.skip(broken) {
                step = Step::Broken(error);
                break;
            }
            self.from += consumed;
            if self.from == self.to {
                return None;
            }
            step = framer.next(&mut self.scan, &self.buffer[self.from..self.to]);
        }
        let data = &self.buffer[self.from..self.to];
        if let Some(silences) = &mut self.silences {
            step = silences.next(framer.max_message(), self.ended);
        } else if self.ended && matches!(step, Step::Partial(_)) {
            step = match framer.finish(data) {
                Ok(Some(step)) => step,
                Ok(None) => return None,
                Err(error) => Step::Broken(error),
            };
        }
        match step {
            Step::Message { start, end, consumed } => {
                let range = self.from + start..self.from + end;
                self.from += consumed;
                Some(Found::Message(range))
            }
            Step::Broken(error) if once => Some(Found::Fault(Fault::Frame(error))),
            Step::Broken(error) => {
                health.fail_receiving(Fault::Frame(error));
                None
            }
            Step::Partial(Some(known)) if known.body >= LARGE && goes_on && !once => {
                let Known { header, body: total, trailer } = known;
                let have = (data.len() - header).min(total);
                let mut body = B::with_capacity(total.min(AHEAD.max(2 * have)));
                body.extend(&data[header..header + have]);
                if body.len() < have {
                    health.fail_receiving(Fault::Lost(Errno(libc::ENOMEM)));
                    return None;
                }
                self.large = Some(Large { body, total, header, trailer, sealed: trailer == 0 });
                self.scan = 0;
                self.from += header + have;
                self.find_large(framer, health)
            }
            Step::Partial(_) | Step::Skipped { .. } => None,
        }
    }

    /// Looks at a large message on its way.
    fn find_large(&mut self, framer: &Framer, health: &mut Health) -> Option<Found> {
        let large = self.large.as_mut()?;
        let position = large.header + large.total;
        let have = large.header + large.body.len();
        let mut arrived = 0;
        if have == position && !large.sealed {
            let data = &self.buffer[self.from..self.to];
            let trailer = &data[..data.len().min(large.trailer)];
            arrived = trailer.len();
            match framer.check_trailer(position, trailer) {
                Ok(()) if arrived == large.trailer => {
                    large.sealed = true;
                    self.from += arrived;
                }
                Ok(()) => {}
                Err(error) => {
                    self.large = None;
                    health.fail_receiving(Fault::Frame(error));
                    return None;
                }
            }
        }
        if have == position && self.large.as_ref()?.sealed {
            return Some(Found::Body);
        }
        if health.receive_fault().is_some() {
            self.large = None;
        } else if self.ended {
            let need = Some(position + self.large.as_ref()?.trailer);
            self.large = None;
            health.fail_receiving(Fault::Frame(FrameError::Truncated { have: have + arrived, need }));
        }
        None
    }

    /// Where the next bytes go: into the large message on its way, else behind what is unclaimed.
    #[inline]
    pub fn target(&mut self) -> &mut [MaybeUninit<u8>] {
        if let Some(large) = &mut self.large
            && large.body.len() < large.total
        {
            if large.body.spare().is_empty() {
                let capacity = large.total.min(2 * large.body.len().max(AHEAD));
                large.body.grow(capacity);
            }
            let left = large.total - large.body.len();
            let spare = large.body.spare();
            let room = spare.len().min(left);
            return &mut spare[..room];
        }
        if self.kind.is_packet() {
            (self.from, self.to) = (0, 0);
            if self.buffer.is_empty() {
                self.buffer = vec![0; RECEIVE_BUFFER];
            }
            return io::uninit(&mut self.buffer);
        }
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
            if self.buffer.len() > FULL_SIZE {
                self.buffer = Vec::new();
            }
        } else if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; FIRST_SIZE];
        } else if self.to == self.buffer.len() {
            // It grows with what has arrived, never with a length that the peer announced.
            self.buffer.resize(2 * self.to, 0);
        }
        io::uninit(&mut self.buffer[self.to..])
    }

    /// Files what [`receive`] brought into the target.
    #[inline]
    pub fn filled(&mut self, result: Result<Arrived>, now: u64, health: &mut Health, counters: &mut Counters) {
        let arrived = match result {
            Ok(arrived) => arrived,
            Err(error) if error.would_block() => return,
            Err(Errno(libc::ECONNRESET)) if self.kind == Kind::Seqpacket && !self.reset => {
                // An error is taken with the report; packets may wait behind it.
                self.reset = true;
                return;
            }
            Err(TLS_FAILED) if self.sealed.is_some() => return self.fail_tls(health),
            Err(error) => return health.fail_receiving(Fault::Lost(error)),
        };
        if let Some(sealed) = self.sealed.as_ref().filter(|_| arrived.cut) {
            sealed.session().note_truncated();
            return self.fail_tls(health);
        }
        if arrived.end {
            if self.reset {
                health.fail_receiving(Fault::Lost(Errno(libc::ECONNRESET)));
            }
            self.ended = health.end_receiving();
            return;
        }
        let count = arrived.length;
        counters.bytes_in += count as u64;
        counters.last_in = now;
        if let Some(silences) = &mut self.silences {
            silences.arrived(count, now);
        }
        if self.kind.is_packet() {
            self.packet = Some(count);
        } else if count == 0 {
            health.fail_receiving(Fault::Lost(Errno(libc::ENOMEM)));
        } else if let Some(large) = &mut self.large
            && large.body.len() < large.total
        {
            large.body.advance(count);
        } else {
            self.to += count;
            if self.to == self.buffer.len() && self.to < FULL_SIZE {
                self.buffer.resize((4 * self.to).min(FULL_SIZE), 0);
            }
        }
    }

    /// The session knows why.
    fn fail_tls(&self, health: &mut Health) {
        let failure = self.sealed.as_ref().and_then(|sealed| sealed.session().failure());
        health.fail_receiving(failure.map_or(Fault::Lost(TLS_FAILED), |failure| Fault::Tls(Box::new(failure))));
    }
}
