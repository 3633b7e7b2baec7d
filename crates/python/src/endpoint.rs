//! The reactor as a Python object, and how links are opened.

use crate::core::{Core, SharedCore, os_error};
use crate::factory::{self, Facts};
use crate::link::when_full;
use crate::operation::{Job, Operation, Target};
use crate::raw::{self, Shared};
use crate::tls::TlsTerms;
use jackfield_engine::frame::Framer;
use jackfield_engine::sys::Errno;
use jackfield_engine::sys::file::Restore;
use jackfield_engine::sys::limits;
use jackfield_engine::{Clock, Config, LinkId, OpenOptions, Opened, SocketOption};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::rc::Rc;

/// What the links of one listener or one connection have in common; shared by reference.
#[pyclass(frozen, module = "jackfield._engine")]
pub struct LinkConfig {
    config: Shared<Rc<Config>>,
    kind: i32,
    options: Vec<SocketOption>,
    backlog: i32,
}

impl LinkConfig {
    pub fn shared(&self) -> Shared<Rc<Config>> {
        self.config.clone()
    }
}

#[pymethods]
impl LinkConfig {
    #[new]
    #[pyo3(signature = (*, framing, max_message, high_water, when_full, vanished_after, idle_timeout, max_clients, kind, options, backlog, tls=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only, called by one place in the library")]
    fn new(
        framing: &str,
        max_message: usize,
        high_water: usize,
        when_full: &str,
        vanished_after: Option<f64>,
        idle_timeout: Option<f64>,
        max_clients: Option<usize>,
        kind: i32,
        options: Vec<(i32, i32, Vec<u8>)>,
        backlog: i32,
        tls: Option<&TlsTerms>,
    ) -> PyResult<LinkConfig> {
        let framer = Framer::parse(framing, max_message)
            .map_err(|error| PyValueError::new_err((error.message, error.position)))?;
        let config = Config {
            framer: Rc::new(framer),
            high_water: high_water.max(1),
            when_full: self::when_full(when_full)?,
            vanished_ns: vanished_after.map_or(0, |seconds| (seconds.clamp(0.0, 1e9) * 1e9) as u64),
            idle_ns: idle_timeout.map_or(0, |seconds| (seconds.clamp(0.0, 1e9) * 1e9) as u64),
            max_clients: max_clients.unwrap_or(usize::MAX),
            tls: tls.map(TlsTerms::shared),
        };
        let options = options.into_iter().map(|(level, name, value)| SocketOption { level, name, value }).collect();
        Ok(LinkConfig { config: Shared::new(Rc::new(config)), kind, options, backlog })
    }
}

/// The canonical text of a framing. Raises ValueError with message and position.
#[pyfunction]
pub fn check_framing(text: &str) -> PyResult<String> {
    match Framer::parse(text, 16 << 20) {
        Ok(framer) => Ok(framer.canonical()),
        Err(error) => Err(PyValueError::new_err((error.message, error.position))),
    }
}

/// Raises the soft limit of open files to the hard one; gives (before, now).
#[pyfunction]
pub fn raise_open_files() -> PyResult<(u64, u64)> {
    limits::raise_open_files().map_err(os_error)
}

/// See [`Reactor::busy_poll_statistics`].
type Spins = (u64, u64, f64, u64, bool);

/// One event loop's reactor.
#[pyclass(frozen, module = "jackfield._engine")]
pub struct Reactor {
    core: SharedCore,
}

impl Reactor {
    pub fn core(&self) -> &SharedCore {
        &self.core
    }
}

#[pymethods]
impl Reactor {
    /// `busy_poll`: seconds to poll before each sleep, as long as that pays. `stepped`: time does not pass, it steps
    /// to the next deadline when nothing else happens.
    #[new]
    #[pyo3(signature = (*, busy_poll=None, stepped=false))]
    fn new(busy_poll: Option<f64>, stepped: bool) -> PyResult<Reactor> {
        let clock = if stepped { Clock::Stepped(0) } else { Clock::Kernel };
        let core = Core::new(clock)?;
        core.reactor()?.set_busy_poll(busy_poll.map(|seconds| (seconds.clamp(0.0, 1.0) * 1e9) as u64));
        Ok(Reactor { core: Shared::new(core) })
    }

    /// The reactor's clock in seconds; a stepped one begins with 0.
    fn time(&self) -> PyResult<f64> {
        Ok(self.core.reactor()?.clock().shown() as f64 / 1e9)
    }

