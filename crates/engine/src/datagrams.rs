//! Datagrams that arrive: many with one system call. Those that leave stand in [`crate::departures`].
//!
//! One receive brings up to [`SLOTS`] messages, each of which may be a run of equal datagrams (see
//! [`crate::segments`]). They stay where they arrived, in one buffer that all datagram links use in turn, and are claimed
//! one by one; what another link needs the buffer for is put aside in its own link. The buffer is large for the longest
//! runs, but only the pages that were ever filled cost memory.

use crate::beside;
use crate::frame::FrameError;
use crate::host::Host;
use crate::link::{Fault, Front, Kind, LinkId, Packet, Packets, flag};
use crate::reactor::{PARKED_CAP, Reactor};
use crate::receive::Take;
use crate::segments::Rest;
use crate::sys::Errno;
use crate::sys::address::SocketAddress;
use crate::sys::batch::{self, Destination, Receiver};
use std::collections::VecDeque;
use std::os::fd::AsFd;

/// Messages that one receive brings at most.
const SLOTS: usize = batch::MAX_BATCH;
/// Room for one message of an IP socket: the longest datagram or run. Not a power of two, or the starts of all messages
/// would compete for the same lines of the cache.
const SLOT: usize = 64 * 1024 + 1344;
/// Room for one message of a Unix socket, and so the longest one that is received.
const UNIX_SLOT: usize = 256 * 1024;
/// As many bytes as one receive should bring: more would not stay in the cache until they are claimed.
const BATCH_BYTES: usize = 192 * 1024;
/// Unclaimed packets that one datagram peer may hold, in bytes; more are dropped and counted.
const PACKETS_CAP: usize = 256 * 1024;
/// Packets taken from one datagram listener before others have their turn; the last batch may bring more.
const PACKETS_PER_TURN: usize = 256;
/// The same in bytes: with [`LISTENER_SLOTS`] less than a peer may hold, so that one who is received from loses none.
const LISTENER_BYTES_PER_TURN: u64 = 32 * 1024;
/// Messages that one receive of a listener brings at most: each may be a run of 64 KiB.
const LISTENER_SLOTS: usize = 3;
/// What one unclaimed packet costs beside its bytes.
pub(crate) const PACKET_OVERHEAD: usize = 64;

/// Where a datagram came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Who sent it.
    pub from: SocketAddress,
    /// Which of our addresses it was sent to, where that was asked for.
    pub to: Option<Destination>,
}

/// A message that has arrived and is not claimed whole.
struct Arrived {
    rest: Rest,
    origin: Origin,
}

/// The datagrams that the last receive brought.
pub(crate) struct Arrivals {
    /// Empty before the first use.
    buffer: Box<[u8]>,
    receiver: Receiver,
    /// Whose they are.
    pub owner: LinkId,
    list: VecDeque<Arrived>,
    /// How many messages the next receive asks for, so that it brings about [`BATCH_BYTES`].
    slots: usize,
    /// Of the datagram claimed last.
    origin: Origin,
}

impl Default for Arrivals {
    fn default() -> Self {
        Arrivals {
            buffer: Box::default(),
            receiver: Receiver::default(),
            owner: LinkId::NONE,
            list: VecDeque::new(),
            slots: SLOTS / 4,
            origin: Origin::default(),
        }
    }
}

impl Arrivals {
    /// Drops what is not claimed.
    pub fn clear(&mut self) {
        self.owner = LinkId::NONE;
        self.list.clear();
    }
}

impl<H: Host> Reactor<H> {
    /// Whether datagrams of the link lie in the shared buffer.
    #[inline]
    pub(crate) fn has_arrived(&self, id: LinkId) -> bool {
        self.arrivals.owner == id && !self.arrivals.list.is_empty()
    }

    /// Where the datagram came from that was claimed last.
    #[inline]
    pub fn origin(&self) -> &Origin {
        &self.arrivals.origin
    }

