//! A plain member at the end of a route: its messages are DATA, and what comes by the route are its messages.
//!
//! It knows nothing of credit, so the engine has its part: the other end may send as long as the member's queue has room,
//! and the member is not read from while the other end has granted nothing. Its messages still reach the owner, once
//! they have gone on whole.

use super::frame::{Code, DATA_COST, Kind, MAX_PAYLOAD, MORE};
use super::owner::SwitchError;
use super::recognise::Role;
use super::routes::Phase;
use super::streams::To;
use super::{NONE, Source};
use crate::host::{Body, Host};
use crate::link::{LinkId, flag};
use crate::queue::WhenFull;
use crate::reactor::Reactor;
use crate::transmit::{Payload, Queued, SendError};
use std::borrow::Cow;

/// What the other end may send before the member's queue has to have room again.
const WINDOW: u32 = 256 * 1024;

/// What a plain member's end of a route needs.
#[derive(Debug, Default)]
pub struct PlainEnd {
    /// The parts of a message that goes on.
    partial: Vec<u8>,
    /// Used by the other end, and not granted again.
    owed: u32,
    /// So much of the message at the front has gone on already.
    forwarded: usize,
    /// All of it has: it is the owner's now.
    whole: bool,
}

impl<H: Host> Reactor<H> {
    /// The party of a plain member, made when it has none.
    pub(super) fn plain_party(&mut self, id: LinkId) -> Result<u32, SwitchError> {
        let link = self.get_mut(id).filter(|link| !link.has(flag::CLOSING | flag::GONE)).ok_or(SwitchError::Gone)?;
        let group = link.membership.map(|place| place.group).ok_or(SwitchError::Gone)?;
        match link.role {
            Role::Linked => return Ok(link.party),
            Role::Plain | Role::Silent => link.role = Role::Linked,
            Role::Native => return Err(SwitchError::Refused("stream 0 of a native client is the connection itself")),
            Role::Unknown | Role::MustBeNative => {
                return Err(SwitchError::Refused("it is not known yet whether the member is plain"));
            }
        }
        let party = self.native.routes.add(id, group, Phase::Plain);
        if let Some(state) = self.native.routes.get_mut(party) {
            state.plain = Some(Box::default());
            state.streams.insert(0, To::Owner);
        }
        if let Some(link) = self.get_mut(id) {
            link.party = party;
        }
        Ok(party)
    }

    /// A plain member without a route is nothing to the switch.
    pub(super) fn release_plain(&mut self, party: u32) {
        let Some(state) = self.native.routes.get_mut(party).filter(|state| state.phase == Phase::Plain) else { return };
        if matches!(state.streams.get(0).map(|stream| stream.to), Some(To::Peer { .. })) {
            return;
        }
        let id = state.link;
        self.native.routes.remove_party(party);
        if let Some(link) = self.get_mut(id).filter(|link| link.party == party) {
            link.party = NONE;
            link.role = Role::Plain;
            self.notify(id);
        }
    }

    /// The other end learns that the route is there, and what it may send.
    pub(super) fn welcome_plain(&mut self, party: u32, peer: (u32, u32)) {
        let Some(state) = self.native.routes.get(party) else { return };
        let id = state.link;
        let window = self.get(id).map_or(WINDOW, |link| WINDOW.min((link.config.high_water / 2).max(1024) as u32));
        self.grant(peer, window);
        self.notify(id);
    }

    fn grant(&mut self, (party, number): (u32, u32), more: u32) {
        let stream = self.native.routes.get_mut(party).and_then(|party| party.streams.get(number));
        if stream.is_some_and(|stream| stream.grant(more).is_ok()) {
            // A grant that finds no room breaks its client off.
            let _ = self.deliver(party, number, Kind::Credit, 0, Source::Bytes(&more.to_be_bytes()));
        }
    }

    /// The same, by the member's link.
    pub(crate) fn grant_again_on(&mut self, id: LinkId) {
        if let Some(party) = self.get(id).map(|link| link.party) {
            self.grant_again(party);
        }
    }

    fn other_end(&mut self, party: u32) -> Option<(u32, u32)> {
        match self.native.routes.get_mut(party)?.streams.get(0)?.to {
            To::Peer { party, stream } => Some((party, stream)),
            _ => None,
        }
    }

    /// What came by the route for a plain member.
    pub(super) fn deliver_plain(&mut self, party: u32, kind: Kind, flags: u8, payload: &[u8]) -> Result<(), Code> {
        match kind {
            Kind::Data => self.deliver_message(party, flags, payload),
            Kind::Credit => {
                if let Some(id) = self.native.routes.get(party).map(|state| state.link) {
                    self.notify(id);
                }
                Ok(())
            }
            Kind::End => {
                // A conversation is over, and the member's connection is not.
                if let Some(peer) = self.other_end(party) {
                    self.native.routes.remove(party, 0);
                    self.deliver_or_drop(peer.0, peer.1, Kind::End);
                }
                self.release_plain(party);
                Ok(())
            }
            _ => {
                self.release_plain(party);
                Ok(())
            }
        }
    }

    fn deliver_or_drop(&mut self, party: u32, number: u32, kind: Kind) {
        // An end that finds no room breaks its client off elsewhere.
        let _ = self.deliver(party, number, kind, 0, Source::Bytes(&[]));
    }

