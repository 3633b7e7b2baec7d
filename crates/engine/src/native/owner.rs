//! What the owner of a group asks of the switch: to send, to link, to hold a session and to go on with it.

use super::frame::{Code, HEADER, Kind, MAX_PAYLOAD, Violation, reset_payload};
use super::routes::{LinkError, Party, Phase};
use super::streams::{FANS, To};
use super::{NONE, Recognition, Source};
use crate::host::Host;
use crate::link::{LinkId, flag};
use crate::native::recognise::Role;
use crate::reactor::Reactor;

/// Whom the owner means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A member.
    Member(LinkId),
    /// A session that it holds, by its handle.
    Session(u64),
}

/// Why the switch refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchError {
    /// It has left, or the session was dropped or resumed.
    Gone,
    /// It is not a native client.
    NotNative,
    /// Its queue is full.
    Full,
    /// The client claims what cannot be.
    Violation(Violation),
    /// It is not allowed, and why.
    Refused(&'static str),
}

impl From<LinkError> for SwitchError {
    fn from(error: LinkError) -> SwitchError {
        SwitchError::Refused(match error {
            LinkError::NoStream => "there is no such stream: it has ended, or was never opened",
            LinkError::Linked => "the stream is linked or belongs to a fan already",
            LinkError::Same => "a stream cannot be linked to itself",
            LinkError::Credit => "more is granted than can be counted",
        })
    }
}

impl<H: Host> Reactor<H> {
    /// The party that is meant.
    pub(crate) fn party(&self, whom: Whom) -> Result<u32, SwitchError> {
        match whom {
            Whom::Session(handle) => self.native.routes.named(handle).ok_or(SwitchError::Gone),
            Whom::Member(id) => {
                let link =
                    self.get(id).filter(|link| !link.has(flag::CLOSING | flag::GONE)).ok_or(SwitchError::Gone)?;
                if link.party == NONE || link.role != Role::Native {
                    return Err(SwitchError::NotNative);
                }
                Ok(link.party)
            }
        }
    }

    fn state(&mut self, party: u32) -> Result<&mut Party, SwitchError> {
        self.native.routes.get_mut(party).ok_or(SwitchError::Gone)
    }

    /// What a member is: `None` while that is not known, else whether it is native.
    pub fn is_native(&self, id: LinkId) -> Option<bool> {
        match self.get(id)?.role {
            Role::Unknown | Role::MustBeNative => None,
            Role::Native => Some(true),
            Role::Plain | Role::Silent | Role::Linked => Some(false),
        }
    }

    /// Queues a frame of the hub itself. `Ok(false)`: its stream is over, and nothing was queued.
    ///
    /// The first frame to a client answers its HELLO; it is not counted, and what the client sends is read from then on.
    pub fn switch_send(
        &mut self,
        whom: Whom,
        stream: u32,
        kind: Kind,
        flags: u8,
        payload: &[u8],
    ) -> Result<bool, SwitchError> {
        let party = self.party(whom)?;
        if matches!(kind, Kind::Ack | Kind::Pong) {
            return Err(SwitchError::Refused("the engine itself sends ACK and PONG"));
        }
        let wrong_length = match kind {
            Kind::End => !payload.is_empty(),
            Kind::Credit => payload.len() != 4,
            Kind::Ping => payload.len() != 8,
            Kind::Reset => !(4..=260).contains(&payload.len()),
            _ => payload.len() > MAX_PAYLOAD,
        };
        if wrong_length {
            return Err(SwitchError::Refused("the payload has not the length that a frame of this kind has"));
        }
        if flags & !super::frame::MORE != 0 || flags != 0 && kind != Kind::Data {
            return Err(SwitchError::Refused("only MORE can be set, on DATA"));
        }
        if matches!(kind, Kind::Control | Kind::Ping) != (stream == 0) {
            return Err(SwitchError::Refused("CONTROL and PING go on stream 0, the other kinds on streams"));
        }
        let phase = self.state(party)?.phase;
        if let Some(link) = self.state(party).ok().map(|state| state.link).and_then(|id| self.get(id))
            && phase == Phase::Open
            && link.backlog() > 0
            && link.backlog() + payload.len() + HEADER > link.config.high_water
        {
            return Err(SwitchError::Full);
        }
        let credit = payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        if stream != 0 && !self.native.routes.owner_sends(party, stream, kind, credit).map_err(SwitchError::Refused)? {
            return Ok(false);
        }
        match phase {
            Phase::New | Phase::Hello | Phase::Greeting if kind == Kind::Control => {
                let id = self.state(party)?.link;
                self.say_uncounted(id, payload);
                if phase == Phase::Greeting {
                    self.open(party);
                }
            }
            Phase::New | Phase::Hello | Phase::Greeting => {
                return Err(SwitchError::Refused("the first frame to a client is the CONTROL that answers its HELLO"));
            }
            Phase::Broken => {}
            Phase::Open | Phase::Departed | Phase::Held | Phase::Plain => {
                // The room was looked at above; a session that is held keeps what it can.
                let _ = self.deliver(party, stream, kind, flags, Source::Bytes(payload));
            }
        }
        Ok(true)
    }

