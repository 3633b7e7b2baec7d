//! What every class over a link does alike: sending, options, detaching, the facts that the library dresses up.

use crate::core::{Core, SharedCore, os_error};
use crate::factory::{self, Facts};
use crate::operation::{self, Job, Operation, Target};
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::sys::socket::Credentials;
use jackfield_engine::{Counters, LinkId, Reactor, WhenFull};
use pyo3::IntoPyObjectExt;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyResourceWarning, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use std::os::fd::IntoRawFd;

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
