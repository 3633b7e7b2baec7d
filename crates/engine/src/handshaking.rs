//! TLS handshakes: driven by the reactor, before anybody has a channel of them.
//!
//! A client's link is told as connected once the handshake is done. A listener's newcomers wait apart until then, so that
//! who does not finish costs neither a task nor a place in a group; how they failed is kept for the owner
//! ([`Reactor::take_failed_handshake`]). All of them have a deadline, and there are [`MOST`] at a time of each listener: a
//! newcomer beyond that takes the place of who has had the longest time, of the address that has most. So who only
//! connects, however often, takes descriptors and memory within a bound, and whoever else shakes hands gets in.

use crate::host::Host;
use crate::link::{Fault, Link, LinkId, flag};
use crate::rare::ListenerPart;
use crate::rate::origin;
use crate::reactor::{Reactor, Side};
use crate::sealing::TLS_FAILED;
use crate::supervise;
use crate::sys::address::SocketAddress;
use crate::sys::{Errno, Result, io};
use crate::tls::Failure;
use crate::tls::Terms;
use crate::tls::session::{Session, Sink};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::AsFd;

/// How many failed handshakes are kept until the owner asks.
const KEPT: usize = 64;
/// Handshakes of one listener that are under way at a time.
const MOST: usize = 1024;
/// Bytes that a handshake may ask the socket for at a time.
const FLIGHT: usize = 17 * 1024;

/// A newcomer of a listener whose handshake failed.
#[derive(Clone, Debug)]
pub struct FailedHandshake {
    /// Who it was.
    pub peer: SocketAddress,
    /// What happened.
    pub failure: Failure,
}

impl ListenerPart {
    /// Whether the handshake of one more newcomer may begin: how often one address has them is bounded.
    pub fn may_shake_hands(&mut self, terms: &Terms, peer: &SocketAddress, now: u64) -> bool {
        let Some(address) = origin(peer).filter(|_| terms.handshake_interval_ns > 0) else { return true };
        if self.shaken.admits(address, terms.handshake_interval_ns, now) {
            return true;
        }
        let rate = (1e9 / terms.handshake_interval_ns as f64).round();
        let said = format!("more than {rate} a second of its address");
        let mut failure = Failure::new("handshake_rate", &said);
        failure.in_handshake = true;
        self.handshake_failed(FailedHandshake { peer: peer.clone(), failure });
        false
    }

    fn handshake_failed(&mut self, failed: FailedHandshake) {
        self.handshakes_failed += 1;
        if self.failed.len() == KEPT {
            self.failed.pop_front();
        }
        self.failed.push_back(failed);
    }
}

impl<H: Host> Reactor<H> {
    /// Gives a new link its TLS, if its configuration has one.
    pub(crate) fn begin_tls(&mut self, link: &mut Link<H>) -> Result<()> {
        let Some(terms) = link.config.tls.clone() else { return Ok(()) };
        let Ok(session) = terms.session() else { return Err(Errno(libc::EPROTO)) };
        link.tls = Some(Box::new(session));
        link.rare.forget(|parts| parts.low_water = None);
        link.set(flag::CONNECTING);
        Ok(())
    }

    /// A newcomer's handshake begins.
    pub(crate) fn shake_hands(&mut self, id: LinkId) {
        let Some(link) = self.get(id) else { return };
        let (limit, parent) = (link.config.tls.as_ref().map_or(0, |terms| terms.handshake_ns), link.parent);
        if limit > 0 {
            self.set_deadline(id, Side::Life, self.now + limit);
        }
        self.notify(id);
        if let Some(part) = self.get_mut(parent).and_then(|link| link.rare.listener_mut()) {
            part.unfinished += 1;
            part.handshaking.push_back(id);
            if part.unfinished > MOST || part.handshaking.len() > 2 * MOST {
                self.thin_out(parent);
            }
        }
    }

    /// Forgets the handshakes of a listener that are over, and ends the oldest one if there are too many still.
    fn thin_out(&mut self, listener: LinkId) {
        let Some(part) = self.get_mut(listener).and_then(|link| link.rare.listener_mut()) else { return };
        let mut begun = std::mem::take(&mut part.handshaking);
        while begun.front().is_some_and(|id| !self.is_shaking_hands(*id)) {
            begun.pop_front();
        }
        if begun.len() > 2 * MOST {
            begun.retain(|id| self.is_shaking_hands(*id));
        }
        let Some(part) = self.get(listener).and_then(|link| link.rare.listener.as_ref()) else { return };
        let oldest = if part.unfinished > MOST { self.take_oldest(&mut begun) } else { None };
        let Some(part) = self.get_mut(listener).and_then(|link| link.rare.listener_mut()) else { return };
        part.handshaking = begun;
        if let Some(oldest) = oldest {
            self.end_handshake(oldest, "too many others came before it was done");
        }
    }

    /// The oldest handshake of the address (of IPv6: the /64) that has most of them, or of all that have as
    /// many: no crowd ends those of others.
    fn take_oldest(&self, begun: &mut VecDeque<LinkId>) -> Option<LinkId> {
        let host =
            |id: &LinkId| self.get(*id).filter(|link| link.has(flag::HANDSHAKING)).and_then(|link| origin(&link.peer));
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for found in begun.iter().filter_map(host) {
            *counts.entry(found).or_default() += 1;
        }
        let most = counts.values().max();
        let at = begun.iter().position(|id| host(id).and_then(|found| counts.get(&found)) == most)?;
        begun.remove(at)
    }

