//! Errors and addresses as the library knows them: the boundary gives facts, the library's factories make objects.

use crate::core::{PyHost, os_error};
use jackfield_engine::frame::FrameError;
use jackfield_engine::native::frame::Violation;
use jackfield_engine::sys::Errno;
use jackfield_engine::sys::address::SocketAddress;
use jackfield_engine::tls::Failure;
use jackfield_engine::{DetachError, Fault, Garbage, Kind, LinkId, Loss, Reactor, SendError, Silence, Stall};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use std::net::IpAddr;

static ERRORS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static ADDRESSES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static TLS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static CANCELLED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static COPY_CONTEXT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Says who makes errors (`kind, facts -> exception`), addresses (`protocol, raw -> Address`) and what two ends agreed on
/// (`facts -> TlsFacts`).
#[pyfunction]
pub fn install_factories(py: Python<'_>, errors: Py<PyAny>, addresses: Py<PyAny>, tls: Py<PyAny>) -> PyResult<()> {
    // A second import of the library keeps the first one's.
    let _ = ERRORS.set(py, errors);
    let _ = ADDRESSES.set(py, addresses);
    let _ = TLS.set(py, tls);
    Ok(())
}

/// What is known of an error.
pub struct Facts {
    kind: &'static str,
    values: Vec<(&'static str, Value)>,
}

enum Value {
    Number(i128),
    Seconds(f64),
    Text(String),
    Bytes(Vec<u8>),
    Address(&'static str, SocketAddress),
}

impl Facts {
    pub fn new(kind: &'static str) -> Facts {
        Facts { kind, values: Vec::new() }
    }

    pub fn closed() -> Facts {
        Facts::new("closed")
    }

    pub fn ended(idle: bool) -> Facts {
        let facts = Facts::new("end");
        if idle { facts.text("message", "the peer was silent for longer than its idle time") } else { facts }
    }

    pub fn fault(fault: &Fault) -> Facts {
        match fault {
            Fault::Lost(error) => Facts::new("lost").errno(error.0),
            Fault::Refused(refusal) => Facts::new("lost")
                .errno(refusal.errno.0)
                .text("offender", &refusal.offender.to_string())
                .number("icmp_type", i64::from(refusal.icmp_type))
                .number("icmp_code", i64::from(refusal.code)),
            Fault::Vanished(silence) => Facts::vanished(silence),
            Fault::TooSlow => Facts::new("lost").text(
                "message",
                "it was disconnected because it did not read fast enough and its queue was full (when_full=disconnect)",
            ),
            Fault::Frame(error) => Facts::frame(error),
            Fault::Violation(violation) => Facts::violation(*violation),
            Fault::Tls(failure) => Facts::tls(failure),
        }
    }

    fn tls(failure: &Failure) -> Facts {
        let mut facts = Facts::new("tls").text("said", &failure.said).text("tls_cause", failure.cause);
        for (name, value) in &failure.facts {
            facts = facts.text(name, value);
        }
        if !failure.beginning.is_empty() {
            facts.values.push(("beginning", Value::Bytes(failure.beginning.clone())));
        }
        facts
    }

    /// A native client broke a rule.
    pub fn violation(violation: Violation) -> Facts {
        let facts = Facts::new("violation").text("code", violation.code());
        facts.text("message", violation.message()).text("hint", violation.hint())
    }

    fn vanished(silence: &Silence) -> Facts {
        let facts = Facts::new("vanished").seconds("silent", silence.silent_ns);
        let facts = facts.number("unanswered", i64::from(silence.unanswered));
        let facts = facts.number("unacknowledged", silence.unacknowledged as i64);
        if silence.errno == 0 { facts } else { facts.errno(silence.errno) }
    }

    /// A time-out while the peer lives and does not read.
    pub fn stalled(stall: &Stall) -> Facts {
        Facts::new("stalled").seconds("stalled", stall.since_ns).number("waiting", stall.waiting as i64)
    }

    fn seconds(mut self, name: &'static str, ns: u64) -> Facts {
        self.values.push((name, Value::Seconds(ns as f64 / 1e9)));
        self
    }

