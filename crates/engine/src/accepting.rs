//! What a listener gives: connections, those that are refused, and the peers of datagram listeners.

use crate::host::Host;
use crate::keepalive;
use crate::link::{Kind, Link, LinkId, flag};
use crate::opening::kind_of;
use crate::reactor::{Reactor, Side};
use crate::sys::address::SocketAddress;
use crate::sys::socket;
use crate::sys::{Errno, Result};
use std::os::fd::{AsFd, OwnedFd};

/// A listener without descriptors looks again after so long.
const ACCEPT_PAUSE_NS: u64 = 50_000_000;
/// Newcomers refused at a time before others have their turn.
const REFUSALS_PER_TURN: usize = 256;
/// Encrypted newcomers that are held while nobody accepts them.
const GREETED: usize = 64;
/// Datagram peers that one listener holds when no limit is given.
const MAX_PEERS: usize = 65_536;

impl<H: Host> Reactor<H> {
    /// Whether [`Reactor::accept`] has something to give.
    pub(crate) fn acceptable(&mut self, id: LinkId) -> bool {
        let Some(link) = self.get(id) else { return true };
        match &link.rare.listener {
            Some(part) if !part.newcomers.is_empty() => true,
            _ if link.kind == Kind::DatagramListener => link.fault.is_some(),
            Some(part) if part.on_request => link.fault.is_some(),
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
            let Some(part) = link.rare.listener_mut() else { return Err(Errno(libc::EINVAL)) };
            let (datagrams, on_request) = (link.kind == Kind::DatagramListener, part.on_request);
            match part.newcomers.pop_front() {
                Some(peer) if self.is_closing(peer) => continue,
                None if !datagrams => {}
                peer => {
                    if !datagrams {
                        // Who else has come is greeted, if nobody accepts any more: the kernel does not tell it again.
                        self.notify(id);
                    }
                    return Ok(peer);
                }
            }
            if on_request {
                return Ok(None);
            }
            let Some(link) = self.get_mut(id) else { return Err(Errno(libc::EBADF)) };
            if !link.has(flag::READABLE) {
                return Ok(None);
            }
            let Some(link) = self.slots[index].link.as_ref() else { return Ok(None) };
            let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EBADF)) };
            match socket::accept(fd.as_fd()) {
                Ok((fd, peer)) => match self.accepted(id, fd, peer)? {
                    Some(new) if self.get(new).is_some_and(|link| link.has(flag::HANDSHAKING)) => {
                        self.shake_hands(new);
                    }
                    Some(new) => return Ok(Some(new)),
                    None => {}
                },
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

    /// Begins the handshakes of some newcomers before anybody accepts them, as the kernel does with TCP's: a client that
    /// connects need not wait until its server accepts.
    pub(crate) fn greet(&mut self, id: LinkId) {
        for _ in 0..GREETED {
            let Some(link) = self.get(id) else { return };
            let Some(part) = link.rare.listener.as_ref() else { return };
            let waiting = part.unfinished + part.newcomers.len();
            if part.on_request || waiting >= GREETED || !link.has(flag::READABLE) || link.fault.is_some() {
                return;
            }
            let Some(fd) = link.fd.as_ref() else { return };
            match socket::accept(fd.as_fd()) {
                Ok((fd, peer)) => {
                    if let Ok(Some(new)) = self.accepted(id, fd, peer) {
                        self.shake_hands(new);
                    }
                }
                Err(error) if error.would_block() => {
                    if let Some(link) = self.get_mut(id) {
                        link.unset(flag::READABLE);
                    }
                }
                // Who accepts is told.
                Err(_) => return,
            }
        }
    }

    /// From now on newcomers of an encrypted listener are taken by [`Reactor::admit`] alone: its socket is shared.
    pub fn admit_singly(&mut self, id: LinkId) {
        if let Some(part) = self.get_mut(id).and_then(|link| link.rare.listener_mut()) {
            part.on_request = true;
        }
    }

    /// Takes one newcomer, whose handshake begins; whether there was one.
    pub fn admit(&mut self, id: LinkId) -> Result<bool> {
        let Some(fd) = self.get(id).and_then(Link::borrow_fd) else { return Err(Errno(libc::EBADF)) };
        let (fd, peer) = match socket::accept(fd) {
            Err(error) if error.would_block() => return Ok(false),
            outcome => outcome?,
        };
        if let Some(new) = self.accepted(id, fd, peer)? {
            self.shake_hands(new);
        }
        Ok(true)
    }

    fn accepted(&mut self, listener: LinkId, fd: OwnedFd, peer: SocketAddress) -> Result<Option<LinkId>> {
        let now = self.now;
        let Some(link) = self.get_mut(listener) else { return Ok(None) };
        let config = link.config.clone();
        let Some(part) = link.rare.listener_mut() else { return Ok(None) };
        if part.clients >= config.max_clients {
            part.refused += 1;
            // With a zero linger time the drop below is a reset: the client learns at once.
            let _ = socket::set_linger(fd.as_fd(), 0);
            return Ok(None);
        }
        if config.tls.as_deref().is_some_and(|terms| !part.may_shake_hands(terms, &peer, now)) {
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
        self.begin_tls(&mut new)?;
        if new.tls.is_some() {
            new.set(flag::HANDSHAKING | flag::READABLE);
        }
        let new = self.insert(new)?;
        if let Some(part) = self.get_mut(listener).and_then(|link| link.rare.listener_mut()) {
            part.clients += 1;
        }
        Ok(Some(new))
    }

    /// Takes one connection with the descriptor kept back for this, and resets it. True also when none waits: without
    /// a free descriptor accept(2) does not look.
    fn refuse_with_reserve(&mut self, id: LinkId) -> bool {
        let index = id.index();
        let Some(link) = self.slots[index].link.as_mut() else { return false };
        let Some(part) = link.rare.listener_mut() else { return false };
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
        if let Some(part) = link.rare.listener_mut() {
            part.reserve = spare_descriptor();
        }
        refused
    }

    /// The next datagram peer that nobody has accepted yet.
    pub(crate) fn next_newcomer(&mut self, listener: LinkId) -> Option<LinkId> {
        let link = self.get_mut(listener).filter(|link| link.kind == Kind::DatagramListener)?;
        link.rare.listener_mut()?.newcomers.pop_front()
    }

    /// The peer of a datagram listener, made when it is new. `None` when there are too many.
    pub(crate) fn peer_of(&mut self, listener: LinkId, from: SocketAddress) -> Option<LinkId> {
        let link = self.get_mut(listener)?;
        let config = link.config.clone();
        let part = link.rare.listener_mut()?;
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
        let part = self.get_mut(listener)?.rare.listener_mut()?;
        part.peers.insert(from, id);
        part.clients += 1;
        part.newcomers.push_back(id);
        self.notify(listener);
        Some(id)
    }
}

pub(crate) fn spare_descriptor() -> Option<OwnedFd> {
    socket::socket(libc::AF_UNIX, libc::SOCK_DGRAM).ok()
}
