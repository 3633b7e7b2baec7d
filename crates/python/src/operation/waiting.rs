//! The time between two attempts: who is told when an operation can go on, and how its task is resumed.

use super::{GroupJob, Job, Operation, Phase, Target};
use crate::factory::{self, Facts};
use crate::raw;
use jackfield_engine::{Ending, LinkId, Side, want};
use pyo3::prelude::*;

impl Operation {
    /// Registers for what the job waits for; gives what the task must see.
    pub(super) fn waiting(&self, this: &Bound<'_, Operation>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        let mut state = self.state.borrow_mut();
        if self.pauses(&state.target) {
            // The turn's share is spent: the task goes to the end of the loop's queue.
            state.phase = Phase::Woken;
            return Ok(py.None());
        }
        if state.deadline == 0
            && let Some(timeout) = state.timeout
        {
            state.deadline = self.core.reactor()?.clock().after(Some(timeout));
        }
        let deadline = state.deadline;
        let registered = match &state.target {
            Target::Link(link, job) => self.register(this, *link, job, deadline)?,
            Target::Group(group, job) => self.register_in_group(this, *group, job, deadline)?,
        };
        if !registered {
            state.phase = Phase::Done;
            return Err(factory::error(py, Facts::new("already_waiting").operation("receive")));
        }
        state.phase = Phase::Waiting;
        state.blocking = true;
        drop(state);
        self.core.touched(py)?;
        Ok(this.clone().into_any().unbind())
    }

    /// Whether the job only lets the others of the loop have their turn.
    fn pauses(&self, target: &Target) -> bool {
        match target {
            Target::Link(_, Job::Pause) | Target::Group(_, GroupJob::Counted(_)) => true,
            Target::Link(_, Job::SendMany(..) | Job::SendTo(_)) => self.core.spend(),
            Target::Link(_, Job::Until(until)) => until.position.is_none() && self.core.spend(),
            Target::Link(_, job) => job.receives() && self.core.spend(),
            Target::Group(_, GroupJob::Next | GroupJob::Receive | GroupJob::ReceiveMany(..)) => self.core.spend(),
            Target::Group(..) => false,
        }
    }

    /// Waits for a link; false if another operation takes already what arrives there.
    fn register(&self, this: &Bound<'_, Operation>, link: LinkId, job: &Job, deadline: u64) -> PyResult<bool> {
        let operation = this.clone().unbind();
        match job {
            Job::Send(_) | Job::Request(_) | Job::SendMany(..) | Job::SendTo(_) | Job::SendBeside(_) => {
                self.core.add_sender(link, operation, want::SEND, deadline)?;
            }
            Job::Flush => self.core.add_watcher(link, operation, want::FLUSH, deadline)?,
            Job::ReceiveUrgent => self.core.add_watcher(link, operation, want::URGENT, deadline)?,
            Job::Closed(_) => self.core.add_watcher(link, operation, 0, 0)?,
            Job::Until(until) => match until.position {
                None => self.core.add_sender(link, operation, want::SEND, deadline)?,
                Some(position) => {
                    self.core.reactor()?.want_passed(link, position, until.acknowledged);
                    self.core.add_watcher(link, operation, want::PASSED, deadline)?;
                }
            },
            _ => {
                if !self.core.slot(link, |waiters| waiters.receive_with(operation)) {
                    return Ok(false);
                }
                let mut reactor = self.core.reactor()?;
                if deadline != 0 {
                    reactor.set_deadline(link, Side::Receive, deadline);
                }
                reactor.want(link, if matches!(job, Job::Connect) { want::CONNECT } else { want::RECEIVE });
            }
        }
        Ok(true)
    }

    /// Waits for a group; false if another operation takes its events already.
    fn register_in_group(
        &self,
        this: &Bound<'_, Operation>,
        group: usize,
        job: &GroupJob,
        deadline: u64,
    ) -> PyResult<bool> {
        let operation = this.clone().unbind();
        if let GroupJob::Broadcast(_) = job {
            self.core.group_slot(group, |waiters| {
                waiters.send.get_or_insert_default().queue.push_back(operation);
            });
            return Ok(true);
        }
        let free = self.core.group_slot(group, |waiters| waiters.receive_with(operation));
        if free {
            self.core.reactor()?.group_want(group, deadline);
        }
        Ok(free)
    }

    /// Takes the operation off every list: it ends without a result.
    pub(super) fn withdraw(&self, this: &Py<Operation>) {
        let (waiting, connecting) = {
            let state = self.state.borrow();
            let connecting = match state.target {
                Target::Link(link, Job::Connect) => Some(link),
                _ => None,
            };
            (!matches!(state.phase, Phase::New | Phase::Done), connecting)
        };
        if waiting {
            self.forget(this);
        }
        if let Some(link) = connecting
            && let Ok(mut reactor) = self.core.reactor()
        {
            reactor.abort(link);
        }
        self.finish();
    }

    /// Takes the operation off the list that it waits in.
    pub(super) fn forget(&self, this: &Py<Operation>) {
        let state = self.state.borrow();
        match state.target {
            Target::Link(link, _) => {
                drop(state);
                self.core.forget(link, this);
            }
            Target::Group(group, _) => {
                drop(state);
                self.core.forget_in_group(group, this);
            }
        }
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
        let settled = if raw::resumes_native_task(&callback) { this.get().core.settled(py) } else { None };
        let told = settled.unwrap_or_else(|| this.clone_ref(py).into_any());
        match raw::call_in_context(py, &context, &callback, &told) {
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

    pub(super) fn timed_out(&self, py: Python<'_>) -> PyErr {
        let state = self.state.borrow();
        let facts = Facts::new("timed_out");
        let facts = match (&state.target, self.core.reactor()) {
            (Target::Link(link, job), Ok(mut reactor)) => {
                let sends =
                    matches!(job, Job::Send(_) | Job::Request(_) | Job::SendMany(..) | Job::Flush | Job::Until(_));
                let facts = match reactor.stall(*link).filter(|_| sends) {
                    Some(stall) => Facts::stalled(&stall),
                    None => facts,
                };
                let facts = match reactor.handshake(*link).filter(|_| matches!(job, Job::Connect)) {
                    Some(heard) => facts.text("heard", if heard { "yes" } else { "no" }),
                    None => facts,
                };
                let facts = facts.operation(job.name()).of_link(&reactor, *link);
                if matches!(job, Job::Connect) {
                    reactor.abort(*link);
                }
                facts
            }
            _ => facts.operation("receive"),
        };
        let facts = facts.timeout(state.timeout.unwrap_or(0.0));
        drop(state);
        factory::error(py, facts)
    }

    pub(super) fn cancelled_error(&self, py: Python<'_>) -> PyErr {
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

    pub fn set_ended(&self, ending: Ending) {
        self.state.borrow_mut().ended = Some(Box::new(ending));
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.borrow().phase == Phase::Cancelled
    }

    pub fn is_late(&self, now: u64) -> bool {
        let deadline = self.state.borrow().deadline;
        deadline != 0 && deadline <= now
    }

    /// Lets go of the task that waits: the loop is gone, and nothing will wake it.
    pub fn disown(&self) {
        let taken = {
            let mut state = self.state.borrow_mut();
            (state.callback.take(), state.context.take(), state.owner.take())
        };
        drop(taken);
    }
}
