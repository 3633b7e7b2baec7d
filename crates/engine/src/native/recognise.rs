//! From a new connection to a native client or a plain one, by its first bytes.
//!
//! A native client speaks first: its magic. Until that is known, broadcasts to all leave the connection out, for at most
//! [`SILENCE_NS`]: a client that has said nothing by then is treated as a plain one, and so is one that a broadcast names.
//! Its magic is still understood as long as nothing was sent to it.

use super::frame::{MAGIC, MAX_FRAME, OPENING, Violation};
use super::routes::Phase;
use crate::frame::Framer;
use crate::host::Host;
use crate::link::{Config, LinkId, flag};
use crate::reactor::Reactor;
use std::rc::Rc;

/// Who says nothing for so long is a plain client.
const SILENCE_NS: u64 = 1_000_000_000;

/// Whether a listener's connections may be native clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// None is.
    Off,
    /// Those that begin with the magic are.
    Auto,
    /// All are: who does not begin with the magic leaves.
    Only,
}

/// What a link is to the switch. On a listener: what those that it accepts are at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// Nothing.
    #[default]
    Plain,
    /// Not known yet.
    Unknown,
    /// Not known yet, but it was silent for so long that it gets what plain clients get.
    Silent,
    /// Not known yet, and a violation unless native.
    MustBeNative,
    /// A native client.
    Native,
    /// A plain client at the end of a route.
    Linked,
}

impl From<Recognition> for Role {
    fn from(recognition: Recognition) -> Role {
        match recognition {
            Recognition::Off => Role::Plain,
            Recognition::Auto => Role::Unknown,
            Recognition::Only => Role::MustBeNative,
        }
    }
}

impl Role {
    /// Whether broadcasts of plain bytes go to it.
    pub fn gets_broadcasts(self) -> bool {
        matches!(self, Role::Plain | Role::Silent | Role::Linked)
    }

    fn is_open(self) -> bool {
        matches!(self, Role::Unknown | Role::Silent | Role::MustBeNative)
    }
}

impl<H: Host> Reactor<H> {
    /// What a link in a group has to tell, which is not plain: see [`Reactor::advance_native`].
    pub(crate) fn advance_member(&mut self, id: LinkId, role: Role) -> bool {
        match role {
            Role::Plain => self.advance(id),
            Role::Native => self.advance_native(id),
            Role::Linked => self.advance_linked(id),
            Role::Unknown | Role::Silent | Role::MustBeNative => self.recognise(id, role),
        }
    }

    /// Says what the connections of a listener of a group may be.
    pub fn recognise_from(&mut self, listener: LinkId, recognition: Recognition) {
        if let Some(link) = self.get_mut(listener).filter(|link| link.kind.is_listener()) {
            link.role = recognition.into();
        }
    }

    /// What a new connection is at first: as its listener says.
    pub(crate) fn give_role(&mut self, listener: LinkId, id: LinkId) {
        let role = self.get(listener).map_or(Role::Plain, |link| link.role);
        self.take_role(id, role);
    }

    /// The same, with that role.
    pub(crate) fn take_role(&mut self, id: LinkId, role: Role) {
        let Some(link) = self.get_mut(id).filter(|link| link.kind.may_be_native()) else { return };
        link.role = role;
        if role == Role::Unknown {
            self.set_recognition_deadline(id, SILENCE_NS);
        }
    }

    /// The owner is told that a member was recognised, once.
    pub(crate) fn note_recognised(&mut self, id: LinkId) -> bool {
        let Some(party) = self.get(id).map(|link| link.party) else { return false };
        match self.native.routes.get_mut(party) {
            Some(state) if state.phase == Phase::New => {
                state.phase = Phase::Hello;
                true
            }
            _ => false,
        }
    }

