//! From the kernel to a claimed message.
//!
//! Nothing is read before somebody asks: bytes that nobody wants stay in the kernel, whose window then closes, and
//! that is the back-pressure. What was read and not claimed lies in the reactor's one receive buffer as long as
//! no other link needs it, then in the link's `inbox`. A message from [`LARGE`] on is received into its
//! final object, which grows with what arrived, never with a length that the peer announced.

use crate::beside;
use crate::frame::{FrameError, Known, Step};
use crate::host::{Body, Host};
use crate::link::{Fault, Front, Large, LinkId, flag};
use crate::native::recognise::Role;
use crate::reactor::{PARKED_CAP, RECEIVE_BUFFER, RECEIVE_SIZE, Reactor};
use crate::sealing::LATER;
use crate::supervise;
use crate::sys::{Errno, io};
use std::rc::Rc;

/// From this size on a message is received straight into its final object.
pub(crate) const LARGE: usize = 32 * 1024;
/// How far such an object runs ahead of what has arrived.
const AHEAD: usize = 256 * 1024;
/// What is read along behind a large message: enough for the next header.
const BEHIND: usize = 4 * 1024;
/// Bytes of one unfinished message taken from one link before others have their turn.
const BYTES_PER_TURN: u64 = 4 * 1024 * 1024;

/// The host has no memory for a large message.
const NO_MEMORY: Fault = Fault::Lost(Errno(libc::ENOMEM));

/// What [`Reactor::take`] found.
pub enum Take<'a, B> {
    /// A message, to be copied out before the reactor is used again.
    Bytes(&'a [u8]),
    /// A large message in its final object.
    Body(B),
    /// The peer has ended its side.
    End,
    /// The link is at fault; this stays.
    Fault(Fault),
    /// The owner has closed it.
    Closed,
    /// Not yet.
    Nothing,
}

impl<H: Host> Reactor<H> {
    /// Whether [`Reactor::take`] has something to give; reads from the kernel as far as needed to tell.
    pub fn available(&mut self, id: LinkId) -> bool {
        let Some(link) = self.get(id) else { return true };
        if link.has(flag::CLOSING | flag::GONE) {
            return true;
        }
        if link.kind.is_listener() {
            return self.acceptable(id);
        }
        self.advance_member(id, link.role)
    }

