//! From a message to its link's queue.
//!
//! Sending puts a message into its link's queue; the queue leaves in one gathered write per turn, or at once when
//! [`FLUSH_AT`] bytes wait. What happens to a message that finds the queue full is the link's [`WhenFull`]. A message is
//! queued whole or not at all.

use crate::frame::FrameError;
use crate::host::Host;
use crate::link::{Fault, Kind, Link, LinkId, flag};
use crate::native::recognise::Role;
use crate::queue::{Attachment, Burst, OutQueue, WhenFull};
use crate::reactor::Reactor;
use crate::sys::address::{RawAddress, SocketAddress};
use crate::sys::socket;
use std::net::IpAddr;
use std::rc::Rc;

/// So many waiting bytes are written without waiting for the end of the turn.
const FLUSH_AT: usize = 64 * 1024;
/// The same for datagrams: several runs of them in one call.
pub(crate) const FLUSH_DATAGRAMS_AT: usize = 256 * 1024;
/// The queue counts a message's bytes in 32 bits.
pub(crate) const MAX_SIZE: usize = u32::MAX as usize;
/// Packets up to here fit everywhere.
pub(crate) const ALWAYS_CARRIED: usize = 2048;
/// What UDP carries at most over IPv4, and over IPv6 (udp(7), RFC 8200).
pub(crate) const UDP_MAX: usize = 65_507;
pub(crate) const UDP_V6_MAX: usize = 65_527;
/// What the kernel keeps for itself of a Unix socket's send buffer (unix_dgram_sendmsg).
pub(crate) const UNIX_OVERHEAD: usize = 32;

/// A message's bytes on their way in.
pub enum Payload<'a, L> {
    /// To be copied.
    Bytes(&'a [u8]),
    /// Lent until sent; for large messages.
    Loan(L),
}

impl<L: AsRef<[u8]>> Payload<'_, L> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Payload::Bytes(bytes) => bytes,
            Payload::Loan(loan) => loan.as_ref(),
        }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queued {
    /// It is in the queue, or sent already.
    Yes,
    /// No room and the policy is to wait: nothing was queued.
    Full,
    /// No room and the policy is to fail: nothing was queued.
    Rejected,
    /// No room and the policy is to drop it: counted.
    Dropped,
    /// No room and the policy is to close: the link is at fault now.
    Disconnected,
}

/// Why a message can not be sent at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The owner has closed the link.
    Closed,
    /// The owner has ended the sending side.
    Ended,
    /// The link is at fault.
    Fault(Fault),
    /// The framing cannot carry it.
    Frame(FrameError),
    /// The kernel cannot carry a packet of this size.
    TooLarge {
        /// The packet.
        size: usize,
    },
    /// A native client is sent frames, by the switch.
    Native,
    /// A datagram peer without a name cannot be answered.
    Unanswerable,
}

impl<H: Host> Link<H> {
    /// Why nothing can be sent, if so; a connected datagram socket goes on after an error, which is told once. A peer
    /// whose bytes are not in the framing can still be told so.
    #[inline]
    pub(crate) fn sending_fault(&mut self) -> Result<(), SendError> {
        match (&self.fault, self.kind) {
            (None, _) => Ok(()),
            (Some(_), _) if self.is_garbled() => Ok(()),
            (Some(_), kind) if kind.outlives_errors() => {
                self.fault.take().map_or(Ok(()), |fault| Err(SendError::Fault(*fault)))
            }
            (Some(fault), _) => Err(SendError::Fault((**fault).clone())),
        }
    }
}

impl<H: Host> Reactor<H> {
    /// Queues one message; `policy` replaces the link's own.
    #[inline]
    pub fn send(
        &mut self,
        id: LinkId,
        payload: Payload<'_, H::Loan>,
        policy: Option<WhenFull>,
    ) -> Result<Queued, SendError> {
        self.send_to(id, payload, None, policy)
    }

    /// Queues one message, on an endpoint for `to`, which [`Reactor::sendable`] gave.
    #[inline]
    pub fn send_to(
        &mut self,
        id: LinkId,
        payload: Payload<'_, H::Loan>,
        to: Option<&Rc<RawAddress>>,
        policy: Option<WhenFull>,
    ) -> Result<Queued, SendError> {
        self.send_with(id, payload, to, policy, &mut None)
    }

