//! A datagram socket without a peer as a Python object: each datagram comes from somewhere, and goes somewhere.
//!
//! A peer's address is made into the library's object once and then remembered, and the same object given back as a
//! destination is known without being read again.

use crate::core::{Core, SharedCore};
use crate::endpoint;
use crate::factory::{self, Facts};
use crate::link::{self, LinkFacts};
use crate::operation::{Job, Operation, Target};
use crate::raw::{self, GilCell, Shared};
use crate::recycling::{ENOUGH, MOST};
use jackfield_engine::sys::address::{RawAddress, SocketAddress};
use jackfield_engine::{LinkId, Origin, Payload, Queued, Reactor, Take};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple, PyType};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// So many peers are remembered; beyond that all are forgotten and begun anew.
const REMEMBERED: usize = 4096;
/// Datagrams that are queued with one call of the engine.
const AT_A_TIME: usize = 1024;

/// The addresses that an endpoint has met, as the library's objects.
pub struct Peers {
    class: Py<PyType>,
    protocol: &'static str,
    objects: HashMap<SocketAddress, Py<PyAny>>,
    /// By the object's address in memory, which stays its own as long as it is held here.
    targets: HashMap<usize, (Py<PyAny>, Rc<RawAddress>)>,
    /// Whose datagram was the last one, and what stands in its tuple behind the data.
    last: Option<(SocketAddress, [Py<PyAny>; 3])>,
}

type SharedPeers = Shared<RefCell<Peers>>;

impl Peers {
    /// Makes `last` this one.
    #[cold]
    fn look_up(&mut self, py: Python<'_>, address: &SocketAddress) -> PyResult<()> {
        let object = match self.objects.get(address) {
            Some(object) => object.clone_ref(py),
            None => {
                let object = factory::address(py, self.protocol, address)?;
                if self.objects.len() >= REMEMBERED {
                    self.objects.clear();
                }
                self.objects.insert(address.clone(), object.clone_ref(py));
                object
            }
        };
        self.last = Some((address.clone(), [object, py.None(), py.None()]));
        Ok(())
    }

    #[inline]
    fn datagram<'py>(
        &mut self,
        py: Python<'py>,
        core: &Core,
        data: &[u8],
        origin: &Origin,
        port: u16,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.last.as_ref().is_none_or(|(known, _)| *known != origin.from) {
            self.look_up(py, &origin.from)?;
        }
        let Some((_, fields)) = &self.last else { return Err(PyRuntimeError::new_err("no peer")) };
        let class = self.class.bind(py);
        let Some(to) = origin.to else { return core.datagram(class, data, fields) };
        let local = factory::address(py, self.protocol, &SocketAddress::ip(to.ip, port))?;
        let interface = to.interface.into_pyobject(py)?.into_any().unbind();
        core.datagram(class, data, &[fields[0].clone_ref(py), local, interface])
    }
}

/// How an endpoint is read.
pub struct Reading {
    peers: SharedPeers,
    /// Up to so many as a list; `None`: one by itself.
    many: Option<usize>,
    /// The end is StopAsyncIteration.
    iterates: bool,
    /// Our own port, for where a datagram was sent to.
    port: u16,
}

/// What an endpoint still has to queue.
pub struct Sending {
    datagrams: Vec<(Py<PyBytes>, Rc<RawAddress>)>,
    next: usize,
    operation: &'static str,
}

