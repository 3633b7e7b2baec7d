//! Many links as one: their events in one stream, one broadcast to all of them (`broadcast`).
//!
//! A member costs no buffer and nothing of the caller's. Messages are claimed from the members in turn, so that one
//! busy member does not silence the rest. A broadcast is framed once and stays pending until the turn ends; then all
//! that was broadcast meanwhile is one shared buffer, of which each member's queue holds a reference.

use crate::classes::Class;
use crate::deadlines::due;
use crate::host::{Body, Host};
use crate::link::{Fault, Kind, LinkId, flag};
use crate::native::{self, FellBehind};
use crate::queue::WhenFull;
use crate::reactor::{Event, Reactor};
use crate::receive::Take;
use std::collections::{BTreeMap, VecDeque};

/// Messages claimed from one member before the next one has its turn.
const MESSAGES_PER_MEMBER: usize = 64;
/// Bytes that count as a message more: of large messages fewer are taken before the next member has its turn.
const BYTES_AS_ONE: usize = 4096;
/// So many pending bytes are distributed without waiting for the end of the turn.
pub(crate) const PENDING_MAX: usize = 64 * 1024;
/// The class of a member that broadcasts leave out.
pub(crate) const NO_CLASS: u32 = u32::MAX - 1;

/// A link's place in its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub group: usize,
    /// Index into `Group::classes`; [`NO_CLASS`], or `u32::MAX` for a listener.
    pub class: u32,
    /// Index into the class's members; unused by listeners.
    pub place: u32,
    /// 1 for the group's first member, and so on; never used again. 0 for listeners.
    pub number: u64,
}

/// What the members of a group share.
pub(crate) struct Group {
    pub classes: Vec<Class>,
    ready: VecDeque<LinkId>,
    served: usize,
    /// Members that have missed something.
    behind: VecDeque<FellBehind>,
    pub when_full: WhenFull,
    /// All members by number, that is, in the order of joining.
    members: BTreeMap<u64, LinkId>,
    next_number: u64,
    pub above: usize,
    pub dropped: u64,
    wants_receive: bool,
    pub wants_send: bool,
    /// Of the receive that waits; 0 for none.
    deadline: u64,
}

/// What [`Reactor::group_take`] found.
pub enum GroupTake<'a, B: Body> {
    /// A new member.
    Joined(LinkId),
    /// A message, to be copied out before the reactor is used again.
    Message(LinkId, &'a [u8]),
    /// A large message in its final object.
    Body(LinkId, B),
    /// A member is a native client: its messages are frames from now on.
    Recognised(LinkId),
    /// A fan has left a member out: its stream, and the sequence of the first message that it misses.
    FellBehind(LinkId, u32, u64),
    /// A member's end: by the peer (`None`, perhaps idle) or by a fault. Read its facts now, then
    /// [`Reactor::close`] it: what is queued for it still leaves.
    Left(LinkId, Option<Fault>),
    /// A listener of the group cannot accept.
    AcceptFailed(LinkId, crate::sys::Errno),
    /// Not yet.
    Nothing,
}

impl<H: Host> Reactor<H> {
    /// A new, empty group; `when_full` is the policy of its broadcasts.
    pub fn group(&mut self, when_full: WhenFull) -> usize {
        let group = Group {
            classes: Vec::new(),
            ready: VecDeque::new(),
            served: 0,
            behind: VecDeque::new(),
            when_full,
            members: BTreeMap::new(),
            next_number: 1,
            above: 0,
            dropped: 0,
            wants_receive: false,
            wants_send: false,
            deadline: 0,
        };
        self.groups.push(Some(Box::new(group)));
        self.live_groups += 1;
        self.groups.len() - 1
    }

    /// Whether the group was not dropped yet.
    pub fn has_group(&self, group: usize) -> bool {
        matches!(self.groups.get(group), Some(Some(_)))
    }

    /// Puts a link, or all that a listener accepts, into the group. False if it is gone or in a group already.
    pub fn join(&mut self, group: usize, id: LinkId) -> bool {
        self.join_as(group, id, None)
    }

