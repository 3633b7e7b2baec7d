//! How links come and go: connect, listen, accept, adopt; half-dead, closed, released.
//!
//! `close` delivers what is queued and then closes; `abort` drops it and resets. Either way the link stays until
//! [`crate::Event::Gone`] was taken, so that no waiter is forgotten.

use crate::keepalive;
use crate::link::{Config, Counters, Fault, Host, Kind, Link, LinkId, flag};
use crate::reactor::{Reactor, Side, Slot};
use crate::supervise::Stall;
use crate::sys::address::SocketAddress;
use crate::sys::epoll::{EDGE, IN, OUT, PRI, RDHUP};
use crate::sys::socket::{self, Credentials};
use crate::sys::tcp_info::TcpInfo;
use crate::sys::{Errno, Result, icmp, io};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::rc::Rc;

/// How long a packet waits for room at a Unix datagram peer before it is tried again.
const RETRY_NS: u64 = 2_000_000;
/// A listener without descriptors looks again after so long.
const ACCEPT_PAUSE_NS: u64 = 50_000_000;
/// So often a closing connection discards what was not read, so that the close is an end and not a reset.
const DISCARD_READS: usize = 64;
/// Newcomers refused at a time before others have their turn.
const REFUSALS_PER_TURN: usize = 256;
/// Datagram peers that one listener holds when no limit is given.
const MAX_PEERS: usize = 65_536;

/// One socket option (setsockopt(2)), set before bind and connect.
#[derive(Clone, Debug)]
pub struct SocketOption {
    /// `SOL_SOCKET`, `IPPROTO_TCP` ...
    pub level: i32,
    /// `SO_KEEPALIVE` ...
    pub name: i32,
    /// In the kernel's form.
    pub value: Vec<u8>,
}

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

/// How a socket is opened.
#[derive(Debug)]
pub struct OpenOptions<'a> {
    /// `SOCK_STREAM`, `SOCK_DGRAM` or `SOCK_SEQPACKET`.
    pub kind: i32,
    /// Set before bind and connect, in order.
    pub options: &'a [SocketOption],
    /// The local address to take first, for connecting.
    pub bind: Option<&'a SocketAddress>,
    /// Pending connections that the kernel keeps, for listening.
    pub backlog: i32,
}

impl<H: Host> Reactor<H> {
    /// Starts to connect. Wait for [`crate::want::CONNECT`]; then [`Reactor::connected`] tells the outcome.
    pub fn connect(&mut self, to: &SocketAddress, how: &OpenOptions<'_>, config: &Rc<Config>) -> Result<LinkId> {
        let fd = open(to.family(), how)?;
        if let Some(local) = how.bind {
            socket::bind(fd.as_fd(), local)?;
        } else if to.family() == libc::AF_UNIX && how.kind == libc::SOCK_DGRAM {
            // Autobind: without a name of its own nobody could answer it (unix(7)).
            socket::bind(fd.as_fd(), &SocketAddress::Unnamed)?;
        }
        // While connecting, and for datagrams always: see `finish_connect`.
        icmp::keep_errors(fd.as_fd(), to.family(), true);
        let done = socket::connect(fd.as_fd(), to)?;
        let kind = kind_of(to.family(), how.kind);
        if done && kind == Kind::Tcp {
            icmp::keep_errors(fd.as_fd(), to.family(), false);
        }
        if kind == Kind::Seqpacket {
            socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
        }
        if kind == Kind::Tcp {
            keepalive::stagger(fd.as_fd(), self.live);
        }
        let mut link = Link::new(Some(fd), kind, config, to.clone());
        if !done {
            link.set(flag::CONNECTING | flag::OUT_WATCHED);
            link.unset(flag::WRITABLE);
        }
        self.insert(link)
    }

    /// The outcome of connecting, once [`crate::Event::Connected`] came.
    pub fn connected(&self, id: LinkId) -> std::result::Result<(), Fault> {
        match self.get(id).map(|link| link.fault.as_deref()) {
            Some(None) => Ok(()),
            Some(Some(fault)) => Err(fault.clone()),
            None => Err(Fault::Lost(Errno(libc::ECANCELED))),
        }
    }

