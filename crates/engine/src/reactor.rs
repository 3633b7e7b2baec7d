//! The links of one thread, the kernel's news about them, and the order in which things happen.
//!
//! A turn is: [`Reactor::flush`] what was queued, [`Reactor::wait`] for news, then [`Reactor::next_event`] until it is
//! empty or the owner's budget is spent. What was not handled stays in the ready lists, so an owner that stops in
//! the middle loses nothing. Registration is edge-triggered: the flags of a link, not the kernel, remember that
//! it is readable.

use crate::busy_poll::BusyPoll;
use crate::clock::Clock;
use crate::datagrams::Arrivals;
use crate::group::Group;
use crate::host::Host;
use crate::lifecycle::Ending;
use crate::link::{Kind, Link, LinkId, flag, want};
use crate::native::Native;
use crate::native::recognise::Role;
use crate::queue::OutQueue;
use crate::sealing::Sealing;
use crate::sys::Result;
use crate::sys::epoll::{self, Epoll, Report, Timer};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::RawFd;

/// The shared receive buffer, which all links use in turn.
pub(crate) const RECEIVE_BUFFER: usize = 256 * 1024;
/// How much one receive asks for, so that one busy link does not take a turn for itself.
pub(crate) const RECEIVE_SIZE: usize = 128 * 1024;
/// Above so many unclaimed bytes in all links together, receives ask for little.
pub(crate) const PARKED_CAP: usize = 64 * 1024 * 1024;
const REPORTS: usize = 1024;
const POOLED_QUEUES: usize = 1024;

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

/// What the owner of a link asked to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message, the end or a fault can be taken; on a listener a connection.
    Receivable(LinkId),
    /// The queue has room again, or the link cannot send any more.
    Sendable(LinkId),
    /// The queue is empty, or what was queued has come as far as was asked for, or the link cannot send any more.
    Flushed(LinkId),
    /// Connecting came to an end; [`Reactor::connected`] tells which.
    Connected(LinkId),
    /// The deadline of what waits has passed.
    Expired(LinkId, Side),
    /// A lasting link has lost its connection: [`Reactor::outage`] tells how. It waits for [`Reactor::graft`].
    Down(LinkId),
    /// The link is closed; its id means nothing from now on.
    Gone(LinkId),
    /// The group has an event, or was dropped.
    GroupReceivable(usize),
    /// No member of the group is above its high-water mark any more, or the group was dropped.
    GroupSendable(usize),
    /// The deadline of the group's reader has passed.
    GroupExpired(usize),
}

/// Whose deadline an entry of the heap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timed {
    Link(LinkId, Side),
    Group(usize),
    Acknowledgement,
}

/// Begins with a line of the processor's caches; see [`Link`].
#[repr(C, align(64))]
pub(crate) struct Slot<H: Host> {
    pub generation: u32,
    pub link: Option<Link<H>>,
}

/// See the module.
pub struct Reactor<H: Host> {
    pub(crate) epoll: Epoll,
    timer: Timer,
    /// What the timer is armed for: a deadline that is far, or any when a foreign loop watches this reactor.
    timer_at: u64,
    pub(crate) reports: Vec<Report>,
    pub(crate) slots: Vec<Slot<H>>,
    pub(crate) free: Vec<u32>,
    pub(crate) live: usize,
    /// See `receive`: bytes `rx_from..rx_to` belong to `rx_owner` and are not claimed.
    pub(crate) rx: Box<[u8]>,
    pub(crate) rx_owner: LinkId,
    pub(crate) rx_from: usize,
    pub(crate) rx_to: usize,
    pub(crate) parked: usize,
    /// See `sealing`.
    pub(crate) sealing: Sealing,
    /// See `datagrams`.
    pub(crate) arrivals: Arrivals,
    pub(crate) ready: VecDeque<LinkId>,
    /// Links that have had their share of this turn; see [`Reactor::put_off`].
    pub(crate) put_off: Vec<LinkId>,
    pub(crate) dirty: Vec<LinkId>,
    dirty_spare: Vec<LinkId>,
    /// Empty ones; as boxes they move between here and the links without being copied.
    #[expect(clippy::vec_box)]
    pub(crate) queues: Vec<Box<OutQueue<H::Loan>>>,
    /// A place is never used again: an owner may drop its group twice.
    pub(crate) groups: Vec<Option<Box<Group>>>,
    pub(crate) live_groups: usize,
    /// See `native`.
    pub(crate) native: Native,
    pub(crate) ready_groups: VecDeque<usize>,
    /// What the owners of dropped groups wait for.
    pub(crate) last_group_events: Vec<Event>,
    pub(crate) pending_groups: Vec<usize>,
    pub(crate) foreign: Vec<(RawFd, u32)>,
    /// For every deadline there is an entry of its time or an earlier one; entries outlive deadlines taken back.
    deadlines: BinaryHeap<Reverse<(u64, Timed)>>,
    pub(crate) ending: Ending,
    pub(crate) clock: Clock,
    /// Polling before sleeping, if it was asked for.
    pub(crate) busy_poll: Option<BusyPoll>,
    /// The clock at the last wait.
    pub(crate) now: u64,
}