    /// Queues one message, with what goes beside its bytes, which is taken if it is queued.
    #[inline]
    pub(crate) fn send_with(
        &mut self,
        id: LinkId,
        payload: Payload<'_, H::Loan>,
        to: Option<&Rc<RawAddress>>,
        policy: Option<WhenFull>,
        attachment: &mut Option<Attachment>,
    ) -> Result<Queued, SendError> {
        let Some(link) = self.get(id) else { return Err(SendError::Closed) };
        if link.role == Role::Native {
            return Err(SendError::Native);
        }
        if link.membership.is_some() {
            self.distribute_to(id);
        }
        let Some(link) = self.get_mut(id) else { return Err(SendError::Closed) };
        if link.has(flag::CLOSING | flag::GONE) || link.kind.is_listener() {
            return Err(SendError::Closed);
        }
        if link.has(flag::END_ASKED) {
            return Err(SendError::Ended);
        }
        link.sending_fault()?;
        let nowhere = match link.kind {
            Kind::DatagramPeer => link.peer == SocketAddress::Unnamed,
            Kind::Endpoint => to.is_none(),
            _ => false,
        };
        if nowhere {
            return Err(SendError::Unanswerable);
        }
        let config = link.config.clone();
        let bytes = payload.bytes();
        let framed = !link.kind.is_packet();
        if framed && let Err(error) = config.framer.check(bytes) {
            return Err(SendError::Frame(error));
        }
        if !framed && (bytes.len() > config.framer.max_message() || !self.carries(id, bytes.len())) {
            return Err(SendError::TooLarge { size: bytes.len() });
        }
        if framed && config.framer.encodes() {
            return self.send_encoded(id, bytes, policy.unwrap_or(config.when_full), attachment);
        }
        let header = framed.then(|| config.framer.header(bytes.len()));
        let (header, trailer) = match &header {
            Some(header) => (header.as_slice(), config.framer.trailer()),
            None => (&[][..], &[][..]),
        };
        if framed && bytes.is_empty() && header.is_empty() && trailer.is_empty() {
            // Without framing nothing is nothing on a stream.
            return Ok(Queued::Yes);
        }
        let size = header.len() + bytes.len() + trailer.len();
        if size > MAX_SIZE {
            return Err(SendError::Frame(FrameError::TooLarge { size: Some(size as u64), limit: MAX_SIZE }));
        }
        match self.make_room(id, size, policy.unwrap_or(config.when_full)) {
            Queued::Yes => {}
            refused => return Ok(refused),
        }
        let Some(link) = self.get_mut(id) else { return Err(SendError::Closed) };
        // Making room can find the connection lost.
        link.sending_fault()?;
        let mut queue = match link.out.take() {
            Some(queue) => queue,
            None => self.take_queue(),
        };
        match payload {
            Payload::Bytes(bytes) => queue.push([header, bytes, trailer]),
            Payload::Loan(loan) => queue.push_loan(header, loan, trailer),
        }
        if let Some(to) = to {
            queue.address_last(1, to);
        }
        if let Some(attachment) = attachment.take() {
            queue.attach(attachment);
        }
        self.queued(id, queue);
        Ok(Queued::Yes)
    }

    /// Queues a message whose frame is no copy of it.
    #[cold]
    fn send_encoded(
        &mut self,
        id: LinkId,
        bytes: &[u8],
        policy: WhenFull,
        attachment: &mut Option<Attachment>,
    ) -> Result<Queued, SendError> {
        let Some(link) = self.get(id) else { return Err(SendError::Closed) };
        let mut frame = Vec::new();
        link.config.framer.encode(bytes, &mut frame);
        match self.make_room(id, frame.len(), policy) {
            Queued::Yes => {}
            refused => return Ok(refused),
        }
        let Some(link) = self.get_mut(id) else { return Err(SendError::Closed) };
        link.sending_fault()?;
        let mut queue = match link.out.take() {
            Some(queue) => queue,
            None => self.take_queue(),
        };
        queue.push([&frame, &[], &[]]);
        if let Some(attachment) = attachment.take() {
            queue.attach(attachment);
        }
        self.queued(id, queue);
        Ok(Queued::Yes)
    }

    pub(crate) fn queued(&mut self, id: LinkId, queue: Box<OutQueue<H::Loan>>) {
        let waiting = queue.bytes();
        let Some(link) = self.get_mut(id) else { return };
        link.out = Some(queue);
        let writable = link.has(flag::WRITABLE) && !link.has(flag::CONNECTING);
        let enough = if link.has(flag::IP) { FLUSH_DATAGRAMS_AT } else { FLUSH_AT };
        self.mark_dirty(id);
        if waiting >= enough && writable {
            self.transmit(id);
        }
    }

    /// Queues the messages of a burst for a member of a group; gives (queued, dropped).
    pub(crate) fn send_burst(&mut self, id: LinkId, burst: &Rc<Burst>, policy: WhenFull) -> (usize, usize) {
        let Some(link) = self.get_mut(id) else { return (0, 0) };
        let unable = link.fault.is_some() || link.has(flag::CLOSING | flag::GONE | flag::END_ASKED);
        if unable || (link.kind == Kind::DatagramPeer && link.peer == Default::default()) {
            return (0, 0);
        }
        if link.kind.is_packet() && burst.sizes.iter().any(|size| !self.carries(id, *size as usize)) {
            return self.send_each(id, burst, policy);
        }
        let Some(link) = self.get_mut(id) else { return (0, 0) };
        let backlog = link.backlog();
        if backlog == 0 || backlog + burst.data.len() <= link.config.high_water || policy == WhenFull::Wait {
            let mut queue = match link.out.take() {
                Some(queue) => queue,
                None => self.take_queue(),
            };
            queue.push_burst(burst);
            self.queued(id, queue);
            self.check_high_water(id);
            return (burst.sizes.len(), 0);
        }
        self.send_each(id, burst, policy)
    }

