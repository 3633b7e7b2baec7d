//! One member of a group as a Python object.

use crate::core::SharedCore;
use crate::factory::{self, Facts};
use crate::link::{self, LinkFacts};
use crate::operation::Operation;
use crate::pulse;
use crate::raw::GilCell;
use crate::tls;
use jackfield_engine::LinkId;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A handle on one member of a group: made anew for each event, equal by `id`.
#[pyclass(frozen, module = "jackfield")]
pub struct Member {
    core: SharedCore,
    id: LinkId,
    /// Kept here, since it is gone from the engine as soon as the member has left.
    number: u64,
    /// What was known when it left.
    last: GilCell<Option<LinkFacts>>,
}

impl Member {
    pub fn new(core: &SharedCore, id: LinkId) -> Member {
        let number = core.reactor().map_or(0, |reactor| reactor.number(id));
        Member { core: core.clone(), id, number, last: GilCell::new(None) }
    }

    /// One that has left, with what was known of it then.
    pub fn of_one_gone(core: &SharedCore, id: LinkId, last: Option<LinkFacts>) -> Member {
        let number = last.as_ref().map_or(0, |facts| facts.number);
        Member { number, last: GilCell::new(last), ..Member::new(core, id) }
    }

    fn with_facts<R>(&self, py: Python<'_>, read: impl FnOnce(&LinkFacts) -> R) -> PyResult<R> {
        if let Some(facts) = &*self.last.borrow() {
            return Ok(read(facts));
        }
        match LinkFacts::of(&*self.core.reactor()?, self.id) {
            Some(facts) => Ok(read(&facts)),
            None => Err(factory::error(py, Facts::closed())),
        }
    }
}

#[pymethods]
impl Member {
    /// Unique for the life of the event loop.
    #[getter]
    fn id(&self) -> u64 {
        self.id.0
    }

    /// 1 for the group's first member, 2 for the next, and so on; never used again.
    #[getter]
    fn number(&self) -> u64 {
        self.number
    }

    /// `tcp`, `udp`, `unix` ...
    #[getter]
    fn protocol(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.with_facts(py, |facts| facts.protocol)
    }

    /// The member's own address.
    #[getter]
    fn peer(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (protocol, address) = self.with_facts(py, |facts| (facts.protocol, facts.peer.clone()))?;
        factory::address(py, protocol, &address)
    }

    /// Our address, which the member speaks to.
    #[getter]
    fn local(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (protocol, address) = self.with_facts(py, |facts| (facts.protocol, facts.local.clone()))?;
        factory::address(py, protocol, &address)
    }

    /// Process, user and group ids of a Unix peer, else None.
    #[getter]
    fn credentials(&self, py: Python<'_>) -> PyResult<Option<(i32, u32, u32)>> {
        self.with_facts(py, |facts| facts.credentials.map(|who| (who.pid, who.uid, who.gid)))
    }

    /// What the two ends agreed on, and the member's certificate; None without TLS, and once it has left.
    #[getter]
    fn tls(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.last.borrow().is_some() {
            return Ok(None);
        }
        let facts = tls::session_facts(py, self.core.reactor()?.tls(self.id))?;
        factory::tls(py, facts)
    }

    /// Names the listener that accepted it; 0 if none did.
    #[getter]
    fn listener_id(&self, py: Python<'_>) -> PyResult<u64> {
        self.with_facts(py, |facts| facts.parent.0)
    }

    /// False once it has left.
    #[getter]
    fn is_connected(&self) -> PyResult<bool> {
        Ok(self.last.borrow().is_none() && !self.core.reactor()?.is_closing(self.id))
    }

    /// What there is to know when nothing moves; None once it is gone.
    fn _pulse<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        pulse::pulse(&self.core, py, self.id)
    }

    fn _statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.with_facts(py, |facts| facts.statistics(py))?
    }

    /// Queues a message for this member alone. Raises QueueFull, ChannelClosed.
    fn send_nowait(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        link::send_nowait(&self.core, py, self.id, data, "send_nowait")
    }

    /// Queues a message for this member alone; waits while its queue is full. A cancelled send has queued nothing.
    #[pyo3(signature = (data, timeout=None))]
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        link::send(&self.core, py, self.id, data, timeout, None)
    }

    /// Ends it: what is queued for it is still delivered, for at most `timeout` seconds. No `Left` follows: it has left
    /// the group as soon as this returns.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let mut reactor = self.core.reactor()?;
        let deadline = reactor.clock().after(timeout);
        reactor.close(self.id, deadline);
        drop(reactor);
        self.core.touched(py)
    }

    /// Ends it at once: what is queued is dropped, a stream's peer sees a reset. No `Left` follows.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.core.reactor()?.abort(self.id);
        self.core.touched(py)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Member>().is_ok_and(|other| other.get().id == self.id)
    }

    fn __hash__(&self) -> u64 {
        self.id.0
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let peer = self.peer(py).map(|peer| peer.to_string()).unwrap_or_else(|_| "gone".to_owned());
        Ok(format!("<Member {} {peer}>", self.id.0))
    }
}

/// A member or its id.
pub fn member_id(member: &Bound<'_, PyAny>) -> PyResult<LinkId> {
    match member.cast::<Member>() {
        Ok(member) => Ok(member.get().id),
        Err(_) => Ok(LinkId(member.extract()?)),
    }
}
