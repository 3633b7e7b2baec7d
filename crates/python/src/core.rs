//! One event loop's reactor and what Python waits for on its links.
//!
//! A turn flushes, waits, and wakes the operations that can go on, each resumed inline in its task's context. It stays
//! in native code as long as asyncio has nothing to do itself: no ready callback, no nearer timer, no descriptor.

use crate::factory;
use crate::operation::Operation;
use crate::raw::{BytesBody, BytesLoan, SameThread, Shared};
use crate::recycling::Recycling;
use crate::waiters::Waiters;
use jackfield_engine::sys::Errno;
use jackfield_engine::{Clock, Event, Host, LinkId, Reactor, Side};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyType};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;

/// The engine's host: Python's own objects.
pub struct PyHost;

impl Host for PyHost {
    type Body = BytesBody;
    type Loan = BytesLoan;
}

/// Claims and sends in one turn before other callbacks of the loop have theirs.
const WORK_PER_TURN: u32 = 4096;

/// See the module.
pub struct Core {
    pub(crate) reactor: RefCell<Reactor<PyHost>>,
    pub(crate) waiters: RefCell<Vec<Waiters>>,
    pub(crate) group_waiters: RefCell<Vec<Waiters>>,
    /// Links whose owner was collected while the reactor was in use.
    orphans: RefCell<Vec<LinkId>>,
    /// Sessions that nobody holds any more.
    pub orphan_sessions: RefCell<Vec<u64>>,
    /// What is called when a lasting link has lost its connection, by the link's id.
    pub lasting: RefCell<HashMap<u64, Py<PyAny>>>,
    pub event_loop: RefCell<Option<Py<PyAny>>>,
    /// The thread whose event loop this is; 0 before the first use.
    owner: Cell<usize>,
    /// asyncio's queue of ready callbacks and heap of timers, when this reactor is its loop's selector.
    ready: RefCell<Option<Py<PyAny>>>,
    timers: RefCell<Option<Py<PyList>>>,
    /// Under a foreign loop: called soon to take a turn.
    kick: RefCell<Option<Py<PyAny>>>,
    kicked: Cell<bool>,
    in_turn: Cell<bool>,
    interrupted: Cell<bool>,
    work: Cell<u32>,
    /// A callable that gives the loop: `get_loop` of every operation.
    pub loop_getter: RefCell<Option<Py<PyAny>>>,
    /// A future without a result, done: what a native task is told of a wait that was not cancelled. Of one of its own
    /// futures it takes the result without a call, and that none of them is the operation itself it does not see.
    settled: RefCell<Option<Py<PyAny>>>,
    /// Shared by all sends that need not wait.
    pub resolved: RefCell<Option<Py<Operation>>>,
    /// What datagrams are handed out in.
    recycling: RefCell<Recycling>,
}

pub fn os_error(error: Errno) -> PyErr {
    let text = std::io::Error::from_raw_os_error(error.0).to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    PyOSError::new_err((error.0, text))
}

impl Core {
    pub fn new(clock: Clock) -> PyResult<Core> {
        Ok(Core {
            reactor: RefCell::new(Reactor::on_clock(clock).map_err(os_error)?),
            waiters: RefCell::default(),
            group_waiters: RefCell::default(),
            orphans: RefCell::default(),
            orphan_sessions: RefCell::default(),
            lasting: RefCell::default(),
            event_loop: RefCell::default(),
            owner: Cell::new(0),
            ready: RefCell::default(),
            timers: RefCell::default(),
            kick: RefCell::default(),
            kicked: Cell::new(false),
            in_turn: Cell::new(false),
            interrupted: Cell::new(false),
            work: Cell::new(0),
            loop_getter: RefCell::default(),
            settled: RefCell::default(),
            resolved: RefCell::default(),
            recycling: RefCell::default(),
        })
    }