    /// Claims the next message.
    #[inline]
    pub fn take(&mut self, id: LinkId) -> Take<'_, H::Body> {
        let Some(link) = self.get(id) else { return Take::Closed };
        if link.has(flag::CLOSING | flag::GONE) {
            return Take::Closed;
        }
        let role = link.role;
        if !self.advance_member(id, role) {
            return Take::Nothing;
        }
        match role {
            Role::Native => self.note_taken(id),
            Role::Linked => self.note_taken_plainly(id),
            _ => {}
        }
        if self.get(id).is_some_and(|link| link.kind.is_datagram() && link.front.is_some()) && !self.reads_singly(id) {
            return self.claim_datagram(id);
        }
        self.claim(id)
    }

    /// Whether what can be taken is a message, and not the end or a fault.
    pub(crate) fn has_message(&mut self, id: LinkId) -> bool {
        let Some(role) = self.get(id).map(|link| link.role) else { return false };
        let found = self.advance_member(id, role);
        let Some(link) = self.get(id) else { return false };
        let whole = link.large.as_ref().is_some_and(|large| large.sealed && large.body.len() == large.total);
        found && (link.front.is_some() || whole)
    }

    /// Hands out what `advance` found.
    pub(crate) fn claim(&mut self, id: LinkId) -> Take<'_, H::Body> {
        let in_rx = self.rx_owner == id;
        let (rx_from, rx_to) = (self.rx_from, self.rx_to);
        let index = id.index();
        let Some(link) = self.slots[index].link.as_mut() else { return Take::Closed };
        if let Some(front) = link.front.take() {
            link.counters.messages_in += 1;
            let (start, end, consumed) = (front.start as usize, front.end as usize, front.consumed as usize);
            let unclaimed = if in_rx { rx_to - rx_from } else { link.inbox.unclaimed().len() };
            link.settle_beside(unclaimed - consumed);
            let encoded = link.framer.encodes();
            if in_rx {
                self.rx_from = rx_from + consumed;
                debug_assert!(self.rx_from <= rx_to);
                let found = &mut self.rx[rx_from + start..rx_from + end];
                let size = if encoded { link.framer.decode(found) } else { found.len() };
                return Take::Bytes(&found[..size]);
            }
            let found = &mut link.inbox.claim(consumed)[start..end];
            let size = if encoded { link.framer.decode(found) } else { found.len() };
            return Take::Bytes(&found[..size]);
        }
        if let Some(large) = link.large.take_if(|large| large.sealed && large.body.len() == large.total) {
            link.counters.messages_in += 1;
            link.set(flag::BULK);
            link.settle_beside(if in_rx { rx_to - rx_from } else { link.inbox.unclaimed().len() });
            return Take::Body(large.body);
        }
        // Connected datagram sockets go on after an error: it is told once.
        if link.kind.outlives_errors()
            && let Some(fault) = link.fault.take()
        {
            return Take::Fault(*fault);
        }
        link.receive_fault().map_or(Take::End, |fault| Take::Fault(fault.clone()))
    }

    /// Brings the next message to the front; false if there is neither that nor an end nor a fault.
    pub(crate) fn advance(&mut self, id: LinkId) -> bool {
        let mut enough = 0;
        loop {
            let in_rx = self.rx_owner == id;
            let index = id.index();
            let Some(link) = self.slots[index].link.as_mut() else { return true };
            if link.front.is_some() {
                return true;
            }
            if link.needs_revival() {
                self.go_down(id);
                continue;
            }
            self.parked -= link.inbox.release_claimed();
            if enough == 0 {
                enough = link.counters.bytes_in + BYTES_PER_TURN;
            }
            let allowed = enough.saturating_sub(link.counters.bytes_in) as usize;
            if link.kind.is_datagram() {
                let singly = self.reads_singly(id);
                let outcome = if singly { self.advance_packet(id) } else { self.advance_datagram(id) };
                if let Some(outcome) = outcome {
                    return outcome;
                }
                continue;
            }
            if allowed == 0 && link.has(flag::READABLE) {
                self.put_off(id);
                continue;
            }
            if link.kind.is_packet() {
                if let Some(outcome) = self.advance_packet(id) {
                    return outcome;
                }
                continue;
            }
            if link.large.is_some() {
                match self.advance_large(id, allowed) {
                    Some(outcome) => return outcome,
                    None => continue,
                }
            }
            let data: &[u8] = if in_rx { &self.rx[self.rx_from..self.rx_to] } else { link.inbox.unclaimed() };
            // What arrived before a connection broke still counts.
            let meaningless =
                matches!(link.receive_fault(), Some(Fault::Frame(_) | Fault::TooSlow | Fault::Violation(_)));
            if !data.is_empty() && !meaningless {
                let step = link.framer.next(&mut link.scan, data);
                let ended = link.has(flag::END);
                let goes_on = !ended && link.receive_fault().is_none();
                match step {
                    Step::Message { start, end, consumed } => {
                        link.front = Some(Front { start: start as u32, end: end as u32, consumed: consumed as u32 });
                        return true;
                    }
                    Step::Broken(error) => link.fail_receiving(Fault::Frame(error)),
                    Step::Skipped { consumed, broken } => {
                        if let Err(error) = link.counters.skip(broken) {
                            link.fail_receiving(Fault::Frame(error));
                        } else {
                            self.consume(id, consumed);
                        }
                        continue;
                    }
                    // A framing that was swapped in may be swapped out in the middle of a message: its bytes stay
                    // where they can be divided anew.
                    Step::Partial(Some(known))
                        if known.body >= LARGE
                            && goes_on
                            && link.role != Role::Native
                            && Rc::ptr_eq(&link.framer, &link.config.framer) =>
                    {
                        let Known { header, body: total, trailer } = known;
                        let have = (data.len() - header).min(total);
                        let mut body = H::Body::with_capacity(total.min(AHEAD.max(2 * have)));
                        body.extend(&data[header..header + have]);
                        if body.len() < have {
                            link.fail_receiving(NO_MEMORY);
                            return true;
                        }
                        link.large = Some(Box::new(Large { body, total, header, trailer, sealed: trailer == 0 }));
                        link.scan = 0;
                        self.consume(id, header + have);
                        continue;
                    }
                    Step::Partial(_) if link.has(flag::GAP) => {
                        if link.divide_by_silence() {
                            return true;
                        }
                    }
                    Step::Partial(_) if ended => match link.framer.finish(data) {
                        Ok(Some(Step::Message { start, end, consumed })) => {
                            link.front =
                                Some(Front { start: start as u32, end: end as u32, consumed: consumed as u32 });
                            return true;
                        }
                        Ok(_) => {}
                        Err(error) => link.fail_receiving(Fault::Frame(error)),
                    },
                    Step::Partial(_) => {}
                }
            }
            let Some(link) = self.slots[index].link.as_mut() else { return true };
            if link.receive_fault().is_some() || link.has(flag::END) {
                return true;
            }
            if !link.has(flag::READABLE) {
                if link.rare.low_water.is_some() {
                    self.sleep_within(id, 0);
                }
                return false;
            }
            self.receive_stream(id);
        }
    }

    pub(crate) fn consume(&mut self, id: LinkId, count: usize) {
        if self.rx_owner == id {
            self.rx_from += count;
        } else if let Some(link) = self.get_mut(id) {
            link.inbox.claim(count);
        }
    }

    /// Makes the receive buffer this link's own, with its unclaimed bytes at the start.
    pub(crate) fn acquire(&mut self, id: LinkId) {
        if self.rx_owner == id {
            if self.rx_from > 0 {
                self.rx.copy_within(self.rx_from..self.rx_to, 0);
                self.rx_to -= self.rx_from;
                self.rx_from = 0;
            }
            return;
        }
        self.park();
        let index = id.index();
        let Some(link) = self.slots[index].link.as_mut() else { return };
        let data = link.inbox.unclaimed();
        self.rx[..data.len()].copy_from_slice(data);
        self.rx_from = 0;
        self.rx_to = data.len();
        self.rx_owner = id;
        self.parked -= link.inbox.clear();
    }

    /// Moves what lies unclaimed in the receive buffer to its link.
    pub(crate) fn park(&mut self) {
        let owner = std::mem::replace(&mut self.rx_owner, LinkId::NONE);
        let range = self.rx_from..self.rx_to;
        (self.rx_from, self.rx_to) = (0, 0);
        let index = owner.index();
        if owner == LinkId::NONE || self.get(owner).is_none() {
            return;
        }
        let Some(link) = self.slots[index].link.as_mut() else { return };
        if !range.is_empty() {
            self.parked += range.len();
            link.inbox.put(self.rx[range].to_vec());
        }
    }

    /// One recv(2) for a stream, into the shared buffer, or into the inbox when a partial message fills half of it.
    pub(crate) fn receive_stream(&mut self, id: LinkId) {
        let small = self.parked > PARKED_CAP;
        let Some(link) = self.get_mut(id) else { return };
        if link.fd.is_none() {
            link.unset(flag::READABLE);
            return;
        }
        let have = link.inbox.unclaimed().len();
        let size = match (small, link.has(flag::BULK)) {
            (true, _) | (_, true) => BEHIND,
            _ => RECEIVE_SIZE,
        };
        link.unset(flag::BULK);
        let index = id.index();
        if have > RECEIVE_BUFFER / 2 {
            let Some(link) = self.slots[index].link.as_mut() else { return };
            self.parked -= link.inbox.held();
            let mut bytes = link.inbox.take();
            let size = size.max(have / 4).min(BYTES_PER_TURN as usize);
            bytes.resize(have + size, 0);
            let result = beside::receive_stream(link, io::uninit(&mut bytes[have..]), &mut [], &mut self.sealing);
            bytes.truncate(have + result.as_ref().map_or(0, |chunk| chunk.length));
            self.parked += bytes.len();
            link.inbox.put(bytes);
            self.received(id, result, size);
            return;
        }
        self.acquire(id);
        if self.rx_to > RECEIVE_BUFFER / 2 {
            self.park();
            return;
        }
        let to = self.rx_to;
        let size = size.min(RECEIVE_BUFFER - to);
        let Some(link) = self.slots[index].link.as_mut() else { return };
        let result = beside::receive_stream(link, io::uninit(&mut self.rx[to..to + size]), &mut [], &mut self.sealing);
        self.rx_to = to + result.as_ref().map_or(0, |chunk| chunk.length);
        self.received(id, result, size);
    }

    /// Files the outcome of a receive that asked for `asked` bytes of a stream.
    fn received(&mut self, id: LinkId, result: Result<io::Chunk, Errno>, asked: usize) {
        let now = self.now;
        let Some(link) = self.get_mut(id) else { return };
        match result {
            Ok(io::Chunk { length: 0, .. }) => {
                link.end_receiving();
            }
            Ok(chunk) => {
                link.counters.bytes_in += chunk.length as u64;
                link.counters.last_in = now;
                link.file_beside(chunk.lost);
                // A short read has emptied the socket, but not before an end, an error or an urgent mark, and not
                // when descriptors in a Unix stream cut it short.
                if chunk.length < asked && !chunk.cut && !link.has(flag::UNSETTLED) {
                    link.unset(flag::READABLE);
                }
                if link.has(flag::GAP) {
                    self.note_arrival(id, chunk.length);
                }
            }
            Err(LATER) => self.put_off(id),
            Err(error) => {
                link.unset(flag::READABLE);
                if error.would_block() && link.has(flag::GAP) {
                    self.note_silence(id);
                } else if !error.would_block() {
                    let fault = supervise::lost(link, error);
                    link.fail_receiving(fault);
                    self.count_loss(id);
                }
            }
        }
        self.answer_sealed(id);
    }

    /// Receives into a large message, at most `allowed` bytes. `None`: look again.
    fn advance_large(&mut self, id: LinkId, allowed: usize) -> Option<bool> {
        let index = id.index();
        let in_rx = self.rx_owner == id;
        let link = self.slots[index].link.as_mut()?;
        let (ended, readable) = (link.has(flag::END), link.has(flag::READABLE));
        let broken = link.receive_fault().is_some();
        let Some(large) = link.large.as_mut() else { return Some(true) };
        let left = large.total - large.body.len();
        if left == 0 {
            if large.sealed {
                return Some(true);
            }
            return self.advance_trailer(id);
        }
        if broken {
            link.large = None;
            return Some(true);
        }
        if ended {
            let have = large.header + large.body.len();
            let need = Some(large.header + large.total + large.trailer);
            link.large = None;
            link.fail_receiving(Fault::Frame(FrameError::Truncated { have, need }));
            return Some(true);
        }
        if !readable {
            self.sleep_within(id, left);
            return Some(false);
        }
        if large.body.spare().is_empty() {
            let capacity = large.total.min(2 * large.body.len().max(AHEAD));
            large.body.grow(capacity);
            if large.body.spare().is_empty() {
                link.fail_receiving(NO_MEMORY);
                return None;
            }
        }
        if !in_rx {
            self.acquire(id);
        }
        let link = self.slots[index].link.as_mut()?;
        let mut large = link.large.take()?;
        debug_assert_eq!(self.rx_from, self.rx_to);
        (self.rx_from, self.rx_to) = (0, 0);
        let spare = large.body.spare();
        let room = spare.len().min(left).min(allowed);
        let behind = if room == left { BEHIND } else { 0 };
        let result = beside::receive_stream(link, &mut spare[..room], &mut self.rx[..behind], &mut self.sealing);
        if let Ok(chunk) = &result {
            large.body.advance(chunk.length.min(room));
            self.rx_to = chunk.length.saturating_sub(room);
        }
        link.large = Some(large);
        self.received(id, result, room + behind);
        None
    }

    /// A large message is whole but for what its framing puts behind it. `None`: look again.
    fn advance_trailer(&mut self, id: LinkId) -> Option<bool> {
        let index = id.index();
        let in_rx = self.rx_owner == id;
        let link = self.slots[index].link.as_mut()?;
        let data: &[u8] = if in_rx { &self.rx[self.rx_from..self.rx_to] } else { link.inbox.unclaimed() };
        let Some(large) = link.large.as_mut() else { return Some(true) };
        let (position, trailer) = (large.header + large.total, large.trailer);
        let arrived = &data[..data.len().min(trailer)];
        // Only the framing of the configuration makes messages large.
        let fault = match link.config.framer.check_trailer(position, arrived) {
            Ok(()) if arrived.len() == trailer => {
                large.sealed = true;
                self.consume(id, trailer);
                return Some(true);
            }
            Ok(()) if link.receive_fault().is_some() => None,
            Ok(()) if link.has(flag::END) => {
                Some(FrameError::Truncated { have: position + arrived.len(), need: Some(position + trailer) })
            }
            Ok(()) if link.has(flag::READABLE) => {
                self.receive_stream(id);
                return None;
            }
            Ok(()) => return Some(false),
            Err(error) => Some(error),
        };
        link.large = None;
        if let Some(error) = fault {
            link.fail_receiving(Fault::Frame(error));
        }
        Some(true)
    }
}
