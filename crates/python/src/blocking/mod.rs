//! One connected socket as a blocking Python object, and a listener that gives such ones.
//!
//! The state is touched with the GIL held; system calls are made without it. Each half of a channel, receiving and
//! sending, is taken out of the state by the thread that uses it and put back afterwards; other threads wait for their
//! turn at it in the order in which they came. The descriptor is closed when the last thread has left its call.
//!
//! The file is long because PyO3 wants all methods of a class in one block; what they do stands in the files below.

mod listener;
mod reached;
mod receiving;
mod sending;
mod turns;

pub use listener::BlockingListener;

use crate::core::os_error;
use crate::endpoint::LinkConfig;
use crate::factory::{self, Facts};
use crate::link::{LinkFacts, message, warn_unclosed};
use crate::raw::{self, BytesBody, BytesLoan, GilCell, Shared};
use crate::tls::{TlsSession, agreed_facts};
use jackfield_engine::blocking::{self, Health, Receiver, Sender, SharedSession};
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::file::{self, Restore};
use jackfield_engine::sys::socket::Credentials;
use jackfield_engine::sys::wait::{self, Gate};
use jackfield_engine::sys::{Errno, realtime_ns, socket};
use jackfield_engine::{Clock, Config, Counters, Kind, LinkId, SendError, WhenFull};
use listener::Client;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use sending::Driven;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use turns::{Limit, Turn, Turns};

/// Blocking calls wait in the kernel, by its clock.
const CLOCK: Clock = Clock::Kernel;
/// Messages that `receive_many` gives at most, unless told otherwise.
const MANY: usize = 4096;

type Reading = Box<Receiver<BytesBody>>;
type Writing = Box<Sender<BytesLoan>>;

struct State {
    /// None once closed. Threads in a system call hold it, too.
    fd: Option<Arc<OwnedFd>>,
    /// `close` or `abort` was called.
    closing: bool,
    health: Health,
    counters: Counters,
    /// What waited to be sent when that last changed.
    queued: (usize, usize),
    /// Something waited to be sent then, if only the end of TLS.
    backlog: bool,
    /// None while a thread receives.
    reading: Option<Reading>,
    /// None while a thread sends.
    writing: Option<Writing>,
    client: Option<Client>,
    /// A serial line's settings as they were.
    restore: Option<Restore>,
}

/// One connected end; the library's `jackfield.sync.Channel` adds facts and the context manager.
#[pyclass(subclass, frozen, module = "jackfield._engine")]
pub struct BlockingChannel {
    /// What the library opened it with.
    #[pyo3(get, name = "_setup")]
    setup: Py<PyAny>,
    config: Shared<Rc<Config>>,
    kind: Kind,
    /// What both halves encrypt with.
    session: Option<SharedSession>,
    protocol: &'static str,
    local: SocketAddress,
    peer: SocketAddress,
    credentials: Option<Credentials>,
    id: u64,
    since: u64,
    state: GilCell<State>,
    receiving: Shared<Turns>,
    sending: Shared<Turns>,
    receiving_gate: Gate,
    sending_gate: Gate,
    /// Wakes who waits for a file, which has no shutdown(2).
    wake: Option<OwnedFd>,
}

impl BlockingChannel {
    fn error(&self, py: Python<'_>, facts: Facts, operation: &'static str) -> PyErr {
        factory::error(py, facts.ends(self.protocol, &self.local, Some(&self.peer)).operation(operation))
    }

    fn timed_out(&self, py: Python<'_>, limit: Limit, operation: &'static str) -> PyErr {
        self.error(py, Facts::new("timed_out").timeout(limit.seconds.unwrap_or_default()), operation)
    }

    fn fault_or_closed(&self, py: Python<'_>, operation: &'static str) -> PyErr {
        let facts = {
            let mut state = self.state.borrow_mut();
            match state.health.take_fault(self.kind) {
                Some(fault) if !state.closing => Facts::fault(&fault),
                _ => Facts::closed(),
            }
        };
        self.error(py, facts, operation)
    }

    /// The descriptor, kept open until dropped.
    fn open_fd(&self, py: Python<'_>, operation: &'static str) -> PyResult<Arc<OwnedFd>> {
        let state = self.state.borrow();
        match &state.fd {
            Some(fd) if !state.closing => Ok(fd.clone()),
            _ => {
                drop(state);
                Err(self.error(py, Facts::closed(), operation))
            }
        }
    }

    /// Lets go of the descriptor: it is closed once nobody is in a call on it.
    fn let_go(&self) {
        let mut state = self.state.borrow_mut();
        state.closing = true;
        state.client = None;
        state.restore = None;
        let fd = state.fd.take();
        drop(state);
        drop(fd);
        self.receiving_gate.open();
        self.sending_gate.open();
    }

