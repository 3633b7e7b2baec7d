//! How links are opened: connect, listen, bind, adopt, pair.

use crate::accepting::spare_descriptor;
use crate::host::Host;
use crate::keepalive;
use crate::link::{Config, Fault, Kind, Link, LinkId, flag};
use crate::reactor::{Reactor, Slot};
use crate::sys::address::SocketAddress;
use crate::sys::epoll::{EDGE, IN, OUT, PRI, RDHUP};
use crate::sys::socket;
use crate::sys::{Errno, Result, icmp};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

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
        self.begin_tls(&mut link)?;
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

    /// Whether connecting is over, for better or worse: with TLS, once both ends have agreed.
    pub(crate) fn conclude_connect(&mut self, id: LinkId, connects: bool) -> bool {
        let Some(link) = self.get(id) else { return true };
        let writable = link.has(flag::WRITABLE);
        if connects && writable && !link.has(flag::HANDSHAKING) {
            self.finish_connect(id);
        }
        match self.get(id) {
            Some(link) if link.has(flag::HANDSHAKING) => self.conclude_handshake(id),
            _ => writable,
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
        if link.tls.is_some() && link.fault.is_none() {
            link.set(flag::HANDSHAKING | flag::READABLE);
            return;
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
        if let (Kind::Listener, Some(part)) = (kind, link.rare.listener_mut()) {
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

    pub(crate) fn insert(&mut self, mut link: Link<H>) -> Result<LinkId> {
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
pub(crate) fn events_of<H: Host>(link: &Link<H>) -> u32 {
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