    /// The reactor; an error from another thread than the event loop's.
    #[inline]
    pub fn reactor(&self) -> PyResult<RefMut<'_, Reactor<PyHost>>> {
        if self.owner.get() != crate::raw::this_thread() {
            self.move_to_this_thread()?;
        }
        self.reactor.try_borrow_mut().map_err(|_| wrong_thread())
    }

    /// A loop that does not run, or runs in this thread by now, may be used from here; any other may not.
    #[cold]
    fn move_to_this_thread(&self) -> PyResult<()> {
        Python::attach(|py| {
            let event_loop = self.event_loop.borrow().as_ref().map(|event_loop| event_loop.clone_ref(py));
            if let Some(event_loop) = event_loop
                && event_loop.call_method0(py, "is_running")?.is_truthy(py)?
                && !py.import("asyncio")?.call_method0("_get_running_loop")?.is(&event_loop)
            {
                return Err(wrong_thread());
            }
            self.owner.set(crate::raw::this_thread());
            Ok(())
        })
    }

    /// Joins a stdlib loop as its selector: `ready` and `timers` are its lists, if it shows them.
    pub fn attach(&self, py: Python<'_>, event_loop: Py<PyAny>, ready: Option<Py<PyAny>>, timers: Option<Py<PyList>>) {
        self.belong_to(py, event_loop);
        *self.ready.borrow_mut() = ready;
        *self.timers.borrow_mut() = timers;
    }

    /// Joins a foreign loop: `kick` is called when a turn is needed soon.
    pub fn attach_foreign(&self, py: Python<'_>, event_loop: Py<PyAny>, kick: Py<PyAny>) {
        self.belong_to(py, event_loop);
        *self.kick.borrow_mut() = Some(kick);
    }

    fn belong_to(&self, py: Python<'_>, event_loop: Py<PyAny>) {
        *self.loop_getter.borrow_mut() = crate::raw::giving(py, event_loop.clone_ref(py));
        *self.event_loop.borrow_mut() = Some(event_loop);
    }

    pub fn detach(&self) {
        for waiters in [&self.waiters, &self.group_waiters] {
            let taken = std::mem::take(&mut *waiters.borrow_mut());
            for waiter in taken {
                for operation in
                    waiter.receive.into_iter().chain(waiter.send.into_iter().flat_map(|senders| senders.into_all()))
                {
                    operation.get().disown();
                }
            }
        }
        for slot in [&self.event_loop, &self.loop_getter, &self.settled, &self.ready, &self.kick] {
            drop(slot.borrow_mut().take());
        }
        drop(self.timers.borrow_mut().take());
        drop(std::mem::take(&mut *self.lasting.borrow_mut()));
        // It holds this core in turn: without this neither would ever go, nor the descriptors.
        drop(self.resolved.borrow_mut().take());
        self.recycling.take();
    }

    /// Outside a turn under a foreign loop: asks for one.
    #[inline]
    pub fn touched(&self, py: Python<'_>) -> PyResult<()> {
        if self.in_turn.get() || self.kicked.get() {
            return Ok(());
        }
        let kick = self.kick.borrow();
        if let Some(kick) = &*kick {
            self.kicked.set(true);
            kick.call0(py)?;
        }
        Ok(())
    }

    /// See the field; `None` where there is no loop any more.
    #[inline]
    pub fn settled(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if let Some(settled) = &*self.settled.borrow() {
            return Some(settled.clone_ref(py));
        }
        let event_loop = self.event_loop.borrow().as_ref()?.clone_ref(py);
        let made = factory::settled_future(py, event_loop).ok()?;
        *self.settled.borrow_mut() = Some(made.clone_ref(py));
        Some(made)
    }

    /// Whether a turn is under way: what runs now was resumed by it.
    #[inline]
    pub fn in_turn(&self) -> bool {
        self.in_turn.get()
    }

    /// The operation of all sends that need not wait.
    #[inline]
    pub fn resolved(this: &SharedCore, py: Python<'_>) -> PyResult<Py<Operation>> {
        let mut resolved = this.resolved.borrow_mut();
        if let Some(operation) = &*resolved {
            return Ok(operation.clone_ref(py));
        }
        let operation = Py::new(py, Operation::new(this, LinkId::NONE, crate::operation::Job::Resolved))?;
        *resolved = Some(operation.clone_ref(py));
        Ok(operation)
    }

    /// The content of a datagram, in an object that was used before if there is one.
    #[inline]
    pub fn bytes<'py>(&self, py: Python<'py>, content: &[u8]) -> Bound<'py, PyBytes> {
        match self.recycling.try_borrow_mut() {
            Ok(mut recycling) => recycling.bytes(py, content),
            // A finalizer that ran in the middle of it.
            Err(_) => PyBytes::new(py, content),
        }
    }

    /// A datagram as a named tuple, in an object that was used before if there is one.
    #[inline]
    pub fn datagram<'py>(
        &self,
        class: &Bound<'py, PyType>,
        content: &[u8],
        others: &[Py<PyAny>; 3],
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.recycling.try_borrow_mut() {
            Ok(mut recycling) => recycling.datagram(class, content, others),
            Err(_) => Recycling::default().datagram(class, content, others),
        }
    }

    /// Counts work; true when this turn has had its share and the task should yield.
    #[inline]
    pub fn spend(&self) -> bool {
        let work = self.work.get();
        if work >= WORK_PER_TURN {
            return true;
        }
        self.work.set(work + 1);
        false
    }

    pub fn spend_many(&self, count: usize) {
        self.work.set(self.work.get().saturating_add(count as u32));
    }

    /// The next return to asyncio is due now (`loop.stop` was called).
    pub fn interrupt(&self) {
        self.interrupted.set(true);
    }

    /// Whether asyncio has something to run before the next wait.
    fn asyncio_is_busy(&self, py: Python<'_>, timers_before: &(usize, *const ())) -> PyResult<bool> {
        if self.interrupted.replace(false) {
            return Ok(true);
        }
        let ready = self.ready.borrow();
        let Some(ready) = &*ready else { return Ok(true) };
        if ready.bind(py).len()? > 0 {
            return Ok(true);
        }
        Ok(self.timers_state(py) != *timers_before)
    }

    /// Length and first entry of asyncio's heap of timers: a nearer one changes one of the two.
    fn timers_state(&self, py: Python<'_>) -> (usize, *const ()) {
        let timers = self.timers.borrow();
        let Some(timers) = &*timers else { return (0, std::ptr::null()) };
        let timers = timers.bind(py);
        let length = timers.len();
        if length == 0 {
            return (0, std::ptr::null());
        }
        let first = timers.get_item(0).map_or(std::ptr::null(), |first| first.as_ptr() as *const ());
        (length, first)
    }

    /// One turn, or as many as asyncio has nothing to do in. Gives the foreign descriptors' events.
    pub fn turn(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<(i32, u32)>> {
        if self.in_turn.replace(true) {
            return Err(PyRuntimeError::new_err("the event loop is running already: it cannot be entered again"));
        }
        self.owner.set(crate::raw::this_thread());
        let result = self.turns(py, timeout);
        self.in_turn.set(false);
        self.work.set(0);
        result
    }

    fn turns(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<(i32, u32)>> {
        self.kicked.set(false);
        let deadline = match timeout {
            None => None,
            Some(seconds) if seconds <= 0.0 => Some(0),
            Some(seconds) => Some(self.reactor()?.clock().after(Some(seconds))),
        };
        let timers = self.timers_state(py);
        self.adopt_orphans();
        loop {
            let happened = {
                let mut reactor = self.reactor()?;
                reactor.flush();
                let timeout_ns = match deadline {
                    None => None,
                    Some(0) => Some(0),
                    Some(at) => Some(at.saturating_sub(reactor.clock().now())),
                };
                let wait = |wait: &mut dyn FnMut() -> Result<usize, Errno>| {
                    let call = SameThread(wait);
                    py.detach(move || call.run())
                };
                reactor.wait(timeout_ns, wait).map_err(os_error)?
            };
            self.work.set(0);
            py.check_signals()?;
            self.dispatch(py)?;
            self.recycling.borrow_mut().turn();
            let mut reactor = self.reactor()?;
            reactor.flush();
            let foreign = reactor.take_foreign();
            let busy = reactor.is_busy() || reactor.is_dirty();
            let is_due = deadline.is_some_and(|at| at <= reactor.clock().now());
            drop(reactor);
            if !foreign.is_empty() || self.asyncio_is_busy(py, &timers)? {
                return Ok(foreign);
            }
            if is_due && (!busy || deadline == Some(0)) {
                return Ok(foreign);
            }
            if !happened && deadline.is_none() && self.kick.borrow().is_some() {
                return Ok(foreign);
            }
        }
    }

    /// Wakes what can go on, until nothing can or the turn's share of work is spent.
    fn dispatch(&self, py: Python<'_>) -> PyResult<()> {
        while self.work.get() < WORK_PER_TURN {
            let event = self.reactor()?.next_event();
            let Some(event) = event else { break };
            self.work.set(self.work.get() + 1);
            match event {
                Event::Receivable(id) | Event::Connected(id) => {
                    if let Some(operation) = self.take_receiver(id) {
                        Operation::wake(py, operation, false)?;
                    }
                }
                Event::Expired(id, Side::Receive) => {
                    if let Some(operation) = self.take_receiver(id) {
                        Operation::wake(py, operation, true)?;
                    }
                }
                Event::Sendable(id) | Event::Flushed(id) => self.wake_senders(py, id, false)?,
                Event::Expired(id, _) => self.wake_senders(py, id, true)?,
                Event::Down(id) => self.tell_down(py, id)?,
                Event::Gone(id) => {
                    drop(self.lasting.borrow_mut().remove(&id.0));
                    let ending = self.reactor()?.ending();
                    self.slot(id, |waiters| {
                        let senders = waiters.send.iter();
                        for operation in senders.flat_map(|senders| senders.queue.iter().chain(&senders.watchers)) {
                            operation.get().set_ended(ending);
                        }
                    });
                    if let Some(operation) = self.take_receiver(id) {
                        Operation::wake(py, operation, false)?;
                    }
                    self.wake_senders(py, id, false)?;
                }
                Event::GroupReceivable(group) => self.wake_group(py, group, false)?,
                Event::GroupExpired(group) => self.wake_group(py, group, true)?,
                Event::GroupSendable(group) => {
                    let senders = self.group_slot(group, |waiters| waiters.send.take());
                    for operation in senders.into_iter().flat_map(|senders| senders.queue) {
                        Operation::wake(py, operation, false)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Has the owner of a lasting link called, outside of the turn.
    fn tell_down(&self, py: Python<'_>, id: LinkId) -> PyResult<()> {
        let on_down = self.lasting.borrow().get(&id.0).map(|on_down| on_down.clone_ref(py));
        let event_loop = self.event_loop.borrow().as_ref().map(|event_loop| event_loop.clone_ref(py));
        if let (Some(on_down), Some(event_loop)) = (on_down, event_loop) {
            event_loop.call_method1(py, "call_soon", (on_down,))?;
        }
        Ok(())
    }

    fn wake_group(&self, py: Python<'_>, group: usize, expired: bool) -> PyResult<()> {
        match self.group_slot(group, |waiters| waiters.receive.take()) {
            Some(operation) => Operation::wake(py, operation, expired),
            None => Ok(()),
        }
    }

    /// A channel's object is gone: whether its link was open, which is then aborted. From another thread, and while
    /// the reactor is in use, that is left to the next turn.
    pub fn orphan(&self, id: LinkId) -> bool {
        match self.reactor() {
            Ok(reactor) if reactor.is_closing(id) => false,
            Ok(mut reactor) => {
                reactor.abort(id);
                true
            }
            Err(_) => {
                self.orphans.borrow_mut().push(id);
                false
            }
        }
    }

    fn adopt_orphans(&self) {
        let orphans = std::mem::take(&mut *self.orphans.borrow_mut());
        let sessions = std::mem::take(&mut *self.orphan_sessions.borrow_mut());
        if let Ok(mut reactor) = self.reactor.try_borrow_mut() {
            for id in orphans {
                if !reactor.is_closing(id) {
                    reactor.abort(id);
                }
            }
            for session in sessions {
                reactor.drop_session(session, None);
            }
        }
    }
}

fn wrong_thread() -> PyErr {
    PyRuntimeError::new_err(
        "this object belongs to an event loop in another thread; use loop.call_soon_threadsafe(...)",
    )
}

pub type SharedCore = Shared<Core>;
