//! Receiving: one system call without the GIL, then a message claimed with it.

use super::turns::Limit;
use super::{BlockingChannel, CLOCK, State};
use crate::factory::{self, Facts};
use crate::raw::BytesBody;
use jackfield_engine::blocking::{self, Arrived, Progress, Receiver, Receiving, SharedSession};
use jackfield_engine::frame::Framer;
use jackfield_engine::sys::{Errno, wait};
use jackfield_engine::{Fault, Kind, Take};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl BlockingChannel {
    /// Claims the next message; None at the end of the stream if `end_is_none`.
    #[inline]
    pub(super) fn next(
        &self,
        py: Python<'_>,
        reading: &mut Receiver<BytesBody>,
        framer: Option<&Framer>,
        limit: Limit,
        (operation, end_is_none): (&'static str, bool),
    ) -> PyResult<Option<Py<PyAny>>> {
        loop {
            let facts = {
                let mut state = self.state.borrow_mut();
                let State { closing, health, counters, .. } = &mut *state;
                let taken = match *closing {
                    true => Take::Closed,
                    false => reading.take(framer.unwrap_or(&self.config.framer), framer.is_some(), health, counters),
                };
                let outcome = match taken {
                    Take::Bytes(bytes) => return Ok(Some(PyBytes::new(py, bytes).into_any().unbind())),
                    Take::Body(body) => return body.finish(py).map(Some),
                    Take::Nothing => None,
                    Take::End if end_is_none => return Ok(None),
                    Take::End => Some(Ok(Facts::ended(false))),
                    Take::Fault(fault) => Some(Err(fault)),
                    Take::Closed => Some(Ok(Facts::closed())),
                };
                outcome.map(|facts| {
                    facts.unwrap_or_else(|fault| {
                        let facts = Facts::fault(&fault);
                        match &fault {
                            Fault::Frame(error) => match reading.garbage(error, counters) {
                                Some(garbage) => facts.garbage(garbage),
                                None => facts,
                            },
                            _ => facts,
                        }
                    })
                })
            };
            if let Some(facts) = facts {
                return Err(self.error(py, facts, operation));
            }
            if !self.fill(py, reading, limit)? {
                return Err(self.timed_out(py, limit, operation));
            }
        }
    }

    /// One receive from the kernel; false when the time is up.
    #[inline]
    pub(super) fn fill(&self, py: Python<'_>, reading: &mut Receiver<BytesBody>, limit: Limit) -> PyResult<bool> {
        let (fd, backlog) = {
            let state = self.state.borrow();
            let Some(fd) = &state.fd else { return Ok(true) };
            (fd.clone(), state.backlog)
        };
        let events = if backlog { self.push_backlog(&fd) } else { None };
        let (kind, wake) = (self.kind, self.wake.as_ref());
        let silent_at = reading.silent_at();
        let mut sealed = reading.lend();
        let mut source = Source { kind, fd: fd.as_fd(), sealed: sealed.as_deref_mut(), into: reading.target() };
        let result = py.detach(|| {
            if let Some(at) = silent_at {
                return source.receive_until(wake, events, limit.until(at));
            }
            if limit.at == 0 && events.is_none() && kind != Kind::File {
                return source.receive(true);
            }
            source.receive_until(wake, events, limit)
        });
        reading.give_back(sealed);
        self.push_answer(&fd);
        match result {
            Err(Errno(libc::EINTR)) => {
                py.check_signals()?;
                return Ok(!limit.has_passed());
            }
            Err(error) if error.would_block() => {
                reading.quiet(CLOCK.now());
                return Ok(silent_at != reading.silent_at() || !limit.has_passed());
            }
            _ => {}
        }
        let mut state = self.state.borrow_mut();
        if state.closing {
            // What woke this thread is no end that the peer has sent.
            return Ok(true);
        }
        let State { health, counters, .. } = &mut *state;
        reading.filled(result, CLOCK.now(), health, counters);
        Ok(true)
    }

    /// Writes what TLS itself has to say, unless somebody sends: who does will.
    #[inline]
    pub(super) fn push_answer(&self, fd: &OwnedFd) {
        if self.session.as_ref().is_some_and(SharedSession::has_answer) {
            self.push_backlog(fd);
        }
    }

    /// Writes what an earlier call left behind, as far as the kernel takes it now; what to watch for the rest.
    pub(super) fn push_backlog(&self, fd: &OwnedFd) -> Option<i16> {
        let mut state = self.state.borrow_mut();
        let mut writing = state.writing.take()?;
        let State { health, counters, .. } = &mut *state;
        // TLS may have something to say itself.
        while (self.session.is_some() || !writing.is_empty()) && writing.pause(CLOCK.now()).is_none() {
            let result = writing.write(fd.as_fd(), false);
            if !matches!(writing.written(result, CLOCK.now(), health, counters), Progress::More) {
                break;
            }
        }
        writing.end_if_due(fd.as_fd(), health);
        state.queued = writing.queued();
        state.backlog = !writing.is_empty();
        let waits = state.backlog && writing.pause(CLOCK.now()).is_none();
        state.writing = Some(writing);
        waits.then_some(wait::WRITABLE)
    }

    pub(super) fn receive_message(&self, py: Python<'_>, framer: Option<&Framer>, limit: Limit) -> PyResult<Py<PyAny>> {
        let mut reading = self.take_reading(py, limit, "receive")?;
        let result = self.next(py, &mut reading, framer, limit, ("receive", false));
        self.put_reading(reading);
        result.map(|message| message.unwrap_or_else(|| py.None()))
    }

    pub(super) fn divided(
        &self,
        py: Python<'_>,
        framing: &str,
        max: usize,
        timeout: Option<f64>,
    ) -> PyResult<Py<PyAny>> {
        let framer = Framer::parse(framing, max).map_err(|error| PyValueError::new_err(error.to_string()))?;
        if !self.config.framer.is_none() || self.kind.is_packet() {
            let facts = Facts::new("not_supported")
                .text("message", "the channel has messages already; this call is for streams with framing=none");
            return Err(factory::error(py, facts.ends(self.protocol, &self.local, Some(&self.peer))));
        }
        self.receive_message(py, Some(&framer), Limit::of(timeout))
    }

    /// What is there, at least one message and at most `max`.
    pub(super) fn next_many(
        &self,
        py: Python<'_>,
        reading: &mut Receiver<BytesBody>,
        max: usize,
        limit: Limit,
    ) -> PyResult<Py<PyList>> {
        let list = PyList::empty(py);
        let first = self.next(py, reading, None, limit, ("receive_many", false))?;
        list.append(first)?;
        let now = Limit { at: 1, seconds: None };
        while list.len() < max {
            // Packets come one by one: the kernel is asked until it has no more.
            if self.kind.is_packet() && (!self.fill(py, reading, now)? || !reading.has_packet()) {
                break;
            }
            let mut state = self.state.borrow_mut();
            let State { health, counters, closing, .. } = &mut *state;
            if *closing {
                break;
            }
            // An end or a fault stays, and is told by the next call.
            let message = match reading.take(&self.config.framer, false, health, counters) {
                Take::Bytes(bytes) => PyBytes::new(py, bytes).into_any().unbind(),
                Take::Body(body) => body.finish(py)?,
                _ => break,
            };
            drop(state);
            list.append(message)?;
        }
        Ok(list.unbind())
    }
}

/// Where one receive takes from and puts to.
struct Source<'a> {
    kind: Kind,
    fd: BorrowedFd<'a>,
    sealed: Option<&'a mut Receiving>,
    into: &'a mut [MaybeUninit<u8>],
}

impl Source<'_> {
    /// One receive; with `wait` it blocks until something is there.
    fn receive(&mut self, wait: bool) -> Result<Arrived, Errno> {
        match &mut self.sealed {
            Some(sealed) => sealed.receive(self.fd, self.into, wait),
            None => blocking::receive(self.kind, self.fd, self.into, wait),
        }
    }

    /// What is there, or comes until the time is up; would-block then.
    fn receive_until(&mut self, wake: Option<&OwnedFd>, events: Option<i16>, limit: Limit) -> Result<Arrived, Errno> {
        match self.receive(false) {
            Err(error) if error.would_block() => {}
            result => return result,
        }
        wait::poll(self.fd, wait::READABLE | events.unwrap_or(0), wake.map(AsFd::as_fd), limit.left())?;
        self.receive(false)
    }
}
