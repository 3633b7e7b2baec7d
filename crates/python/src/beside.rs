//! What goes with messages beside their bytes, as Python calls it: descriptors and urgent data.

use crate::core::{Core, SharedCore};
use crate::factory::{self, Facts};
use crate::operation::{Job, Operation, Target};
use crate::raw;
use jackfield_engine::sys::ancillary::MAX_DESCRIPTORS;
use jackfield_engine::{LinkId, Payload, Queued, Take, Urgent};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{IntoRawFd, OwnedFd};

/// What is to be sent.
pub enum Departing {
    /// A message and descriptors, which are copies of the caller's.
    Descriptors(Py<PyBytes>, Vec<OwnedFd>),
    /// A byte of urgent data.
    Urgent(u8),
}

impl Departing {
    /// Closes what was not sent.
    pub fn close(&mut self) {
        if let Departing::Descriptors(_, fds) = self {
            fds.clear();
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Departing::Descriptors(..) => "send_fds",
            Departing::Urgent(_) => "send_urgent",
        }
    }
}

/// A message with copies of `fds`; an error if the link or the kernel cannot carry them.
pub fn departing(
    core: &SharedCore,
    py: Python<'_>,
    id: LinkId,
    data: Bound<'_, PyBytes>,
    fds: &[i32],
) -> PyResult<Departing> {
    let reactor = core.reactor()?;
    if !reactor.is_closing(id) && !reactor.carries_descriptors(id) {
        let message = "descriptors travel over unix, unix+dgram (connected), unix+seqpacket and pair alone";
        let facts = Facts::new("not_supported").text("message", message).operation("send_fds").of_link(&reactor, id);
        drop(reactor);
        return Err(factory::error(py, facts));
    }
    let stream = reactor.kind(id).is_some_and(|kind| !kind.is_packet());
    let bare = reactor.config(id).is_some_and(|config| config.framer.is_none());
    drop(reactor);
    if data.as_bytes().is_empty() && stream && bare {
        return Err(PyValueError::new_err("on a stream without framing descriptors need a byte to travel with"));
    }
    if fds.len() > MAX_DESCRIPTORS {
        let text = format!("{} descriptors are too many for one message: {MAX_DESCRIPTORS} at most", fds.len());
        return Err(PyValueError::new_err(text));
    }
    let copies: Result<Vec<_>, _> = fds.iter().map(|fd| raw::duplicate(*fd)).collect();
    Ok(Departing::Descriptors(data.unbind(), copies.map_err(crate::core::os_error)?))
}

/// Queues it now if there is room; else gives an operation that waits for it.
pub fn send(
    core: &SharedCore,
    py: Python<'_>,
    id: LinkId,
    mut what: Departing,
    timeout: Option<f64>,
    owner: Py<PyAny>,
) -> PyResult<Py<Operation>> {
    if !core.has_senders(id) {
        match attempt(core, py, id, &mut what) {
            Ok(true) => return Core::resolved(core, py),
            Ok(false) => {}
            Err(error) => return Py::new(py, Operation::new(core, id, Job::Failed(Some(error)))),
        }
    }
    Py::new(py, Operation::with(core, Target::Link(id, Job::SendBeside(Box::new(what))), timeout, Some(owner)))
}

/// Queues it; false when it must wait.
pub fn attempt(core: &SharedCore, py: Python<'_>, id: LinkId, what: &mut Departing) -> PyResult<bool> {
    let mut reactor = core.reactor()?;
    let outcome = match what {
        Departing::Urgent(byte) => reactor.send_urgent(id, *byte),
        Departing::Descriptors(data, fds) => {
            reactor.send_descriptors(id, Payload::Bytes(data.bind(py).as_bytes()), fds)
        }
    };
    let facts = match outcome {
        Ok(Queued::Yes | Queued::Dropped) => {
            drop(reactor);
            core.touched(py)?;
            return Ok(true);
        }
        Ok(Queued::Full) => return Ok(false),
        Ok(Queued::Rejected) => {
            let limit = reactor.config(id).map_or(0, |config| config.high_water);
            Facts::new("queue_full").limit(limit).size(reactor.queued_of(id).0)
        }
        Ok(Queued::Disconnected) => Facts::fault(&jackfield_engine::Fault::TooSlow),
        Err(error) => Facts::send_error(&error),
    };
    let facts = facts.of_link(&reactor, id).operation(what.name());
    drop(reactor);
    Err(factory::error(py, facts))
}

/// The next message with its descriptors, as `(data, fds, whether some were lost)`; `None` when it must wait.
pub fn receive(core: &SharedCore, py: Python<'_>, id: LinkId, most: usize) -> PyResult<Option<Py<PyAny>>> {
    let mut reactor = core.reactor()?;
    let found = match reactor.take_with_descriptors(id) {
        Take::Bytes(bytes) => Ok(PyBytes::new(py, bytes).into_any().unbind()),
        Take::Body(body) => Ok(body.finish(py)?),
        Take::Nothing => return Ok(None),
        Take::End => Err(Facts::ended(reactor.is_idle(id))),
        Take::Fault(fault) => Err(Facts::fault(&fault)),
        Take::Closed => Err(Facts::closed()),
    };
    let data = match found {
        Ok(data) => data,
        Err(facts) => {
            let facts = facts.of_link(&reactor, id).operation("receive_fds");
            drop(reactor);
            return Err(factory::error(py, facts));
        }
    };
    let (mut fds, mut lost) = reactor.take_descriptors(id);
    drop(reactor);
    if fds.len() > most {
        fds.truncate(most);
        lost = true;
    }
    let fds: Vec<i32> = fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
    Ok(Some((data, fds, lost).into_pyobject(py)?.into_any().unbind()))
}

/// The byte of urgent data that waits; `None` when it must wait.
pub fn receive_urgent(core: &SharedCore, py: Python<'_>, id: LinkId) -> PyResult<Option<Py<PyAny>>> {
    let mut reactor = core.reactor()?;
    let facts = match reactor.take_urgent(id) {
        Urgent::Byte(byte) => return Ok(Some(PyBytes::new(py, &[byte]).into_any().unbind())),
        Urgent::Nothing => return Ok(None),
        Urgent::End => Facts::ended(false),
        Urgent::Fault(fault) => Facts::fault(&fault),
        Urgent::Closed => Facts::closed(),
    };
    let facts = facts.of_link(&reactor, id).operation("receive_urgent");
    drop(reactor);
    Err(factory::error(py, facts))
}
