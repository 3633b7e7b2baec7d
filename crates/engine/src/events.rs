//! What the owner of a link asked to hear of, and what there is to tell.

use crate::deadlines::{Side, due};
use crate::host::Host;
use crate::link::{Kind, LinkId, flag, want};
use crate::native::recognise::Role;
use crate::reactor::Reactor;

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

impl<H: Host> Reactor<H> {
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
}
