//! TLS of a blocking channel: one session that the receiving and the sending half share.
//!
//! The session is locked while it encrypts or decrypts, and never during a system call. What is encrypted goes to the
//! sending half, which alone writes to the socket: a thread that waits for room there keeps nothing from a thread that
//! receives. What TLS itself answers to what was received (an alert, new keys) stays in the session until the sending half
//! writes next; [`Receiving::receive`] tells when there is something, so that a receiver can see to it if nobody sends.

use super::receiver::Arrived;
use crate::queue::OutQueue;
use crate::sealing::{LATER, SEAL_AT_A_TIME, TLS_FAILED};
use crate::sys::{Result, io, wait};
use crate::tls::session::{Session, Sink};
use crate::tls::{Agreed, CertificateFacts, Failure};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ciphertext that one receive asks for at most.
const SCRATCH: usize = 160 * 1024;

/// One connection's session, of both halves.
#[derive(Clone, Debug)]
pub struct SharedSession(Arc<Mutex<Session>>);

impl SharedSession {
    /// Of a connection whose handshake is done.
    pub fn new(session: Session) -> SharedSession {
        SharedSession(Arc::new(Mutex::new(session)))
    }

    /// Whoever holds it computes, and waits for nothing.
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What both ends agreed on, and what the other one's certificate says.
    pub fn agreed(&self) -> Option<(Agreed, Option<CertificateFacts>)> {
        let session = self.lock();
        Some((session.agreed()?, session.peer_certificate()))
    }

    /// Whether TLS itself has something to say.
    pub fn has_answer(&self) -> bool {
        !self.lock().outgoing().is_empty()
    }

    /// What went wrong.
    pub fn failure(&self) -> Option<Failure> {
        self.lock().failure().cloned()
    }

    /// The connection ended without the end of TLS.
    pub(super) fn note_truncated(&self) {
        self.lock().fail("truncated", "the connection ended without close_notify");
    }
}

/// The receiving half's part.
#[derive(Debug)]
pub struct Receiving {
    session: SharedSession,
    /// Filled with zeroes to its whole length.
    scratch: Vec<u8>,
    /// Bytes that TLS had to say itself when that was told last.
    told: usize,
}

impl Receiving {
    /// Nothing received yet.
    pub fn new(session: SharedSession) -> Receiving {
        Receiving { session, scratch: Vec::new(), told: 0 }
    }

    /// The session.
    pub(super) fn session(&self) -> &SharedSession {
        &self.session
    }

    /// One receive of plaintext; with `wait` it blocks until there is some. `EPROTO`: see [`SharedSession::failure`]. `EINTR`:
    /// there is none yet, and something to say first: see [`SharedSession::has_answer`].
    pub fn receive(&mut self, fd: BorrowedFd<'_>, into: &mut [MaybeUninit<u8>], wait: bool) -> Result<Arrived> {
        let mut sink = Sink::new(into, &mut []);
        loop {
            let carried = {
                let mut session = self.session.lock();
                let unread = session.unread();
                if session.may_advance() {
                    grow(&mut self.scratch, unread);
                    session.feed(&mut self.scratch[..unread], &mut sink);
                }
                if let Some(outcome) = outcome(&session, &sink) {
                    return outcome;
                }
                // Said once: as long as somebody sends, nobody else can write it.
                let answer = session.outgoing().len();
                if answer != std::mem::replace(&mut self.told, answer) && answer > 0 {
                    return Err(LATER);
                }
                session.unread()
            };
            let asked = Session::wanted(sink.room()).min(SCRATCH);
            grow(&mut self.scratch, carried + asked);
            let count = wait::receive(fd, io::uninit(&mut self.scratch[carried..carried + asked]), 0, wait)?;
            if count == 0 {
                return Ok(Arrived { length: 0, end: true, cut: true });
            }
            let mut session = self.session.lock();
            // A sender may have got some of it done meanwhile; there is never more.
            let begin = carried - session.unread();
            session.feed(&mut self.scratch[begin..carried + count], &mut sink);
        }
    }
}

fn grow(scratch: &mut Vec<u8>, size: usize) {
    if scratch.len() < size {
        scratch.resize(size, 0);
    }
}

/// What a receiver is told; `None`: not yet.
fn outcome(session: &Session, sink: &Sink<'_>) -> Option<Result<Arrived>> {
    match sink.filled() {
        0 if session.has_peer_ended() => Some(Ok(Arrived { length: 0, end: true, cut: false })),
        0 if session.failure().is_some() => Some(Err(TLS_FAILED)),
        0 => None,
        length => Some(Ok(Arrived { length, end: false, cut: false })),
    }
}

/// The sending half's part: what is encrypted and has not left.
#[derive(Debug)]
pub struct Sending {
    session: SharedSession,
    buffer: Vec<u8>,
    waits: Range<usize>,
    /// Plaintext bytes and messages in what waits.
    holds: (usize, usize),
    ended: bool,
}

impl Sending {
    /// Nothing to send yet.
    pub fn new(session: SharedSession) -> Sending {
        Sending { session, buffer: Vec::new(), waits: 0..0, holds: (0, 0), ended: false }
    }

    /// The session.
    pub(super) fn session(&self) -> &SharedSession {
        &self.session
    }

    /// Whether all that was encrypted has left.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_empty()
    }

    /// Whether our side was ended.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Plaintext bytes and messages that are encrypted and have not left.
    pub(super) fn holds(&self) -> (usize, usize) {
        self.holds
    }

    /// Encrypts what waits in `queue`, at most `limit` bytes, when all before has left; or the end. Whatever TLS has to
    /// say itself comes along.
    pub(super) fn seal<L: AsRef<[u8]>>(&mut self, queue: &mut OutQueue<L>, limit: usize, end: bool) -> Result<()> {
        let mut session = self.session.lock();
        if session.failure().is_some() {
            // What it says of that leaves, and nothing else.
            self.ended |= end;
            if session.outgoing().is_empty() && !queue.is_empty() {
                return Err(TLS_FAILED);
            }
        } else if !queue.is_empty() {
            let (sealed, size) = queue.with_parts(limit.min(SEAL_AT_A_TIME), |parts| {
                let size = parts.iter().map(|part| part.len()).sum::<usize>();
                (session.encrypt(parts.iter().map(|part| &**part)), size)
            });
            if !sealed {
                session.fail("keys_used_up", "the keys of this connection have encrypted as much as they may");
                return Err(TLS_FAILED);
            }
            session.add_messages(queue.advance(size));
        } else if end {
            session.end();
            self.ended = true;
        }
        (self.buffer, self.waits, self.holds) = session.exchange(std::mem::take(&mut self.buffer));
        Ok(())
    }

    /// One write of what waits. Gives, once it has left, the plaintext bytes and messages that it held.
    pub(super) fn write(&mut self, fd: BorrowedFd<'_>, wait: bool) -> Result<Option<(usize, usize)>> {
        self.waits.start += wait::send(fd, &self.buffer[self.waits.clone()], wait)?;
        Ok(self.waits.is_empty().then(|| std::mem::take(&mut self.holds)))
    }

    /// Drops what waits; gives the messages in it.
    pub(super) fn abandon(&mut self) -> usize {
        self.waits = 0..0;
        std::mem::take(&mut self.holds).1
    }
}
