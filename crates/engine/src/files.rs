//! Links over files that epoll takes: terminal lines of serial devices, and whatever else is read(2) and written(2).
//!
//! What differs from a socket: other system calls, no half-close, and a close that waits until the line has sent what the
//! kernel has taken, since a close(2) would wait for that itself, and block.

use crate::host::Host;
use crate::link::{Config, Kind, Link, LinkId, flag};
use crate::queue::OutQueue;
use crate::reactor::{Reactor, Side};
use crate::sys::address::SocketAddress;
use crate::sys::file::Restore;
use crate::sys::{Errno, Result, file, socket};
use crate::writing::WRITES_PER_TURN;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// How often it is looked at whether a line that closes has sent everything.
const DRAIN_NS: u64 = 5_000_000;

impl<H: Host> Reactor<H> {
    /// Takes an open file, which has the name `path`; of a terminal line `restore` puts its settings back once it is
    /// closed.
    pub fn adopt_file(
        &mut self,
        fd: OwnedFd,
        path: &[u8],
        restore: Option<Restore>,
        config: &Rc<Config>,
    ) -> Result<LinkId> {
        socket::set_nonblocking(fd.as_fd())?;
        let mut link = Link::new(Some(fd), Kind::File, config, SocketAddress::Unix(path.into()));
        link.rare.make().restore = restore.map(Box::new);
        self.insert(link)
    }

    pub(crate) fn write_file(&mut self, id: LinkId, queue: &mut OutQueue<H::Loan>) -> std::result::Result<(), Errno> {
        let now = self.now;
        for _ in 0..WRITES_PER_TURN {
            let Some(link) = self.get_mut(id) else { return Ok(()) };
            let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EPIPE)) };
            if !link.has(flag::WRITABLE) {
                return Ok(());
            }
            match queue.with_parts(usize::MAX, |parts| file::write(fd.as_fd(), parts)) {
                Ok(count) => {
                    link.counters.bytes_out += count as u64;
                    link.counters.messages_out += queue.advance(count) as u64;
                    link.counters.last_out = now;
                    if queue.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) if error.would_block() => {
                    self.wait_for_room(id);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.mark_dirty(id);
        Ok(())
    }

    /// Whether a close has to wait because the line still sends; it is looked at again soon.
    pub(crate) fn is_draining(&mut self, id: LinkId) -> bool {
        let Some(link) = self.get(id) else { return false };
        let waits =
            link.kind == Kind::File && !link.is_broken() && link.borrow_fd().is_some_and(|fd| file::unsent(fd) > 0);
        if waits {
            let at = self.clock.now() + DRAIN_NS;
            self.set_deadline(id, Side::Retry, at);
        }
        waits
    }
}