impl<H: Host> Reactor<H> {
    /// A reactor without links, on the kernel's clock.
    pub fn new() -> Result<Reactor<H>> {
        Reactor::on_clock(Clock::Kernel)
    }

    /// A reactor without links whose deadlines follow `clock`.
    pub fn on_clock(clock: Clock) -> Result<Reactor<H>> {
        let epoll = Epoll::new()?;
        let timer = Timer::new()?;
        epoll.add(timer.raw(), epoll::IN | epoll::EDGE, u64::MAX)?;
        Ok(Reactor {
            epoll,
            timer,
            timer_at: 0,
            reports: vec![Report { events: 0, u64: 0 }; REPORTS],
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            rx: vec![0; RECEIVE_BUFFER].into_boxed_slice(),
            rx_owner: LinkId::NONE,
            rx_from: 0,
            rx_to: 0,
            parked: 0,
            sealing: Sealing::default(),
            arrivals: Arrivals::default(),
            ready: VecDeque::new(),
            put_off: Vec::new(),
            dirty: Vec::new(),
            dirty_spare: Vec::new(),
            queues: Vec::new(),
            groups: Vec::new(),
            live_groups: 0,
            native: Native::default(),
            ready_groups: VecDeque::new(),
            last_group_events: Vec::new(),
            pending_groups: Vec::new(),
            foreign: Vec::new(),
            deadlines: BinaryHeap::new(),
            ending: Ending::default(),
            clock,
            busy_poll: None,
            now: clock.now(),
        })
    }

    /// The descriptor that a foreign loop can watch for readability.
    pub fn fd(&self) -> RawFd {
        self.epoll.raw()
    }

    /// How many links there are, listeners included.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Bytes that were received and not claimed, of all links but the one whose bytes lie in the shared buffer.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// No links.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The time of the current turn, in nanoseconds of its clock.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The clock, read anew.
    pub fn tick(&mut self) -> u64 {
        self.now = self.clock.now();
        self.now
    }

    /// Watches a descriptor that is not a link, level-triggered, for the owner.
    pub fn watch(&mut self, fd: RawFd, events: u32) -> Result<()> {
        self.epoll.add(fd, events, fd as u64)
    }

    /// Changes what is watched of it.
    pub fn rewatch(&mut self, fd: RawFd, events: u32) -> Result<()> {
        self.epoll.modify(fd, events, fd as u64)
    }

    /// Stops watching it.
    pub fn unwatch(&mut self, fd: RawFd) -> Result<()> {
        self.foreign.retain(|(watched, _)| *watched != fd);
        self.epoll.remove(fd)
    }

    /// What [`Reactor::wait`] saw of the watched descriptors.
    pub fn take_foreign(&mut self) -> Vec<(RawFd, u32)> {
        std::mem::take(&mut self.foreign)
    }

    /// Whether a turn has something to do without waiting.
    #[inline]
    pub fn is_busy(&self) -> bool {
        !self.ready.is_empty()
            || !self.ready_groups.is_empty()
            || !self.put_off.is_empty()
            || !self.foreign.is_empty()
            || !self.last_group_events.is_empty()
    }