    pub fn frame(error: &FrameError) -> Facts {
        let facts = match error {
            FrameError::TooLarge { size, limit } => {
                let facts = Facts::new("too_large").limit(*limit);
                match size {
                    Some(size) => facts.number("size", *size),
                    None => facts,
                }
            }
            FrameError::Invalid { .. } => Facts::new("invalid_frame"),
            FrameError::Truncated { have, need } => {
                let facts = Facts::new("truncated").size(*have);
                match need {
                    Some(need) => facts.limit(*need),
                    None => facts,
                }
            }
            FrameError::Unsendable { .. } => Facts::new("unsendable"),
        };
        facts.text("message", &error.to_string())
    }

    pub fn send_error(error: &SendError) -> Facts {
        match error {
            SendError::Closed => Facts::closed(),
            SendError::Fault(fault) => Facts::fault(fault),
            SendError::Frame(error) => Facts::frame(error),
            SendError::Ended => {
                Facts::closed().text("message", "send_eof() has ended this side; only receiving goes on")
            }
            SendError::TooLarge { size } => Facts::new("too_large").size(*size).errno(libc::EMSGSIZE),
            SendError::Native => Facts::new("not_supported").text(
                "message",
                "this member speaks the Jackfield protocol, and is sent frames: use group.switch.send(...)",
            ),
            SendError::Unanswerable => Facts::new("not_supported").text(
                "message",
                "this peer sent from a Unix datagram socket without a name, so there is no address to answer to; \
                 the peer must bind its socket first",
            ),
        }
    }

    pub fn detach_error(error: &DetachError) -> Facts {
        let busy = |message: &str| Facts::new("busy").text("message", message);
        match error {
            DetachError::Closed => Facts::closed(),
            DetachError::Fault(fault) => Facts::fault(fault),
            DetachError::Connecting => busy("it is still connecting"),
            DetachError::Grouped => busy("a group owns it; detach it from the group"),
            DetachError::Beside => busy("descriptors or an urgent byte go with a message that waits in it"),
            DetachError::Unclaimed => busy("bytes were received that nobody has taken yet; receive them first"),
            DetachError::Queued { bytes, messages } => {
                busy(&format!("{bytes} bytes of {messages} messages wait to be sent; await flush() first"))
            }
            DetachError::Native => busy("its session is here, and does not go along with its socket"),
            DetachError::Encrypted => Facts::new("not_supported").text(
                "message",
                "its keys are in this process: a TLS connection cannot go on elsewhere, its peer must connect anew",
            ),
            DetachError::Shared => Facts::new("not_supported").text(
                "message",
                "the peers of a datagram listener share one socket, and have no descriptor of their own",
            ),
            DetachError::Kernel(error) => Facts::new("lost").errno(error.0),
        }
    }

    pub fn operation(self, name: &'static str) -> Facts {
        self.text("operation", name)
    }

    pub fn timeout(mut self, seconds: f64) -> Facts {
        self.values.push(("timeout", Value::Seconds(seconds)));
        self
    }

    pub fn limit(self, limit: usize) -> Facts {
        self.number("limit", limit as i64)
    }

    pub fn errno(self, number: i32) -> Facts {
        self.number("errno", i64::from(number))
    }

    pub fn size(self, size: usize) -> Facts {
        self.number("size", size as i64)
    }

    fn number(mut self, name: &'static str, value: impl Into<i128>) -> Facts {
        self.values.push((name, Value::Number(value.into())));
        self
    }

    pub fn text(mut self, name: &'static str, value: &str) -> Facts {
        self.values.push((name, Value::Text(value.to_owned())));
        self
    }

    /// Adds what became of the messages.
    pub fn with_loss(self, loss: &Loss) -> Facts {
        self.number("certainly_unsent", loss.unsent as i64).number("unknown", loss.unknown as i64)
    }

