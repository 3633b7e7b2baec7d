//! The bounded queue of what one link still has to send.
//!
//! Bytes leave in order; messages are counted by their size on the wire, so that a queue knows at every
//! moment how many messages are whole, partly sent or gone. Small messages run together in one buffer, large
//! ones are lent by the caller, broadcast ones are shared by all members of a group. The queue decides
//! nothing: limits and what happens when it is full belong to [`crate::transmit`].

mod attached;
pub use attached::Attachment;

use crate::sys::address::RawAddress;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::iter::Peekable;
use std::rc::Rc;

/// What happens to a message that finds its queue full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender waits until half of the queue is free.
    Wait,
    /// The send fails.
    Reject,
    /// The oldest messages not yet begun are dropped and counted.
    DropOldest,
    /// The new message is dropped and counted.
    DropNewest,
    /// The link is closed: a reader this slow is not wanted.
    Disconnect,
}

/// Messages framed once and shared by every member that they go to.
#[derive(Debug)]
pub struct Burst {
    /// Whole frames, one behind the other.
    pub data: Box<[u8]>,
    /// Their sizes.
    pub sizes: Box<[u32]>,
}

#[derive(Debug)]
enum Data<L> {
    Bytes(Vec<u8>),
    Shared(Rc<Burst>),
    Loan(L),
}

/// A run of bytes, of which the first `from` are gone already.
#[derive(Debug)]
struct Chunk<L> {
    data: Data<L>,
    from: usize,
}

impl<L: AsRef<[u8]>> Chunk<L> {
    fn new(data: Data<L>) -> Chunk<L> {
        Chunk { data, from: 0 }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        let all = match &self.data {
            Data::Bytes(bytes) => bytes.as_slice(),
            Data::Shared(burst) => &burst.data,
            Data::Loan(loan) => loan.as_ref(),
        };
        &all[self.from..]
    }
}

/// From this size on the last buffer is left alone and a new one begun.
const BUFFER: usize = 64 * 1024;
/// As many as a batch of datagrams fills.
const SPARES: usize = 5;
/// At most so many parts go into one system call; the kernel's bound is 1,024 (IOV_MAX).
pub const MAX_PARTS: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct OutQueue<L> {
    chunks: VecDeque<Chunk<L>>,
    /// Sizes on the wire of the messages here, the oldest first.
    sizes: VecDeque<u32>,
    /// Bytes of the oldest message that are sent already; below its size.
    begun: usize,
    bytes: usize,
    /// Empty buffers kept for the next messages, at most [`SPARES`].
    spares: Vec<Vec<u8>>,
    /// Where the messages go, the oldest first, and how many in a row; empty where all go to one peer.
    targets: VecDeque<(Rc<RawAddress>, usize)>,
    /// What goes beside the bytes of a message, and how many messages are ahead of that one. It goes with the first
    /// byte, and is gone from here then.
    attached: VecDeque<(usize, Attachment)>,
}

impl<L> Default for OutQueue<L> {
    fn default() -> Self {
        OutQueue {
            chunks: VecDeque::new(),
            sizes: VecDeque::new(),
            begun: 0,
            bytes: 0,
            spares: Vec::new(),
            targets: VecDeque::new(),
            attached: VecDeque::new(),
        }
    }
}

impl<L: AsRef<[u8]>> OutQueue<L> {
    /// Bytes that wait.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages of which at least one byte waits.
    pub fn messages(&self) -> usize {
        self.sizes.len()
    }

    /// Whether the oldest message has left in part: the peer may have seen some of it.
    pub fn is_begun(&self) -> bool {
        self.begun > 0
    }

    /// Bytes of the oldest message that have left already.
    pub fn begun(&self) -> usize {
        self.begun
    }

    /// Nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The size on the wire of the oldest message.
    pub fn first_size(&self) -> Option<usize> {
        self.sizes.front().map(|size| *size as usize)
    }

    /// Adds one message made of `parts`, copied.
    #[inline]
    pub fn push(&mut self, parts: [&[u8]; 3]) {
        let size = parts[0].len() + parts[1].len() + parts[2].len();
        let buffer = Self::tail(&mut self.chunks, &mut self.spares, size);
        for part in parts {
            buffer.extend_from_slice(part);
        }
        self.note(size);
    }

