//! The sending half: from a message to the kernel.

use super::Health;
use super::sealed::{Sending, SharedSession};
use crate::counters::Counters;
use crate::frame::{FrameError, Framer};
use crate::link::{Config, Fault, Kind};
use crate::queue::{OutQueue, WhenFull};
use crate::sealing::TLS_FAILED;
use crate::sys::address::SocketAddress;
use crate::sys::{Errno, Result, file, socket, wait};
use crate::transmit::{ALWAYS_CARRIED, MAX_SIZE, Payload, Queued, SendError, UDP_MAX, UDP_V6_MAX, UNIX_OVERHEAD};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing waits any more.
    Empty,
    /// Some of it left; the next write may move more at once.
    More,
    /// The kernel has no room now.
    Full,
    /// A device's queue is full: no report will follow, so it is tried again a little later.
    Later,
    /// What waited was dropped: the connection is at fault.
    Broken,
}

/// See the module.
#[derive(Debug)]
pub struct Sender<L> {
    kind: Kind,
    peer: SocketAddress,
    queue: OutQueue<L>,
    /// What lies between the queue and the socket, with TLS.
    sealed: Option<Box<Sending>>,
    /// Plaintext bytes and messages that have left and are not counted yet.
    left: (usize, usize),
    end_asked: bool,
    end_sent: bool,
    /// The silence that is kept behind each message; 0: none is.
    quiet_ns: u64,
    /// Before then nothing else may leave.
    quiet_until: u64,
}

impl<L: AsRef<[u8]>> Sender<L> {
    /// Nothing to send yet, in the framing `framer`.
    pub fn new(kind: Kind, peer: SocketAddress, framer: &Framer) -> Sender<L> {
        let gap_ns = framer.gap_ns().filter(|_| !kind.is_packet()).unwrap_or(0);
        Sender {
            kind,
            peer,
            queue: OutQueue::default(),
            sealed: None,
            left: (0, 0),
            end_asked: false,
            end_sent: false,
            quiet_ns: 2 * gap_ns,
            quiet_until: 0,
        }
    }

    /// From now on what is sent is encrypted; nothing was sent yet.
    pub fn encrypt(&mut self, session: SharedSession) {
        self.sealed = Some(Box::new(Sending::new(session)));
    }

    /// Until when nothing may be written, since silence ends the message before.
    #[inline]
    pub fn pause(&self, now: u64) -> Option<u64> {
        let begun = self.queue.is_begun() || self.sealed.as_ref().is_some_and(|sealed| !sealed.is_empty());
        (self.quiet_until > now && !begun).then_some(self.quiet_until)
    }

    /// Bytes and messages that wait.
    pub fn queued(&self) -> (usize, usize) {
        let (bytes, messages) = self.sealed.as_ref().map_or((0, 0), |sealed| sealed.holds());
        (self.queue.bytes() + bytes, self.queue.messages() + messages)
    }

    /// Whether nothing waits, the end of TLS included.
    #[inline]
    pub fn is_empty(&self) -> bool {
        let ends = |sealed: &Sending| self.end_asked && !sealed.has_ended();
        self.queue.is_empty() && self.sealed.as_ref().is_none_or(|sealed| sealed.is_empty() && !ends(sealed))
    }

    /// What a message of `payload` takes in the queue, or why it can not be sent. `None`: without framing, nothing is
    /// nothing on a stream.
    #[inline]
    pub fn check(
        &self,
        fd: BorrowedFd<'_>,
        payload: &[u8],
        config: &Config,
        health: &mut Health,
    ) -> std::result::Result<Option<usize>, SendError> {
        if self.end_asked {
            return Err(SendError::Ended);
        }
        if let Some(fault) = health.take_fault(self.kind) {
            return Err(SendError::Fault(fault));
        }
        if self.kind.is_packet() {
            let size = payload.len();
            if size > config.framer.max_message() || !self.carries(fd, size) {
                return Err(SendError::TooLarge { size });
            }
            return Ok(Some(size));
        }
        config.framer.check(payload).map_err(SendError::Frame)?;
        if config.framer.encodes() {
            let mut frame = Vec::new();
            config.framer.encode(payload, &mut frame);
            return Ok(Some(frame.len()));
        }
        let size = config.framer.header(payload.len()).as_slice().len() + payload.len() + config.framer.trailer().len();
        if size > MAX_SIZE {
            let error = FrameError::TooLarge { size: Some(size as u64), limit: MAX_SIZE };
            return Err(SendError::Frame(error));
        }
        Ok((size > 0).then_some(size))
    }

