//! One link as a Python object: the hot calls, and the facts that the library dresses up.

use crate::beside::{self, Departing};
use crate::core::{Core, SharedCore, os_error};
use crate::endpoint;
use crate::factory::{self, Facts};
use crate::operation::{self, Job, Operation, Target};
use crate::pulse;
use crate::raw::{self, GilCell};
use crate::tcp_info;
use crate::until::{self, Until};
use jackfield_engine::frame::Framer;
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::socket::Credentials;
use jackfield_engine::{Counters, Kind, LinkId, Reactor, WhenFull};
use pyo3::IntoPyObjectExt;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyResourceWarning, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::os::fd::IntoRawFd;
use std::rc::Rc;

/// A snapshot of all that is known of a link.
pub struct LinkFacts {
    pub protocol: &'static str,
    pub local: SocketAddress,
    pub peer: SocketAddress,
    pub parent: LinkId,
    pub credentials: Option<Credentials>,
    /// In its group; 0 outside of one.
    pub number: u64,
    pub counters: Counters,
    pub queued: (usize, usize),
    pub since: u64,
    pub now: u64,
}

impl LinkFacts {
    pub fn of(reactor: &Reactor<crate::core::PyHost>, id: LinkId) -> Option<LinkFacts> {
        Some(LinkFacts {
            protocol: factory::protocol(reactor, id)?,
            local: reactor.local(id).unwrap_or_default(),
            peer: reactor.peer(id)?.clone(),
            parent: reactor.parent(id)?,
            credentials: reactor.credentials(id),
            number: reactor.number(id),
            counters: reactor.counters(id)?,
            queued: reactor.queued_of(id),
            since: reactor.since(id)?,
            now: reactor.clock().now(),
        })
    }

    /// In the order of the library's `Statistics`.
    pub fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let counters = &self.counters;
        let wall = |at: u64| (at != 0).then(|| wall_clock() - self.now.saturating_sub(at) as f64 / 1e9);
        let count = |number: u64| number.into_bound_py_any(py);
        PyTuple::new(
            py,
            [
                count(counters.bytes_in)?,
                count(counters.bytes_out)?,
                count(counters.messages_in)?,
                count(counters.messages_out)?,
                count(self.queued.0 as u64)?,
                count(self.queued.1 as u64)?,
                count(counters.dropped_out.into())?,
                count(counters.dropped_in.into())?,
                (self.since as f64 / 1e9).into_bound_py_any(py)?,
                wall(counters.last_in).into_bound_py_any(py)?,
                wall(counters.last_out).into_bound_py_any(py)?,
                count(counters.kernel_dropped.into())?,
                count(counters.broken_in.into())?,
            ],
        )
    }
}

fn wall_clock() -> f64 {
    jackfield_engine::sys::realtime_ns() as f64 / 1e9
}

/// The policy by its name.
pub fn when_full(name: &str) -> PyResult<WhenFull> {
    Ok(match name {
        "wait" => WhenFull::Wait,
        "reject" => WhenFull::Reject,
        "drop_oldest" => WhenFull::DropOldest,
        "drop_newest" => WhenFull::DropNewest,
        "disconnect" => WhenFull::Disconnect,
        _ => return Err(PyValueError::new_err(format!("{name:?} is no policy for full queues"))),
    })
}

/// A message as `bytes`: itself, or a copy of any other contiguous buffer.
#[inline]
pub fn message<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>() {
        return Ok(bytes.clone());
    }
    copied(data)
}

/// Several messages as `bytes`.
pub fn messages(items: &Bound<'_, PyAny>) -> PyResult<Vec<Py<PyBytes>>> {
    if let Ok(list) = items.cast_exact::<PyList>() {
        let mut all = Vec::with_capacity(list.len());
        for item in list.iter() {
            all.push(item.cast_into_exact().or_else(|other| copied(&other.into_inner()))?.unbind());
        }
        return Ok(all);
    }
    items.try_iter()?.map(|item| message(&item?).map(Bound::unbind)).collect()
}

