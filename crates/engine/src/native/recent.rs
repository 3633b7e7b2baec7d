//! The last messages of a fan that publishes, for its owner, who did not see them pass. Pure, but for the time.
//!
//! Nothing is copied: what was handed to the members' queues is kept a while longer, at most [`BYTES`] of it and one more.

use super::fan::LABEL;
use crate::queue::Burst;
use crate::sys::realtime_ns;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that are kept, with what stands before each message, beside the newest burst.
const BYTES: usize = 256 * 1024;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who has sent it.
    pub source: u32,
    /// Its sequence.
    pub sequence: u64,
    /// When it was distributed, in nanoseconds of the wall clock.
    pub at_ns: u64,
    /// What was published.
    pub payload: &'a [u8],
}

#[derive(Debug)]
struct Kept {
    burst: Rc<Burst>,
    /// The length of what stands before the label.
    header: usize,
    at_ns: u64,
}

impl Kept {
    fn messages(&self) -> impl DoubleEndedIterator<Item = Message<'_>> {
        let ends = self.burst.sizes.iter().scan(0, |end, size| {
            *end += *size as usize;
            Some((*end - *size as usize, *end))
        });
        let places: Vec<_> = ends.collect();
        places.into_iter().filter_map(|(start, end)| {
            let (source, rest) = self.burst.data.get(start + self.header..end)?.split_first_chunk()?;
            let (sequence, payload) = rest.split_first_chunk()?;
            debug_assert_eq!(source.len() + sequence.len(), LABEL);
            let (source, sequence) = (u32::from_be_bytes(*source), u64::from_be_bytes(*sequence));
            Some(Message { source, sequence, at_ns: self.at_ns, payload })
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Recent {
    limit: usize,
    bursts: VecDeque<Kept>,
    count: usize,
    bytes: usize,
}

impl Recent {
    /// At most `limit` messages; none are kept with 0.
    pub fn new(limit: usize) -> Recent {
        Recent { limit, ..Recent::default() }
    }

    /// Keeps a burst whose messages have a header of so many bytes before the label.
    pub fn keep(&mut self, burst: &Rc<Burst>, header: usize) {
        if self.limit == 0 || burst.sizes.is_empty() {
            return;
        }
        self.count += burst.sizes.len();
        self.bytes += burst.data.len();
        self.bursts.push_back(Kept { burst: burst.clone(), header, at_ns: realtime_ns() });
        while self.bursts.len() > 1
            && let Some(oldest) = self.bursts.front()
            && (self.bytes > BYTES || self.count - oldest.burst.sizes.len() >= self.limit)
        {
            self.count -= oldest.burst.sizes.len();
            self.bytes -= oldest.burst.data.len();
            self.bursts.pop_front();
        }
    }

    /// Those behind a sequence, the oldest first.
    pub fn after(&self, sequence: u64) -> impl Iterator<Item = Message<'_>> {
        let newest = self.bursts.iter().rev().flat_map(|kept| kept.messages().rev()).take(self.limit);
        let mut found: Vec<_> = newest.take_while(|message| message.sequence > sequence).collect();
        found.reverse();
        found.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(sequences: std::ops::Range<u64>, header: usize, size: usize) -> Rc<Burst> {
        let mut data = Vec::new();
        for sequence in sequences.clone() {
            data.extend(std::iter::repeat_n(0, header));
            data.extend(7_u32.to_be_bytes());
            data.extend(sequence.to_be_bytes());
            data.extend(std::iter::repeat_n(sequence as u8, size));
        }
        let sizes = sequences.map(|_| (header + LABEL + size) as u32).collect();
        Rc::new(Burst { data: data.into(), sizes })
    }

    #[test]
    fn the_newest_are_kept_and_found_behind_a_sequence() {
        let mut recent = Recent::new(5);
        recent.keep(&burst(1..4, 12, 2), 12);
        recent.keep(&burst(4..5, 8, 0), 8);
        recent.keep(&burst(5..9, 12, 1), 12);
        let sequences = |after| recent.after(after).map(|message| message.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(0), [4, 5, 6, 7, 8]);
        assert_eq!(sequences(6), [7, 8]);
        assert_eq!(sequences(8), [0; 0]);
        let last = recent.after(7).next().expect("one");
        assert_eq!((last.source, last.payload), (7, [8].as_slice()));
        assert!(last.at_ns > 0);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let mut recent = Recent::new(1000);
        for start in 1..100 {
            recent.keep(&burst(start..start + 1, 12, 60_000), 12);
            assert!(recent.bytes <= BYTES && recent.after(0).last().is_some_and(|last| last.sequence == start));
        }
        recent.keep(&burst(100..101, 12, 2 * BYTES), 12);
        assert_eq!(recent.after(0).count(), 1);
        let mut none = Recent::new(0);
        none.keep(&burst(1..2, 12, 1), 12);
        assert_eq!(none.after(0).count(), 0);
    }
}
