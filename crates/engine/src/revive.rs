//! Links that outlive their connections: a lasting link that loses its socket waits for another one.
//!
//! Meanwhile it is *down*: what it is sent queues up, who waits for a message goes on waiting, and its owner, told by
//! [`crate::Event::Down`], connects anew and [`Reactor::graft`]s the new link's socket into the old one. Whole messages
//! that had arrived stay to be claimed; those of which nothing had left stay queued, in order. What was sent and not
//! acknowledged is counted as unknown and never sent again, for then it might arrive twice.

use crate::frame::{FrameError, Step};
use crate::host::{Body, Host};
use crate::link::{Fault, Kind, Link, LinkId, flag};
use crate::reached::Passed;
use crate::reactor::{Event, Reactor, Side};
use crate::supervise::Loss;
use crate::sys::Errno;
use crate::sys::epoll::{EDGE, IN, PRI, RDHUP};
use std::rc::Rc;

/// So many receives at most, to save what had arrived, before others have their turn.
const SALVAGE_RECEIVES: usize = 1024;

/// Why a lasting link lost its connection, and what was lost with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outage {
    /// `None`: the peer ended its side in order.
    pub fault: Option<Fault>,
    /// `unsent` messages are still queued.
    pub loss: Loss,
}

/// What only lasting links have.
#[derive(Debug, Default)]
pub(crate) struct Lasting {
    /// Bytes of messages that were cut in the middle: they count as passed, and were not.
    pub skipped: u64,
    /// The positions up to which the last connection's peer had acknowledged, up to which the kernel had taken, and up
    /// to which messages went down with it.
    lost: (u64, u64, u64),
    outage: Outage,
}

impl Lasting {
    /// What became of a position of an earlier connection; `None` if it is a later one's.
    pub fn passed(&self, position: u64, acknowledged: bool) -> Option<Passed> {
        let (kept, handed, gone) = self.lost;
        match position {
            _ if position > gone => None,
            _ if position <= kept || (!acknowledged && position <= handed) => Some(Passed::Yes),
            _ => Some(Passed::Lost),
        }
    }
}

impl<H: Host> Link<H> {
    /// Whether the connection below a lasting link is at its end. Half-closed by us it was the last one.
    #[inline]
    pub fn needs_revival(&self) -> bool {
        self.has(flag::LASTING)
            && (self.has(flag::END) || self.fault.is_some())
            && !self.has(flag::CLOSING | flag::GONE | flag::END_ASKED)
            && match self.receive_fault() {
                None => self.has(flag::END),
                Some(Fault::Lost(_) | Fault::Refused(_) | Fault::Vanished(_) | Fault::Tls(_)) => true,
                Some(Fault::Frame(error)) => matches!(error, FrameError::Truncated { .. }),
                Some(Fault::TooSlow | Fault::Violation(_)) => false,
            }
    }
}

impl<H: Host> Reactor<H> {
    /// From now on the link outlives its connection. False if it is none that can: a stream, open, in no group.
    pub fn make_lasting(&mut self, id: LinkId) -> bool {
        let Some(link) = self.get_mut(id) else { return false };
        let stream = matches!(link.kind, Kind::Tcp | Kind::UnixStream | Kind::File);
        if !stream || link.membership.is_some() || link.has(flag::CLOSING | flag::GONE | flag::CONNECTING) {
            return false;
        }
        link.set(flag::LASTING);
        link.rare.make().lasting.get_or_insert_default();
        if link.has(flag::UNSETTLED) {
            // Its end may have been reported already.
            link.set(flag::HANGUP);
        }
        self.notify(id);
        true
    }

    /// Whether the link waits for another connection.
    pub fn is_down(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(|link| link.has(flag::DOWN))
    }

    /// How the last connection of a lasting link was lost.
    pub fn outage(&self, id: LinkId) -> Option<&Outage> {
        self.get(id)?.rare.lasting.as_ref().map(|lasting| &lasting.outage)
    }

