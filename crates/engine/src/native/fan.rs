//! One stream to many members: what is sent on it is framed once and shared by all of them.
//!
//! A fan has one stream number, the same at each of its members. What is sent within a turn is one buffer, of which each
//! member's queue holds a reference. Deliveries are neither counted nor kept: a member that does not keep up misses some,
//! and its owner hears from which one on. The owner of a fan that publishes can have the last messages kept, see
//! [`super::recent`], and can have what members send for itself for a while.

use super::fan_options::{FanFacts, FanOptions};
use super::frame::{Code, DATA_COST, Frame, HEADER, Kind, MAX_PAYLOAD, MORE, SHARED, Violation, prefix};
use super::owner::{SwitchError, Whom};
use super::recent::{Message, Recent};
use super::routes::Phase;
use super::streams::To;
use super::{FellBehind, Native, Source};
use crate::host::Host;
use crate::link::LinkId;
use crate::link::flag;
use crate::queue::{Burst, WhenFull};
use crate::reactor::Reactor;
use std::ops::Range;
use std::rc::Rc;

/// What stands before what was published: the source and the sequence.
pub(super) const LABEL: usize = 12;
/// What a member of a fan that publishes may send before it hears of more; the engine grants it again.
pub const WINDOW: u32 = 256 * 1024;
/// So many pending bytes are distributed without waiting for the end of the turn.
const PENDING_MAX: usize = 64 * 1024;

struct Member {
    party: u32,
    source: u32,
    /// Its transport keeps boundaries itself.
    is_packet: bool,
    /// It was left out from this sequence on.
    behind: Option<u64>,
}

/// Frames of this turn, in the form that one kind of transport takes.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    sizes: Vec<u32>,
}

impl Pending {
    fn append(&mut self, header: &[u8], label: &[u8], payload: &[u8]) {
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(label);
        self.bytes.extend_from_slice(payload);
        self.sizes.push((header.len() + label.len() + payload.len()) as u32);
    }

    fn take(&mut self) -> Rc<Burst> {
        let burst = Rc::new(Burst { data: self.bytes.as_slice().into(), sizes: self.sizes.as_slice().into() });
        self.bytes.clear();
        self.bytes.shrink_to(2 * PENDING_MAX);
        self.sizes.clear();
        burst
    }
}

/// See the module.
pub(crate) struct Fan {
    group: usize,
    options: FanOptions,
    members: Vec<Member>,
    /// Members on transports that keep boundaries themselves.
    packets: usize,
    on_streams: Pending,
    on_packets: Pending,
    /// The sequence of the first pending message.
    first: u64,
    facts: FanFacts,
    /// What members send goes to all, and not to the owner.
    publishes: bool,
    recent: Recent,
}

impl Fan {
    pub fn stream(&self) -> u32 {
        self.options.stream
    }

    pub fn is_of(&self, group: usize) -> bool {
        self.group == group
    }

    fn append(&mut self, source: u32, sequence: u64, payload: &[u8]) {
        let [s0, s1, s2, s3] = source.to_be_bytes();
        let [q0, q1, q2, q3, q4, q5, q6, q7] = sequence.to_be_bytes();
        let label = [s0, s1, s2, s3, q0, q1, q2, q3, q4, q5, q6, q7];
        let header = prefix(self.options.stream, Kind::Data, SHARED, LABEL + payload.len());
        if self.on_streams.sizes.is_empty() && self.on_packets.sizes.is_empty() {
            self.first = sequence;
        }
        if self.members.len() > self.packets {
            self.on_streams.append(&header, &label, payload);
        }
        if self.packets > 0 {
            self.on_packets.append(&header[12 - HEADER..], &label, payload);
        }
        self.facts.sequence = sequence;
        self.facts.sent += 1;
    }

    fn is_pending(&self) -> bool {
        !self.on_streams.sizes.is_empty() || !self.on_packets.sizes.is_empty()
    }
}

impl Native {
    fn fan(&self, fan: u32) -> Option<&Fan> {
        self.fans.get(fan as usize)?.as_deref()
    }

    fn fan_mut(&mut self, fan: u32) -> Option<&mut Fan> {
        self.fans.get_mut(fan as usize)?.as_deref_mut()
    }

    pub(super) fn fans_of(&self, group: usize) -> impl Iterator<Item = &Fan> {
        self.fans.iter().filter_map(|fan| fan.as_deref()).filter(move |fan| fan.group == group)
    }

    /// Whether what a member sends on it is for the owner.
    pub(super) fn is_for_owner(&self, fan: u32, frame: &Frame<'_>) -> bool {
        self.fan(fan).is_none_or(|fan| !fan.publishes || fan.options.recent > 0 && !fan.options.is_usual(frame))
    }
}

