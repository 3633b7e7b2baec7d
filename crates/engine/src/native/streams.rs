//! The streams of one client: which numbers were used, where each one leads, and its credit. Pure.
//!
//! Numbers only grow, so that one that is not here any more is told from one that never was. Those of fans lie in the
//! upper half of the even ones (see [`FANS`]), since a fan has the same number at each of its members.

use super::frame::Violation;

/// Streams that one client may have at once.
pub const MAX_STREAMS: usize = 1024;
/// The first number of a fan that [`crate::Reactor::next_fan_stream`] gives; those of a client's own streams lie below.
pub const FANS: u32 = 1 << 31;
/// What may be granted on one stream and not yet be used.
pub const MAX_CREDIT: u32 = i32::MAX as u32;

/// Where a stream leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To the owner of the reactor, who was told of it or opened it.
    Owner,
    /// To another client's stream.
    Peer {
        /// Whose.
        party: u32,
        /// Its number there.
        stream: u32,
    },
    /// To all members of a fan.
    Fan {
        /// Which.
        fan: u32,
        /// Index into its members; `u32::MAX` while it is left out.
        place: u32,
    },
}

/// One stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Its number.
    pub number: u32,
    /// Where it leads.
    pub to: To,
    /// What the client may still send on it.
    pub credit: u32,
    /// The client is in the middle of a message.
    pub within: bool,
    /// The client has ended its side.
    pub ended_in: bool,
    /// The client was told of the other side's end.
    pub ended_out: bool,
}

impl Stream {
    /// More may be sent.
    pub fn grant(&mut self, more: u32) -> Result<(), Violation> {
        let credit = self.credit.checked_add(more).filter(|credit| *credit <= MAX_CREDIT);
        self.credit = credit.ok_or(Violation::CreditOverflow)?;
        Ok(())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Streams {
    /// In the order of their numbers.
    open: Vec<Stream>,
    /// The highest number so far: odd ones, even ones below [`FANS`].
    last: [u32; 2],
}

const FANS_RANGE: usize = 2;

fn range_of(number: u32) -> usize {
    match number {
        number if number % 2 == 1 => 0,
        number if number < FANS => 1,
        _ => FANS_RANGE,
    }
}

impl Streams {
    /// Whether a stream of this number may have been there. Nobody opens those of fans: they come and go with membership.
    #[inline]
    pub fn was_opened(&self, number: u32) -> bool {
        let range = range_of(number);
        range == FANS_RANGE || number <= self.last[range]
    }

    /// The number of the next stream that the hub opens.
    pub fn next_even(&self) -> u32 {
        self.last[1] + 2
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A stream with this number.
    #[inline]
    pub fn get(&mut self, number: u32) -> Option<&mut Stream> {
        let at = self.open.binary_search_by_key(&number, |stream| stream.number).ok()?;
        self.open.get_mut(at)
    }

    /// Adds one; the number is not in use.
    pub fn insert(&mut self, number: u32, to: To) -> &mut Stream {
        let at = self.open.partition_point(|stream| stream.number < number);
        let stream = Stream { number, to, credit: 0, within: false, ended_in: false, ended_out: false };
        self.open.insert(at, stream);
        if let Some(last) = self.last.get_mut(range_of(number)) {
            *last = number.max(*last);
        }
        &mut self.open[at]
    }

    /// Takes one out.
    pub fn remove(&mut self, number: u32) -> Option<Stream> {
        let at = self.open.binary_search_by_key(&number, |stream| stream.number).ok()?;
        let stream = self.open.remove(at);
        if self.open.is_empty() {
            self.open = Vec::new();
        }
        Some(stream)
    }

    /// Takes all out.
    pub fn take(&mut self) -> Vec<Stream> {
        std::mem::take(&mut self.open)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.open.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_over_is_told_from_one_that_never_was() {
        let mut streams = Streams::default();
        assert!(!streams.was_opened(1));
        for number in [5, 9, 2, FANS + 4] {
            streams.insert(number, To::Owner);
        }
        for (number, was) in [(3, true), (9, true), (11, false), (2, true), (4, false), (FANS, true), (FANS + 6, true)]
        {
            assert_eq!(streams.was_opened(number), was, "{number}");
        }
        assert_eq!(streams.next_even(), 4);
        assert!(streams.remove(9).is_some() && streams.get(9).is_none() && streams.was_opened(9));
    }

    #[test]
    fn credit_has_an_end() {
        let mut streams = Streams::default();
        let stream = streams.insert(1, To::Owner);
        assert_eq!(stream.grant(MAX_CREDIT), Ok(()));
        assert_eq!(stream.grant(1), Err(Violation::CreditOverflow));
        assert_eq!(stream.credit, MAX_CREDIT);
    }
}
