//! What a coroutine awaits: one operation on a link or a group.
//!
//! An operation is a coroutine by protocol (`send`, `throw`, `close`, `__await__`), so `create_task(channel.receive())`
//! works, and while it waits it is a future by protocol (`_asyncio_future_blocking`, `add_done_callback`, `result`,
//! `cancel`), so a task can sleep on it without an `asyncio.Future` in between. Messages are claimed late: only in the
//! step that returns them to the coroutine, so that a cancelled receive has taken nothing.
//!
//! Here stands what an operation is, and the order of its steps; `attempt.rs` does the work, `waiting.rs` is the time
//! between two attempts, `protocol.rs` what asyncio calls.

mod attempt;
mod protocol;
mod waiting;

pub use attempt::send_bytes;

use crate::beside::Departing;
use crate::core::SharedCore;
use crate::datagram::{Reading, Sending};
use crate::raw::GilCell;
use crate::until::Until;
use jackfield_engine::frame::Framer;
use jackfield_engine::{Ending, LinkId, WhenFull};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::rc::Rc;

/// What is to be done with a link.
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
    /// The same, and then it is `Receive`.
    Request(Py<PyBytes>),
    /// Queue several, in order; the index of the next.
    SendMany(Vec<Py<PyBytes>>, usize),
    /// Wait until the queue is empty.
    Flush,
    /// Queue messages, and wait until they have come as far as was asked for.
    Until(Box<Until>),
    /// What there is of an endpoint's datagrams.
    ReceiveFrom(Box<Reading>),
    /// Queue datagrams, each for its own place, in order.
    SendTo(Box<Sending>),
    /// Queue a message with descriptors, or urgent data, once there is room.
    SendBeside(Box<Departing>),
    /// The next message with at most so many descriptors.
    ReceiveFds(usize),
    /// The next byte of urgent data.
    ReceiveUrgent,
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
}

impl Job {
    /// Whether it takes what arrives: there is one such operation of a link at a time.
    fn receives(&self) -> bool {
        matches!(
            self,
            Job::Next
                | Job::Receive
                | Job::Divided(_)
                | Job::ReceiveMany(_)
                | Job::ReceiveFrom(_)
                | Job::ReceiveFds(_)
                | Job::Accept(_)
        )
    }

    /// The call that it belongs to, for errors.
    fn name(&self) -> &'static str {
        match self {
            Job::Send(_) | Job::Request(_) => "send",
            Job::SendMany(..) => "send_many",
            Job::ReceiveFrom(_) => "receive_from",
            Job::SendTo(_) => "send_to",
            Job::SendBeside(_) => "send",
            Job::ReceiveFds(_) => "receive_fds",
            Job::ReceiveUrgent => "receive_urgent",
            Job::Flush => "flush",
            Job::Until(until) => until.name,
            Job::Accept(_) => "accept",
            Job::Connect => "connect",
            _ => "receive",
        }
    }
}

/// What is to be done with a group.
#[derive(Clone)]
pub enum GroupJob {
    /// The next event of `async for`: the group's end is StopAsyncIteration.
    Next,
    /// The next event.
    Receive,
    /// Up to so many events that are there, at least one; DATA frames may share one if the flag says so.
    ReceiveMany(usize, bool),
    /// Queue for all members, or for some, once none of the group is above its high-water mark.
    Broadcast(Rc<Broadcast>),
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

/// What an operation works on, and what it does there.
pub enum Target {
    Link(LinkId, Job),
    Group(usize, GroupJob),
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
    target: Target,
    phase: Phase,
    blocking: bool,
    callback: Option<Py<PyAny>>,
    context: Option<Py<PyAny>>,
    cancel_message: Option<Py<PyAny>>,
    timeout: Option<f64>,
    deadline: u64,
    /// The link is gone; how.
    ended: Option<Box<Ending>>,
    /// Keeps the channel alive while it is waited for.
    owner: Option<Py<PyAny>>,
    /// The channel's own framer, put back at the end when this operation divides the stream its own way.
    framer: Option<Rc<Framer>>,
}

/// See the module.
#[pyclass(frozen, module = "jackfield._engine")]
pub struct Operation {
    core: SharedCore,
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
    /// An operation without a time-out, on a link that nothing needs to keep alive.
    pub fn new(core: &SharedCore, link: LinkId, job: Job) -> Operation {
        Operation::with(core, Target::Link(link, job), None, None)
    }

    /// `timeout` in seconds; `owner` is kept alive until the end.
    pub fn with(core: &SharedCore, target: Target, timeout: Option<f64>, owner: Option<Py<PyAny>>) -> Operation {
        let state = State {
            target,
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
        Operation { core: core.clone(), state: GilCell::new(state) }
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

    /// Whether a turn of its loop is under way.
    #[inline]
    pub fn in_turn(&self) -> bool {
        self.core.in_turn()
    }

    /// The coroutine protocol's one step.
    #[inline]
    pub fn step(this: &Bound<'_, Operation>) -> PyResult<Step> {
        let py = this.py();
        let operation = this.get();
        let phase = {
            let state = operation.state.borrow();
            match state.phase {
                // Shared by all sends that need not wait, and always new.
                Phase::New if matches!(state.target, Target::Link(_, Job::Resolved)) => {
                    return Ok(Step::Return(py.None()));
                }
                Phase::Waiting if state.callback.is_some() => {
                    return Err(PyRuntimeError::new_err("coroutine is being awaited already"));
                }
                phase => phase,
            }
        };
        match phase {
            Phase::New | Phase::Woken | Phase::Waiting => {}
            Phase::Done => return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
            Phase::Expired => {
                operation.finish();
                return Err(operation.timed_out(py));
            }
            Phase::Cancelled => {
                let error = operation.cancelled_error(py);
                operation.finish();
                return Err(error);
            }
        }
        match operation.attempt(py, phase) {
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

    fn finish(&self) {
        let (restored, owner) = {
            let mut state = self.state.borrow_mut();
            let link = match &mut state.target {
                Target::Link(_, Job::Resolved) => return,
                Target::Link(link, Job::SendBeside(what)) => {
                    // Copies of descriptors that were not sent are closed now, whoever still holds the operation.
                    what.close();
                    Some(*link)
                }
                Target::Link(link, _) => Some(*link),
                Target::Group(..) => None,
            };
            state.phase = Phase::Done;
            state.deadline = 0;
            (link.zip(state.framer.take()), state.owner.take())
        };
        if let Some((link, framer)) = restored
            && let Ok(mut reactor) = self.core.reactor()
        {
            reactor.swap_framer(link, framer);
        }
        drop(owner);
    }
}
