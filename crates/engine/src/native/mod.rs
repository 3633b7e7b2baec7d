//! Native clients: recognised by their first bytes, counted, and switched label by label.
//!
//! A frame of a routed stream goes on with another stream number and its payload untouched; the owner of the reactor hears
//! only of what it has to decide. What is decided stands in the pure files, what is done about it here and in the driver
//! files; the protocol itself is written down in `docs/protocol.md`.
//!
//! | file | owns |
//! |---|---|
//! | `frame.rs` | headers, kinds, codes, what is malformed; pure |
//! | `counting.rs` | counts of both directions, frames kept until they are acknowledged; pure |
//! | `streams.rs` | the streams of one client and their credit; pure |
//! | `routes.rs` | parties, routes, and what becomes of a frame; pure |
//! | `recognise.rs` | from a new connection to a native client or a plain one |
//! | `owner.rs` | what the owner asks for: send, link, unlink, hold, resume |
//! | `fan.rs`, `fan_options.rs` | one stream to many members; how it is set up, and what it tells |
//! | `recent.rs` | the last messages of a fan, for its owner |
//! | `plain.rs` | plain members at the end of a route |
//! | here | the way of a frame from its link to where it goes, acknowledgements, the ends of parties |

pub mod counting;
mod fan;
mod fan_options;
pub mod frame;
mod owner;
mod plain;
mod recent;
pub(crate) mod recognise;
pub mod routes;
pub mod streams;

pub use fan_options::{FanFacts, FanOptions};
pub use owner::{SwitchError, Whom};
pub use recent::Message as FanMessage;
pub use recognise::Recognition;

use crate::frame::FrameError;
use crate::host::Host;
use crate::link::{Config, Fault, LinkId, flag};
use crate::reactor::{Reactor, Side};
use fan::Fan;
use frame::{Code, Frame, Kind, Violation, prefix};
use routes::{Ends, Phase, Routes, Verdict};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

/// Frames of one client that are switched before others have their turn.
const FRAMES_PER_TURN: usize = 4096;
/// Frames of all clients that are switched in one turn.
const FRAMES_OF_A_TURN: usize = 32_768;
/// What may wait for one client whatever was granted; a route that would pass it is reset.
const QUEUE_MAX: usize = 4 * 1024 * 1024;
/// An acknowledgement is due so long after what it is of, or earlier; see [`counting::ACK_FRAMES`].
const ACK_DELAY_NS: u64 = 500_000_000;
/// No party.
pub(crate) const NONE: u32 = u32::MAX;

/// Something that the owner of a group is told of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FellBehind {
    pub link: LinkId,
    pub stream: u32,
    pub sequence: u64,
}

/// All that a reactor knows of native clients.
#[derive(Default)]
pub(crate) struct Native {
    pub routes: Routes,
    fans: Vec<Option<Box<Fan>>>,
    /// Fans with something to distribute at the end of the turn.
    pending_fans: Vec<u32>,
    /// What native links have for each configuration that a listener gave them.
    configs: Vec<(Rc<Config>, Rc<Config>)>,
    /// When acknowledgements are due, the nearest first, and for whom.
    acknowledgements: VecDeque<(u64, u64)>,
    /// Frames that may still be switched in this turn.
    budget: usize,
    /// Parties whose connections are gone, until it is clear whether they are held.
    departed: Vec<u32>,
}

/// Where the payload of a frame lies.
pub(crate) enum Source<'a> {
    /// In the receive buffer.
    Received(Range<usize>),
    Bytes(&'a [u8]),
}

