//! From a group to its members: broadcasts, and how many of them are behind.

use crate::frame::FrameError;
use crate::group::{NO_CLASS, PENDING_MAX};
use crate::host::Host;
use crate::link::{LinkId, flag};
use crate::native::recognise::Role;
use crate::queue::{Burst, WhenFull};
use crate::reactor::Reactor;
use std::rc::Rc;

impl<H: Host> Reactor<H> {
    /// Hands a member what was broadcast before: what it is sent itself comes behind that.
    #[inline]
    pub(crate) fn distribute_to(&mut self, id: LinkId) {
        let Some(place) = self.get(id).and_then(|link| link.membership) else { return };
        let Some(Some(state)) = self.groups.get(place.group) else { return };
        if state.classes.get(place.class as usize).is_some_and(|class| !class.sizes.is_empty()) {
            self.distribute(place.group);
        }
    }

    /// Sends to every member at the end of the turn; gives how many there are.
    pub fn broadcast(&mut self, group: usize, payload: &[u8]) -> Result<usize, FrameError> {
        let Some(Some(state)) = self.groups.get_mut(group) else { return Ok(0) };
        for class in state.classes.iter().filter(|class| !class.members.is_empty()) {
            class.check(payload)?;
        }
        let was_pending = state.classes.iter().any(|class| !class.sizes.is_empty());
        let mut waiting = 0;
        for class in state.classes.iter_mut().filter(|class| !class.members.is_empty()) {
            class.append(payload);
            waiting = waiting.max(class.pending.len());
        }
        let members: usize = state.classes.iter().map(|class| class.members.len()).sum();
        if !was_pending && members > 0 {
            self.pending_groups.push(group);
        }
        if waiting >= PENDING_MAX {
            self.distribute(group);
        }
        Ok(members)
    }

    /// Sends to some members at once, each by `policy` or the group's own; gives how many took it.
    pub fn broadcast_to(
        &mut self,
        group: usize,
        payload: &[u8],
        to: &[LinkId],
        policy: Option<WhenFull>,
    ) -> Result<usize, FrameError> {
        // What is meant for a newcomer alone is as good as its silence: it gets what plain clients get.
        for id in to {
            if let Some(link) = self.get_mut(*id).filter(|link| link.role == Role::Unknown) {
                link.role = Role::Silent;
                self.enter_class(*id);
            }
        }
        self.distribute(group);
        let Some(Some(state)) = self.groups.get(group) else { return Ok(0) };
        let policy = policy.unwrap_or(state.when_full);
        let mut bursts: Vec<Option<Rc<Burst>>> = vec![None; state.classes.len()];
        let mut taken = 0;
        let class_of = |reactor: &Self, id| {
            let place = reactor.get(id)?.membership?;
            (place.group == group && place.class < NO_CLASS).then_some(place.class as usize)
        };
        // All or nothing: before the first member is sent to, every framing has agreed.
        for index in to.iter().filter_map(|id| class_of(self, *id)) {
            if bursts[index].is_none() {
                state.classes[index].check(payload)?;
                bursts[index] = Some(Rc::new(state.classes[index].burst_of(payload)));
            }
        }
        for id in to {
            let Some(burst) = class_of(self, *id).and_then(|index| bursts[index].clone()) else { continue };
            let (queued, dropped) = self.send_burst(*id, &burst, policy);
            self.count_dropped(group, dropped);
            taken += queued.min(1);
        }
        Ok(taken)
    }

    /// Hands what is pending to the members' queues.
    pub(crate) fn distribute(&mut self, group: usize) {
        let Some(Some(state)) = self.groups.get_mut(group) else { return };
        let policy = state.when_full;
        for index in 0..state.classes.len() {
            let Some(Some(state)) = self.groups.get_mut(group) else { return };
            let Some(burst) = state.classes[index].take_burst() else { continue };
            // A member that is cut off leaves by its owner's hand later, so the list stands still here.
            let members = std::mem::take(&mut state.classes[index].members);
            let mut dropped = 0;
            for id in &members {
                dropped += self.send_burst(*id, &burst, policy).1;
            }
            if let Some(Some(state)) = self.groups.get_mut(group) {
                state.classes[index].members = members;
            }
            self.count_dropped(group, dropped);
        }
    }

    fn count_dropped(&mut self, group: usize, dropped: usize) {
        if let Some(Some(state)) = self.groups.get_mut(group) {
            state.dropped += dropped as u64;
        }
    }

    /// Keeps the count of members above their high-water mark.
    pub(crate) fn check_high_water(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let Some(group) = link.membership.map(|place| place.group) else { return };
        let (waiting, limit) = (link.backlog(), link.config.high_water);
        let was_above = link.has(flag::ABOVE_HIGH_WATER);
        let is_above = if was_above { waiting > limit / 2 } else { waiting > limit };
        if is_above == was_above {
            return;
        }
        if is_above {
            link.set(flag::ABOVE_HIGH_WATER);
        } else {
            link.unset(flag::ABOVE_HIGH_WATER);
        }
        if let Some(Some(state)) = self.groups.get_mut(group) {
            state.above = if is_above { state.above + 1 } else { state.above - 1 };
        }
        self.group_may_send(group);
    }

    pub(crate) fn group_may_send(&mut self, group: usize) {
        if let Some(Some(state)) = self.groups.get(group)
            && state.wants_send
            && state.above == 0
        {
            self.ready_groups.push_back(group);
        }
    }
}