fn copied<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = data.py();
    if data.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("a message is bytes, not str: encode it first, for example text.encode()"));
    }
    let name = data.get_type().qualname()?;
    let wrong = |_| PyTypeError::new_err(format!("a message is bytes or another buffer of bytes, not {name}"));
    let buffer = PyBuffer::<u8>::get(data).map_err(wrong)?;
    Ok(PyBytes::new(py, &buffer.to_vec(py)?))
}

/// Sends now; for `send_nowait` of every class.
pub fn send_nowait(
    core: &SharedCore,
    py: Python<'_>,
    id: LinkId,
    data: &Bound<'_, PyAny>,
    name: &'static str,
) -> PyResult<()> {
    let data = message(data)?;
    if !core.has_senders(id) && operation::send_bytes(core, py, id, &data, None, name)? {
        return Ok(());
    }
    let reactor = core.reactor()?;
    let limit = reactor.config(id).map_or(0, |config| config.high_water);
    let facts = Facts::new("queue_full").limit(limit).size(reactor.queued_of(id).0).operation(name);
    let facts = facts.of_link(&reactor, id);
    drop(reactor);
    Err(factory::error(py, facts))
}

/// Sends now if there is room; else gives an operation that waits for it.
#[inline]
pub fn send(
    core: &SharedCore,
    py: Python<'_>,
    id: LinkId,
    data: &Bound<'_, PyAny>,
    timeout: Option<f64>,
    owner: Option<Py<PyAny>>,
) -> PyResult<Py<Operation>> {
    let data = message(data)?;
    if !core.has_senders(id) {
        match operation::send_bytes(core, py, id, &data, None, "send") {
            Ok(true) if core.spend() => return Py::new(py, Operation::new(core, id, Job::Pause)),
            Ok(true) => return Core::resolved(core, py),
            Ok(false) => {}
            Err(error) => return Py::new(py, Operation::new(core, id, Job::Failed(Some(error)))),
        }
    }
    Py::new(py, Operation::with(core, Target::Link(id, Job::Send(data.unbind())), timeout, owner))
}

/// Takes the descriptor out of a link; it is the caller's then.
pub fn detach(core: &SharedCore, py: Python<'_>, id: LinkId) -> PyResult<i32> {
    let mut reactor = core.reactor()?;
    let facts = match reactor.detach(id) {
        Ok(fd) => {
            drop(reactor);
            core.touched(py)?;
            return Ok(fd.into_raw_fd());
        }
        Err(error) => Facts::detach_error(&error),
    };
    let facts = facts.of_link(&reactor, id).operation("detach");
    drop(reactor);
    Err(factory::error(py, facts))
}

/// Reads a socket option, of which `option` is the level and the number.
pub fn read_option<'py>(
    core: &SharedCore,
    py: Python<'py>,
    id: LinkId,
    option: (i32, i32),
    size: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let reactor = core.reactor()?;
    if reactor.raw_fd(id).is_none() {
        drop(reactor);
        return Err(factory::error(py, Facts::closed().operation("kernel_options")));
    }
    let value = reactor.read_option(id, option.0, option.1, size.min(256)).map_err(os_error)?;
    Ok(PyBytes::new(py, &value))
}

/// Sets a socket option.
pub fn write_option(core: &SharedCore, py: Python<'_>, id: LinkId, option: (i32, i32), value: &[u8]) -> PyResult<()> {
    let reactor = core.reactor()?;
    if reactor.raw_fd(id).is_none() {
        drop(reactor);
        return Err(factory::error(py, Facts::closed().operation("set_option")));
    }
    reactor.write_option(id, option.0, option.1, value).map_err(os_error)
}

/// One connected end; see the library's `Channel`.
#[pyclass(subclass, frozen, module = "jackfield._engine")]
pub struct Channel {
    core: SharedCore,
    id: LinkId,
    /// What the library opened it with.
    #[pyo3(get, name = "_setup")]
    setup: Py<PyAny>,
    /// The operation of `async for`, used again for every message.
    next: GilCell<Option<Py<Operation>>>,
    detached: std::sync::atomic::AtomicBool,
}

impl Channel {
    /// The link, and the loop that it belongs to.
    pub fn link(&self) -> (&SharedCore, LinkId) {
        (&self.core, self.id)
    }

