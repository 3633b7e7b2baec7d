//! One end of a conversation: a socket, what has arrived and was not claimed, and what still has to leave.
//!
//! A link is data; the rules that move it stand in `receive`, `transmit` and `lifecycle`. It is kept small, since
//! an idle one is all that a silent client costs: no buffer, no queue, no object of the caller's.

pub use crate::fault::Fault;

use crate::counters::Counters;
use crate::frame::Framer;
use crate::group::Membership;
use crate::host::Host;
use crate::inbox::Inbox;
use crate::native;
use crate::native::recognise::Role;
use crate::pacing::Pacing;
use crate::queue::{OutQueue, WhenFull};
use crate::rare::Rare;
use crate::supervise::Watch;
use crate::sys::address::SocketAddress;
use crate::sys::batch::Destination;
use crate::sys::{batch, socket};
use crate::tls::{Session, Terms};
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

/// Names a link for good: an index that is used again carries a new generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u64);

impl LinkId {
    /// No link.
    pub const NONE: LinkId = LinkId(0);

    pub(crate) fn new(index: usize, generation: u32) -> LinkId {
        LinkId(u64::from(generation) << 32 | index as u64)
    }

    /// The place in tables; used again after the link is gone.
    #[inline]
    pub fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What kind of socket a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// A Unix stream, a socket pair.
    UnixStream,
    /// A file that is read(2) and written(2): the line of a serial device. A stream.
    File,
    /// A Unix socket that keeps boundaries and order.
    Seqpacket,
    /// UDP or Unix datagrams with one peer.
    Datagram,
    /// Accepts connections.
    Listener,
    /// One UDP or Unix datagram socket that many peers send to.
    DatagramListener,
    /// One of those peers: shares the listener's socket.
    DatagramPeer,
    /// A UDP or Unix datagram socket without a peer: each datagram says where it comes from or goes to.
    Endpoint,
}

impl Kind {
    /// Whether the kernel keeps message boundaries.
    #[inline]
    pub fn is_packet(self) -> bool {
        self == Kind::Seqpacket || self.is_datagram()
    }

    /// Whether it carries single datagrams, without a connection that could end.
    #[inline]
    pub fn is_datagram(self) -> bool {
        matches!(self, Kind::Datagram | Kind::DatagramPeer | Kind::Endpoint)
    }

    /// Whether an error is of one datagram: it is told once, and the link goes on.
    #[inline]
    pub fn outlives_errors(self) -> bool {
        matches!(self, Kind::Datagram | Kind::Endpoint)
    }

    /// Whether it may be a native client's.
    pub(crate) fn may_be_native(self) -> bool {
        matches!(self, Kind::Tcp | Kind::UnixStream | Kind::Seqpacket)
    }

    /// Whether it accepts others rather than carrying bytes itself.
    #[inline]
    pub fn is_listener(self) -> bool {
        matches!(self, Kind::Listener | Kind::DatagramListener)
    }
}

/// What the links of one listener, or one connection, have in common.
#[derive(Debug)]
pub struct Config {
    /// How the bytes are divided into messages; ignored where the kernel keeps boundaries.
    pub framer: Rc<Framer>,
    /// Bytes that may wait to be sent.
    pub high_water: usize,
    /// What happens beyond.
    pub when_full: WhenFull,
    /// A TCP peer that acknowledges nothing for so long, with data under way, has vanished (0: never).
    pub vanished_ns: u64,
    /// A datagram peer that was silent for so long is gone (0: never).
    pub idle_ns: u64,
    /// How many clients a listener holds at once; newcomers beyond are refused.
    pub max_clients: usize,
    /// What TLS connections are opened with; `None`: the link is not encrypted.
    pub tls: Option<Rc<Terms>>,
}