impl<H: Host> Reactor<H> {
    /// A new fan without members.
    pub fn fan_open(&mut self, group: usize, options: FanOptions) -> Result<u32, SwitchError> {
        if !self.has_group(group) {
            return Err(SwitchError::Gone);
        }
        if options.stream == 0 || options.stream % 2 == 1 {
            return Err(SwitchError::Refused("the stream of a fan has an even number above 0"));
        }
        if self.native.fans_of(group).any(|fan| fan.stream() == options.stream) {
            return Err(SwitchError::Refused("another fan of the group has that stream"));
        }
        let fan = Fan {
            group,
            options,
            members: Vec::new(),
            packets: 0,
            on_streams: Pending::default(),
            on_packets: Pending::default(),
            first: 0,
            facts: FanFacts { sequence: options.sequence, ..FanFacts::default() },
            publishes: options.publish,
            recent: Recent::new(options.recent),
        };
        // A place is never used again: an owner may close its fan twice.
        self.native.fans.push(Some(Box::new(fan)));
        Ok(self.native.fans.len() as u32 - 1)
    }

    /// Ends a fan: what was sent leaves, and the stream is over at each member, without a word on it.
    pub fn fan_close(&mut self, fan: u32) {
        self.fan_distribute(fan);
        let Some(state) = self.native.fans.get_mut(fan as usize).and_then(Option::take) else { return };
        for member in state.members {
            if let Some(party) = self.native.routes.get_mut(member.party) {
                party.streams.remove(state.options.stream);
            }
        }
    }

    /// Takes a member in, or one that fell behind again; `source` names it in what it publishes.
    pub fn fan_add(&mut self, fan: u32, whom: Whom, source: u32) -> Result<(), SwitchError> {
        let party = self.party(whom)?;
        self.fan_distribute(fan);
        let stream = self.native.fan(fan).ok_or(SwitchError::Gone)?.options.stream;
        let Some(state) = self.native.routes.get_mut(party) else { return Err(SwitchError::Gone) };
        let link = state.link;
        let there = state.streams.get(stream).map(|stream| stream.to);
        let is_packet = self.get(link).is_some_and(|link| link.kind.is_packet());
        let Some(state) = self.native.fan_mut(fan) else { return Err(SwitchError::Gone) };
        match there {
            Some(To::Fan { fan: other, place }) if other == fan => {
                if let Some(member) = state.members.get_mut(place as usize) {
                    state.packets -= usize::from(member.is_packet);
                    state.packets += usize::from(is_packet);
                    *member = Member { party, source, is_packet, behind: None };
                }
            }
            Some(_) => return Err(SwitchError::Refused("the member has another stream of that number")),
            None => {
                let place = state.members.len() as u32;
                state.members.push(Member { party, source, is_packet, behind: None });
                state.packets += usize::from(is_packet);
                let publish = state.options.publish;
                if let Some(party) = self.native.routes.get_mut(party) {
                    party.streams.insert(stream, To::Fan { fan, place }).credit = if publish { WINDOW } else { 0 };
                }
            }
        }
        Ok(())
    }

