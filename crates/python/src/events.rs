//! What a group tells: members that join, speak and leave.

use crate::carry;
use crate::channel::{self, LinkFacts};
use crate::core::{PyHost, SharedCore};
use crate::factory::{self, Facts};
use crate::gathering::{self, Gathering, Published};
use crate::operation::{Broadcast, GroupJob, Job, Operation, Target};
use crate::pulse;
use crate::raw::GilCell;
use crate::switch;
use crate::tls;
use jackfield_engine::group::GroupTake;
use jackfield_engine::{LinkId, Reactor, Relayed};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use std::rc::Rc;

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
        channel::send_nowait(&self.core, py, self.id, data, "send_nowait")
    }

    /// Queues a message for this member alone; waits while its queue is full. A cancelled send has queued nothing.
    #[pyo3(signature = (data, timeout=None))]
    fn send(&self, py: Python<'_>, data: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        channel::send(&self.core, py, self.id, data, timeout, None)
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
            let number = last.as_ref().map_or(0, |facts| facts.number);
            let member = Member { number, ..Member::new(core, id) };
            *member.last.borrow_mut() = last;
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
    let mut added = 0;
    core.reactor()?.settle_departed(group);
    while list.len() < max && added < gathering::MOST {
        match take(py, core, group, gather.then_some(&mut gathering))? {
            Taken::Nothing => break,
            Taken::Added => added += 1,
            Taken::Event(event) => {
                if !event.bind(py).is_instance_of::<Published>() {
                    gathering.end();
                }
                list.append(event)?;
            }
        }
    }
    core.spend_many((list.len() + added) / 4);
    Ok((!list.is_empty()).then(|| list.into_any().unbind()))
}

/// Queues a broadcast; gives for how many members.
pub fn queue_for_all(core: &SharedCore, py: Python<'_>, group: usize, broadcast: &Broadcast) -> PyResult<usize> {
    let bytes = broadcast.data.bind(py).as_bytes();
    let mut reactor = core.reactor()?;
    let queued = match (&broadcast.to, broadcast.policy) {
        (Some(to), policy) => reactor.broadcast_to(group, bytes, to, policy),
        (None, Some(policy)) => {
            let members = reactor.members(group);
            reactor.broadcast_to(group, bytes, &members, Some(policy))
        }
        (None, None) => reactor.broadcast(group, bytes),
    };
    drop(reactor);
    core.touched(py)?;
    queued.map_err(|error| factory::error(py, Facts::frame(&error).operation("broadcast")))
}

/// Many links as one; see the library's `Group`.
#[pyclass(subclass, frozen, module = "jackfield._engine")]
pub struct Group {
    core: SharedCore,
    index: usize,
}

impl Group {
    /// The core and the index there.
    pub fn place(&self) -> (&SharedCore, usize) {
        (&self.core, self.index)
    }

    fn ids(&self, members: &Bound<'_, PyAny>) -> PyResult<Vec<LinkId>> {
        members.try_iter()?.map(|member| member_id(&member?)).collect()
    }

    fn take(&self, py: Python<'_>, core: &SharedCore, id: LinkId) -> PyResult<bool> {
        self.take_by(py, core, id, |reactor| reactor.join(self.index, id))
    }

    fn take_by(
        &self,
        py: Python<'_>,
        core: &SharedCore,
        id: LinkId,
        join: impl FnOnce(&mut Reactor<PyHost>) -> bool,
    ) -> PyResult<bool> {
        if !core.is(&self.core) {
            return Err(PyRuntimeError::new_err("the group belongs to another event loop than what should join it"));
        }
        // The task would never hear again: what arrives is the group's from now on.
        if self.core.slot(id, |waiters| waiters.receive.is_some()) {
            return Ok(false);
        }
        let mut reactor = self.core.reactor()?;
        let joined = join(&mut reactor);
        drop(reactor);
        self.core.touched(py)?;
        Ok(joined)
    }

    /// The message, its receivers and its policy, ready to be queued.
    fn prepare(
        &self,
        data: &Bound<'_, PyAny>,
        to: Option<&Bound<'_, PyAny>>,
        when_full: Option<&str>,
    ) -> PyResult<Broadcast> {
        Ok(Broadcast {
            data: channel::message(data)?.unbind(),
            to: to.map(|to| self.ids(to)).transpose()?,
            policy: when_full.map(channel::when_full).transpose()?,
        })
    }