pub(crate) mod flag {
    pub const READABLE: u32 = 1;
    pub const WRITABLE: u32 = 1 << 1;
    /// HUP, RDHUP, ERR or PRI was reported: a short read may be followed by more news without an edge.
    pub const UNSETTLED: u32 = 1 << 2;
    /// The peer has ended its side and everything before it was read.
    pub const END: u32 = 1 << 3;
    pub const CONNECTING: u32 = 1 << 4;
    /// Half-closed on request as soon as the queue is empty.
    pub const END_ASKED: u32 = 1 << 5;
    pub const END_SENT: u32 = 1 << 6;
    /// `close` was called: what is queued leaves, then the link goes.
    pub const CLOSING: u32 = 1 << 7;
    /// The socket is closed; the link waits for its owner to be told.
    pub const GONE: u32 = 1 << 8;
    pub const IN_READY: u32 = 1 << 9;
    pub const IN_DIRTY: u32 = 1 << 10;
    pub const IN_GROUP_READY: u32 = 1 << 11;
    pub const JOINED_UNTOLD: u32 = 1 << 12;
    pub const ABOVE_HIGH_WATER: u32 = 1 << 13;
    /// Writability is being watched; see `Reactor::wait_for_room`.
    pub const OUT_WATCHED: u32 = 1 << 14;
    /// The last message was large: the next one probably is, too.
    pub const BULK: u32 = 1 << 15;
    /// A datagram peer ended by its idle time.
    pub const IDLE: u32 = 1 << 16;
    /// An AF_INET6 datagram socket: IPv4 targets must be mapped.
    pub const V6: u32 = 1 << 17;
    /// A UDP socket.
    pub const IP: u32 = 1 << 23;
    /// Left was told to the group.
    pub const LEFT_TOLD: u32 = 1 << 18;
    /// The fault is of the sending side alone: what the peer had sent before is still received.
    pub const SENDING_FAILED: u32 = 1 << 19;
    /// What was queued at the end was dropped.
    pub const CUT_SHORT: u32 = 1 << 21;
    /// A seqpacket socket told of a reset before the packets that came earlier.
    pub const RESET: u32 = 1 << 22;
    /// It outlives its connection; see `revive`.
    pub const LASTING: u32 = 1 << 27;
    /// A lasting link without a connection: also CONNECTING, so that nothing is written.
    pub const DOWN: u32 = 1 << 24;
    pub const DOWN_UNTOLD: u32 = 1 << 28;
    /// A lasting link's connection may be at its end: it is looked at whether or not somebody receives.
    pub const HANGUP: u32 = 1 << 26;
    /// A datagram peer in its listener's `blocked`.
    pub const IN_BLOCKED: u32 = 1 << 20;
    /// Urgent data or the end was reported since somebody last looked for urgent data.
    pub const URGENT: u32 = 1 << 25;
    /// The connection broke after the peer had broken the framing, which stays the fault.
    pub const BROKEN: u32 = 1 << 29;
    /// Silence divides what arrives, and is kept between what leaves; see `pacing`.
    pub const GAP: u32 = 1 << 30;
    /// Its TLS handshake is under way; see `handshaking`.
    pub const HANDSHAKING: u32 = 1 << 31;
}

/// What the owner waits for on a link.
pub mod want {
    /// A message, the end, an error; on a listener a connection.
    pub const RECEIVE: u8 = 1;
    /// Room in the queue.
    pub const SEND: u8 = 1 << 1;
    /// An empty queue.
    pub const FLUSH: u8 = 1 << 2;
    /// The outcome of connecting.
    pub const CONNECT: u8 = 1 << 3;
    /// That what was queued has come as far as was asked for.
    pub const PASSED: u8 = 1 << 4;
    /// Urgent data.
    pub const URGENT: u8 = 1 << 5;
    /// Any of those that share the sending side's deadline.
    pub(crate) const SENDING: u8 = SEND | FLUSH | PASSED | URGENT;
}

/// Where the next message lies in the unclaimed bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Front {
    pub start: u32,
    pub end: u32,
    pub consumed: u32,
}

