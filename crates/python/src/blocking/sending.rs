//! Sending: a message is queued with the GIL, and the queue written without it.

use super::turns::Limit;
use super::{BlockingChannel, CLOCK, State, Writing};
use crate::factory::Facts;
use crate::raw::{BytesLoan, SameThread};
use jackfield_engine::blocking::{Progress, Sender};
use jackfield_engine::sys::{Errno, file, wait};
use jackfield_engine::{Fault, Kind, Payload, Queued, WhenFull};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{AsFd, OwnedFd};

/// From this size on a message is sent from where it lies.
const LOAN: usize = 16 * 1024;
/// `send_many` writes when so many bytes wait.
const WRITE_AT: usize = 64 * 1024;
/// A device's full queue is tried again after so long.
const LATER_NS: u64 = 2_000_000;

/// What driving a queue came to.
#[derive(PartialEq, Eq)]
pub(super) enum Driven {
    Empty,
    /// The kernel has no room, and the time is up or none was to be spent.
    Waits,
    Broken,
}

impl BlockingChannel {
    /// Waits until a serial line has sent what the kernel has taken; false when the time was not enough.
    pub(super) fn drain_line(&self, py: Python<'_>, fd: &OwnedFd, limit: Limit) -> PyResult<bool> {
        while self.kind == Kind::File && file::unsent(fd.as_fd()) > 0 {
            if limit.has_passed() {
                file::discard_unsent(fd.as_fd());
                return Ok(false);
            }
            let _ = py.detach(|| wait::poll(fd.as_fd(), 0, None, Some(LATER_NS)));
            py.check_signals()?;
        }
        Ok(true)
    }

    /// Writes what waits until nothing does, or `limit` has passed; without a limit only what the kernel takes now.
    #[inline]
    pub(super) fn drive(
        &self,
        py: Python<'_>,
        writing: &mut Writing,
        fd: &OwnedFd,
        limit: Option<Limit>,
    ) -> PyResult<Driven> {
        loop {
            if writing.is_empty() {
                writing.end_if_due(fd.as_fd(), &self.state.borrow().health);
                return Ok(Driven::Empty);
            }
            {
                let mut state = self.state.borrow_mut();
                if state.fd.is_none() {
                    writing.abandon(&mut state.counters);
                    return Ok(Driven::Broken);
                }
                state.queued = writing.queued();
            }
            if let Some(at) = writing.pause(CLOCK.now()) {
                let Some(limit) = limit.filter(|limit| !limit.has_passed()) else { return Ok(Driven::Waits) };
                let left = limit.until(at).left();
                let wake = self.wake.as_ref().map(AsFd::as_fd);
                let _ = py.detach(|| wait::poll(fd.as_fd(), 0, wake, left));
                py.check_signals()?;
                continue;
            }
            let half = &mut *writing;
            let mut write = || match limit {
                Some(Limit { at: 0, .. }) if self.wake.is_none() => half.write(fd.as_fd(), true),
                None => half.write(fd.as_fd(), false),
                Some(limit) => match half.write(fd.as_fd(), false) {
                    Err(error) if error.would_block() => {
                        wait::poll(fd.as_fd(), wait::WRITABLE, self.wake.as_ref().map(AsFd::as_fd), limit.left())?;
                        half.write(fd.as_fd(), false)
                    }
                    result => result,
                },
            };
            let call = SameThread(&mut write);
            let result = py.detach(move || call.run());
            if result == Err(Errno(libc::EINTR)) {
                py.check_signals()?;
            }
            let progress = {
                let mut state = self.state.borrow_mut();
                let State { health, counters, .. } = &mut *state;
                writing.written(result, CLOCK.now(), health, counters)
            };
            match progress {
                Progress::Empty => {}
                // A signal may have ended the write in the middle.
                Progress::More => py.check_signals()?,
                Progress::Full | Progress::Later if limit.is_none_or(Limit::has_passed) => return Ok(Driven::Waits),
                Progress::Full => {}
                Progress::Later => {
                    let _ = py.detach(|| wait::poll(fd.as_fd(), 0, None, Some(LATER_NS)));
                    py.check_signals()?;
                }
                Progress::Broken => return Ok(Driven::Broken),
            }
        }
    }

    pub(super) fn push(&self, writing: &mut Sender<BytesLoan>, data: &Bound<'_, PyBytes>) {
        let bytes = data.as_bytes();
        let payload = if bytes.len() >= LOAN { Payload::Loan(BytesLoan::new(data)) } else { Payload::Bytes(bytes) };
        writing.push(payload, &self.config);
    }

    /// What the message takes in the queue; None if there is nothing to send.
    #[inline]
    pub(super) fn check(
        &self,
        py: Python<'_>,
        (writing, fd): (&mut Sender<BytesLoan>, &OwnedFd),
        data: &Bound<'_, PyBytes>,
        operation: &'static str,
    ) -> PyResult<Option<usize>> {
        let checked = {
            let mut state = self.state.borrow_mut();
            writing.check(fd.as_fd(), data.as_bytes(), &self.config, &mut state.health)
        };
        checked.map_err(|error| self.error(py, Facts::send_error(&error), operation))
    }

