//! How links wait for room and end: half-dead, closed, released.
//!
//! `close` delivers what is queued and then closes; `abort` drops it and resets. Either way the link stays until
//! [`crate::Event::Gone`] was taken, so that no waiter is forgotten.

use crate::accepting::spare_descriptor;
use crate::counters::Counters;
use crate::host::Host;
use crate::link::{Fault, Kind, Link, LinkId, flag};
use crate::opening::events_of;
use crate::reactor::{Reactor, Side};
use crate::supervise::Stall;
use crate::sys::{Errno, file, io, socket};
use std::collections::VecDeque;

/// How long a packet waits for room at a Unix datagram peer before it is tried again.
const RETRY_NS: u64 = 2_000_000;
/// So often a closing connection discards what was not read, so that the close is an end and not a reset.
const DISCARD_READS: usize = 64;

/// How a link ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending {
    /// The last state of its counters.
    pub counters: Counters,
    /// The kernel took every message that was queued at the end.
    pub complete: bool,
    /// The close ran out of time because the peer lives and does not read.
    pub stall: Option<Stall>,
}

impl<H: Host> Reactor<H> {
    /// A full Unix datagram peer is tried again soon.
    pub(crate) fn retry_later(&mut self, id: LinkId) {
        let at = self.now + RETRY_NS;
        self.set_deadline(id, Side::Retry, at);
    }

    /// A lifetime has passed: idle peers end, closes that could not deliver are cut, paused listeners look again.
    pub(crate) fn life_expired(&mut self, id: LinkId) {
        let now = self.now;
        let Some(link) = self.get_mut(id) else { return };
        link.deadlines[Side::Life as usize] = 0;
        if link.has(flag::CLOSING) {
            self.note_stall(id);
            self.abort(id);
            return;
        }
        if self.silence_expired(id) {
            return;
        }
        let Some(link) = self.get_mut(id) else { return };
        match link.kind {
            Kind::DatagramPeer => {
                let last = link.counters.last_in.max(link.counters.last_out);
                let idle_ns = link.config.idle_ns;
                if last + idle_ns > now {
                    self.set_deadline(id, Side::Life, last + idle_ns);
                } else {
                    link.set(flag::END | flag::IDLE);
                    self.notify(id);
                }
            }
            Kind::Tcp if link.has(flag::HANDSHAKING) => self.handshake_expired(id),
            Kind::Listener => {
                if let Some(part) = link.rare.listener_mut()
                    && part.reserve.is_none()
                {
                    part.reserve = spare_descriptor();
                }
                link.set(flag::READABLE);
                self.notify(id);
            }
            _ => {}
        }
    }

    /// Closes: what is queued still leaves, until `deadline` (monotonic nanoseconds, 0 for none).
    pub fn close(&mut self, id: LinkId, deadline: u64) {
        self.distribute_to(id);
        let Some(link) = self.get_mut(id) else { return };
        if link.has(flag::CLOSING | flag::GONE) {
            return;
        }
        link.set(flag::CLOSING);
        link.deadlines[Side::Life as usize] = 0;
        self.leave_group(id);
        self.notify(id);
        let Some(link) = self.get_mut(id) else { return };
        if let Some(part) = &link.rare.listener {
            // What the peers were sent in this turn leaves before their socket goes.
            for peer in part.peers.values().copied().collect::<Vec<_>>() {
                self.distribute_to(peer);
                self.transmit(peer);
            }
            self.finish_close(id);
            return;
        }
        let done = link.is_broken() || link.has(flag::CONNECTING) || (link.is_flushed() && !link.owes_end());
        if done && !self.is_draining(id) {
            self.finish_close(id);
            return;
        }
        if deadline != 0 {
            self.set_deadline(id, Side::Life, deadline);
        }
        self.mark_dirty(id);
    }

    /// Closes at once: what is queued is dropped and a stream's peer sees a reset.
    pub fn abort(&mut self, id: LinkId) {
        self.distribute_to(id);
        self.abandon_queue(id);
        let Some(link) = self.get_mut(id) else { return };
        if matches!(link.kind, Kind::Tcp)
            && let Some(fd) = link.borrow_fd()
        {
            let _ = socket::set_linger(fd, 0);
        }
        if link.kind == Kind::File
            && let Some(fd) = link.borrow_fd()
        {
            file::discard_unsent(fd);
        }
        link.set(flag::CLOSING);
        self.leave_group(id);
        self.drop_socket(id);
    }