impl<H: Host> Reactor<H> {
    /// Switches what the client has sent. True when there is something for the owner: a frame, the end, a fault, or that
    /// it was recognised.
    pub(crate) fn advance_native(&mut self, id: LinkId) -> bool {
        for _ in 0..FRAMES_PER_TURN {
            let Some(link) = self.get(id) else { return true };
            let party = link.party;
            let Some(state) = self.native.routes.get(party) else { return true };
            let phase = state.phase;
            if phase == Phase::New || state.judged.is_some() {
                return true;
            }
            match self.native.budget.checked_sub(1) {
                Some(left) => self.native.budget = left,
                None => break,
            }
            if !self.advance(id) {
                return false;
            }
            let Some(link) = self.get_mut(id) else { return true };
            let Some(front) = link.front else {
                if matches!(link.fault.as_deref(), Some(Fault::Frame(FrameError::TooLarge { .. }))) {
                    link.fault = None;
                    self.break_off(id, Violation::TooBig);
                }
                return true;
            };
            if phase == Phase::Greeting {
                // Between HELLO and WELCOME it has to wait (P-013).
                self.break_off(id, Violation::BadFrame);
                return true;
            }
            if self.rx_owner != id {
                self.acquire(id);
            }
            let range = self.rx_from + front.start as usize..self.rx_from + front.end as usize;
            let frame = match Frame::parse(&self.rx[range.clone()]) {
                Ok(frame) if phase == Phase::Hello && frame.kind != Kind::Control => Err(Violation::BadFrame),
                read => read,
            };
            let judged = match frame {
                Ok(_) if phase == Phase::Hello => Ok(Verdict::Owner),
                Ok(frame) => self.native.routes.judge(party, &frame),
                Err(violation) => Err(violation),
            };
            match (judged, frame) {
                (Err(violation), _) | (_, Err(violation)) => {
                    self.break_off(id, violation);
                    return true;
                }
                (Ok(Verdict::Owner), Ok(frame)) => {
                    let (stream, kind) = (frame.stream, frame.kind);
                    return self.leave_to_owner(party, stream, kind);
                }
                (Ok(Verdict::Fan(fan)), Ok(frame)) if self.native.is_for_owner(fan, &frame) => {
                    let (stream, kind, size) = (frame.stream, frame.kind, frame.payload.len());
                    self.charge(fan, party, stream, size);
                    return self.leave_to_owner(party, stream, kind);
                }
                (Ok(verdict), Ok(frame)) => {
                    let (stream, kind, flags, counted) = (frame.stream, frame.kind, frame.flags, frame.is_counted());
                    let payload = range.start + frame::HEADER..range.end;
                    self.claim(id);
                    if counted {
                        self.count_received(party, range.len());
                    }
                    match verdict {
                        Verdict::Pass { party: to, stream: number } => {
                            self.pass(to, number, kind, flags, payload);
                        }
                        Verdict::Reset { code, other } => self.reset_both((party, stream), other, code),
                        Verdict::Fan(fan) => self.publish(fan, party, stream, flags, payload),
                        Verdict::Pong => self.answer_ping(party, payload),
                        Verdict::Owner | Verdict::Nothing => {}
                    }
                }
            }
        }
        self.put_off(id);
        false
    }

    /// The frame at the front waits for the owner.
    fn leave_to_owner(&mut self, party: u32, stream: u32, kind: Kind) -> bool {
        if let Some(state) = self.native.routes.get_mut(party) {
            (state.judged, state.judged_stream) = (Some(kind), stream);
        }
        true
    }

    /// The owner takes the frame at the front.
    pub(crate) fn note_taken(&mut self, id: LinkId) {
        let Some(link) = self.get(id) else { return };
        let (party, front) = (link.party, link.front);
        let taken = self.native.routes.taken(party);
        let Some(state) = self.native.routes.get_mut(party) else { return };
        if state.phase == Phase::Hello {
            state.phase = Phase::Greeting;
        } else if let (Some(kind), Some(front)) = (taken, front)
            && kind <= Kind::Credit
        {
            self.count_received(party, (front.end - front.start) as usize);
        }
        // What is behind it may go on without the owner.
        self.notify(id);
    }

    #[inline]
    fn count_received(&mut self, party: u32, size: usize) {
        let Some(state) = self.native.routes.get_mut(party) else { return };
        if state.counting.receive(size) {
            self.acknowledge(party);
        } else if !state.acknowledges {
            state.acknowledges = true;
            let at = self.now + ACK_DELAY_NS;
            let handle = self.native.routes.handle(party);
            self.native.acknowledgements.push_back((at, handle));
            if self.native.acknowledgements.len() == 1 {
                self.push_acknowledgement_deadline(at);
            }
        }
    }

    /// A new turn begins.
    #[inline]
    pub(crate) fn begin_switching(&mut self) {
        self.native.budget = FRAMES_OF_A_TURN;
    }