    /// Takes a member out: its stream is over, without a word on it. False: it is no member.
    pub fn fan_remove(&mut self, fan: u32, whom: Whom) -> Result<bool, SwitchError> {
        let party = self.party(whom)?;
        self.fan_distribute(fan);
        let stream = self.native.fan(fan).ok_or(SwitchError::Gone)?.options.stream;
        let Some(state) = self.native.routes.get_mut(party) else { return Err(SwitchError::Gone) };
        match state.streams.get(stream).map(|stream| stream.to) {
            Some(To::Fan { fan: other, place }) if other == fan => {
                state.streams.remove(stream);
                self.forget_fan_member(fan, place);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(super) fn forget_fan_member(&mut self, fan: u32, place: u32) {
        let Some(state) = self.native.fan_mut(fan) else { return };
        if place as usize >= state.members.len() {
            return;
        }
        let gone = state.members.swap_remove(place as usize);
        state.packets -= usize::from(gone.is_packet);
        let stream = state.options.stream;
        let moved = state.members.get(place as usize).map(|member| member.party);
        if let Some(party) = moved.and_then(|moved| self.native.routes.get_mut(moved))
            && let Some(stream) = party.streams.get(stream)
        {
            stream.to = To::Fan { fan, place };
        }
    }

    /// Sends to all members at the end of the turn. Without a sequence it has the one behind the last.
    pub fn fan_send(
        &mut self,
        fan: u32,
        payload: &[u8],
        source: u32,
        sequence: Option<u64>,
    ) -> Result<u64, SwitchError> {
        if payload.len() + LABEL > MAX_PAYLOAD {
            return Err(SwitchError::Refused("the payload is longer than 65,524 bytes"));
        }
        let state = self.native.fan_mut(fan).ok_or(SwitchError::Gone)?;
        let was_pending = state.is_pending();
        let sequence = sequence.unwrap_or(state.facts.sequence + 1);
        state.append(source, sequence, payload);
        self.fan_appended(fan, was_pending);
        Ok(sequence)
    }

    /// The same for many, whose sequences follow each other; gives the last one. When one is too long none is sent.
    pub fn fan_send_many(
        &mut self,
        fan: u32,
        payloads: &[&[u8]],
        source: u32,
        sequence: Option<u64>,
    ) -> Result<u64, SwitchError> {
        if payloads.iter().any(|payload| payload.len() + LABEL > MAX_PAYLOAD) {
            return Err(SwitchError::Refused("a payload is longer than 65,524 bytes"));
        }
        let mut last = self.native.fan(fan).ok_or(SwitchError::Gone)?.facts.sequence;
        let mut next = sequence.unwrap_or(last + 1);
        for payload in payloads {
            last = self.fan_send(fan, payload, source, Some(next))?;
            next = next.saturating_add(1);
        }
        Ok(last)
    }

    fn fan_appended(&mut self, fan: u32, was_pending: bool) {
        let Some(state) = self.native.fan(fan) else { return };
        let waiting = state.on_streams.bytes.len().max(state.on_packets.bytes.len());
        if !was_pending && waiting > 0 {
            self.native.pending_fans.push(fan);
        }
        if waiting >= PENDING_MAX {
            self.fan_distribute(fan);
        }
    }

    /// From now on what members send on a fan that was opened to publish goes to the owner, or to all members again. Their
    /// credit is granted by the engine all the same.
    pub fn fan_publish(&mut self, fan: u32, publish: bool) {
        if let Some(state) = self.native.fan_mut(fan) {
            state.publishes = publish && state.options.publish;
        }
    }

    /// The last messages behind that sequence, the oldest first, as far as they are kept.
    pub fn fan_recent(&mut self, fan: u32, after: u64) -> impl Iterator<Item = Message<'_>> {
        self.fan_distribute(fan);
        self.native.fan(fan).into_iter().flat_map(move |state| state.recent.after(after))
    }

    /// The owner gets what a member has sent: it may send as much again, where the engine grants.
    pub(super) fn charge(&mut self, fan: u32, party: u32, number: u32, size: usize) {
        if self.native.fan(fan).is_some_and(|fan| fan.options.publish)
            && let Some(stream) = self.native.routes.get_mut(party).and_then(|party| party.streams.get(number))
        {
            stream.credit = stream.credit.saturating_sub(size as u32 + DATA_COST);
            self.refill(party, number);
        }
    }

    /// Grants again what a member has used, once that is much.
    fn refill(&mut self, party: u32, number: u32) {
        let Some(stream) = self.native.routes.get_mut(party).and_then(|party| party.streams.get(number)) else {
            return;
        };
        if stream.credit < WINDOW / 2 {
            let more = WINDOW - stream.credit;
            stream.credit = WINDOW;
            // Without room its client is broken off, and there is nothing to take back.
            let _ = self.deliver(party, number, Kind::Credit, 0, Source::Bytes(&more.to_be_bytes()));
        }
    }

    /// A member has sent on a fan that publishes.
    pub(super) fn publish(&mut self, fan: u32, party: u32, number: u32, flags: u8, payload: Range<usize>) {
        let cost = payload.len() as u32 + DATA_COST;
        let Some(stream) = self.native.routes.get_mut(party).and_then(|party| party.streams.get(number)) else {
            return;
        };
        let To::Fan { place, .. } = stream.to else { return };
        let code = match stream.credit.checked_sub(cost) {
            None => Some(Code::CreditExceeded),
            Some(_) if flags & MORE != 0 || payload.len() < 8 || payload.len() + LABEL > MAX_PAYLOAD => {
                Some(Code::StreamState)
            }
            Some(left) => {
                stream.credit = left;
                None
            }
        };
        if let Some(code) = code {
            if let Some(party) = self.native.routes.get_mut(party) {
                party.streams.remove(number);
            }
            self.forget_fan_member(fan, place);
            return self.reset_both((party, number), None, code);
        }
        self.refill(party, number);
        let Some(Some(state)) = self.native.fans.get_mut(fan as usize) else { return };
        let source = state.members.get(place as usize).map_or(0, |member| member.source);
        let was_pending = state.is_pending();
        state.append(source, state.facts.sequence + 1, &self.rx[payload]);
        self.fan_appended(fan, was_pending);
    }

    pub(crate) fn has_pending_fans(&self) -> bool {
        !self.native.pending_fans.is_empty()
    }

    /// Hands what was sent in this turn to the members' queues.
    pub(crate) fn distribute_fans(&mut self) {
        for fan in std::mem::take(&mut self.native.pending_fans) {
            self.fan_distribute(fan);
        }
    }

    fn fan_distribute(&mut self, fan: u32) {
        let Some(state) = self.native.fan_mut(fan).filter(|state| state.is_pending()) else { return };
        let (options, group, first) = (state.options, state.group, state.first);
        let (on_streams, on_packets) = (state.on_streams.take(), state.on_packets.take());
        let (kept, header) =
            if on_streams.sizes.is_empty() { (&on_packets, HEADER) } else { (&on_streams, 4 + HEADER) };
        state.recent.keep(kept, header);
        let mut members = std::mem::take(&mut state.members);
        let (mut delivered, mut dropped) = (0, 0);
        for member in &mut members {
            if member.behind.is_some() {
                dropped += on_streams.sizes.len().max(on_packets.sizes.len());
                continue;
            }
            let Some(party) = self.native.routes.get(member.party) else { continue };
            let (id, open) = (party.link, party.phase == Phase::Open);
            let Some(link) = self.get(id).filter(|_| open) else {
                if options.leaves_out() {
                    member.behind = Some(first);
                }
                continue;
            };
            let burst = if link.kind.is_packet() { &on_packets } else { &on_streams };
            if self.fan_has_room(id, burst.data.len()) || !options.leaves_out() && !options.disconnect {
                let (queued, missed) = self.send_burst(id, burst, WhenFull::DropNewest);
                delivered += queued;
                dropped += missed;
                continue;
            }
            dropped += burst.sizes.len();
            if options.disconnect {
                self.break_off(id, Violation::Overloaded);
                self.notify(id);
            } else {
                member.behind = Some(first);
                self.tell_behind(group, FellBehind { link: id, stream: options.stream, sequence: first });
            }
        }
        // Who was broken off has left the fan meanwhile.
        let routes = &self.native.routes;
        members.retain(|member| routes.get(member.party).is_some_and(|party| party.phase != Phase::Broken));
        let Some(state) = self.native.fan_mut(fan) else { return };
        state.members = members;
        state.facts.delivered += delivered as u64;
        state.facts.dropped += dropped as u64;
        if options.disconnect {
            self.renumber_fan(fan);
        }
    }

    fn renumber_fan(&mut self, fan: u32) {
        let Some(Some(state)) = self.native.fans.get(fan as usize) else { return };
        let stream = state.options.stream;
        for (place, member) in state.members.iter().enumerate() {
            if let Some(stream) = self.native.routes.get_mut(member.party).and_then(|party| party.streams.get(stream)) {
                stream.to = To::Fan { fan, place: place as u32 };
            }
        }
    }

    fn fan_has_room(&mut self, id: LinkId, size: usize) -> bool {
        let fits = |reactor: &Self| {
            reactor.get(id).is_some_and(|link| link.backlog() == 0 || link.backlog() + size <= link.config.high_water)
        };
        if fits(self) {
            return true;
        }
        if self.get(id).is_some_and(|link| link.has(flag::WRITABLE)) {
            self.transmit(id);
        }
        fits(self)
    }

    /// A client is back: what its fans have sent meanwhile it has missed.
    pub(super) fn tell_missed(&mut self, party: u32) {
        let Some(state) = self.native.routes.get(party) else { return };
        let (link, group) = (state.link, state.group);
        let mut missed = Vec::new();
        for stream in state.streams.iter() {
            if let To::Fan { fan, place } = stream.to
                && let Some(sequence) = self.native.fan(fan).and_then(|fan| fan.members.get(place as usize)?.behind)
            {
                missed.push(FellBehind { link, stream: stream.number, sequence });
            }
        }
        for behind in missed {
            self.tell_behind(group, behind);
        }
    }

    /// The members of a fan and their sources.
    pub fn fan_members(&self, fan: u32) -> Vec<(LinkId, u32)> {
        let Some(state) = self.native.fan(fan) else { return Vec::new() };
        let link_of = |member: &Member| Some((self.native.routes.get(member.party)?.link, member.source));
        state.members.iter().filter_map(link_of).collect()
    }

    /// What it has done.
    pub fn fan_facts(&self, fan: u32) -> FanFacts {
        let Some(state) = self.native.fan(fan) else { return FanFacts::default() };
        let behind = state.members.iter().filter(|member| member.behind.is_some()).count();
        FanFacts { members: state.members.len(), behind, ..state.facts }
    }
}