    fn operation(&self, py: Python<'_>, job: GroupJob, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Py::new(py, Operation::with(&self.core, Target::Group(self.index, job), timeout, None))
    }
}

/// A member or its id.
pub fn member_id(member: &Bound<'_, PyAny>) -> PyResult<LinkId> {
    match member.cast::<Member>() {
        Ok(member) => Ok(member.get().id),
        Err(_) => Ok(LinkId(member.extract()?)),
    }
}

#[pymethods]
impl Group {
    #[new]
    fn new(reactor: &crate::endpoint::Reactor, when_full: &str, first_number: u64) -> PyResult<Group> {
        let core = reactor.core().clone();
        let index = core.reactor()?.group(channel::when_full(when_full)?);
        core.reactor()?.number_from(index, first_number);
        Ok(Group { core, index })
    }

    /// Takes a link, or all that a listener accepts, into the group; false if it is closed, grouped, or waited for.
    /// Raises RuntimeError if it is of another event loop.
    ///
    /// `native` says which of the connections are native clients: `off`, `auto` or `only`.
    fn _join(&self, py: Python<'_>, reactor: &crate::endpoint::Reactor, id: u64, native: &str) -> PyResult<bool> {
        let recognition = switch::recognition(native)?;
        reactor.core().reactor()?.recognise_from(LinkId(id), recognition);
        self.take(py, reactor.core(), LinkId(id))
    }

    /// Takes a channel's link into the group, where it may be a native client; the channel is spent if that succeeds.
    ///
    /// `relayed` is what is told of a connection that is served elsewhere and which it carries: the protocol, the
    /// addresses of its far end and of ours, and the number of what it came through.
    #[pyo3(signature = (channel, native, relayed=None))]
    fn _join_channel(
        &self,
        py: Python<'_>,
        channel: &channel::Channel,
        native: &str,
        relayed: Option<(PyBackedStr, Bound<'_, PyAny>, Bound<'_, PyAny>, u32)>,
    ) -> PyResult<bool> {
        let relayed = match &relayed {
            Some((protocol, peer, local, listener)) => Some(Relayed {
                protocol: factory::relayed_protocol(protocol)?,
                peer: factory::socket_address(peer)?,
                local: factory::socket_address(local)?,
                listener: *listener,
            }),
            None => None,
        };
        let recognition = switch::recognition(native)?;
        let (core, id) = channel.link();
        let joined = self.take_by(py, core, id, |reactor| reactor.join_added(self.index, id, recognition, relayed))?;
        if joined {
            channel.disown();
        }
        Ok(joined)
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<Py<Operation>> {
        self.operation(py, GroupJob::Next, None)
    }

    /// The next event. A cancelled receive has taken nothing.
    #[pyo3(signature = (timeout=None))]
    fn receive(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        self.operation(py, GroupJob::Receive, timeout)
    }

    /// The events that are there, at least one and at most `max_events`.
    #[pyo3(signature = (max_events=1024, timeout=None, *, gather=false))]
    fn receive_many(
        &self,
        py: Python<'_>,
        max_events: usize,
        timeout: Option<f64>,
        gather: bool,
    ) -> PyResult<Py<Operation>> {
        self.operation(py, GroupJob::ReceiveMany(max_events.max(1), gather), timeout)
    }

    /// Queues a message for all members, or for those of `to`; gives for how many. Raises QueueFull when the policy is to
    /// wait and a member is above its high-water mark; every other policy is applied to each member.
    #[pyo3(signature = (data, *, to=None, when_full=None))]
    fn broadcast_nowait(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        to: Option<&Bound<'_, PyAny>>,
        when_full: Option<&str>,
    ) -> PyResult<usize> {
        let broadcast = self.prepare(data, to, when_full)?;
        if self.core.reactor()?.group_waits(self.index, broadcast.policy) {
            let message = "a member of the group is above its high-water mark";
            return Err(factory::error(
                py,
                Facts::new("queue_full").operation("broadcast_nowait").text("message", message),
            ));
        }
        queue_for_all(&self.core, py, self.index, &broadcast)
    }

    /// As `broadcast_nowait`; where the policy is to wait, it first waits until no member is above its high-water mark. A
    /// cancelled broadcast that waited has queued nothing.
    #[pyo3(signature = (data, *, to=None, when_full=None))]
    fn broadcast(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        to: Option<&Bound<'_, PyAny>>,
        when_full: Option<&str>,
    ) -> PyResult<Py<Operation>> {
        let broadcast = self.prepare(data, to, when_full)?;
        if self.core.reactor()?.group_waits(self.index, broadcast.policy) {
            return self.operation(py, GroupJob::Broadcast(Rc::new(broadcast)), None);
        }
        let queued = queue_for_all(&self.core, py, self.index, &broadcast)?;
        self.operation(py, if self.core.spend() { GroupJob::Counted(queued) } else { GroupJob::Taken(queued) }, None)
    }

    /// Queues a message for one member. Raises QueueFull.
    fn send_nowait(&self, py: Python<'_>, member: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        channel::send_nowait(&self.core, py, member_id(member)?, data, "send_nowait")
    }

    /// Queues a message for one member; waits while its queue is full.
    #[pyo3(signature = (member, data, timeout=None))]
    fn send(
        &self,
        py: Python<'_>,
        member: &Bound<'_, PyAny>,
        data: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        channel::send(&self.core, py, member_id(member)?, data, timeout, None)
    }

    /// A handle on a member by its id, or None if it is not here.
    fn member(&self, id: u64) -> PyResult<Option<Member>> {
        let id = LinkId(id);
        let is_member = self.core.reactor()?.is_member(self.index, id);
        Ok(is_member.then(|| Member::new(&self.core, id)))
    }

    /// A handle on a member by its number, or None if it is not here.
    fn numbered(&self, number: u64) -> PyResult<Option<Member>> {
        let id = self.core.reactor()?.member_numbered(self.index, number);
        Ok(id.map(|id| Member::new(&self.core, id)))
    }

    /// Handles on all members, in the order of joining.
    fn members(&self) -> PyResult<Vec<Member>> {
        let ids = self.core.reactor()?.members(self.index);
        Ok(ids.into_iter().map(|id| Member::new(&self.core, id)).collect())
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.core.reactor()?.group_facts(self.index).0)
    }

