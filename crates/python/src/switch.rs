//! The switch of a group: frames to native clients, routes between them, fans, held sessions; see the library's `Switch`.

use crate::core::SharedCore;
use crate::factory::{self, Facts};
use crate::group::Group;
use crate::member::{Member, member_id};
use jackfield_engine::LinkId;
use jackfield_engine::native::frame::Kind;
use jackfield_engine::native::{FanOptions, Recognition, SwitchError, Whom};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A member is a native client: its messages are whole frames from now on.
#[pyclass(frozen, module = "jackfield")]
pub struct Recognised {
    /// Who.
    #[pyo3(get)]
    member: Py<Member>,
}

#[pymethods]
impl Recognised {
    #[classattr]
    fn __match_args__() -> (&'static str,) {
        ("member",)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Recognised({})", self.member.bind(py).repr()?))
    }
}

/// A fan left a member out from a sequence on.
#[pyclass(frozen, module = "jackfield")]
pub struct FellBehind {
    /// Who.
    #[pyo3(get)]
    member: Py<Member>,
    /// The fan's stream.
    #[pyo3(get)]
    stream: u32,
    /// Of the first message that it misses.
    #[pyo3(get)]
    sequence: u64,
}

#[pymethods]
impl FellBehind {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("member", "stream", "sequence")
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("FellBehind({}, {}, {})", self.member.bind(py).repr()?, self.stream, self.sequence))
    }
}

pub fn recognised(py: Python<'_>, core: &SharedCore, id: LinkId) -> PyResult<Py<PyAny>> {
    let member = Py::new(py, Member::new(core, id))?;
    Ok(Py::new(py, Recognised { member })?.into_any())
}

pub fn fell_behind(
    py: Python<'_>,
    core: &SharedCore,
    id: LinkId,
    (stream, sequence): (u32, u64),
) -> PyResult<Py<PyAny>> {
    let member = Py::new(py, Member::new(core, id))?;
    Ok(Py::new(py, FellBehind { member, stream, sequence })?.into_any())
}

/// Reads `off`, `auto` or `only`.
pub fn recognition(text: &str) -> PyResult<Recognition> {
    match text {
        "off" => Ok(Recognition::Off),
        "auto" => Ok(Recognition::Auto),
        "only" => Ok(Recognition::Only),
        _ => Err(PyValueError::new_err(format!("native= is off, auto or only, not {text:?}"))),
    }
}

fn whom(whom: &Bound<'_, PyAny>) -> PyResult<Whom> {
    match whom.cast::<Session>() {
        Ok(session) => Ok(Whom::Session(session.get().handle)),
        Err(_) => Ok(Whom::Member(member_id(whom)?)),
    }
}

fn refused(py: Python<'_>, core: &SharedCore, whom: Option<Whom>, error: SwitchError) -> PyErr {
    match (error, whom) {
        (SwitchError::Refused(why), _) => PyValueError::new_err(why),
        (SwitchError::Violation(violation), _) => factory::error(py, Facts::violation(violation)),
        (SwitchError::NotNative, _) => PyValueError::new_err("the member is not a native client"),
        (SwitchError::Gone, Some(Whom::Session(_))) => {
            factory::error(py, Facts::closed().text("message", "the session was resumed or dropped already"))
        }
        (SwitchError::Gone, _) => factory::error(py, Facts::closed()),
        (SwitchError::Full, whom) => {
            let Ok(reactor) = core.reactor() else { return factory::error(py, Facts::new("queue_full")) };
            let facts = match whom {
                Some(Whom::Member(id)) => {
                    let limit = reactor.config(id).map_or(0, |config| config.high_water);
                    let waiting = reactor.queued_of(id).0;
                    Facts::new("queue_full").limit(limit).size(waiting).operation("send").of_link(&reactor, id)
                }
                _ => Facts::new("queue_full"),
            };
            drop(reactor);
            factory::error(py, facts)
        }
    }
}

/// See the library's `Switch`.
#[pyclass(subclass, frozen, module = "jackfield._engine")]
pub struct Switch {
    core: SharedCore,
    group: usize,
}

impl Switch {
    fn done<R>(&self, py: Python<'_>, whom: Option<Whom>, result: Result<R, SwitchError>) -> PyResult<R> {
        self.core.touched(py)?;
        result.map_err(|error| refused(py, &self.core, whom, error))
    }
}

#[pymethods]
impl Switch {
    #[new]
    fn new(group: &Group) -> Switch {
        let (core, group) = group.place();
        Switch { core: core.clone(), group }
    }