    /// Adds the link's protocol and its two ends, and what became of the messages if it broke.
    pub fn of_link(mut self, reactor: &Reactor<PyHost>, id: LinkId) -> Facts {
        let Some(protocol) = protocol(reactor, id) else { return self };
        if let Some(loss) = reactor.loss(id).filter(|_| matches!(self.kind, "lost" | "vanished" | "tls")) {
            self = self.with_loss(&loss);
        }
        if matches!(self.kind, "too_large" | "invalid_frame" | "truncated")
            && let Some(garbage) = reactor.garbage(id)
        {
            self = self.garbage(garbage);
        }
        self.values.push(("protocol", Value::Text(protocol.to_owned())));
        if let Some(local) = reactor.local(id) {
            self.values.push(("local", Value::Address(protocol, local)));
        }
        if let Some(peer) = reactor.peer(id)
            && reactor.kind(id).is_some_and(|kind| !kind.is_listener())
            && !(reactor.kind(id) == Some(Kind::Endpoint) && *peer == SocketAddress::Unnamed)
        {
            self.values.push(("peer", Value::Address(protocol, peer.clone())));
        }
        self
    }

    /// Adds what came instead of a frame.
    pub fn garbage(mut self, garbage: Garbage) -> Facts {
        self.values.push(("beginning", Value::Bytes(garbage.beginning)));
        self.number("position", garbage.position as i64).number("start", garbage.start as i64)
    }

    /// Adds the protocol and the two ends; a listener has one.
    pub fn ends(mut self, protocol: &'static str, local: &SocketAddress, peer: Option<&SocketAddress>) -> Facts {
        self.values.push(("protocol", Value::Text(protocol.to_owned())));
        self.values.push(("local", Value::Address(protocol, local.clone())));
        if let Some(peer) = peer {
            self.values.push(("peer", Value::Address(protocol, peer.clone())));
        }
        self
    }
}

/// Why connecting failed, as OSError; what an ICMP message said stands in its `offender` and `icmp`.
pub fn connect_error(py: Python<'_>, fault: &Fault) -> PyErr {
    match fault {
        Fault::Refused(refusal) => {
            let error = os_error(refusal.errno);
            let value = error.value(py);
            let told = value
                .setattr("offender", refusal.offender.to_string())
                .and_then(|()| value.setattr("icmp", (refusal.icmp_type, refusal.code)));
            told.err().unwrap_or(error)
        }
        Fault::Lost(error) => os_error(*error),
        Fault::Tls(failure) => {
            let error = os_error(Errno(libc::EPROTO));
            let told = crate::tls::failure_facts(py, failure).and_then(|facts| error.value(py).setattr("tls", facts));
            told.err().unwrap_or(error)
        }
        _ => os_error(Errno(libc::ECANCELED)),
    }
}

/// The error that the library makes of the facts.
pub fn error(py: Python<'_>, facts: Facts) -> PyErr {
    match make_error(py, facts) {
        Ok(error) | Err(error) => error,
    }
}

fn make_error(py: Python<'_>, facts: Facts) -> PyResult<PyErr> {
    let values = PyDict::new(py);
    for (name, value) in facts.values {
        match value {
            Value::Number(number) => values.set_item(name, number)?,
            Value::Seconds(seconds) => values.set_item(name, seconds)?,
            Value::Text(text) => values.set_item(name, text)?,
            Value::Bytes(bytes) => values.set_item(name, PyBytes::new(py, &bytes))?,
            Value::Address(protocol, address) => values.set_item(name, self::address(py, protocol, &address)?)?,
        }
    }
    match ERRORS.get(py) {
        Some(make) => Ok(PyErr::from_value(make.bind(py).call1((facts.kind, values))?)),
        None => Ok(PyRuntimeError::new_err(facts.kind)),
    }
}

/// An address as the library's object.
pub fn address(py: Python<'_>, protocol: &str, address: &SocketAddress) -> PyResult<Py<PyAny>> {
    let raw = raw_address(py, address)?;
    match ADDRESSES.get(py) {
        Some(make) => make.call1(py, (protocol, raw)),
        None => Ok(raw.unbind()),
    }
}

/// What two ends of a TLS connection agreed on, as the library's object.
pub fn tls<'py>(py: Python<'py>, facts: Option<Bound<'py, PyDict>>) -> PyResult<Option<Py<PyAny>>> {
    let Some(facts) = facts else { return Ok(None) };
    match TLS.get(py) {
        Some(make) => make.call1(py, (facts,)).map(Some),
        None => Ok(Some(facts.into_any().unbind())),
    }
}

/// An address in the library's raw form; see [`socket_address`].
pub fn raw_address<'py>(py: Python<'py>, address: &SocketAddress) -> PyResult<Bound<'py, PyAny>> {
    Ok(match address {
        SocketAddress::Ip { ip, port, scope } => {
            let host = match ip {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => ip.to_string(),
            };
            (host, *port, *scope).into_pyobject(py)?.into_any()
        }
        SocketAddress::Unix(name) => PyBytes::new(py, name).into_any(),
        SocketAddress::Unnamed => py.None().into_bound(py),
    })
}