    /// The same, with the number that a member had elsewhere. False, too, when another member has that one.
    pub fn join_as(&mut self, group: usize, id: LinkId, number: Option<u64>) -> bool {
        let Some(link) = self.get(id) else { return false };
        if link.membership.is_some() || link.has(flag::CLOSING | flag::GONE | flag::LASTING) {
            return false;
        }
        let is_listener = link.kind.is_listener();
        let Some(Some(state)) = self.groups.get_mut(group) else { return false };
        if number.is_some_and(|number| state.members.contains_key(&number)) {
            return false;
        }
        let mut membership = Membership { group, class: u32::MAX, place: u32::MAX, number: 0 };
        if !is_listener {
            membership.class = NO_CLASS;
            membership.number = number.unwrap_or(state.next_number);
            state.next_number = state.next_number.max(membership.number + 1);
            state.members.insert(membership.number, id);
        }
        let Some(link) = self.get_mut(id) else { return false };
        link.membership = Some(membership);
        link.want = 0;
        if !is_listener {
            link.set(flag::JOINED_UNTOLD);
            if link.role.gets_broadcasts() {
                self.enter_class(id);
            }
        }
        // It may have come with a queue.
        self.check_high_water(id);
        self.notify(id);
        true
    }

    /// Lists a member that has something to tell.
    pub(crate) fn tell_member(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && !link.has(flag::IN_GROUP_READY)
            && let Some(group) = link.membership.map(|place| place.group)
        {
            link.set(flag::IN_GROUP_READY);
            self.group_ready(group, id);
        }
    }

    /// A member has missed something.
    pub(crate) fn tell_behind(&mut self, group: usize, behind: FellBehind) {
        let Some(Some(state)) = self.groups.get_mut(group) else { return };
        state.behind.push_back(behind);
        if state.wants_receive && state.behind.len() == 1 {
            self.ready_groups.push_back(group);
        }
    }

    pub(crate) fn leave_group(&mut self, id: LinkId) {
        self.leave_class(id);
        if self.get(id).is_some_and(|link| link.party != native::NONE) {
            self.party_leaves(id);
        }
        let Some(membership) = self.get_mut(id).and_then(|link| link.membership.take()) else { return };
        let above = self.get(id).is_some_and(|link| link.has(flag::ABOVE_HIGH_WATER));
        if let Some(link) = self.get_mut(id) {
            link.unset(flag::ABOVE_HIGH_WATER);
        }
        let Some(Some(group)) = self.groups.get_mut(membership.group) else { return };
        group.above -= usize::from(above);
        group.members.remove(&membership.number);
        self.group_may_send(membership.group);
    }

    /// Ends the group: its members and listeners are aborted, and who waits for it is told. Doing so twice is fine.
    pub fn drop_group(&mut self, group: usize) {
        if !self.has_group(group) {
            return;
        }
        for id in self.group_links(group) {
            self.abort(id);
        }
        self.end_switch(group);
        let Some(state) = self.groups[group].take() else { return };
        self.live_groups -= 1;
        let told =
            [(state.wants_receive, Event::GroupReceivable(group)), (state.wants_send, Event::GroupSendable(group))];
        self.last_group_events.extend(told.into_iter().filter_map(|(wanted, event)| wanted.then_some(event)));
    }

    /// Ends the group gently: its listeners close, and what is queued for its members still leaves until `deadline`
    /// (monotonic nanoseconds, 0 for none). Gives the links that are not gone yet.
    pub fn close_group(&mut self, group: usize, deadline: u64) -> Vec<LinkId> {
        let links = self.group_links(group);
        for id in &links {
            self.close(*id, deadline);
        }
        self.flush();
        self.drop_group(group);
        links.into_iter().filter(|id| self.get(*id).is_some()).collect()
    }

    fn group_links(&self, group: usize) -> Vec<LinkId> {
        let within = |link: &crate::link::Link<H>| link.membership.as_ref().is_some_and(|place| place.group == group);
        let ids = self.slots.iter().enumerate().filter(|(_, slot)| slot.link.as_ref().is_some_and(within));
        ids.map(|(index, slot)| LinkId::new(index, slot.generation)).collect()
    }

