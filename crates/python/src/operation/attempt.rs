//! One attempt at an operation's job: its outcome, or that it must wait.

use super::{Attempt, GroupJob, Job, Operation, Phase, State, Target};
use crate::beside;
use crate::core::SharedCore;
use crate::datagram;
use crate::events;
use crate::factory::{self, Facts};
use crate::group;
use crate::raw;
use crate::recycling::{ENOUGH, MOST};
use jackfield_engine::frame::Framer;
use jackfield_engine::{Ending, LinkId, Payload, Queued, Take, WhenFull};
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::rc::Rc;

/// Datagrams that are queued with one call of the engine.
const DATAGRAMS_AT_A_TIME: usize = 1024;

impl Operation {
    #[inline]
    pub(super) fn attempt(&self, py: Python<'_>, phase: Phase) -> PyResult<Attempt> {
        let mut state = self.state.borrow_mut();
        let State { target, framer, ended, .. } = &mut *state;
        match target {
            Target::Link(id, job) => {
                if phase == Phase::New
                    && let Job::Divided(own) = job
                {
                    *framer = self.divide(py, *id, own)?;
                }
                match job {
                    Job::Next => self.claim(py, *id, true),
                    Job::Receive | Job::Divided(_) => self.claim(py, *id, false),
                    _ => self.attempt_on_link(py, *id, job, phase, ended.as_deref()),
                }
            }
            Target::Group(group, job) => {
                let (group, job) = (*group, job.clone());
                drop(state);
                self.attempt_on_group(py, group, &job, phase)
            }
        }
    }

    /// The next message; apart from the other jobs because it is what most operations do.
    #[inline]
    fn claim(&self, py: Python<'_>, id: LinkId, iterates: bool) -> PyResult<Attempt> {
        if self.core.spend() {
            return Ok(Attempt::Wait);
        }
        let mut reactor = self.core.reactor()?;
        let error = match reactor.take(id) {
            Take::Bytes(bytes) => return Ok(Attempt::Done(PyBytes::new(py, bytes).into_any().unbind())),
            Take::Body(body) => return body.finish(py).map(Attempt::Done),
            Take::Nothing => return Ok(Attempt::Wait),
            Take::End if iterates => None,
            Take::End => Some(Facts::ended(reactor.is_idle(id))),
            Take::Fault(fault) => Some(Facts::fault(&fault)),
            Take::Closed => Some(Facts::closed()),
        };
        let Some(facts) = error else { return Err(PyStopAsyncIteration::new_err(())) };
        let facts = facts.of_link(&reactor, id).operation("receive");
        drop(reactor);
        Err(factory::error(py, facts))
    }

