//! A listening socket that is accepted from by blocking calls, from any thread.
//!
//! With TLS the handshakes of all newcomers are moved on by whoever accepts, a turn at a time with the GIL; in between it
//! waits without. Of several threads each takes what is done, and wakes another one when more is.

use super::CLOCK;
use super::turns::Limit;
use crate::core::os_error;
use crate::endpoint::LinkConfig;
use crate::factory::{self, Facts};
use crate::raw::{self, GilCell, Shared};
use crate::tls::{TlsSession, TlsTerms, failed_facts};
use jackfield_engine::Config;
use jackfield_engine::blocking::{self, Newcomers};
use jackfield_engine::frame::Framer;
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::{Errno, socket, wait};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// Clients beyond the limit that are refused before other threads, signals and the time-out have their turn.
const REFUSALS_AT_A_TIME: usize = 64;

/// A connection's descriptor, and its TLS.
type Accepted = (i32, Option<TlsSession>);

/// What a listener counts.
#[derive(Default)]
struct Counts {
    clients: Cell<usize>,
    refused: Cell<u64>,
}

/// One of a listener's clients, until dropped.
pub(super) struct Client(Shared<Counts>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.clients.set(self.0.clients.get() - 1);
    }
}

/// A listening socket; the library's `jackfield.sync.Listener` makes channels of what it accepts.
#[pyclass(frozen, module = "jackfield._engine")]
pub struct BlockingListener {
    fd: GilCell<Option<Arc<OwnedFd>>>,
    /// Readable once closed; with TLS also while there is something to take at once.
    wake: Arc<OwnedFd>,
    /// Those who shake hands, with TLS, and what tells that there is news of them. None once closed.
    newcomers: GilCell<Option<(Newcomers, Arc<OwnedFd>)>>,
    /// Calls that accept now, with TLS.
    accepting: GilCell<usize>,
    is_tls: bool,
    counts: Shared<Counts>,
    max_clients: usize,
    protocol: &'static str,
    local: SocketAddress,
}

impl BlockingListener {
    pub(super) fn count(&self) -> Client {
        self.counts.clients.set(self.counts.clients.get() + 1);
        Client(self.counts.clone())
    }

    fn open_fd(&self, py: Python<'_>) -> PyResult<Arc<OwnedFd>> {
        let fd = self.fd.borrow().clone();
        fd.ok_or_else(|| self.error(py, Facts::closed()))
    }

    fn error(&self, py: Python<'_>, facts: Facts) -> PyErr {
        factory::error(py, facts.ends(self.protocol, &self.local, None).operation("accept"))
    }

    fn timed_out(&self, py: Python<'_>, limit: Limit) -> PyErr {
        self.error(py, Facts::new("timed_out").timeout(limit.seconds.unwrap_or_default()))
    }

    /// The next connection whose handshake is done.
    fn accept_tls(&self, py: Python<'_>, limit: Limit, before: Option<&Bound<'_, PyAny>>) -> PyResult<Accepted> {
        loop {
            let watch = self.newcomers.borrow().as_ref().map(|(_, watch)| watch.clone());
            let Some(watch) = watch else { return Err(self.error(py, Facts::closed())) };
            self.call_before(&watch, before)?;
            let wait = {
                let mut newcomers = self.newcomers.borrow_mut();
                let Some((newcomers, _)) = &mut *newcomers else { return Err(self.error(py, Facts::closed())) };
                wait::clear(self.wake.as_fd());
                let found = newcomers.turn(CLOCK.now(), self.counts.clients.get());
                if newcomers.has_more() {
                    wait::signal(self.wake.as_fd());
                }
                if let Some((fd, session)) = found.map_err(os_error)? {
                    return Ok((raw::give_descriptor(fd), Some(TlsSession::new(session))));
                }
                newcomers.wait_ns()
            };
            let left = limit.left();
            if left == Some(0) {
                return Err(self.timed_out(py, limit));
            }
            let wait = wait.map_or(left, |wait| Some(left.map_or(wait, |left| left.min(wait))));
            // Before too: with newcomers all the time it may never be a signal that ends the wait.
            py.check_signals()?;
            if py.detach(|| wait::poll(watch.as_fd(), wait::READABLE, Some(self.wake.as_fd()), wait)).is_err() {
                py.check_signals()?;
            }
        }
    }