    /// Sends one message, waiting until the kernel has it.
    #[inline]
    pub(super) fn send_waiting(
        &self,
        py: Python<'_>,
        (writing, fd): (&mut Writing, &OwnedFd),
        data: &Bound<'_, PyBytes>,
        limit: Limit,
        operation: &'static str,
    ) -> PyResult<()> {
        if self.check(py, (writing, fd), data, operation)?.is_none() {
            return Ok(());
        }
        // What was left behind leaves first, so that this message alone waits and can be taken back.
        match self.drive(py, writing, fd, Some(limit))? {
            Driven::Empty => {}
            Driven::Waits => return Err(self.timed_out(py, limit, operation)),
            Driven::Broken => return Err(self.fault_or_closed(py, operation)),
        }
        self.push(writing, data);
        match self.drive(py, writing, fd, Some(limit)) {
            Ok(Driven::Empty) => Ok(()),
            Ok(Driven::Broken) => Err(self.fault_or_closed(py, operation)),
            Ok(Driven::Waits) if writing.withdraw() => Err(self.timed_out(py, limit, operation)),
            // Part of it has left: the rest stays queued, and the message is as good as any that is.
            Ok(Driven::Waits) => Ok(()),
            Err(error) => {
                writing.withdraw();
                Err(error)
            }
        }
    }

    /// Queues one message without waiting, and writes what the kernel takes now.
    pub(super) fn send_without_waiting(
        &self,
        py: Python<'_>,
        (writing, fd): (&mut Writing, &OwnedFd),
        data: &Bound<'_, PyBytes>,
        policy: WhenFull,
        operation: &'static str,
    ) -> PyResult<()> {
        let Some(size) = self.check(py, (writing, fd), data, operation)? else { return Ok(()) };
        if !writing.has_room(size, &self.config) && self.drive(py, writing, fd, None)? == Driven::Broken {
            return Err(self.fault_or_closed(py, operation));
        }
        let room = {
            let mut state = self.state.borrow_mut();
            let State { health, counters, .. } = &mut *state;
            writing.make_room(size, &self.config, policy, health, counters)
        };
        let facts = match room {
            Queued::Yes => {
                self.push(writing, data);
                // What breaks now is told by the next call: this message was queued.
                self.drive(py, writing, fd, None)?;
                return Ok(());
            }
            Queued::Dropped => return Ok(()),
            Queued::Disconnected => Facts::fault(&Fault::TooSlow),
            Queued::Full | Queued::Rejected => {
                Facts::new("queue_full").limit(self.config.high_water).size(writing.queued().0)
            }
        };
        Err(self.error(py, facts, operation))
    }

    #[inline]
    pub(super) fn send_bytes(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyBytes>,
        limit: Limit,
        operation: &'static str,
    ) -> PyResult<()> {
        let fd = self.open_fd(py, operation)?;
        let mut writing = self.take_writing(py, limit, operation)?;
        let result = match self.config.when_full {
            WhenFull::Wait => self.send_waiting(py, (&mut writing, &fd), data, limit, operation),
            policy => self.send_without_waiting(py, (&mut writing, &fd), data, policy, operation),
        };
        self.put_writing(writing);
        result
    }

    pub(super) fn send_all(
        &self,
        py: Python<'_>,
        (writing, fd): (&mut Writing, &OwnedFd),
        messages: &[Bound<'_, PyBytes>],
        limit: Limit,
    ) -> PyResult<()> {
        let mut failed = Ok(());
        for (index, data) in messages.iter().enumerate() {
            match self.check(py, (writing, fd), data, "send_many") {
                Ok(None) => {}
                Ok(Some(_)) => self.push(writing, data),
                Err(error) => failed = Err(error),
            }
            let last = failed.is_err() || index + 1 == messages.len();
            if !last && writing.queued().0 < WRITE_AT {
                continue;
            }
            match self.drive(py, writing, fd, Some(limit))? {
                Driven::Empty => {}
                Driven::Waits => return Err(self.timed_out(py, limit, "send_many")),
                Driven::Broken => return Err(self.fault_or_closed(py, "send_many")),
            }
            if last {
                break;
            }
        }
        failed
    }

    /// Writes all that waits.
    pub(super) fn drain(&self, py: Python<'_>, limit: Limit, operation: &'static str) -> PyResult<()> {
        if self.state.borrow().queued.1 == 0 {
            return Ok(());
        }
        let fd = self.open_fd(py, operation)?;
        let mut writing = self.take_writing(py, limit, operation)?;
        let driven = self.drive(py, &mut writing, &fd, Some(limit));
        self.put_writing(writing);
        match driven? {
            Driven::Empty => Ok(()),
            Driven::Waits => Err(self.timed_out(py, limit, operation)),
            Driven::Broken => Err(self.fault_or_closed(py, operation)),
        }
    }
}
