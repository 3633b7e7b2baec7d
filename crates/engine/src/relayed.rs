//! Links that carry a connection which is served elsewhere, as a WebSocket is: what is told of them is of that one.
//!
//! Whoever serves the connection passes its messages on over a pair, of which one end is such a link. Its protocol,
//! its addresses and the listener that it came through are what its owner says; only the counters are the pair's.

use crate::host::Host;
use crate::link::LinkId;
use crate::native::recognise::Recognition;
use crate::reactor::Reactor;
use crate::sys::address::SocketAddress;

/// The connection that a link carries.
#[derive(Clone, Debug)]
pub struct Relayed {
    /// The scheme of its addresses: `ws`, `wss`.
    pub protocol: &'static str,
    /// Its far end.
    pub peer: SocketAddress,
    /// Our end of it.
    pub local: SocketAddress,
    /// What it came through, by a number of the owner's: no link's id is so small.
    pub listener: u32,
}

impl<H: Host> Reactor<H> {
    /// Puts a link into a group, where it may be a native client; `relayed` is what it carries, if it does.
    /// False: see [`Reactor::join`].
    pub fn join_added(&mut self, group: usize, id: LinkId, recognition: Recognition, relayed: Option<Relayed>) -> bool {
        if !self.join(group, id) {
            return false;
        }
        if let (Some(relayed), Some(link)) = (relayed, self.get_mut(id)) {
            link.peer = relayed.peer.clone();
            link.parent = LinkId(relayed.listener.into());
            link.rare.make().relayed = Some(Box::new(relayed));
        }
        if recognition != Recognition::Off {
            self.leave_class(id);
            self.take_role(id, recognition.into());
        }
        true
    }

    /// The connection that the link carries, if it does.
    pub fn relayed(&self, id: LinkId) -> Option<&Relayed> {
        self.get(id)?.rare.relayed.as_deref()
    }
}