    fn deliver_message(&mut self, party: u32, flags: u8, payload: &[u8]) -> Result<(), Code> {
        let Some(state) = self.native.routes.get_mut(party) else { return Ok(()) };
        let (id, Some(end)) = (state.link, state.plain.as_deref_mut()) else { return Ok(()) };
        end.owed += payload.len() as u32 + DATA_COST;
        let Some(slot) = self.slots.get(id.index()).filter(|slot| slot.generation == id.generation()) else {
            return Ok(());
        };
        let Some(link) = slot.link.as_ref() else { return Ok(()) };
        let in_pieces = link.config.framer.is_none() && !link.kind.is_packet();
        let mut gathered = Vec::new();
        let message: &[u8] = if in_pieces || flags & MORE == 0 && end.partial.is_empty() {
            payload
        } else {
            end.partial.extend_from_slice(payload);
            if end.partial.len() > link.config.framer.max_message() {
                return Err(Code::Refused);
            }
            if flags & MORE != 0 {
                self.grant_again(party);
                return Ok(());
            }
            gathered.append(&mut end.partial);
            &gathered
        };
        match self.send(id, Payload::Bytes(message), Some(WhenFull::Reject)) {
            Ok(Queued::Yes) => {}
            Ok(_) => return Err(Code::Overloaded),
            Err(SendError::Frame(_) | SendError::TooLarge { .. }) => return Err(Code::Refused),
            // Its end is told when it leaves.
            Err(_) => return Ok(()),
        }
        self.grant_again(party);
        Ok(())
    }

    /// Grants again what was used, once the member's queue has room.
    fn grant_again(&mut self, party: u32) {
        let Some(state) = self.native.routes.get(party).filter(|state| state.phase == Phase::Plain) else { return };
        let (id, owed) = (state.link, state.plain.as_ref().map_or(0, |end| end.owed));
        let Some(link) = self.get(id) else { return };
        let window = WINDOW.min((link.config.high_water / 2).max(1024) as u32);
        if owed == 0 || owed < window / 4 || !link.has_room() {
            return;
        }
        let Some(peer) = self.other_end(party) else { return };
        if let Some(end) = self.native.routes.get_mut(party).and_then(|state| state.plain.as_deref_mut()) {
            end.owed = 0;
        }
        self.grant(peer, owed);
    }

    /// Brings the member's next message to the front, and sends it on as far as credit goes. True when the owner may
    /// have it, or the end or a fault is there.
    pub(super) fn advance_linked(&mut self, id: LinkId) -> bool {
        if !self.has_message_plainly(id) {
            return self.advance(id);
        }
        let Some(party) = self.get(id).map(|link| link.party) else { return true };
        loop {
            let Some(peer) = self.other_end(party) else { return true };
            let Some(state) = self.native.routes.get_mut(party) else { return true };
            let (credit, end) = match (state.streams.get(0).map(|stream| stream.credit), state.plain.as_deref_mut()) {
                (Some(credit), Some(end)) => (credit, end),
                _ => return true,
            };
            if end.whole {
                return true;
            }
            let forwarded = end.forwarded;
            let message = self.front_message(id);
            let left = message.len() - forwarded;
            let room = match credit.checked_sub(DATA_COST) {
                Some(room) if room > 0 || left == 0 => room as usize,
                _ => return false,
            };
            let count = left.min(room).min(MAX_PAYLOAD);
            let piece = message[forwarded..forwarded + count].to_vec();
            let flags = if count < left { MORE } else { 0 };
            if let Some(state) = self.native.routes.get_mut(party) {
                if let Some(stream) = state.streams.get(0) {
                    stream.credit -= count as u32 + DATA_COST;
                }
                if let Some(end) = state.plain.as_deref_mut() {
                    (end.forwarded, end.whole) = (forwarded + count, count == left);
                }
            }
            if let Err(code) = self.deliver(peer.0, peer.1, Kind::Data, flags, Source::Bytes(&piece)) {
                self.native.routes.remove(party, 0);
                self.reset_both((party, 0), Some(peer), code);
                return true;
            }
        }
    }

    /// The owner takes the message.
    pub(crate) fn note_taken_plainly(&mut self, id: LinkId) {
        let Some(party) = self.get(id).map(|link| link.party) else { return };
        if let Some(end) = self.native.routes.get_mut(party).and_then(|state| state.plain.as_deref_mut()) {
            (end.forwarded, end.whole) = (0, false);
        }
        // The next one may go on before the owner asks for it.
        self.notify(id);
    }

    /// Whether what can be taken is a message, whatever becomes of it.
    fn has_message_plainly(&mut self, id: LinkId) -> bool {
        let found = self.advance(id);
        let Some(link) = self.get(id) else { return false };
        let whole = link.large.as_ref().is_some_and(|large| large.sealed && large.body.len() == large.total);
        found && (link.front.is_some() || whole)
    }

    /// The message at the front.
    fn front_message(&self, id: LinkId) -> Cow<'_, [u8]> {
        let Some(link) = self.get(id) else { return Cow::default() };
        match (link.front, &link.large) {
            (Some(front), _) => {
                let data = if self.rx_owner == id { &self.rx[self.rx_from..] } else { link.inbox.unclaimed() };
                let found = &data[front.start as usize..front.end as usize];
                if !link.framer.encodes() {
                    return found.into();
                }
                let mut message = found.to_vec();
                let size = link.framer.decode(&mut message);
                message.truncate(size);
                message.into()
            }
            (None, Some(large)) => large.body.filled().into(),
            (None, None) => Cow::default(),
        }
    }

    /// The member has ended in order: so does its stream.
    pub(super) fn end_plain(&mut self, party: u32) {
        if let Some(peer) = self.other_end(party) {
            self.deliver_or_drop(peer.0, peer.1, Kind::End);
        }
    }
}