    /// The link has another owner now.
    pub fn disown(&self) {
        self.detached.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn operation(slf: &Bound<'_, Self>, job: Job, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let owner = Some(slf.clone().into_any().unbind());
        Py::new(slf.py(), Operation::with(&this.core, Target::Link(this.id, job), timeout, owner))
    }

    /// Queues what there is room for now; the rest, and the wait for how far it comes, is the operation's.
    fn send_until(
        slf: &Bound<'_, Self>,
        messages: Vec<Py<PyBytes>>,
        acknowledged: bool,
        timeout: Option<f64>,
        name: &'static str,
    ) -> PyResult<Py<Operation>> {
        let (this, py) = (slf.get(), slf.py());
        let mut until = Until { messages, next: 0, position: None, acknowledged, name };
        if until.messages.is_empty() || !this.core.has_senders(this.id) {
            match until.queue(&this.core, py, this.id) {
                Ok(_) => {}
                Err(error) => return Py::new(py, Operation::new(&this.core, this.id, Job::Failed(Some(error)))),
            }
        }
        Channel::operation(slf, Job::Until(Box::new(until)), timeout)
    }

    fn divided(slf: &Bound<'_, Self>, framing: &str, max: usize, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let framer = Framer::parse(framing, max).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let reactor = this.core.reactor()?;
        let divided_already = reactor.config(this.id).is_some_and(|config| !config.framer.is_none());
        if divided_already || reactor.kind(this.id).is_some_and(|kind| kind.is_packet()) {
            let facts = Facts::new("not_supported")
                .text("message", "the channel has messages already; this call is for streams with framing=none")
                .of_link(&reactor, this.id);
            drop(reactor);
            return Err(factory::error(slf.py(), facts));
        }
        drop(reactor);
        Channel::operation(slf, Job::Divided(Rc::new(framer)), timeout)
    }
}

#[pymethods]
impl Channel {
    #[new]
    fn new(reactor: &endpoint::Reactor, setup: Py<PyAny>, id: u64) -> Channel {
        Channel {
            core: reactor.core().clone(),
            id: LinkId(id),
            setup,
            next: GilCell::new(None),
            detached: std::sync::atomic::AtomicBool::new(false),
        }
    }

    /// Unique for the life of the event loop.
    #[getter]
    fn id(&self) -> u64 {
        self.id.0
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[inline]
    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let mut next = this.next.borrow_mut();
        if let Some(operation) = &*next
            && raw::is_unique(operation)
            && operation.get().renew()
        {
            return Ok(operation.clone_ref(slf.py()));
        }
        let operation = Py::new(slf.py(), Operation::new(&this.core, this.id, Job::Next))?;
        *next = Some(operation.clone_ref(slf.py()));
        Ok(operation)
    }

    /// The next message. Raises EndOfStream, ChannelLost, TimedOut. A cancelled receive has taken nothing.
    #[pyo3(signature = (timeout=None))]
    fn receive(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Channel::operation(slf, Job::Receive, timeout)
    }

    /// The messages that are there, at least one and at most `max_messages`.
    #[pyo3(signature = (max_messages=None, timeout=None))]
    fn receive_many(
        slf: &Bound<'_, Self>,
        max_messages: Option<usize>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        Channel::operation(slf, Job::ReceiveMany(max_messages.unwrap_or(4096).max(1)), timeout)
    }

    /// Exactly `count` bytes of a stream without framing.
    #[pyo3(signature = (count, timeout=None))]
    fn receive_exactly(slf: &Bound<'_, Self>, count: usize, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        if count == 0 {
            return Err(PyValueError::new_err("receive_exactly takes a count of at least 1"));
        }
        Channel::divided(slf, &format!("fixed:{count}"), count, timeout)
    }

    /// The bytes before `separator`, which is taken away, of a stream without framing.
    #[pyo3(signature = (separator, timeout=None))]
    fn receive_until(slf: &Bound<'_, Self>, separator: &[u8], timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let hex: String = separator.iter().map(|byte| format!("{byte:02x}")).collect();
        let this = slf.get();
        let max = this.core.reactor()?.config(this.id).map_or(1 << 24, |config| config.framer.max_message());
        Channel::divided(slf, &format!("delimiter:0x{hex}"), max, timeout)
    }