    /// Brings the next datagram to the front. `None`: look again.
    pub(crate) fn advance_datagram(&mut self, id: LinkId) -> Option<bool> {
        let arrived = self.has_arrived(id);
        let link = self.slots[id.index()].link.as_mut()?;
        if link.fault.is_some() && link.kind.outlives_errors() {
            return Some(true);
        }
        if let Some(packet) = link.packets.as_ref().and_then(|packets| packets.list.front()) {
            let end = packet.bytes.len() as u32;
            link.front = Some(Front { start: 0, end, consumed: end });
            return Some(true);
        }
        if arrived {
            let limit = link.framer.max_message().min(UNIX_SLOT);
            let size = self.arrivals.list.front().and_then(|first| first.rest.peek()).map_or(0, |range| range.len());
            if size > limit {
                self.skip_arrived();
                let error = FrameError::TooLarge { size: Some(size as u64), limit };
                let link = self.slots[id.index()].link.as_mut()?;
                link.fail_receiving(Fault::Frame(error));
                return Some(true);
            }
            link.front = Some(Front { start: 0, end: size as u32, consumed: size as u32 });
            return Some(true);
        }
        if link.fault.is_some() || link.has(flag::END) {
            return Some(true);
        }
        if link.kind == Kind::DatagramPeer || !link.has(flag::READABLE) {
            return Some(false);
        }
        self.receive_batch(id);
        None
    }

    fn skip_arrived(&mut self) {
        if let Some(first) = self.arrivals.list.front_mut() {
            first.rest.advance();
            if first.rest.is_done() {
                self.arrivals.list.pop_front();
            }
        }
    }