    fn carries(&self, fd: BorrowedFd<'_>, size: usize) -> bool {
        match self.peer {
            _ if size <= ALWAYS_CARRIED => true,
            SocketAddress::Ip { ip: IpAddr::V4(_), .. } => size <= UDP_MAX,
            SocketAddress::Ip { ip: IpAddr::V6(_), .. } => size <= UDP_V6_MAX,
            _ => {
                let buffer = socket::option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF).unwrap_or(i32::MAX);
                size + UNIX_OVERHEAD <= buffer as usize
            }
        }
    }

    /// Whether the queue takes `size` bytes more. An empty one takes any message.
    #[inline]
    pub fn has_room(&self, size: usize, config: &Config) -> bool {
        let (bytes, messages) = self.queued();
        let backlog = bytes.max(messages);
        backlog == 0 || backlog + size.max(1) <= config.high_water
    }

    /// Makes room for `size` bytes as `policy` says.
    pub fn make_room(
        &mut self,
        size: usize,
        config: &Config,
        policy: WhenFull,
        health: &mut Health,
        counters: &mut Counters,
    ) -> Queued {
        if self.has_room(size, config) {
            return Queued::Yes;
        }
        match policy {
            WhenFull::Wait => Queued::Full,
            WhenFull::Reject => Queued::Rejected,
            WhenFull::DropNewest => {
                counters.drop_out(1);
                Queued::Dropped
            }
            WhenFull::Disconnect => {
                health.fail(Fault::TooSlow);
                self.abandon(counters);
                Queued::Disconnected
            }
            WhenFull::DropOldest => {
                while !self.has_room(size, config) && self.queue.drop_oldest() {
                    counters.drop_out(1);
                }
                Queued::Yes
            }
        }
    }

    /// Queues a message that [`Sender::check`] has accepted.
    #[inline]
    pub fn push(&mut self, payload: Payload<'_, L>, config: &Config) {
        let framed = !self.kind.is_packet();
        if framed && config.framer.encodes() {
            let mut frame = Vec::new();
            config.framer.encode(payload.bytes(), &mut frame);
            return self.queue.push([&frame, &[], &[]]);
        }
        let header = framed.then(|| config.framer.header(payload.bytes().len()));
        let (header, trailer) = match &header {
            Some(header) => (header.as_slice(), config.framer.trailer()),
            None => (&[][..], &[][..]),
        };
        match payload {
            Payload::Bytes(bytes) => self.queue.push([header, bytes, trailer]),
            Payload::Loan(loan) => self.queue.push_loan(header, loan, trailer),
        }
    }

    /// Takes back what waits if no byte of it has left, or was encrypted; false if some has.
    pub fn withdraw(&mut self) -> bool {
        let untouched = !self.queue.is_begun() && !self.queue.is_empty();
        if untouched {
            self.queue.clear();
        }
        untouched
    }

    /// Drops what waits; the messages are counted as dropped. True if there were any.
    pub fn abandon(&mut self, counters: &mut Counters) -> bool {
        let sealed = self.sealed.as_mut().map_or(0, |sealed| sealed.abandon());
        let (unsent, cut) = self.queue.clear();
        counters.drop_out(sealed + unsent + usize::from(cut));
        sealed > 0 || unsent > 0 || cut
    }

    /// One write of what waits; with `wait` it blocks until there is room, but for files.
    #[inline]
    pub fn write(&mut self, fd: BorrowedFd<'_>, wait: bool) -> Result<usize> {
        if self.sealed.is_some() {
            return self.write_sealed(fd, wait);
        }
        if self.kind.is_packet() {
            let size = self.queue.first_size().unwrap_or(0);
            return self.queue.with_parts(size, |parts| wait::send_parts(fd, parts, wait));
        }
        match self.queue.single() {
            _ if self.kind == Kind::File || self.quiet_ns > 0 => {
                let first = self.queue.first_size().unwrap_or(0) - self.queue.begun();
                let limit = if self.quiet_ns > 0 { first } else { usize::MAX };
                match self.kind {
                    Kind::File => self.queue.with_parts(limit, |parts| file::write(fd, parts)),
                    _ => self.queue.with_parts(limit, |parts| wait::send_parts(fd, parts, wait)),
                }
            }
            Some(bytes) => wait::send(fd, bytes, wait),
            None => self.queue.with_parts(usize::MAX, |parts| wait::send_parts(fd, parts, wait)),
        }
    }

    /// Encrypts and writes what waits, and what TLS itself has to say, as far as the kernel takes it.
    fn write_sealed(&mut self, fd: BorrowedFd<'_>, wait: bool) -> Result<usize> {
        let Some(sealed) = self.sealed.as_deref_mut() else { return Ok(0) };
        let mut total = 0;
        loop {
            if sealed.is_empty() {
                let limit = if self.quiet_ns > 0 {
                    self.queue.first_size().unwrap_or(0) - self.queue.begun()
                } else {
                    usize::MAX
                };
                let ends = self.end_asked && !sealed.has_ended();
                sealed.seal(&mut self.queue, limit, ends)?;
                if sealed.is_empty() {
                    return Ok(total);
                }
            }
            match sealed.write(fd, wait) {
                // A signal ended a write that waits: the caller looks at it before the next one waits again.
                Ok(None) if wait => return Ok(total),
                Ok(None) => {}
                Ok(Some((bytes, messages))) => {
                    total += bytes;
                    self.left = (self.left.0 + bytes, self.left.1 + messages);
                    if self.quiet_ns > 0 && messages > 0 {
                        return Ok(total);
                    }
                }
                // What left before is filed first; the next write says this again.
                Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
            }
        }
    }

    /// Files what a write came to; a signal counts as a write that moved nothing.
    #[inline]
    pub fn written(
        &mut self,
        result: Result<usize>,
        now: u64,
        health: &mut Health,
        counters: &mut Counters,
    ) -> Progress {
        match result {
            Ok(_) if self.sealed.is_some() => {
                let (bytes, whole) = std::mem::take(&mut self.left);
                counters.bytes_out += bytes as u64;
                counters.messages_out += whole as u64;
                if bytes > 0 {
                    counters.last_out = now;
                }
                if whole > 0 && self.quiet_ns > 0 {
                    self.quiet_until = now.saturating_add(self.quiet_ns);
                }
                if self.is_empty() { Progress::Empty } else { Progress::More }
            }
            Ok(count) => {
                counters.bytes_out += count as u64;
                counters.last_out = now;
                if self.kind.is_packet() {
                    self.queue.pop_message();
                    counters.messages_out += 1;
                } else {
                    let whole = self.queue.advance(count);
                    counters.messages_out += whole as u64;
                    if whole > 0 && self.quiet_ns > 0 {
                        self.quiet_until = now.saturating_add(self.quiet_ns);
                    }
                }
                if self.queue.is_empty() { Progress::Empty } else { Progress::More }
            }
            Err(error) if error.would_block() => Progress::Full,
            Err(Errno(libc::EINTR)) => Progress::More,
            Err(Errno(libc::ENOBUFS)) if self.kind.is_packet() => Progress::Later,
            Err(error) if self.kind == Kind::Datagram => {
                // Each packet is on its own. A refusal over IP answers an earlier one: this one has not been tried.
                health.fail(Fault::Lost(error));
                if error != Errno(libc::ECONNREFUSED) || self.peer.family() == libc::AF_UNIX {
                    self.queue.pop_message();
                    counters.drop_out(1);
                }
                if self.queue.is_empty() { Progress::Empty } else { Progress::More }
            }
            Err(error) => {
                let failure = self.sealed.as_ref().filter(|_| error == TLS_FAILED);
                match failure.and_then(|sealed| sealed.session().failure()) {
                    Some(failure) => health.fail(Fault::Tls(Box::new(failure))),
                    None => health.fail_sending(error),
                }
                self.abandon(counters);
                Progress::Broken
            }
        }
    }

    /// Ends our side once nothing waits any more: now, if that is so.
    pub fn end(&mut self) {
        self.end_asked = true;
    }

    /// Half-closes if that was asked for and everything before it has left.
    #[inline]
    pub fn end_if_due(&mut self, fd: BorrowedFd<'_>, health: &Health) {
        if self.end_asked && !self.end_sent && self.is_empty() && !health.is_broken(self.kind) {
            self.end_sent = true;
            // A peer that is gone already has closed more than this would.
            let _ = socket::shutdown_send(fd);
        }
    }
}
