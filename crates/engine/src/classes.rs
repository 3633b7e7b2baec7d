//! Classes: the members of a group that take the same bytes, so that a broadcast is framed once for them.
//!
//! Native clients are in none, and neither is a connection of which it is not known yet whether it is one.

use crate::frame::{FrameError, Framer};
use crate::group::{Group, NO_CLASS, PENDING_MAX};
use crate::host::Host;
use crate::link::LinkId;
use crate::queue::Burst;
use crate::reactor::Reactor;
use std::rc::Rc;

/// The queue counts a message's bytes, with what its framing adds, in 32 bits.
const MAX_PAYLOAD: usize = u32::MAX as usize - 1024;

/// Members that take the same bytes: a broadcast is framed once for them.
pub(crate) struct Class {
    pub framer: Rc<Framer>,
    pub is_packet: bool,
    pub members: Vec<LinkId>,
    pub pending: Vec<u8>,
    pub sizes: Vec<u32>,
}

impl<H: Host> Reactor<H> {
    /// From now on the member gets broadcasts, what is pending not included.
    pub(crate) fn enter_class(&mut self, id: LinkId) {
        let Some(link) = self.get(id) else { return };
        let (framer, is_packet) = (link.config.framer.clone(), link.kind.is_packet());
        let Some(place) = link.membership.filter(|place| place.class == NO_CLASS) else { return };
        let Some(Some(state)) = self.groups.get_mut(place.group) else { return };
        let class = state.class_for(&framer, is_packet);
        if !state.classes[class].sizes.is_empty() {
            self.distribute(place.group);
        }
        let Some(Some(state)) = self.groups.get_mut(place.group) else { return };
        let members = &mut state.classes[class].members;
        members.push(id);
        let at = members.len() as u32 - 1;
        if let Some(place) = self.get_mut(id).and_then(|link| link.membership.as_mut()) {
            (place.class, place.place) = (class as u32, at);
        }
    }

    /// From now on broadcasts leave the member out.
    pub(crate) fn leave_class(&mut self, id: LinkId) {
        let Some(membership) = self.get_mut(id).and_then(|link| link.membership.as_mut()) else { return };
        let left = *membership;
        if left.class >= NO_CLASS {
            return;
        }
        (membership.class, membership.place) = (NO_CLASS, u32::MAX);
        let Some(Some(group)) = self.groups.get_mut(left.group) else { return };
        let Some(class) = group.classes.get_mut(left.class as usize) else { return };
        class.members.swap_remove(left.place as usize);
        let moved = class.members.get(left.place as usize).copied();
        if let Some(moved) = moved.and_then(|moved| self.get_mut(moved)?.membership.as_mut()) {
            moved.place = left.place;
        }
    }
}

impl Group {
    /// The class of members of this kind; framings that are equal share one.
    fn class_for(&mut self, framer: &Rc<Framer>, is_packet: bool) -> usize {
        let alike = |class: &Class| class.is_packet == is_packet && (is_packet || class.framer.is_like(framer));
        if let Some(index) = self.classes.iter().position(alike) {
            return index;
        }
        let class =
            Class { framer: framer.clone(), is_packet, members: Vec::new(), pending: Vec::new(), sizes: Vec::new() };
        match self.classes.iter().position(|class| class.members.is_empty()) {
            Some(index) => {
                self.classes[index] = class;
                index
            }
            None => {
                self.classes.push(class);
                self.classes.len() - 1
            }
        }
    }
}

impl Class {
    /// Whether the payload can be sent to these members.
    pub fn check(&self, payload: &[u8]) -> Result<(), FrameError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(FrameError::TooLarge { size: Some(payload.len() as u64), limit: MAX_PAYLOAD });
        }
        if self.is_packet { Ok(()) } else { self.framer.check(payload) }
    }

    pub fn append(&mut self, payload: &[u8]) {
        let before = self.pending.len();
        if self.is_packet {
            self.pending.extend_from_slice(payload);
        } else {
            self.framer.encode(payload, &mut self.pending);
            if self.pending.len() == before {
                // Nothing, on a stream without framing.
                return;
            }
        }
        self.sizes.push((self.pending.len() - before) as u32);
    }

    pub fn take_burst(&mut self) -> Option<Rc<Burst>> {
        if self.sizes.is_empty() {
            return None;
        }
        let sizes = self.sizes.as_slice().into();
        self.sizes.clear();
        // A large one is not copied, and leaves no large buffer behind.
        let data = if self.pending.len() > PENDING_MAX {
            std::mem::take(&mut self.pending).into_boxed_slice()
        } else {
            self.pending.as_slice().into()
        };
        self.pending.clear();
        Some(Rc::new(Burst { data, sizes }))
    }

    pub fn burst_of(&self, payload: &[u8]) -> Burst {
        let framer = Rc::clone(&self.framer);
        let mut one =
            Class { framer, is_packet: self.is_packet, members: Vec::new(), pending: Vec::new(), sizes: Vec::new() };
        one.append(payload);
        Burst { data: one.pending.into(), sizes: one.sizes.into() }
    }
}