    pub(crate) fn finish_close(&mut self, id: LinkId) {
        self.abandon_queue(id);
        self.probe_as_before(id);
        let Some(link) = self.get_mut(id) else { return };
        if matches!(link.kind, Kind::Tcp | Kind::UnixStream | Kind::Seqpacket)
            && (!link.is_broken() || matches!(link.fault.as_deref(), Some(Fault::Tls(_))))
            && !link.has(flag::END)
            && let Some(fd) = link.borrow_fd()
        {
            // Closing with unread bytes would send a reset, which can destroy what was just sent (RFC 1122, 4.2.2.13;
            // a Unix peer is told ECONNRESET instead of the end).
            let mut sink = [0; 16 * 1024];
            for _ in 0..DISCARD_READS {
                let more = match link.kind {
                    Kind::Seqpacket => io::receive_packet(fd, &mut sink, None).is_ok_and(|packet| packet.has_control),
                    _ => io::receive(fd, io::uninit(&mut sink), 0).is_ok_and(|count| count > 0),
                };
                if !more {
                    break;
                }
            }
        }
        self.drop_socket(id);
    }

    pub(crate) fn drop_socket(&mut self, id: LinkId) {
        if self.rx_owner == id {
            self.rx_owner = LinkId::NONE;
            (self.rx_from, self.rx_to) = (0, 0);
        }
        if self.arrivals.owner == id {
            self.arrivals.clear();
        }
        let Some(link) = self.get_mut(id) else { return };
        if link.has(flag::GONE) {
            return;
        }
        link.counters.kernel_dropped = link.kernel_dropped();
        link.set(flag::GONE);
        link.rare.forget(|parts| (parts.restore, parts.beside) = (None, None));
        link.fd = None;
        link.unset(flag::HANDSHAKING);
        link.large = None;
        link.front = None;
        let packets = link.packets.take().map_or(0, |packets| packets.cost);
        let parked = link.inbox.clear() + packets;
        let (parent, peer) = (link.parent, link.peer.clone());
        let datagram = link.kind == Kind::DatagramPeer;
        let (newcomers, orphans) = match link.rare.listener_mut() {
            Some(part) => {
                let newcomers = std::mem::take(&mut part.newcomers);
                (newcomers, part.peers.drain().map(|(_, id)| id).collect())
            }
            None => (VecDeque::new(), Vec::new()),
        };
        self.parked -= parked;
        for newcomer in newcomers {
            // Nobody has heard of it, so nobody would close it.
            self.abort(newcomer);
        }
        if let Some(part) = self.get_mut(parent).and_then(|link| link.rare.listener_mut()) {
            part.clients = part.clients.saturating_sub(1);
            if datagram && part.peers.get(&peer) == Some(&id) {
                part.peers.remove(&peer);
            }
        }
        for orphan in orphans {
            // Without the listener's socket its peers can neither hear nor speak.
            if let Some(link) = self.get_mut(orphan) {
                link.set(flag::END);
                link.fail(Fault::Lost(Errno(libc::ESHUTDOWN)));
                self.notify(orphan);
            }
        }
        self.notify(id);
    }

    /// Frees the link's place.
    pub(crate) fn release(&mut self, id: LinkId) {
        let slot = &mut self.slots[id.index()];
        if let Some(link) = slot.link.take() {
            self.ending = ending_of(&link);
        }
        // Generations 0 and MAX mean other things.
        slot.generation = if slot.generation >= u32::MAX - 1 { 1 } else { slot.generation + 1 };
        self.free.push(id.index() as u32);
        self.live -= 1;
    }

    /// Every link is dropped without a word: the owner's loop is gone.
    pub fn clear(&mut self) {
        for index in 0..self.slots.len() {
            if self.slots[index].link.is_some() {
                self.release(LinkId::new(index, self.slots[index].generation));
            }
        }
        self.ready.clear();
        self.dirty.clear();
        self.rx_owner = LinkId::NONE;
        self.arrivals.clear();
        (self.rx_from, self.rx_to, self.parked) = (0, 0, 0);
    }

    /// The kernel took no more: its report that it does again is asked for.
    pub(crate) fn wait_for_room(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id) {
            link.unset(flag::WRITABLE);
            if !link.has(flag::OUT_WATCHED) {
                link.set(flag::OUT_WATCHED);
                self.rewatch_link(id);
            }
        }
    }

    /// Room was reported and nobody needs it.
    pub(crate) fn stop_waiting_for_room(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && link.has(flag::OUT_WATCHED)
        {
            link.unset(flag::OUT_WATCHED);
            self.rewatch_link(id);
        }
    }

    fn rewatch_link(&mut self, id: LinkId) {
        let Some((fd, events)) = self.get(id).and_then(|link| Some((link.raw_fd()?, events_of(link)))) else { return };
        if let Err(error) = self.epoll.modify(fd, events, id.0)
            && let Some(link) = self.get_mut(id)
        {
            link.fail(Fault::Lost(error));
            self.notify(id);
        }
    }

    // ----- facts -----
}

pub(crate) fn ending_of<H: Host>(link: &Link<H>) -> Ending {
    let stall = link.watch.as_ref().and_then(|watch| watch.stall);
    Ending { counters: link.counters, complete: !link.has(flag::CUT_SHORT), stall }
}