    fn attempt_on_link(
        &self,
        py: Python<'_>,
        id: LinkId,
        job: &mut Job,
        phase: Phase,
        ended: Option<&Ending>,
    ) -> PyResult<Attempt> {
        let core = &self.core;
        match job {
            Job::Next => self.claim(py, id, true),
            Job::Receive | Job::Divided(_) => self.claim(py, id, false),
            Job::ReceiveMany(max) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                let max = *max;
                self.receive_many(py, id, max)
            }
            Job::Send(data) => {
                if phase == Phase::New && core.has_senders(id) {
                    return Ok(Attempt::Wait);
                }
                let queued = send_bytes(core, py, id, data.bind(py), None, "send")?;
                Ok(if queued { Attempt::Done(py.None()) } else { Attempt::Wait })
            }
            Job::Request(data) => {
                if (phase == Phase::New && core.has_senders(id))
                    || !send_bytes(core, py, id, data.bind(py), None, "send")?
                {
                    return Ok(Attempt::Wait);
                }
                *job = Job::Receive;
                self.claim(py, id, false)
            }
            Job::SendMany(messages, next) => {
                if phase == Phase::New && core.has_senders(id) {
                    return Ok(Attempt::Wait);
                }
                while *next < messages.len() {
                    // At most a share of the turn's work at a time, so that others have theirs.
                    let share = messages[*next..].iter().take(DATAGRAMS_AT_A_TIME);
                    let queued = core.reactor()?.send_datagrams(id, share.map(|data| data.as_bytes(py)), None);
                    if queued > 0 {
                        *next += queued;
                        core.spend_many(queued / 8);
                        core.touched(py)?;
                        if core.spend() {
                            return Ok(Attempt::Wait);
                        }
                        continue;
                    }
                    if core.spend() || !send_bytes(core, py, id, messages[*next].bind(py), None, "send_many")? {
                        return Ok(Attempt::Wait);
                    }
                    *next += 1;
                }
                Ok(Attempt::Done(py.None()))
            }
            Job::ReceiveFrom(reading) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                Ok(match datagram::receive(core, py, id, reading)? {
                    Some(found) => Attempt::Done(found),
                    None => Attempt::Wait,
                })
            }
            Job::SendTo(sending) => {
                if phase == Phase::New && core.has_senders(id) {
                    return Ok(Attempt::Wait);
                }
                let sent = datagram::send(core, py, id, sending)?;
                Ok(if sent { Attempt::Done(py.None()) } else { Attempt::Wait })
            }
            Job::SendBeside(what) => {
                if phase == Phase::New && core.has_senders(id) {
                    return Ok(Attempt::Wait);
                }
                Ok(if beside::attempt(core, py, id, what)? { Attempt::Done(py.None()) } else { Attempt::Wait })
            }
            Job::ReceiveFds(most) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                Ok(beside::receive(core, py, id, *most)?.map_or(Attempt::Wait, Attempt::Done))
            }
            Job::ReceiveUrgent => Ok(beside::receive_urgent(core, py, id)?.map_or(Attempt::Wait, Attempt::Done)),
            Job::Flush if ended.is_some_and(|ending| !ending.complete) => {
                let message = "the channel ended before everything queued had left";
                Err(factory::error(py, Facts::closed().operation("flush").text("message", message)))
            }
            Job::Flush => {
                let mut reactor = core.reactor()?;
                reactor.flush();
                if let Some(fault) = reactor.sending_fault(id) {
                    let facts = Facts::fault(&fault).of_link(&reactor, id).operation("flush");
                    drop(reactor);
                    return Err(factory::error(py, facts));
                }
                Ok(if reactor.queued_of(id).1 == 0 { Attempt::Done(py.None()) } else { Attempt::Wait })
            }
            Job::Until(until) => {
                if phase == Phase::New && until.next < until.messages.len() && core.has_senders(id) {
                    return Ok(Attempt::Wait);
                }
                let done = until.queue(core, py, id)? && until.is_reached(core, py, id, ended)?;
                Ok(if done { Attempt::Done(py.None()) } else { Attempt::Wait })
            }
            Job::Accept(wrap) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                let mut reactor = core.reactor()?;
                if reactor.is_closing(id) {
                    let facts = Facts::closed().of_link(&reactor, id).operation("accept");
                    drop(reactor);
                    return Err(factory::error(py, facts));
                }
                let accepted = reactor.accept(id).map_err(crate::core::os_error)?;
                drop(reactor);
                match accepted {
                    Some(new) => Ok(Attempt::Done(wrap.call1(py, (new.0,))?)),
                    None => Ok(Attempt::Wait),
                }
            }
            Job::Connect => {
                if phase == Phase::New {
                    return Ok(Attempt::Wait);
                }
                let mut reactor = core.reactor()?;
                if let Err(fault) = reactor.connected(id) {
                    // Nobody else knows of the link: it goes with the failure.
                    reactor.close(id, 0);
                    return Err(factory::connect_error(py, &fault));
                }
                Ok(Attempt::Done(py.None()))
            }
            Job::Closed(deadline) => {
                let deadline = *deadline;
                let reactor = core.reactor()?;
                let (complete, stall) = match (ended, reactor.ended(id)) {
                    (Some(ending), _) => (ending.complete, ending.stall),
                    (None, Some(ending)) => (ending.complete, ending.stall),
                    (None, None) if reactor.kind(id).is_none() => (true, None),
                    (None, None) => return Ok(Attempt::Wait),
                };
                let late = deadline != 0 && reactor.clock().now() >= deadline;
                drop(reactor);
                // A close that another call cut short is still a close; only its own deadline is worth an error.
                if !complete && late {
                    let facts = stall.map_or_else(|| Facts::new("timed_out"), |stall| Facts::stalled(&stall));
                    return Err(factory::error(py, facts.operation("close")));
                }
                Ok(Attempt::Done(py.None()))
            }
            Job::Pause => Ok(if phase == Phase::New { Attempt::Wait } else { Attempt::Done(py.None()) }),
            Job::Resolved => Ok(Attempt::Done(py.None())),
            Job::Failed(error) => {
                let again = || PyRuntimeError::new_err("cannot reuse already awaited coroutine");
                Err(error.take().unwrap_or_else(again))
            }
        }
    }

    fn attempt_on_group(&self, py: Python<'_>, group: usize, job: &GroupJob, phase: Phase) -> PyResult<Attempt> {
        let core = &self.core;
        match job {
            GroupJob::Next if !core.reactor()?.has_group(group) => Err(PyStopAsyncIteration::new_err(())),
            GroupJob::Receive | GroupJob::ReceiveMany(..) if !core.reactor()?.has_group(group) => {
                let facts = Facts::closed().text("message", "the group was closed or aborted");
                Err(factory::error(py, facts))
            }
            GroupJob::Next | GroupJob::Receive => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                Ok(match events::next(py, core, group)? {
                    Some(event) => Attempt::Done(event),
                    None => Attempt::Wait,
                })
            }
            GroupJob::ReceiveMany(max, gather) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                let found = events::take_many(py, core, group, *max, *gather)?;
                Ok(match found {
                    Some(list) => Attempt::Done(list),
                    None => Attempt::Wait,
                })
            }
            GroupJob::Taken(members) => Ok(Attempt::Done(members.into_pyobject(py)?.into_any().unbind())),
            GroupJob::Counted(_) if phase == Phase::New => Ok(Attempt::Wait),
            GroupJob::Counted(members) => Ok(Attempt::Done(members.into_pyobject(py)?.into_any().unbind())),
            GroupJob::Broadcast(broadcast) => {
                if core.reactor()?.group_waits(group, broadcast.policy) && core.reactor()?.group_want_room(group) {
                    return Ok(Attempt::Wait);
                }
                let queued = group::queue_for_all(core, py, group, broadcast)?;
                Ok(Attempt::Done(queued.into_pyobject(py)?.into_any().unbind()))
            }
        }
    }

    /// The first step of an operation that divides the stream its own way: nobody else may be waiting then. Gives the
    /// link's own framer.
    #[cold]
    fn divide(&self, py: Python<'_>, id: LinkId, framer: &Rc<Framer>) -> PyResult<Option<Rc<Framer>>> {
        if self.core.slot(id, |waiters| waiters.receive.is_some()) {
            let facts = Facts::new("already_waiting").operation("receive");
            let facts = facts.of_link(&*self.core.reactor()?, id);
            return Err(factory::error(py, facts));
        }
        Ok(self.core.reactor()?.swap_framer(id, framer.clone()))
    }

    fn receive_many(&self, py: Python<'_>, id: LinkId, max: usize) -> PyResult<Attempt> {
        let list = PyList::empty(py);
        let mut failed = None;
        let mut bytes = 0;
        while list.len() < max && bytes < ENOUGH {
            let mut reactor = self.core.reactor()?;
            let room = max - list.len();
            let mut outcome = Ok(());
            let arrived = reactor.take_arrived(id, room, |datagram, _| {
                bytes += datagram.len();
                outcome = list.append(self.core.bytes(py, datagram));
                outcome.is_ok() && bytes < MOST
            });
            outcome?;
            if arrived > 0 {
                continue;
            }
            let message = match reactor.take(id) {
                Take::Bytes(bytes) => PyBytes::new(py, bytes).into_any().unbind(),
                Take::Body(body) => body.finish(py)?,
                Take::Nothing => break,
                _ if !list.is_empty() => break,
                Take::End => {
                    failed = Some(Facts::ended(reactor.is_idle(id)));
                    break;
                }
                Take::Fault(fault) => {
                    failed = Some(Facts::fault(&fault));
                    break;
                }
                Take::Closed => {
                    failed = Some(Facts::closed());
                    break;
                }
            };
            drop(reactor);
            list.append(message)?;
        }
        if let Some(facts) = failed {
            let facts = facts.of_link(&*self.core.reactor()?, id).operation("receive_many");
            return Err(factory::error(py, facts));
        }
        self.core.spend_many(list.len() / 8);
        Ok(if list.is_empty() { Attempt::Wait } else { Attempt::Done(list.into_any().unbind()) })
    }
}

