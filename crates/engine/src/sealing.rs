//! Encrypted links: between the socket and the framer, and between the queue and the socket.
//!
//! What is received lies in a buffer of the reactor's that all encrypted links use in turn, and is decrypted there. What is
//! sent is encrypted [`SEAL_AT_A_TIME`] bytes at a time, into another such buffer; a link has one of its own only while its
//! socket takes no more. A message counts as handed to the kernel when the last of the bytes that were encrypted with it
//! has been taken. Deadlines, queues, groups and framings know nothing of all this.

use crate::host::Host;
use crate::link::{Link, LinkId, flag};
use crate::reactor::Reactor;
use crate::sys::{Errno, io};
use crate::tls::session::{Session, Sink};
use crate::writing::WRITES_PER_TURN;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

/// Plaintext that is encrypted at a time: what a link holds of it at most while its socket is full.
pub(crate) const SEAL_AT_A_TIME: usize = 64 * 1024;
/// The buffer that records are received into.
const SCRATCH: usize = 160 * 1024;
/// Receives without any plaintext in them before others have their turn.
const FRUITLESS: usize = 8;

/// The buffers that all encrypted links of a reactor use in turn.
#[derive(Debug, Default)]
pub(crate) struct Sealing {
    /// Filled with zeroes, to its whole length once it is needed.
    pub scratch: Vec<u8>,
    pub spare: Vec<u8>,
}

impl Sealing {
    /// See [`SCRATCH`].
    pub fn scratch(&mut self) -> &mut [u8] {
        if self.scratch.is_empty() {
            self.scratch = vec![0; SCRATCH];
        }
        &mut self.scratch
    }
}

/// What is told as an error number until [`supervise::lost`] finds the session's own words for it.
pub(crate) const TLS_FAILED: Errno = Errno(libc::EPROTO);
/// Nothing yet, but not because the socket is empty.
pub(crate) const LATER: Errno = Errno(libc::EINTR);

/// One receive of plaintext.
pub(crate) fn receive<H: Host>(
    link: &mut Link<H>,
    first: &mut [MaybeUninit<u8>],
    second: &mut [u8],
    scratch: &mut [u8],
) -> Result<io::Chunk, Errno> {
    let Some(fd) = link.fd.as_ref() else { return Err(Errno(libc::EBADF)) };
    let Some(session) = link.tls.as_deref_mut() else { return Err(Errno(libc::EBADF)) };
    // Behind an end there is no further report.
    let unsettled = link.flags & flag::UNSETTLED != 0;
    let mut sink = Sink::new(first, second);
    let mut drained = false;
    if session.may_advance() {
        let carried = session.unread();
        session.feed(&mut scratch[..carried], &mut sink);
    }
    for _ in 0..FRUITLESS {
        if sink.filled() > 0 || session.has_peer_ended() || session.failure().is_some() {
            break;
        }
        if drained {
            return Err(Errno(libc::EAGAIN));
        }
        let carried = session.unread();
        let asked = Session::wanted(sink.room()).min(scratch.len().saturating_sub(carried));
        let count = io::receive(fd.as_fd(), io::uninit(&mut scratch[carried..carried + asked]), 0)?;
        if count == 0 {
            session.fail("truncated", "the connection ended without close_notify");
            break;
        }
        drained = count < asked && !unsettled;
        session.feed(&mut scratch[..carried + count], &mut sink);
    }
    match sink.filled() {
        0 if session.has_peer_ended() => Ok(io::Chunk { length: 0, cut: false, lost: false }),
        0 if session.failure().is_some() => Err(TLS_FAILED),
        0 => Err(LATER),
        length => {
            let more = session.may_advance() || session.has_peer_ended() || session.failure().is_some();
            Ok(io::Chunk { length, cut: more || !drained, lost: false })
        }
    }
}

impl<H: Host> Link<H> {
    /// Encrypted bytes that the socket has not taken.
    #[inline]
    pub fn sealed(&self) -> usize {
        self.tls.as_deref().map_or(0, |session| session.outgoing().len())
    }

    /// Plaintext bytes and messages that wait, queued or encrypted.
    #[inline]
    pub fn waiting(&self) -> (usize, usize) {
        let (bytes, messages) = self.out.as_ref().map_or((0, 0), |out| (out.bytes(), out.messages()));
        match self.tls.as_deref().map(Session::pending) {
            None => (bytes, messages),
            Some((sealed, more)) => (bytes + sealed, messages + more),
        }
    }