    /// Queues one frame for a native member, or for a held session. False: its stream has ended.
    #[pyo3(signature = (member, stream, kind, payload=None, *, flags=0))]
    fn send(
        &self,
        py: Python<'_>,
        member: &Bound<'_, PyAny>,
        stream: u32,
        kind: u8,
        payload: Option<&Bound<'_, PyBytes>>,
        flags: u8,
    ) -> PyResult<bool> {
        let to = whom(member)?;
        let Some(kind) = Kind::from_number(kind) else {
            return Err(PyValueError::new_err("there is no such kind of frame"));
        };
        let payload = payload.map_or(&[][..], |payload| payload.as_bytes());
        let sent = self.core.reactor()?.switch_send(to, stream, kind, flags, payload);
        self.done(py, Some(to), sent)
    }

    /// Makes one route of two streams.
    #[pyo3(signature = (a, a_stream, b, b_stream, *, credit=0))]
    fn link(
        &self,
        py: Python<'_>,
        a: &Bound<'_, PyAny>,
        a_stream: u32,
        b: &Bound<'_, PyAny>,
        b_stream: u32,
        credit: u32,
    ) -> PyResult<()> {
        let (one, other) = (whom(a)?, whom(b)?);
        let linked = self.core.reactor()?.switch_link((one, a_stream), (other, b_stream), credit);
        self.done(py, None, linked)
    }

    /// Ends a route; with a code both ends are reset. False: there is none.
    #[pyo3(signature = (a, a_stream, *, code=None, reason=""))]
    fn unlink(
        &self,
        py: Python<'_>,
        a: &Bound<'_, PyAny>,
        a_stream: u32,
        code: Option<u32>,
        reason: &str,
    ) -> PyResult<bool> {
        let end = whom(a)?;
        let unlinked = self.core.reactor()?.switch_unlink(end, a_stream, code.map(|code| (code, reason)));
        self.done(py, Some(end), unlinked)
    }

    /// A stream is for the hub itself.
    fn own(&self, py: Python<'_>, member: &Bound<'_, PyAny>, stream: u32) -> PyResult<()> {
        let of = whom(member)?;
        let owned = self.core.reactor()?.switch_own(of, stream);
        self.done(py, Some(of), owned)
    }

    /// Whether a member is native; None while that is not known.
    fn is_native(&self, member: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
        Ok(self.core.reactor()?.is_native(member_id(member)?))
    }

    /// A number for a new stream to a member, or for a new fan.
    #[pyo3(signature = (member=None))]
    fn next_stream(&self, py: Python<'_>, member: Option<&Bound<'_, PyAny>>) -> PyResult<u32> {
        let Some(member) = member else { return Ok(self.core.reactor()?.next_fan_stream(self.group)) };
        let of = whom(member)?;
        let number = self.core.reactor()?.next_stream(of);
        self.done(py, Some(of), number)
    }

    /// Keeps the routes and the unacknowledged frames of a member that has left, or is taken for gone.
    fn hold(&self, py: Python<'_>, member: &Bound<'_, PyAny>) -> PyResult<Option<Session>> {
        let held = self.core.reactor()?.hold(member_id(member)?);
        self.core.touched(py)?;
        Ok(held.map(|handle| Session { core: self.core.clone(), handle }))
    }

    /// Goes on with a session over the connection of `member`; gives how many of its frames were received.
    fn resume(&self, py: Python<'_>, member: &Bound<'_, PyAny>, session: &Session, received: u64) -> PyResult<u64> {
        let id = member_id(member)?;
        let resumed = self.core.reactor()?.resume(id, session.handle, received);
        self.done(py, Some(Whom::Session(session.handle)), resumed)
    }

    /// Counted frames received and sent, and bytes kept.
    fn _counts(&self, py: Python<'_>, member: &Bound<'_, PyAny>) -> PyResult<(u64, u64, usize)> {
        let of = whom(member)?;
        let facts = self.core.reactor()?.session_facts(of);
        self.done(py, Some(of), facts)
    }
}

/// A session without a connection. Dropped with its object, if not before.
#[pyclass(frozen, module = "jackfield")]
pub struct Session {
    core: SharedCore,
    handle: u64,
}

#[pymethods]
impl Session {
    /// Ends it: the other ends of its routes are reset, by default with the code 5 (peer gone). False: it is over.
    #[pyo3(signature = (code=None, *, reason=""))]
    fn drop(&self, py: Python<'_>, code: Option<u32>, reason: &str) -> PyResult<bool> {
        let dropped = self.core.reactor()?.drop_session(self.handle, code.map(|code| (code, reason)));
        self.core.touched(py)?;
        Ok(dropped)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.core.orphan_sessions.borrow_mut().push(self.handle);
    }
}

