//! What a link has received and its owner has not claimed, when it does not lie in the reactor's shared buffer.

/// Bytes, some of them claimed. Most links hold none most of the time, and then it is one word.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Option<Box<Held>>);

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    claimed: usize,
}

impl Inbox {
    /// What is not claimed.
    #[inline]
    pub fn unclaimed(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |held| &held.bytes[held.claimed..])
    }

    /// Whether nothing is unclaimed.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.unclaimed().is_empty()
    }

    /// Bytes that take memory, claimed or not: the link's part of the reactor's `parked`.
    #[inline]
    pub fn held(&self) -> usize {
        self.0.as_ref().map_or(0, |held| held.bytes.len())
    }

    /// The next `count` bytes, which are claimed from now on and stay until the inbox is changed.
    #[inline]
    pub fn claim(&mut self, count: usize) -> &mut [u8] {
        let Some(held) = &mut self.0 else { return &mut [] };
        let from = held.claimed;
        held.claimed += count;
        &mut held.bytes[from..from + count]
    }

    /// Holds these bytes, and nothing else.
    pub fn put(&mut self, bytes: Vec<u8>) {
        match &mut self.0 {
            Some(held) => **held = Held { bytes, claimed: 0 },
            none => *none = Some(Box::new(Held { bytes, claimed: 0 })),
        }
    }

    /// Adds to the end.
    pub fn append(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Some(held) => held.bytes.extend_from_slice(bytes),
            None => self.put(bytes.to_vec()),
        }
    }

    /// Keeps `count` of the unclaimed bytes, and lets go of those behind.
    pub fn keep(&mut self, count: usize) {
        if let Some(held) = &mut self.0 {
            held.bytes.truncate(held.claimed + count);
        }
    }

    /// Takes out what is not claimed; the rest is gone.
    pub fn take(&mut self) -> Vec<u8> {
        let Some(held) = self.0.take() else { return Vec::new() };
        let Held { mut bytes, claimed } = *held;
        bytes.drain(..claimed);
        bytes
    }

    /// Lets go of everything once all of it is claimed; how many bytes of memory that were.
    #[inline]
    pub fn release_claimed(&mut self) -> usize {
        match &self.0 {
            Some(held) if held.claimed == held.bytes.len() => self.clear(),
            _ => 0,
        }
    }

    /// Lets go of everything; how many bytes of memory that were.
    pub fn clear(&mut self) -> usize {
        self.0.take().map_or(0, |held| held.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_one_is_one_word_and_answers_everything() {
        let mut inbox = Inbox::default();
        assert_eq!(size_of::<Inbox>(), size_of::<usize>());
        assert!(inbox.is_empty() && inbox.unclaimed().is_empty());
        assert_eq!((inbox.held(), inbox.clear(), inbox.release_claimed()), (0, 0, 0));
        assert!(inbox.take().is_empty() && inbox.claim(0).is_empty());
    }

    #[test]
    fn what_is_claimed_stays_until_all_is() {
        let mut inbox = Inbox::default();
        inbox.put(b"onetwo".to_vec());
        assert_eq!(inbox.claim(3), b"one");
        assert_eq!((inbox.unclaimed(), inbox.held()), (&b"two"[..], 6));
        assert_eq!(inbox.release_claimed(), 0);
        assert_eq!(inbox.claim(3), b"two");
        assert!(inbox.is_empty());
        assert_eq!((inbox.release_claimed(), inbox.held()), (6, 0));
    }

    #[test]
    fn what_is_taken_out_is_the_unclaimed_part() {
        let mut inbox = Inbox::default();
        inbox.put(b"onetwo".to_vec());
        inbox.claim(3);
        assert_eq!(inbox.take(), b"two");
        assert_eq!(inbox.held(), 0);
    }
}