    /// Queues a message: at once when there is room, else once there is. Cancelled while it waits for room, it has queued
    /// nothing. `until` waits for more: "sent" until this machine's kernel has taken the message, "peer_kernel" until the
    /// peer's kernel has acknowledged it; cancelled or timed out in that time, the message leaves all the same.
    #[pyo3(signature = (data, timeout=None, *, until=None))]
    fn send(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        until: Option<&str>,
    ) -> PyResult<Py<Operation>> {
        let this = slf.get();
        if until.is_some()
            && let Some(acknowledged) = until::read(&this.core, slf.py(), this.id, until, "send")?
        {
            return Channel::send_until(slf, vec![message(data)?.unbind()], acknowledged, timeout, "send");
        }
        send(&this.core, slf.py(), this.id, data, timeout, Some(slf.clone().into_any().unbind()))
    }

    /// Sends a message and receives the next one.
    #[pyo3(signature = (data, timeout=None))]
    fn request(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Channel::operation(slf, Job::Request(message(data)?.unbind()), timeout)
    }

    /// Queues several messages in order; waits while the queue is full. A cancelled call has queued a first part of them.
    /// `until` is that of `send`, for all of them.
    #[pyo3(signature = (messages, timeout=None, *, until=None))]
    fn send_many(
        slf: &Bound<'_, Self>,
        messages: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        until: Option<&str>,
    ) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let acknowledged = until::read(&this.core, slf.py(), this.id, until, "send_many")?;
        let messages = self::messages(messages)?;
        if let Some(acknowledged) = acknowledged {
            return Channel::send_until(slf, messages, acknowledged, timeout, "send_many");
        }
        Channel::operation(slf, Job::SendMany(messages, 0), timeout)
    }

    /// Queues a message, or raises QueueFull.
    fn send_nowait(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        send_nowait(&self.core, py, self.id, data, "send_nowait")
    }

    /// Ends our side once everything queued has left; receiving goes on.
    fn send_eof(&self, py: Python<'_>) -> PyResult<()> {
        let mut reactor = self.core.reactor()?;
        if reactor.kind(self.id) == Some(Kind::File) {
            let facts = Facts::new("not_supported").text("message", factory::ENDLESS).operation("send_eof");
            let facts = facts.of_link(&reactor, self.id);
            drop(reactor);
            return Err(factory::error(py, facts));
        }
        if let Err(error) = reactor.send_end(self.id) {
            let facts = Facts::send_error(&error).of_link(&reactor, self.id).operation("send_eof");
            drop(reactor);
            return Err(factory::error(py, facts));
        }
        drop(reactor);
        self.core.touched(py)
    }

    /// Waits until the kernel has taken everything queued; with `until="peer_kernel"` until the peer's kernel has
    /// acknowledged what was queued when it was called.
    #[pyo3(signature = (timeout=None, *, until=None))]
    fn flush(slf: &Bound<'_, Self>, timeout: Option<f64>, until: Option<&str>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        if let Some(acknowledged) = until::read(&this.core, slf.py(), this.id, until, "flush")? {
            return Channel::send_until(slf, Vec::new(), acknowledged, timeout, "flush");
        }
        Channel::operation(slf, Job::Flush, timeout)
    }

    /// Starts to close: what is queued is still delivered, for at most `timeout` seconds. Awaited, it waits for the end.
    #[pyo3(signature = (timeout=None))]
    fn close(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let mut reactor = this.core.reactor()?;
        let deadline = reactor.clock().after(timeout);
        reactor.close(this.id, deadline);
        drop(reactor);
        this.core.touched(slf.py())?;
        Channel::operation(slf, Job::Closed(deadline), None)
    }

    /// Closes at once: what is queued is dropped, a stream's peer sees a reset.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.core.reactor()?.abort(self.id);
        self.core.touched(py)
    }

    /// Whether it was closed from this side.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.core.reactor()?.is_closing(self.id))
    }

    /// The descriptor. Raises ChannelClosed.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let fd = self.core.reactor()?.raw_fd(self.id);
        fd.ok_or_else(|| factory::error(py, Facts::closed().operation("fileno")))
    }

    /// Takes the descriptor out of the channel, which is closed then; the connection goes on with its new owner.
    fn detach(&self, py: Python<'_>) -> PyResult<i32> {
        detach(&self.core, py, self.id)
    }

    /// Queues a message with descriptors, which are copied when this is called.
    #[pyo3(signature = (data, fds, timeout=None))]
    fn _send_fds(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        fds: Vec<i32>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        let (this, py) = (slf.get(), slf.py());
        let what = beside::departing(&this.core, py, this.id, message(data)?, &fds)?;
        beside::send(&this.core, py, this.id, what, timeout, slf.clone().into_any().unbind())
    }

    /// The next message as `(data, fds, whether some were lost)`.
    #[pyo3(signature = (max_fds, timeout=None))]
    fn _receive_fds(slf: &Bound<'_, Self>, max_fds: usize, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Channel::operation(slf, Job::ReceiveFds(max_fds), timeout)
    }

    /// Queues a byte of urgent data.
    #[pyo3(signature = (byte, timeout=None))]
    fn _send_urgent(slf: &Bound<'_, Self>, byte: u8, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let owner = slf.clone().into_any().unbind();
        beside::send(&this.core, slf.py(), this.id, Departing::Urgent(byte), timeout, owner)
    }

    /// The next byte of urgent data.
    #[pyo3(signature = (timeout=None))]
    fn _receive_urgent(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Channel::operation(slf, Job::ReceiveUrgent, timeout)
    }

    /// What the kernel knows of a TCP connection, by name.
    fn _tcp_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let info = self.core.reactor()?.tcp_info(self.id);
        let info = info.ok_or_else(|| factory::error(py, Facts::closed().operation("tcp_info")))?;
        tcp_info::fields(py, &info)
    }

    /// One of the socket's options as bytes (getsockopt(2)). Raises OSError, ChannelClosed.
    #[pyo3(signature = (level, number, size, /))]
    fn _read_option<'py>(
        &self,
        py: Python<'py>,
        level: i32,
        number: i32,
        size: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        read_option(&self.core, py, self.id, (level, number), size)
    }

    /// Sets one of the socket's options (setsockopt(2)). Raises OSError, ChannelClosed.
    #[pyo3(signature = (level, number, value, /))]
    fn _write_option(&self, py: Python<'_>, level: i32, number: i32, value: &[u8]) -> PyResult<()> {
        write_option(&self.core, py, self.id, (level, number), value)
    }

    /// `(protocol, local, peer, credentials, statistics, fault)`, or None once closed.
    fn _facts<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let reactor = self.core.reactor()?;
        let Some(facts) = LinkFacts::of(&reactor, self.id) else { return Ok(None) };
        drop(reactor);
        let local = factory::address(py, facts.protocol, &facts.local)?;
        let peer = factory::address(py, facts.protocol, &facts.peer)?;
        let credentials = facts.credentials.map(|who| (who.pid, who.uid, who.gid));
        (facts.protocol, local, peer, credentials, facts.statistics(py)?).into_pyobject(py).map(Some)
    }

    /// What there is to know when nothing moves; None once closed.
    fn _pulse<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        pulse::pulse(&self.core, py, self.id)
    }

    /// Whether nothing waits to be sent.
    fn _is_flushed(&self) -> PyResult<bool> {
        Ok(self.core.reactor()?.queued_of(self.id).1 == 0)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if self.detached.load(std::sync::atomic::Ordering::Relaxed) {
            return;
        }
        if self.core.orphan(self.id) {
            warn_unclosed(c"an open jackfield channel was dropped: close it, or use `async with`");
        }
    }
}

/// ResourceWarning, from a place that cannot raise: what is being raised while the object goes is raised on.
pub fn warn_unclosed(message: &std::ffi::CStr) {
    Python::attach(|py| {
        let raised = PyErr::take(py);
        let category = py.get_type::<PyResourceWarning>();
        let _ = PyErr::warn(py, &category, message, 1).map_err(|error| error.write_unraisable(py, None));
        if let Some(raised) = raised {
            raised.restore(py);
        }
    });
}
