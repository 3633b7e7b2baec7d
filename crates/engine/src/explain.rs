//! What there is to know when somebody asks why nothing moves.

use crate::host::Host;
use crate::link::{Fault, Kind, LinkId, flag, want};
use crate::reactor::Reactor;
use crate::supervise::{self, Stall};
use crate::sys::socket;
use crate::sys::tcp_info::TcpInfo;

/// One link at one moment.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// What it is.
    pub kind: Kind,
    /// Bytes and messages that wait here to be sent.
    pub queued: (usize, usize),
    /// Bytes that this kernel holds until the peer's acknowledges them (TCP).
    pub unacknowledged: usize,
    /// Bytes that have arrived and wait in this kernel.
    pub unread: usize,
    /// Bytes that were received and not claimed.
    pub unclaimed: usize,
    /// Whether somebody waits for a message, a group included.
    pub is_received: bool,
    /// Whether the peer lives and does not read, and since when.
    pub stall: Option<Stall>,
    /// TCP's own view.
    pub info: Option<TcpInfo>,
    /// Nanoseconds since something arrived, and since something left; `None` for never.
    pub last: (Option<u64>, Option<u64>),
    /// Broken frames that were skipped.
    pub broken_frames: u32,
    /// Nanoseconds after which a peer that acknowledges nothing is given up; 0 for never.
    pub vanished_ns: u64,
    /// Closing or closed by us.
    pub is_closing: bool,
    /// The peer has ended its side.
    pub has_ended: bool,
    /// Why it carries no more.
    pub fault: Option<Fault>,
}

impl<H: Host> Reactor<H> {
    /// The link as it is now; `None` if there is no such link.
    pub fn pulse(&self, id: LinkId) -> Option<Pulse> {
        let link = self.get(id)?;
        let fd = link.borrow_fd();
        let now = self.clock.now();
        let ago = |at: u64| (at != 0).then(|| now.saturating_sub(at));
        let tcp = fd.filter(|_| link.kind == Kind::Tcp);
        let in_buffer = if self.rx_owner == id { self.rx_to - self.rx_from } else { link.inbox.unclaimed().len() };
        let packets =
            link.packets.as_ref().map_or(0, |packets| packets.list.iter().map(|packet| packet.bytes.len()).sum());
        Some(Pulse {
            kind: link.kind,
            queued: self.queued_of(id),
            unacknowledged: tcp.map_or(0, |fd| supervise::unacknowledged(link, fd)),
            unread: fd.filter(|_| !link.kind.is_listener()).map_or(0, socket::unread),
            unclaimed: in_buffer + packets,
            is_received: link.want & want::RECEIVE != 0 || link.membership.is_some(),
            stall: self.stall(id),
            info: tcp.and_then(|fd| TcpInfo::of(fd).ok()),
            last: (ago(link.counters.last_in), ago(link.counters.last_out)),
            broken_frames: link.counters.broken_in,
            vanished_ns: link.config.vanished_ns,
            is_closing: link.has(flag::CLOSING | flag::GONE),
            has_ended: link.has(flag::END),
            fault: link.fault.as_deref().cloned(),
        })
    }
}