    /// Messages that broadcasts dropped because a member's queue was full.
    #[getter]
    fn dropped_messages(&self) -> PyResult<u64> {
        Ok(self.core.reactor()?.group_facts(self.index).1)
    }

    /// Takes a member out with its socket and all that it holds; see `carry::hand_over`.
    fn _hand_over<'py>(&self, py: Python<'py>, member: &Bound<'py, PyAny>) -> PyResult<carry::Given<'py>> {
        carry::hand_over(py, &self.core, self.index, member_id(member)?)
    }

    /// Goes on with a member of another group; see `carry::take_in`.
    fn _take_in(
        &self,
        py: Python<'_>,
        listener: u64,
        fd: Option<i32>,
        parts: carry::Parts<'_>,
        number: u64,
    ) -> PyResult<Member> {
        let id = carry::take_in(&self.core, LinkId(listener), fd, parts, (self.index, number))?;
        self.core.touched(py)?;
        Ok(Member::new(&self.core, id))
    }

    /// Makes members of datagram peers that nobody has heard of yet: their `Joined` is still told.
    fn admit_newcomers(&self) -> PyResult<()> {
        self.core.reactor()?.admit_newcomers(self.index);
        Ok(())
    }

    /// The number of the next member.
    #[getter]
    fn next_number(&self) -> PyResult<u64> {
        Ok(self.core.reactor()?.next_number(self.index))
    }

    /// Ends the group: what is queued for its members is still delivered, for at most `timeout` seconds. Gives an
    /// operation for each link that is not gone yet.
    fn _close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<Py<Operation>>> {
        let mut reactor = self.core.reactor()?;
        let deadline = reactor.clock().after(timeout);
        let links = reactor.close_group(self.index, deadline);
        drop(reactor);
        self.core.touched(py)?;
        links.into_iter().map(|id| Py::new(py, Operation::new(&self.core, id, Job::Closed(0)))).collect()
    }

    /// Ends every member and listener of the group at once.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.core.reactor()?.drop_group(self.index);
        self.core.touched(py)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Ok(mut reactor) = self.core.reactor() else { return };
        let left_open = reactor.group_facts(self.index).0 > 0;
        reactor.drop_group(self.index);
        drop(reactor);
        if left_open {
            channel::warn_unclosed(c"a jackfield group with members was dropped: close it, or use `async with`");
        }
    }
}
