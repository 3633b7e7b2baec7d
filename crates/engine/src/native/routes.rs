//! Who is connected to whom: the parties, the streams of each, and what becomes of a frame. Pure.
//!
//! A party is a native client's session, which outlives its connection, or a plain member at the end of a route, whose
//! one stream has the number 0. [`Routes::judge`] looks at a frame and says where it goes; it moves the streams on as the
//! frame will, so each frame is judged once. One that is for the owner moves them on when it is taken: its client may be
//! back over another connection before that, and then it sends it again.

use super::counting::Counting;
use super::frame::{Code, Frame, Kind, MORE, Violation};
use super::plain::PlainEnd;
use super::streams::{FANS, MAX_STREAMS, Stream, Streams, To};
use crate::link::LinkId;

/// How far a party has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The owner has not been told yet that it was recognised.
    New,
    /// Its first frame, the HELLO, has not come.
    Hello,
    /// The owner has its HELLO, and nothing more is read before it was answered.
    Greeting,
    /// Frames pass.
    Open,
    /// It broke a rule: nothing passes any more.
    Broken,
    /// Its connection is gone, and the owner may still hold it.
    Departed,
    /// The owner holds it without a connection.
    Held,
    /// A plain member at the end of a route.
    Plain,
}

/// See the module. In this order what a frame that passes touches lies in two lines of the processor's caches; see
/// [`crate::link::Link`].
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Party {
    /// Its connection, or the last one.
    pub link: LinkId,
    /// The group that this is a member of.
    pub group: usize,
    /// How far it has come.
    pub phase: Phase,
    /// The frame at the front was judged and waits for the owner: its kind.
    pub judged: Option<Kind>,
    /// The hub's magic has been sent.
    pub spoken: bool,
    /// An acknowledgement is due at a time that was set.
    pub acknowledges: bool,
    /// The stream of the frame that was judged.
    pub judged_stream: u32,
    /// Its streams.
    pub streams: Streams,
    /// What was counted, and what is kept.
    pub counting: Counting,
    /// Of a plain member: what its end of the route needs.
    pub plain: Option<Box<PlainEnd>>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The owner has to see it.
    Owner,
    /// It is of a stream that is over, or was for this end alone.
    Nothing,
    /// It is a PING.
    Pong,
    /// It goes on as it is, on this stream of that party.
    Pass {
        /// Whose.
        party: u32,
        /// Its number there.
        stream: u32,
    },
    /// A member of a fan sends on it.
    Fan(u32),
    /// Its stream ends here, and with it the other end of the route, if there is one.
    Reset {
        /// Why.
        code: Code,
        /// Party and stream.
        other: Option<(u32, u32)>,
    },
}

/// Why two streams cannot be linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// There is no such stream, or no longer.
    NoStream,
    /// It leads somewhere already.
    Linked,
    /// Both ends are the same stream.
    Same,
    /// The grant is too large.
    Credit,
}

/// What was connected to streams that are over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The other ends of routes, party and stream; they are over, too.
    pub routes: Vec<(u32, u32)>,
    /// Fans, and the places in them.
    pub fans: Vec<(u32, u32)>,
}

