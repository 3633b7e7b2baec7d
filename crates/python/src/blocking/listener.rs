//! A listening socket that is accepted from by blocking calls, from any thread.

use super::turns::Limit;
use crate::core::os_error;
use crate::endpoint::LinkConfig;
use crate::factory::{self, Facts};
use crate::raw::{self, GilCell, Shared};
use jackfield_engine::blocking;
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::{Errno, socket, wait};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// Clients beyond the limit that are refused before other threads, signals and the time-out have their turn.
const REFUSALS_AT_A_TIME: usize = 64;

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
    /// Readable once closed.
    closed: Arc<OwnedFd>,
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
}

#[pymethods]
impl BlockingListener {
    #[new]
    fn new(fd: i32, config: &LinkConfig) -> PyResult<BlockingListener> {
        let fd = raw::own_descriptor(fd).ok_or_else(|| os_error(Errno(libc::EBADF)))?;
        socket::set_nonblocking(fd.as_fd()).map_err(os_error)?;
        let local = socket::local_address(fd.as_fd()).map_err(os_error)?;
        let kind = blocking::kind_of(fd.as_fd()).map_err(os_error)?;
        Ok(BlockingListener {
            protocol: blocking::protocol(kind, &local),
            local,
            fd: GilCell::new(Some(Arc::new(fd))),
            closed: Arc::new(wait::event().map_err(os_error)?),
            counts: Shared::new(Counts::default()),
            max_clients: config.shared().max_clients,
        })
    }

    /// The next connection's descriptor, which is the caller's. Raises OSError, ChannelClosed, TimedOut.
    #[pyo3(signature = (timeout=None))]
    fn accept(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<i32> {
        let limit = Limit::of(timeout);
        let mut refused = 0;
        loop {
            if refused == REFUSALS_AT_A_TIME {
                refused = 0;
                py.detach(std::thread::yield_now);
                py.check_signals()?;
                if limit.has_passed() {
                    let facts = Facts::new("timed_out").timeout(timeout.unwrap_or_default());
                    return Err(self.error(py, facts));
                }
            }
            let fd = self.open_fd(py)?;
            let error = match socket::accept(fd.as_fd()) {
                Ok((new, _)) if self.counts.clients.get() >= self.max_clients => {
                    self.counts.refused.set(self.counts.refused.get() + 1);
                    // With a zero linger time the drop is a reset: the client learns at once.
                    let _ = socket::set_linger(new.as_fd(), 0);
                    refused += 1;
                    continue;
                }
                Ok((new, _)) => return Ok(raw::give_descriptor(new)),
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
                let facts = Facts::new("timed_out").timeout(timeout.unwrap_or_default());
                return Err(self.error(py, facts));
            }
            let closed = self.closed.clone();
            if py.detach(|| wait::poll(fd.as_fd(), wait::READABLE, Some(closed.as_fd()), left)).is_err() {
                py.check_signals()?;
            }
        }
    }

    /// Stops listening; threads that accept are told.
    fn close(&self) {
        wait::signal(self.closed.as_fd());
        let fd = self.fd.borrow_mut().take();
        drop(fd);
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

    /// `(clients now, refused)`.
    fn clients(&self) -> (usize, u64) {
        (self.counts.clients.get(), self.counts.refused.get())
    }
}