    /// `(spins, hits, seconds spent, pauses, whether it pauses now)`; None without busy polling.
    fn busy_poll_statistics(&self) -> PyResult<Option<Spins>> {
        let found = self.core.reactor()?.busy_poll();
        Ok(found.map(|(so_far, is_paused)| {
            (so_far.spins, so_far.hits, so_far.spent_ns as f64 / 1e9, so_far.pauses, is_paused)
        }))
    }

    /// Readable when a turn has something to do; for foreign loops.
    fn fileno(&self) -> PyResult<i32> {
        Ok(self.core.reactor()?.fd())
    }

    /// Becomes the selector of `event_loop`; `ready` and `timers` are its own lists, None if it has none such.
    fn attach(&self, py: Python<'_>, event_loop: Py<PyAny>, ready: Option<Py<PyAny>>, timers: Option<Py<PyList>>) {
        self.core.attach(py, event_loop, ready, timers);
    }

    /// Is watched by `event_loop`; `kick` is called when a turn is needed soon.
    fn attach_foreign(&self, py: Python<'_>, event_loop: Py<PyAny>, kick: Py<PyAny>) {
        self.core.attach_foreign(py, event_loop, kick);
    }

    /// The loop is closed: every link is dropped.
    fn close(&self) -> PyResult<()> {
        self.core.detach();
        self.core.reactor()?.clear();
        Ok(())
    }

