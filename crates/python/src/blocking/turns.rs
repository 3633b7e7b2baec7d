//! Whose turn it is: the halves of a channel go from thread to thread, in the order of their calls.

use super::{BlockingChannel, CLOCK, Reading, State, Writing};
use crate::factory::Facts;
use jackfield_engine::sys::wait::Gate;
use pyo3::prelude::*;
use std::cell::Cell;
use std::collections::VecDeque;

/// Who waits for one half of a channel.
#[derive(Default)]
pub(super) struct Turns {
    pub waiting: std::cell::RefCell<VecDeque<u64>>,
    next: Cell<u64>,
}

/// What waiting for a turn came to.
pub(super) enum Turn<T> {
    Ours(T),
    Closed,
    TimedOut,
}

/// How long a call may wait.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// Monotonic nanoseconds; 0 for none.
    pub at: u64,
    pub seconds: Option<f64>,
}

impl Limit {
    pub fn of(timeout: Option<f64>) -> Limit {
        Limit { at: CLOCK.after(timeout), seconds: timeout }
    }

    /// Nanoseconds left; None for ever.
    pub fn left(self) -> Option<u64> {
        (self.at != 0).then(|| self.at.saturating_sub(CLOCK.now()))
    }

    /// The same, or the time `at` if that is earlier.
    pub fn until(self, at: u64) -> Limit {
        Limit { at: if self.at == 0 { at } else { self.at.min(at) }, ..self }
    }

    pub fn has_passed(self) -> bool {
        self.left() == Some(0)
    }
}

impl BlockingChannel {
    /// Takes one half out of the state, after those who wait for it already.
    #[inline]
    pub(super) fn take_turn<T>(
        &self,
        py: Python<'_>,
        (turns, gate): (&Turns, &Gate),
        half: fn(&mut State) -> &mut Option<T>,
        limit: Limit,
    ) -> PyResult<Turn<T>> {
        if turns.waiting.borrow().is_empty()
            && let Some(half) = half(&mut self.state.borrow_mut()).take()
        {
            return Ok(Turn::Ours(half));
        }
        let ticket = turns.next.get();
        turns.next.set(ticket + 1);
        turns.waiting.borrow_mut().push_back(ticket);
        let outcome = loop {
            let seen = gate.opened();
            if turns.waiting.borrow().front() == Some(&ticket)
                && let Some(half) = half(&mut self.state.borrow_mut()).take()
            {
                break Ok(Turn::Ours(half));
            }
            if self.state.borrow().fd.is_none() {
                break Ok(Turn::Closed);
            }
            let left = limit.left();
            if left == Some(0) {
                break Ok(Turn::TimedOut);
            }
            if py.detach(|| gate.wait(seen, left)).is_err()
                && let Err(error) = py.check_signals()
            {
                break Err(error);
            }
        };
        turns.waiting.borrow_mut().retain(|waiting| *waiting != ticket);
        gate.open();
        outcome
    }

    pub(super) fn take_reading(&self, py: Python<'_>, limit: Limit, operation: &'static str) -> PyResult<Reading> {
        match self.take_turn(py, (&self.receiving, &self.receiving_gate), |state| &mut state.reading, limit)? {
            Turn::Ours(half) => Ok(half),
            Turn::Closed => Err(self.error(py, Facts::closed(), operation)),
            Turn::TimedOut => Err(self.timed_out(py, limit, operation)),
        }
    }

    pub(super) fn put_reading(&self, half: Reading) {
        self.state.borrow_mut().reading = Some(half);
        if !self.receiving.waiting.borrow().is_empty() {
            self.receiving_gate.open();
        }
    }

    pub(super) fn turn_to_send(&self, py: Python<'_>, limit: Limit) -> PyResult<Turn<Writing>> {
        self.take_turn(py, (&self.sending, &self.sending_gate), |state| &mut state.writing, limit)
    }

    pub(super) fn take_writing(&self, py: Python<'_>, limit: Limit, operation: &'static str) -> PyResult<Writing> {
        let half = match self.turn_to_send(py, limit)? {
            Turn::Ours(half) => half,
            Turn::Closed => return Err(self.error(py, Facts::closed(), operation)),
            Turn::TimedOut => return Err(self.timed_out(py, limit, operation)),
        };
        if self.state.borrow().closing {
            self.put_writing(half);
            return Err(self.error(py, Facts::closed(), operation));
        }
        Ok(half)
    }

    pub(super) fn put_writing(&self, half: Writing) {
        let mut state = self.state.borrow_mut();
        state.queued = half.queued();
        state.backlog = !half.is_empty();
        state.writing = Some(half);
        let fd = state.fd.clone().filter(|_| self.session.is_some());
        drop(state);
        if let Some(fd) = fd {
            // It may have come too late for this half, and too early for whoever receives.
            self.push_answer(&fd);
        }
        if !self.sending.waiting.borrow().is_empty() {
            self.sending_gate.open();
        }
    }
}