/// A message of a fan: source, sequence, time, payload.
type Recent<'py> = (u32, u64, f64, Bound<'py, PyBytes>);

/// See the library's `Fan`.
#[pyclass(subclass, frozen, module = "jackfield._engine")]
pub struct Fan {
    core: SharedCore,
    fan: u32,
    /// Its number at each member.
    #[pyo3(get)]
    stream: u32,
}

impl Fan {
    fn done<R>(&self, py: Python<'_>, whom: Option<Whom>, result: Result<R, SwitchError>) -> PyResult<R> {
        self.core.touched(py)?;
        result.map_err(|error| refused(py, &self.core, whom, error))
    }
}

#[pymethods]
impl Fan {
    #[new]
    fn new(
        py: Python<'_>,
        switch: &Switch,
        stream: u32,
        publish: bool,
        disconnect: bool,
        recent: (usize, usize, u64),
    ) -> PyResult<Fan> {
        let (recent, longest, sequence) = recent;
        let options = FanOptions { stream, publish, disconnect, recent, longest, sequence };
        let opened = switch.core.reactor()?.fan_open(switch.group, options);
        let fan = opened.map_err(|error| refused(py, &switch.core, None, error))?;
        Ok(Fan { core: switch.core.clone(), fan, stream })
    }

    /// Takes a member in, or one that fell behind again.
    #[pyo3(signature = (member, source=0))]
    fn add(&self, py: Python<'_>, member: &Bound<'_, PyAny>, source: u32) -> PyResult<()> {
        let to = whom(member)?;
        let added = self.core.reactor()?.fan_add(self.fan, to, source);
        self.done(py, Some(to), added)
    }

    /// Takes a member out. False: it was none.
    fn remove(&self, py: Python<'_>, member: &Bound<'_, PyAny>) -> PyResult<bool> {
        let to = whom(member)?;
        let removed = self.core.reactor()?.fan_remove(self.fan, to);
        self.done(py, Some(to), removed)
    }

    /// Sends to all members at the end of the turn; gives the sequence.
    #[pyo3(signature = (payload, *, source=0, sequence=None))]
    fn send(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>, source: u32, sequence: Option<u64>) -> PyResult<u64> {
        let sent = self.core.reactor()?.fan_send(self.fan, payload.as_bytes(), source, sequence);
        self.done(py, None, sent)
    }

    /// The same for many: their sequences follow each other. Gives the last one.
    #[pyo3(signature = (payloads, *, source=0, sequence=None))]
    fn send_many(
        &self,
        py: Python<'_>,
        payloads: Vec<Bound<'_, PyBytes>>,
        source: u32,
        sequence: Option<u64>,
    ) -> PyResult<u64> {
        let bytes: Vec<&[u8]> = payloads.iter().map(|payload| payload.as_bytes()).collect();
        let sent = self.core.reactor()?.fan_send_many(self.fan, &bytes, source, sequence);
        self.done(py, None, sent)
    }

    /// What members send goes to all of them, or to Python for a while.
    #[pyo3(signature = (*, on))]
    fn publish(&self, py: Python<'_>, on: bool) -> PyResult<()> {
        self.core.reactor()?.fan_publish(self.fan, on);
        self.core.touched(py)
    }

    /// The last messages behind a sequence: source, sequence, time, payload.
    fn recent<'py>(&self, py: Python<'py>, after: u64) -> PyResult<Vec<Recent<'py>>> {
        let mut reactor = self.core.reactor()?;
        let found = reactor.fan_recent(self.fan, after);
        let told = found.map(|message| {
            let at = message.at_ns as f64 / 1e9;
            (message.source, message.sequence, at, PyBytes::new(py, message.payload))
        });
        let told = told.collect();
        drop(reactor);
        self.core.touched(py)?;
        Ok(told)
    }

    /// The members, each with its source.
    fn members(&self) -> PyResult<Vec<(Member, u32)>> {
        let members = self.core.reactor()?.fan_members(self.fan);
        Ok(members.into_iter().map(|(id, source)| (Member::new(&self.core, id), source)).collect())
    }

    fn _statistics(&self) -> PyResult<(usize, usize, u64, u64, u64, u64)> {
        let facts = self.core.reactor()?.fan_facts(self.fan);
        Ok((facts.members, facts.behind, facts.sent, facts.delivered, facts.dropped, facts.sequence))
    }

    /// Ends it: its stream is over at each member, without a word on it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.core.reactor()?.fan_close(self.fan);
        self.core.touched(py)
    }
}
