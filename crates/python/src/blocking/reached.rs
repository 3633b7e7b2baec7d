//! How far a message must have come before a call returns: `until=` of blocking sends.

use super::BlockingChannel;
use super::turns::Limit;
use crate::factory::Facts;
use crate::until;
use jackfield_engine::sys::{socket, wait};
use pyo3::prelude::*;
use std::os::fd::{AsFd, OwnedFd};

/// The kernel tells nobody when the peer's has acknowledged everything: it is asked again after so long, and rarer later.
const FIRST_LOOK_NS: u64 = 50_000;
const LAST_LOOK_NS: u64 = 5_000_000;

impl BlockingChannel {
    /// See `until::meaning`.
    pub(super) fn read_until(&self, py: Python<'_>, until: Option<&str>, name: &'static str) -> PyResult<Option<bool>> {
        until::meaning(until, self.protocol, self.config.when_full)?
            .map_err(|what| self.error(py, Facts::new("not_supported").text("message", what), name))
    }

    /// Sends by `send`, then waits until that has come as far as asked for.
    pub(super) fn send_and_reach(
        &self,
        py: Python<'_>,
        until: Option<bool>,
        limit: Limit,
        name: &'static str,
        send: impl FnOnce(&BlockingChannel) -> PyResult<()>,
    ) -> PyResult<()> {
        let Some(acknowledged) = until else { return send(self) };
        let before = self.state.borrow().counters.dropped_out;
        send(self)?;
        if self.state.borrow().counters.dropped_out > before {
            let facts = Facts::new("queue_full").limit(self.config.high_water).size(self.state.borrow().queued.0);
            return Err(self.error(py, facts, name));
        }
        self.drain(py, limit, name)?;
        let fd = self.open_fd(py, name)?;
        if acknowledged { self.wait_acknowledged(py, &fd, limit, name) } else { Ok(()) }
    }

    /// Waits until the peer's kernel has acknowledged everything that this one has taken.
    pub(super) fn wait_acknowledged(
        &self,
        py: Python<'_>,
        fd: &OwnedFd,
        limit: Limit,
        name: &'static str,
    ) -> PyResult<()> {
        let mut pause = FIRST_LOOK_NS;
        loop {
            if self.state.borrow().closing {
                return Err(self.error(py, Facts::closed(), name));
            }
            // A connection that broke has nothing unacknowledged either; its error says so.
            if wait::poll(fd.as_fd(), 0, None, Some(0)).unwrap_or(false)
                && let Some(error) = socket::take_error(fd.as_fd())
            {
                self.state.borrow_mut().health.fail_sending(error);
                return Err(self.fault_or_closed(py, name));
            }
            if socket::unacknowledged(fd.as_fd()) == 0 {
                return Ok(());
            }
            if limit.has_passed() {
                return Err(self.timed_out(py, limit, name));
            }
            // Closing opens the gate.
            let (seen, left) = (self.sending_gate.opened(), limit.left().map_or(pause, |left| left.min(pause)));
            let _ = py.detach(|| self.sending_gate.wait(seen, Some(left)));
            py.check_signals()?;
            pause = (2 * pause).min(LAST_LOOK_NS);
        }
    }
}
