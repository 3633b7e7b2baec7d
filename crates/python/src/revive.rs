//! Channels that outlive their connections; for the library's `_reconnect`, which makes the new ones.

use crate::channel::Channel;
use crate::core::os_error;
use crate::factory::{self, Facts};
use jackfield_engine::sys::Errno;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// From now on the channel waits for another connection when it loses its own, and `on_down` is called soon after. False
/// if it cannot: it is closed, or no stream.
#[pyfunction]
pub fn make_lasting(channel: &Bound<'_, Channel>, on_down: Py<PyAny>) -> PyResult<bool> {
    let py = channel.py();
    let (core, id) = channel.get().link();
    if !core.reactor()?.make_lasting(id) {
        return Ok(false);
    }
    core.lasting.borrow_mut().insert(id.0, on_down);
    core.touched(py)?;
    Ok(true)
}

/// Whether the channel waits for another connection.
#[pyfunction]
pub fn is_down(channel: &Bound<'_, Channel>) -> PyResult<bool> {
    let (core, id) = channel.get().link();
    Ok(core.reactor()?.is_down(id))
}

/// How the channel's last connection was lost: the error with what became of the messages.
#[pyfunction]
pub fn outage<'py>(channel: &Bound<'py, Channel>, operation: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = channel.py();
    let (core, id) = channel.get().link();
    let reactor = core.reactor()?;
    let outage = reactor.outage(id).cloned().unwrap_or_default();
    let facts = match &outage.fault {
        Some(fault) => Facts::fault(fault),
        None => Facts::new("lost").text("message", "the peer has ended its side"),
    };
    let facts = facts.of_link(&reactor, id).with_loss(&outage.loss).text("operation", operation);
    drop(reactor);
    Ok(factory::error(py, facts).into_value(py).into_bound(py).into_any())
}

/// Moves the connection of `fresh`, which nobody has used yet and which is spent then, into the channel.
#[pyfunction]
pub fn graft(channel: &Bound<'_, Channel>, fresh: &Bound<'_, Channel>) -> PyResult<()> {
    let py = channel.py();
    let (core, id) = channel.get().link();
    let (_, from) = fresh.get().link();
    core.reactor()?.graft(id, from).map_err(os_error)?;
    fresh.get().disown();
    core.touched(py)
}

/// The link has another owner from now on.
#[pyfunction]
pub fn disown(channel: &Bound<'_, Channel>) {
    channel.get().disown();
}

/// No other connection will come: who waits on the channel gets `ChannelLost` with this error number.
#[pyfunction]
pub fn give_up(channel: &Bound<'_, Channel>, number: i32) -> PyResult<()> {
    let (core, id) = channel.get().link();
    core.reactor()?.give_up(id, Errno(number));
    core.touched(channel.py())
}

/// Bytes and messages that wait to be sent.
#[pyfunction]
pub fn queued<'py>(channel: &Bound<'py, Channel>) -> PyResult<Bound<'py, PyTuple>> {
    let (core, id) = channel.get().link();
    let queued = core.reactor()?.queued_of(id);
    queued.into_pyobject(channel.py())
}
