//! What is due when: the deadlines of links and groups, and the timer behind them.

use crate::host::Host;
use crate::link::LinkId;
use crate::reactor::Reactor;
use crate::sys::Result;
use std::cmp::Reverse;

/// Which of a link's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Of the receive (or accept, or connect) that waits.
    Receive,
    /// Of the send that waits.
    Send,
    /// Of a close that still delivers, or a datagram peer's idle time.
    Life,
    /// When a packet that found its receiver full is tried again, and what a link waits for should have come.
    Retry,
    /// When it is looked at whether the peer still acknowledges.
    Watch,
    /// When the silence behind what has arrived is long enough to end a message.
    Gap,
}

/// Whose deadline an entry of the heap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timed {
    Link(LinkId, Side),
    Group(usize),
    Acknowledgement,
}

impl<H: Host> Reactor<H> {
    /// Sets a deadline in monotonic nanoseconds; 0 takes it back.
    pub fn set_deadline(&mut self, id: LinkId, side: Side, at: u64) {
        let Some(link) = self.get_mut(id) else { return };
        let slot = &mut link.deadlines[side as usize];
        let before = std::mem::replace(slot, at);
        // An entry for an earlier time is still in the heap: when it comes up it is put back for the new time.
        if at != 0 && (before == 0 || at < before) {
            self.push_deadline(at, Timed::Link(id, side));
        }
    }

    pub(crate) fn push_group_deadline(&mut self, group: usize, at: u64) {
        self.push_deadline(at, Timed::Group(group));
    }

    pub(crate) fn push_acknowledgement_deadline(&mut self, at: u64) {
        self.push_deadline(at, Timed::Acknowledgement);
    }

    fn push_deadline(&mut self, at: u64, whose: Timed) {
        if self.deadlines.len() > 64 && self.deadlines.len() > 8 * (self.live + self.live_groups) {
            self.prune_deadlines();
        }
        self.deadlines.push(Reverse((at, whose)));
    }

    /// Forgets entries that no deadline stands behind: short receives with long time-outs leave them.
    fn prune_deadlines(&mut self) {
        let mut entries: Vec<_> = std::mem::take(&mut self.deadlines).into_vec();
        entries.retain(|Reverse((_, whose))| self.deadline_of(*whose) != 0);
        entries.sort_unstable_by_key(|Reverse((at, whose))| (*whose, *at));
        entries.dedup_by_key(|Reverse((_, whose))| *whose);
        self.deadlines = entries.into();
    }

    fn deadline_of(&self, whose: Timed) -> u64 {
        match whose {
            Timed::Link(id, side) => self.get(id).map_or(0, |link| link.deadlines[side as usize]),
            Timed::Group(group) => self.group_deadline(group),
            Timed::Acknowledgement => self.acknowledgement_deadline(),
        }
    }

    /// The nearest deadline, in monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.peek().map(|Reverse((at, _))| *at)
    }

    /// Arms the timer behind [`Reactor::fd`] for the nearest deadline: for foreign loops, before they wait.
    pub fn arm_timer(&mut self) -> Result<()> {
        let at = self.next_deadline().unwrap_or(0);
        if at != 0 && (self.timer_at == 0 || at < self.timer_at) {
            self.timer.arm(at)?;
            self.timer_at = at;
        }
        Ok(())
    }

    /// Whether the timer fires at this time or before.
    #[inline]
    pub(crate) fn timer_wakes_by(&self, at: u64) -> bool {
        self.timer_at != 0 && self.timer_at <= at
    }

    pub(crate) fn expire(&mut self) -> bool {
        let mut any = false;
        while let Some(Reverse((at, whose))) = self.deadlines.peek().copied() {
            if at > self.now {
                break;
            }
            self.deadlines.pop();
            let deadline = self.deadline_of(whose);
            if deadline == 0 {
                continue;
            }
            if deadline > self.now {
                self.deadlines.push(Reverse((deadline, whose)));
                continue;
            }
            any = true;
            match whose {
                Timed::Group(group) => self.ready_groups.push_back(group),
                Timed::Acknowledgement => self.acknowledge_due(),
                Timed::Link(id, Side::Life) => self.life_expired(id),
                Timed::Link(id, Side::Retry) => {
                    self.set_deadline(id, Side::Retry, 0);
                    self.low_water_expired(id);
                    self.mark_dirty(id);
                }
                Timed::Link(id, Side::Watch) => self.watch_expired(id),
                Timed::Link(id, Side::Gap) => self.gap_expired(id),
                Timed::Link(id, Side::Receive | Side::Send) => self.notify(id),
            }
        }
        any
    }
}

#[inline]
pub(crate) fn due(deadline: u64, now: u64) -> bool {
    deadline != 0 && deadline <= now
}
