//! Sockets from elsewhere and to elsewhere: taken over, given away whole or not at all, their options read and set.

use crate::host::Host;
use crate::link::{Config, Fault, Kind, Link, LinkId, flag};
use crate::opening::kind_of;
use crate::reactor::Reactor;
use crate::sys::{Errno, Result, socket};
use crate::tls::Session;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Why a link keeps its descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetachError {
    /// It is closed or being closed.
    Closed,
    /// It is still connecting.
    Connecting,
    /// A datagram peer has no descriptor of its own, and a datagram listener with peers lends it to them.
    Shared,
    /// It is a member of a group; see [`Reactor::hand_over`].
    Grouped,
    /// It is at fault.
    Fault(Fault),
    /// Bytes were received that nobody has claimed: they would be lost.
    Unclaimed,
    /// Bytes wait to be sent.
    Queued {
        /// So many.
        bytes: usize,
        /// In so many messages.
        messages: usize,
    },
    /// It is a native client: its session is here.
    Native,
    /// Descriptors or an urgent byte go with a message that it holds.
    Beside,
    /// Its keys are in this process.
    Encrypted,
    /// The kernel refused to stop watching it.
    Kernel(Errno),
}

/// What a socket is that somebody else has opened.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub family: i32,
    /// `SOCK_STREAM`, `SOCK_DGRAM` or `SOCK_SEQPACKET`.
    pub kind: i32,
    /// It listens, or is a datagram socket that is bound and not connected.
    pub listens: bool,
}

/// Why a socket was not taken, and the socket itself.
pub type NotTaken = (Errno, Option<OwnedFd>);

impl<H: Host> Reactor<H> {
    /// Takes a socket that somebody else has opened. On an error the caller has it back: it is in use here already
    /// (EEXIST), or the kernel cannot watch it.
    pub fn take_over(
        &mut self,
        fd: OwnedFd,
        what: Opened,
        config: &Rc<Config>,
    ) -> std::result::Result<LinkId, NotTaken> {
        // Whatever can be refused is refused here, before the link owns the descriptor.
        let watched = self.epoll.add(fd.as_raw_fd(), 0, 0).and_then(|()| self.epoll.remove(fd.as_raw_fd()));
        if let Err(error) = watched {
            return Err((error, Some(fd)));
        }
        let link = if what.listens {
            self.adopt_listener(fd, what.kind, config)
        } else {
            self.adopt(fd, kind_of(what.family, what.kind), config)
        };
        link.map_err(|error| (error, None))
    }

    /// Takes the descriptor out of a link, which is gone then ([`crate::Event::Gone`] follows); the connection goes on.
    ///
    /// What is queued and the kernel takes at once leaves before. Refuses, and the link goes on, when bytes that the
    /// link holds would be lost with it. The descriptor is still non-blocking.
    pub fn detach(&mut self, id: LinkId) -> std::result::Result<OwnedFd, DetachError> {
        self.transmit(id);
        let unclaimed = self.rx_owner == id && self.rx_from < self.rx_to || self.has_arrived(id);
        let Some(link) = self.get_mut(id) else { return Err(DetachError::Closed) };
        if link.has(flag::CLOSING | flag::GONE) {
            return Err(DetachError::Closed);
        }
        if link.has(flag::CONNECTING) {
            return Err(DetachError::Connecting);
        }
        let lent =
            link.rare.listener.as_ref().is_some_and(|part| link.kind == Kind::DatagramListener && part.clients > 0);
        if link.kind == Kind::DatagramPeer || lent {
            return Err(DetachError::Shared);
        }
        if link.tls.is_some() {
            return Err(DetachError::Encrypted);
        }
        if link.membership.is_some() && !link.kind.is_listener() {
            return Err(DetachError::Grouped);
        }
        if let Some(fault) = &link.fault {
            return Err(DetachError::Fault((**fault).clone()));
        }
        if unclaimed || !link.inbox.is_empty() || link.front.is_some() || link.large.is_some() || link.packets.is_some()
        {
            return Err(DetachError::Unclaimed);
        }
        if let Some(queue) = link.out.as_ref().filter(|queue| !queue.is_empty()) {
            return Err(DetachError::Queued { bytes: queue.bytes(), messages: queue.messages() });
        }
        let seqpacket = link.kind == Kind::Seqpacket;
        self.probe_as_before(id);
        let joins = self.get(id).is_some_and(|link| link.has(flag::IP));
        let Some(link) = self.get_mut(id) else { return Err(DetachError::Closed) };
        let Some(fd) = link.fd.take() else { return Err(DetachError::Closed) };
        if let Err(error) = self.epoll.remove(fd.as_raw_fd()) {
            if let Some(link) = self.get_mut(id) {
                link.fd = Some(fd);
            }
            return Err(DetachError::Kernel(error));
        }
        if seqpacket {
            // Set by the reactor to tell the end from an empty packet; see `advance_packet`.
            let _ = socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 0);
        }
        if joins {
            // Who knows nothing of it would take a run of datagrams for a long one.
            let _ = socket::set_option(fd.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 0);
        }
        self.leave_group(id);
        if let Some(restore) = self.get_mut(id).and_then(|link| link.rare.get_mut()?.restore.take()) {
            restore.keep();
        }
        self.drop_socket(id);
        Ok(fd)
    }

    /// The same with its TLS, if it has one: what was received and not decrypted goes along. On an error it has it still.
    pub fn detach_sealed(&mut self, id: LinkId) -> std::result::Result<(OwnedFd, Option<Box<Session>>), DetachError> {
        let done = |link: &Link<H>| !link.has(flag::CONNECTING | flag::HANDSHAKING) && link.sealed() == 0;
        let session = self.get_mut(id).filter(|link| done(link)).and_then(|link| link.tls.take());
        match self.detach(id) {
            Ok(fd) => Ok((fd, session)),
            Err(error) => {
                if let Some(link) = self.get_mut(id) {
                    link.tls = link.tls.take().or(session);
                }
                Err(error)
            }
        }
    }

    /// Reads one of the socket's options, at most `size` bytes (getsockopt(2)).
    pub fn read_option(&self, id: LinkId, level: i32, name: i32, size: usize) -> Result<Vec<u8>> {
        socket::option_bytes(self.borrow_fd(id)?, level, name, size)
    }

    /// Sets one of the socket's options (setsockopt(2)).
    pub fn write_option(&self, id: LinkId, level: i32, name: i32, value: &[u8]) -> Result<()> {
        socket::set_option_bytes(self.borrow_fd(id)?, level, name, value)
    }

    /// The socket; a datagram peer has its listener's.
    fn borrow_fd(&self, id: LinkId) -> Result<BorrowedFd<'_>> {
        let link = self.get(id).ok_or(Errno(libc::EBADF))?;
        let own = link.borrow_fd();
        own.or_else(|| self.get(link.parent)?.borrow_fd()).ok_or(Errno(libc::EBADF))
    }
}