    /// Waits at most `timeout` seconds (None: for ever), resumes what can go on, gives foreign descriptors' events.
    fn turn(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<(i32, u32)>> {
        self.core.turn(py, timeout)
    }

    /// A turn for a foreign loop: never waits. True if another is needed soon.
    fn poll(&self, py: Python<'_>) -> PyResult<bool> {
        self.core.turn(py, Some(0.0))?;
        let mut reactor = self.core.reactor()?;
        reactor.arm_timer().map_err(os_error)?;
        Ok(reactor.is_busy() || reactor.is_dirty())
    }

    /// The current or next turn returns to asyncio as soon as it can.
    fn interrupt(&self) {
        self.core.interrupt();
    }

    /// Watches a descriptor that is not a link.
    fn watch(&self, fd: i32, events: u32) -> PyResult<()> {
        self.core.reactor()?.watch(fd, events).map_err(os_error)
    }

    /// Changes what is watched.
    fn rewatch(&self, fd: i32, events: u32) -> PyResult<()> {
        self.core.reactor()?.rewatch(fd, events).map_err(os_error)
    }

    /// Stops watching.
    fn unwatch(&self, fd: i32) -> PyResult<()> {
        self.core.reactor()?.unwatch(fd).map_err(os_error)
    }

    /// How many links there are, listeners included.
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.core.reactor()?.len())
    }

    /// Starts to connect; gives the link's id and an operation that ends with the outcome.
    #[pyo3(signature = (to, config, bind=None, timeout=None))]
    fn connect(
        &self,
        py: Python<'_>,
        to: &Bound<'_, PyAny>,
        config: &LinkConfig,
        bind: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<(u64, Py<Operation>)> {
        let to = factory::socket_address(to)?;
        let bind = bind.map(factory::socket_address).transpose()?;
        let how = OpenOptions { kind: config.kind, options: &config.options, bind: bind.as_ref(), backlog: 0 };
        let id = self.core.reactor()?.connect(&to, &how, &config.config).map_err(os_error)?;
        let target = Target::Link(id, Job::Connect);
        Ok((id.0, Py::new(py, Operation::with(&self.core, target, timeout, None))?))
    }

    /// Binds and listens; gives the listener's id.
    fn listen(&self, at: &Bound<'_, PyAny>, config: &LinkConfig) -> PyResult<u64> {
        let at = factory::socket_address(at)?;
        let how = OpenOptions { kind: config.kind, options: &config.options, bind: None, backlog: config.backlog };
        Ok(self.core.reactor()?.listen(&at, &how, &config.config).map_err(os_error)?.0)
    }

    /// Binds a datagram socket that talks to anyone; gives the link's id.
    fn bind(&self, at: &Bound<'_, PyAny>, config: &LinkConfig) -> PyResult<u64> {
        let at = factory::socket_address(at)?;
        let how = OpenOptions { kind: config.kind, options: &config.options, bind: None, backlog: 0 };
        Ok(self.core.reactor()?.bind(&at, &how, &config.config).map_err(os_error)?.0)
    }

    /// Two connected links.
    fn pair(&self, config: &LinkConfig) -> PyResult<(u64, u64)> {
        let (one, two) = self.core.reactor()?.pair(config.kind, &config.config).map_err(os_error)?;
        Ok((one.0, two.0))
    }

    /// Takes a socket that somebody else has opened; gives the link's id. Raises OSError, and then it stays the caller's.
    fn adopt(&self, fd: i32, config: &LinkConfig, family: i32, listens: bool) -> PyResult<u64> {
        let what = Opened { family, kind: config.kind, listens };
        let mut reactor = self.core.reactor()?;
        let Some(fd) = raw::own_descriptor(fd) else { return Err(os_error(Errno(libc::EBADF))) };
        match reactor.take_over(fd, what, &config.config) {
            Ok(id) => Ok(id.0),
            Err((error, back)) => {
                let _ = back.map(IntoRawFd::into_raw_fd);
                Err(os_error(error))
            }
        }
    }

    /// Takes an open file named `path`, whose terminal settings are put back to `before` once it is closed; gives the
    /// link's id. Raises OSError, and then it stays the caller's.
    #[pyo3(signature = (fd, config, path, before=None))]
    fn adopt_file(&self, fd: i32, config: &LinkConfig, path: &[u8], before: Option<&[u8]>) -> PyResult<u64> {
        let mut reactor = self.core.reactor()?;
        let Some(fd) = raw::own_descriptor(fd) else { return Err(os_error(Errno(libc::EBADF))) };
        let watched = reactor.watch(fd.as_raw_fd(), 0).and_then(|()| reactor.unwatch(fd.as_raw_fd()));
        let restore = watched.and_then(|()| before.map(|before| Restore::new(fd.as_fd(), before)).transpose());
        match restore {
            Ok(restore) => Ok(reactor.adopt_file(fd, path, restore, &config.config).map_err(os_error)?.0),
            Err(error) => {
                let _ = fd.into_raw_fd();
                Err(os_error(error))
            }
        }
    }

    /// An operation that accepts: ends with `wrap(id)`.
    #[pyo3(signature = (listener, wrap, timeout=None))]
    fn accept(&self, py: Python<'_>, listener: u64, wrap: Py<PyAny>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let target = Target::Link(LinkId(listener), Job::Accept(wrap));
        Py::new(py, Operation::with(&self.core, target, timeout, None))
    }

    /// Closes a link; see `Channel.close`.
    #[pyo3(signature = (id, timeout=None))]
    fn close_link(&self, py: Python<'_>, id: u64, timeout: Option<f64>) -> PyResult<()> {
        let mut reactor = self.core.reactor()?;
        let deadline = reactor.clock().after(timeout);
        reactor.close(LinkId(id), deadline);
        drop(reactor);
        self.core.touched(py)
    }

    /// Whether a link was closed from this side or never was.
    fn is_closed(&self, id: u64) -> PyResult<bool> {
        Ok(self.core.reactor()?.is_closing(LinkId(id)))
    }

    /// The address of our end as the library's object.
    fn local(&self, py: Python<'_>, id: u64, protocol: &str) -> PyResult<Py<PyAny>> {
        let local = self.core.reactor()?.local(LinkId(id));
        match local {
            Some(local) => factory::address(py, protocol, &local),
            None => Err(factory::error(py, Facts::closed())),
        }
    }

    /// Takes the descriptor out of a link, which is closed then; see `Channel.detach`.
    fn detach(&self, py: Python<'_>, id: u64) -> PyResult<i32> {
        crate::link::detach(&self.core, py, LinkId(id))
    }

    /// One of a socket's options as bytes (getsockopt(2)). Raises OSError.
    fn read_option<'py>(
        &self,
        py: Python<'py>,
        id: u64,
        level: i32,
        number: i32,
        size: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        crate::link::read_option(&self.core, py, LinkId(id), (level, number), size)
    }

    /// Sets one of a socket's options (setsockopt(2)). Raises OSError.
    fn write_option(&self, py: Python<'_>, id: u64, level: i32, number: i32, value: &[u8]) -> PyResult<()> {
        crate::link::write_option(&self.core, py, LinkId(id), (level, number), value)
    }

    /// The descriptor, or None once closed.
    fn link_fd(&self, id: u64) -> PyResult<Option<i32>> {
        Ok(self.core.reactor()?.raw_fd(LinkId(id)))
    }

    /// A listener's `(clients now, refused, datagrams dropped by the kernel)`.
    fn clients(&self, id: u64) -> PyResult<(usize, u64, u32)> {
        let reactor = self.core.reactor()?;
        let (clients, refused) = reactor.clients(LinkId(id)).unwrap_or_default();
        let dropped = reactor.counters(LinkId(id)).map_or(0, |counters| counters.kernel_dropped);
        Ok((clients, refused, dropped))
    }
}
