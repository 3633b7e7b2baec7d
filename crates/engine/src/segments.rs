//! Runs of datagrams that cross the kernel as one message; pure.
//!
//! In a run all datagrams have the same length but the last, which may be shorter and is never empty: so one number says
//! where each begins. An empty datagram stands alone.

/// Datagrams that leave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub messages: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The length of each but the last; 0: there is one alone.
    pub segment: usize,
}

/// The longest run at the front of `sizes`, within `most` datagrams and `room` bytes. `None`: nothing is left.
#[inline]
pub fn next_run(sizes: impl IntoIterator<Item = usize>, most: usize, room: usize) -> Option<Run> {
    let mut sizes = sizes.into_iter();
    let first = sizes.next()?;
    let mut run = Run { messages: 1, bytes: first, segment: 0 };
    if first == 0 || first > usize::from(u16::MAX) {
        return Some(run);
    }
    for size in sizes {
        if size == 0 || size > first || run.messages >= most || run.bytes + size > room {
            break;
        }
        run.messages += 1;
        run.bytes += size;
        run.segment = first;
        if size < first {
            break;
        }
    }
    Some(run)
}

/// What is left of a run that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    start: usize,
    end: usize,
    segment: usize,
    done: bool,
}

impl Rest {
    /// A message at `start` of `length` bytes in datagrams of `segment` bytes (0: in one).
    pub fn new(start: usize, length: usize, segment: usize) -> Rest {
        let segment = if segment == 0 { length } else { segment };
        Rest { start, end: start + length, segment, done: false }
    }

    /// Where the next datagram lies; `None` when all were taken.
    #[inline]
    pub fn peek(&self) -> Option<std::ops::Range<usize>> {
        if self.done { None } else { Some(self.start..self.end.min(self.start + self.segment)) }
    }

    /// Takes the next datagram away.
    #[inline]
    pub fn advance(&mut self) {
        self.start = self.end.min(self.start + self.segment);
        self.done = self.start == self.end;
    }

    /// Whether none is left.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The bytes that are left.
    pub fn bytes(&self) -> usize {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kernel does with a run.
    fn divide(run: &Run) -> Vec<usize> {
        let mut rest = Rest::new(0, run.bytes, run.segment);
        let mut sizes = Vec::new();
        while let Some(range) = rest.peek() {
            sizes.push(range.len());
            rest.advance();
        }
        sizes
    }

    #[test]
    fn the_last_of_a_run_may_be_shorter_but_not_empty() {
        let run = next_run([5, 5, 3, 5], 64, 100);
        assert_eq!(run, Some(Run { messages: 3, bytes: 13, segment: 5 }));
        assert_eq!(next_run([5, 0], 64, 100), Some(Run { messages: 1, bytes: 5, segment: 0 }));
        assert_eq!(next_run([0, 0], 64, 100), Some(Run { messages: 1, bytes: 0, segment: 0 }));
        assert_eq!(next_run([3, 5], 64, 100), Some(Run { messages: 1, bytes: 3, segment: 0 }));
        assert_eq!(next_run([], 64, 100), None);
    }

    #[test]
    fn a_datagram_larger_than_the_room_goes_alone() {
        assert_eq!(next_run([200, 200], 64, 100), Some(Run { messages: 1, bytes: 200, segment: 0 }));
    }

    proptest! {
        #[test]
        fn boundaries_are_kept(sizes in proptest::collection::vec(prop_oneof![Just(0usize), 1..4usize, Just(1200), 1..70_000usize], 0..200)) {
            let (mut at, mut seen) = (0, Vec::new());
            while let Some(run) = next_run(sizes[at..].iter().copied(), 64, 65_507) {
                prop_assert!(run.messages <= 64);
                prop_assert!(run.messages == 1 || run.bytes <= 65_507);
                seen.extend(divide(&run));
                at += run.messages;
            }
            prop_assert_eq!(seen, sizes);
        }
    }
}