/// The next datagram, or as many as there are; `None`: not yet.
pub fn receive(core: &SharedCore, py: Python<'_>, id: LinkId, reading: &Reading) -> PyResult<Option<Py<PyAny>>> {
    let most = reading.many.unwrap_or(1);
    let busy = |_| PyRuntimeError::new_err("a finalizer used the endpoint that is being received from");
    let mut peers = reading.peers.try_borrow_mut().map_err(busy)?;
    let (mut first, mut list, mut count, mut bytes) = (None, None, 0, 0);
    let mut add = |datagram: &[u8], origin: &Origin, peers: &mut Peers| {
        bytes += datagram.len();
        let made = peers.datagram(py, core, datagram, origin, reading.port)?;
        match (&list, reading.many) {
            (_, None) => first = Some(made.unbind()),
            (None, Some(_)) => list = Some(PyList::new(py, [made])?),
            (Some(list), Some(_)) => list.append(made)?,
        }
        Ok::<usize, PyErr>(bytes)
    };
    let mut held = 0;
    while held < ENOUGH && count < most {
        let mut reactor = core.reactor()?;
        let mut outcome = Ok(held);
        let arrived = reactor.take_arrived(id, most - count, |datagram, origin| {
            outcome = add(datagram, origin, &mut peers);
            outcome.as_ref().is_ok_and(|held| *held < MOST)
        });
        held = outcome?;
        count += arrived;
        if arrived > 0 {
            continue;
        }
        let facts = match reactor.take(id) {
            Take::Bytes(datagram) => {
                // The bytes lie in the reactor, and so does the origin.
                let data = PyBytes::new(py, datagram);
                let origin = reactor.origin().clone();
                held = add(data.as_bytes(), &origin, &mut peers)?;
                count += 1;
                continue;
            }
            Take::Body(_) | Take::Nothing => break,
            _ if count > 0 => break,
            Take::Closed if reading.iterates => {
                return Err(pyo3::exceptions::PyStopAsyncIteration::new_err(()));
            }
            Take::Closed | Take::End => Facts::closed(),
            Take::Fault(fault) => Facts::fault(&fault),
        };
        let facts = facts.of_link(&reactor, id).operation("receive_from");
        drop(reactor);
        return Err(factory::error(py, facts));
    }
    core.spend_many(count / 8);
    Ok(first.or(list.map(|list| list.into_any().unbind())))
}

/// Queues what is left; false when it must wait.
pub fn send(core: &SharedCore, py: Python<'_>, id: LinkId, sending: &mut Sending) -> PyResult<bool> {
    while let Some((data, to)) = sending.datagrams.get(sending.next) {
        let same =
            sending.datagrams[sending.next..].iter().take(AT_A_TIME).take_while(|(_, other)| Rc::ptr_eq(to, other));
        let queued = core.reactor()?.send_datagrams(id, same.map(|(data, _)| data.as_bytes(py)), Some(to));
        if queued > 0 {
            sending.next += queued;
            core.spend_many(queued / 8);
            core.touched(py)?;
            if sending.next < sending.datagrams.len() && core.spend() {
                return Ok(false);
            }
            continue;
        }
        if (sending.next > 0 && core.spend()) || !queue(core, py, id, data.bind(py), to, sending.operation)? {
            return Ok(false);
        }
        sending.next += 1;
    }
    Ok(true)
}

/// Queues one datagram; false when it must wait.
fn queue(
    core: &SharedCore,
    py: Python<'_>,
    id: LinkId,
    data: &Bound<'_, PyBytes>,
    to: &Rc<RawAddress>,
    operation: &'static str,
) -> PyResult<bool> {
    let mut reactor = core.reactor()?;
    let facts = match reactor.send_to(id, Payload::Bytes(data.as_bytes()), Some(to), None) {
        Ok(Queued::Yes | Queued::Dropped) => {
            drop(reactor);
            core.touched(py)?;
            return Ok(true);
        }
        Ok(Queued::Full) => return Ok(false),
        Ok(Queued::Rejected) => queue_full(&reactor, id),
        Ok(Queued::Disconnected) => Facts::fault(&jackfield_engine::Fault::TooSlow),
        Err(error) => Facts::send_error(&error),
    };
    let facts = facts.of_link(&reactor, id).operation(operation);
    drop(reactor);
    Err(factory::error(py, facts))
}

fn queue_full(reactor: &Reactor<crate::core::PyHost>, id: LinkId) -> Facts {
    let limit = reactor.config(id).map_or(0, |config| config.high_water);
    Facts::new("queue_full").limit(limit).size(reactor.queued_of(id).0)
}

/// A datagram socket without a peer; see the library's `Endpoint`.
#[pyclass(subclass, frozen, module = "jackfield._engine")]
pub struct Endpoint {
    core: SharedCore,
    id: LinkId,
    /// What the library opened it with.
    #[pyo3(get, name = "_setup")]
    setup: Py<PyAny>,
    peers: SharedPeers,
    port: u16,
    /// The operation of `async for`, used again for every datagram.
    next: GilCell<Option<Py<Operation>>>,
}

impl Endpoint {
    fn operation(slf: &Bound<'_, Self>, job: Job, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let owner = Some(slf.clone().into_any().unbind());
        Py::new(slf.py(), Operation::with(&this.core, Target::Link(this.id, job), timeout, owner))
    }

    fn reading(&self, many: Option<usize>, iterates: bool) -> Job {
        Job::ReceiveFrom(Box::new(Reading { peers: self.peers.clone(), many, iterates, port: self.port }))
    }

