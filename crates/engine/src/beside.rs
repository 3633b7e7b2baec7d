//! What goes with messages beside their bytes: descriptors of a Unix socket, and urgent data of TCP.
//!
//! The kernel gives descriptors with the first bytes of the write that they were sent with, and ends the read behind
//! that write. So **they belong to the message that holds the last byte of the read they came with**. A link takes
//! descriptors from the moment on that its owner asks for them the first time; before, the kernel discards them, and
//! only that it did so is remembered. What a message brought is closed when it is claimed without asking, and a peer
//! can make a link hold [`HELD`] of them at most.

use crate::host::Host;
use crate::link::{Fault, Kind, Link, LinkId, flag};
use crate::queue::{Attachment, OutQueue};
use crate::reactor::Reactor;
use crate::receive::Take;
use crate::sealing::{self, Sealing};
use crate::sys::ancillary::{self, MAX_DESCRIPTORS};
use crate::sys::{Errno, file, io};
use crate::transmit::{Payload, Queued, SendError};
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Descriptors that wait in one link to be claimed with their messages.
const HELD: usize = 2 * MAX_DESCRIPTORS;
/// So many places of discarded descriptors are remembered.
const NOTED: usize = 16;

/// Descriptors that arrived, or that were lost.
#[derive(Debug)]
struct Arrival {
    /// Where in the link's incoming bytes the read ended that brought them.
    end: u64,
    fds: Vec<OwnedFd>,
    /// Some of them are missing.
    lost: bool,
}

/// A link's part beside its bytes; see the module.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Descriptors are taken, not discarded.
    collecting: bool,
    /// The next claim is one that asks for them.
    asked: bool,
    arrived: VecDeque<Arrival>,
    /// Of the read that is being filed.
    incoming: Vec<OwnedFd>,
    /// Of the message that was claimed last.
    claimed: Vec<OwnedFd>,
    lost: bool,
}

impl Beside {
    /// A read ended at `end` of the link's incoming bytes.
    pub fn file(&mut self, end: u64, cut: bool) {
        let fds = std::mem::take(&mut self.incoming);
        if fds.is_empty() && !cut {
            return;
        }
        let held: usize = self.arrived.iter().map(|arrival| arrival.fds.len()).sum();
        let too_many = held + fds.len() > HELD;
        let arrival = Arrival { end, fds: if too_many { Vec::new() } else { fds }, lost: cut || too_many };
        let full = self.arrived.len() >= NOTED;
        match self.arrived.back_mut() {
            Some(last) if full => {
                last.end = end;
                last.lost |= arrival.lost;
                last.fds.extend(arrival.fds);
            }
            _ => self.arrived.push_back(arrival),
        }
    }

    /// Of the bytes that were not claimed, those behind `end` are gone, and what came with them. Ends of what is left
    /// move by `moved`.
    pub fn cut(&mut self, end: u64, moved: i64) {
        self.arrived.retain(|arrival| arrival.end <= end);
        for arrival in &mut self.arrived {
            arrival.end = arrival.end.saturating_add_signed(moved);
        }
    }

    /// A message was claimed that ended at `end`.
    pub fn settle(&mut self, end: u64) {
        self.claimed.clear();
        self.lost = false;
        while self.arrived.front().is_some_and(|arrival| arrival.end <= end)
            && let Some(arrival) = self.arrived.pop_front()
        {
            if self.asked {
                self.lost |= arrival.lost;
                self.claimed.extend(arrival.fds);
            }
        }
    }
}

/// What became of waiting for urgent data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Urgent {
    /// The byte.
    Byte(u8),
    /// None yet.
    Nothing,
    /// The peer has ended its side: none will come.
    End,
    /// The link is at fault.
    Fault(Fault),
    /// The owner has closed it.
    Closed,
}

