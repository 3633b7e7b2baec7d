//! What is known of a link, read and never changed; and its framer, which can be swapped.

use crate::counters::Counters;
use crate::host::Host;
use crate::lifecycle::{Ending, ending_of};
use crate::link::{Config, Fault, Kind, LinkId, flag};
use crate::reactor::Reactor;
use crate::sys::address::SocketAddress;
use crate::sys::socket::{self, Credentials};
use crate::sys::tcp_info::TcpInfo;
use std::os::fd::{AsFd, RawFd};
use std::rc::Rc;

impl<H: Host> Reactor<H> {
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
        if let Some(relayed) = &link.rare.relayed {
            return Some(relayed.local.clone());
        }
        if link.kind == Kind::File {
            return Some(link.peer.clone());
        }
        let fd = link.fd.as_ref().or_else(|| self.get(link.parent)?.fd.as_ref())?;
        socket::local_address(fd.as_fd()).ok()
    }

    /// Process and user of a Unix peer.
    pub fn credentials(&self, id: LinkId) -> Option<Credentials> {
        let link = self.get(id)?;
        if !matches!(link.kind, Kind::UnixStream | Kind::Seqpacket) || link.rare.relayed.is_some() {
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
        let part = self.get(id)?.rare.listener.as_ref()?;
        Some((part.clients, part.refused))
    }

    /// The link's fault, if it has one; of the receiving or the sending side.
    pub fn fault(&self, id: LinkId) -> Option<Fault> {
        self.get(id)?.fault.as_deref().cloned()
    }

    /// Why nothing more leaves, if so: a peer that has broken the framing can still be sent to.
    pub fn sending_fault(&self, id: LinkId) -> Option<Fault> {
        self.get(id).filter(|link| !link.is_garbled())?.fault.as_deref().cloned()
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
                link.unset(flag::BROKEN);
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