    /// When the next acknowledgement is due; 0 for none.
    pub(crate) fn acknowledgement_deadline(&self) -> u64 {
        self.native.acknowledgements.front().map_or(0, |(at, _)| *at)
    }

    /// Acknowledges what is due.
    pub(crate) fn acknowledge_due(&mut self) {
        while let Some((at, handle)) = self.native.acknowledgements.front().copied() {
            if at > self.now {
                return self.push_acknowledgement_deadline(at);
            }
            self.native.acknowledgements.pop_front();
            let Some(party) = self.native.routes.named(handle) else { continue };
            if let Some(state) = self.native.routes.get_mut(party) {
                state.acknowledges = false;
            }
            self.acknowledge(party);
        }
    }

    fn acknowledge(&mut self, party: u32) {
        let Some(state) = self.native.routes.get_mut(party).filter(|state| state.phase == Phase::Open) else { return };
        if let Some(received) = state.counting.acknowledgement() {
            // Not counted: there is nothing that could be wrong with it.
            let _ = self.deliver(party, 0, Kind::Ack, 0, Source::Bytes(&received.to_be_bytes()));
        }
    }

    /// A client that asks and does not read gets no answers.
    fn answer_ping(&mut self, party: u32, payload: Range<usize>) {
        let Some(link) = self.native.routes.get(party).and_then(|state| self.get(state.link)) else { return };
        if link.backlog() <= link.config.high_water {
            let _ = self.deliver(party, 0, Kind::Pong, 0, Source::Received(payload));
        }
    }

    /// A frame goes on; the route ends if that is not possible.
    #[inline]
    fn pass(&mut self, to: u32, number: u32, kind: Kind, flags: u8, payload: Range<usize>) {
        if let Err(code) = self.deliver(to, number, kind, flags, Source::Received(payload)) {
            let other = self.native.routes.remove(to, number);
            self.reset_both((to, number), other, code);
        }
    }

    /// Tells both ends of a route that it is over.
    pub(crate) fn reset_both(&mut self, one: (u32, u32), other: Option<(u32, u32)>, code: Code) {
        self.tell_reset(std::iter::once(one).chain(other), &code.payload());
    }

    fn tell_reset(&mut self, ends: impl Iterator<Item = (u32, u32)>, payload: &[u8]) {
        for (party, number) in ends {
            // One that does not fit breaks its client off, and leaves nothing to do here.
            let _ = self.deliver(party, number, Kind::Reset, 0, Source::Bytes(payload));
        }
    }