/// One receive of a stream, with what comes beside.
#[inline]
pub(crate) fn receive_stream<H: Host>(
    link: &mut Link<H>,
    first: &mut [MaybeUninit<u8>],
    second: &mut [u8],
    sealing: &mut Sealing,
) -> Result<io::Chunk, Errno> {
    if link.tls.is_some() {
        return sealing::receive(link, first, second, sealing.scratch());
    }
    let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EBADF)) };
    match link.rare.beside_mut() {
        Some(beside) if beside.collecting => {
            let received = ancillary::receive(fd.as_fd(), first, second, &mut beside.incoming)?;
            let cut = received.cut || !beside.incoming.is_empty();
            Ok(io::Chunk { length: received.length, cut, lost: received.cut })
        }
        _ if link.kind == Kind::Tcp && second.is_empty() => {
            io::receive(fd.as_fd(), first, 0).map(|length| io::Chunk { length, cut: false, lost: false })
        }
        _ if link.kind == Kind::File => {
            file::read(fd.as_fd(), first).map(|length| io::Chunk { length, cut: false, lost: false })
        }
        _ if !second.is_empty() => io::receive_two(fd.as_fd(), first, second),
        _ => io::receive_unix(fd.as_fd(), first),
    }
}

/// One packet, with what comes beside.
pub(crate) fn receive_packet<H: Host>(link: &mut Link<H>, into: &mut [u8]) -> Result<io::Packet, Errno> {
    let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EBADF)) };
    match link.rare.beside_mut() {
        Some(beside) if beside.collecting => {
            let received = ancillary::receive(fd.as_fd(), io::uninit(into), &mut [], &mut beside.incoming)?;
            Ok(io::Packet { length: received.length, has_control: received.has_control, lost: received.cut })
        }
        _ => io::receive_packet(fd.as_fd(), into, None),
    }
}

/// Writes what waits on a stream up to the next message that something goes with, or the first bytes of that one.
pub(crate) fn send_next<L: AsRef<[u8]>>(queue: &mut OutQueue<L>, fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let limit = queue.departing();
    let count = match queue.first_attachment() {
        None => return queue.with_parts(limit, |parts| io::send_parts(fd, parts)),
        Some(Attachment::Descriptors(fds)) => queue.with_parts(limit, |parts| ancillary::send(fd, parts, fds))?,
        Some(Attachment::Urgent) => {
            let byte = queue.with_parts(1, |parts| parts.first().and_then(|part| part.first().copied()));
            ancillary::send_urgent(fd, byte.unwrap_or_default())?
        }
    };
    queue.attachment_sent();
    Ok(count)
}

/// Sends the first packet, with what goes with it; gives its bytes.
pub(crate) fn send_packet<L: AsRef<[u8]>>(queue: &mut OutQueue<L>, fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let size = queue.first_size().unwrap_or(0);
    match queue.first_attachment() {
        Some(Attachment::Descriptors(fds)) => queue.with_parts(size, |parts| ancillary::send(fd, parts, fds))?,
        _ => queue.with_parts(size, |parts| io::send_parts(fd, parts))?,
    };
    queue.pop_messages(1, size);
    Ok(size)
}

impl<H: Host> Link<H> {
    /// Whether descriptors are taken.
    #[inline]
    fn collects(&self) -> bool {
        self.rare.beside.as_ref().is_some_and(|beside| beside.collecting)
    }

    /// A read is filed of which the bytes are counted already.
    #[inline]
    pub fn file_beside(&mut self, lost: bool) {
        if lost || self.rare.beside.is_some() {
            let end = self.counters.bytes_in;
            self.rare.make().beside.get_or_insert_default().file(end, lost);
        }
    }

    /// A message is claimed, and so many received bytes stay unclaimed behind it: what came with it is handed on, or
    /// closed.
    #[inline]
    pub fn settle_beside(&mut self, unclaimed: usize) {
        if let Some(beside) = self.rare.beside_mut() {
            beside.settle(self.counters.bytes_in - unclaimed as u64);
        }
    }

    /// Whether descriptors came with what is not claimed, or something goes with what is queued.
    pub fn holds_beside(&self) -> bool {
        let arrived = |beside: &Beside| beside.arrived.iter().any(|arrival| !arrival.fds.is_empty());
        self.rare.beside.as_deref().is_some_and(arrived) || self.out.as_ref().is_some_and(|out| out.has_attachments())
    }

    /// Whether descriptors can go with its messages.
    fn carries_descriptors(&self) -> bool {
        match self.kind {
            Kind::UnixStream | Kind::Seqpacket => true,
            Kind::Datagram => !self.has(flag::IP),
            _ => false,
        }
    }
}

