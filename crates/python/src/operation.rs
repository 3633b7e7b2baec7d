//! What a coroutine awaits: one operation on a link or a group.
//!
//! An operation is a coroutine by protocol (`send`, `throw`, `close`, `__await__`), so `create_task(channel.receive())`
//! works, and while it waits it is a future by protocol (`_asyncio_future_blocking`, `add_done_callback`, `result`,
//! `cancel`), so a task can sleep on it without an `asyncio.Future` in between. Messages are claimed late: only in the
//! step that returns them to the coroutine, so that a cancelled receive has taken nothing.

use crate::core::SharedCore;
use crate::events;
use crate::factory::{self, Facts};
use crate::raw::{self, GilCell};
use jackfield_engine::frame::Framer;
use jackfield_engine::sys::monotonic_ns;
use jackfield_engine::{LinkId, Payload, Queued, Take, WhenFull, want};
use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::rc::Rc;

/// What is to be done.
pub enum Job {
    /// The next message of `async for`: the end is StopAsyncIteration.
    Next,
    /// The next message.
    Receive,
    /// The next message as this framer divides the stream, from the first step to the end of the operation.
    Divided(Rc<Framer>),
    /// Up to so many messages that are there, at least one.
    ReceiveMany(usize),
    /// Queue a message once there is room.
    Send(Py<PyBytes>),
    /// Queue several, in order; the index of the next.
    SendMany(Vec<Py<PyBytes>>, usize),
    /// Wait until the queue is empty.
    Flush,
    /// The next connection of a listener, given to the callable.
    Accept(Py<PyAny>),
    /// The outcome of connecting.
    Connect,
    /// Until the link is closed; the deadline that its close had, in monotonic nanoseconds (0 for none).
    Closed(u64),
    /// Let the loop have a turn; the work is done already.
    Pause,
    /// Nothing: shared by all sends that need not wait.
    Resolved,
    /// Raise.
    Failed(Option<PyErr>),
    /// The next event of a group.
    GroupReceive,
    /// The next event of `async for`: the group's end is StopAsyncIteration.
    GroupNext,
    /// Up to so many events that are there, at least one.
    GroupMany(usize),
    /// Queue for all members, or for some, once none of the group is above its high-water mark.
    Broadcast(Box<Broadcast>),
    /// Let the loop have a turn, then the number.
    Counted(usize),
    /// The number, at once.
    Taken(usize),
}

/// A broadcast that waits.
pub struct Broadcast {
    pub data: Py<PyBytes>,
    pub to: Option<Vec<LinkId>>,
    pub policy: Option<WhenFull>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Waiting,
    Woken,
    Expired,
    Cancelled,
    Done,
}

struct State {
    job: Job,
    phase: Phase,
    blocking: bool,
    callback: Option<Py<PyAny>>,
    context: Option<Py<PyAny>>,
    cancel_message: Option<Py<PyAny>>,
    timeout: Option<f64>,
    deadline: u64,
    /// The link is gone; whether everything queued had left.
    ended: Option<bool>,
    /// Keeps the channel alive while it is waited for.
    owner: Option<Py<PyAny>>,
    /// The channel's own framer, put back at the end when this operation divides the stream its own way.
    framer: Option<Rc<Framer>>,
}

/// See the module.
#[pyclass(frozen, module = "jackfield._engine")]
pub struct Operation {
    core: SharedCore,
    target: LinkId,
    group: usize,
    state: GilCell<State>,
}

/// What a step comes to.
pub enum Step {
    Return(Py<PyAny>),
    Yield(Py<PyAny>),
}

enum Attempt {
    Done(Py<PyAny>),
    Wait,
}

impl Operation {
    pub fn new(core: &SharedCore, target: LinkId, job: Job) -> Operation {
        Operation::with(core, target, usize::MAX, job, None, None)
    }

