//! From a link's queue to the kernel, and what follows once bytes have left.

use crate::beside;
use crate::host::Host;
use crate::link::{Kind, LinkId, flag, want};
use crate::native::recognise::Role;
use crate::queue::OutQueue;
use crate::reactor::Reactor;
use crate::supervise;
use crate::sys::{Errno, io, socket};
use crate::tls::Session;
use std::os::fd::AsFd;

/// At most so many system calls for one link before others have their turn.
pub(crate) const WRITES_PER_TURN: usize = 16;

impl<H: Host> Reactor<H> {
    /// Writes what waits on one link as far as the kernel takes it.
    pub(crate) fn transmit(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        if link.has(flag::CONNECTING | flag::GONE) {
            return;
        }
        if link.tls.is_some() {
            let outcome = self.transmit_sealed(id);
            return self.conclude_write(id, outcome);
        }
        if let Some(mut queue) = link.out.take() {
            let outcome = match link.kind {
                Kind::DatagramPeer => self.write_to_peer(id, &mut queue),
                kind if kind.is_packet() => self.write_packets(id, &mut queue),
                _ if link.has(flag::GAP) => self.write_spaced(id, &mut queue),
                Kind::File => self.write_file(id, &mut queue),
                _ => self.write_stream(id, &mut queue),
            };
            if queue.is_empty() {
                self.return_queue(queue);
            } else if let Some(link) = self.get_mut(id) {
                link.out = Some(queue);
            }
            return self.conclude_write(id, outcome);
        }
        self.transmitted(id);
    }

    fn conclude_write(&mut self, id: LinkId, outcome: Result<(), Errno>) {
        match (outcome, self.get(id)) {
            (Err(error), Some(link)) => return self.lose(id, supervise::lost(link, error)),
            (Ok(()), Some(link)) if link.watch.is_some() => self.supervise(id),
            _ => {}
        }
        self.transmitted(id);
    }

    /// What follows once bytes have left: waiters, half-close, close, the group's high-water count.
    pub(crate) fn transmitted(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let flushed = link.is_flushed() && !link.owes_end();
        if flushed && link.has(flag::END_ASKED) && !link.has(flag::END_SENT) && !link.is_broken() {
            link.set(flag::END_SENT);
            if let Some(fd) = link.borrow_fd() {
                // A peer that is gone already has closed more than this would.
                let _ = socket::shutdown_send(fd);
            }
        }
        let finished = link.has(flag::CLOSING) && (flushed || link.is_broken());
        let (room, admits) = (link.has_room(), link.admits_waiting());
        let waiting = link.want & (want::SEND | want::FLUSH) != 0;
        let asked = link.want & want::PASSED != 0;
        if link.has(flag::ABOVE_HIGH_WATER) && room {
            self.check_high_water(id);
        }
        if room && self.get(id).is_some_and(|link| link.role == Role::Linked) {
            self.grant_again_on(id);
        }
        if finished && !self.is_draining(id) {
            self.finish_close(id);
        } else if waiting && (flushed || admits) || asked && self.has_passed(id) {
            self.notify(id);
        }
    }

    fn write_stream(&mut self, id: LinkId, queue: &mut OutQueue<H::Loan>) -> Result<(), Errno> {
        let now = self.now;
        for _ in 0..WRITES_PER_TURN {
            let Some(link) = self.get_mut(id) else { return Ok(()) };
            let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EPIPE)) };
            if !link.has(flag::WRITABLE) {
                return Ok(());
            }
            let result = match queue.single() {
                _ if queue.has_attachments() => beside::send_next(queue, fd.as_fd()),
                Some(bytes) => io::send(fd.as_fd(), bytes),
                None => queue.with_parts(usize::MAX, |parts| io::send_parts(fd.as_fd(), parts)),
            };
            match result {
                Ok(count) => {
                    link.counters.bytes_out += count as u64;
                    let whole = if link.kind == Kind::Tcp {
                        let watch = link.watch.get_or_insert_default();
                        queue.advance_noting(count, |size| watch.note(size))
                    } else {
                        queue.advance(count)
                    };
                    link.counters.messages_out += whole as u64;
                    link.counters.last_out = now;
                    if queue.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) if error.would_block() => {
                    self.wait_for_room(id);
                    return Ok(());
                }
                // Too many descriptors are on their way to processes that do not take them (unix(7)).
                Err(Errno(libc::ETOOMANYREFS)) => {
                    self.retry_later(id);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.mark_dirty(id);
        Ok(())
    }

    /// Drops what waits; the messages are counted as dropped.
    pub(crate) fn abandon_queue(&mut self, id: LinkId) {
        let Some(link) = self.get_mut(id) else { return };
        let sealed = link.tls.as_deref_mut().map_or(0, Session::abandon);
        if sealed > 0 {
            link.counters.drop_out(sealed);
            link.set(flag::CUT_SHORT);
        }
        if let Some(mut queue) = link.out.take() {
            let (unsent, cut) = queue.clear();
            let dropped = unsent + usize::from(cut);
            if dropped > 0 {
                link.counters.drop_out(dropped);
                link.set(flag::CUT_SHORT);
            }
            self.return_queue(queue);
            self.check_high_water(id);
        }
    }
}
