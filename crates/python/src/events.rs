//! What a group tells: members that join, speak and leave.

use crate::core::SharedCore;
use crate::factory::{self, Facts};
use crate::gathering::{self, Gathering, Published};
use crate::link::LinkFacts;
use crate::member::Member;
use crate::switch;
use jackfield_engine::LinkId;
use jackfield_engine::group::GroupTake;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// A new member.
#[pyclass(frozen, module = "jackfield")]
pub struct Joined {
    /// Who.
    #[pyo3(get)]
    member: Py<Member>,
}

#[pymethods]
impl Joined {
    #[classattr]
    fn __match_args__() -> (&'static str,) {
        ("member",)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Joined({})", self.member.bind(py).repr()?))
    }
}

/// A message of a member.
#[pyclass(frozen, module = "jackfield")]
pub struct Message {
    /// Who.
    #[pyo3(get)]
    member: Py<Member>,
    /// What it sent.
    #[pyo3(get)]
    data: Py<PyAny>,
}

#[pymethods]
impl Message {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("member", "data")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Message({}, {})", self.member.bind(py).repr()?, self.data.bind(py).repr()?))
    }
}

/// A member's end. Its facts can still be read; what was queued for it is still delivered.
#[pyclass(frozen, module = "jackfield")]
pub struct Left {
    /// Who.
    #[pyo3(get)]
    member: Py<Member>,
    /// One sentence.
    #[pyo3(get)]
    reason: String,
    /// What went wrong; None after an orderly end.
    #[pyo3(get)]
    error: Option<Py<PyAny>>,
}

#[pymethods]
impl Left {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("member", "reason", "error")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Left({}, {:?})", self.member.bind(py).repr()?, self.reason))
    }
}

/// A listener of the group could not accept; it tries again by itself.
#[pyclass(frozen, module = "jackfield")]
pub struct AcceptFailed {
    /// The listener's id.
    #[pyo3(get)]
    listener_id: u64,
    /// Why.
    #[pyo3(get)]
    error: Py<PyAny>,
}

#[pymethods]
impl AcceptFailed {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("listener_id", "error")
    }
}

/// The group's next event, if one is there.
pub fn next(py: Python<'_>, core: &SharedCore, group: usize) -> PyResult<Option<Py<PyAny>>> {
    core.reactor()?.settle_departed(group);
    match take(py, core, group, None)? {
        Taken::Event(event) => Ok(Some(event)),
        Taken::Nothing | Taken::Added => Ok(None),
    }
}

/// What `take` found.
enum Taken {
    Nothing,
    /// It belongs to the event before it.
    Added,
    Event(Py<PyAny>),
}

fn take(py: Python<'_>, core: &SharedCore, group: usize, gathering: Option<&mut Gathering>) -> PyResult<Taken> {
    let mut reactor = core.reactor()?;
    let (id, data) = match reactor.group_take(group) {
        GroupTake::Nothing => return Ok(Taken::Nothing),
        GroupTake::Message(id, bytes) => {
            let Some(gathering) = gathering else {
                let data = PyBytes::new(py, bytes).into_any().unbind();
                drop(reactor);
                return message(py, core, id, data);
            };
            if gathering.add(py, id, bytes)? {
                return Ok(Taken::Added);
            }
            let data = PyBytes::new(py, bytes);
            drop(reactor);
            return match gathering.begin(py, core, id, data.as_bytes())? {
                Some(event) => Ok(Taken::Event(event)),
                None => message(py, core, id, data.into_any().unbind()),
            };
        }
        GroupTake::Body(id, body) => (id, body.finish(py)?),
        GroupTake::Joined(id) => {
            drop(reactor);
            let member = Py::new(py, Member::new(core, id))?;
            return Ok(Taken::Event(Py::new(py, Joined { member })?.into_any()));
        }
        GroupTake::Recognised(id) => {
            drop(reactor);
            return switch::recognised(py, core, id).map(Taken::Event);
        }
        GroupTake::FellBehind(id, stream, sequence) => {
            drop(reactor);
            return switch::fell_behind(py, core, id, (stream, sequence)).map(Taken::Event);
        }
        GroupTake::AcceptFailed(id, error) => {
            drop(reactor);
            let facts = Facts::new("accept_failed").errno(error.0).of_link(&*core.reactor()?, id);
            let error = factory::error(py, facts).into_value(py).into_any();
            return Ok(Taken::Event(Py::new(py, AcceptFailed { listener_id: id.0, error })?.into_any()));
        }
        GroupTake::Left(id, fault) => {
            let last = LinkFacts::of(&reactor, id);
            let idle = reactor.is_idle(id);
            let facts = fault.map(|fault| Facts::fault(&fault).of_link(&reactor, id));
            let deadline = reactor.clock().after(Some(LEAVE_SECONDS));
            reactor.close(id, deadline);
            drop(reactor);
            let error = facts.map(|facts| factory::error(py, facts));
            let reason = match &error {
                Some(error) => error.value(py).str()?.to_string(),
                None if idle => "it was silent for longer than the idle time".to_owned(),
                None => "the peer closed the connection".to_owned(),
            };
            let member = Member::of_one_gone(core, id, last);
            let error = error.map(|error| error.into_value(py).into_any());
            let left = Left { member: Py::new(py, member)?, reason, error };
            core.touched(py)?;
            return Ok(Taken::Event(Py::new(py, left)?.into_any()));
        }
    };
    drop(reactor);
    message(py, core, id, data)
}

fn message(py: Python<'_>, core: &SharedCore, id: LinkId, data: Py<PyAny>) -> PyResult<Taken> {
    let member = Py::new(py, Member::new(core, id))?;
    Ok(Taken::Event(Py::new(py, Message { member, data })?.into_any()))
}

/// How long what is queued for a member that left may still be delivered.
const LEAVE_SECONDS: f64 = 5.0;

/// Bytes of messages after which what is taken at once is enough: beyond that others wait longer than it saves.
const MOST_BYTES: usize = 512 * 1024;

/// Up to `max` events that are there; `None` for none. With `gather` DATA frames may share one.
pub fn take_many(
    py: Python<'_>,
    core: &SharedCore,
    group: usize,
    max: usize,
    gather: bool,
) -> PyResult<Option<Py<PyAny>>> {
    let list = PyList::empty(py);
    let mut gathering = Gathering::default();
    let (mut added, mut size) = (0, 0);
    core.reactor()?.settle_departed(group);
    while list.len() < max && added < gathering::MOST && size < MOST_BYTES {
        match take(py, core, group, gather.then_some(&mut gathering))? {
            Taken::Nothing => break,
            Taken::Added => added += 1,
            Taken::Event(event) => {
                if !event.bind(py).is_instance_of::<Published>() {
                    gathering.end();
                }
                if let Ok(message) = event.bind(py).cast::<Message>() {
                    size += message.get().data.bind(py).len()?;
                }
                list.append(event)?;
            }
        }
    }
    core.spend_many((list.len() + added) / 4);
    Ok((!list.is_empty()).then(|| list.into_any().unbind()))
}
