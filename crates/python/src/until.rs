//! How far a message must have come before a call returns: `until=` of `send`, `send_many` and `flush`.

use crate::core::SharedCore;
use crate::factory::{self, Facts};
use crate::operation::send_bytes;
use jackfield_engine::{Ending, LinkId, Passed, WhenFull};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Messages that are to be queued, and the point that they are to reach.
pub struct Until {
    pub messages: Vec<Py<PyBytes>>,
    /// The index of the next to be queued.
    pub next: usize,
    /// Where the last of them ends, once all are queued.
    pub position: Option<u64>,
    /// The peer's kernel is to acknowledge them; else this kernel is to take them.
    pub acknowledged: bool,
    /// The call, for errors.
    pub name: &'static str,
}

/// Reads `until=` for a link: `None` asks for nothing more than the queue, else whether the peer's kernel is meant.
pub fn read(
    core: &SharedCore,
    py: Python<'_>,
    id: LinkId,
    until: Option<&str>,
    name: &'static str,
) -> PyResult<Option<bool>> {
    let reactor = core.reactor()?;
    let policy = reactor.config(id).map_or(WhenFull::Wait, |config| config.when_full);
    let protocol = factory::protocol(&reactor, id).unwrap_or_default();
    drop(reactor);
    match meaning(until, protocol, policy)? {
        Ok(meaning) => Ok(meaning),
        Err(what) => Err(unsupported(core, py, id, name, what)?),
    }
}

/// What `until=` asks for on a transport, as [`read`] gives it, or why it can not be had there.
pub fn meaning(until: Option<&str>, protocol: &str, policy: WhenFull) -> PyResult<Result<Option<bool>, &'static str>> {
    let acknowledged = match until {
        None | Some("queued") => return Ok(Ok(None)),
        Some("sent") => false,
        Some("peer_kernel") => true,
        Some("received" | "stored") => {
            let what = "a plain connection carries no word from the peer's program; until= ends at peer_kernel here, \
                        and request() asks the program itself";
            return Ok(Err(what));
        }
        Some(other) => {
            let names = "queued, sent, peer_kernel, received or stored";
            return Err(PyValueError::new_err(format!("until={other:?} is none of {names}")));
        }
    };
    if acknowledged && protocol == "udp" {
        return Ok(Err("nobody acknowledges UDP datagrams; use until=sent, and let the programs acknowledge"));
    }
    if acknowledged && matches!(protocol, "ws" | "wss") {
        return Ok(Err(
            "a WebSocket is passed on to a web server, which says nothing of the peer's kernel; use until=sent",
        ));
    }
    if policy == WhenFull::DropOldest {
        return Ok(Err(
            "with when_full=drop_oldest a queued message may be dropped later, which until= could not tell",
        ));
    }
    // A Unix socket's peer has the bytes in its buffer as soon as the kernel takes them.
    Ok(Ok(Some(acknowledged && matches!(protocol, "tcp" | "tls"))))
}

fn unsupported(core: &SharedCore, py: Python<'_>, id: LinkId, name: &'static str, what: &str) -> PyResult<PyErr> {
    let facts = Facts::new("not_supported").operation(name).text("message", what).of_link(&*core.reactor()?, id);
    Ok(factory::error(py, facts))
}

impl Until {
    /// Queues what there is room for; true once everything is queued.
    pub fn queue(&mut self, core: &SharedCore, py: Python<'_>, id: LinkId) -> PyResult<bool> {
        while let Some(data) = self.messages.get(self.next) {
            let before = core.reactor()?.counters(id).map_or(0, |counters| counters.dropped_out);
            if core.spend() || !send_bytes(core, py, id, data.bind(py), None, self.name)? {
                return Ok(false);
            }
            let reactor = core.reactor()?;
            if reactor.counters(id).is_some_and(|counters| counters.dropped_out > before) {
                let (size, limit) = (reactor.queued_of(id).0, reactor.config(id).map_or(0, |config| config.high_water));
                let facts = Facts::new("queue_full").limit(limit).size(size).operation(self.name);
                let facts = facts.of_link(&reactor, id);
                drop(reactor);
                return Err(factory::error(py, facts));
            }
            self.next += 1;
        }
        if self.position.is_none() {
            self.position = Some(core.reactor()?.queued_position(id));
        }
        Ok(true)
    }

    /// Whether what was queued has come as far as asked; `ended` is how the link ended, if it is gone.
    pub fn is_reached(&self, core: &SharedCore, py: Python<'_>, id: LinkId, ended: Option<&Ending>) -> PyResult<bool> {
        let position = self.position.unwrap_or(u64::MAX);
        let mut reactor = core.reactor()?;
        reactor.flush();
        let facts = match (reactor.passed(id, position, self.acknowledged), ended) {
            (Passed::Yes, _) => return Ok(true),
            (_, Some(ending)) if ending.complete && !self.acknowledged => return Ok(true),
            (_, Some(_)) => {
                Facts::closed().text("message", "the channel was closed before the message had come as far")
            }
            (Passed::No, None) => match reactor.sending_fault(id) {
                Some(fault) => Facts::fault(&fault),
                None if reactor.kind(id).is_none() => Facts::closed(),
                None => return Ok(false),
            },
            (Passed::Lost, None) => Facts::new("lost").text(
                "message",
                "the connection broke before the message was acknowledged, so nobody knows whether it arrived; \
                 the channel goes on with a new connection",
            ),
        };
        let facts = facts.of_link(&reactor, id).operation(self.name);
        drop(reactor);
        Err(factory::error(py, facts))
    }
}