    /// The members in the order of joining.
    pub fn members(&self, group: usize) -> Vec<LinkId> {
        match self.groups.get(group) {
            Some(Some(state)) => state.members.values().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Makes members of the datagram peers that have sent already and were not accepted: their joining is still told.
    pub fn admit_newcomers(&mut self, group: usize) {
        for listener in self.group_links(group) {
            while let Some(peer) = self.next_newcomer(listener) {
                self.join(group, peer);
            }
        }
    }

    /// The number of the next member.
    pub fn next_number(&self, group: usize) -> u64 {
        self.groups.get(group).and_then(Option::as_ref).map_or(0, |state| state.next_number)
    }

    /// The next member's number is `first`, or higher if that many have joined already.
    pub fn number_from(&mut self, group: usize, first: u64) {
        if let Some(Some(state)) = self.groups.get_mut(group) {
            state.next_number = state.next_number.max(first);
        }
    }

    /// The member with that number.
    pub fn member_numbered(&self, group: usize, number: u64) -> Option<LinkId> {
        self.groups.get(group)?.as_ref()?.members.get(&number).copied()
    }

    /// A member's number in its group: 1 for the first that joined, and so on; never used again. 0: no member.
    pub fn number(&self, id: LinkId) -> u64 {
        self.get(id).and_then(|link| link.membership).map_or(0, |place| place.number)
    }

    /// How many members, and how many messages broadcasts have dropped.
    pub fn group_facts(&self, group: usize) -> (usize, u64) {
        match self.groups.get(group) {
            Some(Some(state)) => (state.members.len(), state.dropped),
            _ => (0, 0),
        }
    }

    /// Whether the link is a member of the group.
    pub fn is_member(&self, group: usize, id: LinkId) -> bool {
        let membership = self.get(id).and_then(|link| link.membership.as_ref());
        membership.is_some_and(|place| place.group == group && place.class != u32::MAX)
    }

    pub(crate) fn group_ready(&mut self, group: usize, id: LinkId) {
        let Some(Some(state)) = self.groups.get_mut(group) else { return };
        state.ready.push_back(id);
        if state.wants_receive && state.ready.len() == 1 {
            self.ready_groups.push_back(group);
        }
    }

    /// The group's owner waits for an event, at most until `deadline` (monotonic nanoseconds, 0 for ever).
    pub fn group_want(&mut self, group: usize, deadline: u64) {
        let Some(Some(state)) = self.groups.get_mut(group) else { return };
        state.wants_receive = true;
        state.deadline = deadline;
        if !state.ready.is_empty() || !state.behind.is_empty() {
            self.ready_groups.push_back(group);
        }
        if deadline != 0 {
            self.push_group_deadline(group, deadline);
        }
    }

    /// The group's owner waits no longer.
    pub fn group_unwant(&mut self, group: usize) {
        if let Some(Some(state)) = self.groups.get_mut(group) {
            state.wants_receive = false;
            state.deadline = 0;
        }
    }

    /// Whether a broadcast has to wait for room: its policy (its own or the group's) is to wait and a member is above its
    /// high-water mark.
    pub fn group_waits(&mut self, group: usize, policy: Option<WhenFull>) -> bool {
        let Some(Some(state)) = self.groups.get(group) else { return false };
        policy.unwrap_or(state.when_full) == WhenFull::Wait && state.above > 0
    }

    /// The group's owner waits until no member is above its high-water mark. False: none is.
    pub fn group_want_room(&mut self, group: usize) -> bool {
        self.distribute(group);
        self.flush();
        let Some(Some(state)) = self.groups.get_mut(group) else { return false };
        state.wants_send = state.above > 0;
        state.wants_send
    }

    pub(crate) fn group_event(&mut self, group: usize) -> Option<Event> {
        let Some(Some(state)) = self.groups.get_mut(group) else { return None };
        if state.wants_send && state.above == 0 {
            state.wants_send = false;
            if state.wants_receive && !state.ready.is_empty() {
                self.ready_groups.push_back(group);
            }
            return Some(Event::GroupSendable(group));
        }
        let listed = !state.ready.is_empty() || !state.behind.is_empty();
        if state.wants_receive && listed && self.group_advance(group) {
            self.group_unwant(group);
            return Some(Event::GroupReceivable(group));
        }
        if due(self.group_deadline(group), self.now) {
            self.group_unwant(group);
            return Some(Event::GroupExpired(group));
        }
        None
    }

    /// Until when the group's owner waits; 0 for no end, or if it does not wait.
    pub(crate) fn group_deadline(&self, group: usize) -> u64 {
        self.groups.get(group).and_then(Option::as_ref).map_or(0, |state| state.deadline)
    }

    /// Brings a link with something to tell to the front of the ready list.
    fn group_advance(&mut self, group: usize) -> bool {
        loop {
            let Some(Some(state)) = self.groups.get_mut(group) else { return false };
            if !state.behind.is_empty() {
                return true;
            }
            let Some(id) = state.ready.front().copied() else { return false };
            if state.served >= MESSAGES_PER_MEMBER {
                state.served = 0;
                state.ready.rotate_left(1);
                continue;
            }
            let told = match self.get(id) {
                Some(link) if link.membership.as_ref().is_some_and(|place| place.group == group) => {
                    !link.has(flag::JOINED_UNTOLD) && link.has(flag::LEFT_TOLD)
                }
                _ => true,
            };
            if !told {
                if self.get(id).is_some_and(|link| link.has(flag::JOINED_UNTOLD)) {
                    return true;
                }
                if self.get(id).is_some_and(|link| link.kind == Kind::DatagramListener) {
                    self.drain_datagrams(id);
                }
                if self.available(id) {
                    return true;
                }
            }
            if let Some(link) = self.get_mut(id) {
                link.unset(flag::IN_GROUP_READY);
            }
            let Some(Some(state)) = self.groups.get_mut(group) else { return false };
            state.served = 0;
            // `drain_datagrams` may have listed others behind it, never before it.
            state.ready.pop_front();
        }
    }

    /// The group's next event.
    pub fn group_take(&mut self, group: usize) -> GroupTake<'_, H::Body> {
        loop {
            if !self.group_advance(group) {
                return GroupTake::Nothing;
            }
            let Some(Some(state)) = self.groups.get_mut(group) else { return GroupTake::Nothing };
            if let Some(FellBehind { link, stream, sequence }) = state.behind.pop_front() {
                if self.is_member(group, link) {
                    return GroupTake::FellBehind(link, stream, sequence);
                }
                continue;
            }
            let Some(id) = state.ready.front().copied() else { return GroupTake::Nothing };
            state.served += 1;
            let Some(link) = self.get_mut(id) else { continue };
            if link.has(flag::JOINED_UNTOLD) {
                link.unset(flag::JOINED_UNTOLD);
                return GroupTake::Joined(id);
            }
            if link.kind.is_listener() {
                match self.accept(id) {
                    Ok(Some(new)) => {
                        self.give_role(id, new);
                        self.join(group, new);
                        continue;
                    }
                    Ok(None) => continue,
                    Err(error) => return GroupTake::AcceptFailed(id, error),
                }
            }
            if self.note_recognised(id) {
                return GroupTake::Recognised(id);
            }
            return self.member_take(group, id);
        }
    }

    fn member_take(&mut self, group: usize, id: LinkId) -> GroupTake<'_, H::Body> {
        if !self.has_message(id) {
            // The end and faults are told once; the member stays until its owner closes it.
            let Some(link) = self.get_mut(id) else { return GroupTake::Nothing };
            link.set(flag::LEFT_TOLD);
            return GroupTake::Left(id, link.receive_fault().cloned());
        }
        let large = self.get(id).map_or(0, |link| match (&link.front, &link.large) {
            (Some(front), _) => front.consumed as usize,
            (None, Some(large)) => large.total,
            (None, None) => 0,
        });
        if let Some(Some(state)) = self.groups.get_mut(group) {
            state.served += large / BYTES_AS_ONE;
        }
        match self.take(id) {
            Take::Bytes(bytes) => GroupTake::Message(id, bytes),
            Take::Body(body) => GroupTake::Body(id, body),
            Take::Fault(_) | Take::End | Take::Closed | Take::Nothing => GroupTake::Nothing,
        }
    }
}