    pub fn with(
        core: &SharedCore,
        target: LinkId,
        group: usize,
        job: Job,
        timeout: Option<f64>,
        owner: Option<Py<PyAny>>,
    ) -> Operation {
        let state = State {
            job,
            phase: Phase::New,
            blocking: false,
            callback: None,
            context: None,
            cancel_message: None,
            timeout,
            deadline: 0,
            ended: None,
            owner,
            framer: None,
        };
        Operation { core: core.clone(), target, group, state: GilCell::new(state) }
    }

    /// Ready for another use, if the last one has ended.
    #[inline]
    pub fn renew(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let idle = matches!(state.phase, Phase::Done | Phase::New);
        if idle {
            state.phase = Phase::New;
        }
        idle
    }

    /// See the getter of `_asyncio_future_blocking`, which in CPython's hot path is `raw::future_protocol`.
    pub fn is_blocking(&self) -> Option<bool> {
        let state = self.state.borrow();
        let waits = !matches!(state.phase, Phase::New | Phase::Done);
        waits.then_some(state.blocking)
    }

    pub fn set_ended(&self, complete: bool) {
        self.state.borrow_mut().ended = Some(complete);
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.borrow().phase == Phase::Cancelled
    }

    /// `get_loop`, bound: one for all operations of a loop.
    pub fn loop_getter(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.core.loop_getter.borrow().as_ref().map(|getter| getter.clone_ref(py))
    }

    pub fn set_blocking(&self, value: bool) {
        self.state.borrow_mut().blocking = value;
    }

    /// Lets go of the task that waits: the loop is gone, and nothing will wake it.
    pub fn disown(&self) {
        let taken = {
            let mut state = self.state.borrow_mut();
            (state.callback.take(), state.context.take(), state.owner.take())
        };
        drop(taken);
    }

    /// The first step of an operation that divides the stream its own way: nobody else may be waiting then.
    #[cold]
    fn divide(&self, py: Python<'_>, state: &mut State) -> PyResult<()> {
        let Job::Divided(framer) = &state.job else { return Ok(()) };
        if self.core.slot(self.target, |waiters| waiters.receive.is_some()) {
            let facts = Facts::new("already_waiting").operation("receive");
            let facts = facts.of_link(&*self.core.reactor()?, self.target);
            return Err(factory::error(py, facts));
        }
        let framer = framer.clone();
        state.framer = self.core.reactor()?.swap_framer(self.target, framer);
        Ok(())
    }

    pub fn is_late(&self, now: u64) -> bool {
        let deadline = self.state.borrow().deadline;
        deadline != 0 && deadline <= now
    }

    /// The coroutine protocol's one step.
    #[inline]
    pub fn step(this: &Bound<'_, Operation>) -> PyResult<Step> {
        let py = this.py();
        let operation = this.get();
        let phase = operation.state.borrow().phase;
        match phase {
            Phase::New | Phase::Woken => {}
            Phase::Waiting if operation.state.borrow().callback.is_none() => {}
            Phase::Waiting => return Err(PyRuntimeError::new_err("coroutine is being awaited already")),
            Phase::Done => return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
            Phase::Expired => {
                let timeout = operation.state.borrow().timeout;
                operation.finish();
                return Err(operation.timed_out(py, timeout));
            }
            Phase::Cancelled => {
                let error = operation.cancelled_error(py);
                operation.finish();
                return Err(error);
            }
        }
        match operation.attempt(this, phase) {
            Ok(Attempt::Done(value)) => {
                operation.finish();
                Ok(Step::Return(value))
            }
            Ok(Attempt::Wait) => match operation.waiting(this) {
                Ok(yielded) => Ok(Step::Yield(yielded)),
                Err(error) => {
                    operation.finish();
                    Err(error)
                }
            },
            Err(error) => {
                operation.finish();
                Err(error)
            }
        }
    }

