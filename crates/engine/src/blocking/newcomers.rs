//! Clients of a TLS listener that is accepted from by blocking calls: handshakes before anybody has a channel of them.
//!
//! They are those of a reactor (`handshaking`), with its bounds, driven a turn at a time by whoever accepts. Their time goes
//! on only while somebody does: a client that came while every thread was busy has as long as any other.

use crate::clock::Clock;
use crate::handshaking::FailedHandshake;
use crate::host::Plain;
use crate::link::{Config, LinkId};
use crate::reactor::Reactor;
use crate::sys::Result;
use crate::tls::{Session, Terms};
use std::fmt;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;

/// See the module.
pub struct Newcomers {
    reactor: Reactor<Plain>,
    listener: LinkId,
    /// Clients that have channels.
    clients: usize,
    /// Whether somebody accepts now.
    attended: bool,
    /// The kernel's clock when ours was set last.
    seen: u64,
}

impl fmt::Debug for Newcomers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Newcomers").field("attended", &self.attended).finish_non_exhaustive()
    }
}

impl Newcomers {
    /// Of the listening TCP socket `fd`, on the terms of `config`.
    pub fn new(fd: OwnedFd, config: &Rc<Config>) -> Result<Newcomers> {
        let mut reactor = Reactor::on_clock(Clock::Stepped(0))?;
        let listener = reactor.adopt_listener(fd, libc::SOCK_STREAM, config)?;
        Ok(Newcomers { reactor, listener, clients: 0, attended: false, seen: 0 })
    }

    /// Readable when a turn has something to do.
    pub fn raw_fd(&self) -> RawFd {
        self.reactor.fd()
    }

    /// From `now` on somebody accepts, or nobody does.
    pub fn attend(&mut self, now: u64, attended: bool) {
        self.pass(now);
        self.attended = attended;
    }

    fn pass(&mut self, now: u64) {
        let before = std::mem::replace(&mut self.seen, now);
        let passed = if self.attended { now.saturating_sub(before) } else { 0 };
        let at = self.reactor.clock.now() + passed;
        self.reactor.clock.step_to(at);
    }

    /// Moves all handshakes on, and gives the next client whose handshake is done. `clients` have channels already.
    pub fn turn(&mut self, now: u64, clients: usize) -> Result<Option<(OwnedFd, Box<Session>)>> {
        self.pass(now);
        self.hold(clients);
        self.reactor.flush();
        self.reactor.wait(Some(0), |wait| wait())?;
        while self.reactor.next_event().is_some() {}
        while let Some(id) = self.reactor.accept(self.listener)? {
            match self.reactor.detach_sealed(id) {
                Ok((fd, Some(session))) => return Ok(Some((fd, session))),
                // It has ended meanwhile.
                _ => self.reactor.abort(id),
            }
        }
        Ok(None)
    }

    /// How long the next turn can wait for [`Newcomers::raw_fd`]; `None`: for ever.
    pub fn wait_ns(&self) -> Option<u64> {
        if self.reactor.is_busy() || self.reactor.is_dirty() {
            return Some(0);
        }
        self.reactor.next_deadline().map(|at| at.saturating_sub(self.reactor.clock.now()))
    }

    /// Whether another one could take something at once.
    pub fn has_more(&mut self) -> bool {
        self.reactor.acceptable(self.listener)
    }

    /// Clients, those that shake hands included, and how many were refused.
    pub fn counts(&mut self, clients: usize) -> (usize, u64) {
        self.hold(clients);
        self.reactor.clients(self.listener).unwrap_or_default()
    }

    fn hold(&mut self, clients: usize) {
        let before = std::mem::replace(&mut self.clients, clients);
        if let Some(part) = self.reactor.get_mut(self.listener).and_then(|link| link.rare.listener_mut()) {
            part.clients = (part.clients + clients).saturating_sub(before);
        }
    }

    /// Later clients are accepted with other terms.
    pub fn replace_terms(&mut self, terms: &Terms) -> bool {
        self.reactor.replace_terms(self.listener, terms)
    }

    /// How many handshakes have failed.
    pub fn failed(&self) -> u64 {
        self.reactor.handshakes_failed(self.listener)
    }

    /// The oldest one that nobody has asked for.
    pub fn take_failed(&mut self) -> Option<FailedHandshake> {
        self.reactor.take_failed_handshake(self.listener)
    }
}