    /// Looks at the first bytes, as far as they have come.
    fn recognise(&mut self, id: LinkId, role: Role) -> bool {
        loop {
            let in_rx = self.rx_owner == id;
            let Some(link) = self.get(id) else { return true };
            let over = link.has(flag::END) || link.receive_fault().is_some();
            let readable = link.has(flag::READABLE);
            let is_packet = link.kind.is_packet();
            let data: &[u8] = if in_rx { &self.rx[self.rx_from..self.rx_to] } else { link.inbox.unclaimed() };
            let wanted: &[u8] = if is_packet { &MAGIC } else { &OPENING };
            let whole = if is_packet { link.front.is_some() } else { data.len() >= wanted.len() };
            let known = data.len().min(wanted.len());
            let fits = data[..known] == wanted[..known] && (!is_packet || !whole || data.len() == wanted.len());
            if !fits || over && (known > 0 || role != Role::MustBeNative) {
                return self.is_plain(id, role);
            }
            if over {
                return true;
            }
            if whole {
                if role == Role::Silent && link.counters.bytes_out + link.backlog() as u64 > 0 {
                    return self.is_plain(id, role);
                }
                self.become_native(id, wanted.len());
                return true;
            }
            if !readable {
                return false;
            }
            if is_packet {
                self.advance_packet(id);
            } else {
                self.receive_stream(id);
            }
        }
    }

    fn is_plain(&mut self, id: LinkId, role: Role) -> bool {
        if role == Role::MustBeNative {
            self.break_off(id, Violation::BadMagic);
            return true;
        }
        self.become_plain(id);
        self.advance(id)
    }

    fn become_plain(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        link.role = Role::Plain;
        self.set_deadline(id, crate::Side::Life, 0);
        self.enter_class(id);
    }

    fn become_native(&mut self, id: LinkId, magic: usize) {
        self.leave_class(id);
        self.set_deadline(id, crate::Side::Life, 0);
        let Some(link) = self.get(id) else { return };
        let config = self.native_config(&link.config.clone());
        let Some(link) = self.get_mut(id) else { return };
        let Some(group) = link.membership.map(|place| place.group) else { return };
        link.role = Role::Native;
        link.framer = config.framer.clone();
        link.config = config;
        link.rare.forget(|parts| parts.pacing = None);
        link.unset(flag::GAP);
        link.front = None;
        link.scan = 0;
        link.party = crate::native::NONE;
        self.consume(id, magic);
        let party = self.native.routes.add(id, group, Phase::New);
        if let Some(link) = self.get_mut(id) {
            link.party = party;
        }
    }

    /// What a native link has instead of its listener's configuration: its limits, and the protocol's framing.
    fn native_config(&mut self, of: &Rc<Config>) -> Rc<Config> {
        if let Some((_, config)) = self.native.configs.iter().find(|(plain, _)| Rc::ptr_eq(plain, of)) {
            return config.clone();
        }
        // Of listeners that are gone.
        self.native.configs.retain(|(plain, config)| Rc::strong_count(plain) > 1 || Rc::strong_count(config) > 1);
        let framer = Framer::parse("u32", MAX_FRAME).unwrap_or_else(|_| (*of.framer).clone());
        let config = Rc::new(Config {
            framer: Rc::new(framer),
            high_water: of.high_water,
            when_full: of.when_full,
            vanished_ns: of.vanished_ns,
            idle_ns: of.idle_ns,
            max_clients: of.max_clients,
            tls: of.tls.clone(),
        });
        self.native.configs.push((of.clone(), config.clone()));
        config
    }

    /// A new connection has been silent for a while. True: it was one.
    pub(crate) fn silence_expired(&mut self, id: LinkId) -> bool {
        let Some(link) = self.get(id).filter(|link| link.role.is_open()) else { return false };
        let role = link.role;
        if self.recognise(id, role) {
            self.tell_member(id);
        }
        if let Some(link) = self.get_mut(id).filter(|link| link.role == Role::Unknown) {
            link.role = Role::Silent;
            self.enter_class(id);
        }
        true
    }
}