    fn is_shaking_hands(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(|link| link.has(flag::HANDSHAKING))
    }

    /// Moves a handshake on; whether it is over, for better or worse. Newcomers go to their listener then.
    pub(crate) fn conclude_handshake(&mut self, id: LinkId) -> bool {
        match self.advance_handshake(id) {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                if let Some(link) = self.get_mut(id) {
                    let cut = matches!(error, Errno(libc::ECONNRESET | libc::EPIPE));
                    if let Some(session) = link.tls.as_deref_mut().filter(|_| cut) {
                        session.fail("closed_in_handshake", "the peer has reset the connection");
                    }
                    let fault = supervise::lost(link, if cut { TLS_FAILED } else { error });
                    link.fail(fault);
                }
            }
        }
        let Some(link) = self.get_mut(id) else { return true };
        link.unset(flag::HANDSHAKING | flag::CONNECTING);
        let (failed, parent) = (link.fault.is_some(), link.parent);
        if link.tls.as_deref().is_some_and(Session::may_advance) {
            link.set(flag::READABLE);
        }
        if parent != LinkId::NONE {
            self.set_deadline(id, Side::Life, 0);
            self.handshake_over(parent);
            if failed || self.is_closing(parent) {
                self.drop_newcomer(id);
                return true;
            }
            if let Some(part) = self.get_mut(parent).and_then(|link| link.rare.listener_mut()) {
                part.newcomers.push_back(id);
            }
            self.notify(parent);
        }
        self.mark_dirty(id);
        true
    }

    /// A newcomer's time for its handshake is over.
    pub(crate) fn handshake_expired(&mut self, id: LinkId) {
        let heard = self.get(id).and_then(|link| link.tls.as_deref()).is_some_and(Session::has_heard);
        self.end_handshake(id, if heard { "it stopped in the middle" } else { "it said nothing of TLS" });
    }

    fn end_handshake(&mut self, id: LinkId, said: &str) {
        let Some(link) = self.get_mut(id) else { return };
        if let Some(session) = &mut link.tls {
            session.fail("handshake_timeout", said);
            session.note_beginning();
        }
        let fault = supervise::lost(link, TLS_FAILED);
        link.fail(fault);
        link.unset(flag::HANDSHAKING | flag::CONNECTING);
        let parent = link.parent;
        self.handshake_over(parent);
        self.drop_newcomer(id);
    }

    fn handshake_over(&mut self, parent: LinkId) {
        if let Some(part) = self.get_mut(parent).and_then(|link| link.rare.listener_mut()) {
            part.unfinished = part.unfinished.saturating_sub(1);
        }
    }

    /// Keeps why, then closes: the peer is told by an alert, which has left already.
    fn drop_newcomer(&mut self, id: LinkId) {
        let Some(link) = self.get(id) else { return };
        let (parent, peer) = (link.parent, link.peer.clone());
        let failure = match link.fault.as_deref() {
            Some(Fault::Tls(failure)) => Some((**failure).clone()),
            Some(Fault::Lost(error)) => {
                let mut failure = Failure::new("closed_in_handshake", &format!("{error:?}"));
                failure.in_handshake = true;
                Some(failure)
            }
            _ => None,
        };
        if let (Some(part), Some(failure)) = (self.get_mut(parent).and_then(|link| link.rare.listener_mut()), failure) {
            part.handshake_failed(FailedHandshake { peer, failure });
        }
        self.close(id, 0);
    }

    /// The oldest failed handshake that nobody has asked for.
    pub fn take_failed_handshake(&mut self, listener: LinkId) -> Option<FailedHandshake> {
        self.get_mut(listener)?.rare.listener_mut()?.failed.pop_front()
    }

    /// How many handshakes of a listener's newcomers have failed.
    pub fn handshakes_failed(&self, listener: LinkId) -> u64 {
        self.get(listener).and_then(|link| link.rare.listener.as_ref()).map_or(0, |part| part.handshakes_failed)
    }

    /// How a connecting link's handshake stands: whether the peer has spoken TLS; `None` when there is none under way.
    pub fn handshake(&self, id: LinkId) -> Option<bool> {
        let link = self.get(id).filter(|link| link.has(flag::HANDSHAKING))?;
        link.tls.as_deref().map(Session::has_heard)
    }

    /// Moves the handshake on as far as the socket allows; whether it is done.
    pub(crate) fn advance_handshake(&mut self, id: LinkId) -> Result<bool> {
        loop {
            self.transmit_sealed(id)?;
            let index = id.index();
            let Some(link) = self.slots[index].link.as_mut() else { return Ok(true) };
            let (Some(fd), Some(session)) = (link.fd.as_ref(), link.tls.as_deref_mut()) else {
                return Err(Errno(libc::EPIPE));
            };
            if session.failure().is_some() {
                return Err(TLS_FAILED);
            }
            if !session.is_handshaking() {
                return Ok(session.outgoing().is_empty());
            }
            if link.flags & flag::READABLE == 0 {
                return Ok(false);
            }
            let scratch = self.sealing.scratch();
            let carried = session.unread();
            let asked = FLIGHT.min(scratch.len() - carried);
            match io::receive(fd.as_fd(), io::uninit(&mut scratch[carried..carried + asked]), 0) {
                Ok(0) => session.fail("closed_in_handshake", "the peer has closed"),
                Ok(count) => {
                    session.feed(&mut scratch[..carried + count], &mut Sink::new(&mut [], &mut []));
                }
                Err(error) if error.would_block() => {
                    link.unset(flag::READABLE);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
