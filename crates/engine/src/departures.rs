//! Datagrams that leave: many with one system call, and runs of equal ones as one message where the kernel divides it.

use crate::beside;
use crate::host::Host;
use crate::link::{Fault, Kind, LinkId, flag};
use crate::queue::OutQueue;
use crate::reactor::Reactor;
use crate::segments::{Run, next_run};
use crate::sys::address::{RawAddress, SocketAddress};
use crate::sys::batch::{self, Departure};
use crate::sys::{Errno, io};
use crate::transmit::{ALWAYS_CARRIED, FLUSH_DATAGRAMS_AT};
use std::io::IoSlice;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// Calls that send for one link before others have their turn.
const SENDS_PER_TURN: usize = 16;
/// Parts of memory that one call gathers at most.
const MAX_PARTS: usize = 256;
/// Bytes of one run: what IPv6 carries in one packet, and a little less.
const RUN_BYTES: usize = 65_000;

/// What a call took.
struct Outgoing {
    messages: usize,
    bytes: usize,
}

impl<H: Host> Reactor<H> {
    /// Queues several datagrams, all `to` one place on an endpoint, as long as nothing needs a closer look: gives how many.
    /// What stopped it - a full queue, a fault, a datagram that is too long - is told by sending the next one.
    pub fn send_datagrams<'a>(
        &mut self,
        id: LinkId,
        datagrams: impl IntoIterator<Item = &'a [u8]>,
        to: Option<&Rc<RawAddress>>,
    ) -> usize {
        let Some(link) = self.get_mut(id) else { return 0 };
        let plain = link.has(flag::IP)
            && link.membership.is_none()
            && link.fault.is_none()
            && !link.has(flag::CLOSING | flag::GONE | flag::END_ASKED | flag::CONNECTING);
        let answerable = match link.kind {
            Kind::Datagram => to.is_none(),
            Kind::Endpoint => to.is_some(),
            _ => false,
        };
        if !plain || !answerable {
            return 0;
        }
        let longest = link.framer.max_message().min(ALWAYS_CARRIED);
        let high_water = link.config.high_water;
        let mut queue = match link.out.take() {
            Some(queue) => queue,
            None => self.take_queue(),
        };
        let mut datagrams = datagrams.into_iter().peekable();
        let mut queued = 0;
        loop {
            // What the kernel has not taken so far leaves when it has room.
            let enough = if queue.bytes() < FLUSH_DATAGRAMS_AT { FLUSH_DATAGRAMS_AT } else { usize::MAX };
            let added = queue.push_while(&mut datagrams, |size, bytes, messages| {
                size <= longest && bytes < enough && bytes.max(messages) + size.max(1) <= high_water
            });
            if let Some(to) = to {
                queue.address_last(added, to);
            }
            queued += added;
            if added == 0 || queue.bytes() < enough {
                break;
            }
            self.queued(id, queue);
            let Some(link) = self.get_mut(id).filter(|link| link.fault.is_none()) else { return queued };
            queue = match link.out.take() {
                Some(queue) => queue,
                None => self.take_queue(),
            };
        }
        if queue.is_empty() {
            self.return_queue(queue);
        } else {
            self.queued(id, queue);
        }
        queued
    }

    /// Writes the packets that wait on one link: in batches, and in runs where the kernel divides them.
    pub(crate) fn write_packets(&mut self, id: LinkId, queue: &mut OutQueue<H::Loan>) -> Result<(), Errno> {
        let now = self.now;
        for _ in 0..SENDS_PER_TURN {
            if queue.is_empty() {
                return Ok(());
            }
            let Some(link) = self.get_mut(id) else { return Ok(()) };
            let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EPIPE)) };
            if !link.has(flag::WRITABLE) {
                return Ok(());
            }
            let sent = if queue.has_attachments() {
                beside::send_packet(queue, fd.as_fd()).map(|bytes| Outgoing { messages: 1, bytes })
            } else {
                send_batch(queue, fd.as_fd(), None, &mut link.segment_limit)
            };
            match sent {
                Ok(Outgoing { messages, bytes }) => {
                    link.counters.bytes_out += bytes as u64;
                    link.counters.messages_out += messages as u64;
                    link.counters.last_out = now;
                }
                Err(error) if error.would_block() => {
                    // A Unix endpoint's report would speak of its own buffer, not of the peer's full one.
                    if link.kind == Kind::Endpoint && !link.has(flag::IP) {
                        self.retry_later(id);
                    } else {
                        self.wait_for_room(id);
                    }
                    return Ok(());
                }
                // A device's queue is full, not the socket's: no report follows.
                Err(Errno(libc::ENOBUFS | libc::ETOOMANYREFS)) => {
                    self.retry_later(id);
                    return Ok(());
                }
                Err(error) if link.kind.outlives_errors() => {
                    // Each packet is on its own. A refusal over IP answers an earlier one: this one has not been tried.
                    if let Some(target) = queue.first_target() {
                        link.peer = SocketAddress::from_raw(target);
                    }
                    link.fail(Fault::Lost(error));
                    if error != Errno(libc::ECONNREFUSED) || !link.has(flag::IP) {
                        queue.pop_message();
                        link.counters.drop_out(1);
                    }
                    self.notify(id);
                }
                Err(error) => return Err(error),
            }
        }
        self.mark_dirty(id);
        Ok(())
    }

    /// A datagram peer sends through its listener's socket.
    pub(crate) fn write_to_peer(&mut self, id: LinkId, queue: &mut OutQueue<H::Loan>) -> Result<(), Errno> {
        let now = self.now;
        let Some(link) = self.get(id) else { return Ok(()) };
        let (parent, peer) = (link.parent, link.peer.clone());
        let blocked = link.has(flag::IN_BLOCKED);
        let Some(listener) = self.get(parent) else { return Err(Errno(libc::EPIPE)) };
        let raw = peer_form(&peer, listener.has(flag::V6));
        for _ in 0..SENDS_PER_TURN {
            if queue.is_empty() {
                return Ok(());
            }
            let Some(listener) = self.get_mut(parent) else { return Err(Errno(libc::EPIPE)) };
            let Some(fd) = listener.fd.as_ref() else { return Err(Errno(libc::EPIPE)) };
            if !listener.has(flag::WRITABLE) {
                if !blocked && let Some(part) = listener.rare.listener_mut() {
                    part.blocked.push(id);
                    if let Some(link) = self.get_mut(id) {
                        link.set(flag::IN_BLOCKED);
                    }
                }
                return Ok(());
            }
            match send_batch(queue, fd.as_fd(), Some(&raw), &mut listener.segment_limit) {
                Ok(Outgoing { messages, bytes }) => {
                    listener.counters.bytes_out += bytes as u64;
                    listener.counters.messages_out += messages as u64;
                    if let Some(link) = self.get_mut(id) {
                        link.counters.bytes_out += bytes as u64;
                        link.counters.messages_out += messages as u64;
                        link.counters.last_out = now;
                    }
                }
                // A Unix peer whose queue is full blocks only itself: writability says nothing about it.
                Err(error) if error.would_block() && peer.family() == libc::AF_UNIX => {
                    self.retry_later(id);
                    return Ok(());
                }
                Err(error) if error.would_block() => self.wait_for_room(parent),
                Err(Errno(libc::ENOBUFS)) => {
                    self.retry_later(id);
                    return Ok(());
                }
                Err(Errno(libc::EMSGSIZE)) => {
                    queue.pop_message();
                    if let Some(link) = self.get_mut(id) {
                        link.counters.drop_out(1);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.mark_dirty(id);
        Ok(())
    }

    /// The datagram listener's socket takes packets again.
    pub(crate) fn unblock_peers(&mut self, listener: LinkId) {
        let Some(part) = self.get_mut(listener).and_then(|link| link.rare.listener_mut()) else { return };
        for peer in std::mem::take(&mut part.blocked) {
            if let Some(link) = self.get_mut(peer) {
                link.unset(flag::IN_BLOCKED);
                self.mark_dirty(peer);
            }
        }
    }

    /// An address in the form that the link's socket sends to. `None` if it is of another family.
    pub fn sendable(&self, id: LinkId, to: &SocketAddress) -> Option<Rc<RawAddress>> {
        let link = self.get(id)?;
        let fits = match to {
            SocketAddress::Ip { ip: IpAddr::V4(_), .. } => link.has(flag::IP),
            SocketAddress::Ip { ip: IpAddr::V6(_), .. } => link.has(flag::V6),
            SocketAddress::Unix(_) => !link.has(flag::IP),
            SocketAddress::Unnamed => false,
        };
        fits.then(|| Rc::new(peer_form(to, link.has(flag::V6))))
    }
}

/// The kernel's form of a peer's address; an AF_INET6 socket wants IPv4 addresses mapped.
fn peer_form(peer: &SocketAddress, v6: bool) -> RawAddress {
    match peer {
        SocketAddress::Ip { ip: IpAddr::V4(_), .. } if v6 => peer.mapped_to_v6().to_raw(),
        _ => peer.to_raw(),
    }
}

/// Sends the oldest messages of the queue, as many as one call takes, to where the queue says or all `to` one place. An
/// error is about the oldest.
fn send_batch<L: AsRef<[u8]>>(
    queue: &mut OutQueue<L>,
    fd: BorrowedFd<'_>,
    to: Option<&RawAddress>,
    segment_limit: &mut u16,
) -> Result<Outgoing, Errno> {
    loop {
        let mut runs = [Run { messages: 0, bytes: 0, segment: 0 }; batch::MAX_BATCH];
        let (count, result) = attempt(queue, fd, to, *segment_limit, &mut runs);
        match result {
            Ok(sent) => {
                let sum = |field: fn(&Run) -> usize| runs[..sent].iter().map(field).sum();
                let (messages, bytes) = (sum(|run| run.messages), sum(|run| run.bytes));
                queue.pop_messages(messages, bytes);
                return Ok(Outgoing { messages, bytes });
            }
            // The kernel does not divide such a run here: its datagrams are longer than the path takes in one piece
            // (EMSGSIZE, EINVAL before Linux 6.12), or the device cannot (EIO). Each goes by itself then, and says
            // what is wrong with itself.
            Err(Errno(libc::EMSGSIZE | libc::EINVAL | libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT))
                if count > 0 && runs[0].segment > 0 =>
            {
                *segment_limit = (runs[0].segment - 1).min(usize::from(u16::MAX)) as u16;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Plans a call into `runs` and makes it; gives how many were planned, and how many of them were taken.
fn attempt<L: AsRef<[u8]>>(
    queue: &OutQueue<L>,
    fd: BorrowedFd<'_>,
    to: Option<&RawAddress>,
    segment_limit: u16,
    runs: &mut [Run; batch::MAX_BATCH],
) -> (usize, Result<usize, Errno>) {
    let mut parts = [IoSlice::new(&[]); MAX_PARTS];
    let mut departures = [Departure { parts: 0, segment: 0, to }; batch::MAX_BATCH];
    let (mut count, mut used) = (0, 0);
    let mut sizes = queue.sizes();
    let mut targets = queue.targets();
    let mut target = targets.next();
    let (mut chunks, mut rest): (_, &[u8]) = (queue.chunks(), &[]);
    while count < batch::MAX_BATCH {
        let Some(first) = sizes.clone().next() else { break };
        let alone = first > usize::from(segment_limit);
        let most = match target {
            _ if alone => 1,
            Some((_, in_a_row)) => in_a_row.min(batch::MAX_SEGMENTS),
            None => batch::MAX_SEGMENTS,
        };
        let Some(run) = next_run(sizes.clone(), most, RUN_BYTES) else { break };
        let before = used;
        let mut left = run.bytes;
        while left > 0 && used < MAX_PARTS {
            if rest.is_empty() {
                let Some(next) = chunks.next() else { break };
                rest = next;
                continue;
            }
            let (part, behind) = rest.split_at(left.min(rest.len()));
            (parts[used], rest) = (IoSlice::new(part), behind);
            left -= part.len();
            used += 1;
        }
        if left > 0 {
            used = before;
            break;
        }
        departures[count].parts = used - before;
        departures[count].segment = run.segment as u16;
        if let Some((place, in_a_row)) = target {
            departures[count].to = Some(place);
            target = if in_a_row > run.messages { Some((place, in_a_row - run.messages)) } else { targets.next() };
        }
        runs[count] = run;
        count += 1;
        sizes.nth(run.messages - 1);
    }
    let result = match &departures[..count] {
        [] => Ok(0),
        [Departure { segment: 0, to, .. }] => io::send_parts_to(fd, &parts[..used], *to).map(|_| 1),
        departures => batch::send_batch(fd, &parts[..used], departures),
    };
    (count, result)
}