impl<H: Host> Reactor<H> {
    /// Whether descriptors can be sent and received with messages of the link.
    pub fn carries_descriptors(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(Link::carries_descriptors)
    }

    /// Queues a message with descriptors, which are taken if it is queued; see [`Reactor::send`].
    pub fn send_descriptors(
        &mut self,
        id: LinkId,
        payload: Payload<'_, H::Loan>,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<Queued, SendError> {
        let mut attachment = Some(Attachment::Descriptors(std::mem::take(fds)));
        let outcome = self.send_with(id, payload, None, None, &mut attachment);
        if let Some(Attachment::Descriptors(back)) = attachment {
            *fds = back;
        }
        outcome
    }

    /// Queues a byte of urgent data behind what is queued; it takes part in no framing.
    pub fn send_urgent(&mut self, id: LinkId, byte: u8) -> Result<Queued, SendError> {
        self.distribute_to(id);
        let Some(link) = self.get_mut(id) else { return Err(SendError::Closed) };
        if link.has(flag::CLOSING | flag::GONE) {
            return Err(SendError::Closed);
        }
        if link.has(flag::END_ASKED) {
            return Err(SendError::Ended);
        }
        link.sending_fault()?;
        let policy = link.config.when_full;
        match self.make_room(id, 1, policy) {
            Queued::Yes => {}
            refused => return Ok(refused),
        }
        let Some(link) = self.get_mut(id) else { return Err(SendError::Closed) };
        link.sending_fault()?;
        let mut queue = match link.out.take() {
            Some(queue) => queue,
            None => self.take_queue(),
        };
        queue.push([&[byte], &[], &[]]);
        queue.attach(Attachment::Urgent);
        self.queued(id, queue);
        Ok(Queued::Yes)
    }

    /// Whether a link's datagrams are received one by one: descriptors would be lost among those of a batch.
    #[inline]
    pub(crate) fn reads_singly(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(|link| link.collects() && link.packets.is_none()) && !self.has_arrived(id)
    }

    /// From now on the link takes descriptors, and the next message is claimed with its own.
    pub fn ask_descriptors(&mut self, id: LinkId) {
        if let Some(link) = self.get_mut(id) {
            let beside = link.rare.make().beside.get_or_insert_default();
            beside.collecting = true;
            beside.asked = true;
        }
    }

    /// What came with the message that was claimed last, and whether some of it is missing.
    pub fn take_descriptors(&mut self, id: LinkId) -> (Vec<OwnedFd>, bool) {
        let Some(beside) = self.get_mut(id).and_then(|link| link.rare.beside_mut()) else { return (Vec::new(), false) };
        beside.asked = false;
        (std::mem::take(&mut beside.claimed), std::mem::take(&mut beside.lost))
    }

    /// Takes the byte of urgent data that waits.
    pub fn take_urgent(&mut self, id: LinkId) -> Urgent {
        let Some(link) = self.get_mut(id) else { return Urgent::Closed };
        if link.has(flag::CLOSING | flag::GONE) {
            return Urgent::Closed;
        }
        link.unset(flag::URGENT);
        let Some(fd) = link.borrow_fd() else {
            return if link.has(flag::DOWN) { Urgent::Nothing } else { Urgent::Closed };
        };
        match ancillary::receive_urgent(fd) {
            Ok(Some(byte)) => Urgent::Byte(byte),
            Ok(None) if link.fault.is_some() || ancillary::has_ended(fd) => match &link.fault {
                Some(fault) => Urgent::Fault((**fault).clone()),
                None => Urgent::End,
            },
            Ok(None) => Urgent::Nothing,
            Err(error) => Urgent::Fault(Fault::Lost(error)),
        }
    }

    /// Claims the next message for somebody who wants its descriptors, too.
    pub fn take_with_descriptors(&mut self, id: LinkId) -> Take<'_, H::Body> {
        self.ask_descriptors(id);
        if !self.available(id) {
            // Who claims the next message may be somebody else.
            if let Some(beside) = self.get_mut(id).and_then(|link| link.rare.beside_mut()) {
                beside.asked = false;
            }
            return Take::Nothing;
        }
        self.take(id)
    }
}