    /// Closes at once, without a word to those who wait but that it is closed.
    fn drop_all(&self) {
        let mut state = self.state.borrow_mut();
        state.closing = true;
        let Some(fd) = state.fd.clone() else { return };
        if self.kind == Kind::Tcp {
            let _ = socket::set_linger(fd.as_fd(), 0);
        }
        if self.kind == Kind::File {
            file::discard_unsent(fd.as_fd());
        }
        if state.reading.is_none() || state.writing.is_none() {
            self.wake_waiting(&fd, state.writing.is_none());
        }
        let State { writing, counters, .. } = &mut *state;
        if let Some(writing) = writing {
            writing.abandon(counters);
        }
        drop(state);
        drop(fd);
        self.let_go();
    }

    /// Wakes who waits in a call on the descriptor, to receive or, with `sending`, to send as well.
    fn wake_waiting(&self, fd: &OwnedFd, sending: bool) {
        match &self.wake {
            Some(wake) => wait::signal(wake.as_fd()),
            None => wait::wake_waiting(fd.as_fd(), sending),
        }
    }

    fn framer_max(&self) -> usize {
        self.config.framer.max_message()
    }
}

#[pymethods]
impl BlockingChannel {
    #[new]
    #[pyo3(signature = (fd, setup, config, listener=None, file=None, session=None))]
    fn new(
        fd: i32,
        setup: Py<PyAny>,
        config: &LinkConfig,
        listener: Option<&BlockingListener>,
        file: Option<(Vec<u8>, Option<Vec<u8>>)>,
        session: Option<&TlsSession>,
    ) -> PyResult<BlockingChannel> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let fd = raw::own_descriptor(fd).ok_or_else(|| os_error(Errno(libc::EBADF)))?;
        let kind = match file {
            Some(_) => Kind::File,
            None => blocking::kind_of(fd.as_fd()).map_err(os_error)?,
        };
        if kind == Kind::Seqpacket {
            socket::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, 1).map_err(os_error)?;
        }
        let (mut wake, mut restore) = (None, None);
        let (local, peer) = match file {
            Some((path, before)) => {
                wake = Some(wait::event().map_err(os_error)?);
                restore = before.map(|before| Restore::new(fd.as_fd(), &before)).transpose().map_err(os_error)?;
                let path = SocketAddress::Unix(path.into());
                (path.clone(), path)
            }
            None => {
                wait::set_blocking(fd.as_fd()).map_err(os_error)?;
                let local = socket::local_address(fd.as_fd()).unwrap_or_default();
                (local, socket::peer_address(fd.as_fd()).unwrap_or_default())
            }
        };
        let config = config.shared();
        let session = session.and_then(TlsSession::take).map(SharedSession::new);
        let mut receiver = Receiver::new(kind, &config.framer);
        let mut sender = Sender::new(kind, peer.clone(), &config.framer);
        if let Some(session) = &session {
            receiver.decrypt(session.clone());
            sender.encrypt(session.clone());
        }
        let state = State {
            closing: false,
            health: Health::default(),
            counters: Counters::default(),
            queued: (0, 0),
            backlog: false,
            reading: Some(Box::new(receiver)),
            writing: Some(Box::new(sender)),
            client: listener.map(BlockingListener::count),
            restore,
            fd: None,
        };
        Ok(BlockingChannel {
            setup,
            config,
            kind,
            protocol: if session.is_some() { "tls" } else { blocking::protocol(kind, &local) },
            session,
            credentials: if kind != Kind::File && local.family() == libc::AF_UNIX {
                socket::credentials(fd.as_fd())
            } else {
                None
            },
            local,
            peer,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            since: realtime_ns(),
            state: GilCell::new(State { fd: Some(Arc::new(fd)), ..state }),
            receiving: Shared::new(Turns::default()),
            sending: Shared::new(Turns::default()),
            receiving_gate: Gate::default(),
            sending_gate: Gate::default(),
            wake,
        })
    }

    /// Unique for the life of the process.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let limit = Limit::of(None);
        let mut reading = self.take_reading(py, limit, "receive")?;
        let result = self.next(py, &mut reading, None, limit, ("receive", true));
        self.put_reading(reading);
        result
    }

    /// The next message. Raises EndOfStream, ChannelLost, TimedOut, which has taken nothing.
    #[pyo3(signature = (timeout=None))]
    fn receive(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        self.receive_message(py, None, Limit::of(timeout))
    }

    /// The messages that are there, at least one and at most `max_messages`.
    #[pyo3(signature = (max_messages=None, timeout=None))]
    fn receive_many(&self, py: Python<'_>, max_messages: Option<usize>, timeout: Option<f64>) -> PyResult<Py<PyList>> {
        let limit = Limit::of(timeout);
        let mut reading = self.take_reading(py, limit, "receive_many")?;
        let result = self.next_many(py, &mut reading, max_messages.unwrap_or(MANY).max(1), limit);
        self.put_reading(reading);
        result
    }

    /// Exactly `count` bytes of a stream without framing.
    #[pyo3(signature = (count, timeout=None))]
    fn receive_exactly(&self, py: Python<'_>, count: usize, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        if count == 0 {
            return Err(PyValueError::new_err("receive_exactly takes a count of at least 1"));
        }
        self.divided(py, &format!("fixed:{count}"), count, timeout)
    }

    /// The bytes before `separator`, which is taken away, of a stream without framing.
    #[pyo3(signature = (separator, timeout=None))]
    fn receive_until(&self, py: Python<'_>, separator: &[u8], timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let hex: String = separator.iter().map(|byte| format!("{byte:02x}")).collect();
        self.divided(py, &format!("delimiter:0x{hex}"), self.framer_max(), timeout)
    }

    /// Sends a message: waits until the kernel has it all. TimedOut: nothing was sent. `until="peer_kernel"` waits until
    /// the peer's kernel has acknowledged it; timed out in that time, it was sent.
    #[pyo3(signature = (data, timeout=None, *, until=None))]
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, timeout: Option<f64>, until: Option<&str>) -> PyResult<()> {
        let limit = Limit::of(timeout);
        if until.is_none() {
            return self.send_bytes(py, &message(data)?, limit, "send");
        }
        let until = self.read_until(py, until, "send")?;
        let data = message(data)?;
        self.send_and_reach(py, until, limit, "send", |channel| channel.send_bytes(py, &data, limit, "send"))
    }

    /// Sends several messages in order, gathered. TimedOut: a first part of them was sent or is queued. `until` is that of
    /// `send`, for all of them.
    #[pyo3(signature = (messages, timeout=None, *, until=None))]
    fn send_many(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        until: Option<&str>,
    ) -> PyResult<()> {
        let limit = Limit::of(timeout);
        let until = self.read_until(py, until, "send_many")?;
        let messages: Vec<Bound<'_, PyBytes>> =
            messages.try_iter()?.map(|item| message(&item?)).collect::<PyResult<_>>()?;
        self.send_and_reach(py, until, limit, "send_many", |channel| {
            if channel.config.when_full != WhenFull::Wait {
                return messages.iter().try_for_each(|data| channel.send_bytes(py, data, limit, "send_many"));
            }
            let fd = channel.open_fd(py, "send_many")?;
            let mut writing = channel.take_writing(py, limit, "send_many")?;
            let result = channel.send_all(py, (&mut writing, &fd), &messages, limit);
            channel.put_writing(writing);
            result
        })
    }

    /// Queues a message and writes what the kernel takes at once, or raises QueueFull.
    fn send_nowait(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = message(data)?;
        let fd = self.open_fd(py, "send_nowait")?;
        let Some(mut writing) = self.state.borrow_mut().writing.take() else {
            let facts = Facts::new("queue_full").text("message", "another thread is sending on the channel");
            return Err(self.error(py, facts, "send_nowait"));
        };
        let policy = self.config.when_full;
        let result = self.send_without_waiting(py, (&mut writing, &fd), &data, policy, "send_nowait");
        self.put_writing(writing);
        result
    }

    /// Sends a message and receives the next one; `timeout` is for both.
    #[pyo3(signature = (data, timeout=None))]
    fn request(&self, py: Python<'_>, data: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let limit = Limit::of(timeout);
        self.send_bytes(py, &message(data)?, limit, "send")?;
        self.receive_message(py, None, limit)
    }

    /// Ends our side once everything queued has left; receiving goes on.
    fn send_eof(&self, py: Python<'_>) -> PyResult<()> {
        if self.kind == Kind::File {
            return Err(self.error(py, Facts::new("not_supported").text("message", factory::ENDLESS), "send_eof"));
        }
        let fd = self.open_fd(py, "send_eof")?;
        let mut writing = self.take_writing(py, Limit::of(None), "send_eof")?;
        let fault = self.state.borrow_mut().health.take_fault(self.kind);
        let result = match fault {
            Some(fault) => Err(self.error(py, Facts::send_error(&SendError::Fault(fault)), "send_eof")),
            None => {
                writing.end();
                self.drive(py, &mut writing, &fd, None).map(drop)
            }
        };
        self.put_writing(writing);
        result
    }

    /// Waits until the kernel has taken everything queued; with `until="peer_kernel"` until the peer's kernel has
    /// acknowledged it.
    #[pyo3(signature = (timeout=None, *, until=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>, until: Option<&str>) -> PyResult<()> {
        let limit = Limit::of(timeout);
        let acknowledged = self.read_until(py, until, "flush")? == Some(true);
        let fd = self.open_fd(py, "flush")?;
        let mut writing = self.take_writing(py, limit, "flush")?;
        let driven = self.drive(py, &mut writing, &fd, Some(limit));
        self.put_writing(writing);
        let fault = self.state.borrow_mut().health.take_fault(self.kind);
        match driven? {
            Driven::Waits => Err(self.timed_out(py, limit, "flush")),
            _ if self.state.borrow().closing => Err(self.error(py, Facts::closed(), "flush")),
            _ if let Some(fault) = fault => Err(self.error(py, Facts::fault(&fault), "flush")),
            _ if acknowledged => self.wait_acknowledged(py, &fd, limit, "flush"),
            _ => Ok(()),
        }
    }

    /// Closes: what is queued is still delivered, for at most `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let limit = Limit::of(timeout);
        let fd = {
            let mut state = self.state.borrow_mut();
            if std::mem::replace(&mut state.closing, true) {
                return Ok(());
            }
            let Some(fd) = state.fd.clone() else { return Ok(()) };
            if state.reading.is_none() {
                self.wake_waiting(&fd, false);
            }
            fd
        };
        self.receiving_gate.open();
        let outcome = match self.turn_to_send(py, limit) {
            Ok(Turn::Ours(mut writing)) => {
                if self.session.is_some() {
                    // The peer is told that nothing follows.
                    writing.end();
                }
                let driven = self.drive(py, &mut writing, &fd, Some(limit));
                let cut = writing.abandon(&mut self.state.borrow_mut().counters);
                self.put_writing(writing);
                driven.and_then(|driven| Ok((cut && driven == Driven::Waits) || !self.drain_line(py, &fd, limit)?))
            }
            Ok(Turn::TimedOut) => {
                self.wake_waiting(&fd, true);
                Ok(true)
            }
            Ok(Turn::Closed) => return Ok(()),
            Err(error) => Err(error),
        };
        let state = self.state.borrow();
        let ended = state.reading.as_ref().is_none_or(|reading| reading.has_ended());
        let healthy = state.health.has_said_last_words();
        drop(state);
        if !ended && healthy {
            blocking::discard_unread(fd.as_fd(), self.kind);
        }
        drop(fd);
        self.let_go();
        match outcome? {
            true => Err(self.timed_out(py, limit, "close")),
            false => Ok(()),
        }
    }

    /// Closes at once: what is queued is dropped, a stream's peer sees a reset.
    fn abort(&self) {
        self.drop_all();
    }

    /// Whether it was closed from this side.
    #[getter]
    fn closed(&self) -> bool {
        self.state.borrow().closing
    }

    /// The descriptor. Raises ChannelClosed.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(self.open_fd(py, "fileno")?.as_raw_fd())
    }

    /// One of the socket's options (getsockopt(2)). Raises OSError, ChannelClosed.
    #[pyo3(signature = (level, number, size, /))]
    fn _read_option<'py>(
        &self,
        py: Python<'py>,
        level: i32,
        number: i32,
        size: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let fd = self.open_fd(py, "kernel_options")?;
        let value = socket::option_bytes(fd.as_fd(), level, number, size.min(256)).map_err(os_error)?;
        Ok(PyBytes::new(py, &value))
    }

    /// Sets one of the socket's options (setsockopt(2)). Raises OSError, ChannelClosed.
    #[pyo3(signature = (level, number, value, /))]
    fn _write_option(&self, py: Python<'_>, level: i32, number: i32, value: &[u8]) -> PyResult<()> {
        let fd = self.open_fd(py, "set_option")?;
        socket::set_option_bytes(fd.as_fd(), level, number, value).map_err(os_error)
    }

    /// What the two ends agreed on; None without TLS, and once closed.
    fn _tls<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        match &self.session {
            Some(session) if self.state.borrow().fd.is_some() => agreed_facts(py, session.agreed()),
            _ => Ok(None),
        }
    }

    /// `(protocol, local, peer, credentials, statistics)`.
    fn _facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let local = factory::address(py, self.protocol, &self.local)?;
        let peer = factory::address(py, self.protocol, &self.peer)?;
        let credentials = self.credentials.map(|who| (who.pid, who.uid, who.gid));
        let (counters, queued) = {
            let state = self.state.borrow();
            (state.counters, state.queued)
        };
        let facts = LinkFacts {
            protocol: self.protocol,
            local: self.local.clone(),
            peer: self.peer.clone(),
            parent: LinkId::NONE,
            credentials: self.credentials,
            number: 0,
            counters,
            queued,
            since: self.since,
            now: CLOCK.now(),
        };
        (self.protocol, local, peer, credentials, facts.statistics(py)?).into_pyobject(py)
    }
}

impl Drop for BlockingChannel {
    fn drop(&mut self) {
        if !self.state.borrow().closing {
            self.drop_all();
            warn_unclosed(c"an open jackfield channel was dropped: close it, or use `with`");
        }
    }
}