    /// One call more accepts, or one less.
    fn attend(&self, change: isize) {
        let mut accepting = self.accepting.borrow_mut();
        *accepting = accepting.saturating_add_signed(change);
        if let Some((newcomers, _)) = &mut *self.newcomers.borrow_mut() {
            newcomers.attend(CLOCK.now(), *accepting > 0);
        }
    }

    /// Calls `before` if there may be somebody.
    fn call_before(&self, watch: &OwnedFd, before: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        match before {
            Some(before) if wait::poll(watch.as_fd(), wait::READABLE, Some(self.wake.as_fd()), Some(0)) == Ok(true) => {
                before.call0().map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The next connection.
    fn accept_plain(&self, py: Python<'_>, limit: Limit, before: Option<&Bound<'_, PyAny>>) -> PyResult<Accepted> {
        let mut refused = 0;
        loop {
            if refused == REFUSALS_AT_A_TIME {
                refused = 0;
                py.detach(std::thread::yield_now);
                py.check_signals()?;
                if limit.has_passed() {
                    return Err(self.timed_out(py, limit));
                }
            }
            let fd = self.open_fd(py)?;
            self.call_before(&fd, before)?;
            let error = match socket::accept(fd.as_fd()) {
                Ok((new, _)) if self.counts.clients.get() >= self.max_clients => {
                    self.counts.refused.set(self.counts.refused.get() + 1);
                    // With a zero linger time the drop is a reset: the client learns at once.
                    let _ = socket::set_linger(new.as_fd(), 0);
                    refused += 1;
                    continue;
                }
                Ok((new, _)) => return Ok((raw::give_descriptor(new), None)),
                Err(error) => error,
            };
            match error {
                error if error.would_block() => {}
                // The connection was gone before it was taken; the next one may be well (accept(2)).
                Errno(
                    libc::EINTR
                    | libc::ECONNABORTED
                    | libc::EPERM
                    | libc::EPROTO
                    | libc::ENOPROTOOPT
                    | libc::ENETDOWN
                    | libc::ENETUNREACH
                    | libc::EHOSTDOWN
                    | libc::EHOSTUNREACH,
                ) => {
                    refused += 1;
                    continue;
                }
                error => return Err(os_error(error)),
            }
            let left = limit.left();
            if left == Some(0) {
                return Err(self.timed_out(py, limit));
            }
            if py.detach(|| wait::poll(fd.as_fd(), wait::READABLE, Some(self.wake.as_fd()), left)).is_err() {
                py.check_signals()?;
            }
        }
    }
}

#[pymethods]
impl BlockingListener {
    #[new]
    fn new(fd: i32, config: &LinkConfig) -> PyResult<BlockingListener> {
        let fd = raw::own_descriptor(fd).ok_or_else(|| os_error(Errno(libc::EBADF)))?;
        socket::set_nonblocking(fd.as_fd()).map_err(os_error)?;
        let local = socket::local_address(fd.as_fd()).map_err(os_error)?;
        let kind = blocking::kind_of(fd.as_fd()).map_err(os_error)?;
        let config = config.shared();
        let is_tls = config.tls.is_some();
        let newcomers = if is_tls {
            // The newcomers' framing is their channels' affair.
            let framer =
                Framer::parse("none", config.framer.max_message()).map_err(|_| os_error(Errno(libc::EINVAL)))?;
            let config = Rc::new(Config { framer: Rc::new(framer), tls: config.tls.clone(), ..**config });
            let own = raw::duplicate(fd.as_raw_fd()).map_err(os_error)?;
            let newcomers = Newcomers::new(own, &config).map_err(os_error)?;
            let watch = Arc::new(raw::duplicate(newcomers.raw_fd()).map_err(os_error)?);
            Some((newcomers, watch))
        } else {
            None
        };
        Ok(BlockingListener {
            protocol: if is_tls { "tls" } else { blocking::protocol(kind, &local) },
            local,
            fd: GilCell::new(Some(Arc::new(fd))),
            wake: Arc::new(wait::event().map_err(os_error)?),
            newcomers: GilCell::new(newcomers),
            accepting: GilCell::new(0),
            is_tls,
            counts: Shared::new(Counts::default()),
            max_clients: config.max_clients,
        })
    }

    /// The next connection: its descriptor, which is the caller's, and its TLS. `before` is called each time that
    /// somebody may have come, before it is looked who. Raises OSError, ChannelClosed, TimedOut.
    #[pyo3(signature = (timeout=None, before=None))]
    fn accept(&self, py: Python<'_>, timeout: Option<f64>, before: Option<&Bound<'_, PyAny>>) -> PyResult<Accepted> {
        let limit = Limit::of(timeout);
        if !self.is_tls {
            return self.accept_plain(py, limit, before);
        }
        self.attend(1);
        let outcome = self.accept_tls(py, limit, before);
        self.attend(-1);
        outcome
    }

    /// Gives those who shake hands to another listener on the same socket, and gets its own. Nothing once either is
    /// closed: they hold the socket open.
    fn swap_newcomers(&self, other: &BlockingListener) {
        if std::ptr::eq(self, other) || self.fd.borrow().is_none() || other.fd.borrow().is_none() {
            return;
        }
        self.newcomers.swap(&other.newcomers);
        self.attend(0);
        other.attend(0);
    }

    /// Later connections are accepted with other terms. False without TLS, and once closed.
    fn replace_terms(&self, terms: &TlsTerms) -> bool {
        let mut newcomers = self.newcomers.borrow_mut();
        newcomers.as_mut().is_some_and(|(newcomers, _)| newcomers.replace_terms(terms.terms()))
    }

    /// The oldest failed handshake that nobody has asked for: the peer's address and the facts.
    fn take_failed<'py>(&self, py: Python<'py>) -> PyResult<Option<(Py<PyAny>, Bound<'py, PyDict>)>> {
        let failed = self.newcomers.borrow_mut().as_mut().and_then(|(newcomers, _)| newcomers.take_failed());
        failed.map(|failed| failed_facts(py, &failed)).transpose()
    }

    /// Stops listening; threads that accept are told.
    fn close(&self) {
        let newcomers = self.newcomers.borrow_mut().take();
        wait::signal(self.wake.as_fd());
        let fd = self.fd.borrow_mut().take();
        drop((fd, newcomers));
    }

    /// The descriptor, or None once closed.
    fn fileno(&self) -> Option<i32> {
        self.fd.borrow().as_ref().map(|fd| fd.as_raw_fd())
    }

    /// One of the socket's options (getsockopt(2)). Raises OSError, ChannelClosed.
    fn read_option<'py>(&self, py: Python<'py>, level: i32, number: i32, size: usize) -> PyResult<Bound<'py, PyBytes>> {
        let fd = self.open_fd(py)?;
        let value = socket::option_bytes(fd.as_fd(), level, number, size.min(256)).map_err(os_error)?;
        Ok(PyBytes::new(py, &value))
    }

    /// Sets one of the socket's options (setsockopt(2)). Raises OSError, ChannelClosed.
    fn write_option(&self, py: Python<'_>, level: i32, number: i32, value: &[u8]) -> PyResult<()> {
        let fd = self.open_fd(py)?;
        socket::set_option_bytes(fd.as_fd(), level, number, value).map_err(os_error)
    }

    /// `(clients now, refused, failed handshakes)`.
    fn clients(&self) -> (usize, u64, u64) {
        let clients = self.counts.clients.get();
        match &mut *self.newcomers.borrow_mut() {
            Some((newcomers, _)) => {
                let (clients, refused) = newcomers.counts(clients);
                (clients, refused, newcomers.failed())
            }
            None => (clients, self.counts.refused.get(), 0),
        }
    }
}