    /// The client was welcomed: it gets what it lacks, and what it has sent meanwhile is read.
    fn open(&mut self, party: u32) {
        let Some(state) = self.native.routes.get_mut(party) else { return };
        state.phase = Phase::Open;
        let id = state.link;
        if let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation())
            && let Some(link) = slot.link.as_mut()
        {
            let mut queue = link.out.take().or_else(|| self.queues.pop()).unwrap_or_default();
            for frame in state.counting.kept() {
                let length = (frame.len() as u32).to_be_bytes();
                queue.push([if link.kind.is_packet() { &[] } else { &length }, frame, &[]]);
            }
            self.queued(id, queue);
        }
        self.tell_missed(party);
        self.notify(id);
    }

    /// Makes one route of two streams; see [`super::routes::Routes::link`]. A plain member's only stream has the number 0.
    pub fn switch_link(&mut self, one: (Whom, u32), other: (Whom, u32), credit: u32) -> Result<(), SwitchError> {
        let mut ends = [(NONE, 0); 2];
        for (end, (whom, number)) in ends.iter_mut().zip([one, other]) {
            *end = match whom {
                Whom::Member(id) if number == 0 => (self.plain_party(id)?, 0),
                whom => (self.party(whom)?, number),
            };
        }
        let [one, other] = ends;
        let linked = self.native.routes.link(one, other, credit);
        let [one_ended, other_ended] = match linked {
            Ok(ended) => ended,
            Err(error) => {
                for (party, number) in ends {
                    if number == 0 {
                        self.release_plain(party);
                    }
                }
                return Err(error.into());
            }
        };
        for ((party, number), ended) in [(one, other_ended), (other, one_ended)] {
            if ended {
                let _ = self.deliver(party, number, Kind::End, 0, Source::Bytes(&[]));
            }
        }
        for (party, peer) in [(one, other), (other, one)] {
            if party.1 == 0 {
                self.welcome_plain(party.0, peer);
            }
        }
        Ok(())
    }

    /// Ends a route. With a code both streams are reset with it, else both lead to the owner again. False: there is none.
    pub fn switch_unlink(&mut self, whom: Whom, number: u32, code: Option<(u32, &str)>) -> Result<bool, SwitchError> {
        let party = match whom {
            Whom::Member(id) if number == 0 => self.get(id).map_or(NONE, |link| link.party),
            whom => self.party(whom)?,
        };
        let Some(other) = self.native.routes.unlink(party, number) else { return Ok(false) };
        for (party, number) in [(party, number), other] {
            if let Some((code, reason)) = code {
                self.native.routes.remove(party, number);
                let _ = self.deliver(party, number, Kind::Reset, 0, Source::Bytes(&reset_payload(code, reason)));
            }
            if number == 0 {
                self.release_plain(party);
            }
        }
        Ok(true)
    }

    /// A stream that a client has opened is for the hub itself.
    pub fn switch_own(&mut self, whom: Whom, number: u32) -> Result<(), SwitchError> {
        let party = self.party(whom)?;
        match self.state(party)?.streams.get(number).map(|stream| stream.to) {
            Some(To::Owner) => Ok(()),
            Some(_) => Err(LinkError::Linked.into()),
            None => Err(LinkError::NoStream.into()),
        }
    }

    /// The number of the next stream that the hub opens to this client.
    pub fn next_stream(&mut self, whom: Whom) -> Result<u32, SwitchError> {
        let party = self.party(whom)?;
        Ok(self.state(party)?.streams.next_even())
    }

    /// A number that no fan of the group has.
    pub fn next_fan_stream(&self, group: usize) -> u32 {
        let used = self.native.fans_of(group).map(|fan| fan.stream()).filter(|stream| *stream >= FANS).max();
        used.map_or(FANS, |last| last + 2)
    }

    /// Keeps what belongs to a client whose connection is gone: routes, and the frames that it has not acknowledged. One
    /// that is still connected is taken for gone. `None`: there is no session, or it broke the rules.
    pub fn hold(&mut self, id: LinkId) -> Option<u64> {
        let departed = &self.native.departed;
        let left = departed.iter().copied().find(|party| {
            self.native.routes.get(*party).is_some_and(|state| state.link == id && state.phase == Phase::Departed)
        });
        let party = match left {
            Some(party) => party,
            None => {
                let party = self.party(Whom::Member(id)).ok()?;
                if self.native.routes.get(party)?.phase != Phase::Open {
                    return None;
                }
                self.get_mut(id)?.party = NONE;
                self.abort(id);
                party
            }
        };
        self.native.departed.retain(|other| *other != party);
        let state = self.native.routes.get_mut(party)?;
        state.phase = Phase::Held;
        state.judged = None;
        Some(self.native.routes.handle(party))
    }

    /// The client of a held session is back on another connection, whose HELLO was received: it has `received` of the
    /// hub's frames. Gives how many of the client's frames have come; what it lacks is sent behind the WELCOME.
    pub fn resume(&mut self, id: LinkId, session: u64, received: u64) -> Result<u64, SwitchError> {
        let fresh = self.party(Whom::Member(id))?;
        let held = self.party(Whom::Session(session))?;
        if self.state(fresh)?.phase != Phase::Greeting {
            return Err(SwitchError::Refused("a session is resumed between the HELLO and the WELCOME of its client"));
        }
        let group = self.state(fresh)?.group;
        let state = self.state(held)?;
        if state.phase != Phase::Held {
            return Err(SwitchError::Gone);
        }
        if received > state.counting.sent() {
            return Err(SwitchError::Violation(Violation::BadAck));
        }
        if !state.counting.resume(received) {
            return Err(SwitchError::Refused(
                "the session cannot be resumed: frames that the client lacks are not kept",
            ));
        }
        state.phase = Phase::Greeting;
        state.link = id;
        state.group = group;
        state.acknowledges = false;
        state.spoken = false;
        let count = state.counting.received();
        self.native.routes.rename(held);
        self.drop_party(fresh, Code::PeerGone);
        if let Some(link) = self.get_mut(id) {
            link.party = held;
        }
        Ok(count)
    }

    /// Ends a held session: the other ends of its routes are reset. False: it was dropped or resumed already.
    pub fn drop_session(&mut self, session: u64, code: Option<(u32, &str)>) -> bool {
        let Some(party) = self.native.routes.named(session) else { return false };
        if self.native.routes.get(party).is_none_or(|state| state.phase != Phase::Held) {
            return false;
        }
        let payload = code.map_or_else(|| Code::PeerGone.payload(), |(code, reason)| reset_payload(code, reason));
        self.drop_party_with(party, &payload);
        true
    }

    /// Counted frames: received from the client, sent to it, and bytes kept for it.
    pub fn session_facts(&mut self, whom: Whom) -> Result<(u64, u64, usize), SwitchError> {
        let party = self.party(whom)?;
        let counting = &self.state(party)?.counting;
        Ok((counting.received(), counting.sent(), counting.kept_bytes()))
    }

    /// Says what the connections that a listener gives may be, and takes it into the group.
    pub fn join_recognising(&mut self, group: usize, listener: LinkId, recognition: Recognition) -> bool {
        self.recognise_from(listener, recognition);
        self.join(group, listener)
    }
}