    /// The destination in the kernel's form; what the library says of it is asked for once.
    fn target(slf: &Bound<'_, Self>, to: &Bound<'_, PyAny>) -> PyResult<Rc<RawAddress>> {
        let this = slf.get();
        let key = to.as_ptr() as usize;
        if let Ok(peers) = this.peers.try_borrow()
            && let Some((_, raw)) = peers.targets.get(&key)
        {
            return Ok(raw.clone());
        }
        let raw = slf.call_method1("_raw_address", (to,))?;
        let address = factory::socket_address(&raw)?;
        let reactor = this.core.reactor()?;
        if reactor.kind(this.id).is_none() {
            drop(reactor);
            return Err(factory::error(slf.py(), Facts::closed().operation("send_to")));
        }
        let Some(raw) = reactor.sendable(this.id, &address) else {
            let family = "an endpoint sends only to addresses of its own family: bind udp://:port, or [::], for both IPv4 \
                          and IPv6";
            let facts = Facts::new("not_supported").text("message", family).of_link(&reactor, this.id);
            drop(reactor);
            return Err(factory::error(slf.py(), facts));
        };
        drop(reactor);
        if let Ok(mut peers) = this.peers.try_borrow_mut() {
            if peers.targets.len() >= REMEMBERED {
                peers.targets.clear();
            }
            peers.targets.insert(key, (to.clone().unbind(), raw.clone()));
        }
        Ok(raw)
    }

    fn sending(
        slf: &Bound<'_, Self>,
        datagrams: Vec<(Py<PyBytes>, Rc<RawAddress>)>,
        operation: &'static str,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        let sending = Sending { datagrams, next: 0, operation };
        Endpoint::operation(slf, Job::SendTo(Box::new(sending)), timeout)
    }
}

#[pymethods]
impl Endpoint {
    #[new]
    fn new(
        py: Python<'_>,
        reactor: &endpoint::Reactor,
        setup: Py<PyAny>,
        id: u64,
        datagram: Py<PyType>,
    ) -> PyResult<Endpoint> {
        let id = LinkId(id);
        let core = reactor.core().clone();
        let (protocol, port) = {
            let reactor = core.reactor()?;
            let port = match reactor.local(id) {
                Some(SocketAddress::Ip { port, .. }) => port,
                _ => 0,
            };
            (factory::protocol(&reactor, id).unwrap_or("udp"), port)
        };
        if !datagram.bind(py).is_subclass_of::<PyTuple>()? {
            return Err(PyValueError::new_err("datagrams are named tuples"));
        }
        let peers = Peers { class: datagram, protocol, objects: HashMap::new(), targets: HashMap::new(), last: None };
        let peers = Shared::new(RefCell::new(peers));
        Ok(Endpoint { core, id, setup, peers, port, next: GilCell::new(None) })
    }