/// A large message on its way.
#[derive(Debug)]
pub(crate) struct Large<B> {
    pub body: B,
    pub total: usize,
    /// Bytes of the frame before the body, which are claimed already.
    pub header: usize,
    /// Bytes of the frame behind the body.
    pub trailer: usize,
    /// What the framing puts behind a message has been seen.
    pub sealed: bool,
}

/// Unclaimed datagrams that lie aside.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    pub list: VecDeque<Packet>,
    /// What they cost; part of the reactor's `parked`.
    pub cost: usize,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Packet {
    pub bytes: Box<[u8]>,
    pub from: SocketAddress,
    pub to: Option<Destination>,
}

/// See the module.
///
/// The order is that of use: one of many links that now and then receives a message and is sent one is not in the
/// processor's caches, and each line of 64 bytes that is touched costs as much as a hundred instructions. With the
/// generation before it ([`crate::reactor::Slot`]) what each turn looks at lies in the first line, then come what
/// receiving and sending move, and last what is rare.
#[repr(C)]
pub(crate) struct Link<H: Host> {
    pub flags: u32,
    pub kind: Kind,
    pub want: u8,
    pub role: Role,
    /// `None` for a datagram peer, and once closed.
    pub fd: Option<OwnedFd>,
    /// What it is in `Native::routes`.
    pub party: u32,
    pub out: Option<Box<OutQueue<H::Loan>>>,
    pub config: Rc<Config>,
    pub fault: Option<Box<Fault>>,
    /// Only encrypted links have it.
    pub tls: Option<Box<Session>>,
    /// Only while data is under way.
    pub watch: Option<Box<Watch>>,
    pub counters: Counters,
    /// What the framer remembers of the unclaimed bytes.
    pub scan: u32,
    pub front: Option<Front>,
    /// The longest datagram that the kernel may divide a run into; 0: it divides none.
    pub segment_limit: u16,
    pub framer: Rc<Framer>,
    pub inbox: Inbox,
    pub large: Option<Box<Large<H::Body>>>,
    pub membership: Option<Membership>,
    /// Size of the message that found no room last; 0 once one did. Who waits need not look before there is as much.
    pub awaited_room: usize,
    /// Monotonic nanoseconds, 0 for none, by [`crate::Side`].
    pub deadlines: [u64; 6],
    /// Only datagram links have them.
    pub packets: Option<Box<Packets>>,
    pub rare: Rare,
    /// Of an endpoint: whom its last error is about.
    pub peer: SocketAddress,
    /// The listener that made it.
    pub parent: LinkId,
    /// Wall-clock nanoseconds.
    pub since: u64,
}

impl<H: Host> Link<H> {
    pub fn new(fd: Option<OwnedFd>, kind: Kind, config: &Rc<Config>, peer: SocketAddress) -> Link<H> {
        let gap_ns = config.framer.gap_ns().filter(|_| !kind.is_packet() && !kind.is_listener());
        let mut rare = Rare::default();
        if kind.is_listener() {
            rare.make().listener = Some(Box::default());
        }
        if let Some(gap_ns) = gap_ns {
            rare.make().pacing = Some(Box::new(Pacing::new(gap_ns)));
        }
        Link {
            fd,
            kind,
            want: 0,
            role: Role::Plain,
            party: native::NONE,
            flags: if gap_ns.is_some() { flag::WRITABLE | flag::GAP } else { flag::WRITABLE },
            scan: 0,
            front: None,
            inbox: Inbox::default(),
            large: None,
            packets: None,
            out: None,
            awaited_room: 0,
            framer: config.framer.clone(),
            config: config.clone(),
            counters: Counters::default(),
            peer,
            parent: LinkId::NONE,
            membership: None,
            fault: None,
            watch: None,
            rare,
            tls: None,
            since: crate::sys::realtime_ns(),
            segment_limit: 0,
            deadlines: [0; 6],
        }
    }