    /// Hands out what `advance_datagram` found.
    pub(crate) fn claim_datagram(&mut self, id: LinkId) -> Take<'_, H::Body> {
        let Some(link) = self.slots[id.index()].link.as_mut() else { return Take::Closed };
        link.front = None;
        link.counters.messages_in += 1;
        if let Some(packets) = &mut link.packets {
            // The packet moves to the inbox, which lends it until the next call.
            let Some(packet) = packets.list.pop_front() else { return Take::Nothing };
            self.arrivals.origin = Origin { from: packet.from, to: packet.to };
            let size = packet.bytes.len();
            link.inbox.put(Vec::from(packet.bytes));
            packets.cost -= size + PACKET_OVERHEAD;
            self.parked -= PACKET_OVERHEAD;
            if packets.list.is_empty() {
                link.packets = None;
            }
            return Take::Bytes(link.inbox.claim(size));
        }
        let arrivals = &mut self.arrivals;
        let Some(first) = arrivals.list.front_mut() else { return Take::Nothing };
        let Some(range) = first.rest.peek() else { return Take::Nothing };
        first.rest.advance();
        arrivals.origin.to = first.origin.to;
        if first.rest.is_done() {
            if let Some(last) = arrivals.list.pop_front() {
                arrivals.origin = last.origin;
            }
        } else {
            arrivals.origin.from.clone_from(&first.origin.from);
        }
        Take::Bytes(&arrivals.buffer[range])
    }

    /// Claims up to `most` more datagrams that lie ready for the link, all with one call each of `use_datagram`. It may
    /// stop early; false from it stops at once. Faults, limits and what else is to be told is left to [`Reactor::take`].
    pub fn take_arrived(
        &mut self,
        id: LinkId,
        most: usize,
        mut use_datagram: impl FnMut(&[u8], &Origin) -> bool,
    ) -> usize {
        let Some(link) = self.slots.get_mut(id.index()).and_then(|slot| slot.link.as_mut()) else { return 0 };
        let plain = link.front.is_none()
            && link.fault.is_none()
            && link.packets.is_none()
            && !link.has(flag::CLOSING | flag::GONE);
        if self.arrivals.owner != id || !plain {
            return 0;
        }
        let limit = link.framer.max_message().min(UNIX_SLOT);
        let arrivals = &mut self.arrivals;
        let mut taken = 0;
        'all: while let Some(first) = arrivals.list.front_mut() {
            while let Some(range) = first.rest.peek() {
                if taken == most || range.len() > limit {
                    break 'all;
                }
                first.rest.advance();
                taken += 1;
                if !use_datagram(&arrivals.buffer[range], &first.origin) {
                    break 'all;
                }
            }
            arrivals.list.pop_front();
        }
        if arrivals.list.front().is_some_and(|first| first.rest.is_done()) {
            arrivals.list.pop_front();
        }
        link.counters.messages_in += taken as u64;
        taken
    }

    /// Puts what lies unclaimed in the shared buffer aside, so that another link can use it.
    fn set_aside(&mut self) {
        let owner = std::mem::replace(&mut self.arrivals.owner, LinkId::NONE);
        if self.arrivals.list.is_empty() || self.get(owner).is_none() {
            self.arrivals.list.clear();
            return;
        }
        let Some(link) = self.slots[owner.index()].link.as_mut() else { return };
        let packets = link.packets.get_or_insert_default();
        for mut arrived in self.arrivals.list.drain(..) {
            while let Some(range) = arrived.rest.peek() {
                arrived.rest.advance();
                // What does not fit into its room was cut by the kernel: its true length is still told.
                let bytes: Box<[u8]> = match self.arrivals.buffer.get(range.clone()) {
                    Some(bytes) if range.len() <= link.framer.max_message().min(UNIX_SLOT) => bytes.into(),
                    _ => {
                        link.counters.drop_in(1);
                        continue;
                    }
                };
                let cost = bytes.len() + PACKET_OVERHEAD;
                packets.cost += cost;
                self.parked += cost;
                packets.list.push_back(Packet { bytes, from: arrived.origin.from.clone(), to: arrived.origin.to });
            }
        }
        if packets.list.is_empty() {
            link.packets = None;
        }
    }

    /// One receive for a datagram socket. What waits to be sent leaves first: who answers a flood of datagrams does so batch
    /// by batch, and not once the flood is over.
    fn receive_batch(&mut self, id: LinkId) {
        if self.get(id).is_some_and(|link| link.out.is_some()) {
            self.transmit(id);
        }
        self.set_aside();
        if self.arrivals.buffer.is_empty() {
            self.arrivals.buffer = vec![0; SLOTS * SLOT].into_boxed_slice();
        }
        let (now, crowded) = (self.now, self.parked > PARKED_CAP);
        let Some(link) = self.slots[id.index()].link.as_mut() else { return };
        let Some(fd) = link.fd.as_ref() else { return };
        let arrivals = &mut self.arrivals;
        arrivals.owner = id;
        let slot = if link.has(flag::IP) { SLOT } else { UNIX_SLOT };
        let share = if link.kind.is_listener() { LISTENER_SLOTS } else { arrivals.slots };
        let asked = if crowded { 1 } else { share.min(arrivals.buffer.len() / slot) };
        match arrivals.receiver.receive(fd.as_fd(), &mut arrivals.buffer, slot, asked) {
            Ok(count) => {
                let mut bytes = 0;
                for index in 0..count {
                    let arrival = arrivals.receiver.arrival(index);
                    bytes += arrival.length;
                    arrivals.list.push_back(Arrived {
                        rest: Rest::new(index * slot, arrival.length, arrival.segment),
                        origin: Origin { from: arrival.from, to: arrival.to },
                    });
                }
                link.counters.bytes_in += bytes as u64;
                link.counters.last_in = now;
                // Fewer than asked for: the socket is empty, and its next datagram is an edge.
                if count < asked {
                    link.unset(flag::READABLE);
                }
                if count > 0 {
                    arrivals.slots = (BATCH_BYTES * count / bytes.max(1)).clamp(3, SLOTS);
                }
            }
            Err(error) if error.would_block() => link.unset(flag::READABLE),
            Err(error) => {
                if !link.kind.is_listener() {
                    link.fail_receiving(Fault::Lost(error));
                }
            }
        }
    }

    /// Sorts what a datagram listener received to its peers; newcomers wait to be accepted.
    pub(crate) fn drain_datagrams(&mut self, listener: LinkId) {
        let mut sorted = 0;
        let mut enough = None;
        while sorted < PACKETS_PER_TURN {
            let Some(link) = self.get(listener) else { return };
            let bytes_in = link.counters.bytes_in;
            if bytes_in >= *enough.get_or_insert(bytes_in + LISTENER_BYTES_PER_TURN) {
                break;
            }
            if !link.has(flag::READABLE) || link.has(flag::CLOSING | flag::GONE) {
                return;
            }
            self.receive_batch(listener);
            // A call that brings nothing counts, too: an error may be reported again and again.
            sorted += usize::from(self.arrivals.list.is_empty());
            while let Some(arrived) = self.arrivals.list.pop_front() {
                sorted += self.sort_arrived(listener, arrived);
            }
        }
        self.put_off(listener);
    }

    /// Gives how many packets it was.
    fn sort_arrived(&mut self, listener: LinkId, arrived: Arrived) -> usize {
        let Arrived { mut rest, origin } = arrived;
        let bytes = rest.bytes();
        let peer = self.peer_of(listener, origin.from);
        let now = self.now;
        let mut messages = 0;
        if let Some(id) = peer
            && let Some(link) = self.slots[id.index()].link.as_mut()
        {
            link.counters.bytes_in += bytes as u64;
            link.counters.last_in = now;
            let limit = link.framer.max_message().min(UNIX_SLOT);
            while let Some(range) = rest.peek() {
                rest.advance();
                messages += 1;
                let cost = range.len() + PACKET_OVERHEAD;
                let held = link.packets.as_ref().map_or(0, |packets| packets.cost);
                if range.len() > limit || (held > 0 && held + cost > PACKETS_CAP) || self.parked > PARKED_CAP {
                    link.counters.drop_in(1);
                    continue;
                }
                let packets = link.packets.get_or_insert_with(Box::<Packets>::default);
                let bytes = self.arrivals.buffer[range].into();
                packets.list.push_back(Packet { bytes, from: SocketAddress::Unnamed, to: None });
                packets.cost += cost;
                self.parked += cost;
            }
            self.notify(id);
        } else {
            while rest.peek().is_some() {
                rest.advance();
                messages += 1;
            }
        }
        if let Some(link) = self.get_mut(listener) {
            link.counters.messages_in += messages as u64;
            if peer.is_none() {
                link.counters.drop_in(messages);
            }
        }
        messages
    }

    /// Brings the next packet of a seqpacket connection to the front. `None`: look again.
    pub(crate) fn advance_packet(&mut self, id: LinkId) -> Option<bool> {
        let index = id.index();
        let link = self.slots[index].link.as_mut()?;
        if link.receive_fault().is_some() || link.has(flag::END) {
            return Some(true);
        }
        if !link.has(flag::READABLE) {
            return Some(false);
        }
        self.acquire(id);
        (self.rx_from, self.rx_to) = (0, 0);
        let now = self.now;
        let link = self.slots[index].link.as_mut()?;
        match beside::receive_packet(link, &mut self.rx) {
            // Every message of a seqpacket socket carries credentials (SO_PASSCRED); only the end comes without.
            Ok(packet) if packet.length == 0 && !packet.has_control && link.kind == Kind::Seqpacket => {
                if link.has(flag::RESET) {
                    link.fail_receiving(Fault::Lost(Errno(libc::ECONNRESET)));
                    self.count_loss(id);
                } else {
                    link.set(flag::END);
                }
            }
            Ok(packet) => {
                link.counters.bytes_in += packet.length as u64;
                link.counters.last_in = now;
                link.file_beside(packet.lost);
                let limit = link.framer.max_message().min(self.rx.len());
                if packet.length > limit {
                    let error = FrameError::TooLarge { size: Some(packet.length as u64), limit };
                    link.fail_receiving(Fault::Frame(error));
                    return Some(true);
                }
                self.rx_to = packet.length;
                let end = packet.length as u32;
                link.front = Some(Front { start: 0, end, consumed: end });
            }
            Err(error) => {
                // An error is taken with the report; packets may wait behind it.
                if error == Errno(libc::ECONNRESET) && !link.has(flag::RESET) {
                    link.set(flag::RESET);
                } else if error.would_block() {
                    link.unset(flag::READABLE);
                } else {
                    link.fail_receiving(Fault::Lost(error));
                }
            }
        }
        None
    }
}