    /// Whether something waits to be flushed.
    #[inline]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.pending_groups.is_empty() || self.has_pending_fans()
    }

    pub(crate) fn file(&mut self, token: u64, events: u32) {
        if token == u64::MAX {
            self.timer_at = 0;
            return;
        }
        if token >> 32 == 0 {
            self.foreign.push((token as RawFd, events));
            return;
        }
        let id = LinkId(token);
        let Some(link) = self.get_mut(id) else { return };
        if events & (epoll::IN | epoll::RDHUP | epoll::HUP | epoll::ERR | epoll::PRI) != 0 {
            link.set(flag::READABLE);
            if events & (epoll::RDHUP | epoll::HUP | epoll::ERR | epoll::PRI) != 0 {
                link.set(flag::UNSETTLED | flag::URGENT);
                if events & !(epoll::IN | epoll::OUT | epoll::PRI) != 0 && link.has(flag::LASTING) {
                    link.set(flag::HANGUP);
                }
            }
        }
        if events & (epoll::OUT | epoll::HUP | epoll::ERR) != 0 {
            self.file_writable(id);
        }
        self.notify(id);
    }

    fn file_writable(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let waits = !link.is_flushed() || link.has(flag::END_ASKED | flag::CLOSING | flag::CONNECTING);
        if link.has(flag::WRITABLE) {
            if !waits {
                self.stop_waiting_for_room(id);
            }
            return;
        }
        link.set(flag::WRITABLE);
        if link.kind == Kind::DatagramListener {
            self.unblock_peers(id);
        } else if waits {
            self.mark_dirty(id);
        }
    }

    /// Lists a link whose owner may have something to hear.
    #[inline]
    pub(crate) fn notify(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        if let Some(membership) = &link.membership {
            let group = membership.group;
            // Others are looked at here first: see `event_of`.
            let direct = link.role == Role::Plain || link.has(flag::JOINED_UNTOLD) || link.kind.is_listener();
            if direct && !link.has(flag::IN_GROUP_READY) {
                link.set(flag::IN_GROUP_READY);
                self.group_ready(group, id);
            }
        }
        let Some(link) = self.get_mut(id) else { return };
        let interesting = link.want != 0
            || link.has(flag::GONE | flag::CLOSING | flag::HANGUP | flag::DOWN_UNTOLD | flag::GAP | flag::HANDSHAKING)
            || link.kind == Kind::DatagramListener
            || (link.kind == Kind::Listener && link.config.tls.is_some())
            || link.role != Role::Plain && !link.kind.is_listener();
        if interesting && !link.has(flag::IN_READY) {
            link.set(flag::IN_READY);
            self.ready.push_back(id);
        }
    }

    /// What the owner asked to hear of, one at a time.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(id) = self.ready.pop_front() {
            let Some(link) = self.get_mut(id) else { continue };
            link.unset(flag::IN_READY);
            if let Some(event) = self.event_of(id) {
                return Some(event);
            }
        }
        while let Some(group) = self.ready_groups.pop_front() {
            if let Some(event) = self.group_event(group) {
                return Some(event);
            }
        }
        self.last_group_events.pop()
    }

    fn event_of(&mut self, id: LinkId) -> Option<Event> {
        let now = self.now;
        let link = self.get_mut(id)?;
        if link.has(flag::GONE) {
            self.release(id);
            return Some(Event::Gone(id));
        }
        if link.has(flag::LASTING | flag::GAP) {
            self.read_ahead(id);
            if let Some(event) = self.lasting_event(id) {
                return Some(event);
            }
        }
        let link = self.get_mut(id)?;
        let shakes = link.has(flag::HANDSHAKING);
        if link.role != Role::Plain && !link.kind.is_listener() && !shakes {
            let role = link.role;
            if self.advance_member(id, role) {
                self.tell_member(id);
            }
            return self.sending_event(id);
        }
        let connects = link.want & want::CONNECT != 0;
        if connects || shakes {
            let over = self.conclude_connect(id, connects);
            let link = self.get_mut(id).filter(|_| connects)?;
            if over {
                link.want &= !want::CONNECT;
                link.deadlines[Side::Receive as usize] = 0;
                return Some(Event::Connected(id));
            }
            if due(link.deadlines[0], now) {
                link.deadlines[0] = 0;
                link.want &= !want::CONNECT;
                return Some(Event::Expired(id, Side::Receive));
            }
            return None;
        }
        match link.kind {
            Kind::DatagramListener => self.drain_datagrams(id),
            Kind::Listener if link.config.tls.is_some() && link.want & want::RECEIVE == 0 => self.greet(id),
            _ => {}
        }
        let link = self.get_mut(id)?;
        let sending = link.want & want::SENDING;
        if link.want & want::RECEIVE != 0 {
            if self.available(id) {
                let link = self.get_mut(id)?;
                link.want &= !want::RECEIVE;
                link.deadlines[0] = 0;
                if sending != 0 {
                    self.notify(id);
                }
                return Some(Event::Receivable(id));
            }
            let link = self.get_mut(id)?;
            if due(link.deadlines[0], now) {
                link.deadlines[0] = 0;
                link.want &= !want::RECEIVE;
                if sending != 0 {
                    self.notify(id);
                }
                return Some(Event::Expired(id, Side::Receive));
            }
        }
        self.sending_event(id)
    }

    fn sending_event(&mut self, id: LinkId) -> Option<Event> {
        let now = self.now;
        let link = self.get_mut(id)?;
        let over = link.sending_is_over();
        let (room, empty) = (link.admits_waiting(), link.is_flushed());
        if link.want & want::SEND != 0 && (room || over) {
            link.want &= !want::SEND;
            link.deadlines[1] = 0;
            if link.want & (want::FLUSH | want::PASSED) != 0 {
                self.notify(id);
            }
            return Some(Event::Sendable(id));
        }
        if link.want & want::FLUSH != 0 && (empty || link.is_broken()) {
            link.want &= !want::FLUSH;
            if link.want & want::SEND == 0 {
                link.deadlines[Side::Send as usize] = 0;
            }
            return Some(Event::Flushed(id));
        }
        if link.want & want::URGENT != 0 && (over || link.has(flag::URGENT)) {
            link.want &= !want::URGENT;
            if link.want & want::SENDING == 0 {
                link.deadlines[Side::Send as usize] = 0;
            } else {
                self.notify(id);
            }
            return Some(Event::Flushed(id));
        }
        if link.want & want::PASSED != 0 && (link.is_broken() || self.has_passed(id)) {
            self.forget_passed(id);
            let link = self.get_mut(id)?;
            link.deadlines[Side::Send as usize] = 0;
            if link.want & want::SENDING != 0 {
                self.notify(id);
            }
            return Some(Event::Flushed(id));
        }
        let link = self.get_mut(id)?;
        if link.want & want::SENDING != 0 && due(link.deadlines[1], now) {
            link.deadlines[1] = 0;
            return Some(Event::Expired(id, Side::Send));
        }
        None
    }

    /// Says what the owner waits for; what is there already is told by the next [`Reactor::next_event`].
    #[inline]
    pub fn want(&mut self, id: LinkId, wants: u8) {
        let Some(link) = self.get_mut(id) else { return };
        link.want |= wants;
        // A receive that found nothing a moment ago has left nothing to look at: the kernel's next report brings it back.
        let unclaimed = link.has(flag::READABLE | flag::END) || link.holds_more();
        let in_rx = self.rx_owner == id && self.rx_from < self.rx_to || self.has_arrived(id);
        if wants & !want::RECEIVE != 0 || unclaimed || in_rx {
            self.notify(id);
        }
    }

    /// The sender that waited longest gave up: another one's message may need less room.
    pub fn reconsider_room(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id) {
            link.awaited_room = 0;
            self.notify(id);
        }
    }

    /// The owner waits no longer.
    #[inline]
    pub fn unwant(&mut self, id: LinkId, wants: u8) {
        let Some(link) = self.get_mut(id) else { return };
        link.want &= !wants;
        if wants & (want::RECEIVE | want::CONNECT) != 0 {
            link.deadlines[0] = 0;
        }
        if wants & want::SENDING != 0 && link.want & want::SENDING == 0 {
            link.deadlines[1] = 0;
        }
    }

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

    /// Takes up the link's next input after the next [`Reactor::wait`], so that others have their turn before.
    pub(crate) fn put_off(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id) {
            link.unset(flag::READABLE);
            self.put_off.push(id);
        }
    }

    /// Sends what was queued since the last flush: one gathered write per link.
    pub fn flush(&mut self) {
        for group in std::mem::take(&mut self.pending_groups) {
            self.distribute(group);
        }
        self.distribute_fans();
        if self.dirty.is_empty() {
            return;
        }
        let mut dirty = std::mem::replace(&mut self.dirty, std::mem::take(&mut self.dirty_spare));
        for id in dirty.drain(..) {
            if let Some(link) = self.get_mut(id) {
                link.unset(flag::IN_DIRTY);
                self.transmit(id);
            }
        }
        self.dirty_spare = dirty;
    }

    #[inline]
    pub(crate) fn mark_dirty(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id)
            && !link.has(flag::IN_DIRTY)
        {
            link.set(flag::IN_DIRTY);
            self.dirty.push(id);
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: LinkId) -> Option<&Link<H>> {
        match self.slots.get(id.index()) {
            Some(slot) if slot.generation == id.generation() => slot.link.as_ref(),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link<H>> {
        match self.slots.get_mut(id.index()) {
            Some(slot) if slot.generation == id.generation() => slot.link.as_mut(),
            _ => None,
        }
    }

    pub(crate) fn take_queue(&mut self) -> Box<OutQueue<H::Loan>> {
        self.queues.pop().unwrap_or_default()
    }

    pub(crate) fn return_queue(&mut self, mut queue: Box<OutQueue<H::Loan>>) {
        if self.queues.len() < POOLED_QUEUES {
            queue.clear();
            // The one on top is used next, again and again while there is one busy sender: it keeps what it has.
            if let Some(before) = self.queues.last_mut() {
                before.shrink(16 * 1024);
            }
            self.queues.push(queue);
        }
    }
}

#[inline]
pub(crate) fn due(deadline: u64, now: u64) -> bool {
    deadline != 0 && deadline <= now
}