    /// What a datagram socket needs before it is used.
    pub fn prepare_datagrams(&mut self) {
        let Some(fd) = &self.fd else { return };
        if !self.kind.is_datagram() && self.kind != Kind::DatagramListener {
            return;
        }
        match socket::option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_DOMAIN) {
            Ok(libc::AF_INET) => self.flags |= flag::IP,
            Ok(libc::AF_INET6) => self.flags |= flag::IP | flag::V6,
            _ => return,
        }
        batch::join_received(fd.as_fd());
        if batch::can_segment(fd.as_fd()) {
            self.segment_limit = u16::MAX;
        }
    }

    /// What the kernel has dropped of a socket's datagrams, because its receive buffer was full.
    pub fn kernel_dropped(&self) -> u32 {
        match &self.fd {
            Some(fd) if self.kind.is_datagram() || self.kind == Kind::DatagramListener => {
                socket::dropped(fd.as_fd()).unwrap_or_default()
            }
            _ => self.counters.kernel_dropped,
        }
    }

    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    #[inline]
    pub fn set(&mut self, flags: u32) {
        self.flags |= flags;
    }

    #[inline]
    pub fn unset(&mut self, flags: u32) {
        self.flags &= !flags;
    }

    pub fn borrow_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    pub fn raw_fd(&self) -> Option<RawFd> {
        self.fd.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// What waits to be sent, against the high-water mark: bytes, but an empty packet counts as one, or they could
    /// pile up without end.
    #[inline]
    pub fn backlog(&self) -> usize {
        let (bytes, messages) = self.waiting();
        bytes.max(messages)
    }

    /// Whether the queue has fallen to half of its mark.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.backlog() <= self.config.high_water / 2
    }

    /// Whether the sender that waits can go on: its message may need more room than that.
    #[inline]
    pub fn admits_waiting(&self) -> bool {
        let backlog = self.backlog();
        self.has_room() && (backlog == 0 || backlog + self.awaited_room <= self.config.high_water)
    }

    /// Whether something other than bytes in the reactor's buffer may be there to be taken.
    #[inline]
    pub fn holds_more(&self) -> bool {
        !self.inbox.is_empty()
            || self.front.is_some()
            || self.packets.is_some()
            || self.large.is_some()
            || self.fault.is_some()
            || self.rare.listener.is_some()
    }

    /// Whether nothing is left to send; an empty packet that waits counts as something.
    #[inline]
    pub fn is_flushed(&self) -> bool {
        self.out.as_ref().is_none_or(|out| out.is_empty()) && self.sealed() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Plain;
    use crate::reactor::Slot;
    use std::mem::offset_of;

    /// See [`Link`]: 16 bytes of the first line are the generation's, and what padding the slot needs.
    #[test]
    fn what_each_turn_looks_at_lies_in_one_line() {
        type Tested = Link<Plain>;
        assert_eq!(align_of::<Slot<Plain>>(), 64);
        assert_eq!(offset_of!(Slot<Plain>, link), 8);
        assert!(8 + offset_of!(Tested, watch) + 8 <= 64, "{}", offset_of!(Tested, watch));
    }

    /// What an idle connection costs: what few links have belongs into `rare`.
    #[test]
    fn a_slot_is_five_lines() {
        assert!(size_of::<Slot<Plain>>() <= 320, "{}", size_of::<Slot<Plain>>());
    }

    /// Two flags with one bit are found by nothing else.
    #[test]
    fn each_flag_has_a_bit_of_its_own() {
        let lines = include_str!("link.rs").lines().map(str::trim);
        let bits: Vec<&str> = lines
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": u32 = "))
            .map(|(_, bit)| bit)
            .collect();
        let distinct: std::collections::BTreeSet<&str> = bits.iter().copied().collect();
        assert!(bits.len() > 20);
        assert_eq!(distinct.len(), bits.len(), "{bits:?}");
    }
}
