//! A group as a Python object: who joins it, what is waited for on it, what is sent to many.

use crate::carry;
use crate::channel;
use crate::core::{PyHost, SharedCore};
use crate::factory::{self, Facts};
use crate::link;
use crate::member::{Member, member_id};
use crate::operation::{Broadcast, GroupJob, Job, Operation, Target};
use crate::switch;
use jackfield_engine::{LinkId, Reactor, Relayed};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use std::rc::Rc;

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
            data: link::message(data)?.unbind(),
            to: to.map(|to| self.ids(to)).transpose()?,
            policy: when_full.map(link::when_full).transpose()?,
        })
    }

    fn operation(&self, py: Python<'_>, job: GroupJob, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Py::new(py, Operation::with(&self.core, Target::Group(self.index, job), timeout, None))
    }
}

#[pymethods]
impl Group {
    #[new]
    fn new(reactor: &crate::endpoint::Reactor, when_full: &str, first_number: u64) -> PyResult<Group> {
        let core = reactor.core().clone();
        let index = core.reactor()?.group(link::when_full(when_full)?);
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
        link::send_nowait(&self.core, py, member_id(member)?, data, "send_nowait")
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
        link::send(&self.core, py, member_id(member)?, data, timeout, None)
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
            link::warn_unclosed(c"a jackfield group with members was dropped: close it, or use `async with`");
        }
    }
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