    /// Adds messages as they are, copied, one after the other, as long as `admits` the next one's size with the bytes and
    /// the number of those that wait; gives how many. One that it does not admit is not taken from `messages`.
    #[inline]
    pub fn push_while<'a, M: Iterator<Item = &'a [u8]>>(
        &mut self,
        messages: &mut Peekable<M>,
        admits: impl Fn(usize, usize, usize) -> bool,
    ) -> usize {
        let before = self.sizes.len();
        while let Some(first) = messages.peek().map(|next| next.len())
            && admits(first, self.bytes, self.sizes.len())
        {
            let buffer = Self::tail(&mut self.chunks, &mut self.spares, first);
            let room = BUFFER.max(buffer.len() + first) - buffer.len();
            let (sizes, waiting, start) = (&mut self.sizes, self.bytes, buffer.len());
            let fits = |next: &&[u8], used: usize, count: usize| {
                used + next.len() <= room && admits(next.len(), waiting + used, count)
            };
            while let Some(next) = messages.next_if(|next| fits(next, buffer.len() - start, sizes.len())) {
                buffer.extend_from_slice(next);
                sizes.push_back(next.len() as u32);
            }
            self.bytes += buffer.len() - start;
        }
        self.sizes.len() - before
    }

    /// The `count` messages that were added last go to `to`.
    #[inline]
    pub fn address_last(&mut self, count: usize, to: &Rc<RawAddress>) {
        match self.targets.back_mut() {
            Some((last, in_a_row)) if Rc::ptr_eq(last, to) || last.is_same(to) => *in_a_row += count,
            _ if count > 0 => self.targets.push_back((to.clone(), count)),
            _ => {}
        }
    }

    /// Where the oldest message goes, if that was said.
    pub fn first_target(&self) -> Option<&RawAddress> {
        self.targets.front().map(|(to, _)| &**to)
    }

    /// Where the messages go, the oldest first, and how many in a row.
    pub fn targets(&self) -> impl Iterator<Item = (&RawAddress, usize)> {
        self.targets.iter().map(|(to, count)| (&**to, *count))
    }

