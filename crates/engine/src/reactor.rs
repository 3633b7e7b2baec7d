//! The links of one thread, the kernel's news about them, and the order in which things happen.
//!
//! A turn is: [`Reactor::flush`] what was queued, [`Reactor::wait`] for news, then [`Reactor::next_event`] until it is
//! empty or the owner's budget is spent. What was not handled stays in the ready lists, so an owner that stops in
//! the middle loses nothing. Registration is edge-triggered: the flags of a link, not the kernel, remember that
//! it is readable.

pub use crate::deadlines::Side;
pub use crate::events::Event;

use crate::busy_poll::BusyPoll;
use crate::clock::Clock;
use crate::datagrams::Arrivals;
use crate::deadlines::Timed;
use crate::group::Group;
use crate::host::Host;
use crate::lifecycle::Ending;
use crate::link::{Kind, Link, LinkId, flag};
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

/// Begins with a line of the processor's caches; see [`Link`].
#[repr(C, align(64))]
pub(crate) struct Slot<H: Host> {
    pub generation: u32,
    pub link: Option<Link<H>>,
}

/// See the module.
pub struct Reactor<H: Host> {
    pub(crate) epoll: Epoll,
    pub(crate) timer: Timer,
    /// What the timer is armed for: a deadline that is far, or any when a foreign loop watches this reactor.
    pub(crate) timer_at: u64,
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
    pub(crate) deadlines: BinaryHeap<Reverse<(u64, Timed)>>,
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