    /// Whether the peer must still be told that nothing follows (close_notify).
    #[inline]
    pub fn owes_end(&self) -> bool {
        self.has(flag::END_ASKED | flag::CLOSING)
            && !self.has(flag::CONNECTING | flag::GONE)
            && !self.is_broken()
            && self.tls.as_deref().is_some_and(|session| !session.has_ended() && session.failure().is_none())
    }
}

impl<H: Host> Reactor<H> {
    /// Encrypts and writes what waits on one link as far as the kernel takes it.
    pub(crate) fn transmit_sealed(&mut self, id: LinkId) -> Result<(), Errno> {
        for _ in 0..WRITES_PER_TURN {
            if !self.write_sealed(id)? {
                return Ok(());
            }
            let Some(link) = self.get_mut(id) else { return Ok(()) };
            if link.has(flag::CONNECTING) {
                if link.sealed() == 0 {
                    return Ok(());
                }
                continue;
            }
            let waits = link.out.as_ref().is_some_and(|out| !out.is_empty());
            if waits {
                self.seal(id)?;
            } else if link.sealed() == 0 {
                if !link.owes_end() {
                    return Ok(());
                }
                if let Some(session) = &mut link.tls {
                    session.end();
                }
            }
        }
        self.mark_dirty(id);
        Ok(())
    }

    /// Writes what is encrypted; false when the kernel takes no more.
    fn write_sealed(&mut self, id: LinkId) -> Result<bool, Errno> {
        let now = self.now;
        let Some(link) = self.get_mut(id) else { return Ok(false) };
        let (Some(fd), Some(session)) = (link.fd.as_ref(), link.tls.as_deref_mut()) else {
            return Err(Errno(libc::EPIPE));
        };
        if session.outgoing().is_empty() {
            return Ok(true);
        }
        if link.flags & flag::WRITABLE == 0 {
            return Ok(false);
        }
        match io::send(fd.as_fd(), session.outgoing()) {
            Ok(count) => {
                if let Some((bytes, messages)) = session.sent(count) {
                    link.counters.bytes_out += bytes as u64;
                    link.counters.messages_out += messages as u64;
                    if bytes > 0 {
                        link.counters.last_out = now;
                    }
                    let buffer = session.take_back();
                    self.sealing.spare = buffer;
                }
                Ok(true)
            }
            Err(error) if error.would_block() => {
                // What waits gets a buffer of its size, and the large one serves the others.
                let buffer = session.take_back();
                if buffer.len() > self.sealing.spare.len() {
                    self.sealing.spare = buffer;
                }
                self.wait_for_room(id);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Encrypts what is queued, a share of it.
    fn seal(&mut self, id: LinkId) -> Result<(), Errno> {
        let Some(link) = self.slots[id.index()].link.as_mut() else { return Ok(()) };
        let (Some(queue), Some(session)) = (link.out.as_mut(), link.tls.as_deref_mut()) else { return Ok(()) };
        session.lend(std::mem::take(&mut self.sealing.spare));
        let (sealed, size) = queue.with_parts(SEAL_AT_A_TIME, |parts| {
            let size = parts.iter().map(|part| part.len()).sum::<usize>();
            (session.encrypt(parts.iter().map(|part| &**part)), size)
        });
        if !sealed {
            session.fail("keys_used_up", "the keys of this connection have encrypted as much as they may");
            return Err(TLS_FAILED);
        }
        let watch = link.watch.get_or_insert_default();
        let messages = queue.advance_noting(size, |size| watch.note(size));
        session.add_messages(messages);
        if queue.is_empty()
            && let Some(queue) = link.out.take()
        {
            self.return_queue(queue);
        }
        Ok(())
    }

    /// Whether the link is encrypted; of a listener, whether what it accepts is.
    pub fn is_tls(&self, id: LinkId) -> bool {
        self.get(id).is_some_and(|link| link.tls.is_some() || (link.kind.is_listener() && link.config.tls.is_some()))
    }

    /// The link's TLS, if it has one.
    pub fn tls(&self, id: LinkId) -> Option<&Session> {
        self.get(id)?.tls.as_deref()
    }

    /// A listener accepts with other terms from now on; connections go on. False if it is not encrypted.
    pub fn replace_terms(&mut self, id: LinkId, terms: &crate::tls::Terms) -> bool {
        let own = self.get(id).and_then(|link| link.config.tls.as_deref());
        own.is_some_and(|own| own.replace(terms))
    }

    /// Writes what a receive has made TLS itself say.
    #[inline]
    pub(crate) fn answer_sealed(&mut self, id: LinkId) {
        if self.get(id).is_some_and(|link| link.sealed() > 0) {
            self.mark_dirty(id);
        }
    }
}