    /// The sizes on the wire of the messages, the oldest first.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + Clone {
        self.sizes.iter().map(|size| *size as usize)
    }

    /// The waiting bytes, the oldest first, as they lie.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().map(Chunk::bytes)
    }

    /// Adds one message whose payload is lent, not copied.
    pub fn push_loan(&mut self, header: &[u8], payload: L, trailer: &[u8]) {
        let size = header.len() + payload.as_ref().len() + trailer.len();
        if !header.is_empty() {
            Self::tail(&mut self.chunks, &mut self.spares, header.len()).extend_from_slice(header);
        }
        if !payload.as_ref().is_empty() {
            self.chunks.push_back(Chunk::new(Data::Loan(payload)));
        }
        if !trailer.is_empty() {
            Self::tail(&mut self.chunks, &mut self.spares, trailer.len()).extend_from_slice(trailer);
        }
        self.note(size);
    }

    /// Adds all messages of a burst.
    #[inline]
    pub fn push_burst(&mut self, burst: &Rc<Burst>) {
        if !burst.data.is_empty() {
            self.chunks.push_back(Chunk::new(Data::Shared(burst.clone())));
        }
        self.sizes.extend(burst.sizes.iter());
        self.bytes += burst.data.len();
    }

    #[inline]
    fn note(&mut self, size: usize) {
        self.sizes.push_back(size as u32);
        self.bytes += size;
    }

    /// The buffer at the end, with room for `size` bytes more.
    #[inline]
    fn tail<'a>(chunks: &'a mut VecDeque<Chunk<L>>, spares: &mut Vec<Vec<u8>>, size: usize) -> &'a mut Vec<u8> {
        let open = match chunks.back() {
            Some(Chunk { data: Data::Bytes(bytes), .. }) => bytes.len() + size <= BUFFER,
            _ => false,
        };
        if !open {
            // Who fills a second buffer will fill it to the end.
            let capacity = if chunks.is_empty() { 0 } else { BUFFER };
            let buffer = spares.pop().unwrap_or_else(|| Vec::with_capacity(capacity));
            chunks.push_back(Chunk::new(Data::Bytes(buffer)));
        }
        match chunks.back_mut() {
            Some(Chunk { data: Data::Bytes(bytes), .. }) => bytes,
            _ => unreachable!("a buffer was pushed above"),
        }
    }

    /// Gives the waiting bytes to `use_parts` as parts for one system call: at most [`MAX_PARTS`] and `limit` bytes.
    #[inline]
    pub fn with_parts<R>(&self, limit: usize, use_parts: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut parts = [IoSlice::new(&[]); MAX_PARTS];
        let mut count = 0;
        let mut left = limit;
        for chunk in &self.chunks {
            if count == MAX_PARTS || left == 0 {
                break;
            }
            let bytes = chunk.bytes();
            let bytes = &bytes[..bytes.len().min(left)];
            left -= bytes.len();
            parts[count] = IoSlice::new(bytes);
            count += 1;
        }
        use_parts(&parts[..count])
    }

    /// The only part that waits, if there is just one: the common case needs no list.
    #[inline]
    pub fn single(&self) -> Option<&[u8]> {
        match self.chunks.len() {
            1 => Some(self.chunks[0].bytes()),
            _ => None,
        }
    }

    /// `count` bytes have left; gives how many messages became whole with them.
    #[inline]
    pub fn advance(&mut self, count: usize) -> usize {
        self.advance_noting(count, |_| {})
    }

    /// The same, and tells the size on the wire of each message that became whole.
    #[inline]
    pub fn advance_noting(&mut self, count: usize, mut note: impl FnMut(u32)) -> usize {
        debug_assert!(count <= self.bytes);
        let mut whole = 0;
        if count == self.bytes {
            whole = self.sizes.len();
            self.sizes.drain(..).for_each(note);
            self.begun = 0;
        } else {
            self.begun += count;
            while let Some(size) = self.sizes.front() {
                if self.begun < *size as usize {
                    break;
                }
                self.begun -= *size as usize;
                note(*size);
                self.sizes.pop_front();
                whole += 1;
            }
        }
        if whole > 0 && !self.attached.is_empty() {
            self.forget_attachments(whole);
        }
        self.consume(count);
        whole
    }

    /// The oldest message leaves as one packet, which may be empty.
    pub fn pop_message(&mut self) {
        if let Some(size) = self.sizes.pop_front() {
            let rest = size as usize - self.begun;
            self.begun = 0;
            self.forget_targets(1);
            self.forget_attachments(1);
            self.consume(rest);
        }
    }

    /// The oldest `count` messages leave as packets, of `bytes` bytes in all.
    pub fn pop_messages(&mut self, count: usize, bytes: usize) {
        debug_assert_eq!(self.begun, 0);
        self.sizes.drain(..count);
        self.forget_targets(count);
        self.forget_attachments(count);
        self.consume(bytes);
    }

    fn forget_targets(&mut self, count: usize) {
        let mut left = count;
        while let Some((_, in_a_row)) = self.targets.front_mut() {
            if *in_a_row > left {
                *in_a_row -= left;
                break;
            }
            left -= *in_a_row;
            self.targets.pop_front();
        }
    }

    fn consume(&mut self, count: usize) {
        self.bytes -= count;
        let mut left = count;
        while let Some(chunk) = self.chunks.front_mut() {
            let have = chunk.bytes().len();
            if left < have {
                chunk.from += left;
                break;
            }
            left -= have;
            if let Some(Chunk { data: Data::Bytes(mut bytes), .. }) = self.chunks.pop_front()
                && bytes.capacity() <= BUFFER
                && self.spares.len() < SPARES
            {
                bytes.clear();
                self.spares.push(bytes);
            }
        }
    }

    /// Drops the rest of the oldest message, if some of it has left; gives how many bytes.
    pub fn drop_begun(&mut self) -> usize {
        if self.begun == 0 {
            return 0;
        }
        let before = self.bytes;
        self.pop_message();
        before - self.bytes
    }

    /// Drops the oldest message of which no byte has left; false if there is none.
    pub fn drop_oldest(&mut self) -> bool {
        if self.begun == 0 {
            let some = !self.sizes.is_empty();
            self.pop_message();
            return some;
        }
        if self.sizes.len() < 2 {
            return false;
        }
        // The begun message stays; once its rest ends with a chunk, dropping what follows moves no bytes.
        let behind = self.split(self.sizes[0] as usize - self.begun);
        let mut left = self.sizes.remove(1).map_or(0, |size| size as usize);
        self.attached.retain(|(ahead, _)| *ahead != 1);
        for (ahead, _) in self.attached.iter_mut().filter(|(ahead, _)| *ahead > 1) {
            *ahead -= 1;
        }
        self.bytes -= left;
        while left > 0
            && let Some(chunk) = self.chunks.get_mut(behind)
        {
            let have = chunk.bytes().len();
            if left < have {
                chunk.from += left;
                break;
            }
            left -= have;
            self.chunks.remove(behind);
        }
        true
    }

    /// Divides the chunks `count` bytes from here; gives the index of the first one behind.
    fn split(&mut self, count: usize) -> usize {
        let (mut index, mut left) = (0, count);
        while left > 0
            && let Some(chunk) = self.chunks.get_mut(index)
        {
            let bytes = chunk.bytes();
            if left < bytes.len() {
                let before = bytes[..left].to_vec();
                chunk.from += left;
                self.chunks.insert(index, Chunk::new(Data::Bytes(before)));
                return index + 1;
            }
            left -= bytes.len();
            index += 1;
        }
        index
    }

    /// Takes everything out: the messages as they are on the wire, the oldest first. Of the first one
    /// [`OutQueue::begun`] bytes have left, and only the rest is given.
    pub fn take_messages(&mut self) -> Vec<Vec<u8>> {
        let mut sizes = self.sizes.iter().map(|size| *size as usize);
        let mut left: Vec<usize> = sizes.next().map(|size| size - self.begun).into_iter().chain(sizes).collect();
        left.reverse();
        let mut messages = Vec::with_capacity(left.len());
        let mut message = Vec::new();
        for mut bytes in self.chunks.iter().map(Chunk::bytes) {
            while let Some(wanted) = left.last_mut() {
                let count = bytes.len().min(*wanted);
                message.extend_from_slice(&bytes[..count]);
                bytes = &bytes[count..];
                *wanted -= count;
                if *wanted > 0 {
                    break;
                }
                left.pop();
                messages.push(std::mem::take(&mut message));
            }
        }
        // Empty packets at the end stand behind the last chunk.
        messages.extend(left.iter().map(|_| Vec::new()));
        self.clear();
        messages
    }

    /// Adds what [`OutQueue::take_messages`] gave, to an empty queue; `begun` bytes of the first message have left.
    pub fn put_messages(&mut self, begun: usize, messages: &[Vec<u8>]) {
        debug_assert!(self.is_empty());
        for message in messages {
            self.push([message, &[], &[]]);
        }
        if let Some(first) = self.sizes.front_mut() {
            let rest = *first;
            *first = rest.saturating_add(u32::try_from(begun).unwrap_or(u32::MAX));
            self.begun = (*first - rest) as usize;
        }
    }

    /// Drops everything; gives (messages of which nothing left, whether one was cut in the middle).
    pub fn clear(&mut self) -> (usize, bool) {
        let cut = self.begun > 0;
        let unsent = self.sizes.len() - usize::from(cut);
        self.attached.clear();
        self.chunks.clear();
        self.sizes.clear();
        self.targets.clear();
        (self.begun, self.bytes) = (0, 0);
        (unsent, cut)
    }

    /// Gives memory beyond `bytes` back: an empty queue in the pool must not keep what a large backlog needed.
    pub fn shrink(&mut self, bytes: usize) {
        self.chunks.shrink_to(4);
        self.sizes.shrink_to(bytes / size_of::<u32>());
        self.spares.truncate(1);
        for spare in &mut self.spares {
            spare.shrink_to(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