    /// Unique for the life of the event loop.
    #[getter]
    fn id(&self) -> u64 {
        self.id.0
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__(slf: &Bound<'_, Self>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let mut next = this.next.borrow_mut();
        if let Some(operation) = &*next
            && raw::is_unique(operation)
            && operation.get().renew()
        {
            return Ok(operation.clone_ref(slf.py()));
        }
        let operation = Py::new(slf.py(), Operation::new(&this.core, this.id, this.reading(None, true)))?;
        *next = Some(operation.clone_ref(slf.py()));
        Ok(operation)
    }

    /// The next datagram. Raises ChannelLost, MessageTooLarge, TimedOut, ChannelClosed. Cancelled, it has taken nothing.
    #[pyo3(signature = (timeout=None))]
    fn receive_from(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Endpoint::operation(slf, slf.get().reading(None, false), timeout)
    }

    /// The datagrams that are there, at least one and at most `max_datagrams`.
    #[pyo3(signature = (max_datagrams=None, timeout=None))]
    fn receive_many_from(
        slf: &Bound<'_, Self>,
        max_datagrams: Option<usize>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        let most = max_datagrams.unwrap_or(4096).max(1);
        Endpoint::operation(slf, slf.get().reading(Some(most), false), timeout)
    }

    /// Queues a datagram for `to`: at once when there is room, else once there is.
    #[pyo3(signature = (data, to, timeout=None))]
    fn send_to(
        slf: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        to: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        let (this, py) = (slf.get(), slf.py());
        let data = link::message(data)?;
        let raw = Endpoint::target(slf, to)?;
        if !this.core.has_senders(this.id) {
            match queue(&this.core, py, this.id, &data, &raw, "send_to") {
                Ok(true) if this.core.spend() => return Py::new(py, Operation::new(&this.core, this.id, Job::Pause)),
                Ok(true) => return Core::resolved(&this.core, py),
                Ok(false) => {}
                Err(error) => return Py::new(py, Operation::new(&this.core, this.id, Job::Failed(Some(error)))),
            }
        }
        Endpoint::sending(slf, vec![(data.unbind(), raw)], "send_to", timeout)
    }

    /// Queues a datagram for `to`, or raises QueueFull.
    fn send_to_nowait(slf: &Bound<'_, Self>, data: &Bound<'_, PyAny>, to: &Bound<'_, PyAny>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let data = link::message(data)?;
        let raw = Endpoint::target(slf, to)?;
        if !this.core.has_senders(this.id) && queue(&this.core, py, this.id, &data, &raw, "send_to_nowait")? {
            return Ok(());
        }
        let reactor = this.core.reactor()?;
        let facts = queue_full(&reactor, this.id).operation("send_to_nowait").of_link(&reactor, this.id);
        drop(reactor);
        Err(factory::error(py, facts))
    }

    /// Queues several datagrams for one place, in order. Cancelled, it has queued a first part of them.
    #[pyo3(signature = (datagrams, to, timeout=None))]
    fn send_many(
        slf: &Bound<'_, Self>,
        datagrams: &Bound<'_, PyAny>,
        to: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        let raw = Endpoint::target(slf, to)?;
        let all = link::messages(datagrams)?.into_iter().map(|data| (data, raw.clone())).collect();
        Endpoint::sending(slf, all, "send_many", timeout)
    }

    /// Queues `(data, to)` pairs, in order. Cancelled, it has queued a first part of them.
    #[pyo3(signature = (datagrams, timeout=None))]
    fn send_many_to(
        slf: &Bound<'_, Self>,
        datagrams: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<Py<Operation>> {
        let mut all = Vec::new();
        for pair in datagrams.try_iter()? {
            let pair = pair?;
            let (data, to) = (pair.get_item(0)?, pair.get_item(1)?);
            all.push((link::message(&data)?.unbind(), Endpoint::target(slf, &to)?));
        }
        Endpoint::sending(slf, all, "send_many_to", timeout)
    }

    /// Waits until the kernel has taken everything queued.
    #[pyo3(signature = (timeout=None))]
    fn flush(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        Endpoint::operation(slf, Job::Flush, timeout)
    }

    /// Starts to close: what is queued still leaves, for at most `timeout` seconds. Awaited, it waits for the end.
    #[pyo3(signature = (timeout=None))]
    fn close(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Py<Operation>> {
        let this = slf.get();
        let mut reactor = this.core.reactor()?;
        let deadline = reactor.clock().after(timeout);
        reactor.close(this.id, deadline);
        drop(reactor);
        this.core.touched(slf.py())?;
        Endpoint::operation(slf, Job::Closed(deadline), None)
    }

    /// Closes at once: what is queued is dropped.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.core.reactor()?.abort(self.id);
        self.core.touched(py)
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.core.reactor()?.is_closing(self.id))
    }

    /// The descriptor. Raises ChannelClosed.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        let fd = self.core.reactor()?.raw_fd(self.id);
        fd.ok_or_else(|| factory::error(py, Facts::closed().operation("fileno")))
    }

    /// Reads one of the socket's options, at most `size` bytes (getsockopt(2)). Raises OSError, ChannelClosed.
    #[pyo3(signature = (level, number, size, /))]
    fn _read_option<'py>(
        &self,
        py: Python<'py>,
        level: i32,
        number: i32,
        size: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        link::read_option(&self.core, py, self.id, (level, number), size)
    }

    /// Sets one of the socket's options (setsockopt(2)). Raises OSError, ChannelClosed.
    #[pyo3(signature = (level, number, value, /))]
    fn _write_option(&self, py: Python<'_>, level: i32, number: i32, value: &[u8]) -> PyResult<()> {
        link::write_option(&self.core, py, self.id, (level, number), value)
    }

    /// `(local, statistics)`, or None once closed.
    fn _facts<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let reactor = self.core.reactor()?;
        let Some(facts) = LinkFacts::of(&reactor, self.id) else { return Ok(None) };
        drop(reactor);
        let local = factory::address(py, facts.protocol, &facts.local)?;
        (local, facts.statistics(py)?).into_pyobject(py).map(Some)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.core.orphan(self.id) {
            link::warn_unclosed(c"an open jackfield endpoint was dropped: close it, or use `async with`");
        }
    }
}