    pub(crate) fn finish_connect(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        if !link.has(flag::CONNECTING) {
            return;
        }
        let error = link.borrow_fd().and_then(socket::take_error);
        // An ICMP message that came between the handshake's end and this moment harms an established connection as
        // little as a later one.
        let established = error.is_none() || link.borrow_fd().is_some_and(|fd| socket::peer_address(fd).is_ok());
        match error {
            Some(error) if !established => link.fail(Fault::Lost(error)),
            _ => {
                // From now on one forged message could end the connection.
                if let (Kind::Tcp, Some(fd)) = (link.kind, link.borrow_fd()) {
                    icmp::keep_errors(fd, link.peer.family(), false);
                }
            }
        }
        link.unset(flag::CONNECTING);
        self.mark_dirty(id);
    }

    /// Binds and listens; for datagrams binds.
    pub fn listen(&mut self, at: &SocketAddress, how: &OpenOptions<'_>, config: &Rc<Config>) -> Result<LinkId> {
        let fd = open(at.family(), how)?;
        socket::bind(fd.as_fd(), at)?;
        if how.kind != libc::SOCK_DGRAM {
            socket::listen(fd.as_fd(), how.backlog)?;
        }
        self.adopt_listener(fd, how.kind, config)
    }

    /// Binds a datagram socket that talks to anyone: [`Kind::Endpoint`].
    pub fn bind(&mut self, at: &SocketAddress, how: &OpenOptions<'_>, config: &Rc<Config>) -> Result<LinkId> {
        let fd = open(at.family(), how)?;
        socket::bind(fd.as_fd(), at)?;
        self.insert(Link::new(Some(fd), Kind::Endpoint, config, SocketAddress::Unnamed))
    }

    /// Takes a socket that listens already (for datagrams: is bound).
    pub fn adopt_listener(&mut self, fd: OwnedFd, socket_kind: i32, config: &Rc<Config>) -> Result<LinkId> {
        // accept(2) knows no MSG_DONTWAIT.
        socket::set_nonblocking(fd.as_fd())?;
        let kind = if socket_kind == libc::SOCK_DGRAM { Kind::DatagramListener } else { Kind::Listener };
        let mut link = Link::new(Some(fd), kind, config, SocketAddress::Unnamed);
        if let (Kind::Listener, Some(part)) = (kind, &mut link.listener) {
            part.reserve = spare_descriptor();
        }
        self.insert(link)
    }