    /// What its owner hears of a lasting link before everything else.
    pub(crate) fn lasting_event(&mut self, id: LinkId) -> Option<Event> {
        if self.get(id)?.has(flag::HANGUP) {
            self.salvage(id);
        }
        let link = self.get_mut(id)?;
        if !link.has(flag::DOWN_UNTOLD) {
            return None;
        }
        link.unset(flag::DOWN_UNTOLD);
        if link.want != 0 {
            self.notify(id);
        }
        Some(Event::Down(id))
    }

    /// The connection is ending, or cannot be sent to any more: what has arrived is saved, then the link is down.
    pub(crate) fn salvage(&mut self, id: LinkId) {
        for _ in 0..SALVAGE_RECEIVES {
            let Some(link) = self.get(id) else { return };
            if link.has(flag::DOWN | flag::CLOSING | flag::GONE | flag::END_ASKED) {
                break;
            }
            if link.needs_revival() {
                return self.go_down(id);
            }
            if !link.has(flag::READABLE) || link.receive_fault().is_some() {
                break;
            }
            let in_progress = link.large.as_ref().is_some_and(|large| large.body.len() < large.total || !large.sealed);
            if in_progress {
                self.available(id);
            } else {
                self.receive_stream(id);
            }
        }
        let put_off = self.put_off.contains(&id);
        let Some(link) = self.get_mut(id) else { return };
        let goes_on = !link.has(flag::DOWN | flag::CLOSING | flag::GONE | flag::END_ASKED);
        if goes_on && put_off {
            return;
        }
        if goes_on && link.has(flag::READABLE) && link.receive_fault().is_none() {
            return self.put_off(id);
        }
        link.unset(flag::HANGUP);
        if goes_on && link.has(flag::SENDING_FAILED) {
            self.go_down(id);
        }
    }

    /// The lasting link has lost its connection: everything about that is forgotten, everything else stays.
    pub(crate) fn go_down(&mut self, id: LinkId) {
        self.probe_as_before(id);
        if self.rx_owner == id {
            self.park();
        }
        self.keep_whole_messages(id);
        let Some(link) = self.get_mut(id) else { return };
        let loss = link.loss();
        let handed = link.position();
        let left = link.borrow_fd().map_or(0, |fd| crate::supervise::unacknowledged(link, fd));
        let sealed = link.tls.take().map_or(0, |session| session.pending().0);
        let cut = sealed + link.out.as_mut().map_or(0, |queue| queue.drop_begun());
        link.counters.drop_out(usize::from(cut > 0));
        let Some(lasting) = link.rare.lasting_mut() else { return };
        lasting.skipped += cut as u64;
        lasting.lost = (handed.saturating_sub(left as u64), handed, handed + cut as u64);
        lasting.outage = Outage { fault: link.fault.take().map(|fault| *fault), loss };
        link.rare.forget(|parts| parts.restore = None);
        link.fd = None;
        if let Some(pacing) = link.rare.pacing_mut() {
            pacing.came.cut();
        }
        link.deadlines[Side::Gap as usize] = 0;
        link.front = None;
        link.scan = 0;
        link.large.take_if(|large| !large.sealed || large.body.len() < large.total);
        link.deadlines[Side::Watch as usize] = 0;
        if let Some(watch) = &mut link.watch {
            watch.reset();
        }
        link.unset(
            flag::READABLE
                | flag::WRITABLE
                | flag::UNSETTLED
                | flag::END
                | flag::BULK
                | flag::OUT_WATCHED
                | flag::SENDING_FAILED
                | flag::BROKEN
                | flag::HANGUP,
        );
        link.set(flag::CONNECTING | flag::DOWN | flag::DOWN_UNTOLD);
        self.notify(id);
    }