/// See the module.
#[derive(Default)]
pub struct Routes {
    parties: Vec<Option<Party>>,
    /// How often each place was given another name.
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl Routes {
    /// A new party, without streams.
    pub fn add(&mut self, link: LinkId, group: usize, phase: Phase) -> u32 {
        let party = Some(Party {
            link,
            group,
            phase,
            judged: None,
            spoken: false,
            acknowledges: false,
            judged_stream: 0,
            counting: Counting::default(),
            streams: Streams::default(),
            plain: None,
        });
        match self.free.pop() {
            Some(index) => {
                self.parties[index as usize] = party;
                index
            }
            None => {
                self.parties.push(party);
                self.generations.push(1);
                self.parties.len() as u32 - 1
            }
        }
    }

    /// A party.
    #[inline]
    pub fn get(&self, party: u32) -> Option<&Party> {
        self.parties.get(party as usize)?.as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, party: u32) -> Option<&mut Party> {
        self.parties.get_mut(party as usize)?.as_mut()
    }

    /// A name of the party that is never used again.
    pub fn handle(&self, party: u32) -> u64 {
        let generation = self.generations.get(party as usize).copied().unwrap_or(0);
        u64::from(generation) << 32 | u64::from(party)
    }

    /// The party with that name.
    pub fn named(&self, handle: u64) -> Option<u32> {
        let (party, generation) = (handle as u32, (handle >> 32) as u32);
        let named = *self.generations.get(party as usize)? == generation && self.get(party).is_some();
        named.then_some(party)
    }

    /// Gives the party another name: the ones before mean nothing from now on.
    pub fn rename(&mut self, party: u32) {
        if let Some(generation) = self.generations.get_mut(party as usize) {
            *generation = generation.wrapping_add(1);
        }
    }

    /// All parties.
    pub fn all(&self) -> impl Iterator<Item = (u32, &Party)> {
        let parties = self.parties.iter().enumerate();
        parties.filter_map(|(index, party)| Some((index as u32, party.as_ref()?)))
    }

    #[inline]
    fn stream(&mut self, party: u32, number: u32) -> Option<&mut Stream> {
        self.get_mut(party)?.streams.get(number)
    }

    /// Says what becomes of a frame that a client has sent.
    #[inline]
    pub fn judge(&mut self, from: u32, frame: &Frame<'_>) -> Result<Verdict, Violation> {
        let Some(party) = self.get_mut(from) else { return Ok(Verdict::Nothing) };
        match frame.kind {
            Kind::Control | Kind::Pong => return Ok(Verdict::Owner),
            Kind::Ping => return Ok(Verdict::Pong),
            Kind::Ack => return party.counting.acknowledge(frame.long_number()).map(|()| Verdict::Nothing),
            Kind::Open => return self.judge_open(from, frame.stream),
            _ => {}
        }
        let Some(stream) = party.streams.get(frame.stream) else {
            let was = party.streams.was_opened(frame.stream);
            return if was { Ok(Verdict::Nothing) } else { Err(Violation::StreamState) };
        };
        let cut = stream.ended_in && frame.kind == Kind::Data
            || (stream.ended_in || stream.within) && frame.kind == Kind::End;
        if cut && matches!(stream.to, To::Peer { .. }) {
            return Ok(self.break_stream(from, frame.stream, Code::StreamState));
        }
        if frame.kind == Kind::Data {
            stream.within = frame.flags & MORE != 0;
        }
        match stream.to {
            To::Fan { fan, .. } if frame.kind == Kind::Data => Ok(Verdict::Fan(fan)),
            To::Owner | To::Fan { .. } => Ok(Verdict::Owner),
            To::Peer { party, stream: number } => self.judge_route(from, frame, party, number),
        }
    }

    fn judge_open(&mut self, from: u32, number: u32) -> Result<Verdict, Violation> {
        let Some(party) = self.get_mut(from) else { return Ok(Verdict::Nothing) };
        if number.is_multiple_of(2) || number >= FANS || party.streams.was_opened(number) {
            return Err(Violation::StreamState);
        }
        if party.streams.len() >= MAX_STREAMS {
            party.streams.insert(number, To::Owner);
            return Ok(self.break_stream(from, number, Code::TooManyStreams));
        }
        Ok(Verdict::Owner)
    }

    /// The owner takes the frame that was judged last. Gives its kind; `None`: there was none.
    pub fn taken(&mut self, from: u32) -> Option<Kind> {
        let party = self.get_mut(from)?;
        let (kind, number) = (party.judged.take()?, party.judged_stream);
        if kind == Kind::Open {
            party.streams.insert(number, To::Owner);
        } else if let Some(stream) = party.streams.get(number)
            && stream.to == To::Owner
        {
            // A stream of the hub itself ends when both sides have ended it, or one has reset it.
            stream.ended_in |= kind == Kind::End;
            if kind == Kind::Reset || stream.ended_in && stream.ended_out {
                party.streams.remove(number);
            }
        }
        Some(kind)
    }

    #[inline]
    fn judge_route(&mut self, from: u32, frame: &Frame<'_>, to: u32, number: u32) -> Result<Verdict, Violation> {
        match frame.kind {
            Kind::Data => {
                let Some(stream) = self.stream(from, frame.stream) else { return Ok(Verdict::Nothing) };
                match stream.credit.checked_sub(frame.cost()) {
                    Some(left) => stream.credit = left,
                    None => return Ok(self.break_stream(from, frame.stream, Code::CreditExceeded)),
                }
            }
            Kind::Credit => {
                if let Some(stream) = self.stream(to, number) {
                    stream.grant(frame.number())?;
                }
            }
            Kind::End => {
                let Some(stream) = self.stream(from, frame.stream) else { return Ok(Verdict::Nothing) };
                stream.ended_in = true;
                let Some(other) = self.stream(to, number) else { return Ok(Verdict::Nothing) };
                other.ended_out = true;
                if other.ended_in {
                    self.remove_both((from, frame.stream), (to, number));
                }
            }
            _ => self.remove_both((from, frame.stream), (to, number)),
        }
        Ok(Verdict::Pass { party: to, stream: number })
    }

    fn remove_both(&mut self, one: (u32, u32), other: (u32, u32)) {
        for (party, number) in [one, other] {
            if let Some(party) = self.get_mut(party) {
                party.streams.remove(number);
            }
        }
    }

    fn break_stream(&mut self, party: u32, number: u32, code: Code) -> Verdict {
        Verdict::Reset { code, other: self.remove(party, number) }
    }

    /// Ends a stream and the other end of its route, which is given. Neither is told.
    pub fn remove(&mut self, party: u32, number: u32) -> Option<(u32, u32)> {
        match self.get_mut(party)?.streams.remove(number)?.to {
            To::Peer { party: other, stream } => {
                self.get_mut(other)?.streams.remove(stream)?;
                Some((other, stream))
            }
            _ => None,
        }
    }

    /// Takes a party out, with its streams.
    pub fn remove_party(&mut self, party: u32) -> Ends {
        let ends = self.remove_streams(party);
        if self.parties.get_mut(party as usize).is_some_and(|place| place.take().is_some()) {
            self.rename(party);
            self.free.push(party);
        }
        ends
    }

    /// Ends all streams of a party.
    pub fn remove_streams(&mut self, party: u32) -> Ends {
        let streams = self.get_mut(party).map(|party| party.streams.take()).unwrap_or_default();
        let mut ends = Ends::default();
        for stream in streams {
            match stream.to {
                To::Peer { party: other, stream: number } => {
                    if self.get_mut(other).and_then(|other| other.streams.remove(number)).is_some() {
                        ends.routes.push((other, number));
                    }
                }
                To::Fan { fan, place } => ends.fans.push((fan, place)),
                To::Owner => {}
            }
        }
        ends
    }

    /// Makes one route of two streams that lead to the owner; the second may send `credit` at first, as the one who
    /// opened the first has granted. Gives which of them have been ended by their clients already.
    pub fn link(&mut self, one: (u32, u32), other: (u32, u32), credit: u32) -> Result<[bool; 2], LinkError> {
        if one == other {
            return Err(LinkError::Same);
        }
        for (party, number) in [one, other] {
            let stream = self.stream(party, number).ok_or(LinkError::NoStream)?;
            if stream.to != To::Owner {
                return Err(LinkError::Linked);
            }
        }
        let mut ended = [false; 2];
        let ends = [(one, other, 0), (other, one, credit)];
        for (index, ((party, number), (peer, peer_number), credit)) in ends.into_iter().enumerate() {
            if let Some(stream) = self.stream(party, number) {
                stream.grant(credit).map_err(|_| LinkError::Credit)?;
                stream.to = To::Peer { party: peer, stream: peer_number };
                ended[index] = stream.ended_in;
            }
        }
        Ok(ended)
    }

    /// Makes two streams of a route that lead to the owner each; gives the other one. `None`: it is not routed.
    pub fn unlink(&mut self, party: u32, number: u32) -> Option<(u32, u32)> {
        let stream = self.stream(party, number)?;
        let To::Peer { party: other, stream: other_number } = stream.to else { return None };
        stream.to = To::Owner;
        self.stream(other, other_number)?.to = To::Owner;
        Some((other, other_number))
    }

    /// What the owner sends moves the stream on, too. False: the stream is over. An error: what is wrong with it.
    pub fn owner_sends(&mut self, party: u32, number: u32, kind: Kind, credit: u32) -> Result<bool, &'static str> {
        let Some(party) = self.get_mut(party) else { return Ok(false) };
        if kind == Kind::Open {
            if number % 2 == 1 || number == 0 || number >= FANS || party.streams.was_opened(number) {
                return Err("the hub opens streams with even numbers below 2**31, each above the last one");
            }
            if party.streams.len() >= MAX_STREAMS {
                return Err("the client has as many streams as it may");
            }
            party.streams.insert(number, To::Owner);
            return Ok(true);
        }
        let Some(stream) = party.streams.get(number) else {
            let was = party.streams.was_opened(number);
            return if was { Ok(false) } else { Err("the stream was never opened") };
        };
        if matches!(stream.to, To::Peer { .. }) {
            return Err("the stream is linked: unlink it first");
        }
        match kind {
            Kind::Data | Kind::End if stream.ended_out => return Err("the stream was ended by the hub already"),
            Kind::Credit => stream.grant(credit).map_err(|_| "more is granted than can be counted")?,
            Kind::End => stream.ended_out = true,
            _ => {}
        }
        if stream.to == To::Owner && (kind == Kind::Reset || stream.ended_in && stream.ended_out) {
            party.streams.remove(number);
        }
        Ok(true)
    }
}
