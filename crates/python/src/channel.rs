//! One link as a Python object: the hot calls, and the facts that the library dresses up.

use crate::beside::{self, Departing};
use crate::core::SharedCore;
use crate::endpoint;
use crate::factory::{self, Facts};
use crate::link;
use crate::operation::{Job, Operation, Target};
use crate::pulse;
use crate::raw::{self, GilCell};
use crate::tcp_info;
use crate::until::{self, Until};
use jackfield_engine::frame::Framer;
use jackfield_engine::{Kind, LinkId};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::rc::Rc;

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
            return Channel::send_until(slf, vec![link::message(data)?.unbind()], acknowledged, timeout, "send");
        }
        link::send(&this.core, slf.py(), this.id, data, timeout, Some(slf.clone().into_any().unbind()))
    }

    /// Sends a message and receives the next one.
    #[pyo3(signature = (data, timeout=None))]
    fn request(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Channel::operation(slf, Job::Request(link::message(data)?.unbind()), timeout)
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
        let messages = link::messages(messages)?;
        if let Some(acknowledged) = acknowledged {
            return Channel::send_until(slf, messages, acknowledged, timeout, "send_many");
        }
        Channel::operation(slf, Job::SendMany(messages, 0), timeout)
    }

    /// Queues a message, or raises QueueFull.
    fn send_nowait(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        link::send_nowait(&self.core, py, self.id, data, "send_nowait")
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
        link::detach(&self.core, py, self.id)
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
        let what = beside::departing(&this.core, py, this.id, link::message(data)?, &fds)?;
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
        link::read_option(&self.core, py, self.id, (level, number), size)
    }

    /// Sets one of the socket's options (setsockopt(2)). Raises OSError, ChannelClosed.
    #[pyo3(signature = (level, number, value, /))]
    fn _write_option(&self, py: Python<'_>, level: i32, number: i32, value: &[u8]) -> PyResult<()> {
        link::write_option(&self.core, py, self.id, (level, number), value)
    }

    /// `(protocol, local, peer, credentials, statistics, fault)`, or None once closed.
    fn _facts<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let reactor = self.core.reactor()?;
        let Some(facts) = link::LinkFacts::of(&reactor, self.id) else { return Ok(None) };
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
            link::warn_unclosed(c"an open jackfield channel was dropped: close it, or use `async with`");
        }
    }
}