    /// What has arrived is cut behind its last whole message: the rest of the next one will never come.
    fn keep_whole_messages(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let framer = Rc::clone(&link.config.framer);
        if framer.is_none() {
            return;
        }
        if framer.discards(link.scan) {
            // The end of a frame that was given up is no beginning of another one.
            if let Step::Skipped { consumed, .. } = framer.next(&mut link.scan, link.inbox.unclaimed()) {
                link.inbox.claim(consumed);
            }
        }
        let data = link.inbox.unclaimed();
        let (mut whole, mut scan) = (0, 0);
        let mut closing = false;
        // Behind a large message that is not whole there can only be a part of its end.
        let cut = link.large.as_ref().is_some_and(|large| !large.sealed || large.body.len() < large.total);
        while whole < data.len() && !cut {
            match framer.next(&mut scan, &data[whole..]) {
                Step::Message { consumed, .. } => whole += consumed,
                Step::Skipped { consumed, .. } if !framer.discards(scan) => whole += consumed,
                Step::Skipped { .. } => break,
                Step::Partial(_) if link.has(flag::END) => {
                    // The last line needs no end, if the peer ended in order.
                    closing = matches!(framer.finish(&data[whole..]), Ok(Some(_)));
                    break;
                }
                Step::Partial(_) => break,
                // That is told once it is claimed.
                Step::Broken(_) => return,
            }
        }
        if let Some(pacing) = &link.rare.pacing {
            let front = link.front.map_or(0, |front| front.consumed as usize);
            whole = (front + pacing.came.whole()).min(data.len());
        }
        let before = link.inbox.held();
        if closing {
            link.inbox.append(framer.trailer());
        } else {
            link.inbox.keep(whole);
        }
        let after = link.inbox.held();
        if let Some(beside) = link.rare.beside_mut() {
            let end = if cut { 0 } else { link.counters.bytes_in - before.saturating_sub(after) as u64 };
            beside.cut(end, before as i64 - after as i64);
        }
        self.parked = self.parked + after - before;
    }

    /// Moves the socket of `from`, which was connected just now and is gone then, into the link, which is down.
    pub fn graft(&mut self, id: LinkId, from: LinkId) -> Result<(), Errno> {
        let fits = |reactor: &Self| {
            let (old, new) = (reactor.get(id)?, reactor.get(from)?);
            let whole =
                new.out.is_none() && new.inbox.held() == 0 && new.membership.is_none() && reactor.rx_owner != from;
            (old.has(flag::DOWN) && old.kind == new.kind && new.fault.is_none() && whole).then_some(())
        };
        fits(self).ok_or(Errno(libc::EINVAL))?;
        let raw = self.raw_fd(from).ok_or(Errno(libc::EBADF))?;
        // The kernel reports anew what is there already.
        self.epoll.modify(raw, IN | RDHUP | PRI | EDGE, id.0)?;
        let Some(new) = self.get_mut(from) else { return Err(Errno(libc::EBADF)) };
        let (fd, peer, restore, tls) = (
            new.fd.take(),
            new.peer.clone(),
            new.rare.get_mut().and_then(|parts| parts.restore.take()),
            new.tls.take(),
        );
        let Some(link) = self.get_mut(id) else { return Err(Errno(libc::EBADF)) };
        link.unset(flag::DOWN | flag::DOWN_UNTOLD | flag::CONNECTING);
        link.set(flag::WRITABLE | flag::READABLE);
        link.peer = peer;
        link.fd = fd;
        link.tls = tls;
        let parts = link.rare.make();
        (parts.restore, parts.low_water) = (restore, None);
        self.abort(from);
        self.mark_dirty(id);
        self.notify(id);
        Ok(())
    }

    /// No other connection will come: who waits is told `error`, and what is queued is counted and dropped.
    pub fn give_up(&mut self, id: LinkId, error: Errno) {
        let Some(link) = self.get_mut(id) else { return };
        if !link.has(flag::DOWN) {
            return;
        }
        link.unset(flag::LASTING | flag::DOWN | flag::DOWN_UNTOLD | flag::CONNECTING);
        self.count_loss(id);
        if let Some(link) = self.get_mut(id) {
            link.fail(Fault::Lost(error));
        }
        self.abandon_queue(id);
        self.notify(id);
        self.transmitted(id);
    }
}