/// Sends one message; false when it must wait.
pub fn send_bytes(
    core: &SharedCore,
    py: Python<'_>,
    id: LinkId,
    data: &Bound<'_, PyBytes>,
    policy: Option<WhenFull>,
    operation: &'static str,
) -> PyResult<bool> {
    /// From this size on a message is sent from where it lies.
    const LOAN: usize = 16 * 1024;
    let bytes = data.as_bytes();
    let mut reactor = core.reactor()?;
    let payload = if bytes.len() >= LOAN { Payload::Loan(raw::BytesLoan::new(data)) } else { Payload::Bytes(bytes) };
    let facts = match reactor.send(id, payload, policy) {
        Ok(Queued::Yes | Queued::Dropped) => {
            drop(reactor);
            core.touched(py)?;
            return Ok(true);
        }
        Ok(Queued::Full) => return Ok(false),
        Ok(Queued::Rejected) => {
            let waiting = reactor.queued_of(id).0;
            let limit = reactor.config(id).map_or(0, |config| config.high_water);
            Facts::new("queue_full").limit(limit).size(waiting)
        }
        Ok(Queued::Disconnected) => Facts::fault(&jackfield_engine::Fault::TooSlow),
        Err(error) => Facts::send_error(&error),
    };
    let facts = facts.of_link(&reactor, id).operation(operation);
    drop(reactor);
    Err(factory::error(py, facts))
}
