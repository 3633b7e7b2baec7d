//! A link's socket as others see it: taken out of the link, whole or not at all; its options read and set.

use crate::link::{Fault, Host, Kind, LinkId, flag};
use crate::reactor::Reactor;
use crate::sys::{Errno, Result, socket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Why a link keeps its descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetachError {
    /// It is closed or being closed.
    Closed,
    /// It is still connecting.
    Connecting,
    /// A datagram peer has no descriptor of its own, and a datagram listener with peers lends it to them.
    Shared,
    /// A group owns it.
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
    /// The kernel refused to stop watching it.
    Kernel(Errno),
}

impl<H: Host> Reactor<H> {
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
        let lent = link.listener.as_ref().is_some_and(|part| link.kind == Kind::DatagramListener && part.clients > 0);
        if link.kind == Kind::DatagramPeer || lent {
            return Err(DetachError::Shared);
        }
        if link.membership.is_some() {
            return Err(DetachError::Grouped);
        }
        if let Some(fault) = &link.fault {
            return Err(DetachError::Fault((**fault).clone()));
        }
        let inbox = link.inbox_at < link.inbox.len();
        if unclaimed || inbox || link.front.is_some() || link.large.is_some() || link.packets.is_some() {
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
        self.drop_socket(id);
        Ok(fd)
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
