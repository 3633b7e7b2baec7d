//! Streams on which silence divides messages: seeing it when receiving, keeping it when sending.
//!
//! Only here bytes are read before somebody asks, up to [`AHEAD`]: what waits in the kernel loses the silence in it. The
//! clock is read for every arrival, since the turn's own time may be old by then, and a silence that is only believed
//! would divide a message. Without proof that nothing came, which is a receive that finds nothing, messages run together.

use crate::beside;
use crate::frame::{Silences, Step};
use crate::host::Host;
use crate::link::{Fault, Front, Kind, Link, LinkId, flag};
use crate::queue::OutQueue;
use crate::reactor::{Reactor, Side};
use crate::sys::{Errno, file, io};
use std::os::fd::AsFd;

/// Bytes that are read ahead of the consumer.
const AHEAD: usize = 64 * 1024;
/// At most so many receives for one link before others have their turn.
const RECEIVES: usize = 16;

/// A link's part in it.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// How what has arrived is divided.
    pub came: Silences,
    gap_ns: u64,
    /// Before then nothing else may leave.
    quiet_until: u64,
}

impl Pacing {
    pub fn new(gap_ns: u64) -> Pacing {
        Pacing { came: Silences::new(gap_ns), gap_ns, quiet_until: 0 }
    }

    /// A message has left.
    fn left(&mut self, now: u64) {
        self.quiet_until = now.saturating_add(2 * self.gap_ns);
    }
}

impl<H: Host> Link<H> {
    /// Brings the next message to the front, as silence has divided what is unclaimed; whether there is one.
    pub fn divide_by_silence(&mut self) -> bool {
        let (limit, ended) = (self.framer.max_message(), self.has(flag::END));
        let Some(pacing) = self.rare.pacing_mut() else { return false };
        match pacing.came.next(limit, ended) {
            Step::Message { end, .. } => {
                self.front = Some(Front { start: 0, end: end as u32, consumed: end as u32 });
                return true;
            }
            Step::Broken(error) => self.fail_receiving(Fault::Frame(error)),
            Step::Partial(_) | Step::Skipped { .. } => {}
        }
        false
    }
}

impl<H: Host> Reactor<H> {
    /// `count` bytes were received just now.
    #[cold]
    pub(crate) fn note_arrival(&mut self, id: LinkId, count: usize) {
        let now = self.clock.now();
        let Some(pacing) = self.get_mut(id).and_then(|link| link.rare.pacing_mut()) else { return };
        pacing.came.arrived(count, now);
        self.await_silence(id);
    }

    /// A receive found nothing just now.
    #[cold]
    pub(crate) fn note_silence(&mut self, id: LinkId) {
        let now = self.clock.now();
        if let Some(pacing) = self.get_mut(id).and_then(|link| link.rare.pacing_mut()) {
            pacing.came.quiet(now);
        }
        self.await_silence(id);
    }

    fn await_silence(&mut self, id: LinkId) {
        let Some(pacing) = self.get(id).and_then(|link| link.rare.pacing.as_ref()) else { return };
        let at = pacing.came.deadline().unwrap_or(0);
        self.set_deadline(id, Side::Gap, at);
    }

    /// The silence is long enough, unless something came that was not read yet.
    pub(crate) fn gap_expired(&mut self, id: LinkId) {
        self.set_deadline(id, Side::Gap, 0);
        let Some(link) = self.get(id) else { return };
        if link.fd.is_none() || link.has(flag::CLOSING | flag::GONE) || link.receive_fault().is_some() {
            return;
        }
        let before = link.counters.bytes_in;
        self.receive_stream(id);
        let Some(link) = self.get(id) else { return };
        if link.counters.bytes_in == before && !link.has(flag::READABLE) {
            self.note_silence(id);
        } else {
            self.await_silence(id);
        }
        self.notify(id);
    }

    /// Reads what has arrived, whether or not somebody asks for it.
    pub(crate) fn read_ahead(&mut self, id: LinkId) {
        for _ in 0..RECEIVES {
            let in_rx = if self.rx_owner == id { self.rx_to - self.rx_from } else { 0 };
            let Some(link) = self.get(id) else { return };
            let unclaimed = in_rx + link.inbox.unclaimed().len();
            let idle = link.has(flag::CLOSING | flag::GONE | flag::DOWN | flag::END) || link.receive_fault().is_some();
            if !link.has(flag::GAP) || !link.has(flag::READABLE) || idle || unclaimed >= AHEAD {
                return;
            }
            self.receive_stream(id);
        }
    }

    /// Writes the first message, or the rest of it, if the silence before it has lasted long enough.
    pub(crate) fn write_spaced(&mut self, id: LinkId, queue: &mut OutQueue<H::Loan>) -> Result<(), Errno> {
        let now = self.clock.now();
        let Some(link) = self.get_mut(id) else { return Ok(()) };
        let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EPIPE)) };
        let Some(pacing) = link.rare.pacing_mut() else { return Ok(()) };
        let waits = pacing.quiet_until > 0 && !queue.is_begun();
        if waits && link.kind == Kind::File && file::unsent(fd.as_fd()) > 0 {
            // The line is still busy with the message before: the silence begins when it is not.
            pacing.left(now);
        }
        if waits && pacing.quiet_until > now {
            let at = pacing.quiet_until;
            self.set_deadline(id, Side::Retry, at);
            return Ok(());
        }
        if link.flags & flag::WRITABLE == 0 {
            return Ok(());
        }
        let limit = queue.first_size().unwrap_or(0) - queue.begun();
        let result = match queue.first_attachment() {
            Some(_) => beside::send_next(queue, fd.as_fd()),
            None if link.kind == Kind::File => queue.with_parts(limit, |parts| file::write(fd.as_fd(), parts)),
            None => queue.with_parts(limit, |parts| io::send_parts(fd.as_fd(), parts)),
        };
        match result {
            Ok(count) => {
                link.counters.bytes_out += count as u64;
                link.counters.last_out = now;
                let watch = (link.kind == Kind::Tcp).then(|| link.watch.get_or_insert_default());
                let whole = match watch {
                    Some(watch) => queue.advance_noting(count, |size| watch.note(size)),
                    None => queue.advance(count),
                };
                link.counters.messages_out += whole as u64;
                if whole > 0 {
                    pacing.left(now);
                }
                if !queue.is_empty() {
                    self.mark_dirty(id);
                }
                Ok(())
            }
            Err(error) if error.would_block() => {
                self.wait_for_room(id);
                Ok(())
            }
            Err(Errno(libc::ETOOMANYREFS)) => {
                self.retry_later(id);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