    #[inline]
    fn attempt(&self, this: &Bound<'_, Operation>, phase: Phase) -> PyResult<Attempt> {
        let py = this.py();
        let mut state = self.state.borrow_mut();
        let id = self.target;
        let core = &self.core;
        if phase == Phase::New && matches!(state.job, Job::Divided(_)) {
            self.divide(py, &mut state)?;
        }
        let ended = state.ended;
        match &mut state.job {
            Job::Next | Job::Receive | Job::Divided(_) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                let mut reactor = core.reactor()?;
                let error = match reactor.take(id) {
                    Take::Bytes(bytes) => return Ok(Attempt::Done(PyBytes::new(py, bytes).into_any().unbind())),
                    Take::Body(body) => return body.finish(py).map(Attempt::Done),
                    Take::Nothing => return Ok(Attempt::Wait),
                    Take::End if matches!(state.job, Job::Next) => None,
                    Take::End => Some(Facts::ended(reactor.is_idle(id))),
                    Take::Fault(fault) => Some(Facts::fault(&fault)),
                    Take::Closed => Some(Facts::closed()),
                };
                match error {
                    None => Err(PyStopAsyncIteration::new_err(())),
                    Some(facts) => {
                        let facts = facts.of_link(&reactor, id).operation("receive");
                        drop(reactor);
                        Err(factory::error(py, facts))
                    }
                }
            }
            Job::ReceiveMany(max) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                let max = *max;
                self.receive_many(py, max)
            }
            Job::Send(data) => {
                if phase == Phase::New && core.has_senders(id) {
                    return Ok(Attempt::Wait);
                }
                let queued = send_bytes(core, py, id, data.bind(py), None, "send")?;
                Ok(if queued { Attempt::Done(py.None()) } else { Attempt::Wait })
            }
            Job::SendMany(messages, next) => {
                if phase == Phase::New && core.has_senders(id) {
                    return Ok(Attempt::Wait);
                }
                while *next < messages.len() {
                    if core.spend() || !send_bytes(core, py, id, messages[*next].bind(py), None, "send_many")? {
                        return Ok(Attempt::Wait);
                    }
                    *next += 1;
                }
                Ok(Attempt::Done(py.None()))
            }
            Job::Flush if ended == Some(false) => {
                let message = "the channel ended before everything queued had left";
                Err(factory::error(py, Facts::closed().operation("flush").text("message", message)))
            }
            Job::Flush => {
                let mut reactor = core.reactor()?;
                reactor.flush();
                if let Some(fault) = reactor.fault(id) {
                    let facts = Facts::fault(&fault).of_link(&reactor, id).operation("flush");
                    drop(reactor);
                    return Err(factory::error(py, facts));
                }
                Ok(if reactor.queued_of(id).1 == 0 { Attempt::Done(py.None()) } else { Attempt::Wait })
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
                if let Err(error) = reactor.connected(id) {
                    // Nobody else knows of the link: it goes with the failure.
                    reactor.abort(id);
                    return Err(crate::core::os_error(error));
                }
                Ok(Attempt::Done(py.None()))
            }
            Job::Closed(deadline) => {
                let deadline = *deadline;
                let reactor = core.reactor()?;
                let complete = match (ended, reactor.ended(id)) {
                    (Some(complete), _) => complete,
                    (None, Some(ending)) => ending.complete,
                    (None, None) if reactor.kind(id).is_none() => true,
                    (None, None) => return Ok(Attempt::Wait),
                };
                drop(reactor);
                // A close that another call cut short is still a close; only its own deadline is worth an error.
                if !complete && deadline != 0 && monotonic_ns() >= deadline {
                    let facts = Facts::new("timed_out").operation("close");
                    return Err(factory::error(py, facts));
                }
                Ok(Attempt::Done(py.None()))
            }
            Job::Pause => Ok(if phase == Phase::New { Attempt::Wait } else { Attempt::Done(py.None()) }),
            Job::Resolved => Ok(Attempt::Done(py.None())),
            Job::Failed(error) => {
                let again = || PyRuntimeError::new_err("cannot reuse already awaited coroutine");
                Err(error.take().unwrap_or_else(again))
            }
            Job::GroupNext if !core.reactor()?.has_group(self.group) => Err(PyStopAsyncIteration::new_err(())),
            Job::GroupReceive | Job::GroupMany(_) if !core.reactor()?.has_group(self.group) => {
                let facts = Facts::closed().text("message", "the group was closed or aborted");
                Err(factory::error(py, facts))
            }
            Job::GroupNext | Job::GroupReceive => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                drop(state);
                Ok(match events::next(py, core, self.group)? {
                    Some(event) => Attempt::Done(event),
                    None => Attempt::Wait,
                })
            }
            Job::GroupMany(max) => {
                if core.spend() {
                    return Ok(Attempt::Wait);
                }
                let max = *max;
                drop(state);
                let found = events::take_many(py, core, self.group, max)?;
                Ok(match found {
                    Some(list) => Attempt::Done(list),
                    None => Attempt::Wait,
                })
            }
            Job::Taken(members) => Ok(Attempt::Done(members.into_pyobject(py)?.into_any().unbind())),
            Job::Counted(_) if phase == Phase::New => Ok(Attempt::Wait),
            Job::Counted(members) => Ok(Attempt::Done(members.into_pyobject(py)?.into_any().unbind())),
            Job::Broadcast(broadcast) => {
                if core.reactor()?.group_waits(self.group, broadcast.policy)
                    && core.reactor()?.group_want_room(self.group)
                {
                    return Ok(Attempt::Wait);
                }
                let queued = events::queue_for_all(core, py, self.group, broadcast)?;
                Ok(Attempt::Done(queued.into_pyobject(py)?.into_any().unbind()))
            }
        }
    }

    fn receive_many(&self, py: Python<'_>, max: usize) -> PyResult<Attempt> {
        let id = self.target;
        let list = PyList::empty(py);
        let mut failed = None;
        while list.len() < max {
            let mut reactor = self.core.reactor()?;
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

    /// Registers for what the job waits for; gives what the task must see.
    fn waiting(&self, this: &Bound<'_, Operation>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        let id = self.target;
        let mut state = self.state.borrow_mut();
        let receives =
            matches!(state.job, Job::Next | Job::Receive | Job::Divided(_) | Job::ReceiveMany(_) | Job::Accept(_));
        let group_reads = matches!(state.job, Job::GroupNext | Job::GroupReceive | Job::GroupMany(_));
        let pauses = matches!(state.job, Job::Pause) || ((receives || group_reads) && self.core.spend());
        if pauses || matches!(state.job, Job::Counted(_)) || matches!(state.job, Job::SendMany(..)) && self.core.spend()
        {
            // The turn's share is spent: the task goes to the end of the loop's queue.
            state.phase = Phase::Woken;
            return Ok(py.None());
        }
        if state.deadline == 0
            && let Some(timeout) = state.timeout
        {
            state.deadline = monotonic_ns() + (timeout.clamp(0.0, 1e9) * 1e9) as u64;
        }
        let deadline = state.deadline;
        let already = || factory::error(py, Facts::new("already_waiting").operation("receive"));
        match &state.job {
            Job::GroupNext | Job::GroupReceive | Job::GroupMany(_) => {
                let taken = self.core.group_slot(self.group, |waiters| match &waiters.receive {
                    Some(other) if !other.is(this) => true,
                    _ => {
                        waiters.receive = Some(this.clone().unbind());
                        false
                    }
                });
                if taken {
                    state.phase = Phase::Done;
                    return Err(already());
                }
                self.core.reactor()?.group_want(self.group, deadline);
            }
            Job::Broadcast(_) => self.core.group_slot(self.group, |waiters| {
                waiters.send.get_or_insert_default().queue.push_back(this.clone().unbind());
            }),
            Job::Send(_) | Job::SendMany(..) => {
                self.core.add_sender(id, this.clone().unbind(), want::SEND, deadline)?;
            }
            Job::Flush => self.core.add_sender(id, this.clone().unbind(), want::FLUSH, deadline)?,
            Job::Closed(_) => self.core.add_sender(id, this.clone().unbind(), 0, 0)?,
            _ => {
                let wants = if matches!(state.job, Job::Connect) { want::CONNECT } else { want::RECEIVE };
                let taken = self.core.slot(id, |waiters| match &waiters.receive {
                    Some(other) if !other.is(this) => true,
                    _ => {
                        waiters.receive = Some(this.clone().unbind());
                        false
                    }
                });
                if taken {
                    state.phase = Phase::Done;
                    return Err(already());
                }
                let mut reactor = self.core.reactor()?;
                if deadline != 0 {
                    reactor.set_deadline(id, jackfield_engine::Side::Receive, deadline);
                }
                reactor.want(id, wants);
            }
        }
        state.phase = Phase::Waiting;
        state.blocking = true;
        drop(state);
        self.core.touched(py)?;
        Ok(this.clone().into_any().unbind())
    }

    fn finish(&self) {
        let (framer, owner) = {
            let mut state = self.state.borrow_mut();
            if matches!(state.job, Job::Resolved) {
                return;
            }
            state.phase = Phase::Done;
            state.deadline = 0;
            (state.framer.take(), state.owner.take())
        };
        if let Some(framer) = framer
            && let Ok(mut reactor) = self.core.reactor()
        {
            reactor.swap_framer(self.target, framer);
        }
        drop(owner);
    }

    /// Takes the operation off every list: it ends without a result.
    fn withdraw(&self, this: &Py<Operation>) {
        let (waiting, connecting) = {
            let state = self.state.borrow();
            (state.phase != Phase::New && state.phase != Phase::Done, matches!(state.job, Job::Connect))
        };
        if waiting {
            self.core.forget_any(self.target, self.group, this);
        }
        if connecting && let Ok(mut reactor) = self.core.reactor() {
            reactor.abort(self.target);
        }
        self.finish();
    }

    /// Resumes what waits on the operation, inline.
    pub fn wake(py: Python<'_>, this: Py<Operation>, expired: bool) -> PyResult<()> {
        let (callback, context) = {
            let mut state = this.get().state.borrow_mut();
            if state.phase != Phase::Waiting {
                return Ok(());
            }
            state.phase = if expired { Phase::Expired } else { Phase::Woken };
            (state.callback.take(), state.context.take())
        };
        let (Some(callback), Some(context)) = (callback, context) else { return Ok(()) };
        match raw::call_in_context(py, &context, &callback, &this) {
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyException>(py) => {
                this.get().report(py, error);
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn report(&self, py: Python<'_>, error: PyErr) {
        let event_loop = self.core.event_loop.borrow().as_ref().map(|event_loop| event_loop.clone_ref(py));
        let Some(event_loop) = event_loop else { return error.write_unraisable(py, None) };
        let details = pyo3::types::PyDict::new(py);
        let filled = details
            .set_item("message", "an exception in a callback of a jackfield operation")
            .and_then(|()| details.set_item("exception", error.value(py)))
            .and_then(|()| event_loop.call_method1(py, "call_exception_handler", (details,)));
        if let Err(error) = filled {
            error.write_unraisable(py, None);
        }
    }

    fn timed_out(&self, py: Python<'_>, timeout: Option<f64>) -> PyErr {
        let operation = match self.state.borrow().job {
            Job::Send(_) => "send",
            Job::SendMany(..) => "send_many",
            Job::Flush => "flush",
            Job::Accept(_) => "accept",
            Job::Connect => "connect",
            _ => "receive",
        };
        let facts = Facts::new("timed_out").operation(operation).timeout(timeout.unwrap_or(0.0));
        let facts = match self.core.reactor() {
            Ok(mut reactor) => {
                let facts = facts.of_link(&reactor, self.target);
                if operation == "connect" {
                    reactor.abort(self.target);
                }
                facts
            }
            Err(_) => facts,
        };
        factory::error(py, facts)
    }

    fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        let message = self.state.borrow_mut().cancel_message.take();
        let made = factory::cancelled_class(py).and_then(|class| match message {
            Some(message) => class.call1((message,)),
            None => class.call0(),
        });
        match made {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
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

#[pymethods]
impl Operation {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        match Operation::step(slf)? {
            Step::Yield(value) => Ok(value),
            Step::Return(value) => Err(PyStopIteration::new_err((value,))),
        }
    }

    /// Runs the coroutine's next step.
    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let _ = value;
        Operation::__next__(slf)
    }

    /// Ends the operation with an exception: nothing is received, nothing is queued.
    #[pyo3(signature = (typ, val=None, tb=None, /))]
    fn throw(
        slf: &Bound<'_, Self>,
        typ: &Bound<'_, PyAny>,
        val: Option<&Bound<'_, PyAny>>,
        tb: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = tb;
        slf.get().withdraw(slf.as_unbound());
        let error = match val {
            Some(value) if value.is_instance_of::<pyo3::exceptions::PyBaseException>() => value.clone(),
            Some(value) if !value.is_none() => typ.call1((value,))?,
            _ if typ.is_instance_of::<pyo3::types::PyType>() => typ.call0()?,
            _ => typ.clone(),
        };
        Err(PyErr::from_value(error))
    }

    /// Ends the operation.
    fn close(slf: &Bound<'_, Self>) {
        slf.get().withdraw(slf.as_unbound());
    }

    /// Whether the task must wait; None as long as nothing waits: then it is a coroutine and no future, and
    /// `asyncio.wait_for`, `gather` and `shield` wrap it in a task.
    #[getter]
    fn _asyncio_future_blocking(&self) -> Option<bool> {
        self.is_blocking()
    }

    #[setter(_asyncio_future_blocking)]
    fn set_future_blocking(&self, value: bool) {
        self.set_blocking(value);
    }

    /// The event loop, for the task that waits.
    pub fn get_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.core.event_loop.borrow().as_ref().map(|event_loop| event_loop.clone_ref(py))
    }

    /// Called by the task that waits.
    #[pyo3(signature = (callback, /, *, context=None))]
    pub fn add_done_callback(&self, py: Python<'_>, callback: Py<PyAny>, context: Option<Py<PyAny>>) -> PyResult<()> {
        let context = match context {
            Some(context) => context,
            None => factory::copy_context(py)?,
        };
        let mut state = self.state.borrow_mut();
        if state.callback.is_some() {
            return Err(PyRuntimeError::new_err("this operation is awaited already"));
        }
        state.callback = Some(callback);
        state.context = Some(context);
        Ok(())
    }

    /// Takes the callback back; gives how many were taken.
    fn remove_done_callback(&self, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let mut state = self.state.borrow_mut();
        let same = match &state.callback {
            Some(waiting) => waiting.bind(callback.py()).eq(callback)?,
            None => false,
        };
        if same {
            state.callback = None;
            state.context = None;
        }
        Ok(usize::from(same))
    }

    /// Cancels the wait; the task that waits gets a CancelledError. False if it does not wait any more.
    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let py = slf.py();
        let this = slf.get();
        let (callback, context) = {
            let mut state = this.state.borrow_mut();
            if state.phase != Phase::Waiting {
                return Ok(false);
            }
            state.phase = Phase::Cancelled;
            state.cancel_message = msg;
            (state.callback.take(), state.context.take())
        };
        this.core.forget_any(this.target, this.group, slf.as_unbound());
        let event_loop = this.get_loop(py);
        if let (Some(callback), Some(event_loop)) = (callback, event_loop) {
            let arguments = pyo3::types::PyDict::new(py);
            arguments.set_item("context", context)?;
            event_loop.call_method(py, "call_soon", (callback, slf), Some(&arguments))?;
        }
        Ok(true)
    }

    /// Whether the wait has ended.
    fn done(&self) -> bool {
        !matches!(self.state.borrow().phase, Phase::New | Phase::Waiting)
    }

    /// Whether the wait was cancelled.
    fn cancelled(&self) -> bool {
        self.is_cancelled()
    }

    /// Nothing, or the cancellation: the value itself is claimed by the coroutine's next step.
    pub fn result(&self, py: Python<'_>) -> PyResult<()> {
        if self.cancelled() { Err(self.cancelled_error(py)) } else { Ok(()) }
    }

    /// Nothing, or raises the cancellation.
    fn exception(&self, py: Python<'_>) -> PyResult<()> {
        self.result(py)
    }
}
