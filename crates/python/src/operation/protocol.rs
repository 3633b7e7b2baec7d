//! What asyncio and `await` call: an operation as a coroutine, and as a future while it waits.

use super::{Operation, Phase, Step};
use crate::factory;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

impl Operation {
    /// See the getter of `_asyncio_future_blocking`, which in CPython's hot path is `raw::future_protocol`.
    pub fn is_blocking(&self) -> Option<bool> {
        let state = self.state.borrow();
        let waits = !matches!(state.phase, Phase::New | Phase::Done);
        waits.then_some(state.blocking)
    }

    pub fn set_blocking(&self, value: bool) {
        self.state.borrow_mut().blocking = value;
    }

    /// `get_loop`, bound: one for all operations of a loop.
    pub fn loop_getter(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.core.loop_getter.borrow().as_ref().map(|getter| getter.clone_ref(py))
    }
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
        this.forget(slf.as_unbound());
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