/// Why a serial line cannot do `send_eof`.
pub const ENDLESS: &str = "a serial line has no end that could be sent: only the messages on it can say that they end";

/// The scheme of a link's address.
pub fn protocol(reactor: &Reactor<PyHost>, id: LinkId) -> Option<&'static str> {
    let unix = |address: Option<SocketAddress>| address.is_none_or(|address| address.family() == libc::AF_UNIX);
    if let Some(relayed) = reactor.relayed(id) {
        return Some(relayed.protocol);
    }
    Some(match reactor.kind(id)? {
        Kind::Tcp | Kind::Listener if reactor.is_tls(id) => "tls",
        Kind::Tcp => "tcp",
        Kind::UnixStream => "unix",
        Kind::File => "serial",
        Kind::Seqpacket => "unix+seqpacket",
        Kind::Datagram | Kind::DatagramPeer | Kind::DatagramListener | Kind::Endpoint => {
            if unix(reactor.local(id)) {
                "unix+dgram"
            } else {
                "udp"
            }
        }
        Kind::Listener => {
            if unix(reactor.local(id)) {
                "unix"
            } else {
                "tcp"
            }
        }
    })
}

/// The scheme of a connection that is served elsewhere and relayed to us.
pub fn relayed_protocol(name: &str) -> PyResult<&'static str> {
    let known = ["ws", "wss"].into_iter().find(|known| *known == name);
    known.ok_or_else(|| PyValueError::new_err(format!("{name:?} is not relayed: ws and wss are")))
}

/// `asyncio.CancelledError`.
pub fn cancelled_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let class =
        CANCELLED.get_or_try_init(py, || Ok::<_, PyErr>(py.import("asyncio")?.getattr("CancelledError")?.unbind()))?;
    Ok(class.bind(py).clone())
}

/// An `asyncio.Future` of the loop that is done, with None.
#[cold]
pub fn settled_future(py: Python<'_>, event_loop: Py<PyAny>) -> PyResult<Py<PyAny>> {
    let options = pyo3::types::PyDict::new(py);
    options.set_item("loop", event_loop)?;
    let future = py.import("asyncio")?.getattr("Future")?.call((), Some(&options))?;
    future.call_method1("set_result", (py.None(),))?;
    Ok(future.unbind())
}

/// `contextvars.copy_context()`.
pub fn copy_context(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let function = COPY_CONTEXT
        .get_or_try_init(py, || Ok::<_, PyErr>(py.import("contextvars")?.getattr("copy_context")?.unbind()))?;
    function.call0(py)
}

/// An address from the library's raw form: `(host, port, scope)`, `bytes` or `None`.
pub fn socket_address(raw: &Bound<'_, PyAny>) -> PyResult<SocketAddress> {
    if raw.is_none() {
        return Ok(SocketAddress::Unnamed);
    }
    if let Ok(name) = raw.cast::<PyBytes>() {
        return Ok(SocketAddress::Unix(name.as_bytes().into()));
    }
    let (host, port, scope): (String, u16, u32) = raw.cast::<PyTuple>()?.extract()?;
    let ip = host.parse().map_err(|_| pyo3::exceptions::PyValueError::new_err("not an IP address"))?;
    Ok(SocketAddress::Ip { ip, port, scope })
}