    /// Queues those messages of a burst that there is room for.
    fn send_each(&mut self, id: LinkId, burst: &Rc<Burst>, policy: WhenFull) -> (usize, usize) {
        let (mut taken, mut start) = (0, 0);
        let dropped_before = self.get(id).map_or(0, |link| link.counters.dropped_out);
        for size in &burst.sizes {
            let message = &burst.data[start..start + *size as usize];
            start += *size as usize;
            let Some(link) = self.get_mut(id) else { break };
            if link.kind.is_packet() && !self.carries(id, message.len()) {
                self.count_dropped_out(id, 1);
                continue;
            }
            match self.make_room(id, message.len(), policy) {
                Queued::Yes => {
                    let Some(link) = self.get_mut(id) else { break };
                    let mut queue = match link.out.take() {
                        Some(queue) => queue,
                        None => self.take_queue(),
                    };
                    queue.push([message, &[], &[]]);
                    self.queued(id, queue);
                    taken += 1;
                }
                Queued::Disconnected => break,
                Queued::Rejected | Queued::Full => self.count_dropped_out(id, 1),
                Queued::Dropped => {}
            }
        }
        let dropped = self.get(id).map_or(0, |link| link.counters.dropped_out - dropped_before);
        (taken, dropped as usize)
    }

    /// Whether the kernel takes packets of `size` bytes here. What it would refuse later is refused at once, before
    /// others are queued behind it.
    fn carries(&self, id: LinkId, size: usize) -> bool {
        if size <= ALWAYS_CARRIED {
            return true;
        }
        let Some(link) = self.get(id) else { return true };
        let Some(fd) = link.borrow_fd().or_else(|| self.get(link.parent)?.borrow_fd()) else { return true };
        match link.peer {
            SocketAddress::Ip { ip: IpAddr::V4(_), .. } => size <= UDP_MAX,
            SocketAddress::Ip { ip: IpAddr::V6(_), .. } => size <= UDP_V6_MAX,
            _ if link.has(flag::V6) => size <= UDP_V6_MAX,
            _ if link.has(flag::IP) => size <= UDP_MAX,
            _ => {
                let buffer = socket::option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF).unwrap_or(i32::MAX);
                size + UNIX_OVERHEAD <= buffer as usize
            }
        }
    }

    fn count_dropped_out(&mut self, id: LinkId, messages: usize) {
        if let Some(link) = self.get_mut(id) {
            link.counters.drop_out(messages);
        }
    }

    /// Applies the policy to a message of `size` bytes.
    pub(crate) fn make_room(&mut self, id: LinkId, size: usize, policy: WhenFull) -> Queued {
        let Some(link) = self.get_mut(id) else { return Queued::Dropped };
        let (backlog, limit) = (link.backlog(), link.config.high_water);
        // An empty queue takes any message: one that is larger than the limit could never leave otherwise.
        if backlog == 0 || backlog + size.max(1) <= limit {
            link.awaited_room = 0;
            return Queued::Yes;
        }
        if link.has(flag::WRITABLE) && !link.has(flag::CONNECTING) {
            self.transmit(id);
        }
        let Some(link) = self.get_mut(id) else { return Queued::Dropped };
        let backlog = link.backlog();
        if backlog == 0 || backlog + size.max(1) <= limit {
            link.awaited_room = 0;
            return Queued::Yes;
        }
        match policy {
            WhenFull::Wait => {
                link.awaited_room = size.max(1);
                Queued::Full
            }
            WhenFull::Reject => Queued::Rejected,
            WhenFull::DropNewest => {
                link.counters.drop_out(1);
                Queued::Dropped
            }
            WhenFull::Disconnect => {
                self.count_loss(id);
                if let Some(link) = self.get_mut(id) {
                    link.fail(Fault::TooSlow);
                }
                self.abandon_queue(id);
                self.notify(id);
                Queued::Disconnected
            }
            WhenFull::DropOldest => {
                let Some(queue) = link.out.as_mut() else { return Queued::Yes };
                let mut dropped = 0;
                while queue.bytes().max(queue.messages()) + size.max(1) > limit && queue.drop_oldest() {
                    dropped += 1;
                }
                link.counters.drop_out(dropped);
                Queued::Yes
            }
        }
    }

    /// Half-close: the peer reads the end once everything queued has left.
    pub fn send_end(&mut self, id: LinkId) -> Result<(), SendError> {
        let Some(link) = self.get_mut(id) else { return Err(SendError::Closed) };
        if link.has(flag::CLOSING | flag::GONE) {
            return Err(SendError::Closed);
        }
        link.sending_fault()?;
        link.set(flag::END_ASKED);
        self.mark_dirty(id);
        Ok(())
    }

    /// Bytes and messages that wait to be sent.
    pub fn queued_of(&self, id: LinkId) -> (usize, usize) {
        self.get(id).map_or((0, 0), Link::waiting)
    }
}