    /// Takes a connected socket.
    pub fn adopt(&mut self, fd: OwnedFd, kind: Kind, config: &Rc<Config>) -> Result<LinkId> {
        if kind == Kind::Seqpacket {
            socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1)?;
        }
        let peer = socket::peer_address(fd.as_fd()).unwrap_or_default();
        self.insert(Link::new(Some(fd), kind, config, peer))
    }

    /// A connected pair of links.
    pub fn pair(&mut self, socket_kind: i32, config: &Rc<Config>) -> Result<(LinkId, LinkId)> {
        let (one, two) = socket::pair(socket_kind)?;
        let kind = kind_of(libc::AF_UNIX, socket_kind);
        let one = self.adopt(one, kind, config)?;
        match self.adopt(two, kind, config) {
            Ok(two) => Ok((one, two)),
            Err(error) => {
                self.abort(one);
                Err(error)
            }
        }
    }

    fn insert(&mut self, mut link: Link<H>) -> Result<LinkId> {
        let index = self.free.pop().map_or(self.slots.len(), |index| index as usize);
        if index == self.slots.len() {
            self.slots.push(Slot { generation: 1, link: None });
        }
        let id = LinkId::new(index, self.slots[index].generation);
        link.prepare_datagrams();
        if let Some(fd) = link.raw_fd()
            && let Err(error) = self.epoll.add(fd, events_of(&link), id.0)
        {
            self.free.push(index as u32);
            return Err(error);
        }
        self.slots[index].link = Some(link);
        self.live += 1;
        Ok(id)
    }

    /// Whether [`Reactor::accept`] has something to give.
    pub(crate) fn acceptable(&mut self, id: LinkId) -> bool {
        let Some(link) = self.get(id) else { return true };
        match &link.listener {
            Some(part) if link.kind == Kind::DatagramListener => !part.newcomers.is_empty() || link.fault.is_some(),
            _ => link.has(flag::READABLE) || link.fault.is_some(),
        }
    }

    /// The next connection, or the next new datagram peer. `Ok(None)`: none waits.
    ///
    /// Beyond the listener's `max_clients`, and without a free descriptor, newcomers are refused by a reset and counted.
    /// After an error the listener looks again by itself a little later, if that can help.
    pub fn accept(&mut self, id: LinkId) -> Result<Option<LinkId>> {
        for _ in 0..REFUSALS_PER_TURN {
            let index = id.index();
            let Some(link) = self.get_mut(id) else { return Err(Errno(libc::EBADF)) };
            let Some(part) = &mut link.listener else { return Err(Errno(libc::EINVAL)) };
            if link.kind == Kind::DatagramListener {
                match part.newcomers.pop_front() {
                    Some(peer) if self.get(peer).is_none() => continue,
                    peer => return Ok(peer),
                }
            }
            if !link.has(flag::READABLE) {
                return Ok(None);
            }
            let Some(link) = self.slots[index].link.as_ref() else { return Ok(None) };
            let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EBADF)) };
            match socket::accept(fd.as_fd()) {
                Ok((fd, peer)) => {
                    if let Some(new) = self.accepted(id, fd, peer)? {
                        return Ok(Some(new));
                    }
                }
                Err(error) if error.would_block() => {
                    if let Some(link) = self.get_mut(id) {
                        link.unset(flag::READABLE);
                    }
                    return Ok(None);
                }
                Err(Errno(libc::EMFILE | libc::ENFILE)) if self.refuse_with_reserve(id) => {}
                // The connection was gone before it was taken; the next one may be well (accept(2)).
                Err(Errno(
                    libc::ECONNABORTED
                    | libc::EPERM
                    | libc::EPROTO
                    | libc::ENOPROTOOPT
                    | libc::ENETDOWN
                    | libc::ENETUNREACH
                    | libc::EHOSTDOWN
                    | libc::EHOSTUNREACH,
                )) => {}
                Err(error) => {
                    if let Some(link) = self.get_mut(id) {
                        link.unset(flag::READABLE);
                    }
                    if matches!(error.0, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) {
                        self.set_deadline(id, Side::Life, self.now + ACCEPT_PAUSE_NS);
                    }
                    return Err(error);
                }
            }
        }
        self.put_off(id);
        Ok(None)
    }

    fn accepted(&mut self, listener: LinkId, fd: OwnedFd, peer: SocketAddress) -> Result<Option<LinkId>> {
        let Some(link) = self.get_mut(listener) else { return Ok(None) };
        let config = link.config.clone();
        let Some(part) = &mut link.listener else { return Ok(None) };
        if part.clients >= config.max_clients {
            part.refused += 1;
            // With a zero linger time the drop below is a reset: the client learns at once.
            let _ = socket::set_linger(fd.as_fd(), 0);
            return Ok(None);
        }
        let family = peer.family();
        let seqpacket = family == libc::AF_UNIX
            && socket::option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_TYPE) == Ok(libc::SOCK_SEQPACKET);
        let kind = kind_of(family, if seqpacket { libc::SOCK_SEQPACKET } else { libc::SOCK_STREAM });
        if kind == Kind::Seqpacket {
            let _ = socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1);
        }
        if kind == Kind::Tcp {
            keepalive::stagger(fd.as_fd(), self.live);
        }
        let mut new = Link::new(Some(fd), kind, &config, peer);
        new.parent = listener;
        let new = self.insert(new)?;
        if let Some(part) = self.get_mut(listener).and_then(|link| link.listener.as_mut()) {
            part.clients += 1;
        }
        Ok(Some(new))
    }

    /// Takes one connection with the descriptor kept back for this, and resets it. True also when none waits: without
    /// a free descriptor accept(2) does not look.
    fn refuse_with_reserve(&mut self, id: LinkId) -> bool {
        let index = id.index();
        let Some(link) = self.slots[index].link.as_mut() else { return false };
        let Some(part) = &mut link.listener else { return false };
        if part.reserve.take().is_none() {
            return false;
        }
        let Some(fd) = link.fd.as_ref() else { return false };
        let taken = socket::accept(fd.as_fd());
        let refused = match &taken {
            Ok((new, _)) => {
                let _ = socket::set_linger(new.as_fd(), 0);
                part.refused += 1;
                true
            }
            Err(error) => {
                let none_waits = error.would_block();
                if none_waits {
                    link.unset(flag::READABLE);
                }
                none_waits
            }
        };
        drop(taken);
        if let Some(part) = &mut link.listener {
            part.reserve = spare_descriptor();
        }
        refused
    }

    /// The peer of a datagram listener, made when it is new. `None` when there are too many.
    pub(crate) fn peer_of(&mut self, listener: LinkId, from: SocketAddress) -> Option<LinkId> {
        let link = self.get_mut(listener)?;
        let config = link.config.clone();
        let part = link.listener.as_mut()?;
        if let Some(id) = part.peers.get(&from) {
            return Some(*id);
        }
        if part.peers.len() >= config.max_clients.min(MAX_PEERS) {
            part.refused += 1;
            return None;
        }
        let mut new = Link::new(None, Kind::DatagramPeer, &config, from.clone());
        new.parent = listener;
        let id = self.insert(new).ok()?;
        let now = self.now;
        if config.idle_ns > 0 {
            self.set_deadline(id, Side::Life, now + config.idle_ns);
        }
        let part = self.get_mut(listener)?.listener.as_mut()?;
        part.peers.insert(from, id);
        part.clients += 1;
        part.newcomers.push_back(id);
        self.notify(listener);
        Some(id)
    }

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
            Kind::Listener => {
                if let Some(part) = &mut link.listener
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
        if let Some(part) = &link.listener {
            // What the peers were sent in this turn leaves before their socket goes.
            for peer in part.peers.values().copied().collect::<Vec<_>>() {
                self.distribute_to(peer);
                self.transmit(peer);
            }
            self.finish_close(id);
            return;
        }
        if link.is_broken() || link.is_flushed() || link.has(flag::CONNECTING) {
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
        link.set(flag::CLOSING);
        self.leave_group(id);
        self.drop_socket(id);
    }

    pub(crate) fn finish_close(&mut self, id: LinkId) {
        self.abandon_queue(id);
        self.probe_as_before(id);
        let Some(link) = self.get_mut(id) else { return };
        if matches!(link.kind, Kind::Tcp | Kind::UnixStream | Kind::Seqpacket)
            && link.fault.is_none()
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
        link.fd = None;
        link.beside = None;
        link.large = None;
        link.front = None;
        let packets = link.packets.take().map_or(0, |packets| packets.cost);
        let parked = std::mem::take(&mut link.inbox).len() + packets;
        link.inbox_at = 0;
        let (parent, peer) = (link.parent, link.peer.clone());
        let datagram = link.kind == Kind::DatagramPeer;
        let (newcomers, orphans) = match &mut link.listener {
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
        if let Some(part) = self.get_mut(parent).and_then(|link| link.listener.as_mut()) {
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

    /// How the link of the last [`crate::Event::Gone`] ended.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// How the link ended, once its socket is closed; `None` before, and when its [`crate::Event::Gone`] was taken.
    pub fn ended(&self, id: LinkId) -> Option<Ending> {
        let link = self.get(id).filter(|link| link.has(flag::GONE))?;
        Some(ending_of(link))
    }

    /// The kind; `None` if there is no such link.
    pub fn kind(&self, id: LinkId) -> Option<Kind> {
        self.get(id).map(|link| link.kind)
    }

    /// The descriptor; a datagram peer has its listener's.
    pub fn raw_fd(&self, id: LinkId) -> Option<RawFd> {
        let link = self.get(id)?;
        link.raw_fd().or_else(|| self.get(link.parent)?.raw_fd())
    }

    /// The peer's address; of a listener: unnamed.
    pub fn peer(&self, id: LinkId) -> Option<&SocketAddress> {
        self.get(id).map(|link| &link.peer)
    }

    /// The listener that made it.
    pub fn parent(&self, id: LinkId) -> Option<LinkId> {
        self.get(id).map(|link| link.parent)
    }

    /// The address of our end.
    pub fn local(&self, id: LinkId) -> Option<SocketAddress> {
        let link = self.get(id)?;
        let fd = link.fd.as_ref().or_else(|| self.get(link.parent)?.fd.as_ref())?;
        socket::local_address(fd.as_fd()).ok()
    }

    /// Process and user of a Unix peer.
    pub fn credentials(&self, id: LinkId) -> Option<Credentials> {
        let link = self.get(id)?;
        if !matches!(link.kind, Kind::UnixStream | Kind::Seqpacket) {
            return None;
        }
        socket::credentials(link.fd.as_ref()?.as_fd())
    }

    /// What the kernel knows of a TCP connection; `None` on other links, and once closed.
    pub fn tcp_info(&self, id: LinkId) -> Option<TcpInfo> {
        let link = self.get(id).filter(|link| link.kind == Kind::Tcp)?;
        TcpInfo::of(link.borrow_fd()?).ok()
    }

    /// What passed through.
    pub fn counters(&self, id: LinkId) -> Option<Counters> {
        self.get(id).map(|link| Counters { kernel_dropped: link.kernel_dropped(), ..link.counters })
    }

    /// Wall-clock nanoseconds of its begin.
    pub fn since(&self, id: LinkId) -> Option<u64> {
        self.get(id).map(|link| link.since)
    }

    /// A listener's clients and how many it refused.
    pub fn clients(&self, id: LinkId) -> Option<(usize, u64)> {
        let part = self.get(id)?.listener.as_ref()?;
        Some((part.clients, part.refused))
    }

    /// The link's fault, if it has one; of the receiving or the sending side.
    pub fn fault(&self, id: LinkId) -> Option<Fault> {
        self.get(id)?.fault.as_deref().cloned()
    }

    /// Whether a datagram peer ended because of its idle time.
    pub fn is_idle(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(|link| link.has(flag::IDLE))
    }

    /// Whether [`Reactor::close`] or [`Reactor::abort`] was called, or there is no such link.
    pub fn is_closing(&self, id: LinkId) -> bool {
        self.get(id).is_none_or(|link| link.has(flag::CLOSING | flag::GONE))
    }

    /// Divides the incoming bytes differently from now on; gives the framer used before.
    ///
    /// What is unclaimed is divided anew, also what a framing that was swapped in found unacceptable. Only a large
    /// message that the configured framing has begun to receive is still received as that.
    pub fn swap_framer(&mut self, id: LinkId, framer: Rc<crate::frame::Framer>) -> Option<Rc<crate::frame::Framer>> {
        let link = self.get_mut(id)?;
        link.scan = 0;
        if !link.kind.is_packet() {
            link.front = None;
            let swapped_in = !Rc::ptr_eq(&link.framer, &link.config.framer);
            if swapped_in && matches!(link.fault.as_deref(), Some(Fault::Frame(_))) {
                link.fault = None;
            }
        }
        Some(std::mem::replace(&mut link.framer, framer))
    }

    /// What the link was configured with.
    pub fn config(&self, id: LinkId) -> Option<Rc<Config>> {
        self.get(id).map(|link| link.config.clone())
    }

    /// Whether anything is waited for on the link.
    pub fn wanted(&self, id: LinkId) -> u8 {
        self.get(id).map_or(0, |link| link.want)
    }
}

fn ending_of<H: Host>(link: &Link<H>) -> Ending {
    let stall = link.watch.as_ref().and_then(|watch| watch.stall);
    Ending { counters: link.counters, complete: !link.has(flag::CUT_SHORT), stall }
}

fn open(family: i32, how: &OpenOptions<'_>) -> Result<OwnedFd> {
    let fd = socket::socket(family, how.kind)?;
    for option in how.options {
        socket::set_option_bytes(fd.as_fd(), option.level, option.name, &option.value)?;
    }
    Ok(fd)
}

/// What epoll watches for a link. Writability only while it is missing: a Unix or UDP socket reports it again
/// after every message that its peer takes, and each report would wake the loop for nothing.
fn events_of<H: Host>(link: &Link<H>) -> u32 {
    let events = if link.kind.is_listener() { IN | EDGE } else { IN | RDHUP | PRI | EDGE };
    if link.has(flag::OUT_WATCHED) { events | OUT } else { events }
}

pub(crate) fn kind_of(family: i32, socket_kind: i32) -> Kind {
    match (family, socket_kind) {
        (_, libc::SOCK_SEQPACKET) => Kind::Seqpacket,
        (_, libc::SOCK_DGRAM) => Kind::Datagram,
        (libc::AF_UNIX, _) => Kind::UnixStream,
        _ => Kind::Tcp,
    }
}

fn spare_descriptor() -> Option<OwnedFd> {
    socket::socket(libc::AF_UNIX, libc::SOCK_DGRAM).ok()
}