    /// Queues a frame for a party, and keeps it if it is counted. An error: its stream has to end.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        party: u32,
        stream: u32,
        kind: Kind,
        flags: u8,
        payload: Source<'_>,
    ) -> Result<(), Code> {
        let payload = match payload {
            Source::Received(range) => &self.rx[range],
            Source::Bytes(bytes) => bytes,
        };
        let Some(state) = self.native.routes.get_mut(party) else { return Ok(()) };
        if state.phase == Phase::Plain {
            let payload = payload.to_vec();
            return self.deliver_plain(party, kind, flags, &payload);
        }
        let prefix = prefix(stream, kind, flags, payload.len());
        if (kind as u8) < Kind::Ack as u8 && state.phase != Phase::Broken {
            state.counting.send(&prefix[4..], payload);
        }
        if state.phase != Phase::Open {
            return Ok(());
        }
        let (id, counting) = (state.link, &mut state.counting);
        let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation()) else {
            return Ok(());
        };
        let unable = flag::CLOSING | flag::GONE | flag::END_ASKED;
        let Some(link) = slot.link.as_mut().filter(|link| !link.has(unable) && !link.is_broken()) else {
            return Ok(());
        };
        let mut queue = link.out.take().or_else(|| self.queues.pop()).unwrap_or_default();
        let start = if link.kind.is_packet() { 4 } else { 0 };
        queue.push([&prefix[start..], payload, &[]]);
        if let Some(received) = counting.acknowledgement_along() {
            queue.push([&frame::prefix(0, Kind::Ack, 0, 8)[start..], &received.to_be_bytes(), &[]]);
        }
        let waiting = queue.bytes();
        self.queued(id, queue);
        if waiting > 2 * QUEUE_MAX {
            self.break_off(id, Violation::Overloaded);
            self.notify(id);
        }
        if waiting > QUEUE_MAX { Err(Code::Overloaded) } else { Ok(()) }
    }

    /// A client broke a rule: it is told which, its streams are over, and it leaves.
    pub(crate) fn break_off(&mut self, id: LinkId, violation: Violation) {
        let Some(link) = self.get_mut(id) else { return };
        if link.receive_fault().is_some() {
            return;
        }
        link.front = None;
        let party = link.party;
        self.say_uncounted(id, &violation.payload());
        if let Some(link) = self.get_mut(id) {
            link.fail_receiving(Fault::Violation(violation));
        }
        if let Some(state) = self.native.routes.get_mut(party) {
            state.phase = Phase::Broken;
            state.judged = None;
            let ends = self.native.routes.remove_streams(party);
            self.tell_ends(ends, &Code::PeerGone.payload());
        }
    }

    /// Sends a CONTROL frame that is not counted, behind the magic if that was not sent yet.
    pub(crate) fn say_uncounted(&mut self, id: LinkId, payload: &[u8]) {
        let Some(link) = self.get_mut(id) else { return };
        if link.has(flag::CLOSING | flag::GONE | flag::END_ASKED) || link.is_broken() {
            return;
        }
        let (party, start) = (link.party, if link.kind.is_packet() { 4 } else { 0 });
        let mut queue = link.out.take().or_else(|| self.queues.pop()).unwrap_or_default();
        let spoken = self.native.routes.get_mut(party).map(|state| std::mem::replace(&mut state.spoken, true));
        if spoken != Some(true) {
            queue.push([&frame::OPENING[start..], &[], &[]]);
        }
        queue.push([&prefix(0, Kind::Control, 0, payload.len())[start..], payload, &[]]);
        self.queued(id, queue);
    }

    /// The connection of a party is over.
    pub(crate) fn party_leaves(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let party = std::mem::replace(&mut link.party, NONE);
        let (was_told, ended) = (link.has(flag::LEFT_TOLD), link.has(flag::END) && link.fault.is_none());
        let Some(state) = self.native.routes.get_mut(party) else { return };
        if state.phase == Phase::Open && was_told {
            state.phase = Phase::Departed;
            state.judged = None;
            self.native.departed.push(party);
            return;
        }
        if state.phase == Phase::Plain && ended {
            self.end_plain(party);
        }
        self.drop_party(party, Code::PeerGone);
    }

    /// Ends a party: who is connected to it is told.
    pub(crate) fn drop_party(&mut self, party: u32, code: Code) {
        self.drop_party_with(party, &code.payload());
    }

    /// The same; `payload` is that of the RESET.
    fn drop_party_with(&mut self, party: u32, payload: &[u8]) {
        let ends = self.native.routes.remove_party(party);
        self.tell_ends(ends, payload);
    }

    fn tell_ends(&mut self, ends: Ends, payload: &[u8]) {
        for (fan, place) in ends.fans {
            self.forget_fan_member(fan, place);
        }
        self.tell_reset(ends.routes.into_iter(), payload);
    }

    /// The group is gone, with all fans and sessions of it.
    pub(crate) fn end_switch(&mut self, group: usize) {
        let parties = self.native.routes.all();
        let gone: Vec<u32> = parties.filter(|(_, state)| state.group == group).map(|(party, _)| party).collect();
        for party in gone {
            self.drop_party(party, Code::PeerGone);
        }
        for fan in self.native.fans.iter_mut() {
            fan.take_if(|fan| fan.is_of(group));
        }
    }

    /// Those who left before and are not held are not held any more: the owner asks for what came after.
    pub fn settle_departed(&mut self, group: usize) {
        if self.native.departed.is_empty() {
            return;
        }
        for party in std::mem::take(&mut self.native.departed) {
            match self.native.routes.get(party) {
                Some(state) if state.phase != Phase::Departed => {}
                Some(state) if state.group != group => self.native.departed.push(party),
                Some(_) => self.drop_party(party, Code::PeerGone),
                None => {}
            }
        }
    }

    pub(crate) fn set_recognition_deadline(&mut self, id: LinkId, after_ns: u64) {
        let at = self.now + after_ns;
        self.set_deadline(id, Side::Life, at);
    }
}
