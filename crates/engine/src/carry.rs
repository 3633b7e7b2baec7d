//! Connections that go on in another process: a link gives away its socket and all that it holds beside it, and a
//! listener there takes both in as if it had accepted the connection itself.
//!
//! What had arrived and was not claimed goes as the bytes that came, from the beginning of a message on, so that it can
//! be divided again; what is queued goes message by message as it is on the wire. Nothing is lost, doubled or reordered:
//! from [`Reactor::hand_over`] on the link reads and writes no more.

use crate::counters::Counters;
use crate::datagrams::PACKET_OVERHEAD;
use crate::handover::DetachError;
use crate::host::{Body, Host};
use crate::link::{Front, Kind, Link, LinkId, Packet, flag};
use crate::native::recognise::Role;
use crate::opening::kind_of;
use crate::reactor::Reactor;
use crate::sys::address::SocketAddress;
use crate::sys::{Errno, socket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A connection on its way, and what its link held.
#[derive(Debug)]
pub struct Carried {
    /// `None` for a datagram peer, which has its listener's. Non-blocking.
    pub fd: Option<OwnedFd>,
    /// Whom it talks to.
    pub peer: SocketAddress,
    /// What had arrived and was not claimed: of a stream at most one piece, of other kinds each packet.
    pub received: Vec<Vec<u8>>,
    /// Messages that wait, as they are on the wire; of the first one only what has not left.
    pub queued: Vec<Vec<u8>>,
    /// So many bytes of the first of them have left.
    pub begun: usize,
    /// What has passed through.
    pub counters: Counters,
    /// Wall-clock nanoseconds of its begin.
    pub since: u64,
}

impl<H: Host> Reactor<H> {
    /// Takes a connection out with all that it holds; the link is gone then ([`crate::Event::Gone`] follows). Works for
    /// streams, seqpacket connections and the peers of datagram listeners, in a group or not. On an error the link
    /// goes on.
    pub fn hand_over(&mut self, id: LinkId) -> Result<Carried, DetachError> {
        self.distribute_to(id);
        self.transmit(id);
        let Some(link) = self.get(id) else { return Err(DetachError::Closed) };
        can_be_carried(link)?;
        let received = self.unclaimed(id);
        self.probe_as_before(id);
        let Some(link) = self.get_mut(id) else { return Err(DetachError::Closed) };
        let fd = link.fd.take();
        if let Some(raw) = fd.as_ref().map(AsRawFd::as_raw_fd)
            && let Err(error) = self.epoll.remove(raw)
        {
            if let Some(link) = self.get_mut(id) {
                link.fd = fd;
            }
            return Err(DetachError::Kernel(error));
        }
        let Some(link) = self.get_mut(id) else { return Err(DetachError::Closed) };
        let (mut begun, mut queued) = (0, Vec::new());
        if let Some(queue) = &mut link.out {
            begun = queue.begun();
            queued = queue.take_messages();
        }
        link.set(flag::CLOSING);
        let (peer, counters, since) = (link.peer.clone(), link.counters, link.since);
        self.leave_group(id);
        self.abandon_queue(id);
        self.drop_socket(id);
        Ok(Carried { fd, peer, received, queued, begun, counters, since })
    }

    /// What was received and not claimed, from the beginning of a message on.
    fn unclaimed(&self, id: LinkId) -> Vec<Vec<u8>> {
        let Some(link) = self.get(id) else { return Vec::new() };
        if let Some(packets) = &link.packets {
            return packets.list.iter().map(|packet| packet.bytes.to_vec()).collect();
        }
        let in_rx = self.rx_owner == id;
        let data: &[u8] = if in_rx { &self.rx[self.rx_from..self.rx_to] } else { link.inbox.unclaimed() };
        if link.kind.is_packet() {
            return if link.front.is_some() { vec![data.to_vec()] } else { Vec::new() };
        }
        let mut all = Vec::new();
        if let Some(large) = &link.large {
            // Only the configured framing makes messages large; the header was claimed with it.
            all.extend_from_slice(link.config.framer.header(large.total).as_slice());
            all.extend_from_slice(large.body.filled());
            if large.sealed && large.trailer > 0 {
                all.extend_from_slice(link.config.framer.trailer());
            }
        }
        all.extend_from_slice(data);
        if all.is_empty() { Vec::new() } else { vec![all] }
    }

    /// Goes on with a connection as if the listener had accepted it, whatever its limit of clients. On an error the
    /// caller has it back: it is not of the listener's kind (EINVAL), there already (EEXIST), or the kernel cannot watch
    /// it.
    pub fn take_in(&mut self, listener: LinkId, mut carried: Carried) -> Result<LinkId, (Errno, Option<Box<Carried>>)> {
        let parent = self.get(listener).filter(|link| link.kind.is_listener());
        let Some(parent) = parent else { return Err((Errno(libc::EBADF), Some(Box::new(carried)))) };
        let config = parent.config.clone();
        let of_datagrams = parent.kind == Kind::DatagramListener;
        if of_datagrams != carried.fd.is_none() {
            return Err((Errno(libc::EINVAL), Some(Box::new(carried))));
        }
        let id = match carried.fd.take() {
            None => match self.new_peer(listener, &carried.peer) {
                Ok(id) => id,
                Err(error) => return Err((error, Some(Box::new(carried)))),
            },
            Some(fd) => {
                let same = |option| {
                    let of_parent = parent.fd.as_ref().map(|fd| socket::option(fd.as_fd(), libc::SOL_SOCKET, option));
                    let own = socket::option(fd.as_fd(), libc::SOL_SOCKET, option).ok()?;
                    (of_parent == Some(Ok(own))).then_some(own)
                };
                let (Some(family), Some(kind)) = (same(libc::SO_DOMAIN), same(libc::SO_TYPE)) else {
                    carried.fd = Some(fd);
                    return Err((Errno(libc::EINVAL), Some(Box::new(carried))));
                };
                // Whatever can be refused is refused here, before the link owns the descriptor.
                let watched = self.epoll.add(fd.as_raw_fd(), 0, 0).and_then(|()| self.epoll.remove(fd.as_raw_fd()));
                if let Err(error) = watched {
                    carried.fd = Some(fd);
                    return Err((error, Some(Box::new(carried))));
                }
                let kind = kind_of(family, kind);
                if kind == Kind::Seqpacket {
                    let _ = socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1);
                }
                let mut link = Link::new(Some(fd), kind, &config, carried.peer.clone());
                link.parent = listener;
                let id = self.insert(link).map_err(|error| (error, None))?;
                if let Some(part) = self.get_mut(listener).and_then(|link| link.rare.listener_mut()) {
                    part.clients += 1;
                }
                id
            }
        };
        if carried.counters.bytes_in + carried.counters.bytes_out == 0 {
            // Nobody has said anything yet: it may still turn out to be a native client.
            self.give_role(listener, id);
        }
        self.fill(id, carried);
        Ok(id)
    }

    /// A datagram peer that counts as accepted.
    fn new_peer(&mut self, listener: LinkId, from: &SocketAddress) -> Result<LinkId, Errno> {
        let part = self.get(listener).and_then(|link| link.rare.listener.as_ref()).ok_or(Errno(libc::EBADF))?;
        if part.peers.contains_key(from) {
            return Err(Errno(libc::EEXIST));
        }
        let id = self.peer_of(listener, from.clone()).ok_or(Errno(libc::ENOBUFS))?;
        if let Some(part) = self.get_mut(listener).and_then(|link| link.rare.listener_mut()) {
            part.newcomers.retain(|newcomer| *newcomer != id);
        }
        Ok(id)
    }

    /// Puts what was carried into its new link.
    fn fill(&mut self, id: LinkId, carried: Carried) {
        let Some(link) = self.get_mut(id) else { return };
        (link.counters, link.since) = (carried.counters, carried.since);
        let mut parked = 0;
        if link.kind.is_datagram() {
            for bytes in carried.received {
                let cost = bytes.len() + PACKET_OVERHEAD;
                let packets = link.packets.get_or_insert_default();
                packets.list.push_back(Packet { bytes: bytes.into(), from: SocketAddress::Unnamed, to: None });
                packets.cost += cost;
                parked += cost;
            }
        } else if let Some(bytes) = carried.received.into_iter().next() {
            parked = bytes.len();
            if link.kind.is_packet() {
                let end = bytes.len() as u32;
                link.front = Some(Front { start: 0, end, consumed: end });
            }
            link.inbox.put(bytes);
        }
        self.parked += parked;
        if parked > 0 {
            // What silence had divided may arrive as one message.
            self.note_arrival(id, parked);
        }
        if !carried.queued.is_empty() {
            let mut queue = self.take_queue();
            queue.put_messages(carried.begun, &carried.queued);
            if let Some(link) = self.get_mut(id) {
                link.out = Some(queue);
            }
            self.check_high_water(id);
            self.mark_dirty(id);
        }
        self.notify(id);
    }
}

/// Why a link cannot be carried as it is, if so.
fn can_be_carried<H: Host>(link: &Link<H>) -> Result<(), DetachError> {
    if link.has(flag::CLOSING | flag::GONE) {
        return Err(DetachError::Closed);
    }
    if link.has(flag::CONNECTING) {
        return Err(DetachError::Connecting);
    }
    if !matches!(link.kind, Kind::Tcp | Kind::UnixStream | Kind::Seqpacket | Kind::DatagramPeer) {
        return Err(DetachError::Shared);
    }
    if let Some(fault) = &link.fault {
        return Err(DetachError::Fault((**fault).clone()));
    }
    if link.role == Role::Native {
        return Err(DetachError::Native);
    }
    if link.tls.is_some() {
        return Err(DetachError::Encrypted);
    }
    if link.holds_beside() {
        return Err(DetachError::Beside);
    }
    // An end that was asked for leaves behind the queue, and nobody would know of it elsewhere.
    if let Some(queue) = link.out.as_ref().filter(|queue| link.has(flag::END_ASKED) && !queue.is_empty()) {
        return Err(DetachError::Queued { bytes: queue.bytes(), messages: queue.messages() });
    }
    Ok(())
}
